"""Times at which the beam visits the points of a scan."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.instrument.scan import Scan

LONGEST_S = 1e7
"""Longest dwell time or pause, s."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanTiming:
    """Times at which the beam visits the points of a scan, in visiting order.

    Parameters
    ----------
    start_s : float
        Clock time of the command that starts the scan, s.
    dwell_s : float
        Time at each point, s.
    count : int
        Number n of visits.
    origin_s : ndarray
        Reference time of each line on the clock, s, shape (lines,): the start of the line's first visit minus the dwell
        times of all visits in earlier lines.
    starts : ndarray
        Index of the first visit of each line, shape (lines,).
    pause_s : ndarray
        Pause before each line, s, shape (lines,): flyback, settling and the wait for the mains. During the pause the beam
        is at the first point of the line.
    tail_s : float
        Time of the flyback after the last point, s.
    """

    start_s: float
    dwell_s: float
    count: int
    origin_s: np.ndarray
    starts: np.ndarray
    pause_s: np.ndarray
    tail_s: float

    @cached_property
    def arrival_s(self) -> np.ndarray:
        """Clock time at which each visit begins, s, shape (n,), read-only."""
        arrival = np.repeat(self.origin_s, self.lengths) + self.dwell_s * np.arange(self.count)
        arrival.flags.writeable = False
        return arrival

    @property
    def duration_s(self) -> float:
        """Time from the command to the end of the scan, s."""
        return self.count * self.dwell_s + float(self.pause_s.sum()) + self.tail_s

    @cached_property
    def middle_s(self) -> np.ndarray:
        """Clock time of the middle of each visit, s, shape (n,), read-only."""
        middle = self.arrival_s + self.dwell_s / 2
        middle.flags.writeable = False
        return middle

    @property
    def lengths(self) -> np.ndarray:
        """Number of visits in each line, shape (lines,)."""
        return np.diff(self.starts, append=self.count)


def scan_timing(
    scan: Scan, *, dwell_time_us: float, flyback_us: float = 0.0, settle_us: float = 0.0, start_s: float = 0.0, synchronise_hz: float = 0.0
) -> ScanTiming:
    """Return the times at which the beam visits the points of a scan.

    Parameters
    ----------
    scan : Scan
        The scan.
    dwell_time_us : float
        Time at each point, us.
    flyback_us : float
        Time of each flyback from the end of a line to the start of the next one, us. A flyback also follows the last line.
    settle_us : float
        Additional time at the start of each line of a scan with flyback or turns, us. Curves and lists of points have
        no pauses.
    start_s : float
        Clock time of the command that starts the scan, s.
    synchronise_hz : float
        Frequency of the mains, Hz. Each line then waits for the start of a mains period. 0: lines do not wait.

    Returns
    -------
    ScanTiming
        The timing. In a raster with nx columns, without settling and synchronisation, the visit of point k in row j begins
        j (nx dwell + flyback) + k dwell after the command.

    Raises
    ------
    SettingsError
        A time is out of range.
    """
    dwell = checks.number("dwell_time_us", dwell_time_us, "us", above=0, high=LONGEST_S * 1e6) * 1e-6
    flyback = checks.number("flyback_us", flyback_us, "us", low=0, high=LONGEST_S * 1e6) * 1e-6
    settle = checks.number("settle_us", settle_us, "us", low=0, high=LONGEST_S * 1e6) * 1e-6
    start = checks.number("start_s", start_s, "s", low=0)
    mains = checks.number("synchronise_hz", synchronise_hz, "Hz", low=0, high=1e6)
    starts = scan.line_starts()
    back = flyback if scan.pause == "flyback" else 0.0
    settle = settle if scan.pause != "none" else 0.0
    pause = np.full(len(starts), back + settle)
    pause[0] = settle
    if mains:
        lines = np.diff(starts, append=scan.count) * dwell
        pause[0] += _wait(np.array(start + settle), mains)
        # Each line starts with a period, so only its own length counts.
        pause[1:] += _wait(lines[:-1] + pause[1:], mains)
    begins = start + np.cumsum(pause) + starts * dwell
    origin = begins - starts * dwell
    for values in (origin, starts, pause):
        values.flags.writeable = False
    return ScanTiming(start_s=start, dwell_s=dwell, count=scan.count, origin_s=origin, starts=starts, pause_s=pause, tail_s=back)


def _wait(after: np.ndarray, mains: float) -> np.ndarray:
    """Return the wait (s) from a time (s) to the next start of a mains period, with a tolerance of a nanosecond."""
    periods = after * mains
    return np.maximum(np.ceil(periods - 1e-9 * mains) - periods, 0) / mains


def estimate_duration_s(scan: Scan, *, dwell_time_us: float, flyback_us: float = 0.0, settle_us: float = 0.0) -> float:
    """Return the duration of a scan, s, without computing its points. :func:`scan_timing` describes the arguments."""
    lines = len(scan.line_starts())
    back, settle = flyback_us * (scan.pause == "flyback"), settle_us * (scan.pause != "none")
    return (scan.count * dwell_time_us + lines * (back + settle)) * 1e-6
