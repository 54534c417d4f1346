"""Orientation along a zone axis: distances, hand, density, strain."""

import itertools
import math

import numpy as np
import pytest
from ase.cell import Cell
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.samples import builders
from stemtwin.twin.samples.builders import Cut, build_sample, check_memory, widest_gap
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.sample import Sample
from stemtwin.twin.samples.zone_axis_cells import complete_basis, extended_gcd, orient, points_inside

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
AXES = st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3)).filter(any)


def cell_of(*lengths_and_angles: float) -> np.ndarray:
    """Return lattice vectors as rows."""
    return np.array(Cell.new(lengths_and_angles).array)


def crystal(cell: np.ndarray, places: object = ((0, 0, 0),), numbers: object = None) -> Crystal:
    """Return a crystal of gold, or of given elements."""
    places = np.array(places, dtype=float)
    return Crystal(
        name="test", cell=np.asarray(cell, dtype=float), fractional=places, numbers=np.full(len(places), 79) if numbers is None else np.array(numbers)
    )


def built(what: Crystal, **cut: object) -> Sample:
    """Return the sample of a crystal."""
    return build_sample(what, Cut(**cut), name="test")


def shells(positions: np.ndarray, centre: np.ndarray, reach: float) -> np.ndarray:
    """Return the sorted distances, up to ``reach``, from a point to positions."""
    distances = np.linalg.norm(positions - centre, axis=1)
    return np.sort(distances[(distances > 1e-9) & (distances < reach)])


@given(a=st.integers(-200, 200), b=st.integers(-200, 200))
def test_extended_gcd(a: int, b: int) -> None:
    """The greatest common divisor is a combination of both numbers (Bezout)."""
    g, x, y = extended_gcd(a, b)
    assert g == math.gcd(a, b)
    assert a * x + b * y == g


@given(axis=AXES)
def test_complete_basis_has_unit_determinant(axis: tuple[int, int, int]) -> None:
    """A vector without common divisor is completed to a basis of the integer lattice: determinant +-1."""
    assume(math.gcd(*axis) == 1)
    first, second = complete_basis(axis)
    assert abs(round(float(np.linalg.det(np.array([first, second, axis]))))) == 1


@given(edges=st.lists(st.lists(st.integers(-4, 4), min_size=3, max_size=3), min_size=3, max_size=3).map(np.array))
def test_points_inside_are_as_many_as_the_determinant(edges: np.ndarray) -> None:
    """A cell of integer edges holds abs(det) lattice points, no two of which differ by an edge."""
    count = abs(round(float(np.linalg.det(edges))))
    assume(count > 0)
    points = points_inside(edges)
    assert len(points) == count
    fractional = points @ np.linalg.inv(edges)
    assert len(np.unique(np.round((fractional + 1e-9) % 1.0, 6), axis=0)) == count


@given(heights=st.lists(st.floats(0, 9.99), min_size=1, max_size=12))
def test_widest_gap_is_the_widest(heights: list[float]) -> None:
    """Cut at the returned height, all atoms lie within period minus gap above it, and no other cut leaves more room."""
    z = np.array(heights)
    gap, start = widest_gap(z, 10.0)
    assert start in z
    assert np.isclose(((z - start) % 10.0 % 10.0).max(), 10.0 - gap, atol=1e-9) or len(z) == 1
    assert all(((z - other) % 10.0 % 10.0).max() >= 10.0 - gap - 1e-9 for other in z)


@pytest.mark.parametrize(
    ("zone_axis", "lengths"),
    [
        ((0, 0, 1), (4, 4, 4)),
        ((0, 0, -2), (4, 4, 4)),
        ((1, 1, 0), (4, 8**0.5, 8**0.5)),
        ((1, 1, 1), (8**0.5, 24**0.5, 48**0.5)),
        ((1, 1, 2), (8**0.5, 48**0.5, 24**0.5)),
    ],
)
def test_repeats_of_fcc(zone_axis: tuple[int, int, int], lengths: tuple[float, float, float]) -> None:
    """Fcc (a = 4 A) along [001], [110], [111] and [112] repeats by the textbook's a, a/sqrt2, a sqrt(3/2) and a sqrt3, without strain."""
    sample = built(crystal(4 * np.eye(3), FCC), zone_axis=zone_axis, size_angstrom=(lengths[1], lengths[0]), thickness_angstrom=lengths[2])
    assert np.allclose((sample.size_angstrom[1], sample.size_angstrom[0], sample.thickness_angstrom), lengths)
    assert sample.strain == 0
    assert len(sample) == round(4 / 64 * math.prod(lengths))
    assert sample.positions_angstrom[:, 2].min() == 0


