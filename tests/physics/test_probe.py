"""The incident probe: row 11 of the acceptance table (Airy widths, Strehl ratios), and apertures by their exact area."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from stemtwin.twin.physics import electrons, probe
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations, chi
from stemtwin.twin.physics.grids import Grid


@given(radius=st.floats(0.0, 9.0), dy=st.floats(0.3, 2.5), dx=st.floats(0.3, 2.5), offset=st.tuples(st.floats(-1, 1), st.floats(-1, 1)))
def test_covered_fractions_add_up_to_the_disc(radius, dy, dx, offset):
    """Pixels of any shape, laid anywhere, cover a disc's exact area, from a speck inside one pixel to hundreds of pixels."""
    ky = (np.arange(-40, 41) + offset[0]) * dy
    kx = (np.arange(-40, 41) + offset[1]) * dx
    part = probe.disc_coverage(ky[:, None], kx, (dy, dx), radius)
    assert part.min() >= 0
    assert part.max() <= 1
    assert part.sum() * dy * dx == pytest.approx(math.pi * radius**2, rel=1e-9, abs=1e-12)


@given(radius=st.floats(0.2, 4.0), y=st.floats(-4, 4), x=st.floats(-4, 4), dy=st.floats(0.2, 2), dx=st.floats(0.2, 2))
@settings(max_examples=50)
def test_one_covered_fraction(radius, y, x, dy, dx):
    """The covered fraction of one pixel is that of its points inside the disc (slow twin: 400 lines across it, each cut exactly)."""
    lines = y + dy * ((np.arange(400) + 0.5) / 400 - 0.5)
    half = np.sqrt(np.maximum(radius**2 - lines**2, 0))
    length = np.clip(np.minimum(half, x + dx / 2) - np.maximum(-half, x - dx / 2), 0, None)
    ours = probe.disc_coverage(np.array([y]), np.array([x]), (dy, dx), radius)[0]
    assert ours == pytest.approx((length / dx).mean(), abs=2e-3)


def radial_profile(energy, alpha, radii):
    """Return the intensity of an aberration-free probe at distances from its centre, divided by that at the centre, and that at the centre, 1/A^2."""
    grid, wavelength = Grid(shape=(256, 250), extent=(38.0, 41.0)), electrons.wavelength(energy)
    pixel = grid.reciprocal_sampling
    a = probe.amplitudes(grid.ky[:, None], grid.kx, pixel, wavelength, alpha, Aberrations())
    along = (a.sum(axis=0) @ np.exp(2j * np.pi * np.outer(grid.kx, radii))) / math.sqrt(np.prod(grid.extent))
    intensity = np.abs(along) ** 2
    return intensity / intensity[0], intensity[0]


@pytest.mark.parametrize(("energy", "alpha"), [(60e3, 0.030), (200e3, 0.020), (300e3, 0.025)])
def test_airy(energy, alpha):
    """An aberration-free probe is Airy's: (2 J1(v) / v)^2, v = 2 pi alpha r / lambda; FWHM 0.5145, first zero at 0.6098 lambda / alpha.

    Born and Wolf, Principles of Optics, section 8.5.2. Its peak is pi (alpha / lambda)^2 of the beam per A^2.
    """
    wavelength = electrons.wavelength(energy)
    r = np.linspace(0, 1.2 * wavelength / alpha, 2401)
    profile, peak = radial_profile(energy, alpha, r)
    half = r[np.argmax(profile < 0.5)]
    zero = r[: 2 * np.argmax(profile < 0.02)][np.argmin(profile[: 2 * np.argmax(profile < 0.02)])]
    assert 2 * half == pytest.approx(0.51450 * wavelength / alpha, rel=0.01)
    assert zero == pytest.approx(0.60983 * wavelength / alpha, rel=0.01)
    assert peak == pytest.approx(math.pi * (alpha / wavelength) ** 2, rel=1e-6)
    v = 2 * np.pi * alpha * r[1:] / wavelength
    assert np.abs(profile[1:] - (2 * special.j1(v) / v) ** 2).max() < 2e-3


