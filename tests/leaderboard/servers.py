"""Servers of pages that run in a thread while a test asks them."""

import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from stemtwin.leaderboard.serving import BoardServer


def fetch(server: BoardServer, path: str = "") -> str:
    """Return a page."""
    with urllib.request.urlopen(server.address + path, timeout=5) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return answer.read().decode()


@contextmanager
def running(server: BoardServer) -> Iterator[BoardServer]:
    """Run a server in a thread and end it."""
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join(timeout=5)
    assert not thread.is_alive()


def wait_for(server: BoardServer, text: str) -> None:
    """Fetch the index until a text is there."""
    until = time.monotonic() + 10
    while text not in fetch(server):
        assert time.monotonic() < until, f"{text!r} did not come"
        time.sleep(0.02)