def test_hexagonal_axes() -> None:
    """A hexagonal crystal repeats by a, a sqrt3 and c along [0001], with x along a, and by c, a sqrt3 and a along [2-1-10], its a axis: no strain."""
    hexagonal = crystal(cell_of(3, 3, 5, 90, 90, 120), [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    top = orient(hexagonal.cell, hexagonal.cell, (0, 0, 1), 16, 0.01)
    assert np.allclose(top.lengths, [3, 27**0.5, 5])
    assert top.strain == 0
    side = orient(hexagonal.cell, hexagonal.cell, (1, 0, 0), 16, 0.01)
    assert np.allclose(side.lengths, [5, 27**0.5, 3])
    assert side.strain == 0


def test_a_small_monoclinic_angle_becomes_the_small_strain_that_it_is() -> None:
    """Beta = 89.97 degrees takes the pure shear tan(0.03 degrees)/2 = 2.618e-4, whatever the number of repeats; the volume stays."""
    sample = built(crystal(cell_of(5.377, 5.416, 7.6255, 90, 89.97, 90), [[0, 0, 0], [0, 0, 0.5]]), size_angstrom=(16, 16))
    assert sample.strain == pytest.approx(np.tan(np.radians(0.03)) / 2, rel=1e-3)
    assert sample.size_angstrom == pytest.approx((3 * 5.416, 3 * 5.377), rel=1e-6)
    assert len(sample) == 90


def test_x_follows_the_crystal() -> None:
    """Along [001] an orthorhombic crystal keeps its axes, x along a and y along b, also where b is the shorter one."""
    oriented = orient(np.diag([7.0, 3.0, 4.0]), np.diag([7.0, 3.0, 4.0]), (0, 0, 1), 16, 0.01)
    assert np.allclose(oriented.rotation, np.eye(3))
    assert np.allclose(oriented.lengths, [7, 3, 4])


def test_the_zone_axis_points_along_the_beam() -> None:
    """The direction [uvw] of the crystal is +z of the sample: an atom further along [110] lies deeper."""
    places = [[0, 0, 0], [0.1, 0.1, 0]]
    sample = built(crystal(5 * np.eye(3), places, [79, 8]), zone_axis=(1, 1, 0), size_angstrom=(5, 5), thickness_angstrom=7)
    depths = {int(number): z for number, z in zip(sample.numbers, sample.positions_angstrom[:, 2], strict=True)}
    assert (depths[8] - depths[79]) % sample.thickness_angstrom == pytest.approx(0.1 * 50**0.5)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), axis=AXES)
