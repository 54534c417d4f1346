"""Who leads a silicon atom through graphene: finds it in an image, finds its neighbours, and says where to park the beam. It sees images alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

REACH = 1.52
"""From Si to its C neighbours as an image shows them, A: a bond of 1.76 A that leans out of the sheet."""
BEYOND = 0.3
"""How far behind a neighbour the beam is parked, seen from Si, A: a fifth of the current is lost there, and Si gets a third less of the rest."""
RING = 0.3
"""Width of the ring in which neighbours are looked for, one standard deviation, A."""
BLUR = 0.4
"""Images are smoothed by this much to find Si, one standard deviation, A."""
CLEAR = 6.0
"""How far Si stands out of everything else, in standard deviations of the smoothed image; less is no Si."""
JUMP = 1.5
"""By how much the signal of a parked beam grows when Si takes the place of C below it, at least."""
NEAR = 0.8
"""A goal is reached nearer than this, A: no neighbour is nearer."""
PATIENCE = 14
"""After so many images on the same place Si is taken to be stuck: it has lost a neighbour."""


def find_silicon(haadf: xr.DataArray) -> tuple[float, float] | None:
    """Return where the brightest atom of a HAADF image lies (x, y), A; None where none stands out.

    Parameters
    ----------
    haadf : xarray.DataArray
        Dims (y, x), coordinates in A.
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
    """Return where the three neighbours of a Si atom lie, (3, 2), x and y in A: 120 degrees apart, turned to where a ring about Si is bright.

    Parameters
    ----------
    maadf : xarray.DataArray
        An image that shows carbon; dims (y, x), coordinates in A.
    silicon : tuple of float
        Where Si is (x, y), A.
    """
    dy, dx = maadf["y"].to_numpy()[:, None] - silicon[1], maadf["x"].to_numpy()[None, :] - silicon[0]
    weight = np.exp(-((np.hypot(dy, dx) - REACH) ** 2) / (2 * RING**2))
    values = maadf.to_numpy().astype(float)
    values = values - (weight * values).sum() / weight.sum()
    turn = -np.angle((weight * values * np.exp(-3j * np.arctan2(dy, dx))).sum()) / 3
    angles = turn + 2 * math.pi / 3 * np.arange(3)
    return np.array(silicon) + REACH * np.column_stack([np.cos(angles), np.sin(angles)])


def has_jumped(before: float, now: float) -> bool:
    """Return whether the HAADF signal of a parked beam (counts, at first and now) says that a heavier atom has come under it."""
    return now > JUMP * before


def is_stuck(places: Sequence[tuple[float, float]]) -> bool:
    """Return whether the last `PATIENCE` images, and one more, saw Si (x, y) on the same place, A."""
    recent = places[-PATIENCE - 1 :]
    return len(recent) > PATIENCE and all(math.dist(place, recent[-1]) < NEAR for place in recent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do next: where Si was seen, where to park the beam (None: there is nothing left to do), and which goals are left."""

    silicon: tuple[float, float] | None
    target: tuple[float, float] | None
    goals: tuple[tuple[float, float], ...]


def decide(frame: xr.Dataset, goals: tuple[tuple[float, float], ...]) -> Decision:
    """Choose the neighbour of Si that is nearest to the next goal: hit, it changes places with Si. The beam is to be parked a little behind it.

    Parameters
    ----------
    frame : xarray.Dataset
        With ``haadf`` and ``maadf``.
    goals : tuple
        Places (x, y) to be visited in order, A.
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
