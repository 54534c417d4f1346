"""Neighbours and bonds: against all distances, and the textbook's coordination numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.defects import remove
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.neighbours import bond_limits, edge_atoms, find_bonds, steps_from, within
from stemtwin.twin.samples.sample import Sample


def scattered(seed: int, count: int, periodic: bool) -> Sample:
    """Return atoms of three elements at random, at least 0.5 A apart, in a box of 9 x 7 x 5 A (x, y, z)."""
    rng = np.random.default_rng(seed)
    places: list[np.ndarray] = []
    while len(places) < count:
        trial = rng.random(3) * [9, 7, 5]
        if all(np.linalg.norm(trial - other) > 0.5 for other in all_images(places)):
            places.append(trial)
    return Sample(
        name="scattered",
        numbers=rng.choice([6, 16, 42], count),
        positions_angstrom=np.array(places).reshape(-1, 3),
        size_angstrom=(7, 9),
        thickness_angstrom=5,
        periodic=periodic,
    )


def all_images(places: list[np.ndarray]) -> list[np.ndarray]:
    """Return places and their images in the eight cells around."""
    return [place + np.array([9.0 * i, 7.0 * j, 0]) for place in places for i in (-1, 0, 1) for j in (-1, 0, 1)]


def table(sample: Sample) -> np.ndarray:
    """Return all distances (n, n), around the edges where the sample repeats, by trying every image."""
    p, shifts = sample.positions_angstrom, [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)] if sample.periodic else [(0, 0)]
    return np.min([np.linalg.norm(p[None] + np.array([9.0 * i, 7.0 * j, 0]) - p[:, None], axis=-1) for i, j in shifts], axis=0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), periodic=st.booleans(), limit=st.floats(0.6, 3.4))
def test_bonds_are_the_short_distances(seed: int, count: int, periodic: bool, limit: float) -> None:
    """With one limit for all, the bonds are the pairs below it, from both ends, with their vectors; of() gives them by length."""
    sample = scattered(seed, count, periodic)
    bonds, distances = find_bonds(sample, limit), table(sample)
    np.fill_diagonal(distances, np.inf)
    wanted = np.argwhere(distances <= limit)
    assert sorted(zip(bonds.first.tolist(), bonds.second.tolist(), strict=True)) == sorted(map(tuple, wanted.tolist()))
    np.testing.assert_allclose(bonds.length, distances[bonds.first, bonds.second])
    np.testing.assert_allclose(np.linalg.norm(bonds.step, axis=1), bonds.length)
    assert np.array_equal(bonds.coordination, (distances <= limit).sum(axis=1))
    for atom in range(count):
        assert set(bonds.of(atom)) == set(np.flatnonzero(distances[atom] <= limit))
        assert np.all(np.diff(distances[atom, bonds.of(atom)]) >= -1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), periodic=st.booleans(), radius=st.floats(0, 6))
def test_within_is_the_ball(seed: int, periodic: bool, radius: float) -> None:
    """The atoms around an atom are those of the full table, the nearest (itself) first."""
    sample = scattered(seed, 20, periodic)
    atoms, distances = within(sample, sample.positions_angstrom[7], radius)
    row = table(sample)[7]
    assert atoms[0] == 7
    assert set(atoms) == set(np.flatnonzero(row <= radius))
    np.testing.assert_allclose(distances, row[atoms], atol=1e-12)
    assert np.all(np.diff(distances) >= -1e-8)


@pytest.mark.parametrize(
    ("name", "coordination"),
    [
        ("graphene", {"C": 3}),
        ("graphene-si", {"C": 3, "Si": 3}),
        ("mos2-1h", {"Mo": 6, "S": 3}),
        ("mote2-1h", {"Mo": 6, "Te": 3}),
    ],
)
def test_coordination_in_sheets(name: str, coordination: dict[str, int]) -> None:
    """Every carbon atom has three bonds, every metal six and every chalcogen three; nobody stands at an edge."""
    sample = load_sample(name)
    bonds = find_bonds(sample)
    for symbol, count in coordination.items():
        assert set(bonds.coordination[np.array(sample.symbols) == symbol]) == {count}
    assert not edge_atoms(sample, bonds).any()


@pytest.mark.parametrize(
    ("name", "symbol", "count"),
    [
        ("si-110", "Si", 4),
        ("gaas-110", "Ga", 4),
        ("cdte-110", "Te", 4),
        ("au-001", "Au", 12),
        ("al-110", "Al", 12),
        ("fe-001", "Fe", 8),
        ("srtio3-001", "Ti", 6),
        ("srtio3-001", "Sr", 12),
        ("lafeo3-001", "Fe", 6),
    ],
)
def test_coordination_in_crystals(name: str, symbol: str, count: int) -> None:
    """Deep inside a crystal: 4 in diamond, 12 in fcc, 8 in bcc, 6 oxygen around Ti and 12 around Sr; the faces along the beam are edges."""
    sample = load_sample(name)
    bonds, z = find_bonds(sample), sample.positions_angstrom[:, 2]
    inside = (np.array(sample.symbols) == symbol) & (z > 6) & (z < z.max() - 6)
    assert set(bonds.coordination[inside]) == {count}
    edge = edge_atoms(sample, bonds)
    assert edge[z == z.min()].all()
    assert not edge[inside].any()


def test_edges_are_around_a_vacancy() -> None:
    """One carbon atom less leaves three at an edge, its former neighbours, with two bonds each."""
    sheet = load_sample("graphene")
    near = find_bonds(sheet).of(17)
    hole = remove(sheet, [17])
    assert np.array_equal(np.flatnonzero(edge_atoms(hole)), np.sort(near - (near > 17)))


def test_metals_bond_to_metals_unless_they_are_cations() -> None:
    """The limits between metals come from their own crystals (Au: 1.12 x 2.885 A), those with non-metals from covalent radii (C-C: 1.2 x 1.52 A)."""
    limits = bond_limits(np.array([6, 79]))
    assert limits[1, 1] == pytest.approx(1.12 * 4.08 / 2**0.5)
    assert limits[0, 0] == pytest.approx(1.2 * 1.52)
    oxide = load_sample("srtio3-001")
    bonds = find_bonds(oxide)
    assert np.all((oxide.numbers[bonds.first] == 8) != (oxide.numbers[bonds.second] == 8))


def test_steps_are_the_shortest() -> None:
    """From one edge of a periodic box to the other the step goes around; in a box that does not repeat it goes across."""
    sample = Sample(name="s", numbers=[6, 6], positions_angstrom=[[0.5, 1, 0], [8.5, 6, 1]], size_angstrom=(7, 9), thickness_angstrom=5)
    np.testing.assert_allclose(steps_from(sample, sample.positions_angstrom[0])[1], [-1, -2, 1])
    alone = Sample(
        name="s", numbers=[6, 6], positions_angstrom=[[0.5, 1, 0], [8.5, 6, 1]], size_angstrom=(7, 9), thickness_angstrom=5, periodic=False
    )
    np.testing.assert_allclose(steps_from(alone, alone.positions_angstrom[0])[1], [8, 5, 1])


def test_bonds_that_cannot_be_told_are_refused() -> None:
    """A limit of nothing, and a box that repeats within two bonds, raise."""
    with pytest.raises(SettingsError, match="longest_angstrom=0 must be above 0 A"):
        find_bonds(load_sample("graphene"), 0)
    with pytest.raises(SettingsError, match="less than twice the longest bond"):
        find_bonds(load_sample("graphene", size_angstrom=(2, 2)))
