"""Task hypothesis-test: baselines stand in their order, and scores are those of the declared probabilities."""

import dataclasses
import math

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.families.hypothesis import calibration_error, score
from stemtwin.benchmarks.runner import evaluate
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.families.hypothesis_test import DECLARE

TASK = find_task("hypothesis-test")


def ended(number: int, law: int, action: tuple[float, ...]) -> Episode:
    """Return an episode of one action."""
    truth = {"pair": 0.0, "law": float(law), "strength": 0.7, "shape": 4.0}
    cost = {"dose_e_per_angstrom2": 1e8, "beam_s": 10.0, "moves": 1.0, "areas": 1.0}
    return Episode(
        number=number,
        seed=number,
        actions=(action,),
        rewards=(0.0,),
        start=truth,
        end=truth,
        cost=cost,
        terminated=action[3] > 0.8,
        wall_s=0.0,
        observations_sha256="",
    )


def test_scores_are_those_of_the_declared_probability() -> None:
    """0.98 for the true law is 1 + log2(0.98) bits, for the false one 1 + log2(0.02); no declaration counts as 1/2, however it looks."""
    episodes = [ended(0, 1, (0, 0, 0, 1, 1)), ended(1, 0, (0, 0, 0, 1, 1)), ended(2, 1, (0, 0, 0, 0.5, 1)), ended(3, 0, (0, 0, 0, 1, 0))]
    found = score(episodes).statistics
    np.testing.assert_allclose(found["log_score"], [1 + math.log2(0.98), 1 + math.log2(0.02), 0, 0])
    np.testing.assert_allclose(found["brier"], [0.02**2, 0.98**2, 0.25, 0.25])
    np.testing.assert_array_equal(found["accurate"], [1, 0, 0, 0])
    np.testing.assert_array_equal(found["declared"], [1, 1, 0, 1])
    sums = {name: np.asarray(values).sum(axis=0) for name, values in found.items()}
    assert calibration_error(sums) == pytest.approx((abs(2 * 0.98 - 1) + abs(2 * 0.5 - 1)) / 4)


def test_the_scorer_declares_what_the_environment_declares() -> None:
    """At the limit of a declaration, in float32, and next to it the score counts the answer exactly where the environment ended by it."""
    limit = np.float32(DECLARE)
    for value in (np.nextafter(limit, np.float32(0)), limit, np.nextafter(limit, np.float32(1))):
        action = np.array([0, 0, 0, value, 0.5], np.float32)
        env = gym.make("stemtwin/HypothesisTest-v1", disable_env_checker=True)
        env.reset(seed=1)
        *_, terminated, _, _ = env.step(action)
        one = dataclasses.replace(ended(0, 1, tuple(action.tolist())), terminated=terminated)
        assert float(score([one]).statistics["log_score"][0]) == pytest.approx(1 + math.log2(0.74) if terminated else 0)


def test_baselines_stand_in_their_order() -> None:
    """Over the same episodes the oracle has all bits, the expert most of them with less dose than the fixed series, the others none."""
    reports = {name: evaluate(TASK, baseline=name, episodes=39).report for name in ("oracle", "expert", "fixed", "no-op", "random", "blind")}
    value = {name: report.primary.value or 0.0 for name, report in reports.items()}
    assert value["oracle"] == pytest.approx(1 + math.log2(0.98))
    assert value["oracle"] > value["expert"] > 0.5 > value["no-op"] == 0 > max(value["random"], value["blind"])
    dose = {name: report.metric("dose").value or 0.0 for name, report in reports.items()}
    assert dose["oracle"] == 1
    assert dose["expert"] < 0.6 * dose["fixed"]
    assert reports["oracle"].trust == "oracle"
    assert reports["expert"].gluing_residual < 1e-9
    assert {one.column for one in reports["expert"].slices} == {"difficulty", "pair", "law", "strength"}
