"""Features of a frame that depend on focus: a small image, and signal-to-noise ratios of its power spectrum."""

import functools
import math

import numpy as np

SECTORS = 12
"""Number of azimuth sectors over half a turn in the observation form "state"."""
BANDS = (0.035, 0.1, 0.25)
"""Limits of the bands of spatial frequency in the form "state", cycles per pixel; there is only noise beyond 0.3."""
DECADES = 4.0
"""Decadic logarithm at which signal-to-noise ratios of the power are clipped in the form "state"."""


def square_roots(image: np.ndarray) -> np.ndarray:
    """Bin a frame by 2 x 2 points, and return the square roots of the bins as uint8.

    The values are 100 sqrt(b / mean b), where b is a bin minus the smallest bin. They are clipped at 255.
    """
    four = image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).sum(axis=(1, 3), dtype=np.float32)
    four -= four.min()
    return np.minimum(100 * np.sqrt(four / max(float(four.mean()), 1e-6)), 255).astype(np.uint8)


def features(image: np.ndarray, rotation_rad: float = 0.0) -> np.ndarray:
    """Return log10(1 + r) / 4 for the signal-to-noise ratio r of the power in each band and azimuth sector, in [0, 1], shape (24,).

    There are 2 bands of spatial frequency and 12 sectors. Azimuths are relative to specimen and lenses: the rotation of the scan,
    rad, is compensated.
    """
    window, azimuth, band, quiet = _spectrum_places(image.shape)
    sector = np.floor(((azimuth + rotation_rad) % np.pi) / np.pi * SECTORS + 0.5).astype(int) % SECTORS
    inside = band >= 0
    counts = image.astype(np.float32)
    power = np.abs(np.fft.rfft2((counts - counts.mean()) * window)) ** 2
    floor = max(float(np.median(power.ravel()[quiet])) / math.log(2), 1e-12)
    size, place = SECTORS * (len(BANDS) - 1), (band * SECTORS + sector)[inside]
    sums = np.bincount(place, power.ravel()[inside], size) / np.maximum(np.bincount(place, minlength=size), 1)
    return np.clip(np.log10(1 + np.maximum(sums / floor - 1, 0)) / DECADES, 0, 1)


@functools.lru_cache(maxsize=4)
def _spectrum_places(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a window, azimuth and band (-1: none) of each Fourier coefficient, and the coefficients with only noise."""
    ky, kx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing="ij")
    k = np.hypot(ky, kx).ravel()
    band = np.searchsorted(BANDS, k, side="right") - 1
    band = np.where(band < len(BANDS) - 1, band, -1)
    window = np.outer(np.hanning(shape[0]), np.hanning(shape[1])).astype(np.float32)
    places = window, np.arctan2(ky, kx).ravel(), band, np.flatnonzero(k > 0.3)
    for array in places:
        array.setflags(write=False)
    return places
