"""The families of the library: what is particular to perovskites, semiconductors and metals."""

import itertools

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.columns import projected_columns
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.neighbours import find_bonds, within
from stemtwin.twin.samples.sample import Sample, near_pairs, separation


def offsets(sample: Sample, number: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return, for atoms of one element with six oxygen atoms within a reach, the places (k, 3) and the vectors (k, 3) from the oxygen's middle."""
    places, vectors = [], []
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    for at in np.flatnonzero(sample.numbers == number):
        near, _ = within(sample, sample.positions_angstrom[at], reach)
        oxygen = near[sample.numbers[near] == 8]
        if len(oxygen) == 6:
            step = sample.positions_angstrom[oxygen] - sample.positions_angstrom[at]
            step[:, :2] -= box * np.round(step[:, :2] / box)
            places.append(sample.positions_angstrom[at])
            vectors.append(-step.mean(axis=0))
    return np.array(places), np.array(vectors)


@pytest.mark.parametrize(("name", "shift"), [("pbtio3-001", 0.323), ("batio3-001", 0.128)])
@pytest.mark.parametrize("pole", ["+x", "-x", "+y", "-y", "+z", "-z"])
def test_titanium_leaves_the_middle_of_its_oxygen(name: str, shift: float, pole: str) -> None:
    """Ti stands 0.323 A (PbTiO3: Nelmes and Kuhs 1985) and 0.128 A (BaTiO3: Harada et al. 1970) from its oxygen's middle, along the polarisation."""
    sample = load_sample(name, polarisation=pole, thickness_angstrom=16)
    _, vectors = offsets(sample, 22, 2.6)
    wanted = np.zeros(3)
    wanted["xyz".index(pole[1])] = shift if pole[0] == "+" else -shift
    assert len(vectors) > 20
    np.testing.assert_allclose(vectors, np.broadcast_to(wanted, vectors.shape), atol=2e-3)


def test_straight_walls_follow_the_profile() -> None:
    """Across a 180 degree wall the polarisation is P0 tanh(x/w) along y, nothing along x: positive between the walls, zero on average."""
    sample = load_sample("pbtio3-001", wall="180", wall_width_angstrom=6, size_angstrom=(8, 94), thickness_angstrom=8)
    places, vectors = offsets(sample, 22, 2.7)
    first, second = (one.position_angstrom[0] for one in sample.defects)
    inside = (places[:, 0] > first) & (places[:, 0] < second)
    assert np.all(vectors[inside, 1] > 0)
    assert np.all(vectors[~inside, 1] < 0)
    assert np.abs(vectors[:, [0, 2]]).max() < 0.02
    assert abs(vectors[:, 1].mean()) < 1e-6
    deep = (np.abs(places[:, 0] - first) > 15) & (np.abs(places[:, 0] - second) > 15)
    np.testing.assert_allclose(np.abs(vectors[deep, 1]), 0.323, rtol=0.03)
    beside = np.isclose(places[:, 0], first + 3.904 / 2, atol=1e-3)
    np.testing.assert_allclose(vectors[beside, 1] / 0.323, np.tanh(3.904 / 2 / 6), rtol=0.35)


def test_turned_walls_are_twins() -> None:
    """A 90 degree wall: the crystal has its density; the twins are mirror images along y; P turns from (+, -) to (+, +): head to tail, uncharged.

    Each polar axis lies at atan(c/a) = 46.76 degrees from the wall's normal.
    """
    sample = load_sample("pbtio3-001", wall="90", thickness_angstrom=8)
    assert len(sample) / 5 * 3.904**2 * 4.152 == pytest.approx(np.prod(sample.size_angstrom) * sample.thickness_angstrom, rel=1e-9)
    places, vectors = offsets(sample, 22, 2.6)
    half = sample.defects[1].position_angstrom[0]
    angle = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))
    left = (places[:, 0] > 10) & (places[:, 0] < half - 10)
    right = (places[:, 0] > half + 10) & (places[:, 0] < 2 * half - 10)
    np.testing.assert_allclose(angle[left], -46.763, atol=1)
    np.testing.assert_allclose(angle[right], 46.763, atol=1)
    assert find_bonds(sample).length.min() > 1.76
    lead = sample.positions_angstrom[sample.numbers == 82]
    mirrored = lead.copy()
    mirrored[:, 0] = (2 * half - lead[:, 0]) % (2 * half)
    both = Sample(
        name="both",
        numbers=np.full(len(lead), 82),
        positions_angstrom=np.column_stack([mirrored[:, 0], lead[:, 1], lead[:, 2]]),
        size_angstrom=sample.size_angstrom,
        thickness_angstrom=sample.thickness_angstrom,
    )
    for place in lead:  # across the wall, the lead sublattice is its own mirror image
        assert within(both, place, 1e-3)[0].size == 1


def test_walls_decide_on_the_polarisation_and_need_room() -> None:
    """A wall with a polarisation, or in a box of two cells, raises."""
    with pytest.raises(SettingsError, match="wall='180' fixes the direction of the polarisation"):
        load_sample("pbtio3-001", wall="180", polarisation="+x")
    with pytest.raises(SettingsError, match=r"Ask for a width of 15\.6 A or more"):
        load_sample("pbtio3-001", wall="180", size_angstrom=(8, 8))
    with pytest.raises(SettingsError, match="wall='90' needs six planes"):
        load_sample("pbtio3-001", wall="90", size_angstrom=(8, 8))


