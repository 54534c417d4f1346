"""Electrons and noise of recorded frames, from the readings of a detector's converter."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def electrons_of(given: Mapping[str, Any]) -> np.ndarray:
    """Return the readings as electrons, (ny, nx) float64."""
    return (np.asarray(given["image"], dtype=float) - float(given["offset_adu"])) / float(given["gain_adu"])


def white_noise(image: np.ndarray) -> float:
    """Return the standard deviation of the noise, estimated from blocks of 2 x 2 pixels.

    It is the root mean square, over all blocks, of half the difference between the sums of the two diagonals. The blocks are smaller than the image
    of an atomic column, so atomic columns contribute little.
    """
    ny, nx = (n // 2 * 2 for n in image.shape)
    blocks = image[:ny, :nx].reshape(ny // 2, 2, nx // 2, 2)
    details = (blocks[:, 0, :, 0] - blocks[:, 0, :, 1] - blocks[:, 1, :, 0] + blocks[:, 1, :, 1]) / 2
    return max(float(np.sqrt(np.mean(details**2))), 1e-12)
