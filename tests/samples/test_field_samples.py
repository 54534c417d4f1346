"""Samples that hold a field of view, from files and from the library."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from stemtwin.twin.errors import StructureFileError, UnknownNameError
from stemtwin.twin.samples.field_samples import MARGIN_ANGSTROM, load_field


def test_a_periodic_structure_fills_the_field_by_its_repeats() -> None:
    """A library sample and a file of a small cell are periodic: the field begins at the origin of a cell about as large as the field."""
    field = load_field("srtio3-001", side_angstrom=12.0, thickness_angstrom=8.0)
    assert field.sample.periodic
    assert field.origin_angstrom == (0.0, 0.0)
    assert field.sample.size_angstrom == pytest.approx((11.715, 11.715))


def test_a_structure_that_is_not_periodic_has_a_margin_around_the_field(tmp_path: Path) -> None:
    """Atoms reach 8 A beyond each side of the field, which begins at (8, 8); the warnings of the reader are among the notes."""
    rng = np.random.default_rng(0)
    grid = 3.0 * np.stack(np.meshgrid(*[np.arange(30)] * 2, [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    atoms = Atoms(f"C{len(grid)}", positions=grid + rng.uniform(-0.3, 0.3, grid.shape), cell=[90.0, 90.0, 9.0], pbc=True)
    ase.io.write(tmp_path / "POSCAR", atoms)
    field = load_field(str(tmp_path / "POSCAR"), side_angstrom=20.0)
    assert not field.sample.periodic
    assert field.origin_angstrom == (MARGIN_ANGSTROM, MARGIN_ANGSTROM)
    xy = field.sample.positions_angstrom[:, :2]
    assert field.sample.size_angstrom == pytest.approx((36.0, 36.0))
    assert xy.min() < 4
    assert xy.max() > 32
    assert any("no thermal displacements" in note for note in field.notes)
    assert len(set(field.notes)) == len(field.notes)


def test_a_name_that_is_neither_a_file_nor_a_sample_is_refused() -> None:
    """A name similar to a library sample's gets the right one; any other name is a file that does not exist."""
    with pytest.raises(UnknownNameError, match=r"neither a file nor a sample named 'srtio3-01'\. Did you mean 'srtio3-001'"):
        load_field("srtio3-01", side_angstrom=10.0)
    with pytest.raises(StructureFileError, match=r"nowhere\.cif"):
        load_field("nowhere.cif", side_angstrom=10.0)
