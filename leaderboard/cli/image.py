"""``stemtwin image``: a picture of any structure."""

import difflib
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json, progress
from stemtwin.twin.errors import SettingsError, UnknownNameError

MARGIN_ANGSTROM = 8.0
"""What is kept around the field where a structure is cut out of a larger one and does not repeat."""


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
    from stemtwin.twin.instrument import micrographs
    from stemtwin.twin.instrument.simulation.simulate import explain, simulate

    if output.suffix.lower() != ".png":
        message = f"--output {output} does not end in .png. Give the picture's name; the netCDF file gets the same name."
        raise SettingsError(message)
    if output.is_dir():
        message = f"--output {output} is a folder. Give the name of a picture in it."
        raise SettingsError(message)
    output.parent.mkdir(parents=True, exist_ok=True)  # a folder that cannot be is refused before any work
    sample, origin, notes = load(file, size=size, thickness=thickness, zone_axis=parse_zone_axis(zone_axis), seed=seed)
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
        print_json({"png": str(output), "netcdf": str(netcdf), "engine": plan.engine, "notes": [*notes, *plan.notes]})
        return
    for note in (*notes, *plan.notes):
        typer.echo(f"note: {note}")
    typer.echo(f"{output}\n{netcdf}")


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


def load(
    file: str, *, size: float, thickness: float | None, zone_axis: tuple[int, int, int], seed: int
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
    zone_axis : tuple of int
        For files.
    seed : int
        Of occupancies and dopants.
    """
    from stemtwin.twin import checks
    from stemtwin.twin.samples.library import list_samples, load_sample
    from stemtwin.twin.samples.readers import read_sample

    checks.number("--size", size, "A", low=2, high=500)
    if not Path(file).exists() and file in list_samples():
        sample = load_sample(file, size_angstrom=(size, size), thickness_angstrom=thickness, seed=seed)
        return sample, (0.0, 0.0), sample.notes
    near = difflib.get_close_matches(file, list_samples(), n=1)
    if near and not Path(file).exists():
        message = f"There is neither a file nor a sample named {file!r}. Did you mean {near[0]!r}?"
        raise UnknownNameError(message)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        sample = read_sample(file, zone_axis=zone_axis, size_angstrom=(size, size), thickness_angstrom=thickness, seed=seed)
        origin = (0.0, 0.0)
        if not sample.periodic:
            side = size + 2 * MARGIN_ANGSTROM
            sample = read_sample(file, zone_axis=zone_axis, size_angstrom=(side, side), thickness_angstrom=thickness, seed=seed)
            if not sample.periodic:
                origin = (MARGIN_ANGSTROM, MARGIN_ANGSTROM)
    said = tuple(dict.fromkeys(str(item.message) for item in caught if issubclass(item.category, UserWarning)))
    return sample, origin, (*sample.notes, *said)


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
        beam=scope.beam(),
        scan=RasterScan(shape=(points, points), field_of_view_angstrom=(size, size), origin_angstrom=origin),
        detectors=tuple(name.strip() for name in detectors.split(",") if name.strip()),
        phonons=configurations if configurations and sample.thermal_sigma_angstrom is not None else "static",
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
