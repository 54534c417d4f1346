"""Seeds of a card's random numbers.

Every stream is ``SeedSequence(entropy, spawn_key=(structure seed, stream[, image]))``: knowing the noise tells nothing about the truth, and any
specimen can be made without the others.
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
    """Return the seed of a stream, an integer from 0 to 2^63 - 1; a generator may number streams of its own from 3 on."""
    sequence = np.random.SeedSequence(card.seeds.entropy, spawn_key=(structure_seed, stream, *more))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def random_generator(seed: int) -> np.random.Generator:
    """Return the generator of random numbers of a seed."""
    return np.random.Generator(np.random.Philox(seed))


def sample_id(card: Card, split: str, structure_seed: int, image: int, number: int) -> str:
    """Return the name of a row.

    A name of schema 2 tells neither specimen nor order to whoever does not know the card's entropy, and is the same in all sizes.

    Parameters
    ----------
    card : Card
        Which dataset.
    split : str
        Which split.
    structure_seed, image : int
        Seed of the specimen, and number of the image of it.
    number : int
        Number of the row in the split, which cards of schema 1 name it by.
    """
    if card.schema_ == "stemtwin/dataset-card@1":
        return f"{card.name}/{split}/{number:06d}"
    message = f"{card.name}/{card.version}/{split}/{structure_seed}/{image}"
    return f"{card.name}/{split}/{hmac.new(str(card.seeds.entropy).encode(), message.encode(), hashlib.sha256).hexdigest()[:16]}"
