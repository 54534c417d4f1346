"""What a practitioner reads from the observations of ``atom-forge``: place of Si, its neighbours, kinds of sites; from features or from frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from stemtwin.benchmarks.baselines.forge_planner import BOND, up
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM, FRAME_PX
from stemtwin.twin.envs.forge_sight import BLUR_ANGSTROM, EMPTY, FAR_ANGSTROM, FOREIGN, NEAR_ANGSTROM, NEIGHBOUR, SITES, WIDTHS

HOLLOW, BRIGHT, OUTSTANDING = 0.45, 1.3, 1.8
"""Of a site's brightness over that of carbon: below the first it is empty, above the second foreign; the brightest place above the third is Si."""
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
    kinds : ndarray
        Kinds of the neighbours, (3,), and of the two sites behind each in the order of the observation, (3, 2): together (3, 3).
    looks : float
        Share of looks that is left.
    """

    place: np.ndarray
    target: np.ndarray
    steps: np.ndarray
    kinds: np.ndarray
    looks: float


def look(observation: Any) -> Seen | None:
    """Return what an observation of a walk shows; None where no Si is seen."""
    return _from_frame(observation) if isinstance(observation, Mapping) else _from_features(np.asarray(observation, float))


def _from_features(features: np.ndarray) -> Seen | None:
    """Return what the features of the form ``state`` tell."""
    if features[0] < 0.5:
        return None
    place = features[1:3] * FIELD_ANGSTROM / 2
    rows = features[6 : WIDTHS["walk"]].reshape(3, NEIGHBOUR)
    return Seen(
        place=place,
        target=place + features[3:5] * FAR_ANGSTROM,
        steps=rows[:, :2] * NEAR_ANGSTROM,
        kinds=np.rint(rows[:, [2, 4, 5]]).astype(int),
        looks=float(features[-2]),
    )


def _from_frame(observation: Mapping[str, np.ndarray]) -> Seen | None:
    """Return what a frame shows: neighbours at the azimuth where a ring about Si is bright, kinds by the brightness of sites."""
    frame = observation["image"].astype(float)
    place, target = np.asarray(observation["tracked"], float), np.asarray(observation["target"], float)[0]
    smooth = np.stack([ndimage.gaussian_filter(one, BLUR_ANGSTROM * FRAME_PX / FIELD_ANGSTROM) for one in frame])
    usual = np.array([np.percentile(one, 80) for one in smooth])
    if _bright(smooth, place)[0] < OUTSTANDING * usual[0]:
        return None
    both = [sum(_bright(smooth, place + step)[1] for step in up(sublattice)) for sublattice in (1, -1)]
    steps = up(1 if both[0] > both[1] else -1)
    kinds = np.full((3, 3), 1)
    for number, step in enumerate(steps):
        kinds[number, 0] = _kind(_bright(smooth, place + step) / usual)
    return Seen(place=place, target=target, steps=steps, kinds=kinds, looks=float(observation["budget"][0]))


def _kind(brightness: np.ndarray) -> int:
    """Return the kind of a site beside Si by its brightness in both detectors over the usual one of carbon."""
    if brightness[1] < HOLLOW:
        return EMPTY
    return FOREIGN if brightness.mean() > BRIGHT else 1


def _bright(smooth: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the brightness of smoothed frames at a place, linear between pixels, (detectors,)."""
    at = (place[::-1] + FIELD_ANGSTROM / 2) * FRAME_PX / FIELD_ANGSTROM - 0.5
    return np.array([ndimage.map_coordinates(one, at[:, None], order=1, mode="nearest")[0] for one in smooth])


class PatternEye:
    """What is left of a pattern of S: places that are not empty yet."""

    def __init__(self) -> None:
        self.first: np.ndarray | None = None

    def remaining(self, observation: Any) -> np.ndarray:
        """Return the places (x, y) of pattern sites that hold S, in units of half the field, (k, 2)."""
        if not isinstance(observation, Mapping):
            rows = np.asarray(observation, float)[: 3 * SITES].reshape(SITES, 3)
            return rows[rows[:, 2] > 0.5, :2]
        target = np.asarray(observation["target"], float)
        target = target[np.any(target != 0, axis=1)]
        smooth = np.stack([ndimage.gaussian_filter(one.astype(float), BLUR_ANGSTROM * FRAME_PX / FIELD_ANGSTROM) for one in observation["image"]])
        now = np.array([_bright(smooth, place).sum() for place in target])
        self.first = now if self.first is None else self.first
        return 2 * target[now > SINGLE * self.first] / FIELD_ANGSTROM


__all__ = ["BOND", "PatternEye", "Seen", "look"]
