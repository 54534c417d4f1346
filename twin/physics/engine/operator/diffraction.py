r"""Diffraction patterns of convergent probes, from the scattering matrix in Fourier space or from multislice of each probe.

.. math::

    I_q(r) = \sum_m \Big|\sum_k a^m_k e^{-2\pi i k r} S_{kq}\Big|^2 + (1 - n) \sum_k w_k |S_{kq}|^2 \Big/ \sum_k w_k, \qquad n = \sum_k |a_k|^2

S_kq is the exit amplitude at q of an incident plane wave k; the modes m represent a partially coherent beam. The last
term is the signal of the probe's tails beyond the window, which are represented by aperture-edge waves with the weights w
(`probe.rim`). Every other engine treats the tails in the same way, so the sum of the patterns over a mask equals the
signal of a detector with the shape of the mask. Thermal scattering is included as the mean over frozen-phonon
configurations. A probe wider than the cell, or a pattern finer than the reciprocal pixels of the cell, needs offset
blocks (see `beam_blocks`). The plane waves of each block scatter to separate reciprocal pixels, so blocks never interfere.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import camera_pixels, coherence, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.kernels import blas, threads
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.engine.operator import beam_blocks
from stemtwin.twin.physics.engine.operator.lattice_average import LatticeAverage, MeasuredAverage, Translations
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.progress import Progress

PROBES = 64
"""Number of probes in one matrix product; fixed, so results are bit-identical for any number of threads and any set of probes."""
SHOWN = 5
"""Number of positions along each side of the cell at which the error of an average over lattice translations is estimated."""
WAVES_AT_ONCE = 512
"""Number of probes whose amplitudes multislice holds at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """Camera of square or rectangular pixels, centred on the optic axis.

    Parameters
    ----------
    shape : tuple of int
        Number of pixels (ny, nx).
    pitch : tuple of float
        Sides of a pixel (y, x), 1/A.
    beam : tuple of float
        Centre of the undiffracted beam on the camera (ky, kx), 1/A; it is the origin of the waves' spatial frequencies.
    """

    shape: tuple[int, int]
    pitch: tuple[float, float]
    beam: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeOptics:
    """Optics of the probe.

    Parameters
    ----------
    aberrations : Aberrations
        Aberration coefficients, A and rad.
    semiangle : float
        Convergence semi-angle, rad.
    source_size, focal_spread : float
        Standard deviations, A.
    """

    aberrations: Aberrations
    semiangle: float
    source_size: float = 0.0
    focal_spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatternBlock:
    """One block of plane waves: the waves, the reciprocal pixels on the camera, and their overlap with the camera pixels.

    Attributes
    ----------
    offset : tuple of float
        Offset (jy, jx), in reciprocal pixels of the cell.
    beams, seen : ndarray
        Flat indices of the plane waves, (B,), and of the reciprocal pixels on the camera, (Q,), on the grid.
    ky, kx, qy, qx : ndarray
        Spatial frequencies of ``beams`` and of ``seen`` with the offset, 1/A.
    shares : csr_array
        Fractions of the reciprocal pixels in each camera pixel, shape (camera pixels, Q).
    """

    offset: tuple[float, float]
    beams: np.ndarray
    ky: np.ndarray
    kx: np.ndarray
    seen: np.ndarray
    qy: np.ndarray
    qx: np.ndarray
    shares: scipy.sparse.csr_array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatternLayout:
    """Plane waves, reciprocal pixels and camera for the computation of diffraction patterns of any specimen.

    Attributes
    ----------
    grid : Grid
        The wave's grid.
    wavelength, semiangle : float
        Wavelength, A; largest convergence semi-angle, rad.
    pixel : tuple of float
        Sides of a reciprocal pixel of the probe window (y, x), 1/A.
    antialias : bool
        Whether pixels at the aperture's edge have fractional weights.
    blocks : tuple of PatternBlock
        Plane waves and reciprocal pixels, one block per offset from the reciprocal pixels of the cell.
    camera : Camera
        The camera.
    """

    grid: Grid
    wavelength: float
    semiangle: float
    pixel: tuple[float, float]
    antialias: bool
    blocks: tuple[PatternBlock, ...]
    camera: Camera

    @property
    def products(self) -> int:
        """Number of pairs of a plane wave and a reciprocal pixel, summed over all blocks."""
        return sum(block.beams.size * block.seen.size for block in self.blocks)

    def amplitudes(self, optics: ProbeOptics) -> tuple[tuple[np.ndarray, ...], float]:
        """Return the amplitudes of the coherent modes in each block, (M, B), and the fraction of the beam inside the window.

        The fraction is 1 without antialiasing.

        Raises
        ------
        SamplingError
            The convergence is larger than that of the layout.
        """
        if optics.semiangle > self.semiangle * (1 + 1e-12):
            message = (
                f"These patterns were laid out for {self.semiangle * 1e3:g} mrad, not for {optics.semiangle * 1e3:g} mrad. "
                "Lay them out for the larger convergence."
            )
            raise SamplingError(message)
        radius, found = optics.semiangle / self.wavelength, []
        for block in self.blocks:
            chi = probe.chi(optics.aberrations, block.ky, block.kx, self.wavelength)
            found.append(probe.aperture(block.ky, block.kx, self.pixel, radius, antialias=self.antialias) * np.exp(-1j * chi))
        inside = sum(float((np.abs(a) ** 2).sum()) for a in found)
        area = np.pi * radius**2 / (self.pixel[0] * self.pixel[1]) if self.antialias else inside
        modes = tuple(
            coherence.modes(a / np.sqrt(area), block.ky, block.kx, self.wavelength, source_size=optics.source_size, focal_spread=optics.focal_spread)
            for a, block in zip(found, self.blocks, strict=True)
        )
        return modes, inside / area

    def rims(self, semiangle: float) -> list[np.ndarray]:
        """Return the weights of the aperture-edge waves, which represent the probe's tails beyond the window.

        There is one array of weights, shape (B,), for the plane waves of each block. The sum over all blocks is 1.
        """
        radius = semiangle / self.wavelength
        found = [probe.rim(probe.aperture(block.ky, block.kx, self.pixel, radius)) for block in self.blocks]
        total = sum(float(w.sum()) for w in found)
        return [w / max(total, 1e-300) for w in found]


