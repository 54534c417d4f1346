"""Jury sheets: one printable page per team under the headings of a rubric, an index, and all numbers as CSV.

The three headings are the criteria of juries of microscopy hackathons: *domain understanding*, *physical significance*,
*solution robustness*. Under each heading are numbers from the reports or the team's own notes, without weights or an overall mark.
"""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stemtwin.benchmarks.names import printable
from stemtwin.leaderboard.pages.site import DOSE, BoardPage, collect, make_slug, make_templates, number, unit, write_files
from stemtwin.leaderboard.reviews import Review, reviews_of
from stemtwin.leaderboard.store import Store
from stemtwin.leaderboard.tables import BoardRow

SPENT_UNITS, RESIDUAL_UNITS = ("e-/A^2", "s", "ms"), ("A", "pm", "rad", "mrad")
SPENT = ("looks", "actions", "spectra", "images_to_success", "blocks", "areas", "edx_share")
RESIDUALS = ("deviance", "calibration_error", "coverage_error", "brier")
DECLARED = ("precision", "hallucination", "filled", "emptied", "false_alarms", "declared", "accuracy", "right")
"""Metrics of the correctness and the frequency of claims, such as detected atoms and declared ends of episodes."""
AGAINST_NOISE = ("d90",)
"""Metrics of robustness against noise."""
INSTRUMENTS, NOISE = ("instrument", "scan"), ("dose_e_per_angstrom2", "electrons", "brightness")
"""Slice columns of the instruments and of the noise."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of texts that a spreadsheet would evaluate as formulas."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SheetNumber:
    """Number on a sheet, with its title, unit and the ends of its interval."""

    title: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """Value, interval and unit as text."""
        ends = "" if self.low is None or self.high is None else f" ({number(self.low)} to {number(self.high)})"
        return f"{number(self.value)}{ends}{' ' + unit(self.unit) if self.unit else ''}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SheetEntry:
    """The best entry of a team in one table.

    Parameters
    ----------
    page : BoardPage
        Table of the entry.
    row : BoardRow
        Row of the entry.
    report : dict
        Report of the entry.
    entries : int
        Number of rows of this team in the table.
    reviews : tuple of Review
        Requests for review of the row.
    """

    page: BoardPage
    row: BoardRow
    report: dict[str, Any]
    entries: int
    reviews: tuple[Review, ...]

    @property
    def notes(self) -> dict[str, str]:
        """Notes of the team on its method, by key."""
        return self.report.get("method", {})

    @property
    def score(self) -> SheetNumber:
        """Primary metric of the entry, with its interval."""
        row = self.row
        return SheetNumber(title=row.metric, value=row.value, unit=row.unit, low=row.low, high=row.high)

    def _readings(self, names: Sequence[str], units: Sequence[str]) -> list[SheetNumber]:
        """Return the secondary metrics with one of the names, or with one of the units if no list of this module names them."""
        listed = (*SPENT, *RESIDUALS, *DECLARED, *AGAINST_NOISE)
        found = []
        for one in self.report["metrics"][1:]:
            if one["value"] is not None and (one["name"] in names or (one["name"] not in listed and one["unit"] in units)):
                ends = one["interval"] or {}
                found.append(SheetNumber(title=one["title"], value=one["value"], unit=one["unit"], low=ends.get("low"), high=ends.get("high")))
        return found

    @property
    def spent(self) -> list[SheetNumber]:
        """Costs of the entry: dose, time, and numbers of actions."""
        found = self._readings(SPENT, SPENT_UNITS)
        if DOSE in self.row.cost and not any(one.unit == "e-/A^2" for one in found):
            found.insert(0, SheetNumber(title="dose", value=self.row.cost[DOSE], unit="e-/A^2"))
        return found

    @property
    def residuals(self) -> list[SheetNumber]:
        """Metrics of residual errors; in tasks with a gauge freedom, the gauge is removed first."""
        return self._readings(RESIDUALS, RESIDUAL_UNITS)

    @property
    def declared(self) -> list[SheetNumber]:
        """Metrics of the correctness and the frequency of claims, such as detected atoms and declared ends of episodes."""
        return self._readings(DECLARED, ())

    @property
    def failures(self) -> dict[str, int]:
        """Number of episodes that ended because of errors of the entry, by kind of error."""
        return self.report.get("failures", {})

    @property
    def worst(self) -> SheetNumber | None:
        """Primary metric on the worst slice, or None if the report names no worst slice."""
        one = self.report["worst"]
        if one is None:
            return None
        ends = one["interval"] or {}
        return SheetNumber(title=one["title"], value=one["value"], unit=self.row.unit, low=ends.get("low"), high=ends.get("high"))

    def extremes(self, columns: Sequence[str]) -> list[SheetNumber]:
        """Return the primary metric on the worst and on the best slice of a column, even if these slices have few samples.

        The column is the first of ``columns`` that has at least two slices in the report.
        """
        for column in columns:
            there = [one for one in self.report["slices"] if one["column"] == column and one["value"] is not None]
            if len(there) > 1:
                there.sort(key=lambda one: one["value"], reverse=self.row.direction == "min")
                return [SheetNumber(title=one["title"], value=one["value"], unit=self.row.unit) for one in (there[0], there[-1])]
        return []

    @property
    def over_instruments(self) -> list[SheetNumber]:
        """Primary metric on the worst and the best instrument."""
        return self.extremes(INSTRUMENTS)

    @property
    def over_noise(self) -> list[SheetNumber]:
        """Primary metric at the worst and the best noise level, and metrics of robustness against noise."""
        return [*self.extremes(NOISE), *self._readings(AGAINST_NOISE, ())]

    @property
    def attempts(self) -> dict[str, Any] | None:
        """Statistics of an agent over repeated attempts at the same episodes, or None without repeated attempts."""
        return self.report.get("attempts")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """Printable page of a team: its name, the file name of the page, and its best entries."""

    team: str
    slug: str
    entries: tuple[SheetEntry, ...]


def make_sheets(pages: Sequence[BoardPage], reviews: Sequence[Review] = ()) -> list[Sheet]:
    """Return the sheet of each team on a board, in the order of team names; rows without a team are left out."""
    found: dict[str, list[SheetEntry]] = {}
    for page in pages:
        rows = list(zip(page.board.rows, page.reports, strict=True))
        for team in {row.team for row, _ in rows if row.team}:
            own = [(row, report) for row, report in rows if row.team == team]
            # rows are sorted by score, and min takes the first of equal places
            row, report = min(own, key=lambda pair: (pair[0].order is None, pair[0].order or (0, 0)))
            asked = reviews_of(reviews, team, row.artefact_sha256)
            found.setdefault(team, []).append(SheetEntry(page=page, row=row, report=report, entries=len(own), reviews=asked))
    taken = set[str]()
    return [Sheet(team=team, slug=make_slug(f"team-{team}", taken), entries=tuple(found[team])) for team in sorted(found, key=str.casefold)]


def write_sheets(store: Store, folder: Path | str, *, title: str = "stemtwin board", reviews: Sequence[Review] = ()) -> list[Path]:
    """Write the sheets of all teams, an index and a table of all numbers, and return their paths; each file is replaced atomically.

    Parameters
    ----------
    store : Store
        The board.
    folder : path
        Folder of the files; a missing folder is created.
    title : str
        Name of the event.
    reviews : sequence of Review
        Requests for review, which are shown beside their entries.

    Raises
    ------
    DatasetError
        The board cannot be read, or the folder cannot be written.
    """
    sheets, templates = make_sheets(collect(store), reviews), make_templates(title)
    files = {
        "style.css": templates.get_template("style.css").render(),
        "index.html": templates.get_template("jury-index.html").render(sheets=sheets),
        "jury.csv": sheets_csv(sheets),
    }
    files |= {f"{sheet.slug}.html": templates.get_template("jury.html").render(sheet=sheet) for sheet in sheets}
    return write_files(Path(folder), files)


def sheets_csv(sheets: Sequence[Sheet]) -> str:
    """Return all entries of all sheets as CSV; an apostrophe precedes texts that a spreadsheet would evaluate as formulas."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    header = (
        "team task split entry places_best places_last entries metric unit score low high worst_slice worst_value instrument_worst instrument_best "
        "noise_worst noise_best dose_e_per_angstrom2 failed_episodes trust isolation reviews domain summary code film artefact_sha256"
    )
    writer.writerow(header.split())
    for sheet in sheets:
        for one in sheet.entries:
            writer.writerow([_cell(value) for value in _csv_row(sheet, one)])
    return out.getvalue()


def _csv_row(sheet: Sheet, one: SheetEntry) -> list[Any]:
    """Return the cells of one entry."""
    row, board, notes = one.row, one.page.board, one.notes
    best, last = row.order or (None, None)
    pairs = [[reading.value for reading in one.extremes(columns)] or [None, None] for columns in (INSTRUMENTS, NOISE)]
    dose = next((reading.value for reading in one.spent if reading.unit == "e-/A^2"), None)
    texts = [notes.get(name, "") for name in ("domain", "summary", "code", "film")]
    return [
        sheet.team, f"{board.task}@{board.major}", board.split, row.name, best, last, len(board.rows), row.metric, row.unit, row.value, row.low,
        row.high, row.worst, row.worst_value, *pairs[0], *pairs[1], dose, sum(one.failures.values()), row.trust, one.report.get("isolation", ""),
        "; ".join(f"{review.kind}: {review.text}" for review in one.reviews), *texts, row.artefact_sha256,
    ]  # fmt: skip


def _cell(value: Any) -> Any:
    """Return a cell as a value that a spreadsheet does not evaluate as a formula."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(FORMULA) else text
