"""Conversion of readings to fractions of the beam by a scan of the focused beam over the detector.

The mean readings beside and on the detector, I_vacuum and I_detector, define the scale: normalised = (I - I_vacuum) /
(I_detector - I_vacuum), after LeBeau and Stemmer, Ultramicroscopy 108 (2008) 1653.
"""

from dataclasses import replace

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain

FIELD = 1.2
"""Side of the scan over a detector, in diameters of the detector."""


def scan_detector(
    detector: Detector, chain: DetectorChain, electrons_per_point: float, rng: np.random.Generator, *, shape: tuple[int, int] = (128, 128)
) -> np.ndarray:
    """Return the detector's readings while the whole beam, focused on the detector plane, is scanned over the detector.

    Parameters
    ----------
    detector : Detector
        An image detector with its sensitivity; only the first of several channels is read.
    chain : DetectorChain
        Read-out chain of the detector; its lag is neglected because such scans are slow.
    electrons_per_point : float
        Mean number of electrons of the beam during one reading.
    rng : numpy.random.Generator
        The only source of randomness.
    shape : tuple of int
        Number of positions (ny, nx) in a square whose side is 1.2 times the outer diameter of the detector.

    Returns
    -------
    ndarray
        Readings in ADU, shape (ny, nx).
    """
    ny, nx = checks.whole_pair("shape", shape, low=16, high=4096)
    beam = checks.number("electrons_per_point", electrons_per_point, "electrons", above=0)
    side = FIELD * 2e-3 * detector.outer_mrad
    y, x = ((np.arange(n) + 0.5) / n * side - side / 2 for n in (ny, nx))
    expected = beam * detector.weights(y[:, None], x[None], (side / ny, side / nx), 1.0, antialias=False)[0]
    quick = replace(chain, lag_us=0.0)
    return quick.convert(quick.detect(expected, rng), rng)


def levels(readings: np.ndarray) -> tuple[float, float]:
    """Return the mean readings beside and on the detector, ADU, from a scan over the detector.

    Points at the edges of the detector are excluded.

    Raises
    ------
    SettingsError
        The scan does not show the detector, because all readings are equal.
    """
    image = np.asarray(readings, float)
    limit = (image.min() + image.max()) / 2
    for _ in range(50):
        on = image > limit
        if on.all() or not on.any():
            break
        limit, before = (image[on].mean() + image[~on].mean()) / 2, limit
        if limit == before:
            break
    inside, outside = _inner(image > limit), _inner(image <= limit)
    if not inside.any() or not outside.any():
        message = "The scan does not show the detector: all readings are equal. Use more electrons, or a field around the whole detector."
        raise SettingsError(message)
    return float(image[outside].mean()), float(image[inside].mean())


def normalised(readings: np.ndarray, vacuum_adu: float, detector_adu: float, *, electrons_ratio: float = 1.0) -> np.ndarray:
    """Return readings as fractions of the beam, float64.

    Parameters
    ----------
    readings : ndarray
        Readings in ADU, any shape.
    vacuum_adu, detector_adu : float
        Mean readings beside and on the detector, from :func:`levels`.
    electrons_ratio : float
        Number of beam electrons per reading, divided by the number of beam electrons per reading in the detector scan.

    Raises
    ------
    SettingsError
        The detector's level is not above the vacuum level.
    """
    ratio = checks.number("electrons_ratio", electrons_ratio, "", above=0)
    if not detector_adu > vacuum_adu:
        message = f"detector_adu={detector_adu:g} is not above vacuum_adu={vacuum_adu:g}. Take both from a scan over the detector."
        raise SettingsError(message)
    return (np.asarray(readings, float) - vacuum_adu) / ((detector_adu - vacuum_adu) * ratio)


def _inner(mask: np.ndarray) -> np.ndarray:
    """Return a mask without the points that have a neighbour outside it."""
    out = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            out &= np.roll(mask, step, axis)
    return out