def layout(
    grid: Grid, wavelength: float, semiangle: float, camera: Camera, *, blocks: tuple[int, int] = (1, 1), antialias: bool = True
) -> PatternLayout:
    """Return the plane waves and reciprocal pixels for a cell, an aperture and a camera.

    Parameters
    ----------
    grid : Grid
        The wave's grid.
    wavelength, semiangle : float
        Wavelength, A; largest convergence semi-angle, rad.
    camera : Camera
        The camera; pixels beyond the band limit receive no signal.
    blocks : tuple of int
        Number of blocks of plane waves (ny, nx). The plane waves of all blocks together are spaced by 1 / ny and 1 / nx of
        the cell's reciprocal pixels; see :func:`beam_blocks.window_blocks`.
    antialias : bool
        Whether pixels at the aperture's edge are weighted by their covered fraction instead of 0 or 1.
    """
    pixel, out = beam_blocks.block_pixel(grid.extent, blocks), []
    half = tuple(n * p / 2 + side / 2 for n, p, side in zip(camera.shape, camera.pitch, pixel, strict=True))
    for offset in beam_blocks.block_offsets(blocks):
        ky, kx = grid.ky + offset[0] / grid.extent[0], grid.kx + offset[1] / grid.extent[1]
        beams = beam_blocks.aperture_beams(grid, wavelength, semiangle, offset, blocks, antialias=antialias)
        if not beams.size:
            continue
        near = (np.abs(ky + camera.beam[0]) < half[0])[:, None] & (np.abs(kx + camera.beam[1]) < half[1])
        near &= np.hypot(ky[:, None], kx) < grid.band_limit
        seen = np.flatnonzero(near)
        qy, qx = ky[seen // grid.shape[1]], kx[seen % grid.shape[1]]
        block = PatternBlock(
            offset=offset,
            beams=beams,
            ky=ky[beams // grid.shape[1]],
            kx=kx[beams % grid.shape[1]],
            seen=seen,
            qy=qy,
            qx=qx,
            shares=camera_pixels.resampling(qy + camera.beam[0], qx + camera.beam[1], pixel, camera.shape, camera.pitch),
        )
        out.append(block)
    return PatternLayout(grid=grid, wavelength=wavelength, semiangle=semiangle, pixel=pixel, antialias=antialias, blocks=tuple(out), camera=camera)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DiffractionMatrix:
    """The scattering matrix in Fourier space, restricted to the pixels of one camera.

    Parameters
    ----------
    layout : PatternLayout
        Plane waves and reciprocal pixels.
    matrices : tuple
        S_kq of each frozen-phonon configuration and block, complex64, shape (B, Q).
    cosets : tuple
        For each block, the sets of plane waves that interfere with each other, as slices. There is one set of all waves,
        or, with an average over lattice translations, the sets of :meth:`lattice_average.Translations.cosets`.
    average : MeasuredAverage, optional
        The average over lattice translations; its error is measured on patterns in focus.
    standard_error : float
        Relative standard error of patterns in focus, due to the finite number of configurations: the rms of the standard
        errors of all pixels at 25 probe positions, divided by the mean signal. NaN if ``average`` is None or there is only
        one configuration.
    """

    layout: PatternLayout
    matrices: tuple[tuple[np.ndarray, ...], ...]
    cosets: tuple[tuple[slice, ...], ...]
    average: MeasuredAverage | None = None
    standard_error: float = math.nan

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(part.nbytes for configuration in self.matrices for part in configuration)

    def patterns(self, positions: np.ndarray, optics: ProbeOptics, *, out: np.ndarray | None = None) -> np.ndarray:
        """Return the diffraction patterns of probes, as fractions of the incident beam.

        Parameters
        ----------
        positions : ndarray
            Probe positions (x, y), A, shape (P, 2).
        optics : ProbeOptics
            Optics of the probe; the convergence is at most that of the layout.
        out : ndarray, optional
            Output array, float32, shape (P, ny, nx).

        Returns
        -------
        ndarray
            Signals of the camera pixels, float32, shape (P, ny, nx), with k increasing along both axes.

        Raises
        ------
        SamplingError
            The convergence is larger than that of the layout.
        """
        modes, norm = self.layout.amplitudes(optics)
        positions = np.asarray(positions, float)
        shape = (len(positions), *self.layout.camera.shape)
        out = np.empty(shape, np.float32) if out is None else out
        tails = self._tails(optics, norm)
        starts = range(0, len(positions), PROBES)

        def work(queue: Iterator[int]) -> None:
            for start in queue:
                here = positions[start : start + PROBES]
                at = np.concatenate([here, np.zeros((PROBES - len(here), 2))])
                total = np.repeat(tails[:, None], PROBES, axis=1)
                for number, block in enumerate(self.layout.blocks):
                    total += block.shares @ self._intensity(number, modes[number], at)
                out[start : start + PROBES] = total[:, : len(here)].T.reshape(-1, *shape[1:])

        with blas.one_thread():
            threads.spread(work, starts)
        return out

    def _intensity(self, number: int, modes: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Return the mean intensity on a block's reciprocal pixels for probes at ``at``, float32, shape (Q, P)."""
        block = self.layout.blocks[number]
        phase = np.exp(-2j * np.pi * (np.outer(block.kx, at[:, 0]) + np.outer(block.ky, at[:, 1])))
        intensity = np.zeros((block.seen.size, len(at)), np.float32)
        for mode in modes:
            incident = (mode[:, None] * phase).astype(np.complex64)
            for configuration in self.matrices:
                for coset in self.cosets[number]:
                    wave = configuration[number][coset].T @ incident[coset]
                    intensity += np.real(wave) ** 2
                    intensity += np.imag(wave) ** 2
        return intensity / np.float32(len(self.matrices))

    def _tails(self, optics: ProbeOptics, norm: float) -> np.ndarray:
        """Return the signal of each camera pixel from the probe's tails beyond the window, float32, shape (ny nx,)."""
        total = np.zeros(self.layout.camera.shape[0] * self.layout.camera.shape[1], np.float32)
        if norm >= 1:
            return total
        for number, (block, rim) in enumerate(zip(self.layout.blocks, self.layout.rims(optics.semiangle), strict=True)):
            used = np.flatnonzero(rim)
            weight = (rim[used] * (1 - norm) / len(self.matrices)).astype(np.float32)
            for configuration in self.matrices:
                part = configuration[number][used]
                total += block.shares @ (weight @ (np.real(part) ** 2 + np.imag(part) ** 2))
        return total


def build(
    stacks: Sequence[SliceStack] | Iterator[SliceStack],
    plan: PatternLayout,
    *,
    progress: Progress | None = None,
    average: LatticeAverage | None = None,
) -> DiffractionMatrix:
    """Compute the scattering matrix: propagate every plane wave of the aperture through each configuration of a specimen.

    Parameters
    ----------
    stacks : iterable of SliceStack
        Frozen-phonon configurations, on the layout's grid.
    plan : PatternLayout
        Plane waves and reciprocal pixels.
    progress : callable, optional
        Called with the number of plane waves finished since the last call.
    average : LatticeAverage, optional
        Average of the patterns over a crystal's translations. Only the configurations that the average needs are computed.
    """
    whole: tuple[tuple[slice, ...], ...] = tuple((slice(None),) for _ in plan.blocks)
    plan, cosets = (plan, whole) if average is None else _sorted(plan, average.translations)
    matrices, shown = [], _ShownPatterns(whole, cosets)
    for stack in stacks:
        parts = []
        for block in plan.blocks:
            unit = np.eye(block.beams.size, dtype=np.complex64)
            parts.append(exit_coefficients(stack, block.beams, unit, block.seen, offset=block.offset))
            if progress is not None:
                progress(block.beams.size)
        matrices.append(tuple(parts))
        if average is not None:
            shown.add(plan, tuple(parts))
            if average.suffices(np.array(shown.plain), np.array(shown.averaged)):
                break
    found = DiffractionMatrix(layout=plan, matrices=tuple(matrices), cosets=cosets)
    if average is None:
        return found
    plain = np.array([shown.error(shown.plain) * math.sqrt(len(matrices) / average.most)])
    measured = MeasuredAverage(translations=average.translations, compared=average.most, plain_error=plain)
    return replace(found, average=measured, standard_error=shown.error(shown.averaged))


def _sorted(plan: PatternLayout, translations: Translations) -> tuple[PatternLayout, tuple[tuple[slice, ...], ...]]:
    """Return a layout whose plane waves are sorted by cosets, and the cosets of each block."""
    blocks, cosets = [], []
    for block in plan.blocks:
        hy, hx = (np.rint(k * side - part).astype(int) for k, side, part in zip((block.ky, block.kx), plan.grid.extent, block.offset, strict=True))
        sets = translations.cosets(hy, hx)
        order, ends = np.concatenate(sets), np.cumsum([0, *map(len, sets)]).tolist()
        blocks.append(replace(block, beams=block.beams[order], ky=block.ky[order], kx=block.kx[order]))
        cosets.append(tuple(slice(a, b) for a, b in itertools.pairwise(ends)))
    return replace(plan, blocks=tuple(blocks)), tuple(cosets)


class _ShownPatterns:
    """Patterns in focus of single configurations, without and with an average over lattice translations; each of shape (1, pixels and positions)."""

    def __init__(self, whole: tuple[tuple[slice, ...], ...], cosets: tuple[tuple[slice, ...], ...]) -> None:
        self._cosets = whole, cosets
        self.plain: list[np.ndarray] = []
        self.averaged: list[np.ndarray] = []

    def add(self, plan: PatternLayout, parts: tuple[np.ndarray, ...]) -> None:
        """Add the patterns of one configuration."""
        optics = ProbeOptics(aberrations=Aberrations(), semiangle=plan.semiangle)
        y, x = (np.arange(SHOWN) / SHOWN * side for side in plan.grid.extent)
        at = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        for cosets, known in zip(self._cosets, (self.plain, self.averaged), strict=True):
            known.append(DiffractionMatrix(layout=plan, matrices=(parts,), cosets=cosets).patterns(at, optics).reshape(1, -1))

    @staticmethod
    def error(patterns: Sequence[np.ndarray]) -> float:
        """Return the relative standard error of the mean over configurations; NaN for a single one."""
        values = np.array(patterns)
        if len(values) == 1:
            return math.nan
        return float(np.sqrt((values.var(axis=0, ddof=1) / len(values)).mean()) / max(values.mean(), 1e-30))


def probe_patterns(
    stacks: Sequence[SliceStack] | Iterator[SliceStack],
    plan: PatternLayout,
    positions: np.ndarray,
    optics: ProbeOptics,
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return diffraction patterns that are computed by multislice of every probe, as a reference for the scattering matrix.

    The parameters are those of :func:`build` and :meth:`DiffractionMatrix.patterns`. The result has the same form as the
    result of :meth:`DiffractionMatrix.patterns`.
    """
    modes, norm = plan.amplitudes(optics)
    rims = plan.rims(optics.semiangle)
    positions, count = np.asarray(positions, float), 0
    total = np.zeros((len(positions), plan.camera.shape[0] * plan.camera.shape[1]), np.float32)
    for stack in stacks:
        count += 1
        for number, block in enumerate(plan.blocks):

            def shared(waves: np.ndarray, block: PatternBlock = block) -> np.ndarray:
                return (block.shares @ (np.real(waves) ** 2 + np.imag(waves) ** 2).T).T

            if norm < 1:
                used = np.flatnonzero(rims[number])
                if used.size:
                    alone = np.diag(np.sqrt(rims[number][used])).astype(np.complex64)
                    waves = exit_coefficients(stack, block.beams[used], alone, block.seen, offset=block.offset)
                    total += (1 - norm) * shared(waves).sum(axis=0)
                _report(progress, used.size)
            for start in range(0, len(positions), WAVES_AT_ONCE):
                at = positions[start : start + WAVES_AT_ONCE]
                phase = np.exp(-2j * np.pi * (np.outer(at[:, 0], block.kx) + np.outer(at[:, 1], block.ky)))
                for mode in modes[number]:
                    waves = exit_coefficients(stack, block.beams, (mode * phase).astype(np.complex64), block.seen, offset=block.offset)
                    total[start : start + WAVES_AT_ONCE] += shared(waves)
                    _report(progress, len(at))
    return (total / np.float32(count)).reshape(-1, *plan.camera.shape)


def _report(progress: Progress | None, waves: int) -> None:
    if progress is not None:
        progress(waves)
