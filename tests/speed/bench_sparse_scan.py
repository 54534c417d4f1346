"""SparseScan-v1: steps of one environment without and with the detector chain, and the start of an episode."""

import functools

import gymnasium
import numpy as np

from stemtwin.twin.envs import register
from tests.speed.run import Row

ID = "stemtwin/SparseScan-v1"
STEPS = 30


@functools.cache
def single(difficulty: str) -> gymnasium.Env:
    """Return one environment, its particles built."""
    register()
    env = gymnasium.make(ID, difficulty=difficulty)
    env.reset(seed=1)
    return env


def steps(difficulty: str):
    """Steps of one environment, the start of the episode included: lines across the field."""
    env = single(difficulty)

    def play() -> float:
        env.reset(seed=1)
        for y in np.linspace(-1, 1, STEPS):
            env.step(np.array([-1, -1, y, 1, y, -1, -0.2], np.float32))
        return STEPS

    return play, None


def start():
    """Start of an episode: a scene, its overview and its raster."""
    env = single("standard")
    return lambda: env.reset(seed=2) is None or None, None


def rate(ours, _):
    """Units of work in a second."""
    return 1 / ours


ROWS = [
    Row(work=f"SparseScan-v1, one environment, 128 x 128, detector chain {chain}", bar=bar, prepare=functools.partial(steps, difficulty),
        value=rate, unit="steps/s")
    for difficulty, chain, bar in (("easy", "off", 100), ("standard", "on", 60))
] + [
    Row(work="SparseScan-v1, the start of an episode", bar=1000, prepare=start, value=lambda ours, _: ours * 1e3, unit="ms", at_most=True),
]  # fmt: skip
