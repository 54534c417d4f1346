"""Crystals: primitive cells, mixed sites, what is refused."""

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.builders import Cut, build_sample, specimen_rng
from stemtwin.twin.samples.crystal import Crystal, draw_sites, primitive


def of_ase(name: str, structure: str, **lattice: float) -> Crystal:
    """Return the cubic cell of one of ASE's crystals."""
    atoms = bulk(name, structure, cubic=True, **lattice)
    return Crystal(name=name, cell=np.array(atoms.cell.array), fractional=atoms.get_scaled_positions(), numbers=np.array(atoms.numbers))


def same_points(first: Crystal, second: Crystal) -> bool:
    """Return whether two cells describe the same atoms in space: each site of either one is a site of the other, modulo its lattice."""
    for one, other in ((first, second), (second, first)):
        for place, number in zip(one.fractional @ one.cell, one.numbers, strict=True):
            away = place @ np.linalg.inv(other.cell) - other.fractional[other.numbers == number]
            away -= np.round(away)
            if np.linalg.norm(away @ other.cell, axis=1).min() > 1e-6:
                return False
    return True


@pytest.mark.parametrize(
    ("crystal", "fold"),
    [
        (of_ase("Au", "fcc", a=4.078), 4),
        (of_ase("Si", "diamond", a=5.431), 4),
        (of_ase("Fe", "bcc", a=2.87), 2),
        (of_ase("NaCl", "rocksalt", a=5.64), 4),
        (of_ase("CsCl", "cesiumchloride", a=4.12), 1),
    ],
)
def test_primitive_cells(crystal: Crystal, fold: int) -> None:
    """Face-centred cells hold four primitive ones, body-centred two, primitive ones one; the atoms stay where they are."""
    small = primitive(crystal)
    assert small.volume == pytest.approx(crystal.volume / fold)
    assert len(small.numbers) * fold == len(crystal.numbers)
    assert same_points(crystal, small)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), repeats=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)))
