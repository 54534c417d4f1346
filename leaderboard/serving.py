"""HTTP server of a board for a local network: static pages, rewritten when the board's file changes. Clients cannot send data."""

import http.server
import os
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from stemtwin.twin.errors import SettingsError, StemtwinError

POLL_S = 0.5
"""Time between two checks of the board's file, s."""
REFRESH_S = 10
"""Time after which a browser reloads a page, s; the reload needs no script."""
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TIMEOUT_S = 20.0
"""Longest wait for a request on an open connection, s, after which an idle browser releases its thread."""


class PageHandler(http.server.SimpleHTTPRequestHandler):
    """Handler of requests for the files of one folder; folders are not listed."""

    server_version = "stemtwin"
    sys_version = ""
    timeout = TIMEOUT_S

    def end_headers(self) -> None:
        """Add the headers of every response and send them."""
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Refresh", str(REFRESH_S))
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        """Answer a request for the list of a folder with the error 404."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


class BoardServer:
    """HTTP server of the pages of a board, with one thread per request and one thread that watches the board's files.

    Parameters
    ----------
    folder : Path
        Folder of the pages.
    watched : sequence of Path
        Files whose changes make the pages outdated.
    write : callable
        Function that writes the pages.
    host, port : str, int
        Address; port 0 selects a free port.

    Raises
    ------
    SettingsError
        The address does not belong to this machine or is in use.
    """

    def __init__(self, folder: Path, watched: tuple[Path, ...], write: Callable[[], object], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.watched, self.write = watched, write
        self._stop = threading.Event()
        self._seen = self._state()
        self.write()
        try:
            self.server = http.server.ThreadingHTTPServer((host, port), lambda *request: PageHandler(*request, directory=os.fspath(folder)))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"host={host!r}, port={port}: pages cannot be served there ({reason}). Choose another port, or an address of this machine."
            raise SettingsError(message) from None
        self.server.daemon_threads = True
        self.server.block_on_close = False  # a browser that keeps its connection open does not delay the shutdown

    @property
    def address(self) -> str:
        """Address of the pages for browsers (URL)."""
        host, port = self.server.server_address[:2]
        name = host.decode() if isinstance(host, bytes) else str(host)
        return f"http://{name}:{port}/"

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Return time of change, size and inode of each watched file, or None for a missing file."""
        found = []
        for path in self.watched:
            try:
                one = path.stat()
                found.append((one.st_mtime_ns, one.st_size, one.st_ino))
            except OSError:
                found.append(None)
        return tuple(found)

    def _watch(self) -> None:
        """Rewrite the pages whenever the files change; keep the pages if the board cannot be read."""
        while not self._stop.wait(POLL_S):
            state = self._state()
            if state == self._seen:
                continue
            try:
                self.write()
                self._seen = state
            except StemtwinError as error:
                sys.stderr.write(f"stemtwin: the pages were not updated: {error}\n")
                self._seen = state

    def run(self) -> None:
        """Serve until :meth:`stop` is called in another thread, or the user interrupts the process."""
        watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
        watcher.start()
        try:
            self.server.serve_forever(poll_interval=0.1)
        finally:
            self._stop.set()
            self.server.server_close()
            watcher.join()

    def stop(self) -> None:
        """Stop :meth:`run` from another thread."""
        self.server.shutdown()
