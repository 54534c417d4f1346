"""Local operator of a changing specimen: only the parts affected by atoms that moved, appeared or vanished are recomputed.

The optics, the scan and up to a quarter of the atoms may change from one image to the next; any other change rebuilds the
operator. An update differs from a new build in three ways. First, transmission functions are changed only near the atoms that
changed (the error is at most 1e-4 of the largest change, see `potential.update_transmissions`, and every 256th change is
exact). Second, the planes of the slices stay at the depths that the first build chose. Third, with frozen phonons, an atom
that appears or vanishes does not change the displacements of the other atoms, whereas a new build draws new displacements for
all atoms that follow it in the list.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.simulation import memory, operator_cache, slice_stacks
from stemtwin.twin.instrument.simulation.engines import local
from stemtwin.twin.instrument.simulation.engines.registry import Signals
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import electrons, phonons, potential
from stemtwin.twin.physics.engine.local import local_operator
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.progress import Progress
from stemtwin.twin.samples.sample import Sample

REACH = 8.0
"""Distance from an atom that moved within which exp(i sigma V) is recomputed, A."""
SEEN = 1.5
"""Distance along x and y from an atom that moved within which local functions are propagated again, A."""
RENEWED = 256
"""Number of changes after which the slices are recomputed completely."""
LARGEST_OFF = 1.0
"""Largest distance of an atom from the plane of its slice, A; beyond it the sample is sliced again and the operator rebuilt."""
LARGEST_SHARE = 0.25
"""Largest fraction of atoms that may change; beyond it the operator is rebuilt and checked again."""
ARRIVALS_STREAM = 10
"""First part of the spawn key of the thermal displacements of atoms that appear."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedAtoms:
    """Atoms of the operator, with their slices and thermal displacements.

    Parameters
    ----------
    sample : Sample
        Sample with the atoms' mean positions.
    index : ndarray
        Index of the slice of each atom, int, shape (n,).
    displacements : tuple of ndarray
        Displacements of each frozen-phonon configuration, A, shape (n, 3).
    """

    sample: Sample
    index: np.ndarray
    displacements: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """Difference between two samples.

    Parameters
    ----------
    stayed_before, stayed_after : ndarray
        Indices of the common atoms in the first and in the second sample.
    went : ndarray
        Indices, in the first sample, of the atoms that vanished.
    came : ndarray
        Indices, in the second sample, of the atoms that appeared.
    """

    stayed_before: np.ndarray
    stayed_after: np.ndarray
    went: np.ndarray
    came: np.ndarray


