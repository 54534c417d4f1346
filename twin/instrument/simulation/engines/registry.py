"""The registry of engines, and the form of an engine.

Tags say which results an engine gives, so that callers find all engines of a kind:

================= =================================================================================
Tag               Engines that carry it
================= =================================================================================
``reference``     the one that all others are compared with; exact for every request
``dense``         the one whose imaging operator gives every image of a specimen exactly
``re-imaging``    those that keep what they built: a further image takes milliseconds
``depths``        those that give signals at several depths from one pass
``averaging``     those that average their images over a crystal's lattice translations
``joining``       those that may join slices of films and have windows that grow with depth
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
"""Signals, shape (channels, ...) like the scan; relative standard errors, (channels,), NaN for one configuration; the exactness as a sentence.

Of a depth series, all channels of one depth follow those of another.
"""


def accept(discretisation: "Discretisation") -> None:
    """Refuse nothing: the check of an engine that computes every request."""


def measured(request: "Request") -> str:  # noqa: ARG001 - one signature for all engines
    """Return the exactness of an engine that measures its error with every result."""
    return "the error is measured with the signals, against multislice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One way to compute the signals of a request.

    Parameters
    ----------
    cost : callable
        ``cost(discretisation)``: waves, memory and time, estimated before any work. The waves are all that ``signals``
        reports as progress.
    signals : callable
        ``signals(request, plan, progress)``: the signals of a request with the grid, slices and detectors of a plan.
        The request may have other optics and another scan than the one that was planned.
    exactness : callable
        ``exactness(request)``: how exact the signals will be, as a sentence that is known before any work.
    check : callable
        ``check(discretisation)`` raises a StemtwinError for a request that the engine cannot compute, before any work.
    suits : callable, optional
        ``suits(discretisation)``: the reason why ``"auto"`` compares this engine with the exact ones, or an empty text.
        None: it never does.
    series : callable, optional
        ``series(request, plan, beams, progress)``: the signals of several beams that differ in their aberrations alone, the
        same bits as one by one in less time. The waves of the plan are reported once.
    used : callable, optional
        ``used(request, plan)``: the plan with the number of phonon configurations that the signals took, where that is measured
        as they come.
    in_parts : bool
        Whether the engine takes the specimen in parts, never all of it at once.
    vacuum_around : bool
        Whether a specimen that does not repeat has vacuum around it, where other engines repeat its cell.
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
