"""A local operator that follows its specimen: where atoms move, come or go, what sees them is computed again, and nothing else.

The optics, the scan and any number of atoms may change from one image to the next; whatever else changes has the operator built anew. What differs
from a new build: transmissions are changed near the atoms only (1e-4 of their largest change at most, see `potential.update_transmissions`; exact
again after every `RENEWED` changes), planes stay where they were cut at first, and of frozen phonons an atom that came or went takes its own
displacements with it, where a new build would draw other ones for all atoms behind it in the list.
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
"""exp(i sigma V) is computed again nearer than this to an atom that moved, A."""
SEEN = 1.5
"""Functions that see the specimen nearer than this to an atom that moved are propagated again, A along x and y."""
RENEWED = 256
"""After so many changes, the slices of the next one are computed as a whole."""
LARGEST_OFF = 1.0
"""An atom further than this from the plane of its slice, A, needs another cut, and so a new operator."""
LARGEST_SHARE = 0.25
"""Largest fraction of atoms that may change; above it the operator is built anew, and checked anew."""
ARRIVALS_STREAM = 10
"""First part of the spawn key of the thermal displacements of atoms that came."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlacedAtoms:
    """The atoms as the operator has them.

    Parameters
    ----------
    sample : Sample
        Where they are without thermal motion.
    index : ndarray
        To which slice each belongs, int, shape (n,).
    displacements : tuple of ndarray
        Of each frozen-phonon configuration, A, shape (n, 3).
    """

    sample: Sample
    index: np.ndarray
    displacements: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """Difference of two samples: indices of the atoms that stayed in both, of those that went and of those that came."""

    stayed_before: np.ndarray
    stayed_after: np.ndarray
    went: np.ndarray
    came: np.ndarray


class ChangingOperator:
    """Images of a specimen whose atoms move under the beam, by one local operator that is brought up to date.

    Give each image's request to `expected`, in their order: what it gives depends, within the tolerance, on the requests before. Safe under several
    threads, which then take turns.

    Attributes
    ----------
    changes : int
        How often the specimen has changed since the operator was built and checked.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._lock = threading.Lock()
        self._held: tuple[local_operator.LocalOperator, PlacedAtoms, Request, Plan] | None = None

    def expected(self, request: Request, plan: Plan | None = None, *, progress: Progress | None = None) -> Signals:
        """Return signals, their relative standard errors, and their exactness, as ``simulate.expected`` does.

        Parameters
        ----------
        request : Request
            With ``engine="local"``, or a plan that says so.
        plan : Plan, optional
            From `plan.make_plan`.
        progress : callable, optional
            Called with the number of functions just propagated.

        Raises
        ------
        SettingsError
            The sample is a potential, which has no atoms, another engine is asked for, or the slices of all configurations, which changes hold, need
            more memory than there is.
        """
        plan = make_plan(request) if plan is None else plan
        with self._lock:
            operator = self._current(request, plan, progress)
            values, error, remark = local.image_signals(operator, request)
        return values, error, remark + (f"; before {self.changes} changes of the specimen" if self.changes else "")

    def _current(self, request: Request, plan: Plan, progress: Progress | None) -> local_operator.LocalOperator:
        """Return the operator of a request, brought up to date or built."""
        if plan.engine != local.NAME or not isinstance(request.sample, Sample):
            message = (
                f"Only local operators of atoms follow changes, not engine={plan.engine!r} of {request.sample!r}. Use engine='local' and a Sample."
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
            self._held = None  # what is stopped in the middle is built anew
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
    """Return the peak of images of a changing specimen, bytes: a change holds all configurations as they were and are, where a plan counts one."""
    return plan.memory_bytes + (2 * plan.configurations - 1) * 8 * len(plan.slices.planes) * math.prod(plan.grid.shape)


def difference(before: Sample, after: Sample) -> Difference:
    """Return the atoms that two samples share: the same element at the same place with the same thermal sigma; in the order of the second."""
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
    """Return whether an operator of one request serves another one, but for the atoms."""
    same = operator_cache.surroundings(request, plan) == operator_cache.surroundings(other, other_plan) and request.tolerance == other.tolerance
    same = same and (request.film_slices_angstrom, request.growing_windows) == (other.film_slices_angstrom, other.growing_windows)
    return same and other.beam.semiangle_mrad <= request.beam.semiangle_mrad * (1 + 1e-12)


def _moved(atoms: PlacedAtoms, request: Request, found: Difference, plan: Plan, changes: int) -> PlacedAtoms | None:
    """Return the atoms as they are now, or None where one needs another cut."""
    sample = request.sample
    assert isinstance(sample, Sample)
    z = sample.positions_angstrom[found.came, 2]
    index = np.empty(len(sample), int)
    index[found.stayed_after] = atoms.index[found.stayed_before]
    index[found.came] = np.searchsorted(plan.slices.edges, z)
    if (np.abs(z - plan.slices.planes[index[found.came]]) > LARGEST_OFF).any():
        return None
    if sample.sites is not None:  # each site has a motion of its own, the same in a new build
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
    """Return the slices of one configuration as they are now."""
    then, now = (atoms.sample.positions_angstrom + atoms.displacements[number] for atoms in (before, after))
    gone, absent = np.full((found.went.size, 3), np.nan), np.full((found.came.size, 3), np.nan)
    sigma = None
    if request.thermal_motion == "damped":
        old, new = before.sample.thermal_sigma_angstrom, after.sample.thermal_sigma_angstrom
        assert old is not None  # Request asked for them
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
    """Return a square about each place that an atom left or came to, in any configuration."""
    places = [
        atoms.sample.positions_angstrom[which] + d[which] for atoms, which in ((before, found.went), (after, found.came)) for d in atoms.displacements
    ]
    return [((y - SEEN, y + SEEN), (x - SEEN, x + SEEN)) for x, y in np.concatenate(places)[:, :2].tolist()]
