"""``stemtwin compare``: comparison of a measured micrograph with the twin at matched conditions."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from stemtwin.benchmarks.twin_answers import TwinConditions
    from stemtwin.twin.samples.sample import Sample

CELL = 8.0
"""Approximate width and height of the simulated cell, A; the cell consists of whole unit cells."""
OUTER, OUTER_MOST = 6.0, 200.0
"""Default outer angle of the dark field as a multiple of the convergence semi-angle, and upper limit of this default, mrad."""


def compare(
    file: Annotated[
        Path, typer.Argument(help="Image file in a format that 'stemtwin data pack' reads, for example npz, npy, dm3, dm4, emd, mrc or tif.")
    ],
    sample: Annotated[list[str], typer.Option(help="Library sample or structure file of a material in the image; may be repeated.")],
    region: Annotated[
        list[str] | None,
        typer.Option(
            help="One region for each --sample: first row, first column, height, width (px), as in 160,500,64,64; by default the best-fitting one."
        ),
    ] = None,
    zone_axis: Annotated[str, typer.Option(help="Zone axis of structure files.")] = "0,0,1",
    thickness: Annotated[float, typer.Option(help="Thickness along the beam, A; a library sample of a single layer has its own thickness.")] = 60.0,
    instrument: Annotated[
        str, typer.Option(help="Instrument profile, which includes residual aberrations; see 'stemtwin list profiles'.")
    ] = "corrected-200kv",
    energy: Annotated[float | None, typer.Option(help="Beam energy, eV; by default that of the profile.")] = None,
    semiangle: Annotated[float | None, typer.Option(help="Convergence semi-angle, mrad; by default that of the profile.")] = None,
    inner: Annotated[float | None, typer.Option(help="Inner angle of the dark field, mrad; by default 3 times the semi-angle.")] = None,
    outer: Annotated[float | None, typer.Option(help="Outer dark-field angle, mrad; by default the lower of 200 and 6 times the semi-angle.")] = None,
    defocus: Annotated[float, typer.Option(help="Underfocus, A.")] = 0.0,
    dwell: Annotated[float, typer.Option(help="Dwell time per pixel, us.")] = 10.0,
    pixel_size: Annotated[float | None, typer.Option(help="Pixel size for a file without a calibration, A.")] = None,
    variable: Annotated[str | None, typer.Option(help="Name of the image in a file with several arrays.")] = None,
    window: Annotated[
        int, typer.Option(help="Side of the square window for a fit without --region, pixels; the window lies where the sample fits best.")
    ] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for comparison.md, comparison.json and pictures.")] = Path("comparison"),
    json: JsonFlag = False,
) -> None:
    """Fit the settings of the twin to a measured micrograph, simulate the same frame with the twin, and compare the two images."""
    from stemtwin.benchmarks import micrograph_report, micrograph_twin
    from stemtwin.datasets.packing.measured_images import read_one
    from stemtwin.twin.files import check_writable

    regions = _regions(region or [], len(sample))
    conditions = _conditions(instrument, energy, semiangle, inner, outer, defocus, dwell, seed)
    micrograph_twin.check_window(window)
    check_writable(output, folder=True)
    for name in (micrograph_report.VALUES, micrograph_report.TEXT, micrograph_report.PICTURE, micrograph_report.ANSWERS):
        check_writable(output / name)
    images = read_one(file, pixel_size, variable)
    image, step = images.pixels[0], images.sampling_angstrom
    samples = _samples(sample, zone_axis, thickness, seed)
    typer.echo(f"{file.name}: {image.shape[0]} x {image.shape[1]} px of {step:.4f} A; about half a minute per sample, more for a thick one", err=True)
    found = []
    for one, where in zip(samples, regions, strict=True):

        def say(text: str, name: str = one.name) -> None:
            typer.echo(f"{name}: {text}", err=True)

        found.append(micrograph_twin.compare(image, step, one, conditions, region=where, window=window, progress=say))
    paths = micrograph_report.write_report(found, step, conditions, file.name, output)
    if json:
        print_json({"files": [str(path) for path in paths], "samples": [micrograph_twin.as_values(one, step) for one in found]})
        return
    for one in found:
        _print(micrograph_twin.as_values(one, step))
    typer.echo(f"written: {', '.join(str(path) for path in paths)}")


def _regions(texts: list[str], count: int) -> list[tuple[int, int, int, int] | None]:
    """Return the region (first row, first column, height, width) of each sample in pixels, or None for each if no region is given."""
    if texts and len(texts) != count:
        message = f"{len(texts)} --region and {count} --sample were given: give a region for each sample, in the same order, or none"
        raise typer.BadParameter(message)
    found: list[tuple[int, int, int, int] | None] = []
    for text in texts:
        words = text.split(",")
        if len(words) != 4 or not all(word.strip().isdecimal() for word in words):
            message = f"--region {text!r} cannot be read: write first row, first column, height and width in px, like 160,500,64,64"
            raise typer.BadParameter(message)
        found.append((int(words[0]), int(words[1]), int(words[2]), int(words[3])))
    return found or [None] * count


def _conditions(
    instrument: str, energy: float | None, semiangle: float | None, inner: float | None, outer: float | None, defocus: float, dwell: float, seed: int
) -> "TwinConditions":
    """Return the conditions of the twin; values that are None are taken from the instrument profile."""
    from stemtwin.benchmarks.twin_answers import TwinConditions
    from stemtwin.twin import checks
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.settings import Beam

    profile = PROFILES[instrument]
    beam = Beam(energy_ev=energy or profile.energy_ev, semiangle_mrad=semiangle or profile.semiangle_mrad)  # raises for values out of range
    angle = beam.semiangle_mrad
    made = TwinConditions(
        instrument=instrument,
        energy_ev=beam.energy_ev,
        semiangle_mrad=angle,
        inner_mrad=3 * angle if inner is None else inner,
        outer_mrad=min(OUTER * angle, OUTER_MOST) if outer is None else outer,
        C10_angstrom=0.0 - checks.number("defocus", defocus, "A", low=-1e5, high=1e5),
        dwell_time_us=checks.number("dwell_time_us", dwell, "us", low=1e-3, high=1e5),
        seed=seed,
    )
    made.detector()  # raises for impossible angles
    return made


def _samples(names: list[str], zone_axis: str, thickness: float, seed: int) -> "list[Sample]":
    """Return the samples, and print notes on structure files."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        samples = [_sample(name, zone_axis, thickness, seed) for name in names]
    for note in dict.fromkeys(str(one.message) for one in notes):
        typer.echo(f"note: {note}", err=True)
    return samples


