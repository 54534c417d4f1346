"""Partial coherence: row 11 of the acceptance table. Factors equal direct averaging; the numbers that an instrument's data sheet gives."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants

from stemtwin.twin.physics import coherence
from stemtwin.twin.physics.aberrations import Aberrations, chi

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@given(size=st.floats(0, 1.0), qy=st.floats(-1.2, 1.2), qx=st.floats(-1.2, 1.2))
def test_source_factor(size, qy, qx):
    """A Gaussian source multiplies an image's Fourier coefficient by the mean of exp(2 pi i q.r) over the source, within 1e-5."""
    along = [float((WEIGHTS * np.cos(2 * np.pi * q * size * NODES)).sum()) for q in (qy, qx)]
    assert float(coherence.source_factor(size, np.array(qy), np.array(qx))) == pytest.approx(along[0] * along[1], abs=1e-5)


@given(spread=st.floats(0, 60), k=st.floats(0, 1.2), other=st.floats(0, 1.2), wavelength=st.floats(0.0197, 0.07))
def test_focal_factor(spread, k, other, wavelength):
    """Focal spread multiplies the interference of k and k' by the mean of exp(i (chi(k') - chi(k))) over C10, within 1e-5."""

    def phase(c10):
        one, two = (float(chi(Aberrations(C10=c10), np.array(0.0), np.array(q), wavelength)) for q in (k, other))
        return np.exp(1j * (two - one))

    mean = sum(weight * phase(spread * node) for node, weight in zip(NODES, WEIGHTS, strict=True))
    ours = float(coherence.focal_factor(spread, wavelength, np.array(k**2 - other**2)))
    # the nodes average phases up to about 12 rad per standard deviation; beyond, both are 0
    if math.pi * wavelength * spread * abs(k**2 - other**2) < 10:
        assert ours == pytest.approx(mean, abs=1e-5)
    else:
        assert ours < 1e-5


def test_image_of_a_finite_source():
    """On a sampled image the factor is a convolution with the source's Gaussian."""
    rng, length, size = np.random.default_rng(0), 12.0, 0.4
    coefficients = np.zeros((64, 64), complex)
    coefficients[:6, :6] = rng.standard_normal((6, 6))
    q = np.fft.fftfreq(64, length / 64)
    blurred = np.fft.ifft2(coefficients * coherence.source_factor(size, q[:, None], q)).real
    x = np.arange(64) * length / 64
    x = np.minimum(x, length - x)
    gauss = np.exp(-(x[:, None] ** 2 + x**2) / (2 * size**2))
    direct = np.fft.ifft2(np.fft.fft2(np.fft.ifft2(coefficients).real) * np.fft.fft2(gauss / gauss.sum())).real
    assert np.abs(blurred - direct).max() < 1e-5 * np.abs(direct).max()


# Cc and energy width of three instruments and the focal spread that follow: physics of section 4.3, computed from the formula in Reimer and Kohl,
# Transmission Electron Microscopy, section 6.5.2, with SI constants.
@pytest.mark.parametrize(
    ("energy", "chromatic", "width", "nanometre"), [(60e3, 1.1e7, 0.3, 2.47), (200e3, 1.2e7, 0.7, 2.08), (300e3, 1.6e7, 0.9, 2.50)]
)
def test_focal_spread(energy, chromatic, width, nanometre):
    """C10's standard deviation is Cc times the relative width of the energy, with the relativistic factor; ripples add in squares."""
    rest = constants.m_e * constants.c**2 / constants.e
    factor = (1 + energy / rest) / (1 + energy / (2 * rest))
    expected = chromatic * factor * width / (2 * math.sqrt(2 * math.log(2)) * energy)
    assert coherence.focal_spread(energy, chromatic, width) == pytest.approx(expected, rel=1e-6)
    assert coherence.focal_spread(energy, chromatic, width) / 10 == pytest.approx(nanometre, abs=0.006)
    rippled = coherence.focal_spread(energy, chromatic, width, voltage_ripple=1e-6, current_ripple=5e-7)
    assert rippled == pytest.approx(math.sqrt(expected**2 + (chromatic * factor * 1e-6) ** 2 + (chromatic * 1e-6) ** 2), rel=1e-6)


def test_focal_spread_follows_from_the_lens():
    """The relativistic factor is what a round magnetic lens does: f is proportional to the momentum squared, here by finite differences."""
    rest = constants.m_e * constants.c**2 / constants.e

    def focal_length(energy):
        return energy * (1 + energy / (2 * rest))

    slope = (focal_length(200e3 + 1) - focal_length(200e3 - 1)) / 2 / focal_length(200e3)
    assert coherence.focal_spread(200e3, 1e7, coherence.FWHM) == pytest.approx(1e7 * slope, rel=1e-6)


@given(current=st.floats(1, 1000), brightness=st.floats(1e12, 5e13), semiangle=st.floats(0.005, 0.04))
def test_source_size_conserves_brightness(current, brightness, semiangle):
    """I = B times the area of the source's image times the solid angle, with d_s its full width: pi d^2 / 4 and pi alpha^2."""
    full = coherence.source_size(current, brightness, semiangle) * 2 * math.sqrt(2 * math.log(2)) * 1e-10
    assert brightness * math.pi * full**2 / 4 * math.pi * semiangle**2 == pytest.approx(current * 1e-12, rel=1e-9)


def test_source_size_of_a_cold_field_emitter():
    """50 pA at 1e13 A/(m^2 sr) and 30 mrad need a source image of 0.47 A full width."""
    assert coherence.source_size(50, 1e13, 0.030) * coherence.FWHM == pytest.approx(0.47, abs=0.005)


@pytest.mark.parametrize(("source", "focal"), [(0.3, 0.0), (0.0, 30.0), (0.25, 20.0)])
def test_modes_are_the_partially_coherent_probe(source, focal):
    """The sum over modes is the density matrix: amplitudes times the factors of source and focal spread, to 1e-6 of the beam; few modes suffice."""
    rng = np.random.default_rng(2)
    k = rng.uniform(-0.8, 0.8, (150, 2))
    a = rng.normal(size=150) + 1j * rng.normal(size=150)
    a /= np.sqrt((np.abs(a) ** 2).sum())
    found = coherence.modes(a, k[:, 0], k[:, 1], 0.0251, source_size=source, focal_spread=focal)
    difference = k[:, None] - k[None]
    k2 = (k**2).sum(axis=1)
    exact = np.outer(a, a.conj()) * coherence.source_factor(source, difference[..., 0], difference[..., 1])
    exact *= coherence.focal_factor(focal, 0.0251, k2[:, None] - k2)
    rest = exact - np.einsum("mi,mj->ij", found, found.conj())
    assert np.abs(np.linalg.eigvalsh(rest)).sum() < 1e-6
    assert len(found) < 60
    assert (np.diff((np.abs(found) ** 2).sum(axis=1)) <= 1e-12).all()


def test_a_coherent_probe_is_one_mode():
    """Without source and focal spread there is one mode, the probe itself."""
    a = np.array([1, 1j, -0.5])
    np.testing.assert_array_equal(coherence.modes(a, np.zeros(3), np.arange(3.0), 0.02), a[None])
