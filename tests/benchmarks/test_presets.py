"""Presets of tasks: each preset with a goal is played by one task, episodes divide equally, and reports of other mixtures are not compared."""

import dataclasses
from typing import Any

import pytest

from stemtwin.benchmarks.agents import Baseline, brief_for, find_baseline, load_baselines
from stemtwin.benchmarks.episodes import TaskEnvironments, run_episode
from stemtwin.benchmarks.runner import evaluate
from stemtwin.benchmarks.tasks import Task, by_preset, find_task, load_tasks, presets_in_turn
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.making import family_class

GOALS = [one for one in map(find_task, load_tasks()) if one.kind == "agent" and issubclass(family_class(one.source), GoalFamily)]
"""Tasks whose environments have a goal."""


def test_every_preset_with_a_goal_belongs_to_one_task() -> None:
    """The tasks of an environment share its presets: none is left out, none is played twice."""
    played: dict[str, list[str]] = {}
    for task in GOALS:
        played.setdefault(task.source, []).extend(task.difficulties)
    for source, names in played.items():
        assert sorted(names) == sorted(family_class(source).PRESETS)  # type: ignore[attr-defined] - a family with a goal


@pytest.mark.parametrize("task", GOALS, ids=lambda task: task.registered)
def test_default_episodes_divide_equally(task: Task) -> None:
    """Each preset has the same number of episodes, of which a slice has enough; a task of several presets has the slice."""
    assert task.episodes % len(task.difficulties) == 0
    assert task.episodes // len(task.difficulties) >= 30
    assert ("difficulty" in {one.column for one in task.slices}) == (len(task.difficulties) > 1)


def test_presets_in_words_and_in_turn() -> None:
    """Presets take turns from the first episode; equal values are written once."""
    assert presets_in_turn(("a", "b"), [0, 1, 2, 5]) == ["a", "b", "a", "b"]
    assert [by_preset(one) for one in ((3, 7, 12), (16, 16), (25, 16, 16))] == ["3, 7 or 12", "16", "25 or 16"]


def test_reports_of_other_presets_are_not_compared() -> None:
    """The same seeds played on other presets give another comparability key; the same presets give the same one."""
    task = find_task("hypothesis-test")
    again = dataclasses.replace(task)
    other = dataclasses.replace(task, difficulties=("standard",))
    first, same, apart = (evaluate(one, baseline="no-op", episodes=3).report for one in (task, again, other))
    assert first.comparability_key == same.comparability_key != apart.comparability_key
    assert first.source.n == apart.source.n


def actions(task: Task, agent: Any, env: Any, number: int) -> tuple:
    """Return the actions of an agent in an episode."""
    entry = Baseline(task=task.name, name="one", text="", factory=lambda: agent, oracle=True)
    return run_episode(task, entry, agent, env, split=task.splits[0], number=number).actions


def check_no_memory(task: Task, names: list[str], numbers: range) -> None:
    """Check that baselines, each one agent through all presets, act in the last episodes as new agents do."""
    environments = TaskEnvironments(task)
    for name in names:
        entry = find_baseline(task.registered, name)
        agent = entry.factory()
        for number in numbers:
            env = environments.of_episode(number)
            assert actions(task, agent, env, number) == actions(task, entry.factory(), env, number), (name, number)
    environments.close()


def test_an_agent_keeps_nothing_of_another_preset() -> None:
    """Spaces and budgets differ between presets, and an agent that has met the others acts as a new one, for every baseline."""
    task = find_task("hypothesis-test")
    check_no_memory(task, [full.partition("/")[2] for full in load_baselines().names(task.registered)], range(4))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aberration-correction", "sparse-scan"])
def test_experts_keep_nothing_of_another_preset(name: str) -> None:
    """The same, for experts whose episodes take seconds."""
    check_no_memory(find_task(name), ["expert"], range(3))


def test_a_brief_names_the_preset_of_its_episode() -> None:
    """Before an episode an agent receives the preset, spaces and numbers of that episode."""
    task = find_task("hypothesis-test")
    environments = TaskEnvironments(task)
    briefs = [brief_for(environments.of_episode(number), task=task.name, seed=1) for number in range(3)]
    environments.close()
    assert [brief.difficulty for brief in briefs] == list(task.difficulties)
    assert len({brief.observation_space["lost"].shape for brief in briefs}) == 3
    assert len({brief.known["areas"] for brief in briefs}) == 3
