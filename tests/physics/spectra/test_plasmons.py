"""Particle and flake plasmons: the analytic law of the sphere, its inside by a second integral, the rim's geometry."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import k0, k1

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.spectra import plasmons
from stemtwin.twin.physics.spectra.dielectric import MATERIALS

ALUMINIUM, BEAM = MATERIALS["aluminium"], 200e3


@given(impact=st.floats(50.5, 400), radius=st.floats(5, 50))
def test_law_of_the_sphere(impact, radius):
    """Outside, the probability follows [K1^2 + K0^2 / gamma^2] q^2 Im alpha, with the maximum at Ep / sqrt 3 (aluminium: 8.66 eV)."""
    loss = np.linspace(6, 11, 501)
    ours = plasmons.sphere_dipole(loss, np.array(impact), radius, ALUMINIUM, BEAM)
    gamma, velocity = electrons.lorentz_factor(BEAM), electrons.velocity_ratio(BEAM) * electrons.PLANCK_C / (2 * np.pi)
    q = loss / velocity
    eps = 1 - 15.0**2 / (loss**2 + 1j * loss * 0.53)
    alpha = radius**3 * ((eps - 1) / (eps + 2)).imag
    x = q * impact / gamma
    law = 4 * electrons.COULOMB_CONSTANT * q**2 / (np.pi * velocity**2 * gamma**2) * (k1(x) ** 2 + k0(x) ** 2 / gamma**2) * alpha
    np.testing.assert_allclose(ours, law, rtol=1e-9)
    assert loss[ours.argmax()] == pytest.approx(15 / math.sqrt(3), abs=0.05)


@pytest.mark.parametrize("impact", [5.0, 20.0, 45.0])
def test_inside_by_quadrature(impact):
    """Through the sphere, the two path integrals equal adaptive quadrature of the dipole's field, p r / a^3 inside and p r / r^3 outside."""
    q = np.array([8.66 / 1372.0])
    ours = plasmons._fields(np.array([impact]), q, 50.0, 1.0)
    reach, radius = 4e4, 50.0

    def cubed(z):
        return max(math.hypot(impact, z), radius) ** 3

    outside = {"weight": "cos", "wvar": float(q[0])}, {"weight": "sin", "wvar": float(q[0])}
    x = quad(lambda z: impact / cubed(z), 0, 60, weight="cos", wvar=float(q[0]), points=None)[0]
    x += quad(lambda z: impact / cubed(z), 60, reach, limit=4000, **outside[0])[0]
    z = quad(lambda z: z / cubed(z), 0, 60, weight="sin", wvar=float(q[0]))[0]
    z += quad(lambda z: z / cubed(z), 60, reach, limit=4000, **outside[1])[0]
    assert ours[0][0] == pytest.approx(2 * x, rel=1e-3)
    assert ours[1][0] == pytest.approx(2 * z, rel=1e-3)


def test_continuous_at_the_surface_and_finite_in_the_centre():
    """The probability has no step at b = a, and is finite through the centre."""
    loss = np.linspace(8, 9.5, 50)
    outside, inside, centre = plasmons.sphere_dipole(loss, np.array([40.001, 39.999, 0.0]), 40.0, ALUMINIUM, BEAM)
    np.testing.assert_allclose(inside, outside, rtol=1e-3)
    assert np.isfinite(centre).all()
    assert 0 < centre.max() < inside.max()


def test_far_away_it_dies_out():
    """Outside, the signal falls off faster than exp(-2 q b / gamma) allows for: decay length v gamma / (2 omega)."""
    loss = np.array([8.66])
    velocity, gamma = electrons.velocity_ratio(BEAM) * electrons.PLANCK_C / (2 * np.pi), electrons.lorentz_factor(BEAM)
    near, far = plasmons.sphere_dipole(loss, np.array([2000.0, 2100.0]), 40.0, ALUMINIUM, BEAM)[:, 0]
    assert math.log(near / far) == pytest.approx(100 / (velocity * gamma / (2 * 8.66)), rel=0.1)


def square(side, step=2.0):
    """Return the atoms of a square flake, (n, 2)."""
    at = np.arange(0, side, step)
    return np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)


def test_rim_of_a_square():
    """Distances count from the outline, on both sides; corners are sharp, straight edges are not, and a sheet without vacuum has no rim."""
    atoms = square(100.0)
    points = np.array([[50.0, 50.0], [50.0, -20.0], [0.0, 50.0], [0.0, 0.0], [98.0, 98.0]])
    distance, sharpness = plasmons.rim_weights(points, atoms)
    np.testing.assert_allclose(distance, [48, 20, 0, 0, 0], atol=3.5)
    np.testing.assert_allclose(sharpness, [0, 0, 0, 1, 1], atol=0.3)
    middle, none = plasmons.rim_weights(points[:1], np.empty((0, 2)))
    assert np.isinf(middle[0])
    assert none[0] == 0


@given(distance=st.floats(0, 100), reach=st.floats(2, 50))
def test_rim_modes_decay(distance, reach):
    """The rim's modes hold their amplitudes at the rim and fall as exp(-d / reach); corners add a line of their own, lower in energy."""
    modes = plasmons.FlakeModes(reach=reach)
    loss = np.arange(0, 40, 0.02)
    edge, corner = plasmons.flake_spectrum(loss, np.array([distance, distance]), np.array([0.0, 1.0]), modes)
    assert np.trapezoid(edge, loss) == pytest.approx(0.02 * math.exp(-distance / reach), rel=0.01)
    assert np.trapezoid(corner, loss) == pytest.approx(0.05 * math.exp(-distance / reach), rel=0.01)
    assert loss[edge.argmax()] == pytest.approx(6.0, abs=0.02)
    assert loss[corner.argmax()] < 5


def test_bad_radius():
    """A sphere without extent is refused."""
    with pytest.raises(SettingsError, match="radius"):
        plasmons.sphere_dipole(np.ones(1), np.ones(1), 0.0, ALUMINIUM, BEAM)
