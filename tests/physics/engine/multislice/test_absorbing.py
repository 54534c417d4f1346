"""Sums of abs(psi)^2 times cross-sections over all planes, against plain numpy."""

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.engine.multislice.absorbing import absorbed
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.grids import Grid


def random_stack(shape: tuple[int, int], planes: int, rng: np.random.Generator) -> SliceStack:
    """Return planes of random phases at random depths, tilted."""
    transmission = np.exp(0.3j * rng.normal(size=(planes, *shape))).astype(np.complex64)
    depths = np.sort(rng.uniform(0, 9, planes))
    return SliceStack(
        grid=Grid(shape=shape, extent=(8.0, 10.0)), wavelength=0.025, transmission=transmission, planes=depths, thickness=10.0, tilt=(0.02, 0.01)
    )


def plainly(stack: SliceStack, beams: np.ndarray, coefficients: np.ndarray, sections: np.ndarray, band: float) -> np.ndarray:
    """Return the result of `absorbed`, computed wave by wave in numpy."""
    grid, out, before = stack.grid, 0.0, 0.0
    waves = np.zeros((len(coefficients), *grid.shape), complex)
    waves.reshape(len(waves), -1)[:, beams] = coefficients
    phase = -np.pi * stack.wavelength * grid.k2 + 2 * np.pi * (np.tan(stack.tilt[0]) * grid.ky[:, None] + np.tan(stack.tilt[1]) * grid.kx)
    for number, depth in enumerate(stack.planes):
        waves *= np.exp(1j * (depth - before) * phase) * ((grid.k < min(band, grid.band_limit)) | (number == 0))
        real = np.fft.ifft2(waves, norm="forward")
        out = out + np.einsum("pyx,dyx->dp", np.abs(real) ** 2, sections[:, number]) / real[0].size
        waves, before = np.fft.fft2(real * stack.transmission[number], norm="forward"), depth
    return np.asarray(out)


@pytest.mark.parametrize("shape", [(40, 54), (64, 36)])
def test_absorbed_fractions_are_those_of_plain_multislice(shape: tuple[int, int]) -> None:
    """For random planes, waves and cross-sections, more waves than lanes, the sums are the slow ones, to single precision."""
    rng = np.random.default_rng(3)
    stack = random_stack(shape, 4, rng)
    beams = np.flatnonzero(stack.grid.k < 0.8)
    waves = (rng.normal(size=(19, beams.size)) + 1j * rng.normal(size=(19, beams.size))).astype(np.complex64)
    sections = rng.random((2, 4, *shape)).astype(np.float32)
    found, slow = absorbed(stack, beams, waves, sections, 1.3), plainly(stack, beams, waves, sections, 1.3)
    np.testing.assert_allclose(found, slow, rtol=2e-5)


def test_sections_must_fit_the_planes() -> None:
    """Cross-sections of another number of planes are refused."""
    stack = random_stack((40, 54), 2, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="do not fit"):
        absorbed(stack, np.array([0]), np.ones((1, 1), np.complex64), np.ones((1, 3, 40, 54), np.float32))
