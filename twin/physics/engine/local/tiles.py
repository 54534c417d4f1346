r"""Images of a large field by dense operators on overlapping windows, for bright-field detectors, whose coherence has a long range.

The field is divided into tiles. Each tile has a window around it: a periodic cell with the specimen's atoms inside the
window, and the dense imaging operator of this cell. The signal of a probe is taken from the window of its tile, at least
``seam`` away from the window's edges, where the periodic continuation brings unrelated atoms together.

The part of a probe outside the window is represented by aperture-edge waves (`probe.rim`), as in every engine. On MoS2 (80 kV,
25 mrad), a window of 24 A is therefore accurate to 0.1 % in bright field.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.detector_weights import Weights
from stemtwin.twin.physics.engine.local import accuracy_check
from stemtwin.twin.physics.engine.local.accuracy_check import Accuracy
from stemtwin.twin.physics.engine.local.basis import Region
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator
from stemtwin.twin.physics.grids import Grid, fast_length

SIDE = 13.5
"""Side of a window for a probe in focus and a tolerance of 1 %, in units of lambda / alpha."""
LEAST_SIDE = 14.0
"""Smallest side of a window for a tolerance of 1 %, A."""
SEAM = 4.0
"""Smallest distance from a probe in focus to the edges of its window for a tolerance of 1 %, A."""
HELD = 4.0
"""Geometric radius, A, up to which probes need the same windows as in focus; wider ones are covered in steps of a factor of 2."""
GROWTH = 1.25
"""Factor by which windows grow after they missed the tolerance."""
GROWTHS = 2
"""Number of times that windows grow before the request fails."""
AROUND = 24.0
"""Margin of the specimen around a tile in the multislice of a check, A; the geometric radius of its probes is added to it."""
POINTS = 64
"""Number of random points of a check, sixteen in each of four tiles."""
IN_TILE = 16

Tile = tuple[int, int]
"""Indices of a tile along y and x."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """A rectangle of the field's pixels.

    Parameters
    ----------
    corner : tuple of int
        Row and column of the first pixel, which may lie outside the field.
    grid : Grid
        Grid of the rectangle as a periodic cell, with the field's sampling.
    """

    corner: tuple[int, int]
    grid: Grid

    @property
    def origin(self) -> tuple[float, float]:
        """Position (y, x) of the first pixel, A."""
        dy, dx = self.grid.sampling
        return self.corner[0] * dy, self.corner[1] * dx


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLayout:
    """Division of a field into tiles.

    Parameters
    ----------
    field : Grid
        The multislice grid of the field.
    periodic : bool
        Whether the field is periodic; if not, vacuum surrounds it.
    tiles : tuple of int
        Number of tiles (ny, nx).
    shape : tuple of int
        Pixels (ny, nx) of a window.
    held : float
        Geometric radius of the widest probe for which the windows suffice, A.
    """

    field: Grid
    periodic: bool
    tiles: tuple[int, int]
    shape: tuple[int, int]
    held: float

    def window(self, tile: Tile) -> Rectangle:
        """Return the window of a tile."""
        return self.around(tile, self.shape)

    def around(self, tile: Tile, shape: tuple[int, int]) -> Rectangle:
        """Return a rectangle of ``shape`` pixels centred on a tile.

        Along an axis on which the rectangle is as long as the periodic field, it begins at the field's first pixel.
        """
        corner = []
        for number, count, n, whole, step in zip(tile, self.tiles, shape, self.field.shape, self.field.sampling, strict=True):
            middle = (number + 0.5) / count * whole * step
            corner.append(0 if n == whole and self.periodic else round(middle / step) - n // 2)
        extent = tuple(n * step for n, step in zip(shape, self.field.sampling, strict=True))
        return Rectangle(corner=(corner[0], corner[1]), grid=Grid(shape=shape, extent=(extent[0], extent[1])))

    def tile_of(self, axis: int, place: np.ndarray) -> np.ndarray:
        """Return the indices, along one axis, of the tiles that contain the given coordinates, A."""
        number = np.floor(np.asarray(place) / self.field.extent[axis] * self.tiles[axis]).astype(int)
        return number % self.tiles[axis] if self.periodic else number.clip(0, self.tiles[axis] - 1)

    def inside(self, cut: Rectangle, axis: int, place: np.ndarray) -> np.ndarray:
        """Return coordinates along one axis relative to a rectangle's first pixel, A."""
        shifted = np.asarray(place) - cut.origin[axis]
        return shifted % self.field.extent[axis] if self.periodic else shifted

    def tiles_at(self, points: np.ndarray) -> list[Tile]:
        """Return the sorted tiles that contain the points (x, y), A."""
        both = np.column_stack([self.tile_of(0, points[:, 1]), self.tile_of(1, points[:, 0])])
        return [(int(y), int(x)) for y, x in np.unique(both, axis=0)]

    def tile_region(self, tile: Tile) -> Region:
        """Return the region of a tile, ((y0, y1), (x0, x1)), A."""
        sides = [(n / count * side, (n + 1) / count * side) for n, count, side in zip(tile, self.tiles, self.field.extent, strict=True)]
        return sides[0], sides[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """A layout of tiles with its measured accuracy."""

    layout: TileLayout
    accuracy: Accuracy

    @property
    def nbytes(self) -> int:
        """Approximate memory held, bytes."""
        return 1024


def held_radius(blur: float) -> float:
    """Return the probe radius for which windows are designed: the geometric radius ``blur`` of a probe, A, rounded up.

    The result increases in steps of a factor of 2, so a small change of defocus does not need new windows.
    """
    return HELD * 2.0 ** max(0, math.ceil(math.log2(max(blur, HELD) / HELD) - 1e-9))


def layout(field: Grid, radius: float, *, tolerance: float, held: float, periodic: bool, growth: float = 1.0) -> TileLayout:
    """Return the division of a field into tiles.

    Parameters
    ----------
    field : Grid
        The multislice grid of the field.
    radius : float
        Radius of the aperture, alpha / lambda, 1/A.
    tolerance : float
        Requested rms error divided by the mean signal.
    held : float
        Geometric radius of the probes, from `held_radius`, A.
    periodic : bool
        Whether the field is periodic.
    growth : float
        Factor by which windows exceed their initial size.

    Raises
    ------
    SamplingError
        A window would be as large as the field.
    """
    stricter = float(np.clip((0.01 / tolerance) ** 0.25, 0.8, 1.6)) * growth
    beside = max(0.0, held - HELD)
    side, seam = max(LEAST_SIDE, SIDE / radius) * stricter + 2 * beside, SEAM * stricter + beside
    shape, tiles = [], []
    for whole, step, extent in zip(field.shape, field.sampling, field.extent, strict=True):
        count = fast_length(math.ceil(side / step - 1e-9))
        if count >= whole:
            shape.append(whole if periodic else count)
            tiles.append(1 if periodic else math.ceil(extent / (count * step - 2 * seam)))
        else:
            shape.append(count)
            tiles.append(math.ceil(extent / (count * step - 2 * seam)))
    if all(n >= whole for n, whole in zip(shape, field.shape, strict=True)):
        message = (
            f"Windows of {side:.1f} A are no smaller than the field of {field.extent[0]:.1f} x {field.extent[1]:.1f} A. Use engine='operator' or "
            "'multislice'."
        )
        raise SamplingError(message)
    return TileLayout(field=field, periodic=periodic, tiles=(tiles[0], tiles[1]), shape=(shape[0], shape[1]), held=held)


# ---- accuracy ------------------------------------------------------------------------------------------------------------------------


def check(
    divided: TileLayout,
    tiles: list[Tile],
    region: Region,
    operator_of: Callable[[Tile], ImagingOperator],
    stacks_of: Callable[[Rectangle], Iterator[SliceStack]],
    weights: Weights,
    rng: np.random.Generator,
) -> Accuracy:
    """Measure the error of the operators' images, in comparison with multislice of single probes at random points.

    Half of the probes are in focus, half have the largest geometric radius for which the windows are designed.

    Parameters
    ----------
    divided : TileLayout
        Division of the field into tiles.
    tiles : list
        Candidate tiles; four of them are drawn at random, or all if there are fewer.
    region : tuple
        Region ((y0, y1), (x0, x1)), A; points lie in its intersection with the tiles.
    operator_of : callable
        Takes a tile and returns the operator of its window.
    stacks_of : callable
        Takes a rectangle and returns the specimen in it, one stack per frozen-phonon configuration.
    weights : callable
        Detector weights of reciprocal pixels, for all channels.
    rng : Generator
        Random generator of tiles and points.
    """
    chosen = [tiles[i] for i in sorted(rng.choice(len(tiles), min(len(tiles), POINTS // IN_TILE), replace=False))]
    ours, theirs, variances = [], [], []
    for number in range(POINTS // IN_TILE):
        tile = chosen[number % len(chosen)]
        operator, window = operator_of(tile), divided.window(tile)
        wide = Aberrations() if number % 2 == 0 else Aberrations(C10=divided.held / operator.semiangle)
        sides = [_overlap(part, whole) for part, whole in zip(divided.tile_region(tile), region, strict=True)]
        y, x = (rng.uniform(*side, IN_TILE) for side in sides)
        at = np.column_stack([divided.inside(window, 1, x), divided.inside(window, 0, y)])
        ours.append(operator.image(wide).at(at))
        signals = _reference(divided, tile, np.column_stack([x, y]), wide, operator, stacks_of, weights)
        theirs.append(signals.mean(axis=0))
        variances.append(accuracy_check.spread(signals))
    found, true, variance = (np.concatenate(part, axis=1) for part in (ours, theirs, variances))
    return accuracy_check.accuracy(found, true, variance)


def reference_shape(divided: TileLayout) -> tuple[int, int]:
    """Return the number of pixels (ny, nx) of the rectangle around a tile in which :func:`check` propagates single probes.

    If the field is periodic, the rectangle is not larger than the field along any axis.
    """
    shape = []
    for count, step, whole, extent in zip(divided.tiles, divided.field.sampling, divided.field.shape, divided.field.extent, strict=True):
        n = fast_length(math.ceil((extent / count + 2 * (AROUND + divided.held)) / step))
        shape.append(whole if n >= whole and divided.periodic else n)
    return shape[0], shape[1]


def _overlap(tile: tuple[float, float], region: tuple[float, float]) -> tuple[float, float]:
    """Return the part of a tile's side in a region, or the whole side if the region meets the tile only in another period of the field."""
    low, high = max(tile[0], region[0]), min(tile[1], region[1])
    return (low, high) if low <= high else tile


def _reference(
    divided: TileLayout,
    tile: Tile,
    at: np.ndarray,
    state: Aberrations,
    operator: ImagingOperator,
    stacks_of: Callable[[Rectangle], Iterator[SliceStack]],
    weights: Weights,
) -> np.ndarray:
    """Return multislice signals of probes in a large rectangle around a tile, shape (configurations, channels, points).

    The part of the probes beyond the rectangle, a thousandth of the signal, is taken from the operator's aperture-edge
    waves.
    """
    cut = divided.around(tile, reference_shape(divided))
    places = np.column_stack([divided.inside(cut, 1, at[:, 0]), divided.inside(cut, 0, at[:, 1])])
    out = []
    for stack in stacks_of(cut):
        signals, norm = single_probes.window_signals(stack, places, state, operator.semiangle, weights, antialias=operator.antialias)
        out.append(signals + (1 - norm) * operator.beyond()[:, None] if operator.antialias else signals / norm)
    return np.array(out)
