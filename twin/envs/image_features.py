"""Features that are computed from an image alone: grey levels, electrons per pixel, and powers in sectors of the power spectrum."""

import functools
import math

import numpy as np
import xarray as xr

LOW, HIGH = 1.0, 99.7
"""Percentiles of an image that are mapped to black and white."""
RINGS = (0.05, 0.15, 0.3, 0.5, 0.8)
"""Edges of the rings of spatial frequency, as fractions of the Nyquist frequency."""
SECTORS = 6
"""Number of sectors of each ring over half a turn; the other half of the spectrum is equivalent."""
LARGEST = 9.0
"""Decadic logarithm at which powers and electrons are clipped."""


def electrons(image: xr.DataArray) -> np.ndarray:
    """Convert an image to electrons, float64: subtract the offset from the readings in ADU, and divide by the gain."""
    return (image.to_numpy().astype(float) - image.attrs.get("offset_adu", 0.0)) / image.attrs.get("gain_adu", 1.0)


def spread(image: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Scale an image to [0, 1], from its 1st to its 99.7th percentile.

    The span of values that becomes [0, 1] is at least ``least``. A constant image becomes 0.
    """
    low, high = np.percentile(image, (LOW, HIGH))
    span = max(float(high - low), least)
    return np.clip((image - low) / span, 0, 1) if span > 0 else np.zeros(image.shape)


def stretched(image: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Return an image as grey levels, uint8, scaled as by :func:`spread`."""
    return (255 * spread(image, least)).astype(np.uint8)


def power_over_noise(image: np.ndarray) -> np.ndarray:
    """Return the power spectrum of an image relative to its noise, with zero frequency in the middle, shape (ny, nx).

    The mean of the image is subtracted first. The noise level is estimated from the median of the spectrum, because most
    frequencies contain only noise. Division by the noise level makes the result independent of the unit, electrons or ADU.
    """
    power = np.fft.fftshift(np.abs(np.fft.fft2((image - image.mean()) * _window(image.shape))) ** 2)
    return power * (math.log(2) / max(float(np.median(power)), 1e-12))


def power_spectrum(image: np.ndarray) -> np.ndarray:
    """Return the power spectrum of an image in units of Poisson noise, with zero frequency first.

    The mean of the image is subtracted first.

    Parameters
    ----------
    image : ndarray
        Electrons, shape (ny, nx).

    Returns
    -------
    ndarray
        Half of the spectrum, float64, shape (ny, nx // 2 + 1).
    """
    amplitudes = np.fft.rfft2((image - image.mean()) * _window(image.shape))
    return np.abs(amplitudes) ** 2 / (max(float(image.mean()), 1e-6) * (_window(image.shape) ** 2).sum())


def log_sector_powers(image: np.ndarray) -> np.ndarray:
    """Return log10(1 + mean power) / 9 for each sector of each ring of the spectrum, in [0, 1], shape (rings * sectors,)."""
    power = power_spectrum(image).ravel()
    label = _sectors(image.shape)
    count = (len(RINGS) - 1) * SECTORS
    sums = np.bincount(label, power, count + 1)[:count]
    means = sums / np.maximum(np.bincount(label, minlength=count + 1)[:count], 1)
    return np.clip(np.log10(1 + means) / LARGEST, 0, 1)


def image_features(image: np.ndarray) -> np.ndarray:
    """Return scaled logarithms of the mean, the standard deviation and the sector powers of an image in electrons.

    The first two features are log10(0.001 + x) / 9 for the mean and the standard deviation x, clipped to [-1, 1]. The others are those of
    :func:`log_sector_powers`. The shape is (2 + rings * sectors,).
    """
    mean, deviation = max(float(image.mean()), 0.0), float(image.std())
    first = np.clip(np.log10([1e-3 + mean, 1e-3 + deviation]) / LARGEST, -1, 1)
    return np.concatenate([first, log_sector_powers(image)])


FEATURES = 2 + (len(RINGS) - 1) * SECTORS
"""Number of features of an image."""


@functools.lru_cache(maxsize=16)
def _window(shape: tuple[int, int]) -> np.ndarray:
    """Return a Hann window, which suppresses the edges of the field in the spectrum."""
    window = np.hanning(shape[0] + 2)[1:-1, None] * np.hanning(shape[1] + 2)[None, 1:-1]
    window.flags.writeable = False
    return window


@functools.lru_cache(maxsize=16)
def _sectors(shape: tuple[int, int]) -> np.ndarray:
    """Return the sector index of each point of half a spectrum, flat; points outside have the number of sectors."""
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    radius = np.hypot(ky, kx) * 2
    azimuth = np.mod(np.arctan2(ky, kx) + np.zeros_like(radius), np.pi)
    ring = np.digitize(radius, RINGS) - 1
    sector = np.minimum((azimuth / np.pi * SECTORS).astype(int), SECTORS - 1)
    label = np.where((ring >= 0) & (ring < len(RINGS) - 1), ring * SECTORS + sector, (len(RINGS) - 1) * SECTORS)
    label = label.ravel()
    label.flags.writeable = False
    return label
