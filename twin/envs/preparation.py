"""Preparation of environments: specimens, and a progress line on stderr during long builds."""

import functools
import sys
import time

from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

PATIENCE_S = 2.0
"""Time before the first progress line, and between two progress lines, s."""
CELLS = {
    "mos2-1h": (5.47, 9.48),
    "wse2-1h": (5.69, 9.85),
    "graphene": (8.52, 7.38),
    "au-001": (8.16, 8.16),
    "srtio3-001": (7.81, 7.81),
    "si-110": (7.68, 5.43),
}
"""Sizes (y, x) of the cells of perfect crystals, A.

Small cells suffice, because the mean image has the period of the lattice, and their operators are built faster.
"""


@functools.lru_cache(maxsize=16)
def specimen(name: str, thickness_angstrom: float | None = None) -> Sample:
    """Return a sample of the library with its default thickness or a given thickness, A.

    Perfect crystals are reduced to one small cell.

    Raises
    ------
    UnknownNameError
        The sample is unknown.
    """
    thickness = {} if thickness_angstrom is None else {"thickness_angstrom": thickness_angstrom}
    return load_sample(name, size_angstrom=CELLS.get(name), seed=0, **thickness)


class PreparationLine:
    """Progress lines on stderr about the preparation of an environment, written after the first two seconds.

    Parameters
    ----------
    environment : str
        Id of the environment.
    """

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self._began = self._told = time.monotonic()

    def operator(self, number: int, count: int, waves: int) -> Progress:
        """Return the progress callback of one imaging operator.

        Parameters
        ----------
        number, count : int
            Number of this operator, from 1, and total number of operators.
        waves : int
            Number of waves that are computed for this operator.
        """
        done = 0

        def progress(steps: int) -> None:
            """Count steps, and write a line if the last one was written at least two seconds ago."""
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
        """Report on stderr that part ``number`` (from 1) of ``count`` parts begins; each part takes about ``seconds``."""
        sys.stderr.write(f"{self.environment}: {name} {number} of {count}, about {seconds:.0f} s each; the result is cached\n")
        sys.stderr.flush()
