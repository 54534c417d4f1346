"""Sessions at a microscope: the same bits as the microscope, gains of knobs, commands that fail."""

from dataclasses import replace

import numpy as np
import pytest

import stemtwin as st
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.preparation import specimen
from stemtwin.twin.envs.session import Session
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scope.setup import Setup

PROFILE = replace(PROFILES["corrected-200kv"], semiangle_mrad=10.0)
SCAN = st.RasterScan(shape=(24, 32), field_of_view_angstrom=(6.0, 8.0))


def opened(seed: int = 3, **options: object) -> Session:
    """Return a session at one cell of MoS2, static."""
    setup = Setup(profile=PROFILE, seed=seed, phonons="static", window_angstrom=20.0)
    return sessions.start(setup, specimen("mos2-1h"), **options)  # type: ignore[arg-type]


def c10(session: Session) -> float:
    """Return the true C10 that knobs and corrections make, A: what strays is left out."""
    return session.scope.knobs.aberrations.C10 + session.scope.corrected.C10


def test_a_session_is_the_microscope() -> None:
    """Knobs, a stage move, waiting and two acquisitions show the same frames, costs and clock as ``Microscope`` does, to the last bit."""
    scope = st.Microscope(specimen("mos2-1h"), PROFILE, seed=3, phonons="static", window_angstrom=20.0)
    scope.set(C10=-30.0, current_pa=40.0)
    scope.move_stage(x_angstrom=20.0)
    scope.advance_time(5.0)
    expected = [scope.acquire(SCAN, detectors=("haadf", "bf"), dwell_time_us=3.0) for _ in range(2)]
    session = sessions.set_knobs(opened(), {"C10": -30.0, "current_pa": 40.0})
    session = sessions.wait(sessions.move(session, {"x_angstrom": 20.0}), 5.0)
    for right in expected:
        seen, session = sessions.acquire(session, SCAN, detectors=("haadf", "bf"), dwell_time_us=3.0)
        assert seen.identical(right)
    assert session.clock_s == scope.time_s
    assert session.cost["electrons"] == scope.spent["electrons"]
    assert session.dose_e_per_angstrom2 == pytest.approx(2 * sessions.raster_dose(40.0, SCAN, 3.0))
    assert sessions.truth(session)["C10_angstrom"] == scope.truth()["C10_angstrom"]


def test_sessions_are_values() -> None:
    """What is done with a session leaves it as it was: the same frame again is the same frame."""
    session = opened()
    first, _ = sessions.acquire(session, SCAN)
    sessions.acquire(sessions.turn_optics(session, {"C10": 40.0}), SCAN)
    again, _ = sessions.acquire(session, SCAN)
    assert first.identical(again)


def test_a_knob_moves_by_its_gain() -> None:
    """The read-back is what was commanded, the truth the gain times that, and increments add up."""
    session = opened(gains={"C10": 1.1, "C12a": 0.9})
    for _ in range(3):
        session = sessions.turn_optics(session, {"C10": 10.0, "C12a": -5.0, "C12b": 2.0})
    told, corrected = session.scope.knobs.aberrations.cartesian(), session.scope.corrected.cartesian()
    assert (told["C10"], told["C12a"], told["C12b"]) == pytest.approx((30, -15, 6))
    assert told["C10"] + corrected["C10"] == pytest.approx(33)
    assert told["C12a"] + corrected["C12a"] == pytest.approx(-13.5)
    assert told["C12b"] + corrected["C12b"] == pytest.approx(6)


def test_failing_commands_do_nothing_and_are_told() -> None:
    """Of 400 commands with a probability of 0.3 about 120 fail (five standard deviations), each changes nothing, and the same seed fails alike."""
    session, failures = opened(failing=0.3), []
    for _ in range(400):
        after = sessions.turn_optics(session, {"C10": 1.0})
        assert c10(after) - c10(session) == pytest.approx(0 if after.failed else 1)
        failures.append(after.failed)
        session = after
    assert abs(sum(failures) - 120) < 5 * np.sqrt(400 * 0.3 * 0.7)
    session = opened(failing=0.3)
    for failed in failures[:50]:
        session = sessions.turn_optics(session, {"C10": 1.0})
        assert session.failed == failed


def test_a_failed_measurement_ends_with_the_next_command() -> None:
    """Where no fault can be drawn, a measurement out of range fails, and the knob that brings C10 back still turns."""
    far = sessions.turn_optics(opened(), {"C10": 3000.0})
    found, failed = sessions.measure(far, "C1A1", emulated=True)
    assert found is None
    assert failed.failed
    back = sessions.turn_optics(failed, {"C10": -3000.0})
    assert c10(back) == pytest.approx(c10(far) - 3000.0)
    assert not back.failed
    assert sessions.measure(back, "C1A1", emulated=True)[0] is not None
    assert not sessions.set_knobs(failed, {"current_pa": 20.0}).failed
    assert sessions.move(failed, {"x_angstrom": 5.0}).scope != failed.scope
    assert not sessions.correct(failed, "C1", 100.0).failed


def test_spectra_patterns_and_parked_beams() -> None:
    """A point spectrum, a pattern and a parked beam have their own axes, and time and dose pass."""
    session = opened()
    eels, after = sessions.spectrum(session, (1.0, 2.0), detectors=("eels",), dwell_time_us=1000.0)
    assert eels["eels"].dims == ("energy_loss_ev",)
    assert eels["eels"].sum() > 0
    pattern, after = sessions.pattern(after, (1.0, 2.0), dwell_time_us=100.0)
    assert pattern["pixelated"].ndim == 2
    parked, last = sessions.park(after, (1.0, 2.0), 0.02, looks=4)
    assert parked["haadf"].shape == (4,)
    assert last.clock_s == pytest.approx(after.clock_s + 0.02, rel=0.01)
    assert last.dose_e_per_angstrom2 > after.dose_e_per_angstrom2 > 0


def test_a_drifting_profile_drifts_by_the_factor() -> None:
    """Factors scale speed and walk alone; 0 stands still."""
    usual = PROFILE.instabilities
    assert sessions.drifting(PROFILE, 1.0) == PROFILE
    fast = sessions.drifting(PROFILE, 3.0).instabilities
    assert fast.drift_speed_angstrom_per_s == pytest.approx(3 * usual.drift_speed_angstrom_per_s)
    assert replace(fast, drift_speed_angstrom_per_s=0, drift_walk_angstrom=0) == replace(usual, drift_speed_angstrom_per_s=0, drift_walk_angstrom=0)


def test_wrong_commands_are_refused() -> None:
    """Commands of a session are checked as those of the microscope are."""
    with pytest.raises(SettingsError, match="seconds"):
        sessions.wait(opened(), -1.0)
    with pytest.raises(SettingsError, match="C10"):
        sessions.turn_optics(opened(), {"C10": 1e9})
