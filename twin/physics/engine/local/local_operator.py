r"""The local operator: dark-field images of large thin fields and of specimens whose atoms move.

The probe at R is a sum of localised functions phi_j on a lattice (`basis`) with the coefficients c_j(R). Each function is propagated in
its own small window (`exit_waves`). With the operators U (propagation through the specimen) and D (weights of the detector), the signal is

.. math::

    I(R) = \sum_{j, \delta} \overline{c_j(R)} c_{j + \delta}(R) K_\delta[j], \qquad K_\delta[j] = \langle U\phi_j | D | U\phi_{j + \delta}\rangle

K decreases with the distance delta, because the coherence of a dark-field detector has a short range. A band of K is therefore sufficient,
and work and memory are proportional to the area. Images for any state of the optics are computed by FFTs (`local_image`). The error of the
truncations (band, window, detector coherence) is measured against multislice of single probes through the whole field (`accuracy_check`),
and every operator that the function `build` returns contains the result.

K is built in pieces of 32 x 32 lattice points. The result is bit-identical for any order of the pieces. When atoms move, only the
affected overlaps are built again.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, aligned
from stemtwin.twin.physics.engine.local import accuracy_check
from stemtwin.twin.physics.engine.local.accuracy_check import Accuracy
from stemtwin.twin.physics.engine.local.basis import MARGIN, PIECE, SIDE, Basis, Localisation, Piece, Region, canvas_span, localisation, pieces_of
from stemtwin.twin.physics.engine.local.exit_waves import Patch, Windows, seen_frequencies
from stemtwin.twin.physics.engine.local.film_slices import FilmSlices, JoinedSlices
from stemtwin.twin.physics.engine.local.local_image import Canvas, LocalImage
from stemtwin.twin.physics.engine.local.piece_cache import PieceStore
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack

GROWTHS = 2
"""Number of times that windows and band grow before a build to a tolerance fails."""
CANVASES = 4
"""Largest number of canvases kept in memory."""


class LocalOperator:
    """Overlaps of localised functions for a specimen, beam energy and set of dark-field detectors; see the module's docstring.

    Parameters
    ----------
    stacks : sequence of SliceStack
        One stack per frozen-phonon configuration, all on one grid with the same planes; overlaps are means over them.
        The methods access one stack after another, so a sequence may create each stack on demand and keep only one in
        memory.
    semiangle : float
        Largest convergence semi-angle of images, rad.
    weights : callable
        Detector weights of reciprocal pixels, for all channels, as for the dense operator.
    local : Localisation
        Truncation distances; the function `build` determines them from a tolerance.
    periodic : bool
        Whether the field is periodic; if not, vacuum surrounds it.
    antialias : bool
        Whether pixels at the aperture's edge are weighted by their covered fraction instead of 0 or 1.

    Raises
    ------
    SamplingError
        The aperture or a detector exceeds the band limit, or a detector overlaps the bright field.
    """

    def __init__(
        self,
        stacks: Sequence[SliceStack],
        semiangle: float,
        weights: Weights,
        local: Localisation,
        *,
        periodic: bool = True,
        antialias: bool = True,
    ) -> None:
        if not len(stacks):
            message = "An operator needs at least one configuration of the specimen. Give one or more stacks of slices."
            raise SamplingError(message)
        first = stacks[0]
        self.grid, self.wavelength, self.semiangle = first.grid, first.wavelength, semiangle
        self.weights, self.periodic, self.antialias = weights, periodic, antialias
        self.stacks = stacks
        self.basis = Basis(grid=first.grid, radius=semiangle / first.wavelength, periodic=periodic, local=local)
        if self.basis.cutoff >= first.grid.band_limit:
            message = (
                f"Basis functions for a convergence of {semiangle * 1e3:g} mrad reach {self.basis.cutoff * self.wavelength * 1e3:.1f} mrad, beyond "
                f"the grid's band limit ({first.grid.max_angle(self.wavelength) * 1e3:.1f} mrad). Use a finer sampling or a smaller aperture."
            )
            raise SamplingError(message)
        self.joined: JoinedSlices | None = None
        self.windows = Windows(self.basis, first, weights)
        shape = (len(self.windows.channels), self.basis.batches, *self.basis.counts, 2, LANES)
        self._overlaps = aligned(math.prod(shape)).reshape(shape)
        self._built = np.zeros(self.basis.pieces, bool)
        self._canvases: dict[tuple[int, ...], Canvas] = {}
        self.accuracy: Accuracy | None = None
        self.store: PieceStore | None = None

    def join(self, joined: JoinedSlices | None) -> None:
        """Select joined slices, if given, for the propagation of the basis functions; call this before any build.

        The accuracy check (:meth:`check`) still propagates its single probes through the original slices.
        """
        if joined is not None:
            first = self.stacks[0]
            self.joined, self.windows = joined, Windows(self.basis, first, self.weights, joined.planes(first.planes))

    # ---- properties ----

    @property
    def functions(self) -> int:
        """Number of basis functions."""
        return math.prod(self.basis.counts)

    @property
    def nbytes(self) -> int:
        """Memory held, without the specimen, bytes."""
        return self._overlaps.nbytes + sum(canvas.nbytes for canvas in self._canvases.values())

    def describe(self) -> dict[str, object]:
        """Return all parameters on which the overlaps depend, except specimen and detectors, as a dictionary for JSON."""
        basis, local = self.basis, self.basis.local
        return {
            "grid": [*self.grid.shape, *self.grid.extent],
            "wavelength": self.wavelength,
            "semiangle": self.semiangle,
            "periodic": self.periodic,
            "lattice": list(basis.counts),
            "window": list(self.windows.grid.shape),
            "local": local.numbers,
            "steps": len(basis.steps),
            **({} if self.joined is None else {"joined": list(self.joined.starts)}),
        }

    def copy(self) -> "LocalOperator":
        """Return an independent copy that can be built and updated separately."""
        other = copy.copy(self)
        other._overlaps = aligned(self._overlaps.size).reshape(self._overlaps.shape)
        other._overlaps[...] = self._overlaps
        other._built, other._canvases, other.store = self._built.copy(), {}, None
        return other

    # ---- building ----

    def pieces(self, region: Region | None = None, margin: float = MARGIN) -> list[Piece]:
        """Return the pieces (groups of patches) that images of a region (A) with a margin (A) need; all pieces if ``region`` is None."""
        return pieces_of(self.basis, region, margin)

    def build(
        self,
        region: Region | None = None,
        *,
        margin: float = MARGIN,
        progress: Callable[[int], None] | None = None,
        beside: Callable[[SliceStack], None] | None = None,
    ) -> None:
        """Build the missing pieces for images of a region, or of the whole field.

        Parameters
        ----------
        region : tuple, optional
            Region ((y0, y1), (x0, x1)), A; the whole field by default.
        margin : float
            Width of the margin around the region for the tails of probes, A.
        progress : callable, optional
            Called with the number 16 whenever 16 more basis functions have been propagated.
        beside : callable, optional
            Called with each configuration of the specimen while it is in memory.
        """
        missing = [piece for piece in self.pieces(region, margin) if not self._built[piece]]
        done = {piece: self._restore(piece) for piece in missing}
        for number in range(len(self.stacks)):
            left = [piece for piece in missing if done[piece] <= number]
            self._correlate(number, sorted(patch for piece in left for patch in self._patches(piece)), None, progress)
            if beside is not None:
                beside(self.stacks[number])
        for piece in missing:
            self._built[piece] = True

    def forget_pieces(self) -> None:
        """Remove the pieces from the disk cache."""
        if self.store is not None:
            self.store.drop()

    def _restore(self, piece: Piece) -> int:
        """Load a piece from disk, if it is there; return the number of configurations in its sum."""
        if self.store is None:
            return 0
        done, arrays = self.store.load(piece)
        if not done:
            return 0
        self._put_in(piece, arrays)
        return done

    def _save(self, row: int, patches: list[Patch], number: int) -> None:
        """Keep on disk the pieces that end with a row of patches, summed up to configuration ``number``."""
        if self.store is None or ((row + 1) % PIECE and row + 1 < self.basis.patches[0]):
            return
        for column in sorted({patch[1] // PIECE for patch in patches if patch[0] == row}):
            piece = (row // PIECE, column)
            self.store.save(piece, number + 1, {"overlaps": self._overlaps[self._slices(piece)].copy()})

    def update(self, stacks: Sequence[SliceStack], regions: Sequence[Region] | None = None, progress: Callable[[int], None] | None = None) -> int:
        """Replace the specimen by one that differs only in some regions, and build the affected overlaps again.

        Parameters
        ----------
        stacks : sequence of SliceStack
            The new specimen, with the same grid, planes and number of configurations.
        regions : sequence of tuple, optional
            Regions ((y0, y1), (x0, x1)), A; transmissions outside all regions are unchanged. On a periodic field, regions may extend beyond the
            edges. By default, the regions are found by comparing all transmissions.
        progress : callable, optional
            As in `build`.

        Returns
        -------
        int
            Number of patches (sixteen functions each) whose waves have changed.

        Raises
        ------
        SettingsError
            The grid, the planes, the thickness, the tilt, the wavelength or the number of configurations differs.
        """
        self._check_alike(stacks)
        changed = self._changed_pixels(stacks, regions)
        self.stacks, self.store = stacks, None  # pieces on disk belong to the earlier specimen
        touched = self._touched(changed)
        if touched:
            near = self._near(touched)
            for number in range(len(stacks)):
                self._correlate(number, near, touched, progress)
            self._canvases.clear()
        return len(touched)

    @property
    def built(self) -> list[Piece]:
        """The pieces that have been built."""
        return [piece for piece in self.pieces() if self._built[piece]]

    def _put_in(self, piece: Piece, arrays: dict[str, np.ndarray]) -> None:
        target = self._overlaps[self._slices(piece)]
        given = arrays.get("overlaps")
        if given is None or given.shape != target.shape or given.dtype != np.float32:
            found = "they are missing" if given is None else f"they have the type {given.dtype} and the shape {given.shape}"
            message = f"The overlaps of piece {piece} must have the type float32 and the shape {target.shape}, but {found}. Build the piece again."
            raise SettingsError(message)
        target[...] = given

    def _slices(self, piece: Piece) -> tuple[slice, ...]:
        side = SIDE * PIECE
        return (slice(None), slice(None), *(slice(p * side, min((p + 1) * side, n)) for p, n in zip(piece, self.basis.counts, strict=True)))

    def _patches(self, piece: Piece) -> list[Patch]:
        rows, columns = (range(p * PIECE, min((p + 1) * PIECE, n)) for p, n in zip(piece, self.basis.patches, strict=True))
        return list(itertools.product(rows, columns))

    def _correlate(self, number: int, patches: list[Patch], touched: set[Patch] | None, progress: Callable[[int], None] | None) -> None:
        """Add one configuration's overlaps of patches with their partners, row by row; with ``touched``, only of pairs with a patch in it."""
        wanted = []
        for patch in patches:
            pairs = [(patch, partner) for partner in self.windows.partners(patch) if touched is None or patch in touched or partner.patch in touched]
            if pairs:
                wanted.append((patch[0], pairs))
        rows = [(y, [pair for _, pairs in group for pair in pairs]) for y, group in itertools.groupby(wanted, key=lambda item: item[0])]
        needs = [{patch for pair in row for patch in (pair[0], pair[1].patch)} for _, row in rows]
        if not rows:
            return
        stack, waves = self.stacks[number], {}
        stack = stack if self.joined is None else self.joined.stack(stack)
        for i, (y, row) in enumerate(rows):
            waves |= self.windows.propagate(stack, sorted(needs[i] - waves.keys()), progress)
            self.windows.correlate(row, waves, self._overlaps, 1 / len(self.stacks), add=number > 0)
            later = needs[i + 1] if i + 1 < len(rows) else set()
            waves = {patch: wave for patch, wave in waves.items() if patch in later}
            if touched is None:
                self._save(y, patches, number)

    # ---- updates after atoms moved ----

    def _check_alike(self, stacks: Sequence[SliceStack]) -> None:
        new, old = stacks[0], self.stacks[0]
        alike = len(stacks) == len(self.stacks) and new.grid == old.grid and new.tilt == old.tilt and new.thickness == old.thickness
        if not alike or new.wavelength != old.wavelength or not np.array_equal(new.planes, old.planes):
            message = (
                f"The changed specimen ({len(stacks)} configurations, {len(new.planes)} planes, grid {new.grid.shape}) is not sliced like the "
                f"previous one ({len(self.stacks)}, {len(old.planes)}, {old.grid.shape}). Keep grid, planes, thickness and tilt, or build again."
            )
            raise SettingsError(message)

    def _changed_pixels(self, stacks: Sequence[SliceStack], regions: Sequence[Region] | None) -> np.ndarray:
        """Return the mask of the field's pixels that changed, bool, of the grid's shape."""
        changed = np.zeros(self.grid.shape, bool)
        if regions is None:
            for new, old in zip(stacks, self.stacks, strict=True):
                changed |= np.any(new.transmission != old.transmission, axis=0)
            return changed
        for region in regions:
            spans = []
            for (low, high), step, count in zip(region, self.grid.sampling, self.grid.shape, strict=True):
                first, last = math.floor(low / step), math.ceil(high / step)
                if self.periodic:
                    spans.append(np.arange(first, min(last, first + count - 1) + 1) % count)
                else:
                    spans.append(np.arange(max(first, 0), min(last, count - 1) + 1))
            changed[np.ix_(*spans)] = True
        return changed

    def _touched(self, changed: np.ndarray) -> set[Patch]:
        """Return the patches whose windows contain changed pixels."""
        ny, nx = self.basis.patches
        touched = set()
        for py in range(ny):
            rows, share = self.windows.sight((py, 0))[0]
            line: np.ndarray = np.any(changed[rows[(share > 0) & (rows >= 0)]], axis=0)
            if not line.any():
                continue
            for px in range(nx):
                columns, share = self.windows.sight((py, px))[1]
                if line[columns[(share > 0) & (columns >= 0)]].any():
                    touched.add((py, px))
        return touched

    def _near(self, touched: set[Patch]) -> list[Patch]:
        """Return the sorted patches of built pieces that may have partners among the given ones."""
        counts, far = self.basis.patches, self.windows.far
        moves = list(itertools.product(range(-far[0], far[0] + 1), range(-far[1], far[1] + 1)))
        near = {((patch[0] + y) % counts[0], (patch[1] + x) % counts[1]) for patch in touched for y, x in moves}
        return sorted(patch for patch in near if self._built[patch[0] // PIECE, patch[1] // PIECE])

    # ---- images ----

    def image(
        self,
        aberrations: Aberrations,
        *,
        semiangle: float | None = None,
        source_size: float = 0.0,
        focal_spread: float = 0.0,
        region: Region | None = None,
    ) -> LocalImage:
        """Return the image for one state of the optics.

        Parameters
        ----------
        aberrations : Aberrations
            Coefficients, A and rad.
        semiangle : float, optional
            Convergence semi-angle (rad), at most that of the operator (the default).
        source_size, focal_spread : float
            Standard deviations, A.
        region : tuple, optional
            Region of the image, ((y0, y1), (x0, x1)), A; the whole field by default.

        Returns
        -------
        LocalImage
            Images of all channels, to be evaluated by ``raster`` or ``at``.

        Raises
        ------
        SamplingError
            The convergence is larger than that of the operator.
        SettingsError
            Overlaps for the region, or for the margin that probes need around it, are missing. Call :meth:`build` first.
        """
        semiangle = self.semiangle if semiangle is None else semiangle
        if semiangle > self.semiangle * (1 + 1e-12):
            message = f"This operator was built for {self.semiangle * 1e3:g} mrad, not for {semiangle * 1e3:g} mrad. Build one for the larger angle."
            raise SamplingError(message)
        margin = MARGIN + blur(aberrations, semiangle)
        missing = [piece for piece in self.pieces(region, margin) if not self._built[piece]]
        if missing:
            where = "the field" if region is None else f"y from {region[0][0]:g} to {region[0][1]:g} A, x from {region[1][0]:g} to {region[1][1]:g} A"
            message = (
                f"{len(missing)} pieces of {where} with a margin of {margin:.0f} A are not built. Call build(region, margin={math.ceil(margin)})."
            )
            raise SettingsError(message)
        return self._canvas(region, margin).image(
            aberrations, semiangle, self.wavelength, source_size=source_size, focal_spread=focal_spread, antialias=self.antialias
        )

    def _canvas(self, region: Region | None, margin: float) -> Canvas:
        spans = [canvas_span(self.basis, axis, None if region is None else region[axis], margin) for axis in (0, 1)]
        key = tuple(itertools.chain(*spans))
        canvas = self._canvases.get(key)
        if canvas is None:
            indices, origin = [], []
            for (start, count), lattice, zero, h in zip(spans, self.basis.counts, self.basis.origin, self.basis.spacing, strict=True):
                index = start + np.arange(count)
                indices.append(index % lattice if self.periodic else np.where((index >= 0) & (index < lattice), index, -1))
                origin.append(zero + start * h)
            canvas = Canvas(self.basis, indices[0], indices[1], (origin[0], origin[1]), self._overlaps)
            while len(self._canvases) >= CANVASES:
                self._canvases.pop(next(iter(self._canvases)), None)
            self._canvases[key] = canvas
        return canvas

    def check(self, rng: np.random.Generator, region: Region | None = None, points: int = accuracy_check.POINTS) -> Accuracy:
        """Compare images with multislice of single probes at random points and store the ``accuracy``; see :func:`accuracy_check.check`."""
        self.accuracy = accuracy_check.check(self, rng, region, points)
        return self.accuracy


def blur(aberrations: Aberrations, semiangle: float) -> float:
    """Return an upper bound of the geometric radius of a probe, sum |C_nm| alpha^n, A."""
    orders: Iterable[tuple[str, float]] = ((name, getattr(aberrations, name)) for name in aberrations.__dataclass_fields__ if name.startswith("C"))
    return sum(abs(value) * semiangle ** int(name[1]) for name, value in orders)


def _first_localisation(stack: SliceStack, semiangle: float, weights: Weights, tolerance: float, growing: bool) -> Localisation:
    """Return the initial truncation distances of a build to a tolerance; raise SettingsError unless it is between 0 and 1."""
    if not 0 < tolerance < 1:
        message = f"tolerance={tolerance:g} is not between 0 and 1. Give the rms error divided by the mean signal, such as 0.01 for 1 %."
        raise SettingsError(message)
    inner, outer = seen_frequencies(stack, weights)
    return localisation(
        radius=semiangle / stack.wavelength,
        inner=inner,
        outer=outer,
        wavelength=stack.wavelength,
        thickness=float(stack.planes[-1] - stack.planes[0]),  # propagation behind the last plane does not change the signals
        tilt=stack.tilt,
        tolerance=tolerance,
        growing=growing,
    )


def build(
    stacks: Sequence[SliceStack],
    semiangle: float,
    weights: Weights,
    *,
    rng: np.random.Generator,
    tolerance: float = 0.01,
    region: Region | None = None,
    periodic: bool = True,
    antialias: bool = True,
    progress: Callable[[int], None] | None = None,
    cache: ArrayCache | None = None,
    key: str = "",
    film: FilmSlices | None = None,
    growing: bool = False,
) -> LocalOperator:
    """Build the operator of a specimen, or of a region of it, to a tolerance.

    Parameters
    ----------
    stacks, semiangle, weights, periodic, antialias
        As for :class:`LocalOperator`.
    rng : Generator
        Random generator of the points of the accuracy check.
    tolerance : float
        Largest rms error against multislice at random points, divided by the mean signal.
    region, progress
        As for :meth:`LocalOperator.build`; the accuracy is measured in the region. The rest of the field can be built later.
    cache, key : ArrayCache, str
        Cache of the overlaps, and the operator's key. A build that was killed resumes from the cache, with a bit-identical result.
    film, growing : FilmSlices, bool
        Planes of ``film`` are joined if this changes signals by at most ``tolerance / 2``. With ``growing``, windows grow with depth.

    Returns
    -------
    LocalOperator
        The operator, with measured ``accuracy``.

    Raises
    ------
    SamplingError
        A detector overlaps the bright field or exceeds the band limit, or the tolerance is missed even with larger windows.
    SettingsError
        The tolerance is not between 0 and 1.
    """
    local, tried = _first_localisation(stacks[0], semiangle, weights, tolerance, growing), []
    for _ in range(GROWTHS + 1):
        operator = LocalOperator(stacks, semiangle, weights, local, periodic=periodic, antialias=antialias)
        comparison = accuracy_check.Comparison(operator, rng, region)
        operator.join(None if film is None else film.allowed(comparison, stacks[0], tolerance))
        operator.store = None if cache is None else PieceStore(cache, key, local, len(stacks), operator.joined)
        operator.build(region, margin=MARGIN + accuracy_check.blur_of_check(operator.basis.radius), progress=progress, beside=comparison.take)
        operator.accuracy = accuracy = comparison.accuracy()
        if accuracy.rms <= tolerance:
            return operator
        operator.forget_pieces()
        tried.append(f"{accuracy.rms:.2%} with windows of {max(operator.windows.grid.extent):.0f} A and a band of {local.band:.1f} A")
        local = local.grown()
    message = f"The local operator misses tolerance={tolerance:g}: {', '.join(tried)}. Allow a larger tolerance, or use the dense imaging operator."
    raise SamplingError(message)
