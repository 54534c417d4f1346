"""``stemtwin warm``: kernels that are compiled before anybody waits for them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stemtwin.leaderboard.cli import warm_jobs
from stemtwin.leaderboard.cli.main import main

SELDOM = {"copy_window", "list_channels"}
"""Kernels of long scans by single probes, and of lists of hazards that no instrument asks for; each takes less than a second."""
REPORT = """
import json, sys
import stemtwin
from stemtwin.leaderboard.cli import warm_jobs
from stemtwin.twin.physics.engine.kernels import jit

warm_jobs.run(lambda text: None)
kernels = {}
for name, module in list(sys.modules.items()):
    if name.startswith("stemtwin."):
        kernels |= {id(thing): thing for thing in vars(module).values() if isinstance(getattr(thing, "_cache", None), jit._KernelCache)}
kept = [path.name for path in (jit.cache_folder() / "kernels").rglob("*.nbi")]
missing = [one.py_func.__name__ for one in kernels.values() if not any(one.py_func.__name__ in file for file in kept)]
json.dump([len(kernels), missing], sys.stdout)
"""


@pytest.mark.slow
def test_all_kernels_are_compiled_and_kept(tmp_path: Path) -> None:
    """After the jobs every kernel of the package has machine code on disk, but for those that no usual call needs."""
    empty = {**os.environ, "STEMTWIN_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", REPORT], env=empty, capture_output=True, text=True, timeout=900, check=True)
    count, missing = json.loads(done.stdout)
    assert count > 30
    assert set(missing) <= SELDOM


def test_environments_are_refused_before_work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An id that is none is one sentence, and nothing is compiled."""
    monkeypatch.setattr(warm_jobs, "run", lambda _: pytest.fail("work began"))
    assert main(["warm", "stemtwin/Autofocus"]) == 1
    assert "Autofocus-v2" in capsys.readouterr().err


def test_lines_of_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each job and each environment is told with its number."""
    monkeypatch.setattr(warm_jobs, "JOBS", {"one": lambda: None, "two": lambda: None})
    assert main(["warm", "stemtwin/HypothesisTest-v1"]) == 0
    told = capsys.readouterr()
    assert [line.split(",")[0] for line in told.out.splitlines()] == ["1 of 3", "2 of 3", "3 of 3"]
    assert told.err.startswith("2 jobs")
