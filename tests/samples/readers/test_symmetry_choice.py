"""CIFs whose symmetry is told wrongly, doubly, partly or not at all: the right atoms, or a doubt, or a refusal."""

from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.element_symbols import parse_formula, symbols
from stemtwin.twin.samples.readers.formats import read_crystal
from stemtwin.twin.samples.readers.orbits import Operations, closed, listed_operations, operations_of_group, parse_operation
from stemtwin.twin.samples.readers.space_groups import settings_of_name, table

SITES = "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n{more}"
SPINEL_2 = "Mg Mg 0.125 0.125 0.125\nAl Al 0.5 0.5 0.5\nO O 0.2624 0.2624 0.2624"
SPINEL_1 = "Mg Mg 0 0 0\nAl Al 0.625 0.625 0.625\nO O 0.3874 0.3874 0.3874"
SALT = "Na Na 0 0 0\nCl Cl 0.5 0.5 0.5"
NAME, FORMULA = "_symmetry_space_group_name_H-M '{}'", "_chemical_formula_sum '{}'"
XYZ = "_symmetry_equiv_pos_as_xyz x,y,z"


def listed(name: str) -> str:
    """Return a loop of the operations of a setting."""
    return "loop_\n_symmetry_equiv_pos_as_xyz\n" + "\n".join(f"'{one.triplet()}'" for one in gemmi.SpaceGroup(name).operations())


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Crystal]:
    """Return a function that writes a CIF of a cell, lines and sites, and reads it."""

    def write_and_read(parameters: object, lines: list[str], sites: str, more: str = "") -> Crystal:
        values = list(parameters) if isinstance(parameters, tuple) else [parameters] * 3
        values += [90] * (6 - len(values))
        tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        cell = "\n".join(f"_cell_{tag} {value}" for tag, value in zip(tags, values, strict=True))
        path = tmp_path / "x.cif"
        path.write_text("\n".join(["data_x", cell, *lines, SITES.format(more=more) + sites, ""]))
        return read_crystal(path)

    return write_and_read


def contents(crystal: Crystal) -> dict[str, float]:
    """Return how many atoms of each element the cell holds, to 0.01."""
    numbers = np.unique(crystal.numbers)
    return {name: round(float(crystal.filling[crystal.numbers == number].sum()), 2) for name, number in zip(symbols(numbers), numbers, strict=True)}


@pytest.mark.parametrize("sites", [SPINEL_1, SPINEL_2])
@pytest.mark.parametrize("name", ["F d -3 m", "Fd3m", "F 41/d -3 2/m", "F d -3 m S", "F d -3 m Z"])
def test_the_origin_that_fits(read: Callable[..., Crystal], name: str, sites: str) -> None:
    """Spinel is Mg8 Al16 O32 at either origin; a name that says the other one is overruled by formula and distances, with a doubt."""
    crystal = read(8.0806, [NAME.format(name), FORMULA.format("Mg Al2 O4")], sites)
    assert contents(crystal) == {"Mg": 8, "Al": 16, "O": 32}
    wrong = name.endswith("S" if sites is SPINEL_2 else "Z")
    assert bool(crystal.doubts) is wrong


def test_listed_operations_of_the_other_origin(read: Callable[..., Crystal]) -> None:
    """Operations of origin 1 with coordinates of origin 2: the formula overrules the list, with a doubt."""
    crystal = read(8.0806, [listed("F d -3 m:1"), NAME.format("F d -3 m"), FORMULA.format("Mg Al2 O4")], SPINEL_2)
    assert contents(crystal) == {"Mg": 8, "Al": 16, "O": 32}
    assert "the operations of 'F d -3 m:2' were taken" in crystal.doubts[0]


def test_an_open_origin_is_a_doubt(read: Callable[..., Crystal]) -> None:
    """Diamond at 0 or at 1/8 without a formula: the reading of higher site symmetry, and a doubt that says that the file leaves it open."""
    for place in ("0 0 0", "0.125 0.125 0.125"):
        crystal = read(3.567, [NAME.format("F d -3 m")], f"C C {place}")
        assert contents(crystal) == {"C": 8}
        assert "does not say which setting it has" in crystal.doubts[0]


