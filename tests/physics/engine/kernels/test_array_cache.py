"""Arrays in the disk cache are read back bit for bit or not at all, with concurrent writers, damaged files and killed processes."""

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.engine.kernels import array_cache as module
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache, content_key, piece_key

BIG = 10**9
ARRAYS = {"pairs": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "diagonal": np.linspace(0, 1, 5), "wave": np.array([1 + 2j, -3j], np.complex64)}


def key(name):
    """Return a key of its own for each name."""
    return content_key({"name": name})


def same(a, b):
    """Whether two sets of arrays are equal in names, types, shapes and bits."""
    return list(a) == list(b) and all((a[n].dtype, a[n].shape, a[n].tobytes()) == (b[n].dtype, b[n].shape, b[n].tobytes()) for n in a)


def names(folder):
    """Return the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def kept(tmp_path):
    """Return a cache with one entry, its key, and its file."""
    cache = ArrayCache(tmp_path / "operators", BIG)
    assert cache.put(key("one"), ARRAYS)
    return cache, key("one"), tmp_path / "operators" / f"{key('one')}.arrays"


kinds = stn.boolean_dtypes() | stn.integer_dtypes(endianness="?") | stn.floating_dtypes(endianness="?") | stn.complex_number_dtypes(endianness="?")


@given(st.dictionaries(st.text(max_size=5), stn.arrays(kinds, stn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)), max_size=3))
def test_round_trip(tmp_path_factory, arrays):
    """Arrays of numbers of any type, byte order and shape, also empty ones, are read back bit for bit as new objects that may be changed."""
    folder = tmp_path_factory.mktemp("cache")
    assert ArrayCache(folder, BIG).put(key("x"), arrays)
    found = ArrayCache(folder, BIG).get(key("x")) or {}
    assert same(found, arrays)
    assert all(array.flags.writeable and array.flags.c_contiguous and array.flags.aligned for array in found.values())


def test_nothing_is_kept_that_is_not_numbers(tmp_path):
    """Objects, texts and dates are refused: reading a file never runs code."""
    cache = ArrayCache(tmp_path, BIG)
    for array in (np.array([{}]), np.array(["a"]), np.array(["2020-01-01"], "M8[D]"), np.zeros(2, [("a", "f4")])):
        with pytest.raises(SettingsError, match=r"'x' of type .* cannot be kept"):
            cache.put(key("x"), {"x": array})
    assert names(tmp_path) == []


def test_another_key_finds_nothing(kept):
    """A key finds the arrays that were last put under it and nothing else."""
    cache, one, _ = kept
    assert cache.get(key("two")) is None
    assert one in cache
    assert key("two") not in cache
    assert cache.put(one, {"a": np.ones(3)})
    assert same(cache.get(one), {"a": np.ones(3)})
    cache.remove(one)
    cache.remove(one)
    assert cache.get(one) is None


@pytest.mark.parametrize("bad", ["", "x", "../" + "0" * 61, "0" * 63, "0" * 64 + "-", "0" * 64 + "-a/b", "A" * 64])
def test_what_is_no_key(tmp_path, bad):
    """A name that could lead out of the folder, or that no description made, is refused."""
    cache = ArrayCache(tmp_path, BIG)
    for ask in (cache.get, cache.remove, lambda k: cache.put(k, ARRAYS)):
        with pytest.raises(SettingsError, match="is not a key"):
            ask(bad)


def test_every_flipped_byte_is_seen(kept):
    """Whichever byte of a file is changed, the entry is not found, its file is gone, and it can be kept again."""
    cache, one, path = kept
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        assert cache.get(one) is None, place
        assert not path.exists(), place
    path.write_bytes(whole)
    assert same(cache.get(one), ARRAYS)


def test_every_cut_is_seen(kept):
    """A file that is truncated anywhere, or longer than its entry, is not an entry."""
    cache, one, path = kept
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert cache.get(one) is None, end
        assert not path.exists(), end
    path.write_bytes(whole + b"\0")
    assert cache.get(one) is None


def test_another_format(kept, monkeypatch):
    """An entry of another format is computed again, even if its bytes are right."""
    cache, one, path = kept
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    assert cache.get(one) is None
    assert not path.exists()
    done = []
    for _ in range(3):
        assert same(cache.resumable(one, lambda: done.append("computed") or ARRAYS, skipped=lambda: done.append("skipped")), ARRAYS)
    assert done == ["computed", "skipped", "skipped"]


def test_foreign_files(kept, tmp_path):
    """A foreign file under an entry's name, or an entry under another name, is not an entry; files with other names are left alone."""
    cache, one, path = kept
    two = path.with_name(f"{key('two')}.arrays")
    two.write_bytes(path.read_bytes())
    assert cache.get(key("two")) is None
    np.savez(path.with_suffix(""), **ARRAYS)
    path.with_suffix(".npz").replace(path)
    assert cache.get(one) is None
    (path.parent / "notes.txt").write_bytes(bytes(1000))
    small = ArrayCache(path.parent, 700)
    assert small.put(one, {"a": np.zeros(40)})
    assert names(path.parent) == sorted([path.name, "notes.txt"])
    assert small.nbytes == path.stat().st_size


