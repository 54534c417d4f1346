"""The stage: where it is told to go, where it goes."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import InstrumentError, SettingsError
from stemtwin.twin.instrument.hardware.stage import (  # fmt: skip
    AXES,
    MECHANICAL,
    PIEZO,
    StagePosition,
    StageProfile,
    StageState,
    destination,
    duration_s,
    lateral_step,
    move,
)

IDEAL = StageProfile()
EXACT = replace(MECHANICAL, repeatability=StagePosition(), readback=StagePosition())  # backlash alone
WAYS = st.builds(StagePosition, x_angstrom=st.floats(-9e6, 9e6), y_angstrom=st.floats(-9e6, 9e6), alpha_mrad=st.floats(-500, 500))


def go(state: StageState, profile: StageProfile, rng: np.random.Generator | None = None, **way: float) -> StageState:
    """Return the state after a move."""
    return move(state, destination(state, way, profile), profile, rng or np.random.default_rng(0))[0]


@given(st.lists(WAYS, max_size=5))
def test_an_ideal_stage_is_where_it_was_told(ways: list[StagePosition]) -> None:
    """No backlash and no error: true, commanded and read-back places are one, at once."""
    state = StageState()
    for target in ways:
        state, taken, seen = move(state, target, IDEAL, np.random.default_rng(0))
        assert state.true == state.commanded == seen == target
        assert taken == 0


@given(st.lists(st.floats(-2e3, 2e3), min_size=1, max_size=20))
def test_backlash_is_a_play(steps: list[float]) -> None:
    """The specimen is within half the backlash of its drive, never moves against it, and lags behind by exactly half after a long way."""
    state, half = StageState(), MECHANICAL.backlash.x_angstrom / 2
    for step in steps:
        new = go(state, EXACT, x_angstrom=state.commanded.x_angstrom + step)
        carried = lateral_step(state, new)[0]
        assert abs(new.true.x_angstrom - new.drive.x_angstrom) <= half * (1 + 1e-12)
        assert carried * step >= 0
        assert abs(carried) <= abs(step) + 1e-9
        if abs(step) >= 2 * half:
            assert new.true.x_angstrom == pytest.approx(new.commanded.x_angstrom - math.copysign(half, step))
        state = new


def test_turning_round_loses_the_backlash() -> None:
    """Forth and back by one way leaves the specimen off by the backlash; less than that does not move it at all."""
    there = go(StageState(), EXACT, x_angstrom=1e4)
    assert go(there, EXACT, x_angstrom=1e4 - 400).true.x_angstrom == there.true.x_angstrom == 1e4 - 250
    again = go(go(there, EXACT, x_angstrom=2e4), EXACT, x_angstrom=1e4)
    assert again.true.x_angstrom - there.true.x_angstrom == 500
    assert go(there, EXACT, x_angstrom=1.1e4).true.x_angstrom == 1.1e4 - 250, "going on the same way loses nothing"


def test_the_piezo_goes_short_ways_without_backlash() -> None:
    """Within reach of the drive the piezo carries the specimen by the way itself, forth and back; beyond, the drive goes and the piezo relaxes."""
    profile = replace(PIEZO, repeatability=StagePosition(), readback=StagePosition(), piezo_error_angstrom=0.0)
    state = go(StageState(), profile, x_angstrom=1e5)
    for x in (1e5 + 200, 1e5 - 300, 1e5 + 4900):
        new = go(state, profile, x_angstrom=x)
        assert lateral_step(state, new)[0] == pytest.approx(x - state.commanded.x_angstrom)
        assert new.drive.x_angstrom == 1e5
        assert new.commanded.x_angstrom == pytest.approx(x)
        state = new
    far = go(state, profile, x_angstrom=1e5 + 5100)
    assert far.piezo_angstrom == (0.0, 0.0)
    assert far.drive.x_angstrom == 1e5 + 5100


def test_errors_have_their_size() -> None:
    """Where drives and piezo stop, and what encoders read, scatters with the profile's standard deviations, move by move anew."""
    rng, n = np.random.default_rng(3), 1500
    profile = replace(PIEZO, backlash=StagePosition())
    drives, pushes, reads, tilts = [], [], [], []
    state = StageState()
    for i in range(n):
        state = go(state, profile, rng, x_angstrom=1e5 * (-1) ** i, alpha_mrad=10.0 * (-1) ** i)
        drives.append(state.true.x_angstrom - state.commanded.x_angstrom)
        tilts.append(state.true.alpha_mrad - state.commanded.alpha_mrad)
        reads.append(state.readback.x_angstrom - state.commanded.x_angstrom)
    stopped = state.true.y_angstrom
    for i in range(n):
        state = go(state, profile, rng, y_angstrom=100.0 + i % 2)
        pushes.append(state.true.y_angstrom - state.commanded.y_angstrom)
    assert stopped == 0, "an axis that does not move does not err"
    for found, law in ((drives, 200.0), (tilts, 1.0), (reads, 10.0), (pushes, 10.0)):
        assert np.std(found) == pytest.approx(law, rel=4.5 / math.sqrt(2 * n))
        assert abs(np.mean(found)) < 4.5 * law / math.sqrt(n)
    assert abs(np.corrcoef(pushes[1:], pushes[:-1])[0, 1]) < 4.5 / math.sqrt(n)


