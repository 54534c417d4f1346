"""Inelastic forms: the density of the probe at the atoms, by one quadratic form, by multislice of each probe, and by a slow twin."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator import gram_matrix, inelastic
from stemtwin.twin.physics.engine.operator.inelastic import Absorbers
from stemtwin.twin.physics.grids import Grid
from tests.physics import twins

ENERGY, ALPHA, WAVELENGTH = 200e3, 0.02, 0.0250793
STATE = Aberrations(C10=-30, C12=15, phi12=0.7, C21=400, phi21=-1.0, C23=300, phi23=0.4, C30=2e4)


def specimen(seed, *, shape=(48, 60), extent=(6.2, 7.4), count=10, thickness=8.0, copies=(1, 1), elements=(6, 14, 38)):
    """Return slices of random atoms and the atoms as absorbers in two channels: heavy ones, localised, and all, less so."""
    at, numbers = twins.atoms(np.random.default_rng(seed), count, extent, thickness, elements)
    shifts = [(i * extent[1], j * extent[0], 0.0) for j in range(copies[0]) for i in range(copies[1])]
    at, numbers = np.concatenate([at + shift for shift in shifts]), np.tile(numbers, len(shifts))
    grid = Grid(shape=(shape[0] * copies[0], shape[1] * copies[1]), extent=(extent[0] * copies[0], extent[1] * copies[1]))
    stack = twins.stack(at, numbers, grid, ENERGY, thickness)
    plane = pot.assign_slices(at[:, 2], None).index
    weights = np.array([numbers > 10, np.ones(len(numbers))], float)
    return stack, Absorbers(positions=at[:, :2], plane=plane, weights=weights, d50=np.array([0.8, 3.0]))


def somewhere(seed, extent, count=9):
    """Return random points (x, y), some beyond the cell."""
    return np.random.default_rng(seed).uniform(-0.5, 1.5, (count, 2)) * np.array([extent[1], extent[0]])


def slow_densities(stack, atoms, at, state, semiangle):
    """Return the density at the atoms in numpy and complex128: one probe, one plane, one atom at a time; pixel masks at the aperture's edge."""
    grid = stack.grid
    ky, kx = grid.ky[:, None], grid.kx[None]
    k = np.hypot(ky, kx)
    start = np.where(k < semiangle / stack.wavelength, np.exp(-1j * probe.chi(state, ky, kx, stack.wavelength)), 0)
    start /= np.sqrt((np.abs(start) ** 2).sum())
    area, band = grid.extent[0] * grid.extent[1], k < grid.band_limit
    profiles = np.zeros((2, len(stack.planes), *grid.shape))
    for c, d50 in enumerate(atoms.d50):
        for weight, plane, (xj, yj) in zip(atoms.weights[c], atoms.plane, atoms.positions, strict=True):
            shape = np.exp(-2 * np.pi * k * d50 / (2 * math.sqrt(3))) * np.exp(-2j * np.pi * (kx * xj + ky * yj)) * band
            profiles[c, plane] += weight * np.fft.ifft2(shape).real * k.size / area
    out = np.zeros((2, len(at)))
    for p, (x0, y0) in enumerate(at):
        psi, z = start * np.exp(-2j * np.pi * (kx * x0 + ky * y0)), 0.0
        for s, plane in enumerate(stack.planes):
            psi = psi * np.exp(-1j * np.pi * stack.wavelength * k**2 * (plane - z)) * band
            psi, z = np.fft.fft2(np.fft.ifft2(psi) * stack.transmission[s]) * band, plane
            out[:, p] += (np.abs(np.fft.ifft2(psi) * k.size) ** 2 * profiles[:, s]).mean(axis=(1, 2))
    return out


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_form_is_the_direct_sum(seed):
    """One quadratic form = sum over multislice planes of |psi(r, z)|^2 mu, within 1e-4, for any aberrations, and a smaller convergence."""
    stack, atoms = specimen(seed)
    operator = inelastic.build(iter([stack]), ALPHA, lambda _: atoms, antialias=False)
    at = somewhere(seed, stack.grid.extent)
    for state, semiangle in ((Aberrations(), ALPHA), (STATE, ALPHA), (STATE, 0.7 * ALPHA)):
        np.testing.assert_allclose(operator.image(state, semiangle=semiangle).at(at), slow_densities(stack, atoms, at, state, semiangle), rtol=1e-4)


@pytest.mark.parametrize("blocks", [(1, 1), (2, 1)])
def test_form_is_multislice_of_each_probe(blocks):
    """The form equals multislice of each probe also with covered fractions at the aperture and with probes wider than the cell."""
    stack, atoms = specimen(3)
    operator = inelastic.build(iter([stack]), ALPHA, lambda _: atoms, blocks=blocks)
    at = somewhere(4, stack.grid.extent)
    theirs = inelastic.probe_densities(stack, atoms, at, STATE, ALPHA, blocks=blocks)
    np.testing.assert_allclose(operator.image(STATE).at(at), theirs, rtol=1e-4)