def test_a_folder_in_the_place_of_an_entry(tmp_path):
    """An entry that can be neither read nor replaced is not kept; nothing else fails."""
    (tmp_path / f"{key('x')}.arrays" / "inside").mkdir(parents=True)
    cache = ArrayCache(tmp_path, BIG)
    assert cache.get(key("x")) is None
    assert same(cache.resumable(key("x"), lambda: ARRAYS), ARRAYS)
    assert "cannot be written" in str(cache.problem)
    assert len(names(tmp_path)) == 1


def test_the_one_used_longest_ago_goes_first(tmp_path):
    """Above the limit, entries go in the order of their last use, reading included, and the newest never goes."""
    cache = ArrayCache(tmp_path, BIG)
    size = 0
    for second, name in enumerate("abcd"):
        cache.put(key(name), {"x": np.zeros(1000)})
        path = tmp_path / f"{key(name)}.arrays"
        size = path.stat().st_size
        os.utime(path, (second, second))
    assert cache.nbytes == 4 * size
    assert cache.get(key("a")) is not None
    limited = ArrayCache(tmp_path, 3 * size + 10)
    assert limited.put(key("e"), {"x": np.zeros(1000)})
    assert [name for name in "abcde" if key(name) in limited] == ["a", "d", "e"]
    assert limited.nbytes <= limited.capacity_bytes
    for name in "abde":  # all others are newer than the one put now
        if (path := tmp_path / f"{key(name)}.arrays").exists():
            os.utime(path, times=(time.time() + 1000, time.time() + 1000))
    least = ArrayCache(tmp_path, size + 10)
    assert least.put(key("f"), {"x": np.zeros(1000)})
    assert names(tmp_path) == [f"{key('f')}.arrays"]


def test_larger_than_all(kept):
    """Arrays larger than the limit are not kept and displace no other entry; the reason can be read."""
    _, one, path = kept
    small = ArrayCache(path.parent, path.stat().st_size)
    assert not small.put(key("two"), {"x": np.zeros(1000)})
    assert "STEMTWIN_CACHE_BYTES" in str(small.problem)
    assert same(small.get(one), ARRAYS)
    assert small.put(one, ARRAYS)
    assert small.problem is None


def test_capacity_zero(kept):
    """With capacity 0 nothing is written, read or made."""
    _, one, path = kept
    nothing = ArrayCache(path.parent, 0)
    assert nothing.get(one) is None
    assert one not in nothing
    assert not nothing.put(key("two"), ARRAYS)
    assert "0 bytes" in str(nothing.problem)
    assert names(path.parent) == [path.name]
    elsewhere = ArrayCache(path.parent / "new", 0)
    assert same(elsewhere.resumable(one, lambda: ARRAYS), ARRAYS)
    assert not elsewhere.finish(one, ARRAYS)
    assert not elsewhere.folder.exists()
    with pytest.raises(SettingsError, match="capacity_bytes=-1"):
        ArrayCache(path.parent, -1)


def test_unwritable(tmp_path):
    """If the folder cannot be made, results are still computed and returned, and the reason can be read."""
    (tmp_path / "file").write_text("")
    cache = ArrayCache(tmp_path / "file" / "operators", BIG)
    assert cache.problem is None
    assert same(cache.resumable(key("x"), lambda: ARRAYS), ARRAYS)
    assert str(cache.folder) in str(cache.problem)
    assert cache.get(key("x")) is None
    assert cache.nbytes == 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is read-only for this user")
def test_read_only(kept):
    """Entries in a read-only folder are found; no others are kept."""
    cache, one, path = kept
    path.parent.chmod(0o500)
    try:
        assert same(cache.get(one), ARRAYS)
        assert not cache.put(key("two"), ARRAYS)
        assert "cannot be written" in str(cache.problem)
    finally:
        path.parent.chmod(0o700)


