"""Fetching from a mirror: every way in which it goes right or wrong, over a real socket on loopback."""

import json
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest

from stemtwin.datasets import cards, catalog, fetch, storage
from stemtwin.twin.errors import DatasetError


def load(**kwargs):
    """Load the small dataset."""
    return catalog.load_dataset("atoms-small", **({"version": "1.0.0", "size": "tiny", "split": "val", "format": "numpy", "build": False} | kwargs))


def no_file_but_the_manifest(card):
    """Whether nothing of the data, whole or half, is in the data folder."""
    root = fetch.data_root()
    return {path.name for path in root.rglob("*") if path.is_file()} <= {"manifest.json"}


def test_a_fresh_fetch_gets_what_is_needed_and_no_more(mirror, card):
    """One split in one format costs its manifest and its file; the values are those that the mirror was made from."""
    data = load()
    assert len(data["image"]) == 30
    assert mirror.asked == [f"/atoms-small/1.0.0/tiny/{name}" for name in ("manifest.json", "data/val-00000-of-00001.parquet")]
    served = storage.to_numpy(storage.read_parquet(sorted(mirror.folder.rglob("val-*.parquet"))), card)
    np.testing.assert_array_equal(served["image"], data["image"])


def test_cached_data_need_no_server(mirror):
    """After one fetch the server may be gone; other files then cannot be had."""
    first = load()
    mirror.stop()
    np.testing.assert_array_equal(load()["image"], first["image"])
    with pytest.raises(DatasetError, match="cannot be reached"):
        load(format="xarray")


def test_a_corrupted_cache_is_an_error_and_fetch_repairs_it(mirror, card):
    """A changed file is not loaded and not replaced silently; ``fetch`` gets it again."""
    load()
    (path,) = fetch.folder_of(card, "tiny").glob("data/val-*.parquet")
    good = path.read_bytes()
    path.write_bytes(b"\0" * len(good))
    asked = len(mirror.asked)
    with pytest.raises(DatasetError, match="is corrupted"):
        load()
    assert len(mirror.asked) == asked
    fetch.fetch(card, "tiny")
    assert path.read_bytes() == good
    load()


def test_a_wrong_file_from_the_server_is_refused_and_not_kept(mirror, card):
    """Data of another hash than the registry's: one sentence, no second try, nothing left on disk."""
    (path,) = mirror.folder.rglob("val-*.parquet")
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DatasetError, match=r"is not the published file: its sha256 differs from the registry's"):
        load()
    assert no_file_but_the_manifest(card)
    assert len([name for name in mirror.asked if "val" in name]) == 1


def test_a_disk_without_room_is_found_before_the_files_come(mirror, card, monkeypatch):
    """The manifest says what is missing, and no file is asked for where it does not fit, or where the folder takes none."""
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**30, 2**12))
    with pytest.raises(DatasetError, match=r"Missing files of atoms-small-1\.0\.0 tiny needs .* MiB, but 95% of the free space"):
        fetch.fetch(card, "tiny")
    assert all("manifest" in name for name in mirror.asked)
    asked = len(mirror.asked)
    monkeypatch.setenv("STEMTWIN_DATA_DIR", "/proc/self/nowhere")
    with pytest.raises(DatasetError, match="cannot be written: the folder /proc/self does not accept new files"):
        fetch.fetch(card, "tiny")
    assert len(mirror.asked) == asked


def test_a_forged_mirror_is_refused_at_the_manifest(mirror, card, refresh):
    """Hashes made to fit on the mirror do not help: the registry that the user holds decides."""
    folder = mirror.folder / "atoms-small/1.0.0/tiny"
    (path,) = folder.glob("data/val-*.parquet")
    path.write_bytes(path.read_bytes()[::-1])
    refresh(folder)
    with pytest.raises(DatasetError, match=r"manifest\.json is not the published file"):
        load()
    assert no_file_but_the_manifest(card)


def test_a_body_cut_short_is_tried_again_and_then_an_error(mirror, card):
    """A connection that ends early is tried a few times; the message says so, and nothing half loaded stays."""

    def cut(handler):
        if "val" not in handler.path:
            return False
        body = (mirror.folder / handler.path.lstrip("/")).read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        return True

    mirror.meddle = cut
    with pytest.raises(DatasetError, match=rf"ends before the file is complete .*\({fetch.ATTEMPTS} attempt"):
        load()
    assert no_file_but_the_manifest(card)


def test_a_body_that_ends_early_once_is_asked_for_again(mirror, monkeypatch):
    """After one busy answer and one body cut short the whole file arrives with the third attempt; pauses follow urllib3's backoff."""
    import time

    pauses, turns = [], iter(["busy", "cut"])
    monkeypatch.setattr(fetch, "PAUSE_S", 0.02)
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: (pauses.append(seconds), sleep(seconds)))

    def meddle(handler):
        turn = next(turns, None) if "val" in handler.path else None
        if turn == "busy":
            handler.send_error(503)
        elif turn == "cut":
            body = (mirror.folder / handler.path.lstrip("/")).read_bytes()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:100])
        return turn is not None

    mirror.meddle = meddle
    assert len(load()["image"]) == 30
    assert len([name for name in mirror.asked if "val" in name]) == 3
    assert pauses == [pytest.approx(0.04)]


