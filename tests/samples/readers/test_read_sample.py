"""Reading structure files into samples: the formats, the real files, the errors, the recipes."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.samples.readers.formats import read_crystal
from stemtwin.twin.samples.readers.read_sample import read_sample, sample_from_recipe
from stemtwin.twin.samples.sample import Sample

Real = Callable[[str], Path]


def strontium_titanate() -> Atoms:
    """Return the cubic cell."""
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Atoms("SrTiO3", scaled_positions=places, cell=[3.905] * 3, pbc=True)


@pytest.mark.parametrize("name", ["x.cif", "POSCAR", "x.vasp", "x.xyz", "x.xsf", "x.json", "x.traj", "CONTCAR"])
def test_formats_agree(tmp_path: Path, name: str) -> None:
    """The same crystal gives the same atoms from every format (to the digits that the format keeps)."""
    path = tmp_path / name
    ase.io.write(path, strontium_titanate())
    sample = read_sample(path, thickness_angstrom=20, thermal_sigma_angstrom={"Sr": 0.09, "Ti": 0.07, "O": 0.1})
    assert sample.formula == "O240Sr80Ti80"
    assert sample.size_angstrom == pytest.approx((15.62, 15.62), abs=1e-4)
    assert sample.thickness_angstrom == pytest.approx(19.525, abs=1e-4)
    assert sample.name == path.stem
    strontium = sample.positions_angstrom[sample.numbers == 38]
    assert np.allclose(strontium / 3.905, np.round(strontium / 3.905), atol=1e-4)
    assert np.allclose(sample.thermal_sigma_angstrom[sample.numbers == 8], 0.1)


def test_a_file_without_displacements_moves_by_debyes_model(tmp_path: Path) -> None:
    """Without displacements in the file a warning says what was taken and names the argument; 0 asks for a static sample and is silent."""
    path = tmp_path / "POSCAR"
    ase.io.write(path, strontium_titanate())
    with pytest.warns(UserWarning, match="POSCAR gives no thermal displacements: values of the Debye .* thermal_sigma_angstrom=") as caught:
        sample = read_sample(path)
    assert caught[0].filename == __file__
    assert str(caught[0].message) in sample.notes
    assert sample.thermal_summary == "O 0.085, Sr 0.085, Ti 0.073 A rms"
    assert read_sample(path, thermal_sigma_angstrom=0).thermal_sigma_angstrom is None
    assert np.all(read_sample(path, thermal_sigma_angstrom=0.08).thermal_sigma_angstrom == 0.08)
    with pytest.raises(SettingsError, match="lacks O"):
        read_sample(path, thermal_sigma_angstrom={"Sr": 0.1, "Ti": 0.1})


def test_displacements_and_occupancies_of_image_simulators(tmp_path: Path) -> None:
    """The xtl of muSTEM carries occupancies and mean square displacements: both arrive."""
    path = tmp_path / "x.xtl"
    factors, occupancies = {"Sr": 0.62, "Ti": 0.44, "O": 0.73}, {"Sr": 1.0, "Ti": 1.0, "O": 0.5}
    ase.io.write(path, strontium_titanate(), format="mustem", keV=200, debye_waller_factors=dict(factors), occupancies=occupancies)
    crystal = read_crystal(path)
    for symbol, number in (("Sr", 38), ("Ti", 22), ("O", 8)):
        own = crystal.numbers == number
        assert np.allclose(crystal.sigma[own] ** 2 * 8 * np.pi**2, factors[symbol], rtol=1e-2)
        assert np.all(crystal.occupancy[own] == occupancies[symbol])


def test_a_molecule_stands_alone(tmp_path: Path) -> None:
    """An xyz without a cell is an isolated group in vacuum: 16 A wide at least, 2 A before and after it, nothing repeats; a direction turns it."""
    path = tmp_path / "benzene.xyz"
    ase.io.write(path, molecule("C6H6"), format="xyz")
    flat = read_sample(path, thermal_sigma_angstrom=0)
    assert flat.formula == "C6H6"
    assert not flat.periodic
    assert flat.size_angstrom == (16, 16)
    assert flat.thickness_angstrom == pytest.approx(4.0, abs=1e-6)
    upright = read_sample(path, zone_axis=(0, 1, 0), thermal_sigma_angstrom=0)
    assert upright.thickness_angstrom == pytest.approx(np.ptp(molecule("C6H6").positions[:, 1]) + 4, abs=1e-4)
    assert read_sample(path, size_angstrom=(4, 30), thermal_sigma_angstrom=0).size_angstrom == (4, 30)
    with pytest.raises(StructureFileError, match="no atoms are left in the box of 1 x 1"):
        read_sample(path, size_angstrom=(1, 1), thermal_sigma_angstrom=0)


def test_directions_that_do_not_repeat_get_vacuum(tmp_path: Path) -> None:
    """A slab that its file repeats in two directions only is a sheet, however tight its cell."""
    slab = bulk("Au", "fcc", a=4.08, cubic=True) * (1, 1, 3)
    slab.pbc = (True, True, False)
    path = tmp_path / "slab.xyz"
    ase.io.write(path, slab, format="extxyz")
    sample = read_sample(path, thermal_sigma_angstrom=0.08)
    assert sample.thickness_angstrom == pytest.approx(5 * 2.04 + 4)
    assert sample.periodic
    assert len(sample) == 16 * 12


def broken(name: str, text: str) -> tuple[str, str]:
    """Return a file's name and text."""
    return name, text


