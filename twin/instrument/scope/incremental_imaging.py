"""Images of a changing specimen, computed by local operators that are updated after each change.

After a snapshot is restored, the operator is rebuilt with bit-identical results.
"""

import threading
import weakref
from dataclasses import replace

import numpy as np

from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.simulation.incremental_operator import ChangingOperator
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.progress import Progress

Lineage = tuple[tuple[Request, Plan], ...]


class Follower:
    """Local imaging operator of a changing specimen, with the requests and plans of all images computed with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operator, self._lineage = ChangingOperator(), ()

    def expected(self, lineage: Lineage, request: Request, plan: Plan, progress: Progress | None) -> tuple[np.ndarray, np.ndarray, Lineage]:
        """Return the signals of the next image, their relative standard errors, and the lineage with this image.

        The lineage contains the request and plan of each image so far. If ``lineage`` differs from that of the operator, for
        example after a snapshot is restored, the operator is rebuilt image by image.
        """
        with self._lock:
            if not _same(self._lineage, lineage):
                self._operator, self._lineage = ChangingOperator(), ()
                for earlier, its_plan in lineage:
                    self._operator.expected(earlier, its_plan)
            values, error, _ = self._operator.expected(request, plan, progress=progress)
            self._lineage = (*lineage, (_corners(request), plan))
            return values, error, self._lineage


_FOLLOWERS: "weakref.WeakKeyDictionary[Setup, Follower]" = weakref.WeakKeyDictionary()


def follower(setup: Setup) -> Follower:
    """Return the ``Follower`` of a microscope. It is deleted together with the setup."""
    return _FOLLOWERS.setdefault(setup, Follower())


def _same(one: Lineage, other: Lineage) -> bool:
    return len(one) == len(other) and all(a is c and b is d for (a, b), (c, d) in zip(one, other, strict=True))


def _corners(request: Request) -> Request:
    """Return the request with only the corners of its scan, which determine the region of an operator."""
    points = request.scan.points()
    return replace(request, scan=PathScan(positions_angstrom=np.array([points.min(axis=0), points.max(axis=0)])))
