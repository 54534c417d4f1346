"""Windows that grow with depth: agreement with a numpy twin, zero signal of vacuum, and the stated error of a local operator."""

import math
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.physics import detector_weights, electrons, potential
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.local import growing_windows, local_operator
from stemtwin.twin.physics.engine.local.basis import SIDE, Basis, Localisation
from stemtwin.twin.physics.engine.local.exit_waves import Windows
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.physics.grids import Grid

ENERGY, SEMIANGLE, INNER, OUTER, WIDTH = 200e3, 20e-3, 50e-3, 80e-3, 18.0
WAVELENGTH, INTERACTION = electrons.wavelength(ENERGY), electrons.interaction_constant(ENERGY)
GRID = Grid(shape=(180, 180), extent=(WIDTH, WIDTH))
TILT = (0.02, -0.03)
NEAR = Localisation(shape=6.0, reach=5.0, band=3.0, correlation=3.5, near=1.8)


def weights(ky, kx, pixel):
    """Return the weights of one annular detector."""
    return detector_weights.annulus(ky, kx, pixel, INNER / WAVELENGTH, OUTER / WAVELENGTH)[None]


@pytest.fixture(scope="module")
def stack() -> SliceStack:
    """Strontium atoms at random in twelve planes, 4 A apart, tilted against the beam."""
    rng = np.random.default_rng(1)
    places, index = rng.uniform(0, WIDTH, (200, 2)), rng.integers(0, 12, 200)
    planes = 1.0 + 4.0 * np.arange(12)
    cut = potential.Slices(index=index, planes=planes, edges=np.empty(0))
    transmission = potential.transmissions(places, np.full(200, 38), cut, GRID, INTERACTION, oversampling=1)
    return SliceStack(grid=GRID, wavelength=WAVELENGTH, transmission=transmission, planes=planes, thickness=46.0, tilt=TILT)


def windows(stack: SliceStack, local: Localisation = NEAR) -> Windows:
    """Return the windows of a lattice of functions."""
    return Windows(Basis(grid=GRID, radius=SEMIANGLE / WAVELENGTH, periodic=True, local=local), stack, weights)


def free(found: Windows, grid: Grid, patch: tuple[int, int], depth: float) -> np.ndarray:
    """Return the Fourier coefficients of a patch's functions at a depth in vacuum, complex, shape (16, ny, nx), times the points of the grid."""
    basis, first = found.basis, np.array(found.corner(patch, grid)) * grid.sampling
    y, x = (basis.origin[i] + (SIDE * patch[i] + np.arange(SIDE)) * basis.spacing[i] - first[i] for i in (0, 1))
    phase = np.exp(-2j * np.pi * np.outer(y, grid.ky))[:, None, :, None] * np.exp(-2j * np.pi * np.outer(x, grid.kx))[None, :, None, :]
    return phase.reshape(16, *grid.shape) * basis.shape(grid.k) * passed(grid, depth) * math.prod(grid.shape) / math.prod(grid.extent)


def passed(grid: Grid, distance: float) -> np.ndarray:
    """Return the propagator over a distance, A."""
    tan_y, tan_x = np.tan(TILT)
    return np.exp(-1j * np.pi * distance * (WAVELENGTH * grid.k2 - 2 * (grid.ky[:, None] * tan_y + grid.kx * tan_x)))


