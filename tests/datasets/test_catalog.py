"""Loading datasets."""

import json
import shutil

import datasets as hf
import numpy as np
import pytest
import xarray as xr

from stemtwin.datasets import cards, catalog
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


@pytest.mark.parametrize("name", ["atoms-small@1", "atoms-small@1.0", "atoms-small@1.0.0", "{}/atoms-small-1.0.0.toml"])
def test_a_name_holds_its_version(card, local, name):
    """A whole version, its beginning and the path of the card mean the same dataset."""
    data = catalog.load_dataset(name.format(cards.CARDS), size="tiny", split="test")
    xr.testing.assert_identical(data, load())


@pytest.mark.parametrize(
    ("name", "version", "said"), [("atoms-small@1", "1.1.0", "two different versions"), ("atoms-small@2", None, "Did you mean|Known")]
)
def test_a_version_that_cannot_be(local, name, version, said):
    """Two different versions, and one that does not exist, are refused."""
    with pytest.raises(DatasetError, match=said):
        catalog.load_dataset(name, version=version)


def test_the_newest_version_of_a_beginning_is_taken(card):
    """Of 1.0.0, 1.2.0, 1.10.0 and 2.0.0, '1' means 1.10.0 and '1.2' means 1.2.0."""
    text = (cards.CARDS / "atoms-small-1.0.0.toml").read_text()
    for version in ("1.2.0", "1.10.0", "2.0.0"):
        (cards.CARDS / f"atoms-small-{version}.toml").write_text(text.replace('version = "1.0.0"', f'version = "{version}"'))
    found = [cards.named_card(f"atoms-small@{asked}").version for asked in ("1", "1.2", "2")]
    assert found == ["1.10.0", "1.2.0", "2.0.0"]
    with pytest.raises(DatasetError, match=r"no version '1\.1'"):
        cards.named_card("atoms-small@1.1")


def test_the_version_is_required(local):
    """There is no default version."""
    with pytest.raises(DatasetError, match=r"'atoms-small' names no version\. Give 'atoms-small@1'"):
        catalog.load_dataset("atoms-small")


@pytest.mark.parametrize(("form", "pattern"), [("xarray", "netcdf/test.nc"), ("numpy", "data/test-*.parquet"), ("hf", "data/test-*.parquet")])
def test_a_flipped_byte_is_found_before_anything_is_loaded(local, form, pattern):
    """One byte of the file changed: a DatasetError that names file and hashes, for each format."""
    (path,) = local.glob(pattern)
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DatasetError, match=rf"{path.name} is corrupted: its sha256 begins with .*, but that in the manifest begins with"):
        load(format=form)


def test_a_file_cut_short_or_missing_is_found(local):
    """A shorter file and a missing file have messages of their own."""
    path = local / "netcdf" / "test.nc"
    raw = path.read_bytes()
    path.write_bytes(raw[:-100])
    with pytest.raises(DatasetError, match=f"is corrupted: it has {len(raw) - 100} bytes, but the manifest lists {len(raw)} bytes"):
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
    with pytest.raises(DatasetError, match=r"was made from a card that differs from the present card atoms-small-1\.0\.0"):
        load()


def test_arrays_are_images_truth_and_facts(card, local):
    """Images keep their type, ragged truth its lengths, and every column is in one of the three parts with the values of the numpy format."""
    images, truth, facts = catalog.load_arrays("atoms-small@1", size="tiny", split="test")
    data = load(format="numpy")
    assert images.dtype == np.uint16
    np.testing.assert_array_equal(images, data["image"])
    assert set(truth) == set(card.column_names("truth"))
    assert set(facts) | {"image"} == set(card.column_names("identity", "condition", "input"))
    for column in card.columns:
        found = truth.get(column.name, facts.get(column.name, images))
        for row in range(len(images)):
            np.testing.assert_array_equal(found[row], column.trimmed(data, row))
    assert {len(x) for x in truth["column_x_angstrom"]} == set(truth["n_columns"].tolist())


def test_a_stream_gives_the_same_rows_in_the_types_of_the_card(card, local):
    """A stream is Hugging Face's, keeps uint16, shuffles and skips; a changed file is found before the first row."""
    stream, data = load(streaming=True), load(format="numpy")
    assert isinstance(stream, hf.IterableDataset)
    rows = list(stream)
    assert [row["sample_id"] for row in rows] == data["sample_id"].tolist()
    assert rows[3]["image"].dtype == np.uint16
    np.testing.assert_array_equal(rows[3]["image"], data["image"][3])
    np.testing.assert_array_equal(rows[3]["column_x_angstrom"], data["column_x_angstrom"][3][: rows[3]["n_columns"]])
    assert {row["sample_id"] for row in stream.shuffle(seed=1, buffer_size=8)} == set(data["sample_id"].tolist())
    assert next(iter(stream.skip(5)))["sample_id"] == data["sample_id"][5]
    (path,) = local.glob("data/test-*.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="is corrupted"):
        load(streaming=True)


def test_a_folder_is_loaded_as_its_name_is(card, local, tmp_path):
    """A folder that was built holds what its name means, wherever it lies, in every form; it says its own size."""
    folder = tmp_path / "copied"
    shutil.copytree(local, folder)
    shutil.rmtree(local)
    xr.testing.assert_identical(catalog.load_dataset(folder, split="test"), catalog.load_dataset(str(folder), size="tiny", split="test"))
    assert catalog.load_dataset(folder, split="test").attrs["size"] == "tiny"
    arrays = catalog.load_dataset(folder, split="val", format="numpy")
    images, truth, facts = catalog.load_arrays(folder, split="val")
    np.testing.assert_array_equal(images, arrays["image"])
    assert [len(row) for row in truth["column_x_angstrom"]] == arrays["n_columns"].tolist()
    assert set(facts) | set(truth) | {"image"} == set(card.column_names())
    assert set(catalog.inputs(arrays, folder)) == {"sample_id", *card.column_names("input")}
    rows = list(catalog.load_dataset(folder, split="val", streaming=True))
    np.testing.assert_array_equal(np.stack([row["image"] for row in rows]), images)
    with pytest.raises(DatasetError, match="holds the size 'tiny', not 'full'"):
        catalog.load_arrays(folder, size="full")
    with pytest.raises(DatasetError, match="is a folder, whose data have their own version"):
        catalog.load_arrays(folder, version="1.0.0")
    (folder / "netcdf" / "test.nc").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"test.nc is corrupted"):
        catalog.load_dataset(folder, split="test")
    (cards.CARDS / "atoms-small-1.0.0.toml").rename(tmp_path / "mine.toml")
    with pytest.raises(DatasetError, match=r"was built from the card of atoms-small 1\.0\.0, which is not part of this installation\. Give the path"):
        catalog.load_arrays(folder)
