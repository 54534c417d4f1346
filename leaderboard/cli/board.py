"""``stemtwin board``: tables of the leaderboard."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import WIDE, JsonFlag, make_console, number, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from stemtwin.leaderboard.tables import Board, BoardRow


PORT = 8765
"""Default port of the page servers."""


def board(
    task: Annotated[str | None, typer.Argument(help="Name of a task; by default all tasks are shown.")] = None,
    database: Annotated[
        Path | None,
        typer.Option(help="Database file of the board; by default the path in STEMTWIN_DATABASE, or a file in the user's data folder."),
    ] = None,
    pages: Annotated[Path | None, typer.Option(help="Write the board as static pages to this folder.")] = None,
    jury: Annotated[
        Path | None,
        typer.Option(help="Write one printable sheet per team, and all numbers as CSV, to this folder."),
    ] = None,
    reviews: Annotated[
        Path | None, typer.Option(help="File of review requests, from 'stemtwin review --output'; the pages show these requests.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the pages (--pages) and of the printable sheets (--jury).")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the pages until Ctrl-C and update them when the board changes.")] = False,
    host: Annotated[str | None, typer.Option(help="Address of the server; by default 127.0.0.1, which only this machine can reach.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the server; by default 8765.", min=1, max=65535)] = None,
    json: JsonFlag = False,
) -> None:
    """Show the board, one table for each task and dataset; entries whose scores do not differ significantly share a range of places."""
    from stemtwin.leaderboard.store import Store, default_path
    from stemtwin.twin.errors import SettingsError

    if task is not None:
        from stemtwin.benchmarks.tasks import find_task

        task = find_task(task).name
    if database is not None and not database.exists():
        repair = f"Check the path, or enter something with 'stemtwin submit FOLDER --database {database}'."
        message = f"There is no board {database}. {repair}"
        raise SettingsError(message)
    where, boards = database or default_path(), []
    written = {"--pages": pages, "--jury": jury, "--serve": serve or None}
    _check_together(written, task, {"--reviews": reviews, "--title": title}, {"--host": host, "--port": port})
    if any(written.values()):
        publication = _Publication(where, title=title, reviews=reviews)
        for folder, kind in ((pages, "pages"), (jury, "jury")):
            if folder is not None:
                publication.write(folder, kind)
        if serve:
            publication.serve(pages, host or "127.0.0.1", port or PORT)
        return
    if where.exists():
        with Store(where, read_only=True) as store:
            boards = store.boards(task)
    if json:
        print_json([dataclasses.asdict(one) for one in boards])
        return
    console = make_console()
    if not boards:
        console.print(
            f"The board {where} is empty. Enter something with 'stemtwin eval TASK --baseline NAME --submit'.",
            markup=False,
            soft_wrap=True,
        )
    for one in boards:
        show(one, console)


def _check_together(written: dict[str, object], task: str | None, shown: dict[str, object], served: dict[str, object]) -> None:
    """Raise BadParameter for options that cannot be combined."""
    first = next((name for name, value in written.items() if value is not None), None)
    if first is not None and task is not None:
        message = f"{first} applies to the whole board: leave out the task {task!r}"
        raise typer.BadParameter(message)
    for given, needed in ((shown, tuple(written)), (served, ("--serve",))):
        named = next((name for name, value in given.items() if value is not None), None)
        if named is not None and all(written[name] is None for name in needed):
            message = f"{named} needs {' or '.join(needed)}: give one of them, or leave out {named}"
            raise typer.BadParameter(message)


class _Publication:
    """Writer and server of a board's pages and sheets."""

    def __init__(self, where: Path, *, title: str | None, reviews: Path | None) -> None:
        from stemtwin.benchmarks.names import check_name
        from stemtwin.leaderboard.reviews import read_reviews

        self.where, self.reviews = where, reviews
        self.options = {} if title is None else {"title": check_name(title, "title")}
        if reviews is not None:
            read_reviews(reviews)

    def _write(self, folder: Path, kind: str) -> "list[Path]":
        """Write the files for the present state of the board."""
        from stemtwin.leaderboard.pages.jury import write_sheets
        from stemtwin.leaderboard.pages.site import write_pages
        from stemtwin.leaderboard.reviews import read_reviews
        from stemtwin.leaderboard.store import Store

        asked = () if self.reviews is None else read_reviews(self.reviews)
        with Store(self.where, read_only=self.where.exists()) as store:
            return (write_sheets if kind == "jury" else write_pages)(store, folder, reviews=asked, **self.options)

    def write(self, folder: Path, kind: str) -> None:
        """Write the files to a folder of earlier pages or an empty one, and print their path."""
        from stemtwin.twin.files import check_writable

        check_writable(folder, folder=True)
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        if there and not {"index.html", "style.css"} <= set(there):
            message = f"--{kind} {folder} contains {there[0]!r} and is not a folder of pages: give an empty folder"
            raise typer.BadParameter(message)
        typer.echo(f"written: {len(self._write(folder, kind))} files, begin with {folder / 'index.html'}")

    def serve(self, pages: Path | None, host: str, port: int) -> None:
        """Serve the pages until the user interrupts."""
        import contextlib
        import tempfile

        from stemtwin.leaderboard.serving import BoardServer

        with contextlib.ExitStack() as stack:
            folder = pages or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stemtwin-")))
            watched = (self.where,) if self.reviews is None else (self.where, self.reviews)
            server = BoardServer(folder, watched, lambda: self._write(folder, "pages"), host=host, port=port)
            typer.echo(f"serving {self.where} at {server.address} until Ctrl-C; pages are updated with the board")
            with contextlib.suppress(KeyboardInterrupt):
                server.run()
        typer.echo("stopped")


