r"""Images of a large field by dense operators on overlapping windows: for detectors in the bright field, which see far.

The field is divided into tiles. Each has a window around it, a periodic cell of its own made of the specimen's atoms in it, and the dense imaging
operator of that cell; a probe is read in the window of the tile that it stands in, at least ``seam`` away from the window's edges, where atoms meet
that do not belong together.

What the window does not hold of a probe is waves of the aperture's rim (`probe.rim`), as in every engine. On MoS2 (80 kV, 25 mrad) this makes a
window of 24 A right to 0.1 % in bright field.
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
"""No window is smaller, A."""
SEAM = 4.0
"""From a probe in focus to the edges of its window, A, at least."""
HELD = 4.0
"""Probes of this geometric radius, A, need no more than those in focus; wider ones are held in steps of a factor of 2."""
GROWTH = 1.25
"""Factor by which windows grow when they miss the tolerance."""
GROWTHS = 2
"""So often they grow before the tolerance is given up."""
AROUND = 24.0
"""Of the specimen around a tile that the multislice of a check sees, A, and the geometric radius of its probes on top."""
POINTS = 64
"""Random points of a check, sixteen in each of four tiles."""
IN_TILE = 16

Tile = tuple[int, int]
"""Number of a tile along y and x."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """A rectangle of the field's pixels.

    Parameters
    ----------
    corner : tuple of int
        Row and column of its first pixel, which may lie outside the field.
    grid : Grid
        A periodic cell of its own, with the field's sampling.
    """

    corner: tuple[int, int]
    grid: Grid

    @property
    def origin(self) -> tuple[float, float]:
        """Place (y, x) of its first pixel, A."""
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
        Whether the field repeats; if not, there is vacuum around it.
    tiles : tuple of int
        Tiles (ny, nx).
    shape : tuple of int
        Pixels (ny, nx) of a window.
    held : float
        Geometric radius of the widest probe that the windows are for, A.
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
        """Return a rectangle of so many pixels with a tile in its middle; along an axis where it is the whole field it begins with the field."""
        corner = []
        for number, count, n, whole, step in zip(tile, self.tiles, shape, self.field.shape, self.field.sampling, strict=True):
            middle = (number + 0.5) / count * whole * step
            corner.append(0 if n == whole and self.periodic else round(middle / step) - n // 2)
        extent = tuple(n * step for n, step in zip(shape, self.field.sampling, strict=True))
        return Rectangle(corner=(corner[0], corner[1]), grid=Grid(shape=shape, extent=(extent[0], extent[1])))

    def tile_of(self, axis: int, place: np.ndarray) -> np.ndarray:
        """Return the numbers of the tiles, along one axis, in which coordinates lie, A."""
        number = np.floor(np.asarray(place) / self.field.extent[axis] * self.tiles[axis]).astype(int)
        return number % self.tiles[axis] if self.periodic else number.clip(0, self.tiles[axis] - 1)

    def inside(self, cut: Rectangle, axis: int, place: np.ndarray) -> np.ndarray:
        """Return coordinates relative to a rectangle's first pixel, along one axis, A."""
        shifted = np.asarray(place) - cut.origin[axis]
        return shifted % self.field.extent[axis] if self.periodic else shifted

    def tiles_at(self, points: np.ndarray) -> list[Tile]:
        """Return the tiles in which points (x, y) lie, sorted."""
        both = np.column_stack([self.tile_of(0, points[:, 1]), self.tile_of(1, points[:, 0])])
        return [(int(y), int(x)) for y, x in np.unique(both, axis=0)]

    def tile_region(self, tile: Tile) -> Region:
        """Return the region of a tile, ((y0, y1), (x0, x1)), A."""
        sides = [(n / count * side, (n + 1) / count * side) for n, count, side in zip(tile, self.tiles, self.field.extent, strict=True)]
        return sides[0], sides[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """A layout and what it is worth."""

    layout: TileLayout
    accuracy: Accuracy

    @property
    def nbytes(self) -> int:
        """Memory held, bytes, about."""
        return 1024


def held_radius(blur: float) -> float:
    """Return the geometric radius, A, of the probes that windows for a given one hold: in steps, so that a little defocus needs no new windows."""
    return HELD * 2.0 ** max(0, math.ceil(math.log2(max(blur, HELD) / HELD) - 1e-9))


def layout(field: Grid, radius: float, *, tolerance: float, held: float, periodic: bool, growth: float = 1.0) -> TileLayout:
    """Return the division of a field into tiles.

    Parameters
    ----------
    field : Grid
        The multislice grid of the field.
    radius : float
        alpha / lambda, 1/A.
    tolerance : float
        rms error / mean signal that is asked for.
    held : float
        From `held_radius`, A.
    periodic : bool
        Whether the field repeats.
    growth : float
        How much larger than at first.

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


# ---- what they are worth -------------------------------------------------------------------------------------------------------------


def check(
    divided: TileLayout,
    tiles: list[Tile],
    region: Region,
    operator_of: Callable[[Tile], ImagingOperator],
    stacks_of: Callable[[Rectangle], Iterator[SliceStack]],
    weights: Weights,
    rng: np.random.Generator,
) -> Accuracy:
    """Compare images by windows with multislice of single probes at random points, half of them in focus, half as wide as the windows hold.

    Parameters
    ----------
    divided : TileLayout
        How the field is divided.
    tiles : list
        Tiles to check: four of them, drawn, or all of them if they are fewer.
    region : tuple
        ((y0, y1), (x0, x1)), A: points lie in it, where it meets the tiles.
    operator_of : callable
        Gives the operator of a tile's window.
    stacks_of : callable
        Gives the specimen in a rectangle, one stack per frozen-phonon configuration.
    weights : callable
        Detector weights, all channels, of reciprocal pixels.
    rng : Generator
        Draws tiles and points.
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
    """Return the pixels of the rectangle that the multislice of a check sees: the whole field where that is no larger."""
    shape = []
    for count, step, whole, extent in zip(divided.tiles, divided.field.sampling, divided.field.shape, divided.field.extent, strict=True):
        n = fast_length(math.ceil((extent / count + 2 * (AROUND + divided.held)) / step))
        shape.append(whole if n >= whole and divided.periodic else n)
    return shape[0], shape[1]


def _overlap(tile: tuple[float, float], region: tuple[float, float]) -> tuple[float, float]:
    """Return the part of a tile's side in a region; the whole side where a region beyond the field's edge meets it only in another period."""
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

    What lies beyond the rectangle is taken from the operator's plane waves: of the signal it is a thousandth.
    """
    cut = divided.around(tile, reference_shape(divided))
    places = np.column_stack([divided.inside(cut, 1, at[:, 0]), divided.inside(cut, 0, at[:, 1])])
    out = []
    for stack in stacks_of(cut):
        signals, norm = single_probes.window_signals(stack, places, state, operator.semiangle, weights, antialias=operator.antialias)
        out.append(signals + (1 - norm) * operator.beyond()[:, None] if operator.antialias else signals / norm)
    return np.array(out)
