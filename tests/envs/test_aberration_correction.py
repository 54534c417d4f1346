"""stemtwin/AberrationCorrection: images of the film, commands with errors, measurements, budgets, and what is paid."""

import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.baselines.tuning import action
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs import tuning_film
from stemtwin.twin.envs.families import aberration_correction as family
from stemtwin.twin.envs.families.aberration_correction import AberrationCorrection, Tuning
from stemtwin.twin.envs.functional_env import StemEnv, hidden_truth
from stemtwin.twin.envs.tuning_presets import IMAGE, MEASUREMENTS, PRESETS, RONCHIGRAM
from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics import electrons, zemlin
from stemtwin.twin.physics import phase_diversity as film
from stemtwin.twin.physics.aberrations import Aberrations

WAVELENGTH = electrons.wavelength(200e3)
GEOMETRY = tuning_film.film_optics(WAVELENGTH, 25e-3)
SLOW = pytest.mark.slow
each_preset = pytest.mark.parametrize("difficulty", list(PRESETS))


def make(difficulty: str = "standard", **settings: Any) -> StemEnv:
    """Return the environment without Gymnasium's wrappers."""
    env = gym.make("stemtwin/AberrationCorrection-v1", difficulty=difficulty, privileged_info=True, **settings).unwrapped
    assert isinstance(env, StemEnv)
    return env


def task_of(env: StemEnv) -> AberrationCorrection:
    """Return the family of an environment."""
    assert isinstance(env.task, AberrationCorrection)
    return env.task


def state_of(env: StemEnv) -> Tuning:
    """Return the state of an episode."""
    assert isinstance(env._state, Tuning)
    return env._state


def told(env: StemEnv, changes: dict[str, float] | None = None, measurement: str = IMAGE, *, stop: bool = False) -> np.ndarray:
    """Return the action that changes coefficients by so many A."""
    preset = task_of(env).preset
    return action(np.array([(changes or {}).get(name, 0.0) for name in preset.names]), preset.step, measurement, stop=stop)


# ---- images


@pytest.fixture(scope="module")
def clusters() -> np.ndarray:
    """Return a film."""
    return tuning_film.draw_film(GEOMETRY, 0.01, np.random.default_rng(1))


@pytest.mark.parametrize("aberrations", [Aberrations(), Aberrations(C10=150.0, C12=80.0), Aberrations(C21=9000.0, C30=3e4)])
def test_no_probe_changes_the_mean_of_an_image(clusters: np.ndarray, aberrations: Aberrations) -> None:
    """Every probe has the same number of electrons: the mean is that of carbon and clusters, focal spread and source or not."""
    expected = tuning_film.BACKGROUND + tuning_film.CLUSTER_ANGSTROM2 * clusters[0, 0].real / tuning_film.FIELD_ANGSTROM**2
    for spread, source in ((0.0, 0.0), (20.0, 0.4)):
        image = tuning_film.expected_fractions(GEOMETRY, clusters, aberrations, focal_spread=spread, source_size=source)
        assert image.mean() == pytest.approx(expected, rel=2e-3)


def test_a_focal_spread_is_a_mean_over_foci(clusters: np.ndarray) -> None:
    """The image with a spread is the weighted mean of images at the nodes' foci, and near that of many foci."""
    state, spread = Aberrations(C12=40.0), 18.0
    image = tuning_film.expected_fractions(GEOMETRY, clusters, state, focal_spread=spread)
    alone = [tuning_film.expected_fractions(GEOMETRY, clusters, replace(state, C10=node * spread)) for node, _ in tuning_film.FOCI]
    np.testing.assert_allclose(image, sum(weight * one for one, (_, weight) in zip(alone, tuning_film.FOCI, strict=True)), rtol=1e-9)
    nodes = np.linspace(-3, 3, 13)
    dense = [tuning_film.expected_fractions(GEOMETRY, clusters, replace(state, C10=float(node) * spread)) for node in nodes]
    mean = np.average(dense, axis=0, weights=np.exp(-(nodes**2) / 2))
    assert np.abs(image - mean).max() < 0.02 * np.ptp(image)