def test_a_supercell_is_undone(seed: int, repeats: tuple[int, int, int]) -> None:
    """The primitive cell of a supercell of any crystal is that crystal's cell again, in volume and atoms."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(4, 6, 3)) + rng.uniform(-0.5, 0.5, (3, 3))
    places = rng.random((3, 3)) * 0.2 + np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5]])
    one = Crystal(name="one", cell=cell, fractional=places, numbers=np.array([79, 8, 8]))
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in repeats], indexing="ij"), axis=-1).reshape(-1, 3)
    many = Crystal(
        name="many",
        cell=cell * np.array(repeats)[:, None],
        fractional=(grid[:, None] + places[None]).reshape(-1, 3) / np.array(repeats),
        numbers=np.tile(one.numbers, len(grid)),
    )
    small = primitive(many)
    assert small.volume == pytest.approx(one.volume)
    assert same_points(one, small)


def test_a_vacancy_keeps_the_supercell() -> None:
    """A supercell with one atom less, or with another occupancy or thermal sigma at one site, has no smaller cell."""
    gold = of_ase("Au", "fcc", a=4.078)
    lacking = Crystal(name="lacking", cell=gold.cell, fractional=gold.fractional[1:], numbers=gold.numbers[1:])
    assert primitive(lacking) is lacking
    for field in ("occupancy", "sigma"):
        marked = Crystal(name="marked", cell=gold.cell, fractional=gold.fractional, numbers=gold.numbers, **{field: np.array([0.5, 0.1, 0.1, 0.1])})
        assert primitive(marked) is marked


def drawn(fractional: list[list[float]], numbers: list[int], occupancy: list[float], seed: int = 0) -> dict[int, int]:
    """Return how many atoms of each element a sample of 20 x 20 x 20 cells of 4 A holds; no two atoms come nearer than 0.6 A."""
    crystal = Crystal(name="mixed", cell=4 * np.eye(3), fractional=np.array(fractional), numbers=np.array(numbers), occupancy=np.array(occupancy))
    sample = build_sample(crystal, Cut(size_angstrom=(80, 80), thickness_angstrom=80, seed=seed), name="mixed")
    assert np.array_equal(np.unique(sample.positions_angstrom, axis=0), sample.positions_angstrom[np.lexsort(sample.positions_angstrom.T[::-1])])
    return {number: int(np.sum(sample.numbers == number)) for number in numbers}


def test_shared_sites_hold_one_atom_in_the_right_share() -> None:
    """8000 places shared 0.3 : 0.7 hold 8000 atoms, the share within 4 standard deviations (sqrt(n p q) = 41)."""
    counts = drawn([[0, 0, 0], [0, 0, 0]], [38, 56], [0.3, 0.7])
    assert sum(counts.values()) == 8000
    assert abs(counts[38] - 2400) < 4 * 41
    assert counts != drawn([[0, 0, 0], [0, 0, 0]], [38, 56], [0.3, 0.7], seed=1)
    assert counts == drawn([[0, 0, 0], [0, 0, 0]], [38, 56], [0.3, 0.7])


def test_partly_filled_sites_are_empty_in_the_right_share() -> None:
    """A place with occupancies 0.2 and 0.3 is empty half of the time; a full neighbour is never touched."""
    counts = drawn([[0, 0, 0], [0, 0, 0], [0.5, 0.5, 0.5]], [38, 56, 8], [0.2, 0.3, 1.0])
    assert abs(counts[38] - 1600) < 4 * 36
    assert abs(counts[56] - 2400) < 4 * 41
    assert counts[8] == 8000


def test_split_sites_are_never_filled_both() -> None:
    """Two half-filled sites 0.4 A apart, also around the edge of the cell, hold exactly one atom, each half of the time."""
    counts = drawn([[0.95, 0, 0], [0.05, 0, 0]], [1, 2], [0.5, 0.5])
    assert sum(counts.values()) == 8000
    assert abs(counts[1] - 4000) < 4 * 45


def test_a_ring_of_split_sites_holds_no_neighbours() -> None:
    """Six sites of occupancy 0.5 around a ring of radius 0.5 A (neighbours 0.5 A apart) are drawn so that no two neighbours are filled."""
    angle = np.arange(6) * np.pi / 3
    positions = np.column_stack([2 + 0.5 * np.cos(angle), 2 + 0.5 * np.sin(angle), np.ones(6)])
    seen = set()
    for seed in range(30):
        filled, count = draw_sites(positions, np.full(6, 0.5), np.array([4.0, 4, 4]), specimen_rng(seed), periodic=True, name="ring")
        assert count == 1
        assert not np.any(filled & np.roll(filled, 1))
        seen.add(int(filled.sum()))
    assert max(seen) >= 2


def test_occupancies_beyond_one_are_refused() -> None:
    """Occupancies of one place that sum to 1.3, or a partial atom on top of a full one, raise with the sum."""
    with pytest.raises(StructureFileError, match=r"sum to 1\.300"):
        drawn([[0, 0, 0], [0, 0, 0]], [38, 56], [0.6, 0.7])
    with pytest.raises(StructureFileError, match=r"sum to 1\.200"):
        drawn([[0, 0, 0], [0, 0, 0]], [38, 56], [1.0, 0.2])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cell": np.zeros((3, 3))}, "cell without volume: lengths 0, 0, 0 A"),
        ({"cell": np.array([[4.0, 0, 0], [0, 4, 0], [4, 4, 0]])}, r"cell without volume: .* volume 0 A\^3"),
        ({"fractional": np.array([[0, 0, np.nan]])}, "not finite numbers"),
        ({"occupancy": np.array([1.4])}, "occupancy 1.4"),
        ({"occupancy": np.array([-0.1])}, "occupancy -0.1"),
        ({"numbers": np.array([], dtype=int), "fractional": np.empty((0, 3))}, "holds no atoms"),
    ],
)
def test_broken_crystals_are_refused(changes: dict[str, object], words: str) -> None:
    """A zero or flat cell, broken coordinates or occupancies and an empty cell raise, each with its own sentence."""
    settings_ = {"name": "broken", "cell": 4 * np.eye(3), "fractional": np.zeros((1, 3)), "numbers": np.array([79])}
    with pytest.raises(StructureFileError, match=words):
        Crystal(**(settings_ | changes))