POSCAR = "x\n1.0\n{cell}\n{symbols}\n{counts}\nDirect\n{places}\n"
CUBE = "4 0 0\n0 4 0\n0 0 4"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.cif", "hello\n", "is not a readable CIF"),
        ("x.cif", "data_x\n_cell_length_a 4\n", "holds no atomic sites"),
        ("notes.txt", "dear diary\n", "is not a structure that can be read"),
        ("x.xyz", "3\n\nC 0 0 0\n", "is not a structure that can be read"),
        ("x.png", "\x89PNG\r\n", "is not a structure that can be read"),
        ("empty.cif", "", "is not a structure: it has 0 bytes"),
        ("x.xyz", "1\n\nXx 0 0 0\n", "unknown element 'Xx'"),
        ("x.xyz", "1\n\nX 0 0 0\n", "unknown element 'X'"),
        ("POSCAR", POSCAR.format(cell="0 0 0\n0 0 0\n0 0 0", symbols="Au", counts="1", places="0 0 0"), "cell without volume"),
        ("POSCAR", POSCAR.format(cell="4 0 0\n0 4 0\n4 4 0", symbols="Au", counts="1", places="0 0 0"), "cell without volume"),
        ("POSCAR", POSCAR.format(cell=CUBE, symbols="Au", counts="2", places="0 0 0\n0.999 0 0"), "overlap"),
        ("POSCAR", POSCAR.format(cell=CUBE, symbols="Qq", counts="1", places="0 0 0"), "Qq|is not a structure"),
        ("x.xyz", '1\nLattice="0 0 0 0 0 0 0 0 0" Properties=species:S:1:pos:R:3\nAu 0 0 0\n', "cell without volume"),
        ("x.xyz", '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nAu nan 0 0\n', "not finite"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, text: str, words: str) -> None:
    """Each broken file ends in a StructureFileError of one line that says what is wrong with it."""
    path = tmp_path / name
    path.write_text(text, encoding="latin-1")
    with pytest.raises(StructureFileError, match=words) as caught:
        read_sample(path, thermal_sigma_angstrom=0)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    """A missing file and a folder each say so."""
    with pytest.raises(StructureFileError, match=r"There is no file .*nowhere.cif"):
        read_sample(tmp_path / "nowhere.cif")
    with pytest.raises(StructureFileError, match="is not a file"):
        read_sample(tmp_path)


def test_wrong_settings_come_before_the_file(tmp_path: Path) -> None:
    """Settings are checked first: a zone axis of zeros, a thickness below one slice and a size beyond the machine raise SettingsError."""
    path = tmp_path / "POSCAR"
    ase.io.write(path, strontium_titanate())
    for wrong in ({"zone_axis": (0, 0, 0)}, {"thickness_angstrom": 0.1}, {"size_angstrom": (1e8, 1e8)}):
        with pytest.raises(SettingsError):
            read_sample(path, **wrong)


