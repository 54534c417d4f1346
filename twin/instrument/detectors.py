"""Detectors: what a person asks for, and the angles that come of it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.pixelated import TAKEN_NAMES, PixelatedDetector
from stemtwin.twin.physics import detector_electronics, detector_weights
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
class Sensitivity:
    """How unevenly a detector detects: the chance by place, relative to its best place.

    (1 + slope rho cos(phi - slope_azimuth) + bowl (2 rho^2 - 1) + twofold rho^2 cos(2 (phi - twofold_azimuth))) over its largest possible value, with
    rho = theta / outer angle; nothing below ``dead_mrad``.

    Parameters
    ----------
    slope, slope_azimuth_rad : float
        From one side to the other, and which side is best.
    bowl : float
        From the centre (negative: best) to the rim.
    twofold, twofold_azimuth_rad : float
        Of two opposite sides, and where they are.
    dead_mrad : float
        Angle up to which the detector is blind, mrad.

    Raises
    ------
    SettingsError
        A number is out of range, or the three amplitudes reach 1 together.

    Notes
    -----
    Detectors vary by 5 to 30 % and have a blind centre: LeBeau and Stemmer, Ultramicroscopy 108 (2008) 1653.
    """

    slope: float = 0.0
    slope_azimuth_rad: float = 0.0
    bowl: float = 0.0
    twofold: float = 0.0
    twofold_azimuth_rad: float = 0.0
    dead_mrad: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("slope", "bowl", "twofold"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), "", low=-1, high=1))
        for name in ("slope_azimuth_rad", "twofold_azimuth_rad"):
            object.__setattr__(self, name, checks.number(name, getattr(self, name), "rad"))
        object.__setattr__(self, "dead_mrad", checks.number("dead_mrad", self.dead_mrad, "mrad", low=0, high=1500))
        if (total := abs(self.slope) + abs(self.bowl) + abs(self.twofold)) >= 1:
            message = f"slope, bowl and twofold add up to {total:g}: a part of the detector would answer less than nothing. Keep their sum below 1."
            raise SettingsError(message)

    def weights(self, ky: np.ndarray, kx: np.ndarray, radius: float) -> np.ndarray:
        """Return the chance of detection at places (1/A) on a detector with an outer radius (1/A), without the dead centre, in [0, 1], float32."""
        slope, twofold = (self.slope, self.slope_azimuth_rad), (self.twofold, self.twofold_azimuth_rad)
        return detector_electronics.response(ky, kx, radius, slope, self.bowl, twofold).clip(0, 1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnularDetector:
    """A ring, or a disc if ``inner_mrad`` is 0.

    Parameters
    ----------
    inner_mrad, outer_mrad : float
        Angles, mrad; inner <= theta < outer.
    name : str, optional
        The variable's name in the result; by default ``annular_60_200``.
    sensitivity : Sensitivity, optional
        How unevenly it detects; by default evenly.

    Raises
    ------
    SettingsError
        The angles are out of order or out of range, or the dead centre covers the detector.
    """

    inner_mrad: float
    outer_mrad: float
    name: str = ""
    sensitivity: Sensitivity | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        inner, outer = _check_angles(self.inner_mrad, self.outer_mrad)
        object.__setattr__(self, "inner_mrad", inner)
        object.__setattr__(self, "outer_mrad", outer)
        object.__setattr__(self, "name", checks.variable_name(self.name, f"annular_{inner:g}_{outer:g}", TAKEN_NAMES))
        if self.sensitivity is None:
            return
        if not isinstance(self.sensitivity, Sensitivity):
            message = f"sensitivity={self.sensitivity!r} is no Sensitivity. Use Sensitivity(slope=0.1), or leave it out."
            raise SettingsError(message)
        if self.sensitivity.dead_mrad >= outer:
            message = f"dead_mrad={self.sensitivity.dead_mrad:g} covers the whole detector, which ends at outer_mrad={outer:g}. Make it smaller."
            raise SettingsError(message)

    @property
    def channels(self) -> int:
        """Number of signals."""
        return 1

    def weights(self, ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, *, antialias: bool) -> np.ndarray:
        """Return the weights on reciprocal pixels (1/A), float32, shape (1, ...)."""
        uneven = self.sensitivity
        first = self.inner_mrad if uneven is None else max(self.inner_mrad, uneven.dead_mrad)
        inner, outer = first * 1e-3 / wavelength, self.outer_mrad * 1e-3 / wavelength
        ring = detector_weights.annulus(ky, kx, pixel, inner, outer, antialias=antialias)[None]
        return ring if uneven is None else ring * uneven.weights(ky, kx, outer)


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
        object.__setattr__(self, "name", checks.variable_name(self.name, f"segmented_{inner:g}_{outer:g}", TAKEN_NAMES))

    @property
    def channels(self) -> int:
        """Number of signals: one per segment."""
        return self.segments

    def weights(self, ky: np.ndarray, kx: np.ndarray, pixel: tuple[float, float], wavelength: float, *, antialias: bool) -> np.ndarray:
        """Return the weights on reciprocal pixels (1/A), float32, shape (segments, ...)."""
        inner, outer = self.inner_mrad * 1e-3 / wavelength, self.outer_mrad * 1e-3 / wavelength
        return detector_weights.segments(ky, kx, pixel, inner, outer, self.segments, self.rotation_rad, antialias=antialias)


Detector = AnnularDetector | SegmentedDetector
"""What gives numbers at each point."""
AnyDetector = Detector | PixelatedDetector

SPECTRA = {name: f"stemtwin.twin.instrument.spectra.expected_{name}" for name in ("eels", "edx")}
"""Names of spectra, which a microscope takes beside the detectors here, and what gives them without noise."""

DETECTORS: Registry[Callable[[float, float], AnyDetector]] = Registry("detector")
"""Detectors by name: functions of the convergence semi-angle and of the largest angle that the grid holds, both in mrad."""


@DETECTORS.register("haadf", "annular")
def _haadf(alpha: float, largest: float) -> AnnularDetector:
    inner, outer = 3 * alpha, min(USUAL_OUTER_MRAD, largest)
    if outer <= inner:
        message = (
            f"haadf starts at 3 x {alpha:g} mrad and ends at {outer:.4g} mrad, the smaller of {USUAL_OUTER_MRAD:g} mrad and what the grid holds: "
            "nothing is left of it. Use a smaller sampling_angstrom or semiangle_mrad, or an AnnularDetector."
        )
        raise SamplingError(message)
    return AnnularDetector(inner_mrad=inner, outer_mrad=outer, name="haadf")


@DETECTORS.register("maadf", "annular")
def _maadf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return AnnularDetector(inner_mrad=2 * alpha, outer_mrad=3 * alpha, name="maadf")


@DETECTORS.register("laadf", "annular")
def _laadf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return AnnularDetector(inner_mrad=1.05 * alpha, outer_mrad=2 * alpha, name="laadf")


@DETECTORS.register("abf", "annular")
def _abf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return AnnularDetector(inner_mrad=0.5 * alpha, outer_mrad=0.95 * alpha, name="abf")


@DETECTORS.register("bf", "annular")
def _bf(alpha: float, largest: float) -> AnnularDetector:  # noqa: ARG001 - one signature for all detectors
    return AnnularDetector(inner_mrad=0.0, outer_mrad=0.5 * alpha, name="bf")


@DETECTORS.register("dpc4", "segmented")
def _dpc4(alpha: float, largest: float) -> SegmentedDetector:  # noqa: ARG001 - one signature for all detectors
    return SegmentedDetector(inner_mrad=0.0, outer_mrad=1.2 * alpha, name="dpc4")


@DETECTORS.register("pixelated", "camera")
def _pixelated(alpha: float, largest: float) -> PixelatedDetector:
    return PixelatedDetector(shape=(128, 128), outer_mrad=min(2 * alpha, largest / math.sqrt(2)), name="pixelated")


@DETECTORS.register("ronchigram", "camera")
def _ronchigram(alpha: float, largest: float) -> PixelatedDetector:
    return PixelatedDetector(shape=(512, 512), outer_mrad=min(1.25 * alpha, largest / math.sqrt(2)), name="ronchigram")


def cameras(detectors: tuple[str | AnyDetector, ...]) -> tuple[str | PixelatedDetector, ...]:
    """Return those detectors that are cameras."""
    return tuple(d for d in detectors if isinstance(d, PixelatedDetector) or (isinstance(d, str) and "camera" in DETECTORS.tags(d)))


def without_cameras(detectors: tuple[str | AnyDetector, ...]) -> tuple[str | Detector, ...]:
    """Return detectors that all give a number at each point; raise SettingsError where a camera is among them."""
    if cameras(detectors):
        message = "A camera gives a pattern at each point, and this takes detectors that give a number. Use st.simulate for the camera."
        raise SettingsError(message)
    return detectors  # type: ignore[return-value] - no cameras are left


def checked(detectors: object) -> tuple[str | AnyDetector, ...]:
    """Return what was asked for as a tuple of registry names and detectors.

    Raises
    ------
    UnknownNameError
        No detector has that name.
    SettingsError
        Something else is among them, two have one name, or there are none.
    """
    given = (detectors,) if isinstance(detectors, (str, AnnularDetector, SegmentedDetector, PixelatedDetector)) else detectors
    if not isinstance(given, Sequence) or not given:
        message = f"detectors={detectors!r} asks for no signal. Name at least one detector, for example ('haadf',)."
        raise SettingsError(message)
    for detector in given:
        if isinstance(detector, str) and detector in SPECTRA:
            message = f"{detector!r} is no image: {SPECTRA[detector]} gives what is expected of it, and st.Microscope counts it. Ask one of them."
            raise SettingsError(message)
        if isinstance(detector, str):
            DETECTORS[detector]
        elif not isinstance(detector, (AnnularDetector, SegmentedDetector, PixelatedDetector)):
            message = f"{detector!r} is no detector. Use a name ({', '.join(DETECTORS)}), an AnnularDetector, SegmentedDetector or PixelatedDetector."
            raise SettingsError(message)
    names = [d if isinstance(d, str) else d.name for d in given]
    if len(set(names)) < len(names):
        message = f"Two detectors have the same name: {', '.join(names)}. Leave one out, or give it another name=."
        raise SettingsError(message)
    if len(cameras(tuple(given))) > 1:
        message = f"Two cameras are asked for among {', '.join(names)}, and the column holds one. Leave one out."
        raise SettingsError(message)
    _check_segments(tuple(given))
    return tuple(given)


def _check_segments(detectors: tuple[str | AnyDetector, ...]) -> None:
    """Refuse segments that have no common dimension ``segment`` in one result."""
    usual = _made(detectors, USUAL_OUTER_MRAD / 10, USUAL_OUTER_MRAD)  # angles do not matter here
    divided = {d.name: d.segments for d in usual if isinstance(d, SegmentedDetector)}
    if len(set(divided.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in divided.items())
        message = f"Detectors of one result have as many segments as each other, and {listed}. Give them the same number, or ask for one at a time."
        raise SettingsError(message)


def scaled(detector: Detector, factor: float) -> Detector:
    """Return a detector with so many times its angles, under its name: what another camera length makes of it."""
    changed: dict[str, Any] = {"inner_mrad": detector.inner_mrad * factor, "outer_mrad": detector.outer_mrad * factor}
    if isinstance(detector, AnnularDetector) and detector.sensitivity is not None:
        changed["sensitivity"] = replace(detector.sensitivity, dead_mrad=detector.sensitivity.dead_mrad * factor)
    return replace(detector, **changed)


def wanted_angle(detectors: tuple[str | AnyDetector, ...], semiangle_mrad: float) -> float:
    """Return the largest angle, mrad, that a grid chosen for these detectors should hold: a camera's is that of its corners."""
    found = _made(detectors, semiangle_mrad, USUAL_OUTER_MRAD)
    return max(d.corner_mrad if isinstance(d, PixelatedDetector) else d.outer_mrad for d in found)


