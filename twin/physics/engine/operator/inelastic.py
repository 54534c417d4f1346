r"""Inelastic signals of localised energy losses, with channelling: one Hermitian form per edge.

An electron at depth z loses energy to an atom at r_j with a probability proportional to mu(r - r_j), a profile of integral
1. The loss is assumed not to change the fraction of the electrons that is collected behind the atom. The signal is then
the areal density of the atoms of an element, weighted by the probe's intensity,

.. math::

    n_e(r_0) = \sum_z \int |\psi(r, z; r_0)|^2 \, \mu_e(r; z) \, d^2r = \sum_{kk'} \bar a_k(r_0) a_{k'}(r_0) M^e_{kk'}, \qquad
    M^e = \sum_z S_z^\dagger \mu_e S_z

in atoms per A^2. S_z contains the waves behind plane z for each incident plane wave. The form is an
:class:`imaging_operator.ImagingOperator` like that of any detector, so images for any aberrations, source size, focal
spread and scan path take milliseconds.

The profile is a two-dimensional Lorentzian of power 3/2, w / (2 pi (r^2 + w^2)^(3/2)), whose Fourier transform is
exp(-2 pi w q). Half of its integral lies inside the diameter d50 = 2 sqrt(3) w.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.kernels import blas
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.engine.operator import beam_blocks, gram_matrix, imaging_operator, single_probes
from stemtwin.twin.physics.engine.operator.beam_blocks import BeamBlock
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator
from stemtwin.twin.physics.engine.operator.lattice_average import LatticeAverage
from stemtwin.twin.physics.grids import Grid

BATCH = 64
"""Number of probes whose waves are held at once."""
ATOMS = 4096
"""Number of atoms whose phases are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Absorbers:
    """Atoms to which electrons lose energy.

    Parameters
    ----------
    positions : ndarray
        Positions (x, y), A, shape (n, 2).
    plane : ndarray
        Index of each atom's plane (slice), int, shape (n,).
    weights : ndarray
        Weight of each atom in each channel, shape (channels, n); for an edge, 1 for atoms of its element and 0 for others.
    d50 : ndarray
        Diameter that contains half of the integral of an atom's profile, A, shape (channels,); 0 denotes a point.

    Raises
    ------
    SettingsError
        Shapes do not fit each other, or a diameter is negative.
    """

    positions: np.ndarray
    plane: np.ndarray
    weights: np.ndarray
    d50: np.ndarray

    def __post_init__(self) -> None:
        """Check the shapes."""
        n, channels = len(self.plane), len(self.d50)
        if np.shape(self.positions) != (n, 2) or np.shape(self.weights) != (channels, n) or not np.all(np.asarray(self.d50) >= 0):
            message = (
                f"positions {np.shape(self.positions)}, weights {np.shape(self.weights)} and d50={np.asarray(self.d50).tolist()} A do not fit {n} "
                f"atoms and {channels} channels. Give ({n}, 2), ({channels}, {n}) and {channels} diameters of at least 0."
            )
            raise SettingsError(message)

    def profile(self, grid: Grid, plane: int | None) -> np.ndarray:
        """Return the band-limited sum of the atoms' profiles times their weights, for one plane, or for all planes with None.

        The result is sampled on the grid, 1/A^2, float64, shape (channels, ny, nx).
        """
        here = np.arange(len(self.plane)) if plane is None else np.flatnonzero(self.plane == plane)
        sums = np.zeros((len(self.d50), *grid.shape), complex)
        for start in range(0, len(here), ATOMS):
            some = here[start : start + ATOMS]
            rows = np.exp(-2j * np.pi * np.outer(self.positions[some, 1], grid.ky))
            columns = np.exp(-2j * np.pi * np.outer(self.positions[some, 0], grid.kx))
            for channel, weight in enumerate(self.weights[:, some]):
                if weight.any():
                    sums[channel] += (rows * weight[:, None]).T @ columns
        k = np.hypot(grid.ky[:, None], grid.kx)
        width = self.d50[:, None, None] / (2 * math.sqrt(3))
        sums *= np.where(grid.band, np.exp(-2 * np.pi * width * k), 0)
        return np.fft.ifft2(sums).real * (k.size / (grid.extent[0] * grid.extent[1]))

    def planes(self) -> np.ndarray:
        """Return the sorted indices of the planes with atoms of any channel."""
        return np.unique(self.plane[self.weights.any(axis=0)])


