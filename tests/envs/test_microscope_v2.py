"""stemtwin/Microscope-v2: presets, flat actions, changes, forms of observation, and operators that are built by make alone."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.twin.envs import pictures
from stemtwin.twin.envs.control_panel import STEP
from stemtwin.twin.envs.families.microscope import MicroscopeTask
from stemtwin.twin.envs.flat_actions import FlatAction, flat_action
from stemtwin.twin.envs.preparation import PreparationLine
from stemtwin.twin.envs.rewards import REWARDS
from stemtwin.twin.envs.scope_family import COSTS, ScopeSession
from stemtwin.twin.envs.wrappers import FlatScalars
from stemtwin.twin.errors import SettingsError, StemtwinError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.simulation import operator_cache

ID = "stemtwin/Microscope-v2"
SMALL: dict[str, Any] = {
    "difficulty": "easy",
    "semiangles_mrad": (8.0, 10.0),
    "camera_lengths_mm": (115.0, 230.0),
    "phonons": 1,
    "shape": (36, 40),
    "max_steps": 6,
}


def task(**settings: Any) -> MicroscopeTask:
    """Return a small task whose operator is built."""
    found = MicroscopeTask(**{**SMALL, **settings})
    found.prepare(PreparationLine(ID))
    return found


def generator(seed: int) -> np.random.Generator:
    """Return a generator."""
    return np.random.Generator(np.random.Philox(seed))


def middle(of: MicroscopeTask, **beam: Any) -> dict[str, Any]:
    """Return the nested action whose numbers are 0, which takes a frame and waits no time."""
    vectors = flat_action(of.panel)
    action = vectors.nested(np.zeros(vectors.box.shape, np.float32))
    action["beam"] |= beam
    return action


@pytest.mark.parametrize("form", ["counts", "pixels", "state"])
@pytest.mark.parametrize("flat", [True, False])
def test_numbers_of_every_form_vary(form: str, flat: bool) -> None:
    """In all forms of observation and of action almost every number of the observation varies."""
    env = gym.make(ID, observation=form, flat=flat, incremental=flat, **SMALL)
    assert isinstance(env.action_space, gym.spaces.Box) is flat
    env.action_space.seed(1)
    seen = []
    for seed in range(4):
        seen.append(env.reset(seed=seed)[0])
        seen += [env.step(env.action_space.sample())[0] for _ in range(5)]
    if form == "state":
        values = np.array(seen)
        assert (np.ptp(values, axis=0) > 0).mean() > 0.95
    if form == "pixels":
        assert seen[0]["image"].shape == (2, 36, 40)
        assert seen[0]["image"].dtype == np.uint8
        assert (np.ptp([each["scalars"] for each in seen], axis=0) > 0).all()


def test_forms_show_one_state() -> None:
    """The forms are of one and the same episode: knobs of all of them agree, and the state does not depend on the form."""
    tasks = [task(observation=form) for form in ("counts", "pixels", "state")]
    states = [each.initial(generator(3)) for each in tasks]
    counts, pixels, state = (each.observe(now) for each, now in zip(tasks, states, strict=True))
    knobs = len(counts["knobs"])
    np.testing.assert_array_equal(pixels["scalars"][:knobs], counts["knobs"])
    np.testing.assert_array_equal(state[: len(pixels["scalars"]) - 2], pixels["scalars"][:-2])


def test_a_flat_action_is_the_nested_one() -> None:
    """A vector and its nested form lead to the same bits; every choice comes back from the middle of its bin."""
    nested, flat = task(), task(flat=True)
    vectors = flat_action(nested.panel)
    space, rng = flat.action_space, generator(0)
    space.seed(4)
    assert space == vectors.box
    for _ in range(3):
        vector = space.sample()
        action = vectors.nested(vector)
        assert nested.panel.action_space.contains(action)
        again = vectors.nested(vectors.flat(action))
        assert vectors.flat(again) == pytest.approx(vectors.flat(action))
        one, other = (each.observe(each.transition(each.initial(generator(1)), given, rng)) for each, given in ((nested, action), (flat, vector)))
        assert all(np.array_equal(one[name], other[name]) for name in one)
    names = [component.name for component in vectors.components]
    assert names == sorted(names)
    assert {component.choices for component in vectors.components if component.name in ("beam/aperture", "scan/acquire")} == {2}


def test_a_policy_around_zero_takes_frames_at_once() -> None:
    """Zeros, and numbers up to 0.4 about them, take a frame with the beam on and wait no time; larger ones blank it, take none, and wait."""
    flat = task(flat=True)
    begun, vectors = flat.initial(generator(3)), flat_action(flat.panel)
    places = {component.name: i for i, component in enumerate(vectors.components)}

    def moved(**numbers: float) -> ScopeSession:
        vector = np.zeros(vectors.box.shape, np.float32)
        for name, number in numbers.items():
            vector[places[name]] = number
        return flat.transition(begun, vector, generator(0))

    still = moved()
    assert still.fresh
    assert still.spent[1] > 0
    assert moved(wait=1.0).spent[0] - still.spent[0] == pytest.approx(60)
    assert moved(wait=-1.0).spent[0] == still.spent[0]
    for number in (-0.4, 0.4):
        near = moved(**{"beam/blanked": number, "scan/acquire": number})
        assert (near.fresh, near.spent[1]) == (True, still.spent[1])
    assert not moved(**{"scan/acquire": -0.6}).fresh
    assert moved(**{"beam/blanked": 0.6}).spent[1] == 0


def test_changes_move_knobs_by_their_steps() -> None:
    """With ``incremental`` a number 1 moves every knob, the field and the stage by a quarter of its half range, and 0 leaves all as it is."""
    changing = task(incremental=True)
    start = changing.initial(generator(2))
    still = middle(changing)
    rested = changing.transition(start, still, generator(0))
    before, after = changing.observe(start), changing.observe(rested)
    choices = [i for i, reading in enumerate(changing.panel.readings(start.session.scope.knobs)) if reading.name in ("aperture", "camera length")]
    kept = np.delete(np.arange(len(before["knobs"])), choices)
    np.testing.assert_allclose(after["knobs"][kept], before["knobs"][kept], atol=1e-6)
    np.testing.assert_allclose(after["scan"], before["scan"], atol=1e-6)
    np.testing.assert_allclose(after["stage"], before["stage"], atol=1e-3)
    moved = middle(changing, optics=np.ones(3, np.float32))
    moved["stage"] = np.array([1, 0, 0], np.float32)
    for count in (1, 2, 3, 4, 5):
        rested = changing.transition(rested, moved, generator(0))
        seen = changing.observe(rested)
        np.testing.assert_allclose(seen["knobs"][:3], min(count * STEP, 1), atol=1e-6)
    assert seen["stage"][0] == pytest.approx(1000, abs=1)


def test_no_step_builds_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """After make, whatever aperture, camera length and aberrations an action asks for, no operator is built or read again."""
    made = task()
    monkeypatch.setattr(operator_cache.imaging_cache, "build", lambda *_, **__: pytest.fail("an operator was built in a step"))
    state: ScopeSession = made.initial(generator(5))
    shown = []
    for aperture in (0, 1):
        for length in (0, 1):
            action = middle(made, aperture=aperture, optics=np.full(3, 1.0 - 2 * length, np.float32))
            action["detectors"]["camera_length"] = length
            state = made.transition(state, action, generator(0))
            assert state.frame is not None
            shown.append(float(state.frame["haadf"].mean()))
    assert len(set(shown)) == 4


def test_presets_are_ordered() -> None:
    """A harder preset has at least as many apertures, camera lengths and aberrations; the easy one is quiet, the hard one drifts and fails."""
    easy, standard, hard = (MicroscopeTask(difficulty=name) for name in MicroscopeTask.PRESETS)
    panels = [each.panel for each in (easy, standard, hard)]
    for name in ("semiangles_mrad", "camera_lengths_mm", "coefficients"):
        counts = [len(getattr(panel, name)) for panel in panels]
        assert counts == sorted(set(counts))
    assert [panel.count for panel in panels] == [11, 22, 35]
    assert hard.camera_lengths_mm == PROFILES["corrected-200kv"].camera_lengths_mm
    assert easy.profile.instabilities.drift_speed_angstrom_per_s == 0
    assert (easy.conditions().failing, hard.conditions().failing) == (0, 0.05)


def test_conditions_reach_the_microscope() -> None:
    """Residual, drift, gains and failing commands of an episode are those that its randomisation gives; failed commands leave knobs as they were."""
    drawn = task(randomisation={"residual": (2.0, 2.0), "knob_gain": (0.5, 0.5), "failing": 0.9})
    state = drawn.initial(generator(7))
    usual = PROFILES["corrected-200kv"].residual.cartesian()
    assert state.session.setup.profile.residual.cartesian()["C30"] == pytest.approx(2 * usual["C30"])
    assert dict(state.session.gains) == {"C10": 0.5, "C12a": 0.5, "C12b": 0.5}
    action = middle(drawn, optics=np.full(3, 0.5, np.float32))
    reads = []
    for _ in range(6):
        state = drawn.transition(state, action, generator(0))
        reads.append(float(drawn.observe(state)["knobs"][0]))
    assert 0 in reads
    exact, half = task(), task(randomisation={"knob_gain": (0.5, 0.5)})
    changes = []
    for each in (exact, half):
        begun = each.initial(generator(7))
        after = each.transition(begun, action, generator(0))
        changes.append(each.truth(after)["C10_angstrom"] - each.truth(begun)["C10_angstrom"])
    assert changes[1] == pytest.approx(changes[0] / 2, abs=0.5)


def test_misalignment_is_an_option_of_reset() -> None:
    """``options={"misalignment": 0}`` starts in tune, another factor scales what is off, and a factor out of range is refused."""
    env = gym.make(ID, privileged_info=True, **SMALL)
    found = [env.reset(seed=4, options={"misalignment": factor})[1]["truth"]["C10_angstrom"] for factor in (0.0, 0.5, 1.0)]
    assert found[1] - found[0] == pytest.approx((found[2] - found[0]) / 2)
    assert abs(found[2] - found[0]) > 0.1


@pytest.mark.parametrize("misalignment", [3, -0.1, "half", np.nan])
def test_a_wrong_misalignment_leaves_no_trace(misalignment: Any) -> None:
    """A factor out of range ends in a sentence, and the episode goes on as if it had never been given, seed included."""
    env, other = (gym.make(ID, **SMALL).unwrapped for _ in range(2))
    for one in (env, other):
        one.reset(seed=2)
    with pytest.raises(SettingsError, match="misalignment="):
        env.reset(seed=5, options={"misalignment": misalignment})
    action = middle(env.task)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(env.step(action)[0]["frames"], other.step(action)[0]["frames"])
    np.testing.assert_array_equal(env.reset()[0]["frames"], other.reset()[0]["frames"])


def test_costs_are_told_apart() -> None:
    """The cost of an action is told by its logarithm, and no part of it is constant in the vector of all read-backs."""
    env = gym.make(ID, **SMALL)
    flat, before, seen = FlatScalars(env), env.reset(seed=1)[1]["cost"], []
    for dwell in (-1.0, 0.0, 1.0):
        action = middle(env.unwrapped.task)  # type: ignore[attr-defined]
        action["scan"]["dwell"] = np.full(1, dwell, np.float32)
        observation, *_, info = env.step(action)
        spent = [info["cost"][name] - before[name] for name in COSTS]
        np.testing.assert_allclose(observation["cost"], np.log10(1 + np.array(spent)), rtol=1e-5)
        seen.append(flat.observation(observation)["scalars"][2:5])  # behind the two shares of the budget
        before = info["cost"]
    assert (np.ptp(seen, axis=0) > 0.005).all()


def test_the_scale_bar_is_that_of_the_whole_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is told the longer side of the field, from edge to edge of its pixels."""
    drawn, told = task(), {}
    monkeypatch.setattr(pictures, "microscope_picture", lambda *_, **about: told.update(about))
    begun = drawn.initial(generator(1))
    drawn.picture(begun)
    assert told["field_of_view"] == pytest.approx(max(drawn.panel.scan(begun.scan[:4]).field_of_view_angstrom))


