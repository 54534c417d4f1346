"""Speed of dataset builds, in images an hour of specimens whose operators nobody has built before, and of loading built datasets from disk."""

import functools
import itertools
import os
from collections.abc import Callable

import numpy as np

from stemtwin.datasets import cards
from stemtwin.datasets.catalog import load_dataset
from stemtwin.datasets.fetch import folder_of
from stemtwin.datasets.kinds import find_generator
from stemtwin.datasets.manifest import MANIFEST
from tests.speed.run import Row

FIRST, FIRST_OF_PAIRS = 100, 1000
"""First round of new specimens of each row; no row builds those of another one."""
CRYSTALS = (0, 1, 2, 3, 4)
"""Structure seeds of the card's perfect crystals, modulo the number of its materials."""


def builder(configurations: str, first_round: int = FIRST) -> Callable[[], float]:
    """Return the function that makes the images of one new thin specimen of each crystal, and returns their number in thousands."""
    rounds = itertools.count(first_round)
    text = (cards.CARDS / "atoms-2d-1.0.0.toml").read_text(encoding="utf-8")
    card = cards.parse_card(text.replace("phonon_configurations = 8", f"phonon_configurations = {configurations}"))
    generator = find_generator(card.kind)

    def build() -> float:
        first, before = next(rounds) * len(card.generator.materials), os.environ.get("STEMTWIN_CACHE_BYTES")
        os.environ["STEMTWIN_CACHE_BYTES"] = "0"
        try:
            return sum(len(list(generator.rows(card, "tiny", generator.specimen(card, "tiny", "train", first + seed)))) for seed in CRYSTALS) / 1000
        finally:
            os.environ.pop("STEMTWIN_CACHE_BYTES")
            if before is not None:
                os.environ["STEMTWIN_CACHE_BYTES"] = before

    return build


def built_size(name: str) -> str:
    """Return ``"std"`` where that size of a dataset is built on this machine, else ``"tiny"``, which is then built."""
    card = cards.find_card(*name.split("@"))
    return "std" if (folder_of(card, "std") / MANIFEST).is_file() else "tiny"


def loader(name: str, form: str) -> tuple[Callable[[], float], None]:
    """Return the function that loads a split with its checks, and returns the megabytes of its numbers and images."""
    size = built_size(name)

    def load() -> float:
        data = load_dataset(name, size=size, split="train", format=form)
        arrays = data.values() if form == "numpy" else (variable.values for variable in data.variables.values())
        return sum(array.nbytes for array in arrays if np.issubdtype(array.dtype, np.number)) / 1e6

    return load, None


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
        prepare=lambda: (builder('"auto"', FIRST_OF_PAIRS), builder("8", FIRST_OF_PAIRS)),  # each pair builds the same specimens
        value=lambda ours, theirs: theirs / ours,
    ),
    *(
        Row(
            work=f"atoms-2d 2, images and truth of train loaded from disk as {form}, hashes checked (std where it is built, else tiny)",
            bar=100,
            prepare=functools.partial(loader, "atoms-2d@2.0.0", form),
            value=lambda ours, _: 1 / ours,
            unit="MB/s",
        )
        for form in ("numpy", "xarray")
    ),
]
