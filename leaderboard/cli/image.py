"""``stemtwin image``: a picture of any structure."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json, progress
from stemtwin.leaderboard.cli.structure_options import in_options, parse_thermal
from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.files import check_space, check_writable


def image(
    file: Annotated[str, typer.Argument(help="A structure file (CIF, POSCAR, xyz, ...) or the name of a sample of the library.", metavar="FILE")],
    size: Annotated[float, typer.Option(help="Side of the field, A.")] = 16.0,
    thickness: Annotated[float | None, typer.Option(help="Thickness along the beam, A; by default about 40 A, or one layer of a sheet.")] = None,
    zone_axis: Annotated[
        str | None, typer.Option(help="Lattice direction of a file along the beam, for example 1,1,0, 110 or 11-20; by default 0,0,1.")
    ] = None,
    thermal: Annotated[
        str | None, typer.Option(help="1-D rms displacement, A: 0.08, or Ti=0.07,O=0.09; 0: static; by default the file's, else Debye's model.")
    ] = None,
    block: Annotated[str | None, typer.Option(help="Which structure of a file that holds several: a name or a number.")] = None,
    phonons: Annotated[int | None, typer.Option(help="Frozen-phonon configurations; 0: static; by default 4 where atoms move.")] = None,
    detectors: Annotated[str, typer.Option(help="Detectors, separated by commas.")] = "haadf,abf",
    instrument: Annotated[str, typer.Option(help="Instrument profile.")] = "corrected-200kv",
    defocus: Annotated[float, typer.Option(help="Underfocus (-C10), A.")] = 0.0,
    dose: Annotated[float, typer.Option(help="Dose, e-/A^2; 0: the expected signal without noise.")] = 0.0,
    points: Annotated[int, typer.Option(help="Points along each side of the picture.")] = 128,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG; a netCDF file is written beside it.")] = Path("stemtwin.png"),
    as_json: JsonFlag = False,
) -> None:
    """Make a picture of any structure, and save it as PNG and netCDF."""
    from stemtwin.datasets.formats import save
    from stemtwin.twin import checks
    from stemtwin.twin.instrument import micrographs, shot_noise
    from stemtwin.twin.instrument.simulation.simulate import explain
    from stemtwin.twin.samples.field_samples import load_field

    _check_output(output, min(points, 4096) ** 2 * 8 * (1 + detectors.count(",")))
    checks.number("--size", size, "A", low=2, high=500)
    checks.number("--dose", dose, "e-/A^2", low=0, high=1e12)
    with _in_options():
        field = load_field(
            file,
            side_angstrom=size,
            thickness_angstrom=thickness,
            zone_axis=zone_axis,
            thermal_sigma_angstrom=None if thermal is None else parse_thermal(thermal),
            block=block,
            seed=seed,
        )
    sample, origin = field.sample, field.origin_angstrom
    notes = [in_options(note) for note in field.notes]
    request = _request(sample, origin, size, points, instrument=instrument, defocus=defocus, detectors=detectors, phonons=phonons, seed=seed)
    plan = explain(request)
    data = _simulated(request, plan)
    if dose:
        data = shot_noise.counted_electrons(data, request.scan, dose, seed)
    figure = micrographs.micrographs([(_title(data[name]), data[name]) for name in data], caption=_caption(sample, request.beam, dose))
    micrographs.save_png(figure, output)
    netcdf = save(data, output.with_suffix(".nc"), overwrite=True)
    notes = [*notes, *plan.notes]
    if as_json:
        specimen = {"formula": sample.formula, "atoms": len(sample), "density_g_per_cm3": sample.density_g_per_cm3, "thermal": sample.thermal_summary}
        print_json({"png": str(output), "netcdf": str(netcdf), "engine": plan.engine, "specimen": specimen, "notes": notes})
        return
    _print(sample, notes, (output, netcdf))


def _check_output(output: Path, needed: int) -> None:
    """Refuse a picture that cannot be written, before any work."""
    if output.suffix.lower() != ".png":
        message = f"--output {output} does not end in .png. Give the picture's name; the netCDF file gets the same name."
        raise SettingsError(message)
    for path in (output, output.with_suffix(".nc")):
        check_writable(path)
    check_space(output, needed + 2**20, "The picture with its signals")


def _print(sample: Any, notes: list[str], files: tuple[Path, Path]) -> None:
    """Print notes to stderr; the specimen and the names of the files to stdout."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{len(sample)} atoms, {sample.formula}, {sample.density_g_per_cm3:.3g} g/cm^3, thermal motion: {sample.thermal_summary}")
    for file in files:
        typer.echo(str(file))


def _simulated(request: Any, plan: Any) -> Any:
    """Return the expected signals of a request; a bar shows the progress."""
    from stemtwin.twin.instrument.simulation.simulate import simulate

    with progress(f"{plan.engine}, {plan.waves} waves") as step:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            step(done, plan.waves)

        return simulate(request, progress=advance)


@contextlib.contextmanager
def _in_options() -> Iterator[None]:
    """Turn the library's messages into those of the command."""
    try:
        yield
    except (SettingsError, StructureFileError) as error:
        raise type(error)(in_options(str(error))) from error


def _request(
    sample: Any,
    origin: tuple[float, float],
    size: float,
    points: int,
    *,
    instrument: str,
    defocus: float,
    detectors: str,
    phonons: int | None,
    seed: int,
) -> Any:
    from stemtwin.twin import checks
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.simulation.request import Request

    scope = Microscope(sample, PROFILES[instrument].still(), seed=seed)
    scope.set(C10=-checks.number("--defocus", defocus, "A", low=-1e6, high=1e6))
    points = checks.whole("--points", points, low=8, high=4096)
    moves = sample.thermal_sigma_angstrom is not None
    configurations = checks.whole("--phonons", (4 if moves else 0) if phonons is None else phonons, low=0, high=1000)
    if configurations and not moves:
        message = f"--phonons {configurations} needs thermal motion, but {sample.name} is static. Give it --thermal, or use --phonons 0."
        raise SettingsError(message)
    return Request(
        sample=sample,
        beam=scope.truth()["beam"],
        scan=RasterScan(shape=(points, points), field_of_view_angstrom=(size, size), origin_angstrom=origin),
        detectors=tuple(name.strip() for name in detectors.split(",") if name.strip()),
        phonons=configurations or "static",
        seed=seed,
    )


def _caption(sample: Any, beam: Any, dose: float) -> str:
    """Return the line below the picture."""
    signal = f"{dose:g} e⁻/Å²" if dose else "expected signal"
    return f"{sample.name}, {sample.thickness_angstrom:.0f} Å thick, {beam.energy_ev / 1e3:g} kV, {beam.semiangle_mrad:g} mrad, {signal}"


def _title(frame: Any) -> str:
    return f"{str(frame.name).upper()}  {frame.attrs['inner_mrad']:.3g}-{frame.attrs['outer_mrad']:.3g} mrad"
