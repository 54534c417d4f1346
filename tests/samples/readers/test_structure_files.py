"""Files after public bug reports: what each must give."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.element_symbols import symbols
from stemtwin.twin.samples.readers.formats import read_crystal
from stemtwin.twin.samples.readers.read_sample import read_sample

Real = Callable[[str], Path]


def contents(crystal: Crystal) -> dict[str, float]:
    """Return how many atoms of each element the cell holds."""
    names = symbols(np.unique(crystal.numbers))
    return {
        name: pytest.approx(crystal.filling[crystal.numbers == number].sum()) for name, number in zip(names, np.unique(crystal.numbers), strict=True)
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("case-01.cif", {"Ca": 1, "F": 2, "O": 2}),
        ("case-03.mcif", {"Mn": 8, "O": 8}),
        ("case-06.cif", {"Bi": 2}),
        ("case-09.cif", {"Fe": 4}),
        ("case-11.cif", {"Mg": 8, "Al": 16, "O": 32}),
        ("case-13.cif", {"Mg": 8, "Al": 16, "O": 32}),
        ("case-15.cif", {"Nb": 0.8, "Zr": 0.2, "Si": 0.75, "Al": 0.25}),
        ("case-17.cif", {"Na": 4, "Cl": 4}),
        ("case-19.cif", {"Ca": 1, "O": 2}),
        ("case-21.cif", {"Bi": 6}),
        ("case-25.cif.gz", {"La": 0.7, "Sr": 0.3, "Mn": 1, "O": 3}),
        ("case-27.xyz", {"Sr": 1, "Ti": 1, "O": 3}),
        ("case-29.cfg", {"Sr": 1, "Ti": 1, "O": 1.5}),
        ("case-33.pdb", {"N": 1, "C": 1.5, "O": 0.5}),
        ("case-35.xyz", {"Au": 2}),
        ("case-37.xyz", {"Fe": 1, "O": 1}),
        ("case-40.cif", {"Ga": 8, "O": 12}),
        ("case-42.cif", {"Zn": 2, "O": 2}),
    ],
)
def test_contents(real_file: Real, name: str, expected: dict[str, float]) -> None:
    """The cell holds what the file describes, without a doubt."""
    crystal = read_crystal(real_file(f"structures/{name}"))
    assert contents(crystal) == expected
    assert crystal.doubts == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("case-25.cif.gz", {"La": 0.0775, "Sr": 0.0775, "Mn": 0.0632, "O": 0.0894}),
        ("case-27.xyz", {"Sr": 0.0787, "Ti": 0.0662, "O": 0.0806}),
        ("case-29.cfg", {"Sr": 0.0887, "Ti": 0.0746, "O": 0.0963}),
    ],
)
def test_displacements(real_file: Real, name: str, expected: dict[str, float]) -> None:
    """Displacements arrive from every format that has them, in A rms along one axis."""
    crystal = read_crystal(real_file(f"structures/{name}"))
    assert crystal.sigma is not None
    for symbol, number in zip(symbols(np.unique(crystal.numbers)), np.unique(crystal.numbers), strict=True):
        assert crystal.sigma[crystal.numbers == number] == pytest.approx(expected[symbol], abs=6e-5)


def test_b_factors_and_occupancies_of_a_pdb(real_file: Real) -> None:
    """B of 20 to 30 A^2 are 0.50 to 0.62 A; occupancies of 0.5 stay."""
    crystal = read_crystal(real_file("structures/case-33.pdb"))
    assert crystal.sigma == pytest.approx(np.sqrt(np.array([20, 25, 25, 30]) / (8 * np.pi**2)))
    assert crystal.filling.tolist() == [1, 1, 0.5, 0.5]


def test_a_unique_axis_by_the_metric(real_file: Real) -> None:
    """'P 2/m' with gamma = 105 turns about c: (.1 .2 .3) goes to (-.1 -.2 .3)."""
    crystal = read_crystal(real_file("structures/case-09.cif"))
    away = crystal.fractional - np.array([-0.1, -0.2, 0.3])
    assert np.abs(away - np.round(away)).max(axis=1).min() < 1e-9


def test_magnetic_operations_are_symmetry(real_file: Real) -> None:
    """A magnetic CIF does not 'give no symmetry'."""
    assert not any("no symmetry" in note for note in read_crystal(real_file("structures/case-03.mcif")).notes)


def test_water_shares_of_one_site(real_file: Real) -> None:
    """'OH2' and 'OH' on one place are oxygen with occupancy 1; the formula's arsenic, which has no site, is missed aloud."""
    crystal = read_crystal(real_file("structures/case-14.cif"))
    oxygen = crystal.filling[crystal.numbers == 8]
    assert oxygen.tolist() == [1.0, 1.0]
    assert any("the formula is Zn1 As1 O4" in doubt for doubt in crystal.doubts)


