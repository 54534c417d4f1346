"""CIF: symmetry, occupancies, uncertainties, displacements, and every way in which a file can be wrong."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.cif import read_cif as read_content
from stemtwin.twin.samples.readers.element_symbols import species_of_label, species_of_type
from stemtwin.twin.samples.readers.file_content import open_content

HEAD = """data_test
_cell_length_a {a}
_cell_length_b {b}
_cell_length_c {c}
_cell_angle_alpha {alpha}
_cell_angle_beta {beta}
_cell_angle_gamma {gamma}
"""
SITES = """loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""


def read_cif(path: Path, block: str | None = None) -> Crystal:
    """Return the crystal of a file."""
    return read_content(open_content(path, block))


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a CIF of a cell and more lines."""

    def write(*parts: str, **cell: object) -> Path:
        path = tmp_path / "test.cif"
        numbers = {"a": 4, "b": 4, "c": 4, "alpha": 90, "beta": 90, "gamma": 90} | cell
        path.write_text(HEAD.format(**numbers) + "\n".join(parts) + "\n")
        return path

    return write


ROCKSALT = SITES + "Na1 Na+ 0 0 0\nCl1 Cl1- 0.5 0.5 0.5"


@pytest.mark.parametrize(
    "symmetry",
    [
        "_symmetry_space_group_name_H-M 'F m -3 m'",
        "_space_group_name_H-M_alt 'Fm-3m'",
        "_space_group_name_Hall '-F 4 2 3'",
        "_symmetry_Int_Tables_number 225",
        "loop_\n_space_group_symop_operation_xyz\n'x,y,z'\n'x,y+1/2,z+1/2'\n'x+1/2,y,z+1/2'\n'x+1/2,y+1/2,z'",
    ],
)
def test_symmetry_by_name_number_or_operations(written: Callable[..., Path], symmetry: str) -> None:
    """Rock salt is four Na and four Cl, however its symmetry is told; special positions are not doubled; charges are no elements."""
    crystal = read_cif(written(symmetry, ROCKSALT, a="5.640(1)", b="5.640(1)", c="5.640(1)"))
    assert sorted(crystal.numbers.tolist()) == [11] * 4 + [17] * 4
    assert np.allclose(np.linalg.norm(crystal.cell, axis=1), 5.64)
    salt = crystal.fractional[crystal.numbers == 11] % 1.0
    assert np.allclose(np.sort(salt.sum(axis=1)), [0, 1, 1, 1])


def test_rounded_special_positions_are_one_site(written: Callable[..., Path]) -> None:
    """0.3333, 0.6667 on a threefold axis is one place of the multiplicity 2 of P6/mmm 2c, not six near ones."""
    crystal = read_cif(written("_space_group_name_H-M_alt 'P 6/m m m'", SITES + "C1 C 0.3333 0.6667 0", a=2.46, b=2.46, c=6.7, gamma=120))
    assert len(crystal.numbers) == 2


def test_no_symmetry_is_told(written: Callable[..., Path]) -> None:
    """A file without symmetry is taken as the whole cell, with a note."""
    crystal = read_cif(written(ROCKSALT))
    assert len(crystal.numbers) == 2
    assert "no symmetry" in crystal.notes[0]


def sigma_of(path: Path) -> np.ndarray:
    """Return the thermal sigmas of a file."""
    sigma = read_cif(path).sigma
    assert sigma is not None
    return sigma


def test_isotropic_displacements(written: Callable[..., Path]) -> None:
    """Sigma is sqrt(U) and sqrt(B / (8 pi^2)); uncertainties are left out; both columns complete each other."""
    extra = SITES + "_atom_site_{}_iso_or_equiv\n"
    assert np.allclose(sigma_of(written(extra.format("U") + "Na1 Na 0 0 0 0.0100(12)\nCl1 Cl 0.5 0.5 0.5 0.0225")), [0.1, 0.15])
    assert np.allclose(
        sigma_of(written(extra.format("B") + "Na1 Na 0 0 0 0.7895684\nCl1 Cl 0.5 0.5 0.5 1.000(5)")), [0.1, (1 / (8 * np.pi**2)) ** 0.5]
    )
    both = SITES + "_atom_site_U_iso_or_equiv\n_atom_site_B_iso_or_equiv\nNa1 Na 0 0 0 0.01 .\nCl1 Cl 0.5 0.5 0.5 ? 0.7895684"
    assert np.allclose(sigma_of(written(both)), [0.1, 0.1])


@pytest.mark.parametrize(("kind", "scale"), [("U", 1.0), ("B", 8 * np.pi**2)])
def test_anisotropic_displacements(written: Callable[..., Path], kind: str, scale: float) -> None:
    """The equivalent value is a third of the trace of the tensor in a Cartesian frame: here built from that frame, in an oblique cell."""
    cell = {"a": 5.0, "b": 6.0, "c": 7.0, "alpha": 80, "beta": 95, "gamma": 105}
    rng = np.random.default_rng(1)
    root = rng.normal(0, 0.1, (3, 3))
    cartesian = root @ root.T
    lattice = read_cif(written(SITES + "C1 C 0 0 0", **cell)).cell
    reciprocal = np.linalg.inv(lattice)  # columns a*, b*, c*
    contravariant = reciprocal.T @ cartesian @ reciprocal
    lengths = np.linalg.norm(reciprocal, axis=0)
    tensor = contravariant / np.outer(lengths, lengths) * scale
    columns = "\n".join(f"_atom_site_aniso_{kind}_{i}{j}" for i, j in ((1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3)))
    values = " ".join(f"{tensor[i, j]:.9f}" for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    path = written(SITES + "C1 C 0 0 0", f"loop_\n_atom_site_aniso_label\n{columns}\nC1 {values}", **cell)
    assert sigma_of(path) == pytest.approx([np.sqrt(np.trace(cartesian) / 3)], rel=1e-6)


def test_missing_displacements_are_filled_and_negative_ones_zero(written: Callable[..., Path]) -> None:
    """A site without a value takes its element's mean, else everybody's; a negative one is 0; each with a note. None at all, or all 0: static."""
    extra = SITES + "_atom_site_U_iso_or_equiv\n"
    crystal = read_cif(written(extra + "O1 O 0 0 0 0.01\nO2 O .5 .5 .5 ?\nH1 H .2 .2 .2 .\nSr1 Sr .5 .5 0 -0.002"))
    assert np.allclose(crystal.sigma**2, [0.01, 0.01, 0.005, 0.0])
    assert any("2 sites without" in note for note in crystal.notes)
    assert any("1 negative" in note for note in crystal.notes)
    assert read_cif(written(extra + "O1 O 0 0 0 0.0\nO2 O .5 .5 .5 ?")).sigma is None
    assert read_cif(written(ROCKSALT)).sigma is None


def test_occupancies(written: Callable[..., Path]) -> None:
    """Occupancies are read without uncertainties; '?' and '.' are 1."""
    crystal = read_cif(written(SITES + "_atom_site_occupancy\nAl1 Al 0 0 0 0.941(8)\nNb1 Nb 0 0 0 0.059(8)\nO1 O .5 .5 .5 ?\nO2 O .5 0 .5 ."))
    assert crystal.occupancy.tolist() == [0.941, 0.059, 1, 1]


def test_cartesian_sites(written: Callable[..., Path]) -> None:
    """Cartesian coordinates are turned into the cell's own, also of an oblique cell."""
    sites = SITES.replace("fract", "Cartn") + "C1 C 1.0 2.0 3.0"
    crystal = read_cif(written(sites, a=5, b=6, c=7, alpha=80, beta=95, gamma=105))
    assert np.allclose(crystal.fractional @ crystal.cell, [[1, 2, 3]])


