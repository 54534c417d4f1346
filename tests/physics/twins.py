"""The slow, obvious twins of the physics layer: numpy, complex128, one atom, one pixel, one wave at a time. And small random specimens."""

import numpy as np

from stemtwin.twin.physics import electrons
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.scattering_factors import scattering_factor


def potential(positions, numbers, grid, parametrization="kirkland", sigma=None):
    """Projected potential by its Fourier series, atom by atom: (K / area) sum_j f_j(k) DW_j(k) exp(-2 pi i k.r_j)."""
    ky, kx = grid.ky[:, None], grid.kx[None, :]
    total = np.zeros(grid.shape, complex)
    for j, (at, number) in enumerate(zip(positions, numbers, strict=True)):
        f = scattering_factor(parametrization, int(number), ky**2 + kx**2)
        if sigma is not None:
            f = f * np.exp(-2 * np.pi**2 * sigma[j] ** 2 * (ky**2 + kx**2))
        total += f * np.exp(-2j * np.pi * kx * at[0]) * np.exp(-2j * np.pi * ky * at[1])
    total *= electrons.POTENTIAL_CONSTANT / (grid.extent[0] * grid.extent[1])
    return np.fft.ifft2(total).real * total.size


def transmission(positions, numbers, grid, interaction, oversampling=2, parametrization="kirkland"):
    """exp(i sigma V) on a finer grid, its Fourier coefficients inside the band limit carried over one by one."""
    ny, nx = grid.shape
    fine = Grid(shape=(oversampling * ny, oversampling * nx), extent=grid.extent)
    coefficients = np.fft.fft2(np.exp(1j * interaction * potential(positions, numbers, fine, parametrization))) / oversampling**2
    out = np.zeros(grid.shape, complex)
    for iy in range(ny):
        for ix in range(nx):
            hy, hx = (iy + ny // 2) % ny - ny // 2, (ix + nx // 2) % nx - nx // 2
            if np.hypot(hy / grid.extent[0], hx / grid.extent[1]) < grid.band_limit:
                out[iy, ix] = coefficients[hy % fine.shape[0], hx % fine.shape[1]]
    return np.fft.ifft2(out)


def atoms(rng, count, extent, thickness, elements=(6, 14, 38, 79)):
    """Random atoms: positions (n, 3) in the cell, 0 <= z < thickness, and numbers."""
    at = rng.random((count, 3)) * np.array([extent[1], extent[0], thickness])
    return at, rng.choice(elements, count)


def stack(
    positions, numbers, grid, energy, thickness, *, slice_thickness=None, oversampling=1, sigma=None, tilt=(0.0, 0.0), parametrization="kirkland"
):
    """Return the slices of atoms as the engine takes them."""
    slices = pot.assign_slices(positions[:, 2], slice_thickness)
    interaction = electrons.interaction_constant(energy)
    t = pot.transmissions(positions, numbers, slices, grid, interaction, oversampling=oversampling, sigma=sigma, parametrization=parametrization)
    return SliceStack(grid=grid, wavelength=electrons.wavelength(energy), transmission=t, planes=slices.planes, thickness=thickness, tilt=tilt)


def vacuum(grid, energy, thickness):
    """Return a stack of nothing."""
    return SliceStack(
        grid=grid,
        wavelength=electrons.wavelength(energy),
        transmission=np.ones((1, *grid.shape), np.complex64),
        planes=np.zeros(1),
        thickness=thickness,
    )
