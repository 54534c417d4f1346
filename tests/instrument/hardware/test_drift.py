"""What does not stand still."""

import math
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.drift import NAMES, TYPICAL, AberrationWander, Course, Creep, Instabilities

SEEDS = range(150)


def test_the_default_instrument_stands_still() -> None:
    """Without amplitudes nothing strays, whatever the seed and the time."""
    course, times = Course(Instabilities(), 5), np.array([0.0, 1.0, 1e5])
    assert not any(course.aberrations(1e5).cartesian().values())
    assert not course.drift_angstrom(times, Creep().moved(0.0, (1e4, 0.0), Instabilities())).any()
    assert (course.current_factor(times) == 1).all()
    assert not course.energy_shift_ev(times).any()


def test_aberrations_stray_as_they_are_told() -> None:
    """Long after tuning each Cartesian component has its standard deviation, C10 besides it its linear drift, of either sign."""
    late = 6000.0
    wander = (
        AberrationWander(name="C10", sigma_angstrom=20, tau_s=600, rate_angstrom_per_s=0.1),
        AberrationWander(name="C21", sigma_angstrom=300, tau_s=600),
        AberrationWander(name="C34", sigma_angstrom=1e3, tau_s=60, rate_angstrom_per_s=2.0),
    )
    found = [Course(Instabilities(aberrations=wander), seed).aberrations(late).cartesian() for seed in SEEDS]
    n = len(found)
    values = {name: np.array([item[name] for item in found]) for name in found[0]}
    for name in ("C21a", "C21b"):
        assert abs(values[name].std() / 300 - 1) < 4.5 / math.sqrt(2 * n)
    sign = np.sign(values["C10"])
    assert 0.3 < (sign > 0).mean() < 0.7
    assert abs(np.abs(values["C10"]) - 600).mean() < 40
    assert np.hypot(values["C34a"], values["C34b"]).mean() == pytest.approx(12e3, rel=0.03)
    assert not values["C12a"].any()


def test_everything_starts_as_it_was_tuned() -> None:
    """At time 0 nothing has strayed yet, with the largest of amplitudes."""
    course = Course(TYPICAL, 1)
    assert not any(course.aberrations(0.0).cartesian().values())
    assert not course.drift_angstrom(0.0).any()
    assert course.energy_shift_ev(0.0) == 0
    assert course.current_factor(0.0) == pytest.approx(1, abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 2e4), min_size=1, max_size=6))
def test_a_course_has_one_value_at_one_time(times: list[float]) -> None:
    """All at once or one after the other, by this object or another: equal bits."""
    one, other = Course(TYPICAL, 11), Course(TYPICAL, 11)
    creep = Creep(velocity=(1.0, -0.5))
    drift, current, energy = one.drift_angstrom(times, creep), one.current_factor(times), one.energy_shift_ev(times)
    for i in reversed(range(len(times))):
        assert np.array_equal(other.drift_angstrom(times[i], creep), drift[i])
        assert np.array_equal(other.current_factor(times[i]), current[i])
        assert np.array_equal(other.energy_shift_ev(times[i]), energy[i])
        assert one.aberrations(times[i]) == other.aberrations(times[i])


def test_drift_settles_after_a_move() -> None:
    """v(t) = v0 + v1 exp(-t/tau) along the move; in the end the creep has added v1 tau."""
    setting = Instabilities(drift_angstrom_per_s=(0.01, 0.03), creep_speed_angstrom_per_s=2.0, creep_reach_angstrom=1e3, creep_tau_s=100.0)
    course, creep = Course(setting, 0), Creep().moved(50.0, (3e4, -4e4), setting)
    times = 50.0 + np.array([0.0, 1e-3, 100.0, 100.0 + 1e-3, 5000.0])
    path = course.drift_angstrom(times, creep)
    start, later = (path[1] - path[0]) / 1e-3, (path[3] - path[2]) / 1e-3
    assert start == pytest.approx([0.03 + 2.0 * 0.6, 0.01 - 2.0 * 0.8], rel=1e-3)
    assert later == pytest.approx([0.03 + 1.2 / math.e, 0.01 - 1.6 / math.e], rel=1e-3)
    assert path[-1] - path[0] == pytest.approx([0.03 * 5000 + 120, 0.01 * 5000 - 160])