class ChangingOperator:
    """Local operator that is updated to image a specimen whose atoms move under the beam.

    Call :meth:`expected` for the images in temporal order, because its result depends, within the tolerance, on the preceding
    calls. Several threads may share the operator; they wait for each other.

    Attributes
    ----------
    changes : int
        Number of changes of the specimen since the operator was built and checked.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._lock = threading.Lock()
        self._held: tuple[local_operator.LocalOperator, PlacedAtoms, Request, Plan] | None = None

    def expected(self, request: Request, plan: Plan | None = None, *, progress: Progress | None = None) -> Signals:
        """Return signals, their relative standard errors, and their accuracy, as ``simulate.expected`` does.

        Parameters
        ----------
        request : Request
            A request with ``engine="local"``, or any request if the plan has this engine.
        plan : Plan, optional
            Plan of the request; by default the plan that `plan.make_plan` returns.
        progress : callable, optional
            Called with the number of local functions propagated since the last call.

        Raises
        ------
        SettingsError
            The sample is a potential, the engine is not ``"local"``, or the slices of all configurations exceed the memory.
        """
        plan = make_plan(request) if plan is None else plan
        with self._lock:
            operator = self._current(request, plan, progress)
            values, error, remark = local.image_signals(operator, request)
        return values, error, remark + (f"; measured before {self.changes} changes of the specimen" if self.changes else "")

    def _current(self, request: Request, plan: Plan, progress: Progress | None) -> local_operator.LocalOperator:
        """Return the operator of a request, updated or built."""
        if plan.engine != local.NAME or not isinstance(request.sample, Sample):
            message = (
                f"Only the local operator of a Sample can be updated, but engine={plan.engine!r} and {request.sample!r} are given. "
                "Use engine='local' and a Sample."
            )
            raise SettingsError(message)
        if self._held is None or not _same_but_atoms(self._held[2], self._held[3], request, plan):
            return self._build(request, plan, progress)
        operator, atoms, before, first = self._held
        found = difference(atoms.sample, request.sample)
        if found.came.size or found.went.size:
            after = _moved(atoms, request, found, first, self.changes)
            if after is None or max(found.came.size, found.went.size) > LARGEST_SHARE * len(request.sample):
                return self._build(request, plan, progress)
            reach = None if self.changes % RENEWED == RENEWED - 1 else REACH
            changed = [_changed(stack, request, first, atoms, after, found, number, reach) for number, stack in enumerate(operator.stacks)]
            self._held = None  # an interrupted update leads to a new build
            operator.update(changed, _regions(atoms, after, found), progress)
            self._held, self.changes = (operator, after, before, first), self.changes + 1
        else:
            self._held = (
                operator,
                replace(
                    atoms,
                    sample=request.sample,
                    index=atoms.index[found.stayed_before],
                    displacements=tuple(d[found.stayed_before] for d in atoms.displacements),
                ),
                before,
                first,
            )
        local.build_for(operator, request, progress)
        return operator

    def _build(self, request: Request, plan: Plan, progress: Progress | None) -> local_operator.LocalOperator:
        sample = request.sample
        assert isinstance(sample, Sample)  # checked before
        memory.check(needed_bytes(plan))
        operator = local.operator_for(request, plan, progress).copy()
        displacements = tuple(slice_stacks.positions(request, number) - sample.positions_angstrom for number in range(plan.configurations))
        self._held = (operator, PlacedAtoms(sample=sample, index=plan.slices.index, displacements=displacements), request, plan)
        self.changes = 0
        return operator


def needed_bytes(plan: Plan) -> int:
    """Return the peak memory for computing images of a changing specimen, bytes.

    During a change, the slices of all configurations before and after the change are in memory, whereas the plan counts
    the slices of one configuration.
    """
    return plan.memory_bytes + (2 * plan.configurations - 1) * 8 * len(plan.slices.planes) * math.prod(plan.grid.shape)


def difference(before: Sample, after: Sample) -> Difference:
    """Return the difference between two samples; common atoms are listed in the order of the second sample.

    A common atom has the same element, position and thermal sigma in both samples.
    """
    old, new = _rows(before), _rows(after)
    _, stayed_before, stayed_after = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    order = np.argsort(stayed_after)
    return Difference(
        stayed_before=stayed_before[order],
        stayed_after=stayed_after[order],
        went=np.setdiff1d(np.arange(old.size), stayed_before),
        came=np.setdiff1d(np.arange(new.size), stayed_after),
    )


def _rows(sample: Sample) -> np.ndarray:
    """Return one comparable value per atom."""
    table = np.ascontiguousarray(np.column_stack([sample.numbers, sample.positions_angstrom, _sigma(sample)]) + 0.0)
    return table.view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))).ravel()


def _sigma(sample: Sample) -> np.ndarray:
    return np.zeros(len(sample)) if sample.thermal_sigma_angstrom is None else sample.thermal_sigma_angstrom


def _same_but_atoms(request: Request, plan: Plan, other: Request, other_plan: Plan) -> bool:
    """Return True if the operator of a request can be updated for another request, which differs only in atoms, optics and scan."""
    same = operator_cache.surroundings(request, plan) == operator_cache.surroundings(other, other_plan) and request.tolerance == other.tolerance
    same = same and (request.film_slices_angstrom, request.growing_windows) == (other.film_slices_angstrom, other.growing_windows)
    return same and other.beam.semiangle_mrad <= request.beam.semiangle_mrad * (1 + 1e-12)


def _moved(atoms: PlacedAtoms, request: Request, found: Difference, plan: Plan, changes: int) -> PlacedAtoms | None:
    """Return the atoms after a change, or None if an atom requires new slices."""
    sample = request.sample
    assert isinstance(sample, Sample)
    z = sample.positions_angstrom[found.came, 2]
    index = np.empty(len(sample), int)
    index[found.stayed_after] = atoms.index[found.stayed_before]
    index[found.came] = np.searchsorted(plan.slices.edges, z)
    if (np.abs(z - plan.slices.planes[index[found.came]]) > LARGEST_OFF).any():
        return None
    if sample.sites is not None:  # displacements belong to sites and are the same in a new build
        own = tuple(slice_stacks.positions(request, number) - sample.positions_angstrom for number in range(len(atoms.displacements)))
        return PlacedAtoms(sample=sample, index=index, displacements=own)
    carried = np.array_equal(found.came, found.went) and np.array_equal(_sigma(atoms.sample)[found.went], _sigma(sample)[found.came])  # they moved
    displacements = []
    for number, old in enumerate(atoms.displacements):
        new = np.zeros((len(sample), 3))
        new[found.stayed_after] = old[found.stayed_before]
        if carried:
            new[found.came] = old[found.went]
        elif request.thermal_motion == "frozen" and sample.thermal_sigma_angstrom is not None:
            stream = np.random.SeedSequence(request.seed, spawn_key=(ARRIVALS_STREAM, number, changes))
            rng = np.random.Generator(np.random.Philox(stream))
            new[found.came] = phonons.displacements(sample.thermal_sigma_angstrom[found.came], rng)
        displacements.append(new)
    return PlacedAtoms(sample=sample, index=index, displacements=tuple(displacements))


def _changed(
    stack: SliceStack, request: Request, plan: Plan, before: PlacedAtoms, after: PlacedAtoms, found: Difference, number: int, reach: float | None
) -> SliceStack:
    """Return the slices of one configuration after a change."""
    then, now = (atoms.sample.positions_angstrom + atoms.displacements[number] for atoms in (before, after))
    gone, absent = np.full((found.went.size, 3), np.nan), np.full((found.came.size, 3), np.nan)
    sigma = None
    if request.thermal_motion == "damped":
        old, new = before.sample.thermal_sigma_angstrom, after.sample.thermal_sigma_angstrom
        assert old is not None  # Request requires them
        assert new is not None
        sigma = np.concatenate([new[found.stayed_after], old[found.went], new[found.came]])
    transmission = stack.transmission.copy()
    potential.update_transmissions(
        transmission,
        np.concatenate([then[found.stayed_before], then[found.went], absent]),
        np.concatenate([now[found.stayed_after], gone, now[found.came]]),
        np.concatenate([after.sample.numbers[found.stayed_after], before.sample.numbers[found.went], after.sample.numbers[found.came]]),
        replace(plan.slices, index=np.concatenate([after.index[found.stayed_after], before.index[found.went], after.index[found.came]])),
        plan.grid,
        electrons.interaction_constant(request.beam.energy_ev),
        parametrization=request.parametrization,
        oversampling=request.oversampling,
        sigma=sigma,
        reach=reach,
    )
    return replace(stack, transmission=transmission)


def _regions(before: PlacedAtoms, after: PlacedAtoms, found: Difference) -> Sequence[local_operator.Region]:
    """Return a square around each position of an atom that vanished or appeared, in any configuration."""
    places = [
        atoms.sample.positions_angstrom[which] + d[which] for atoms, which in ((before, found.went), (after, found.came)) for d in atoms.displacements
    ]
    return [((y - SEEN, y + SEEN), (x - SEEN, x + SEEN)) for x, y in np.concatenate(places)[:, :2].tolist()]
