"""stemtwin/DriftTracking: frames show the cluster where the truth says, no lattice vector is an answer, watching throughout is what counts."""

import itertools
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy import ndimage

from stemtwin.twin.envs import drift_scenes
from stemtwin.twin.envs.drift_instrument import FAST_S, FIELD, PERIOD_S, PRESETS, SHAPE, WIDE_FIELD, fate, scene
from stemtwin.twin.envs.families.drift_tracking import NEAR, STEP, DriftTracking, Watch
from stemtwin.twin.envs.functional_env import StemEnv, hidden_truth
from stemtwin.twin.errors import SettingsError

ID = "stemtwin/DriftTracking-v1"


def make(**settings: Any) -> StemEnv:
    """Return the environment without Gymnasium's wrappers, of a short watch."""
    env = gym.make(ID, **{"difficulty": "easy", "watch_s": 24.0, **settings}).unwrapped
    assert isinstance(env, StemEnv)
    return env


def state_of(env: StemEnv) -> Watch:
    """Return the state of an episode."""
    assert isinstance(env._state, Watch)
    return env._state


def act(way: tuple[float, float] = (0.0, 0.0), *, wide: bool = False, stop: bool = False, fast: bool = False) -> np.ndarray:
    """Return an action: a way, A, and what is chosen."""
    return np.array([way[0] / STEP, way[1] / STEP, *(1.0 if one else -1.0 for one in (wide, stop, fast))], np.float32)


def brightest(image: np.ndarray, field: float) -> np.ndarray:
    """Return the place (x, y) of the brightest blob from the middle of a frame, A."""
    pitch = field / SHAPE[0]
    smooth = ndimage.gaussian_filter(image.astype(float), 1.6 / pitch)
    iy, ix = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return (np.array([ix, iy]) - (SHAPE[0] - 1) / 2) * pitch


@pytest.mark.parametrize("wide", [False, True])
def test_frames_show_the_cluster_where_the_truth_says(wide: bool) -> None:
    """The brightest blob of a frame lies within 2 A of the true place, narrow or wide, at any rotation, after any shift."""
    env, field = make(), WIDE_FIELD if wide else FIELD
    for seed in range(3):
        env.reset(seed=seed)
        observation, *_ = env.step(act((3.0, -2.0), wide=wide))
        truth = hidden_truth(env)
        assert np.linalg.norm(brightest(observation["image"], field) - (truth["x_angstrom"], truth["y_angstrom"])) < 2.0
        assert observation["field"][0] == field


def test_a_shift_moves_the_field_along_the_axes_of_the_frame() -> None:
    """Without drift, a shift by a way takes just that off the place of the cluster."""
    env = make(randomisation={"drift": (0.0, 0.0)})
    env.reset(seed=3, options={"offset_angstrom": (1.5, -1.0)})
    env.step(act((4.0, 3.0)))
    truth = hidden_truth(env)
    assert (truth["x_angstrom"], truth["y_angstrom"]) == pytest.approx((1.5 - 4.0, -1.0 - 3.0), abs=1e-5)


def test_no_lattice_vector_is_an_answer() -> None:
    """A step by the lattice vector of MoS2 costs what a step by that distance costs, though the lattice looks the same."""
    env = make(randomisation={"samples": "mos2-1h", "drift": (0.0, 0.0)})
    env.reset(seed=1, options={"offset_angstrom": (0.0, 0.0)})
    before = hidden_truth(env)["watched"]
    env.step(act((drift_scenes.bond("mos2-1h"), 0.0)))
    gained = hidden_truth(env)["watched"] - before
    assert gained == pytest.approx(math.exp(-((drift_scenes.bond("mos2-1h") / NEAR) ** 2)) * PERIOD_S / 24, rel=0.1)


def test_scenes_have_no_seam_and_one_cluster() -> None:
    """A box with the cluster agrees with a perfect one at its rim, within a tenth of the mean (MoS2), and nothing else of the scene differs."""
    shown = scene("mos2-1h", 0.0, hopped=False)
    rows = np.arange(0.0, shown.extent[0], 0.25)
    columns = np.arange(0.0, shown.extent[1], 0.25)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1)
    box = (shown.extent[1] / drift_scenes.TILES, shown.extent[0] / drift_scenes.TILES)
    change = np.abs(shown.at(grid) - shown.at(grid + box))
    distance = np.minimum(np.hypot(*np.moveaxis(grid - shown.feature, -1, 0)), np.hypot(*np.moveaxis(grid + box - shown.feature, -1, 0)))
    mean = float(shown.at(grid).mean())
    assert change[distance > 10].max() < 0.1 * mean
    assert change[distance < 3].max() > 2 * mean


