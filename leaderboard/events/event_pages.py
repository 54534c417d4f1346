"""Pages and texts of an event: page with dates and log, board, guide for teams, workflows."""

import functools
from collections.abc import Sequence

import jinja2

from stemtwin.benchmarks.agents import Baseline, load_baselines
from stemtwin.benchmarks.names import printable
from stemtwin.benchmarks.report import version
from stemtwin.leaderboard.events.folders import JURY, PAGES, REVIEWS, EventFolder
from stemtwin.leaderboard.events.hidden_tasks import hidden_tasks
from stemtwin.leaderboard.events.log import KINDS, LogLine, now
from stemtwin.leaderboard.events.settings import EventSettings
from stemtwin.leaderboard.events.standings import counted_store, reviews_of_runs, scores
from stemtwin.leaderboard.pages.site import write_pages
from stemtwin.leaderboard.reviews import read_reviews
from stemtwin.twin.files import write_atomically
from stemtwin.twin.registry import Registry

WORKFLOWS = ("check.yml", "score.yml")
"""Templates of workflows; GitHub's expressions in them are kept."""


@functools.cache
def _templates(autoescape: bool) -> jinja2.Environment:
    """Return the templates of pages, or of plain texts."""
    loader = jinja2.PackageLoader("stemtwin.leaderboard.events", "templates")
    made = jinja2.Environment(loader=loader, autoescape=autoescape, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters["shown"] = printable
    return made


def write_event_pages(folder: EventFolder, lines: Sequence[LogLine]) -> None:
    """Write the event's page and the pages of its board, with the requests for review from scoring and from the comparison of teams."""
    event, pages = folder.event, folder.path / PAGES
    asked = folder.records / JURY / REVIEWS
    valid = scores(lines, event)
    reviews = dict.fromkeys((*(read_reviews(asked) if asked.is_file() else ()), *reviews_of_runs(folder, valid)))  # each once
    with counted_store(folder, valid) as store:
        write_pages(store, pages / "board", title=event.title, reviews=tuple(reviews))
    shown = {"event": event, "lines": lines, "kinds": KINDS, "who": who, "why": why, "head": lines[-1].hash if lines else "", "now": now()}
    write_atomically(pages / "index.html", _templates(autoescape=True).get_template("event.html").render(shown).encode())


def who(line: LogLine) -> str:
    """Return the team, entry or task of a line of the log."""
    content = line.content
    label = "/".join(content[key] for key in ("team", "name") if key in content)
    return label or str(content.get("task", ""))


def why(line: LogLine) -> str:
    """Return the reason or the result in a line of the log."""
    content = line.content
    if line.kind == "scored":
        return f"{content['task']}: {'no value' if content['value'] is None else format(content['value'], '.4g')}"
    return str(content.get("reason", content.get("sha256", "")))


def guide_text(event: EventSettings) -> str:
    """Return the guide for teams (Markdown)."""
    baselines = load_baselines()
    hidden = hidden_tasks(event)
    simple = {one.task.registered: _honest_baseline(baselines, one.task.registered) for one in hidden}
    return _templates(autoescape=False).get_template("guide.md").render(event=event, hidden_tasks=hidden, baselines=simple, version=version())


def _honest_baseline(baselines: Registry[Baseline], task: str) -> str:
    """Return the name of a baseline that does not read the truth."""
    return next((baselines[full].name for full in baselines.names(task) if not baselines[full].oracle), "NAME")


def workflow_text(name: str) -> str:
    """Return a workflow (YAML) with the version of this package."""
    loader = _templates(autoescape=False).loader
    source = loader.get_source(_templates(autoescape=False), name)[0] if loader else ""
    return source.replace("{{ version }}", version())
