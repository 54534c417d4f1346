"""Frozen states: nobody can write into what an episode holds, nor into arrays that are kept for later calls."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import xarray as xr

from stemtwin.benchmarks.baselines import focus, hypothesis
from stemtwin.twin.envs import canvas, damage_laws, focus_features, image_features, scope_family
from stemtwin.twin.envs.families import hypothesis_test
from stemtwin.twin.envs.families.microscope_v1 import WholeMicroscope
from stemtwin.twin.envs.rewards import Reward
from stemtwin.twin.registry import Registry
from tests.envs.test_conformance import FRAMES_ARE_SLOW

LAST = ".session.scope.last"
"""The microscope's own record of its last pass, which no environment hands on."""
LINEAGE = ".session.scope.lineage"
"""Requests and plans of its earlier frames, by which an operator follows a specimen that changes."""
KEPT = {
    "focus_features": lambda: focus_features._spectrum_places((16, 16)),
    "image_features": lambda: (image_features._window((16, 16)), image_features._sectors((16, 16))),
    "damage_laws": lambda: (damage_laws._hits(hypothesis_test.EASY.prior), damage_laws.hypotheses("dose", hypothesis_test.EASY.prior).shape),
    "hypothesis_test": lambda: (hypothesis_test._profile(5),),
    "canvas": lambda: (canvas._magma(),),
    "hypothesis": lambda: (hypothesis.designs(), hypothesis.outcome_probabilities("dose", hypothesis_test.EASY)),
    "focus": lambda: focus._sectors((16, 16)),
}
"""Arrays that functions keep, by module."""


def changeable(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of arrays, dicts, lists and sets inside a value that can be written into."""
    if isinstance(value, np.ndarray):
        if value.flags.writeable:
            yield path
    elif isinstance(value, xr.Dataset):
        for name, readings in value.data_vars.items():
            yield from changeable(readings.to_numpy(), f"{path}.{name}")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from () if (inner := f"{path}.{field.name}") in (LAST, LINEAGE) else changeable(getattr(value, field.name), inner)
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from changeable(part, f"{path}[{number}]")
    elif isinstance(value, dict | list | set):
        yield path


@pytest.mark.parametrize("form", ["counts", "pixels", "state"])
def test_nothing_in_a_state_can_be_written_into(env_id: str, form: str, small: Callable[..., gym.Env]) -> None:
    """At the start and after a step all arrays of a state are closed to writing, and it holds no dict, list or set."""
    settings = {"shape": (36, 40)} if "Microscope" in env_id else {}
    if form != "counts":
        if env_id.endswith(("Autofocus-v1", "Microscope-v1")):
            pytest.skip("it has one form")
        settings["observation"] = form
    if env_id in FRAMES_ARE_SLOW and form == "pixels":
        pytest.skip("its frames take seconds, and those of counts are the same")
    env: Any = small(env_id, **settings).unwrapped
    env.action_space.seed(1)
    for seed in range(2):
        env.reset(seed=seed)
        assert list(changeable(env._state)) == []
        env.step(env.action_space.sample())
        assert list(changeable(env._state)) == []


@pytest.mark.parametrize("module", KEPT)
def test_kept_arrays_cannot_be_written_into(module: str) -> None:
    """An array that a function returns again at the next call is closed to writing."""
    assert list(changeable(tuple(KEPT[module]()))) == []


def test_a_reward_works_on_a_frame_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered reward that writes into frame and cost changes neither the state nor the observation."""
    registry: Registry[Reward] = Registry("reward")
    monkeypatch.setattr(scope_family, "REWARDS", registry)

    @registry.register("greedy")
    def greedy(frame: xr.Dataset | None, cost: Mapping[str, float]) -> float:
        assert frame is not None
        for readings in frame.data_vars.values():
            readings.to_numpy()[...] = 0
            readings.attrs.clear()
        frame.attrs.clear()
        cost.clear()  # type: ignore[attr-defined] - it is a dict
        return 1.0

    task = WholeMicroscope(semiangles_mrad=(5.0,), phonons=1, shape=(8, 8), reward="greedy")
    state = task.initial(np.random.Generator(np.random.Philox(3)))
    assert state.frame is not None
    frame, seen, cost = state.frame.copy(deep=True), task.observe(state), state.cost
    assert task.step_reward(state, state) == 1
    assert state.frame.identical(frame)
    assert state.cost == cost
    for name, value in task.observe(state).items():
        np.testing.assert_array_equal(value, seen[name])
