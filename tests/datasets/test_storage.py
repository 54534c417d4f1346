"""Carriers and the content hash."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.datasets import storage
from stemtwin.datasets.columns import PADDING, Column
from stemtwin.datasets.manifest import read_manifest
from stemtwin.twin.errors import DatasetError


@pytest.fixture
def arrays(card, finished):
    """The validation split as arrays."""
    return storage.to_numpy(storage.read_parquet([finished / path for path in read_manifest(finished).paths("val", "parquet")]), card)


def digest_of(arrays, card):
    """The content hash of arrays."""
    return storage.content_sha256(storage.content_digests(arrays, card))


def test_the_content_hash_knows_no_order_and_no_padding(card, arrays):
    """Rows in another order and longer padding have the same hash; it is the one in the manifest."""
    expected = digest_of(arrays, card)
    order = np.random.default_rng(0).permutation(30)
    assert digest_of({name: values[order] for name, values in arrays.items()}, card) == expected
    longer = {
        column.name: np.pad(arrays[column.name], ((0, 0), (0, 3)), constant_values=PADDING[column.dtype]) if column.ragged else arrays[column.name]
        for column in card.columns
    }
    assert digest_of(longer, card) == expected


def test_the_content_hash_sees_every_column(card, arrays):
    """A change of one value of any column, by the least amount, changes the hash."""
    expected = digest_of(arrays, card)
    for column in card.columns:
        changed = {name: values.copy() for name, values in arrays.items()}
        values = changed[column.name]
        place = (7, 0, 0) if column.shape else (7, 0) if column.ragged else (7,)
        if column.dtype == "string":
            values = changed[column.name] = values.astype("<U99")
            values[place] = str(values[place]) + "x"
        elif column.dtype == "float64":
            values[place] = np.nextafter(values[place], np.inf)
        elif column.dtype == "bool":
            values[place] = ~values[place]
        else:
            values[place] = int(values[place]) - 1 if values[place] > 0 else 1
        assert digest_of(changed, card) != expected, column.name


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=5), min_size=2, max_size=2, unique=True))
def test_texts_cannot_be_shifted_between_neighbours(texts):
    """Lists of texts that read alike when joined have different canonical bytes."""
    column = Column(name="x", dtype="string", role="truth", unit="1", meaning="m", ragged=True)
    a, b = texts
    joined, split = np.array([a + b, ""]), np.array([a, b])
    same = joined.tolist() == split.tolist()
    assert (storage._canonical(joined, column) == storage._canonical(split, column)) is same


def test_netcdf_round_trip_keeps_values_types_units_and_text(card, arrays, tmp_path):
    """What comes back from netCDF is identical, attributes too, and is the file that any netCDF reader opens."""
    data = storage.to_xarray(arrays, card, "val")
    storage.write_netcdf(data, tmp_path / "a.nc")
    back = storage.read_netcdf(tmp_path / "a.nc", card)
    xr.testing.assert_identical(back, data)
    for column in card.columns:
        assert back[column.name].attrs["units"] == column.unit
        assert back[column.name].dtype == data[column.name].dtype
    assert data["image"].dims == ("sample", "y", "x")
    assert data["column_x_angstrom"].dims == ("sample", "column")


@pytest.mark.parametrize("reader", ["parquet", "netcdf"])
def test_a_file_of_another_kind_is_refused(reader, card, tmp_path):
    """A text file under a data file's name is a DatasetError with the path, from either reader."""
    path = tmp_path / "x.bin"
    path.write_text("no data at all, but more than a few bytes of it\n" * 9)
    with pytest.raises(DatasetError, match=r"x\.bin cannot be read as"):
        storage.read_parquet([path]) if reader == "parquet" else storage.read_netcdf(path, card)
