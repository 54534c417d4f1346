"""Probe corrector: the true change of the aberrations for a commanded change.

The true change differs from the commanded change by the gain and the rotation of each multipole, by parasitic
aberrations and by hysteresis. These imperfections are fields of a frozen ``CorrectorProfile``, and :func:`correct` is a
pure function.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import InstrumentError, SettingsError, UnknownNameError
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics.aberrations import HAIDER, ORDERS, Aberrations, vector

KRIVANEK = tuple(f"C{n}{m}" for n, m in ORDERS)
CARTESIAN = tuple(Aberrations().cartesian())


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectorProfile:
    """Imperfections of a probe corrector. The default is an ideal corrector.

    Parameters
    ----------
    gain : tuple of float
        True change divided by the commanded change, for aberrations of order n = 1 to 5.
    rotation_rad : tuple of float
        Rotation of the azimuth of the true change, for aberrations of order n = 1 to 5, rad.
    parasitic : tuple
        Triples (from, to, ratio), where the first two are Cartesian coefficients. A change of ``from`` by 1 A also changes
        ``to``, by ``ratio`` times 1 A.
    scatter : float
        Standard deviation of random changes due to the hysteresis of the magnets, relative to the commanded change.
    reach_angstrom : tuple of float
        Largest change in one correction, for orders 1 to 5, A.
    duration_s : float
        Time that a correction takes, s.
    source : str
        Source of the numbers.

    Raises
    ------
    SettingsError
        A number is out of range, or a name is not a Cartesian coefficient.
    """

    gain: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    rotation_rad: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    parasitic: tuple[tuple[str, str, float], ...] = ()
    scatter: float = 0.0
    reach_angstrom: tuple[float, ...] = (1e5, 1e5, 1e6, 1e7, 1e9)
    duration_s: float = 0.0
    source: str = "ideal"

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, unit, low, high in (("gain", "", 0.1, 10.0), ("rotation_rad", "rad", -1.6, 1.6), ("reach_angstrom", "A", 0.0, 1e12)):
            values = getattr(self, name)
            if len(values) != 5:
                message = f"{name}={values!r} must be five numbers for the orders 1 to 5."
                raise SettingsError(message)
            for n, value in enumerate(values, start=1):
                checks.number(f"{name} of order {n}", value, unit, low=low, high=high)
        checks.number("scatter", self.scatter, "(a fraction)", low=0, high=1)
        checks.number("duration_s", self.duration_s, "s", low=0)
        for source, target, ratio in self.parasitic:
            unknown = [name for name in (source, target) if name not in CARTESIAN]
            if unknown or source == target:
                message = f"parasitic={(source, target, ratio)!r} must name two different coefficients of {', '.join(CARTESIAN)}."
                raise SettingsError(message)
            checks.number(f"parasitic {source} to {target}", ratio, "A/A", low=-10, high=10)

    def matrix(self) -> np.ndarray:
        """Return the response matrix, shape (25, 25). Each column is the response to a change of one Cartesian coefficient by 1 A."""
        out = np.zeros((len(CARTESIAN), len(CARTESIAN)))
        for n, m in ORDERS:
            gain, angle = self.gain[n - 1], m * self.rotation_rad[n - 1]
            if m == 0:
                i = CARTESIAN.index(f"C{n}0")
                out[i, i] = gain
            else:
                i = CARTESIAN.index(f"C{n}{m}a")
                out[i : i + 2, i : i + 2] = gain * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for source, target, ratio in self.parasitic:
            out[CARTESIAN.index(target), CARTESIAN.index(source)] += ratio
        return out


TYPICAL_CORRECTOR = CorrectorProfile(
    gain=(1.03, 0.93, 1.08, 0.9, 1.1),
    rotation_rad=(0.03, -0.05, 0.04, 0.05, 0.05),
    parasitic=(
        ("C12a", "C10", 0.05),
        ("C12b", "C10", -0.03),
        ("C21a", "C12a", 0.04),
        ("C21b", "C12b", -0.03),
        ("C21a", "C10", 0.02),
        ("C23a", "C12a", -0.05),
        ("C23b", "C12b", 0.04),
        ("C23a", "C21a", 0.03),
        ("C30", "C10", 0.005),
        ("C30", "C21a", 0.02),
        ("C30", "C21b", -0.01),
        ("C32a", "C12a", 0.004),
        ("C34a", "C12b", 0.003),
        ("C34b", "C23b", 0.01),
    ),
    scatter=0.02,
    duration_s=1.0,
    source=(
        "gains within 10 %, rotations of some degrees, hysteresis 2 %, and side effects on aberrations of lower order "
        "(5 nm of defocus and 20 nm of coma with 1 um of C30) [A]; in practice corrections are repeated, from the lowest order up and back again"
    ),
)
"""A hexapole corrector some time after its calibration."""


def request(name: str, value: complex | Sequence[float], target: complex | Sequence[float] = 0.0, *, conjugate_mixed: bool = False) -> Aberrations:
    """Return the change from a stated value of an aberration to a target value.

    Parameters
    ----------
    name : str
        Haider's name (C1, A1, B2, ...) or Krivanek's (C10, C12, C21, ...).
    value, target : complex or two floats
        Stated and target value, A: in Haider's notation the complex coefficient, in Krivanek's notation
        C_nm exp(i m phi_nm).
    conjugate_mixed : bool
        Whether mixed aberrations are complex conjugated, as in ``Aberrations.to_haider``.

    Returns
    -------
    Aberrations
        Difference target - value of this aberration.

    Raises
    ------
    UnknownNameError
        The aberration is unknown.
    SettingsError
        A value is not finite, or the imaginary part of a round aberration is not 0.
    """
    mixed = checks.flag("conjugate_mixed", conjugate_mixed)
    first, last = _complex(name, "value", value), _complex(name, "target", target)
    known = isinstance(name, str)
    if known and name in HAIDER:
        return Aberrations.from_haider({name: last - first}, conjugate_mixed=mixed)
    if not known or name not in KRIVANEK:
        message = f"{name!r} is not an aberration. Use one of {', '.join(HAIDER)} (Haider) or {', '.join(KRIVANEK)} (Krivanek)."
        raise UnknownNameError(message)
    change = last - first
    if name[2] != "0":
        return Aberrations.from_cartesian(**{f"{name}a": change.real, f"{name}b": change.imag})
    if change.imag:
        message = f"{name}={change} A has an imaginary part, but {name} is a round aberration. Give a real number."
        raise SettingsError(message)
    return Aberrations.from_cartesian(**{name: change.real})


def _complex(name: str, what: str, value: complex | Sequence[float]) -> complex:
    if isinstance(value, complex):
        parts = (value.real, value.imag)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        parts = checks.pair(f"{what} of {name}", value, "A")
    else:
        parts = (value, 0.0)
    return complex(checks.number(f"{what} of {name}", parts[0], "A"), checks.number(f"{what} of {name}", parts[1], "A"))


def correct(change: Aberrations, profile: CorrectorProfile, rng: np.random.Generator) -> Aberrations:
    """Return the true change of the aberrations for a commanded change.

    Parameters
    ----------
    change : Aberrations
        Commanded change, as from :func:`request`.
    profile : CorrectorProfile
        Imperfections of the corrector.
    rng : numpy.random.Generator
        Source of the random hysteresis; every call draws 25 numbers.

    Returns
    -------
    Aberrations
        True change: ``profile.matrix()`` times the commanded change, plus random changes, whose standard deviation is
        ``scatter`` times the size of the commanded change.

    Raises
    ------
    InstrumentError
        A change is beyond the corrector's reach.
    """
    check(change, profile)
    values, drawn = vector(change), rng.standard_normal(len(CARTESIAN))
    size = np.array([abs(getattr(change, name[:3])) for name in CARTESIAN])
    true = np.einsum("ij,j->i", profile.matrix(), values) + profile.scatter * size * drawn
    return Aberrations.from_cartesian(**dict(zip(CARTESIAN, true.tolist(), strict=True)))


def check(change: Aberrations, profile: CorrectorProfile) -> None:
    """Raise InstrumentError if a change is beyond the corrector's reach.

    Raises
    ------
    InstrumentError
        The change is too large.
    """
    for n, m in ORDERS:
        asked, reach = abs(getattr(change, f"C{n}{m}")), profile.reach_angstrom[n - 1]
        if asked > reach:
            message = f"A change of C{n}{m} by {asked:g} A is beyond the corrector's reach of {reach:g} A for order {n}. Use several smaller changes."
            raise InstrumentError(message)


def corrected(state: Aberrations, change: Aberrations, profile: CorrectorProfile, rng: np.random.Generator) -> Aberrations:
    """Return the aberrations after a correction; see :func:`correct`."""
    return optics.add(state, correct(change, profile, rng))
