"""Sheets: graphene with its defects, dichalcogenide layers with theirs."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.dichalcogenides import LAYERS, half_height
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.neighbours import Bonds, edge_atoms, find_bonds
from stemtwin.twin.samples.sample import Sample


def rings(bonds: Bonds) -> dict[int, int]:
    """Return how many faces of each size a flat network has: walk from each bond, always taking the next one clockwise, until it closes."""
    angle = np.arctan2(bonds.step[:, 1], bonds.step[:, 0])
    sizes: dict[int, int] = {}
    seen = np.zeros(len(bonds.first), dtype=bool)
    index = {pair: k for k, pair in enumerate(zip(bonds.first.tolist(), bonds.second.tolist(), strict=True))}
    for begin in range(len(seen)):
        bond, size = begin, 0
        while not seen[bond]:
            seen[bond], size = True, size + 1
            here = bonds.second[bond]
            ours = np.arange(bonds.start[here], bonds.start[here + 1])
            back = index[int(here), int(bonds.first[bond])]
            turn = (angle[back] - angle[ours]) % (2 * np.pi)
            turn[ours == back] = 2 * np.pi
            bond = int(ours[np.argmin(turn)])
        if size:
            sizes[size] = sizes.get(size, 0) + 1
    return sizes


def test_a_rotated_bond_is_two_pentagons_and_two_heptagons() -> None:
    """Stone-Wales: Euler's relation keeps the number of rings; each rotated bond turns four hexagons into two pentagons and two heptagons."""
    sheet = load_sample("graphene", size_angstrom=(25, 25))
    assert rings(find_bonds(sheet)) == {6: len(sheet) // 2}
    sample = load_sample("graphene", size_angstrom=(25, 25), bond_rotations=3, seed=1)
    bonds = find_bonds(sample)
    assert rings(bonds) == {5: 6, 6: len(sheet) // 2 - 12, 7: 6}
    assert set(bonds.coordination) == {3}
    assert np.all((bonds.length > 1.41) & (bonds.length < 1.52))  # calculated: 1.32 to 1.47 A after relaxation
    assert [one.name for one in sample.defects] == ["55-77"] * 3
    places = np.array([one.position_angstrom for one in sample.defects])
    assert np.abs(places[0] - places[1]).max() > 4


def test_missing_pairs_are_divacancies() -> None:
    """A divacancy is one ring of eight around two atoms that were bonded; four atoms have two bonds."""
    sample = load_sample("graphene", size_angstrom=(25, 25), divacancies=2, seed=3)
    assert [(one.name, one.removed) for one in sample.defects] == [("V_2C", ("C", "C"))] * 2
    bonds = find_bonds(sample)
    assert np.sum(bonds.coordination == 2) == 8
    assert edge_atoms(sample, bonds).sum() == 8
    assert rings(bonds)[14] == 2  # unreconstructed: the inner rings' 14 atoms


@pytest.mark.parametrize(("knob", "symbol", "length"), [("nitrogen_fraction", "N", 1.41), ("boron_fraction", "B", 1.48)])
def test_dopants_have_their_own_bonds(knob: str, symbol: str, length: float) -> None:
    """N-C is 1.41 A, B-C 1.48 A (density functional calculations agree within 0.02 A); everything stays threefold and flat."""
    sample = load_sample("graphene", size_angstrom=(30, 30), seed=4, **{knob: 0.01})
    bonds = find_bonds(sample)
    ours = np.array(sample.symbols)[bonds.first] == symbol
    assert sample.symbols.count(symbol) in (3, 4)
    np.testing.assert_allclose(bonds.length[ours], length, atol=1e-6)
    assert set(bonds.coordination) == {3}
    assert np.ptp(sample.positions_angstrom[:, 2]) == 0
    assert {one.name for one in sample.defects} == {f"{symbol}_C"}


def test_dense_doping_keeps_bonds_within_reason() -> None:
    """With a tenth of the sheet doped, neighbours of two dopants included, no bond leaves 1.30 to 1.60 A."""
    sample = load_sample("graphene", size_angstrom=(30, 30), nitrogen_fraction=0.05, boron_fraction=0.05, seed=4)
    assert find_bonds(sample).length.min() > 1.30
    assert find_bonds(sample).length.max() < 1.60
    with pytest.raises(SettingsError, match="sum to more than 1"):
        load_sample("graphene", nitrogen_fraction=0.6, boron_fraction=0.6)


def test_a_hole_is_a_hole() -> None:
    """A hole of 12 A: nothing within 6 A of the middle, about pi 6^2 x 0.382 atoms gone, no atom held by one bond, edges on the rim alone."""
    whole, sample = load_sample("graphene", size_angstrom=(30, 30)), load_sample("graphene", size_angstrom=(30, 30), hole_angstrom=12)
    middle = np.array([sample.size_angstrom[1], sample.size_angstrom[0]]) / 2
    away = np.linalg.norm(sample.positions_angstrom[:, :2] - middle, axis=1)
    assert away.min() >= 6
    assert len(whole) - len(sample) == pytest.approx(np.pi * 36 * 0.3816, rel=0.25)
    bonds = find_bonds(sample)
    assert bonds.coordination.min() == 2
    assert away[edge_atoms(sample, bonds)].max() < 8.5
    assert len(sample.defects) == 1
    assert len(sample.defects[0].removed) == len(whole) - len(sample)
    with pytest.raises(SettingsError, match="leaves no sheet"):
        load_sample("graphene", hole_angstrom=16)
    with pytest.raises(SettingsError, match="removes no atom"):
        load_sample("graphene", hole_angstrom=0.1)


@pytest.mark.parametrize(("edge", "axis"), [("zigzag", 1), ("armchair", 0)])
def test_ribbons_have_two_edges(edge: str, axis: int) -> None:
    """A ribbon is one piece with vacuum of 40 % of the cell: zigzag edges have all bonds to them equal, armchair ones have pairs of edge atoms."""
    sample = load_sample("graphene", size_angstrom=(26, 26), edge=edge)
    bonds = find_bonds(sample)
    graph = coo_array((np.ones(len(bonds.first)), (bonds.first, bonds.second)), shape=(len(sample),) * 2)
    assert connected_components(graph, directed=False)[0] == 1
    assert np.ptp(sample.positions_angstrom[:, axis]) == pytest.approx(0.6 * 26, abs=2.5)
    rim = edge_atoms(sample, bonds)
    ends = sorted(one.position_angstrom[axis] for one in sample.defects)
    assert [one.name for one in sample.defects] == [edge, edge]
    assert ends == pytest.approx([sample.positions_angstrom[:, axis].min(), sample.positions_angstrom[:, axis].max()])
    paired = np.bincount(bonds.first[rim[bonds.first] & rim[bonds.second]], minlength=len(sample))[rim]
    assert set(paired) == ({0} if edge == "zigzag" else {1})


def test_vacancies_keep_away_from_larger_defects() -> None:
    """With rotated bonds, divacancies, dopants and vacancies together each count is right, and the 55-77 bonds are whole."""
    sample = load_sample(
        "graphene",
        size_angstrom=(30, 30),
        bond_rotations=2,
        divacancies=2,
        nitrogen_fraction=0.02,
        boron_fraction=0.02,
        vacancy_fraction=0.02,
        seed=8,
    )
    names = [one.name for one in sample.defects]
    assert {name: names.count(name) for name in ("55-77", "V_2C")} == {"55-77": 2, "V_2C": 2}
    assert all(names.count(name) in (6, 7, 8) for name in ("V_C", "N_C", "B_C"))
    places = {kind: np.array([one.position_angstrom for one in sample.defects if one.name == kind]) for kind in ("55-77", "V_C")}
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0], 1e9])
    step = places["55-77"][:, None] - places["V_C"][None]
    assert np.linalg.norm(step - box * np.round(step / box), axis=-1).min() > 3
    with pytest.raises(SettingsError, match="fit at least"):
        load_sample("graphene", bond_rotations=50)
    with pytest.raises(SettingsError, match="needs more than the 92 atoms"):
        load_sample("graphene", divacancies=2, vacancy_fraction=0.95)


