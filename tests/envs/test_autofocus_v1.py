"""stemtwin/Autofocus-v1: the task itself."""

import json
import math
import time
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs import focus_limits, pictures
from stemtwin.twin.envs.families import autofocus_v1 as autofocus
from stemtwin.twin.envs.families.autofocus_v1 import AutofocusV1, Focus
from stemtwin.twin.errors import SettingsError, StemtwinError, UnknownNameError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scope import acquisition, knobs
from stemtwin.twin.instrument.scope.recorders import ImageRecorder
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics.aberrations import Aberrations

TASK = AutofocusV1(semiangle_mrad=10.0, phonons=1, max_frames=6)
ID = "stemtwin/Autofocus-v1"


def generator(seed: int) -> np.random.Generator:
    """Return a random generator."""
    return np.random.Generator(np.random.Philox(seed))


def state_at(c10: float, c12a: float, c12b: float, **others: Any) -> Focus:
    """Return a state with given true aberrations."""
    usual = {"knobs": np.zeros(3), "origin": (0.0, 0.0), "image": np.zeros((128, 128), np.uint16)}
    counted = {"frames": 1, "moves": 0, "in_focus": 0, "dose": TASK.dose_per_frame}
    return Focus(start=np.array([c10, c12a, c12b]), **{**usual, **counted, **others})


def test_episodes_start_where_the_task_says() -> None:
    """|C10| is uniform in 20 to 150 A with either sign, |C12| uniform in 0 to 100 A at any azimuth; knobs read 0; one frame is taken."""
    starts = [TASK.initial(generator(seed)) for seed in range(250)]
    c10 = np.array([s.true[0] for s in starts])
    c12 = np.array([math.hypot(*s.true[1:]) for s in starts])
    angle = np.array([math.atan2(s.true[2], s.true[1]) for s in starts])
    assert 20 <= np.abs(c10).min() < 25
    assert 145 < np.abs(c10).max() <= 150
    assert 0.4 < (c10 > 0).mean() < 0.6
    assert np.abs(c10).mean() == pytest.approx(85, abs=8)
    assert c12.max() <= 100
    assert c12.mean() == pytest.approx(50, abs=6)
    assert abs(np.exp(1j * angle).mean()) < 0.15
    assert all((s.frames, s.moves, s.in_focus) == (1, 0, 0) and not s.knobs.any() for s in starts)


def test_descriptions_have_the_numbers_of_the_task() -> None:
    """The environment's docstring and the card of the benchmark name the limits that the code uses."""
    said = " ".join((AutofocusV1.__doc__ or "").split())
    steps, reach = (", ".join(f"{value:g}" for value in limits) for limits in (focus_limits.STEP, focus_limits.REACH))
    (c10_low, c10_high), (c12_low, c12_high) = focus_limits.START_C10, focus_limits.START_C12
    assert f"by at most {steps} A. Knobs stop {reach} A from" in said
    assert f"abs(C10) is uniform in {c10_low:g} to {c10_high:g} A" in said
    assert f"abs(C12) is uniform in {c12_low:g} to {c12_high:g} A" in said
    assert f"below {focus_limits.GOAL:g} A for two frames in a row. It is truncated after {focus_limits.FRAMES} frames" in said
    card = find_task("autofocus").card()
    assert "unknown defocus (20 to 150 A, either sign)" in card["text"]
    assert "fractions of 100, 50 and 50 A" in json.dumps(card)
    assert "|C10| < 20 A and |C12| < 20 A" in json.dumps(card)


def test_an_action_turns_the_knobs_by_its_share_of_the_largest_step() -> None:
    """Actions are increments of at most 100, 50, 50 A, and knobs stop 200, 120, 120 A from the start."""
    state = state_at(80, 30, -20)
    turned = TASK.transition(state, np.array([-0.5, 1, 0.2]), generator(0))
    np.testing.assert_allclose(turned.knobs, [-50, 50, 10])
    np.testing.assert_allclose(turned.true, [30, 80, -10])
    for _ in range(5):
        turned = TASK.transition(turned, np.array([1, 1, -1]), generator(0))
    np.testing.assert_allclose(turned.knobs, [200, 120, -120])
    assert TASK.observation_space["knobs"].contains(TASK.observe(turned)["knobs"])


def test_transitions_are_pure() -> None:
    """The same state, action and random stream give the same next state; the first state is untouched."""
    state = TASK.initial(generator(1))
    before = (state.knobs.copy(), state.image.copy(), state.frames)
    one, other = (TASK.transition(state, np.array([0.1, 0.2, 0.3]), generator(2)) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.knobs, other.knobs)
    assert np.array_equal(state.image, before[1])
    assert np.array_equal(state.knobs, before[0])