def test_a_single_site_without_a_loop_and_an_empty_first_block(written: Callable[..., Path]) -> None:
    """One site may stand as plain items; blocks without sites are passed over."""
    path = written("_atom_site_label Po1", "_atom_site_fract_x 0", "_atom_site_fract_y 0", "_atom_site_fract_z 0", a=3.36, b=3.36, c=3.36)
    path.write_text("data_global\n_journal_year 2006\n" + path.read_text())
    assert read_cif(path).numbers.tolist() == [84]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("CA", 20), ("Ca2+", 20), ("O2-", 8), ("O-2", 8), ("D", 1), ("nb", 41), ("Fe3+", 26), ("FeIII", 26), ("Fe(3+)", 26), ("13C", 6)),
        *(
            ("OH2", 8),
            ("OH", 8),
            ("OH-", 8),
            ("Wat", 8),
            ("H2O", 8),
            ("D2O", 8),
            ("NH4", 7),
            ("Siva", 14),
            ("Cval", 6),
            ("Cl1-", 17),
            ("CD", 48),
            ("W", 74),
        ),
        *(("Sr0+", 38), ("Co", 27), ("Ow", 8)),
    ],
)
def test_elements_of_type_symbols(text: str, number: int) -> None:
    """Symbols in any case, with charges, valences and mass numbers; groups of hydrogen by their heavy atom."""
    assert species_of_type(text, "x") == ((number, 1.0),)


