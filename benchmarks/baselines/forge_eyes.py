"""Interpretation of the observations of ``atom-forge`` and ``atom-drill``: positions and kinds of atoms, from features or from frames."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from stemtwin.benchmarks.baselines.forge_planner import up
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM, FRAME_PX, SULPHUR_ANGSTROM
from stemtwin.twin.envs.forge_sight import BLUR_ANGSTROM, BRIGHTEST, DARK, DRILLED, FAR_ANGSTROM, FULL_EV, NEAR_ANGSTROM, NEIGHBOUR, PLACE, WIDTHS

HOLLOW, BRIGHT, OUTSTANDING = 0.7, 1.1, 1.7
"""Limits of the brightness of a site relative to carbon: empty below the first limit, foreign above the second, possibly Si above the third."""
GLARE_ANGSTROM, KEPT = 2.3, 0.9
"""Distance within which Si brightens other sites (A) and factor by which each new frame reduces the weight of earlier frames."""
SINGLE = 0.75
"""Fraction of the first brightness of a site below which one of its two S atoms counts as lost."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """Content of one observation of graphene.

    Parameters
    ----------
    place, target : ndarray
        Positions (x, y) of Si and of the target relative to the middle of the field, A.
    steps : ndarray
        Vectors from Si to its neighbours, A, (3, 2).
    bright : ndarray, optional
        Brightness, relative to carbon, of each neighbour of Si and of the two sites beyond it, in the order of the observation, (3, 3).
    looks : float
        Remaining fraction of the looks, which are the observations of an episode.
    smooth : ndarray, optional
        Smoothed frame divided by the brightness of carbon, (ny, nx).
    """

    place: np.ndarray
    target: np.ndarray
    steps: np.ndarray
    looks: float
    bright: np.ndarray | None = None
    smooth: np.ndarray | None = None


def look(observation: Any) -> Seen | None:
    """Return the content of an observation, or None if no Si is visible.

    The observation must belong to a walk, which is an episode in which the beam moves a Si atom through graphene to a target.
    """
    return _from_frame(observation) if isinstance(observation, Mapping) else _from_features(np.asarray(observation, float))


def _from_features(features: np.ndarray) -> Seen | None:
    """Return the content of the features of the form ``state``; None if no Si is visible."""
    if features[0] < OUTSTANDING / BRIGHTEST:
        return None
    place = features[1:3] * FIELD_ANGSTROM / 2
    rows = features[6 : WIDTHS["walk"]].reshape(3, NEIGHBOUR)
    return Seen(
        place=place,
        target=place + features[3:5] * FAR_ANGSTROM,
        steps=rows[:, :2] * NEAR_ANGSTROM,
        bright=rows[:, 2:] + 1,
        looks=budget(features)[0],
    )


def _from_frame(observation: Mapping[str, np.ndarray]) -> Seen | None:
    """Return the content of a frame; None if no Si is visible.

    The neighbours of Si are the brighter one of the two possible triangles around it.
    """
    place, target = np.asarray(observation["tracked"], float), np.asarray(observation["target"], float)[0]
    smooth = _smoothed(observation)
    usual = float(np.percentile(smooth, 80))
    if usual < DARK or _bright(smooth, place) < OUTSTANDING * usual:
        return None
    both = [sum(_bright(smooth, place + step) for step in up(sublattice)) for sublattice in (1, -1)]
    steps = up(1 if both[0] > both[1] else -1)
    return Seen(place=place, target=target, steps=steps, looks=float(observation["budget"][0]), smooth=smooth / usual)


class FieldEye:
    """Kinds of the sites of the field, from their mean brightness over all observations.

    A frame does not count for sites near Si, because Si brightens them.

    Parameters
    ----------
    places : ndarray
        The sites (x, y), A, (n, 2).
    """

    def __init__(self, places: np.ndarray) -> None:
        self.places, self.total, self.weight = places, np.zeros(len(places)), np.zeros(len(places))

    def add(self, sites: np.ndarray, bright: np.ndarray) -> None:
        """Add readings of the brightness of some sites, relative to carbon, to the means of these sites."""
        self.total[sites] = KEPT * self.total[sites] + bright
        self.weight[sites] = KEPT * self.weight[sites] + 1

    def add_frame(self, seen: Seen) -> None:
        """Add the brightness in a frame to the means of all sites that are not near Si."""
        assert seen.smooth is not None
        bright = np.array([_bright(seen.smooth, place) for place in self.places])
        far = np.flatnonzero(np.hypot(*(self.places - seen.place).T) > GLARE_ANGSTROM)
        self.add(far, bright[far] / np.median(bright[far]))

    def means(self) -> np.ndarray:
        """Return the mean brightness of all sites relative to carbon, (n,), which is 1 for a site without a reading."""
        return np.where(self.weight > 0, self.total / np.maximum(self.weight, 1e-9), 1.0)

    def kinds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the masks of the sites with foreign atoms and of the empty sites, bool (n,) each."""
        mean = self.means()
        return mean > BRIGHT, mean < HOLLOW


