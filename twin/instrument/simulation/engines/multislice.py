"""The engine ``multislice``: multislice of each probe, the reference.

Short computations, and all computations with ``tolerance=0``, are exact: each probe is propagated through the whole field.
In long computations, each probe is propagated through a window around it, to a tolerance that is checked.
"""

import math

import numpy as np

from stemtwin.twin.instrument.simulation import costs, memory, operator_cache, partial_coherence, slice_stacks, windowed_probes
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation
from stemtwin.twin.instrument.simulation.engines.registry import DEPTHS, ENGINES, REFERENCE, Engine, Signals
from stemtwin.twin.instrument.simulation.plan import Plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.scan_signals import mean_of_configurations
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.progress import Progress

NAME = "multislice"
EXACTNESS = "reference"


def cost(found: Discretisation) -> Cost:
    """Return the cost of multislice: one wave for each probe and block, and aperture-edge waves for each focal state.

    If windows are used, each probe is propagated through its window only.
    """
    request, grid = found.request, found.grid
    windowed = windowed_probes.planned(request, grid, found.slices, found.blocks)
    if windowed is not None:
        return windowed_probes.cost(found, windowed)
    focal, source = partial_coherence.counts(request.beam)
    shifted = request.scan.count * source
    waves = request.configurations * focal * (shifted * len([n for n in found.beams if n]) + found.edge_waves)
    needed = memory.of_probes(grid, found.beams, found.edge_waves, found.channels, shifted, request.faces)
    together = max(min(shifted, single_probes.BATCH), found.edge_waves)
    needed += memory.working_memory(grid, together) + memory.of_stack(grid, len(found.slices.planes))
    return Cost(
        waves=waves,
        memory_bytes=max(costs.field_bytes(found), costs.program_bytes(found) + needed),  # a configuration is freed before the next is used
        seconds=costs.first_seconds(found) + waves * len(found.slices.planes) * costs.step_seconds(math.prod(grid.shape)),
    )


def suits(found: Discretisation) -> str:
    """Return the reason why ``engine="auto"`` may choose multislice in windows for a request, or an empty string if it may not.

    It may not if the request does not permit windows, if the computation takes at most 10 s without windows, or if windows
    would save less than half of the time.
    """
    windowed = windowed_probes.planned(found.request, found.grid, found.slices, found.blocks)
    return "" if windowed is None else f"each probe in a window of {windowed.side:.0f} A"


def signals(request: Request, plan: Plan, progress: Progress | None) -> Signals:
    """Return the signals of each probe, averaged over focal spread, source and configurations."""
    windowed = windowed_probes.planned(request, plan.grid, plan.slices, plan.blocks)
    if windowed is None:
        return *_whole_field(request, plan, progress), EXACTNESS
    found = windowed_probes.signals(request, plan, windowed, progress)
    if isinstance(found, str):  # windows would save too little
        return *_whole_field(request, plan, progress), f"{EXACTNESS}, each probe through the whole field: {found}"
    return found


def _whole_field(request: Request, plan: Plan, progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the signals of probes through the whole field, and their relative standard errors."""
    weights = operator_cache.detector_weights(request, plan)

    def of_one(stack: SliceStack) -> np.ndarray:
        """Return the signals of one configuration, (channels, probes)."""

        def coherent(at: np.ndarray, aberrations: Aberrations) -> np.ndarray:
            """Return the signals of coherent probes at points (x, y), A, shape (P, 2)."""
            found = single_probes.probe_signals(
                stack,
                at,
                aberrations,
                request.beam.semiangle_rad,
                weights,
                blocks=plan.blocks,
                antialias=request.antialias,
                depths=request.depths_angstrom,
                progress=progress,
            )
            return found.reshape(-1, found.shape[-1])

        return partial_coherence.averaged(request, coherent)

    return mean_of_configurations(request, [of_one(stack) for stack in slice_stacks.stacks(request, plan)])


ENGINES.add(NAME, Engine(cost=cost, signals=signals, exactness=lambda _: EXACTNESS, suits=suits), REFERENCE, DEPTHS)
