"""Engine, discretisation and cost of a request, decided before any work."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.simulation import crystal_average, doubtful_physics, memory, partial_coherence
from stemtwin.twin.instrument.simulation.costs import Cost
from stemtwin.twin.instrument.simulation.discretisation import Discretisation, discretise
from stemtwin.twin.instrument.simulation.engines.registry import AVERAGING, DENSE, DEPTHS, ENGINES, REFERENCE, REIMAGING
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.engine.operator import gram_matrix
from stemtwin.twin.physics.engine.operator.lattice_average import LatticeAverage
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.potential import Slices

PATIENCE = 20.0
"""Time up to which ``"auto"`` chooses the exact engine without a comparison of other engines, s."""
LOCAL_GAIN = 0.2
"""Largest fraction of the exact engine's time for which ``"auto"`` chooses an engine to a tolerance.

With windows at their largest permitted size, that engine must not take longer than the exact one.
"""

SINGLE_IMAGE = 2.0
"""Factor by which an engine must be faster if its further images take as long as the first one."""

EngineChoice = tuple[str, str, Cost]
"""An engine, the reason for it, and its cost."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Engine, discretisation and cost of a request.

    Parameters
    ----------
    engine, reason : str
        The engine, and the reason for its choice.
    grid : Grid
        Points and extent of the wave.
    slices : Slices
        Slices of the sample.
    thickness : float
        Depth of the exit face, A.
    detectors : tuple
        Detectors with their angles.
    configurations : int
        Number of phonon configurations over which the signal is averaged. With a lattice average, the computation begins
        with this number and can add configurations, up to :attr:`most_configurations`.
    blocks : tuple of int
        Number of cells (ny, nx) that the window of a probe spans. The plane waves form one block for each of these cells.
    beams : int
        Number of plane waves inside the aperture, over all blocks.
    waves : int
        Number of waves that are propagated through the specimen, over all configurations.
    memory_bytes : int
        Estimated peak memory, bytes.
    seconds : float
        Estimated time on two cores, s.
    waves_bytes : int
        Part of the memory that is used for exit amplitudes while an operator is built, bytes.
    notes : tuple of str
        Decisions made during planning.
    exactness : str
        Accuracy of the signals, as a sentence.
    average : LatticeAverage, optional
        The average over a crystal's lattice translations.
    compared : mapping
        Costs of all engines that ``"auto"`` compared, by name; empty if the computation is short or an engine was requested.
    """

    engine: str
    reason: str
    grid: Grid
    slices: Slices
    thickness: float
    detectors: tuple[Detector, ...]
    configurations: int
    blocks: tuple[int, int]
    beams: int
    waves: int
    memory_bytes: int
    seconds: float
    waves_bytes: int = gram_matrix.WAVES_BYTES
    notes: tuple[str, ...] = ()
    exactness: str = ""
    average: LatticeAverage | None = None
    compared: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def most_configurations(self) -> int:
        """Largest number of phonon configurations over which the signal is averaged."""
        return self.configurations if self.average is None else self.average.most

    def __str__(self) -> str:
        """Return the plan as a few lines of text."""
        ny, nx = self.grid.shape
        angles = ", ".join(f"{d.name} {d.inner_mrad:g}-{d.outer_mrad:g} mrad" for d in self.detectors)
        lines = [
            f"engine          {self.engine}: {self.reason}",
            f"grid            {ny} x {nx} points over {self.grid.extent[0]:.2f} x {self.grid.extent[1]:.2f} A",
            f"sampling        {self.grid.sampling[0]:.4f} x {self.grid.sampling[1]:.4f} A",
            f"slices          {len(self.slices.planes)} over {self.thickness:.2f} A",
            f"detectors       {angles}",
            f"configurations  {self.configurations}",
            f"beams           {self.beams} in {self.blocks[0]} x {self.blocks[1]} blocks",
            f"waves           {self.waves}",
            f"memory          {self.memory_bytes / 2**20:.0f} MiB",
            f"time            about {self.seconds:.1f} s on two cores",
            *([f"exactness       {self.exactness}"] if self.exactness else []),
            *self._table(),
        ]
        return "\n".join([*lines, *(f"note            {note}" for note in self.notes)])

    def _table(self) -> list[str]:
        """Return the engines that were compared, one per line, the fastest first."""
        lines = []
        for name, cost in sorted(self.compared.items(), key=lambda each: each[1].seconds):
            said = "chosen" if name == self.engine else "" if memory.fits(cost.memory_bytes) else "exceeds the memory"
            head = "" if lines else "compared"
            lines.append(f"{head:15} {name:12} {cost.seconds:9.3g} s {cost.memory_bytes / 2**30:8.2f} GiB  {said}".rstrip())
        return lines


def make_plan(request: Request, *, window_angstrom: float = 0.0) -> Plan:
    """Return the plan of a request, with the requested engine or the engine that ``"auto"`` chooses.

    Parameters
    ----------
    request : Request
        The request.
    window_angstrom : float
        Smallest width of the probe window, A. A value above 0 leaves room for wider probes than that of the request.

    Raises
    ------
    SamplingError
        The grid does not reach the angles of the aperture or of a detector, or the probe is wider than a specimen that is
        not periodic.
    SettingsError
        The engine cannot compute the request, or the memory does not suffice.
    """
    found = discretise(request, window_angstrom=window_angstrom)
    (engine, reason, price), compared = _choice(found)
    memory.check(price.memory_bytes)
    average = crystal_average.average_of(request) if AVERAGING in ENGINES.tags(engine) else None
    crystal_average.check_round(average, found.detectors, request.beam.wavelength_angstrom)
    return Plan(
        engine=engine,
        reason=reason,
        grid=found.grid,
        slices=found.slices,
        thickness=found.thickness,
        detectors=found.detectors,
        configurations=request.configurations if average is None else average.least,
        blocks=found.blocks,
        beams=sum(found.beams),
        waves=price.waves,
        memory_bytes=price.memory_bytes,
        seconds=price.seconds,
        waves_bytes=price.waves_bytes,
        notes=(*found.notes, *doubtful_physics.notes(request), *_notes(found, engine, price, average)),
        exactness=price.exactness or ENGINES[engine].exactness(request),
        average=average,
        compared=compared,
    )


def _choice(found: Discretisation) -> tuple[EngineChoice, dict[str, Cost]]:
    """Return the engine of a request, the reason and the cost; and, for long work, the costs of all compared engines."""
    name = found.request.engine
    if name not in ENGINES:
        return _automatic(found)
    ENGINES[name].check(found)
    if AVERAGING not in ENGINES.tags(name):
        crystal_average.check_unaveraged(found.request, name)
    return (name, "requested", ENGINES[name].cost(found)), {}


def _automatic(found: Discretisation) -> tuple[EngineChoice, dict[str, Cost]]:
    """Return the engine that ``"auto"`` chooses: the faster exact one, or one to a tolerance if that saves most of a long time."""
    if found.request.asks_for_average and crystal_average.average_of(found.request) is not None:
        (dense,) = ENGINES.names(DENSE)[:1]
        return (dense, "its images are averaged over the lattice", ENGINES[dense].cost(found)), {}
    engine, reason, price = _exact(replace(found, request=replace(found.request, tolerance=0.0)))
    if price[engine].seconds <= PATIENCE:
        return (engine, reason, price[engine]), {}
    near = _to_tolerance(found) if len(found.beams) == 1 else []
    most = price[engine].seconds
    quick = [choice for choice in near if choice[2].seconds <= LOCAL_GAIN * most and choice[2].longest <= most]
    fitting = [choice for choice in quick if memory.fits(choice[2].memory_bytes)]
    large = [
        f"{name} would take {cost.seconds:.0f} s but needs {cost.memory_bytes / 2**30:.1f} GiB"
        for name, _, cost in quick
        if not memory.fits(cost.memory_bytes)
    ]
    if fitting:
        name, why, other = min(fitting, key=lambda choice: choice[2].seconds * (1 if REIMAGING in ENGINES.tags(choice[0]) else SINGLE_IMAGE))
        saved = f"{other.seconds:.0f} s instead of {price[engine].seconds:.0f} s"
        choice = name, "; ".join([f"{why}: {saved}, to {found.request.tolerance:g}", *large]), other
        return choice, price | {each: cost for each, _, cost in near}
    price |= {name: cost for name, _, cost in near if name == engine or name not in [choice[0] for choice in quick]}  # multislice in windows
    others = ", ".join(f"{name} {cost.seconds:.3g} s" for name, cost in price.items() if name != engine)
    choice = engine, "; ".join([f"{reason}; a single image takes {others}", *large]), price[engine]
    return choice, price | {name: cost for name, _, cost in near if name != engine}


def _exact(found: Discretisation) -> tuple[str, str, dict[str, Cost]]:
    """Return the exact engine that suits a request, the reason for it, and the costs of both exact engines."""
    (dense,), (reference,), waves = ENGINES.names(DENSE)[:1], ENGINES.names(REFERENCE)[:1], sum(found.beams)
    price = {name: ENGINES[name].cost(found) for name in (dense, reference)}
    plane, single = price[dense], price[reference]
    if single.waves < plane.waves:
        return reference, f"single probes need {single.waves} waves, fewer than {plane.waves} plane waves", price
    if not memory.fits(plane.memory_bytes) and memory.fits(single.memory_bytes):
        return reference, f"{waves} plane waves together would need {plane.memory_bytes / 2**30:.1f} GiB", price
    if plane.seconds > max(PATIENCE, 2 * single.seconds):
        return reference, f"the products of {waves} plane waves would take {plane.seconds:.0f} s", price
    depths = "" if found.request.depths_angstrom is None else f" at {found.request.faces} depths"
    return dense, f"{waves} plane waves give every image{depths}", price


def _to_tolerance(found: Discretisation) -> list[EngineChoice]:
    """Return the engines to a tolerance that suit the detectors, each with its reason and cost."""
    choices = []
    for name in ENGINES if found.request.depths_angstrom is None else ENGINES.names(DEPTHS):
        suits = ENGINES[name].suits
        if suits is not None and (why := suits(found)):
            try:
                ENGINES[name].check(found)
                choices.append((name, why, ENGINES[name].cost(found)))
            except (SamplingError, SettingsError):
                continue  # a window would be as large as the field, or the request sets blocks
    return choices


def _notes(found: Discretisation, engine: str, cost: Cost, average: LatticeAverage | None) -> list[str]:
    """Return notes on an average over lattice translations, and on long work."""
    notes = [] if average is None else [crystal_average.planned(average)]
    if cost.seconds <= PATIENCE:
        return notes
    tags, count = ENGINES.tags(engine), found.request.configurations if average is None else average.least
    return notes + (_single_probes(found) if REFERENCE in tags else []) + (_build(cost, count) if REIMAGING in tags else [])


def _single_probes(found: Discretisation) -> list[str]:
    """Return notes on ways to shorten a long computation of single probes."""
    request, notes, states = found.request, [], math.prod(partial_coherence.counts(found.request.beam))
    if states > 1:
        notes.append(f"source size and focal spread need {states} probes for each point; without both, about {1 / states:.2g} of the time suffices")
    if request.depths_angstrom is not None:
        dense = ENGINES.names(DENSE)[0]
        together = ENGINES[dense].cost(found)
        once = ENGINES[dense].cost(replace(found, request=replace(request, depths_angstrom=None)))
        if memory.fits(together.memory_bytes):
            notes.append(f"engine={dense!r} takes {together.seconds:.3g} s for all {request.faces} depths")
        elif memory.fits(once.memory_bytes):
            notes.append(f"one operator for each thickness, without depths_angstrom, takes at most {once.seconds:.3g} s per thickness")
    return notes


def _build(cost: Cost, count: int) -> list[str]:
    """Return a note on a long build of the given number of configurations."""
    each = f", {cost.seconds / count:.0f} s for each phonon configuration" if count > 1 else ""
    return [
        f"the first image takes about {cost.seconds:.0f} s{each}; further images of this specimen, also with other optics, "
        "take milliseconds. A smaller cell, outer_mrad or semiangle_mrad reduces the time"
    ]
