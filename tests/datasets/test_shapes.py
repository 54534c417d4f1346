"""Datasets of any shape: what a card says of its columns is all that building, checking, loading and serving know."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from stemtwin.datasets import cards, catalog, comparison, cubes, fetch, generate, storage, verify, witness
from stemtwin.datasets.columns import Column
from stemtwin.datasets.manifest import read_manifest
from stemtwin.twin.errors import DatasetError
from tests.datasets import stacks

zarr = pytest.importorskip("zarr")


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cards.Card:
    """The card of stacks, installed in a folder of its own."""
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "stacks-1.0.0.toml").write_text(stacks.card_text())
    monkeypatch.setattr(cards, "CARDS", folder)
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "data"))
    for name in ("STEMTWIN_DATA_URL", "STEMTWIN_DATA_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    return cards.find_card("stacks", "1.0.0")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build."""
    folder = tmp_path_factory.mktemp("stacks") / "tiny"
    generate.build(stacks.stacks_card(), "tiny", folder)
    return folder


def all_rows(card: cards.Card, split: str) -> list[dict]:
    """The rows of a split, as the generator makes them."""
    return [row for one in generate.specimens(card, "tiny") if one.split == split for row in generate.specimen_rows(card, "tiny", one)]


def test_every_format_holds_what_the_generator_made(card, capsys):
    """Arrays of one to four dimensions, cubes, two lists with counts of their own and every type come back equal, in every format."""
    rows = all_rows(card, "train")
    labelled = catalog.load_dataset("stacks@1", size="tiny")
    arrays = catalog.load_dataset("stacks@1", size="tiny", format="numpy")
    stream = list(catalog.load_dataset("stacks@1", size="tiny", streaming=True))
    table = catalog.load_dataset("stacks@1", size="tiny", format="hf")
    assert "it is built here in about 1 s" in capsys.readouterr().err
    assert len(rows) == len(stream) == len(table) == 6
    for column in card.columns:
        values = {"numpy": arrays[column.name], "xarray": labelled[column.name].to_numpy()}
        if column.dtype != "string":
            assert {each.dtype for each in values.values()} == {np.dtype(column.dtype)}
            assert column.cube or np.asarray(stream[0][column.name]).dtype == np.dtype(column.dtype) or not column.shape
        for number, row in enumerate(rows):
            count = row[column.count_name] if column.ragged else None
            for each in values.values():
                np.testing.assert_array_equal(each[number][:count] if column.ragged else each[number], np.asarray(row[column.name]))
            if not column.cube:
                np.testing.assert_array_equal(np.asarray(stream[number][column.name]), np.asarray(row[column.name]))
                np.testing.assert_array_equal(np.asarray(table[number][column.name]), np.asarray(row[column.name]))
    assert labelled["stack"].dims == ("sample", "frame", "channel", "y", "x")
    assert labelled["vacancy_kind"].dims == ("sample", "vacancy")
    assert labelled["cube"].attrs["long_name"] == "a cube"
    assert isinstance(arrays["cube"], zarr.Array)
    for data in (labelled, arrays, table):
        seen = catalog.inputs(data, "stacks@1")
        assert {"sample_id", "stack"} <= set(seen.column_names if data is table else seen) <= {"sample_id", "stack", "cube"}
    images, truth, facts = catalog.load_arrays("stacks@1", size="tiny")
    assert set(images) == {"stack", "cube"}
    assert [len(each) for each in truth["vacancy_kind"]] == [0, 0, 1, 1, 2, 2]
    assert facts["mean"].tolist() == [20.0] * 6


def test_two_builds_are_equal_to_the_last_file(card, made, tmp_path):
    """Cubes are the same files each time, too, and the manifest lists every file of the folder."""
    generate.build(card, "tiny", tmp_path / "again")
    one, two = ({str(p.relative_to(f)): storage.file_sha256(p) for p in f.rglob("*") if p.is_file()} for f in (made, tmp_path / "again"))
    assert one == two
    assert {entry.path for entry in read_manifest(made).files} | {"manifest.json"} == set(one)
    assert any(path.startswith("cubes/train.zarr/cube/c/") for path in one)


