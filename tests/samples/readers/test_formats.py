"""One crystal in every format: recognised by content under any name, packed or not; occupancies and displacements arrive."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.element_symbols import symbols
from stemtwin.twin.samples.readers.file_content import decode, open_content
from stemtwin.twin.samples.readers.formats import FORMATS, format_of, read_crystal

A = 3.905
B = {"Sr": 0.6214, "Ti": 0.4390, "O": 0.7323}
RMS = {symbol: (value / (8 * np.pi**2)) ** 0.5 for symbol, value in B.items()}
ATOMS = [("Sr", 38, (0, 0, 0), 1), ("Ti", 22, (0.5, 0.5, 0.5), 1), *(("O", 8, place, 0.5) for place in ((0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)))]


def rows(template: str) -> str:
    """Return one line for each atom of SrTiO3 with oxygen half filled; in the template: fractions xyz, lengths XYZ, o, b, r (rms), u, s, n, i."""
    lines = []
    for at, (symbol, number, place, share) in enumerate(ATOMS):
        fields = dict(zip("xyz", place, strict=True)) | {axis: value * A for axis, value in zip("XYZ", place, strict=True)}
        lines.append(template.format(**fields, o=share, b=B[symbol], r=RMS[symbol], u=RMS[symbol] ** 2, s=symbol, n=number, i=at + 1))
    return "\n".join(lines)


WHOLE = {
    "CIF": "data_x\n"
    + "\n".join(f"_cell_length_{axis} {A}\n_cell_angle_{angle} 90" for axis, angle in zip("abc", ("alpha", "beta", "gamma"), strict=True))
    + "\nloop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n_atom_site_B_iso_or_equiv\n"
    + rows("{s}{i} {x} {y} {z} {o} {b}"),
    "Prismatic xyz": f"SrTiO3\n {A} {A} {A}\n" + rows("{n} {X} {Y} {Z} {o} {r:.7f}") + "\n-1\n",
    "AtomEye and QSTEM cfg": "Number of particles = 5\nA = 1.0 Angstrom\n"
    + "\n".join(f"H0({i},{j}) = {A if i == j else 0} A" for i in (1, 2, 3) for j in (1, 2, 3))
    + "\n.NO_VELOCITY.\nentry_count = 6\n"
    + rows("87\n{s}\n{x} {y} {z} {b} {o} 0"),
    "Dr. Probe cel": f"# SrTiO3\n 0 {A / 10} {A / 10} {A / 10} 90 90 90\n" + rows("{s} {x} {y} {z} {o} {b:.6f}e-2 0 0 0") + "\n*\n",
    "muSTEM xtl": f"SrTiO3\n{A} {A} {A} 90 90 90\n200\n5\n" + rows("{s}\n1 {n} {o} {u:.9f}\n{x} {y} {z}"),
    "JEMS": "\n".join(f"lattice|{at}|{value}" for at, value in enumerate((A / 10, A / 10, A / 10, 90, 90, 90)))
    + "\n"
    + rows("atom|{i}|{s},a,{x},{y},{z},{b:.6f}e-2,{o},0.03"),
    "xyz": f'5\nLattice="{A} 0 0 0 {A} 0 0 0 {A}" '
    + 'Properties=species:S:1:pos:R:3:occupancy:R:1:b_iso:R:1 pbc="T T T"\n'
    + rows("{s} {X} {Y} {Z} {o} {b}"),
    "PDB": f"CRYST1{A:9.3f}{A:9.3f}{A:9.3f}  90.00  90.00  90.00 P 1           1\n"
    + rows("HETATM{i:5d} {s:>2}   STO A   1    {X:8.3f}{Y:8.3f}{Z:8.3f}{o:6.2f}{b:6.2f}          {s:>2}"),
    "SHELX": f"TITL SrTiO3\nCELL 0.71073 {A} {A} {A} 90 90 90\nZERR 1 0 0 0 0 0 0\nLATT -1\nSFAC Sr Ti O\nUNIT 1 1 1.5\nFVAR 1.0 0.5\n"
    + "\n".join(
        f"{symbol}{at} {('Sr', 'Ti', 'O').index(symbol) + 1} {10 + x} {y} {z} {'11.0' if share == 1 else '21.0'} {RMS[symbol] ** 2:.7f}"
        for at, (symbol, _, (x, y, z), share) in enumerate(ATOMS)
    )
    + "\nQ1 1 0.2 0.2 0.2 11.0 0.05 1.2\nHKLF 4\nEND\n",
    "VESTA": f"#VESTA_FORMAT_VERSION 3.5.4\n\nCRYSTAL\n\nCELLP\n  {A} {A} {A} 90 90 90\n  0 0 0 0 0 0\nSTRUC\n"
    + rows("  {i} {s} {s}{i} {o} {x} {y} {z} 1a 1\n          0 0 0 0.00")
    + "\n  0 0 0 0 0 0 0\nTHERI 0\n"
    + rows("  {i} {s}{i} {b}")
    + "\n  0 0 0\nSHAPE\n",
    "xtl": f"TITLE SrTiO3\nDIMENSION 3\nCELL\n {A} {A} {A} 90 90 90\nSYMMETRY NUMBER 1 LABEL P1\nATOMS\nNAME X Y Z OCCUPANCY UISO\n"
    + rows("{s} {x} {y} {z} {o} {u:.9f}")
    + "\nEOF\n",
}
BARE = {
    "LAMMPS dump": f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n5\nITEM: BOX BOUNDS pp pp pp\n1.0 {A + 1}\n-1.0 {A - 1}\n0.0 {A}\n"
    + "ITEM: ATOMS id element xs ys zs\n"
    + rows("{i} {s} {x} {y} {z}"),
    "LAMMPS data": f"SrTiO3\n\n5 atoms\n3 atom types\n\n0 {A} xlo xhi\n0 {A} ylo yhi\n0 {A} zlo zhi\n\n"
    + "Masses\n\n1 87.62\n2 47.867 # Ti\n3 15.999\n\nAtoms # charge\n\n"
    + "\n".join(f"{at + 1} {('Sr', 'Ti', 'O').index(symbol) + 1} 0.0 {x * A} {y * A} {z * A}" for at, (symbol, _, (x, y, z), _) in enumerate(ATOMS)),
    "POSCAR": f"x\n1.0\n{A} 0 0\n0 {A} 0\n0 0 {A}\nSr_sv Ti/a1b2 O\n1 1 3\nDirect\n" + rows("{x} {y} {z}") + "\n",
}


def contents(crystal: Crystal) -> dict[str, float]:
    """Return how many atoms of each element the cell holds, to 0.001."""
    numbers = np.unique(crystal.numbers)
    return {name: round(float(crystal.filling[crystal.numbers == number].sum()), 3) for name, number in zip(symbols(numbers), numbers, strict=True)}


def check_places(crystal: Crystal) -> None:
    """Hold that the cell is SrTiO3's and that each listed atom is at its place, modulo the lattice."""
    assert np.allclose(crystal.cell @ crystal.cell.T, A**2 * np.eye(3), atol=1e-3)
    for _, number, place, _ in ATOMS:
        away = crystal.fractional[crystal.numbers == number] - np.array(place)
        assert np.abs(away - np.round(away)).max(axis=1).min() < 2e-4


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_formats_with_occupancies_and_displacements(tmp_path: Path, name: str) -> None:
    """Named .txt, the file is recognised by its content; cell, places, occupancies and displacements arrive."""
    path = tmp_path / "structure.txt"
    path.write_text(WHOLE[name])
    assert format_of(open_content(path)).name == name
    crystal = read_crystal(path)
    check_places(crystal)
    assert contents(crystal) == {"O": 1.5, "Ti": 1, "Sr": 1}
    assert crystal.sigma is not None
    for symbol, number, _, _ in ATOMS:
        assert crystal.sigma[crystal.numbers == number] == pytest.approx(RMS[symbol], abs=3e-4)
    assert not any("no symmetry" in note for note in crystal.notes) or name == "CIF"