def test_a_move_takes_its_time() -> None:
    """All axes run at once: the slowest counts, and settling; nothing to do takes no time."""
    state = StageState()
    way = destination(state, {"x_angstrom": 1e5, "y_angstrom": 2e4, "alpha_mrad": 40.0}, MECHANICAL)
    assert duration_s(state, way, MECHANICAL) == pytest.approx(5.5)
    assert move(state, way, MECHANICAL, np.random.default_rng(0))[1] == pytest.approx(5.5)
    assert duration_s(state, state.commanded, MECHANICAL) == 0
    assert duration_s(state, destination(state, {"x_angstrom": 1e3}, PIEZO), PIEZO) == pytest.approx(1.0)


def test_relative_ways_add_to_what_was_commanded() -> None:
    """A relative way starts from the command, not from the hidden truth; axes that are not named stay."""
    state = go(StageState(), MECHANICAL, x_angstrom=1e4, beta_mrad=5.0)
    target = destination(state, {"x_angstrom": 250.0}, MECHANICAL, relative=True)
    assert asdict(target) == {"x_angstrom": 10250.0, "y_angstrom": 0.0, "z_angstrom": 0.0, "alpha_mrad": 0.0, "beta_mrad": 5.0}


@pytest.mark.parametrize(("axis", "value"), [("x_angstrom", 1.01e7), ("y_angstrom", -2e7), ("z_angstrom", 4.1e6), ("alpha_mrad", -521.0)])
def test_what_is_out_of_reach_is_refused(axis: str, value: float) -> None:
    """The message has the axis, the value and how far one can go, by any door."""
    limit = f"{getattr(MECHANICAL.reach, axis):g}"
    for ask in (
        lambda: destination(StageState(), {axis: value}, MECHANICAL),
        lambda: move(StageState(), StagePosition(**{axis: value}), MECHANICAL, np.random.default_rng(0)),
    ):
        with pytest.raises(InstrumentError, match=axis) as raised:
            ask()
        assert f"{value:g}" in str(raised.value)
        assert limit.replace("+", r"+") in str(raised.value)


@pytest.mark.parametrize("wrong", [{"gamma_mrad": 1.0}, {"x_angstrom": math.nan}, {"x_angstrom": "far"}, {"x_angstrom": True}])
def test_ways_that_make_no_sense_are_refused(wrong: dict) -> None:
    """No axis, no number."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        destination(StageState(), wrong, MECHANICAL)


def test_profiles_that_make_no_sense_are_refused() -> None:
    """No negative size of anything."""
    for name in ("reach", "speed", "backlash", "repeatability", "readback"):
        with pytest.raises(SettingsError, match=f"{name}.beta_mrad"):
            StageProfile(**{name: StagePosition(beta_mrad=-1.0)})
    for name in ("piezo_reach_angstrom", "piezo_error_angstrom", "piezo_speed_angstrom_per_s", "settle_s"):
        with pytest.raises(SettingsError, match=name):
            StageProfile(**{name: -1.0})


def test_a_move_draws_the_same_numbers_wherever_it_goes() -> None:
    """Generators stay in step: what a move draws does not depend on where it leads."""
    after = []
    for way in ({"x_angstrom": 10.0}, {"x_angstrom": 1e6, "alpha_mrad": 3.0}, {}):
        rng = np.random.default_rng(1)
        go(StageState(), PIEZO, rng, **way)
        after.append(rng.standard_normal())
    assert len(set(after)) == 1
    assert len(AXES) == 5
