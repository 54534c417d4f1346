"""The registry of engines, and the class of an engine.

Tags describe the results of an engine. Callers use tags to find all engines of a kind:

================= =================================================================================
Tag               Engines with this tag
================= =================================================================================
``reference``     the engine with which all engines are compared; exact for every request
``dense``         the engine whose imaging operator gives every image of a specimen exactly
``re-imaging``    engines that keep their operators: a further image takes milliseconds
``depths``        engines that compute signals at several depths in one pass
``averaging``     engines that average their images over a crystal's lattice translations
``joining``       engines that can join slices of films, and whose windows can grow with depth
================= =================================================================================
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stemtwin.twin.progress import Progress
from stemtwin.twin.registry import Registry

if TYPE_CHECKING:
    from stemtwin.twin.instrument.settings import Beam
    from stemtwin.twin.instrument.simulation.costs import Cost
    from stemtwin.twin.instrument.simulation.discretisation import Discretisation
    from stemtwin.twin.instrument.simulation.plan import Plan
    from stemtwin.twin.instrument.simulation.request import Request

REFERENCE, DENSE, REIMAGING, DEPTHS, AVERAGING, JOINING = "reference", "dense", "re-imaging", "depths", "averaging", "joining"
"""Tags of engines; see the module's table."""

Signals = tuple[np.ndarray, np.ndarray, str]
"""Signals of an engine, their relative standard errors, and their accuracy as a sentence.

Signals have the shape (channels, ...) with the scan's dimensions, and errors the shape (channels,); errors are NaN for one
configuration. In a depth series, the channels are ordered by depth first.
"""


def accept(discretisation: "Discretisation") -> None:
    """Accept every request. This is the check of an engine without restrictions."""


def measured(request: "Request") -> str:  # noqa: ARG001 - one signature for all engines
    """Return the sentence on the accuracy of an engine that measures its error with every result."""
    return "the error is measured with the signals, relative to multislice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One way to compute the signals of a request.

    Parameters
    ----------
    cost : callable
        ``cost(discretisation)`` returns the number of waves, memory and time, estimated before any work. ``signals``
        reports this number of waves as progress.
    signals : callable
        ``signals(request, plan, progress)`` returns the signals of a request with the grid, slices and detectors of a
        plan. Optics and scan of the request may differ from those of the planned request.
    exactness : callable
        ``exactness(request)`` returns the expected accuracy of the signals as a sentence, before any work.
    check : callable
        ``check(discretisation)`` raises a StemtwinError, before any work, for a request that the engine cannot compute.
    suits : callable, optional
        ``suits(discretisation)`` returns the reason why ``"auto"`` may choose this engine if it is faster than the exact engines,
        or an empty string if ``"auto"`` may not. With None, ``"auto"`` may choose the engine only as an exact engine.
    series : callable, optional
        ``series(request, plan, beams, progress)`` returns the signals of several beams that differ only in their
        aberrations, bit-identical to single calls but faster. The waves of the plan are reported once.
    used : callable, optional
        ``used(request, plan)`` returns the plan with the number of phonon configurations that were computed, if that
        number depends on the measured error.
    in_parts : bool
        Whether the engine computes the specimen in parts and never has the whole specimen in memory.
    vacuum_around : bool
        Whether the engine surrounds a specimen that is not periodic with vacuum; other engines repeat its cell.
    """

    cost: "Callable[[Discretisation], Cost]"
    signals: "Callable[[Request, Plan, Progress | None], Signals]"
    exactness: "Callable[[Request], str]" = measured
    check: "Callable[[Discretisation], None]" = accept
    suits: "Callable[[Discretisation], str] | None" = None
    series: "Callable[[Request, Plan, Sequence[Beam], Progress | None], list[Signals]] | None" = None
    used: "Callable[[Request, Plan], Plan] | None" = None
    in_parts: bool = False
    vacuum_around: bool = False


ENGINES: Registry[Engine] = Registry("engine")
"""Engines by name: each file of this package adds its own."""
