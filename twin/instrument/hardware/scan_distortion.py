"""True positions of the beam: hum, jitter, settling, hysteresis, calibration errors of the axes, and drift.

The true deflection differs from the commanded deflection. The true position of a point that is visited at time t follows
from its commanded position by these effects, in this order:

1. Settling: a fraction f of the deflection follows a step s of the scan only with a time constant tau. At a time t after
   the step, the error is -f s exp(-t / tau).
2. Hysteresis: a change of the centre or size of the field of view displaces each point. A fraction of this displacement
   remains as an error and decays within seconds.
3. Calibration: the coils' axes have errors of scale, of the angle between them and of rotation about the optical axis.
4. Hum and jitter: on each axis, the mains of frequency nu add a sine, a sin(2 pi nu t + phase), and its harmonics, and
   each line has a random offset.
5. Drift: the specimen moves, so an atom at the specimen position x lies at the scan position x + drift(t).

The physics of scan generators follows Jones and Nellist, Microsc. Microanal. 19 (2013) 1050. Magnitudes are assumptions
of the profiles.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.timing import ScanTiming
from stemtwin.twin.physics.lag_filters import one_pole

Drift = Callable[[np.ndarray], np.ndarray]
"""Offsets (x, y), A, shape (n, 2), at times on the clock, s, shape (n,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanImperfections:
    """Imperfections of an instrument's scan; the default is a perfect scan.

    Parameters
    ----------
    line_jitter_angstrom : float
        Standard deviation of each line's offset along each axis, independent of all other lines, A.
    line_wander_angstrom, line_wander_lines : float
        Standard deviation of a second offset of each line along each axis (A), which is correlated between lines; and its
        correlation length, lines.
    hum_angstrom : tuple of float
        Amplitude (y, x) of the mains' fundamental, A.
    hum_hz : float
        Frequency of the mains, Hz.
    hum_harmonics : tuple
        Pairs (multiple of ``hum_hz``, amplitude relative to ``hum_angstrom``).
    hum_phase_rad : tuple of float
        Phase (y, x) of each harmonic's sine at time 0 of the clock, rad.
    line_synchronised : bool
        Whether each line waits for the start of a mains period. The hum is then equal in all lines, and the scan takes
        longer.
    settling_fraction, settling_time_us : float
        Fraction of the deflection that follows a step of the scan with a lag, and the time constant of the lag, us.
    hysteresis_fraction, hysteresis_time_s : float
        Error of a point's position just after a change of the centre or size of the field of view, as a fraction of the
        point's displacement by this change; and the time constant of the decay of this error, s.
    scale_error : tuple of float
        Relative error (y, x) of the field's height and width.
    non_orthogonality_rad : float
        Deviation of the y axis from the right angle to x, towards -x, rad.
    rotation_error_rad : float
        Rotation of the whole field, from +x to +y, rad.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    line_jitter_angstrom: float = 0.0
    line_wander_angstrom: float = 0.0
    line_wander_lines: float = 10.0
    hum_angstrom: tuple[float, float] = (0.0, 0.0)
    hum_hz: float = 50.0
    hum_harmonics: tuple[tuple[int, float], ...] = ((1, 1.0),)
    hum_phase_rad: tuple[float, float] = (0.0, 0.0)
    line_synchronised: bool = False
    settling_fraction: float = 0.0
    settling_time_us: float = 20.0
    hysteresis_fraction: float = 0.0
    hysteresis_time_s: float = 1.0
    scale_error: tuple[float, float] = (0.0, 0.0)
    non_orthogonality_rad: float = 0.0
    rotation_error_rad: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, unit, limits in _LIMITS:
            object.__setattr__(self, name, checks.number(name, getattr(self, name), unit, **limits))
        for name, unit in (("hum_angstrom", "A"), ("hum_phase_rad", "rad"), ("scale_error", "of the field")):
            object.__setattr__(self, name, checks.pair(name, getattr(self, name), unit))
        if max(map(abs, self.scale_error)) > LARGEST_SCALE_ERROR:
            message = f"scale_error={self.scale_error} exceeds the limit of {LARGEST_SCALE_ERROR:g}. Give relative errors, such as 0.01."
            raise SettingsError(message)
        if not isinstance(self.line_synchronised, bool):
            message = f"line_synchronised={self.line_synchronised!r} must be True or False."
            raise SettingsError(message)
        object.__setattr__(self, "hum_harmonics", _harmonics(self.hum_harmonics))

    @property
    def synchronise_hz(self) -> float:
        """Frequency of the line synchronisation, Hz; 0 without line synchronisation."""
        return self.hum_hz if self.line_synchronised else 0.0


LARGEST_SCALE_ERROR = 0.5
_LIMITS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("line_jitter_angstrom", "A", {"low": 0, "high": 1e4}),
    ("line_wander_angstrom", "A", {"low": 0, "high": 1e4}),
    ("line_wander_lines", "lines", {"above": 0}),
    ("hum_hz", "Hz", {"above": 0, "high": 1e5}),
    ("settling_fraction", "of the deflection", {"low": 0, "high": 1}),
    ("settling_time_us", "us", {"above": 0}),
    ("hysteresis_fraction", "of the change", {"low": 0, "high": 1}),
    ("hysteresis_time_s", "s", {"above": 0}),
    ("non_orthogonality_rad", "rad", {"low": -0.5, "high": 0.5}),
    ("rotation_error_rad", "rad", {"low": -math.pi, "high": math.pi}),
)


def _harmonics(given: object) -> tuple[tuple[int, float], ...]:
    try:
        pairs = [(multiple, share) for multiple, share in given]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        message = f"hum_harmonics={given!r} is not a sequence of pairs (multiple, amplitude). Use, for example, ((1, 1.0), (3, 0.2))."
        raise SettingsError(message) from None
    return tuple(
        (checks.whole("hum_harmonics", multiple, low=1, high=100), checks.number("hum_harmonics", share, "of the amplitude"))
        for multiple, share in pairs
    )


PERFECT_SCAN = ScanImperfections()
"""A perfect scan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """The last change of the centre or size of the field of view.

    Parameters
    ----------
    time_s : float
        Time of the change on the clock, s.
    centre_angstrom : tuple of float
        Centre (x, y) of the field of view before the change, A.
    field_of_view_angstrom : tuple of float
        Height and width of the field of view before the change, A.
    """

    time_s: float
    centre_angstrom: tuple[float, float]
    field_of_view_angstrom: tuple[float, float]


def true_positions(
    scan: Scan,
    timing: ScanTiming,
    imperfections: ScanImperfections,
    drift: Drift | None,
    rng: np.random.Generator | None,
    *,
    axis_angstrom: tuple[float, float] | None = None,
    change: FieldChange | None = None,
    nominal: np.ndarray | None = None,
) -> np.ndarray:
    """Return the true position of the beam at each visit, in the middle of its dwell time.

    Parameters
    ----------
    scan : Scan
        Commanded scan.
    timing : ScanTiming
        Times of this scan.
    imperfections : ScanImperfections
        Imperfections of the scan.
    drift : callable, optional
        Function that returns the drift (x, y) of the specimen, A, shape (n, 2), at times on the clock, s, shape (n,).
    rng : numpy.random.Generator, optional
        Source of the jitter; not used without jitter.
    axis_angstrom : tuple of float, optional
        Point (x, y) on the optical axis (A), which the calibration errors do not move; None: the middle of the field.
    change : FieldChange, optional
        The last change of the field of view, for the hysteresis.
    nominal : ndarray, optional
        Result of ``scan.points()`` if it is already known.

    Returns
    -------
    ndarray
        Specimen coordinates (x, y) in visiting order, A, shape (n, 2); exactly ``scan.points()`` for a perfect scan.
    """
    wrong, points = imperfections, scan.points() if nominal is None else nominal
    if wrong == PERFECT_SCAN:
        return points if drift is None else points + drift(timing.middle_s)
    asked = np.ascontiguousarray(points.T)
    off = np.zeros_like(asked)
    if wrong.settling_fraction:
        off += _settling(asked, timing, wrong)
    if wrong.hysteresis_fraction and change is not None:
        off += _hysteresis(asked, scan, timing, wrong, change)
    if any(wrong.scale_error) or wrong.non_orthogonality_rad or wrong.rotation_error_rad:
        axis = scan.centre_angstrom if axis_angstrom is None else axis_angstrom
        (xx, xy), (yx, yy) = _axes(wrong) - np.eye(2)
        vectors = asked + off
        vectors -= np.reshape(axis, (2, 1))
        off += np.outer((xx, yx), vectors[0])
        off += np.outer((xy, yy), vectors[1])
    if any(wrong.hum_angstrom):
        _add_hum(off, timing, wrong)
    if rng is not None and (wrong.line_jitter_angstrom or wrong.line_wander_angstrom):
        off += np.repeat(_jitter(len(timing.starts), wrong, rng), timing.lengths, axis=1)
    if drift is not None:
        off += drift(timing.middle_s).T
    return _moved(points, off)


def _moved(points: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Return points (n, 2) plus offsets (2, n), axis by axis because numpy is slow along a last axis of two."""
    found = np.empty(points.shape)
    for axis in range(2):
        np.add(points[:, axis], off[axis], out=found[:, axis])
    return found


def _settling(asked: np.ndarray, timing: ScanTiming, wrong: ScanImperfections) -> np.ndarray:
    """Return the lag of the slow fraction of the deflection, (2, n), which decays exponentially after each step.

    The beam is at rest before the first line. The jump to a line happens at the end of the line before, so the lag
    decays during the pause.
    """
    tau, later = wrong.settling_time_us * 1e-6, timing.starts[1:]
    keep = np.full(timing.count, math.exp(-timing.dwell_s / tau))
    faded = np.exp(-timing.pause_s[1:] / tau)
    keep[later] *= faded
    steps = np.zeros_like(asked)
    np.subtract(asked[:, :-1], asked[:, 1:], out=steps[:, 1:])
    steps[:, later] *= faded
    steps *= wrong.settling_fraction * math.exp(-timing.dwell_s / 2 / tau)
    return one_pole(steps, keep)


def _hysteresis(asked: np.ndarray, scan: Scan, timing: ScanTiming, wrong: ScanImperfections, change: FieldChange) -> np.ndarray:
    """Return the remaining error of the last change of the field, (2, n), a fraction of each point's displacement."""
    centre, old = np.reshape(scan.centre_angstrom, (2, 1)), np.reshape(change.centre_angstrom, (2, 1))
    ratio = [before / now if now else 1.0 for before, now in zip(change.field_of_view_angstrom, scan.field_of_view_angstrom, strict=True)]
    before = old + (asked - centre) * np.reshape(ratio[::-1], (2, 1))
    return wrong.hysteresis_fraction * np.exp(-(timing.middle_s - change.time_s) / wrong.hysteresis_time_s) * (before - asked)


def _axes(wrong: ScanImperfections) -> np.ndarray:
    """Return the true axes as the columns of a matrix, (2, 2), for vectors (x, y)."""
    (sy, sx), skew, turn = wrong.scale_error, wrong.non_orthogonality_rad, wrong.rotation_error_rad
    x, y = (1 + sx) * np.array([1.0, 0.0]), (1 + sy) * np.array([-math.sin(skew), math.cos(skew)])
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return rotation @ np.column_stack([x, y])


def _add_hum(off: np.ndarray, timing: ScanTiming, wrong: ScanImperfections) -> None:
    """Add the offset by the mains at each visit to an array (2, n).

    The value sin(w t + phase) of a visit follows from the start of its line and its position in the line by the
    addition theorem, which needs few sines and is exact up to rounding.
    """
    w, lengths = 2 * math.pi * wrong.hum_hz, timing.lengths
    along = np.exp(1j * w * timing.dwell_s * (np.arange(lengths.max()) + 0.5))
    begin = np.exp(1j * np.remainder(w * timing.arrival_s[timing.starts], 2 * math.pi))
    parts = [(begin**multiple * share, along**multiple) for multiple, share in wrong.hum_harmonics]
    then = np.concatenate([[a.real, a.imag] for _, a in parts])
    for axis, (amplitude, phase) in enumerate(zip(wrong.hum_angstrom[::-1], wrong.hum_phase_rad[::-1], strict=True)):
        if amplitude:
            first = np.concatenate([[b.imag, b.real] for b in (amplitude * np.exp(1j * phase) * b for b, _ in parts)])
            lines = np.einsum("jl,jk->lk", first, then)
            off[axis] += lines.ravel() if lines.size == timing.count else lines[np.arange(then.shape[1]) < lengths[:, None]]


def _jitter(lines: int, wrong: ScanImperfections, rng: np.random.Generator) -> np.ndarray:
    """Return the offset of each line, (2, lines), white noise plus a stationary first-order autoregression."""
    white, steps = rng.standard_normal((2, 2, lines))
    out = wrong.line_jitter_angstrom * white
    if wrong.line_wander_angstrom:
        kept = math.exp(-1 / wrong.line_wander_lines)
        steps[:, 1:] *= math.sqrt(1 - kept**2)
        out += wrong.line_wander_angstrom * one_pole(steps, np.full(lines, kept))
    return out