def test_being_in_view_throughout_counts() -> None:
    """The watched part adds up exp(-(r / s)^2) times the time over narrow frames alone, and the last one alone is not the score."""
    env = make(difficulty="standard", randomisation={"samples": "mos2-1h"})
    env.reset(seed=5)
    expected, clock = 0.0, 0.0
    for number in range(8):
        observation, *_ = env.step(act(wide=number % 3 == 1, fast=number % 4 == 2))
        truth, passed = hidden_truth(env), float(observation["clock"][0]) - (clock or state_of(env).session.clock_s)
        if number and observation["field"][0] == FIELD:
            expected += math.exp(-((truth["distance_angstrom"] / NEAR) ** 2)) * passed
        if number == 0:
            first = truth["watched"]
        clock = float(observation["clock"][0])
        if number:
            assert passed == pytest.approx(FAST_S if number % 4 == 2 else PERIOD_S, abs=1e-3)
    assert hidden_truth(env)["watched"] - first == pytest.approx(expected / 24, abs=1e-4)


@pytest.mark.slow
def test_the_hard_series_tilts_and_jumps() -> None:
    """The tilts come one after the other, each shifts the specimen by its height, and the session's clock counts the move."""
    env = make(difficulty="hard", randomisation={"drift": (0.0, 0.0), "samples": "mos2-1h"})
    observation, _ = env.reset(seed=2)
    tilts, over = [float(observation["tilt"][0])], False
    while not over:
        observation, _, done, cut, _ = env.step(act())
        tilts.append(float(observation["tilt"][0]))
        over = done or cut
    seen = [tilts[0], *(b for a, b in itertools.pairwise(tilts) if a != b)]
    assert seen in ([-60.0, 0.0, 60.0], [60.0, 0.0, -60.0])


def test_a_detected_event_is_worth_its_delay_and_false_alarms_cost() -> None:
    """A fast frame right after the event is worth nearly 1, one before it halves that, and none is worth nothing."""
    worth = []
    for alarms in (0, 1, 2):
        env = make(difficulty="event", randomisation={"samples": "mos2-1h"})
        env.reset(seed=4)
        for number in range(10):
            hopped = hidden_truth(env)["hopped"] > 0
            env.step(act(fast=number < alarms or (hopped and state_of(env).detected_s == math.inf)))
        worth.append(hidden_truth(env)["detection"])
        assert hidden_truth(env)["false_alarms"] == alarms
    assert worth[0] > 0.6
    assert worth[1] == pytest.approx(worth[0] / 2, rel=0.3)
    assert worth[2] < worth[1] < worth[0]


def test_presets_differ_by_physics_alone() -> None:
    """Drift and walk grow from easy to hard, doses fall, and budgets and tolerance are the same."""
    easy, standard, hard = (PRESETS[name] for name in ("easy", "standard", "hard"))
    for slow, quick in ((easy, standard), (standard, hard)):
        assert slow.speed_angstrom_per_s < quick.speed_angstrom_per_s
        assert slow.walk_angstrom < quick.walk_angstrom
        assert slow.randomisation.electrons_per_point[0] > quick.randomisation.electrons_per_point[1]
    assert (easy.frames, easy.dose_budget_e_per_angstrom2) == (hard.frames, hard.dose_budget_e_per_angstrom2)


def test_jumps_happen_once() -> None:
    """However the time is cut, all jumps add up to the same way."""
    coming = fate(PRESETS["hard"], np.random.default_rng(1))
    parts = sum(coming.jumped(since, since + 1.0) for since in np.arange(0.0, 120.0))
    np.testing.assert_allclose(parts, coming.jumped(0.0, 120.0))


def test_what_cannot_be_is_refused() -> None:
    """Specimens without a scene, frames that are too long, starts too far away and too short watches are refused with a sentence."""
    for settings, told in (
        ({"randomisation": {"samples": "au-001"}}, "no scene of 'au-001'"),
        ({"randomisation": {"electrons_per_point": (1e4, 1e4)}}, "Give at most"),
        ({"watch_s": 1.0}, "watch_s"),
    ):
        with pytest.raises(SettingsError, match=told):
            make(**settings)
    with pytest.raises(SettingsError, match="from the middle"):
        make().reset(options={"offset_angstrom": (3.0, 0.0)})


def test_closed_valves_and_failing_commands_are_seen() -> None:
    """Where the valve is always closed frames are dark; where all commands fail the shift stays."""
    env = make(randomisation={"closed_valve": 1.0})
    observation, _ = env.reset(seed=1)
    assert observation["image"].sum() == 0
    env = make(randomisation={"failing": 0.9})
    env.reset(seed=1)
    shifts = [env.step(act((1.0, 0.0)))[0]["shift"][0] for _ in range(8)]
    assert shifts[-1] < 4


def test_the_task_is_the_family_of_its_name() -> None:
    """The family keeps 66 frames in two minutes, fewer in a shorter watch."""
    assert DriftTracking()._frames == 66
    assert DriftTracking(watch_s=60.0)._frames == 33
