"""All pages of a board, written to a folder: an index, and for each table its rows, its slices and its data as JSON."""

import dataclasses
import datetime
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from stemtwin.benchmarks.names import printable
from stemtwin.benchmarks.report import TRUST
from stemtwin.leaderboard.models import Entry
from stemtwin.leaderboard.obstructions import SliceTable, slice_table
from stemtwin.leaderboard.pages.drawings import pareto, whisker
from stemtwin.leaderboard.reviews import KINDS, Review, reviews_of
from stemtwin.leaderboard.store import Store
from stemtwin.leaderboard.tables import Board, BoardRow, make_board
from stemtwin.twin.files import write_atomically

DOSE = "dose_e_per_angstrom2"
INSTRUMENT = "instrument"
"""Name of the slice column of instruments, from which :func:`drop` is computed."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BoardPage:
    """One table of the board, with the reports of its rows and the scores on slices, in the order of the rows."""

    slug: str
    board: Board
    reports: tuple[dict[str, Any], ...]
    slices: SliceTable

    @property
    def title(self) -> str:
        """Task, data, size and split in one line."""
        board = self.board
        hidden = "" if board.public else ", hidden truth"
        split = "hidden episodes" if hidden and board.split == "public" else f"{board.split}{hidden}"
        return f"{board.task}@{board.major}: {board.source} {board.source_version}, {board.size}, {split}"

    @property
    def leaders(self) -> list[BoardRow]:
        """Rows whose range of places includes the first place."""
        return [row for row in self.board.rows if row.order is not None and row.order[0] == 1]

    @property
    def measured(self) -> bool:
        """Return True if the data are measured, and False if they are simulated."""
        return self.board.source.startswith("measured/")


def collect(store: Store) -> list[BoardPage]:
    """Return the tables of a store with the contents of their pages; tables of simulated data come first."""
    groups: dict[str, list[Entry]] = {}
    for entry in store.entries():
        groups.setdefault(entry.comparability_key, []).append(entry)
    pages, taken = [], set[str]()
    for entries in groups.values():
        board, by_id = make_board(entries), {entry.id: entry for entry in entries}
        ordered = [by_id[row.entry_id] for row in board.rows]
        reports = tuple(json.loads(entry.report) for entry in ordered)
        table = slice_table(ordered, reports, [row.order for row in board.rows])
        slug = make_slug(f"{board.task}-{board.major}-{board.split}-{board.size}-{board.source}-{board.source_version}", taken)
        pages.append(BoardPage(slug=slug, board=board, reports=reports, slices=table))
    return sorted(pages, key=lambda page: (page.measured, page.board.task, page.board.major, page.slug))


def make_slug(text: str, taken: set[str]) -> str:
    """Return a new file name of lowercase letters, digits and hyphens, and add it to ``taken``, the names in use."""
    base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80]
    slug = next(name for name in (base, *(f"{base}-{number}" for number in range(2, 10_000))) if name not in taken)
    taken.add(slug)
    return slug


def make_templates(title: str) -> jinja2.Environment:
    """Return the templates of all pages with their filters and common values, such as the title and the present time."""
    loader = jinja2.PackageLoader("stemtwin.leaderboard.pages", "templates")
    templates = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    templates.filters |= {"number": number, "place": place, "shown": printable, "unit": unit, "units": units}
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    templates.globals |= {"title": title, "now": now, "trust": TRUST, "kinds": KINDS}
    return templates


def write_pages(store: Store, folder: Path | str, *, title: str = "stemtwin board", reviews: Sequence[Review] = ()) -> list[Path]:
    """Write the pages of a board and return their paths; each file is replaced atomically.

    Parameters
    ----------
    store : Store
        The board.
    folder : path
        Folder of the pages; a missing folder is created.
    title : str
        Heading of the index.
    reviews : sequence of Review
        Requests for review, which are shown beside their rows.

    Raises
    ------
    DatasetError
        The board cannot be read.
    """
    pages, templates = collect(store), make_templates(title)
    files = {
        "style.css": templates.get_template("style.css").render(),
        "index.html": templates.get_template("index.html").render(pages=pages),
    }
    for page in pages:
        rows = list(_rows(page, reviews))
        shown = {"page": page, "rows": rows, "picture": _picture(page), "instruments": any(one["drop"] is not None for one in rows)}
        files[f"{page.slug}.html"] = templates.get_template("board.html").render(shown)
        files[f"{page.slug}-slices.html"] = templates.get_template("slices.html").render(page=page)
        files[f"{page.slug}.json"] = json.dumps(dataclasses.asdict(page.board), indent=1) + "\n"
    return write_files(Path(folder), files)


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write texts to files of a folder, and return their paths; a missing folder is created, and each file is replaced atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in files]


def _rows(page: BoardPage, reviews: Sequence[Review]) -> Iterable[dict[str, Any]]:
    """Yield the cells of each row."""
    ends = [one for row in page.board.rows for one in (row.value, row.low, row.high) if one is not None]
    scale = (min(ends, default=0.0), max(ends, default=1.0))
    for row, report in zip(page.board.rows, page.reports, strict=True):
        drawn = "" if row.value is None else whisker(row.value, row.low, row.high, scale)
        yield {
            "row": row,
            "whisker": drawn,
            "drop": drop(report),
            "dose": row.cost.get(DOSE),
            "seconds": row.cost.get("agent_wall_s", row.cost.get("wall_s_per_sample")),
            "isolation": report.get("isolation", ""),
            "failures": report.get("failures", {}),
            "attempts": report.get("attempts"),
            "notes": report.get("method", {}),
            "reviews": reviews_of(reviews, row.team, row.artefact_sha256),
        }


def drop(report: dict[str, Any]) -> float | None:
    """Return the loss of score on the worst instrument: the difference from the score on all samples, positive for a loss.

    The unit is that of the metric. The result is None if the report contains no slices by instrument.
    """
    value, direction = report["metrics"][0]["value"], report["metrics"][0]["direction"]
    there = [one["value"] for one in report["slices"] if one["column"] == INSTRUMENT and one["value"] is not None]
    if value is None or not there:
        return None
    return value - min(there) if direction == "max" else max(there) - value


def _picture(page: BoardPage) -> str:
    """Return the plot of score against dose."""
    rows = [row for row in page.board.rows if row.value is not None and DOSE in row.cost]
    points: Sequence[tuple[str, float, float]] = [(printable(row.name), row.cost[DOSE], row.value) for row in rows if row.value is not None]
    return pareto(points, metric=page.board.rows[0].metric, direction=page.board.rows[0].direction)


def number(value: float | None) -> str:
    """Return a number with three significant digits as text, or a dash for None and for numbers that are not finite."""
    if value is None or not math.isfinite(value):
        return "–"  # noqa: RUF001 (a dash in a table)
    if 1e3 <= abs(value) < 1e5:
        return f"{float(f'{value:.3g}'):.0f}"
    return f"{value:.3g}" if abs(value) < 1e5 else f"{value:.2e}"


def unit(text: str) -> str:
    """Return a unit in the notation of the pages, for example Å for A."""
    return {"e-/A^2": "e⁻/Å²", "A": "Å"}.get(text, text)


def units(text: str) -> str:
    """Return the title of a slice with units in the notation of the pages, for example Å for A."""
    return re.sub(r"(?<=\d )A\b", "Å", text.replace("e-/A^2", unit("e-/A^2")))


def place(row: BoardRow) -> str:
    """Return the range of a row's possible ranks as text: "1", "1 to 3" or a dash."""
    found = row.rank or row.order
    if found is None:
        return "–"  # noqa: RUF001 (a dash in a table)
    return str(found[0]) if found[0] == found[1] else f"{found[0]} to {found[1]}"
