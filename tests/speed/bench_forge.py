"""AtomForge: steps of the form without images, of the microscope's own frames, and the start of an episode."""

import functools
import itertools

import gymnasium
import numpy as np

from stemtwin.twin.envs import register
from tests.speed.run import Row

ID = "stemtwin/AtomForge-v1"
STEPS = {"state": 500, "counts": 12}
"""Steps of a run."""


@functools.cache
def single(form: str) -> gymnasium.Env:
    """Return one environment, its probe and operators built."""
    register()
    env = gymnasium.make(ID, difficulty="standard", observation=form)
    env.reset(seed=1)
    env.step(np.array([0.3, 0.3, 0.2, -1], np.float32))
    return env


def steps(form: str):
    """Steps with the beam beside Si, resets included where an episode ends."""
    env, rng = single(form), np.random.default_rng(1)

    def play() -> float:
        env.reset(seed=1)
        for action in rng.uniform(-0.6, 0.6, (STEPS[form], 4)).astype(np.float32):
            action[3] = -1
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return STEPS[form]

    return play, None


def starts(form: str):
    """Starts of episodes."""
    env, seeds = single(form), itertools.count()
    return lambda: env.reset(seed=next(seeds)) and None, None


def rate(ours, _):
    """Units of work in a second."""
    return 1 / ours


ROWS = [
    Row(work="AtomForge-v1, state", bar=2000, prepare=functools.partial(steps, "state"), value=rate, unit="steps/s"),
    Row(work="AtomForge-v1, frames of 64 x 64 and parked beams", bar=1, prepare=functools.partial(steps, "counts"), value=rate, unit="steps/s"),
    Row(
        work="AtomForge-v1, start of an episode with frames",
        bar=1,
        prepare=functools.partial(starts, "counts"),
        value=lambda ours, _: ours,
        unit="s",
        at_most=True,
    ),
]
