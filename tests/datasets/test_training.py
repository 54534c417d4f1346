"""Samples for training: what numpy holds, and the same as tensors where PyTorch is installed."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.datasets import catalog, training
from stemtwin.twin.errors import DatasetError, SettingsError


@pytest.fixture
def samples(card, local):
    """The test split, with label maps of the visible columns."""
    return training.load_samples("atoms-small@1", size="tiny", split="test", labels="column_heaviest", where="column_visible")


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9)), max_size=6), st.sampled_from([0.5, 1.5, 4.0]))
def test_label_maps_are_those_of_a_slow_twin(found, radius):
    """Every pixel holds the label of a nearest point within the radius, edge included, and 0 where there is none."""
    points, labels = np.array([(y / 4, x / 4) for y, x, _ in found]).reshape(-1, 2), np.array([z for *_, z in found], int)
    made = training.label_map((8, 11), points, labels, radius)
    assert made.dtype == np.int64
    for y in range(8):
        for x in range(11):
            away = np.hypot(points[:, 0] - y, points[:, 1] - x)
            near = away.min(initial=np.inf)
            allowed = set(labels[np.isclose(away, near)].tolist()) if near <= radius else {0}
            assert made[y, x] in allowed


def test_a_sample_is_a_row_of_the_dataset(card, samples):
    """Arrays have the values and types of the dataset, ragged columns their lengths, texts are texts, and negative numbers count from the end."""
    data = catalog.load_dataset("atoms-small@1", size="tiny", split="test", format="numpy")
    assert len(samples) == 30
    for row in (0, 17, -1):
        sample = samples[row]
        assert set(sample) == {*card.column_names(), "labels"}
        for column in card.columns:
            np.testing.assert_array_equal(sample[column.name], column.trimmed(data, row))
            assert column.dtype == "string" or sample[column.name].dtype == np.dtype(column.dtype)
        assert isinstance(sample["sample_id"], str)
    with pytest.raises(IndexError):
        samples[30]
    assert sum(1 for _ in samples) == 30


def test_labels_lie_where_the_columns_are(samples):
    """At the pixel of every visible column its atomic number stands, unless a neighbour is nearer; no other number occurs."""
    for row in range(6):
        sample = samples[row]
        seen = sample["column_visible"]
        y, x = (np.rint(sample[f"column_{axis}_angstrom"][seen] / sample["sampling_angstrom"]).astype(int) for axis in "yx")
        assert sample["labels"].shape == sample["image"].shape
        assert (sample["labels"][y, x] > 0).all()
        assert np.mean(sample["labels"][y, x] == sample["column_heaviest"][seen]) > 0.9
        assert set(np.unique(sample["labels"])) <= {0, *sample["column_heaviest"][seen].tolist()}


def test_a_batch_pads_what_is_ragged(card, samples):
    """Images stack in their type, ragged columns are padded to the longest as in the numpy format, texts are lists."""
    some = [samples[row] for row in (3, 8, 21)]
    batch = samples.collate(some)
    assert (batch["image"].shape[0], batch["image"].dtype) == (3, np.uint16)
    assert batch["labels"].shape == batch["image"].shape
    assert batch["material"] == [sample["material"] for sample in some]
    for column in card.columns:
        if column.ragged and column.dtype != "string":
            assert batch[column.name].shape == (3, batch["n_columns"].max())
            for number, sample in enumerate(some):
                np.testing.assert_array_equal(batch[column.name][number, : batch["n_columns"][number]], sample[column.name])
    assert np.isnan(batch["column_x_angstrom"]).sum() == (batch["n_columns"].max() - batch["n_columns"]).sum()


@pytest.mark.parametrize(
    ("drawing", "error", "message"),
    [
        ({"labels": "column_heavy"}, DatasetError, "Did you mean 'column_heaviest'"),
        ({"labels": "column_species"}, DatasetError, r"no ragged column \(int64"),
        ({"labels": "column_heaviest", "where": "column_visibel"}, DatasetError, "Did you mean 'column_visible'"),
        ({"radius_angstrom": 0.0}, SettingsError, "radius_angstrom=0 A is out of range"),
    ],
)
def test_a_map_that_cannot_be_drawn_is_refused(card, local, drawing, error, message):
    """Columns and radius are checked before a sample is asked for."""
    with pytest.raises(error, match=message):
        training.load_samples("atoms-small@1", size="tiny", split="test", **drawing)


def test_without_torch_one_sentence_says_so(card, local, monkeypatch):
    """The way without it is named."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "stemtwin.datasets.torch_samples", raising=False)
    with pytest.raises(DatasetError, match=r"PyTorch is not installed\. .* st\.load_arrays"):
        training.torch_dataset("atoms-small@1", size="tiny")


def test_tensors_are_the_samples(card, local):
    """With PyTorch: a map-style dataset whose loader gives batches of uint16 images and int64 labels, in workers, too."""
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, Dataset

    data = training.torch_dataset("atoms-small@1", size="tiny", split="test", labels="column_heaviest")
    assert isinstance(data, Dataset)
    batches = list(DataLoader(data, batch_size=8, collate_fn=data.collate, num_workers=2))
    assert [len(batch["image"]) for batch in batches] == [8, 8, 8, 6]
    assert (batches[0]["image"].dtype, batches[0]["labels"].dtype) == (torch.uint16, torch.int64)
    np.testing.assert_array_equal(batches[1]["image"][2].numpy(), data.samples[10]["image"])
