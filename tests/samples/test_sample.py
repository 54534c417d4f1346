"""The sample: what it accepts, what it says of itself, to and from ASE."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.samples.sample import Sample, near_pairs, separation


def pair(**changes: object) -> Sample:
    """Return two atoms in a box of 5 x 4 x 3 A (x, y, z)."""
    settings = {
        "name": "pair",
        "numbers": [38, 8],
        "positions_angstrom": [[1.0, 1.0, 0.0], [3.0, 2.0, 1.5]],
        "size_angstrom": (4.0, 5.0),
        "thickness_angstrom": 3.0,
        "thermal_sigma_angstrom": [0.09, 0.1],
    }
    return Sample(**(settings | changes))


def test_arrays_are_read_only_copies() -> None:
    """A sample keeps its own arrays, of fixed types, which nobody can write to, also after pickling and replacing."""
    positions = np.array([[1.0, 1.0, 0.0], [3.0, 2.0, 1.5]])
    sample = pair(positions_angstrom=positions)
    positions[0] = 2.0
    assert sample.positions_angstrom[0, 0] == 1.0
    for one in (sample, pickle.loads(pickle.dumps(sample)), replace(sample, name="other")):
        assert one.numbers.dtype == np.int64
        assert one.positions_angstrom.dtype == np.float64
        for array in (one.numbers, one.positions_angstrom, one.thermal_sigma_angstrom):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
    assert sample.symbols == ("Sr", "O")
    assert sample.formula == "OSr"
    assert len(sample) == 2
    assert "5.00 x 4.00 x 3.00 A (x, y, z)" in repr(sample)


def test_digest_is_the_physics() -> None:
    """The digest is the same for the same physics, whatever the name, and another one after any physical change, however small (1e-8 A)."""
    sample = pair()
    assert sample.digest == pair(name="other", notes=("a note",), recipe="{}", strain=0.001).digest
    assert sample.digest == pair(positions_angstrom=sample.positions_angstrom + 1e-13).digest
    moved = sample.positions_angstrom + np.array([[0, 0, 0], [0, 0, 1e-8]])
    others = [
        pair(positions_angstrom=moved),
        pair(numbers=[38, 7]),
        pair(size_angstrom=(4.0, 5.1)),
        pair(thickness_angstrom=3.1),
        pair(thermal_sigma_angstrom=[0.09, 0.11]),
        pair(thermal_sigma_angstrom=None),
        pair(periodic=False),
    ]
    assert len({sample.digest, *(other.digest for other in others)}) == 1 + len(others)


def test_digest_does_not_drift() -> None:
    """The digest of a fixed sample is a fixed number: caches and recipes of older versions stay valid."""
    assert pair().digest == "7638bdd755ee5a51fa6c60bd15066453ad0c5f836fb7a4352eb4627218cf3fb2"


def test_vacuum_is_a_sample() -> None:
    """A box without atoms is a slab of vacuum."""
    empty = pair(numbers=[], positions_angstrom=[], thermal_sigma_angstrom=None)
    assert len(empty) == 0
    assert empty.positions_angstrom.shape == (0, 3)
    assert empty.formula == "vacuum"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"numbers": [38]}, SettingsError, r"shape \(2, 3\) for numbers of shape \(1,\)"),
        ({"numbers": [38, 0]}, StructureFileError, "atomic number 0 does not belong to an element"),
        ({"numbers": [38, 119]}, StructureFileError, "atomic number 119 does not belong to an element"),
        ({"size_angstrom": (4.0, 0.0)}, SettingsError, "above 0"),
        ({"thickness_angstrom": float("nan")}, SettingsError, "above 0"),
        ({"thickness_angstrom": 1.5}, SettingsError, r"Atom 1 at \(3, 2, 1.5\) A lies outside the box of 5 x 4 x 1.5 A"),
        ({"size_angstrom": (5.0, 2.9)}, SettingsError, "Atom 1 at .* lies outside"),
        ({"positions_angstrom": [[1.0, 1.0, np.nan], [3.0, 2.0, 1.5]]}, SettingsError, "Atom 0 at .* lies outside"),
        (
            {"positions_angstrom": [[1.0, 1.0, 0.0], [1.2, 1.0, 0.1]]},
            StructureFileError,
            r"atoms 0 \(Sr\) and 1 \(O\) overlap at a distance of 0.224 A",
        ),
        ({"positions_angstrom": [[0.05, 1.0, 0.0], [4.9, 1.0, 0.0]]}, StructureFileError, "distance of 0.150 A"),
        ({"thermal_sigma_angstrom": [0.1]}, SettingsError, r"shape \(1,\), but the sample has 2 atoms"),
        ({"thermal_sigma_angstrom": [0.1, -0.1]}, SettingsError, "-0.1 A is outside 0 to 1 A"),
        ({"thermal_sigma_angstrom": [0.1, 7.0]}, SettingsError, "7 A is outside 0 to 1 A"),
        ({"strain": -0.1}, SettingsError, "strain=-0.1"),
    ],
)
def test_broken_samples_are_refused(changes: dict[str, object], error: type[Exception], words: str) -> None:
    """What does not fit together raises, with the numbers in the message."""
    with pytest.raises(error, match=words):
        pair(**changes)


def test_atoms_at_opposite_edges_are_far_apart_where_nothing_repeats() -> None:
    """Atoms 0.15 A apart across the edge overlap only in a box that repeats; along z it never does."""
    assert len(pair(positions_angstrom=[[0.05, 1.0, 0.0], [4.9, 1.0, 0.0]], periodic=False)) == 2
    assert len(pair(positions_angstrom=[[1.0, 1.0, 0.05], [1.0, 1.0, 2.9]])) == 2


def test_thermal_sigma_by_symbol_number_array_or_none() -> None:
    """One number is everybody's, a mapping goes by symbol, an array by atom; None and 0 are static."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    assert Sample.from_ase(atoms).thermal_sigma_angstrom is None
    assert Sample.from_ase(atoms, thermal_sigma_angstrom=0.0).thermal_sigma_angstrom is None
    assert np.all(Sample.from_ase(atoms, thermal_sigma_angstrom=0.1).thermal_sigma_angstrom == 0.1)
    by_symbol = Sample.from_ase(atoms, thermal_sigma_angstrom={"Na": 0.15, "Cl": 0.13})
    assert np.array_equal(by_symbol.thermal_sigma_angstrom, np.where(atoms.numbers == 11, 0.15, 0.13))
    array = np.linspace(0.05, 0.12, 8)
    assert np.array_equal(Sample.from_ase(atoms, thermal_sigma_angstrom=array).thermal_sigma_angstrom, array)
    with pytest.raises(SettingsError, match="lacks Cl"):
        Sample.from_ase(atoms, thermal_sigma_angstrom={"Na": 0.15})
    with pytest.raises(SettingsError, match="names K, which the sample does not hold"):
        Sample.from_ase(atoms, thermal_sigma_angstrom={"Na": 0.15, "Cl": 0.1, "K": 0.1})
    with pytest.raises(SettingsError, match="'warm' is not a number"):
        Sample.from_ase(atoms, thermal_sigma_angstrom="warm")