def test_images_shift_with_the_field(clusters: np.ndarray) -> None:
    """A field that has moved by whole points shows the film displaced by as many to the other side."""
    state, step = Aberrations(C10=30.0, C21=2000.0), tuning_film.SAMPLING_ANGSTROM
    still = tuning_film.expected_fractions(GEOMETRY, clusters, state)
    moved = tuning_film.expected_fractions(GEOMETRY, clusters, state, shift=(3 * step, -5 * step))
    np.testing.assert_allclose(moved, np.roll(still, (5, -3), axis=(0, 1)), atol=1e-9)


def test_a_transfer_of_one_focus_is_that_of_the_probe() -> None:
    """Foci add up with their shares; a focus is what is added to C10."""
    state = Aberrations(C10=50.0, C21=3000.0)
    both = film.transfer(GEOMETRY, state, [(10.0, 0.3), (-20.0, 0.7)])
    alone = [film.transfer(GEOMETRY, replace(state, C10=50.0 + focus)) for focus in (10.0, -20.0)]
    np.testing.assert_allclose(both, 0.3 * alone[0] + 0.7 * alone[1], atol=1e-12)


# ---- commands


@each_preset
def test_corrections_do_what_the_drawn_corrector_says(difficulty: str) -> None:
    """The true change is the response matrix times the commanded one, to within the hysteresis and what strays in a second."""
    env = make(difficulty, randomisation={"failing": 0.0})
    for seed in range(2):
        env.reset(seed=seed)
        before, corrector = hidden_truth(env), state_of(env).session.setup.profile.corrector
        name, size = ("C10", 200.0) if difficulty == "easy" else ("C21b", 4000.0)
        seen, *_ = env.step(told(env, {name: size}))
        change = np.array([hidden_truth(env)[f"{one}_angstrom"] - before[f"{one}_angstrom"] for one in task_of(env).preset.names])
        expected = size * corrector.matrix()[[zemlin.PLACE[one] for one in task_of(env).preset.names], zemlin.PLACE[name]]
        straying = np.array([10.0 if one[1] == "1" else 60.0 if one[1] == "2" else 400.0 for one in task_of(env).preset.names])
        limit = 5 * corrector.scatter * size * np.array([one[:3] == name[:3] for one in task_of(env).preset.names])
        assert (np.abs(change - expected) <= limit + (straying if difficulty != "easy" else 1e-3)).all()
        np.testing.assert_allclose(seen["knobs"], [size if one == name else 0.0 for one in task_of(env).preset.names], rtol=1e-5)


def test_a_failed_command_leaves_the_knobs() -> None:
    """A command that fails changes nothing but the clock, which goes on by the second that a correction takes."""
    env = make("easy", randomisation={"failing": 0.9})
    kept = 0
    for seed in range(8):
        _, info = env.reset(seed=seed)
        before = hidden_truth(env)["C10_angstrom"]
        seen, *_, after = env.step(told(env, {"C10": 100.0}))
        assert after["cost"]["time_s"] == pytest.approx(2 * info["cost"]["time_s"] + 1)
        moved = seen["knobs"][0] != 0
        assert (hidden_truth(env)["C10_angstrom"] != before) == moved
        kept += not moved
    assert kept >= 5


def test_small_changes_are_not_commanded_and_knobs_have_ends() -> None:
    """A change below a thousandth of the largest one takes no time; knobs stop at their reach."""
    env = make("easy")
    env.reset(seed=1)
    _, *_, first = env.step(np.array([-1, -1, 9e-4, 0, 0], np.float32))
    image_s = first["cost"]["time_s"] / 2
    *_, second = env.step(np.array([-1, -1, 1, 0, 0], np.float32))
    assert second["cost"]["time_s"] - first["cost"]["time_s"] == pytest.approx(image_s + 1)
    for _ in range(5):
        seen, *_ = env.step(np.array([-1, -1, 1, 0, 0], np.float32))
    assert seen["knobs"][0] == task_of(env).preset.reach[0]


