"""A small U-Net that finds atomic columns in recorded frames, for ``atoms-2d@2`` and ``instruments``: its input maps, and its use from an ONNX file.

Training is in :mod:`stemtwin.benchmarks.training.columns`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.benchmarks import point_network
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.readings import electrons_of
from stemtwin.twin.physics.electrons import wavelength

MODEL = Path(__file__).parent / "learned" / "atoms-2d-v2.onnx"
INPUTS, CLASSES = 5, 1
"""Maps of the input, and classes of points: columns of any element."""
SMOOTHED_ANGSTROM = (0.25, 0.6)
"""Standard deviations of the Gaussians of the smoothed maps, A."""
LIMITS = 5.0
"""Largest magnitude of the image's map, in standard deviations of the image."""


def constants(given: Mapping[str, Any]) -> tuple[float, float]:
    """Return the noise of an image and the diffraction limit.

    The noise is the standard deviation in a pixel of 0.15 A after resampling, in e-. The diffraction limit is 0.61 wavelength / semi-angle, in A.
    """
    noise = point_network.resampled_noise(electrons_of(given), float(given["sampling_angstrom"]))
    return noise, 0.61 * wavelength(float(given["energy_ev"])) / (1e-3 * float(given["semiangle_mrad"]))


def features(image: np.ndarray, noise: float, limit: float) -> np.ndarray:
    """Return the input maps of the network for an image.

    Parameters
    ----------
    image : ndarray
        (ny, nx) electrons on pixels of 0.15 A.
    noise : float
        Standard deviation of the noise of these pixels, e-.
    limit : float
        Diffraction limit, A.

    Returns
    -------
    ndarray
        (5, ny, nx) float32. Map 0: the deviation from the image's mean, in standard deviations of the image. Maps 1 and 2: the image smoothed by
        Gaussians with standard deviations of 0.25 A and 0.6 A, both in units of the 99.5 % quantile of the first smoothed image. Maps 3 and 4 are
        constant. Map 3 is the decimal logarithm of the noise in the unit of maps 1 and 2. Map 4 is the diffraction limit after a shift and a scaling.
    """
    fine, coarse = (point_network.smoothed(image, sigma) for sigma in SMOOTHED_ANGSTROM)
    unit = max(float(np.quantile(fine, 0.995)), 1e-6)
    deviation = np.clip((image - image.mean()) / max(float(image.std()), 1e-6), -LIMITS, LIMITS)
    same = np.full((2, *image.shape), np.array([np.log10(noise / unit), 2 * (limit - 0.6)])[:, None, None])
    return np.concatenate([np.stack([deviation, np.clip(fine / unit, -3, 3), np.clip(coarse / unit, -3, 3)]), same]).astype(np.float32)


class ColumnNetwork(point_network.PointNetwork):
    """The trained U-Net that finds atomic columns; see :class:`stemtwin.benchmarks.point_network.PointNetwork`."""

    MODEL = MODEL
    APART_ANGSTROM = 0.45

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the columns of a sample; the confidence of a column is its probability."""
        del rng
        electrons, step = electrons_of(given), float(given["sampling_angstrom"])
        maps = features(point_network.resampled(electrons, step), *constants(given))
        positions, classes, probability = self.located(maps, electrons.shape, step)
        return Points.at(positions, classes=np.zeros_like(classes), confidence=probability)