def test_ase_there_and_back() -> None:
    """A sample survives the way to ASE and back: same digest."""
    sample = Sample.from_ase(bulk("NaCl", "rocksalt", a=5.64, cubic=True), thermal_sigma_angstrom={"Na": 0.15, "Cl": 0.13}, name="salt")
    atoms = sample.to_ase()
    back = Sample.from_ase(atoms, thermal_sigma_angstrom=atoms.arrays["thermal_sigma_angstrom"])
    assert back.digest == sample.digest
    assert back.name == "salt"
    assert tuple(atoms.pbc) == (True, True, False)


def test_atoms_outside_a_periodic_cell_are_wrapped() -> None:
    """Moving the atoms of a crystal by whole cells, or a plane a rounding error below the face, changes nothing."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    moved = atoms.copy()
    moved.positions[3] += [5.64, -11.28, 5.64]
    moved.positions[:, 2] -= 1e-12
    assert np.allclose(Sample.from_ase(moved).positions_angstrom, Sample.from_ase(atoms).positions_angstrom, atol=1e-9)


def test_a_sheet_without_height_gets_vacuum() -> None:
    """ASE's graphene has no third lattice vector: it gets 2 A of vacuum on either side."""
    cell = Atoms("C4", positions=[[0, 0, 0], [0, 1.42, 0], [1.23, 2.13, 0], [1.23, 3.55, 0]], cell=[2.46, 4.26, 0], pbc=(True, True, False))
    sample = Sample.from_ase(cell)
    assert sample.thickness_angstrom == 4.0
    assert np.all(sample.positions_angstrom[:, 2] == 2.0)
    assert sample.periodic


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("Au"), "cell of 0 x 0 x 4 A"),
        (Atoms("Au", cell=[0, 0, 0], pbc=True), "cell of 0 x 0 x 0 A"),
        (graphene(vacuum=5), "not orthogonal"),
        (Atoms("X", cell=[5, 5, 5], positions=[[1, 1, 1]]), "atomic number 0 does not belong to an element"),
        (Atoms("Au2", cell=[5, 5, 5], pbc=True, positions=[[0, 0, 0], [5, 0, 0]]), "overlap"),
    ],
)
def test_atoms_that_are_no_sample(atoms: Atoms, words: str) -> None:
    """No cell, a skew cell, a dummy atom, double atoms: each its own error."""
    with pytest.raises(StructureFileError, match=words):
        Sample.from_ase(atoms)


def test_pbc_decides_on_periodicity() -> None:
    """Atoms in a cell that ASE does not repeat do not repeat here, unless told otherwise."""
    atoms = Atoms("Au", cell=[5, 6, 7], positions=[[1, 1, 1]])
    assert not Sample.from_ase(atoms).periodic
    assert Sample.from_ase(atoms, periodic=True).periodic
    assert Sample.from_ase(atoms).size_angstrom == (6.0, 5.0)


@given(seed=st.integers(0, 2**32 - 1), periodic=st.booleans())
def test_near_pairs_against_all_distances(seed: int, periodic: bool) -> None:
    """Near pairs are those that the full table of distances, images around the edges included, shows."""
    rng = np.random.default_rng(seed)
    size, n = (6.0, 4.0), 30
    positions = rng.random((n, 3)) * np.array([size[1], size[0], 5.0])
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)] if periodic else [(0, 0)]
    table = np.full((n, n), np.inf)
    for i, j in shifts:
        image = positions + np.array([i * size[1], j * size[0], 0.0])
        table = np.minimum(table, np.linalg.norm(positions[:, None] - image[None], axis=-1))
    pairs = near_pairs(positions, size, 1.2, periodic=periodic)
    wanted = np.argwhere(np.triu(table < 1.2, 1))
    assert np.array_equal(pairs, wanted)
    assert np.allclose(separation(positions, pairs, size, periodic=periodic), table[tuple(wanted.T)])
