"""Protocols of detectors, and the registries of their classes and of the usual detectors by name.

A new shape of image detector needs one file beside this one and an import line in the package's ``__init__``. The
file contains a frozen dataclass with the members of `Detector`. It registers this class in `DETECTOR_KINDS`, and usual
detectors of this shape in `DETECTORS`. In both registries, the first tag of a detector names the signal that it gives:

============ ====================================================================
First tag    Signal
============ ====================================================================
``image``    one number per channel at each point, recorded by image detectors
``camera``   a diffraction pattern at each point
``spectrum`` a spectrum at each point, recorded by a microscope
============ ====================================================================

Further tags describe the shape: ``annular``, ``segmented``.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Protocol, Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.registry import Registry

TAKEN_NAMES = ("x", "y", "point", "frame", "segment", "depth", "ky", "kx")
"""Names of dimensions in results, which detectors cannot have."""
USUAL_OUTER_MRAD = 200.0
"""Usual outer angle of a HAADF detector, mrad. If the grid does not reach this angle, the outer angle is smaller."""
LARGEST_ANGLE_MRAD = 1500.0
"""Largest angle of a detector, mrad."""
RECORDER_PACKAGE = "stemtwin.twin.instrument.scope.recorders"
"""Package whose import registers the detectors of the signals that only a microscope records."""


class NamedDetector(Protocol):
    """A detector of any signal: a frozen value with the name of its variable in a result."""

    @property
    def name(self) -> str:
        """Name of the variable in a result."""
        ...


class Detector(NamedDetector, Protocol):
    """A detector that records one number per channel at each point of a scan."""

    @property
    def inner_mrad(self) -> float:
        """Angle below which the detector does not detect electrons, mrad."""
        ...

    @property
    def outer_mrad(self) -> float:
        """Angle at and above which the detector does not detect electrons, mrad."""
        ...

    @property
    def channels(self) -> int:
        """Number of signals. A result with several signals per point has a dimension ``segment``."""
        ...

    def weights(self, ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, *, antialias: bool) -> np.ndarray:
        """Return the detection efficiency of reciprocal pixels.

        Parameters
        ----------
        ky, kx : ndarray
            Centres of the pixels relative to the optic axis, broadcastable, 1/A.
        pixel : tuple of float
            Sides of a pixel (dky, dkx), 1/A.
        wavelength : float
            Wavelength, A.
        antialias : bool
            True: the efficiency of a pixel includes the fraction of the pixel that the detector covers. False: a pixel
            counts in full if its centre is on the detector, and otherwise not at all.

        Returns
        -------
        ndarray
            Efficiencies in [0, 1], float32, shape (channels, ...).
        """
        ...

    def scaled(self, factor: float) -> Self:
        """Return the detector under the same name with its angles multiplied by a factor, as at another camera length."""
        ...


DETECTOR_KINDS: Registry[type[NamedDetector]] = Registry("kind of detector")
"""Classes of detectors by their names in files; the first tag is the signal."""

Factory = Callable[[float, float], NamedDetector]
DETECTORS: Registry[Factory] = Registry("detector")
"""Usual detectors by name, as functions of the convergence semi-angle and of the grid's largest angle, mrad.

The first tag is the signal.
"""


def load_detectors() -> Registry[Factory]:
    """Return the registry `DETECTORS` with all detectors, including those of spectra.

    The recorders of the microscope register the detectors of spectra. This function imports them, which is slow.
    """
    importlib.import_module(RECORDER_PACKAGE)
    return DETECTORS


def kind_of(detector: object) -> str:
    """Return the name of a detector's class in `DETECTOR_KINDS`.

    Raises
    ------
    SettingsError
        The object is not a detector.
    """
    found = next((name for name in DETECTOR_KINDS if DETECTOR_KINDS[name] is type(detector)), None)
    if found is None:
        classes = ", ".join(DETECTOR_KINDS[name].__name__ for name in DETECTOR_KINDS)
        message = f"{detector!r} is not a detector. Use a name ({', '.join(DETECTORS)}) or one of {classes}."
        raise SettingsError(message)
    return found


def tags_of(detector: str | NamedDetector) -> tuple[str, ...]:
    """Return the tags of a detector, the signal first.

    Raises
    ------
    UnknownNameError
        No detector has this name.
    SettingsError
        The object is not a detector.
    """
    if not isinstance(detector, str):
        return DETECTOR_KINDS.tags(kind_of(detector))
    return (DETECTORS if detector in DETECTORS else load_detectors()).tags(detector)


def made(detectors: Sequence[str | NamedDetector], semiangle_mrad: float, largest_mrad: float) -> tuple[NamedDetector, ...]:
    """Return detectors, with each name replaced by the detector of that name.

    The angles of a detector given by name follow from the convergence semi-angle and from the largest angle of the grid, both in mrad.
    """
    return tuple(DETECTORS[d](semiangle_mrad, largest_mrad) if isinstance(d, str) else d for d in detectors)


def checked_angles(inner: object, outer: object) -> tuple[float, float]:
    """Return the checked angles of a detector, mrad; raise SettingsError for angles out of order or range."""
    low = checks.number("inner_mrad", inner, "mrad", low=0, high=LARGEST_ANGLE_MRAD)
    high = checks.number("outer_mrad", outer, "mrad", low=0, high=LARGEST_ANGLE_MRAD)
    if high <= low:
        message = f"outer_mrad={high:g} is not above inner_mrad={low:g}. Give the smaller angle as inner_mrad."
        raise SettingsError(message)
    return low, high
