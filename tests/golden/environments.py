"""Ten steps of each environment with fixed seeds and fixed actions."""

import functools
from typing import Any

import gymnasium
import numpy as np

from stemtwin.twin.envs.functional_env import hidden_truth
from tests.golden.arrays import frames
from tests.golden.registry import Arrays, case

STEPS = 10


def draw(space: gymnasium.Space, rng: np.random.Generator) -> Any:
    """Draw an action; the parts of a Dict in the order of their names."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: draw(space[name], rng) for name in sorted(space.spaces)}
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(rng.integers(space.n))
    assert isinstance(space, gymnasium.spaces.Box)
    return rng.uniform(space.low, space.high, space.shape).astype(space.dtype)


def play(env: gymnasium.Env, actions: list[Any], image: str, seed: int) -> Arrays:
    """Return observations, rewards, ends, costs and truths of an episode; of the image a part."""
    door = functools.partial(hidden_truth, env)
    observation, info = env.reset(seed=seed)
    seen, told, truths, outcomes = [observation], [info["cost"]], [door()], []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append(observation)
        told.append(info["cost"])
        truths.append(door())
        outcomes.append((reward, terminated, truncated))
    env.close()
    names = sorted(truths[0])
    found = {f"truth/{name}": np.array([each[name] for each in seen]) for name in sorted(observation) if name != image}
    found["truth/reward"] = np.array([reward for reward, _, _ in outcomes], float)
    found["truth/ended"] = np.array([(terminated, truncated) for _, terminated, truncated in outcomes])
    found["truth/cost"] = np.array([[cost[name] for name in sorted(cost)] for cost in told], float)
    found["truth/state"] = np.array([[each[name] for name in names] for each in truths], float)
    stack = np.array([each[image] for each in seen])
    return found | frames(image, stack.reshape(-1, *stack.shape[-2:]), 8 if stack.shape[-1] > 64 else 1)


@case("env-autofocus")
def autofocus() -> Arrays:
    """Return ten steps of the autofocus task, at the end of which its frames are spent."""
    env = gymnasium.make("stemtwin/Autofocus-v1", semiangle_mrad=10.0, phonons=1, max_frames=STEPS + 1)
    rng = np.random.Generator(np.random.Philox(11))
    return play(env, [draw(env.action_space, rng) for _ in range(STEPS)], "image", 7)


@case("env-microscope")
def microscope() -> Arrays:
    """Return ten steps of the whole microscope, two without a frame, one with the beam blanked."""
    env = gymnasium.make("stemtwin/Microscope-v1", semiangles_mrad=(10.0,), phonons=1, shape=(16, 16), max_steps=STEPS)
    rng = np.random.Generator(np.random.Philox(12))
    actions = [draw(env.action_space, rng) for _ in range(STEPS)]
    for step, action in enumerate(actions):
        action["scan"]["acquire"] = int(step % 4 != 3)
        action["beam"]["blanked"] = int(step == 5)
        action["beam"]["optics"] *= np.float32(0.1)
        action["detectors"]["gain"] *= np.float32(0.3)
    return play(env, actions, "frames", 8)
