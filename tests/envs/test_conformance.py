"""What every environment keeps to: Gymnasium's contract, and the house's."""

import copy
import dataclasses
import inspect
import itertools
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from stemtwin.twin.envs import ENVIRONMENTS, register
from stemtwin.twin.envs.arguments import OBSERVATIONS, Conditions
from stemtwin.twin.envs.drift_instrument import WatchEvents
from stemtwin.twin.envs.functional_env import StemEnv, episode_info, hidden_truth
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.envs.session import Session
from stemtwin.twin.errors import InstrumentError, SettingsError, StemtwinError
from stemtwin.twin.physics.aberrations import Aberrations

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


def settings_of(name: str) -> set[str]:
    """Return the names of an environment's settings."""
    return {field.name for field in dataclasses.fields(family_class(name))}


def presets(name: str) -> list[str]:
    """Return the difficulties of an environment."""
    return list(getattr(family_class(name), "PRESETS", ()))


FRAMES_ARE_SLOW = {"stemtwin/AtomForge-v1"}
"""Environments whose frames take seconds: those forms are held to Gymnasium's contract by the slow tests alone."""


def forms(name: str) -> list[dict[str, Any]]:
    """Return the settings of all forms of observation, of environments with slow frames those of the form without."""
    if "observation" not in settings_of(name):
        return [{}]
    return [{"observation": form} for form in OBSERVATIONS if form == "state" or name not in FRAMES_ARE_SLOW]


def flat_forms(name: str) -> list[dict[str, Any]]:
    """Return the settings of other forms of actions."""
    return [{"flat": True}, {"flat": True, "incremental": True}] if "flat" in settings_of(name) else []


def draw(env: gym.Env, count: int, seed: int = 5) -> list:
    """Return actions, the same at every call."""
    env.action_space.seed(seed)
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


def digest(env: Any) -> str:
    """Return the SHA-256 of the first steps of an episode: observations, rewards, ends and infos, in their types."""
    import hashlib

    import numpy as np

    found = hashlib.sha256()

    def put(value: Any) -> None:
        if isinstance(value, dict):
            value = tuple((name, value[name]) for name in sorted(value))
        if isinstance(value, tuple):
            for part in value:
                put(part)
        else:
            found.update(str(getattr(value, "dtype", type(value))).encode() + np.asarray(value).tobytes())

    env.action_space.seed(5)
    put(env.reset(seed=3))
    over, steps = False, 0
    while not over and steps < 6:
        seen = env.step(env.action_space.sample())
        put(seen)
        over, steps = seen[2] or seen[3], steps + 1
    return found.hexdigest()


