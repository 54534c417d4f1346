"""Seeds of a card's random numbers.

Every stream is ``SeedSequence(entropy, spawn_key=(structure seed, stream[, image]))``: knowing the noise tells nothing about the truth, and any
specimen can be made without the others.
"""

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
