"""Pages served in one room: real requests, pages that follow the board, an end without rest."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemtwin.leaderboard import serving
from stemtwin.leaderboard.pages.site import write_pages
from stemtwin.leaderboard.serving import BoardServer
from stemtwin.leaderboard.store import Store
from stemtwin.twin.errors import DatasetError, SettingsError
from tests.conftest import ROOT
from tests.leaderboard.servers import fetch, running, wait_for
from tests.leaderboard.test_store import report_of


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a board with one row, looked at often."""
    monkeypatch.setattr(serving, "POLL_S", 0.02)
    with Store(tmp_path / "board.db") as store:
        store.submit(report_of(0.9, entry="first"))
    return tmp_path / "board.db"


@pytest.fixture
def server(board: Path, tmp_path: Path) -> Iterator[BoardServer]:
    """Run a server in a thread and end it."""

    def write() -> None:
        with Store(board, read_only=True) as store:
            write_pages(store, tmp_path / "pages")

    one = BoardServer(tmp_path / "pages", (board,), write)
    with running(one):
        yield one


def test_pages_follow_the_board(server: BoardServer, board: Path) -> None:
    """A row that is entered while pages are served is on them; browsers ask again by themselves."""
    assert "first" in fetch(server)
    with Store(board) as store:
        store.submit(report_of(0.95, entry="newcomer"))
    wait_for(server, "newcomer")
    with urllib.request.urlopen(server.address, timeout=5) as answer:
        assert answer.headers["Refresh"] == str(serving.REFRESH_S)


def test_nothing_but_pages_is_served(server: BoardServer) -> None:
    """Paths that lead out of the folder, and those of no page, are not found."""
    host = server.address.removeprefix("http://").rstrip("/")
    for path in ("../board.db", "..%2fboard.db", "%2e%2e/board.db", "nothing.html", "/etc/passwd", "//etc/passwd", "style.css/"):
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        assert answer.status == 404, path
        assert b"root:" not in answer.read()
        connection.close()


def test_folders_are_not_listed_and_nothing_is_taken(server: BoardServer, tmp_path: Path) -> None:
    """A folder without an index is not listed, and a request that sends something is refused."""
    (tmp_path / "pages" / "inner").mkdir()
    (tmp_path / "pages" / "inner" / "secret").touch()
    for request in (server.address + "inner/", urllib.request.Request(server.address, data=b"x", method="POST")):
        with pytest.raises(urllib.error.HTTPError, match=r"404|501"):
            urllib.request.urlopen(request, timeout=5)


def test_a_silent_browser_holds_nothing_up(server: BoardServer) -> None:
    """A connection that says nothing stops neither others nor the end."""
    host, port = server.server.server_address[:2]
    with socket.create_connection((str(host), port)):
        assert "first" in fetch(server)


def test_a_board_that_cannot_be_read_leaves_the_pages(board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error while pages are written is told, the pages stay, and the next change is written again."""
    told = []

    def write() -> None:
        told.append(len(told))
        if len(told) == 2:
            message = "The board cannot be read now."
            raise DatasetError(message)
        (tmp_path / "index.html").write_text(f"{len(told)} times")

    one = BoardServer(tmp_path, (board,), write)
    thread = threading.Thread(target=one.run)
    thread.start()
    for _ in range(2):
        os.utime(board, ns=(time.time_ns(), time.time_ns()))
        until, before = time.monotonic() + 5, len(told)
        while len(told) == before and time.monotonic() < until:
            time.sleep(0.02)
    wait_for(one, "3 times")
    one.stop()
    thread.join(timeout=5)
    assert "the pages were not updated: The board cannot be read now." in capsys.readouterr().err


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    """A port that another server has, and a host that is none of this machine's, are one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port={port}: pages cannot be served there"):
            BoardServer(tmp_path, (), lambda: None, port=port)
    with pytest.raises(SettingsError, match=r"host='192\.0\.2\.1', port=0"):
        BoardServer(tmp_path, (), lambda: None, host="192.0.2.1")


@pytest.mark.slow
def test_the_command_ends_by_an_interrupt(board: Path, tmp_path: Path) -> None:
    """``stemtwin board --serve`` answers, and ends on Ctrl-C with exit code 0 and without a rest of its pages."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [
        sys.executable,
        "-c",
        # a shell's background jobs ignore Ctrl-C, and so would their children
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from stemtwin.leaderboard.cli.main import run; run()",
        "board",
        "--database",
        str(board),
        "--serve",
        f"--port={port}",
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
                assert "first" in answer.read().decode()
            break
        except urllib.error.URLError:
            time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=10)
    assert (process.returncode, error) == (0, "")
    assert out.endswith("stopped\n")
    assert list((tmp_path / "temporary").iterdir()) == []
