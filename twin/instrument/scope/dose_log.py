"""Dose log: the nominal dose of each pass, from which a map is made on request."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.scope.dose_map import DoseMap, deposits, spacing_angstrom
from stemtwin.twin.instrument.timing import ScanTiming

MOST_ENTRIES = 64
"""Largest number of passes over different fields that are not yet on the map."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoggedPasses:
    """Passes over one scan at one position, all with the same timing.

    Parameters
    ----------
    scan : Scan
        The scan.
    timing : ScanTiming
        Timing of one pass.
    shift : tuple of float
        Shift (x, y) from scan to specimen coordinates, A.
    dark : bool
        Whether the beam was off between lines.
    electrons : float
        Number of electrons at each point, over all passes.
    """

    scan: Scan
    timing: ScanTiming
    shift: tuple[float, float]
    dark: bool
    electrons: float

    def repeats(self, other: Self) -> bool:
        """Return True if other passes equal these passes in everything except the number of electrons."""
        same = self.timing.duration_s == other.timing.duration_s and self.timing.dwell_s == other.timing.dwell_s
        return same and (self.scan is other.scan or self.scan == other.scan) and (self.shift, self.dark) == (other.shift, other.dark)

    def onto(self, dose: DoseMap) -> DoseMap:
        """Return a dose map to which the electrons of these passes are added."""
        where, many = deposits(self.scan.points() + np.array(self.shift), self.timing, self.electrons, blanked=self.dark)
        return dose.add(where, many, spacing_angstrom=spacing_angstrom(self.scan))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ledger:
    """Dose log of all past passes.

    Parameters
    ----------
    drawn : DoseMap
        Dose map of older passes.
    waiting : tuple of LoggedPasses
        Later passes, which are not yet on the map.
    """

    drawn: DoseMap = field(default_factory=DoseMap)
    waiting: tuple[LoggedPasses, ...] = ()

    def add(self, entry: LoggedPasses) -> Self:
        """Return the log with a further pass."""
        if self.waiting and self.waiting[-1].repeats(entry):
            last = replace(self.waiting[-1], electrons=self.waiting[-1].electrons + entry.electrons)
            return replace(self, waiting=(*self.waiting[:-1], last))
        if len(self.waiting) >= MOST_ENTRIES:
            return replace(self, drawn=self.map(), waiting=(entry,))
        return replace(self, waiting=(*self.waiting, entry))

    def map(self) -> DoseMap:
        """Return the dose map of all passes."""
        dose = self.drawn
        for entry in self.waiting:
            dose = entry.onto(dose)
        return dose
