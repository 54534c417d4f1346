"""Pages of an event in one room: they follow the folder, show nothing of the secrets, fit on a phone, and end by an interrupt."""

import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemtwin.leaderboard import serving
from stemtwin.leaderboard.cli.main import main
from stemtwin.leaderboard.events.event_pages import event_server
from stemtwin.leaderboard.events.folders import Organiser, open_folder
from stemtwin.leaderboard.events.jury import write_jury
from stemtwin.leaderboard.events.moderation import disqualify, freeze, withdraw
from stemtwin.leaderboard.events.scoring import score_event
from stemtwin.leaderboard.serving import BoardServer
from stemtwin.twin.errors import SettingsError
from tests.leaderboard.browser import DESK, PHONE, find_chromium, widths
from tests.leaderboard.events.conftest import again, hand_in
from tests.leaderboard.servers import fetch, running, wait_for


@pytest.fixture
def server(organiser: Organiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BoardServer]:
    """Run the organiser's server in a thread and end it."""
    monkeypatch.setattr(serving, "POLL_S", 0.02)
    one = event_server(organiser.folder, tmp_path / "room", host="127.0.0.1", port=0)
    with running(one):
        yield one


def test_pages_follow_the_folder_and_hide_the_secrets(server: BoardServer, organiser: Organiser) -> None:
    """A line of the log and a changed setting are on the page by themselves; the board hangs below it; neither secrets nor settings are served."""
    before = (organiser.path / "pages" / "index.html").read_bytes()
    assert "the event is frozen" not in fetch(server).lower()
    lines = len(organiser.folder.lines)
    freeze(organiser)
    wait_for(server, f"Signed log: {lines + 1} lines")
    settings = organiser.path / "event.toml"
    settings.write_text(settings.read_text().replace(f'title = "{organiser.event.title}"', 'title = "Spring school"'))
    wait_for(server, "<h1>Spring school</h1>")
    assert "<table" in fetch(server)
    assert "style.css" in fetch(server, "board/index.html")
    for path in ("event.toml", "../event.toml", "keys.json", "../trial-secret/keys.json", "..%2ftrial-secret%2fkeys.json"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(server, path)
    assert before != (organiser.path / "pages" / "index.html").read_bytes()  # freezing wrote them, not the server


def test_a_clone_is_served_as_it_is(organiser: Organiser, tmp_path: Path) -> None:
    """Without the secret folder there is no board to write pages from; a folder without pages is one sentence."""
    clone = Path(shutil.copytree(organiser.path, tmp_path / "clone"))
    server = event_server(open_folder(clone), tmp_path / "room", host="127.0.0.1", port=0)
    with running(server):
        assert "<h1>" in fetch(server)
        (clone / "pages" / "index.html").write_text("<p>pulled</p>")
        assert fetch(server) == "<p>pulled</p>"
    assert not (tmp_path / "room").exists()
    shutil.rmtree(clone / "pages")
    with pytest.raises(SettingsError, match=r"contains no index\.html"):
        event_server(open_folder(clone), tmp_path / "room", host="127.0.0.1", port=0)


def test_the_command_tells_its_address_and_ends_by_an_interrupt(
    organiser: Organiser, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``stemtwin event serve`` answers while it runs, and ends on Ctrl-C with exit code 0; wrong secrets are told."""
    seen = []

    def run(self: BoardServer) -> None:
        thread = threading.Thread(target=self.server.handle_request)
        thread.start()
        seen.append(fetch(self))
        thread.join(timeout=5)
        self.server.server_close()
        raise KeyboardInterrupt

    monkeypatch.setattr(BoardServer, "run", run)
    assert main(["event", "serve", str(organiser.path), "--port", "18765"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"serving the pages of {organiser.event.name} at http://127.0.0.1:18765/ until Ctrl-C",
        "stopped",
    ]
    assert "<h1>" in seen[0]
    assert main(["event", "serve", str(organiser.path), "--secret", "nowhere"]) == 1


@pytest.mark.slow
def test_all_pages_of_an_event_fit_on_a_phone(organiser: Organiser, tmp_path: Path) -> None:
    """Event page, board, and sheets of the jury, with long names and reasons and each kind of decision, are never wider than the screen."""
    long = "Averylongnamewithoutanyblank" * 2
    for team in (long, "theirs"):
        hand_in(organiser.path, team, "half")
    hand_in(organiser.path, "theirs", "odd", task="nothing-like-a-task-of-this-event-at-all")
    score_event(organiser, isolation="process")
    withdraw(again(organiser), "theirs/half", f"The team asked for it: https://example.org/{'path/' * 30}")
    disqualify(again(organiser), "theirs", "x" * 300)
    jury, _ = write_jury(again(organiser))
    shutil.copytree(jury, tmp_path / "jury")
    pages = sorted(path for folder in (organiser.path / "pages", tmp_path / "jury") for path in folder.rglob("*.html"))
    assert {"index.html", "hypothesis-test"} <= {path.name.split("-1-")[0] for path in pages}
    assert "refused" in (organiser.path / "pages" / "index.html").read_text()
    program = find_chromium()
    for screen in (DESK, PHONE):
        assert max(widths(program, tmp_path, pages, screen)) <= screen