def test_a_closed_valve_shows_a_dark_image() -> None:
    """No electron is counted, measurements fail, and the dose is booked as if the valve were open."""
    env = make("easy", randomisation={"closed_valve": 1.0})
    seen, info = env.reset(seed=1)
    assert seen["image"].max() == 0
    assert env.step(told(env, measurement=RONCHIGRAM))[0]["ronchigram"].max() == 0
    assert info["cost"]["dose_e_per_angstrom2"] > 0
    seen, *_ = env.step(told(env, measurement="C1A1"))
    assert seen["report"][-1] == 1


# ---- measurements and budgets


def test_a_ronchigram_takes_what_an_image_takes() -> None:
    """It has as many electrons, as long a time and as much dose as an image, which stays as it was; another one after nothing shows the same."""
    env = make("easy")
    first, start = env.reset(seed=4)
    seen, *_, info = env.step(told(env, measurement=RONCHIGRAM))
    for name in ("time_s", "dose_e_per_angstrom2", "beam_s"):
        assert info["cost"][name] == pytest.approx(2 * start["cost"][name])
    np.testing.assert_array_equal(seen["image"], first["image"])
    np.testing.assert_array_equal(seen["report"], [0, 1, 0, 0, 0, 0])
    incident = float(seen["electrons"][0]) * 128**2
    assert 0.99 < seen["ronchigram"].sum() / incident < 1.001
    again, *_ = env.step(told(env, measurement=RONCHIGRAM))
    noise = (again["ronchigram"].astype(float) - seen["ronchigram"]) / np.sqrt(np.maximum(2.0 * seen["ronchigram"], 1))
    assert noise[40:88, 40:88].std() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("tableau", ["emulated", "real"])
def test_a_measurement_finds_what_is_there(tableau: str) -> None:
    """C1A1 tells C10 and C12 within five stated standard deviations, at age 0; it takes its time and dose either way."""
    env = make("easy", tableau=tableau)
    env.reset(seed=3)
    true = hidden_truth(env)
    seen, *_, info = env.step(told(env, measurement="C1A1"))
    off = seen["estimates"] - [true[f"{name}_angstrom"] for name in task_of(env).preset.names]
    assert (np.abs(off) < 5 * seen["errors"]).all()
    np.testing.assert_array_equal(seen["ages"], 0)
    np.testing.assert_array_equal(seen["report"], [0, 0, 1, 0, 0, 0])
    other = make("easy")
    other.reset(seed=3)
    assert other.step(told(other, measurement="C1A1"))[-1]["cost"] == info["cost"]
    seen, *_ = env.step(told(env))
    assert (seen["ages"] > 0).all()


def test_what_is_out_of_reach_fails_and_estimates_stay() -> None:
    """A C1A1 that is 100 nm off gives no result, costs the same, and leaves the estimates of before."""
    env = make("easy")
    env.reset(seed=3)
    first, *_ = env.step(told(env, measurement="C1A1"))
    for _ in range(3):
        seen, *_ = env.step(told(env, {"C10": 500.0}, "C1A1"))
    assert seen["report"][-1] == 1
    assert np.abs(hidden_truth(env)["C10_angstrom"]) > 750
    assert seen["errors"].max() < 20
    assert not np.array_equal(first["ages"], seen["ages"])


@pytest.mark.parametrize(
    ("difficulty", "measurement"),
    [("easy", "Standard"), pytest.param("standard", "Fast", marks=SLOW), pytest.param("hard", "Fast", marks=SLOW)],
)
def test_no_budget_is_exceeded(difficulty: str, measurement: str) -> None:
    """Tableaus go on until time or dose do not allow one; what does not fit is reported as failed; actions end the episode."""
    env = make(difficulty)
    env.reset(seed=2)
    preset, over, refused = task_of(env).preset, False, False
    while not over:
        before = state_of(env)
        seen, _, terminated, over, info = env.step(told(env, measurement=measurement))
        assert not terminated
        if state_of(env).session.scope.measurements == before.session.scope.measurements:
            refused = True
            assert seen["report"][-1] == 1
    assert refused or seen["budget"].min() < 0.02, "the end came with nothing left to refuse"
    assert info["cost"]["time_s"] <= preset.time_s
    assert info["cost"]["dose_e_per_angstrom2"] <= preset.dose_e_per_angstrom2
    assert info["cost"]["moves"] <= preset.actions
    assert info["cost"]["moves"] == preset.actions or seen["budget"].min() < 0.02


