"""Baselines of ``atoms-2d``: a Laplacian of Gaussian with Gaussian refinement, random points, and an oracle."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_laplace
from scipy.optimize import least_squares
from skimage.feature import peak_local_max

from stemtwin.benchmarks.agents import Baseline, add_baseline
from stemtwin.benchmarks.answers.points import Points

FWHM_ANGSTROM = (0.6, 0.75, 0.95, 1.2)  # width of a column in the image: probe, source and thermal motion together
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
NOISE_SIGMAS = 3.0  # least height of a peak over the noise of the filtered background
RELATIVE = 0.2  # least height of a peak relative to the strong peaks
SAME_ANGSTROM = 0.35  # two refined peaks nearer than this are one


def unknown(n: int) -> np.ndarray:
    """Return class 0, which stands for an unknown heaviest element, for n columns, int (n,)."""
    return np.zeros(n, dtype=np.int64)


class LaplacianOfGaussian:
    """Peaks of the scale-normalised Laplacian of Gaussian, each refined by a two-dimensional Gaussian fit.

    The scales of the filter that are tried correspond to columns with full widths of 0.6 to 1.2 A, as in a corrected instrument. The scale with the
    largest ratio of the strong peaks to the counting noise is used; the noise follows from Poisson statistics for the mean count. The threshold for
    the height of a peak is three standard deviations of the noise or a fifth of the height of the strong peaks, whichever is higher.
    """

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the refined peaks; the confidence of a peak is the ratio of its height to the noise."""
        del rng
        image = np.asarray(given["image"], dtype=float)
        step = float(given["sampling_angstrom"])
        response, noise, sigma = best_scale(image, step)
        strong = float(np.quantile(response, 0.995))
        threshold = max(NOISE_SIGMAS * noise, RELATIVE * strong)
        distance = max(1, round(sigma))
        peaks = peak_local_max(response, min_distance=distance, threshold_abs=threshold, exclude_border=False)
        points = np.array([refine(image, peak, sigma) for peak in peaks]).reshape(-1, 2)
        scores = response[tuple(peaks.T)] / max(noise, 1e-12)
        keep = merge(points, scores, SAME_ANGSTROM / step) & inside(points, image.shape)
        return Points.at(points[keep][:, ::-1] * step, classes=unknown(keep.sum()), confidence=scores[keep])


def best_scale(image: np.ndarray, step: float) -> tuple[np.ndarray, float, float]:
    """Return the filtered image, its noise and its scale in pixels, for the scale with the largest signal-to-noise ratio.

    Parameters
    ----------
    image : ndarray
        (ny, nx) counts.
    step : float
        Pixel size, A/px.
    """
    found = []
    for width in FWHM_ANGSTROM:
        sigma = max(width / FWHM_PER_SIGMA / step, 0.7)
        response = -(sigma**2) * gaussian_laplace(image, sigma, mode="reflect")
        noise = np.sqrt(max(image.mean(), 1e-12)) * kernel_norm(sigma)
        found.append((float(np.quantile(response, 0.995)) / noise, response, float(noise), sigma))
    _, response, noise, sigma = max(found, key=lambda one: one[0])
    return response, noise, sigma


def kernel_norm(sigma: float) -> float:
    """Return the factor by which the scale-normalised Laplacian of Gaussian changes the standard deviation of white noise.

    The factor is the root of the sum of the squared values of the kernel, whose scale ``sigma`` is in pixels. For the normalised Gaussian g of this
    scale, the integral of sigma^4 (nabla^2 g)^2 over the plane is 1 / (2 pi sigma^2).
    """
    return 1.0 / (np.sqrt(2.0 * np.pi) * sigma)


def refine(image: np.ndarray, peak: np.ndarray, sigma: float) -> np.ndarray:
    """Return the centre (y, x), px, of a Gaussian plus a constant that is fitted around a peak.

    If the fit does not converge or moves away, the position of the peak is returned. The centre is rounded to 1e-6 px because the last bits of
    MINPACK's steps depend on memory addresses, and the same image must give the same answer.
    """
    reach = max(2, round(1.5 * sigma))
    y0, x0 = (int(part) for part in peak)
    ys = np.arange(max(0, y0 - reach), min(image.shape[0], y0 + reach + 1))
    xs = np.arange(max(0, x0 - reach), min(image.shape[1], x0 + reach + 1))
    window = image[np.ix_(ys, xs)]
    dy, dx = ys[:, None] - y0, xs[None, :] - x0
    low, high = float(window.min()), float(window.max())
    if high <= low:
        return np.array([y0, x0], dtype=float)

    def parts(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u, v = dy - p[0], dx - p[1]
        return u, v, np.exp(-(u**2 + v**2) / (2 * p[2] ** 2))

    def residual(p: np.ndarray) -> np.ndarray:
        return (p[3] * parts(p)[2] + p[4] - window).ravel()

    def jacobian(p: np.ndarray) -> np.ndarray:
        u, v, bell = parts(p)
        slope = p[3] * bell / p[2] ** 2
        columns = (slope * u, slope * v, slope * (u**2 + v**2) / p[2], bell, np.ones_like(bell))
        return np.stack([column.ravel() for column in columns], axis=1)

    fit = least_squares(residual, [0.0, 0.0, sigma, high - low, low], jac=jacobian, method="lm", max_nfev=50)
    shift = fit.x[:2]
    good = fit.success and np.isfinite(shift).all() and np.hypot(*shift) <= reach and fit.x[3] > 0 and abs(fit.x[2]) < 4 * sigma
    return np.array([y0, x0], dtype=float) + (np.round(shift, 6) if good else 0.0)


def merge(points: np.ndarray, scores: np.ndarray, distance: float) -> np.ndarray:
    """Return a mask, (n,) bool, of the points to keep.

    A point is dropped if a kept point with a higher score is closer than ``distance``, which has the unit of ``points``.
    """
    keep = np.zeros(len(points), dtype=bool)
    for i in np.argsort(-scores, kind="stable"):
        keep[i] = not keep.any() or np.hypot(*(points[keep] - points[i]).T).min() >= distance
    return keep


def inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a mask, (n,) bool, of the points (y, x), px, that lie in the frame."""
    return np.all((points >= -0.5) & (points <= np.array(shape) - 0.5), axis=1)


class RandomPoints:
    """Points with uniform random positions, one for every 4 A^2 of the frame, independent of the image."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the random points."""
        ny, nx = np.shape(given["image"])
        step = float(given["sampling_angstrom"])
        n = max(1, round(ny * nx * step**2 / 4.0))
        return Points.at(rng.uniform([-step / 2, -step / 2], [(nx - 0.5) * step, (ny - 0.5) * step], size=(n, 2)), classes=unknown(n))


class ColumnOracle:
    """Oracle that returns the true visible columns."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the truth, which only an oracle receives."""
        del rng
        truth = given["truth"]
        return Points.at(truth.positions[truth.visible], classes=truth.heaviest[truth.visible])


add_baseline(Baseline(task="atoms-2d", name="log", text="Laplacian of Gaussian, each peak refined by a Gaussian fit", factory=LaplacianOfGaussian))
add_baseline(Baseline(task="atoms-2d", name="random", text="uniform points", factory=RandomPoints))
add_baseline(Baseline(task="atoms-2d", name="oracle", text="the truth itself", factory=ColumnOracle, oracle=True))
