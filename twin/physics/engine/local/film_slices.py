"""Joining of the slices of amorphous films into thicker slices, which saves computing time.

Atoms of an amorphous film do not form columns, so their depths matter little for a dark-field signal. The accuracy of joined
slices is measured against multislice of single probes through the original slices, so the measured error includes the error
of joining.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from stemtwin.twin.physics.engine.kernels import threads
from stemtwin.twin.physics.engine.local.accuracy_check import ROUNDING, Comparison
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack

SHARE = 0.5
"""Largest error of joining as a fraction of the tolerance; added in quadrature, it takes up an eighth of the tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedSlices:
    """Groups of neighbouring planes that are joined.

    Parameters
    ----------
    starts : tuple of int
        First plane of each group, increasing from 0; the planes of a crystal form groups of one.
    count : int
        Number of planes.
    """

    starts: tuple[int, ...]
    count: int

    def planes(self, planes: np.ndarray) -> np.ndarray:
        """Return the depth of each group, A: the mean depth of its planes."""
        return np.add.reduceat(planes, self.starts) / np.diff((*self.starts, self.count))

    def stack(self, stack: SliceStack) -> SliceStack:
        """Return the specimen with one plane per group, whose transmission is the band-limited product over the planes of the group."""
        out = np.empty((len(self.starts), *stack.grid.shape), np.complex64)
        inside = stack.grid.band

        def work(queue: Iterator[int]) -> None:
            for group in queue:
                first, last = (*self.starts, self.count)[group : group + 2]
                out[group] = _product(stack.transmission[first:last], inside)

        threads.spread(work, range(len(self.starts)), threads=min(threads.thread_count(), len(self.starts)))
        return replace(stack, transmission=out, planes=self.planes(stack.planes))


def _product(transmission: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the band-limited product of transmission functions, (n, ny, nx); a single one is returned unchanged."""
    if len(transmission) == 1:
        return transmission[0]
    whole = scipy.fft.fft2(np.multiply.reduce(transmission, axis=0), workers=1)
    return scipy.fft.ifft2(whole * inside, workers=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilmSlices:
    """Planes of a specimen that may be joined.

    Parameters
    ----------
    inside : ndarray
        Whether each plane belongs to a film, bool, shape (n,).
    thickness : float
        Largest thickness of a group of joined planes, A.
    """

    inside: np.ndarray
    thickness: float

    def joined(self, planes: np.ndarray) -> JoinedSlices | None:
        """Return the groups of the planes at depths ``planes`` (A) or None if no planes are joined.

        Planes of a film are joined into groups of equal thickness.
        """
        starts: list[int] = []
        edges = np.flatnonzero(np.diff(self.inside)) + 1
        for run in np.split(np.arange(len(planes)), edges):
            parts = len(run)
            if self.inside[run[0]] and len(run) > 1:
                depth = float(planes[run[-1]] - planes[run[0]]) * len(run) / (len(run) - 1)
                parts = min(parts, max(1, int(np.ceil(depth / self.thickness - 1e-9))))
            starts += [int(part[0]) for part in np.array_split(run, parts)]
        return JoinedSlices(starts=tuple(starts), count=len(planes)) if len(starts) < len(planes) else None

    def allowed(self, comparison: Comparison, stack: SliceStack, tolerance: float) -> JoinedSlices | None:
        """Return groups of planes whose joining error is at most half of ``tolerance``, or None if no planes can be joined.

        The largest thickness of a group is halved until the error is small enough. The error is the rms difference between
        the signals of the probes in ``comparison`` with and without joining, relative to the mean signal, for the worst channel.
        """
        film, true = self, None
        while (groups := film.joined(stack.planes)) is not None:
            true = comparison.through(stack) if true is None else true
            found = comparison.through(groups.stack(stack))
            rms = np.sqrt(((found - true) ** 2).mean(axis=1)) / np.maximum(true.mean(axis=1), ROUNDING)
            if float(rms.max()) <= SHARE * tolerance:
                return groups
            film = replace(film, thickness=film.thickness / 2)
        return None