def test_turning_keeps_distances_and_density(seed: int, axis: tuple[int, int, int]) -> None:
    """Any crystal along any axis: atoms = density x volume, element by element; each distance changes by at most the strain."""
    rng = np.random.default_rng(seed)
    what = crystal(
        cell_of(*rng.uniform(4, 6, 3), *rng.uniform(80, 100, 3)),
        rng.random(3) + np.array([[0, 0, 0], [0.45, 0.1, 0.05], [0.05, 0.5, 0.1], [0.1, 0.05, 0.45]]),
        [79, 38, 22, 8],
    )
    sample = built(what, zone_axis=axis, thickness_angstrom=12, max_strain=0.9)
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0], sample.thickness_angstrom])
    assert len(sample) == round(4 / what.volume * box.prod())
    assert len(sample) / 4 * what.volume == pytest.approx(box.prod(), rel=1e-9)
    assert all(np.sum(sample.numbers == number) * 4 == len(sample) for number in (79, 38, 22, 8))
    shifts = np.array(list(itertools.product(range(-4, 5), repeat=3)))
    images = (what.fractional[None] + shifts[:, None]).reshape(-1, 3) @ what.cell
    kinds = np.tile(what.numbers, len(shifts))
    repeats = np.array(list(itertools.product((-1, 0, 1), (-1, 0, 1), (0,)))) * box
    around = (sample.positions_angstrom[None] + repeats[:, None]).reshape(-1, 3)
    around_kinds = np.tile(sample.numbers, len(repeats))
    stretch = 1 + sample.strain
    middle = np.flatnonzero(sample.numbers == 79)
    middle = middle[np.argmin(np.abs(sample.positions_angstrom[middle, 2] - box[2] / 2))]
    depth = min(sample.positions_angstrom[middle, 2], box[2] - sample.positions_angstrom[middle, 2])
    reach = min(6.0, depth) / stretch**2
    for kind in (79, 38, 22, 8):
        inside = shells(images[kinds == kind], what.fractional[0] @ what.cell, 20.0)
        found = shells(around[around_kinds == kind], sample.positions_angstrom[middle], reach)
        nearest = inside[: len(found)]
        assert np.all(np.abs(found / nearest - 1) <= sample.strain / (1 - sample.strain) + 1e-6)


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("axis", [(0, 0, 1), (0, 0, -1), (1, 1, 0), (1, -2, 3)])
def test_a_crystal_is_never_mirrored(axis: tuple[int, int, int], handed: int) -> None:
    """The signed volume of a chiral group of atoms is the same in crystal and sample, also where the file's lattice vectors are left-handed."""
    cell = 7 * np.eye(3)[[0, 1, 2] if handed > 0 else [1, 0, 2]]
    corner = np.array([[0.0, 0, 0], [1.5, 0, 0], [0, 2.0, 0], [0, 0, 2.5]]) + 0.3
    sample = built(crystal(cell, corner @ np.linalg.inv(cell), [79, 38, 22, 8]), zone_axis=axis, thickness_angstrom=30)
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0], np.inf])
    arms = []
    gold = sample.positions_angstrom[sample.numbers == 79]
    centre = gold[np.argmin(np.abs(gold[:, 2] - sample.thickness_angstrom / 2))]
    for number, length in ((38, 1.5), (22, 2.0), (8, 2.5)):
        steps = sample.positions_angstrom[sample.numbers == number] - centre
        steps[:, :2] -= box[:2] * np.round(steps[:, :2] / box[:2])
        distances = np.linalg.norm(steps, axis=1)
        assert distances.min() == pytest.approx(length, rel=1e-6)
        arms.append(steps[np.argmin(distances)])
    assert np.linalg.det(np.array(arms)) == pytest.approx(1.5 * 2.0 * 2.5, rel=1e-6)


@given(thickness=st.floats(0.5, 90), height=st.floats(3, 60), width=st.floats(3, 60))
@settings(max_examples=30)
def test_repeats_are_the_nearest_to_what_was_asked(thickness: float, height: float, width: float) -> None:
    """Each edge is the whole number of repeats (4, 3, 5 A) nearest to what was asked, at least one."""
    sample = built(crystal(np.diag([4.0, 3.0, 5.0])), size_angstrom=(height, width), thickness_angstrom=thickness)
    wanted = [(sample.size_angstrom[1], width, 4.0), (sample.size_angstrom[0], height, 3.0), (sample.thickness_angstrom, thickness, 5.0)]
    for got, asked, repeat in wanted:
        assert got / repeat == pytest.approx(round(got / repeat))
        assert abs(got - asked) <= repeat / 2 + 1e-9 or got == repeat


