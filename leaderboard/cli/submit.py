"""``stemtwin submit``: enter a submission folder or a report on the board."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, print_json

if TYPE_CHECKING:
    from stemtwin.benchmarks.report import Report
    from stemtwin.benchmarks.runner import Evaluation
    from stemtwin.benchmarks.tasks import Task
    from stemtwin.leaderboard.store import Receipt


def submit(
    path: Annotated[Path, typer.Argument(help="Folder with submission.yaml and predictions.parquet, or a report.json.")],
    database: Annotated[Path | None, typer.Option(help="File of the board; STEMTWIN_DATABASE or the user's data folder where none is named.")] = None,
    json: JsonFlag = False,
) -> None:
    """Check and score a submission folder and enter it; enter a report file out of order, because its numbers cannot be checked."""
    from stemtwin.benchmarks.report import read_report
    from stemtwin.benchmarks.submission_paths import check_file
    from stemtwin.leaderboard.store import check_board

    check_board(database)
    check_file(path)
    report = score_folder(path).report if path.is_dir() else dataclasses.replace(read_report(path), trust="reported")
    receipt, line = _enter(report, database)
    if json:
        print_json(dataclasses.asdict(receipt) | {"created": receipt.created.isoformat() + "Z"})
    else:
        typer.echo(line)


def score_folder(folder: Path, task: "Task | None" = None, measured: Path | None = None) -> "Evaluation":
    """Read, check and score a submission folder, on the task that it names or on the one given; on a folder of measured data where one is given."""
    from stemtwin.benchmarks.runner import load_samples, score_submission
    from stemtwin.benchmarks.submission import read_header, read_submission
    from stemtwin.benchmarks.submission_paths import check_folder
    from stemtwin.benchmarks.tasks import find_task

    check_folder(folder)
    if task is not None and measured is not None:
        from stemtwin.benchmarks.measured import load_task, mark

        there, _, samples = load_task(task, measured, read_header(folder).split)
        return mark(score_submission(there, samples, read_submission(folder, there, samples)), samples)
    header = read_header(folder, task)
    if task is None:
        task = find_task(header.task.partition("/")[0])
        header = read_header(folder, task)
    data = load_samples(task, split=header.split, size=header.size)
    return score_submission(task, data, read_submission(folder, task, data))


def enter(report: "Report", database: Path | None = None) -> str:
    """Enter a report on the board and return a line that says so."""
    return _enter(report, database)[1]


def _enter(report: "Report", database: Path | None) -> "tuple[Receipt, str]":
    """Enter a report; return the receipt and a line for people."""
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
    return receipt, f"already there: row {receipt.entry_id}, '{name}', entered {receipt.created:%Y-%m-%d %H:%M} UTC holds the same answers"
