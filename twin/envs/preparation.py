"""Preparations of environments: specimens, and a line on stderr that tells how far long builds are."""

import functools
import sys
import time

from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

PATIENCE_S = 2.0
"""Preparations that take longer tell their progress, each time after so long, s."""
CELLS = {
    "mos2-1h": (5.47, 9.48),
    "wse2-1h": (5.69, 9.85),
    "graphene": (8.52, 7.38),
    "au-001": (8.16, 8.16),
    "srtio3-001": (7.81, 7.81),
    "si-110": (7.68, 5.43),
}
"""Cells (y, x), A, of perfect crystals: their mean image repeats with the lattice, and small cells are built faster."""


@functools.lru_cache(maxsize=16)
def specimen(name: str, thickness_angstrom: float | None = None) -> Sample:
    """Return a sample of the library, of a perfect crystal one small cell, in its usual thickness or another one, A.

    Raises
    ------
    UnknownNameError
        The sample is unknown.
    """
    thickness = {} if thickness_angstrom is None else {"thickness_angstrom": thickness_angstrom}
    return load_sample(name, size_angstrom=CELLS.get(name), seed=0, **thickness)


class PreparationLine:
    """A line on stderr that tells how far preparations are, after two seconds.

    Parameters
    ----------
    environment : str
        Id of the environment.
    """

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self._began = self._told = time.monotonic()

    def operator(self, number: int, count: int, waves: int) -> Progress:
        """Return the progress of one imaging operator.

        Parameters
        ----------
        number, count : int
            Number of the operator, from 1, and number of all.
        waves : int
            Waves of its build.
        """
        done = 0

        def progress(steps: int) -> None:
            """Count steps, and write a line where the last one was long ago."""
            nonlocal done
            done += steps
            now = time.monotonic()
            if now - self._began < PATIENCE_S or now - self._told < PATIENCE_S:
                return
            self._told = now
            told = f"{self.environment}: imaging operator {number} of {count}, {min(done / max(waves, 1), 1):.0%}"
            sys.stderr.write(f"{told}\n")
            sys.stderr.flush()

        return progress

    def part(self, name: str, number: int, count: int, seconds: float) -> None:
        """Tell that a part, of that name and number from 1, begins, of so many that take about so long each, s."""
        sys.stderr.write(f"{self.environment}: {name} {number} of {count}, about {seconds:.0f} s each; it is kept\n")
        sys.stderr.flush()