def resolve(detectors: tuple[str | AnyDetector, ...], semiangle_mrad: float, largest_mrad: float, why: str, repair: str) -> tuple[Detector, ...]:
    """Return detectors with their angles.

    Parameters
    ----------
    detectors : tuple
        Registry names and detectors.
    semiangle_mrad : float
        Convergence semi-angle, mrad.
    largest_mrad : float
        The largest angle that the grid holds, mrad.
    why, repair : str
        How that limit came about, and what to do about it, for the message.

    Raises
    ------
    SamplingError
        A detector reaches beyond the grid's band limit.
    SettingsError
        A camera is among them: it gives patterns, not signals.
    """
    out = with_angles(detectors, semiangle_mrad, largest_mrad)
    for detector in out:
        if detector.outer_mrad > largest_mrad:
            message = (
                f"outer_mrad={detector.outer_mrad:g} of {detector.name} exceeds the largest angle this grid holds ({largest_mrad:.1f} mrad {why}). "
                f"{repair} or lower outer_mrad."
            )
            raise SamplingError(message)
    return out


def with_angles(detectors: tuple[str | AnyDetector, ...], semiangle_mrad: float, largest_mrad: float) -> tuple[Detector, ...]:
    """Return detectors, of which none is a camera, with the angles that suit a convergence and the largest angle that the grid holds, mrad."""
    return _made(without_cameras(detectors), semiangle_mrad, largest_mrad)  # type: ignore[return-value] - no camera is left


def _made(detectors: Sequence[str | AnyDetector], semiangle_mrad: float, largest_mrad: float) -> tuple[AnyDetector, ...]:
    return tuple(DETECTORS[d](semiangle_mrad, largest_mrad) if isinstance(d, str) else d for d in detectors)
