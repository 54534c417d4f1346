"""Multislice as physics: rows 6 and 8 to 10 of the acceptance table."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.physics import detector_weights, electrons, probe
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.engine.operator import imaging_operator, single_probes
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.samples.sample import Sample
from tests.physics import twins
from tests.physics.engine import reference

A = 3.905  # SrTiO3
SITES = A * np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
NUMBERS = np.array([38, 22, 8, 8, 8])
RINGS = ((0.0, 10.0), (10.0, 19.0), (25.0, 50.0), (60.0, 110.0))


def ring(wavelength, inner, outer, *, antialias=True):
    """Return the weights of one annulus (mrad)."""

    def weigh(ky, kx, pixel):
        return detector_weights.annulus(ky, kx, pixel, inner * 1e-3 / wavelength, outer * 1e-3 / wavelength, antialias=antialias)[None]

    return weigh


def strontium_titanate(across, deep):
    """Return positions and numbers of SrTiO3 [001], cells across and deep."""
    steps = A * np.stack(np.meshgrid(np.arange(across), np.arange(across), np.arange(deep), indexing="ij"), axis=-1).reshape(-1, 3)
    return (SITES[None] + steps[:, None]).reshape(-1, 3), np.tile(NUMBERS, len(steps))


# ---- row 6: static fractions against references ------------------------------------------------------------------------------------------


def slow_signals(at, numbers, grid, energy, thickness, points, state, alpha, rings):
    """Return fractions by multislice in numpy and complex128 with potentials summed atom by atom, pixel masks, no oversampling."""
    slices = pot.assign_slices(at[:, 2])
    sigma, wavelength = electrons.interaction_constant(energy), electrons.wavelength(energy)
    t = [twins.transmission(at[slices.index == i], numbers[slices.index == i], grid, sigma, 1) for i in range(len(slices.planes))]
    stack = SliceStack(grid=grid, wavelength=wavelength, transmission=np.array(t), planes=slices.planes, thickness=thickness)
    k = np.hypot(grid.ky[:, None], grid.kx)
    beams = np.flatnonzero(k <= alpha / wavelength)
    ky, kx = grid.ky[beams // grid.shape[1]], grid.kx[beams % grid.shape[1]]
    a = np.exp(-1j * probe.chi(state, ky, kx, wavelength)) / math.sqrt(beams.size)
    waves = reference.multislice(stack, beams, [a * np.exp(-2j * np.pi * (kx * x + ky * y)) for x, y in points])
    masks = np.array([(k * wavelength * 1e3 >= low) & (k * wavelength * 1e3 < high) for low, high in rings])
    return np.einsum("dyx,pyx->dp", masks, np.abs(waves) ** 2)


def ours(sample, energy, state, alpha, points, rings, **settings):
    """Return fractions from the front door, antialias=False, oversampling=1."""
    beam = Beam(energy_ev=energy, semiangle_mrad=alpha * 1e3, aberrations=state)
    detectors = tuple(AnnularDetector(inner_mrad=low, outer_mrad=high) for low, high in rings)
    settings = {"engine": "multislice", "antialias": False, "oversampling": 1} | settings
    signals = simulate(sample, beam, PathScan(positions_angstrom=points), detectors=detectors, **settings)
    return np.array([signals[d.name].values for d in detectors])


@pytest.mark.parametrize("cells", [(4, 1), pytest.param((4, 5), marks=pytest.mark.slow)])
def test_static_fractions(cells):
    """Row 6: fractions at named points and a cell's mean equal a slow, exact reference on the same grid: 1e-5 where max(1 %, 2e-4) is asked."""
    at, numbers = strontium_titanate(*cells)
    side, thickness = cells[0] * A, cells[1] * A
    grid = Grid(shape=(240, 240), extent=(side, side))
    raster = A / 4 * np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)
    points = np.concatenate([[[0, 0], [A / 2, A / 2], [A / 2, 0], [1.03, 0.77]], raster])
    sample = Sample(name="sto", numbers=numbers, positions_angstrom=at, size_angstrom=(side, side), thickness_angstrom=thickness)
    state = Aberrations(C10=-10, C30=1e4)
    rings = ((0.0, 10.0), (10.0, 19.0), (25.0, 50.0), (55.0, 100.0))
    theirs = slow_signals(at, numbers, grid, 200e3, thickness, points, state, 0.02, rings)
    got = ours(sample, 200e3, state, 0.02, points, rings, grid=(240, 240), phonons="static")
    assert np.abs(got - theirs).max() < 1e-6
    assert np.abs(got / theirs - 1)[theirs > 1e-5].max() < 1e-5
    assert np.abs(got[:, 4:].mean(axis=1) / theirs[:, 4:].mean(axis=1) - 1).max() < 1e-5


