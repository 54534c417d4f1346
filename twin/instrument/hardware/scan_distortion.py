"""True positions of the beam: hum, jitter, settling, hysteresis, wrong axes and drift.

What a scan asks for and what the coils do differ. In the order in which it happens here, for a point that was asked for at p and visited at time t:

1. A share of the deflection follows with a time constant (settling): after a step s the beam is off by -share s exp(-t / tau).
2. After a change of the field, a share of that change is still to come (hysteresis): it decays within seconds.
3. The coils' axes are not what they are taken for: scales, the angle between the axes, a rotation, about the optical axis.
4. The mains add A sin(2 pi f t + phase) on each axis, with harmonics; each line of the scan is off by a random jitter.
5. The specimen drifts: what the beam meets lies at x + drift(t).

Sources: physics of scan generators as in Jones and Nellist, Microsc. Microanal. 19 (2013) 1050; magnitudes are assumptions, see the profiles.
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
    """Imperfections of an instrument's scan; by default none.

    Parameters
    ----------
    line_jitter_angstrom : float
        Standard deviation of each line's offset along each axis, independent of all other lines, A.
    line_wander_angstrom, line_wander_lines : float
        Standard deviation of a second offset along each axis, A, and the number of lines after which its correlation has fallen to 1 / e.
    hum_angstrom : tuple of float
        Amplitude (y, x) of the mains' fundamental, A.
    hum_hz : float
        Frequency of the mains, Hz.
    hum_harmonics : tuple
        Pairs of a multiple of the frequency and its amplitude relative to ``hum_angstrom``.
    hum_phase_rad : tuple of float
        Phase (y, x) of each harmonic's sine at time 0 of the clock, rad.
    line_synchronised : bool
        Each line waits for the beginning of a mains period: the hum is the same in each line, and the scan takes longer.
    settling_fraction, settling_time_us : float
        Share of the deflection that lags behind, and its time constant, us.
    hysteresis_fraction, hysteresis_time_s : float
        Share of a change of the field that is still to come just after it, and its time constant, s.
    scale_error : tuple of float
        Relative error (y, x) of the field's height and width.
    non_orthogonality_rad : float
        By how much the y axis is turned from its right angle to x, towards -x, rad.
    rotation_error_rad : float
        By how much the whole field is turned, from +x to +y, rad.

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
            message = (
                f"scale_error={self.scale_error} is more than {LARGEST_SCALE_ERROR:g}: that is another field. Give relative errors, such as 0.01."
            )
            raise SettingsError(message)
        if not isinstance(self.line_synchronised, bool):
            message = f"line_synchronised={self.line_synchronised!r} is neither True nor False."
            raise SettingsError(message)
        object.__setattr__(self, "hum_harmonics", _harmonics(self.hum_harmonics))

    @property
    def synchronise_hz(self) -> float:
        """Frequency that lines wait for, Hz; 0 where they wait for none."""
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
        message = f"hum_harmonics={given!r} holds no pairs of a multiple and an amplitude. Use ((1, 1.0), (3, 0.2))."
        raise SettingsError(message) from None
    return tuple(
        (checks.whole("hum_harmonics", multiple, low=1, high=100), checks.number("hum_harmonics", share, "of the amplitude"))
        for multiple, share in pairs
    )


PERFECT_SCAN = ScanImperfections()
"""A scan with which nothing is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """The last change of the scanned field.

    Parameters
    ----------
    time_s : float
        When it was, on the clock, s.
    centre_angstrom : tuple of float
        Middle (x, y) of the field before, A.
    field_of_view_angstrom : tuple of float
        Height and width of the field before, A.
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
        What was asked for.
    timing : ScanTiming
        When, for this scan.
    imperfections : ScanImperfections
        What is wrong.
    drift : callable, optional
        Offsets (x, y), A, shape (n, 2), at times on the clock, s, shape (n,).
    rng : numpy.random.Generator, optional
        Of the jitter; it is not used where there is none.
    axis_angstrom : tuple of float, optional
        The point (x, y) on the optical axis, A, where wrong axes change nothing; by default the middle of the field.
    change : FieldChange, optional
        The last change of the field, for the hysteresis.
    nominal : ndarray, optional
        ``scan.points()``, where they are known.

    Returns
    -------
    ndarray
        Specimen coordinates (x, y) in visiting order, A, shape (n, 2): exactly ``scan.points()`` where nothing is wrong.
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
    return points + off.T


def _settling(asked: np.ndarray, timing: ScanTiming, wrong: ScanImperfections) -> np.ndarray:
    """Return the lag of the slow share of the deflection, (2, n): it takes a share of each step and forgets exponentially.

    Before the first line the beam has come to rest. A jump to a line happens when the line before ends: its pause counts.
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
    """Return the remaining error of the last change of the field, (2, n): a share of the way from where the old field had this point."""
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
    """Add the mains' offset at each visit to (2, n).

    sin(w t + phase) of a visit comes from its line's beginning and its place in the line by the addition theorem: few sines, to rounding the same.
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
    """Return the offset of each line, (2, lines): white noise and a first-order autoregression with stationary variance."""
    white, steps = rng.standard_normal((2, 2, lines))
    out = wrong.line_jitter_angstrom * white
    if wrong.line_wander_angstrom:
        kept = math.exp(-1 / wrong.line_wander_lines)
        steps[:, 1:] *= math.sqrt(1 - kept**2)
        out += wrong.line_wander_angstrom * one_pole(steps, np.full(lines, kept))
    return out