@pytest.mark.parametrize(
    ("text", "species"),
    [
        ("0.8Nb + 0.2Zr", ((41, 0.8), (40, 0.2))),
        ("0.75Si+0.25Al", ((14, 0.75), (13, 0.25))),
        ("Nb0.8Zr0.2", ((41, 0.8), (40, 0.2))),
        ("(Nb0.8 Zr0.2)", ((41, 0.8), (40, 0.2))),
        ("Fe3+0.5 Mn2+0.5", ((26, 0.5), (25, 0.5))),
        ("Nb:0.8, Zr:0.2", ((41, 0.8), (40, 0.2))),
        ("Va", ()),
    ],
)
def test_mixed_sites(text: str, species: tuple[tuple[int, float], ...]) -> None:
    """A type symbol of several elements has their shares; a vacancy has none."""
    assert species_of_type(text, "x") == species


@pytest.mark.parametrize(
    ("text", "formula", "number"),
    [
        *(("CA1", "", 20), ("OW1", "", 8), ("C12A", "", 6), ("Sr1", "", 38), ("Wat1", "", 8), ("Wat1", "Ca F O H", 8), ("W1", "", 74)),
        *(("Ho1", "O H", 1), ("Ho1", "Ho O", 67), ("Os2", "O Si", 8), ("Hw1", "", 1), ("SiT1", "", 14), ("AlM1", "", 13), ("Oh", "", 8)),
        *(("Cm1", "C N", 6), ("CO1", "C O", 6), ("CO1", "Co O", 27), ("T1(Si)", "", None), ("M1", "", None), ("Nb,Zr", "", None), ("1", "", None)),
        *(("W1", "Ca O H", 8), ("W1", "W O", 74), ("H2O1", "Ca O H", 8), ("Va1", "V O", 23)),
    ],
)
def test_elements_of_labels(text: str, formula: str, number: int | None) -> None:
    """Labels by their letters, or by the first where those are no element; the formula decides between two readings; nothing is made up."""
    known = frozenset(species_of_type(word, "x")[0][0] for word in formula.split())
    if number is None:
        with pytest.raises(StructureFileError):
            species_of_label(text, "x", known)
    else:
        assert species_of_label(text, "x", known) == ((number, 1.0),)


@pytest.mark.parametrize("text", ["Nb,Zr", "Al3+/Fe3+", "(Al,Fe)", "Al + Fe", "Na+, K+"])
def test_shares_are_not_made_up(text: str) -> None:
    """A type symbol of several elements without shares is refused."""
    with pytest.raises(StructureFileError, match="without occupancies"):
        species_of_type(text, "x")


@pytest.mark.parametrize("text", ["Xx", "X", "", "1", "Qq", "T", "M"])
def test_unknown_elements(text: str) -> None:
    """What is no element raises and is named."""
    with pytest.raises(StructureFileError, match="unknown element"):
        species_of_type(text, "x")


@pytest.mark.parametrize(
    ("parts", "cell", "words"),
    [
        ((ROCKSALT,), {"a": 0}, "cell without volume: a, b, c, alpha, beta, gamma = 0, 4, 4"),
        ((ROCKSALT,), {"gamma": 180}, "angles between 0 and 180"),
        ((ROCKSALT,), {"alpha": 10, "beta": 100}, "enclose a volume"),
        ((ROCKSALT,), {"b": "?"}, r"_cell_length_b is \?, not a number"),
        ((ROCKSALT.replace("Na+", "Zz"),), {}, "unknown element 'Zz'"),
        ((ROCKSALT.replace("0.5 0.5 0.5", "0.5 half 0.5"),), {}, "_atom_site_fract_y of site 2 is 'half'"),
        ((SITES + "O1 O ? 0 0",), {}, "holds no atomic site with a position"),
        ((ROCKSALT + " 7",), {}, "not a readable CIF"),
        (("_journal_year 2006",), {}, "holds no atomic sites"),
        (("_space_group_name_H-M_alt 'P 9 9 9'", ROCKSALT), {}, "the space group 'P 9 9 9', which is unknown"),
        (("loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'x,y,q'", ROCKSALT), {}, "symmetry operation that cannot be read"),
        ((SITES.replace("_atom_site_label\n_atom_site_type_symbol\n", "") + "0 0 0",), {}, "Name their elements"),
        ((SITES + "_atom_site_occupancy\nO1 O 0 0 0 1.7",), {}, "occupancy 1.7"),
    ],
)
def test_broken_files(written: Callable[..., Path], parts: tuple[str, ...], cell: dict[str, object], words: str) -> None:
    """Each broken file has its own sentence, which names the place."""
    with pytest.raises(StructureFileError, match=words) as caught:
        read_cif(written(*parts, **cell))
    assert "\n" not in str(caught.value)


def test_a_file_without_a_cell(tmp_path: Path) -> None:
    """A CIF of sites alone says which number of the cell is missing."""
    path = tmp_path / "x.cif"
    path.write_text("data_x\n" + ROCKSALT)
    with pytest.raises(StructureFileError, match="_cell_length_a is missing"):
        read_cif(path)
