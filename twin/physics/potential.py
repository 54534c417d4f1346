"""From atoms to what a wave passes through: slices, projected potentials, transmission functions.

Atoms sit at their exact positions (a phase ramp per atom in Fourier space). V itself is never band-limited; exp(i sigma V), evaluated on a
grid ``oversampling`` times finer, is.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics.electrons import POTENTIAL_CONSTANT
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.phonons import debye_waller
from stemtwin.twin.physics.scattering_factors import scattering_factor

PLANE_GAP = 0.4
"""Atoms further apart than this along z, A, may belong to different planes."""
PLANE_SPAN = 1.0
"""A plane holds atoms over at most this depth, A."""
USUAL_THICKNESS = 1.5
"""Slice thickness where there are no planes, A."""
EDGE_TOLERANCE = 1e-3
"""An atom nearer to a slice edge than this lies on it, A."""
LEAST_GAP = 1e-6
"""Atoms nearer to each other along z than this have the same depth, A: no edge comes between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """Which atom belongs to which slice.

    Parameters
    ----------
    index : ndarray
        Slice of each atom, shape (n_atoms,), int.
    planes : ndarray
        Depth at which each slice transmits: the unweighted mean z of its atoms, A, shape (n,), increasing.
    edges : ndarray
        Depths between slices, A, shape (n - 1,).
    shifted : bool
        Whether asked edges were moved because atoms lay on them.
    """

    index: np.ndarray
    planes: np.ndarray
    edges: np.ndarray
    shifted: bool = False


def assign_slices(z: np.ndarray, slice_thickness: float | None = None) -> Slices:
    """Cut a specimen into slices.

    Without ``slice_thickness`` slices are atomic planes where there are some (edges midway between them), slices of about 1.5 A otherwise, with edges
    midway between two atoms. Empty slices are left out: the wave goes from plane to plane by the true distance.

    Parameters
    ----------
    z : ndarray
        Depths of the atoms on their ideal sites, A, shape (n_atoms,).
    slice_thickness : float, optional
        A. Edges at its multiples; where atoms would lie on them, half a slice further; where they would lie there too, in the widest gap.

    Raises
    ------
    SamplingError
        The slice thickness is not positive.
    """
    z = np.asarray(z, dtype=float)
    if z.size == 0:  # vacuum
        return Slices(index=np.empty(0, int), planes=np.zeros(1), edges=np.empty(0))
    if slice_thickness is not None:
        return _uniform(z, slice_thickness)
    order = np.sort(z)
    cuts = np.flatnonzero(np.diff(order) > PLANE_GAP) + 1
    groups = np.split(order, cuts)
    if any(group[-1] - group[0] > PLANE_SPAN for group in groups):
        return _between_atoms(z, order)
    merged = [groups[0]]
    for group in groups[1:]:
        if group[-1] - merged[-1][0] <= PLANE_SPAN:
            merged[-1] = np.concatenate([merged[-1], group])
        else:
            merged.append(group)
    edges = np.array([(a[-1] + b[0]) / 2 for a, b in itertools.pairwise(merged)])
    return _cut(z, edges, shifted=False)


def _cut(z: np.ndarray, edges: np.ndarray, *, shifted: bool) -> Slices:
    index = np.searchsorted(edges, z)
    used, index = np.unique(index, return_inverse=True)
    planes = np.bincount(index, z) / np.bincount(index)
    kept = np.array([edges[used[i] : used[i + 1]].mean() for i in range(len(used) - 1)])
    return Slices(index=index, planes=planes, edges=kept, shifted=shifted)


def _between_atoms(z: np.ndarray, order: np.ndarray) -> Slices:
    """Slices of about the usual thickness; each edge goes into the widest gap near its nominal depth."""
    count = max(1, round((order[-1] - order[0]) / USUAL_THICKNESS))
    nominal = order[0] + (order[-1] - order[0]) * np.arange(1, count) / count
    gaps, middles = np.diff(order), (order[1:] + order[:-1]) / 2
    gaps, middles = gaps[gaps > LEAST_GAP], middles[gaps > LEAST_GAP]
    edges = []
    for depth in nominal:
        near = np.abs(middles - depth) < 0.25 * USUAL_THICKNESS
        candidates = np.flatnonzero(near) if near.any() else np.array([np.argmin(np.abs(middles - depth))])
        edges.append(middles[candidates[np.argmax(gaps[candidates])]])
    return _cut(z, np.unique(edges), shifted=False)


def _uniform(z: np.ndarray, thickness: float) -> Slices:
    if not (math.isfinite(thickness) and thickness > 0):
        message = f"slice_thickness={thickness} A is not a positive length. Use 0.5 to 2 A, or leave it out for atomic planes."
        raise SamplingError(message)

    def on_edge(offset: float) -> bool:
        distance = np.abs((z - offset + thickness / 2) % thickness - thickness / 2)
        return bool((distance < EDGE_TOLERANCE).any())

    offset = 0.0
    if on_edge(offset):
        offset = thickness / 2
        if on_edge(offset):
            inside = np.sort(z % thickness)
            gaps = np.diff(inside, append=inside[0] + thickness)
            offset = float((inside + gaps / 2)[np.argmax(gaps)]) % thickness
    first, last = math.floor((z.min() - offset) / thickness), math.ceil((z.max() - offset) / thickness)
    return _cut(z, offset + thickness * np.arange(first, last + 1), shifted=offset > 0)


