"""Metrics of restored images against their noiseless truth: peak signal-to-noise ratio, structure, ring correlation, Poisson deviance.

The functions measure one image; the metrics are means of their values over samples. Images are (ny, nx), in expected electrons.
"""

import functools

import numpy as np
from skimage.metrics import structural_similarity

from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of

MOST_DB = 100.0
"""Peak signal-to-noise ratio that is assigned to an answer without error, dB."""
SIGMA_PX = 1.5
"""Standard deviation of the window of the structural similarity, px (Wang et al., IEEE Trans. Image Process. 13 (2004) 600)."""
RING = 0.25
"""Width of the rings of the Fourier ring correlation, and inner radius of the first ring, 1/A; crystals have a reflection in each ring."""
THRESHOLD = 1 / 7
FLOOR = 1e-3
"""Smallest estimate of a pixel in the deviance, as a fraction of the mean of the truth; an estimate of 0 would have an infinite deviance."""


def psnr(estimate: np.ndarray, truth: np.ndarray, data_range: float) -> float:
    """Return the peak signal-to-noise ratio 10 log10(L^2 / mean (estimate - truth)^2), dB, at most 100; L is the data range."""
    error = float(np.mean((estimate - truth) ** 2)) / data_range**2
    return min(MOST_DB, -10 * np.log10(error)) if error > 0 else MOST_DB


def ssim(estimate: np.ndarray, truth: np.ndarray, data_range: float) -> float:
    """Return the mean structural similarity with a Gaussian window of 1.5 px and K1 = 0.01, K2 = 0.03."""
    pair = (np.asarray(truth, dtype=float), np.asarray(estimate, dtype=float))
    mean = structural_similarity(*pair, data_range=data_range, gaussian_weights=True, sigma=SIGMA_PX, use_sample_covariance=False)
    return float(np.asarray(mean))


@functools.lru_cache(maxsize=4)
def _hann(shape: tuple[int, int]) -> np.ndarray:
    return np.outer(*(np.hanning(n + 2)[1:-1] for n in shape))


def ring_correlation(estimate: np.ndarray, truth: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the Fourier ring correlation of two images.

    The correlation is Re sum F G* / sqrt(sum |F|^2 sum |G|^2), with sums over rings that are 0.25 1/A wide and lie between 0.25 1/A and the
    Nyquist frequency. F and G are the Fourier transforms of the images after the mean is subtracted and a Hann window is applied. The correlation is
    0 in a ring in which one image has no power.

    Parameters
    ----------
    estimate, truth : ndarray
        Images, (ny, nx).
    step : float
        Pixel size, A/px.

    Returns
    -------
    frequency : ndarray
        (k,) middle of each ring, 1/A.
    correlation : ndarray
        (k,) from -1 to 1.
    """
    window = _hann(truth.shape)
    ours, theirs = (np.fft.rfft2((image - image.mean()) * window) for image in (np.asarray(estimate, float), np.asarray(truth, float)))
    ky, kx = np.fft.fftfreq(truth.shape[0], step), np.fft.rfftfreq(truth.shape[1], step)
    twice = np.where((kx == 0) | (np.isclose(kx, 0.5 / step)), 1.0, 2.0)  # rfft2 leaves out the conjugate half
    count = int((0.5 / step - RING) / RING + 1e-9)
    ring = np.floor(np.hypot(ky[:, None], kx) / RING).astype(int) - 1
    inside = (ring >= 0) & (ring < count)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(ring[inside], (values * twice)[inside], count)

    cross, power = total((ours * theirs.conj()).real), total(np.abs(ours) ** 2) * total(np.abs(theirs) ** 2)
    correlation = np.divide(cross, np.sqrt(power), out=np.zeros(count), where=power > 0)
    return RING * (np.arange(count) + 1.5), correlation


def resolution(estimate: np.ndarray, truth: np.ndarray, step: float) -> float:
    """Return the resolution, A: the inverse of the frequency at which the Fourier ring correlation first falls below 1/7.

    The frequency is interpolated between the middles of rings. If the first ring is below 1/7, the resolution is 4 A, the inverse of the inner
    radius of this ring. If no ring is below 1/7, the resolution is two pixels. ``step`` is the pixel size, A/px.
    """
    frequency, correlation = ring_correlation(estimate, truth, step)
    below = np.flatnonzero(correlation < THRESHOLD)
    if not len(below):
        return 2 * step
    first = int(below[0])
    if first == 0:
        return 1 / RING
    high, low = correlation[first - 1], correlation[first]
    return float(1 / (frequency[first - 1] + RING * (high - THRESHOLD) / (high - low)))


def deviance(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Return the Poisson deviance per pixel, 2 mean(t ln(t / m) - t + m), of an estimate m from the truth t.

    Estimates below a thousandth of the mean of the truth are raised to this value. For counts that are independent of the estimate, this
    deviance is the expected deviance of the counts from the estimate, minus that of the counts from the truth. If counts of the same dose are taken
    as the estimate, the deviance is about 1 for many electrons per pixel, and larger for few electrons per pixel.
    """
    t = np.asarray(truth, dtype=float)
    m = np.maximum(np.asarray(estimate, dtype=float), FLOOR * t.mean())
    return float(2 * np.mean(t * np.log(np.where(t > 0, t, 1.0) / m) - t + m))


PSNR, PSNR_HAADF, PSNR_ABF, SSIM, RESOLUTION, DEVIANCE = add_metrics(
    "restoration",
    *(
        Metric(
            name=name,
            title=title,
            formula=mean_of(name),
            text=f"{name} / samples, {text}",
            references=(({name: total, "samples": 4}, total / 4),),
            unit=unit,
            direction="min" if name in ("resolution", "deviance") else "max",
        )
        for name, title, text, total, unit in (
            ("psnr", "peak signal to noise, mean of both channels", "of 10 log10(L^2 / mean squared error), at most 100", 100.0, "dB"),
            ("psnr_haadf", "peak signal to noise of the dark field", "of 10 log10(L^2 / mean squared error), at most 100", 90.0, "dB"),
            ("psnr_abf", "peak signal to noise of the bright field", "of 10 log10(L^2 / mean squared error), at most 100", 80.0, "dB"),
            ("ssim", "structural similarity, mean of both channels", "with L and a Gaussian window of 1.5 px", 3.0, ""),
            ("resolution", "resolution by Fourier ring correlation at 1/7 with the truth", "mean of both channels", 6.0, "A"),
            ("deviance", "Poisson deviance per pixel from the truth", "of 2 (t ln(t / m) - t + m), mean of both channels", 2.0, ""),
        )
    ),
)
