"""Releases: the registries that ship name every released size and the contents that are pinned elsewhere; a release makes mirror and registry."""

import re
from pathlib import Path

import numpy as np
import pytest

from stemtwin.benchmarks import kept_scores
from stemtwin.datasets import cards, fetch, generate, release, storage
from stemtwin.datasets.manifest import read_manifest
from stemtwin.twin.errors import DatasetError
from tests.conftest import ROOT

CONTENT = re.compile(r"# size (\w+), (?:split (\w+), )?content ([0-9a-f]{64})")
FILE = re.compile(r"(\w+)/(\S+) sha256:([0-9a-f]{64})")
SHIPPED = [f"{name}@{version}" for name, versions in cards.list_cards().items() for version in versions]


def parsed(path: Path) -> tuple[dict[tuple[str, str], str], dict[str, dict[str, str]]]:
    """Return the contents by size and split ("" for all), and the hashes of files by size and path; every line is one or the other."""
    contents, files = {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := CONTENT.fullmatch(line):
            contents[found[1], found[2] or ""] = found[3]
            continue
        file = FILE.fullmatch(line)
        assert file, line
        files.setdefault(file[1], {})[file[2]] = file[3]
    return contents, files


@pytest.mark.parametrize("name", SHIPPED)
def test_the_registry_that_ships_has_every_released_size(name: str) -> None:
    """Of each released size, and of no other, it has manifest, README, and the files of both carriers of every split, and says their contents."""
    card = cards.named_card(name)
    contents, files = parsed(fetch.shipped_registry(card))
    assert tuple(files) == release.released(card)
    assert set(files) == {"tiny", "std"}
    assert set(contents) == {(size, split) for size in files for split in ("", *card.splits)}
    assert len(set(contents.values())) == len(contents)
    for size, listed in files.items():
        splits = [f"{folder}/{split}{rest}" for split in card.splits for folder, rest in (("data", "-00000-of-00001.parquet"), ("netcdf", ".nc"))]
        assert {"manifest.json", "README.md", *splits} == set(listed), size


@pytest.mark.parametrize("name", SHIPPED)
def test_a_size_that_is_not_released_is_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror is not asked for a size that no registry has: one sentence names those that it has, and the command that builds this one."""
    monkeypatch.setenv("STEMTWIN_DATA_URL", "http://127.0.0.1:9")
    card = cards.named_card(name)
    others = [size for size in card.sizes if size not in release.released(card)]
    assert others
    known = ", ".join(sorted(release.released(card)))
    for size in others:
        with pytest.raises(DatasetError) as told:
            fetch.mirror(card, size)
        assert f"has no size '{size}' of {card.id}, only {known}. Use one of these, or run '{fetch.build_command(card, size)}'." in str(told.value)


def test_the_registries_name_the_contents_that_are_pinned() -> None:
    """The data whose arrays are golden, and those that the kept scores were measured on, are those that a mirror serves."""
    contents, _ = parsed(fetch.shipped_registry(cards.named_card("atoms-2d@1.0.0")))
    golden = np.load(ROOT / "tests/golden/values/dataset-atoms-2d.npz")["bits/content_sha256"]
    assert [contents["tiny", split] for split in ("train", "val", "test")] == golden.tolist()
    kept = kept_scores.read("denoise")
    contents, _ = parsed(fetch.shipped_registry(cards.named_card(kept["dataset"])))
    assert contents[kept["size"], kept["split"]] == kept["content_sha256"]


@pytest.fixture
def two_sizes(card: cards.Card, image_source: object) -> cards.Card:
    """The small card with one specimen and image in each split, and two images for training in std."""
    path = cards.CARDS / "atoms-small-1.0.0.toml"
    text = path.read_text(encoding="utf-8")
    for old in ("train = 6, val = 6, test = 6", "train = 5, val = 5, test = 5", "train = 60, val = 30, test = 60"):
        text = text.replace(old, "train = 1, val = 1, test = 1")
    path.write_text(text.replace("train = 20, val = 10, test = 10", "train = 2, val = 1, test = 1"), encoding="utf-8")
    return cards.find_card("atoms-small", "1.0.0")


def test_a_release_makes_mirror_and_registry(two_sizes: cards.Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files that the registry beside the card names lie in the mirror with their hashes; the same again changes nothing.

    The command says what it will take, and where the hashes are.
    """
    registry, target = fetch.shipped_registry(two_sizes), tmp_path / "mirror"
    release.main([str(target), "--workers", "1"])
    told = capsys.readouterr()
    assert told.out == f"atoms-small-1.0.0: tiny, std in {target}, hashes in {registry}\n"
    assert told.err.startswith("atoms-small-1.0.0: tiny, std, about ")
    contents, files = parsed(registry)
    assert list(files) == ["tiny", "std"]
    served = target / "atoms-small" / "1.0.0"
    for size, listed in files.items():
        assert {path: storage.file_sha256(served / size / path) for path in listed} == listed
        assert contents[size, ""] == read_manifest(served / size).content_sha256
    before = registry.read_bytes()
    assert (target / registry.name).read_bytes() == before
    assert release.release(two_sizes, tmp_path / "other") == registry
    assert registry.read_bytes() == before
    parts = [path.relative_to(target) for path in target.rglob("*")]
    assert sorted(parts) == sorted(path.relative_to(tmp_path / "other") for path in (tmp_path / "other").rglob("*"))


def test_a_release_is_of_one_set_of_versions(two_sizes: cards.Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of other versions, or one that is damaged, is no part of a release: one sentence, and the registry stays as it was."""
    monkeypatch.setattr(release, "RELEASED", ("tiny",))
    registry = release.release(two_sizes, tmp_path / "mirror")
    before, folder = registry.read_bytes(), fetch.folder_of(two_sizes, "tiny")
    with monkeypatch.context() as patch:
        patch.setattr(generate, "origin", lambda *_: {"package": "stemtwin 9.0.0", "numpy": "9.9.9"})
        with pytest.raises(DatasetError, match=r"tiny was built with stemtwin .*, but stemtwin 9\.0\.0 and numpy 9\.9\.9 are installed\. .*Delete"):
            release.release(two_sizes, tmp_path / "mirror")
    (folder / "netcdf" / "val.nc").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"val\.nc is corrupted"):
        release.release(two_sizes, tmp_path / "mirror")
    with pytest.raises(SystemExit, match="stemtwin: There is no dataset named 'atom-small'"):
        release.main([str(tmp_path / "mirror"), "--datasets", "atom-small@1"])
    assert registry.read_bytes() == before
