"""Rewards by name, in [0, 1]: functions of a frame and its cost alone; the hidden truth is not used."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from stemtwin.twin.envs.image_features import electrons
from stemtwin.twin.registry import Registry

Reward = Callable[[xr.Dataset | None, Mapping[str, float]], float]
"""A function of the frame taken by an action (None without a frame) and of the action's cost: ``time_s``, ``electrons``,
``dose_e_per_angstrom2``."""
REWARDS: Registry[Reward] = Registry("reward")
"""Rewards by name. Add your own function with ``@REWARDS.register("mine")`` before making the environment."""


def _first_image(frame: xr.Dataset) -> np.ndarray:
    """Return the image of a frame's first detector in electrons, float64."""
    return electrons(next(iter(frame.data_vars.values())))


@REWARDS.register("none")
def none(frame: xr.Dataset | None, cost: Mapping[str, float]) -> float:  # noqa: ARG001 - the signature of every reward
    """Return 0, for tasks that define their own goal and for agents that are not trained."""
    return 0.0


@REWARDS.register("contrast")
def contrast(frame: xr.Dataset | None, cost: Mapping[str, float]) -> float:  # noqa: ARG001
    """Return the contrast v / (v + m^2) of the first image, with its mean m and variance v; 0 without a frame.

    The contrast increases with the normalised variance v / m^2, the usual measure of focus in dark field. Counting noise
    adds 1 / m to v / m^2, so only frames of the same dose are comparable.
    """
    if frame is None:
        return 0.0
    image = _first_image(frame)
    square = float(np.mean(image**2))
    return float(image.var()) / square if square > 0 else 0.0


@REWARDS.register("signal")
def signal(frame: xr.Dataset | None, cost: Mapping[str, float]) -> float:  # noqa: ARG001
    """Return the mean of the first image as a fraction of the incident electrons, clipped to [0, 1]; 0 without a frame.

    A specimen under the beam increases the signal in dark field and reduces it in bright field; the beam current cancels.
    """
    if frame is None:
        return 0.0
    incident = float(frame.attrs["electrons_per_point"])
    return min(max(float(_first_image(frame).mean()) / incident, 0.0), 1.0) if incident > 0 else 0.0


@REWARDS.register("correlation")
def correlation(frame: xr.Dataset | None, cost: Mapping[str, float]) -> float:  # noqa: ARG001
    """Return the correlation of neighbouring pixels along x in the first image, at least 0; 0 without a frame.

    For pixels smaller than the image detail, this correlation is the fraction of the variance that is not noise, S / (1 + S) with the
    signal-to-noise ratio S (J. T. L. Thong, K. S. Sim, J. C. H. Phang, Scanning 23 (2001) 328).
    """
    if frame is None:
        return 0.0
    image = _first_image(frame)
    image = image - image.mean()
    left, right = image[:, :-1], image[:, 1:]
    scale = math.sqrt(float((left**2).sum()) * float((right**2).sum()))
    return max(float((left * right).sum()) / scale, 0.0) if scale > 0 else 0.0