def _smoothed(observation: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the smoothed frame of an observation, (ny, nx)."""
    return ndimage.gaussian_filter(observation["image"].astype(float), BLUR_ANGSTROM * FRAME_PX / FIELD_ANGSTROM)


def _bright(smooth: np.ndarray, place: np.ndarray) -> float:
    """Return the brightness of a smoothed frame at a position, linear between pixels."""
    at = (place[::-1] + FIELD_ANGSTROM / 2) * FRAME_PX / FIELD_ANGSTROM
    return float(ndimage.map_coordinates(smooth, at[:, None], order=1, mode="nearest")[0])


def is_pattern(observation: Any) -> bool:
    """Return True if an observation belongs to a pattern of vacancies, False if it belongs to a walk of a Si atom."""
    return len(observation["target"]) > 1 if isinstance(observation, Mapping) else len(observation) > 2 * WIDTHS["walk"]


def drill_places(observation: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions (x, y) of the sites of S in the field, A, (k, 2), and the mask of the wanted sites.

    If the observation is a frame, the sites follow from the positions of the targets, because rows of S lie along x.
    """
    if not isinstance(observation, Mapping):
        rows = _drill_rows(observation)
        return rows[:, :2] * FIELD_ANGSTROM / 2, rows[:, 3] > 0.5
    target = np.asarray(observation["target"], float)
    target = target[np.any(target != 0, axis=1)]
    i, j = (one.ravel() for one in np.meshgrid(np.arange(-12, 13), np.arange(-12, 13)))
    places = target[0] + SULPHUR_ANGSTROM * np.column_stack([i + j / 2, math.sqrt(3) / 2 * j])
    places = places[np.abs(places).max(axis=1) < FIELD_ANGSTROM / 2]
    return places, np.hypot(*(places[:, None] - target).T).min(axis=0) < 1


def drill_brightness(observation: Any, places: np.ndarray) -> np.ndarray:
    """Return the brightness of sites, (k,), relative to a site with two S atoms if the observation holds features, in electrons if it is a frame."""
    if not isinstance(observation, Mapping):
        return 2 * _drill_rows(observation)[:, 2]
    smooth = _smoothed(observation)
    return np.array([_bright(smooth, place) for place in places])


def _drill_rows(observation: Any) -> np.ndarray:
    return np.asarray(observation, float)[: WIDTHS["drill"]].reshape(DRILLED, PLACE)


def energy_ev(observation: Any) -> float:
    """Return the beam energy that an observation states, eV."""
    return FULL_EV * float(observation["energy"][0] if isinstance(observation, Mapping) else observation[-1])


def budget(observation: Any) -> tuple[float, float]:
    """Return the remaining fractions of the looks (observations) and of the beam time of an episode."""
    looks, beam = observation["budget"] if isinstance(observation, Mapping) else observation[-3:-1]
    return float(looks), float(beam)