@given(extent=st.tuples(st.floats(10, 40), st.floats(10, 40)))
@settings(max_examples=20)
def test_norm(extent):
    """With covered fractions sum |a|^2 is a little below 1 (the tails beyond the window); with pixel masks it is 1; phases change neither."""
    ky, kx = np.fft.fftfreq(96, extent[0] / 96)[:, None], np.fft.fftfreq(96, extent[1] / 96)
    pixel = (1 / extent[0], 1 / extent[1])
    for state in (Aberrations(), Aberrations(C10=100, C23=500)):
        soft = (np.abs(probe.amplitudes(ky, kx, pixel, 0.025, 0.02, state)) ** 2).sum()
        assert 0.9 < soft <= 1 + 1e-9
        hard = probe.amplitudes(ky, kx, pixel, 0.025, 0.02, state, antialias=False)
        assert (np.abs(hard) ** 2).sum() == pytest.approx(1, rel=1e-12)
        assert np.array_equal(hard != 0, np.hypot(ky, kx) <= 0.02 / 0.025)


# ---- Strehl ratios -----------------------------------------------------------------------------------------------------------------------


@given(c10=st.floats(-300, 300))
@settings(max_examples=25)
def test_strehl_of_defocus(c10):
    """Defocus alone: (sin(u / 2) / (u / 2))^2 with u = pi C10 alpha^2 / lambda (Born and Wolf, section 8.8.2)."""
    u = math.pi * c10 * 0.02**2 / 0.025
    assert probe.strehl_ratio(0.025, 0.02, Aberrations(C10=c10)) == pytest.approx(np.sinc(u / (2 * math.pi)) ** 2, rel=1e-12, abs=1e-15)


def slow_strehl(wavelength, semiangle, state, *, radii=120, azimuths=1024):
    """abs(mean exp(-i chi))^2 by Gauss-Legendre nodes in alpha, weighted with alpha, and many equidistant azimuths."""
    nodes, weights = np.polynomial.legendre.leggauss(radii)
    alpha, phi = semiangle * (nodes + 1) / 2, 2 * np.pi * np.arange(azimuths) / azimuths
    k = alpha[:, None] / wavelength
    field = np.exp(-1j * chi(state, k * np.sin(phi), k * np.cos(phi), wavelength)).mean(axis=1)
    return abs((weights * alpha * field).sum() / semiangle) ** 2


@given(
    c10=st.floats(-400, 400), c12a=st.floats(-200, 200), c12b=st.floats(-200, 200),
    energy=st.sampled_from([60e3, 200e3, 300e3]), semiangle=st.floats(0.005, 0.025),
)  # fmt: skip
@settings(max_examples=30)
def test_strehl_of_the_first_order(c10, c12a, c12b, energy, semiangle):
    """For C10 and C12 the integral of one Bessel function is the mean over the disc, and lies in [0, 1]."""
    wavelength, state = electrons.wavelength(energy), Aberrations.from_cartesian(C10=c10, C12a=c12a, C12b=c12b)
    ratio = probe.strehl_ratio(wavelength, semiangle, state)
    assert 0 <= ratio <= 1
    assert math.sqrt(ratio) == pytest.approx(math.sqrt(slow_strehl(wavelength, semiangle, state, azimuths=256)), abs=1e-12)


@st.composite
def aberrated(draw, total):
    """Draw aberrations of all orders whose phases at the edge of an aperture of 20 mrad add up to so many rad, lambda = 0.025 A."""
    parts = np.array(draw(st.lists(st.floats(0, 1), min_size=len(ORDERS), max_size=len(ORDERS)))) ** 4 + 1e-6
    values = {}
    for (n, m), part in zip(ORDERS, parts / parts.sum(), strict=True):
        values[f"C{n}{m}"] = total * part * (n + 1) * 0.025 / (2 * math.pi * 0.02 ** (n + 1)) * draw(st.sampled_from([-1, 1]))
        if m:
            values[f"phi{n}{m}"] = draw(st.floats(-3, 3))
    return Aberrations(**values)