@pytest.mark.slow
def test_episodes_are_the_same_in_a_fresh_process(env_id: str, tmp_path: Path, small: Make, small_settings: dict) -> None:
    """`gym.make("stemtwin:<id>")` alone, in a fresh process in any folder, shows the same bits, with one thread; no learning library is loaded."""
    code = (
        "import sys, gymnasium\n"
        "from typing import Any\n"
        f"{inspect.getsource(digest)}"
        f"env = gymnasium.make('stemtwin:{env_id}', **{small_settings.get(env_id, {})!r})\n"
        "print(digest(env))\n"
        "assert not {'torch', 'stable_baselines3', 'abtem', 'matplotlib'} & set(sys.modules), 'too much is loaded'\n"
    )
    alone = {**os.environ, "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest(small(env_id))


CHECKED_BY_DEFAULT = {"stemtwin/Autofocus-v2", "stemtwin/HypothesisTest-v1", "stemtwin/SpectrumDiscovery-v1", "stemtwin/Microscope-v2"}
"""Environments that the default tests hold to Gymnasium's contract; the others take seconds each and belong to the slow tests."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in CHECKED_BY_DEFAULT else [pytest.mark.slow]) for name in ENVIRONMENTS])
def test_gymnasium_finds_nothing_to_say(name: str, small: Make) -> None:
    """Gymnasium's own checker passes in one form of observation and every form of action, and warns of nothing (warnings are errors here).

    The slow tests hold every form of observation to it. Pictures are those of states, whatever the form, and are made in one.
    """
    for number, form in enumerate((forms(name)[0], *flat_forms(name))):
        check_env(small(name, render_mode="rgb_array", **form).unwrapped, skip_render_check=number > 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "difficulty", "form"),
    [(name, level, form) for name in ENVIRONMENTS for level in presets(name) for form in (OBSERVATIONS if level == "easy" else ("counts",))],
)
def test_gymnasium_finds_nothing_to_say_of_any_preset(name: str, difficulty: str, form: str) -> None:
    """The checker passes for every preset, and on `easy` in every form, in seconds of processor time once what takes long is built."""
    few = {"phonons": 1} if "phonons" in settings_of(name) else {}
    few |= {"randomisation": {"samples": ("mos2-1h",)}} if difficulty == "hard" and "samples" in family_class(name).RANDOMISED else {}
    few |= {"scenes": 1} if "scenes" in settings_of(name) else {}
    env = gym.make(name, difficulty=difficulty, observation=form, render_mode="rgb_array", **few)
    getattr(unwrapped(env).task, "prepare_all", lambda: None)()
    env.reset(seed=0)
    env.step(env.action_space.sample())
    began = time.process_time()
    check_env(env.unwrapped)
    assert time.process_time() - began < 40, "four times what a quiet processor needs"


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


def with_another_truth(state: Any) -> Any:
    """Return a state that differs in nothing but what an agent cannot know."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(state):
        value = getattr(state, field.name)
        if isinstance(value, Session):
            setup = dataclasses.replace(value.setup, seed=value.setup.seed ^ 1, misalignment=Aberrations(C10=37.0, C12=21.0))
            changes[field.name] = dataclasses.replace(value, setup=setup, gains=(("C10", 0.5),), failing=0.5)
        elif isinstance(value, Conditions):
            other = {"sample": "graphene", "profile": "nion-60", "residual": 2.0, "drift": 3.0, "knob_gain": (0.5, 0.5, 0.5), "failing": 0.5}
            changes[field.name] = dataclasses.replace(value, **other)
        elif field.name in ("true", "start"):
            changes[field.name] = value + 37.0
        elif field.name in ("strehl", "kept", "rotation_rad"):
            changes[field.name] = value + 0.37
        elif isinstance(value, WatchEvents):
            changes[field.name] = dataclasses.replace(value, jump_times_s=value.jump_times_s / 2, jump_steps_angstrom=-value.jump_steps_angstrom)
        elif field.name == "draws":
            changes[field.name] = tuple(draw / 2 for draw in value)
        elif field.name == "hypothesis":
            changes[field.name] = len(state.log_weights) - 1 - value
        elif field.name == "worth":
            changes[field.name] = value[::-1, ::-1]
    return dataclasses.replace(state, **changes)


def refusal(act: Callable[[], Any]) -> str:
    """Return the text of a refusal."""
    with pytest.raises(StemtwinError) as caught:
        act()
    return str(caught.value)


def test_states_that_differ_in_truth_alone_look_the_same(env_id: str, small: Make) -> None:
    """In every form, observation, info, picture, ends and the texts of refusals are those of a state with another truth, at the start and later."""
    for form in forms(env_id):
        env = unwrapped(small(env_id, render_mode="rgb_array", **form))
        task, states = env.task, []
        env.reset(seed=21)
        states.append(env._state)
        env.step(draw(env, 1)[0])
        states.append(env._state)
        for state in states:
            shown, truths = [], []
            for env._state in (state, with_another_truth(state)):
                truths.append(task.truth(env._state))
                seen = task.observe(env._state), episode_info(task, env._state), env.render(), task.truncated(env._state), task.terminated(env._state)
                env._over = False
                refused = refusal(lambda env=env: env.step("up")), refusal(lambda env=env: env.reset(options={"colour": 1}))
                shown.append((*seen, *refused))
            assert same(*shown)
            assert all(truths[0][name] != truths[1][name] for name in truths[0].keys() & {"C10_angstrom", "law"})


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
    """Over a few episodes almost every element of every part of the observation takes more than one value; of X-rays most."""
    env = small(env_id)
    actions = draw(env, 40)
    seen = [observation for seed in range(4) for observation, *_ in episode(env, seed, actions[10 * seed : 10 * seed + 10])]
    for path, _ in leaves(seen[0]):
        values = np.array([dict(leaves(observation))[path] for observation in seen])
        assert (np.ptp(values, axis=0) > 0).mean() > (0.5 if path == "/edx" else 0.95), path  # few photons reach most channels


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
    for number in range(5, 25):  # drawn actions may declare an end
        first, second, third = draw(env, 3, number)
        env.reset(seed=8)
        if any(env.step(first)[2:4]):
            continue
        twin = pickle.loads(pickle.dumps(env)) if how == "pickle" else copy.deepcopy(env)
        after = env.step(second)
        assert same(twin.step(second), after)
        if not any(after[2:4]):
            break
    assert same(twin.step(third), env.step(third))
    assert same(twin.reset(), env.reset())


def test_a_spec_travels_as_json(env_id: str, small: Make) -> None:
    """The spec survives JSON and pickle, with its settings, and makes the same environment."""
    env = small(env_id)
    assert env.spec is not None
    for spec in (EnvSpec.from_json(env.spec.to_json()), pickle.loads(pickle.dumps(env.spec))):
        again = gym.make(spec)
        assert same(again.reset(seed=4), env.reset(seed=4))


def corruptions(space: gym.Space, action: Any) -> Iterator[Any]:
    """Give actions that differ from one of the space in a single part, each by something that the space does not hold."""
    yield from (None, "up", np.array([]), [[0.0], [0.0, 0.0]])
    if isinstance(space, gym.spaces.Dict):
        yield from (list(action.values()), {**action, "colour": 0}, {})
        for name, part in space.items():
            yield {other: value for other, value in action.items() if other != name}
            yield from ({**action, name: wrong} for wrong in corruptions(part, action[name]))
    elif isinstance(space, gym.spaces.Box):
        yield from (space.high * 1.5, space.low * 1.001, np.append(action, np.float32(0)), action[None], 1j * action, action.astype(str))
        for number in (np.nan, np.inf, -np.inf):
            one = action.copy()
            one.flat[-1] = number
            yield one
    else:
        assert isinstance(space, gym.spaces.Discrete)
        yield from (int(space.start) - 1, int(space.start + space.n), 0.5, float(action), np.array([action]), {"choice": action})


def test_a_refused_action_leaves_no_trace(env_id: str, small: Make) -> None:
    """An action with one part outside the space is refused with a sentence, not clipped, and the episode goes on as if it had never been given."""
    for form in ({}, *flat_forms(env_id)):
        env, other = small(env_id, **form).unwrapped, small(env_id, **form).unwrapped
        actions = draw(env, 2)
        for one in (env, other):
            one.reset(seed=9)
        for action in corruptions(env.action_space, actions[0]):
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