@pytest.mark.parametrize("lines", [[FORMULA.format("Na Cl"), "_cell_formula_units_Z 4"], ["_exptl_crystal_density_diffrn 2.16"], []])
def test_a_lone_identity_beside_a_name(read: Callable[..., Crystal], lines: list[str]) -> None:
    """A file that lists x,y,z alone and names F m -3 m holds 4 formula units, as Z or the density says; without either there is a doubt."""
    crystal = read(5.64, [*lines, XYZ, NAME.format("F m -3 m")], SALT)
    assert contents(crystal) == {"Na": 4, "Cl": 4}
    assert bool(crystal.doubts) is not bool(lines)


def test_operations_without_centring_or_identity(read: Callable[..., Crystal]) -> None:
    """The 48 operations of P m -3 m beside the name F m -3 m lack its centring; a list that is no group is completed; both with a doubt."""
    crystal = read(5.64, [listed("P m -3 m"), NAME.format("F m -3 m")], SALT)
    assert contents(crystal) == {"Na": 4, "Cl": 4}
    assert "lists 48 of the 192" in crystal.doubts[0]
    lone = read(9, ["loop_\n_symmetry_equiv_pos_as_xyz\n'-x,-y,-z'"], "Na Na 0.3 0.2 0.1")
    assert contents(lone) == {"Na": 2}
    assert "do not form a group" in lone.doubts[0]


def test_all_atoms_listed(read: Callable[..., Crystal]) -> None:
    """A file that lists the whole cell and names its group has each atom once, also where occupancies are 0.5; relaxed atoms stay where they are."""
    corners = ["0 0 0", "0.5 0.5 0", "0.5 0 0.5", "0 0.5 0.5"]
    half = read(5.64, [NAME.format("F m -3 m")], "\n".join(f"Na Na {place} 0.5" for place in corners), "_atom_site_occupancy\n")
    assert contents(half) == {"Na": 2}
    moved = ["0.012 0 0", "0.5 0.51 0", "0.5 0 0.5", "0 0.5 0.49"]
    relaxed = read(5.64, [NAME.format("F m -3 m")], "\n".join(f"Na Na {place}" for place in moved))
    assert contents(relaxed) == {"Na": 4}
    assert np.allclose(relaxed.fractional[0], [0.012, 0, 0])
    assert "the listed sites as the whole cell were taken" in relaxed.doubts[0]


def test_images_of_one_site_near_each_other(read: Callable[..., Crystal]) -> None:
    """Images 0.12 A apart are one atom with a doubt if the site is full, six if its occupancy is 1/6; two digits of 1/3 are 1/3, with a note."""
    near = read(5.64, [NAME.format("F m -3 m")], "Na Na 0.0150 0 0")
    assert contents(near) == {"Na": 4}
    assert "0.12 A" in near.doubts[0]
    split = read(5.64, [NAME.format("F m -3 m")], "Na Na 0.0150 0 0 0.166667", "_atom_site_occupancy\n")
    assert len(split.numbers) == 24
    assert split.doubts == ()
    rounded = read((6.5, 6.5, 5.2, 90, 90, 120), [NAME.format("P 63 m c")], "Zn Zn 0.33 0.67 0")
    assert contents(rounded) == {"Zn": 2}
    assert np.allclose(rounded.fractional[0, :2] % 1, [1 / 3, 2 / 3])
    assert any("few digits" in note for note in rounded.notes)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ((5.64, 5.64, 6.2), "F m -3 m"),
        ((4.5, 4.5, 11.9, 90, 90, 60), "R -3 m"),
        ((5, 6, 7, 90, 100, 90), "P m m m"),
        ((5, 6, 7, 80, 85, 100), "P 2/m"),
    ],
)
def test_symmetry_that_does_not_keep_the_cell(read: Callable[..., Crystal], parameters: tuple[float, ...], name: str) -> None:
    """A group no setting of which keeps the metric is refused, whether it is named or listed."""
    for line in (NAME.format(name), listed(settings_of_name(name).settings[0].xhm())):
        with pytest.raises(StructureFileError, match="do not preserve the metric"):
            read(parameters, [line], "Na Na 0.1 0.2 0.3")


