"""SpectrumDiscovery: steps of one environment, resets included, and an episode of its expert."""

import functools

import gymnasium
import numpy as np

from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.returns import play
from stemtwin.twin.envs import register
from tests.speed.run import Row

ID, STEPS = "stemtwin/SpectrumDiscovery-v1", 200


@functools.cache
def made() -> gymnasium.Env:
    """Return an environment whose scenes are made."""
    register()
    return gymnasium.make(ID, difficulty="standard", privileged_info=True)


def steps():
    """Steps that take a spectrum each."""
    env, places = made(), np.random.default_rng(1).uniform(-1, 1, (STEPS, 4)).astype(np.float32)
    places[:, 3] = -1

    def run() -> float:
        env.reset(seed=1)
        for place in places:
            *_, terminated, truncated, _ = env.step(place)
            if terminated or truncated:
                env.reset()
        return STEPS

    return run, None


def starts():
    """Starts of episodes."""
    env = made()

    def run() -> float:
        for seed in range(20):
            env.reset(seed=seed)
        return 20

    return run, None


def searches():
    """Episodes of the expert."""
    env, expert = made(), find_baseline("spectrum-discovery", "expert").factory()

    def run() -> float:
        play(env, expert, seed=1, task="spectrum-discovery")
        return 1

    return run, None


def rate(ours, _):
    """Units of work in a second."""
    return 1 / ours


ROWS = [
    Row(work="SpectrumDiscovery-v1, a spectrum of each step", bar=20, prepare=steps, value=rate, unit="steps/s"),
    Row(work="SpectrumDiscovery-v1, start of an episode", bar=1000, prepare=starts, value=lambda ours, _: ours * 1e3, unit="ms", at_most=True),
    Row(work="SpectrumDiscovery-v1, an episode of the expert", bar=2, prepare=searches, value=lambda ours, _: ours, unit="s", at_most=True),
]
