"""Task drift-tracking: scores are those of the watch, and parts of the expert keep to their laws."""

import numpy as np
import pytest

from stemtwin.benchmarks.baselines import drift_fit
from stemtwin.benchmarks.baselines.drift_fit import BIN, PITCH, SIDE, Motion, Template, log_likelihood, peak, places
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.families.drift import score
from stemtwin.benchmarks.runner import evaluate
from stemtwin.benchmarks.tasks import find_task


def ended(number: int, watched: float, *, declared: bool) -> Episode:
    """Return an episode that ended with a watched part."""
    truth = {"watched": watched, "distance_angstrom": 9.0, "specimen": 1.0, "drift_angstrom_per_s": 0.5}
    cost = {"dose_e_per_angstrom2": 1e6, "beam_s": 10.0, "moves": 1.0, "fast_frames": 0.0}
    return Episode(
        number=number,
        seed=number,
        actions=((0.0,) * 5,),
        rewards=(0.0,),
        start=truth,
        end=truth,
        cost=cost,
        terminated=declared,
        wall_s=0.0,
        observations_sha256="",
    )


def test_scores_are_those_of_declared_watches() -> None:
    """A watch without a declared end counts nothing, however well it went."""
    found = score([ended(0, 0.9, declared=True), ended(1, 0.9, declared=False), ended(2, 0.4, declared=True)]).statistics
    np.testing.assert_allclose(found["watched"], [0.9, 0, 0.4])
    np.testing.assert_array_equal(found["success"], [1, 0, 0])
    np.testing.assert_array_equal(found["in_view"], [0, 0, 0])


def test_the_filter_follows_a_constant_velocity() -> None:
    """Exact places on a straight line give its velocity, and a prediction of the next place; a jump keeps the velocity."""
    motion = Motion(place=np.zeros(2))
    velocity = np.array([0.5, -0.3])
    for number in range(1, 40):
        motion.predict(2.0)
        motion.update(velocity * 2.0 * number, 0.05)
    np.testing.assert_allclose(motion.velocity, velocity, atol=0.02)
    motion.jump(np.array([7.0, 0.0]), 0.1)
    motion.predict(2.0)
    np.testing.assert_allclose(motion.place, np.array([7.0, 0.0]) + 2 * motion.velocity)


@pytest.mark.parametrize("wide", [False, True])
def test_the_likelihood_finds_a_drawn_place(wide: bool) -> None:
    """Poisson counts of a pattern at a place have their largest likelihood within a pixel of it, in narrow and in wide frames."""
    rng, true = np.random.default_rng(1), np.array([2.4, -1.6])

    def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 0.2 + sum(4 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.8) for a, b in ((0, 0), (2.9, 0), (0.5, 2.5)))

    axis = places(SIDE, PITCH)
    template = Template()
    template.add(pattern(*np.meshgrid(axis, axis)), np.zeros(2))
    pitch, count, points = (drift_fit.wide_pitch(), 128, 1 / BIN**2) if wide else (PITCH, SIDE, 1.0)
    x, y = np.meshgrid(places(count, pitch), places(count, pitch))
    found = log_likelihood(rng.poisson(pattern(x - true[0], y - true[1]) * points), pitch, points, template.rate(), template.level())
    np.testing.assert_allclose(peak(found, pitch), true, atol=pitch)


@pytest.mark.slow
def test_baselines_stand_in_their_order() -> None:
    """Over the same episodes the oracle watches most, then the expert, then phase correlation alone, which loses the field; the others nothing."""
    task = find_task("drift-tracking")
    names = ("oracle", "expert", "phase-correlation", "no-op", "blind")
    value = {name: evaluate(task, baseline=name, episodes=6).report.primary.value or 0.0 for name in names}
    assert value["oracle"] > value["expert"] > 0.6 > value["phase-correlation"]
    assert value["no-op"] == 0
    assert value["blind"] < 0.2