def show(found: "Board", console: "Console") -> None:
    """Print one table of the board; on a narrow terminal, the columns cost, date and version are left out."""
    from rich.table import Table
    from rich.text import Text

    from stemtwin.benchmarks.names import printable
    from stemtwin.benchmarks.report import PUBLIC

    def text(cell: str) -> Text:
        return Text(printable(cell, console.encoding))

    first = found.rows[0]
    unit = f", {first.unit}" if first.unit else ""
    columns = [
        "order" if found.public else "rank",
        "name",
        f"{first.metric}{unit} [95 %]",
        "worst slice",
        "trust",
        *(["cost", "date", "version"] if console.width >= WIDE else []),
    ]
    title = f"{found.task}@{found.major}  {found.source} {found.source_version}, {found.size}, {found.split}"
    table = Table(title=text(title), title_justify="left", title_style="bold", box=None, header_style="dim")
    for column in columns:
        wraps = column in ("name", "worst slice", "trust")
        table.add_column(column, justify="right" if column == columns[0] else "left", no_wrap=not wraps, overflow="fold")
    for row in found.rows:
        worst = f"{number(row.worst_value)} {row.worst}" if row.worst else "-"
        score = row.reason or number(row.value, row.low, row.high)
        trust = row.trust if row.status != PUBLIC else f"{row.trust}, {PUBLIC}"
        cells = (_place(row, found), _name(row), score, worst, trust, _cost(row.cost), row.created[:10], row.version)
        table.add_row(*(text(cell) for cell in cells[: len(columns)]), style=None if row.order else "dim")
    console.print(table)
    for line in _legend(found):
        console.print(Text(printable(line, console.encoding), style="dim"))
    console.print()


def _legend(found: "Board") -> "Iterator[str]":
    """Yield the lines below a table: the rule of the order, and notes on single rows."""
    from stemtwin.benchmarks.report import PUBLIC
    from stemtwin.leaderboard.tables import INTERVALS

    first = found.rows[0]
    yield "larger is better" if first.direction == "max" else "smaller is better"
    yield "scores that do not differ significantly share a range of places; '-' marks rows without a place"
    if found.public:
        yield f"{PUBLIC}: the answers of this split are public, so no row is ranked"
    if found.compared == INTERVALS:
        reason = "a report of version 1 lacks sums of clusters, or the metric has another version"
        yield f"scores differ if their intervals do not overlap; they cannot be resampled in pairs, because {reason}"
    elif found.compared:
        yield f"scores are compared by paired resampling of {found.n_clusters} specimens or episodes"
    if found.detectable is not None:
        unit = f" {first.unit}" if first.unit else ""
        yield f"minimum detectable difference {number(found.detectable)}{unit} (95 %, power 80 %)"
    yield from (f"row {row.entry_id}, {row.name}: {note}" for row in found.rows for note in row.notes)


def _place(row: "BoardRow", found: "Board") -> str:
    """Return the place or the rank of a row, for example ``1`` or ``1-2``, or a dash."""
    place = row.order if found.public else row.rank
    if place is None:
        return "-"
    best, last = place
    return str(best) if best == last else f"{best}-{last}"


def _name(row: "BoardRow") -> str:
    """Return the entry and its team."""
    return f"{row.name} ({row.team})" if row.team else row.name


def _cost(cost: dict[str, float]) -> str:
    """Return the cost of an entry as text: dose per episode, otherwise time per sample, or a dash if neither is known."""
    if "dose_e_per_angstrom2" in cost:
        return f"{cost['dose_e_per_angstrom2']:.2g} e-/A^2"
    return f"{cost['wall_s_per_sample']:.2g} s/image" if "wall_s_per_sample" in cost else "-"
