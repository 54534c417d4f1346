"""Autofocus-v2: frames of the microscope, budgets that bind, a declared end, options, forms of observation."""

import itertools
import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.twin.envs import pictures
from stemtwin.twin.envs.families.autofocus import Autofocus, Focusing
from stemtwin.twin.envs.focus_features import features, square_roots
from stemtwin.twin.envs.focus_instrument import FIELD_ANGSTROM, PRESETS, SHAPE
from stemtwin.twin.envs.functional_env import start
from stemtwin.twin.envs.preparation import specimen
from stemtwin.twin.errors import SettingsError, StemtwinError
from stemtwin.twin.instrument.scope import acquisition
from stemtwin.twin.instrument.simulation import memory, operator_cache

ID = "stemtwin/Autofocus-v2"
SMALL: dict[str, Any] = {"difficulty": "easy", "phonons": 1}
FAULTS = {"samples": ("mos2-1h",), "residual": (0.7, 1.3), "drift": (1.0, 3.0), "knob_gain": (0.9, 1.1), "failing": 0.3}
ALL: dict[str, Any] = {"difficulty": "standard", "phonons": 1, "randomisation": FAULTS}


def begun(task: Autofocus, seed: int = 0, **options: Any) -> Focusing:
    """Return the first state of an episode."""
    return start(task, np.random.Generator(np.random.Philox(seed)), options)[0]


def after(task: Autofocus, state: Focusing, *action: float) -> Focusing:
    """Return the state after an action."""
    return task.transition(state, np.array(action, np.float32), np.random.default_rng(0))


@pytest.mark.parametrize("settings", [SMALL, {**SMALL, "randomisation": {"rotation_rad": (0, 0)}}, ALL], ids=["easy", "upright", "faults"])
def test_frames_are_those_of_the_microscope(settings: dict[str, Any]) -> None:
    """A frame of the environment has the bits of acquire() for the same setup and state, and the clock goes on alike."""
    task = Autofocus(**settings)
    state = begun(task, 3)
    for action in ((0.3, -0.2, 0.1, -1), (-0.6, 0.4, 0.5, -1)):
        turned = task._turned(state, np.array(action))
        scope, setup = turned.session.scope, turned.session.setup
        asked = acquisition.order(setup, scope, turned.scan, dwell_time_us=turned.dwell_time_us)
        frame, gone = acquisition.acquire(setup, scope, asked)
        state = after(task, state, *action)
        np.testing.assert_array_equal(frame["haadf"].to_numpy(), state.images[0])
        assert (gone.time_s, gone.beam_s, gone.frames) == (state.session.scope.time_s, state.session.scope.beam_s, state.session.scope.frames)
        assert state.dose - turned.dose == pytest.approx(asked.cost["dose_e_per_angstrom2"], rel=1e-12)


def test_no_step_builds_an_operator() -> None:
    """Whatever is drawn and wherever the knobs go, the operators of make() serve: the widest probe fits its window."""
    task = Autofocus(**ALL)
    begun(task)
    held = len(operator_cache.CACHE)
    for seed, sign in itertools.product(range(3), (-1, 1)):
        state = begun(task, seed)
        for _ in range(3):
            state = after(task, state, sign, sign, sign, -1)
        beam = state.session.setup.beam(state.session.scope, state.session.clock_s)
        assert state.session.setup.window_angstrom >= 10 + 2 * beam.probe_radius(specimen("mos2-1h").thickness_angstrom)
    assert len(operator_cache.CACHE) == held


