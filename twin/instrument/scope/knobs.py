"""Knobs of the microscope: commanded settings, their limits, and settings that follow from others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError, UnknownNameError, suggestion
from stemtwin.twin.instrument.detectors import DETECTORS, tags_of
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.hardware.stage import AXES
from stemtwin.twin.instrument.settings import LEAST_SEMIANGLE_MRAD
from stemtwin.twin.physics.aberrations import Aberrations

ABERRATION_NAMES = tuple(item.name for item in fields(Aberrations))
LIMITS = {
    "energy_ev": {"unit": "eV", "low": 1e3, "high": 3e6, "repair": "Did you pass keV?"},
    "semiangle_mrad": {"unit": "mrad", "low": LEAST_SEMIANGLE_MRAD, "high": 150, "repair": "Did you pass rad?"},
    "current_pa": {"unit": "pA", "low": 1e-3},
    "source_size_angstrom": {"unit": "A", "low": 0, "high": 1e4},
    "focal_spread_angstrom": {"unit": "A", "low": 0, "high": 1e4},
    "camera_length_mm": {"unit": "mm", "above": 0},
}
"""Numeric knobs and their limits; the profile gives the largest current and the camera lengths."""
LARGEST_ANGSTROM = {1: 1e6, 2: 1e7, 3: 1e8, 4: 1e10, 5: 1e12}
"""Largest aberration of each order within the range of the lenses, A: 0.1 mm, 1 mm, 1 cm, 1 m, 100 m."""
PAIRS = {
    "beam_tilt_mrad": ("mrad", 100.0, "This is the range of the deflectors."),
    "beam_shift_angstrom": ("A", 2e4, "This is the range of the deflectors; move the stage for larger shifts."),
}
"""Knobs with a pair of values (x, y): unit, largest absolute value, repair."""
DETECTOR_KNOBS = {"gain": ("times the usual", 1e-3, 1e3), "offset_adu": ("ADU", -65535.0, 65535.0)}
"""Knobs of each detector with a chain: unit, smallest and largest value."""
SWITCHES = ("blanked",)
"""Knobs with the values on and off."""
ELSEWHERE = {
    "defocus": "Set C10, which is minus the defocus.",
    "C1": "Use C10, its name in Krivanek's notation.",
    "A1": "Use C12 and phi12, its names in Krivanek's notation.",
    "B2": "Use C21 = 3 B2 and phi21, its names in Krivanek's notation.",
    "A2": "Use C23 and phi23, its names in Krivanek's notation.",
    "C3": "Use C30, its name in Krivanek's notation.",
    "S3": "Use C32 = 4 S3 and phi32, its names in Krivanek's notation.",
    "A3": "Use C34 and phi34, its names in Krivanek's notation.",
    "C5": "Use C50, its name in Krivanek's notation.",
    **{axis: f"It is an axis of the stage: use move_stage({axis}=...)." for axis in AXES},
    "dwell_time_us": "Give it to acquire(scan, dwell_time_us=...).",
}
"""Hints for names that are often mistaken for knobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """Commanded settings of the microscope.

    Parameters
    ----------
    energy_ev, semiangle_mrad : float
        Beam energy, eV; convergence semi-angle, mrad.
    current_pa : float
        Probe current, pA. The source size follows from the current and the brightness.
    aberrations : Aberrations
        Commanded aberrations, which add to the instrument's own, A and rad.
    source_size_angstrom : float
        Standard deviation of the source's image, A. It follows from current, convergence and energy unless it is set.
    focal_spread_angstrom : float
        Standard deviation of C10, A. It follows from the energy unless it is set.
    camera_length_mm : float
        Camera length, mm. The angles of the instrument's own detectors are inversely proportional to it.
    beam_tilt_mrad : tuple of float
        Tilt of the beam (x, y) at the specimen, mrad.
    beam_shift_angstrom : tuple of float
        Shift (x, y) of the whole scan by the deflectors, A.
    gain, offset_adu : tuple
        Pairs (detector name, value). A gain is a multiple of the detector's usual gain; an offset, ADU, is added to its
        usual offset. Detectors that are not named have gain 1 and offset 0.
    blanked : bool
        Whether the beam is blanked. An acquisition does not unblank it.
    """

    energy_ev: float
    semiangle_mrad: float
    current_pa: float
    aberrations: Aberrations = field(default_factory=Aberrations)
    source_size_angstrom: float
    focal_spread_angstrom: float
    camera_length_mm: float
    beam_tilt_mrad: tuple[float, float] = (0.0, 0.0)
    beam_shift_angstrom: tuple[float, float] = (0.0, 0.0)
    gain: tuple[tuple[str, float], ...] = ()
    offset_adu: tuple[tuple[str, float], ...] = ()
    blanked: bool = False


NAMES = tuple(item.name for item in fields(Knobs) if item.name != "aberrations") + ABERRATION_NAMES
"""Names of all knobs."""


