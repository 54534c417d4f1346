"""Checks of a selection of detectors, and the angles of detectors that are given by name."""

from collections.abc import Sequence
from typing import Any

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors.kinds import (
    DETECTOR_KINDS,
    USUAL_OUTER_MRAD,
    Detector,
    NamedDetector,
    made,
    tags_of,
)
from stemtwin.twin.instrument.detectors.pixelated import PixelatedDetector

AnyDetector = Detector | PixelatedDetector
"""A detector of images or of patterns, as in a request."""


def cameras(detectors: Sequence[str | NamedDetector]) -> tuple[str | PixelatedDetector, ...]:
    """Return the cameras from a sequence of detectors."""
    return tuple(d for d in detectors if tags_of(d)[0] == "camera")  # type: ignore[misc] - the tag decides


def scanned(detectors: Sequence[str | NamedDetector]) -> tuple[str | Detector, ...]:
    """Return the image detectors from a sequence of detectors: those that record one number per channel at each point."""
    return tuple(d for d in detectors if tags_of(d)[0] == "image")  # type: ignore[misc] - the tag decides


def listed(detectors: object) -> tuple[str | NamedDetector, ...]:
    """Return one or several detectors of any signal as a tuple of registry names and detectors.

    Raises
    ------
    UnknownNameError
        A name is not that of a registered detector.
    SettingsError
        The selection is empty or contains an object that is not a detector.
    """
    alone = isinstance(detectors, str) or type(detectors) in {DETECTOR_KINDS[kind] for kind in DETECTOR_KINDS}
    given: Any = (detectors,) if alone else detectors
    if not isinstance(given, Sequence) or not given:
        message = f"detectors={detectors!r} does not name a detector. Name at least one, for example 'haadf'."
        raise SettingsError(message)
    for detector in given:
        tags_of(detector)  # raises for other objects
    return tuple(given)


def by_signal(detectors: object) -> dict[str, tuple[str | NamedDetector, ...]]:
    """Return detectors grouped by the name of their signal; each group keeps the given order.

    Raises
    ------
    UnknownNameError
        A name is not that of a registered detector.
    SettingsError
        The selection is empty or contains an object that is not a detector, or detectors of two different
        signals have the same name.
    """
    out: dict[str, tuple[str | NamedDetector, ...]] = {}
    for detector in listed(detectors):
        signal = tags_of(detector)[0]
        others = [name for other, group in out.items() if other != signal for name in names_of(group)]
        _check_names([*others, *names_of((detector,))])
        out[signal] = (*out.get(signal, ()), detector)
    return out


def names_of(detectors: Sequence[str | NamedDetector]) -> list[str]:
    """Return the name that each detector has in a result."""
    return [d if isinstance(d, str) else d.name for d in detectors]


def checked(detectors: object) -> tuple[str | AnyDetector, ...]:
    """Return one or several detectors of images and patterns as a tuple of registry names and detectors.

    Raises
    ------
    UnknownNameError
        A name is not that of a registered detector.
    SettingsError
        The selection is empty or contains an object that is not a detector of images or patterns, two detectors have the
        same name, there are two cameras, or segmented detectors have different numbers of segments.
    """
    given = listed(detectors)
    for detector in given:
        if tags_of(detector)[0] not in ("image", "camera"):
            raise _not_an_image(detector)
    _check_names(names_of(given))
    if len(cameras(given)) > 1:
        message = f"Two cameras are among {', '.join(names_of(given))}, but the microscope has only one. Leave one out."
        raise SettingsError(message)
    _check_segments(given)
    return given  # type: ignore[return-value] - the tags decide


def _not_an_image(detector: str | NamedDetector) -> SettingsError:
    """Return the error for a request of a signal that only a microscope records."""
    (found,) = made((detector,), USUAL_OUTER_MRAD / 10, USUAL_OUTER_MRAD)
    function = getattr(found, "expected_by", "")
    recorded = "record it with st.Microscope."
    instead = f"compute its expected signal with {function}, or {recorded}" if function else recorded
    return SettingsError(f"{found.name!r} is not an image: {instead}")


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        message = f"Two detectors have the same name: {', '.join(names)}. Leave one out, or rename one."
        raise SettingsError(message)


def _check_segments(detectors: tuple[str | NamedDetector, ...]) -> None:
    """Raise SettingsError for detectors that cannot share the dimension ``segment`` in one result."""
    usual = _scanned_and_cameras(detectors, USUAL_OUTER_MRAD / 10, USUAL_OUTER_MRAD)[0]  # angles do not matter here
    divided = {d.name: d.channels for d in usual if d.channels > 1}
    if len(set(divided.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in divided.items())
        message = (
            f"Segmented detectors of one result need the same number of segments, but {counts}. "
            "Give them the same number, or request one detector at a time."
        )
        raise SettingsError(message)


def _scanned_and_cameras(
    detectors: Sequence[str | NamedDetector], semiangle_mrad: float, largest_mrad: float
) -> tuple[tuple[Detector, ...], tuple[PixelatedDetector, ...]]:
    """Return image detectors and cameras, with names resolved for a convergence and a largest angle, mrad."""
    found = made(detectors, semiangle_mrad, largest_mrad)
    return scanned(found), cameras(found)  # type: ignore[return-value, arg-type] - all names are resolved


def wanted_angle(detectors: tuple[str | AnyDetector, ...], semiangle_mrad: float) -> float:
    """Return the angle (mrad) that a grid must reach for the given detectors: the largest outer angle or camera-corner angle."""
    images, patterns = _scanned_and_cameras(detectors, semiangle_mrad, USUAL_OUTER_MRAD)
    return max([d.outer_mrad for d in images] + [camera.corner_mrad for camera in patterns])


def resolve(detectors: tuple[str | AnyDetector, ...], semiangle_mrad: float, largest_mrad: float, why: str, repair: str) -> tuple[Detector, ...]:
    """Return image detectors, with each registry name replaced by the detector of that name.

    An image detector records one number per channel at each point of a scan. A camera records a pattern instead.

    Parameters
    ----------
    detectors : tuple
        Registry names and detectors.
    semiangle_mrad : float
        Convergence semi-angle, mrad.
    largest_mrad : float
        Largest angle that the grid contains, mrad.
    why, repair : str
        Reason for this limit and advice on how to raise it, for the error message.

    Raises
    ------
    SamplingError
        A detector extends beyond the largest angle of the grid.
    SettingsError
        A camera is among the detectors.
    """
    out, patterns = _scanned_and_cameras(detectors, semiangle_mrad, largest_mrad)
    if patterns:
        message = "A camera records a pattern at each point, but here each detector must give one number per channel and point. Use st.simulate."
        raise SettingsError(message)
    for detector in out:
        if detector.outer_mrad > largest_mrad:
            message = (
                f"outer_mrad={detector.outer_mrad:g} of {detector.name} exceeds the largest angle this grid holds "
                f"({largest_mrad:.1f} mrad {why}). {repair} or lower outer_mrad."
            )
            raise SamplingError(message)
    return out
