"""Readings of the observations of ``atom-forge``: place of Si, its neighbours, kinds of sites; from features or from frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from stemtwin.benchmarks.baselines.forge_planner import up
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM, FRAME_PX
from stemtwin.twin.envs.forge_sight import BLUR_ANGSTROM, BRIGHTEST, DARK, FAR_ANGSTROM, NEAR_ANGSTROM, NEIGHBOUR, SITES, WIDTHS

HOLLOW, BRIGHT, OUTSTANDING = 0.7, 1.1, 1.7
"""Of a site's brightness over that of carbon: below the first it is empty, above the second foreign; the brightest place above the third is Si."""
GLARE_ANGSTROM, KEPT = 2.3, 0.9
"""Distance from Si within which it lights up other sites, A; share of the weight that an earlier frame keeps with each new one."""
SINGLE = 0.75
"""A place of S2 is one of S where it is darker than so much of its first brightness."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """One look at graphene.

    Parameters
    ----------
    place, target : ndarray
        Si and the target (x, y) from the middle of the field, A.
    steps : ndarray
        From Si to its neighbours, A, (3, 2).
    bright : ndarray, optional
        Brightness over that of carbon of each neighbour and of the two sites behind it in the order of the observation, (3, 3).
    looks : float
        Share of looks that is left.
    smooth : ndarray, optional
        The smoothed frame over the brightness of carbon, (ny, nx).
    """

    place: np.ndarray
    target: np.ndarray
    steps: np.ndarray
    looks: float
    bright: np.ndarray | None = None
    smooth: np.ndarray | None = None


def look(observation: Any) -> Seen | None:
    """Return the reading of an observation of a walk; None where no Si is seen."""
    return _from_frame(observation) if isinstance(observation, Mapping) else _from_features(np.asarray(observation, float))


def _from_features(features: np.ndarray) -> Seen | None:
    """Return the reading of the features of the form ``state``."""
    if features[0] < OUTSTANDING / BRIGHTEST:
        return None
    place = features[1:3] * FIELD_ANGSTROM / 2
    rows = features[6 : WIDTHS["walk"]].reshape(3, NEIGHBOUR)
    return Seen(
        place=place,
        target=place + features[3:5] * FAR_ANGSTROM,
        steps=rows[:, :2] * NEAR_ANGSTROM,
        bright=rows[:, 2:] + 1,
        looks=float(features[-2]),
    )


def _from_frame(observation: Mapping[str, np.ndarray]) -> Seen | None:
    """Return the reading of a frame: Si, and its neighbours on that side where the frame is bright."""
    place, target = np.asarray(observation["tracked"], float), np.asarray(observation["target"], float)[0]
    smooth = _smoothed(observation)
    usual = float(np.percentile(smooth, 80))
    if usual < DARK or _bright(smooth, place) < OUTSTANDING * usual:
        return None
    both = [sum(_bright(smooth, place + step) for step in up(sublattice)) for sublattice in (1, -1)]
    steps = up(1 if both[0] > both[1] else -1)
    return Seen(place=place, target=target, steps=steps, looks=float(observation["budget"][0]), smooth=smooth / usual)


class FieldEye:
    """Kinds of the sites of the field from the mean of all looks; in frames, what stands beside Si is told from those in which Si was elsewhere.

    Parameters
    ----------
    places : ndarray
        The sites (x, y), A, (n, 2).
    """

    def __init__(self, places: np.ndarray) -> None:
        self.places, self.total, self.weight = places, np.zeros(len(places)), np.zeros(len(places))

    def add(self, sites: np.ndarray, bright: np.ndarray) -> None:
        """Take the brightness of sites over that of carbon into the means."""
        self.total[sites] = KEPT * self.total[sites] + bright
        self.weight[sites] = KEPT * self.weight[sites] + 1

    def add_frame(self, seen: Seen) -> None:
        """Take a frame into the means."""
        assert seen.smooth is not None
        bright = np.array([_bright(seen.smooth, place) for place in self.places])
        far = np.flatnonzero(np.hypot(*(self.places - seen.place).T) > GLARE_ANGSTROM)
        self.add(far, bright[far] / np.median(bright[far]))

    def kinds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return masks of foreign and of empty sites, bool (n,) each; one that was never seen is taken for carbon."""
        mean = np.where(self.weight > 0, self.total / np.maximum(self.weight, 1e-9), 1.0)
        return mean > BRIGHT, mean < HOLLOW


def _smoothed(observation: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the smoothed frame of an observation, (ny, nx)."""
    return ndimage.gaussian_filter(observation["image"].astype(float), BLUR_ANGSTROM * FRAME_PX / FIELD_ANGSTROM)


def _bright(smooth: np.ndarray, place: np.ndarray) -> float:
    """Return the brightness of a smoothed frame at a place, linear between pixels."""
    at = (place[::-1] + FIELD_ANGSTROM / 2) * FRAME_PX / FIELD_ANGSTROM
    return float(ndimage.map_coordinates(smooth, at[:, None], order=1, mode="nearest")[0])


class PatternEye:
    """Memory of a pattern of S: the sites that are left.

    Parameters
    ----------
    looks : int
        Number of looks in turn that have to show a site empty.
    """

    def __init__(self, looks: int = 1) -> None:
        self.looks, self.first, self.empty = looks, None, np.zeros(SITES, int)

    def remaining(self, observation: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the places (x, y) of sites that hold S, and of those that may still do, in units of half the field, (k, 2) each."""
        places, held = self._read(observation)
        self.empty[: len(places)] = np.where(held, 0, self.empty[: len(places)] + 1)
        return places[held], places[~held & (self.empty[: len(places)] < self.looks)]

    def _read(self, observation: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of all sites, and the mask of those that are seen to hold S."""
        if not isinstance(observation, Mapping):
            rows = np.asarray(observation, float)[: 3 * SITES].reshape(SITES, 3)
            rows = rows[np.any(rows != 0, axis=1)]
            return rows[:, :2], 2 * rows[:, 2] > SINGLE
        target = np.asarray(observation["target"], float)
        target = target[np.any(target != 0, axis=1)]
        smooth = _smoothed(observation)
        now = np.array([_bright(smooth, place) for place in target])
        self.first = now if self.first is None else self.first
        return 2 * target / FIELD_ANGSTROM, now > SINGLE * self.first
