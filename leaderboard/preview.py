"""Preview of a new row: the board with all existing entries and the new entry, made by the same code as the board itself."""

import dataclasses
from pathlib import Path

from stemtwin.benchmarks.report import Report
from stemtwin.leaderboard.store import Store, default_path, make_entry, same_answers
from stemtwin.leaderboard.tables import Board, BoardRow, make_board


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """Board that includes a report, and the row of the report; ``new`` is False if the board already contains the same answers."""

    board: Board
    row: BoardRow
    new: bool


def preview(report: Report, path: Path | None = None) -> Preview:
    """Return the board that would result from entering a report; nothing is written, and the board's file need not exist.

    Parameters
    ----------
    report : Report
        The report.
    path : Path, optional
        File of the board; by default ``default_path()``.

    Raises
    ------
    DatasetError
        The file is not a board.
    """
    path, entries = path or default_path(), []
    if path.exists():
        with Store(path, read_only=True) as store:
            entries = store.entries()
    there = [entry for entry in entries if entry.comparability_key == report.comparability_key]
    mine = same_answers(there, report)
    new = mine is None
    if mine is None:
        mine = make_entry(report)
        mine.id = 1 + max((entry.id for entry in entries), default=0)
        there.append(mine)
    board = make_board(there)
    return Preview(board=board, row=next(row for row in board.rows if row.entry_id == mine.id), new=new)
