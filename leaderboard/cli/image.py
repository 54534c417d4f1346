"""``stemtwin image``: images, diffraction patterns and spectra of any structure."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemtwin.leaderboard.cli import image_quick, work_progress
from stemtwin.leaderboard.cli.image_files import PICTURE, check_output, write_data
from stemtwin.leaderboard.cli.image_job import ImageJob
from stemtwin.leaderboard.cli.image_options import ImageOptions, check_options
from stemtwin.leaderboard.cli.image_signals import SignalKind, find_signal
from stemtwin.leaderboard.cli.output import JsonFlag, print_json
from stemtwin.leaderboard.cli.structure_options import parse_thermal
from stemtwin.twin.files import check_space

if TYPE_CHECKING:
    from stemtwin.twin.samples.field_samples import FieldSample


StructureArgument = Annotated[
    str, typer.Argument(help="Structure file (for example CIF, POSCAR or xyz) or name of a library sample.", metavar="FILE")
]
_SIGNALS = "image, ronchigram, cbed (centre of the field), pacbed (mean over the field), 4d, eels or edx"
SignalOption = Annotated[str, typer.Option(help=f"Signal: {_SIGNALS}. Spectra (eels, edx) are computed at one point, or as a map with --points.")]
SideOption = Annotated[
    float | None, typer.Option(help="Side of the square field, A; by default 16, or as much as a nanoparticle of the library needs.")
]
ThicknessOption = Annotated[float | None, typer.Option(help="Thickness along the beam, A; by default about 40, or one layer of a sheet material.")]
ZoneAxisOption = Annotated[str | None, typer.Option(help="Zone axis of a structure file, for example 1,1,0, 110 or 11-20; by default 0,0,1.")]
_STATIC = "0 for static atoms"
ThermalOption = Annotated[
    str | None,
    typer.Option(help=f"1-D rms thermal displacement, A, such as 0.08 or Ti=0.07,O=0.09; {_STATIC}; by default from the file or the Debye model."),
]
BlockOption = Annotated[str | None, typer.Option(help="Name or number of the structure in a file with several structures.")]
PhononsOption = Annotated[
    int | None,
    typer.Option(help=f"Number of frozen-phonon configurations; {_STATIC}; by default 4, or fewer for a crystal if fewer are sufficient."),
]
DetectorsOption = Annotated[
    str | None,
    typer.Option(help="Detectors and derived signals (com, icom, idpc), separated by commas; by default haadf,abf."),
]
ExactOption = Annotated[
    bool, typer.Option("--exact", help="Compute exact dark-field signals, even if this takes a long time, instead of quick approximations.")
]
InstrumentOption = Annotated[str, typer.Option(help="Instrument profile; see 'stemtwin list profiles'.")]
SemiAngleOption = Annotated[float | None, typer.Option(help="Convergence semi-angle, mrad; by default that of the instrument.")]
DefocusOption = Annotated[
    str | None,
    typer.Option(help="Underfocus (-C10), A, or a series such as 0,50,100 or -80:80:9 (first, last, count); by default 0, or 1000 for a Ronchigram."),
]
TiltXOption = Annotated[str, typer.Option(help="Tilt of the specimen along x, mrad, or a series in the same notation as --defocus.")]
TiltYOption = Annotated[str, typer.Option(help="Tilt of the specimen along y, mrad, or a series; its values are paired with those of --tilt-x.")]
DepthsOption = Annotated[str | None, typer.Option(help="Depths at which a thickness series of images is computed, A, for example 20,40 or 10:80:8.")]
DoseOption = Annotated[float, typer.Option(help="Dose, e-/A^2; 0 gives the expected signal without noise.")]
PointsOption = Annotated[
    int | None,
    typer.Option(help="Number of points along each side of the field; by default 128 for image, 32 for 4d, 12 for pacbed, 1 for spectra."),
]
PixelsOption = Annotated[int | None, typer.Option(help="Number of pixels along each side of the camera; by default 128, or 512 for a Ronchigram.")]
OuterOption = Annotated[
    float | None,
    typer.Option(help="Angle at the edge of the camera, mrad; by default 2 times the convergence semi-angle, or 1.25 times for a Ronchigram."),
]
EnergiesOption = Annotated[
    str | None,
    typer.Option(help="Lowest energy, highest energy and channel width of spectra, eV, for example 0,1000,0.5."),
]
SeedOption = Annotated[int, typer.Option(help="Random seed.")]
_ENDINGS = ".png (a picture, with a .nc file beside it), .nc, .zarr, .emd, .h5, .hspy, .hf5 and others."
OutputOption = Annotated[Path, typer.Option("--output", "-o", help=f"Output file; its ending sets the format: {_ENDINGS}")]
DrawOption = Annotated[bool, typer.Option("--picture", help="Also write a PNG if --output is a data file.")]


def image(
    file: StructureArgument,
    signal: SignalOption = "image",
    size: SideOption = None,
    thickness: ThicknessOption = None,
    zone_axis: ZoneAxisOption = None,
    thermal: ThermalOption = None,
    block: BlockOption = None,
    phonons: PhononsOption = None,
    detectors: DetectorsOption = None,
    exact: ExactOption = False,
    instrument: InstrumentOption = "corrected-200kv",
    semiangle: SemiAngleOption = None,
    defocus: DefocusOption = None,
    tilt_x: TiltXOption = "0",
    tilt_y: TiltYOption = "0",
    depths: DepthsOption = None,
    dose: DoseOption = 0.0,
    points: PointsOption = None,
    pixels: PixelsOption = None,
    outer: OuterOption = None,
    energies: EnergiesOption = None,
    seed: SeedOption = 0,
    output: OutputOption = Path("stemtwin.png"),
    draw: DrawOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Compute images, diffraction patterns or spectra of any structure, and save them as a picture or as data.

    The command prints the planned computation with its time and memory, and then the progress, on stderr. It prints the
    names of the written files on stdout.
    """
    given = dict(locals())
    options = check_options(given | {"size": _side(file) if size is None else size})
    check_output(output, options.series, drawn=draw)
    kind = find_signal(options)
    fields = _fields(given, options, kind)
    job = image_quick.planned(fields, kind, options)
    check_space(output, 2 * job.result_bytes + 2**20, "The result with its picture")
    for line in job.preamble():
        typer.echo(line, err=True)
    with work_progress.shown(job.waves, job.seconds) as advance:
        data = job.compute(advance)
    exactness, files = _said(data, job), _written(data, job, options, output, drawn=draw)
    if as_json:
        print_json(_described(data, job, files) | {"exactness": exactness})
    else:
        typer.echo("\n".join(str(path) for path in files))