def build(
    stacks: Iterator[SliceStack],
    semiangle: float,
    absorbers: Callable[[int], Absorbers],
    *,
    blocks: tuple[int, int] = (1, 1),
    antialias: bool = True,
    progress: Callable[[int], None] | None = None,
    cache: ArrayCache | None = None,
    key: str = "",
    average: LatticeAverage | None = None,
) -> ImagingOperator:
    """Build the operator of localised energy losses.

    Parameters
    ----------
    stacks, semiangle, blocks, antialias, progress, cache, key, average
        As in :func:`imaging_operator.assemble`.
    absorbers : callable
        Takes the index of a configuration and returns the absorbing atoms of this configuration.

    Returns
    -------
    ImagingOperator
        Operator whose images are in atoms per A^2, with one channel per channel of the absorbers.
    """
    held: dict[int, tuple[Absorbers, dict[int, np.ndarray]]] = {}  # atoms and weights of the last configuration, for all its blocks

    def piece(configuration: int, stack: SliceStack, part: BeamBlock, report: Callable[[int], None] | None) -> dict[str, np.ndarray]:
        if configuration not in held:
            held.clear()
            held[configuration] = absorbers(configuration), {}
        return _piece(stack, *held[configuration], part, report)

    how = {"antialias": antialias, "progress": progress, "cache": cache, "key": key, "average": average}
    return imaging_operator.assemble(stacks, semiangle, piece, blocks=blocks, **how)


def _piece(
    stack: SliceStack, atoms: Absorbers, weights: dict[int, np.ndarray], part: BeamBlock, progress: Callable[[int], None] | None
) -> dict[str, np.ndarray]:
    """Return the contribution of one configuration to one block; ``weights`` caches the point weights of its planes, (channels, points)."""
    count, grid = part.beams.size, stack.grid
    matrices = np.zeros((len(atoms.d50), count, count), np.complex64)
    unit = np.eye(count, dtype=np.complex64)
    with blas.one_thread():
        for plane, waves in plane_waves(stack, part.beams, unit, atoms.planes(), offset=part.offset):
            points = waves.reshape(count, -1)
            if plane not in weights:
                weights[plane] = (atoms.profile(grid, plane) / points.shape[1]).reshape(len(matrices), -1).astype(np.float32)
            for weight, matrix in zip(weights[plane], matrices, strict=True):
                if weight.any():
                    for start in range(0, weight.size, gram_matrix.PIXELS):
                        pixels = slice(start, start + gram_matrix.PIXELS)
                        gram_matrix.add_upper(points[:, pixels], weight[pixels], matrix)
    if progress is not None:
        progress(count)
    elements, diagonal = gram_matrix.picked(matrices, part.pairs)
    return {"elements": elements, "diagonal": diagonal}


