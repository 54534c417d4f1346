"""The stacks, made slowly, in one thread, and with a process that is killed where a file says so: for builds in other processes."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stemtwin.datasets import cards
from stemtwin.datasets.kinds import GENERATORS, generator
from stemtwin.twin.errors import DatasetError
from stemtwin.twin.physics.engine.kernels.threads import thread_count
from tests.datasets import stacks

ORDERS = "STEMTWIN_TEST_ORDERS"
"""Variable that names a folder with orders: ``pause`` holds the seconds of a specimen, ``log`` gets its lines, ``die`` is taken away by who dies."""


class SlowStacks(stacks.Stacks):
    """The stacks, with orders from a folder."""

    def rows(self, card: Any, size: str, specimen: Any) -> Iterator[dict[str, Any]]:
        """Yield the rows of a specimen."""
        folder = Path(os.environ[ORDERS])
        with (folder / "log").open("a") as log:
            log.write(f"{os.getpid()} {thread_count()} {specimen.name}\n")
        time.sleep(float((folder / "pause").read_text()))
        if (folder / "fail").exists():
            message = f"{specimen.name} cannot be made. Make another."
            raise DatasetError(message)
        try:
            (folder / "die").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        except FileNotFoundError:
            if (folder / "always").exists():
                os.kill(os.getpid(), signal.SIGKILL)
        yield from super().rows(card, size, specimen)


if "test-slow-stacks" not in GENERATORS:
    generator("test-slow-stacks")(SlowStacks)


def slow_card() -> cards.Card:
    """The card of stacks, of this kind, with eleven specimens."""
    text = stacks.card_text().replace('"test-stacks"', '"test-slow-stacks"')
    for old, new in (
        ("{ train = 0, test = 1000 }", "{ train = 0, val = 2000, test = 1000 }"),
        ("{ train = 3, test = 2 }", "{ train = 4, val = 3, test = 4 }"),
        ("{ train = 2, test = 1 }", "{ train = 2, val = 1, test = 1 }"),
    ):
        text = text.replace(old, new)
    return cards.parse_card(text)
