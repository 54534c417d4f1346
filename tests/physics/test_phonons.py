"""Thermal motion: Debye's model, the Debye-Waller factor, and (row 7) frozen phonons against the damped lattice."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants, integrate

from stemtwin.twin.physics import phonons


@given(mass=st.floats(1, 240), theta=st.floats(80, 2300), temperature=st.floats(1, 1200))
def test_debye_sigma(mass, theta, temperature):
    """<u^2> = (hbar / (2 m)) times the mean of coth(hbar w / 2kT) / w over Debye's spectrum 3 w^2 / w_D^3: the same by its definition, in SI."""
    cut = constants.k * theta / constants.hbar
    beta = constants.hbar * cut / (2 * constants.k * temperature)
    mean = integrate.quad(lambda s: 3 * s / math.tanh(beta * s) if s else 3 / beta, 0, 1, epsabs=1e-12, limit=400, points=[min(1, 1 / beta)])[0]
    expected = math.sqrt(constants.hbar / (2 * mass * constants.u * cut) * mean) * 1e10
    assert phonons.debye_sigma(mass, theta, temperature) == pytest.approx(expected, rel=1e-5)


def test_debye_limits():
    """At 0 K <u^2> = 3 hbar^2 / (4 M k theta), also just above it; at high temperature 3 hbar^2 T / (M k theta^2), the classical oscillator's."""
    zero = math.sqrt(3 * constants.hbar**2 / (4 * 12 * constants.u * constants.k * 2230)) * 1e10
    assert phonons.debye_sigma(12, 2230, 0) == pytest.approx(zero, rel=1e-6)
    assert phonons.debye_sigma(12, 2230, 0.5) == pytest.approx(zero, rel=1e-4)
    hot = math.sqrt(3 * constants.hbar**2 * 3e4 / (63.546 * constants.u * constants.k * 343**2)) * 1e10
    assert phonons.debye_sigma(63.546, 343, 3e4) == pytest.approx(hot, rel=1e-4)


# B at 280 K, A^2: Peng, Ren, Dudarev, Whelan, Acta Cryst. A 52 (1996) 456, table 1 (from measured phonon spectra).
# Debye temperatures, K: Kittel, Introduction to Solid State Physics, chapter 5, table 1 (from low-temperature heat capacities).
@pytest.mark.parametrize(
    ("mass", "theta", "b"),
    [(26.98, 428, 0.7460), (63.546, 343, 0.5260), (107.87, 225, 0.7017), (196.97, 165, 0.5925)],
)
def test_debye_sigma_of_fcc_metals(mass, theta, b):
    """B = 8 pi^2 sigma^2 of Al, Cu, Ag and Au agrees with that of their measured phonon spectra, within Debye's approximation: 15 %."""
    assert 8 * math.pi**2 * phonons.debye_sigma(mass, theta, 280) ** 2 == pytest.approx(b, rel=0.15)


@given(sigma=st.floats(0.01, 0.3), g=st.floats(0, 8))
def test_debye_waller_is_the_mean_phase(sigma, g):
    """exp(-B g^2 / 4) is the mean of exp(2 pi i g u) over a Gaussian displacement."""
    mean = integrate.quad(lambda t: math.cos(2 * math.pi * g * sigma * t) * math.exp(-(t**2) / 2) / math.sqrt(2 * math.pi), -9, 9, limit=200)[0]
    assert float(phonons.debye_waller(sigma, np.array(g**2))) == pytest.approx(mean, abs=1e-8)
    assert float(phonons.debye_waller(sigma, np.array(g**2))) == pytest.approx(math.exp(-8 * math.pi**2 * sigma**2 * g**2 / 4), rel=1e-12)


def test_displacements():
    """Displacements are independent Gaussians of the atom's own sigma along x, y and z; the same generator state gives the same ones."""
    sigma = np.repeat([0.05, 0.1, 0.0], 20_000)
    u = phonons.displacements(sigma, np.random.default_rng(1))
    assert u.shape == (60_000, 3)
    for start, width in ((0, 0.05), (20_000, 0.1)):
        part = u[start : start + 20_000]
        assert np.abs(part.std(axis=0) - width).max() < 5 * width / math.sqrt(2 * 20_000)
        assert np.abs(np.corrcoef(part.T) - np.eye(3)).max() < 5 / math.sqrt(20_000)
        assert np.abs(part.mean(axis=0)).max() < 5 * width / math.sqrt(20_000)
    assert not u[40_000:].any()
    assert (u == phonons.displacements(sigma, np.random.default_rng(1))).all()
