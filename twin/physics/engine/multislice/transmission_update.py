"""Update of a transmission function after a few atoms moved, without computing the unchanged part again.

exp(i sigma V) changes only within a few A of the atoms that moved. It is computed again in a window around these atoms,
from all atoms in the window. The band limit is then applied exactly to the change on the whole cell. This is necessary
because a sharp cutoff in Fourier space makes the change ring through the whole cell: at a distance of 12 A it is still
3e-4 of the largest abs(t - 1), where t is the transmission function, and it falls as r^-3/2. Replacing a window of the
old t by the new t could therefore never be accurate to 1e-5.

One effect is neglected. The sampled V is a Fourier series cut at the finer grid's Nyquist frequency. It therefore rings at
that frequency along the grid row and the grid column of each atom. Near other atoms on this row or column, the ringing
changes exp(i sigma V); beyond the window, this change is not updated.
"""

from typing import NamedTuple

import numpy as np

from stemtwin.twin.physics.engine.multislice.transmission import (
    Recipe,
    SliceAtoms,
    Space,
    band_of,
    coefficients,
    crop,
    each,
    exponential,
    finish,
    forward,
    refined,
    values,
)
from stemtwin.twin.physics.grids import Grid, fast_length


class Window(NamedTuple):
    """A part of the wave's grid.

    Attributes
    ----------
    first : tuple of int
        First row and column on the wave's grid; they may lie outside the cell, which is periodic.
    grid : Grid
        Grid of the window alone.
    """

    first: tuple[int, int]
    grid: Grid


def window_about(centre: tuple[float, float], reach: tuple[float, float], grid: Grid) -> Window:
    """Return the window of all points within the distances ``reach`` (y, x) of the point ``centre`` (y, x), all in A.

    Along an axis on which these points do not fit into the cell, the window is the whole cell.
    """
    shape, first = [], []
    for at, most, step, count in zip(centre, reach, grid.sampling, grid.shape, strict=True):
        half = int(np.ceil(most / step))
        points = fast_length(2 * half)
        shape.append(min(points, count))
        first.append(round(at / step) - points // 2 if points < count else 0)
    sides = (shape[0], shape[1])
    return Window((first[0], first[1]), Grid(shape=sides, extent=(sides[0] * grid.sampling[0], sides[1] * grid.sampling[1])))


def steps(before: np.ndarray, after: np.ndarray, moved: np.ndarray, grid: Grid, reach: float) -> list[tuple[np.ndarray, Window]]:
    """Divide the moved atoms into groups of neighbours, and return the indices and the window of each group.

    Parameters
    ----------
    before, after : ndarray
        Positions x, y of the atoms of a slice before and after the move, A, shape (n, 2); nan for an absent atom.
    moved : ndarray
        Indices of the atoms that moved, appeared or vanished.
    grid : Grid
        The wave's grid.
    reach : float
        Smallest distance between the atoms of a group and the edges of its window, A.
    """
    periods, groups = np.array(grid.extent[::-1]), []
    while moved.size:
        here, there = before[moved[0]], after[moved[0]]
        jump = there - here
        centre = np.nansum([here, (jump - periods * np.rint(jump / periods)) / 2], axis=0) if not np.isnan(here).any() else there
        offsets = np.stack([before[moved], after[moved]]) - centre
        offsets = np.nan_to_num(np.abs(offsets - periods * np.rint(offsets / periods))).max(axis=0)
        near = (offsets <= reach / 2).all(axis=1)
        near[0] = True
        half = 2 * offsets[near].max(axis=0) + reach
        groups.append((moved[near], window_about((centre[1], centre[0]), (half[1], half[0]), grid)))
        moved = moved[~near]
    return groups


def add_change(
    before: SliceAtoms, after: SliceAtoms, window: Window, grid: Grid, recipe: Recipe, out: np.ndarray, space: Space, threads: int = 1
) -> None:
    """Add the change of a slice's transmission function that is caused by atoms in the middle of a window.

    Parameters
    ----------
    before, after : SliceAtoms
        All atoms of the slice before and after the move.
    window : Window
        Window around the atoms that changed. The change is kept in the middle half of the window and damped smoothly
        towards its edges.
    grid, recipe, space, threads
        As in `transmission.slice_transmission`.
    out : ndarray
        The transmission function, complex64, shape (ny, nx), to which the change is added.
    """
    fine, local = refined(grid, recipe.oversampling), refined(window.grid, recipe.oversampling)
    change = _exponential_in(after, window, grid, local, recipe, space, threads)
    change -= _exponential_in(before, window, grid, local, recipe, space, threads)
    for axis, taper in enumerate(_taper(n, m) for n, m in zip(local.shape, fine.shape, strict=True)):
        change *= np.expand_dims(taper, 1 - axis)
    rows, columns = (
        (recipe.oversampling * start + np.arange(count)) % size for start, count, size in zip(window.first, local.shape, fine.shape, strict=True)
    )
    band = band_of(grid, fine.shape)
    part = np.empty((rows.size, sum(band.columns)), np.complex64)

    def along_x(block: slice) -> None:
        lines = np.zeros((block.stop - block.start, fine.shape[1]), np.complex64)
        lines[:, columns] = change[block]
        crop(forward(lines, 1), band.columns, part[block])

    def read(block: slice) -> np.ndarray:
        lines = np.zeros((fine.shape[0], block.stop - block.start), np.complex64)
        lines[rows] = part[:, block]
        return lines

    def write(block: slice, lines: np.ndarray) -> None:
        out[block] += lines

    each(along_x, rows.size, threads)
    finish(read, band, grid, write, space, threads)


def _exponential_in(atoms: SliceAtoms, window: Window, grid: Grid, local: Grid, recipe: Recipe, space: Space, threads: int) -> np.ndarray:
    """Return exp(i sigma V) of the atoms in a window, on its finer grid."""
    origin = np.array([window.first[1] * grid.sampling[1], window.first[0] * grid.sampling[0]])
    inside = (atoms.positions[:, :2] - origin) % np.array(grid.extent[::-1])
    near = atoms._replace(positions=inside).only(np.flatnonzero((inside < np.array(window.grid.extent[::-1])).all(axis=1)))
    half = coefficients(near, local, recipe.parametrization, space, recipe.interaction, threads)
    return exponential(values(half, local.shape, threads), np.empty(local.shape, np.complex64))


def _taper(count: int, whole: int) -> np.ndarray:
    """Return weights of 1 in the middle half of a window that fall to 0 at its edges as cos^2, or 1 if it is the whole cell."""
    if count == whole:
        return np.ones(count, np.float32)
    outwards = np.clip(np.abs(2 * np.arange(count) / count - 1) * 2 - 1, 0, 1)
    return (np.cos(np.pi / 2 * outwards) ** 2).astype(np.float32)
