"""Images of a specimen that changes under the beam: local operators follow it, and can be made again to the same bits."""

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
    """One operator with the images that it was brought up to date for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._operator, self._lineage = ChangingOperator(), ()

    def expected(self, lineage: Lineage, request: Request, plan: Plan, progress: Progress | None) -> tuple[np.ndarray, np.ndarray, Lineage]:
        """Return signals and their relative standard errors of the image that comes after a lineage, and the lineage with it.

        Where the operator has gone another way (a snapshot was put back), it is made again from the lineage, step by step.
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
    """Return the follower of a microscope; the process keeps it as long as the microscope."""
    return _FOLLOWERS.setdefault(setup, Follower())


def _same(one: Lineage, other: Lineage) -> bool:
    return len(one) == len(other) and all(a is c and b is d for (a, b), (c, d) in zip(one, other, strict=True))


def _corners(request: Request) -> Request:
    """Return the request with the corners of its scan alone: an operator is built where the beam goes, and these say it."""
    points = request.scan.points()
    return replace(request, scan=PathScan(positions_angstrom=np.array([points.min(axis=0), points.max(axis=0)])))
