"""Returns pay for solving: the order of the baselines of every family with a goal, over the same episodes.

A family joins by the task of its environment: baselines named ``expert``, ``no-op``, ``random``, ``blind`` and ``oracle``, and ``hover``
where a goal has an edge.
"""

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.agents import Brief, load_baselines
from stemtwin.benchmarks.baselines.focus_v2 import MatchedFilter
from stemtwin.benchmarks.tasks import load_tasks
from stemtwin.twin.envs.functional_env import hidden_truth
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.making import family_class

SMALL_EXPERTS: dict[str, Callable[[], Any]] = {"autofocus@2": functools.partial(MatchedFilter, phonons=1)}
"""Experts that have a model of the environment, for its small settings."""
BLIND = ("no-op", "random", "blind")
BELOW_THE_EXPERT = (*BLIND, "hover")


def goals() -> list[str]:
    """Return the registered names of the tasks whose environments pay for a goal."""
    tasks = load_tasks()
    return [name for name in tasks if tasks[name].kind == "agent" and issubclass(family_class(tasks[name].source), GoalFamily)]


def returns(task: str, policy: str, settings: dict[str, Any], seeds: range) -> np.ndarray:
    """Return the sums of rewards of a policy's episodes."""
    baseline = load_baselines()[f"{task}/{policy}"]
    env = gym.make(load_tasks()[task].source, **settings)
    agent = (SMALL_EXPERTS.get(task, baseline.factory) if policy == "expert" else baseline.factory)()
    found = []
    for seed in seeds:
        observation, info = env.reset(seed=seed)
        door = functools.partial(hidden_truth, env) if baseline.oracle else None
        brief = Brief(task=task, observation_space=env.observation_space, action_space=env.action_space, seed=seed, truth=door)
        agent.reset(brief)
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, info = env.step(agent.act(observation, info["cost"]))
            total, over = total + float(reward), terminated or truncated
        found.append(total)
    return np.array(found)


def check_order(task: str, settings: dict[str, Any], seeds: range) -> None:
    """Check that the oracle is above the expert, the expert above all others, and no blind policy half as good as the expert."""
    names = [name.partition("/")[2] for name in load_baselines().names(task)]
    mean = {name: float(returns(task, name, settings, seeds).mean()) for name in ("oracle", "expert", *BELOW_THE_EXPERT) if name in names}
    assert {"oracle", "expert", *BLIND} <= set(mean), f"{task} lacks a baseline"
    assert mean["oracle"] > mean["expert"] > max(mean[name] for name in BELOW_THE_EXPERT if name in mean)
    floor = max(mean["no-op"], mean["random"])
    normalised = {name: (value - floor) / (mean["oracle"] - floor) for name, value in mean.items()}
    assert all(normalised[name] < normalised["expert"] / 2 for name in BLIND)


@pytest.mark.parametrize("task", goals())
def test_solving_pays_most(task: str, small_settings: dict[str, Any]) -> None:
    """Of two episodes of the small environment the oracle earns most, then the expert, then no-op, random, blind and hovering policies."""
    check_order(task, small_settings.get(load_tasks()[task].source, {}), range(2))


@pytest.mark.slow
@pytest.mark.parametrize("task", goals())
def test_solving_pays_most_over_eight_episodes(task: str, small_settings: dict[str, Any]) -> None:
    """The same order over eight episodes of the easy preset; of HypothesisTest, whose answers are rarely wrong at a high price, over 100."""
    settings = {**small_settings.get(load_tasks()[task].source, {}), "difficulty": "easy"}
    check_order(task, settings, range(100 if task == "hypothesis-test" else 8))
