"""stemtwin/Microscope-v1: what an action sets is what is read back, and a frame is the microscope's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.envs.control_panel import COEFFICIENTS
from stemtwin.twin.envs.families.microscope_v1 import WholeMicroscope
from stemtwin.twin.envs.scope_family import ScopeSession
from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.instrument.detectors import AnnularDetector

TASK = WholeMicroscope(semiangles_mrad=(5.0, 10.0), phonons=1, shape=(24, 32), max_steps=6)


@pytest.fixture(scope="module")
def begun() -> ScopeSession:
    """Return an episode that has just begun."""
    return TASK.initial(np.random.Generator(np.random.Philox(3)))


def rest(**changes: dict[str, Any]) -> dict[str, Any]:
    """Return the action that waits no time and takes no frame, but for the changes in its parts."""
    action: dict[str, Any] = {
        "scan": {"acquire": 0, "field": np.zeros(4, np.float32), "dwell": np.zeros(1, np.float32)},
        "beam": {
            "optics": np.zeros(25, np.float32),
            "aperture": 1,
            "current": np.zeros(1, np.float32),
            "shift": np.zeros(2, np.float32),
            "blanked": 0,
        },
        "detectors": {"camera_length": 1, "gain": np.zeros(2, np.float32), "offset": np.zeros(2, np.float32)},
        "stage": np.zeros(3, np.float32),
        "wait": -np.ones(1, np.float32),
    }
    for part, change in changes.items():
        action[part] = {**action[part], **change}
    return action


def test_every_setpoint_is_read_back(begun: ScopeSession) -> None:
    """Each knob of an action stands in the observation, in the action's units; choices are spread over [-1, 1]."""
    rng = np.random.Generator(np.random.Philox(1))
    optics, current, shift, gain, offset = (rng.uniform(-0.9, 0.9, n).astype(np.float32) for n in (len(COEFFICIENTS), 1, 2, 2, 2))
    beam = {"optics": optics, "aperture": 0, "current": current, "shift": shift, "blanked": 1}
    action = rest(beam=beam, detectors={"camera_length": 2, "gain": gain, "offset": offset})
    seen = TASK.observe(TASK.transition(begun, action, rng))
    length = 2 * 2 / (len(TASK.profile.camera_lengths_mm) - 1) - 1
    np.testing.assert_allclose(seen["knobs"], [*optics, *current, -1, *shift, 1, length, *gain, *offset], atol=1e-5)
    assert TASK.observation_space.contains(seen)
    assert not seen["fresh"][0]


def test_time_and_dose_are_what_the_action_takes(begun: ScopeSession) -> None:
    """Waiting costs its time and no dose; a frame costs both, fewer electrons with less current; blanked it costs time alone."""
    rng = np.random.Generator(np.random.Philox(1))
    waited = TASK.transition(begun, {**rest(), "wait": np.zeros(1, np.float32)}, rng)
    moved = TASK.transition(begun, rest(), rng)
    assert waited.cost["time_s"] - moved.cost["time_s"] == pytest.approx(30)
    assert waited.cost["electrons"] == 0
    bright, faint, dark = (
        TASK.transition(moved, rest(scan={"acquire": 1}, beam=beam), rng) for beam in ({}, {"current": np.full(1, -1, np.float32)}, {"blanked": 1})
    )
    assert bright.fresh
    assert bright.cost["electrons"] > 10 * faint.cost["electrons"] > 0
    assert (dark.cost["electrons"], dark.cost["dose_e_per_angstrom2"]) == (0, 0)
    assert dark.cost["time_s"] == pytest.approx(bright.cost["time_s"])


@pytest.mark.slow
def test_a_specimen_that_suffers() -> None:
    """A session is a snapshot: from the middle of a film the same action gives the same bits; what happened stands in the truth, not in what is seen.

    Observations have the space that they have without damage, and the costs are the same numbers: nothing but the frame tells of lost atoms.
    """
    task = replace(TASK, shape=(8, 8), semiangles_mrad=(5.0,), detectors=("haadf",), damage=True)
    rng = np.random.Generator(np.random.Philox(3))
    small = np.array([0, 0, -1, 0], np.float32)  # a field of 4 A
    action = rest(scan={"acquire": 1, "field": small, "dwell": np.ones(1, np.float32)}, beam={"aperture": 0, "current": np.ones(1, np.float32)})
    action["detectors"] = {"camera_length": 1, "gain": np.zeros(1, np.float32), "offset": np.zeros(1, np.float32)}
    first = task.initial(rng)
    middle = task.transition(first, action, rng)
    ends = [task.transition(middle, action, rng) for _ in range(2)]
    assert task.truth(ends[0])["events"] > task.truth(middle)["events"] > task.truth(first)["events"]
    assert task.truth(ends[0])["atoms"] < task.truth(first)["atoms"]
    assert task.truth(ends[0]) == task.truth(ends[1])
    assert all(state.session.scope.matter is not None for state in ends)
    seen = [task.observe(state) for state in ends]
    for name, value in seen[0].items():
        np.testing.assert_array_equal(value, seen[1][name])
    one, other = (state.session.scope.matter.events for state in ends)  # type: ignore[union-attr]
    assert list(one) == list(other)
    whole = replace(task, damage=False)
    assert task.observation_space == whole.observation_space
    assert task.observation_space.contains(seen[0])
    assert task.cost(ends[0]).keys() == whole.cost(ends[0]).keys()


@pytest.mark.parametrize("wrong", [("dpc4", "haadf"), ("pixelated",), ("haadf", AnnularDetector(inner_mrad=60, outer_mrad=90))])
def test_what_is_no_frame_is_refused_before_it_is_computed(wrong: tuple) -> None:
    """Cameras, segments and detectors that have no name in the registry fit no frame of the observation: refused when the environment is made."""
    with pytest.raises(SettingsError, match=r"a registered detector that records one number at each point\. Use haadf, maadf, laadf, abf, bf"):
        replace(TASK, detectors=wrong)
    with pytest.raises(UnknownNameError, match="Did you mean 'haadf'"):
        replace(TASK, detectors=("hadf",))
