"""Seeds of a card's random numbers.

Every stream is ``SeedSequence(entropy, spawn_key=(structure seed, stream[, image]))``, so the noise of an image reveals
nothing about its truth, and any specimen can be generated without the others.
"""

import hashlib
import hmac
from enum import IntEnum

import numpy as np

from stemtwin.datasets.cards import Card


class Stream(IntEnum):
    """Independent streams of random numbers of one structure seed."""

    STRUCTURE = 0
    MICROSCOPE = 1
    CONDITIONS = 2


def stream_seed(card: Card, structure_seed: int, stream: int, *more: int) -> int:
    """Return the seed of a stream, an integer from 0 to 2^63 - 1.

    A generator numbers further streams of its own from 3.
    """
    sequence = np.random.SeedSequence(card.seeds.entropy, spawn_key=(structure_seed, stream, *more))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def random_generator(seed: int) -> np.random.Generator:
    """Return the random generator of a seed."""
    return np.random.Generator(np.random.Philox(seed))


def sample_id(card: Card, split: str, structure_seed: int, image: int, number: int) -> str:
    """Return the name of a row.

    Without the card's entropy, a name of schema 2 reveals neither the specimen nor the order of the rows. It is the
    same in all sizes.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    split : str
        Name of the split.
    structure_seed, image : int
        Seed of the specimen, and number of its image.
    number : int
        Number of the row in the split, the name of the row in cards of schema 1.
    """
    if card.schema_ == "stemtwin/dataset-card@1":
        return f"{card.name}/{split}/{number:06d}"
    message = f"{card.name}/{card.version}/{split}/{structure_seed}/{image}"
    return f"{card.name}/{split}/{hmac.new(str(card.seeds.entropy).encode(), message.encode(), hashlib.sha256).hexdigest()[:16]}"