def test_a_cube_is_kept_a_row_a_shard(card, made):
    """Each row is one file, whatever its chunks, and any zarr or xarray reader opens it with its dims."""
    group = made / cubes.group_of("train")
    assert len([path for path in (group / "cube" / "c").rglob("*") if path.is_file()]) == 6
    assert xr.open_zarr(group, consolidated=False)["cube"].dims == ("sample", "ky", "kx", "y", "x")


@pytest.mark.parametrize("limit", [1 << 20, 100, 9])
def test_chunks_divide_any_shape(limit, monkeypatch):
    """Whatever the largest chunk, shards are whole chunks that hold the array."""
    monkeypatch.setattr(cubes, "CHUNK_BYTES", limit)
    for shape in ((3,), (7, 5), (3, 2, 6, 5), (1, 100)):
        column = Column(name="c", dtype="uint16", role="input", unit="1", meaning="m", shape=shape, dims=tuple("abcd"[: len(shape)]), cube=True)
        chunk, shard = cubes._chunk(column), cubes._shard(column)
        assert all(s % c == 0 and s >= n for s, c, n in zip(shard, chunk, shape, strict=True))
        assert np.prod(chunk) * 2 <= max(limit, 2)


def test_verify_reads_the_cubes(card, made, tmp_path, refresh):
    """A changed number of a cube is found by its file's hash, and under a forged hash by the content."""
    assert verify.verify(card, made, regenerate=5).rows_made_again == 8
    folder = tmp_path / "copy"
    generate.build(card, "tiny", folder)
    zarr.open_group(folder / cubes.group_of("test"), mode="r+")["cube"][1, 2, 1, 5, 4] = 3
    with pytest.raises(DatasetError, match="is corrupted"):
        verify.verify(card, folder)
    refresh(folder)
    with pytest.raises(DatasetError, match="The Parquet files of test"):
        verify.verify(card, folder)


def test_published_served_fetched_loaded(card, made, tmp_path, serve, monkeypatch):
    """A mirror's folder behind any static server gives every file to a fresh folder: tables, netCDF and cubes, by the registry that ships."""
    registry = fetch.publish(card, made, tmp_path / "mirror")
    (cards.CARDS / registry.name).write_bytes(registry.read_bytes())
    monkeypatch.setenv("STEMTWIN_DATA_URL", serve(tmp_path / "mirror"))
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "fresh"))
    fetched = catalog.load_dataset("stacks@1", size="tiny", split="test").load()
    fetch.fetch(card, "tiny")
    assert verify.verify(card, tmp_path / "fresh" / "stacks" / "1.0.0" / "tiny").rows == 8
    monkeypatch.delenv("STEMTWIN_DATA_URL")
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tmp_path / "mirror"))
    xr.testing.assert_identical(fetched, catalog.load_dataset("stacks@1", size="tiny", split="test").load())


def test_the_readme_tells_every_column(card, made):
    """Type, dimensions and counts of columns stand in the README as the card gives them."""
    text = (made / "README.md").read_text()
    assert "| stack | uint16 [frame 2, channel 8, y 6, x 5] |" in text
    assert "| cube | uint32 [ky 3, kx 2, y 6, x 5], zarr |" in text
    assert "| event | int32 [event: n_events] |" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.pop("mean"), r"wrong columns \['mean'\]"),
        (lambda row: row.update(more=1), r"wrong columns \['more'\]"),
        (lambda row: row.update(sample_id="x"), r"wrong columns \['sample_id'\]"),
        (lambda row: row.update(stack=np.zeros((2, 8, 5, 6))), r"stack of .* has the shape \(2, 8, 5, 6\), but that of the card is \(2, 8, 6, 5\)"),
        (lambda row: row.update(stack=np.full((2, 8, 6, 5), -1)), r"stack of .* holds -1 \(unit 1\), below the limit 0 of uint16"),
        (lambda row: row.update(classes=np.full((6, 5), 256)), r"classes of .* holds 256 \(unit 1\), above the limit 255 of uint8"),
        (lambda row: row.update(n_events=3), "event of .* has 2 entries, but n_events is 3"),
    ],
)
def test_a_row_that_does_not_fit_its_card_is_refused(card, monkeypatch, change, message):
    """Columns, shapes, ranges and lengths of a generator's rows are held against the card, one sentence each."""
    rows = stacks.Stacks.rows

    def changed(self, *given):
        for row in rows(self, *given):
            change(row)
            yield row

    monkeypatch.setattr(stacks.Stacks, "rows", changed)
    with pytest.raises(DatasetError, match=message):
        generate.specimen_rows(card, "tiny", next(generate.specimens(card, "tiny")))


