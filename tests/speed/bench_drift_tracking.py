"""DriftTracking-v1: steps of one environment at 128 x 128, without and with detector chain, and the start of an episode."""

import functools

import gymnasium
import numpy as np

from stemtwin.twin.envs import register
from tests.speed.run import Row

ID = "stemtwin/DriftTracking-v1"
STEPS = 50
PRESETS = {"without": "easy", "with": "standard"}


@functools.cache
def single(chain: str) -> gymnasium.Env:
    """Return one environment, its scenes made."""
    register()
    env = gymnasium.make(ID, difficulty=PRESETS[chain])
    env.reset(seed=1)
    return env


def steps(chain: str):
    """Steps of one environment, resets included."""
    env = single(chain)
    actions = np.random.default_rng(1).uniform(-0.3, 0.3, (STEPS, 6)).astype(np.float32)

    def play() -> float:
        env.reset(seed=1)
        for action in actions:
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return STEPS

    return play, None


def start():
    """The start of an episode, frame included."""
    env = single("with")
    return lambda: env.reset(seed=2) and None, None


def rate(ours, _):
    """Units of work in a second."""
    return 1 / ours


ROWS = [
    Row(work=f"DriftTracking-v1, one environment, 128 x 128, {chain} detector chain", bar=bar, prepare=functools.partial(steps, chain),
        value=rate, unit="steps/s")
    for chain, bar in (("without", 100), ("with", 60))
] + [
    Row(work="DriftTracking-v1, start of an episode", bar=1000, prepare=start, value=lambda ours, _: ours * 1e3, unit="ms", at_most=True),
]  # fmt: skip
