"""Agent for silicon manipulation in graphene: it locates Si and its neighbours in images and parks the beam."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

REACH = 1.52
"""Projected distance of Si from its C neighbours (A) for a bond of 1.76 A that is inclined to the sheet."""
BEYOND = 0.3
"""Distance of the parked beam beyond a neighbour of Si, seen from Si, A; this lowers the current on C by a fifth and on Si by a third."""
RING = 0.3
"""Width of the ring in which neighbours are located, one standard deviation, A."""
BLUR = 0.4
"""Smoothing of the images in which Si is located, one standard deviation, A."""
CLEAR = 6.0
"""Least height of Si above the median of the smoothed image, in standard deviations of the image."""
JUMP = 1.5
"""Least factor by which the signal of a parked beam rises when Si replaces C below it."""
NEAR = 0.8
"""Distance within which a goal is reached, A; every neighbour is farther away."""
PATIENCE = 14
"""Number of images with Si at the same position after which Si counts as stuck; it has then lost a neighbour."""


def find_silicon(haadf: xr.DataArray) -> tuple[float, float] | None:
    """Return the position (x, y), A, of the brightest atom of a HAADF image, or None if no atom is clearly brighter than the rest.

    Parameters
    ----------
    haadf : xarray.DataArray
        HAADF image with dims (y, x), coordinates in A.
    """
    y, x = haadf["y"].to_numpy(), haadf["x"].to_numpy()
    step = float(y[1] - y[0]), float(x[1] - x[0])
    smooth = ndimage.gaussian_filter(haadf.to_numpy().astype(float), (BLUR / step[0], BLUR / step[1]))
    row, column = np.unravel_index(int(smooth.argmax()), smooth.shape)
    middle = float(np.median(smooth))
    spread = 1.4826 * float(np.median(np.abs(smooth - middle)))
    if smooth[row, column] - middle < CLEAR * spread:
        return None
    near = np.hypot(y[:, None] - y[row], x[None, :] - x[column]) < 2 * BLUR
    weight = np.where(near, np.clip(smooth - middle, 0, None), 0.0)
    return float((weight * x).sum() / weight.sum()), float((weight * y[:, None]).sum() / weight.sum())


def find_neighbours(maadf: xr.DataArray, silicon: tuple[float, float]) -> np.ndarray:
    """Return the positions (x, y), A, of the three neighbours of a Si atom, shape (3, 2).

    The neighbours are 120 degrees apart, at the azimuths where a ring around Si is brightest.

    Parameters
    ----------
    maadf : xarray.DataArray
        Image that shows carbon, with dims (y, x), coordinates in A.
    silicon : tuple of float
        Position of Si (x, y), A.
    """
    dy, dx = maadf["y"].to_numpy()[:, None] - silicon[1], maadf["x"].to_numpy()[None, :] - silicon[0]
    weight = np.exp(-((np.hypot(dy, dx) - REACH) ** 2) / (2 * RING**2))
    values = maadf.to_numpy().astype(float)
    values = values - (weight * values).sum() / weight.sum()
    turn = -np.angle((weight * values * np.exp(-3j * np.arctan2(dy, dx))).sum()) / 3
    angles = turn + 2 * math.pi / 3 * np.arange(3)
    return np.array(silicon) + REACH * np.column_stack([np.cos(angles), np.sin(angles)])


def has_jumped(before: float, now: float) -> bool:
    """Return True if the HAADF counts of a parked beam have risen enough to show that a heavier atom is now below the beam."""
    return now > JUMP * before


def is_stuck(places: Sequence[tuple[float, float]]) -> bool:
    """Return True if Si stayed within 0.8 A of its last position (x, y), A, in the last 15 images."""
    recent = places[-PATIENCE - 1 :]
    return len(recent) > PATIENCE and all(math.dist(place, recent[-1]) < NEAR for place in recent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision of the agent after an image.

    Parameters
    ----------
    silicon : tuple of float, optional
        Position of Si (x, y), A; None if it was not located.
    target : tuple of float, optional
        Position of the parked beam (x, y), A; None at the end.
    goals : tuple
        Remaining goals (x, y), A.
    """

    silicon: tuple[float, float] | None
    target: tuple[float, float] | None
    goals: tuple[tuple[float, float], ...]


def decide(frame: xr.Dataset, goals: tuple[tuple[float, float], ...]) -> Decision:
    """Choose the neighbour of Si that is nearest to the next goal, and a beam position slightly beyond this neighbour, seen from Si.

    A neighbour that receives enough energy from the beam changes places with Si.

    Parameters
    ----------
    frame : xarray.Dataset
        Images ``haadf`` and ``maadf``.
    goals : tuple
        Positions (x, y) to visit in order, A.
    """
    silicon = find_silicon(frame["haadf"])
    if silicon is None:
        return Decision(silicon=None, target=None, goals=goals)
    while goals and math.dist(silicon, goals[0]) < NEAR:
        goals = goals[1:]
    if not goals:
        return Decision(silicon=silicon, target=None, goals=())
    x, y = min(find_neighbours(frame["maadf"], silicon).tolist(), key=lambda place: math.dist(place, goals[0]))
    part = 1 + BEYOND / REACH
    return Decision(silicon=silicon, target=(silicon[0] + part * (x - silicon[0]), silicon[1] + part * (y - silicon[1])), goals=goals)
