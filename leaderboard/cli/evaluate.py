"""``stemtwin eval``: evaluation of a baseline, an agent, a program or predictions on a task."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, make_console, number, progress

if TYPE_CHECKING:
    from rich.console import Console

    from stemtwin.benchmarks.report import Report
    from stemtwin.benchmarks.runner import Evaluation
    from stemtwin.benchmarks.tasks import Task


def evaluate(
    task: Annotated[str, typer.Argument(help="Name of the task; see 'stemtwin list tasks'.")],
    baseline: Annotated[str | None, typer.Option(help="Name of a baseline to run; see 'stemtwin task NAME'.")] = None,
    agent: Annotated[
        str | None, typer.Option(help="Agent class as pkg.mod:Name. It runs in this process, so its score is not ranked (docs/scores.md).")
    ] = None,
    program: Annotated[
        str | None, typer.Option(help="Command of a program, such as 'python agent.py'. The program runs isolated from the truth (docs/agents.md).")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder of the program; the program can read the files in it.")] = Path(),
    isolation: Annotated[
        str | None, typer.Option(help="Isolation: bubblewrap or process; by default the strongest that works on this machine.")
    ] = None,
    attempts: Annotated[int, typer.Option(help="Number of attempts of the program at every episode; each attempt has its own seed.")] = 1,
    predictions: Annotated[Path | None, typer.Option(help="Folder of predictions, which contains submission.yaml and predictions.parquet.")] = None,
    split: Annotated[str | None, typer.Option(help="Name of the split; by default the first split of the task.")] = None,
    size: Annotated[str | None, typer.Option(help="Size of the dataset: tiny, std (by default) or full.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of measured data to score on; see 'stemtwin data pack'.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Number of episodes of an agent task.")] = None,
    team: Annotated[str, typer.Option(help="Name of the team on the board.")] = "",
    output: Annotated[Path | None, typer.Option(help="Folder for the report, the statistics of every sample, and the answers.")] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Enter the result on the board.")] = False,
    json: JsonFlag = False,
) -> None:
    """Evaluate a baseline, an agent, a program or predictions on a task, and print the scores with 95 % intervals."""
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
    if program is None:
        _check_without_program(folder, isolation, attempts)
        result = _run(found, baseline, agent, predictions, split, size, data, episodes, team)
    else:
        others = {"--baseline": baseline, "--agent": agent, "--predictions": predictions, "--size": size, "--data": data}
        _check_program_alone(found, others)
        result = _run_program(found, program, folder, isolation, attempts, split, episodes, team)
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


def _check_without_program(folder: Path, isolation: str | None, attempts: int) -> None:
    """Raise BadParameter for options of a program if no program is given."""
    given = {"--folder": folder != Path(), "--isolation": isolation is not None, "--attempts": attempts != 1}
    named = next((name for name, there in given.items() if there), None)
    if named is not None:
        message = f"{named} needs a program isolated from the truth: give --program, or leave out {named}"
        raise typer.BadParameter(message)


def _check_program_alone(task: "Task", given: dict[str, object]) -> None:
    """Raise BadParameter for options that cannot be combined with a program."""
    named = next((name for name, value in given.items() if value is not None), None)
    if named is not None:
        message = f"--program cannot be combined with {named}: leave out one of them"
        raise typer.BadParameter(message)
    if task.kind != "agent":
        message = f"the task {task.registered!r} takes predictions, not a program: give a folder with --predictions"
        raise typer.BadParameter(message)


def _run_program(
    task: "Task",
    program: str,
    folder: Path,
    isolation: str | None,
    attempts: int,
    split: str | None,
    episodes: int | None,
    team: str,
) -> "Evaluation":
    """Return the evaluation of a program that runs in a separate process."""
    from stemtwin.benchmarks.agents import Baseline
    from stemtwin.benchmarks.isolation.agent_process import AgentProcess
    from stemtwin.benchmarks.isolation.sandbox import OPEN
    from stemtwin.benchmarks.names import check_name
    from stemtwin.benchmarks.runner import run_agent
    from stemtwin.twin import checks

    checks.whole("attempts", attempts, low=1, high=1000)
    name = check_name(" ".join(program.split()), "program")
    process = AgentProcess(program, folder=folder, level=isolation)
    typer.echo(f"isolation: {process.level}; not covered: {'; '.join(OPEN[process.level])}", err=True)
    entry = Baseline(task=task.name, name=name, text="a program", factory=lambda: process)
    with process, progress(f"{task.name}: {name}") as tick:
        return run_agent(task, entry, "isolated", split=split, episodes=episodes, team=team, attempts=attempts, progress=tick)


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
    """Return the evaluation of a baseline, an agent or predictions, exactly one of which must be given."""
    from stemtwin.benchmarks import runner

    named = [f"--{name}" for name, value in (("baseline", baseline), ("agent", agent), ("predictions", predictions)) if value is not None]
    if len(named) != 1:
        message = (
            f"{task.name!r} needs exactly one of --baseline, --agent, --program and --predictions, "
            f"but {' and '.join(named) or 'none'} {'were' if named else 'was'} given"
        )
        raise typer.BadParameter(message)
    if data is not None and (size is not None or episodes is not None):
        option = "--size" if size is not None else "--episodes"
        message = f"measured data have one size and no episodes: leave out {option} or --data"
        raise typer.BadParameter(message)
    if predictions is not None:
        from stemtwin.leaderboard.cli.submit import score_folder

        return score_folder(predictions, task, data)
    with progress(f"{task.name}: {baseline or agent}") as tick:
        return runner.evaluate(
            task, baseline=baseline, agent=agent, split=split, size=size or "std", episodes=episodes, team=team, progress=tick, measured=data
        )


def show(report: "Report") -> None:
    """Print the scores of a report as text."""
    from rich.table import Table

    console = make_console()
    source = report.source
    n = f"{source.n} samples of {source.n_clusters} specimens" if not source.size.endswith("episodes") else source.size
    console.print(f"{report.task}@{report.major} {source.split}, {source.name} {source.version} {source.size}: {n}", style="bold", markup=False)
    kept_apart = f", isolation: {report.isolation}" if report.isolation else ""
    console.print(f"entry {report.entry} ({report.trust}{kept_apart})", markup=False)
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
            f"minimum detectable difference of {report.primary.name}: {number(report.detectable)}{unit} from an entry "
            "with equal scatter, and smaller if both entries fail on the same samples (95 %, power 80 %)",
            markup=False,
            soft_wrap=True,
        )
    if report.failures:
        told = ", ".join(f"{count} {kind}" for kind, count in report.failures.items())
        console.print(f"episodes ended by errors of the agent, with the worst score of the task: {told}", markup=False)
    if report.attempts is not None:
        _show_attempts(report, console)
    if report.worst is not None:
        worst = report.worst
        support = ", low support" if worst.support == "low" else ""
        console.print(f"worst slice: {worst.title}: {number(worst.value)} (n = {worst.n}{support})", markup=False)


def _show_attempts(report: "Report", console: "Console") -> None:
    """Print the statistics of repeated attempts: the interquartile mean, and the fraction of episodes in which all attempts succeed."""
    tried = report.attempts
    if tried is None:
        return
    for title, value, ends in (
        (f"interquartile mean of {report.primary.name} over {tried.count} attempts", tried.iqm, tried.iqm_interval),
        (f"pass^{tried.count}, episodes in which all attempts succeed", tried.pass_all, tried.pass_all_interval),
    ):
        if value is not None:
            console.print(f"{title}: {number(value)}" + (f" ({number(ends.low)} to {number(ends.high)})" if ends else ""), markup=False)
