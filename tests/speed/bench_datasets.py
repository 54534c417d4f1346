"""Speed of dataset builds: images an hour of specimens whose operators nobody has built before."""

import itertools
import os
from collections.abc import Callable

from stemtwin.datasets import cards
from stemtwin.datasets.kinds import find_generator
from tests.speed.run import Row

ROUNDS = itertools.count(100)
"""Numbers of specimens that no row has built before."""
CRYSTALS = (0, 1, 2, 3, 4)
"""Structure seeds of the card's perfect crystals, modulo the number of its materials."""


def builder(configurations: str) -> Callable[[], float]:
    """Return the function that makes the images of one new thin specimen of each crystal, and returns their number in thousands."""
    text = (cards.CARDS / "atoms-2d-1.0.0.toml").read_text(encoding="utf-8")
    card = cards.parse_card(text.replace("phonon_configurations = 8", f"phonon_configurations = {configurations}"))
    generator = find_generator(card.kind)

    def build() -> float:
        first, before = next(ROUNDS) * len(card.generator.materials), os.environ.get("STEMTWIN_CACHE_BYTES")
        os.environ["STEMTWIN_CACHE_BYTES"] = "0"
        try:
            return sum(len(list(generator.rows(card, "tiny", generator.specimen(card, "tiny", "train", first + seed)))) for seed in CRYSTALS) / 1000
        finally:
            os.environ.pop("STEMTWIN_CACHE_BYTES")
            if before is not None:
                os.environ["STEMTWIN_CACHE_BYTES"] = before

    return build


ROWS = [
    Row(
        work="atoms-2d, crystals of tiny, operators built: images an hour",
        bar=10_000,
        prepare=lambda: (builder("8"), None),
        value=lambda ours, _: 3600 * 1000 / ours,
        unit="per hour",
    ),
    Row(
        work='atoms-2d, crystals of tiny, operators built: images an hour with phonon_configurations = "auto" / with 8',
        bar=3,
        prepare=lambda: (builder('"auto"'), builder("8")),
        value=lambda ours, theirs: theirs / ours,
    ),
]
