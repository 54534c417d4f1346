"""Static pages of the board: every row stands on them as it was entered, nothing in a name is markup, and pairs that change places are named."""

import dataclasses
import html.parser
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from stemtwin.benchmarks.comparisons import ClusterSums
from stemtwin.benchmarks.report import Report
from stemtwin.leaderboard.pages.drawings import pareto, ticks
from stemtwin.leaderboard.pages.site import collect, drop, write_pages
from stemtwin.leaderboard.store import Store
from tests.leaderboard.browser import DESK, FLAGS, PHONE, find_chromium, widths
from tests.leaderboard.test_store import ENDS, report_of

HOSTILE = "<script>alert(1)</script>&\"'"


def sliced(name: str, whole: float, values: dict[str, float], **options: object) -> Report:
    """Return a report with full slices of instruments, each with an interval of 0.05 on both sides."""
    report = report_of(whole, entry=name, **options)  # type: ignore[arg-type]
    first = report.slices[0]
    parts = tuple(
        dataclasses.replace(
            first,
            column="instrument",
            label=label,
            title=f"instrument {label}",
            n=40,
            support="ok",
            value=value,
            interval=dataclasses.replace(ENDS, low=value - 0.05, high=value + 0.05),
        )
        for label, value in values.items()
    )
    return dataclasses.replace(report, slices=parts, cost={"dose_e_per_angstrom2": 1e4 * whole, "agent_wall_s": 0.1})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a board with two entries that change places, one of them with a hostile name."""
    one = Store(tmp_path / "board.db")
    one.submit(sliced("steady", 0.8, {"A": 0.8, "B": 0.8}))
    one.submit(sliced(HOSTILE, 0.6, {"A": 0.95, "B": 0.25}, team="<b>team</b>"))
    one.submit(report_of(0.5, entry="elsewhere", sha="b" * 64))
    return one


class Words(html.parser.HTMLParser):
    """Tags and text of a page; tags that are not closed in order are noted."""

    VOID = frozenset({"meta", "link", "br", "line", "circle"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.text, self.open, self.wrong = [], "", [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """Open a tag."""
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in self.VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        """Open and close a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the last one."""
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text += data


def test_every_row_is_on_a_page_and_no_name_is_markup(store: Store, tmp_path: Path) -> None:
    """Names and teams stand there letter by letter; pages are well formed, have no script, and fetch nothing from elsewhere."""
    paths = write_pages(store, tmp_path / "pages")
    pages = {path.name: Words(path.read_text(encoding="utf-8")) for path in paths if path.suffix == ".html"}
    assert len(pages) == 5
    for name, page in pages.items():
        assert (page.open, page.wrong) == ([], []), name
        assert not {"script", "iframe", "img", "b"} & {tag for tag, _ in page.tags}
        links = [attributes[key] for _, attributes in page.tags for key in ("href", "src") if key in attributes]
        assert all((tmp_path / "pages" / link.partition("#")[0]).exists() for link in links), links
    table = next(page for name, page in pages.items() if "-slices" not in name and HOSTILE in page.text and name != "index.html")
    assert "<b>team</b>" in table.text
    assert "steady" in table.text
    rows = json.loads(next(path for path in paths if path.suffix == ".json").read_text())["rows"]
    assert {row["name"] for row in rows} <= {"steady", HOSTILE, "elsewhere"}


def test_pages_are_accessible(store: Store, tmp_path: Path) -> None:
    """Tables have captions or follow a heading, their headers have scopes, and pictures are described or hidden from readers."""
    for path in write_pages(store, tmp_path / "pages"):
        if path.suffix == ".html":
            page = Words(path.read_text(encoding="utf-8"))
            assert dict(page.tags)["html"]["lang"] == "en"
            assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
            assert all("aria-label" in attributes or "aria-hidden" in attributes for tag, attributes in page.tags if tag == "svg")


def test_pairs_that_change_places_are_named(store: Store, tmp_path: Path) -> None:
    """The first is better on the whole, the second on instrument A, both surely: no winner overall, in the index and on the page of slices."""
    page = next(one for one in collect(store) if len(one.board.rows) == 2)
    (found,) = page.slices.obstructions
    assert (found.ahead, found.slice_title) == ("steady", "instrument A")
    assert found.behind.startswith(HOSTILE)
    write_pages(store, tmp_path / "pages")
    assert "no winner overall" in (tmp_path / "pages" / "index.html").read_text(encoding="utf-8")


def test_overlapping_intervals_are_no_obstruction(tmp_path: Path) -> None:
    """Entries that are better on a slice within their intervals, or on a slice with few samples, have not changed places."""
    with Store(tmp_path / "board.db") as store:
        store.submit(sliced("one", 0.8, {"A": 0.8, "B": 0.9}))
        store.submit(sliced("two", 0.6, {"A": 0.85, "B": 0.3}))
        few = sliced("three", 0.4, {"A": 0.99})
        store.submit(dataclasses.replace(few, slices=tuple(dataclasses.replace(one, support="low") for one in few.slices)))
        (page,) = collect(store)
    assert page.slices.obstructions == () or all(one.behind == "three" for one in page.slices.obstructions)


def test_the_drop_is_that_of_the_worst_instrument() -> None:
    """The drop is the distance from the whole, for either direction."""
    report = json.loads(sliced("one", 0.8, {"A": 0.9, "B": 0.5}).to_json())
    assert drop(report) == pytest.approx(0.3)
    report["metrics"][0]["direction"] = "min"
    assert drop(report) == pytest.approx(0.1)
    report["slices"] = []
    assert drop(report) is None


def test_the_pareto_front_is_what_nobody_beats() -> None:
    """Filled points are those that no other entry beats in dose and score, compared with every pair."""
    rng = np.random.default_rng(3)
    points = [(f"e{number}", float(10 ** rng.uniform(2, 5)), float(rng.uniform(0, 1))) for number in range(12)]
    drawn = str(pareto(points, metric="skill", direction="max"))
    front = [a for a in points if not any(b[1] <= a[1] and b[2] >= a[2] and b != a for b in points)]
    assert drawn.count('fill="currentColor" stroke') == len(front)
    assert str(pareto(points[:1], metric="skill", direction="max")) == ""
    assert HOSTILE not in str(pareto([(HOSTILE, 1.0, 1.0), ("b", 2.0, 2.0)], metric=HOSTILE, direction="max"))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 4.1), (2.0, 2.001), (1e3, 9e6)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    """Two to five ticks lie within the range."""
    found = ticks(low, high)
    assert 1 <= len(found) <= 5
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


def test_an_empty_board_has_an_index(tmp_path: Path) -> None:
    """A board without rows says so."""
    with Store(tmp_path / "board.db") as store:
        write_pages(store, tmp_path / "pages")
    assert "empty" in (tmp_path / "pages" / "index.html").read_text(encoding="utf-8")


def test_paired_entries_have_their_places_on_the_page(tmp_path: Path) -> None:
    """Entries with sums of clusters are told apart by pairs, and the page says so."""
    clusters = [ClusterSums(labels=tuple("abcdefgh"), sums={"tp": [1.0 * k] * 8, "fp": [1.0] * 8, "fn": [1.0] * 8}) for k in (5, 9)]
    with Store(tmp_path / "board.db") as store:
        for number, one in enumerate(clusters):
            store.submit(report_of(0.5 + number / 10, entry=f"entry {number}", clusters=one))
        write_pages(store, tmp_path / "pages")
        (page,) = collect(store)
    text = (tmp_path / "pages" / f"{page.slug}.html").read_text(encoding="utf-8")
    assert (page.board.compared in text) == bool(page.board.compared)


@pytest.mark.slow
def test_a_browser_shows_the_pages(store: Store, tmp_path: Path) -> None:
    """Chromium renders every page, and at the widths of a desk and of a phone no page is wider than the screen."""
    program = find_chromium()
    paths = [path for path in write_pages(store, tmp_path / "pages") if path.suffix == ".html"]
    for screen in (DESK, PHONE):
        assert max(widths(program, tmp_path, paths, screen)) <= screen
    (tmp_path / "wide.html").write_text(f"<p style='width: {PHONE + 9}px'>wide</p>")
    assert widths(program, tmp_path, [tmp_path / "wide.html"], PHONE)[0] > PHONE
    picture = tmp_path / "index.png"
    command = [program, *FLAGS, f"--user-data-dir={tmp_path}/user", "--window-size=480,900", f"--screenshot={picture}", paths[0].as_uri()]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert picture.stat().st_size > 5000