def plane_waves(
    stack: SliceStack, beams: np.ndarray, coefficients: np.ndarray, planes: np.ndarray, *, offset: tuple[float, float] = (0.0, 0.0)
) -> Iterator[tuple[int, np.ndarray]]:
    """Iterate over planes and the waves directly behind them.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    beams, coefficients : ndarray
        The incident waves, as in :func:`multislice.exit_coefficients`, shapes (B,) and (P, B).
    planes : ndarray
        Indices of the requested planes, increasing.
    offset : tuple of float
        Offset of all waves, in reciprocal pixels.

    Yields
    ------
    tuple of (int, ndarray)
        Index of a plane, and the waves on the grid without the Bloch factor of the offset, complex64, shape (P, ny, nx),
        normalised to mean |wave|^2 = sum |coefficients|^2.
    """
    grid = stack.grid
    band = np.hypot(grid.ky[:, None] + offset[0] / grid.extent[0], grid.kx + offset[1] / grid.extent[1]) < grid.band_limit
    inside = np.flatnonzero(band)
    together = max(1, gram_matrix.WAVES_BYTES // (16 * max(len(coefficients), 1) * inside.size))
    full = np.zeros((len(coefficients), grid.shape[0] * grid.shape[1]), np.complex64)
    first, depth = 0, 0.0
    for start in range(0, len(planes), together):
        wanted = planes[start : start + together]
        rest = replace(stack, transmission=stack.transmission[first:], planes=stack.planes[first:] - depth, thickness=stack.thickness - depth)
        series = exit_coefficients(rest, beams, coefficients, inside, offset=offset, depths=rest.planes[wanted - first])
        for plane, waves in zip(wanted, series, strict=True):
            full[:, inside] = waves
            yield int(plane), np.fft.ifft2(full.reshape(-1, *grid.shape), norm="forward").astype(np.complex64)
        beams, coefficients = inside, series[-1]  # go on from the last plane
        first, depth = int(wanted[-1]) + 1, float(stack.planes[wanted[-1]])


def probe_densities(
    stack: SliceStack,
    atoms: Absorbers,
    positions: np.ndarray,
    aberrations: Aberrations,
    semiangle: float,
    *,
    blocks: tuple[int, int] = (1, 1),
    antialias: bool = True,
) -> np.ndarray:
    """Return the areal density of the absorbing atoms, weighted by the intensity of each coherent probe.

    Each probe is computed separately by multislice. The result is a reference for the operator from :func:`build`.

    Parameters
    ----------
    stack : SliceStack
        The specimen.
    atoms : Absorbers
        Absorbing atoms of the specimen.
    positions : ndarray
        Probe positions (x, y), A, shape (P, 2).
    aberrations : Aberrations
        Coefficients, A and rad.
    semiangle : float
        Convergence semi-angle, rad.
    blocks : tuple of int
        Number of blocks of plane waves (ny, nx), see :func:`beam_blocks.window_blocks`; above 1 for probes wider than the cell.
    antialias : bool
        Whether pixels at the aperture's edge are weighted by their covered fraction instead of 0 or 1. If so,
        aperture-edge waves represent the probe's tails beyond the window, which is the cell times ``blocks``.

    Returns
    -------
    ndarray
        Weighted areal density, atoms per A^2, float64, shape (channels, P).
    """
    grid, channels = stack.grid, len(atoms.d50)
    pixel = beam_blocks.block_pixel(grid.extent, blocks)
    signal, tails, norm, share = np.zeros((channels, len(positions))), np.zeros(channels), 0.0, 0.0
    for offset in beam_blocks.block_offsets(blocks):
        beams = beam_blocks.aperture_beams(grid, stack.wavelength, semiangle, offset, blocks, antialias=antialias)
        if not beams.size:
            continue
        ky = grid.ky[beams // grid.shape[1]] + offset[0] / grid.extent[0]
        kx = grid.kx[beams % grid.shape[1]] + offset[1] / grid.extent[1]
        a = single_probes.amplitudes(ky, kx, pixel, stack.wavelength, semiangle, aberrations, antialias=antialias)
        norm += float((np.abs(a) ** 2).sum())
        if antialias:
            waves, power = single_probes.rim_waves(grid, stack.wavelength, semiangle, offset, blocks)
            share += float(power.sum())
            tails += _density(stack, atoms, waves, np.diag(np.sqrt(power)).astype(np.complex64), offset).sum(axis=1) if waves.size else 0
        for start in range(0, len(positions), BATCH):
            at = positions[start : start + BATCH]
            phase = -2 * np.pi * (np.outer(at[:, 0], kx) + np.outer(at[:, 1], ky))
            signal[:, start : start + BATCH] += _density(stack, atoms, beams, (a * np.exp(1j * phase)).astype(np.complex64), offset)
    if antialias:
        return signal + (max(1 - norm, 0.0) * tails / max(share, 1e-300))[:, None]
    return signal / norm


def _density(stack: SliceStack, atoms: Absorbers, beams: np.ndarray, coefficients: np.ndarray, offset: tuple[float, float]) -> np.ndarray:
    """Return the sum over planes of the mean of |wave|^2 mu, (channels, P)."""
    out = np.zeros((len(atoms.d50), len(coefficients)))
    for plane, waves in plane_waves(stack, beams, coefficients, atoms.planes(), offset=offset):
        intensity = np.abs(waves.reshape(len(coefficients), -1).astype(np.complex128)) ** 2
        out += atoms.profile(stack.grid, plane).reshape(len(out), -1) @ intensity.T / intensity.shape[1]
    return out