def test_creep_of_several_moves_is_the_sum_of_their_creeps() -> None:
    """The creep is linear in what the moves started: one exponential stands for all, and no move makes the specimen jump."""
    setting = Instabilities(creep_speed_angstrom_per_s=1.0, creep_tau_s=60.0)
    moves = ((10.0, (3e3, 0.0)), (40.0, (-1e3, 2e3)), (40.0, (50.0, 50.0)), (200.0, (0.0, 0.0)))
    creep = Creep()
    for time, step in moves:
        before = creep.at(time, 60.0)
        creep = creep.moved(time, step, setting)
        assert creep.at(time, 60.0) == pytest.approx(before)
    alone = [Creep().moved(time, step, setting).at(500.0, 60.0) for time, step in moves]
    assert creep.at(500.0, 60.0) == pytest.approx(np.sum(alone, axis=0))
    small, large = (np.hypot(*Creep().moved(0.0, (d, 0.0), setting).velocity) for d in (100.0, 1e6))
    assert small == pytest.approx(-math.expm1(-0.01))
    assert large == pytest.approx(1.0)


def test_the_random_walk_grows_with_the_root_of_the_time() -> None:
    """Without drift the mean square way along each axis is walk^2 t."""
    setting = Instabilities(drift_walk_angstrom=0.2)
    way = np.array([Course(setting, seed).drift_angstrom([1.0, 100.0]) for seed in SEEDS])
    square = (way**2).mean(axis=(0, 2))
    assert square == pytest.approx([0.04, 4.0], rel=4.5 * math.sqrt(2 / (2 * len(SEEDS))))


def test_the_settled_drift_points_anywhere() -> None:
    """A speed has a direction by the seed; a velocity that was given is (vy, vx) and needs none."""
    setting = Instabilities(drift_speed_angstrom_per_s=0.05)
    ways = np.array([Course(setting, seed).drift_angstrom(10.0) for seed in SEEDS])
    assert np.hypot(*ways.T) == pytest.approx(np.full(len(SEEDS), 0.5))
    assert np.abs(ways.mean(axis=0)).max() < 4.5 * 0.5 / math.sqrt(2 * len(SEEDS))
    assert Course(Instabilities(drift_angstrom_per_s=(1.0, 2.0)), 4).drift_angstrom(10.0) == pytest.approx([20.0, 10.0])


def test_current_fades_and_a_flash_brings_it_back() -> None:
    """1 - fade (1 - exp(-t/tau)) since the flash, times a flicker of mean 1."""
    still = Course(Instabilities(fade=0.4, fade_tau_s=100.0), 0)
    assert still.current_factor([0.0, 100.0, 1e5]) == pytest.approx([1, 0.6 + 0.4 / math.e, 0.6])
    assert still.current_factor(1e5, flashed_s=1e5) == 1
    flicker = Course(Instabilities(flicker=0.1, flicker_tau_s=1.0), 0).current_factor(np.arange(100.0, 8100.0, 4.0))
    assert flicker.mean() == pytest.approx(1, abs=4.5 * 0.1 / math.sqrt(2000))
    assert flicker.std() == pytest.approx(0.1, rel=0.1)
    with pytest.raises(SettingsError, match="flashed at 5 s"):
        still.current_factor(4.0, flashed_s=5.0)


def test_settings_are_plain_values() -> None:
    """Frozen and hashable; the typical instrument names its sources and moves in every way."""
    assert hash(TYPICAL) == hash(replace(TYPICAL))
    assert "[A]" in TYPICAL.source
    assert "[M]" in TYPICAL.source
    assert all(asdict(TYPICAL)[item.name] not in {0, ""} for item in fields(TYPICAL) if item.name not in {"aberrations", "drift_angstrom_per_s"})
    assert {item.name for item in TYPICAL.aberrations} <= set(NAMES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fade": 1.5},
        {"flicker": -0.1},
        {"creep_tau_s": 0.0},
        {"drift_walk_angstrom": math.nan},
        {"energy_sigma_ev": -1.0},
        {"drift_angstrom_per_s": (1.0,)},
        {"drift_angstrom_per_s": (1.0, 0.0), "drift_speed_angstrom_per_s": 1.0},
        {"aberrations": (AberrationWander(name="C10"), AberrationWander(name="C10"))},
        {"aberrations": ("C10",)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Instabilities(**wrong)


def test_unknown_aberrations_and_past_times_are_refused() -> None:
    """An aberration that is none, and a creep before the stage was moved."""
    with pytest.raises(SettingsError, match="C11"):
        AberrationWander(name="C11")
    with pytest.raises(SettingsError, match="before the stage's last move"):
        Creep(time_s=5.0).at(4.0, 100.0)