def compare_slices(at, numbers, shape, extent, energy, z, state, points):
    """Return our fractions and abTEM's of the same potential slices."""
    grid = Grid(shape=shape, extent=extent)
    v = [pot.projected_potential(at[i :: len(z)], numbers[i :: len(z)], grid) for i in range(len(z))]
    slices = PotentialSlices(array=v, sampling_angstrom=grid.sampling, z_angstrom=z)
    largest = 0.98e3 * grid.max_angle(electrons.wavelength(energy))
    rings = ((0.0, 10.0), (21.0, 45.0), (50.0, largest))
    return (ours(slices, energy, state, 0.02, points, rings, engine=engine) for engine in ("multislice", "abtem"))


STATE = Aberrations(C10=-30, C12=20, phi12=0.6, C21=500, phi21=1.2, C23=400, phi23=-0.3, C30=3e4)


@pytest.mark.parametrize(
    ("shape", "planes", "seed"),
    [((128, 144), 3, 1), pytest.param((256, 240), 12, 2, marks=pytest.mark.reference), pytest.param((300, 270), 8, 3, marks=pytest.mark.reference)],
)
def test_abtem_with_our_slices(shape, planes, seed):
    """AbTEM, fed with our potential slices at their true, unequal depths, gives our fractions within 1e-5, on a grid whose x and y differ."""
    rng = np.random.default_rng(seed)
    extent = (14.1, 15.3)
    z = 0.7 + np.cumsum(rng.uniform(0.8, 3.0, planes))
    at, numbers = twins.atoms(rng, 20 * planes, extent, 1.0)
    points = rng.random((6, 2)) * np.array([extent[1], extent[0]])
    mine, theirs = compare_slices(at, numbers, shape, extent, 200e3, z, STATE, points)
    seen = theirs > 1e-5
    assert seen.all()
    assert np.abs(mine / theirs - 1).max() < 1e-5


@pytest.mark.reference
@pytest.mark.parametrize("parametrization", ["kirkland", "lobato"])
def test_abtem_with_its_own_potential(parametrization):
    """AbTEM's own potential, with atoms on grid points (elsewhere its bilinear placement is off), agrees within 2 %."""
    at, numbers = strontium_titanate(4, 5)
    sample = Sample(name="sto", numbers=numbers, positions_angstrom=at, size_angstrom=(4 * A, 4 * A), thickness_angstrom=5 * A)
    points = np.array([[0, 0], [A / 2, A / 2], [A / 2, 0], [1.03, 0.77]])
    both = [
        ours(sample, 200e3, Aberrations(), 0.02, points, RINGS, engine=engine, grid=(400, 400), phonons="static", parametrization=parametrization)
        for engine in ("multislice", "abtem")
    ]
    difference = np.abs(both[0] - both[1])
    assert (difference < np.maximum(0.02 * both[1], 2e-4)).all()


# ---- row 8: sub-pixel translation --------------------------------------------------------------------------------------------------------