def projected_potential(
    positions: np.ndarray,
    numbers: np.ndarray,
    grid: Grid,
    *,
    parametrization: str = "kirkland",
    sigma: np.ndarray | None = None,
) -> np.ndarray:
    """Return the potential of atoms, projected along z over all of it, on a periodic grid.

    Parameters
    ----------
    positions : ndarray
        x, y of each atom, A, shape (n, 2) or more columns.
    numbers : ndarray
        Atomic numbers, shape (n,).
    grid : Grid
        The grid.
    parametrization : str
        Of the scattering factors.
    sigma : ndarray, optional
        Thermal displacement of each atom, 1-D rms, A: its scattering factor gets the Debye-Waller factor.

    Returns
    -------
    ndarray
        V, V A, float32, shape (ny, nx): the inverse transform of (K / area) sum_j f_j(k) exp(-2 pi i k.r_j), its real part on even grids.
    """
    return scipy.fft.irfft2(_potential_coefficients(positions, numbers, grid, parametrization, sigma), s=grid.shape, workers=-1)


def _potential_coefficients(positions: np.ndarray, numbers: np.ndarray, grid: Grid, parametrization: str, sigma: np.ndarray | None) -> np.ndarray:
    """Fourier coefficients of V on the half plane kx >= 0, times the number of points, complex64."""
    ny, nx = grid.shape
    ky, kx = grid.ky, np.arange(nx // 2 + 1) / grid.extent[1]
    g2 = ky[:, None] ** 2 + kx**2
    total = np.zeros(g2.shape, np.complex64)
    spread = np.zeros(len(numbers)) if sigma is None else np.asarray(sigma, dtype=float)
    kinds, kind = np.unique(np.column_stack([numbers, spread]), axis=0, return_inverse=True)
    scale = POTENTIAL_CONSTANT * ny * nx / (grid.extent[0] * grid.extent[1])
    for i, (number, width) in enumerate(kinds):
        at = positions[kind.ravel() == i]
        along_y, along_x = np.exp(-2j * np.pi * np.outer(ky, at[:, 1])), np.exp(-2j * np.pi * np.outer(at[:, 0], kx))
        corner = (along_y[ny // 2] * along_x[:, nx // 2].conj()).sum().real  # both frequencies are -1/2 per point in FFT order
        if ny % 2 == 0:  # the real part of V: half of a Nyquist coefficient belongs to the frequency of the other sign
            along_y.imag[ny // 2] = 0
        if nx % 2 == 0:
            along_x.imag[:, -1] = 0
        structure = along_y.astype(np.complex64) @ along_x.astype(np.complex64)
        if ny % 2 == 0 and nx % 2 == 0:
            structure[ny // 2, -1] = corner
        factor = scattering_factor(parametrization, int(number), g2)
        if width:
            factor *= debye_waller(width, g2)
        total += (scale * factor).astype(np.float32) * structure
    return total


def transmission(potential: np.ndarray, interaction: float, grid: Grid) -> np.ndarray:
    """Return exp(i sigma V), band-limited, on a grid as fine as or coarser than the potential's.

    Parameters
    ----------
    potential : ndarray
        V, V A, shape (m ny, m nx) with a whole number m: on a grid m times finer than ``grid``.
    interaction : float
        sigma, rad/(V A).
    grid : Grid
        The wave's grid; its band limit applies.

    Returns
    -------
    ndarray
        complex64, shape (ny, nx).
    """
    fine = np.empty(potential.shape, np.complex64)
    phase = (interaction * potential).astype(np.float32)
    np.cos(phase, out=fine.real)
    np.sin(phase, out=fine.imag)
    (ny, nx), (my, mx) = grid.shape, potential.shape
    rows, columns = np.rint(grid.ky * grid.extent[0]).astype(int), np.rint(grid.kx * grid.extent[1]).astype(int)
    inside_y, inside_x = np.abs(grid.ky) < grid.band_limit, np.abs(grid.kx) < grid.band_limit
    part = scipy.fft.fft(fine, axis=1, overwrite_x=True, workers=-1)[:, columns[inside_x] % mx]
    part = scipy.fft.fft(part, axis=0, overwrite_x=True, workers=-1)[rows[inside_y] % my]
    out = np.zeros((ny, nx), np.complex64)
    out[np.ix_(inside_y, inside_x)] = part * np.float32(ny * nx / (my * mx))
    out[~grid.band] = 0
    return scipy.fft.ifft2(out, overwrite_x=True, workers=-1)


def transmissions(
    positions: np.ndarray,
    numbers: np.ndarray,
    slices: Slices,
    grid: Grid,
    interaction: float,
    *,
    parametrization: str = "kirkland",
    oversampling: int = 2,
    sigma: np.ndarray | None = None,
) -> np.ndarray:
    """Return the transmission functions of all slices.

    Parameters
    ----------
    positions : ndarray
        Atoms x, y[, z], A, shape (n, 2 or 3): where they are now; to which slice they belong stands in ``slices``.
    numbers : ndarray
        Atomic numbers, shape (n,).
    slices : Slices
        The cut.
    grid : Grid
        The wave's grid.
    interaction : float
        sigma, rad/(V A).
    parametrization : str
        Of the scattering factors.
    oversampling : int
        exp(i sigma V) is evaluated on a grid so many times finer.
    sigma : ndarray, optional
        Debye-Waller damping of each atom, A.

    Returns
    -------
    ndarray
        complex64, shape (n_slices, ny, nx).
    """
    fine = Grid(shape=(oversampling * grid.shape[0], oversampling * grid.shape[1]), extent=grid.extent)
    out = np.empty((len(slices.planes), *grid.shape), np.complex64)
    for i in range(len(slices.planes)):
        inside = slices.index == i
        damping = None if sigma is None else sigma[inside]
        v = projected_potential(positions[inside], numbers[inside], fine, parametrization=parametrization, sigma=damping)
        out[i] = transmission(v, interaction, grid)
    return out