def test_noise_is_fresh_at_every_frame() -> None:
    """Two frames of the same place and focus differ by twice the Poisson variance."""
    rng = generator(3)
    state = state_at(0, 0, 0)
    one, other = (TASK.transition(state, np.zeros(3), rng).image.astype(float) for _ in range(2))
    assert (one - other).var() == pytest.approx(one.mean() + other.mean(), rel=0.05)


def test_frames_are_what_the_instrument_would_count() -> None:
    """The noiseless frame is `simulate` with the profile's residual aberrations plus the true state, in electrons after counting."""
    base, _ = autofocus._prepared(TASK)
    true, origin = np.array([40.0, -20.0, 10.0]), (3.0, 5.0)
    state = optics.add(PROFILES["corrected-200kv"].residual, Aberrations.from_cartesian(C10=40, C12a=-20, C12b=10))
    asked = replace(base, engine="auto", beam=replace(base.beam, aberrations=state), scan=replace(base.scan, origin_angstrom=origin))
    expected = simulate.simulate(asked).haadf.to_numpy()
    np.testing.assert_allclose(TASK.expected_image(true, origin), expected, rtol=0.02, atol=1e-5)
    counts = [TASK.transition(state_at(*true, origin=origin), np.zeros(3), generator(i)).image for i in range(60)]
    assert np.mean(counts) == pytest.approx(expected.mean() * TASK.incident, rel=0.01)
    assert TASK.incident == pytest.approx(50e-12 * 4e-6 / 1.602176634e-19)


def test_focus_shows_in_the_image() -> None:
    """The contrast of the expected frame is highest in focus, and falls with defocus of either sign and with astigmatism."""
    task = AutofocusV1(phonons=1)

    def contrast(*true: float) -> float:
        image = task.expected_image(np.array(true), (0.0, 0.0))
        return float(image.std() / image.mean())

    focused = contrast(0, 0, 0)
    for true in ((60, 0, 0), (-60, 0, 0), (0, 70, 0), (0, 0, -70)):
        assert contrast(*true) < 0.75 * focused


def test_the_goal_is_two_frames_in_focus_in_a_row() -> None:
    """Both |C10| and |C12| below 20 A, twice; a frame out of focus starts the count again."""
    still = np.zeros(3)
    state = TASK.transition(state_at(19, 12, -12), still, generator(0))
    assert not TASK.terminated(state)
    assert TASK.terminated(TASK.transition(state, still, generator(0)))
    away = TASK.transition(state, np.array([0.5, 0, 0]), generator(0))
    back = TASK.transition(away, np.array([-0.5, 0, 0]), generator(0))
    assert (away.in_focus, back.in_focus) == (0, 1)
    for true in ((20.1, 0, 0), (0, 15, 15)):
        assert TASK.transition(state_at(*true), still, generator(0)).in_focus == 0


def test_who_knows_the_truth_succeeds(small: Any) -> None:
    """Cancelling the true state ends the episode by success, with a reward near 1, in no more than six frames."""
    env = small(ID)
    for seed in range(5):
        env.reset(seed=seed)
        ended = (False, False)
        while not any(ended):
            truth = env.unwrapped.truth()
            state = np.array([truth["C10_angstrom"], truth["C12a_angstrom"], truth["C12b_angstrom"]])
            _, reward, *ended, _ = env.step(np.clip(-state / autofocus.STEP, -1, 1).astype(np.float32))
        assert ended == [True, False]
        assert reward == pytest.approx(1, abs=1e-3)


def test_episodes_end_with_the_frames_or_the_dose() -> None:
    """Truncated after max_frames frames, the first among them, or when the next frame would exceed the dose budget; shares are left until then."""
    far = state_at(100, 0, 0)
    for task, frames in ((TASK, 6), (replace(TASK, dose_budget_e_per_angstrom2=3.5 * TASK.dose_per_frame), 3)):
        state = far
        while not task.truncated(state):
            assert state.frames < frames
            state = task.transition(state, np.zeros(3), generator(0))
        assert state.frames == frames
        assert (task.observe(state)["budget"] >= 0).all()
    assert TASK.observe(far)["budget"][0] == pytest.approx(5 / 6)


def test_cost_is_dose_time_and_moves() -> None:
    """Dose = current x time / (e x area) for every frame taken, beam time = points x dwell."""
    state = TASK.initial(generator(0))
    for _ in range(2):
        state = TASK.transition(state, np.zeros(3), generator(0))
    cost = TASK.cost(state)
    time_s = 3 * 128 * 128 * 4e-6
    assert cost["beam_s"] == pytest.approx(time_s)
    assert cost["dose_e_per_angstrom2"] == pytest.approx(50e-12 * time_s / 1.602176634e-19 / 16.0**2)
    assert cost["moves"] == 2


