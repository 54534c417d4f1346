"""What a jury gets of an event: copies between teams are named, pages are printed, and both stand in the archive."""

import html
from collections.abc import Callable
from pathlib import Path

import pytest

from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.events.archive import close_event
from stemtwin.leaderboard.events.folders import Organiser
from stemtwin.leaderboard.events.jury import write_jury
from stemtwin.leaderboard.events.moderation import freeze
from stemtwin.leaderboard.events.scoring import score_event
from stemtwin.leaderboard.reviews import read_reviews
from tests.leaderboard.events.conftest import again, hand_in


def test_an_event_without_entries_has_an_empty_sheet(organiser: Organiser, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was handed in: nothing is compared, and the index and the CSV are there."""
    score_event(organiser)
    assert main(["event", "jury", str(organiser.path)]) == 0
    assert "0 entries compared, 0 reviews requested" in capsys.readouterr().out
    assert {path.suffix for path in (organiser.secret / "jury").iterdir()} >= {".html", ".csv", ".json"}


@pytest.mark.slow
def test_copies_are_named_and_kept_in_the_archive(changed: Callable[..., Organiser], tmp_path: Path) -> None:
    """Two teams hand in one agent, a third another: the two are asked about on the jury's pages, on the board and in the archive, which verifies."""
    organiser = changed(environments=[{"task": "hypothesis-test", "episodes": 12}])
    for team, value in (("first", "0.5"), ("copy", "0.5"), ("own", "-0.5")):
        folder = hand_in(organiser.path, team, "agent", value)
    with (folder / "agent.toml").open("a") as header:
        header.write('[method]\ndomain = "Damage follows the dose & not its rate."\n')
    score_event(organiser)
    folder, found = write_jury(again(organiser))
    assert (found.compared, found.left_out) == (3, ())
    assert {one.team for one in found.reviews} == {"first", "copy"}
    assert read_reviews(folder / "reviews.json") == found.reviews
    pages = [html.unescape(path.read_text(encoding="utf-8")) for path in folder.glob("*.html")]
    assert len(pages) == 1 + 3
    assert sum("Damage follows the dose & not its rate." in page for page in pages) == 1
    shown = "".join(path.read_text(encoding="utf-8") for path in (organiser.path / "pages" / "board").glob("*.html"))
    assert all(one.text in html.unescape(shown) for one in found.reviews)
    freeze(again(organiser))
    archive = close_event(again(organiser), tmp_path / "archive")
    assert read_reviews(archive / "jury" / "reviews.json") == found.reviews
    assert main(["event", "verify", str(archive)]) == 0
