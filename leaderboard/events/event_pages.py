"""Pages and texts of an event: page with dates and log, board, server of these pages, guide for teams, workflows."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import jinja2

from stemtwin.benchmarks.agents import Baseline, load_baselines
from stemtwin.benchmarks.names import printable
from stemtwin.benchmarks.report import version
from stemtwin.leaderboard.events.folders import BOARD, JURY, LOG, PAGES, REVIEWS, EventFolder, open_folder
from stemtwin.leaderboard.events.hidden_tasks import hidden_tasks
from stemtwin.leaderboard.events.log import KINDS, LogLine, now
from stemtwin.leaderboard.events.settings import FILE, EventSettings
from stemtwin.leaderboard.events.standings import counted_store, reviews_of_runs, scores
from stemtwin.leaderboard.pages.site import write_pages
from stemtwin.leaderboard.reviews import read_reviews
from stemtwin.leaderboard.serving import BoardServer
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.files import write_atomically
from stemtwin.twin.registry import Registry

WORKFLOWS = ("check.yml", "score.yml", "pages.yml")
"""Templates of GitHub workflows; the expressions for GitHub in them stay unchanged."""


@functools.cache
def _templates(autoescape: bool) -> jinja2.Environment:
    """Return the templates of pages, or of plain texts."""
    loader = jinja2.PackageLoader("stemtwin.leaderboard.events", "templates")
    made = jinja2.Environment(loader=loader, autoescape=autoescape, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    made.filters["shown"] = printable
    return made


def write_event_pages(folder: EventFolder, lines: Sequence[LogLine], pages: Path | None = None) -> None:
    """Write the page of an event and the pages of its board.

    The board shows two kinds of requests for review: the requests made by scoring, and the requests made by the comparison of teams.

    Parameters
    ----------
    folder : EventFolder
        The event.
    lines : sequence of LogLine
        Lines of the event's log.
    pages : Path, optional
        Folder of the pages; by default ``pages`` in the folder of the event.
    """
    event, pages = folder.event, pages or folder.path / PAGES
    asked = folder.records / JURY / REVIEWS
    valid = scores(lines, event)
    reviews = dict.fromkeys((*(read_reviews(asked) if asked.is_file() else ()), *reviews_of_runs(folder, valid)))  # each once
    with counted_store(folder, valid) as store:
        write_pages(store, pages / "board", title=event.title, reviews=tuple(reviews))
    shown = {"event": event, "lines": lines, "kinds": KINDS, "who": who, "why": why, "head": lines[-1].hash if lines else "", "now": now()}
    write_atomically(pages / "index.html", _templates(autoescape=True).get_template("event.html").render(shown).encode())


def event_server(folder: EventFolder, target: Path, *, host: str, port: int) -> BoardServer:
    """Return an HTTP server that offers an event's pages on the local network.

    The pages are rewritten in ``target`` when settings, log, board or requests for review change. A clone of the
    event's folder lacks the board and the reports. In a clone, the server offers the pages that the clone contains; they
    change only with a pull.

    Parameters
    ----------
    folder : EventFolder
        The event.
    target : Path
        Folder of the rewritten pages.
    host, port : str, int
        Address; port 0 selects a free port.

    Raises
    ------
    SettingsError
        The folder contains no pages, or the address does not belong to this machine or is in use.
    """
    path, records = folder.path, folder.records
    if not (records / BOARD).is_file():
        if not (path / PAGES / "index.html").is_file():
            message = f"{path / PAGES} contains no index.html. Give the folder of an event that 'stemtwin event new' made, or a clone of it."
            raise SettingsError(message)
        return BoardServer(path / PAGES, (), lambda: None, host=host, port=port)

    def write() -> None:
        now_there = dataclasses.replace(open_folder(path), records=records)
        write_event_pages(now_there, now_there.lines, target)

    watched = (path / FILE, path / LOG, records / BOARD, records / JURY / REVIEWS)
    return BoardServer(target, watched, write, host=host, port=port)


def who(line: LogLine) -> str:
    """Return the team, the entry or the task that a line of the log concerns, or an empty text."""
    content = line.content
    label = "/".join(content[key] for key in ("team", "name") if key in content)
    return label or str(content.get("task", ""))


def why(line: LogLine) -> str:
    """Return the reason, the score or the hash in a line of the log, as text."""
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
    """Return the name of a baseline of a task that does not read the truth."""
    return next((baselines[full].name for full in baselines.names(task) if not baselines[full].oracle), "NAME")


def workflow_text(name: str) -> str:
    """Return a GitHub workflow (YAML) that installs this version of stemtwin."""
    loader = _templates(autoescape=False).loader
    source = loader.get_source(_templates(autoescape=False), name)[0] if loader else ""
    return source.replace("{{ version }}", version())