def test_octahedra_of_the_ferrite_are_tilted() -> None:
    """LaFeO3: all Fe-O-Fe angles are 157 degrees (Marezio and Dernier 1971: 157.1 +- 0.5), and the a-glide (x + 1/2, 1/2 - y, -z) is a symmetry."""
    sample = load_sample("lafeo3-001", thickness_angstrom=32)
    bonds, z = find_bonds(sample), sample.positions_angstrom[:, 2]
    angles = []
    for at in np.flatnonzero((sample.numbers == 8) & (z > 3) & (z < 28)):
        ours = [b for b in range(bonds.start[at], bonds.start[at + 1]) if sample.numbers[bonds.second[b]] == 26]
        one, other = bonds.step[ours] / bonds.length[ours, None]
        angles.append(np.degrees(np.arccos(one @ other)))
    np.testing.assert_allclose(angles, 157.0, atol=0.6)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_strontium_takes_the_a_sites(share: float) -> None:
    """La(1-x)Sr(x)FeO3: x of the A sites hold strontium, chosen by the seed; the lattice follows Vegard's law from 3.930 to 3.855 A."""
    sample = load_sample("lasrfeo3-001", strontium_fraction=share, seed=1)
    cations = sample.symbols.count("La") + sample.symbols.count("Sr")
    assert cations == sample.symbols.count("Fe") == sample.symbols.count("O") / 3
    assert sample.symbols.count("Sr") == share * cations
    assert sample.size_angstrom[0] / 4 == pytest.approx(3.930 - 0.075 * share)
    assert len(sample.defects) == sample.symbols.count("Sr")
    if 0 < share < 1:
        assert load_sample("lasrfeo3-001", strontium_fraction=share, seed=2).digest != sample.digest


def test_vacancies_in_oxides_leave_the_other_sublattices() -> None:
    """A tenth of the oxygen and a twentieth of the strontium go, titanium stays."""
    whole, sample = load_sample("srtio3-001"), load_sample("srtio3-001", oxygen_vacancy_fraction=0.1, cation_vacancy_fraction=0.05)
    gone = {symbol: whole.symbols.count(symbol) - sample.symbols.count(symbol) for symbol in ("Sr", "Ti", "O")}
    assert gone == {"Sr": 8, "Ti": 0, "O": 48}
    assert sorted({one.name for one in sample.defects}) == ["V_O", "V_Sr"]


def test_columns_of_strontium_titanate_along_110() -> None:
    """SrTiO3 [110]: as many Sr-O as Ti and O columns, Sr-O on a net of a by a/sqrt2, the oxygen of the last twice as dense as Ti."""
    columns = projected_columns(load_sample("srtio3-110"))
    kinds = np.array(columns.species)
    assert np.sum(kinds == "Sr-O") == np.sum(kinds == "Ti") == np.sum(kinds == "O") == 24
    assert set(columns.occupancy[kinds == "O"]) == {2 * columns.occupancy[kinds == "Ti"][0]}
    assert np.allclose(np.diff(np.unique(np.round(columns.x[kinds == "Sr-O"], 4))), 3.905, atol=1e-3)
    assert np.allclose(np.diff(np.unique(np.round(columns.y[kinds == "Sr-O"], 4))), 3.905 / 2**0.5, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "first", "second", "gap"), [("gaas-110", 31, 33, 5.6533 / 4), ("cdte-110", 48, 52, 6.481 / 4), ("ge-110", 32, 32, 1.4145)]
)
def test_dumbbells(name: str, first: int, second: int, gap: float) -> None:
    """Along [110] each column of one element has one of the other a/4 away, the same way throughout (the polarity), and none nearer."""
    columns = projected_columns(load_sample(name))
    one, other = columns.heaviest == first, columns.heaviest == second
    sample = load_sample(name)
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    spots = np.column_stack([columns.x, columns.y])
    step = spots[other][None] - spots[one][:, None]
    step -= box * np.round(step / box)
    distance = np.linalg.norm(step, axis=-1)
    distance[distance < 1e-9] = np.inf
    assert np.allclose(distance.min(axis=1), gap, atol=1e-3)
    if first != second:
        nearest = step[np.arange(len(step)), distance.argmin(axis=1)]
        assert np.allclose(nearest, nearest[0], atol=1e-6)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_a_strained_layer_keeps_the_plane_and_grows_along_its_normal(share: float) -> None:
    """SiGe on silicon: the same period along y and z, along x longer by 1.771 times the misfit (4.18 % at x = 1); germanium in the layer alone."""
    sample = load_sample("si-sige-110", germanium_fraction=share, layer_fraction=0.5)
    plain = load_sample("si-110", size_angstrom=(16, 65.172))
    assert sample.size_angstrom[0] == pytest.approx(plain.size_angstrom[0])
    start, stop = (one.position_angstrom[0] for one in sample.defects if one.kind == "boundary")
    assert (stop - start) / (6 * 5.431) - 1 == pytest.approx(1.7713 * share * (5.658 / 5.431 - 1), rel=1e-3)
    x = sample.positions_angstrom[:, 0]
    inside = (x > start - 1e-3) & (x < stop - 1e-3)
    assert not np.any(sample.numbers[~inside] == 32)
    assert np.mean(sample.numbers[inside] == 32) == pytest.approx(share, abs=1 / inside.sum())
    assert find_bonds(sample).length.min() == pytest.approx(2.3517, abs=1e-3)


