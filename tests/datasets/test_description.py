"""Descriptions of datasets for hubs: Croissant metadata, Hugging Face cards, citations."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from stemtwin.datasets import description
from stemtwin.datasets.cards import Card, find_card, list_cards
from stemtwin.datasets.croissant import CONFORMS_TO, TYPES, croissant
from stemtwin.datasets.manifest import FileEntry, Manifest, SplitEntry
from stemtwin.datasets.storage import tabular

CARDS = [find_card(name, version) for name, versions in list_cards().items() for version in versions]
NOTHING = "0" * 64


def manifest_of(card: Card, shards: int = 1) -> Manifest:
    """Return the manifest of a build that nobody made, with so many Parquet files a split."""
    files = [
        FileEntry(path=f"data/{split}-{i:05d}-of-{shards:05d}.parquet", sha256=f"{i:064x}", bytes=10, split=split, carrier="parquet")
        for split in card.splits
        for i in range(shards)
    ]
    files.append(FileEntry(path="netcdf/train.nc", sha256=NOTHING, bytes=10, split="train", carrier="netcdf"))
    splits = {split: SplitEntry(rows=400, specimens=2, content_sha256=NOTHING) for split in card.splits}
    common: dict[str, Any] = {"schema": "stemtwin/dataset@1", "name": card.name, "version": card.version, "size": "std", "title": card.title}
    return Manifest(
        **common, licence=card.licence, content_sha256=NOTHING, card_sha256=card.digest, splits=splits, slices={}, units={}, generator={}, files=files
    )


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
@pytest.mark.parametrize("shards", [1, 2])
def test_croissant_tells_every_file_and_column(card: Card, shards: int) -> None:
    """Each Parquet file has its hash and a record set, each record set the columns of the tables with their types and shapes; names are unique."""
    manifest = manifest_of(card, shards)
    told = croissant(card, manifest, url="https://example.org/x/")
    parquet = [entry for entry in manifest.files if entry.carrier == "parquet"]
    assert told["conformsTo"] == CONFORMS_TO
    assert [one["sha256"] for one in told["distribution"]] == [entry.sha256 for entry in parquet]
    assert all(one["contentUrl"] == f"https://example.org/x/{entry.path}" for one, entry in zip(told["distribution"], parquet, strict=True))
    names = [record["@id"] for record in told["recordSet"]]
    assert names == [split if shards == 1 else f"{split}-{i:05d}" for split in card.splits for i in range(shards)]
    for record, entry in zip(told["recordSet"], parquet, strict=True):
        assert [field["name"] for field in record["field"]] == [column.name for column in tabular(card)]
        for field, column in zip(record["field"], tabular(card), strict=True):
            assert field["dataType"] == TYPES[column.dtype]
            assert field["source"]["fileObject"]["@id"] == entry.path
            assert field.get("isArray", False) == bool(column.shape or column.ragged)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
@pytest.mark.filterwarnings("ignore")  # other people's deprecations
def test_the_validator_accepts_the_metadata(card: Card, tmp_path: Path) -> None:
    """The validator of MLCommons takes what is written, with neither errors nor warnings; a field of a file that is not described it refuses."""
    mlcroissant = pytest.importorskip("mlcroissant")
    path = tmp_path / "croissant.json"
    told = croissant(card, manifest_of(card), published="2026-01-01")
    path.write_text(json.dumps(told))
    read = mlcroissant.Dataset(jsonld=path)
    assert read.metadata.ctx.issues.errors == set()
    assert read.metadata.ctx.issues.warnings == set()
    assert {record.name for record in read.metadata.record_sets} == set(card.splits)
    del told["distribution"][0]
    path.write_text(json.dumps(told))
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=path)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_the_hub_reads_the_card(card: Card) -> None:
    """The front matter is YAML with licence, splits, size, task and tags; the page says how to load and to cite; limits stand in it."""
    text = description.hub_readme(card, manifest_of(card))
    _, front, body = text.split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["license"] == card.licence.lower()
    assert [one["split"] for one in head["configs"][0]["data_files"]] == list(card.splits)
    assert head["size_categories"] == ["1K<n<10K"]
    assert head["task_categories"][0] in ("image-to-image", "keypoint-detection", "other")
    assert all(limit in body for limit in card.limits)
    assert f'st.load_dataset("{card.name}@{card.version}"' in body
    assert f"{card.name} {card.version}: {card.title}" in body


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_a_citation_file_is_valid(card: Card, tmp_path: Path) -> None:
    """The citation file of a dataset follows the schema of CFF, and names the dataset's version and licence."""
    from cffconvert import Citation

    text = description.citation_file(card)
    Citation(text).validate()
    assert yaml.safe_load(text) | {"type": "dataset", "version": card.version, "license": card.licence} == yaml.safe_load(text)


def test_descriptions_are_written_beside_each_other(tmp_path: Path) -> None:
    """Three files, of which the metadata hold what was given for address and date."""
    card = find_card("atoms-2d", "1.0.0")
    paths = description.describe(card, manifest_of(card), tmp_path / "hub", url="https://example.org", published="2026-01-02")
    assert [path.name for path in paths] == ["README.md", "croissant.json", "CITATION.cff"]
    told = json.loads(paths[1].read_text(encoding="utf-8"))
    assert (told["url"], told["datePublished"]) == ("https://example.org", "2026-01-02")