def exit_waves(found: Windows, stack: SliceStack, patch: tuple[int, int]) -> np.ndarray:
    """Return the scattered waves of a patch behind the last plane, Fourier coefficients (16, ny, nx), by plain transforms in the same windows."""
    planes, wave, before = stack.planes, None, None
    for stage in found.stages:
        grid = stage.grid
        if wave is None or before is None:
            wave = free(found, grid, patch, planes[0])
        else:
            kept = wave * before.band.any(axis=0)  # a batch holds no other columns
            scattered, inside = np.fft.ifft2(kept - free(found, before, patch, planes[stage.begin - 1])), np.zeros((16, *grid.shape), complex)
            y, x = np.array(found.corner(patch, before)) - found.corner(patch, grid)
            inside[:, y : y + before.shape[0], x : x + before.shape[1]] = scattered
            wave = np.fft.fft2(inside) + free(found, grid, patch, planes[stage.begin - 1])
        (rows, share_y), (columns, share_x) = found.sight(patch, stage)
        for number in range(stage.begin, stage.end):
            if number:
                wave = wave * grid.band * passed(grid, planes[number] - planes[number - 1])
            seen = 1 + share_y[:, None] * share_x * (stack.transmission[number][rows[:, None], columns] - 1)
            wave = np.fft.fft2(np.fft.ifft2(wave) * seen)
        before = grid
    assert wave is not None
    return wave - free(found, found.grid, patch, planes[-1])


def test_waves_are_those_of_a_numpy_twin(stack: SliceStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through windows of at least three sizes, with tilt, at every coefficient that detectors see."""
    monkeypatch.setattr(growing_windows, "CHANGE", 0.0)  # as many windows as there may be
    found = windows(stack)
    assert len({stage.grid for stage in found.stages}) >= 3
    (channel,) = found.channels
    for patch in ((0, 0), (3, 5)):
        ours = found.propagate(stack, [patch])[patch].reshape(-1, 2, 16)[channel.chosen]
        true = exit_waves(found, stack, patch)[:, channel.qy, channel.qx].T
        np.testing.assert_allclose(ours[:, 0] + 1j * ours[:, 1], true, atol=2e-4 * np.abs(true).max())


def test_vacuum_scatters_nothing(stack: SliceStack) -> None:
    """Without a specimen nothing reaches the detectors through any change of windows, but for rounding."""
    found = windows(stack)
    nothing = replace(stack, transmission=np.ones_like(stack.transmission))
    scattered = found.propagate(nothing, [(2, 2)])[2, 2]
    assert np.abs(scattered).max() < 1e-5 * np.abs(found.propagate(stack, [(2, 2)])[2, 2]).max()


def test_windows_cover_all_planes_and_grow(stack: SliceStack) -> None:
    """Every plane is in one window; windows and their reach grow to the last ones; they take less work than one, and are one unasked."""
    found = windows(stack)
    ends = [stage.end for stage in found.stages]
    assert [stage.begin for stage in found.stages] == [0, *ends[:-1]]
    assert ends[-1] == len(stack.planes)
    sides, reaches = [math.prod(stage.grid.shape) for stage in found.stages], [stage.reach for stage in found.stages]
    assert sides == sorted(sides)
    assert reaches == sorted(reaches)
    assert (found.stages[-1].grid, reaches[-1]) == (found.grid, NEAR.reach)
    one = windows(stack, replace(NEAR, near=None))
    assert [tuple(stage) for stage in one.stages] == [(found.grid, 0, len(stack.planes), NEAR.reach)]
    assert growing_windows._work(found.stages) < growing_windows._work(one.stages)


def test_operators_of_growing_windows_are_within_the_tolerance(stack: SliceStack) -> None:
    """The error is checked as that of one window, and is that of other points; distances come back from their numbers."""
    built = local_operator.build([stack], SEMIANGLE, weights, rng=np.random.default_rng(3), tolerance=0.03, growing=True)
    assert len(built.windows.stages) > 1
    assert built.accuracy is not None
    at = np.random.default_rng(8).uniform(0, WIDTH, (32, 2))
    true = single_probes.probe_signals(stack, at, Aberrations(), SEMIANGLE, weights)[0]
    error = built.image(Aberrations()).at(at)[0] - true
    assert np.sqrt((error**2).mean()) < 2 * built.accuracy.rms * true.mean()
    local = built.basis.local
    assert Localisation.from_numbers(local.numbers) == local
    assert local.grown().near == pytest.approx(1.3 * local.near)
    assert Localisation.from_numbers(replace(local, near=None).numbers).near is None
