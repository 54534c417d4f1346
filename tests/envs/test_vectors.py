"""What every vector of environments keeps to, of all three kinds of ``gymnasium.make_vec``, in all modes of automatic resets."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array

from stemtwin.twin.envs import ENVIRONMENTS
from stemtwin.twin.envs.vector import StemVectorEnv
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.simulation import operator_cache
from tests.envs.test_conformance import leaves, same

Make = Callable[..., gym.Env]
SEEDS = (11, 2**70)
STEPS = 14
"""Steps of a run, beyond the end of the first episodes."""
BATCHED = [name for name, found in ENVIRONMENTS.items() if found.batched]


def made(env_id: str, kind: str, mode: AutoresetMode, settings: dict[str, Any]) -> Any:
    """Return a vector of two environments; a custom one takes the mode itself."""
    own = {"autoreset_mode": mode} if kind == "vector_entry_point" else {"vector_kwargs": {"autoreset_mode": mode}}
    return gym.make_vec(env_id, num_envs=len(SEEDS), vectorization_mode=kind, **own, **settings)


def sampled(space: gym.Space) -> list[list[Any]]:
    """Return the actions of every step, one for each environment, the same at every call."""
    space.seed(3)
    return [[space.sample() for _ in SEEDS] for _ in range(STEPS)]


def vector_run(env_id: str, kind: str, mode: AutoresetMode, settings: dict[str, Any]) -> list:
    """Return what two environments show over two episodes and more, with the resets that the mode asks for."""
    envs = made(env_id, kind, mode, settings)
    try:
        assert envs.metadata["autoreset_mode"] == mode
        space = envs.single_action_space
        seen: list = [frozen(envs.reset(seed=list(SEEDS)))]
        for actions in sampled(space):
            seen.append(frozen(envs.step(concatenate(space, actions, create_empty_array(space, len(SEEDS))))))
            done = seen[-1][2] | seen[-1][3]
            if mode is AutoresetMode.DISABLED and done.any():
                seen.append(frozen(envs.reset(options={"reset_mask": done})))
        return seen
    finally:
        envs.close()


def frozen(value: Any) -> Any:
    """Return nested values with copies of arrays, of which those of objects become tuples, so that they compare."""
    if isinstance(value, dict):
        return {name: frozen(part) for name, part in value.items()}
    if isinstance(value, tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        return tuple(frozen(part) for part in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def check_shown(value: Any, batch: Any, number: int) -> None:
    """Check that every part of a value of one environment is in a vector's, at the place of that environment."""
    parts = dict(leaves(batch))
    for path, part in leaves(value):
        np.testing.assert_array_equal(np.asarray(parts[path])[number], part, err_msg=path)


def check_like_alone(env: gym.Env, actions: list, seen: list, mode: AutoresetMode, number: int) -> int:
    """Check that a vector shows one environment as it is alone, at every step, and return the number of its episodes that ended."""
    left, over, ends = iter(actions), False, 0
    observation, info = env.reset(seed=SEEDS[number])
    check_shown(observation, seen[0][0], number)
    check_shown(info, seen[0][1], number)
    for row in seen[1:]:
        if over and mode is not AutoresetMode.SAME_STEP:
            observation, info = env.reset()
            ended, over = (0.0, False, False), False
            if mode is AutoresetMode.NEXT_STEP:
                next(left)
        elif len(row) == 2:
            continue  # the other environment was reset
        else:
            observation, *ended, info = env.step(next(left))
            over = ended[1] or ended[2]
            ends += over
            if over and mode is AutoresetMode.SAME_STEP:
                assert same(frozen(observation), row[-1]["final_obs"][number])
                check_shown(info, row[-1]["final_info"], number)
                observation, info = env.reset()
        check_shown(observation, row[0], number)
        check_shown(info, row[-1], number)
        if len(row) == 5:
            assert [float(part[number]) for part in row[1:4]] == [float(part) for part in ended]
    return ends


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
@pytest.mark.slow
def test_vectors_show_what_single_environments_show(
    env_id: str, mode: AutoresetMode, small: Make, small_settings: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Observations, rewards, ends and infos of every step are those of single environments, to the last bit, in vectors of all kinds.

    The workers of an async one share what this process has built: an operator that is kept anew fails there.
    """
    settings, single = small_settings.get(env_id, {}), small(env_id)
    runs = [vector_run(env_id, "sync", mode, settings)]
    if gym.spec(env_id).vector_entry_point is not None:
        runs.append(vector_run(env_id, "vector_entry_point", mode, settings))
    with monkeypatch.context() as patch:
        patch.setattr(operator_cache.OperatorCache, "_keep", refuse)
        runs.append(vector_run(env_id, "async", mode, settings))
    for other in runs[1:]:
        assert same(tuple(runs[0]), tuple(other))
    actions = sampled(single.action_space)
    ends = [check_like_alone(single, [pair[number] for pair in actions], runs[0], mode, number) for number in range(len(SEEDS))]
    assert max(ends) >= 2, "more than one episode was run"


def refuse(cache: Any, key: str, operator: Any) -> None:
    """Take the place of the part that keeps an operator that was built."""
    del cache, operator
    message = f"operator {key} was built in a worker"
    raise AssertionError(message)


@pytest.mark.parametrize("name", BATCHED)
def test_a_custom_vector_takes_its_arguments(name: str, small_settings: dict) -> None:
    """A vector that computes together takes its mode by name, a limit of steps and a render mode; vector_kwargs are refused by Gymnasium."""
    settings = {**small_settings.get(name, {}), "vectorization_mode": "vector_entry_point", "num_envs": 2}
    envs: Any = gym.make_vec(name, autoreset_mode="SameStep", max_episode_steps=2, render_mode="rgb_array", **settings)
    assert isinstance(envs, StemVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    envs.reset(seed=1)
    still = np.zeros(envs.action_space.shape, np.float32)
    assert not envs.step(still)[3].any()
    *_, truncated, info = envs.step(still)
    assert truncated.all()
    assert "final_obs" in info
    first, second = envs.render()
    assert first.dtype == np.uint8
    assert not np.array_equal(first, second)
    envs.close()
    with pytest.raises(gym.error.Error, match="vector_kwargs"):
        gym.make_vec(name, vector_kwargs={"autoreset_mode": "SameStep"}, **settings)


@pytest.mark.parametrize("name", BATCHED)
@pytest.mark.parametrize("mode", ["ansi", "human", "rgb_array_list"])
def test_a_custom_vector_has_no_wrappers_modes(name: str, mode: str) -> None:
    """Render modes that only wrappers of single environments have are refused in one sentence."""
    with pytest.raises(SettingsError, match=rf"render_mode='{mode}' of {name} is unknown. Use 'rgb_array' or None"):
        gym.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point", render_mode=mode)
