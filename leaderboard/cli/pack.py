"""``stemtwin data pack``: dataset made from measured images and their labels."""

import json
from pathlib import Path
from typing import Annotated

import typer

from stemtwin.leaderboard.cli.number_lists import parse_numbers


def pack(
    files: Annotated[list[Path], typer.Argument(help="Image files that 'stemtwin.datasets.formats.read_file' reads.")],
    task: Annotated[str, typer.Option(help="Name of the task for which the images are used.")],
    name: Annotated[str, typer.Option(help="Name of the dataset: lowercase letters, digits and hyphens.")],
    labels_by: Annotated[str, typer.Option(help="Origin of the labels: person, algorithm (scores are then not ranked) or none.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of labels, with the columns file, x_angstrom, y_angstrom (or x_px, y_px), and optionally "
            "heaviest (atomic number) and frame (number of the image in its file)."
        ),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="New folder of the dataset; by default <data folder>/measured/<name>/<version>.")] = None,
    version: Annotated[str, typer.Option(help="Version of the dataset.")] = "1.0.0",
    licence: Annotated[str, typer.Option(help="Licence of the images as stated by their owner.")] = "not stated",
    citation: Annotated[str, typer.Option(help="Citation of the images.")] = "",
    shares: Annotated[str, typer.Option(help="Fractions of the files in the splits train, val and test, separated by commas.")] = "0,0,1",
    tile: Annotated[int | None, typer.Option(help="Side of the square tiles into which images are cut, pixels.")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Pixel size for files without a calibration, A.")] = None,
    variable: Annotated[str | None, typer.Option(help="Name of the variable that contains the image, for files with several variables.")] = None,
    fact: Annotated[
        list[str] | None, typer.Option(help="Value of a dataset column that is the same for all images, as COLUMN=VALUE; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Pack measured images and their labels as a dataset with a card, hashes, splits and a manifest."""
    from stemtwin.benchmarks.tasks import find_task
    from stemtwin.datasets.cards import find_card
    from stemtwin.datasets.fetch import data_root
    from stemtwin.datasets.packing import PackSettings
    from stemtwin.datasets.packing import pack as pack_files

    found = find_task(task)
    if found.kind != "predictions":
        message = f"the task {task!r} is an agent task, which uses no images: name a prediction task"
        raise typer.BadParameter(message, param_hint="--task")
    settings = PackSettings(
        name=name,
        labels_by=labels_by,  # type: ignore[arg-type] - checked with the other settings
        version=version,
        licence=licence,
        citation=citation,
        shares=_shares(shares),
        tile_px=tile,
        pixel_size_angstrom=pixel_size,
        variable=variable,
        facts=dict(map(_fact, fact or [])),
    )
    where = folder or data_root() / "measured" / name / version
    manifest = pack_files(files, where, settings, find_card(found.source, found.source_version), task=found.registered, labels=labels)
    rows = {split: piece.rows for split, piece in manifest.splits.items()}
    if as_json:
        typer.echo(json.dumps({"name": name, "version": version, "folder": str(where), "rows": rows, "content_sha256": manifest.content_sha256}))
        return
    counts = ", ".join(f"{n} {split}" for split, n in rows.items())
    typer.echo(f"{name} {version}: {counts} image(s) in {where}, content {manifest.content_sha256[:12]}, labels by {labels_by}")
    if labels is not None:
        typer.echo(f"score an entry on it with: stemtwin eval {task} --data {where} --baseline NAME")


def _shares(text: str) -> tuple[float, float, float]:
    """Return the fractions of the three splits; several may be 0."""
    words = text.split(",")
    if len(words) != 3:
        message = f"{text!r} is not a list of three fractions for train, val and test, such as 0.6,0.2,0.2"
        raise typer.BadParameter(message, param_hint="--shares")
    train, val, test = (parse_numbers("--shares", word, "the whole")[0] for word in words)
    return train, val, test


def _fact(text: str) -> tuple[str, str]:
    """Return the column and the value of a fact."""
    name, mark, value = text.partition("=")
    if not (name.strip() and mark and value.strip()):
        message = f"{text!r} is not of the form COLUMN=VALUE"
        raise typer.BadParameter(message, param_hint="--fact")
    return name.strip(), value.strip()
