r"""The imaging operator: one Hermitian matrix per detector, built once per specimen, that gives the exact image for any optics.

.. math::

    a_k(r) = c_k e^{-i\chi_k} e^{-2\pi i k r} / \mathrm{norm}, \qquad
    I(r) = \sum_q D_q \Big|\sum_k a_k(r) S_{kq}\Big|^2 = \sum_{k k'} \bar a_k(r) a_{k'}(r) M_{k k'}, \qquad M = \bar S_D S_D^T

S_kq is the exit amplitude at q for an incident plane wave k. For thermal scattering, M is averaged over frozen-phonon configurations. The
pairs (k, k') are stored by their difference h = k' - k, eight neighbouring differences side by side, so the image's Fourier coefficients
are sums over contiguous memory. A focal spread multiplies the elements of M by factors, and a finite source multiplies the Fourier
coefficients of the image by factors; both are exact. Probes wider than the periodic cell have several blocks of plane waves, each with its
own matrix; see :mod:`beam_blocks`.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import coherence, probe
from stemtwin.twin.physics.aberrations import Aberrations, vector
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels import blas, threads
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache, piece_key
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import gram_matrix, image_kernels, lattice_average, point_group, quadratic_form_kernels, rotated_rasters
from stemtwin.twin.physics.engine.operator.beam_blocks import BeamBlock, aperture_beams, block_offsets, block_pixel, make_block
from stemtwin.twin.physics.engine.operator.image_layout import ApertureAmplitudes, ImageLayout, image_layout
from stemtwin.twin.physics.engine.operator.lattice_average import LatticeAverage, MeasuredAverage
from stemtwin.twin.physics.grids import Grid

FormBuilder = Callable[[int, SliceStack, BeamBlock, Callable[[int], None] | None], dict[str, np.ndarray]]
"""Function of a configuration's index and slices, a block and a progress function that returns ``elements`` and ``diagonal`` of M."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageCoefficients:
    """One band-limited periodic image per channel and state of the optics: I(r) = Re sum_h C_h exp(-2 pi i h.r / L), hy >= 0.

    Parameters
    ----------
    coefficients : ndarray
        C, complex128, shape ([states,] channels, my + 1, 2 mx + 1), for hy = 0..my, hx = -mx..mx, with the factor 2 of the half plane.
    extent : tuple of float
        Period (Ly, Lx), A.
    """

    coefficients: np.ndarray
    extent: tuple[float, float]

    def raster(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the images at the lines y (ny,) and columns x (nx,) of a raster, both in A, as float32 of shape ([states,] channels, ny, nx)."""
        angles = [2 * np.pi / side * np.asarray(at, float) for side, at in zip(self.extent, (y, x), strict=True)]
        out = image_kernels.raster(self._images, *angles)
        return out.reshape(*self.coefficients.shape[:-2], *out.shape[1:])

    def own_rasters(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return each state's images on its own raster, y (states, ny) and x (states, nx), A, on one thread, bit-identical to :meth:`raster`."""
        angles = [2 * np.pi / side * np.asarray(at, float) for side, at in zip(self.extent, (y, x), strict=True)]
        return image_kernels.own_rasters(self.coefficients, *angles)

    def own_rotated_rasters(self, lattices: tuple[np.ndarray, np.ndarray, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
        """Return each state's images on its own rotated raster, float32, shape (states, channels, ny, nx); computed on one thread.

        Parameters
        ----------
        lattices : tuple of ndarray
            Centre (x, y) of each raster, and steps (x, y) from line to line and from column to column, A, shape (states, 2) each.
        shape : tuple of int
            Points (ny, nx) of every raster.
        """
        scale = 2 * np.pi / np.array(self.extent)
        middle, per_line, per_column = (each[:, ::-1] * scale for each in lattices)
        return rotated_rasters.rotated_rasters(self.coefficients, middle, per_line, per_column, shape)

    def sums(self, shape: tuple[int, int]) -> bool:
        """Return True if the sum of the Fourier series is faster than a spline for images on rotated rasters (ny, nx)."""
        return rotated_rasters.worth(self.coefficients, shape)

    def at_own(self, points: np.ndarray) -> np.ndarray:
        """Return the images of each state of the optics at P points given for this state, bit-identical to :meth:`at`.

        ``points`` are (x, y), A, shape (states, P, 2). The result is float32, shape (states, channels, P).
        """
        return image_kernels.at_own_points(self.coefficients, points, self.extent)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the images, float32, shape ([states,] channels, ...), at points (x, y), A, shape (..., 2)."""
        points = np.asarray(points, float)
        out = image_kernels.at_points(self._images, points.reshape(-1, 2), self.extent)
        return out.reshape(*self.coefficients.shape[:-2], *points.shape[:-1])

    @property
    def _images(self) -> np.ndarray:
        return self.coefficients.reshape(-1, *self.coefficients.shape[-2:])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImagingOperator:
    """Quadratic forms of one specimen, beam energy and set of detector channels; see the module's docstring.

    Parameters
    ----------
    grid : Grid
        The multislice grid.
    wavelength, semiangle : float
        Wavelength, A; largest convergence semi-angle of images, rad.
    blocks : tuple of int
        Number of blocks of plane waves (ny, nx); see :func:`beam_blocks.window_blocks`.
    antialias : bool
        Whether pixels at the aperture's edge are weighted by their covered fraction.
    parts : tuple of BeamBlock
        One block of plane waves per offset.
    matrices : tuple of ndarray
        M in the order of each block's pairs (:func:`quadratic_form_kernels.pick`), float32, shape (channels, 16 * steps), with elements off
        the diagonal doubled.
    diagonals : tuple of ndarray
        M_kk, float64, shape (channels, B).
    standard_error : ndarray
        Relative standard error of the mean over phonon configurations for images in focus, shape (channels,): the rms of the standard error
        over the cell, divided by the mean signal; NaN for one configuration.
    configurations : int
        Number of frozen-phonon configurations in the mean M.
    average : MeasuredAverage, optional
        Average of the images over lattice translations.
    """

    grid: Grid
    wavelength: float
    semiangle: float
    blocks: tuple[int, int]
    antialias: bool
    parts: tuple[BeamBlock, ...]
    matrices: tuple[np.ndarray, ...]
    diagonals: tuple[np.ndarray, ...]
    standard_error: np.ndarray
    configurations: int = 1
    average: MeasuredAverage | None = None
    _damped: dict[float, tuple[np.ndarray, ...]] = field(default_factory=dict)
    _apertures: dict[float, ApertureAmplitudes] = field(default_factory=dict)
    _layouts: list[ImageLayout] = field(default_factory=list)

    @property
    def _layout(self) -> ImageLayout:
        if not self._layouts:
            self._layouts.append(image_layout(self.parts))
        return self._layouts[0]

    @property
    def beams(self) -> int:
        """Number of plane waves over all blocks."""
        return sum(part.hy.size for part in self.parts)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes, including the arrays cached for each focal spread and convergence."""
        apertures = [a for aperture in list(self._apertures.values()) for a in aperture.amplitudes]
        damped = itertools.chain.from_iterable(list(self._damped.values()))
        return sum(a.nbytes for a in (*self.matrices, *self.diagonals, *self.parts, *damped, *apertures))

    def image(
        self, aberrations: Aberrations, *, semiangle: float | None = None, source_size: float = 0.0, focal_spread: float = 0.0
    ) -> ImageCoefficients:
        """Return the image for one state of the optics.

        Parameters
        ----------
        aberrations : Aberrations
            Coefficients, A and rad.
        semiangle : float, optional
            Convergence semi-angle (rad), at most that of the operator (the default).
        source_size, focal_spread : float
            Standard deviations, A.

        Returns
        -------
        ImageCoefficients
            Coefficients (channels, ...).

        Raises
        ------
        SamplingError
            The convergence is larger than that of the operator.
        """
        many = self.images([aberrations], semiangle=semiangle, source_size=source_size, focal_spread=focal_spread)
        return ImageCoefficients(coefficients=many.coefficients[0], extent=many.extent)

    def images(
        self,
        states: Sequence[Aberrations],
        *,
        semiangle: float | None = None,
        source_size: float | Sequence[float] = 0.0,
        focal_spread: float = 0.0,
    ) -> ImageCoefficients:
        """Return the images for many states of the aberrations, faster than one call of :meth:`image` per state, with bit-identical results.

        Parameters
        ----------
        states : sequence of Aberrations
            Coefficients, A and rad; at least one state.
        semiangle : float, optional
            Convergence semi-angle (rad), at most that of the operator (the default).
        source_size : float or sequence of float
            Standard deviation, A, common to all states or one per state.
        focal_spread : float
            Standard deviation, A.

        Returns
        -------
        ImageCoefficients
            Coefficients (states, channels, ...).

        Raises
        ------
        SamplingError
            The convergence is larger than that of the operator, or ``states`` is empty.
        """
        semiangle = self.semiangle if semiangle is None else semiangle
        if semiangle > self.semiangle * (1 + 1e-12):
            message = f"This operator was built for {self.semiangle * 1e3:g} mrad, not for {semiangle * 1e3:g} mrad. Build one for the larger angle."
            raise SamplingError(message)
        if not states:
            message = "The sequence of states is empty. Give at least one state of the aberrations."
            raise SamplingError(message)
        layout = self._layout
        my, mx = layout.form.my, layout.form.mx
        aperture, matrices = self._aperture(semiangle), self._with_focal_spread(focal_spread)
        turns = () if self.average is None else self.average.turns
        seen, numbers = point_group.turned(states, turns) if turns else (states, None)
        real, imag = self._amplitudes(seen, aperture)
        total = quadratic_form_kernels.quadratic_form(real, imag, list(matrices), layout.form)
        total[:, :, 0, mx] += aperture.missing * aperture.beyond
        if self.average is not None:
            total = lattice_average.averaged(total if numbers is None else total[numbers], self.average)
        if np.any(source_size):
            qy, qx = np.arange(my + 1)[:, None] / self.grid.extent[0], np.arange(-mx, mx + 1) / self.grid.extent[1]
            sizes = np.broadcast_to(np.asarray(source_size, float), len(states)).tolist()
            for state, size in enumerate(sizes):
                total[state] *= coherence.source_factor(size, qy, qx)
        return ImageCoefficients(coefficients=total, extent=self.grid.extent)

    def beyond(self, semiangle: float | None = None) -> np.ndarray:
        """Return the signals of the probe's tails beyond the window, per unit of their power, (channels,); see `probe.rim`."""
        return self._aperture(self.semiangle if semiangle is None else semiangle).beyond

    def _amplitudes(self, states: Sequence[Aberrations], aperture: ApertureAmplitudes) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the real and imaginary parts of a_k = c_k exp(-i chi_k) / norm of each block, padded to (states, B + 16)."""
        layout = self._layout
        chi = quadratic_form_kernels.phases(np.stack([vector(state) for state in states]), layout.basis)
        c = aperture.side_by_side
        real, imag = c * np.cos(chi), -c * np.sin(chi)
        return [[quadratic_form_kernels.padded(each[:, place]) for place in layout.places] for each in (real, imag)]  # type: ignore[return-value]

    def _aperture(self, semiangle: float) -> ApertureAmplitudes:
        found = self._apertures.get(semiangle)
        if found is None:
            pixel, radius = block_pixel(self.grid.extent, self.blocks), semiangle / self.wavelength
            cover = [probe.aperture(part.ky, part.kx, pixel, radius, antialias=self.antialias) for part in self.parts]
            inside = sum(float((c**2).sum()) for c in cover)
            norm = math.pi * radius**2 / (pixel[0] * pixel[1]) if self.antialias else max(inside, 1.0)
            rims = [probe.rim(c) for c in cover]
            seen = sum(diagonal @ w for diagonal, w in zip(self.diagonals, rims, strict=True)) / max(sum(float(w.sum()) for w in rims), 1e-300)
            amplitudes = tuple(c / math.sqrt(norm) for c in cover)
            found = ApertureAmplitudes(amplitudes=amplitudes, beyond=np.asarray(seen, float), missing=max(1 - inside / norm, 0.0))
            _remember(self._apertures, semiangle, found)
        return found

    def _with_focal_spread(self, focal_spread: float) -> tuple[np.ndarray, ...]:
        if not focal_spread:
            return self.matrices
        found = self._damped.get(focal_spread)
        if found is None:
            damped = []
            for part, matrix in zip(self.parts, self.matrices, strict=True):
                difference = quadratic_form_kernels.differences(part.ky**2 + part.kx**2, part.pairs)
                factor = coherence.focal_factor(focal_spread, self.wavelength, difference).astype(np.float32)
                damped.append((matrix.reshape(len(matrix), -1, 2, quadratic_form_kernels.EIGHT) * factor[:, None]).reshape(matrix.shape))
            found = tuple(damped)
            _remember(self._damped, focal_spread, found)
        return found


def _remember(known: dict, key: float, value: object) -> None:
    """Keep a value and its predecessor; drop older ones."""
    for old in list(known)[:-1]:
        known.pop(old, None)
    known[key] = value


def build(
    stacks: Iterator[SliceStack],
    semiangle: float,
    weights: Weights,
    *,
    blocks: tuple[int, int] = (1, 1),
    held: int | None = None,
    depths: Sequence[float] | None = None,
    **settings: Any,
) -> ImagingOperator:
    """Build the operator of a specimen and detectors.

    Parameters
    ----------
    stacks, semiangle, blocks
        As in :func:`assemble`.
    weights : callable
        Detector weights of reciprocal pixels, for all channels.
    held : int, optional
        Memory for exit amplitudes, bytes, as in :func:`gram_matrix.detected`.
    depths : sequence of float, optional
        Depths z, A. Each depth gives the channels of the part of the specimen above it; they follow the channels of the previous depth.
    **settings
        The arguments antialias, progress, cache, key and average of :func:`assemble`.

    Returns
    -------
    ImagingOperator
        The operator.
    """

    def piece(_configuration: int, stack: SliceStack, part: BeamBlock, progress: Callable[[int], None] | None) -> dict[str, np.ndarray]:
        return _piece(stack, weights, blocks, part, progress, held, depths)

    return assemble(stacks, semiangle, piece, blocks=blocks, at_once=gram_matrix.at_once, **settings)


def assemble(
    stacks: Iterator[SliceStack],
    semiangle: float,
    piece: FormBuilder,
    *,
    blocks: tuple[int, int] = (1, 1),
    antialias: bool = True,
    progress: Callable[[int], None] | None = None,
    cache: ArrayCache | None = None,
    key: str = "",
    average: LatticeAverage | None = None,
    at_once: Callable[[Sequence[int]], int] = lambda _: 1,
) -> ImagingOperator:
    """Build an operator from the contribution of each configuration to each block.

    Parameters
    ----------
    stacks : iterator of SliceStack
        One stack per frozen-phonon configuration, all on one grid; the operator is the mean over them.
    semiangle : float
        Largest convergence semi-angle of images, rad.
    piece : callable
        Function that computes a contribution; see ``FormBuilder``.
    blocks : tuple of int
        Number of blocks of plane waves (ny, nx); see :func:`beam_blocks.window_blocks`.
    antialias : bool
        Whether pixels at the aperture's edge are weighted by their covered fraction instead of 0 or 1.
    progress : callable, optional
        Called from any thread with the number of plane waves finished since the last call.
    cache : ArrayCache, optional
        Cache of the contributions; a build that was killed resumes from them, with a bit-identical result.
    key : str
        Key of the operator in the cache; :func:`imaging_cache.build` stores the whole operator and removes the contributions.
    average : LatticeAverage, optional
        Average of the images over a crystal's translations. Only the configurations that the average needs are taken from ``stacks``.
    at_once : callable
        Takes the number of plane waves of each block and returns the number of blocks to compute in parallel. The result does not depend on it.

    Returns
    -------
    ImagingOperator
        The operator.
    """
    common: dict[str, Any] = {}
    sums, diagonals, reference = list[np.ndarray](), list[np.ndarray](), _ProbeImages(average)
    for configuration, stack in enumerate(stacks):
        if not common:
            common = _common_fields(stack, semiangle, blocks, antialias)
        found = _blocks(common["parts"], functools.partial(piece, configuration, stack), at_once, cache, piece_key(key, configuration), progress)
        singles, single_diagonals = ([each[name] for each in found] for name in ("elements", "diagonal"))
        sums = singles if not sums else [a + b for a, b in zip(sums, singles, strict=True)]
        diagonals = single_diagonals if not diagonals else [a + b for a, b in zip(diagonals, single_diagonals, strict=True)]
        if reference.suffice_with(_mean_operator(common, singles, single_diagonals, 1, np.zeros(len(singles[0])))):
            break
    if not sums:
        message = "An operator needs at least one configuration of the specimen. Give one or more stacks of slices."
        raise SamplingError(message)
    return replace(_mean_operator(common, sums, diagonals, configuration + 1, reference.standard_error()), average=reference.measured())


def _blocks(
    parts: Sequence[BeamBlock],
    compute: Callable[..., dict[str, np.ndarray]],
    at_once: Callable[[Sequence[int]], int],
    cache: ArrayCache | None,
    key: str,
    progress: Callable[[int], None] | None,
) -> list[dict[str, np.ndarray]]:
    """Return the contribution of one configuration to each block, from the cache where it is kept, some blocks in parallel."""
    found: list[dict[str, np.ndarray]] = [{}] * len(parts)

    def work(queue: Iterator[int]) -> None:
        for number in queue:
            part = parts[number]
            skipped = None if progress is None else functools.partial(progress, part.beams.size)
            one = functools.partial(compute, part, progress)
            found[number] = one() if cache is None else cache.resumable(piece_key(key, number), one, skipped=skipped)

    with blas.one_thread():
        threads.spread(work, range(len(parts)), threads=at_once([part.beams.size for part in parts]))
    return found


def _standard_error(images: np.ndarray) -> np.ndarray:
    """Return the relative standard error (channels,) of images (configurations, channels, points); NaN for one configuration."""
    count = len(images)
    if count == 1:
        return np.full(images.shape[1], np.nan)
    return np.sqrt((images.var(axis=0, ddof=1) / count).mean(-1)) / np.maximum(images.mean(axis=(0, 2)), 1e-30)


def _piece(stack: SliceStack, weights: Weights, blocks: tuple[int, int], part: BeamBlock, *how: Any) -> dict[str, np.ndarray]:
    """Return the contribution of one configuration to one block; ``how`` are progress, held and depths of :func:`gram_matrix.detected`."""
    grid = stack.grid
    ky, kx = grid.ky + part.offset[0] / grid.extent[0], grid.kx + part.offset[1] / grid.extent[1]
    detector = weights(ky[:, None], kx, block_pixel(grid.extent, blocks))
    elements, diagonal = gram_matrix.detected(stack, detector, part.beams, part.pairs, part.offset, *how)
    return {"elements": elements, "diagonal": diagonal}


def _common_fields(stack: SliceStack, semiangle: float, blocks: tuple[int, int], antialias: bool) -> dict[str, Any]:
    """Return the fields of an operator that are common to all configurations."""
    grid, wavelength, parts = stack.grid, stack.wavelength, []
    for offset in block_offsets(blocks):
        beams = aperture_beams(grid, wavelength, semiangle, offset, blocks, antialias=antialias)
        if beams.size:  # a small aperture does not contain all offsets
            parts.append(make_block(grid, wavelength, beams, offset))
    return {
        "grid": grid,
        "wavelength": wavelength,
        "semiangle": semiangle,
        "blocks": blocks,
        "antialias": antialias,
        "parts": tuple(parts),
    }


def _mean_operator(
    common: dict[str, Any], sums: Sequence[np.ndarray], diagonals: Sequence[np.ndarray], count: int, error: np.ndarray
) -> ImagingOperator:
    """Return the operator whose matrices are the mean of ``count`` configurations, given their sums."""
    return ImagingOperator(
        **common,
        matrices=tuple(each / np.float32(count) for each in sums),
        diagonals=tuple(each / count for each in diagonals),
        standard_error=error,
        configurations=count,
    )


class _ProbeImages:
    """Images in focus of each configuration, without and with an average over lattice translations."""

    def __init__(self, average: LatticeAverage | None) -> None:
        self.average = average
        self._plain: list[np.ndarray] = []
        self._averaged: list[np.ndarray] = []

    def suffice_with(self, operator: ImagingOperator) -> bool:
        """Add the images of one configuration; return whether no further one is needed (never without an average)."""
        image = operator.image(Aberrations())
        self._plain.append(_raster(image))
        if self.average is not None:
            turns = self.average.turns  # the probe in focus is round, so no aberrations need to be turned
            alike = np.repeat(image.coefficients[None], len(turns), axis=0) if turns else image.coefficients
            mean = lattice_average.averaged(alike, self.average)
            self._averaged.append(_raster(ImageCoefficients(coefficients=mean, extent=image.extent)))
        return self.average is not None and self.average.suffices(np.array(self._plain), np.array(self._averaged))

    def standard_error(self) -> np.ndarray:
        """Return the relative standard error of the mean image, (channels,)."""
        return _standard_error(np.array(self._plain if self.average is None else self._averaged))

    def measured(self) -> MeasuredAverage | None:
        """Return the average with its measured error."""
        if self.average is None:
            return None
        error = _standard_error(np.array(self._plain)) * math.sqrt(len(self._plain) / self.average.most)
        average = self.average
        return MeasuredAverage(translations=average.translations, compared=average.most, plain_error=error, turns=average.turns)


def _raster(image: ImageCoefficients, points: int = 24) -> np.ndarray:
    """Return an image on a raster over the cell, (channels, points^2), by BLAS, without compiling a kernel for so few points."""
    rows, columns = image.coefficients.shape[1:]
    at = np.arange(points) / points
    y, x = np.exp(-2j * np.pi * np.outer(at, np.arange(rows))), np.exp(-2j * np.pi * np.outer(np.arange(columns) - columns // 2, at))
    return np.real(y @ image.coefficients @ x).astype(np.float32).reshape(len(image.coefficients), -1)