def test_too_much_strain_ends_in_a_window_unless_allowed() -> None:
    """A cell of which no repeat comes near a right angle gives an unstrained window with a note; allowed, it is built with its strain."""
    oblique = crystal(cell_of(20.3, 23.7, 9.0, 84, 97, 103.7))
    cut = built(oblique)
    assert not cut.periodic
    assert cut.strain == 0
    assert "no cell along [0 0 1] repeats without a strain of" in cut.notes[0]
    allowed = built(oblique, max_strain=0.5)
    assert 0.01 < allowed.strain < 0.5
    window = built(oblique, periodic=False, size_angstrom=(50, 40))
    assert window.strain == 0
    assert not window.periodic
    assert window.size_angstrom == (50, 40)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1), axis=st.tuples(*[st.integers(-12, 12)] * 3).filter(any))
def test_every_axis_of_every_crystal_gives_a_sample(seed: int, axis: tuple[int, int, int]) -> None:
    """Any triclinic crystal along any axis is a sample of the crystal's density: strained by at most 1 %, else a window of the size asked for."""
    rng = np.random.default_rng(seed)
    what = crystal(cell_of(*rng.uniform(4, 8, 3), *rng.uniform(70, 110, 3)), rng.random((4, 3)) * 0.1 + FCC, [79, 38, 22, 8])
    sample = built(what, zone_axis=axis, size_angstrom=(30, 30), thickness_angstrom=30)
    volume = math.prod(sample.size_angstrom) * sample.thickness_angstrom
    assert len(sample) * what.volume / 4 == pytest.approx(volume, rel=1e-9 if sample.periodic else 0.12)
    assert sample.strain <= 0.01
    assert sample.periodic or sample.size_angstrom == (30, 30)
    assert 0.5 * 30 < sample.thickness_angstrom <= 1.5 * 30 or sample.periodic


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), axis=AXES)
@pytest.mark.slow
def test_a_window_is_the_unstrained_crystal(seed: int, axis: tuple[int, int, int]) -> None:
    """A window holds exactly the atoms that a large brute-force crystal has inside the same turned box."""
    rng = np.random.default_rng(seed)
    what = crystal(cell_of(*rng.uniform(4, 6, 3), *rng.uniform(80, 100, 3)), [[0, 0, 0], [0.45, 0.4, 0.52]], [79, 8])
    sample = built(what, zone_axis=axis, size_angstrom=(9.3, 7.1), thickness_angstrom=8, periodic=False)
    oriented = orient(what.cell, what.cell, axis, 16, 0.01)
    cells = np.array(list(itertools.product(range(-14, 15), repeat=3)))
    turned = (what.fractional[None] + cells[:, None]).reshape(-1, 3) @ what.cell @ oriented.rotation.T
    kinds = np.tile(what.numbers, len(cells))
    box = np.array([7.1, 9.3, sample.thickness_angstrom])
    middle = (oriented.edges[0] + oriented.edges[1]) @ what.cell @ oriented.rotation.T / 2
    turned[:, :2] += box[:2] / 2 - middle[:2]
    inside = np.all((turned[:, :2] >= -1e-5) & (turned[:, :2] < box[:2] - 1e-5), axis=1)
    turned, kinds = turned[inside], kinds[inside]
    first, agree = sample.positions_angstrom[0], []
    for start in turned[np.linalg.norm(turned[:, :2] - first[:2], axis=1) < 1e-4, 2] - first[2]:  # where along z the window began
        keep = (turned[:, 2] >= start - 1e-5) & (turned[:, 2] < start + box[2] - 1e-5)
        if keep.sum() == len(sample):
            distance, index = cKDTree(turned[keep] - [0, 0, start]).query(sample.positions_angstrom)
            agree.append(distance.max() < 1e-4 and len(set(index)) == len(sample) and np.array_equal(kinds[keep][index], sample.numbers))
    assert any(agree)


def test_a_sheet_is_trimmed_centred_or_cut() -> None:
    """A cell with more than 6 A of vacuum along the beam is one sheet, wherever it lies: 2 A on either side, or centred in what is asked, or cut."""
    for shift in (0.0, 0.49, 0.95):
        sheet = crystal(np.diag([4.0, 4.0, 30.0]), [[0, 0, shift], [0.5, 0.5, shift + 0.1]])
        own = built(sheet)
        assert own.thickness_angstrom == pytest.approx(7)
        assert np.allclose(np.unique(np.round(own.positions_angstrom[:, 2], 6)), [2, 5])
        asked = built(sheet, thickness_angstrom=10)
        assert np.allclose(np.unique(np.round(asked.positions_angstrom[:, 2], 6)), [3.5, 6.5])
        half = built(sheet, thickness_angstrom=2)
        assert len(half) * 2 == len(own)