def test_double_perovskite_with_mixed_sites(real_file: Real) -> None:
    """Ca2AlNbO6 (COD 2100513): 3 x 3 x 5 cells of 20 atoms; the strain of beta = 89.97; Al or Nb drawn, one atom per place; U_iso per site."""
    sample = read_sample(real_file("cod_2100513.cif"))
    assert len(sample) == 45 * 20
    counts = {symbol: sample.symbols.count(symbol) for symbol in ("Ca", "Al", "Nb", "O")}
    assert counts["Ca"] == 180
    assert counts["O"] == 540
    assert counts["Al"] + counts["Nb"] == 180
    assert 0 < sample.strain < 3e-4
    assert np.prod(sample.size_angstrom) * sample.thickness_angstrom == pytest.approx(45 * 222.053, rel=1e-4)  # _cell_volume of the file
    u = {"Ca": {0.0116}, "Al": {0.00365}, "Nb": {0.00365}, "O": {0.0063, 0.0091, 0.0085}}
    for symbol, values in u.items():
        own = sample.thermal_sigma_angstrom[np.array(sample.symbols) == symbol] ** 2
        assert set(np.round(own, 6)) == values
    again, other = read_sample(real_file("cod_2100513.cif")), read_sample(real_file("cod_2100513.cif"), seed=1)
    assert again.digest == sample.digest
    assert other.digest != sample.digest


def test_order_of_the_mixed_sites(real_file: Real) -> None:
    """Each of the two kinds of places is 94.1 % of its own element: over 20 seeds (3600 places) the share is right within 4 standard deviations."""
    odd = places = 0
    for seed in range(20):
        sample = read_sample(real_file("cod_2100513.cif"), seed=seed)
        mixed = np.isin(sample.numbers, (13, 41))
        half = np.array([sample.size_angstrom[1] / 6, sample.size_angstrom[0] / 6, sample.thickness_angstrom / 10])
        steps = np.rint((sample.positions_angstrom[mixed] - sample.positions_angstrom[mixed][0]) / half).astype(int)
        aluminium = sample.numbers[mixed] == 13
        own = (steps[:, 0] + steps[:, 2]) % 2 == 0  # rock-salt order: a half step along a, b or c comes to the other kind
        assert np.all((steps[:, 0] + steps[:, 1]) % 2 == 0)
        odd += min(np.sum(aluminium != own), np.sum(aluminium == own))
        places += len(aluminium)
    assert places == 3600
    assert odd / places == pytest.approx(0.059, abs=4 * np.sqrt(0.059 * 0.941 / places))