@pytest.mark.parametrize(("metal", "chalcogen"), list(LAYERS))
def test_height_of_a_layer_gives_back_the_published_distance(metal: str, chalcogen: str) -> None:
    """In its own lattice a chalcogen stands where it was measured."""
    a, across = LAYERS[metal, chalcogen]
    assert 2 * half_height(metal, chalcogen, a) == pytest.approx(across)


def counts(sample: Sample) -> dict[str, int]:
    """Return the number of atoms of each element."""
    return {symbol: sample.symbols.count(symbol) for symbol in sorted(set(sample.symbols))}


def test_vacancies_of_each_kind() -> None:
    """Of 30 Mo and 60 S: 10 % single S, 10 % of S columns, 10 % of Mo; counts, names and places in the records are those that are missing."""
    whole = load_sample("mos2-1h")
    sample = load_sample("mos2-1h", vacancy_fraction=0.1, column_vacancy_fraction=0.1, metal_vacancy_fraction=0.1, seed=7)
    names = [one.name for one in sample.defects]
    assert names.count("V_2S") == names.count("V_Mo") == 3
    assert names.count("V_S") in (5, 6)  # a tenth of the 54 that are left
    assert counts(sample) == {"Mo": 27, "S": 60 - 6 - names.count("V_S")}
    left = {tuple(place) for place in np.round(sample.positions_angstrom, 6).tolist()}
    before = {tuple(place) for place in np.round(whole.positions_angstrom, 6).tolist()}
    assert left < before
    missing = np.array(sorted(before - left))
    for one in sample.defects:
        here = np.linalg.norm(missing[:, :2] - np.array(one.position_angstrom[:2]), axis=1) < 1e-4
        assert here.sum() == len(one.removed)


