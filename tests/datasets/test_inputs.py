"""Files for a participant do not reveal the truth: neither by names, ids and order nor by attributes and metadata."""

from pathlib import Path

import datasets as hf
import numpy as np
import pytest
import xarray as xr

from stemtwin.datasets import cards, generate, storage
from stemtwin.datasets.draw import sample_id
from stemtwin.datasets.generators import atoms_2d
from stemtwin.datasets.inputs import shown_card, write_inputs
from stemtwin.datasets.kinds import find_generator
from stemtwin.datasets.manifest import read_manifest
from stemtwin.twin.errors import DatasetError
from tests.datasets import stacks
from tests.datasets.leaks import texts_of, told_by_ids, told_by_order, told_by_texts

KNOWN = {"atoms-2d-1.0.0": "rows are numbered in the order of the seeds, so that a number tells material, dose and specimen; released, and so kept"}
"""Released datasets whose names of rows tell truth, and which may not change."""


def read_rows(folder: Path, card: cards.Card, split: str) -> dict[str, np.ndarray]:
    """A split's arrays, truth included, in the order of the files."""
    return storage.to_numpy(storage.read_parquet([folder / path for path in read_manifest(folder).paths(split, "parquet")]), card)


def hidden_columns(card: cards.Card) -> list[str]:
    """Columns that a participant does not get, except for the split, which is known."""
    shown = {*shown_card(card).column_names(), "split"}
    return [name for name in card.column_names() if name not in shown]


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> tuple[cards.Card, Path]:
    """The small dataset by a card of schema 2."""
    from tests.datasets.conftest import small_card_text, spots

    text = small_card_text().replace("dataset-card@1", "dataset-card@2", 1)
    card = cards.parse_card(text.replace("specimens = { train = 6, val = 6, test = 6 }", "specimens = { train = 1, val = 1, test = 6 }", 1))
    folder = tmp_path_factory.mktemp("second") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atoms_2d, "microscope_shots", spots)
        generate.build(card, "tiny", folder)
    return card, folder


def searched(card: cards.Card, folder: Path, split: str, target: Path) -> dict[str, list[str]]:
    """Hand out a split and return what is told by texts, ids and the order of the rows."""
    write_inputs(card, folder, split, target)
    rows, hidden = read_rows(folder, card, split), hidden_columns(card)
    given = hf.Dataset.from_parquet(str(target / f"{split}.parquet"), cache_dir=str(target.parent / "hf"))
    place = {name: number for number, name in enumerate(rows["sample_id"].tolist())}
    order = np.array([place[name] for name in given["sample_id"]])
    return {
        "texts": told_by_texts(target, rows, hidden),
        "ids": told_by_ids(rows["sample_id"], rows, hidden),
        "order": told_by_order(order, rows, hidden),
    }


def test_a_dataset_of_schema_2_tells_nothing(second: tuple[cards.Card, Path], tmp_path: Path) -> None:
    """Names, ids, order, attributes and metadata of all files that are handed out are independent of truth and conditions."""
    assert searched(*second, "test", tmp_path / "out") == {"texts": [], "ids": [], "order": []}


def test_the_search_finds_what_atoms_2d_tells(second: tuple[cards.Card, Path]) -> None:
    """Of a card of schema 1, such as atoms-2d@1's, the number of a row tells specimen, seed and material: known, and kept with the release."""
    card, folder = second
    rows, hidden = read_rows(folder, card, "test"), hidden_columns(card)
    first = card.model_copy(update={"schema_": "stemtwin/dataset-card@1"})
    numbered = np.array([sample_id(first, "test", seed, i % 5, i) for i, seed in enumerate(rows["structure_seed"].tolist())])
    assert numbered[7] == "atoms-small/test/000007"
    assert {"specimen", "structure_seed", "material"} <= set(told_by_ids(numbered, rows, hidden))
    assert {"specimen", "structure_seed", "material"} <= set(told_by_order(np.argsort(numbered), rows, hidden))


def test_the_search_finds_truth_wherever_it_stands(second: tuple[cards.Card, Path], tmp_path: Path) -> None:
    """A word of truth in a name, an attribute or metadata is found, as is truth in ids and in an order; the files of a dataset are full of it."""
    card, folder = second
    rows, hidden = read_rows(folder, card, "test"), hidden_columns(card)
    places = " ".join(told_by_texts(folder, rows, hidden))
    assert all(f"{name}: " in places for name in ("test-00000-of-00001.parquet", "test.nc", "README.md"))
    (tmp_path / "out" / "graphene").mkdir(parents=True)
    assert told_by_texts(tmp_path / "out", rows, hidden) == ["path: graphene"]
    by_name = np.array([f"{material}/{i}" for i, material in enumerate(rows["material"])])
    assert "material" in told_by_ids(by_name, rows, hidden)
    for name in ("material", "n_columns", "thickness_angstrom"):
        assert name in told_by_order(np.argsort(rows[name], kind="stable"), rows, hidden)
    turns = np.array([(rows["material"][:i] == material).sum() for i, material in enumerate(rows["material"])])
    assert "material" in told_by_order(np.lexsort((rows["material"], turns)), rows, hidden)  # they take turns
    shuffled = np.random.default_rng(1).permutation(30)
    assert told_by_order(shuffled, rows, hidden) == []


