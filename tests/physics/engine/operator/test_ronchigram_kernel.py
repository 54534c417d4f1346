"""The diffraction pattern of one wide probe through a film, as recorded by a camera."""

from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.physics import camera_pixels, electrons, probe
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.engine.operator import ronchigram_kernel
from stemtwin.twin.physics.engine.operator.diffraction import Camera
from stemtwin.twin.physics.grids import Grid

WAVELENGTH, SEMIANGLE = electrons.wavelength(200e3), 30e-3
STATE = Aberrations(C10=-150, C12=30, phi12=0.4, C21=800, phi21=1.0, C30=2e4)


def cell_of(planes: int, shape: tuple[int, int] = (48, 60), extent: tuple[float, float] = (6.0, 7.0)) -> tuple[Grid, np.ndarray]:
    """Band-limited transmissions of a periodic cell."""
    grid, rng = Grid(shape=shape, extent=extent), np.random.default_rng(3)
    v = np.fft.ifft2(np.fft.fft2(rng.normal(0, 0.3, (planes, *shape))) * (grid.k < 0.8)).real
    return grid, np.fft.ifft2(np.fft.fft2(np.exp(4j * v)) * grid.band).astype(np.complex64)


def lens_of(cell: Grid, cells: tuple[int, int], count: int, **settings) -> ronchigram_kernel.Lens:
    """A lens whose camera has the window's reciprocal pixels."""
    shape, extent = ((a[0] * cells[0], a[1] * cells[1]) for a in (cell.shape, cell.extent))
    window = Grid(shape=shape, extent=extent)
    camera = Camera(shape=(count, count), pitch=window.reciprocal_sampling)
    return ronchigram_kernel.make_lens(window, cells, WAVELENGTH, SEMIANGLE, camera, limit=cell.band_limit, **settings)


@pytest.mark.parametrize("planes", [1, 3])
def test_patterns_are_those_of_the_engine(planes):
    """On the same window, every pixel equals the engine's multislice within 1e-5 of the brightest, tilted specimens and positions included."""
    cell, transmissions = cell_of(planes)
    depths, tilt, position = 2.0 + 3.0 * np.arange(planes), (8e-3, -5e-3), (1.3, 4.1)
    lens = lens_of(cell, (3, 2), 61, tilt=tilt)
    ours = lens.pattern(STATE, position, transmissions, depths)
    window = lens.grid
    tiles = np.tile(transmissions, (1, 3, 2))
    stack = SliceStack(grid=window, wavelength=WAVELENGTH, transmission=tiles, planes=depths, thickness=float(depths[-1]), tilt=tilt)
    covered = probe.aperture(window.ky[:, None], window.kx, window.reciprocal_sampling, SEMIANGLE / WAVELENGTH)
    beams = np.flatnonzero(covered)
    ky, kx = window.ky[beams // window.shape[1]], window.kx[beams % window.shape[1]]
    a = covered.ravel()[beams] / np.sqrt((covered**2).sum()) * np.exp(-1j * probe.chi(STATE, ky, kx, WAVELENGTH))
    a = a * np.exp(-2j * np.pi * (kx * position[0] + ky * position[1]))
    exact = np.abs(exit_coefficients(stack, beams, a[None].astype(np.complex64), np.arange(window.shape[0] * window.shape[1]))[0]) ** 2
    exact = np.fft.fftshift(exact.reshape(window.shape))
    middle = (window.shape[0] // 2, window.shape[1] // 2)
    exact = exact[middle[0] - 30 : middle[0] + 31, middle[1] - 30 : middle[1] + 31]
    assert np.abs(ours - exact).max() < 1e-5 * exact.max()
    assert ours.sum() > 0.5


@pytest.mark.parametrize(("n", "m"), ORDERS)
def test_every_aberration_reaches_the_pattern(n, m):
    """Each coefficient of first to fifth order, with a phase of a few radians at the aperture's edge, moves the pattern of a scattering film."""
    cell, transmissions = cell_of(1)
    lens = lens_of(cell, (2, 2), 41)
    strength = (n + 1) * WAVELENGTH / (2 * np.pi) * 4 / SEMIANGLE ** (n + 1)
    plain = lens.pattern(Aberrations(C10=-100), (0.5, 0.5), transmissions, [0.0])
    moved = lens.pattern(Aberrations(**{"C10": -100, f"C{n}{m}": strength - 100 * ((n, m) == (1, 0))}), (0.5, 0.5), transmissions, [0.0])
    assert np.abs(moved - plain).sum() > 0.02 * plain.sum()


def test_a_focal_spread_is_a_mean_over_foci():
    """A pattern with several foci is the weighted mean of patterns with as much more C10."""
    cell, transmissions = cell_of(2)
    lens, foci = lens_of(cell, (2, 3), 51), [(-20.0, 0.3), (0.0, 0.5), (35.0, 0.2)]
    both = lens.pattern(STATE, (1.0, 2.0), transmissions, [0.0, 2.0], foci=foci)
    alone = [lens.pattern(replace(STATE, C10=STATE.C10 + focus), (1.0, 2.0), transmissions, [0.0, 2.0]) for focus, _ in foci]
    mean = np.sum([share * one for one, (_, share) in zip(alone, foci, strict=True)], axis=0)
    np.testing.assert_allclose(both, mean, atol=1e-5 * float(mean.max()))


def test_bits_do_not_depend_on_threads(monkeypatch):
    """One thread or three: the same bits."""
    cell, transmissions = cell_of(2)
    lens, found = lens_of(cell, (3, 3), 61), []
    for count in ("1", "3"):
        monkeypatch.setenv("STEMTWIN_THREADS", count)
        found.append(lens.pattern(STATE, (1.0, 2.0), transmissions, [0.0, 2.0]))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("shape", [(12, 14), (13, 15)])
def test_cropping_keeps_a_function_that_fits(shape):
    """A function whose frequencies the smaller grid holds has the same values there."""

    def function(ny, nx):
        y, x = np.meshgrid(np.arange(ny) / ny, np.arange(nx) / nx, indexing="ij")
        return np.exp(2j * np.pi * (5 * y - 6 * x)) + 0.5 * np.cos(2 * np.pi * (2 * y + 3 * x)) + 1

    np.testing.assert_allclose(ronchigram_kernel.crop(function(24, 30), shape), function(*shape), atol=1e-6)


def test_a_beam_beside_the_middle_moves_the_pattern():
    """A camera with a displaced beam records the same pattern at the displaced position."""
    cell, transmissions = cell_of(1)
    lens = lens_of(cell, (2, 2), 41)
    py, px = lens.camera.pitch
    other = ronchigram_kernel.make_lens(
        lens.grid, (2, 2), WAVELENGTH, SEMIANGLE, Camera(shape=(41, 41), pitch=(py, px), beam=(3 * py, -2 * px)), limit=cell.band_limit
    )
    here, there = (one.pattern(STATE, (0.0, 0.0), transmissions, [0.0]) for one in (lens, other))
    np.testing.assert_allclose(there[8:30, 8:30], here[5:27, 10:32], atol=1e-9)
    assert camera_pixels.centres(41, py)[20] == 0
