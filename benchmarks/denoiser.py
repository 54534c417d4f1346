"""A small U-Net for the task ``denoise``: its input maps, and its use from an ONNX file.

Training is in :mod:`stemtwin.benchmarks.training.denoiser`; inference needs only onnxruntime.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from stemtwin.benchmarks.answers.images import ImageEstimate
from stemtwin.benchmarks.onnx_policy import make_session

MODEL = Path(__file__).parent / "learned" / "denoise.onnx"
SMOOTHED_PX = (2.0, 5.0)
"""Standard deviations of the Gaussians whose smoothed counts are further inputs of the network, px."""
MULTIPLE = 16
"""The network accepts heights and widths that are multiples of this number, px."""
CONTRAST = np.array([1.0, 0.1], dtype=np.float32)[:, None, None]
"""Unit of the output by channel, as a fraction of the channel's mean; the output is the deviation from the mean."""


def counts_of(given: Mapping[str, Any]) -> np.ndarray:
    """Return the summed counts of the frames that were taken, (channel, y, x) float64."""
    return np.asarray(given["image"])[: int(given["frames"])].sum(axis=0, dtype=float)


def features(counts: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the input maps of the network, and the mean counts of the channels.

    Parameters
    ----------
    counts : ndarray
        (2, ny, nx) summed counts.
    step : float
        Pixel size, A.

    Returns
    -------
    ndarray
        (9, ny, nx) float32. The deviation of each channel from its mean, measured in standard deviations of the counting noise: first without
        smoothing, then smoothed by Gaussians of 2 px and of 5 px. Three constant maps follow: the logarithms of the two means, and the pixel size.
    ndarray
        (2, 1, 1) float32 mean counts of a pixel; never below the mean for a single electron in the whole image.
    """
    mean = np.maximum(counts.mean(axis=(1, 2), keepdims=True), 1 / counts[0].size).astype(np.float32)
    noisy = ((counts - mean) / np.sqrt(mean)).astype(np.float32)
    smooth = [2 * math.sqrt(math.pi) * sigma * gaussian_filter(noisy, (0, sigma, sigma), mode="reflect") for sigma in SMOOTHED_PX]
    same = np.array([*(np.log10(mean.ravel()) / 2), (step - 0.14) * 20], dtype=np.float32)[:, None, None]
    return np.concatenate([noisy, *smooth, np.broadcast_to(same, (3, *counts.shape[1:]))]), mean


class OnnxDenoiser:
    """The trained U-Net as a predictor of ``denoise``.

    Parameters
    ----------
    path : Path
        The ONNX file: one input (1, 9, y, x), one output (1, 2, y, x), float32.

    Raises
    ------
    SettingsError
        onnxruntime is not installed.
    """

    def __init__(self, path: Path = MODEL) -> None:
        self._session = make_session(path)
        self._input = self._session.get_inputs()[0].name

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> ImageEstimate:
        """Return the estimate of the network, never below 0."""
        del rng
        counts = counts_of(given)
        seen, mean = features(counts, float(given["sampling_angstrom"]))
        ny, nx = counts.shape[1:]
        padded = np.pad(seen, ((0, 0), (0, -ny % MULTIPLE), (0, -nx % MULTIPLE)), mode="reflect")
        (out,) = self._session.run(None, {self._input: padded[None]})
        return ImageEstimate(image=np.maximum(mean * (1 + CONTRAST * np.asarray(out)[0, :, :ny, :nx]), 0))
