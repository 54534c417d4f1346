"""Failures count as the worst that a task can give, whatever the state at the end, and stay in the denominator."""

import dataclasses

import pytest

from stemtwin.benchmarks.agents import find_baseline, load_baselines, make_entry
from stemtwin.benchmarks.episodes import TaskEnvironments, make_environment, run_episode
from stemtwin.benchmarks.runner import counted
from stemtwin.benchmarks.tasks import load_tasks

QUICK = ("hypothesis-test",)
"""Tasks whose environment and oracle compile and build nothing."""

LONG = ("focus-keeping", "spectrum-discovery")
"""Tasks that first build a large operator or scenes, and whose score is 0 without a declared end as that of the others."""


def agent_tasks() -> list:
    """Return every task of agents, those that take long marked slow."""
    names = [name for name in load_tasks() if load_tasks()[name].kind == "agent" and name not in LONG]
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", agent_tasks())
def test_an_oracle_that_fails_scores_the_floor(name: str) -> None:
    """The best episode that there is, marked as failed, has the task's floor as primary score, and counts as one episode."""
    task = load_tasks()[name]
    assert f"{name}/oracle" in load_baselines()
    entry, env = find_baseline(name, "oracle"), make_environment(task)
    played = run_episode(task, entry, make_entry(entry, "agent"), env, split=task.splits[0], number=0)
    env.close()
    failed = dataclasses.replace(played, failure="crashed", terminated=False)
    scores = [float(task.primary.formula(counted(task, [one]).sums())) for one in (played, failed)]
    assert scores[0] > 0.1
    assert scores[1] == pytest.approx(task.floor, abs=1e-12)
    both = counted(task, [played, failed]).sums()
    assert float(both["samples"]) == 2
    assert float(task.primary.formula(both)) == pytest.approx(sum(scores) / 2)


@pytest.mark.parametrize("name", agent_tasks())
@pytest.mark.parametrize("policy", ["random", "no-op", "blind"])
def test_no_fault_pays(name: str, policy: str) -> None:
    """Policies that see nothing earn the floor at least, and a fault at the end of their episodes never raises a score."""
    task = load_tasks()[name]
    if f"{name}/{policy}" not in load_baselines():
        pytest.skip(f"{name} has no baseline {policy}")
    entry, environments = find_baseline(name, policy), TaskEnvironments(task)
    played = run_episode(task, entry, make_entry(entry, "agent"), environments.of_episode(1), split=task.splits[0], number=1)
    environments.close()
    for one in (played, dataclasses.replace(played, terminated=False)):
        assert float(task.primary.formula(counted(task, [one]).sums())) >= task.floor - 1e-12
    failed = counted(task, [dataclasses.replace(played, failure="timed out", terminated=False)])
    assert float(task.primary.formula(failed.sums())) == pytest.approx(task.floor, abs=1e-12)


def test_the_floor_of_a_log_score_is_the_most_wrong_declaration() -> None:
    """Who declares the false law with the greatest certainty that is allowed earns what a crash does, and the page of the task says so."""
    task = load_tasks()["hypothesis-test"]
    entry, env = find_baseline("hypothesis-test", "random"), make_environment(task)
    played = run_episode(task, entry, make_entry(entry, "agent"), env, split=task.splits[0], number=0)
    env.close()
    action = [0.0, 0.0, 0.0, 1.0, 1.0 if played.start["law"] == 0 else -1.0]
    wrong = dataclasses.replace(played, actions=(*played.actions[:-1], action), terminated=True)
    assert float(task.primary.formula(counted(task, [wrong]).sums())) == pytest.approx(task.floor)
    crashed = dataclasses.replace(wrong, failure="crashed", terminated=False)
    scores = [float(one.primary.formula(counted(one, [crashed]).sums())) for one in (dataclasses.replace(task, failed={}), task)]
    assert scores == pytest.approx([0.0, task.floor])  # with the guard off, who crashes in time of doubt loses nothing
    assert "-4.644 bit" in task.floor_text
    for name in load_tasks():
        if load_tasks()[name].kind == "agent":
            assert load_tasks()[name].failed
            assert load_tasks()[name].floor <= 0