@pytest.mark.parametrize("multiplicities", [("4", "4"), ("48", "48"), ("4a", "4b")])
def test_stated_multiplicities(read: Callable[..., Crystal], multiplicities: tuple[str, str]) -> None:
    """Multiplicities, orders of site symmetries under the same name, and Wyckoff symbols fit rock salt; others give a doubt."""
    tag = "_atom_site_Wyckoff_symbol\n" if multiplicities[0].endswith("a") else "_atom_site_symmetry_multiplicity\n"
    sites = "Na Na 0 0 0 {}\nCl Cl 0.5 0.5 0.5 {}"
    assert read(5.64, [NAME.format("F m -3 m")], sites.format(*multiplicities), tag).doubts == ()
    wrong = read(5.64, [NAME.format("F m -3 m")], sites.format("8", "4"), "_atom_site_symmetry_multiplicity\n")
    assert "multiplicities differ from those stated (Na 4 for 8)" in wrong.doubts[0]


@pytest.mark.parametrize(
    ("lines", "doubt"),
    [
        ([NAME.format("F m -3 m"), FORMULA.format("Na2 Cl")], "the formula is Na2 Cl1"),
        ([NAME.format("F m -3 m"), "_exptl_crystal_density_diffrn 3.1"], "the file says 3.1"),
        ([NAME.format("F m -3 m"), FORMULA.format("Na Cl"), "_cell_formula_units_Z 2"], "the file says 2"),
        ([NAME.format("F m -3 m"), "_cell_volume 200"], "the file says 200"),
        ([NAME.format("F m -3 m"), "_symmetry_Int_Tables_number 227"], "the name was taken"),
    ],
)
def test_a_file_that_contradicts_itself(read: Callable[..., Crystal], lines: list[str], doubt: str) -> None:
    """Formula, density, Z, volume or number that do not fit are said, each with its numbers."""
    assert doubt in " ".join(read(5.64, lines, SALT).doubts)


def test_older_and_modulated_magnetic_files(read: Callable[..., Crystal]) -> None:
    """Operations under older magnetic tags count; a magnetic group without operations is a doubt; a modulated structure is its average, said so."""
    older = [
        "loop_\n_space_group_symop.magn_operation_xyz\n'x,y,z,+1'\n'-x,-y,-z,-1'",
        "loop_\n_space_group_symop.magn_centering_xyz\n'x,y,z,+1'\n'x+1/2,y+1/2,z+1/2,-1'",
    ]
    assert contents(read(9, older, "Mn Mn 0.2 0.1 0.15")) == {"Mn": 4}
    named = read(9, ["_space_group_magn.number_BNS 12.63"], "Mn Mn 0 0 0")
    assert "magnetic group '12.63'" in named.doubts[0]
    assert not any("no symmetry" in note for note in named.notes)
    modulated = read(9, ["loop_\n_space_group_symop_ssg_operation_algebraic\n'x1,x2,x3,x4'\n'-x1,-x2,-x3,-x4'"], "Mn Mn 0.2 0.1 0.15")
    assert contents(modulated) == {"Mn": 2}
    assert "average structure" in modulated.doubts[0]


def test_every_name_is_understood() -> None:
    """The full name of each setting gives that setting first, also without spaces; its bare name gives it among others."""
    for group in table()[::5]:
        for name in (group.xhm(), group.xhm().replace(" ", "")):
            assert group.number in {one.number for one in settings_of_name(name).settings}
        assert settings_of_name(group.xhm()).settings[0].hall == group.hall
        assert group.hall in [one.hall for one in settings_of_name(group.hm).settings]


