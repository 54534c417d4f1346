"""Samples that hold a field of view, from files and from the library."""

import math
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from stemtwin.twin.errors import StructureFileError, UnknownNameError
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.samples.field_samples import MARGIN_ANGSTROM, load_field, load_fields, usual_side
from stemtwin.twin.samples.library import SAMPLES, list_samples


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


@pytest.fixture
def oblique(tmp_path: Path) -> str:
    """Return a file of a monoclinic crystal that repeats across the beam after six cells, without strain."""
    angle = 90 + math.degrees(math.atan(1 / 6))
    a = 4.0 / math.sin(math.radians(angle))
    atoms = Atoms("SrO", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[a, 4.0, 4.0, 90.0, angle, 90.0], pbc=True)
    ase.io.write(tmp_path / "oblique.cif", atoms)
    return str(tmp_path / "oblique.cif")


def test_a_large_cell_repeats_no_more_often_than_the_field_needs(oblique: str) -> None:
    """A cell that is long along one side alone is repeated along the other one as often as the field is wide; the window is offered beside it."""
    fields = load_fields(oblique, side_angstrom=8.0, thickness_angstrom=4.0)
    sizes = [field.sample.size_angstrom for field in fields if field.sample.periodic]
    assert min(math.prod(size) for size in sizes) == pytest.approx(8 * 24)
    (window,) = (field for field in fields if not field.sample.periodic)
    assert window.sample.size_angstrom == (24.0, 24.0)
    assert window.origin_angstrom == (MARGIN_ANGSTROM, MARGIN_ANGSTROM)
    smallest = load_field(oblique, side_angstrom=8.0, thickness_angstrom=4.0)
    assert smallest.sample.size_angstrom == pytest.approx((24.0, 8.0))


@pytest.mark.slow
def test_the_window_of_a_field_has_the_image_of_the_cell(oblique: str) -> None:
    """Behind a margin of 8 A the window shows what the periodic cell shows, to 0.1 % of the largest signal, on the same planes and sampling."""
    side = 4.0
    fields = load_fields(oblique, side_angstrom=side, thickness_angstrom=4.0, thermal_sigma_angstrom=0.0)
    cell = min((field for field in fields if field.sample.periodic), key=lambda field: field.area)
    (window,) = (field for field in fields if not field.sample.periodic)
    beam = Beam(energy_ev=200e3, semiangle_mrad=25.0)
    x, y = 2.0, 12.0  # a window has the middle of the least cell in its own
    images = []
    for field, origin in ((cell, (x - side / 2, y - side / 2)), (window, window.origin_angstrom)):
        scan = RasterScan(shape=(4, 4), field_of_view_angstrom=(side, side), origin_angstrom=origin)
        images.append(simulate(field.sample, beam, scan, detectors=("haadf", "abf"), slice_thickness_angstrom=0.3333, sampling_angstrom=0.03))
    for name in ("haadf", "abf"):
        whole, cut = (image[name].to_numpy() for image in images)
        assert np.ptp(whole) > 0.05 * whole.max()
        assert np.abs(cut - whole).max() < 1e-3 * whole.max()


@pytest.mark.parametrize("name", list_samples())
def test_every_sample_of_the_library_covers_its_usual_field(name: str) -> None:
    """No sample refuses the side that it is given by default, and all but particles take 16 A."""
    side = usual_side(name)
    (field,) = load_fields(name, side_angstrom=side)
    assert max(field.sample.size_angstrom) > 0.6 * side
    assert side == 16.0 or "particle" in SAMPLES.tags(name)
