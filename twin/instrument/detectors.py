"""Detectors: what a person asks for, and the angles that come of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument import checks
from stemtwin.twin.physics import collection
from stemtwin.twin.registry import Registry

USUAL_OUTER_MRAD = 200.0
"""Outer angle of a HAADF detector where the grid holds it."""


def _check_angles(inner: object, outer: object) -> tuple[float, float]:
    low = checks.number("inner_mrad", inner, "mrad", low=0, high=1500)
    high = checks.number("outer_mrad", outer, "mrad", low=0, high=1500)
    if high <= low:
        message = f"outer_mrad={high:g} is not above inner_mrad={low:g}. Give the smaller angle as inner_mrad."
        raise SettingsError(message)
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnularDetector:
    """A ring, or a disc if ``inner_mrad`` is 0.

    Parameters
    ----------
    inner_mrad, outer_mrad : float
        Angles, mrad; inner <= theta < outer.
    name : str, optional
        The variable's name in the result; by default ``annular_60_200``.

    Raises
    ------
    SettingsError
        The angles are out of order or out of range.
    """

    inner_mrad: float
    outer_mrad: float
    name: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        inner, outer = _check_angles(self.inner_mrad, self.outer_mrad)
        object.__setattr__(self, "inner_mrad", inner)
        object.__setattr__(self, "outer_mrad", outer)
        object.__setattr__(self, "name", self.name or f"annular_{inner:g}_{outer:g}".replace(".", "p"))


    def weights(self, ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, *, antialias: bool) -> np.ndarray:
        """Return the weights on reciprocal pixels (1/A), float32, shape (1, ...)."""
        inner, outer = self.inner_mrad * 1e-3 / wavelength, self.outer_mrad * 1e-3 / wavelength
        return collection.annulus(ky, kx, pixel, inner, outer, antialias=antialias)[None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedDetector:
    """A ring divided into equal segments; the result has a dimension ``segment``.

    Parameters
    ----------
    inner_mrad, outer_mrad : float
        Angles, mrad.
    segments : int
        Number of segments, counted from +x to +y.
    rotation_rad : float
        Azimuth of the first segment's centre, rad.
    name : str, optional
        The variable's name; by default ``segmented_0_20``.

    Raises
    ------
    SettingsError
        The angles or the number of segments are out of range.
    """

    inner_mrad: float
    outer_mrad: float
    segments: int = 4
    rotation_rad: float = math.pi / 4
    name: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        inner, outer = _check_angles(self.inner_mrad, self.outer_mrad)
        object.__setattr__(self, "inner_mrad", inner)
        object.__setattr__(self, "outer_mrad", outer)
        object.__setattr__(self, "segments", checks.whole("segments", self.segments, low=2, high=64))
        object.__setattr__(self, "rotation_rad", checks.number("rotation_rad", self.rotation_rad, "rad"))
        object.__setattr__(self, "name", self.name or f"segmented_{inner:g}_{outer:g}".replace(".", "p"))

    def weights(self, ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, *, antialias: bool) -> np.ndarray:
        """Return the weights on reciprocal pixels (1/A), float32, shape (segments, ...)."""
        inner, outer = self.inner_mrad * 1e-3 / wavelength, self.outer_mrad * 1e-3 / wavelength
        return collection.segments(ky, kx, pixel, inner, outer, self.segments, self.rotation_rad, antialias=antialias)


Detector = AnnularDetector | SegmentedDetector

DETECTORS: Registry[Callable[[float, float], Detector]] = Registry("detector")
"""Detectors by name: functions of the convergence semi-angle and of the largest angle that the grid holds, both in mrad."""


@DETECTORS.register("haadf", "annular")
def _haadf(alpha: float, largest: float) -> AnnularDetector:
    return _ring("haadf", 3 * alpha, min(USUAL_OUTER_MRAD, largest))


@DETECTORS.register("maadf", "annular")
def _maadf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return _ring("maadf", 2 * alpha, 3 * alpha)


@DETECTORS.register("laadf", "annular")
def _laadf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return _ring("laadf", 1.05 * alpha, 2 * alpha)


@DETECTORS.register("abf", "annular")
def _abf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return _ring("abf", 0.5 * alpha, 0.95 * alpha)


@DETECTORS.register("bf", "annular")
def _bf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return _ring("bf", 0.0, 0.5 * alpha)


@DETECTORS.register("dpc4", "segmented")
def _dpc4(alpha: float, largest: float) -> SegmentedDetector:  # noqa: ARG001 - one signature for all detectors
    return SegmentedDetector(inner_mrad=0.0, outer_mrad=1.2 * alpha, name="dpc4")


def _ring(name: str, inner: float, outer: float) -> AnnularDetector:
    if outer <= inner:
        message = (
            f"The {name} detector starts at {inner:.4g} mrad, but the grid holds angles up to {outer:.4g} mrad only. "
            "Use a smaller sampling_angstrom, or an AnnularDetector with angles that fit."
        )
        raise SamplingError(message)
    return AnnularDetector(inner_mrad=inner, outer_mrad=outer, name=name)


def wanted_angle(detectors: tuple[str | Detector, ...], semiangle_mrad: float) -> float:
    """Return the largest angle, mrad, that a grid chosen for these detectors should hold."""
    resolved = [DETECTORS[d](semiangle_mrad, USUAL_OUTER_MRAD) if isinstance(d, str) else d for d in detectors]
    return max([d.outer_mrad for d in resolved], default=0.0)


def resolve(detectors: tuple[str | Detector, ...], semiangle_mrad: float, largest_mrad: float, hint: str) -> tuple[Detector, ...]:
    """Return detectors with their angles.

    Parameters
    ----------
    detectors : tuple
        Registry names and detectors.
    semiangle_mrad : float
        Convergence semi-angle, mrad.
    largest_mrad : float
        The largest angle that the grid holds, mrad.
    hint : str
        How that limit came about, for the message.

    Raises
    ------
    UnknownNameError
        No detector has that name.
    SamplingError
        A detector reaches beyond the grid's band limit.
    SettingsError
        Two detectors have one name, or there are none.
    """
    if not detectors:
        message = "detectors=() asks for no signal. Name at least one detector, for example 'haadf'."
        raise SettingsError(message)
    out = tuple(DETECTORS[d](semiangle_mrad, largest_mrad) if isinstance(d, str) else d for d in detectors)
    for detector in out:
        if not isinstance(detector, (AnnularDetector, SegmentedDetector)):
            message = f"{detector!r} is no detector. Use a name ({', '.join(DETECTORS)}), an AnnularDetector or a SegmentedDetector."
            raise SettingsError(message)
        if detector.outer_mrad > largest_mrad:
            message = f"outer_mrad={detector.outer_mrad:g} of {detector.name} exceeds the largest angle this grid holds ({largest_mrad:.1f} mrad {hint}"
            raise SamplingError(message)
    names = [d.name for d in out]
    if len(set(names)) < len(names):
        message = f"Two detectors have the same name: {', '.join(names)}. Give one of them another name=."
        raise SettingsError(message)
    return out
