"""Aberrations: one phase in every notation."""

import cmath
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics.aberrations import HAIDER, MIXED, ORDERS, Aberrations, chi

WAVELENGTH = 0.0251
SEMIANGLE = 0.03
NAMES = [f"C{n}{m}" for n, m in ORDERS]
# Coefficients whose largest phase at 30 mrad is up to some 50 rad, whatever the order.
LARGEST = {f"C{n}{m}": 8 * WAVELENGTH * (n + 1) / SEMIANGLE ** (n + 1) for n, m in ORDERS}


@st.composite
def states(draw):
    """Any aberrations, with a few coefficients zero."""
    values = {}
    for n, m in ORDERS:
        if draw(st.booleans()):
            values[f"C{n}{m}"] = LARGEST[f"C{n}{m}"] * draw(st.floats(-1, 1))
            if m:
                values[f"phi{n}{m}"] = draw(st.floats(-4, 4))
    return Aberrations(**values)


def haider_chi(c, w, *, conjugate_mixed):
    """Return chi for angles w = alpha exp(i phi), from Haider's coefficients.

    Uhlemann and Haider, Ultramicroscopy 72 (1998) 109; clients that conjugate the mixed terms have w and its conjugate exchanged there.
    """
    v = w.conjugate()
    p, q = (v, w) if conjugate_mixed else (w, v)
    terms = (
        w * v * c["C1"] / 2 + v**2 * c["A1"] / 2
        + p**2 * q * c["B2"] + v**3 * c["A2"] / 3
        + (w * v) ** 2 * c["C3"] / 4 + p**3 * q * c["S3"] + v**4 * c["A3"] / 4
        + p**3 * q**2 * c["B4"] + p**4 * q * c["D4"] + v**5 * c["A4"] / 5
        + (w * v) ** 3 * c["C5"] / 6 + p**4 * q**2 * c["S5"] + p**5 * q * c["R5"] + v**6 * c["A5"] / 6
    )  # fmt: skip
    return 2 * math.pi / WAVELENGTH * terms.real


def krivanek_chi(state, alpha, phi):
    """Return chi as house and physics print it, term by term."""
    total = 0.0
    for n, m in ORDERS:
        angle = getattr(state, f"phi{n}{m}") if m else 0.0
        total += getattr(state, f"C{n}{m}") * alpha ** (n + 1) / (n + 1) * math.cos(m * (phi - angle))
    return 2 * math.pi / WAVELENGTH * total


def at(alpha, phi):
    """Return ky, kx of a direction."""
    return np.array(alpha * math.sin(phi) / WAVELENGTH), np.array(alpha * math.cos(phi) / WAVELENGTH)


DIRECTIONS = {"alpha": st.floats(0, SEMIANGLE), "phi": st.floats(-math.pi, math.pi)}


def test_all_orders():
    """There are fourteen axial aberrations to fifth order, and Haider has a name for each."""
    assert NAMES == ["C10", "C12", "C21", "C23", "C30", "C32", "C34", "C41", "C43", "C45", "C50", "C52", "C54", "C56"]
    assert sorted(krivanek for krivanek, _ in HAIDER.values()) == NAMES


@given(state=states(), **DIRECTIONS)
def test_chi(state, alpha, phi):
    """Chi is (2 pi / lambda) sum C_nm alpha^(n+1) / (n+1) cos(m (phi - phi_nm)), phi from +x to +y."""
    assert float(chi(state, *at(alpha, phi), WAVELENGTH)) == pytest.approx(krivanek_chi(state, alpha, phi), abs=1e-9)


@given(state=states(), conjugate=st.booleans(), **DIRECTIONS)
def test_to_haider_keeps_chi(state, conjugate, alpha, phi):
    """Krivanek's coefficients turned into Haider's give the same phase in Haider's expansion, printed or conjugated."""
    ours = float(chi(state, *at(alpha, phi), WAVELENGTH))
    theirs = haider_chi(state.to_haider(conjugate_mixed=conjugate), cmath.rect(alpha, phi), conjugate_mixed=conjugate)
    assert theirs == pytest.approx(ours, abs=1e-9)


@given(data=st.data(), conjugate=st.booleans(), **DIRECTIONS)
def test_from_haider_keeps_chi(data, conjugate, alpha, phi):
    """Haider's coefficients turned into Krivanek's give the same phase, printed or conjugated."""
    coefficients = {}
    for name, (krivanek, factor) in HAIDER.items():
        size = LARGEST[krivanek] / factor * data.draw(st.floats(-1, 1))
        coefficients[name] = complex(size) if krivanek[2] == "0" else cmath.rect(abs(size), data.draw(st.floats(-math.pi, math.pi)))
    state = Aberrations.from_haider(coefficients, conjugate_mixed=conjugate)
    theirs = haider_chi(coefficients, cmath.rect(alpha, phi), conjugate_mixed=conjugate)
    assert float(chi(state, *at(alpha, phi), WAVELENGTH)) == pytest.approx(theirs, abs=1e-9)


