"""Instrument profiles."""

import math
from dataclasses import replace

import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.profiles import PROFILES, Profile
from stemtwin.twin.physics import electrons


@pytest.mark.parametrize("name", list(PROFILES))
def test_every_registered_profile_is_whole(name: str) -> None:
    """A profile knows its name and the source of its numbers, and its usual settings lie within its own limits."""
    profile = PROFILES[name]
    assert profile.name == name
    assert len(profile.source) > 20
    assert 0 < profile.current_pa <= profile.max_current_pa
    assert 0 < profile.dwell_time_us <= profile.max_dwell_time_us
    assert profile.residual.C10 == 0, "a tuned instrument is in focus"


def test_the_ideal_instrument_has_no_blur() -> None:
    """No aberration, a point source at any current, one energy."""
    ideal = PROFILES["ideal"]
    assert ideal.source_size_angstrom(1000, 20, 200e3) == 0
    assert ideal.focal_spread_angstrom(200e3) == 0
    assert not any(ideal.residual.cartesian().values())


def test_the_source_grows_with_the_root_of_the_current() -> None:
    """I = B (pi d alpha / 2)^2 at constant brightness B: d goes as sqrt(I) / alpha (Reimer and Kohl, section 4.2.2)."""
    size = PROFILES["corrected-200kv"].source_size_angstrom
    assert size(200, 25, 200e3) == pytest.approx(2 * size(50, 25, 200e3))
    assert size(50, 12.5, 200e3) == pytest.approx(2 * size(50, 25, 200e3))
    diameter = 2.354820045 * size(50, 25, 200e3) * 1e-10
    assert (math.pi**2 / 4) * 6e12 * diameter**2 * 0.025**2 == pytest.approx(50e-12)


def test_source_and_focal_spread_follow_the_energy() -> None:
    """The brightness goes as 1 / wavelength^2, so the source as the wavelength; the focal spread grows about as 1 / energy."""
    profile = PROFILES["corrected-200kv"]
    ratio = electrons.wavelength(60e3) / electrons.wavelength(200e3)
    assert profile.source_size_angstrom(50, 25, 60e3) / profile.source_size_angstrom(50, 25, 200e3) == pytest.approx(ratio)
    f60, f200 = ((1 + e / 510998.95) / (1 + e / 1021997.9) / e for e in (60e3, 200e3))
    assert profile.focal_spread_angstrom(60e3) / profile.focal_spread_angstrom(200e3) == pytest.approx(f60 / f200)


@pytest.mark.parametrize("wrong", [{"energy_ev": 200}, {"semiangle_mrad": 0}, {"current_pa": 2000}, {"current_pa": 0}])
def test_profiles_that_make_no_sense_are_refused(wrong: dict) -> None:
    """A profile's settings are checked like a person's."""
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        replace(PROFILES["ideal"], **wrong)
    assert isinstance(PROFILES["ideal"], Profile)
