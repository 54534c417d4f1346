"""``stemtwin image``: a picture of any structure."""

import contextlib
import difflib
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json, progress
from stemtwin.leaderboard.cli.structure_options import in_options, parse_thermal
from stemtwin.twin.errors import SettingsError, StructureFileError, UnknownNameError

MARGIN_ANGSTROM = 8.0
"""What is kept around the field where a structure is cut out of a larger one and does not repeat."""


def image(
    file: Annotated[str, typer.Argument(help="A structure file (CIF, POSCAR, xyz, ...) or the name of a sample of the library.", metavar="FILE")],
    size: Annotated[float, typer.Option(help="Side of the field, A.")] = 16.0,
    thickness: Annotated[
        float | None, typer.Option(help="Thickness along the beam, A; by default about 40 A, or one layer of a 2D material.")
    ] = None,
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
    from stemtwin.twin.instrument import micrographs
    from stemtwin.twin.instrument.simulation.simulate import explain, simulate

    if output.suffix.lower() != ".png":
        message = f"--output {output} does not end in .png. Give the picture's name; the netCDF file gets the same name."
        raise SettingsError(message)
    sample, origin, notes = load(file, size=size, thickness=thickness, zone_axis=zone_axis, seed=seed, thermal=thermal, block=block)
    request = _request(sample, origin, size, points, instrument=instrument, defocus=defocus, detectors=detectors, phonons=phonons, seed=seed)
    plan = explain(request)
    with progress(f"{plan.engine}, {plan.waves} waves") as step:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            step(done, plan.waves)

        data = simulate(request, progress=advance)
    if dose:
        data = add_noise(data, request.scan, dose, seed)
    caption = f"{sample.name}, {sample.thickness_angstrom:.0f} Å thick, {request.beam.energy_ev / 1e3:g} kV, {request.beam.semiangle_mrad:g} mrad"
    caption += f", {dose:g} e⁻/Å²" if dose else ", expected signal"
    figure = micrographs.micrographs([(_title(data[name]), data[name]) for name in data], caption=caption)
    micrographs.save_png(figure, output)
    netcdf = save_netcdf(data, output.with_suffix(".nc"))
    if as_json:
        specimen = {"formula": sample.formula, "atoms": len(sample), "density_g_per_cm3": sample.density_g_per_cm3, "thermal": sample.thermal_summary}
        print_json({"png": str(output), "netcdf": str(netcdf), "engine": plan.engine, "specimen": specimen, "notes": [*notes, *plan.notes]})
        return
    for note in (*notes, *plan.notes):
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{len(sample)} atoms, {sample.formula}, {sample.density_g_per_cm3:.3g} g/cm^3, thermal motion: {sample.thermal_summary}")
    typer.echo(f"{output}\n{netcdf}")


def load(
    file: str,
    *,
    size: float,
    thickness: float | None,
    seed: int,
    zone_axis: str | None = None,
    thermal: str | None = None,
    block: str | None = None,
) -> tuple[Any, tuple[float, float], tuple[str, ...]]:
    """Return a sample that holds a field of a given side, where the field starts (x, y), A, and what was done to the structure.

    Parameters
    ----------
    file : str
        A structure file, or the name of a library sample where no such file is.
    size : float
        Side of the field, A.
    thickness : float, optional
        A.
    seed : int
        Of occupancies and dopants.
    zone_axis : str, optional
        For files; None: [001].
    thermal : str, optional
        1-D rms displacement, A, of all atoms or of each element.
    block : str, optional
        Which structure of a file that holds several.

    Raises
    ------
    SettingsError, StructureFileError
        As of :func:`~stemtwin.twin.samples.readers.read_sample.read_sample`, in the words of the command line.
    """
    from stemtwin.twin import checks
    from stemtwin.twin.samples.library import list_samples, load_sample
    from stemtwin.twin.samples.sample import resolve_sigma

    checks.number("--size", size, "A", low=2, high=500)
    motion = None if thermal is None else parse_thermal(thermal)
    if not Path(file).exists() and file in list_samples():
        if block is not None or zone_axis is not None:
            message = f"{file} is a sample of the library, which has its own zone axis: leave out {'--block' if block else '--zone-axis'}."
            raise SettingsError(message)
        sample = load_sample(file, size_angstrom=(size, size), thickness_angstrom=thickness, seed=seed)
        if motion is not None:
            with _in_options():
                sample = replace(sample, thermal_sigma_angstrom=resolve_sigma(sample.numbers, motion))
        return sample, (0.0, 0.0), sample.notes
    near = difflib.get_close_matches(file, list_samples(), n=1)
    if near and not Path(file).exists():
        message = f"There is neither a file nor a sample named {file!r}. Did you mean {near[0]!r}?"
        raise UnknownNameError(message)
    settings = {"zone_axis": zone_axis or (0, 0, 1), "thickness_angstrom": thickness, "seed": seed, "thermal_sigma_angstrom": motion, "block": block}
    return _from_file(file, size, settings)


def _from_file(file: str, size: float, settings: dict[str, Any]) -> tuple[Any, tuple[float, float], tuple[str, ...]]:
    """Return the sample of a file with a margin where it does not repeat, where its field starts, and its notes."""
    from stemtwin.twin.samples.readers.read_sample import read_sample

    with warnings.catch_warnings(), _in_options():
        warnings.simplefilter("ignore", UserWarning)  # each of them is among the notes
        sample = read_sample(file, size_angstrom=(size, size), **settings)
        origin = (0.0, 0.0)
        if not sample.periodic:
            side = size + 2 * MARGIN_ANGSTROM
            sample = read_sample(file, size_angstrom=(side, side), **settings)
            if not sample.periodic:
                origin = (MARGIN_ANGSTROM, MARGIN_ANGSTROM)
    return sample, origin, tuple(in_options(note) for note in sample.notes)


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
    scope.set(C10=-checks.number("--defocus", defocus, "A"))
    points = checks.whole("--points", points, low=8, high=4096)
    moves = sample.thermal_sigma_angstrom is not None
    configurations = checks.whole("--phonons", (4 if moves else 0) if phonons is None else phonons, low=0, high=1000)
    if configurations and not moves:
        message = f"--phonons {configurations} needs thermal motion, but {sample.name} is static. Give it --thermal, or use --phonons 0."
        raise SettingsError(message)
    return Request(
        sample=sample,
        beam=scope.beam(),
        scan=RasterScan(shape=(points, points), field_of_view_angstrom=(size, size), origin_angstrom=origin),
        detectors=tuple(name.strip() for name in detectors.split(",") if name.strip()),
        phonons=configurations or "static",
        seed=seed,
    )


def add_noise(data: Any, scan: Any, dose: float, seed: int) -> Any:
    """Return counted electrons instead of expected fractions, at a dose in e-/A^2."""
    import numpy as np

    from stemtwin.twin import checks
    from stemtwin.twin.physics import noise

    dy, dx = scan.pitch_angstrom
    incident = checks.number("--dose", dose, "e-/A^2", above=0, high=1e12) * dy * dx
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(3, 0))))
    out = data.copy()
    for name in data:
        counts = noise.count_electrons(data[name].to_numpy(), incident, rng)
        out[name] = (data[name].dims, counts, {**data[name].attrs, "units": "electrons", "long_name": "detected electrons"})
    out.attrs["dose_e_per_angstrom2"] = dose
    return out


def save_netcdf(data: Any, path: Path) -> Path:
    """Write a Dataset as netCDF, whole or not at all, and return the path."""
    from stemtwin.twin.files import write_atomically

    write_atomically(path, bytes(data.to_netcdf(engine="h5netcdf")))
    return path


def _title(frame: Any) -> str:
    return f"{str(frame.name).upper()}  {frame.attrs['inner_mrad']:.3g}-{frame.attrs['outer_mrad']:.3g} mrad"
