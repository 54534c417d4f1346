"""Headless Chromium for tests of pages: their widths on a screen."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PHONE, DESK = 390, 1280
"""Widths of screens, px."""


def find_chromium() -> str:
    """Return the program; skip the test where it is not installed, and fail in continuous integration."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed: .ci/run installs it")
        pytest.skip("chromium is not installed")
    return program


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Server of files that logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def widths(program: str, root: Path, pages: Sequence[Path], screen: int) -> list[int]:
    """Return the width of the content of each page below a folder on a screen of a given width, px: larger than the screen where a page overflows.

    The pages are shown in frames of one more page, since the windows of Chromium have a least width above that of a phone.
    """
    frames = "".join(f'<iframe width="{screen}" height="600" src="{path.relative_to(root).as_posix()}"></iframe>' for path in pages)
    script = "onload=()=>{for(const f of document.querySelectorAll('iframe'))document.title+=' '+f.contentDocument.documentElement.scrollWidth}"
    (root / "frames.html").write_text(f"<title>widths</title>{frames}<script>{script}</script>", encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/frames.html"
        command = [program, *FLAGS, f"--user-data-dir={root}/user", "--dump-dom", address]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        server.shutdown()
    found = [int(number) for number in re.findall(r"<title>widths([\d ]*)</title>", shown)[0].split()]
    assert len(found) == len(pages)
    return found
