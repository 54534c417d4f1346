"""Environments: steps of Autofocus-v2, alone and in a vector of 64, without and with all faults, a picture, and starts of episodes."""

import functools
import itertools

import gymnasium
import numpy as np

from stemtwin.twin.envs import register
from tests.speed.run import Row

ID = "stemtwin/Autofocus-v2"
STEPS = 50
MANY = 64
SETTINGS = {
    "off": {"difficulty": "easy"},
    "off, scan along the cell": {"difficulty": "easy", "randomisation": {"rotation_rad": (0.0, 0.0)}},
    "on": {"difficulty": "standard"},
}


def actions(count: int) -> np.ndarray:
    """Return actions that declare no end."""
    drawn = np.random.default_rng(1).uniform(-0.5, 0.5, (count, 4)).astype(np.float32)
    drawn[:, 3] = -1
    return drawn


@functools.cache
def single(faults: str) -> gymnasium.Env:
    """Return one environment, its operators built."""
    register()
    env = gymnasium.make(ID, render_mode="rgb_array", **SETTINGS[faults])
    env.reset(seed=1)
    return env


def steps(faults: str):
    """Steps of one environment, resets included."""
    env = single(faults)

    def play() -> float:
        env.reset(seed=1)
        for action in actions(STEPS):
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return STEPS

    return play, None


def vector_steps(faults: str):
    """Steps of 64 environments together, resets included."""
    register()
    envs = gymnasium.make_vec(ID, num_envs=MANY, vectorization_mode="vector_entry_point", **SETTINGS[faults])
    envs.reset(seed=1)

    def play() -> float:
        for _ in range(4):
            envs.step(actions(MANY))
        return 4 * MANY

    return play, None


def picture():
    """A picture of the state."""
    env = single("off")
    return lambda: env.render() is None or None, None


def starts(name: str):
    """Starts of episodes of the preset standard, whose specimens are built."""
    register()
    env, seeds = gymnasium.make(name, difficulty="standard"), itertools.count()
    for seed in range(20):  # every specimen is drawn
        env.reset(seed=seed)
    return lambda: env.reset(seed=next(seeds)) and None, None


def rate(ours, _):
    """Units of work in a second."""
    return 1 / ours


ROWS = [
    Row(work=f"Autofocus-v2, one environment, 128 x 128, chain, drift and scan faults {faults}", bar=bar, prepare=functools.partial(steps, faults),
        value=rate, unit="steps/s")
    for faults, bar in (("off", 650), ("off, scan along the cell", 650), ("on", 140))
] + [
    Row(work=f"Autofocus-v2, 64 environments on 2 cores, 128 x 128, chain, drift and scan faults {faults}", bar=bar,
        prepare=functools.partial(vector_steps, faults), value=rate, unit="steps/s")
    for faults, bar in (("off", 1500), ("off, scan along the cell", 1500), ("on", 280))
] + [
    Row(work="Autofocus-v2, a picture of the state", bar=25, prepare=picture, value=lambda ours, _: ours * 1e3, unit="ms", at_most=True),
] + [
    Row(work=f"{name}, start of an episode", bar=1000, prepare=functools.partial(starts, f"stemtwin/{name}"), value=lambda ours, _: ours * 1e3,
        unit="ms", at_most=True)
    for name in ("Autofocus-v2", "AberrationCorrection-v1", "HypothesisTest-v1")
]  # fmt: skip