def test_a_layer_needs_two_cells() -> None:
    """No layer fits in one cell."""
    with pytest.raises(SettingsError, match="too narrow for a layer"):
        load_sample("si-sige-110", size_angstrom=(8, 5))


@pytest.mark.parametrize(("name", "a"), [("au-sigma5-310", 4.078), ("al-sigma5-310", 4.049), ("ni-sigma5-310", 3.524)])
def test_grains_are_whole_and_turned_by_36_87_degrees(name: str, a: float) -> None:
    """Sigma5 (310): inside each grain the twelve neighbours are perfect; the [100] directions of the two differ by 2 atan(1/3) = 36.87 degrees."""
    sample = load_sample(name)
    half = sample.size_angstrom[1] / 2
    bonds, places = find_bonds(sample), sample.positions_angstrom
    turns = []
    for low in (0.0, half):
        inner = (places[:, 0] > low + 4) & (places[:, 0] < low + half - 4) & (places[:, 2] > 3) & (places[:, 2] < sample.thickness_angstrom - 4)
        assert inner.sum() > 100
        assert set(bonds.coordination[inner]) == {12}
        ours = inner[bonds.first]
        np.testing.assert_allclose(bonds.length[ours], a / 2**0.5, rtol=1e-6)
        flat = ours & (np.abs(bonds.step[:, 2]) < 1e-6)
        angle = np.degrees(np.arctan2(bonds.step[flat, 1], bonds.step[flat, 0])) % 90
        assert np.ptp(angle) < 1e-6
        turns.append(angle[0] - 45)
    assert turns[0] == pytest.approx(-turns[1])
    assert min(abs(turns[0] - turns[1]) % 90, 90 - abs(turns[0] - turns[1]) % 90) == pytest.approx(np.degrees(2 * np.arctan(1 / 3)), abs=1e-6)


@pytest.mark.parametrize("name", ["au-sigma5-310", "al-sigma5-310", "ni-sigma5-310"])
@pytest.mark.parametrize("size", [(16, 52), (30, 35)])
def test_nothing_is_crowded_at_a_boundary(name: str, size: tuple[float, float]) -> None:
    """No two atoms are nearer than 0.7 of the bond length (they keep 0.88 of it); two atoms of each (310) period go at each boundary."""
    sample = load_sample(name, size_angstrom=size, thickness_angstrom=8)
    bond = find_bonds(sample).length
    nearest = near_pairs(sample.positions_angstrom, sample.size_angstrom, 3.0, periodic=True)
    shortest = separation(sample.positions_angstrom, nearest, sample.size_angstrom, periodic=True).min()
    usual = np.median(bond)
    assert shortest == bond.min() > 0.88 * usual
    a = usual * 2**0.5
    perfect = 4 * np.prod(sample.size_angstrom) * sample.thickness_angstrom / a**3
    cells = sample.size_angstrom[0] / (a * 10**0.5) * sample.thickness_angstrom / a
    assert perfect - len(sample) == pytest.approx(2 * 2 * cells, rel=1e-6)


def test_the_boundary_is_a_mirror() -> None:
    """Both boundaries are mirrors of the whole cell: each atom at x has one at -x and one at W - x."""
    sample = load_sample("al-sigma5-310", thickness_angstrom=4)
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    for place in sample.positions_angstrom:
        image = place * [-1, 1, 1] + [box[0], 0, 0]
        image[:2] %= box
        assert len(within(sample, image, 1e-4)[0]) == 1


def test_grains_need_room_and_may_stand_apart() -> None:
    """A narrow box raises; an excess of 0.3 A at each of the two boundaries makes the cell 0.6 A wider."""
    with pytest.raises(SettingsError, match="too narrow for two grains of Al"):
        load_sample("al-sigma5-310", size_angstrom=(16, 8))
    widths = [load_sample("al-sigma5-310", excess_angstrom=excess, thickness_angstrom=4).size_angstrom[1] for excess in (0.0, 0.3)]
    assert widths[1] - widths[0] == pytest.approx(0.6)


def test_columns_of_iron() -> None:
    """Bcc iron along [001] shows a square of columns a/sqrt2 apart, one atom per a in each."""
    sample = load_sample("fe-001")
    columns = projected_columns(sample)
    assert set(columns.occupancy) == {sample.thickness_angstrom / 2.866}
    spots = np.column_stack([columns.x, columns.y])
    nearest = min(np.linalg.norm(spots[0] - other) for other in itertools.islice(spots, 1, None))
    assert nearest == pytest.approx(2.866 / 2**0.5, abs=1e-3)
