"""Baselines of ``denoise``: raw counts, a constant image, a Gaussian filter, a Fourier filter, non-local means, BM3D, a U-Net and an oracle.

BM3D runs only where the package ``bm3d`` is installed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.restoration import denoise_nl_means

from stemtwin.benchmarks.agents import Baseline, add_baseline
from stemtwin.benchmarks.answers.images import ImageEstimate
from stemtwin.benchmarks.denoiser import OnnxDenoiser, counts_of
from stemtwin.twin.errors import SettingsError

SIGMAS_PX = tuple(0.5 * 1.25**i for i in range(14))  # 0.5 to 9 px
BINS_PX = (2, 4)
COLLECTED_ANGSTROM = 0.3  # below the width of an atom in the image
PATCH_ANGSTROM, SEARCH_ANGSTROM = 6.0, 8.0  # an atom with its neighbours; a few cells around it (tuned on val)
STRENGTH = 0.5  # of the filter, in standard deviations of the noise (tuned on val)
FOURIER_THRESHOLD = 12.0  # times the power of the noise: one of 10 images of pure noise has a coefficient above it


class SummedCounts:
    """The summed counts of all frames."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> ImageEstimate:
        """Return the sum of the frames."""
        del rng
        return ImageEstimate(image=counts_of(given))


class ConstantImage:
    """Constant image of each channel, equal to the mean count of the channel.

    The score serves as a reference: a method that recovers structure should score better.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> ImageEstimate:
        """Return the constant images."""
        del rng
        counts = counts_of(given)
        return ImageEstimate(image=np.broadcast_to(counts.mean(axis=(1, 2), keepdims=True), counts.shape))


class GaussianSmoothing:
    """Sum of the frames, smoothed by the Gaussian with the least estimated mean square error, see :func:`least_risk`."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> ImageEstimate:
        """Return the smoothed sum of the frames."""
        del rng
        return ImageEstimate(image=np.stack([least_risk(channel) for channel in counts_of(given)]))


def least_risk(counts: np.ndarray) -> np.ndarray:
    """Return counts (ny, nx) smoothed by a Gaussian of 0.5 to 9 px, or replaced by their mean, whichever has the least estimated mean square error.

    The estimate needs only the counts k and the kernel h. With the convolution h * k, the mean of (h * k - k)^2 + 2 h(0) k is, up
    to a constant, an unbiased estimate of the mean of (h * k - truth)^2, because the variance of a Poisson count equals its mean.
    """
    mean = np.full(counts.shape, counts.mean())
    best = (float(counts.var() + 2 * counts.mean() / counts.size), mean)
    impulse = np.zeros((127, 127))
    impulse[63, 63] = 1.0
    for sigma in SIGMAS_PX:
        smooth = gaussian_filter(counts, sigma, mode="reflect")
        risk = float(np.mean((smooth - counts) ** 2) + 2 * gaussian_filter(impulse, sigma)[63, 63] * counts.mean())
        if risk < best[0]:
            best = (risk, smooth)
    return best[1]