def test_a_server_that_is_silent_is_an_error_with_the_time(mirror, monkeypatch):
    """A server that accepts the connection and says nothing: the message has the time that was waited, and all attempts."""
    import threading

    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.05)
    done = threading.Event()
    mirror.meddle = lambda _: done.wait(5)
    with pytest.raises(DatasetError, match=rf"does not answer within 0.05 s \({fetch.ATTEMPTS} attempt"):
        load()
    done.set()
    assert len(mirror.asked) == fetch.ATTEMPTS


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again(mirror, status):
    """503 or 429 twice, then the file: the load succeeds."""
    left = [2]

    def busy(handler):
        if "val" not in handler.path or not left[0]:
            return False
        left[0] -= 1
        handler.send_error(status)
        return True

    mirror.meddle = busy
    assert len(load()["image"]) == 30
    assert len([name for name in mirror.asked if "val" in name]) == 3


@pytest.mark.parametrize(("status", "attempts"), [(503, fetch.ATTEMPTS), (404, 1)])
def test_a_server_that_never_answers_right_is_an_error_with_its_status(mirror, status, attempts):
    """503 for ever is given up after some attempts, 404 at once."""
    mirror.meddle = lambda handler: "val" in handler.path and (handler.send_error(status) or True)
    with pytest.raises(DatasetError, match=rf"answers {status} .*\({attempts} attempt"):
        load()
    assert len([name for name in mirror.asked if "val" in name]) == attempts


def test_no_network_is_one_sentence(mirror):
    """A server that is not there: the message names the address and the way out."""
    mirror.stop()
    with pytest.raises(DatasetError, match=r"http://127.0.0.1:\d+/.*manifest.json cannot be reached .*stemtwin data build"):
        load()


def test_a_mirror_folder_can_be_the_data_folder(mirror, card, monkeypatch):
    """A mirror on a disk needs no server: STEMTWIN_DATA_DIR names it as it is."""
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(mirror.folder))
    assert len(load()["image"]) == 30
    assert mirror.asked == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STEMTWIN_DATA_URL", "", "is not on this machine"),
        ("STEMTWIN_DATA_URL", "file:///mnt/usb", "is not a web address"),
        ("STEMTWIN_DATA_REGISTRY", "", "The hashes of atoms-small-1.0.0 are not known"),
        ("STEMTWIN_DATA_REGISTRY", "/nowhere/registry.txt", "is not a file"),
    ],
)
def test_a_wrong_environment_is_one_sentence(mirror, monkeypatch, name, value, message):
    """Each variable that is missing or wrong has its own message."""
    monkeypatch.setenv(name, value)
    with pytest.raises(DatasetError, match=message):
        load()


def test_a_size_that_was_not_published_is_one_sentence(mirror):
    """The registry has tiny only: asking for std names what there is."""
    with pytest.raises(DatasetError, match=r"has no size 'std' of atoms-small-1\.0\.0, only tiny"):
        load(size="std")


def test_a_registry_that_is_none_is_one_sentence(mirror, tmp_path, monkeypatch):
    """A file with other content than lines of names and hashes is refused."""
    path = tmp_path / "registry.txt"
    path.write_text("this is a letter and no registry\n")
    monkeypatch.setenv("STEMTWIN_DATA_REGISTRY", str(path))
    with pytest.raises(DatasetError, match="cannot be read"):
        load()


def test_the_shipped_registry_serves_where_the_user_names_none(mirror, card, monkeypatch):
    """The registry beside the card is the default."""
    text = (mirror.folder / "atoms-small-1.0.0.registry.txt").read_text()
    (cards.CARDS / "atoms-small-1.0.0.registry.txt").write_text(text)
    monkeypatch.delenv("STEMTWIN_DATA_REGISTRY")
    assert len(load()["image"]) == 30


def test_publishing_again_replaces_a_size_and_keeps_the_others(mirror, card, finished):
    """The registry has one section per size, and every file of the build with its hash."""
    registry = mirror.folder / "atoms-small-1.0.0.registry.txt"
    before = registry.read_text()
    registry.write_text(before + "# size std, content x\nstd/manifest.json sha256:" + "0" * 64 + "\n")
    assert fetch.publish(card, finished, mirror.folder) == registry
    text = registry.read_text()
    assert "std/manifest.json" in text
    assert text.count("# size tiny, content") == 1
    manifest = json.loads((finished / "manifest.json").read_text())
    assert all(f"tiny/{entry['path']} sha256:{entry['sha256']}" in text for entry in manifest["files"])


def test_a_corrupted_build_is_not_published(card, local, tmp_path):
    """What does not fit its manifest does not get a registry."""
    (local / "README.md").write_text("changed")
    with pytest.raises(DatasetError, match="is corrupted"):
        fetch.publish(card, local, tmp_path / "m")
    assert not (tmp_path / "m" / "atoms-small-1.0.0.registry.txt").exists()


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_fetched_files_have_the_permissions_of_any_new_file(mirror, card, mask):
    """Files of the cache, manifest included, are as readable as the umask says: for a group that shares it, or for nobody else."""
    before = os.umask(mask)
    try:
        load()
    finally:
        os.umask(before)
    files = [path for path in fetch.folder_of(card, "tiny").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o666 & ~mask}


def test_a_cache_that_may_only_be_read_is_read(mirror, card, monkeypatch):
    """A fetched dataset is loaded, and is whole, where nothing can be written; nothing is tried and nothing is asked for."""
    fetch.fetch(card, "tiny")
    folder = fetch.folder_of(card, "tiny")
    for path in [*folder.rglob("*"), folder, *folder.parents[:3]]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    monkeypatch.setattr(fetch, "check_writable", lambda *_, **__: pytest.fail("a trial"))
    asked = len(mirror.asked)
    try:
        assert len(load()["image"]) == 30
        assert fetch.fetch(card, "tiny")[0] == folder
    finally:
        for path in [*folder.parents[:3][::-1], folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert len(mirror.asked) == asked
