"""Returns pay for solving: the order of the baselines of every family with a goal, over the same episodes.

A family joins by the task of its environment: baselines named ``expert``, ``no-op``, ``random``, ``blind`` and ``oracle``, and ``hover``
unless its goal has no edge.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.agents import brief_for, load_baselines
from stemtwin.benchmarks.baselines.focus_v2 import MatchedFilter
from stemtwin.benchmarks.returns import play
from stemtwin.benchmarks.tasks import load_tasks
from stemtwin.twin.envs import ENVIRONMENTS
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.making import family_class

SMALL_EXPERTS: dict[str, Callable[[], Any]] = {"autofocus@2": functools.partial(MatchedFilter, phonons=1, kept=8)}
"""Experts that have a model of the environment, for its small settings, and with fewer hypotheses."""
SEARCHES: dict[str, dict[str, Any]] = {"spectrum-discovery": {"spectra": 24}}
"""Settings beside the small ones: of 144 places one is right, and a search needs more spectra than other tests."""
LAZY, BLIND = ("no-op", "random"), "blind"
NO_EDGE = {"aberration-correction", "atom-forge", "drift-tracking", "hypothesis-test", "sparse-scan", "spectrum-discovery"}
"""Tasks whose goal has no edge outside of which a policy could stay."""
PAID_FOR_DOUBT = {"hypothesis-test"}
"""Tasks whose score is strictly proper, so that an honest answer of 1/2, which needs no look, is worth 0.654 of a sure and right one."""
LONG = {"aberration-correction", "atom-forge", "autofocus@2", "sparse-scan"}
"""Tasks whose eight episodes of every policy take seconds: the slow tests alone play them."""
NO_GOAL = {"stemtwin/Autofocus-v1", "stemtwin/Microscope-v1", "stemtwin/Microscope-v2"}
"""Environments whose returns promise nothing: version 1 is frozen as it is, and of the whole microscope the goal is the user's."""


def goals() -> list[str]:
    """Return the registered names of the tasks whose environments pay for a goal; of several tasks of one environment, the first."""
    tasks = load_tasks()
    names = [name for name in tasks if tasks[name].kind == "agent" and issubclass(family_class(tasks[name].source), GoalFamily)]
    return list({tasks[name].source: name for name in reversed(names)}.values())[::-1]


def mean_return(task: str, policy: str, settings: dict[str, Any], seeds: range) -> float:
    """Return the mean return of a policy's episodes."""
    baseline = load_baselines()[f"{task}/{policy}"]
    env = gym.make(load_tasks()[task].source, privileged_info=True, **settings)
    agent = (SMALL_EXPERTS.get(task, baseline.factory) if policy == "expert" else baseline.factory)()
    return float(np.mean([play(env, agent, seed=seed, task=task, oracle=baseline.oracle).total for seed in seeds]))


def check_order(task: str, settings: dict[str, Any], seeds: range) -> None:
    """Check that the oracle is above the expert, the expert above all others, and no policy that does not look half as good as the expert.

    The last one holds for returns as they are, and of the blind policy on the scale between the lazy ones and the oracle, too.
    """
    names = ("oracle", "expert", *LAZY, BLIND, *(() if task in NO_EDGE else ("hover",)))
    mean = {name: mean_return(task, name, settings, seeds) for name in names}
    assert mean["oracle"] > mean["expert"] > max(mean[name] for name in names[2:])
    if task not in PAID_FOR_DOUBT:
        assert max(mean[name] for name in (*LAZY, BLIND)) < mean["expert"] / 2
    floor = max(mean[name] for name in LAZY)
    assert mean[BLIND] - floor < (mean["expert"] - floor) / 2


def test_every_environment_pays_for_a_goal_or_is_named_here() -> None:
    """All environments but three have a goal, each of them belongs to a task, and exceptions are of tasks that exist."""
    paying = {load_tasks()[task].source for task in goals()}
    assert set(ENVIRONMENTS) - paying == NO_GOAL
    assert set(goals()) >= NO_EDGE | PAID_FOR_DOUBT


@pytest.mark.parametrize("task", sorted(set(goals()) - LONG))
def test_solving_pays_most(task: str, small_settings: dict[str, Any]) -> None:
    """Of eight episodes of the small environment the oracle earns most, then the expert, then no-op, random, blind and hovering policies."""
    settings = {**small_settings.get(load_tasks()[task].source, {}), **SEARCHES.get(task, {})}
    assert settings["difficulty"] == "easy"
    check_order(task, settings, range(8))


@pytest.mark.slow
@pytest.mark.parametrize("task", goals())
def test_solving_pays_most_over_many_episodes(task: str, small_settings: dict[str, Any]) -> None:
    """The same order over 24 episodes; of HypothesisTest, whose answers are rarely wrong at a high price, over 100."""
    settings = {**small_settings.get(load_tasks()[task].source, {}), **SEARCHES.get(task, {})}
    check_order(task, settings, range(100 if task == "hypothesis-test" else 24))


def first_actions(task: str, env: gym.Env, difficulty: str | None) -> np.ndarray:
    """Return up to three actions of an expert whose brief names a preset."""
    agent, seen = SMALL_EXPERTS.get(task, load_baselines()[f"{task}/expert"].factory)(), env.reset(seed=3)
    agent.reset(dataclasses.replace(brief_for(env, task=task, seed=5), difficulty=difficulty))
    found, over = [], False
    while len(found) < 3 and not over:
        observation, info = seen
        found.append(agent.act(observation, dict(info["cost"])))
        observation, _, terminated, truncated, info = env.step(found[-1])
        seen, over = (observation, info), terminated or truncated
    return np.array(found)


@pytest.mark.slow
@pytest.mark.parametrize("task", goals())
def test_experts_take_nothing_from_the_name_of_a_preset(task: str, small_settings: dict[str, Any]) -> None:
    """The first actions of an expert are the same to the last bit whichever preset its brief names: it takes only the known numbers."""
    source = load_tasks()[task].source
    names = family_class(source).PRESETS  # type: ignore[attr-defined] - a family with a goal
    env = gym.make(source, **{**small_settings.get(source, {}), **SEARCHES.get(task, {})})
    unnamed = first_actions(task, env, None)
    for name in sorted(names):
        np.testing.assert_array_equal(first_actions(task, env, name), unnamed, err_msg=name)
