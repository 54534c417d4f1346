"""Task aberration-correction: what a declared end is worth, and the filter of the expert."""

import math
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.agents import Brief, find_baseline, load_baselines
from stemtwin.benchmarks.baselines.tuning import TrueSteps
from stemtwin.benchmarks.baselines.tuning_filter import ResponseFilter, phase_weights
from stemtwin.benchmarks.baselines.tuning_search import WIDTH, TrustRegion, defocus_weights, normalised_variance, ray_weights, texture
from stemtwin.benchmarks.returns import play
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.tuning_presets import NAMES
from stemtwin.twin.errors import SettingsError

TASK = find_task("aberration-correction")


def episode(*, declared: bool, phase: float) -> Any:
    """Return as much of an episode as is scored."""
    start = {
        "C10_angstrom": -300.0,
        "C21a_angstrom": 3e3,
        "C21b_angstrom": 4e3,
        "log10_electrons": 3.0,
        "density_per_angstrom2": 0.01,
        "energy_ev": 3e5,
    }
    cost = {"dose_e_per_angstrom2": 2e5, "time_s": 60.0, "beam_s": 50.0, "moves": 6.0}
    end = {**start, "phase_rad": phase, "flat_mrad": 20.0}
    return SimpleNamespace(number=0, start=start, end=end, cost=cost, terminated=declared)


def test_only_a_declared_end_counts() -> None:
    """The score is exp(-s^2) at a declared end and 0 without; the final phase error is told either way."""
    found = TASK.score([episode(declared=True, phase=0.3), episode(declared=False, phase=0.3), episode(declared=True, phase=1.0)])
    np.testing.assert_allclose(found.statistics["corrected"], [math.exp(-0.09), 0, math.exp(-1)])
    np.testing.assert_array_equal(found.statistics["success"], [1, 0, 0])
    np.testing.assert_array_equal(found.statistics["phase"], [0.3, 0.3, 1.0])
    np.testing.assert_allclose(found.columns["start_C21_angstrom"], 5e3)
    np.testing.assert_allclose(found.columns["electrons"], 1e3)
    assert set(found.columns["difficulty"]) == {"easy"}
    assert set(found.columns["instrument"]) == {"corrected-300kv without faults"}


def test_the_filter_learns_a_response() -> None:
    """From measurements at changed knobs the filter finds gains, rotations and couplings, and its correction then lands on zero."""
    names, rng = NAMES[:7], np.random.default_rng(2)
    size = np.array([500.0, 300, 300, 8e3, 8e3, 4e3, 4e3])
    response = np.eye(7) + rng.normal(0, 0.08, (7, 7)) * np.array([[int(a[1]) <= int(b[1]) for b in names] for a in names])
    response[:3, 3:] = rng.normal(0, 0.03, (3, 4))
    start, knobs = size * rng.uniform(-1, 1, 7), np.zeros(7)
    learnt = ResponseFilter(names, size)
    for _ in range(12):
        learnt.moved(knobs, 0.0)
        learnt.measured(np.arange(7), start + response @ knobs, np.full(7, 1.0))
        knobs = knobs + learnt.correction(phase_weights(names), 0.0)
    assert np.abs((start + response @ knobs) * np.sqrt(np.diag(phase_weights(names)))).max() < 0.05


def test_a_filter_is_as_sure_as_it_says() -> None:
    """Errors of estimates, over many drawn starts and responses, average to the variances that the filter states."""
    names, rng, scores = NAMES[:3], np.random.default_rng(3), []
    size = np.array([300.0, 200.0, 200.0])
    for _ in range(200):
        learnt = ResponseFilter(names, size)
        deviation = np.sqrt(np.array([np.diag(one)[1:] for one in learnt.covariance]))
        start, response = rng.normal(0, size), np.eye(3) + rng.normal(0, 1, (3, 3)) * deviation
        for knobs in (np.zeros(3), rng.normal(0, size), rng.normal(0, size)):
            learnt.moved(knobs, 0.0)
            learnt.covariance[:, 0, 0] = np.maximum(learnt.covariance[:, 0, 0], 1e-9)
            learnt.measured(np.arange(3), start + response @ knobs + rng.normal(0, 10, 3), np.full(3, 10.0))
        mean, variances = learnt.after(np.zeros(3))
        scores.append((start + response @ learnt.knobs - mean) ** 2 / variances)
    assert 0.4 < np.mean(scores) < 1.2, "hysteresis, of which there was none here, makes it somewhat less sure"


