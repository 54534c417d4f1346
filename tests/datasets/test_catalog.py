"""Loading datasets."""

import json

import datasets as hf
import numpy as np
import pytest

from stemtwin.datasets import catalog
from stemtwin.twin.errors import DatasetError


def load(**kwargs):
    """Load the small dataset."""
    return catalog.load_dataset("atoms-small", **({"version": "1.0.0", "size": "tiny", "split": "test"} | kwargs))


def test_the_three_formats_hold_equal_values(card, local):
    """Every value of every column is the same in xarray (from netCDF), in numpy and in Hugging Face (from Parquet)."""
    labelled, arrays, table = load(format="xarray"), load(format="numpy"), load(format="hf")
    assert isinstance(table, hf.Dataset)
    assert set(labelled.variables) == set(arrays) == set(table.column_names) == set(card.column_names())
    for column in card.columns:
        np.testing.assert_array_equal(labelled[column.name].to_numpy(), arrays[column.name])
        assert labelled[column.name].dtype == arrays[column.name].dtype
    for number, row in enumerate(table):
        for column in card.columns:
            value = arrays[column.name][number]
            value = value[: row["n_columns"]] if column.ragged else value
            assert np.asarray(value).tolist() == row[column.name], column.name


def test_every_variable_has_a_unit_and_the_data_say_what_they_are(card, local):
    """The units of the card stand on the variables; name, version, size, split, licence and content hash on the dataset."""
    data = load()
    assert {name: variable.attrs["units"] for name, variable in data.variables.items()} == {column.name: column.unit for column in card.columns}
    manifest = json.loads((local / "manifest.json").read_text())
    assert data.attrs["content_sha256"] == manifest["splits"]["test"]["content_sha256"]
    assert [data.attrs[key] for key in ("dataset", "version", "size", "split", "license")] == ["atoms-small", "1.0.0", "tiny", "test", "CC-BY-4.0"]


@pytest.mark.parametrize("form", catalog.FORMATS)
def test_inputs_hold_neither_truth_nor_hidden_conditions(card, local, form):
    """What a solver sees has no truth, aberration, specimen or seed: not as a column, not in any attribute or feature."""
    seen = catalog.inputs(load(format=form), "atoms-small", version="1.0.0")
    names = set(seen.column_names if form == "hf" else seen)
    hidden = set(card.column_names("truth", "condition"))
    assert names == {"sample_id", *card.column_names("input")}
    assert {"column_x_angstrom", "material", "C10_angstrom", "structure_seed", "specimen"} <= hidden
    everything = {"xarray": lambda: str(seen.to_dict()), "hf": lambda: str(seen.features) + str(seen[:]), "numpy": lambda: str(seen)}[form]()
    assert not [name for name in hidden if name in everything]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [({"split": "tets"}, "'test'"), ({"size": "tinny"}, "'tiny'"), ({"format": "xaray"}, "'xarray'"), ({"version": "1.0.1"}, "'1.0.0'")],
)
def test_a_wrong_word_names_the_nearest_right_one(local, wrong, meant):
    """An unknown split, size, format or version is a DatasetError with a did-you-mean."""
    with pytest.raises(DatasetError, match=f"Did you mean {meant}"):
        load(**wrong)


def test_the_version_is_required(local):
    """There is no default version."""
    with pytest.raises(TypeError, match="version"):
        catalog.load_dataset("atoms-small")


def test_without_data_and_mirror_the_build_command_is_named(card):
    """No local build and no STEMTWIN_DATA_URL: the message says how to build it and how to name a mirror."""
    with pytest.raises(DatasetError, match=r"'stemtwin data build atoms-small --version 1.0.0 --size tiny', or set STEMTWIN_DATA_URL"):
        load()


@pytest.mark.parametrize(("form", "pattern"), [("xarray", "netcdf/test.nc"), ("numpy", "data/test-*.parquet"), ("hf", "data/test-*.parquet")])
def test_a_flipped_byte_is_found_before_anything_is_loaded(local, form, pattern):
    """One byte of the file changed: a DatasetError that names file and hashes, for each format."""
    (path,) = local.glob(pattern)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DatasetError, match=rf"{path.name} is corrupted: its sha256 is .* the manifest says"):
        load(format=form)


def test_a_file_cut_short_or_missing_is_found(local):
    """A shorter file and a missing file have messages of their own."""
    path = local / "netcdf" / "test.nc"
    raw = path.read_bytes()
    path.write_bytes(raw[:-100])
    with pytest.raises(DatasetError, match=f"is corrupted: it has {len(raw) - 100} bytes, the manifest says {len(raw)}"):
        load()
    path.unlink()
    with pytest.raises(DatasetError, match="is missing, but the manifest lists it"):
        load()


def test_a_manifest_that_is_none_is_found(local):
    """A damaged manifest, one with a path that leaves the folder, and one of another card are refused."""
    path = local / "manifest.json"
    text = path.read_text()
    path.write_text(text[:-20])
    with pytest.raises(DatasetError, match="is not a dataset manifest"):
        load()
    path.write_text(text.replace("netcdf/test.nc", "../../secret"))
    with pytest.raises(DatasetError, match="is not a dataset manifest"):
        load()
    path.write_text(text.replace(json.loads(text)["card_sha256"], "0" * 64))
    with pytest.raises(DatasetError, match="was made from another card"):
        load()