@pytest.mark.slow
@each_preset
def test_presets_start_beyond_what_images_show_and_within_reach(difficulty: str) -> None:
    """At the start the phase error is several radians, the pi/4 angle far inside the aperture, and every knob reaches its zero."""
    env = make(difficulty)
    for seed in range(20):
        env.reset(seed=seed)
        found, corrector = hidden_truth(env), state_of(env).session.setup.profile.corrector
        assert found["phase_rad"] > 2
        assert found["flat_mrad"] < 12
        places = [zemlin.PLACE[name] for name in task_of(env).preset.names]
        true = np.array([found[f"{name}_angstrom"] for name in task_of(env).preset.names])
        needed = np.linalg.solve(corrector.matrix()[np.ix_(places, places)], -true)
        assert (np.abs(needed) < task_of(env).preset.reach).all()


# ---- what is paid


def test_hidden_errors_are_not_paid() -> None:
    """Two aberrations that hide each other along one direction of an image are worth less than none: the score is over the aperture."""
    env = make("standard")
    env.reset(seed=1, options={"scale": 0.0})
    state = state_of(env)
    pairs = [Aberrations(C10=100.0), Aberrations(C10=100.0, C12=-100.0), Aberrations(C10=100.0, C12=-100.0, C21=3000.0)]
    worth = [task_of(env).achievement(replace(state, session=_off(state, one))) for one in (Aberrations(), *pairs)]
    assert worth[0] > 0.5
    assert worth[0] > 3 * max(worth[1:])
    assert math.isclose(task_of(env).potential(state), 1 / (1 + hidden_truth(env)["phase_rad"]))


def _off(state: Tuning, aberrations: Aberrations) -> sessions.Session:
    return replace(state.session, scope=replace(state.session.scope, corrected=aberrations))


def test_only_a_declared_end_pays() -> None:
    """The stop pays 0.6 exp(-s^2) for the state that the last corrections leave; the same state undeclared pays its potential alone."""
    env = make("easy")
    env.reset(seed=1, options={"scale": 0.0})
    phase = hidden_truth(env)["phase_rad"]
    _, reward, terminated, _, info = env.step(told(env, stop=True))
    assert terminated
    assert info["is_success"] == (phase < family.SOLVED_RAD)
    assert reward == pytest.approx(0.6 * math.exp(-(phase**2)) - 0.1 / task_of(env).preset.actions, abs=5e-3)
    env.reset(seed=1, options={"scale": 0.0})
    _, reward, *_ = env.step(told(env))
    assert reward < 0.01


@pytest.mark.parametrize(
    ("settings", "message"), [({"tableau": "exact"}, "tableau='exact'"), ({"randomisation": {"blocked_stage": 0.1}}, "blocked_stage")]
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """Unknown kinds of tableaus and faults of the stage are named in the error."""
    with pytest.raises(UnknownNameError, match=message):
        make(**settings)


def test_a_wrong_scale_is_refused() -> None:
    """Scales are from 0 to 1."""
    with pytest.raises(SettingsError, match="scale"):
        make("easy").reset(options={"scale": 2.0})


def test_the_forms_hold_the_same_numbers() -> None:
    """Scalars of the form "pixels" stand at the end of "state"; both are those of "counts" in units of reach and budget."""
    seen = {}
    for form in ("counts", "pixels", "state"):
        env = make("standard", observation=form)
        env.reset(seed=5)
        seen[form], *_ = env.step(told(env, measurement="Fast"))
    counts, scalars, reach = seen["counts"], seen["pixels"]["scalars"], PRESETS["standard"].reach
    np.testing.assert_array_equal(seen["state"][-len(scalars) :], scalars)
    np.testing.assert_allclose(scalars[7:14], np.clip(counts["estimates"] / reach, -1, 1), rtol=1e-5)
    np.testing.assert_allclose(scalars[-4:-1], counts["budget"], rtol=1e-5)
    np.testing.assert_array_equal(scalars[28 : 28 + len(MEASUREMENTS) + 1], counts["report"])
