"""Compiled kernels are kept under a name that changes with every source, never hurt other users of numba, and never break on a bad file."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stemtwin.twin.physics.engine.kernels import jit

ROOT = Path(__file__).resolve().parents[4]

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
    assert {path.suffix for path in folder.iterdir()} == {".nbi", ".nbc", ".lock"}
    assert run() == f"1 {folder}"


@pytest.mark.parametrize(("suffix", "kept"), [(".nbi", 0.5), (".nbi", 0.0), (".nbc", 0.0), (".nbc", 0.98)])
@pytest.mark.slow
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
    """Kernels also run without a writable folder."""
    run, _ = run
    assert run(folder="/dev/null/nowhere").startswith("0 ")


AT_ONCE = f"""
import sys, time
from pathlib import Path
import sample
print(flush=True)
while not Path("go").exists():
    time.sleep(0.001)
{PROGRAM}"""


def test_one_of_two_processes_compiles(run, tmp_path):
    """Of two processes that call a kernel at the same time, one compiles it, and the other one waits for its machine code."""
    _, cache = run
    environment = os.environ | {"STEMTWIN_CACHE_DIR": str(cache)}
    both = [subprocess.Popen([sys.executable, "-c", AT_ONCE], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        process.stdout.readline()
    (tmp_path / "go").touch()
    assert sorted(process.communicate(timeout=120)[0][0] for process in both) == ["0", "1"]


FAILING = """
from pathlib import Path
import sample
from numba.core.errors import NumbaError

try:
    sample.triple(None)
except NumbaError:
    locks = list(Path(sample.triple.stats.cache_path).glob("*.lock"))
    print(len(locks), sample.triple._cache._lock._exit_callbacks)
"""


def test_what_cannot_be_compiled_is_not_waited_for(run):
    """A kernel that is called with a wrong type keeps no other process waiting."""
    run, _ = run
    assert run(FAILING) == "1 deque([])"


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


PACKAGE = {
    "__init__.py": "",
    "doubling.py": """
from stemtwin.twin.physics.engine.kernels.jit import kernel
from ours.deeper import parts

@kernel
def both(x):
    return parts.one(x)
""",
    "deeper/__init__.py": "",
    "deeper/parts.py": """
from stemtwin.twin.physics.engine.kernels.jit import part
from .numbers import FACTOR

@part
def one(x):
    return FACTOR * x
""",
    "deeper/numbers.py": "FACTOR = 2\n",
    "apart.py": "",
}
TWICE = "from ours import apart, doubling; print(doubling.both(21), sum(doubling.both.stats.cache_hits.values()))"


@pytest.mark.parametrize(
    ("name", "old", "new", "answer"),
    [
        pytest.param("doubling.py", "parts.one(x)", "parts.one(x) + 1", "43 0", marks=pytest.mark.slow),
        pytest.param("deeper/parts.py", "FACTOR * x", "FACTOR - x", "-19 0", marks=pytest.mark.slow),
        ("deeper/numbers.py", "2", "3", "63 0"),
        pytest.param("apart.py", "", "UNUSED = 1", "42 1", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_an_edit_of_what_a_kernel_imports_compiles_it_again(run, tmp_path, name, old, new, answer):
    """A kernel outside of the engine follows edits of its module, of functions that it inlines and of their constants; no other edit counts."""
    run, _ = run
    for file, text in PACKAGE.items():
        path = tmp_path / "ours" / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
    assert run(TWICE, **environment) == "42 0"
    assert run(TWICE, **environment) == "42 1"
    edited = tmp_path / "ours" / name
    edited.write_text(edited.read_text().replace(old, new, 1))
    assert run(TWICE, **environment) == answer


KERNELS = sorted(path for path in (ROOT / "twin").rglob("*.py") if "engine.kernels.jit import" in path.read_text())


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_digests_cover_every_module_that_ours_import(path):
    """The digest of a module with kernels covers the module, and every one of ours that it imports, as its syntax tree says."""
    name = ".".join(("stemtwin", *path.relative_to(ROOT).with_suffix("").parts))
    importlib.import_module(name)
    own = jit._own_modules(name)
    assert name in own
    for module in own:
        tree = ast.parse(Path(sys.modules[module].__file__).read_text())
        sources = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert {source for source in sources if source.startswith("stemtwin") and source in sys.modules} <= own


def test_a_digest_does_not_depend_on_what_else_is_loaded(run):
    """A process that has loaded all of stemtwin finds the kernels of one that has loaded the engine alone."""
    run, _ = run
    told = "from stemtwin.twin.physics.engine.kernels import jit; print(jit.imports_digest('stemtwin.twin.physics.poisson_kernels'))"
    alone = run(f"import stemtwin.twin.physics.poisson_kernels; {told}")
    more = "import stemtwin; stemtwin.Microscope, stemtwin.load_dataset; import stemtwin.leaderboard.cli.main, stemtwin.benchmarks.runner"
    assert run(f"import stemtwin.twin.physics.poisson_kernels; {more}; {told}") == alone


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


@jit.part
def _tripled(x):
    return 3 * x


def test_parts_are_for_kernels_only() -> None:
    """A part works inside a kernel; called from Python, before and after, it is refused with a name that says so."""

    @jit.kernel
    def twice_tripled(x):
        return 2 * _tripled(x)

    for _ in range(2):
        with pytest.raises(KeyError, match="_tripled is a part of kernels"):
            _tripled(7)
        assert twice_tripled(7) == 42
