"""The slow, obvious twins of the engine's kernels: numpy, complex128, one wave at a time."""

import numpy as np


def propagator(stack, distance, offset=(0.0, 0.0)):
    """Band-limited propagator of a stack over a distance, (ny, nx)."""
    grid = stack.grid
    ky = grid.ky[:, None] + offset[0] / grid.extent[0]
    kx = grid.kx[None, :] + offset[1] / grid.extent[1]
    k2 = ky**2 + kx**2
    ty, tx = stack.tilt
    phase = -np.pi * stack.wavelength * k2 * distance + 2 * np.pi * distance * (kx * np.tan(tx) + ky * np.tan(ty))
    return np.where(np.sqrt(k2) < grid.band_limit, np.exp(1j * phase), 0)


def incident(stack, beams, coefficients):
    """Fourier coefficients of each incident wave, (P, ny, nx)."""
    waves = np.zeros((len(coefficients), np.prod(stack.grid.shape)), np.complex128)
    for p, row in enumerate(coefficients):
        for beam, value in zip(beams, row, strict=True):
            waves[p, beam] += value
    return waves.reshape(-1, *stack.grid.shape)


def multislice(stack, beams, coefficients, offset=(0.0, 0.0), planes=None):
    """Fourier coefficients behind the first ``planes`` planes (all of them: at the exit face), (P, ny, nx)."""
    count = len(stack.planes) if planes is None else planes
    waves, z = incident(stack, beams, coefficients), 0.0
    for plane, transmission in zip(stack.planes[:count], stack.transmission[:count], strict=True):
        waves = waves * propagator(stack, plane - z, offset)
        waves = np.fft.fft2(np.fft.ifft2(waves) * transmission)
        z = plane
    return waves * propagator(stack, stack.thickness - z if planes is None else 0.0, offset)