@pytest.mark.parametrize("name", ["mos2-1h", "ws2-1h", "mose2-1h", "wse2-1h", "mote2-1h"])
def test_alloys_of_metals(name: str) -> None:
    """A fifth of the metals exchanged: the element beside it in the periodic table's column, the lattice between the two."""
    plain, sample = load_sample(name), load_sample(name, metal_fraction=0.2, seed=2)
    metal = "Mo" if name.startswith("mo") else "W"
    other = "W" if metal == "Mo" else "Mo"
    assert counts(sample)[other] == 6
    assert len(sample.defects) == 6
    assert abs(sample.size_angstrom[0] / plain.size_angstrom[0] - 1) < 0.003
    assert find_bonds(sample).coordination.max() == 6


def test_alloys_of_chalcogens_have_the_bonds_of_their_compounds() -> None:
    """MoS(2-2x)Se(2x), x = 0.5: half of the chalcogen, a half-way (Vegard), Mo-S 2.417 and Mo-Se 2.529 A as in MoS2 and MoSe2."""
    sample = load_sample("mos2-1h", chalcogen_fraction=0.5, seed=2)
    assert counts(sample) == {"Mo": 30, "S": 30, "Se": 30}
    assert sample.size_angstrom[1] / 5 == pytest.approx((3.16 + 3.289) / 2, rel=1e-9)
    bonds, symbols = find_bonds(sample), np.array(sample.symbols)
    for chalcogen, length in (("S", 2.417), ("Se", 2.529)):
        ours = symbols[bonds.first] == chalcogen
        np.testing.assert_allclose(bonds.length[ours], length, atol=1e-3)


@pytest.mark.parametrize(("side", "z_of_guest"), [("entrance", -1), ("exit", 1)])
def test_janus_layers(side: str, z_of_guest: int) -> None:
    """MoSSe: one side all selenium, the other all sulphur; a = 3.2245 A (calculated and measured: 3.22 to 3.25 A)."""
    sample = load_sample("mos2-1h", chalcogen_fraction=1, side=side)
    assert counts(sample) == {"Mo": 30, "S": 30, "Se": 30}
    z = sample.positions_angstrom[:, 2] - sample.positions_angstrom[sample.numbers == 42, 2].mean()
    assert set(np.sign(z[sample.numbers == 34])) == {z_of_guest}
    assert set(np.sign(z[sample.numbers == 16])) == {-z_of_guest}
    assert sample.size_angstrom[1] / 5 == pytest.approx(3.2245, abs=1e-4)


def test_a_guest_is_another_element() -> None:
    """Sulphur in place of sulphur raises."""
    with pytest.raises(SettingsError, match=r"chalcogen='S' is the chalcogen of mos2-1h itself\. Choose one of Se, Te"):
        load_sample("mos2-1h", chalcogen_fraction=0.5, chalcogen="S")
