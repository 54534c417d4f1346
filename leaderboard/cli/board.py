"""``stemtwin board``: the tables."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import WIDE, JsonFlag, make_console, number, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from stemtwin.leaderboard.store import Board, BoardRow


def board(
    task: Annotated[str | None, typer.Argument(help="Task; all where none is named.")] = None,
    database: Annotated[Path | None, typer.Option(help="File of the board; STEMTWIN_DATABASE or the user's data folder where none is named.")] = None,
    json: JsonFlag = False,
) -> None:
    """Show the board: one table for each task and data, ranks as intervals where scores cannot be told apart."""
    from stemtwin.leaderboard.store import Store
    from stemtwin.twin.errors import SettingsError

    if task is not None:
        from stemtwin.benchmarks.tasks import find_task

        task = find_task(task).name
    if database is not None and not database.exists():
        repair = f"Check the path, or enter something with 'stemtwin submit FOLDER --database {database}'."
        message = f"There is no board {database}. {repair}"
        raise SettingsError(message)
    with Store(database) as store:
        boards, where = store.boards(task), store.path
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


def show(found: "Board", console: "Console") -> None:
    """Print one table; a narrow terminal does without cost, date and version."""
    from rich.table import Table
    from rich.text import Text

    first = found.rows[0]
    unit = f", {first.unit}" if first.unit else ""
    columns = [
        "rank",
        "name",
        f"{first.metric}{unit} [95 %]",
        "worst slice",
        "trust",
        *(["cost", "date", "version"] if console.width >= WIDE else []),
    ]
    title = f"{found.task}@{found.major}  {found.source} {found.source_version}, {found.size}, {found.split}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column == "rank" else "left", no_wrap=column not in ("name", "worst slice"))
    for row in found.rows:
        worst = f"{number(row.worst_value)} {row.worst}" if row.worst else "-"
        cells = (_rank(row), _name(row), number(row.value, row.low, row.high), worst, row.trust, _cost(row.cost), row.created[:10], row.version)
        table.add_row(*(Text(cell) for cell in cells[: len(columns)]), style=None if row.rank else "dim")
    console.print(table)
    better = "larger is better" if first.direction == "max" else "smaller is better"
    console.print(Text(f"{better}; one rank for scores whose intervals overlap; '-': not ranked\n", style="dim"))


def _rank(row: "BoardRow") -> str:
    """Return the rank interval: ``1``, ``1-2`` or a dash."""
    if row.rank is None:
        return "-"
    best, last = row.rank
    return str(best) if best == last else f"{best}-{last}"


def _name(row: "BoardRow") -> str:
    """Return the entry and its team."""
    return f"{row.name} ({row.team})" if row.team else row.name


def _cost(cost: dict[str, float]) -> str:
    """Return the spending of an entry on a sample or an episode: dose where it costs dose, else time."""
    if "dose_e_per_angstrom2" in cost:
        return f"{cost['dose_e_per_angstrom2']:.2g} e-/A^2"
    return f"{cost['wall_s_per_sample']:.2g} s/image"