@pytest.mark.parametrize("reward", REWARDS)
def test_rewards_are_those_of_the_registry(reward: str) -> None:
    """The environment takes every registered reward; there is no goal, so no ``is_success``."""
    env = gym.make(ID, reward=reward, privileged_info=True, **SMALL)
    _, info = env.reset(seed=1)
    assert "is_success" not in info
    *_, info = env.step(env.action_space.sample())
    assert info["truth"].keys() >= {"C10_angstrom", "x_angstrom"}


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"camera_lengths_mm": (115.0, 120.0)}, "120 mm is not a camera length of corrected-200kv"),
        ({"observation": "pixels", "shape": (24, 24)}, "shape"),
        ({"order": 6}, "order=6"),
        ({"reward": "dense"}, "reward"),
        ({"difficulty": "medium"}, "difficulty"),
        ({"randomisation": {"profiles": "nion-60"}}, "profiles"),
        ({"flat": 1}, "flat=1"),
        ({"randomisation": {"samples": "mos2"}}, "mos2"),
    ],
)
def test_wrong_settings_end_at_make(wrong: dict[str, Any], match: str) -> None:
    """Settings that cannot be are refused by make, with a sentence."""
    with pytest.raises(StemtwinError, match=match):
        gym.make(ID, **{**SMALL, **wrong})


def test_a_flat_action_holds_boxes_and_choices_alone() -> None:
    """A space of another kind is refused with its name."""
    with pytest.raises(SettingsError, match=r"part is Box\(0"):
        FlatAction(space=gym.spaces.Dict({"part": gym.spaces.Box(0, 1, (2,))}))