@pytest.mark.parametrize("stage", ["write", "fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=["full", "interrupted"])
def test_failing_in_the_middle(kept, monkeypatch, stage, failure):
    """A full disk or an interrupt at any stage leaves the earlier entry intact and no other file."""
    cache, one, path = kept

    def fail(*_):
        raise failure

    with monkeypatch.context() as patch:
        if stage == "write":
            raw = module._raw
            patch.setattr(module, "_raw", lambda array: fail() if any(path.parent.glob("*.part")) else raw(array))
        elif stage == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(Path, "replace", fail)
        if isinstance(failure, OSError):
            assert not cache.put(one, {"x": np.ones(9)})
            assert "No space left" in str(cache.problem)
        else:
            with pytest.raises(KeyboardInterrupt):
                cache.put(one, {"x": np.ones(9)})
    assert names(path.parent) == [path.name]
    assert same(cache.get(one), ARRAYS)


def test_what_killed_processes_left_goes_after_an_hour(kept):
    """A file that was being written is removed once it is old, and never while it may still be written, however full the folder is."""
    cache, one, path = kept
    old, young = (path.with_name(f"{path.name}.{name}.part") for name in ("1-a", "2-b"))
    for each in (old, young):
        each.write_bytes(bytes(500))
    os.utime(old, times=(past := time.time() - module.ABANDONED - 5, past))
    assert cache.put(one, ARRAYS)
    assert names(path.parent) == [path.name, young.name]
    assert ArrayCache(path.parent, path.stat().st_size).put(one, ARRAYS)
    assert names(path.parent) == [path.name, young.name]


def program(folder, text, *arguments):
    """Start a Python process with a cache and functions for a test."""
    start = f"""
import os, sys, time
import numpy as np
from stemtwin.twin.physics.engine.kernels.array_cache import ArrayCache, content_key, piece_key
cache = ArrayCache({str(folder)!r}, 10**9)
"""
    return subprocess.Popen([sys.executable, "-c", start + text, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    """Wait for a process; return what it printed."""
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def test_two_processes_at_once(tmp_path):
    """Two processes that put, read, push out and remove the same keys at the same time only ever read whole entries of one of them."""
    text = """
mine, read = float(sys.argv[1]), 0
cache = ArrayCache(cache.folder, 1_500_000)
(cache.folder / sys.argv[1]).mkdir(parents=True)
while len([each for each in cache.folder.iterdir() if each.is_dir()]) < 2:
    time.sleep(0.001)
for turn in range(150):
    key = content_key({"n": turn % 5})
    cache.put(key, {"a": np.full(20_000, mine), "b": np.full(30_000, mine)})
    assert cache.problem is None, cache.problem
    found = cache.get(content_key({"n": (turn - turn % 3) % 5}))
    if found is not None:
        read += 1
        both = np.concatenate([found["a"], found["b"]])
        assert both[0] in (1, 2) and (both == both[0]).all()
    if turn % 40 == 39:
        cache.remove(key)
print(read)
"""
    both = [program(tmp_path, text, number) for number in (1, 2)]
    assert all(int(finish(process)) > 30 for process in both)
    assert all(name.endswith(".arrays") or name in "12" for name in names(tmp_path))
    assert ArrayCache(tmp_path, BIG).nbytes <= 1_500_000


def test_an_entry_that_another_process_removes_is_written_anew(kept, monkeypatch):
    """An entry that vanishes between the check and the opening of its file does no harm: the next one is kept."""
    cache, one, path = kept
    system, removed = os.open, []

    def open_after_removal(name, *args, **kwargs):
        if Path(name) == path and not removed:
            removed.append(name)
            ArrayCache(cache.folder, BIG).remove(one)
        return system(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_after_removal)
    assert cache.put(one, ARRAYS)
    assert removed
    assert cache.problem is None
    assert same(cache.get(one), ARRAYS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_at_any_moment(tmp_path):
    """After kill -9 at any moment among many puts, every entry in the folder is whole and right."""
    text = """
import signal
def inode(n):
    path = cache.folder / (content_key({"n": n % 7}) + ".arrays")
    return path.stat().st_ino if path.exists() else None
for turn in range(40):
    before = inode(turn)
    child = os.fork()
    if child == 0:
        for n in range(turn, 10**9):
            cache.put(content_key({"n": n % 7}), {"n": np.full(200_000 + turn, n % 7, np.float32)})
    while inode(turn) == before:
        time.sleep(0.0001)
    time.sleep(0.0003 * turn)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
    finish(program(tmp_path, text))
    entries = {name for name in names(tmp_path) if name.endswith(".arrays")}
    assert entries == {f"{content_key({'n': n})}.arrays" for n in range(7)}
    cache = ArrayCache(tmp_path, BIG)
    for n in range(7):
        found = cache.get(content_key({"n": n}))
        assert found is not None
        assert 200_000 <= found["n"].size < 200_040
        assert (found["n"] == n).all()


PIECES = """
import signal
key, count, last = content_key({"whole": 1}), 5, int(sys.argv[1])
computed, total = 0, 0
for n in range(count):
    def compute():
        global computed
        if n == last:
            os.kill(os.getpid(), signal.SIGKILL)
        computed += 1
        return {"x": np.random.Generator(np.random.Philox(n)).standard_normal(1000).astype(np.float32).reshape(10, 100).T}
    total = total + cache.resumable(piece_key(key, n), compute)["x"]
print(computed)
assert cache.finish(key, {"x": total})
"""


@pytest.mark.parametrize("last", [0, 3])
def test_what_was_killed_goes_on(tmp_path, last):
    """A computation killed in the middle continues from its last piece, ends with the same bits, and leaves only the whole result."""
    killed = program(tmp_path / "resumed", PIECES, last)
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    resumed = ArrayCache(tmp_path / "resumed", BIG)
    whole = content_key({"whole": 1})
    assert [piece_key(whole, n) in resumed for n in range(5)] == [n < last for n in range(5)]
    assert int(finish(program(tmp_path / "resumed", PIECES, -1))) == 5 - last
    assert int(finish(program(tmp_path / "straight", PIECES, -1))) == 5
    straight = ArrayCache(tmp_path / "straight", BIG)
    assert same(resumed.get(whole), straight.get(whole))
    assert names(resumed.folder) == names(straight.folder) == [f"{whole}.arrays"]


def test_pieces_stay_until_the_whole_is_kept(tmp_path):
    """Pieces are removed only when the whole result with their key has been kept."""
    cache = ArrayCache(tmp_path, 2000)
    mine, other = key("mine"), key("other")
    for each in (piece_key(mine, 0, 1), piece_key(mine, 11), piece_key(other, 0)):
        cache.resumable(each, lambda: {"x": np.zeros(3)})
    assert not cache.finish(mine, {"x": np.zeros(1000)})
    assert len(names(tmp_path)) == 3
    assert cache.finish(mine, {"x": np.zeros(3)})
    assert names(tmp_path) == sorted([f"{mine}.arrays", f"{other}-0.arrays"])


def test_computed_or_read_the_layout_is_the_same(tmp_path):
    """Arrays from resumable have the same memory layout whether computed or read, so sums and products take the same path."""
    cache, transposed = ArrayCache(tmp_path, BIG), {"x": np.arange(6.0).reshape(2, 3).T, "s": np.array(2.0)}
    first, second = (cache.resumable(key("x"), lambda: transposed) for _ in range(2))
    assert same(first, second)
    assert first["x"].strides == second["x"].strides == (16, 8)
    assert first["s"].shape == ()


simple = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
described = st.recursive(simple, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8)


def changed(value):
    """Return an equal description: mappings in another order, tuples for lists, numpy's or real numbers for Python's."""
    if isinstance(value, dict):
        return {name: changed(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return tuple(changed(each) for each in value)
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return value


@given(st.dictionaries(st.text(max_size=3), described, max_size=4))
def test_equal_descriptions_have_equal_keys(description):
    """Order, tuple or list, numpy or Python, 1 or 1.0 make no difference."""
    assert content_key(description) == content_key(changed(description))
    assert len(content_key(description)) == 64


def test_different_descriptions_have_different_keys():
    """Descriptions that differ in a value, a relevant type, a nesting or a name have different keys, even for the smallest change of a number."""
    values = [
        None, True, False, 0, 1, "1", "", 0.1, np.nextafter(0.1, 1), float("inf"), float("nan"), 2**53, 2**53 + 1, 1e300,
        [], [1], [[1]], [1, 2], [2, 1], [12], ["1", "2"], ["12"], {}, {"a": 1}, {"a": 2}, {"b": 1}, {"a": {"b": 1}}, ["sequence"], [["sequence"]],
        np.zeros(2), np.zeros((2, 1)), np.zeros((1, 2)), np.zeros(2, "f4"), np.zeros(2, "i8"), np.zeros(2, bool), np.zeros(3), np.zeros(0),
        np.zeros((0, 1)), ["array", "<f8", [2], hashlib.sha256(bytes(16)).hexdigest()],
    ]  # fmt: skip
    keys = [content_key({"v": value}) for value in values]
    assert len(set(keys)) == len(values)
    assert content_key({"v": -0.0}) == content_key({"v": 0.0})


def test_arrays_in_keys():
    """An array counts by type, shape and values, however it lies in memory and in whichever byte order."""
    array = np.arange(6.0).reshape(2, 3)
    expected = content_key({"v": array})
    assert content_key({"v": np.asfortranarray(array)}) == expected
    assert content_key({"v": array.astype(">f8")}) == expected
    assert content_key({"v": np.repeat(array, 2, axis=1)[:, ::2]}) == expected
    assert content_key({"v": array.T}) != expected


def test_keys_do_not_change():
    """The key of a description is the same in every version: else all that users hold is computed again (then change this on purpose)."""
    text = f'{{"a": ["array", "<f8", [2], "{hashlib.sha256(bytes(16)).hexdigest()}"], "b": ["sequence", 1, 2.5], "c": {{"d": null, "e": "x"}}}}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert content_key({"b": (1, 2.5), "a": np.zeros(2), "c": {"d": None, "e": "x"}}) == expected


@pytest.mark.parametrize("bad", [b"bytes", {1: 2}, {1, 2}, object(), np.array(["a"]), np.array([None]), 1j, Path("x"), lambda: 0])
def test_what_no_key_is_made_of(bad):
    """A value whose text or bytes might differ between equal things is refused."""
    with pytest.raises(SettingsError, match="A key cannot be made of"):
        content_key({"v": [bad]})


def test_the_digest_of_code(tmp_path, monkeypatch):
    """The digest changes with any file that a pattern matches, its name, and the versions of what computes; other files do not count."""
    (tmp_path / "inner").mkdir()
    for name in ("a.py", "inner/b.py"):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(module, "_IMPORTED", time.time() + 1000)
    digest = module.code_digest.__wrapped__
    everywhere = "**/*.py"
    first = digest(tmp_path, everywhere)
    (tmp_path / "notes.txt").write_text("x")
    assert digest(tmp_path, everywhere) == digest(tmp_path, everywhere, "*.py") == first
    digests = {first, digest(tmp_path, "*.py"), digest(tmp_path)}
    (tmp_path / "inner" / "b.py").write_text("x = 2\n")
    digests.add(digest(tmp_path, everywhere))
    (tmp_path / "inner" / "b.py").rename(tmp_path / "inner" / "c.py")
    digests.add(digest(tmp_path, everywhere))
    monkeypatch.setattr(module.jit, "sources_digest", lambda: "other")
    digests.add(digest(tmp_path, everywhere))
    monkeypatch.setattr(module.importlib.metadata, "version", lambda _: "0")
    digests.add(digest(tmp_path, everywhere))
    assert len(digests) == 7


def test_code_changed_under_a_running_process(tmp_path, monkeypatch):
    """If a source is newer than the process, nobody knows which code runs: the digest is one that no other process has."""
    (tmp_path / "a.py").write_text("")
    digest = module.code_digest.__wrapped__
    monkeypatch.setattr(module, "_IMPORTED", time.time() + 1000)
    assert digest(tmp_path, "*.py") == digest(tmp_path, "*.py")
    monkeypatch.setattr(module, "_IMPORTED", time.time() - 1000)
    assert digest(tmp_path, "*.py") != digest(tmp_path, "*.py")


def test_default(monkeypatch, tmp_path):
    """The folder and the limit are the environment's, read when asked; the same settings give the same cache."""
    monkeypatch.setenv("STEMTWIN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("STEMTWIN_CACHE_BYTES", raising=False)
    cache = module.default_cache()
    assert (cache.folder, cache.capacity_bytes) == (tmp_path / "operators", 4 * 2**30)
    assert module.default_cache() is cache
    monkeypatch.setenv("STEMTWIN_CACHE_BYTES", "0")
    assert module.default_cache().capacity_bytes == 0
    for bad in ("4 GB", "-1", "1e9"):
        monkeypatch.setenv("STEMTWIN_CACHE_BYTES", bad)
        with pytest.raises(SettingsError, match=f"STEMTWIN_CACHE_BYTES='{bad}' is not a number of bytes"):
            module.default_cache()
    assert names(tmp_path) == []