def test_a_generator_makes_the_number_of_rows_of_its_card(card, monkeypatch):
    """A row too few is refused."""
    rows = stacks.Stacks.rows
    monkeypatch.setattr(stacks.Stacks, "rows", lambda self, *given: list(rows(self, *given))[:1])
    with pytest.raises(DatasetError, match=r"test-stacks/0 has 1 rows, but stacks-1\.0\.0 tiny train needs 2"):
        generate.specimen_rows(card, "tiny", next(generate.specimens(card, "tiny")))


@pytest.mark.parametrize(
    ("name", "by", "right"),
    [
        ("expected", 1e-5, True),
        ("expected", 1e-3, False),
        ("profile", 1e-4, True),
        ("profile", 1e-1, False),
        ("classes", 1, False),
        ("mean", 1e-5, True),
        ("mean", 1e-2, False),
        ("vacancy_x_angstrom", 1e-12, True),
        ("vacancy_x_angstrom", 1e-6, False),
        ("event", 1, False),
    ],
)
def test_columns_compare_as_the_card_says(card, name, by, right):
    """Expected values agree to 1e-5 of the largest, numbers but for the last bits, integers and labels exactly."""
    row, column = all_rows(card, "train")[5], card.column(name)
    made = np.array(row[name], dtype=column.dtype)
    made.ravel()[-1:] += np.asarray(by, made.dtype)
    assert (comparison.difference(column, np.asarray(row[name], column.dtype), made).text == "") is right


def test_witnesses_of_all_shapes(card, monkeypatch):
    """Rows agree with their witnesses, whole or in part; any column changed by more than its comparison allows is found, at either edge."""
    for edge in (None, 4):
        monkeypatch.setattr(witness, "PARTS", (edge,))
        witness.path_of(card).write_bytes(witness.make(card, generate.specimen_rows))
        rows = all_rows(card, "train") + all_rows(card, "test")
        assert witness.check(card, "tiny", rows) == 4
        for column in card.columns[3:]:
            row = rows[4] | {column.name: np.array(rows[4][column.name])}
            value = row[column.name]
            if column.dtype == "string":
                value[-1] = "x"
            else:
                value.ravel()[0 if column.dtype != "uint8" else -1] += 3
            with pytest.raises(DatasetError, match=f"{column.name}.*This machine generates rows that differ"):
                witness.check(card, "tiny", [row])
    monkeypatch.setattr(stacks.Stacks, "rows", _brighter(stacks.Stacks.rows))
    with pytest.raises(DatasetError, match="rows that differ"):
        generate.build(card, "tiny", fetch.folder_of(card, "tiny"))


def _brighter(rows):
    """Rows with a count more everywhere."""

    def changed(self, *given):
        for row in rows(self, *given):
            yield row | {"stack": row["stack"] + 1}

    return changed


def test_zarr_is_asked_for_before_the_work(card, monkeypatch, tmp_path):
    """Without zarr a card with cubes is refused in one sentence, before the first specimen."""
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    with pytest.raises(DatasetError, match="holds cubes stored as zarr, which is not installed"):
        generate.build(card, "tiny", tmp_path / "x")
    assert not (tmp_path / "x.partial").exists()


def test_the_manifest_names_units_of_every_column(made):
    """Cubes are columns like all others."""
    assert json.loads((made / "manifest.json").read_text())["units"]["cube"] == "1"
