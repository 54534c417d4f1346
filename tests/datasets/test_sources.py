"""Sources of a dataset: this machine, a mirror, a short build, in this order; stderr says which."""

import shutil

import pytest

from stemtwin.datasets import catalog, fetch, sources
from stemtwin.datasets.generators import atoms_2d
from stemtwin.twin.errors import DatasetError


@pytest.fixture(autouse=True)
def planned(monkeypatch):
    """A plan in the place of the engines': 40 s of tiny, 14 min of std, 80 min of full; and a fresh memory of what was told."""
    times = {"tiny": 40.0, "std": 840.0, "full": 4800.0}
    monkeypatch.setattr(atoms_2d.AtomsGenerator, "seconds", lambda *given: times[given[-1]])
    sources._say_once.cache_clear()
    return times


def load(**kwargs):
    """Load the small dataset."""
    return catalog.load_dataset("atoms-small@1", **({"size": "tiny", "split": "val", "format": "numpy"} | kwargs))


def test_what_is_here_is_taken_and_told_once(local, mirror, capsys):
    """A dataset in the data folder is read, whatever mirror is set; a second load says nothing more."""
    assert len(load()["image"]) == len(load()["image"]) == 30
    assert capsys.readouterr().err == f"stemtwin: atoms-small 1.0.0 tiny is read from {local}\n"
    assert mirror.asked == []


def test_what_is_not_here_is_fetched(mirror, capsys):
    """Without the dataset here, the mirror has it."""
    load()
    assert capsys.readouterr().err == f"stemtwin: atoms-small 1.0.0 tiny is fetched from {mirror.url}\n"


@pytest.mark.slow
def test_a_short_build_is_made(card, finished, image_source, capsys):
    """Without dataset and mirror, tiny is built, with its planned time said before, and is the published content."""
    images, _, _ = catalog.load_arrays("atoms-small@1", size="tiny", split="val")
    told = capsys.readouterr().err
    assert told.startswith("stemtwin: atoms-small 1.0.0 tiny is neither on this machine nor on a mirror; it is built here in about 40 s\n")
    assert told.endswith(f"stemtwin: atoms-small 1.0.0 tiny lies in {fetch.folder_of(card, 'tiny')}\n")
    shutil.rmtree(fetch.folder_of(card, "tiny"))
    shutil.copytree(finished, fetch.folder_of(card, "tiny"))
    assert (load()["image"] == images).all()


def test_a_long_build_is_offered(card, image_source):
    """Above two minutes one sentence says the time, the command, a smaller size and the mirror; nothing is begun."""
    command = "'stemtwin data build atoms-small --version 1.0.0 --size std'"
    with pytest.raises(DatasetError, match="takes about 14 min, and 40 s for the size 'tiny'") as caught:
        load(size="std")
    assert command in str(caught.value)
    assert "build=True" in str(caught.value)
    assert "STEMTWIN_DATA_URL" in str(caught.value)
    assert not fetch.data_root().exists()


def test_building_is_a_choice(card, finished, planned, monkeypatch):
    """``build=True`` builds however long it takes, ``build=False`` never."""
    monkeypatch.setattr(sources.generate, "build", lambda _card, _size, folder, **_: shutil.copytree(finished, folder))
    with pytest.raises(DatasetError, match="takes about 40 s"):
        load(build=False)
    planned["tiny"] = 9000.0
    with pytest.raises(DatasetError, match="takes about 2 h 30 min"):
        load()
    assert len(load(build=True)["image"]) == 30


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (40, "40 s"), (99, "99 s"), (119, "2 min"), (3500, "58 min"), (4800, "1 h 20 min")])
def test_times_in_words(seconds, words):
    """Times are told in the unit that suits them."""
    assert sources.minutes(seconds) == words
