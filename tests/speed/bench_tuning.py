"""Environments: steps of AberrationCorrection with images alone, with Ronchigrams, with C1A1, and with tableaus, and a picture."""

import functools

import gymnasium
import numpy as np

from stemtwin.twin.envs import register
from stemtwin.twin.envs.tuning_presets import MEASUREMENTS
from tests.speed.run import Row

ID = "stemtwin/AberrationCorrection-v1"
STEPS = 30


@functools.cache
def single(difficulty: str) -> gymnasium.Env:
    """Return one environment, its kernels and tables at hand."""
    register()
    env = gymnasium.make(ID, difficulty=difficulty, render_mode="rgb_array")
    env.reset(seed=1)
    return env


def steps(difficulty: str, measurement: str):
    """Steps of one environment, resets included."""
    env = single(difficulty)
    action = np.zeros(env.action_space.shape, np.float32)
    action[:2] = (2 * MEASUREMENTS.index(measurement) + 1) / len(MEASUREMENTS) - 1, -1

    def play() -> float:
        env.reset(seed=1)
        for _ in range(STEPS):
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset(seed=1)
        return STEPS

    return play, None


def picture():
    """A picture of the state."""
    env = single("hard")
    return lambda: env.render() is None or None, None


def rate(ours, _):
    """Units of work in a second."""
    return 1 / ours


ROWS = [
    Row(work=f"AberrationCorrection, {difficulty}, 128 x 128, {what}", bar=bar, prepare=functools.partial(steps, difficulty, measurement),
        value=rate, unit="steps/s")
    for difficulty, what, measurement, bar in (
        ("easy", "images without detector chain", "image", 100), ("standard", "images with detector chain", "image", 60),
        ("easy", "Ronchigrams", "Ronchigram", 60),
        ("hard", "images with detector chain and C1A1", "C1A1", 60), ("hard", "images with detector chain and tableaus", "Standard", 60),
    )
] + [
    Row(work="AberrationCorrection, a picture of the state", bar=25, prepare=picture, value=lambda ours, _: ours * 1e3, unit="ms", at_most=True),
]  # fmt: skip
