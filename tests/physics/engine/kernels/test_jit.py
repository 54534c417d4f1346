"""Compiled kernels are kept under a name that changes with every source, never hurt other users of numba, and never break on a bad file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stemtwin.twin.physics.engine.kernels import jit

MODULE = """
from stemtwin.twin.physics.engine.kernels.jit import kernel
import numba

@kernel
def triple(x):
    return 3 * x

@numba.njit(cache=True)
def others(x):
    return 4 * x
"""

PROGRAM = """
import numba, sample
before = numba.config.CACHE_DIR
assert sample.triple(14) == 42
assert numba.config.CACHE_DIR == before
print(sum(sample.triple.stats.cache_hits.values()), sample.triple.stats.cache_path)
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a program beside a module with a kernel, and the folder of its cache."""
    (tmp_path / "sample.py").write_text(MODULE)
    cache = tmp_path / "cache"

    def run(program=PROGRAM, folder=cache, **more):
        environment = os.environ | {"STEMTWIN_CACHE_DIR": str(folder)} | more
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, timeout=120, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run, cache


def test_kept_on_disk(run):
    """A second process loads what the first one compiled, from the folder named by the hash of the sources."""
    run, cache = run
    folder = cache / "kernels" / jit.sources_digest()
    assert run() == f"0 {folder}"
    assert {path.suffix for path in folder.iterdir()} == {".nbi", ".nbc"}
    assert run() == f"1 {folder}"


@pytest.mark.parametrize(("suffix", "kept"), [(".nbi", 0.0), (".nbi", 0.5), (".nbc", 0.0), (".nbc", 0.98)])
def test_a_file_cut_short(run, suffix, kept):
    """A file that was cut short costs a compilation, gives the right number, and is written again."""
    run, cache = run
    run()
    (path,) = cache.rglob(f"*{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert run().startswith("0 ")
    assert run().startswith("1 ")


def test_a_folder_that_cannot_be_written(run):
    """Without a place to write, kernels run all the same."""
    run, _ = run
    assert run(folder="/dev/null/nowhere").startswith("0 ")


def test_others_keep_their_folder(run):
    """Functions of other users of numba are kept where they say, not in the engine's folder."""
    run, cache = run
    run("import sample; sample.triple(1); sample.others(1)", NUMBA_CACHE_DIR=str(cache / "theirs"))
    assert len(list((cache / "kernels").rglob("*.nbc"))) == 1
    assert len(list((cache / "theirs").rglob("*.nbc"))) == 1


def test_a_change_of_any_source_changes_the_folder(tmp_path, monkeypatch):
    """The name of the folder changes when any file of the engine changes, is added or is renamed."""
    engine = tmp_path / "engine"
    shutil.copytree(Path(jit.__file__).parents[1], engine, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(jit, "__file__", str(engine / "kernels" / "jit.py"))
    digest = jit.sources_digest.__wrapped__
    assert digest() == jit.sources_digest()
    digests = {digest()}
    lanes = engine / "kernels" / "simd_complex64.py"
    lanes.write_text(lanes.read_text().replace('"fadd"', '"fsub"', 1))
    digests.add(digest())
    (engine / "more.py").write_text("")
    digests.add(digest())
    (engine / "more.py").rename(engine / "other.py")
    digests.add(digest())
    assert len(digests) == 4


def test_nothing_happens_at_import(run):
    """Importing the engine compiles nothing and writes nothing."""
    run, cache = run
    program = "from stemtwin.twin.physics.engine.multislice import multislice, multislice_kernels as kernels; print(kernels.advance.signatures)"
    assert run(program) == "[]"
    assert not cache.exists()


def test_default_folder(monkeypatch):
    """The folder is the environment's, or else stemtwin's in the user's cache."""
    monkeypatch.setenv("STEMTWIN_CACHE_DIR", "/somewhere")
    assert jit.cache_folder() == Path("/somewhere")
    monkeypatch.delenv("STEMTWIN_CACHE_DIR")
    assert jit.cache_folder().name.lower() in {"stemtwin", "cache"}
