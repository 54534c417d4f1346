"""``stemtwin certify``: comparison of stemtwin with abTEM on one request or on rows of a dataset, and test of convergence."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemtwin.leaderboard.cli.output import JsonFlag

if TYPE_CHECKING:
    from stemtwin.datasets.cards import Card


def certify(
    what: Annotated[
        str,
        typer.Argument(
            help="Request file written by Request.save(path), or a dataset, given by its name or its card file.", metavar="REQUEST.toml|DATASET"
        ),
    ],
    size: Annotated[str | None, typer.Option(help="Size of a dataset whose rows are certified; by default std.")] = None,
    rows: Annotated[int | None, typer.Option(help="Number of rows of a dataset that are certified; by default 10.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="JSON file of the certificate of a dataset; rows that the file already contains are not recomputed.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare stemtwin with abTEM on a request or on rows of a dataset.

    The command also tests the convergence with the grid, the slice thickness and the number of phonon configurations.
    """
    if not _is_request(what):
        _dataset(what, size, rows, output, as_json=as_json)
        return
    named = next((name for name, given in (("--size", size), ("--rows", rows), ("--output", output)) if given is not None), None)
    if named is not None:
        message = f"{named} applies to a dataset, but {what} is a request: leave out {named}"
        raise typer.BadParameter(message)
    _request(Path(what), as_json=as_json)


def _is_request(what: str) -> bool:
    """Return True if an argument names the file of a request, and False for the name or the card of a dataset."""
    import os
    import tomllib

    if not os.path.isfile(what):  # noqa: PTH113 - Path.is_file raises where a name is too long
        return what.endswith(".toml")
    try:
        return not str(tomllib.loads(Path(what).read_text(encoding="utf-8")).get("schema", "")).startswith("stemtwin/dataset-card")
    except (OSError, ValueError):
        return True  # the reader of requests reports the error


def _request(path: Path, *, as_json: bool) -> None:
    """Certify a request and print the comparisons."""
    from rich.console import Console
    from rich.table import Table

    from stemtwin.twin.instrument.simulation.certify import certify as run
    from stemtwin.twin.instrument.simulation.request import Request

    asked = Request.load(path)
    with Console(stderr=True, emoji=False).status("certify") as status:
        result = run(asked, progress=status.update)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result)))
        return
    console = Console(highlight=False, emoji=False)
    ny, nx = result.grid
    console.print(f"{path}: {result.points} points, grid {ny} x {nx}, {result.slices} slices", markup=False)
    table = Table(box=None, header_style="dim")
    for column in ("detector", "compared with stemtwin's multislice"):
        table.add_column(column)
    for column in ("stemtwin", "other", "rms / mean", "largest / mean"):
        table.add_column(column, justify="right")
    for line in result.lines:
        table.add_row(line.detector, line.what, f"{line.ours:.6f}", f"{line.other:.6f}", f"{line.rms:.1e}", f"{line.largest:.1e}")
    console.print(table)
    for name, error in result.standard_error.items():
        console.print(f"{name}: standard error over the phonon configurations {error:.2%} of the mean", markup=False)
    for note in result.notes:
        console.print(f"note: {note}", markup=False)


def _dataset(name: str, size: str | None, rows: int | None, output: Path | None, *, as_json: bool) -> None:
    """Certify rows of a dataset, print the table, and write the certificate if a file is named."""
    from stemtwin.datasets import certificates
    from stemtwin.datasets.catalog import STANDARD, card_of
    from stemtwin.leaderboard.cli.output import make_console
    from stemtwin.leaderboard.cli.work_progress import counted_steps, span
    from stemtwin.twin.files import check_writable, write_atomically

    card: Card = card_of(name)
    if output is not None:
        check_writable(output)
    size, count = size or STANDARD, certificates.ROWS if rows is None else rows
    kept = certificates.read_rows(output, card, size) if output is not None else []
    planned = certificates.seconds(card, size, count, kept)
    typer.echo(f"{card.id} {size}: {count} rows with both solvers, about {span(planned)}", err=True)

    def keep(found: dict[str, Any]) -> None:
        if output is not None:
            write_atomically(output, (json.dumps(found, indent=1) + "\n").encode())

    with counted_steps("rows", quiet=as_json) as progress:
        found = certificates.certify_dataset(card, size, rows=count, progress=progress, kept=kept, keep=keep)
    if as_json:
        typer.echo(json.dumps(found))
        return
    _print_rows(make_console(), found)
    if output is not None:
        typer.echo(f"written: {output}")


def _print_rows(console: Any, found: dict[str, Any]) -> None:
    """Print a dataset's certificate as a table."""
    from rich.table import Table

    from stemtwin.datasets.certificates import extent, percent

    console.print(f"{found['dataset']}: {extent(found)}; differences are rms / mean", markup=False)
    parts = list(found["worst"])
    table = Table(box=None, header_style="dim")
    for column in ("specimen", "signal"):
        table.add_column(column)
    for column in parts:
        table.add_column(column, justify="right")
    for row in found["rows"]:
        for detector, signal in row["signals"].items():
            cells = [percent(row["differences"].get(part, {}).get(detector)) for part in parts]
            table.add_row(row["specimen"], f"{detector} {signal:.3g}", *cells)
    table.add_row("worst", "", *(percent(found["worst"][part]) for part in parts))
    console.print(table)
    for note in found["notes"]:
        console.print(f"note: {note}", markup=False)
