"""``stemtwin task``: card of a task."""

from typing import TYPE_CHECKING, Annotated

import typer

from stemtwin.leaderboard.cli.output import JsonFlag, make_console, print_json

if TYPE_CHECKING:
    from stemtwin.benchmarks.answers.form import Field


def task(
    name: Annotated[str, typer.Argument(help="Name of the task: see 'stemtwin list tasks'.")],
    json: JsonFlag = False,
) -> None:
    """Show the card of a task: inputs, answers, metrics, slices and baselines."""
    from stemtwin.benchmarks.agents import load_baselines
    from stemtwin.benchmarks.tasks import find_task

    found = find_task(name)
    baselines = load_baselines()
    mine = [baselines[full] for full in baselines.names(name)]
    if json:
        print_json(found.card() | {"baselines": [{"name": one.name, "text": one.text, "oracle": one.oracle} for one in mine]})
        return
    from rich.table import Table

    console = make_console()
    console.print(f"[bold]{found.name}@{found.major}[/]  {found.title}\n\n{found.text}\n")
    where = f"dataset {found.source} {found.source_version}" if found.kind == "predictions" else f"environment {found.source}"
    console.print(f"Scored on {where}, split {', '.join(found.splits)}. Licence {found.license}. {found.citation}.\n")
    for title, fields in (("Given", found.inputs), ("Asked", found.asked)):
        table = Table(title=title, title_justify="left", box=None, header_style="dim")
        for column in ("name", "type", "unit", "what"):
            table.add_column(column)
        for field in fields:
            told = f"{field.text} (optional)" if field.optional else field.text
            table.add_row(field.name, _type(field), field.unit, told, style=None)
        console.print(table, markup=False)
    table = Table(
        title="Metrics: 95 % intervals by bootstrap over clusters; the first metric sets the rank", title_justify="left", box=None, header_style="dim"
    )
    for column in ("name", "unit", "better", "what"):
        table.add_column(column)
    for metric in found.metrics:
        table.add_row(metric.name, metric.unit, "larger" if metric.direction == "max" else "smaller", metric.title)
    console.print(table)
    console.print(found.bound_text)
    if found.kind == "agent":
        console.print(found.floor_text)
    if found.difficulties:
        title = "Presets of the episodes, used in turn" if len(found.difficulties) > 1 else "Preset of the episodes"
        console.print(f"{title}: {', '.join(found.difficulties)}; {found.episodes} episodes by default.")
    console.print("Slices: " + ", ".join(column.column for column in found.slices))
    console.print("Baselines: " + "; ".join(f"{one.name} ({one.text})" for one in mine))


def _type(field: "Field") -> str:
    """Return the type of a field; for an array, with its dimensions."""
    return f"{field.dtype} ({', '.join(map(str, field.dims))})" if field.dims else field.dtype
