"""Lower bounds on the root mean square error of column positions: Bayesian bounds of ``atoms-2d@2`` under the prior of the dataset card.

The position of a column is uniform over the cell of its specimen, because the origin of the frame is uniform there. The bounds are those of Ziv and
Zakai (:mod:`stemtwin.benchmarks.error_bounds`) for each axis. They assume that only one shift is unknown, within an interval of 0.5 A. For the bound
of a column, this is the shift of one column, and only pixels near the column contribute: their distance from it is at most 1.2 A, and at most half of
the distance to the next column. For the bound of the frame, it is the shift of the whole frame, so all columns contribute. A fit of the lattice can
have smaller errors than the bound of a column, and its ``efficiency`` can exceed 1. On average over all frames, no method has smaller errors than the
bound of the frame. No metric of the task is limited by these bounds, because ``rmsd`` and ``efficiency`` are means over matched columns only, and a
method may leave out the columns and frames in which its errors are largest. ``python -m stemtwin.benchmarks.position_bound`` prints the bounds.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import shift, spline_filter

from stemtwin.benchmarks.error_bounds import uniform_mean_square
from stemtwin.benchmarks.matching import nearest_distance
from stemtwin.datasets.cards import Card, find_card
from stemtwin.datasets.generate import specimens
from stemtwin.datasets.generators.atomic_columns import MOST_REACH_ANGSTROM, REACH, ColumnsSpecimen, column_bounds
from stemtwin.datasets.recorded_frames import DETECTOR, apparent_columns, draw_condition, profile_of, recorded_frames

LENGTH_ANGSTROM = 0.5
"""Length of the interval of each coordinate within which the position is unknown, A: the largest gate of a match."""
DISTANCES = LENGTH_ANGSTROM * np.geomspace(2e-3, 1, 12)
"""Distances of two positions between which an observer decides, A."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBounds:
    """Lower bounds on the root mean square errors of the column positions in one frame, A.

    Parameters
    ----------
    name : str
        The specimen.
    cramer_rao : float
        Root mean square of the Cramer-Rao bounds of all visible columns. The metric ``efficiency`` uses the bound of each column.
    column : float
        Root mean square of the Bayesian bounds of all visible columns.
    frame : float
        Bayesian bound of a shift of the whole frame.
    """

    name: str
    cramer_rao: float
    column: float
    frame: float


def shift_squares(counts: np.ndarray, step: float, axis: int) -> np.ndarray:
    """Return the squared differences between the square roots of two shifted copies of an image, (12, ny, nx).

    The relative shift of the copies takes twelve values from 0.001 A to 0.5 A, the elements of :data:`DISTANCES`.

    Parameters
    ----------
    counts : ndarray
        (ny, nx) expected counts; beyond its edges the image is continued by its mirror image.
    step : float
        Pixel pitch, A.
    axis : int
        Axis of the shift.
    """
    smooth = spline_filter(counts, order=3, mode="mirror")

    def root(distance: float) -> np.ndarray:
        move = np.where(np.arange(2) == axis, distance / step, 0.0)
        return np.sqrt(np.maximum(shift(smooth, move, order=3, mode="mirror", prefilter=False), 0.0))

    return np.stack([(root(apart / 2) - root(-apart / 2)) ** 2 for apart in DISTANCES])


def least_distance(squares: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the least root mean square distance of an estimate from the true position, A.

    ``squares`` are the sums of squared differences from :func:`shift_squares` along both axes, (..., 12) each.
    """
    return np.sqrt(sum(uniform_mean_square(DISTANCES, one, LENGTH_ANGSTROM) for one in squares))


def around(places: np.ndarray, step: float, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield, for each position (x, y) [A], the mask of the pixels around it, up to half the distance to the next position and at most 1.2 A away."""
    y, x = (np.arange(n) * step for n in shape)
    for (px, py), reach in zip(places, np.minimum(REACH * nearest_distance(places, places), MOST_REACH_ANGSTROM), strict=True):
        yield np.hypot(y[:, None] - py, x - px) <= reach


def frame_bounds(card: Card, specimen: ColumnsSpecimen, images: int) -> Iterator[FrameBounds]:
    """Yield the bounds of each of the first ``images`` frames of a specimen.

    The attributes ``cramer_rao`` and ``column`` are root mean squares over all visible columns in a frame.
    """
    sample, profile = specimen.sample(), profile_of(specimen.instrument)
    conditions = [draw_condition(card, specimen, image) for image in range(images)]
    chain = profile.chain(DETECTOR)
    for condition, frame in zip(conditions, recorded_frames(sample, specimen, conditions, card), strict=True):
        step = condition.scan.pitch_angstrom[1]
        truth = apparent_columns(sample, condition.scan, frame, card.generator.visible_fraction)
        places = np.column_stack([truth["column_x_angstrom"], truth["column_y_angstrom"]])
        seen = np.array(truth["column_visible"], dtype=bool)
        counts = frame.electrons * (1.0 if chain is None else chain.efficiency)
        axes = tuple(shift_squares(counts, step, axis) for axis in (0, 1))
        masks = [mask for mask, visible in zip(around(places, step, counts.shape), seen, strict=True) if visible]
        single = least_distance(tuple(np.array([one[:, mask].sum(axis=1) for mask in masks]) for one in axes))  # type: ignore[arg-type] - of both axes
        known = column_bounds(frame, places, step, profile)[seen]
        yield FrameBounds(
            name=specimen.name,
            cramer_rao=float(np.sqrt(np.mean(known**2))),
            column=float(np.sqrt(np.mean(single**2))),
            frame=float(least_distance(tuple(one.sum(axis=(1, 2)) for one in axes))),  # type: ignore[arg-type] - of both axes
        )


def main(arguments: list[str] | None = None) -> None:
    """Print the bounds of the frames of a split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="tiny", help="size of the dataset (default: tiny)")
    parser.add_argument("--split", default="test", help="split of the dataset (default: test)")
    given, card, found = parser.parse_args(arguments), find_card("atoms-2d", "2.0.0"), []
    for specimen in specimens(card, given.size):
        if specimen.split == given.split:
            assert isinstance(specimen, ColumnsSpecimen)  # by the card's kind
            for one in frame_bounds(card, specimen, card.sizes[given.size].images_per_specimen[given.split]):
                found.append(one)
                sys.stdout.write(f"{one.name}: {_told(one.cramer_rao, one.column, one.frame)}\n")
    means = (float(np.sqrt(np.mean(np.square([getattr(one, name) for one in found])))) for name in ("cramer_rao", "column", "frame"))
    sys.stdout.write(f"{len(found)} frames, root mean square: {_told(*means)}\n")


def _told(cramer_rao: float, column: float, frame: float) -> str:
    """Return three errors in A as text in pm."""
    return f"Cramer-Rao {100 * cramer_rao:.3g} pm, column {100 * column:.3g} pm, frame {100 * frame:.3g} pm"


if __name__ == "__main__":
    main()