def test_blocks_are_a_larger_cell():
    """A wide probe in offset blocks on a small cell has the signal of the same probe on the repeated cell."""
    small, atoms = specimen(5, shape=(40, 40), extent=(5.0, 5.0), count=6)
    large, many = specimen(5, shape=(40, 40), extent=(5.0, 5.0), count=6, copies=(2, 2))
    at = somewhere(6, small.grid.extent, 5)
    ours = inelastic.build(iter([small]), ALPHA, lambda _: atoms, blocks=(2, 2), antialias=False).image(STATE).at(at)
    theirs = inelastic.build(iter([large]), ALPHA, lambda _: many, antialias=False).image(STATE).at(at)
    np.testing.assert_allclose(ours, theirs, rtol=2e-4)


@settings(max_examples=10)
@given(d50=st.floats(0.5, 6), seed=st.integers(0, 1000))
def test_thin_limit(d50, seed):
    """Where nothing scatters elastically, the signal is the density of the incident probe, convolved with the profiles."""
    grid = Grid(shape=(40, 48), extent=(8.0, 9.0))
    stack = twins.vacuum(grid, ENERGY, 1.0)
    rng = np.random.default_rng(seed)
    places = rng.random((4, 2)) * [9.0, 8.0]
    atoms = Absorbers(positions=places, plane=np.zeros(4, int), weights=np.ones((1, 4)), d50=np.array([d50]))
    at = somewhere(seed, grid.extent, 4)
    image = inelastic.build(iter([stack]), ALPHA, lambda _: atoms, antialias=False).image(STATE).at(at)[0]
    state = Aberrations.from_cartesian(**{**STATE.cartesian(), "C10": STATE.C10 + float(stack.planes[0])})
    ky, kx = grid.ky[:, None], grid.kx[None]
    a = np.where(np.hypot(ky, kx) < ALPHA / stack.wavelength, np.exp(-1j * probe.chi(state, ky, kx, stack.wavelength)), 0)
    density = np.abs(np.fft.ifft2(a)) ** 2
    density /= density.sum()
    spectrum = np.fft.fft2(density) * np.conj(np.fft.fft2(atoms.profile(grid, None)[0]))
    for point, value in zip(at, image, strict=True):
        wanted = (spectrum * np.exp(-2j * np.pi * (kx * point[0] + ky * point[1]))).sum().real / spectrum.size
        assert value == pytest.approx(wanted, rel=1e-4, abs=1e-7)


def test_total_over_the_cell_is_the_number_of_atoms():
    """Every atom is met once: the mean over the cell times its area counts the atoms, but for what the band limit loses on the way."""
    stack, atoms = specimen(7, shape=(96, 108), elements=(6, 8, 14))
    operator = inelastic.build(iter([stack]), ALPHA, lambda _: atoms)
    image = operator.image(STATE, source_size=0.4, focal_spread=20).raster(np.arange(24) / 24 * 6.2, np.arange(24) / 24 * 7.4)
    counted = image.mean(axis=(1, 2)) * 6.2 * 7.4
    np.testing.assert_allclose(counted, atoms.weights.sum(axis=1), rtol=2e-3)


def test_profiles_are_normalised_and_as_wide_as_asked():
    """A profile integrates to 1, and half of it lies inside the diameter d50."""
    grid = Grid(shape=(256, 256), extent=(64.0, 64.0))
    atoms = Absorbers(positions=np.array([[32.0, 32.0]]), plane=np.zeros(1, int), weights=np.ones((1, 1)), d50=np.array([5.0]))
    profile = atoms.profile(grid, 0)[0] * 0.25**2
    assert profile.sum() == pytest.approx(1)
    y = (np.arange(256) * 0.25 - 32.0)[:, None]
    assert profile[np.hypot(y, y.T) < 2.5].sum() == pytest.approx(0.5, abs=0.03)


def test_waves_in_portions(monkeypatch):
    """Where memory holds few planes at a time, the waves go on from the last one: the same result."""
    stack, atoms = specimen(8)
    at = somewhere(8, stack.grid.extent, 3)
    whole = inelastic.probe_densities(stack, atoms, at, STATE, ALPHA, antialias=False)
    monkeypatch.setattr(gram_matrix, "WAVES_BYTES", 1)
    np.testing.assert_allclose(inelastic.probe_densities(stack, atoms, at, STATE, ALPHA, antialias=False), whole, rtol=1e-5)


def test_shapes_are_checked():
    """Arrays that do not fit each other are refused."""
    with pytest.raises(SettingsError, match="d50"):
        Absorbers(positions=np.zeros((2, 2)), plane=np.zeros(2, int), weights=np.ones((1, 3)), d50=np.ones(1))
