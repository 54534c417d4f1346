"""Seeds of a card's random numbers.

Each stream of random numbers has the seed ``SeedSequence(entropy, spawn_key=(structure seed, stream[, image]))``. The
streams are independent, so the noise of an image reveals nothing about its truth, and any specimen can be generated
without the other specimens.
"""

import hashlib
import hmac
from enum import IntEnum

import numpy as np

from stemtwin.datasets.cards import Card


class Stream(IntEnum):
    """Identifying numbers of the independent random streams of one structure seed."""

    STRUCTURE = 0
    MICROSCOPE = 1
    CONDITIONS = 2


def stream_seed(card: Card, structure_seed: int, stream: int, *more: int) -> int:
    """Return the seed of a stream, an integer from 0 to 2^63 - 1.

    ``more`` are further numbers of the stream, such as the number of an image. A generator may need more streams
    than those of :class:`Stream`, which have the numbers 0 to 2; the additional streams have the numbers 3, 4 and so on.
    """
    sequence = np.random.SeedSequence(card.seeds.entropy, spawn_key=(structure_seed, stream, *more))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def random_generator(seed: int) -> np.random.Generator:
    """Return numpy's Philox random generator with a given seed."""
    return np.random.Generator(np.random.Philox(seed))


def sample_id(card: Card, split: str, structure_seed: int, image: int, number: int) -> str:
    """Return the name of a row, its ``sample_id``.

    In cards of schema 2, the name is a digest keyed with the card's entropy. Without the entropy, the name reveals neither
    the specimen nor the order of the rows. A row has the same name in all sizes.

    Parameters
    ----------
    card : Card
        Card of the dataset.
    split : str
        Name of the split.
    structure_seed, image : int
        Structure seed of the specimen, and number of the image of this specimen.
    number : int
        Number of the row in the split, which is part of the name in cards of schema 1.
    """
    if card.schema_ == "stemtwin/dataset-card@1":
        return f"{card.name}/{split}/{number:06d}"
    message = f"{card.name}/{card.version}/{split}/{structure_seed}/{image}"
    return f"{card.name}/{split}/{hmac.new(str(card.seeds.entropy).encode(), message.encode(), hashlib.sha256).hexdigest()[:16]}"