def _side(source: str) -> float:
    """Return the default side of the field, A."""
    from stemtwin.twin.samples.field_samples import usual_side

    return usual_side(source)


def _described(data: Any, job: ImageJob, files: list[Path]) -> dict[str, Any]:
    """Return files, engine, specimen and notes of a result as JSON values."""
    found: dict[str, Any] = {"files": [str(path) for path in files]}
    found |= {name: str(path) for path in files for name, ending in (("png", PICTURE), ("netcdf", ".nc")) if path.suffix.lower() == ending}
    notes = [*([job.first] if job.first else []), *job.notes]
    return found | {"engine": data.attrs.get("engine", job.engine), "specimen": job.specimen, "notes": notes}


def _said(data: Any, job: ImageJob) -> str:
    """Return a description of a result's exactness, and also write it to stderr if it was measured during the computation."""
    found = str(data.attrs.get("engine_error", job.exactness))
    if "lattice translations" in found:
        typer.echo(f"exactness: {found}", err=True)
    return found


def _fields(given: dict[str, Any], options: ImageOptions, kind: SignalKind) -> "tuple[FieldSample, ...]":
    """Return samples that contain the field; samples that are not periodic have a margin for the widest probe."""
    from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
    from stemtwin.twin.samples.field_samples import MARGIN_ANGSTROM, load_fields

    thickness = given["thickness"]
    if options.depths is not None and thickness is None:
        thickness = options.depths[-1]
    settings: dict[str, Any] = {
        "side_angstrom": options.size,
        "thickness_angstrom": thickness,
        "zone_axis": given["zone_axis"],
        "thermal_sigma_angstrom": None if given["thermal"] is None else parse_thermal(given["thermal"]),
        "block": given["block"],
        "seed": options.seed,
    }
    fields = load_fields(given["file"], **settings)
    sample = fields[0].sample
    beams = [options.beam(sample, kind.defocus)] if len(options.defoci or ()) < 2 else options.beams(sample)
    margin = WINDOW_MARGIN / 2 + max(beam.probe_radius(sample.thickness_angstrom) for beam in beams)
    if margin <= MARGIN_ANGSTROM or all(field.sample.periodic for field in fields):
        return fields
    return load_fields(given["file"], margin_angstrom=margin, **settings)


def _written(data: Any, job: ImageJob, options: ImageOptions, output: Path, *, drawn: bool) -> list[Path]:
    """Write a result and, if requested, its picture; return the files, the picture first."""
    from stemtwin.leaderboard.cli.image_pictures import picture
    from stemtwin.twin.instrument import micrographs

    files = write_data(data, output)
    if output.suffix.lower() != PICTURE and not drawn:
        return files
    figure = picture(data, job.field.sample, job.beam, options)
    return [micrographs.save_png(figure, output.with_suffix(PICTURE)), *files]
