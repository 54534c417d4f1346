"""``stemtwin submit``: check and score a submission and enter it on the board, or hand it in to an event."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, make_console, print_json

if TYPE_CHECKING:
    from stemtwin.benchmarks.report import Report
    from stemtwin.benchmarks.runner import Evaluation
    from stemtwin.benchmarks.tasks import Task
    from stemtwin.leaderboard.store import Receipt


def submit(
    path: Annotated[
        Path,
        typer.Argument(help="Folder or zip archive with submission.yaml and predictions.parquet, or a file report.json."),
    ],
    database: Annotated[
        Path | None,
        typer.Option(help="Database file of the board; by default the path in STEMTWIN_DATABASE, or a file in the user's data folder."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check and score the submission and print its row, but do not enter it."),
    ] = False,
    event: Annotated[
        Path | None, typer.Option(help="Folder of an event to which the submission is handed in; the organiser of the event scores it.")
    ] = None,
    team: Annotated[str | None, typer.Option(help="Name of your team in the event.")] = None,
    json: JsonFlag = False,
) -> None:
    """Check a submission, score it, and enter it on the board. A report file cannot be checked, so its entry is not ranked."""
    from stemtwin.benchmarks.submission_paths import check_file, is_archive
    from stemtwin.leaderboard.store import check_board

    if (event is None) != (team is None):
        given, needed = ("--team", "--event") if event is None else ("--event", "--team")
        message = f"{given} was given without {needed}: give both or neither"
        raise typer.BadParameter(message)
    if event is not None and team is not None:
        if database is not None or dry_run:
            option = "--database" if database is not None else "--dry-run"
            message = f"the organiser of an event scores its submissions: leave out {option}"
            raise typer.BadParameter(message)
        _hand_in(path, event, team, json=json)
        return
    if not dry_run:
        check_board(database)
    if not is_archive(path):
        check_file(path)
    report = _scored(path)
    if dry_run:
        _show_row(report, database, json=json)
        return
    receipt, line = _enter(report, database)
    if json:
        print_json(dataclasses.asdict(receipt) | {"created": receipt.created.isoformat() + "Z"})
    else:
        typer.echo(line)


def _scored(path: Path) -> "Report":
    """Score a submission and return its report, or return the report in a report file, which cannot be checked."""
    from stemtwin.benchmarks.report import read_report
    from stemtwin.benchmarks.submission_paths import is_archive

    if path.is_dir() or is_archive(path):
        return score_folder(path).report
    return dataclasses.replace(read_report(path), trust="reported")


def _hand_in(path: Path, event: Path, team: str, *, json: bool) -> None:
    """Submit to an event and print the path of the submission there."""
    from stemtwin.leaderboard.events.folders import open_folder
    from stemtwin.leaderboard.events.inbox import hand_in

    open_folder(event)
    with opened(path) as folder:
        done = hand_in(folder, event, team)
    if json:
        print_json(dataclasses.asdict(done) | {"path": str(done.path)})
    elif done.new:
        typer.echo(f"handed in: {done.path}; the organiser scores it")
    else:
        typer.echo(f"already there: {done.path} contains the same files")


@contextlib.contextmanager
def opened(path: Path) -> "Iterator[Path]":
    """Yield the folder of a submission. An archive is unpacked to a temporary folder, but error messages name the archive."""
    from stemtwin.benchmarks.archives import unpacked
    from stemtwin.benchmarks.submission_paths import is_archive
    from stemtwin.twin.errors import SubmissionError

    if not is_archive(path):
        yield path
        return
    with unpacked(path) as folder:
        try:
            yield folder
        except SubmissionError as error:
            raise SubmissionError(str(error).replace(str(folder), str(path))) from None


def score_folder(path: Path, task: "Task | None" = None, measured: Path | None = None) -> "Evaluation":
    """Read, check and score a submission.

    Parameters
    ----------
    path : Path
        Folder or archive of the submission.
    task : Task, optional
        Task to score on; by default the task that the submission names.
    measured : Path, optional
        Folder of measured data to score on.
    """
    from stemtwin.benchmarks.submission_paths import check_folder

    with opened(path) as folder:
        return _score(check_folder(folder), task, measured)


def _score(folder: Path, task: "Task | None", measured: Path | None) -> "Evaluation":
    """Read and score a submission in a folder."""
    from stemtwin.benchmarks.runner import load_samples, score_submission
    from stemtwin.benchmarks.submission import named_task, read_header, read_submission

    if task is not None and measured is not None:
        from stemtwin.benchmarks.measured import load_task, mark

        there, _, samples = load_task(task, measured, read_header(folder).split)
        return mark(score_submission(there, samples, read_submission(folder, there, samples)), samples)
    header = read_header(folder, task)
    if task is None:
        task = named_task(header)
        header = read_header(folder, task)
    data = load_samples(task, split=header.split, size=header.size)
    return score_submission(task, data, read_submission(folder, task, data))


def _show_row(report: "Report", database: Path | None, *, json: bool) -> None:
    """Print the row that a report would have on the board, without entering it."""
    from stemtwin.leaderboard.cli.board import show
    from stemtwin.leaderboard.preview import preview

    shown = preview(report, database)
    if json:
        print_json({"new": shown.new, "board": dataclasses.asdict(shown.board), "row": dataclasses.asdict(shown.row)})
        return
    show(dataclasses.replace(shown.board, rows=(shown.row,)), make_console())
    others = len(shown.board.rows) - 1
    told = "the row that the board would show"
    if not shown.new:
        told = f"already there: row {shown.row.entry_id} contains the same answers"
    typer.echo(f"{told}, beside {others} other{'' if others == 1 else 's'}; nothing was entered")


def enter(report: "Report", database: Path | None = None) -> str:
    """Enter a report on the board and return a line that confirms it."""
    return _enter(report, database)[1]


def _enter(report: "Report", database: Path | None) -> "tuple[Receipt, str]":
    """Enter a report; return the receipt and a line that confirms it."""
    from stemtwin.benchmarks.names import printable
    from stemtwin.benchmarks.report import ORDERED, PUBLIC, TRUST
    from stemtwin.leaderboard.store import Store

    with Store(database) as store:
        receipt = store.submit(report)
        where = store.path
    if receipt.new:
        rank = f"{PUBLIC}: in order of scores, not ranked" if report.trust in ORDERED else "shown, not ranked"
        rank = "ranked" if report.ranked else rank
        return receipt, f"entered as row {receipt.entry_id} of {where}: {receipt.trust} ({TRUST[report.trust]}), {rank}"
    name = printable(receipt.name)
    when = f"{receipt.created:%Y-%m-%d %H:%M} UTC"
    return receipt, f"already there: row {receipt.entry_id}, '{name}', entered {when}, contains the same answers"
