"""stemtwin/DriftTracking: frames show the cluster where the truth says, no lattice vector is an answer, watching throughout is what counts."""

import dataclasses
import itertools
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy import ndimage

from stemtwin.twin.envs import drift_instrument, drift_scenes
from stemtwin.twin.envs.drift_clusters import draw_cluster, split_of
from stemtwin.twin.envs.drift_instrument import (
    EVENT_SHARES,
    FAST_S,
    FIELD,
    JUMP_REST_S,
    LEAST_WATCH_S,
    MOST_DOSE,
    PERIOD_S,
    PRESETS,
    SHAPE,
    WIDE_FIELD,
    draw_events,
    scene,
)
from stemtwin.twin.envs.drift_watch import NEAR, Watch
from stemtwin.twin.envs.families.drift_tracking import STEP
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


def act(way: tuple[float, float] = (0.0, 0.0), *, wide: bool = False, stop: bool = False, fast: bool = False, exposure: float = 1.0) -> np.ndarray:
    """Return an action: a way, A, what is chosen, and the electrons in units of the usual ones."""
    chosen = [1.0 if one else -1.0 for one in (wide, stop, fast)]
    return np.array([way[0] / STEP, way[1] / STEP, *chosen, math.log(exposure) / math.log(MOST_DOSE)], np.float32)


def brightest(image: np.ndarray, field: float) -> np.ndarray:
    """Return the place (x, y) of the brightest blob from the middle of a frame, A."""
    pitch = field / SHAPE[0]
    smooth = ndimage.gaussian_filter(image.astype(float), 2.0 / pitch)
    iy, ix = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return (np.array([ix, iy]) - (SHAPE[0] - 1) / 2) * pitch


@pytest.mark.parametrize("wide", [False, True])
def test_frames_show_the_cluster_where_the_truth_says(wide: bool) -> None:
    """The brightest blob of a frame lies within 3 A of the true middle of the cluster, narrow or wide, at any rotation, after any shift."""
    env, field = make(), WIDE_FIELD if wide else FIELD
    for seed in range(3):
        env.reset(seed=seed)
        observation, *_ = env.step(act((3.0, -2.0), wide=wide))
        truth = hidden_truth(env)
        assert np.linalg.norm(brightest(observation["image"], field) - (truth["x_angstrom"], truth["y_angstrom"])) < 3.0
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


def drawn(seed: int, split: str = "train"):
    """Return a drawn cluster."""
    return draw_cluster(np.random.default_rng(seed), split)


def test_an_endless_scene_has_one_cluster() -> None:
    """Away from the cluster a scene is the perfect lattice, near or 400 A off, also at the seams of its box; near it, it is far brighter."""
    shown = scene("mos2-1h", drawn(0), 0.0, hopped=False)
    box, rng = np.array(shown.extent[::-1]), np.random.default_rng(0)
    points = rng.uniform(-1.5, 2.5, (4000, 2)) * box
    distance = np.linalg.norm(points - shown.feature, axis=1)
    there, far = shown.at(points), shown.at(points + 18 * box)
    assert np.abs(there - far)[distance > 12].max() < 0.01 * there.mean()
    assert np.abs(there - far)[distance < 3].max() > 2 * there.mean()


@pytest.mark.slow
@pytest.mark.parametrize(("sample", "limit"), [("graphene", 0.06), ("mos2-1h", 0.01)])
@pytest.mark.parametrize("tilt_mrad", [0.0, 60.0])
def test_scenes_are_those_of_whole_clusters(sample: str, limit: float, tilt_mrad: float) -> None:
    """The changes by single atoms add up to the image of the sheet with all of them, within a share of its largest value."""
    cluster = drawn(1)
    beam = drift_instrument._beam(sample)
    whole = drift_scenes.box_image(drift_scenes.with_atoms(sample, drift_scenes.cluster_atoms(sample, cluster, hopped=True)), beam, tilt_mrad)
    height, width = drift_scenes.BOXES[sample]
    n = drift_scenes.POINTS
    grid = np.stack(np.meshgrid(np.arange(n) * width / n, np.arange(n) * height / n), axis=-1)
    found = scene(sample, cluster, tilt_mrad, hopped=True).at(grid)
    assert np.abs(found - whole).max() < limit * whole.max()


def test_clusters_of_a_split_are_its_own() -> None:
    """Splits share no shape, however it is turned; a cluster is connected, and its single atom hops to a neighbour beside it."""
    shapes = {split: [drawn(seed, split) for seed in range(12)] for split in ("train", "val", "test")}
    for number, clusters in enumerate(shapes.values()):
        assert {split_of(one.sites) for one in clusters} == {number}
        assert len({one.sites for one in clusters}) > 6
        for one in clusters:
            assert split_of([(-b, a + b) for a, b in one.sites]) == split_of([(b, a) for a, b in one.sites]) == number
            a, b = np.subtract(one.hopped, one.single)
            assert a * a + a * b + b * b == 1
            assert not {one.single, one.hopped} & set(one.sites)