@pytest.mark.parametrize("zone_axis", [(0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (2, 0, 1)])
def test_double_perovskite_along_many_axes(real_file: Real, zone_axis: tuple[int, int, int]) -> None:
    """Along every axis: strain below 1 %, density of the file, Al-O and Nb-O distances of 1.9 to 2.0 A, six around each."""
    sample = read_sample(real_file("cod_2100513.cif"), zone_axis=zone_axis)
    assert sample.strain < 0.01
    volume = np.prod(sample.size_angstrom) * sample.thickness_angstrom
    assert len(sample) == round(20 * volume / 222.053)
    height, width = sample.size_angstrom
    z = sample.positions_angstrom[:, 2]
    inner = np.isin(sample.numbers, (13, 41)) & (z > 2.5) & (z < sample.thickness_angstrom - 5)
    step = sample.positions_angstrom[sample.numbers == 8][None] - sample.positions_angstrom[inner][:, None]
    step[..., :2] -= np.array([width, height]) * np.round(step[..., :2] / np.array([width, height]))
    nearest = np.sort(np.linalg.norm(step, axis=-1), axis=1)[:, :7]
    assert nearest[:, 0].min() > 1.87
    assert nearest[:, 5].max() < 2.03
    assert nearest[:, 6].min() > 3.0


def test_defective_graphene(real_file: Real) -> None:
    """The 85 A sheet at the upper face of its cell keeps its 2021 C and 22 Si atoms, 2 A of vacuum on either side; a window of it does not repeat."""
    path = real_file("graphene_defects.vasp")
    with pytest.warns(UserWarning, match="no thermal displacements"):
        sheet = read_sample(path)
    assert sheet.formula == "C2021Si22"
    assert sheet.size_angstrom == pytest.approx((85.0571, 85.0571), abs=1e-4)
    assert sheet.thickness_angstrom == pytest.approx(4.0)
    assert np.allclose(sheet.positions_angstrom[:, 2], 2.0)
    assert sheet.periodic
    window = read_sample(path, size_angstrom=(20, 30), thermal_sigma_angstrom=0.05)
    assert window.size_angstrom == (20, 30)
    assert not window.periodic
    inside = np.all(np.abs(sheet.positions_angstrom[:, :2] - 85.0571428 / 2) < [15, 10], axis=1)
    assert len(window) == inside.sum()
    assert sorted(window.numbers) == sorted(sheet.numbers[inside])


def test_amorphous_carbon(real_file: Real) -> None:
    """200 atoms per cell from Cartesian columns; B = 1 A^2 is 0.1125 A; pairs down to 0.32 A give one warning; the places are the file's."""
    path = real_file("amorphous_carbon.cif")
    with pytest.warns(UserWarning, match=r"180 pairs of atoms are nearer than 0.6 A, the nearest 0.321 A") as caught:
        sample = read_sample(path)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert len(sample) == 200 * 2 * 2 * 3
    assert np.allclose(sample.thermal_sigma_angstrom, (1 / (8 * np.pi**2)) ** 0.5)
    assert sample.size_angstrom == (20.48, 20.48)
    lines = [line.split() for line in path.read_text().splitlines() if line.split()[-1:] == ["C"]]
    table = np.array([[float(value) for value in line[2:5]] for line in lines])
    box = np.array([10.24, 10.24, 12.0])
    table[:, 2] -= table[:, 2].min()  # the widest gap of the file lies at the faces of its cell: the first atom comes first
    step = sample.positions_angstrom[None] - table[:, None]
    step -= box * np.round(step / box)
    distance = np.linalg.norm(step, axis=-1)
    assert distance.min(axis=0).max() < 1e-4
    assert np.all(np.sum(distance < 1e-4, axis=1) == 12)


def test_a_recipe_makes_the_sample_again(real_file: Real, tmp_path: Path) -> None:
    """The recipe is JSON and gives the same atoms without a second warning; a changed file, a missing one and no recipe raise."""
    path = tmp_path / "x.vasp"
    path.write_bytes(real_file("graphene_defects.vasp").read_bytes())
    with pytest.warns(UserWarning, match="no thermal displacements"):
        sample = read_sample(path, size_angstrom=(20, 20), seed=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = sample_from_recipe(sample.recipe)
    assert again.digest == sample.digest
    assert again.recipe == sample.recipe
    assert json.loads(sample.recipe)["kind"] == "file"
    warm = read_sample(path, thermal_sigma_angstrom={"C": np.float32(0.05), "Si": 0.04})
    assert sample_from_recipe(warm.recipe).digest == warm.digest
    path.write_text(path.read_text() + "\n")
    with pytest.raises(StructureFileError, match="has changed since the sample was made"):
        sample_from_recipe(sample.recipe)
    path.unlink()
    with pytest.raises(StructureFileError, match="There is no file"):
        sample_from_recipe(sample.recipe)
    for recipe in ("", "{}", "[1]", '{"kind": "dream"}'):
        with pytest.raises(SettingsError, match="recipe"):
            sample_from_recipe(recipe)


def test_samples_of_files_survive_ase(real_file: Real) -> None:
    """To ASE and back is the identity for a sample with strain, mixed sites and displacements."""
    sample = read_sample(real_file("cod_2100513.cif"))
    atoms = sample.to_ase()
    assert Sample.from_ase(atoms, thermal_sigma_angstrom=atoms.arrays["thermal_sigma_angstrom"]).digest == sample.digest
