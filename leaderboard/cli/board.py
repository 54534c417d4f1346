"""``stemtwin board``: the tables."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, number, print_json

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

    if task is not None:
        from stemtwin.benchmarks.tasks import find_task

        task = find_task(task).name
    with Store(database) as store:
        boards, where = store.boards(task), store.path
    if json:
        print_json([dataclasses.asdict(one) for one in boards])
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not boards:
        console.print(f"The board {where} is empty. Enter something with 'stemtwin eval TASK --baseline NAME --submit'.", soft_wrap=True)
    for one in boards:
        show(one, console)


def show(found: "Board", console: "Console") -> None:
    """Print one table."""
    from rich.table import Table
    from rich.text import Text

    first = found.rows[0]
    better = "larger is better" if first.direction == "max" else "smaller is better"
    title = f"{found.task}@{found.major}  {found.source} {found.source_version}, {found.size}, {found.split}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", caption_justify="left")
    unit = f", {first.unit}" if first.unit else ""
    table.add_column("rank", justify="right")
    for column in ("name", f"{first.metric}{unit} [95 %]", "worst slice", "cost", "trust", "date", "version"):
        table.add_column(column)
    for row in found.rows:
        worst = f"{number(row.worst_value)}  {row.worst}" if row.worst else "-"
        cells = (_rank(row), _name(row), number(row.value, row.low, row.high), worst, _cost(row.cost), row.trust, row.created[:10], _version(row))
        table.add_row(*map(Text, cells), style=None if row.rank else "dim")
    console.print(table)
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


def _version(row: "BoardRow") -> str:
    """Return the version and the first letters of the commit."""
    return f"{row.version}+{row.git_commit[:7]}" if row.git_commit else row.version


def _cost(cost: dict[str, float]) -> str:
    """Return what an entry spent, in a few words."""
    units = {"dose_e_per_angstrom2": "e-/A^2", "beam_s": "s beam", "moves": "moves", "wall_s_per_sample": "s/image", "agent_wall_s": "s thinking"}
    return ", ".join(f"{cost[name]:.3g} {unit}" for name, unit in units.items() if name in cost and unit != "s thinking")
