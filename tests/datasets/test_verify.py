"""``verify``: files, content, and regenerated rows."""

import numpy as np
import pytest

from stemtwin.datasets import storage, verify
from stemtwin.datasets.columns import Column
from stemtwin.datasets.generators import atoms_2d
from stemtwin.datasets.manifest import read_manifest
from stemtwin.twin.errors import DatasetError


def test_an_untouched_build_is_right(card, finished, image_source):
    """Files, content and all regenerated rows agree; the report counts them."""
    report = verify.verify(card, finished, regenerate=18)
    assert (report.rows, report.rows_made_again, report.worst_pixel_fraction) == (90, 90, 0.0)
    assert report.content_sha256 == read_manifest(finished).content_sha256


def rewrite(folder, card, split, change):
    """Change a split's rows in its Parquet file, as a forger would."""
    (path,) = folder.glob(f"data/{split}-*.parquet")
    rows = storage.read_parquet([path]).to_pylist()
    change(rows)
    storage.write_parquet(storage.table_of(rows, card), path)


def test_forged_rows_with_fitting_file_hashes_are_found_by_their_content(card, local, refresh):
    """A changed value under a refreshed file hash is found, because the content hash is of the values."""

    def change(rows):
        rows[3]["column_x_angstrom"][0] += 0.01

    rewrite(local, card, "test", change)
    refresh(local)
    with pytest.raises(DatasetError, match=r"The Parquet files of test .* do not match the content in the manifest"):
        verify.verify(card, local)


def test_the_carriers_must_agree(card, local, refresh):
    """A netCDF file that says something else than the Parquet files is found."""
    path = local / "netcdf" / "val.nc"
    data = storage.read_netcdf(path, card)
    data["image"][2, 3, 4] += 1
    storage.write_netcdf(data, path)
    refresh(local)
    with pytest.raises(DatasetError, match="The netCDF files of val"):
        verify.verify(card, local)


def test_reordered_rows_have_the_same_content(card, local, refresh):
    """Another order of rows is another file and the same content."""
    rewrite(local, card, "train", lambda rows: rows.reverse())
    refresh(local)
    assert verify.verify(card, local).rows == 90


@pytest.mark.parametrize("regenerate", [1, 18])
def test_another_image_source_is_found(card, finished, image_source, regenerate, monkeypatch):
    """Images that this machine makes differently, by one electron everywhere, are a DatasetError with the numbers."""

    def other(*args):
        for shot in image_source(*args):
            yield atoms_2d.Shot(counts=shot.counts + 1, source_size_angstrom=shot.source_size_angstrom)

    monkeypatch.setattr(atoms_2d, "microscope_shots", other)
    with pytest.raises(DatasetError, match=r"100.00% of the counts differ, by up to 1; at most 0.01% may differ, by 1"):
        verify.verify(card, finished, regenerate=regenerate)


def test_another_condition_is_found_by_its_name(card, finished, image_source, monkeypatch):
    """A condition that comes out differently is named with both values."""

    def other(*args):
        for shot in image_source(*args):
            yield atoms_2d.Shot(counts=shot.counts, source_size_angstrom=0.26)

    monkeypatch.setattr(atoms_2d, "microscope_shots", other)
    with pytest.raises(DatasetError, match=r"source_size_angstrom is 0.25 in the dataset and 0.26 when regenerated"):
        verify.verify(card, finished, regenerate=1)


@pytest.fixture
def large():
    """A row with an image of 200 x 200 pixels, and a card of just these columns."""
    columns = (
        Column(name="sample_id", dtype="string", role="identity", unit="1", meaning="m"),
        Column(name="image", dtype="uint16", role="input", unit="e-", meaning="m", shape=(200, 200)),
        Column(name="n_columns", dtype="int64", role="truth", unit="1", meaning="m"),
        Column(name="column_x_angstrom", dtype="float64", role="truth", unit="A", meaning="m", ragged=True),
    )
    row = {"sample_id": "a", "image": np.full((200, 200), 50, np.uint16), "n_columns": 2, "column_x_angstrom": [1.0, 2.0]}
    stored = {name: np.array([value]) for name, value in row.items()}
    return type("Columns", (), {"columns": columns})(), stored, row


@pytest.mark.parametrize(("pixels", "by", "right"), [(0, 0, True), (4, 1, True), (5, 1, False), (1, 2, False)])
def test_counts_may_differ_by_one_in_a_ten_thousandth_of_the_pixels(large, pixels, by, right):
    """Of 40000 pixels 4 may differ by one electron; 5, or one by two, are refused."""
    card, stored, row = large
    row["image"] = row["image"].copy()
    row["image"].ravel()[:pixels] += by
    if right:
        assert verify._compare(card, stored, row) == pixels / 40000
    else:
        with pytest.raises(DatasetError, match=r"at most 0\.01% may differ, by 1"):
            verify._compare(card, stored, row)


@pytest.mark.parametrize(("x", "right"), [([1.0, 2.0 + 1e-12], True), ([1.0, 2.0 + 1e-7], False), ([1.0], False), ([1.0, 2.0, 3.0], False)])
def test_truth_must_be_equal(large, x, right):
    """Positions agree but for the last bits of a sine, and in number."""
    card, stored, row = large
    row |= {"column_x_angstrom": x, "n_columns": len(x)}
    if right:
        assert verify._compare(card, stored, row) == 0
    else:
        with pytest.raises(DatasetError, match="when regenerated"):
            verify._compare(card, stored, row)


def test_a_folder_without_a_dataset_is_refused(card, tmp_path):
    """No manifest, no dataset."""
    with pytest.raises(DatasetError, match="holds no dataset"):
        verify.verify(card, tmp_path)