def test_the_files_hold_the_inputs_and_no_other_column(second: tuple[cards.Card, Path], tmp_path: Path) -> None:
    """Parquet and netCDF hold the input columns of exactly the rows of the split, to the last bit."""
    card, folder = second
    paths = write_inputs(card, folder, "test", tmp_path / "out")
    assert [path.name for path in paths] == ["test.nc", "test.parquet"]
    rows, names = read_rows(folder, card, "test"), shown_card(card).column_names()
    order = np.argsort(rows["sample_id"])
    given = hf.Dataset.from_parquet(str(tmp_path / "out" / "test.parquet"), cache_dir=str(tmp_path / "hf"))
    labelled = xr.load_dataset(tmp_path / "out" / "test.nc", engine="h5netcdf")
    assert tuple(given.column_names) == names
    assert set(map(str, labelled.data_vars)) == set(names)
    for name in names:
        np.testing.assert_array_equal(np.array(given[:][name]), rows[name][order])
        np.testing.assert_array_equal(labelled[name].values, rows[name][order])
    with pytest.raises(DatasetError, match="is not empty"):
        write_inputs(card, folder, "test", tmp_path / "out")
    with pytest.raises(DatasetError, match="Did you mean 'test'"):
        write_inputs(card, folder, "tset", tmp_path / "other")


def test_cubes_are_handed_out_with_metadata_of_inputs_alone(tmp_path: Path) -> None:
    """Input cubes come as zarr, row by row in the order of the tables, and no file, attribute or metadata names a hidden column or its words."""
    zarr = pytest.importorskip("zarr")
    card = stacks.stacks_card()
    generate.build(card, "tiny", tmp_path / "stacks")
    write_inputs(card, tmp_path / "stacks", "train", tmp_path / "out")
    rows, hidden = read_rows(tmp_path / "stacks", card, "train"), hidden_columns(card)
    order = np.argsort(rows["sample_id"])
    large = zarr.open_group(tmp_path / "stacks" / "cubes" / "train.zarr", mode="r")["cube"][:]
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "out" / "train.zarr", mode="r")["cube"][:], large[order])
    np.testing.assert_array_equal(xr.load_dataset(tmp_path / "out" / "train.nc", engine="h5netcdf")["stack"].values, rows["stack"][order])
    assert any("zarr.json" in where for where, _ in texts_of(tmp_path / "out"))
    assert told_by_texts(tmp_path / "out", rows, hidden) == []


@pytest.mark.parametrize("name", cards.list_cards())
def test_new_cards_name_their_rows_by_digests(name: str) -> None:
    """Every released card but the known ones is of schema 2, whose names of rows tell neither specimen nor order."""
    for version in cards.list_cards()[name]:
        card = cards.find_card(name, version)
        assert (card.schema_ == "stemtwin/dataset-card@1") == (card.id in KNOWN)


def test_known_of_atoms_2d_numbers_and_energies_tell_the_material() -> None:
    """Known of atoms-2d@1: (row number // images + 2) % 6 is the material of a test image; energies below 200 keV leave three of six."""
    card = cards.find_card("atoms-2d", "1.0.0")
    made, energies = find_generator(card.kind), {}
    for number, seed in enumerate(card.structure_seeds("std", "test")):
        specimen = made.specimen(card, "std", "test", seed)
        assert specimen.material == card.generator.materials[(number + 2) % 6].name
        energies.setdefault(specimen.setup.energy_ev, set()).add(specimen.material)
    assert energies[80e3] == {"graphene", "mos2-1h", "graphene-si"}
    assert energies[100e3] == {"srtio3-001", "si-110", "au-001"}
    assert len(energies[200e3]) == 6


def test_names_of_schema_2_are_equal_in_all_sizes_and_secret_with_the_entropy(second: tuple[cards.Card, Path]) -> None:
    """A row's name follows from seed and image alone; another entropy gives other names, and no two rows share one."""
    card = second[0]
    other = card.model_copy(update={"seeds": card.seeds.model_copy(update={"entropy": card.seeds.entropy + 1})})
    names = {sample_id(one, "test", seed, image, number=0) for one in (card, other) for seed in range(40) for image in range(5)}
    assert len(names) == 2 * 40 * 5
    assert sample_id(card, "test", 3, 2, 17) == sample_id(card, "test", 3, 2, 5)
