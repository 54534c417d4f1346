"""Patterns: the scattering matrix is multislice, masks are detectors, the centre of mass is the phase's gradient."""

import itertools

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import camera_pixels, detector_weights, electrons, potential, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import beam_blocks, diffraction, single_probes
from stemtwin.twin.physics.engine.operator.diffraction import Camera, ProbeOptics
from stemtwin.twin.physics.grids import Grid

ENERGY, SEMIANGLE = 100e3, 25e-3
WAVELENGTH = electrons.wavelength(ENERGY)
POINTS = np.array([[1.0, 2.0], [3.0, 0.5], [5.0, 5.2], [0.0, 0.0]])
STATE = Aberrations(C10=-30, C12=10, phi12=0.4, C30=1e4)


def crystal(cells: int = 2, points: int = 48, *, shift: float = 0.0) -> SliceStack:
    """A simple cubic crystal of strontium and oxygen, two cells deep; ``shift`` moves the oxygen."""
    a = 3.9
    grid = Grid(shape=(points * cells, points * cells), extent=(a * cells, a * cells))
    base = np.array([[0.5, 0.5, 0.5], [0.0 + shift, 0.0, 0.25]]) * a
    steps = np.array(list(itertools.product(range(cells), range(cells), range(2)))) * a
    atoms = (base[None] + steps[:, None]).reshape(-1, 3)
    slices = potential.assign_slices(atoms[:, 2])
    numbers = np.tile([38, 8], len(steps))
    transmission = potential.transmissions(atoms, numbers, slices, grid, electrons.interaction_constant(ENERGY))
    return SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=transmission, planes=slices.planes, thickness=2 * a)


def native(stack: SliceStack, blocks: tuple[int, int], shape: tuple[int, int]) -> Camera:
    """A camera whose pixels are the reciprocal pixels."""
    return Camera(shape=shape, pitch=beam_blocks.block_pixel(stack.grid.extent, blocks))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("blocks", [(1, 1), (2, 3)])
