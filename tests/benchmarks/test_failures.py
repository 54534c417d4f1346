"""Failures count as 0 in every task of agents, whatever the state at the end, and stay in the denominator."""

import dataclasses

import pytest

from stemtwin.benchmarks.agents import find_baseline, load_baselines, make_entry
from stemtwin.benchmarks.episodes import make_environment, run_episode
from stemtwin.benchmarks.runner import counted
from stemtwin.benchmarks.tasks import load_tasks

QUICK = ("hypothesis-test",)
"""Tasks whose environment and oracle compile and build nothing."""

LONG = ("spectrum-discovery",)
"""Tasks that make scenes for minutes first, and whose score is 0 without a declared end as that of the others."""


def agent_tasks() -> list:
    """Return every task of agents, those that take long marked slow."""
    names = [name for name in load_tasks() if load_tasks()[name].kind == "agent" and name not in LONG]
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", agent_tasks())
def test_an_oracle_that_fails_scores_nothing(name: str) -> None:
    """The best episode that there is, marked as failed, has a primary score of 0, and counts as one episode."""
    task = load_tasks()[name]
    assert f"{name}/oracle" in load_baselines()
    entry, env = find_baseline(name, "oracle"), make_environment(task)
    played = run_episode(task, entry, make_entry(entry, "agent"), env, split=task.splits[0], number=0)
    env.close()
    failed = dataclasses.replace(played, failure="crashed", terminated=False)
    scores = [float(task.primary.formula(counted(task, [one]).sums())) for one in (played, failed)]
    assert scores[0] > 0.1
    assert scores[1] == 0
    both = counted(task, [played, failed]).sums()
    assert float(both["samples"]) == 2
    assert float(task.primary.formula(both)) == pytest.approx(scores[0] / 2)
