"""A film on the specimen: no electron is lost or made, thin films add up, and what is collected follows the atoms' cross-section."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.physics import detector_weights, electrons, overlayer
from stemtwin.twin.physics.spectra.lowloss import elastic_cross_section

ENERGY, SEMIANGLE = 100e3, 25e-3


def rings(*edges, energy=ENERGY):
    """Return the weights of rings between successive angles, rad."""
    wavelength = electrons.wavelength(energy)

    def weights(ky, kx, pixel):
        return np.stack([detector_weights.annulus(ky, kx, pixel, a / wavelength, b / wavelength) for a, b in itertools.pairwise(edges)])

    return weights


def shares(*edges, semiangle=SEMIANGLE, **settings):
    """Return what rings collect."""
    return overlayer.collected_share(rings(*edges), max(edges), ENERGY, semiangle, **settings)


def test_complementary_detectors_conserve_electrons():
    """Rings that tile a disc collect what the disc collects; a disc of 0.4 rad collects all but the cross-section beyond."""
    assert shares(0, 0.01, 0.025, 0.06, 0.2, 0.4).sum() == pytest.approx(shares(0, 0.4)[0], rel=1e-6)
    beyond = elastic_cross_section(6, ENERGY, 0.4) / elastic_cross_section(6, ENERGY, 0.0)
    assert shares(0, 0.4)[0] == pytest.approx(1 - beyond, abs=0.01)


def test_a_narrow_beam_is_scattered_as_atoms_scatter():
    """For a cone much narrower than the detector, what a ring collects is the cross-section between its angles, by the radial integral."""
    for inner, outer in ((0.03, 0.06), (0.06, 0.2)):
        expected = elastic_cross_section(6, ENERGY, inner) - elastic_cross_section(6, ENERGY, outer)
        assert shares(inner, outer, semiangle=2e-3)[0] == pytest.approx(expected / elastic_cross_section(6, ENERGY, 0.0), rel=0.02)


def test_a_cone_moves_electrons_outwards():
    """The wider the beam's cone, the fewer of its scattered electrons stay within 20 mrad; a tilted beam leaves the axis."""
    collected = [shares(0, 0.02, semiangle=angle)[0] for angle in (5e-3, 15e-3, 30e-3)]
    assert collected == sorted(collected, reverse=True)
    assert shares(0, 0.02, tilt=(0.03, 0.0))[0] < 0.8 * shares(0, 0.02)[0]
    assert shares(0.06, 0.2, tilt=(0.0, 0.0), semiangle=0.01)[0] == pytest.approx(shares(0.06, 0.2, tilt=(0.002, 0.001), semiangle=0.01)[0], rel=0.03)


def test_a_camera_tiles_what_rings_collect():
    """Pixels of a camera add up to those of a coarser one, and over a ring to what the ring collects; a tilted beam moves the pattern."""
    fine, coarse = (np.linspace(-0.06, 0.06, n + 1) for n in (96, 24))
    pattern = overlayer.collected_pattern(fine, fine, ENERGY, SEMIANGLE)
    binned = pattern.reshape(24, 4, 24, 4).sum(axis=(1, 3))
    np.testing.assert_allclose(overlayer.collected_pattern(coarse, coarse, ENERGY, SEMIANGLE), binned, rtol=2e-3)
    middle = (fine[1:] + fine[:-1]) / 2
    ring = detector_weights.annulus(middle[:, None], middle[None], (fine[1] - fine[0],) * 2, 0.03, 0.055)
    assert (ring * pattern).sum() == pytest.approx(shares(0.03, 0.055)[0], rel=2e-3)
    tilted = overlayer.collected_pattern(fine, fine, ENERGY, SEMIANGLE, (0.005, -0.01))  # x by 4 pixels, y by -8
    np.testing.assert_allclose(tilted[20:60, 30:60], pattern[28:68, 26:56], rtol=5e-3)
    np.testing.assert_allclose(pattern, pattern[::-1, ::-1], rtol=1e-9)


@given(first=st.floats(0, 200), second=st.floats(0, 200))
def test_films_add_up(first, second):
    """Two films scatter what one of their common height scatters: 1 - p multiplies."""
    one, two, both = (1 - overlayer.scattered_share(np.array([h]), ENERGY) for h in (first, second, first + second))
    np.testing.assert_allclose(one * two, both, rtol=1e-12)


def test_a_bare_film_and_a_clean_specimen():
    """In vacuum a thin film gives n h sigma_D on a dark field; without a film the very array comes back; a bright field loses what dark ones gain."""
    collected = shares(0, 0.06, 0.4)
    vacuum = np.array([[1.0, 1.0], [0.0, 0.0]], dtype=np.float32)
    assert overlayer.behind_film(vacuum, np.zeros(2), collected, ENERGY) is vacuum
    height = np.array([0.5, 5.0])
    seen = overlayer.behind_film(vacuum, height, collected, ENERGY)
    sigma = collected[1] * elastic_cross_section(6, ENERGY, 0.0)
    assert seen[1] == pytest.approx(overlayer.CARBON_DENSITY * height * sigma, rel=0.02)
    outside = 1 - collected.sum()
    assert seen.sum(axis=0) == pytest.approx(1 - outside * overlayer.scattered_share(height, ENERGY), abs=1e-6)


def test_the_scattered_share_follows_the_velocity():
    """Born's cross-section falls as 1 / beta^2: films are that much thinner for faster electrons; behind one mean free path, 1/e is left."""
    thin = np.array(1e-3)
    values = [overlayer.scattered_share(thin, energy) * electrons.velocity_ratio(energy) ** 2 for energy in (60e3, 100e3, 300e3)]
    assert values == pytest.approx([values[0]] * 3, rel=0.01)
    path = 1 / (overlayer.CARBON_DENSITY * elastic_cross_section(6, ENERGY, 0.0))
    assert math.isclose(overlayer.scattered_share(np.array(path), ENERGY), 1 - math.exp(-1), rel_tol=1e-12)