def test_counts_of_uint16_never_saturate() -> None:
    """Where a whole beam would overflow 65535 counts the settings are refused; the largest allowed ones stay below, even for a signal of 1."""
    with pytest.raises(SettingsError, match=r"62415 electrons at each point, but a uint16 frame holds at most 60000"):
        AutofocusV1(current_pa=1000, dwell_time_us=10)
    largest = AutofocusV1(current_pa=1000, dwell_time_us=9.6, dose_budget_e_per_angstrom2=1e9)
    counts = generator(0).poisson(largest.incident, 10**6)
    assert counts.max() < 65535


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"semiangle_mrad": 0}, "semiangle_mrad=0"),
        ({"current_pa": 5000}, "current_pa=5000"),
        ({"dwell_time_us": -1}, "dwell_time_us=-1"),
        ({"field_of_view_angstrom": 1}, "field_of_view_angstrom=1"),
        ({"max_frames": 1}, "max_frames=1"),
        ({"dose_budget_e_per_angstrom2": 1e3}, "at least two frames of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict, said: str) -> None:
    """Each has its own sentence."""
    with pytest.raises(SettingsError, match=said):
        AutofocusV1(**wrong)
    with pytest.raises(UnknownNameError, match="instrument profile"):
        AutofocusV1(instrument="best")


def test_unknown_samples_are_refused_when_the_environment_is_made() -> None:
    """gym.make builds what the frames come from, so that a wrong sample or number of configurations is refused there."""
    wrongs: tuple[dict[str, Any], ...] = ({"sample": "mos2"}, {"phonons": 0})
    for wrong in wrongs:
        with pytest.raises(StemtwinError):
            gym.make(ID, **wrong)


@pytest.mark.parametrize("sample", ["graphene", "au-001"])
def test_other_samples(sample: str) -> None:
    """Any sample of the library can stand in: frames have counts and a lattice in them."""
    task = replace(TASK, sample=sample)
    signal = task.expected_image(np.zeros(3), (0.0, 0.0))
    assert signal.shape == (128, 128)
    assert signal.min() >= 0
    assert signal.std() > 0.01 * signal.mean()


def test_the_picture_shows_what_the_agent_sees() -> None:
    """The picture is made of the observation alone: knobs and budget move its gauges, the frame its image; a frame without counts is drawn too."""
    observation = TASK.observe(TASK.initial(generator(0)))

    def picture(**changes: Any) -> np.ndarray:
        return pictures.focus_picture({**observation, **changes}, autofocus.REACH, frame=1, field_of_view=16.0, dose=0)

    first = picture()
    assert np.array_equal(first, picture())
    for changes in (
        {"knobs": np.array([50, 0, 0], np.float32)},
        {"budget": np.array([0.1, 0.2], np.float32)},
        {"image": np.zeros((128, 128), np.uint16)},
    ):
        assert (picture(**changes) != first).any(axis=-1).sum() > 100


@pytest.mark.speed
def test_a_step_costs_a_few_milliseconds() -> None:
    """With its operator built, the environment makes 6000 steps a minute and more."""
    env = gym.make(ID)
    env.reset(seed=0)
    began = time.perf_counter()
    for _ in range(300):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    assert (time.perf_counter() - began) / 300 < 0.01


def test_the_task_is_a_restriction_of_the_microscope() -> None:
    """What it images is what the microscope has under its beam at the same settings, where nothing strays, with a ring of the usual angles."""
    task = replace(TASK, phonons=2)
    base, plan = autofocus._prepared(task)
    profile = replace(PROFILES[task.instrument].still(), detectors=())
    off = Aberrations.from_cartesian(C10=50.0, C12a=20.0, C12b=-10.0)
    setup = Setup(profile=profile, seed=5, specimen_seed=0, phonons=2, misalignment=off)
    turned = {"C10": -80.0, "semiangle_mrad": task.semiangle_mrad, "current_pa": task.current_pa}
    state = ScopeState(specimen=base.sample, knobs=knobs.turn(knobs.initial(profile), profile, turned))
    asked = acquisition.order(setup, state, replace(base.scan, origin_angstrom=(3.0, 7.0)), dwell_time_us=task.dwell_time_us)
    (recorder,) = asked.recorders
    assert isinstance(recorder, ImageRecorder)
    assert asked.electrons_per_point == task.incident
    assert asked.cost["dose_e_per_angstrom2"] == pytest.approx(task.dose_per_frame)
    signals, _, _ = simulate.expected(recorder.request, plan)
    image = task.expected_image(np.array([-30.0, 20.0, -10.0]), (3.0, 7.0))
    np.testing.assert_allclose(image, signals[0], rtol=1e-6, atol=1e-9)
    own, _, _ = simulate.expected(recorder.request, recorder.plan)  # with a window of its own
    np.testing.assert_allclose(image, own[0], rtol=2e-3, atol=1e-8)