@pytest.mark.parametrize("cause", ["memory", "probe"])
def test_what_no_operator_images_ends_at_make(cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A specimen that takes another engine or too wide a probe is refused with the arguments of make that help; the cause stands behind."""
    drawn: dict[str, Any] = {"samples": "mos2-1h", "profiles": "corrected-200kv", "residual": (0.0, 0.9)}
    if cause == "memory":
        answers = itertools.cycle([False, True])  # plane waves do not fit, single probes do
        monkeypatch.setattr(memory, "fits", lambda _: next(answers))
    else:
        drawn |= {"profiles": "schottky-200kv", "residual": (0.0, 50.0)}
    with pytest.raises(SettingsError, match=rf"samples='mos2-1h' in profiles='{drawn['profiles']}' .* Draw another sample") as caught:
        gym.make(ID, **{**SMALL, "randomisation": drawn})
    assert isinstance(caught.value.__cause__, StemtwinError)


def test_either_budget_ends_an_episode() -> None:
    """At few electrons the frames are spent first, at many the dose; both shares are told, and the end is a truncation."""
    ends = {}
    for many in (800.0, 2000.0):
        task = Autofocus(**SMALL, randomisation={"electrons_per_point": (many, many)})
        state = begun(task)
        while not task.truncated(state):
            state = after(task, state, 0, 0, 0, -1)
        assert not task.terminated(state)
        frames, dose = task.observe(state)["budget"]
        ends[many] = "frames" if frames == 0 else "dose"
        assert dose >= 0
    assert ends == {800.0: "frames", 2000.0: "dose"}


def test_the_stop_takes_no_frame_and_pays_inside_the_goal_alone() -> None:
    """A declared end turns the knobs first and costs no dose; it is worth 1 below 20 A of both aberrations and 0 beyond."""
    task = Autofocus(**SMALL)
    state = begun(task, start_angstrom=(60.0, 15.0, 0.0))
    assert state.true == pytest.approx([60, 15, 0], abs=1e-6)
    inside, outside = after(task, state, -0.5, 0, 0, 0.6), after(task, state, -0.3, 0, 0, 0.6)
    for found in (inside, outside):
        assert task.terminated(found)
        assert (found.dose, found.frames) == (state.dose, state.frames)
        assert found.images[0] is state.images[0]
    assert (task.achievement(inside), task.achievement(outside)) == (1.0, 0.0)
    assert task.success(inside)
    assert not task.success(outside)
    assert not task.terminated(after(task, state, 0, 0, 0, 0.5))


def test_drawn_gains_and_failures_are_felt() -> None:
    """A knob really moves by its gain; a command that fails leaves the read-back where it was."""
    task = Autofocus(**ALL)
    failed = 0
    for seed in range(12):
        state = begun(task, seed)
        next_one = after(task, state, 0.5, 0, 0, -1)
        moved, told = next_one.true[0] - state.true[0], next_one.knobs[0]
        assert told in (0, 50)
        failed += told == 0
        assert moved == pytest.approx(told * state.conditions.knob_gain[0], abs=3)  # the lens strays meanwhile
    assert 0 < failed < 12


def test_episodes_computed_together_are_those_alone() -> None:
    """transitions() of several episodes gives the bits of one transition() after another, faults and stops included."""
    task = Autofocus(**ALL)
    states, rng = [begun(task, seed) for seed in range(5)], np.random.default_rng(1)
    for _ in range(2):
        actions = list(rng.uniform(-1, 0.4, (5, 4)).astype(np.float32))
        actions[2][3] = 1.0
        generators = [np.random.default_rng(0)] * 5
        together = task.transitions(states, actions, generators)
        for one, state, action in zip(together, states, actions, strict=True):
            alone = task.transition(state, action, generators[0])
            np.testing.assert_array_equal(one.images[0], alone.images[0])
            np.testing.assert_array_equal(one.true, alone.true)
            assert (one.dose, one.frames, one.stopped) == (alone.dose, alone.frames, alone.stopped)
        states = [state if one.stopped else one for state, one in zip(states, together, strict=True)]


def test_options_of_reset() -> None:
    """A start is taken as it is given, a scale multiplies the drawn one, and both leave everything else as it was drawn."""
    task = Autofocus(**SMALL)
    usual, half, given = begun(task, 5), begun(task, 5, scale=0.5), begun(task, 5, start_angstrom=(-30, 10, -20))
    assert half.true == pytest.approx(usual.true / 2, abs=1e-9)
    assert given.true == pytest.approx([-30, 10, -20], abs=1e-9)
    assert usual.conditions == half.conditions == given.conditions
    assert usual.scan == given.scan


@pytest.mark.parametrize(
    "options",
    [{"scale": 1.5}, {"scale": "half"}, {"start_angstrom": 30}, {"start_angstrom": (1, 2)}, {"start_angstrom": (101, 0, 0)},
     {"start_angstrom": (0, 40, 40)}, {"start_angstrom": (np.nan, 0, 0)}, {"start_angstrom": (30, 0, 0), "scale": 0.5}],
)  # fmt: skip
def test_wrong_options_are_refused_and_leave_no_trace(options: dict[str, Any]) -> None:
    """Options beyond their range end in a sentence, and the episode goes on as if they had never been given."""
    env, other = gym.make(ID, **SMALL).unwrapped, gym.make(ID, **SMALL).unwrapped
    for one in (env, other):
        one.reset(seed=2)
    with pytest.raises(SettingsError, match=r"scale|start_angstrom"):
        env.reset(options=options)
    np.testing.assert_array_equal(env.reset()[0]["image"], other.reset()[0]["image"])


@pytest.mark.parametrize("form", ["pixels", "state"])
def test_other_forms_of_the_observation(form: str) -> None:
    """Pictures of uint8 with scalars, and flat features, stay in their spaces and vary with the frames and knobs."""
    env = gym.make(ID, **SMALL, observation=form)
    seen = []
    for seed in range(4):
        seen.append(env.reset(seed=seed)[0])
        seen += [env.step(np.array([0.4 * (-1) ** seed, 0.3, -0.2, -1], np.float32))[0] for _ in range(4)]
    assert all(env.observation_space.contains(one) for one in seen)
    flat = np.array([one if form == "state" else one["scalars"] for one in seen])
    assert (np.ptp(flat, axis=0) > 0).all()
    if form == "pixels":
        pictures = np.array([one["image"] for one in seen])
        assert (np.ptp(pictures, axis=0) > 0).mean() > 0.95
        np.testing.assert_array_equal(pictures[2, 0], pictures[3, 1])


def test_features_tell_the_sharp_frame() -> None:
    """The power of the lattice over noise is larger in focus, in picture and features alike; noise alone has none."""
    task = Autofocus(**SMALL)
    sharp, blurred = begun(task, start_angstrom=(0, 0, 0)), begun(task, start_angstrom=(100, 0, 0))
    assert features(sharp.images[0]).sum() > 1.5 * features(blurred.images[0]).sum()
    assert features(np.random.default_rng(0).poisson(2.0, SHAPE).astype(np.uint16)).max() < 0.15
    assert square_roots(sharp.images[0]).std() > square_roots(blurred.images[0]).std()


def test_pictures_show_electrons_the_path_and_the_dose(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is told the frame in electrons, as acquire() states its gain and offset, where the knobs were, and the dose."""
    task, told = Autofocus(**ALL), {}
    monkeypatch.setattr(pictures, "focus_picture", lambda shown, _, **about: told.update(shown, **about))
    first = begun(task, 4)
    state = after(task, after(task, first, 0.5, 0, 0, -1), 0, -0.4, 0, 0.9)
    task.picture(state)
    asked = acquisition.order(first.session.setup, first.session.scope, first.scan, dwell_time_us=first.dwell_time_us)
    frame, _ = acquisition.acquire(first.session.setup, first.session.scope, asked)
    about = frame["haadf"].attrs
    assert about["offset_adu"] == 1000
    np.testing.assert_allclose(told["image"], (state.images[0] - 1000.0) / about["gain_adu"])
    assert told["image"].mean() < 0.2 * state.conditions.electrons_per_point
    assert len(told["path"]) == state.moves == 2
    np.testing.assert_array_equal(told["path"][0], np.zeros(3))
    assert (told["dose"], told["note"]) == (state.dose, "end declared")


def test_an_hour_is_paid_by_its_minutes() -> None:
    """Of the preset drift a minute passes before each frame, and the achievement is the mean Strehl ratio of 60 minutes, 0 after an early end."""
    task = Autofocus(difficulty="drift", phonons=1)
    state = replace(begun_without_frame(task), strehl=1.0, kept=30.0, frames=31)
    assert task.achievement(state) == 0.5
    assert task.achievement(replace(state, kept=61.0)) == 1.0
    turned = task._turned(state, np.array([0, 0, 0, -1.0]))
    assert turned.session.clock_s - state.session.clock_s == 60
    assert PRESETS["drift"].frames > 61


def begun_without_frame(task: Autofocus) -> Focusing:
    """Return the state before the first frame, for which no operator is needed."""
    found: list[Focusing] = []

    class Caught(Autofocus):
        __slots__ = ()

        def _photographed(self, states: Any) -> Any:
            found.extend(states)
            return states

    begun(Caught(difficulty=task.difficulty, phonons=task.phonons))
    return found[0]


def test_the_dose_suffices_for_two_frames() -> None:
    """A dose at one point that would spend the budget in the first frames is refused, with the largest that is not."""
    with pytest.raises(SettingsError, match="Give at most 7812"):
        Autofocus(**SMALL, randomisation={"electrons_per_point": (100.0, 8000.0)})
    Autofocus(**SMALL, randomisation={"electrons_per_point": (100.0, 7812.0)})
    for preset in PRESETS.values():
        frame = preset.randomisation.electrons_per_point[1] * math.prod(SHAPE) / FIELD_ANGSTROM**2
        assert (preset.frames - 2 if preset.wait_s else 6) * frame <= preset.dose_budget_e_per_angstrom2