def test_a_site_without_a_position(real_file: Real) -> None:
    """Hydrogen at '? ? ?' is left out with a note."""
    assert "1 site without a position (H1) was left out." in read_crystal(real_file("structures/case-19.cif")).notes


def test_fractions(real_file: Real) -> None:
    """Coordinates 1/3 and 2/3 are those numbers."""
    crystal = read_crystal(real_file("structures/case-23.cif"))
    oxygen = crystal.fractional[crystal.numbers == 8] % 1
    assert np.allclose(np.sort(oxygen[:, :2], axis=1), [1 / 3, 2 / 3], atol=1e-12)


def test_several_blocks(real_file: Real) -> None:
    """The first of two data blocks is taken with a note of which of how many; a name or a number chooses; others are refused by name."""
    path = real_file("structures/case-43.cif")
    first = read_crystal(path)
    assert first.cell[0, 0] == 3.589
    assert any("2 data blocks" in note and "number 1, '293K'," in note for note in first.notes)
    assert read_crystal(path, "600K").cell[0, 0] == read_crystal(path, 2).cell[0, 0] == pytest.approx(3.7)
    with pytest.raises(SettingsError, match=r"block='900K' is not in case-43.cif, which holds 2 data blocks .*293K, 600K"):
        read_crystal(path, "900K")


def test_types_are_no_elements(real_file: Real) -> None:
    """A dump with types alone is refused with the way to assign elements."""
    with pytest.raises(StructureFileError, match=r"types \(1, 2\), which are not elements. To assign elements, .*dump_modify"):
        read_crystal(real_file("structures/case-31.lammpstrj"))


def test_isolated_atoms_in_a_cell(real_file: Real) -> None:
    """A lattice whose directions do not repeat holds an isolated group: two atoms, 2.8 A apart."""
    sample = read_sample(real_file("structures/case-35.xyz"), thermal_sigma_angstrom=0)
    assert len(sample) == 2
    assert not sample.periodic
    assert np.linalg.norm(np.diff(sample.positions_angstrom, axis=0)) == pytest.approx(2.8)


@pytest.mark.parametrize("axis", ["1,1,0", "100", "[-1 0 2]", (3, 1, 2), "5,-3,7"])
def test_any_axis_of_gallium_oxide(real_file: Real, axis: str) -> None:
    """Along axes of which no cell repeats without strain, the sample is an unstrained window of the crystal's density, with a note."""
    sample = read_sample(real_file("structures/case-40.cif"), zone_axis=axis, size_angstrom=(30, 30))
    assert not sample.periodic
    assert sample.strain == 0
    assert any("window" in note and "strain" in note for note in sample.notes)
    assert sample.density_g_per_cm3 == pytest.approx(5.96, rel=0.03)


@pytest.mark.parametrize("axis", ["11-20", "1,1,-2,0", (1, 1, -2, 0), "110", "[1 1 0]"])
def test_four_index_axes(real_file: Real, axis: str) -> None:
    """[11-20] of ZnO is [110], however it is written."""
    path = real_file("structures/case-42.cif")
    assert read_sample(path, zone_axis=axis).digest == read_sample(path, zone_axis=(1, 1, 0)).digest


def test_four_indices_need_a_hexagonal_cell(real_file: Real) -> None:
    """In a monoclinic crystal four indices are refused."""
    with pytest.raises(SettingsError, match="not hexagonal"):
        read_sample(real_file("structures/case-40.cif"), zone_axis="10-10")
