"""Phase errors over an aperture: against samples of the phase, and how aberrations add up."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.physics import electrons, phase_error
from stemtwin.twin.physics.aberrations import Aberrations, chi
from stemtwin.twin.physics.probe import strehl_ratio

WAVELENGTH, SEMIANGLE = electrons.wavelength(200e3), 25e-3
SIZES = {"C10": 30.0, "C12": 20.0, "C21": 900.0, "C23": 700.0, "C30": 3e4, "C32": 2e4, "C34": 2e4, "C41": 1e6, "C50": 3e7, "C56": 2e7}


def drawn(numbers: list[float]) -> Aberrations:
    """Return aberrations of magnitudes in [-1, 1] of their sizes at some azimuths."""
    values = dict(zip(SIZES, numbers, strict=True))
    angles = {f"phi{name[1:]}": 1.7 * number + 0.3 for name, number in values.items() if name[2] != "0"}
    return Aberrations(**{name: SIZES[name] * number for name, number in values.items()}, **angles)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=len(SIZES), max_size=len(SIZES)))
def test_the_closed_form_is_the_spread_of_a_sampled_phase(numbers: list[float]) -> None:
    """The root mean square is the standard deviation of chi over points of equal area."""
    aberrations = drawn(numbers)
    alpha = SEMIANGLE * np.sqrt((np.arange(400) + 0.5) / 400)[:, None]
    azimuth = 2 * np.pi * np.arange(64) / 64
    phase = chi(aberrations, alpha / WAVELENGTH * np.sin(azimuth), alpha / WAVELENGTH * np.cos(azimuth), WAVELENGTH)
    assert phase_error.rms_phase(WAVELENGTH, SEMIANGLE, aberrations) == pytest.approx(float(phase.std()), rel=1e-3, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=len(SIZES), max_size=len(SIZES)), st.floats(-3, 3))
def test_it_does_not_depend_on_azimuths_and_signs(numbers: list[float], turn: float) -> None:
    """Turning all azimuths, or the sign of all aberrations, changes nothing; twice the aberrations are twice the error."""
    one = drawn(numbers)
    numbers_of = {name: getattr(one, name) for name in SIZES}
    turned = Aberrations(**numbers_of, **{f"phi{name[1:]}": getattr(one, f"phi{name[1:]}") + turn for name in SIZES if name[2] != "0"})
    found = phase_error.rms_phase(WAVELENGTH, SEMIANGLE, one)
    assert phase_error.rms_phase(WAVELENGTH, SEMIANGLE, turned) == pytest.approx(found, rel=1e-9, abs=1e-9)
    doubled = drawn([-2 * number for number in numbers])
    same_angles = {f"phi{name[1:]}": getattr(one, f"phi{name[1:]}") for name in SIZES if name[2] != "0"}
    opposite = Aberrations(**{name: getattr(doubled, name) for name in SIZES}, **same_angles)
    assert phase_error.rms_phase(WAVELENGTH, SEMIANGLE, opposite) == pytest.approx(2 * found, rel=1e-9, abs=1e-9)


def test_aberrations_of_another_symmetry_never_hide_each_other() -> None:
    """Squares add up for different m; defocus takes away at most 15 of 16 parts of the square of spherical aberration, as theory has it."""
    rms = [
        phase_error.rms_phase(WAVELENGTH, SEMIANGLE, one) for one in (Aberrations(C10=20.0), Aberrations(C23=800.0), Aberrations(C10=20.0, C23=800.0))
    ]
    assert rms[2] == pytest.approx(math.hypot(rms[0], rms[1]))
    spherical = Aberrations(C30=4e4)
    best = min(phase_error.rms_phase(WAVELENGTH, SEMIANGLE, Aberrations(C30=4e4, C10=c10)) for c10 in np.linspace(-25, 0, 501))
    assert best**2 == pytest.approx(phase_error.rms_phase(WAVELENGTH, SEMIANGLE, spherical) ** 2 / 16, rel=1e-3)


def test_small_errors_are_those_of_the_strehl_ratio() -> None:
    """exp(-s^2) is the Strehl ratio up to fourth powers of s."""
    for numbers in ([0.1] * 10, [0.05, -0.1, 0.1, 0.0, 0.1, 0.0, -0.1, 0.1, 0.0, 0.1]):
        aberrations = drawn(numbers)
        s = phase_error.rms_phase(WAVELENGTH, SEMIANGLE, aberrations)
        assert strehl_ratio(WAVELENGTH, SEMIANGLE, aberrations) == pytest.approx(math.exp(-(s**2)), abs=s**4 + s**3)


def test_the_flat_angle_of_defocus() -> None:
    """Defocus alone reaches pi/4 at sqrt(lambda / 4 C10), to a hundredth of the aperture; nothing is beyond the aperture."""
    for c10 in (20.0, 60.0, 400.0):
        found = phase_error.flat_angle(WAVELENGTH, SEMIANGLE, Aberrations(C10=c10))
        assert found == pytest.approx(min(math.sqrt(WAVELENGTH / 4 / c10), SEMIANGLE), abs=SEMIANGLE / 99)
    assert phase_error.flat_angle(WAVELENGTH, SEMIANGLE, Aberrations()) == SEMIANGLE