def test_a_small_cell_is_never_cut() -> None:
    """Asked for less than one cell, a crystal gives one cell, whole and periodic."""
    sample = built(crystal(np.diag([11.0, 9.0, 4.0])), size_angstrom=(2, 2))
    assert sample.size_angstrom == (9, 11)
    assert sample.periodic


def test_a_large_cell_is_kept_whole_or_cut() -> None:
    """A cell of 30 A stays whole where no size is asked and for sizes down to 20 A, and is cut to a smaller one; a vacuum corner leaves nothing."""
    large = crystal(np.diag([30.0, 30.0, 4.0]), [[0.5, 0.5, 0], [0.6, 0.5, 0], [0.1, 0.1, 0]])
    assert built(large).size_angstrom == (30, 30)
    assert built(large, size_angstrom=(20, 20)).periodic
    cut = built(large, size_angstrom=(10, 12))
    assert cut.size_angstrom == (10, 12)
    assert not cut.periodic
    assert "does not repeat" in cut.notes[0]
    assert np.allclose(cut.positions_angstrom[0, :2], [6, 5])
    with pytest.raises(StructureFileError, match=r"no atoms are left in the box of 10 x 10 x 40 A \(x, y, z\) after cutting"):
        built(crystal(np.diag([30.0, 30.0, 4.0]), [[0.1, 0.1, 0]]), size_angstrom=(10, 10))


def test_the_atom_count_is_estimated_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size beyond the machine raises at once, with atoms, GiB and limit; the limit follows the machine's memory."""
    with pytest.raises(SettingsError, match=r"about 2\.\de\+15 atoms and needs .* GiB to build\. The limit is half of this machine's memory"):
        built(crystal(4 * np.eye(3), FCC), size_angstrom=(1e7, 1e7), thickness_angstrom=400)
    with pytest.raises(SettingsError, match="atoms"):
        built(crystal(4 * np.eye(3), FCC), size_angstrom=(1e7, 1e7), thickness_angstrom=400, periodic=False)
    monkeypatch.setattr(builders, "machine_memory", lambda: 2 * 1000 * builders.BYTES_PER_ATOM)
    check_memory("x", 999, (1, 1), 1)
    with pytest.raises(SettingsError, match="Ask for a smaller size or thickness"):
        check_memory("x", 1001, (1, 1), 1)
    assert builders.machine_memory() > 0


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"zone_axis": (0, 0, 0)}, r"zone_axis=\(0, 0, 0\) has no direction"),
        ({"zone_axis": (0, 0)}, "three whole numbers"),
        ({"zone_axis": (0, 0.5, 1)}, "three whole numbers"),
        ({"zone_axis": "up"}, "three whole numbers"),
        ({"zone_axis": (1, 1, 2, 0)}, "must be -2, the negative sum of the first two indices"),
        ({"zone_axis": (0, 1, 99)}, "beyond 50"),
        ({"size_angstrom": (10, 0)}, "two numbers above 0"),
        ({"size_angstrom": 10}, "two numbers above 0"),
        ({"size_angstrom": (10, float("inf"))}, "two numbers above 0"),
        ({"thickness_angstrom": 0.4}, r"below one slice \(0.5 A\)"),
        ({"thickness_angstrom": -3}, "thickness_angstrom=-3 is below one slice"),
        ({"thickness_angstrom": float("nan")}, "is not a finite number of A"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"max_strain": -0.1}, "max_strain=-0.1"),
    ],
)
def test_settings_that_make_no_sense(settings_: dict[str, object], words: str) -> None:
    """Each wrong setting has its own sentence with its value."""
    with pytest.raises(SettingsError, match=words):
        Cut(**settings_)