def initial(profile: Profile) -> Knobs:
    """Return the initial knobs of an instrument."""
    return Knobs(
        energy_ev=profile.energy_ev,
        semiangle_mrad=profile.semiangle_mrad,
        current_pa=profile.current_pa,
        source_size_angstrom=profile.source_size_angstrom(profile.current_pa, profile.semiangle_mrad, profile.energy_ev),
        focal_spread_angstrom=profile.focal_spread_angstrom(profile.energy_ev),
        camera_length_mm=profile.camera_length_mm,
    )


def turn(knobs: Knobs, profile: Profile, changes: dict[str, Any]) -> Knobs:
    """Return the knobs after changes, including other settings that follow from the changed ones.

    Parameters
    ----------
    knobs : Knobs
        Knobs before the changes.
    profile : Profile
        The instrument.
    changes : dict
        Values by name, for fields of :class:`Knobs` or of ``Aberrations``.

    Raises
    ------
    UnknownNameError
        The knob is unknown.
    SettingsError
        A value is out of range, or the source size is set together with the current that determines it.
    """
    turned = {name: _aberration(name, value) for name, value in changes.items() if name in ABERRATION_NAMES}
    changed: dict[str, Any] = {name: _checked(name, value, profile, knobs) for name, value in changes.items() if name not in turned}
    if {"current_pa", "source_size_angstrom"} <= set(changed) and profile.brightness < math.inf:
        message = (
            f"current_pa={changed['current_pa']:g} and source_size_angstrom={changed['source_size_angstrom']:g} are both given, but the source "
            "size follows from the current and the brightness. Set only one of them."
        )
        raise SettingsError(message)
    if turned:
        changed["aberrations"] = replace(knobs.aberrations, **turned)
    new = replace(knobs, **changed)
    if profile.brightness < math.inf and "source_size_angstrom" not in changed and {"current_pa", "semiangle_mrad", "energy_ev"} & set(changed):
        new = replace(new, source_size_angstrom=profile.source_size_angstrom(new.current_pa, new.semiangle_mrad, new.energy_ev))
    if "energy_ev" in changed and "focal_spread_angstrom" not in changed:
        new = replace(new, focal_spread_angstrom=profile.focal_spread_angstrom(new.energy_ev))
    return new


def _aberration(name: str, value: Any) -> float:
    if name.startswith("phi"):
        return checks.number(name, value, "rad")
    most = LARGEST_ANGSTROM[int(name[1])]
    return checks.number(name, value, "A", low=-most, high=most, repair="This is the range of the lenses.")


def _by_detector(name: str, value: Any, profile: Profile, before: Knobs) -> tuple[tuple[str, float], ...]:
    """Return a knob of all detectors after changes for the named ones."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        message = f"{name}={value!r} does not name detectors. Give numbers by name, for example {name}={{'haadf': 1.0}}."
        raise SettingsError(message)
    unit, low, high = DETECTOR_KNOBS[name]
    turned = {key: checks.number(f"{name}[{key}]", number, unit, low=low, high=high) for key, number in value.items()}
    without = [key for key in turned if profile.chain(key) is None or (key in DETECTORS and tags_of(key)[0] != "image")]
    if without:
        known = ", ".join(key for key, _ in profile.chains if key) or "none"
        message = (
            f"{name} of {without[0]!r} cannot be set, as this detector has no read-out chain in the instrument {profile.name}. "
            f"Detectors with a read-out chain: {known}."
        )
        raise SettingsError(message)
    return tuple(sorted((dict(getattr(before, name)) | turned).items()))


def _checked(name: str, value: Any, profile: Profile, before: Knobs) -> Any:
    if name in SWITCHES:
        return checks.flag(name, value)
    if name in DETECTOR_KNOBS:
        return _by_detector(name, value, profile, before)
    if name in PAIRS:
        unit, most, repair = PAIRS[name]
        pair = checks.pair(name, value, unit)
        for axis, number in zip("xy", pair, strict=True):
            checks.number(f"{name}[{axis}]", number, unit, low=-most, high=most, repair=repair)
        return pair
    if name not in LIMITS:
        hint = ELSEWHERE.get(name) or suggestion(name, NAMES, listed="Knobs")
        message = f"There is no knob named {name!r}. {hint}"
        raise UnknownNameError(message)
    limits: dict[str, Any] = LIMITS[name]
    if name == "current_pa":
        limits = limits | {"high": profile.max_current_pa, "repair": f"This is the range of {profile.name}; did you pass A or nA?"}
    number = checks.number(name, value, **limits)
    if name == "camera_length_mm" and number not in profile.camera_lengths_mm:
        table = ", ".join(f"{length:g}" for length in profile.camera_lengths_mm)
        message = f"camera_length_mm={number:g} is not a camera length of {profile.name}. Use one of {table} mm."
        raise SettingsError(message)
    return number