def test_caution_leaves_alone_what_is_not_known() -> None:
    """Without a measurement nothing is corrected; the more caution, the smaller the change."""
    names = NAMES[:7]
    learnt = ResponseFilter(names, np.array([500.0, 300, 300, 8e3, 8e3, 4e3, 4e3]))
    np.testing.assert_allclose(learnt.correction(phase_weights(names)), 0, atol=1e-9)
    learnt.measured(np.arange(7), np.array([300.0, 0, 0, 5e3, 0, 0, 0]), np.full(7, 20.0))
    sizes = [np.abs(learnt.correction(phase_weights(names), caution)) for caution in (0.0, 0.1, 1.0)]
    assert sizes[0][3] > sizes[1][3] > sizes[2][3] > 0


def test_contrast_is_that_of_electrons() -> None:
    """The normalised variance is the same in electrons and in readings with offset and gain."""
    counts = np.random.default_rng(1).poisson(20, (64, 64))
    assert normalised_variance(1000 + 7.6 * counts) == pytest.approx(normalised_variance(counts))


def test_curvatures_are_those_of_optics() -> None:
    """C10 displaces rays by alpha C10 and is its own local defocus; C30 by alpha^3 C30, with local defoci of 3 and 1 alpha^2 C30."""
    rays, defoci = ray_weights(NAMES), defocus_weights(NAMES)
    assert rays[0, 0] == pytest.approx(25e-3**2 / 2, rel=0.02)
    assert rays[7, 7] == pytest.approx(25e-3**6 / 4, rel=0.05)
    assert defoci[0, 0] == pytest.approx(1)
    assert defoci[1, 1] == pytest.approx(1)
    assert defoci[7, 7] == pytest.approx(25e-3**4 / 3 * (9 + 1) / 2, rel=0.05)
    assert min(np.linalg.eigvalsh(defoci / np.sqrt(np.outer(np.diag(defoci), np.diag(defoci))))) > 0.1


@pytest.mark.parametrize("count", [3, 7])
def test_a_trust_region_finds_the_least_place(count: int) -> None:
    """A noisy power of the distance from an unknown place is brought to its least in a few evaluations for each coordinate."""
    rng, rest = np.random.default_rng(4), []
    for _ in range(5):
        spreads, least = np.diag(rng.uniform(50, 200, count)), rng.normal(0, 1, count)
        least = spreads @ least
        region, place = TrustRegion(spreads, 5.0), np.zeros(count)
        for _ in range(5 * count + 5):
            region.add(place, float((np.sum((place - least) ** 2) + 25) ** 1.1 * math.exp(rng.normal(0, 0.05))))
            place = region.next()
        rest.append(np.linalg.norm(region.least() - least) / np.linalg.norm(least))
    assert np.median(rest) < 0.2


def test_texture_is_finer_where_slopes_are_steeper() -> None:
    """Counting noise has none on average; that of waves goes with the cube of their frequency, apart from smoothing; brightness does not matter."""
    rng, x, lengths = np.random.default_rng(1), np.arange(128.0), np.array([32.0, 16.0, 8.0])

    def of_waves(length: float, mean: float) -> float:
        return texture(rng.poisson(mean * np.ones((128, 1)) * (1 + 0.1 * np.sin(2 * np.pi * x / length))))

    found = np.array([of_waves(length, 5000) for length in lengths])
    wanted = 0.005 * (2 * np.pi / lengths) ** 3 * np.exp(-((2 * np.pi * WIDTH / lengths) ** 2))
    np.testing.assert_allclose(found, wanted, rtol=0.1)
    assert np.mean([texture(rng.poisson(5000, (128, 128))) for _ in range(5)]) < 0.1 * found[0]
    assert of_waves(8.0, 500) == pytest.approx(found[2], rel=0.1)


def test_the_oracle_needs_the_truth() -> None:
    """Without the door to the truth the policy that knows it refuses to begin."""
    env = gym.make("stemtwin/AberrationCorrection-v1", disable_env_checker=True)
    with pytest.raises(SettingsError, match="access to the truth"):
        TrueSteps().reset(Brief(task="", observation_space=env.observation_space, action_space=env.action_space, seed=0))


@pytest.mark.slow
def test_baselines_stand_in_their_order() -> None:
    """On the largest preset, too, the oracle is above the expert, which is far above all others; contrast alone corrects little."""
    env = gym.make(TASK.source, privileged_info=True, difficulty="hard", split="train")
    mean = {}
    for name in load_baselines().names(TASK.registered):
        one = find_baseline(TASK.registered, name.partition("/")[2])
        agent = one.factory()
        mean[one.name] = np.mean([play(env, agent, seed=seed, task=TASK.name, oracle=one.oracle).total for seed in range(2000, 2005)])
    assert mean["oracle"] > mean["expert"] > 0.4
    assert max(value for name, value in mean.items() if name not in ("oracle", "expert")) < mean["expert"] / 2