def test_haider_factors_and_signs():
    """C21 = 3 B2, C32 = 4 S3, C41 = 5 B4, C43 = 5 D4, C52 = 6 S5, C54 = 6 R5; their angles change sign, those of A1 to A5 do not."""
    state = Aberrations(**dict.fromkeys(NAMES, 60.0), **{f"phi{n}{m}": 0.1 for n, m in ORDERS if m})
    printed, conjugated = state.to_haider(), state.to_haider(conjugate_mixed=True)
    expected = {"B2": (3, -1), "S3": (4, -2), "B4": (5, -1), "D4": (5, -3), "S5": (6, -2), "R5": (6, -4)}
    expected |= {f"A{i}": (1, i + 1) for i in range(1, 6)} | {"C1": (1, 0), "C3": (1, 0), "C5": (1, 0)}
    for name, (factor, turns) in expected.items():
        assert printed[name] == pytest.approx(cmath.rect(60 / factor, 0.1 * turns), rel=1e-12)
        assert conjugated[name] == pytest.approx(cmath.rect(60 / factor, 0.1 * (abs(turns) if name in MIXED else turns)), rel=1e-12)


@given(state=states(), **DIRECTIONS)
def test_cartesian_round_trip(state, alpha, phi):
    """Cartesian coefficients and back give the same phase; C_nm,a = C cos(m phi_nm), C_nm,b = C sin(m phi_nm)."""
    there = state.cartesian()
    back = Aberrations.from_cartesian(**there)
    assert float(chi(back, *at(alpha, phi), WAVELENGTH)) == pytest.approx(krivanek_chi(state, alpha, phi), abs=1e-9)
    assert there["C34a"] == pytest.approx(state.C34 * math.cos(4 * state.phi34), abs=1e-6 * LARGEST["C34"])
    assert there["C34b"] == pytest.approx(state.C34 * math.sin(4 * state.phi34), abs=1e-6 * LARGEST["C34"])


@given(first=states(), second=states(), **DIRECTIONS)
def test_sum(first, second, alpha, phi):
    """Phases of two lenses in one plane add up."""
    ky, kx = at(alpha, phi)
    both = chi(first, ky, kx, WAVELENGTH) + chi(second, ky, kx, WAVELENGTH)
    assert float(chi(optics.add(first, second), ky, kx, WAVELENGTH)) == pytest.approx(float(both), abs=1e-9)


@given(state=states())
def test_blur_radius_is_the_steepest_slope(state):
    """The blur radius is the largest lambda / (2 pi) abs(grad chi) inside the aperture, here from central differences of chi on the same rays."""
    samples, step = 24, 1e-7
    alpha = SEMIANGLE * np.arange(1, samples + 1)[:, None] / samples
    phi = 2 * np.pi * np.arange(4 * samples) / (4 * samples)
    y, x = alpha * np.sin(phi), alpha * np.cos(phi)

    def phase(y, x):
        return chi(state, y / WAVELENGTH, x / WAVELENGTH, WAVELENGTH)

    slope = np.hypot(phase(y + step, x) - phase(y - step, x), phase(y, x + step) - phase(y, x - step)) / (2 * step)
    expected = float(slope.max()) * WAVELENGTH / (2 * np.pi)
    assert optics.blur_radius(state, SEMIANGLE) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_blur_radius_of_one_lens():
    """Defocus blurs by C10 alpha, spherical aberration by C30 alpha^3 (ray optics)."""
    assert optics.blur_radius(Aberrations(C10=-100), 0.02) == pytest.approx(2.0, rel=1e-12)
    assert optics.blur_radius(Aberrations(C30=1e7), 0.01) == pytest.approx(10.0, rel=1e-12)


def test_negative_coefficient_is_a_turn():
    """A negative C_nm with m > 0 is the same aberration turned by pi / m; defocus is -C10."""
    ky, kx = np.random.default_rng(0).uniform(-1, 1, (2, 50))
    for n, m in ORDERS:
        if m:
            one = Aberrations(**{f"C{n}{m}": -LARGEST[f"C{n}{m}"], f"phi{n}{m}": 0.3})
            two = Aberrations(**{f"C{n}{m}": LARGEST[f"C{n}{m}"], f"phi{n}{m}": 0.3 + math.pi / m})
            assert np.allclose(chi(one, ky, kx, WAVELENGTH), chi(two, ky, kx, WAVELENGTH), atol=1e-8)
    assert Aberrations(C10=-50).defocus == 50


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Aberrations(C10=math.nan), "C10=nan.*A"),
        (lambda: Aberrations(phi12="x"), "phi12='x'.*rad"),
        (lambda: Aberrations(C30=True), "C30=True"),
        (lambda: Aberrations.from_cartesian(C13a=1.0), "C13a"),
        (lambda: Aberrations.from_haider({"C2": 1.0}), "'C2'"),
        (lambda: Aberrations.from_haider({"C3": 1j}), "imaginary"),
    ],
)
def test_nonsense(make, words):
    """What is no aberration is refused by name."""
    with pytest.raises(SettingsError, match=words):
        make()


@given(states())
def test_chi_is_a_product(state):
    """Chi is linear in the Cartesian coefficients: their vector times the basis, to the last digits."""
    rng = np.random.default_rng(3)
    ky, kx = rng.uniform(-1, 1, (2, 40)) * SEMIANGLE / WAVELENGTH
    ky[0] = kx[0] = 0.0
    assert np.allclose(optics.vector(state) @ optics.basis(ky, kx, WAVELENGTH), chi(state, ky, kx, WAVELENGTH), rtol=1e-12, atol=1e-10)