def test_the_scattering_matrix_gives_the_patterns_of_multislice(blocks, antialias):
    """Every pixel of every pattern, of two phonon configurations and a partially coherent beam, within 1e-5 of the brightest; sums within 1e-5."""
    stacks = [crystal(1), crystal(1, shift=0.02)]
    plan = diffraction.layout(stacks[0].grid, WAVELENGTH, SEMIANGLE, Camera(shape=(30, 34), pitch=(0.11, 0.1)), blocks=blocks, antialias=antialias)
    matrix = diffraction.build(stacks, plan)
    for optics in (
        ProbeOptics(aberrations=STATE, semiangle=SEMIANGLE),
        ProbeOptics(aberrations=STATE, semiangle=20e-3, source_size=0.2, focal_spread=30),
    ):
        ours, exact = matrix.patterns(POINTS, optics), diffraction.probe_patterns(stacks, plan, POINTS, optics)
        assert ours.dtype == np.float32
        assert ours.shape == (4, 30, 34)
        assert np.abs(ours - exact).max() < 1e-5 * exact.max()
        np.testing.assert_allclose(ours.sum(axis=(1, 2)), exact.sum(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("blocks", [(1, 1), (2, 3)])
def test_a_mask_on_the_native_grid_is_the_detector(blocks, antialias):
    """A ring's weights on a camera of reciprocal pixels give what multislice with that detector gives: 1e-6."""
    stack = crystal(1)
    plan = diffraction.layout(stack.grid, WAVELENGTH, SEMIANGLE, native(stack, blocks, (25, 31)), blocks=blocks, antialias=antialias)
    patterns = diffraction.build([stack], plan).patterns(POINTS, ProbeOptics(aberrations=STATE, semiangle=SEMIANGLE))
    radius = 11.7 * min(plan.pixel)

    def weights(ky, kx, pixel):
        return detector_weights.annulus(ky, kx, pixel, 0.4 * radius, radius, antialias=antialias)[None]

    ky, kx = (camera_pixels.centres(n, p) for n, p in zip((25, 31), plan.pixel, strict=True))
    ours = (patterns * weights(ky[:, None], kx, plan.pixel)).sum(axis=(1, 2), dtype=float)
    exact = single_probes.probe_signals(stack, POINTS, STATE, SEMIANGLE, weights, blocks=blocks, antialias=antialias)[0]
    np.testing.assert_allclose(ours, exact, rtol=1e-6)


def test_a_coarse_camera_holds_as_many_electrons_as_a_fine_one():
    """Pixels of any size that cover the same angles get the same electrons: none is gained or lost by resampling."""
    stack, optics, sums = crystal(1), ProbeOptics(aberrations=STATE, semiangle=SEMIANGLE), []
    side = 2 * stack.grid.band_limit + 0.6  # the whole band and the halves of its outermost pixels
    for count in (16, 61, 128):
        plan = diffraction.layout(stack.grid, WAVELENGTH, SEMIANGLE, Camera(shape=(count, count), pitch=(side / count,) * 2), blocks=(2, 2))
        sums.append(diffraction.build([stack], plan).patterns(POINTS, optics).sum(axis=(1, 2), dtype=float))
    np.testing.assert_allclose(sums[1], sums[0], rtol=1e-6)
    np.testing.assert_allclose(sums[2], sums[0], rtol=1e-6)
    assert (sums[0] <= 1 + 1e-5).all()
    assert (sums[0] > 0.98).all()


def test_bits_do_not_depend_on_threads(monkeypatch):
    """One thread or three, positions alone or together: the same bits."""
    stack, optics = crystal(1), ProbeOptics(aberrations=STATE, semiangle=SEMIANGLE)
    matrix = diffraction.build([stack], diffraction.layout(stack.grid, WAVELENGTH, SEMIANGLE, native(stack, (2, 2), (21, 21)), blocks=(2, 2)))
    at = np.random.default_rng(1).uniform(0, 3.9, (150, 2))
    found = []
    for count in ("1", "3"):
        monkeypatch.setenv("STEMTWIN_THREADS", count)
        found.append(matrix.patterns(at, optics))
    np.testing.assert_array_equal(*found)


def test_moving_specimen_and_probe_together_changes_nothing():
    """A pattern repeats after one lattice vector."""
    stack, optics = crystal(2), ProbeOptics(aberrations=STATE, semiangle=SEMIANGLE)
    matrix = diffraction.build([stack], diffraction.layout(stack.grid, WAVELENGTH, SEMIANGLE, native(stack, (1, 1), (31, 31))))
    here, there = matrix.patterns(np.array([[1.1, 0.7], [5.0, 4.6]]), optics)
    assert np.abs(here - there).max() < 1e-5 * here.max()


def test_a_larger_convergence_than_laid_out_is_refused():
    """A layout serves convergences up to its own and refuses larger ones."""
    stack = crystal(1)
    plan = diffraction.layout(stack.grid, WAVELENGTH, SEMIANGLE, native(stack, (1, 1), (9, 9)))
    with pytest.raises(SamplingError, match="laid out for 25 mrad, not for 30"):
        plan.amplitudes(ProbeOptics(aberrations=STATE, semiangle=30e-3))


@pytest.mark.parametrize("number", [6, 8, 14, 16])
def test_the_centre_of_mass_of_one_slice_is_the_mean_gradient_of_its_phase(number):
    """<k> = (1 / 2 pi) sum |psi|^2 grad(sigma V), the whole pattern, at 0.04 A: 1e-3 of the largest (physics.md 8; Mueller et al. 2014)."""
    energy, semiangle, points, side = 200e3, 20e-3, 160, 6.4
    wavelength, sigma = electrons.wavelength(energy), electrons.interaction_constant(energy)
    grid = Grid(shape=(points, points), extent=(side, side))
    atom = np.array([[3.2 + 0.013, 3.2 - 0.009, 0.0]])
    slices = potential.assign_slices(atom[:, 2])
    transmission = potential.transmissions(atom, np.array([number]), slices, grid, sigma)
    stack = SliceStack(grid=grid, wavelength=wavelength, transmission=transmission, planes=slices.planes, thickness=0.0)
    at = np.column_stack([3.2 + np.linspace(-1.0, 1.0, 6), np.full(6, 3.35)])
    count = 2 * int(grid.band_limit * side) + 3
    plan = diffraction.layout(grid, wavelength, semiangle, native(stack, (1, 1), (count, count)), antialias=False)
    patterns = diffraction.build([stack], plan).patterns(at, ProbeOptics(aberrations=Aberrations(), semiangle=semiangle)).astype(float)
    k = camera_pixels.centres(count, 1 / side)
    ours = np.stack([(patterns.sum(axis=1) * k).sum(-1), (patterns.sum(axis=2) * k).sum(-1)], axis=-1)
    exact = _mean_gradient(grid, atom, number, wavelength, sigma, semiangle, at)
    assert np.abs(ours - exact).max() < 1e-3 * np.abs(exact).max()


def _mean_gradient(grid, atom, number, wavelength, sigma, semiangle, at):
    """Sum |psi|^2 grad(sigma V) / 2 pi on a grid four times finer, in real space, without any engine."""
    fine = Grid(shape=(4 * grid.shape[0], 4 * grid.shape[1]), extent=grid.extent)
    v = np.fft.fft2(potential.projected_potential(atom, np.array([number]), fine).astype(float))
    gradient = [np.fft.ifft2(2j * np.pi * q * v).real * sigma / (2 * np.pi) for q in (fine.kx[None], fine.ky[:, None])]
    aperture = probe.amplitudes(fine.ky[:, None], fine.kx, fine.reciprocal_sampling, wavelength, semiangle, Aberrations(), antialias=False)
    out = []
    for x, y in at:
        psi = np.fft.ifft2(aperture * np.exp(-2j * np.pi * (fine.kx * x + fine.ky[:, None] * y)))
        weight = np.abs(psi) ** 2 / (np.abs(psi) ** 2).sum()
        out.append([(weight * g).sum() for g in gradient])
    return np.array(out)
