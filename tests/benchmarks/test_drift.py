"""Task drift-tracking: scores are those of the watch, and parts of the expert keep to their laws."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.baselines import drift_fit
from stemtwin.benchmarks.baselines.drift import BlindWatch, DriftTracker, cluster_middle
from stemtwin.benchmarks.baselines.drift_fit import BIN, PITCH, SIDE, Motion, Template, log_likelihood, peak, places
from stemtwin.benchmarks.episodes import Episode, TaskEnvironments, check_difficulty, check_sealed, sealed_arguments
from stemtwin.benchmarks.families.drift import score
from stemtwin.benchmarks.returns import play
from stemtwin.benchmarks.runner import evaluate
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.drift_clusters import draw_cluster
from stemtwin.twin.envs.drift_instrument import scene
from stemtwin.twin.errors import SettingsError


def ended(number: int, watched: float, *, declared: bool, **truth: float) -> Episode:
    """Return an episode that ended with a watched part."""
    usual = {"specimen": 1.0, "drift_angstrom_per_s": 0.5, "log10_electrons": 2.0, "detection": 0.0, "delay_s": -1.0, "false_alarms": 0.0}
    told = {"watched": watched, "distance_angstrom": 9.0, **usual, **truth}
    cost = {"dose_e_per_angstrom2": 1e6, "beam_s": 10.0, "moves": 1.0, "fast_frames": 0.0}
    return Episode(
        number=number,
        seed=number,
        actions=((0.0,) * 6,),
        rewards=(0.0,),
        start=told,
        end=told,
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


def test_events_count_where_there_are_some() -> None:
    """Every fourth watch has an event: there an undetected one halves the achievement, and shares and delays are those of events alone."""
    told = {"detection": 0.8, "delay_s": 2.0, "false_alarms": 1.0}
    rows = [*(ended(k, 0.8, declared=True, **told) for k in range(4)), *(ended(k, 0.8, declared=True) for k in range(4, 8))]
    found = score(rows)
    np.testing.assert_allclose(found.statistics["achieved"], [0.8] * 3 + [0.72] + [0.8] * 3 + [0.4])
    values = {metric.name: float(metric.formula(found.sums())) for metric in find_task("drift-tracking").metrics}
    assert (values["detected"], values["detection_delay"], values["false_alarms"]) == (0.5, 2.0, 0.5)
    assert found.columns["difficulty"].tolist() == ["easy", "standard", "hard", "event"] * 2


def test_episodes_take_the_presets_in_turn() -> None:
    """The runner plays each episode in the preset of its number, and refuses another one."""
    task = find_task("drift-tracking")
    environments = TaskEnvironments(task, lambda one: SimpleNamespace(unwrapped=SimpleNamespace(task=one), difficulty=one.difficulties))
    made = [environments.of_episode(number) for number in range(8)]
    assert [one.difficulty for one in made] == [("easy",), ("standard",), ("hard",), ("event",)] * 2
    assert made[0] is made[4]
    for number, preset in enumerate(task.difficulties):
        env: Any = SimpleNamespace(unwrapped=SimpleNamespace(task=SimpleNamespace(**sealed_arguments(replace(task, difficulties=(preset,))))))
        check_sealed(task, env)
        check_difficulty(task, env, number)
    with pytest.raises(SettingsError, match="difficulty='easy', but its environment has 'hard'"):
        check_difficulty(task, SimpleNamespace(unwrapped=SimpleNamespace(task=SimpleNamespace(difficulty="hard"))), 0)


@pytest.mark.parametrize("kind", ["graphene", "mos2-1h"])
def test_the_middle_of_a_cluster_leaves_its_neighbour_out(kind: str) -> None:
    """In expected images the middle lies within 0.5 A of the mean of the cluster's atoms, and does not count the single atom beside it."""
    axis = places(SIDE, PITCH)
    for seed in range(4):
        shown = scene(kind, draw_cluster(np.random.default_rng(seed), "train"), 0.0, hopped=False)
        image = shown.at(np.stack(np.meshgrid(axis, axis), axis=-1) + shown.feature).astype(float)
        assert np.linalg.norm(cluster_middle(image, 3.0)) < 0.5


class AlwaysFast(BlindWatch):
    """Keeps the field where it is, takes fast frames alone, and declares the end before frames or dose are spent."""

    def act(self, observation: Any, cost: Any) -> np.ndarray:
        """Return the blind action, fast."""
        wanted = super().act(observation, cost)
        wanted[4] = 1.0
        return wanted


class Miser(DriftTracker):
    """Tracks as the expert does, with the fewest electrons in every frame."""

    def act(self, observation: Any, cost: Any) -> np.ndarray:
        """Return the expert's action with the fewest electrons."""
        wanted = super().act(observation, cost)
        wanted[5] = -1.0
        return wanted


@pytest.mark.slow
def test_dose_is_worth_its_price() -> None:
    """With a quarter of the electrons, four fifths of the dose unspent, the expert earns less than two thirds of its own on `hard`."""
    env = gym.make("stemtwin/DriftTracking-v1", difficulty="hard", privileged_info=True)
    totals = {one: np.mean([play(env, one(), seed=seed, task="drift-tracking").total for seed in range(2)]) for one in (DriftTracker, Miser)}
    assert totals[Miser] < 2 / 3 * totals[DriftTracker]


@pytest.mark.slow
def test_always_triggering_is_worth_nothing() -> None:
    """A policy of fast frames alone is out of frames after half a minute, and its many false alarms leave nothing of a detection."""
    env = gym.make("stemtwin/DriftTracking-v1", difficulty="event", privileged_info=True)
    for seed in range(3):
        assert play(env, AlwaysFast(), seed=seed, task="drift-tracking").total < 0.05
        assert env.get_wrapper_attr("truth")()["detection"] < 1e-3


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
    value = {name: evaluate(task, baseline=name, episodes=4).report.primary.value or 0.0 for name in names}
    assert value["oracle"] > value["expert"] > 0.55 > value["phase-correlation"]
    assert value["no-op"] == 0
    assert value["blind"] < 0.2
