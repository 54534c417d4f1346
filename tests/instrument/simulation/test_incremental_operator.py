"""A local operator that follows its specimen: the same images as one built anew, for less work."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import incremental_operator, memory
from stemtwin.twin.instrument.simulation.incremental_operator import ChangingOperator, difference
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=80e3, semiangle_mrad=25, aberrations=Aberrations(C10=15))
DARK = AnnularDetector(inner_mrad=50, outer_mrad=90)


@pytest.fixture(scope="module")
def asked() -> Request:
    """An image of all of a small sheet of MoS2."""
    sample = load_sample("mos2-1h", size_angstrom=(27, 27))
    scan = RasterScan(shape=(24, 24), field_of_view_angstrom=sample.size_angstrom)
    return Request(sample=sample, beam=BEAM, scan=scan, detectors=(DARK,), engine="local", phonons="static", tolerance=0.02)


def with_atoms(request: Request, numbers: np.ndarray, positions: np.ndarray) -> Request:
    """Return the request of a specimen with other atoms."""
    sample, keep = request.sample, np.searchsorted([16, 42], numbers)
    by_element = np.array([sample.thermal_sigma_angstrom[sample.numbers == n][0] for n in (16, 42)])
    changed = replace(sample, numbers=numbers, positions_angstrom=positions, thermal_sigma_angstrom=by_element[keep], recipe="")
    return replace(request, sample=changed)


def moved(request: Request, atoms: list[int], step: tuple[float, float, float]) -> Request:
    """Return the request after some atoms moved, around the edges of the box."""
    at = request.sample.positions_angstrom.copy()
    at[atoms] += step
    at[:, :2] %= request.sample.size_angstrom[::-1]
    return with_atoms(request, request.sample.numbers, at)


def apart(found: np.ndarray, true: np.ndarray) -> float:
    """Return the rms difference of two images over the mean."""
    return float(np.sqrt(((found - true) ** 2).mean()) / true.mean())


@pytest.mark.parametrize("phonons", ["static", pytest.param(2, marks=pytest.mark.slow)])
def test_moved_atoms_give_the_image_of_a_new_build_for_less_work(asked: Request, phonons: int | str) -> None:
    """After moves across the edge, with other optics too, the image is within 1e-3 of a new build's, with the same frozen phonons, and costs less."""
    asked = replace(asked, phonons=phonons)
    held, first, work = ChangingOperator(), [], []
    before = held.expected(asked, progress=first.append)[0]
    other = replace(BEAM, aberrations=Aberrations(C10=-20), semiangle_mrad=22)
    corner = int(np.argmin(asked.sample.positions_angstrom[:, :2].sum(axis=1)))
    after = replace(moved(asked, [corner], (-0.9, 0.4, 0.1)), beam=other)
    values, error, remark = held.expected(after, progress=work.append)
    assert 0 < sum(work) < 0.7 * sum(first)
    anew = ChangingOperator()
    anew.expected(replace(after, beam=BEAM))
    true, its_error, _ = anew.expected(after)
    assert apart(values, true) < 1e-3
    there = held.expected(replace(after, beam=BEAM))[0]
    assert apart(there, before) > 0.02
    assert apart(there, values) > 0.02
    assert "before 1 changes" in remark
    np.testing.assert_allclose(error, its_error, rtol=0.5)


@pytest.mark.slow
def test_many_small_changes_do_not_add_up_to_an_error(asked: Request) -> None:
    """After vacancies, an atom put back elsewhere and many moves, the image is that of an operator built anew within 1e-3."""
    held, request, rng = ChangingOperator(), asked, np.random.default_rng(2)
    held.expected(request)
    numbers, at = request.sample.numbers, request.sample.positions_angstrom
    sulphur = np.flatnonzero(numbers == 16)
    for gone in ([sulphur[2]], [sulphur[9], sulphur[14]]):
        keep = np.setdiff1d(np.arange(len(numbers)), gone)
        request = with_atoms(asked, numbers[keep], at[keep])
        held.expected(request)
    numbers, at = request.sample.numbers, request.sample.positions_angstrom
    request = with_atoms(asked, np.append(numbers, 16), np.vstack([at, at[numbers == 16][0] + (1.3, 0.7, -0.2)]))
    for _ in range(4):
        request = moved(request, rng.choice(len(request.sample), 2).tolist(), tuple(rng.uniform(-0.1, 0.1, 3)))
        values = held.expected(request)[0]
    assert held.changes == 6
    assert apart(values, ChangingOperator().expected(request)[0]) < 1e-3


