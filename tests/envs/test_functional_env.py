"""The glue between a task and Gymnasium, on a task that fits on a page."""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.twin.envs.functional_env import StemEnv
from stemtwin.twin.errors import InstrumentError


@dataclass(frozen=True)
class Walk:
    """Walk along a line from a random place: done at 0, and out of breath after five steps."""

    observation_space = gym.spaces.Box(-20.0, 20.0, (1,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def initial(self, rng: np.random.Generator) -> tuple[float, int]:
        """Start between -3 and 3."""
        return float(rng.integers(-3, 4)), 0

    def transition(self, state: tuple[float, int], action: Any, rng: np.random.Generator) -> tuple[float, int]:
        """Go left or right; the ground does not shake."""
        del rng
        return state[0] + 2 * int(action) - 1, state[1] + 1

    def observe(self, state: tuple[float, int]) -> np.ndarray:
        """Return the place."""
        return np.array([state[0]])

    def step_reward(self, before: tuple[float, int], after: tuple[float, int]) -> float:
        """Return 1 at the goal."""
        del before
        return np.float64(after[0] == 0)

    def terminated(self, state: tuple[float, int]) -> bool:
        """Return whether the place is 0."""
        return np.bool_(state[0] == 0)  # type: ignore[return-value] - a task may forget to convert

    def truncated(self, state: tuple[float, int]) -> bool:
        """Return whether five steps are done."""
        return np.bool_(state[1] >= 5)  # type: ignore[return-value]

    def cost(self, state: tuple[float, int]) -> dict[str, float]:
        """Return the steps."""
        return {"moves": float(state[1])}

    def truth(self, state: tuple[float, int]) -> dict[str, float]:
        """Return the place."""
        return {"place": state[0]}

    def picture(self, state: tuple[float, int]) -> np.ndarray:
        """Return a square, the greyer the further."""
        return np.full((4, 4, 3), abs(state[0]), np.uint8)


def test_the_glue_calls_the_task_and_keeps_types() -> None:
    """A step is the task's transition, observation, reward and ends, as Python's own types; reaching the goal on the last step is no truncation."""
    env = StemEnv(Walk(), render_mode="rgb_array")
    assert env.render() is None
    found = set()
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        start, steps = observation[0], 0
        assert info == {"cost": {"moves": 0.0}}
        ended = (False, False)
        while not any(ended):
            observation, reward, *ended, info = env.step(int(start < 0))
            steps += 1
            assert (type(reward), *map(type, ended)) == (float, bool, bool)
            assert env.truth() == {"place": observation[0]}
        found.add((start, steps, tuple(ended)))
        picture = env.render()
        assert picture is not None
        assert picture.shape == (4, 4, 3)
    assert {(start, steps) for start, steps, ended in found if start and ended == (True, False)} == {(s, abs(s)) for s in (-3, -2, -1, 1, 2, 3)}
    assert {(steps, ended) for start, steps, ended in found if not start} == {(5, (False, True))}


@pytest.mark.parametrize("action", [2, -1, 0.5, "left", None])
def test_actions_of_other_spaces_are_checked_too(action: object) -> None:
    """Whatever a Discrete space does not contain is refused."""
    env = StemEnv(Walk())
    env.reset(seed=3)
    before = env.truth()
    with pytest.raises(InstrumentError, match="not in the action space Discrete"):
        env.step(action)
    assert env.truth() == before