@pytest.mark.parametrize("name", sorted(BARE))
def test_formats_with_places_alone(tmp_path: Path, name: str) -> None:
    """Formats without displacements are recognised by content too, and say nothing of thermal motion."""
    path = tmp_path / "structure.dat"
    path.write_text(BARE[name])
    assert format_of(open_content(path)).name == name
    crystal = read_crystal(path)
    if name == "LAMMPS dump":
        assert np.allclose(np.linalg.norm(crystal.cell, axis=1), A)
    else:
        check_places(crystal)
    assert contents(crystal) == {"O": 3, "Ti": 1, "Sr": 1}
    assert crystal.sigma is None


def test_no_format_takes_anothers_file(tmp_path: Path) -> None:
    """Each sample text is recognised by one format alone."""
    for name, text in (WHOLE | BARE).items():
        path = tmp_path / "x"
        path.write_text(text)
        content = open_content(path)
        assert [each.name for each in FORMATS if each.recognises(content)] == [name]


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zip", None)], ids=["gz", "bz2", "xz", "zip"]
)
def test_packed_files(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes] | None) -> None:
    """Packed files give what they hold, with occupancies and displacements; a packed one under a plain name too; a broken one is refused."""
    data = WHOLE["CIF"].encode()
    if pack is None:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("x.cif", data)
        packed = stream.getvalue()
    else:
        packed = pack(data)
    path = tmp_path / f"x.cif{suffix}"
    path.write_bytes(packed)
    crystal = read_crystal(path)
    assert contents(crystal) == {"O": 1.5, "Ti": 1, "Sr": 1}
    assert crystal.sigma is not None
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(StructureFileError, match="cannot be decompressed"):
        read_crystal(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(encoding: str, end: str) -> None:
    """Text comes out the same from every encoding and every end of line."""
    text = "data_x\n# \u00c5ngstr\u00f6m\n_cell_length_a 5\n"
    assert decode(text.replace("\n", end).encode(encoding)) == text


def test_binary_files_are_no_text() -> None:
    """Bytes that are no text decode to nothing."""
    assert decode(bytes(range(256)) * 4) == ""
    assert decode(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00") == ""


@pytest.mark.parametrize(
    ("text", "edge"),
    [
        ("x\n-59.547\n1 0 0\n0 1 0\n0 0 1\nPo\n1\nCartesian\n0 0 0\n", 59.547 ** (1 / 3)),
        ("x\n2 2 2\n1.5 0 0\n0 1.5 0\n0 0 1.5\nPo\n1\nSelective dynamics\nkartesisch\n0.75 0 0 T T F\n", 3.0),
        ("Po\n3.0\n1 0 0\n0 1 0\n0 0 1\n1\nDirect\n0 0 0\n", 3.0),
    ],
)
def test_variants_of_poscar(tmp_path: Path, text: str, edge: float) -> None:
    """A volume, three scales, selective dynamics, and symbols in the comment alone (VASP 4)."""
    path = tmp_path / "anything"
    path.write_text(text)
    crystal = read_crystal(path)
    assert crystal.numbers.tolist() == [84]
    assert np.allclose(np.linalg.norm(crystal.cell, axis=1), edge)
    assert crystal.fractional[0, 0] in (0, pytest.approx(0.5))


def test_an_old_poscar_without_elements_is_refused(tmp_path: Path) -> None:
    """Counts without symbols are no elements."""
    path = tmp_path / "POSCAR"
    path.write_text("my crystal\n3.0\n1 0 0\n0 1 0\n0 0 1\n1 1\nDirect\n0 0 0\n.5 .5 .5\n")
    with pytest.raises(StructureFileError, match="does not name its elements"):
        read_crystal(path)


@pytest.mark.parametrize("tilt", [(0.7, 0, 0), (-0.7, 0.4, -0.3)])
def test_a_tilted_box_of_lammps(tmp_path: Path, tilt: tuple[float, float, float]) -> None:
    """A dump states the bounds of the tilted box, a data file its edges: both give the same lattice and distances."""
    xy, xz, yz = tilt
    low, high = min(0, xy, xz, xy + xz), 4 + max(0, xy, xz, xy + xz)
    bounds = f"{low} {high} {xy}\n{min(0, yz)} {5 + max(0, yz)} {xz}\n0 6 {yz}"
    dump = tmp_path / "x.dump"
    dump.write_text(
        f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS xy xz yz pp pp pp\n{bounds}\nITEM: ATOMS id mass x y z\n1 55.845 1 2 3\n"
    )
    data = tmp_path / "x.lmp"
    box = f"0 4 xlo xhi\n0 5 ylo yhi\n0 6 zlo zhi\n{xy} {xz} {yz} xy xz yz"
    data.write_text(f"x\n\n1 atoms\n1 atom types\n\n{box}\n\nMasses\n\n1 55.845\n\nAtoms\n\n1 1 1 2 3\n")
    for path in (dump, data):
        crystal = read_crystal(path)
        assert crystal.numbers.tolist() == [26]
        assert np.allclose(crystal.cell, [[4, 0, 0], [xy, 5, 0], [xz, yz, 6]])
        assert np.allclose(crystal.fractional @ crystal.cell, [[1, 2, 3]])


def test_masses_that_tell_nothing_are_refused(tmp_path: Path) -> None:
    """A mass of 1 in reduced units is hydrogen only by chance: 2.5 is no element."""
    path = tmp_path / "x.lmp"
    path.write_text("x\n\n1 atoms\n\n0 4 xlo xhi\n0 4 ylo yhi\n0 4 zlo zhi\n\nMasses\n\n1 2.5\n\nAtoms # atomic\n\n1 1 1 2 3\n")
    with pytest.raises(StructureFileError, match=r"types \(1\), which are not elements"):
        read_crystal(path)


def test_shelx_occupancies_hold_the_symmetry_of_the_site(tmp_path: Path) -> None:
    """Rock salt in F m -3 m: 11/48-like occupancies on special positions are full sites; U of -1.2 is 1.2 times the parent's."""
    import gemmi

    operations = [one.triplet() for one in gemmi.SpaceGroup("P m -3 m").operations()]
    half = []
    for text in operations:
        inverse = gemmi.Op("-x,-y,-z").combine(gemmi.Op(text)).wrap().triplet()
        if text != "x,y,z" and inverse not in half and inverse != "x,y,z" and text != "-x,-y,-z":
            half.append(text)
    symmetry = "\n".join(f"SYMM {text}" for text in half)
    share = 10 + 1 / 48
    path = tmp_path / "x.res"
    path.write_text(
        f"TITL NaCl\nCELL 0.7 5.64 5.64 5.64 90 90 90\nLATT 4\n{symmetry}\nSFAC NA CL\nUNIT 4 4\nFVAR 1\n"
        f"NA1 1 10.0 10.0 10.0 =\n  {share:.5f} 0.02\nCL1 2 10.5 10.5 10.5 {share:.5f} -1.2\nEND\n"
    )
    crystal = read_crystal(path)
    assert contents(crystal) == {"Na": 4, "Cl": 4}
    assert crystal.sigma is not None
    assert crystal.sigma[crystal.numbers == 17] == pytest.approx(0.024**0.5)
    assert crystal.doubts == ()


def test_a_pdb_in_its_space_group(tmp_path: Path) -> None:
    """The asymmetric unit of P 21 21 21 becomes the whole cell, with a note; a cell of 1 x 1 x 1 A is none."""
    atom = "HETATM    1  O   HOH A   1       3.000   4.000   5.000  1.00 20.00           O\n"
    path = tmp_path / "x.pdb"
    path.write_text("CRYST1   20.000   21.000   22.000  90.00  90.00  90.00 P 21 21 21    4\n" + atom)
    crystal = read_crystal(path)
    assert contents(crystal) == {"O": 4}
    assert any("became 4 in the cell" in note for note in crystal.notes)
    path.write_text("CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n" + atom)
    assert read_crystal(path).isolated


def test_frames_of_trajectories(tmp_path: Path) -> None:
    """The last of several frames is taken, with a note; a number chooses another; a format of one structure refuses a block."""
    frames = [Atoms("Au", cell=[4 + at] * 3, pbc=True) for at in range(3)]
    for name in ("x.traj", "x.xyz"):
        path = tmp_path / name
        ase.io.write(path, frames)
        crystal = read_crystal(path)
        assert crystal.cell[0, 0] == 6
        assert any("3 frames" in note and "number 3 was taken" in note for note in crystal.notes)
        assert read_crystal(path, 1).cell[0, 0] == 4
        with pytest.raises(SettingsError, match="block='7'"):
            read_crystal(path, 7)
    path = tmp_path / "POSCAR"
    path.write_text(BARE["POSCAR"])
    with pytest.raises(SettingsError, match="holds one structure"):
        read_crystal(path, 2)


def test_mixed_sites_that_ase_kept(tmp_path: Path) -> None:
    """Shares that ASE's CIF reader found travel through its own formats and arrive; so do our own sigmas."""
    cif = tmp_path / "x.cif"
    cif.write_text(
        "data_x\n"
        + "\n".join(f"_cell_length_{axis} 4\n_cell_angle_{angle} 90" for axis, angle in zip("abc", ("alpha", "beta", "gamma"), strict=True))
        + "\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n"
        + "_atom_site_fract_z\n_atom_site_occupancy\nNb Nb 0 0 0 0.8\nZr Zr 0 0 0 0.2\nO O .5 .5 .5 1\n"
    )
    atoms = ase.io.read(cif)
    assert isinstance(atoms, Atoms)
    atoms.set_array("thermal_sigma_angstrom", np.array([0.07] * len(atoms)))
    for name in ("x.traj", "x.xyz"):
        path = tmp_path / name
        ase.io.write(path, atoms)
        crystal = read_crystal(path)
        assert contents(crystal) == {"O": 1, "Zr": 0.2, "Nb": 0.8}
        if name == "x.xyz":  # a .traj of ASE keeps no arrays but its own
            assert crystal.sigma is not None
            assert np.allclose(crystal.sigma, 0.07)