def test_the_dose_binds() -> None:
    """The largest electrons spend the dose in a quarter of the watch, the smallest last; a wide frame costs its share of the area."""
    counts, doses = {}, {}
    for exposure in (1 / MOST_DOSE, MOST_DOSE):
        env = make()
        env.reset(seed=1)
        over, steps = False, 0
        while not over:
            observation, _, done, cut, _ = env.step(act(exposure=exposure))
            steps, over = steps + 1, done or cut
            assert observation["electrons"][0] == pytest.approx(exposure * state_of(env).conditions.electrons_per_point, rel=1e-5)
        counts[exposure] = steps
    assert counts[MOST_DOSE] == 3  # 1 + 4 * 3 frames of the 12 that the dose allows
    assert counts[1 / MOST_DOSE] == 17
    env = make()
    for wide in (False, True):
        before = float(env.reset(seed=1)[0]["dose"][0])
        doses[wide] = float(env.step(act(wide=wide))[0]["dose"][0]) - before
    assert doses[True] / doses[False] == pytest.approx((FIELD / WIDE_FIELD) ** 2, rel=1e-4)


@pytest.mark.parametrize("form", ["pixels", "state"])
def test_tilt_electrons_and_dose_are_seen_in_every_form(form: str) -> None:
    """Another tilt, other electrons and the spent dose stand in the numbers beside the pictures."""
    env = make(observation=form)
    env.reset(seed=2)
    family, state = env.task, state_of(env)
    tilted = dataclasses.replace(state, events=dataclasses.replace(state.events, tilts_mrad=(-60.0,)))
    env.step(act(exposure=2.0))
    flat = [family.observe(one) for one in (state, tilted, state_of(env))]
    before, turned, after = ((one["scalars"] if form == "pixels" else one)[-13:] for one in flat)
    np.testing.assert_allclose(turned - before, [0] * 12 + [-0.6], atol=1e-6)
    assert after[3] - before[3] == pytest.approx(math.log(2) / math.log(1e5), rel=1e-3)
    assert before[9] - after[9] == pytest.approx(2 / 12, rel=1e-3)


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


def event_worth(alarms: int, *, wide: bool = False, way: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    """Return the worth of a detection after so many false alarms, by narrow or wide frames, with a shift before them, and the number of alarms."""
    env = make(difficulty="event", randomisation={"samples": "mos2-1h", "drift": (0.0, 0.0)})
    env.reset(seed=4, options={"offset_angstrom": (0.0, 0.0)})
    env.step(act(way))
    for number in range(10):
        hopped = hidden_truth(env)["hopped"] > 0
        env.step(act(fast=number < alarms or (hopped and state_of(env).detected_s == math.inf), wide=wide, exposure=0.5))
    assert hidden_truth(env)["hopped"]
    return hidden_truth(env)["detection"], hidden_truth(env)["false_alarms"]


def test_a_detected_event_is_worth_its_delay_and_false_alarms_halve_it() -> None:
    """A fast frame after the event is worth nearly 1, each one before it halves that; wide ones and those without the atom are worth nothing."""
    worth = [event_worth(alarms) for alarms in (0, 1, 2)]
    assert [alarms for _, alarms in worth] == [0, 1, 2]
    assert worth[0][0] > 0.6
    assert worth[1][0] == pytest.approx(worth[0][0] / 2, rel=0.3)
    assert worth[2][0] < worth[1][0]
    assert event_worth(0, wide=True)[0] == 0
    assert event_worth(0, way=(15.0, 0.0))[0] == 0


def test_events_come_in_the_middle_of_any_watch() -> None:
    """No jump and no event comes in the first seconds or after the end, in the shortest watch too, and longer watches have as many jumps a minute."""
    for watch in (LEAST_WATCH_S, 120.0):
        for seed in range(20):
            coming = draw_events(PRESETS["event"], np.random.default_rng(seed), watch)
            assert max(JUMP_REST_S, EVENT_SHARES[0] * watch) <= coming.event_s <= EVENT_SHARES[1] * watch
            assert len(draw_events(PRESETS["hard"], np.random.default_rng(seed), watch).jump_times_s) == round(4 * watch / 120)
    env = make(watch_s=LEAST_WATCH_S)
    seen, _ = env.reset(seed=1)
    over, steps = False, 0
    while seen["budget"][2] > 0:
        seen, _, done, cut, _ = env.step(act(exposure=0.9))
        over, steps = done or cut, steps + 1
    assert (over, steps) == (False, 12)


def test_presets_differ_by_physics_alone() -> None:
    """Drift and walk grow from easy to hard, and the electrons that the specimen stands become fewer."""
    easy, standard, hard = (PRESETS[name] for name in ("easy", "standard", "hard"))
    for slow, quick in ((easy, standard), (standard, hard)):
        assert slow.speed_angstrom_per_s < quick.speed_angstrom_per_s
        assert slow.walk_angstrom < quick.walk_angstrom
        assert slow.randomisation.electrons_per_point[0] > quick.randomisation.electrons_per_point[1]


def test_jumps_happen_once() -> None:
    """However the time is cut, all jumps add up to the same way."""
    coming = draw_events(PRESETS["hard"], np.random.default_rng(1))
    parts = sum(coming.jumped(since, since + 1.0) for since in np.arange(0.0, 120.0))
    np.testing.assert_allclose(parts, coming.jumped(0.0, 120.0))


def test_what_cannot_be_is_refused() -> None:
    """Specimens without a scene, frames that are too long, starts too far away and too short watches are refused with a sentence."""
    for settings, told in (
        ({"randomisation": {"samples": "au-001"}}, "'au-001' is not a sheet of DriftTracking"),
        ({"randomisation": {"electrons_per_point": (1e4, 1e4)}}, "Give at most"),
        ({"watch_s": 1.0}, "watch_s"),
    ):
        with pytest.raises(SettingsError, match=told):
            make(**settings)
    with pytest.raises(SettingsError, match="from the centre"):
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
