"""What every environment keeps to: Gymnasium's contract, and the house's."""

import copy
import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array

from stemtwin.twin.envs import ENVIRONMENTS, register
from stemtwin.twin.envs.functional_env import StemEnv, hidden_truth
from stemtwin.twin.errors import InstrumentError, SettingsError

Make = Callable[..., gym.Env]
KINDS = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary, gym.spaces.Text)  # what Minari can record


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give every leaf of nested dicts and tuples with its path."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}/{name}")
    elif isinstance(value, tuple):
        for i, part in enumerate(value):
            yield from leaves(part, f"{path}/{i}")
    else:
        yield path, value


def same(one: Any, other: Any) -> bool:
    """Return whether nested values are equal to the last bit, and of the same types."""
    first, second = dict(leaves(one)), dict(leaves(other))
    return first.keys() == second.keys() and all(
        type(a) is type(second[path]) and np.array_equal(np.asarray(a), np.asarray(second[path])) for path, a in first.items()
    )


def episode(env: gym.Env, seed: int | None, actions: list) -> list:
    """Return everything that an agent sees in one episode, up to its end."""
    seen: list = [env.reset(seed=seed)]
    for action in actions:
        seen.append(env.step(action))
        if seen[-1][2] or seen[-1][3]:
            break
    return seen


def unwrapped(env: gym.Env) -> StemEnv:
    """Return what is inside the wrappers."""
    assert isinstance(env.unwrapped, StemEnv)
    return env.unwrapped


def draw(env: gym.Env, count: int) -> list:
    """Return actions, the same at every call."""
    env.action_space.seed(5)
    return [env.action_space.sample() for _ in range(count)]


def test_every_environment_is_registered_by_strings_alone() -> None:
    """`import stemtwin` registers them all; ids are stemtwin/<CamelCase>-v<k>; registering again changes nothing."""
    before = {name: gym.registry[name] for name in gym.registry if name.startswith("stemtwin/")}
    register()
    assert set(before) == set(ENVIRONMENTS)
    for name, spec in before.items():
        assert gym.registry[name] is spec
        assert isinstance(spec.entry_point, str)
        assert name.split("/")[1][0].isupper()
        assert spec.version is not None


