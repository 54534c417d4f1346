"""Features of a frame that tell its focus: a small picture, and the power of the lattice over noise."""

import functools
import math

import numpy as np

SECTORS = 12
"""Azimuths over half a turn in the form "state"."""
BANDS = (0.035, 0.1, 0.25)
"""Limits of the bands of spatial frequency in the form "state", cycles per pixel; beyond 0.3 is noise alone."""
DECADES = 4.0
"""Signal-to-noise ratios of the power up to 10 to this are told apart in the form "state"."""


def square_roots(image: np.ndarray) -> np.ndarray:
    """Return a frame with four points in one pixel, as square roots of readings above their least in units of the mean, uint8."""
    four = image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).sum(axis=(1, 3), dtype=np.float32)
    four -= four.min()
    return np.minimum(100 * np.sqrt(four / max(float(four.mean()), 1e-6)), 255).astype(np.uint8)


def features(image: np.ndarray, rotation_rad: float = 0.0) -> np.ndarray:
    """Return the logarithms of the power over that of noise in bands of frequency and azimuths, in [0, 1], shape (24,).

    Azimuths are those of specimen and lenses: the rotation of the scan, rad, is taken off.
    """
    window, place, quiet = _spectrum_places(image.shape, rotation_rad)
    counts = image.astype(np.float32)
    power = np.abs(np.fft.rfft2((counts - counts.mean()) * window)) ** 2
    floor = max(float(np.median(power.ravel()[quiet])) / math.log(2), 1e-12)
    inside = place >= 0
    size = SECTORS * (len(BANDS) - 1)
    sums = np.bincount(place[inside], power.ravel()[inside], size) / np.bincount(place[inside], minlength=size)
    return np.clip(np.log10(1 + np.maximum(sums / floor - 1, 0)) / DECADES, 0, 1)


@functools.lru_cache(maxsize=512)
def _spectrum_places(shape: tuple[int, ...], rotation_rad: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a window, the bin of each Fourier coefficient (-1: none), and which coefficients hold noise alone."""
    ky, kx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing="ij")
    k = np.hypot(ky, kx).ravel()
    sector = np.floor(((np.arctan2(ky, kx).ravel() + rotation_rad) % np.pi) / np.pi * SECTORS + 0.5).astype(int) % SECTORS
    band = np.searchsorted(BANDS, k, side="right") - 1
    place = np.where((band >= 0) & (band < len(BANDS) - 1), band * SECTORS + sector, -1)
    window = np.outer(np.hanning(shape[0]), np.hanning(shape[1])).astype(np.float32)
    return window, place, np.flatnonzero(k > 0.3)