@pytest.mark.parametrize(
    ("name", "setting", "unique"),
    [
        *(("R -3 m HR", "R -3 m:H", True), ("R-3CH", "R -3 c:H", True), ("R -3 m RS", "R -3 m:R", True), ("R 3 2 (hex)", "R 3 2:H", True)),
        *(("Fd-3mZ", "F d -3 m:2", True), ("F d -3 m (origin choice 1)", "F d -3 m:1", True), ("I 41/a m d S", "I 41/a m d:1", True)),
        *(("P2_1/c", "P 1 21/c 1", True), ("P 2(1)/n", "P 1 21/n 1", True), ("P 21/b", "P 1 1 21/b", True), ("P N M A", "P n m a", True)),
        *(("F 4/m -3 2/m", "F m -3 m", True), ("P 6/m 2/m 2/m", "P 6/m m m", True), ("P 21/n 21/m 21/a", "P n m a", True), ("Pa3", "P a -3", True)),
        *(("F d 3bar m", "F d -3 m:2", False), ("*R -3 m", "R -3 m:H", False), ("Fm-3m (No. 225)", "F m -3 m", True), ("C m c e", "C m c a", True)),
    ],
)
def test_names_as_people_write_them(name: str, setting: str, unique: bool) -> None:
    """Suffixes of databases, underscores, brackets, full and old symbols name a setting, or the first of several."""
    found = settings_of_name(name)
    assert found.settings[0].xhm() == setting
    assert found.unique is unique


@pytest.mark.parametrize("name", ["P 9 9 9", "", "X", "P", "unknown", "Q m m m"])
def test_names_of_no_group(name: str) -> None:
    """What is no space group has no settings."""
    assert settings_of_name(name).settings == ()


@pytest.mark.parametrize("group", [group for group in table() if group.is_reference_setting()][::7], ids=lambda group: group.hall)
def test_operations_as_text(group: gemmi.SpaceGroup) -> None:
    """Each operation is read back from its text, also with decimals and spaces; a few of them generate the group."""
    operations = operations_of_group(group.operations())
    texts = [one.triplet() for one in group.operations()]
    assert listed_operations(texts).keys() == operations.keys()
    decimals = [text.replace("1/2", "0.5").replace("1/3", "0.3333").replace("2/3", ".667").replace(",", " , ").upper() for text in texts]
    assert listed_operations(decimals).keys() == operations.keys()
    assert closed(operations).keys() == operations.keys()


@pytest.mark.parametrize("text", ["x,y", "x,y,q", "x,y,z,w", "x,x,z", "x,y,1/0", "x,,z", "x y z"])
def test_texts_of_no_operation(text: str) -> None:
    """What is no operation is refused."""
    with pytest.raises(ValueError, match=r"does not have three parts|cannot be read|does not preserve|not a number"):
        parse_operation(text)


def test_time_reversal_and_numbers_are_cut_off() -> None:
    """A fourth part and a leading number say nothing of the atoms."""
    rotation, shift = parse_operation("3 -x+1/2, y, z+1/4, -1")
    assert np.array_equal(rotation, np.diag([-1, 1, 1]))
    assert shift.tolist() == [0.5, 0, 0.25]
    assert len(Operations(rotations=rotation[None], translations=shift[None])) == 1


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Ca (O H)2", {20: 1, 8: 2, 1: 2}),
        ("La0.7 Sr0.3 Mn O3", {57: 0.7, 38: 0.3, 25: 1, 8: 3}),
        ("K2(Mg(SO4)2)(H2O)6", {19: 2, 12: 1, 16: 2, 8: 14, 1: 12}),
        ("D2 O", {1: 2, 8: 1}),
        ("Na x Cl", None),
        ("", None),
    ],
)
def test_formulas(text: str, counts: dict[int, float] | None) -> None:
    """Formulas are counted, brackets and decimals included; what cannot be read makes no claim."""
    assert parse_formula(text) == (pytest.approx(counts) if counts else None)
