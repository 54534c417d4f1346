"""What all tests share: real structure files, a cache of their own, a display that is none."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_FILES = ROOT.parent / "shared" / "real"

os.environ["MPLBACKEND"] = "Agg"
os.environ["STEMTWIN_CACHE_BYTES"] = "0"  # tests build what they image: a test that patches the physics must not leave its results to others

# No deadline: a first call may compile. In CI the examples are the same at every run, so that a red run is the change's own.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the run an empty data folder and no mirror, never the user's; compiled kernels (STEMTWIN_CACHE_DIR) are kept by their hash and stay."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("stemtwin-data")
        patch.setenv("STEMTWIN_DATA_DIR", str(folder))
        patch.delenv("STEMTWIN_DATA_URL", raising=False)
        patch.delenv("STEMTWIN_DATA_REGISTRY", raising=False)
        yield folder


@pytest.fixture(scope="session")
def tiny_atoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with `atoms-2d` of size tiny: the first process of a run that needs it builds it, and the others wait."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "tiny-atoms"
    folder.mkdir(exist_ok=True)
    build = [sys.executable, "-c", "from stemtwin.leaderboard.cli.main import run; run()", "data", "build", "atoms-2d@1", "--size", "tiny"]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(build, env={**os.environ, "STEMTWIN_DATA_DIR": str(folder)}, check=True, capture_output=True, timeout=900)
    return folder


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Return the path of a structure file that nobody here wrote; skip the test where these files are not at hand."""

    def find(name: str) -> Path:
        path = REAL_FILES / name
        if not path.exists():
            pytest.skip(f"{name} is not at {REAL_FILES}")
        return path

    return find