class FourierThreshold:
    """Sum of the frames, reduced to the Fourier coefficients far above the noise: the reflections, which describe the perfect lattice.

    The power of the counting noise is the same at every frequency and equals the total number of electrons. Coefficients with more than 12 times this
    power are kept, with Wiener weights that correct for the noise.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> ImageEstimate:
        """Return the estimate."""
        del rng
        return ImageEstimate(image=np.stack([reflections(channel) for channel in counts_of(given)]))


def reflections(counts: np.ndarray) -> np.ndarray:
    """Return an image (ny, nx) that keeps the mean of the counts and, with Wiener weights, their strong Fourier coefficients."""
    waves = np.fft.rfft2(counts - counts.mean())
    power, noise = np.abs(waves) ** 2, counts.sum()
    weights = np.where(power > FOURIER_THRESHOLD * noise, 1 - noise / np.maximum(power, 1.0), 0.0)
    return np.maximum(counts.mean() + np.fft.irfft2(waves * weights, s=counts.shape), 0)


def anscombe(counts: np.ndarray) -> np.ndarray:
    """Return the Anscombe transform 2 sqrt(k + 3/8) of counts k. The noise of the result has a standard deviation of nearly 1."""
    return 2 * np.sqrt(counts + 0.375)


def unbiased_inverse(values: np.ndarray) -> np.ndarray:
    """Return mean counts by the unbiased inverse of the Anscombe transform: Makitalo and Foi, IEEE Trans. Image Process. 20 (2011) 2697."""
    d = np.maximum(values, 2 * np.sqrt(0.375))
    return np.maximum(0.25 * d**2 + 0.25 * np.sqrt(1.5) / d - 1.375 / d**2 + 0.625 * np.sqrt(1.5) / d**3 - 0.125, 0)


def stabilised(counts: np.ndarray, step: float, remove_noise: Callable[[np.ndarray, float], np.ndarray]) -> np.ndarray:
    """Return an image denoised after the Anscombe transform.

    Each pixel first receives a sum of the counts around it, weighted by a Gaussian with a standard deviation of 0.3 A, so that only
    a few sums are zero. The sums at every second pixel along both axes are denoised, and the result is interpolated to all pixels.

    Parameters
    ----------
    counts : ndarray
        Counts, (ny, nx).
    step : float
        Pixel size, A/px.
    remove_noise : callable
        Function that returns the denoised image. Its first argument is an image with noise of standard deviation 1, its second the pixel size, A/px.
    """
    sigma = COLLECTED_ANGSTROM / step
    area = 4 * np.pi * sigma**2  # px: the variance of such a sum is its mean divided by this area
    collected = area * gaussian_filter(counts, sigma, mode="reflect")[::2, ::2]
    found = unbiased_inverse(remove_noise(anscombe(collected), 2 * step)) / area
    return np.maximum(map_coordinates(found, np.indices(counts.shape) / 2, order=3, mode="nearest"), 0)


def binned(counts: np.ndarray, remove_noise: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return an image denoised after binning and the Anscombe transform, and interpolated to all pixels again.

    Parameters
    ----------
    counts : ndarray
        Counts, (ny, nx). Bins are 2 x 2 px, or 4 x 4 px if bins of 2 x 2 px hold less than one electron on average. Pixels at the far edges that fill
        no bin take the nearest values.
    remove_noise : callable
        Function that denoises an image with white noise of standard deviation 1.
    """
    size = BINS_PX[0] if counts.mean() * BINS_PX[0] ** 2 >= 1 else BINS_PX[1]
    ny, nx = (n // size for n in counts.shape)
    sums = counts[: ny * size, : nx * size].reshape(ny, size, nx, size).sum(axis=(1, 3))
    found = unbiased_inverse(remove_noise(anscombe(sums))) / size**2
    return np.maximum(map_coordinates(found, (np.indices(counts.shape) + 0.5) / size - 0.5, order=3, mode="nearest"), 0)


def non_local_means(image: np.ndarray, step: float) -> np.ndarray:
    """Return the denoised image, in which each pixel is a weighted mean of pixels with similar surroundings.

    The noise of the input must have a standard deviation of 1. ``step`` is the pixel size, A/px.
    """
    patch = 2 * max(1, round(PATCH_ANGSTROM / step / 2)) + 1
    reach = max(2, round(SEARCH_ANGSTROM / step))
    return denoise_nl_means(image, patch_size=patch, patch_distance=reach, h=STRENGTH, sigma=1.0, fast_mode=True)


class NonLocalMeans:
    """Non-local means of the Anscombe transform of the sum of the frames (Buades et al., 2005)."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> ImageEstimate:
        """Return the estimate."""
        del rng
        step = float(given["sampling_angstrom"])
        return ImageEstimate(image=np.stack([stabilised(channel, step, non_local_means) for channel in counts_of(given)]))


class BlockMatching:
    """BM3D filter of the Anscombe transform of the sum of the frames.

    The filter is in the package ``bm3d``, which is free for non-commercial use only and is not a dependency of this package.

    Raises
    ------
    SettingsError
        The package is not installed.
    """

    def __init__(self) -> None:
        try:
            from bm3d import bm3d  # pyright: ignore[reportMissingImports] - only where its user has installed it
        except ImportError:
            message = "bm3d is not installed. Its licence allows non-commercial use only; if that suits you, install it with: pip install bm3d"
            raise SettingsError(message) from None
        self._bm3d = bm3d

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> ImageEstimate:
        """Return the estimate."""
        del rng
        return ImageEstimate(image=np.stack([binned(channel, lambda image: self._bm3d(image, 1.0)) for channel in counts_of(given)]))


class NoiselessOracle:
    """Oracle that returns the noiseless image."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> ImageEstimate:
        """Return the truth, which only an oracle receives."""
        del rng
        return given["truth"]


for _name, _text, _factory in (
    ("counts", "the summed counts of all frames", SummedCounts),
    ("constant", "the mean count in every pixel", ConstantImage),
    ("gaussian", "the Gaussian of the least estimated risk", GaussianSmoothing),
    ("fourier", "only the strong Fourier coefficients", FourierThreshold),
    ("nlm", "non-local means after the Anscombe transform", NonLocalMeans),
    ("bm3d", "BM3D after the Anscombe transform; needs the package bm3d, free for non-commercial use only", BlockMatching),
    ("unet", "a small U-Net, trained on the train split; needs onnxruntime", OnnxDenoiser),
):
    add_baseline(Baseline(task="denoise", name=_name, text=_text, factory=_factory))
add_baseline(Baseline(task="denoise", name="oracle", text="the noiseless image itself", factory=NoiselessOracle, oracle=True))