@given(state=st.floats(0.1, 30).flatmap(aberrated))
@settings(max_examples=25, deadline=None)
def test_strehl_of_all_orders(state):
    """For phases up to 30 rad the mean over the disc is that of many more points, to 1e-12."""
    assert math.sqrt(probe.strehl_ratio(0.025, 0.02, state)) == pytest.approx(math.sqrt(slow_strehl(0.025, 0.02, state)), abs=1e-12)


@pytest.mark.parametrize("c10", [3e3, 1e5])
def test_strehl_far_from_focus(c10):
    """Hundreds and thousands of rad at the edge: the closed form of defocus holds, and a trace of coma changes it by its square only."""
    u = math.pi * c10 * 0.02**2 / 0.025
    closed = np.sinc(u / (2 * math.pi)) ** 2
    assert probe.strehl_ratio(0.025, 0.02, Aberrations(C10=c10)) == pytest.approx(closed, abs=1e-13)
    assert probe.strehl_ratio(0.025, 0.02, Aberrations(C10=c10, C21=1e-3)) == pytest.approx(closed, abs=1e-10)


@given(c30=st.floats(-3e5, 3e5), aside=st.floats(-150, 150))
@settings(max_examples=25)
def test_strehl_pairs(c30, aside):
    """With spherical aberration ratios are equal on both sides of C10 = -C30 alpha^2 / 2 (displacement theorem, Born and Wolf, section 9.1.2)."""
    best = -c30 * 0.02**2 / 2
    one, other = (probe.strehl_ratio(0.025, 0.02, Aberrations(C10=best + side * aside, C30=c30)) for side in (1, -1))
    assert one == pytest.approx(other, abs=1e-12)


@given(c10=st.floats(-100, 100), c12=st.floats(0, 100), c21=st.floats(0, 3000), c23=st.floats(0, 3000), turn=st.floats(-3, 3))
@settings(max_examples=25)
def test_strehl_symmetries(c10, c12, c21, c23, turn):
    """All phases reversed, or all azimuths turned together, give the same ratio; it lies between 0 and 1."""
    state = {"C10": c10, "C12": c12, "C21": c21, "C23": c23}
    angles = {"phi12": 0.4, "phi21": -0.9, "phi23": 0.2}
    ratio = probe.strehl_ratio(0.025, 0.02, Aberrations(**state, **angles))
    reversed_ = probe.strehl_ratio(0.025, 0.02, Aberrations(**{k: -v for k, v in state.items()}, **angles))
    turned = probe.strehl_ratio(0.025, 0.02, Aberrations(**state, **{k: v + turn for k, v in angles.items()}))
    assert 0 <= ratio <= 1 + 1e-12
    assert reversed_ == pytest.approx(ratio, abs=1e-12)
    assert turned == pytest.approx(ratio, abs=1e-12)


def test_strehl_of_small_phases():
    """For small phases the ratio is 1 - the variance of chi over the disc (Marechal): astigmatism C12: (pi C12 alpha^2 / lambda)^2 / 6."""
    c12 = 2.0
    variance = (math.pi * c12 * 0.02**2 / 0.025) ** 2 / 6
    assert 1 - probe.strehl_ratio(0.025, 0.02, Aberrations(C12=c12, phi12=1.0)) == pytest.approx(variance, rel=0.02)


def test_strehl_is_the_peak():
    """The ratio is the aberrated probe's intensity on the axis divided by the perfect probe's, here from the probe's own Fourier amplitudes."""
    grid, state = Grid(shape=(256, 256), extent=(60.0, 60.0)), Aberrations(C10=-40, C12=20, phi12=0.5, C30=5e4)
    pixel = grid.reciprocal_sampling
    there, perfect = (np.abs(probe.amplitudes(grid.ky[:, None], grid.kx, pixel, 0.025, 0.02, s).sum()) ** 2 for s in (state, Aberrations()))
    assert probe.strehl_ratio(0.025, 0.02, state) == pytest.approx(there / perfect, abs=2e-3)
