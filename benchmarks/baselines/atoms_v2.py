"""Baselines of ``atoms-2d@2`` and ``instruments``: local maxima, a Laplacian of Gaussian with Gaussian refinement, random points, an oracle."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_laplace
from skimage.feature import peak_local_max

from stemtwin.benchmarks.agents import Baseline, add_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.baselines.atoms import FWHM_PER_SIGMA, inside, kernel_norm, merge, refine, unknown
from stemtwin.benchmarks.column_network import ColumnNetwork
from stemtwin.benchmarks.readings import electrons_of, white_noise

WIDTHS_ANGSTROM = (0.7, 0.9, 1.2, 1.6)
"""Full widths of a column in the image (A) from which the scale is chosen."""
LEAST_SNR, LEAST_PART = 5.0, 0.12
"""Ratio of the height of a peak to the noise, and ratio to the strong peaks, at which the peak is a column with probability 1/2 (tuned on val)."""
ENOUGH_SNR = 4.0
"""Ratio of the height of the strong peaks to the noise above which no wider scale is tried (tuned on val)."""
FAINTEST = 0.4
"""Fraction of ``LEAST_SNR`` and of ``LEAST_PART`` below which a peak is dropped."""
SAME_ANGSTROM = 0.45
"""Distance below which the lower of two refined peaks is discarded, A."""
STUDENT_DISTANCE_PX = 5


class LocalMaxima:
    """Maxima of the raw readings, at least 5 px apart and one standard deviation above the mean; the confidence grows with the height."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the maxima."""
        del rng
        image, step = np.asarray(given["image"], dtype=float), float(given["sampling_angstrom"])
        peaks = peak_local_max(image, min_distance=STUDENT_DISTANCE_PX, threshold_abs=image.mean() + image.std(), exclude_border=False)
        heights = (image[tuple(peaks.T)] - image.min()) / max(float(np.ptp(image)), 1e-12)
        return Points.at(peaks[:, ::-1] * step, classes=unknown(len(peaks)), confidence=np.clip(heights, 0, 1))


class RefinedPeaks:
    """Peaks of the scale-normalised Laplacian of Gaussian, each refined by a two-dimensional Gaussian fit.

    The scale is chosen by :func:`best_response`, and the noise is estimated from the differences of neighbouring pixels. The confidence of a peak is
    c / (1 + c). By default, c is the smaller of h / (5 n) and h / (0.12 s). Here h is the height of the peak, n is the noise of the filtered image,
    and s is the 99.5 % quantile of the filtered image, which is the height of a strong peak.
    """

    def __init__(self, least_snr: float = LEAST_SNR, least_part: float = LEAST_PART, widths: Sequence[float] = WIDTHS_ANGSTROM) -> None:
        self.least_snr, self.least_part, self.widths = least_snr, least_part, tuple(widths)

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the refined peaks."""
        del rng
        return self.points(electrons_of(given), float(given["sampling_angstrom"]))

    def points(self, image: np.ndarray, step: float, *, refined: bool = True) -> Points:
        """Return the peaks of an image.

        ``image`` is in electrons, (ny, nx), and ``step`` is the pixel size in A. If ``refined`` is True, a fit refines each position.
        """
        response, noise, sigma = best_response(image, step, self.widths)
        strong = max(float(np.quantile(response, 0.995)), 1e-12)
        peaks = peak_local_max(response, min_distance=max(2, round(sigma)), threshold_abs=0.0, exclude_border=False)
        claim = np.minimum(response[tuple(peaks.T)] / (self.least_snr * noise), response[tuple(peaks.T)] / (self.least_part * strong))
        peaks, claim = peaks[claim > FAINTEST], claim[claim > FAINTEST]
        places = np.array([refine(image, peak, sigma) if refined else peak for peak in peaks], dtype=float).reshape(-1, 2)
        keep = merge(places, claim, SAME_ANGSTROM / step) & inside(places, image.shape)
        return Points.at(places[keep][:, ::-1] * step, classes=unknown(int(keep.sum())), confidence=claim[keep] / (1 + claim[keep]))


def best_response(image: np.ndarray, step: float, widths: Sequence[float] = WIDTHS_ANGSTROM) -> tuple[np.ndarray, float, float]:
    """Return the filtered image, its noise and the scale, px; ``widths`` holds the full widths to choose from, A.

    The scale is the finest one at which the height of the strong peaks, the 99.5 % quantile of the filtered image, is at least four times the noise.
    If there is none, the scale with the largest signal-to-noise ratio is used.
    """
    white, found = white_noise(image), []
    for width in widths:
        sigma = max(width / FWHM_PER_SIGMA / step, 1.0)
        response = -(sigma**2) * gaussian_laplace(image, sigma, mode="reflect")
        noise = white * kernel_norm(sigma)
        found.append((float(np.quantile(response, 0.995)) / noise, response, noise, sigma))
        if found[-1][0] >= ENOUGH_SNR:
            return response, noise, sigma
    _, response, noise, sigma = max(found, key=lambda one: one[0])
    return response, noise, sigma


class ScatteredPoints:
    """Points with uniform random positions, one for every 4 A^2 of the frame, independent of the image."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the random points, with random confidences."""
        ny, nx = np.shape(given["image"])
        step = float(given["sampling_angstrom"])
        n = max(1, round(ny * nx * step**2 / 4.0))
        places = rng.uniform([-step / 2, -step / 2], [(nx - 0.5) * step, (ny - 0.5) * step], size=(n, 2))
        return Points.at(places, classes=unknown(n), confidence=rng.random(n))


class TrueColumnsOracle:
    """Oracle that returns the true visible columns."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the truth, which only an oracle receives, with full confidence."""
        del rng
        truth = given["truth"]
        return Points.at(truth.positions[truth.visible], classes=truth.heaviest[truth.visible], confidence=np.ones(int(truth.visible.sum())))


for _name, _text, _factory in (
    ("maxima", "maxima of the raw readings, with confidence by height", LocalMaxima),
    ("log", "Laplacian of Gaussian, each peak refined by a Gaussian fit", RefinedPeaks),
    ("unet", "a small U-Net, trained on the train split; needs onnxruntime", ColumnNetwork),
    ("random", "uniform points", ScatteredPoints),
):
    add_baseline(Baseline(task="atoms-2d@2", name=_name, text=_text, factory=_factory))
add_baseline(Baseline(task="atoms-2d@2", name="oracle", text="the truth itself", factory=TrueColumnsOracle, oracle=True))