def spread_over_shifts(number, sampling, oversampling, energy, shifts, points):
    """Return how much the HAADF signal of one atom under the probe varies when both move by fractions of a pixel.

    With oversampling 2: (max - min) / mean. With oversampling 1, where exp(i sigma V) itself is aliased on the wave's grid (the twin in complex128
    varies just as much), the largest deviation from the mean: tin at 0.04 A and 200 kV reaches 2.9 %, its whole range 5.5 %.
    """
    wavelength = electrons.wavelength(energy)
    grid = Grid(shape=(points, points), extent=(points * sampling, points * sampling))
    top = min(200.0, 0.98e3 * grid.max_angle(wavelength))
    weigh, out = ring(wavelength, 60.0, top, antialias=False), []
    for fraction in shifts:
        at = np.array([[*(points // 2 * sampling + sampling * np.asarray(fraction)), 0.0]])
        stack = twins.stack(at, np.array([number]), grid, energy, 0.0, oversampling=oversampling)
        out.append(single_probes.probe_signals(stack, at[:, :2], Aberrations(), 0.02, weigh, antialias=False)[0, 0])
    return np.ptp(out) / np.mean(out) if oversampling > 1 else np.abs(out / np.mean(out) - 1).max()


SHIFTS = ((0, 0), (0.5, 0), (0.5, 0.5), (0.25, 0.1))
FULL_SHIFTS = tuple((x, y) for x in (0, 0.2, 0.35, 0.5, 0.8) for y in (0, 0.25, 0.5))


@pytest.mark.parametrize(
    ("number", "sampling", "oversampling", "limit"),
    [(6, 0.04, 1, 0.04), (38, 0.04, 1, 0.04), (50, 0.04, 1, 0.04), (38, 0.04, 2, 0.025), (79, 0.04, 2, 0.025), (92, 0.04, 2, 0.025)],
)
def test_sub_pixel_translation(number, sampling, oversampling, limit):
    """HAADF does not depend on where between grid points an atom sits, probe with it, within row 8's limits."""
    assert spread_over_shifts(number, sampling, oversampling, 200e3, SHIFTS, 240) < limit


@pytest.mark.slow
@pytest.mark.parametrize("energy", [60e3, 200e3, 300e3])
@pytest.mark.parametrize(
    ("sampling", "oversampling", "limit", "elements"),
    [
        (0.04, 2, 0.025, (6, 14, 29, 38, 50, 79, 92)),
        (0.02, 2, 0.02, (6, 14, 29, 38, 50, 79, 92)),
        (0.04, 1, 0.04, (6, 14, 29, 38, 50)),
        (0.02, 1, 0.01, (6, 14, 29, 38, 50)),
    ],
)
def test_sub_pixel_translation_of_all(energy, sampling, oversampling, limit, elements):
    """Row 8 for light and heavy elements at three voltages and two samplings."""
    for number in elements:
        assert spread_over_shifts(number, sampling, oversampling, energy, FULL_SHIFTS, round(9.6 / sampling)) < limit, number


# ---- row 9: the cross-section of one atom ------------------------------------------------------------------------------------------------


def cross_section(t, grid, wavelength, alpha, inner, outer):
    """Return sum_q W(q) |T(q)|^2 / (Lx Ly), A^2: T = dx dy FFT(t - 1), W the correlation of the normalised aperture with the detector."""
    k = np.hypot(grid.ky[:, None], grid.kx)
    opening = (k <= alpha / wavelength).astype(float)
    opening /= opening.sum()
    detector = ((k >= inner * 1e-3 / wavelength) & (k < outer * 1e-3 / wavelength)).astype(float)
    overlap = np.fft.ifft2(np.fft.fft2(detector) * np.fft.fft2(opening).conj()).real
    transform = np.prod(grid.sampling) * np.fft.fft2(t - 1)
    return float((overlap * np.abs(transform) ** 2).sum() / np.prod(grid.extent))


@pytest.mark.parametrize(
    ("number", "energy"), [(14, 200e3), (79, 200e3), pytest.param(38, 60e3, marks=pytest.mark.slow), pytest.param(92, 300e3, marks=pytest.mark.slow)]
)
def test_cross_section_of_one_atom(number, energy):
    """Row 9: the image of an atom, summed over the scan, is its ADF cross-section: 2 % on the same grid, and of a finer one's with oversampling 2."""
    points, side, alpha = 200, 8.0, 0.02
    wavelength, sigma = electrons.wavelength(energy), electrons.interaction_constant(energy)
    grid = Grid(shape=(points, points), extent=(side, side))
    outer = min(200.0, 0.98e3 * grid.max_angle(wavelength) - alpha * 1e3)
    at = np.array([[3.013, 4.421, 0.0]])
    stack = twins.stack(at, np.array([number]), grid, energy, 0.0, oversampling=2)
    exact = cross_section(stack.transmission[0].astype(complex), grid, wavelength, alpha, 60.0, outer)
    operator = imaging_operator.build(iter([stack]), alpha, ring(wavelength, 60.0, outer, antialias=False), antialias=False)
    step = side / 36  # finer than the image's band limit needs, so that the sum is the integral
    scanned = float(operator.image(Aberrations(C10=-20)).raster(np.arange(36) * step, np.arange(36) * step).sum(dtype=float) * step**2)
    assert scanned == pytest.approx(exact, rel=1e-4)
    fine = Grid(shape=(4 * points, 4 * points), extent=(side, side))
    v = pot.projected_potential(at, np.array([number]), fine)
    converged = cross_section(pot.transmission(v, sigma, fine), fine, wavelength, alpha, 60.0, outer)
    assert scanned == pytest.approx(converged, rel=0.02)


def test_brute_force_scan_is_the_operator():
    """The same sum by multislice of each probe of the scan (row 9, brute force)."""
    grid, alpha, wavelength = Grid(shape=(100, 100), extent=(5.0, 5.0)), 0.02, electrons.wavelength(200e3)
    stack = twins.stack(np.array([[2.013, 1.421, 0.0]]), np.array([38]), grid, 200e3, 0.0, oversampling=2)
    x = np.arange(20) * 0.25
    at = np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)
    weigh = ring(wavelength, 60.0, 100.0, antialias=False)
    scanned = single_probes.probe_signals(stack, at, Aberrations(), alpha, weigh, antialias=False).sum() * 0.25**2
    exact = cross_section(stack.transmission[0].astype(complex), grid, wavelength, alpha, 60.0, 100.0)
    assert scanned == pytest.approx(exact, rel=1e-4)


# ---- row 10: vacuum and the centre of mass -----------------------------------------------------------------------------------------------


@given(d=st.floats(0, 200), c10=st.floats(-150, 150), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8)
def test_vacuum_in_front_is_defocus(d, c10, seed):
    """A slab of vacuum d in front of the specimen gives the same signals as C10 + d, within 1e-6; vacuum behind changes none."""
    grid, energy = Grid(shape=(64, 60), extent=(7.0, 6.6)), 200e3
    at, numbers = twins.atoms(np.random.default_rng(seed), 8, grid.extent, 5.0)
    near = twins.stack(at, numbers, grid, energy, 5.0)
    far = SliceStack(grid=grid, wavelength=near.wavelength, transmission=near.transmission, planes=near.planes + d, thickness=d + 30.0)
    points = np.random.default_rng(seed).random((4, 2)) * 6

    def weigh(ky, kx, pixel):
        return np.concatenate([ring(near.wavelength, low, high)(ky, kx, pixel) for low, high in ((0, 10), (21, 40), (40, 65))])

    one = single_probes.probe_signals(far, points, Aberrations(C10=c10, C30=1e4), 0.02, weigh)
    other = single_probes.probe_signals(near, points, Aberrations(C10=c10 + d, C30=1e4), 0.02, weigh)
    assert np.abs(one - other).max() < 1e-6
    assert np.abs(one / other - 1).max() < 1e-5


@pytest.mark.parametrize("number", [6, 8, 14, 16])
def test_centre_of_mass(number):
    """One slice: the pattern's centre of mass is <k> = (1 / 2 pi) sum |psi|^2 grad(sigma V), within 1e-3 for Z <= 16 at 0.04 A (row 10)."""
    energy, grid = 200e3, Grid(shape=(250, 240), extent=(10.0, 9.6))
    wavelength, sigma = electrons.wavelength(energy), electrons.interaction_constant(energy)
    atom = np.array([[4.812, 5.137, 0.0]])
    stack = twins.stack(atom, np.array([number]), grid, energy, 0.0, oversampling=2)
    v = pot.projected_potential(atom, np.array([number]), grid).astype(float)
    gradient = [np.fft.ifft2(2j * np.pi * k * np.fft.fft2(sigma * v)).real for k in (grid.kx, grid.ky[:, None])]
    ky, kx = grid.ky[:, None], grid.kx
    measured, expected = [], []
    for shift in ((0.4, 0.0), (0.3, 0.3), (-0.1, 0.6), (0.2, -0.9)):
        x, y = atom[0, :2] + shift
        a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, wavelength, 0.02, Aberrations(), antialias=False) * np.exp(
            -2j * np.pi * (kx * x + ky * y)
        )
        beams = np.flatnonzero(a)
        behind = exit_coefficients(stack, beams, a.ravel()[beams][None].astype(np.complex64), np.arange(grid.band.size))[0].reshape(grid.shape)
        pattern = np.abs(behind.astype(complex)) ** 2
        measured.append([(pattern * kx).sum() / pattern.sum(), (pattern * ky).sum() / pattern.sum()])
        density = np.abs(np.fft.ifft2(a)) ** 2 * a.size
        expected.append([(density * g).sum() / (2 * np.pi) for g in gradient])
    measured, expected = np.array(measured), np.array(expected)
    assert np.abs(measured - expected).max() < 1e-3 * np.abs(expected).max()
    assert (expected[0, 0], expected[1, 0]) < (0, 0)  # the beam right of the atom is drawn left, towards it


# ---- invariances -------------------------------------------------------------------------------------------------------------------------


def test_mirror_and_periods():
    """A specimen mirrored in x gives the mirrored image, and moved by whole periods the same one."""
    energy, grid, thickness = 200e3, Grid(shape=(48, 60), extent=(6.0, 7.5)), 6.0
    at, numbers = twins.atoms(np.random.default_rng(3), 8, grid.extent, thickness)
    mirrored = at * np.array([-1, 1, 1]) + np.array([7.5, 0, 0])
    moved = at + np.array([7.5, -12.0, 0])
    weigh = ring(electrons.wavelength(energy), 21.0, 50.0)
    points = np.random.default_rng(4).random((5, 2)) * 6
    first, second, third = (
        single_probes.probe_signals(twins.stack(a, numbers, grid, energy, thickness), p, Aberrations(C10=-20), 0.02, weigh)
        for a, p in ((at, points), (mirrored, points * np.array([-1, 1]) + np.array([7.5, 0])), (moved, points))
    )
    assert np.allclose(second, first, rtol=1e-4)
    assert np.allclose(third, first, rtol=1e-5)


def test_reciprocity_of_thin_slices():
    """The order of slices without distance between them does not matter, and one slice of both is nearly the same (phases add)."""
    energy, grid = 200e3, Grid(shape=(64, 64), extent=(5.0, 5.0))
    at, numbers = twins.atoms(np.random.default_rng(5), 6, grid.extent, 1.0, elements=(6, 14))
    weigh = ring(electrons.wavelength(energy), 0.0, 40.0)
    points = np.random.default_rng(6).random((4, 2)) * 5

    def signals(z):
        placed = np.column_stack([at[:, :2], z])
        return single_probes.probe_signals(twins.stack(placed, numbers, grid, energy, 5.0), points, Aberrations(), 0.02, weigh)

    apart = signals(np.where(np.arange(6) < 3, 0.0, 1.1))
    swapped = signals(np.where(np.arange(6) < 3, 1.1, 0.0))
    together = signals(np.zeros(6))
    assert np.allclose(apart, swapped, rtol=5e-3)
    assert np.allclose(apart, together, rtol=5e-3)