def test_environments_are_found_without_an_import(env_id: str, tmp_path: Path, small_settings: dict) -> None:
    """`gym.make("stemtwin:<id>")` works in a fresh process in any folder; no learning library is loaded on the way."""
    code = (
        "import sys, gymnasium\n"
        f"env = gymnasium.make('stemtwin:{env_id}', **{small_settings.get(env_id, {})!r})\n"
        "env.reset(seed=1)\n"
        "assert not {'torch', 'stable_baselines3', 'abtem', 'matplotlib'} & set(sys.modules), 'too much is loaded'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_gymnasium_finds_nothing_to_say(env_id: str, small: Make) -> None:
    """Gymnasium's own checker passes, and warns of nothing (warnings are errors here)."""
    check_env(small(env_id, render_mode="rgb_array").unwrapped)


def test_spaces_are_of_kinds_that_can_be_recorded_and_bounded(env_id: str, small: Make) -> None:
    """Spaces are Box, Discrete and the like, in Dict or Tuple; every Box is bounded; actions are in [-1, 1]."""

    def parts(space: gym.Space) -> Iterator[gym.Space]:
        if isinstance(space, gym.spaces.Dict):
            for part in space.values():
                yield from parts(part)
        elif isinstance(space, gym.spaces.Tuple):
            for part in space:
                yield from parts(part)
        else:
            yield space

    env = small(env_id)
    for space in (*parts(env.observation_space), *parts(env.action_space)):
        assert isinstance(space, KINDS)
        if isinstance(space, gym.spaces.Box):
            assert space.is_bounded()
    for space in parts(env.action_space):
        if isinstance(space, gym.spaces.Box):
            assert (space.low.min(), space.high.max()) == (-1, 1)


def test_one_seed_is_one_episode(env_id: str, small: Make) -> None:
    """Two environments of one seed show the same bits: observations, rewards, costs; nothing depends on the wall clock or on what came before."""
    first, second = small(env_id), small(env_id)
    actions = draw(first, 8)
    episode(second, 99, actions)
    seen = episode(first, 3, actions)
    assert same(tuple(seen), tuple(episode(second, 3, actions)))
    assert not same(tuple(seen), tuple(episode(second, 4, actions)))


@pytest.mark.parametrize("seed", [0, 2**31, 2**32 + 1, 2**64 + 1, 2**127 + 12345])
def test_seeds_of_any_size_keep_their_bits(env_id: str, small: Make, seed: int) -> None:
    """Seeds of up to 128 bits are accepted, and differ from those that share their low 32 bits."""
    env = small(env_id)
    first = env.reset(seed=seed)
    assert same(first, env.reset(seed=seed))
    assert not same(first, env.reset(seed=seed + 2**32))


def test_without_a_seed_episodes_follow_the_last_one(env_id: str, small: Make) -> None:
    """reset() without a seed goes on in the stream that the last seed began: new episodes, the same ones after the same seed."""
    env = small(env_id)

    def three() -> list:
        return [env.reset(seed=12), env.reset(), env.reset()]

    first = three()
    assert not same(first[1], first[0])
    assert not same(first[1], first[2])
    assert same(tuple(first), tuple(three()))


def test_types_are_pythons_own_and_the_structure_never_changes(env_id: str, small: Make) -> None:
    """Rewards are floats in [-1, 1], the ends are bools, and info has the same keys and types at every step, with the cost in it."""
    env = small(env_id)
    seen = episode(env, 1, draw(env, 30))
    shapes = []
    for obs, reward, terminated, truncated, info in seen[1:]:
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        assert -1 <= reward <= 1
        assert env.observation_space.contains(obs)
        shapes.append({path: type(value) for path, value in leaves(info)})
    assert terminated or truncated, "an episode ends"
    assert all(shape == {path: type(value) for path, value in leaves(seen[0][1])} for shape in shapes)
    assert {"dose_e_per_angstrom2", "beam_s", "moves"} <= set(seen[0][1]["cost"])


def test_costs_grow(env_id: str, small: Make) -> None:
    """Dose, beam time and moves never fall, and a step that images costs dose and time."""
    env = small(env_id)
    costs = [step[-1]["cost"] for step in episode(env, 1, draw(env, 30))]
    for name in costs[0]:
        assert all(a[name] <= b[name] for a, b in itertools.pairwise(costs))
    assert costs[-1]["dose_e_per_angstrom2"] > costs[0]["dose_e_per_angstrom2"] > 0
    assert [cost["moves"] for cost in costs] == list(range(len(costs)))


def test_nobody_can_see_the_truth(env_id: str, small: Make) -> None:
    """No number of the truth stands in an observation or in info; whole numbers are left out, which agree by chance."""
    env = small(env_id)
    env.reset(seed=21)
    observation, *_, info = env.step(draw(env, 1)[0])
    truth = {float(np.float32(value)) for value in hidden_truth(env).values() if value % 1}
    told = {float(np.float32(x)) for _, value in (*leaves(observation), *leaves(info)) for x in np.asarray(value).ravel()}
    assert not truth & told


def test_observations_belong_to_the_agent(env_id: str, small: Make) -> None:
    """Observations share no memory with each other or the environment: writing into one changes nothing that comes later."""
    env, other = small(env_id), small(env_id)
    actions = draw(env, 3)
    seen = [observation for observation, *_ in episode(env, 2, actions)]
    for i, one in enumerate(seen):
        for later in seen[i + 1 :]:
            assert not any(np.shares_memory(a, b) for (_, a), (_, b) in zip(leaves(one), leaves(later), strict=True))
    expected = episode(other, 2, actions)
    observation, _ = env.reset(seed=2)
    for action, right in zip(actions, expected[1:], strict=False):
        for _, part in leaves(observation):
            part[...] = 0
        observation, *rest = env.step(action)
        assert same((observation, *rest), right)


def test_no_part_of_an_observation_is_constant(env_id: str, small: Make) -> None:
    """Over a few episodes almost every element of every part of the observation takes more than one value."""
    env = small(env_id)
    actions = draw(env, 40)
    seen = [observation for seed in range(4) for observation, *_ in episode(env, seed, actions[10 * seed : 10 * seed + 10])]
    for path, _ in leaves(seen[0]):
        values = np.array([dict(leaves(observation))[path] for observation in seen])
        assert (np.ptp(values, axis=0) > 0).mean() > 0.95, path


def test_actions_reach_the_observation(env_id: str, small: Make) -> None:
    """Another action from the same state shows something else."""
    env, other = small(env_id), small(env_id)
    actions = draw(env, 2)
    for one in (env, other):
        one.reset(seed=6)
    assert not same(env.step(actions[0])[0], other.step(actions[1])[0])


@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
def test_an_environment_can_be_packed_in_the_middle_of_an_episode(env_id: str, small: Make, how: str) -> None:
    """A copy goes on exactly as the original does, and neither disturbs the other."""
    env = small(env_id)
    actions = draw(env, 4)
    env.reset(seed=8)
    env.step(actions[0])
    twin = pickle.loads(pickle.dumps(env)) if how == "pickle" else copy.deepcopy(env)
    assert same(twin.step(actions[1]), env.step(actions[1]))
    assert same(twin.step(actions[2]), env.step(actions[2]))
    assert same(twin.reset(), env.reset())


def test_a_spec_travels_as_json(env_id: str, small: Make) -> None:
    """The spec survives JSON and pickle, with its settings, and makes the same environment."""
    env = small(env_id)
    assert env.spec is not None
    for spec in (EnvSpec.from_json(env.spec.to_json()), pickle.loads(pickle.dumps(env.spec))):
        again = gym.make(spec)
        assert same(again.reset(seed=4), env.reset(seed=4))


def test_a_refused_action_leaves_no_trace(env_id: str, small: Make) -> None:
    """An action outside the space is refused with a sentence, not clipped, and the episode goes on as if it had never been given."""
    env, other = small(env_id).unwrapped, small(env_id).unwrapped
    actions = draw(env, 2)
    for one in (env, other):
        one.reset(seed=9)
    wrong: list[Any] = [None, "up", np.array([]), np.full(env.action_space.shape or (1,), np.nan)]
    if isinstance(env.action_space, gym.spaces.Box):
        wrong += [env.action_space.high * 1.5, np.append(env.action_space.high, 0), 1j * env.action_space.high]
    for action in wrong:
        with pytest.raises(InstrumentError, match="action="):
            env.step(action)
    for action in actions:
        assert same(env.step(action), other.step(action))


def test_numbers_of_another_type_are_the_same_action(env_id: str, small: Make) -> None:
    """A list, a float64 array and the space's own type are one action where the space is a Box."""
    env, other = small(env_id).unwrapped, small(env_id).unwrapped
    if not isinstance(env.action_space, gym.spaces.Box):
        pytest.skip("the action space is no Box")
    action = draw(env, 1)[0]
    other.reset(seed=1)
    expected = other.step(action)
    for form in (action.astype(np.float64), action.tolist(), tuple(action)):
        env.reset(seed=1)
        assert same(env.step(form), expected)


def test_steps_have_their_place(env_id: str, small: Make) -> None:
    """step() before reset() or after the end, truth() before reset() and options of reset() are refused; close() may come twice."""
    env = unwrapped(small(env_id))
    action = draw(env, 1)[0]
    with pytest.raises(InstrumentError, match="before reset"):
        env.step(action)
    with pytest.raises(InstrumentError, match="before reset"):
        hidden_truth(env)
    episode(env, 1, draw(env, 100))
    with pytest.raises(InstrumentError, match="after the end"):
        env.step(action)
    with pytest.raises(SettingsError, match="options"):
        env.reset(options={"C10": 30})
    env.reset(seed=1, options={})
    env.close()
    env.close()


def test_pictures(env_id: str, small: Make) -> None:
    """rgb_array is a picture for people, uint8, that changes with the state; without a render mode there is none."""
    env = small(env_id, render_mode="rgb_array")
    env.reset(seed=1)
    first: Any = env.render()
    env.step(draw(env, 1)[0])
    second: Any = env.render()
    for picture in (first, second):
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert min(picture.shape[:2]) >= 240
        assert picture.std() > 10
    assert not np.array_equal(first, second)
    assert small(env_id).unwrapped.render_mode is None


def test_an_unknown_setting_is_refused(env_id: str, small: Make) -> None:
    """gym.make with a misspelt setting ends in a sentence that names it."""
    with pytest.raises(SettingsError, match="smaple"):
        small(env_id, smaple="graphene")
    with pytest.raises(gym.error.Error):
        small(f"{env_id.rpartition('-v')[0]}-v999")


def test_there_is_one_glue_class(env_id: str, small: Make) -> None:
    """Every environment is a StemEnv around a task of pure functions."""
    assert type(small(env_id).unwrapped) is StemEnv


# ---- vectors of environments

STEPS = 14  # beyond the end of the first episodes


def batched(envs: Any, actions: list) -> Any:
    """Return the actions of all environments as one."""
    return concatenate(envs.single_action_space, actions, create_empty_array(envs.single_action_space, len(actions)))


def vector_run(env_id: str, kind: str, mode: AutoresetMode, settings: dict) -> list:
    """Return what two environments show over two episodes and more, with the resets that the mode asks for."""
    envs: Any = gym.make_vec(env_id, num_envs=2, vectorization_mode=kind, vector_kwargs={"autoreset_mode": mode}, **settings)
    try:
        assert envs.metadata["autoreset_mode"] == mode
        envs.single_action_space.seed(3)
        seen: list = [envs.reset(seed=[11, 2**70])]
        for _ in range(STEPS):
            actions = batched(envs, [envs.single_action_space.sample() for _ in range(2)])
            seen.append(envs.step(actions))
            done = seen[-1][2] | seen[-1][3]
            if mode is AutoresetMode.DISABLED and done.any():
                seen.append(envs.reset(options={"reset_mask": done}))
        return seen
    finally:
        envs.close()


def frozen(value: Any) -> Any:
    """Return nested values with arrays of objects as tuples, so that they compare."""
    if isinstance(value, dict):
        return {name: frozen(part) for name, part in value.items()}
    if isinstance(value, tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        return tuple(frozen(part) for part in value)
    return value


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
def test_vectors_agree_with_each_other_and_with_single_environments(env_id: str, mode: AutoresetMode, small: Make, small_settings: dict) -> None:
    """make_vec, sync and async, in every autoreset mode, shows the same bits; the parent process has imaged before the workers are forked."""
    settings = small_settings.get(env_id, {})
    single = small(env_id)
    single.action_space.seed(3)
    sampled = [[single.action_space.sample() for _ in range(2)] for _ in range(STEPS)]
    own = episode(single, 11, [pair[0] for pair in sampled])
    sync, forked = (vector_run(env_id, kind, mode, settings) for kind in ("sync", "async"))
    assert len(sync) == len(forked)
    for one, other in zip(sync, forked, strict=True):
        assert same(frozen(tuple(one)), frozen(tuple(other)))
    stepped = [sync[0], *(seen for seen in sync[1:] if len(seen) == 5)]
    for right, seen in zip(own[:-1], stepped, strict=False):
        assert all(np.array_equal(value, dict(leaves(seen[0]))[path][0]) for path, value in leaves(right[0]))
    ends = [i for i, seen in enumerate(sync) if len(seen) == 5 and (seen[2] | seen[3])[0]]
    assert len(ends) >= 2, "more than one episode was run"
    assert ("final_obs" in sync[ends[0]][4]) is (mode is AutoresetMode.SAME_STEP)