def _sample(name: str, zone_axis: str, thickness: float, seed: int) -> "Sample":
    """Return a sample, a few unit cells wide, from the library or from a structure file."""
    import os

    from stemtwin.twin.samples.library import list_samples, load_sample
    from stemtwin.twin.samples.readers.read_sample import read_sample

    size = (CELL, CELL)
    if os.path.isfile(name) and name not in list_samples():  # noqa: PTH113 - Path.is_file raises where a name is too long
        return read_sample(name, zone_axis=zone_axis, size_angstrom=size, thickness_angstrom=thickness, seed=seed)
    sheet = load_sample(name, size_angstrom=size, seed=seed)
    deep = any(" layers" in note or "monolayer" in note for note in sheet.notes) or sheet.thickness_angstrom < CELL
    return sheet if deep else load_sample(name, size_angstrom=size, thickness_angstrom=thickness, seed=seed)


def _print(values: dict[str, Any]) -> None:
    """Print the comparison of a sample as a table."""
    from rich.table import Table

    from stemtwin.leaderboard.cli.output import make_console

    console = make_console()
    console.print(f"{values['sample']}, region {values['region']}", markup=False)
    table = Table(box=None, header_style="dim")
    for column in ("quantity", "unit"):
        table.add_column(column)
    for column in ("image", "twin"):
        table.add_column(column, justify="right")
    table.add_column("agree")
    for row in values["quantities"]:
        table.add_row(row["quantity"], row["unit"], f"{row['measured']:.4g}", f"{row['twin']:.4g}", "yes" if row["agrees"] else "no")
    console.print(table)
    for name, found in values["baselines"].items():
        told = found.get("skipped") or ", ".join(
            f"{found[key]['found']} of {found['columns']} columns in the {where}" for key, where in (("measured", "image"), ("twin", "twin"))
        )
        console.print(f"baseline {name}: {told}", markup=False)