def test_atoms_that_stay_keep_their_thermal_displacements(asked: Request) -> None:
    """After an atom is gone, the frozen configuration is the one before without this atom; a list in another order is the same specimen."""
    asked = replace(asked, phonons=1)
    held, gone = ChangingOperator(), 5
    held.expected(asked)
    keep = np.setdiff1d(np.arange(len(asked.sample)), [gone])
    request = with_atoms(asked, asked.sample.numbers[keep], asked.sample.positions_angstrom[keep])
    values = held.expected(request)[0]
    _, atoms, _, _ = held._held
    reference = ChangingOperator()
    reference.expected(asked)
    np.testing.assert_array_equal(atoms.displacements[0], reference._held[1].displacements[0][keep])
    turned = keep[::-1]
    again = held.expected(with_atoms(asked, asked.sample.numbers[turned], asked.sample.positions_angstrom[turned]))[0]
    np.testing.assert_array_equal(values, again)
    assert held.changes == 1


@pytest.mark.slow
def test_what_is_no_change_of_atoms_is_built_anew(asked: Request) -> None:
    """Another detector, a larger convergence, an atom far from all planes, or a wholly different specimen has the operator built and checked anew."""
    held = ChangingOperator()
    held.expected(moved(asked, [1], (0.2, 0.1, 0.0)))
    held.expected(asked)
    assert held.changes == 1
    for change in (
        replace(asked, detectors=(replace(DARK, inner_mrad=55),)),
        replace(asked, beam=replace(BEAM, semiangle_mrad=26)),
        moved(asked, [int(np.argmax(asked.sample.positions_angstrom[:, 2]))], (0.0, 0.0, 1.2)),
        moved(asked, list(range(0, len(asked.sample), 3)), (0.05, 0.0, 0.0)),
    ):
        held.expected(moved(asked, [4], (0.1, 0.1, 0.0)))
        operator = held._held[0]
        values, _, remark = held.expected(change)
        assert held._held[0] is not operator
        assert held.changes == 0
        assert "changes" not in remark
    np.testing.assert_array_equal(values, ChangingOperator().expected(change)[0])


def test_only_atoms_and_only_local_operators_change(asked: Request) -> None:
    """A potential has no atoms to follow, and other engines no local operator: refused with the repair."""
    nothing = PotentialSlices(array=np.zeros((1, 160, 160)), sampling_angstrom=(0.125, 0.125), z_angstrom=np.zeros(1))
    for request in (replace(asked, sample=nothing), replace(asked, engine="multislice")):
        with pytest.raises(SettingsError, match="Use engine='local' and a Sample"):
            ChangingOperator().expected(request, make_plan(request))


def test_memory_of_all_configurations(asked: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change holds every configuration twice, so that what fits as one image may be refused as the first of many."""
    plan = make_plan(replace(asked, phonons=4))
    stack = plan.slices.planes.size * plan.grid.shape[0] * plan.grid.shape[1] * np.dtype(np.complex64).itemsize
    assert incremental_operator.needed_bytes(plan) == plan.memory_bytes + 7 * stack
    monkeypatch.setattr(memory, "fits", lambda needed: needed <= plan.memory_bytes)
    with pytest.raises(SettingsError, match="GiB of memory"):
        ChangingOperator().expected(replace(asked, phonons=4), plan)


@given(data=st.data())
@settings(max_examples=40)
def test_the_difference_of_two_samples(data: st.DataObject) -> None:
    """What stayed is in both, what went only in the first, what came only in the second, whatever their order, and nothing is left out."""
    lattice = [(x, y) for x in range(4) for y in range(4)]
    first, second = (data.draw(st.lists(st.sampled_from(lattice), unique=True, max_size=12)) for _ in range(2))

    def sample(places: list[tuple[int, int]]) -> Sample:
        at = np.array([(x, y, 0.5) for x, y in places], float).reshape(-1, 3)
        return Sample(name="dots", numbers=np.full(len(places), 6), positions_angstrom=at, size_angstrom=(4, 4), thickness_angstrom=1)

    found = difference(sample(first), sample(second))
    assert [first[i] for i in found.stayed_before] == [second[i] for i in found.stayed_after]
    assert sorted([*found.stayed_before, *found.went]) == list(range(len(first)))
    assert sorted([*found.stayed_after, *found.came]) == list(range(len(second)))
    assert {first[i] for i in found.went} == set(first) - set(second)
    assert {second[i] for i in found.came} == set(second) - set(first)
