"""Generalised oscillator strengths: the closed forms against Nordsieck's integral, sum rules, published values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.spectra import gos


def nordsieck(damping, q, across, k, cosine):
    """Return the integral of exp(iq.r - damping r) / r times a Coulomb wave of momentum k, but for the wave's norm (units of a0 / Z_s)."""
    sine = math.sqrt(1 - cosine**2)
    a = (q - k * cosine) ** 2 + (across - k * sine) ** 2 + damping**2
    b = q**2 + across**2 - (k + 1j * damping) ** 2
    return 4 * np.pi * a ** (-1 + 1j / k) * b ** (-1j / k)


def derivatives(f, at, orders, radius=0.08, count=24):
    """Return a mixed derivative of an analytic function of two variables, by Cauchy's integral on two circles."""
    turn = np.exp(2j * np.pi * np.arange(count) / count)
    values = f(at[0] + radius * turn[:, None], at[1] + radius * turn)
    scale = math.factorial(orders[0]) * math.factorial(orders[1]) / radius ** sum(orders) / count**2
    return scale * (values * turn[:, None] ** -orders[0] * turn ** -orders[1]).sum()


def squared_element(subshell, q, k, cosine):
    """Return |<k| exp(iq.r) |nl>|^2 per electron, averaged over the states of a subshell, but for the norm of the Coulomb wave."""
    along = lambda order_damping, order_q: derivatives(  # noqa: E731
        lambda damping, x: nordsieck(damping, x, 0.0, k, cosine), (1.0 if subshell == "1s" else 0.5, q), (order_damping, order_q)
    )
    if subshell == "1s":
        return abs(along(1, 0)) ** 2 / np.pi
    if subshell == "2s":
        return abs(along(1, 0) + along(2, 0) / 2) ** 2 / (8 * np.pi)
    across = derivatives(lambda damping, x: nordsieck(damping, q, x, k, cosine), (0.5, 0.0), (1, 1))
    return (abs(along(1, 1)) ** 2 + abs(across) ** 2) / (32 * np.pi) / 3  # across: two states, each with cos^2 = 1/2


def integrated(subshell, q2, k2):
    """Return df/dE in units of 1 / R, summed over final directions by quadrature."""
    q, k = math.sqrt(q2), math.sqrt(k2)
    nodes, weights = np.polynomial.legendre.leggauss(48)
    total = sum(w * squared_element(subshell, q, k, x) for x, w in zip(nodes, weights, strict=True))
    norm = 2 * np.pi / k / -math.expm1(-2 * np.pi / k)
    energy = k2 + (1.0 if subshell == "1s" else 0.25)
    return energy / q2 * norm * total * 2 * np.pi * k / 2 / (2 * np.pi) ** 3


@pytest.mark.parametrize("subshell", gos.SUBSHELLS)
@pytest.mark.parametrize(("q2", "k2"), [(0.6, 0.8), (1.7, 1.1), (0.25, 2.0)])
def test_closed_forms_are_the_integral(subshell, q2, k2):
    """The closed form equals Nordsieck's integral, summed over all directions of the electron that leaves."""
    energy = gos.RYDBERG * (k2 + (1.0 if subshell == "1s" else 0.25))
    closed = gos.hydrogenic(subshell, 1.0, np.array([energy]), np.array([q2 / gos.BOHR**2]))[0] * gos.RYDBERG
    assert closed == pytest.approx(integrated(subshell, q2, k2), rel=1e-7)


# Continuum's share of the oscillator strength of hydrogen: H. Bethe, E. Salpeter, Quantum Mechanics of One- and Two-Electron Atoms, table 13
# (2p: 0.183 to d states, 0.008 to s states).
@pytest.mark.parametrize(("subshell", "share"), [("1s", 0.435), ("2s", 0.351), ("2p", 0.191)])
def test_optical_sums(subshell, share):
    """The oscillator strengths of hydrogen's continuum add up to the known shares."""
    energy = gos.RYDBERG * np.geomspace(1.0 if subshell == "1s" else 0.25, 1e3, 20_001)
    f = gos.hydrogenic(subshell, 1.0, energy, np.zeros(1))
    assert np.trapezoid(f, energy) == pytest.approx(share, abs=1e-3)


@given(q2=st.floats(8, 40), charge=st.floats(1, 30), subshell=st.sampled_from(gos.SUBSHELLS))
def test_bethe_sum_rule(q2, charge, subshell):
    """At large momentum transfer all strength is in the continuum, one per electron, whatever the charge."""
    energy = gos.RYDBERG * charge**2 * np.geomspace(1.0 if subshell == "1s" else 0.25, 2e3, 8001)
    f = gos.hydrogenic(subshell, charge, energy, np.array(q2 * (charge / gos.BOHR) ** 2))
    assert np.trapezoid(f, energy) == pytest.approx(1, abs=3e-3)


@given(subshell=st.sampled_from(gos.SUBSHELLS), q2=st.floats(1e-4, 3))
def test_continuous_below_the_hydrogenic_threshold(subshell, q2):
    """Where screening puts the edge below Z_s^2 R / n^2, the strength goes on without a step."""
    threshold = gos.RYDBERG * 36 * (1.0 if subshell == "1s" else 0.25)
    low, high = gos.hydrogenic(subshell, 6.0, threshold * np.array([1 - 1e-4, 1 + 1e-4]), np.full(2, q2 * (6 / gos.BOHR) ** 2))
    assert low > 0
    assert low == pytest.approx(high, rel=2e-3)


def test_bad_subshell():
    """A shell without a hydrogenic model is refused."""
    with pytest.raises(SettingsError, match="3d"):
        gos.effective_charge("3d", 57)
