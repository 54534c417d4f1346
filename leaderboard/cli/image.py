"""``stemtwin image``: a picture of any structure."""

from pathlib import Path
from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json, progress
from stemtwin.twin.errors import SettingsError


def image(
    file: Annotated[str, typer.Argument(help="A structure file (CIF, POSCAR, xyz, ...) or the name of a sample of the library.", metavar="FILE")],
    size: Annotated[float, typer.Option(help="Side of the field, A.")] = 16.0,
    thickness: Annotated[
        float | None, typer.Option(help="Thickness along the beam, A; by default about 40 A, or one layer of a 2D material.")
    ] = None,
    zone_axis: Annotated[str, typer.Option(help="Lattice direction along the beam, for example 1,1,0.")] = "0,0,1",
    phonons: Annotated[int, typer.Option(help="Frozen-phonon configurations; 0: static.")] = 4,
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

    if output.suffix.lower() != ".png":
        message = f"--output {output} does not end in .png. Give the picture's name; the netCDF file gets the same name."
        raise SettingsError(message)
    checks.number("--size", size, "A", low=2, high=500)
    checks.number("--dose", dose, "e-/A^2", low=0, high=1e12)
    field = load_field(file, side_angstrom=size, thickness_angstrom=thickness, zone_axis=parse_zone_axis(zone_axis), seed=seed)
    sample, origin = field.sample, field.origin_angstrom
    request = _request(sample, origin, size, points, instrument=instrument, defocus=defocus, detectors=detectors, phonons=phonons, seed=seed)
    plan = explain(request)
    data = _simulated(request, plan)
    if dose:
        data = shot_noise.counted_electrons(data, request.scan, dose, seed)
    caption = f"{sample.name}, {sample.thickness_angstrom:.0f} Å thick, {request.beam.energy_ev / 1e3:g} kV, {request.beam.semiangle_mrad:g} mrad"
    caption += f", {dose:g} e⁻/Å²" if dose else ", expected signal"
    figure = micrographs.micrographs([(_title(data[name]), data[name]) for name in data], caption=caption)
    micrographs.save_png(figure, output)
    netcdf = save(data, output.with_suffix(".nc"), overwrite=True)
    if as_json:
        print_json({"png": str(output), "netcdf": str(netcdf), "engine": plan.engine, "notes": [*field.notes, *plan.notes]})
        return
    for note in (*field.notes, *plan.notes):
        typer.echo(f"note: {note}")
    typer.echo(f"{output}\n{netcdf}")


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


def parse_zone_axis(text: str) -> tuple[int, int, int]:
    """Return three whole numbers of a text such as ``1,1,0``.

    Raises
    ------
    SettingsError
        The text is something else.
    """
    try:
        u, v, w = (int(part) for part in text.replace(" ", ",").split(",") if part)
    except ValueError:
        message = f"--zone-axis {text} is not three whole numbers. Write it like 1,1,0."
        raise SettingsError(message) from None
    return u, v, w


def _request(
    sample: Any, origin: tuple[float, float], size: float, points: int, *, instrument: str, defocus: float, detectors: str, phonons: int, seed: int
) -> Any:
    from stemtwin.twin import checks
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.instrument.simulation.request import Request

    scope = Microscope(sample, PROFILES[instrument].still(), seed=seed)
    scope.set(C10=-checks.number("--defocus", defocus, "A"))
    points = checks.whole("--points", points, low=8, high=4096)
    configurations = checks.whole("--phonons", phonons, low=0, high=1000)
    return Request(
        sample=sample,
        beam=scope.truth()["beam"],
        scan=RasterScan(shape=(points, points), field_of_view_angstrom=(size, size), origin_angstrom=origin),
        detectors=tuple(name.strip() for name in detectors.split(",") if name.strip()),
        phonons=configurations if configurations and sample.thermal_sigma_angstrom is not None else "static",
        seed=seed,
    )


def _title(frame: Any) -> str:
    return f"{str(frame.name).upper()}  {frame.attrs['inner_mrad']:.3g}-{frame.attrs['outer_mrad']:.3g} mrad"
