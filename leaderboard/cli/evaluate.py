"""``stemtwin eval``: run and score."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, make_console, number, progress

if TYPE_CHECKING:
    from stemtwin.benchmarks.report import Report
    from stemtwin.benchmarks.runner import Evaluation
    from stemtwin.benchmarks.tasks import Task


def evaluate(
    task: Annotated[str, typer.Argument(help="Name of the task: see 'stemtwin list tasks'.")],
    baseline: Annotated[str | None, typer.Option(help="Run this baseline: see 'stemtwin task NAME'.")] = None,
    agent: Annotated[str | None, typer.Option(help="Run your class, pkg.mod:Name (docs/scores.md), in this process: practice, not ranked.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Score this folder: submission.yaml and predictions.parquet.")] = None,
    split: Annotated[str | None, typer.Option(help="Split; the first of the task's where none is named.")] = None,
    size: Annotated[str | None, typer.Option(help="Size of the dataset: tiny, std (by default) or full.")] = None,
    data: Annotated[Path | None, typer.Option(help="Score on this folder of measured data, see 'stemtwin data pack'.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Number of episodes of an agent task.")] = None,
    team: Annotated[str, typer.Option(help="Team, for the board.")] = "",
    output: Annotated[Path | None, typer.Option(help="Folder for report, statistics of every sample, and answers.")] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Enter the result on the board.")] = False,
    json: JsonFlag = False,
) -> None:
    """Run a baseline, an agent or predictions on a task and print its scores with their 95 % intervals."""
    from stemtwin.benchmarks.names import check_name
    from stemtwin.benchmarks.runner import check_run, save_run
    from stemtwin.benchmarks.tasks import find_task

    found = find_task(task)
    check_name(team, "team", empty=True)
    if agent is not None:
        check_name(agent, "agent")
    if output is not None:
        check_run(output)
    if submit:
        from stemtwin.leaderboard.store import check_board

        check_board()
    result = _run(found, baseline, agent, predictions, split, size, data, episodes, team)
    report = result.report
    lines = []
    if output is not None:
        lines.append(f"written: {save_run(output, found, result)}")
    if submit:
        from stemtwin.leaderboard.cli.submit import enter

        lines.append(enter(report))
    if json:
        typer.echo(report.to_json())
        return
    show(report)
    for line in lines:
        typer.echo(line)


def _run(
    task: "Task",
    baseline: str | None,
    agent: str | None,
    predictions: Path | None,
    split: str | None,
    size: str | None,
    data: Path | None,
    episodes: int | None,
    team: str,
) -> "Evaluation":
    """Return the evaluation of whatever one of the three was named."""
    from stemtwin.benchmarks import runner

    named = [f"--{name}" for name, value in (("baseline", baseline), ("agent", agent), ("predictions", predictions)) if value is not None]
    if len(named) != 1:
        message = (
            f"{' and '.join(named) or 'nothing'} {'were' if named else 'was'} given to run on {task.name!r}, "
            "exactly one of --baseline, --agent and --predictions is needed"
        )
        raise typer.BadParameter(message)
    if data is not None and (size is not None or episodes is not None):
        message = f"measured data have one size and no episodes: leave out {'--size' if size is not None else '--episodes'}, or --data"
        raise typer.BadParameter(message)
    if predictions is not None:
        from stemtwin.leaderboard.cli.submit import score_folder

        return score_folder(predictions, task, data)
    with progress(f"{task.name}: {baseline or agent}") as tick:
        return runner.evaluate(
            task, baseline=baseline, agent=agent, split=split, size=size or "std", episodes=episodes, team=team, progress=tick, measured=data
        )


def show(report: "Report") -> None:
    """Print the scores of a report for people."""
    from rich.table import Table

    console = make_console()
    source = report.source
    n = f"{source.n} samples of {source.n_clusters} specimens" if not source.size.endswith("episodes") else source.size
    console.print(f"{report.task}@{report.major} {source.split}, {source.name} {source.version} {source.size}: {n}", style="bold", markup=False)
    console.print(f"entry {report.entry} ({report.trust})", markup=False)
    table = Table(box=None, header_style="dim")
    for column in ("metric", "value", "95 % interval", "unit", "how"):
        table.add_column(column)
    for one in report.metrics:
        ends = f"{number(one.interval.low)} to {number(one.interval.high)}" if one.interval else "-"
        table.add_row(one.name, one.reason or number(one.value), ends, one.unit, one.interval.method if one.interval else "")
    console.print(table)
    if report.detectable is not None:
        unit = f" {report.primary.unit}" if report.primary.unit else ""
        console.print(
            f"minimum detectable difference of {report.primary.name}: {number(report.detectable)}{unit} from an entry with as much scatter, "
            "less where both fail on the same samples (95 %, power 80 %)",
            markup=False,
            soft_wrap=True,
        )
    if report.worst is not None:
        worst = report.worst
        support = ", low support" if worst.support == "low" else ""
        console.print(f"worst slice: {worst.title}: {number(worst.value)} (n = {worst.n}{support})", markup=False)
