"""Jury sheets: every team has one page with the numbers of its reports, nothing of a name is markup or a formula, and they fit on paper and phone."""

import csv
import dataclasses
import io
import re
import subprocess
from pathlib import Path

import pytest

from stemtwin.benchmarks.method_notes import check_notes, shown_notes
from stemtwin.benchmarks.report import Report
from stemtwin.leaderboard.pages.jury import make_sheets, write_sheets
from stemtwin.leaderboard.pages.site import collect, write_pages
from stemtwin.leaderboard.reviews import Review, read_reviews, write_reviews
from stemtwin.leaderboard.store import Store
from stemtwin.twin.errors import SettingsError
from tests.leaderboard.browser import FLAGS, PHONE, find_chromium, widths
from tests.leaderboard.test_pages import Words, sliced
from tests.leaderboard.test_store import report_of

HOSTILE = '=HYPERLINK("http://x")<script>alert(1)</script>&\''
NOTES = {
    "domain": "Atoms scatter. Noise is Poisson's. So we fit.",
    "code": "https://host/code",
    "film": "https://host/film?a=1&b=2",
    "summary": "<b>fits</b>",
}


def noted(report: Report, **notes: str) -> Report:
    """Return a report with notes of its team."""
    return dataclasses.replace(report, method=notes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a board with three teams in two tables."""
    one = Store(tmp_path / "board.db")
    one.submit(noted(sliced("first", 0.6, {"A": 0.9, "B": 0.2}, team="steady", trust="isolated"), **NOTES))
    one.submit(noted(sliced("second", 0.8, {"A": 0.85, "B": 0.7}, team="steady", trust="isolated"), **NOTES))
    one.submit(report_of(0.5, entry="elsewhere", team="steady", sha="b" * 64))
    one.submit(sliced(HOSTILE, 0.7, {"A": 0.7, "B": 0.7}, team=HOSTILE))
    one.submit(report_of(0.4, entry="baseline", trust="baseline"))
    one.submit(dataclasses.replace(report_of(0.1, entry="late", team="agents", sha="b" * 64), failures={"time": 3}, isolation="process"))
    return one


def busy(store: Store) -> None:
    """Enter a team in four tables with notes as long as they may be."""
    text = "The contrast follows the potential only where the probe is small. " * 20
    for number, sha in enumerate("cdef"):
        one = sliced(f"entry {number}", 0.8 - number / 10, {"corrected-200kv": 0.8, "nion-60": 0.6}, team="busy", trust="isolated", sha=sha * 64)
        notes = {"domain": f"{number} {text[:597]}.", "summary": f"{number} {text[:397]}.", "code": "https://host/code", "license": "MIT"}
        store.submit(dataclasses.replace(noted(one, **notes), isolation="bubblewrap", failures={"timed out": 3, "invalid action": 1}))


def asked() -> list[Review]:
    """Return a request for review of one entry."""
    return [Review(team="steady", name="second", artefact_sha256="second-0.8", kind="duplicate", text="near <i>first</i>")]


def test_each_team_has_a_sheet_of_its_best_entries(store: Store) -> None:
    """One entry a table, the best placed; rows without a team have no sheet; the worst and the best instrument are those of the report."""
    sheets = {sheet.team: sheet for sheet in make_sheets(collect(store), asked())}
    assert set(sheets) == {"steady", HOSTILE, "agents"}
    steady = sheets["steady"].entries
    assert [(one.row.name, one.entries) for one in steady] == [("second", 2), ("elsewhere", 1)]
    assert [(reading.title, reading.value) for reading in steady[0].over_instruments] == [("instrument B", 0.7), ("instrument A", 0.85)]
    assert [reading.title for reading in steady[0].spent] == ["dose"]
    assert [review.text for review in steady[0].reviews] == ["near <i>first</i>"]
    assert steady[1].reviews == ()
    assert sheets["agents"].entries[0].failures == {"time": 3}


def test_sheets_show_what_teams_wrote_letter_by_letter(store: Store, tmp_path: Path) -> None:
    """Pages are well formed, have no script and no markup of a name; links lead to the web; notes, dose, failures and reviews stand there."""
    paths = write_sheets(store, tmp_path / "jury", title="Spring", reviews=asked())
    pages = {path.name: Words(path.read_text(encoding="utf-8")) for path in paths if path.suffix == ".html"}
    assert len(pages) == 4
    for name, page in pages.items():
        assert (page.open, page.wrong) == ([], []), name
        assert not {"script", "b", "i", "iframe"} & {tag for tag, _ in page.tags}
        assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
        links = [attributes["href"] for tag, attributes in page.tags if tag in ("a", "link")]
        assert all(link.startswith("https://host/") or (tmp_path / "jury" / link.partition("#")[0]).exists() for link in links)
    (own,) = [page for name, page in pages.items() if "steady" in name]
    for told in (NOTES["domain"], NOTES["summary"], "Domain understanding", "Physical significance", "Solution robustness", "near <i>first</i>"):
        assert told in own.text
    assert any(HOSTILE in page.text for name, page in pages.items() if name != "index.html")
    (agents,) = [page for name, page in pages.items() if "agents" in name]
    assert "time, counted as the worst score 3" in agents.text


def test_the_table_of_all_numbers_is_no_program(store: Store, tmp_path: Path) -> None:
    """The CSV has a line for each entry of each sheet, and no cell that a spreadsheet would compute; numbers stay numbers."""
    write_sheets(store, tmp_path / "jury", reviews=asked())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "jury" / "jury.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 4
    assert all(not re.match(r"[=+@]|-(?![\d.])", cell) for row in rows for cell in row.values())
    assert {row["team"] for row in rows} == {"steady", f"'{HOSTILE}", "agents"}
    best = next(row for row in rows if row["entry"] == "second")
    assert (float(best["score"]), float(best["instrument_worst"]), best["failed_episodes"]) == (0.8, 0.7, "0")
    assert best["reviews"].startswith("duplicate: ")


def test_reviews_stand_beside_rows_and_change_no_place(store: Store, tmp_path: Path) -> None:
    """A request for review is shown on the row's page and in its section; places and the data for machines are what they were."""
    before = {path.name: path.read_bytes() for path in write_pages(store, tmp_path / "before") if path.suffix == ".json"}
    paths = write_pages(store, tmp_path / "pages", reviews=asked())
    assert {path.name: path.read_bytes() for path in paths if path.suffix == ".json"} == before
    text = "".join(path.read_text(encoding="utf-8") for path in paths if path.suffix == ".html")
    assert text.count("review requested") == 1
    assert "near &lt;i&gt;first&lt;/i&gt;" in text
    path = write_reviews(tmp_path / "reviews.json", asked())
    assert list(read_reviews(path)) == asked()
    path.write_text('{"schema": "stemtwin/reviews@1", "reviews": [{"name": "a"}]}')
    with pytest.raises(SettingsError, match=r"reviews\.json: reviews\.0\.artefact_sha256: Field required"):
        read_reviews(path)


BAD = {
    "a script": ({"code": "javascript:alert(1)"}, "method.code is 'javascript:alert.1.', which is not a web link"),
    "a user": ({"film": "https://bank.example@evil.example/"}, "method.film is .* which is not a web link"),
    "a quote": ({"film": 'https://a/" onclick="x'}, "method.film is"),
    "too long": ({"domain": "x" * 601}, "method.domain has 601 characters; at most 600"),
    "a list": ({"summary": ["a"]}, "method.summary has the type list; a string is needed"),
}


@pytest.mark.parametrize("case", BAD)
def test_notes_that_cannot_be_shown_are_refused(case: str) -> None:
    """Links that are none of the web, long texts and other types are refused with the key."""
    notes, told = BAD[case]
    with pytest.raises(SettingsError, match=told):
        check_notes(notes)
    assert shown_notes(NOTES | {"colour": "red", "domain": "a\n\x1b[2J b"}) == NOTES | {"domain": "a \\x1b[2J b"}


@pytest.mark.slow
def test_sheets_fit_on_one_page_and_on_a_phone(store: Store, tmp_path: Path) -> None:
    """Chromium prints the sheet of a team with four full entries on one page of A4 upright; at 390 px no page is wider than the screen."""
    program = find_chromium()
    busy(store)
    sheets = write_sheets(store, tmp_path / "jury", reviews=asked())
    pages = write_pages(store, tmp_path / "pages", reviews=asked())
    (sheet,) = [path for path in sheets if "busy" in path.name]
    printed = tmp_path / "sheet.pdf"
    subprocess.run(
        [program, *FLAGS, f"--user-data-dir={tmp_path}/printer", f"--print-to-pdf={printed}", sheet.as_uri()],
        capture_output=True,
        timeout=60,
        check=True,
    )
    raw = printed.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", raw)) == 1
    width, height = re.search(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", raw).groups()  # type: ignore[union-attr]
    assert float(width) == pytest.approx(595, abs=2)
    assert float(height) == pytest.approx(842, abs=2)
    html = [path for path in (*sheets, *pages) if path.suffix == ".html"]
    assert max(widths(program, tmp_path, html, PHONE)) <= PHONE
