"""Many at once, and processes that are killed: nothing is lost, nothing twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from stemtwin.leaderboard.store import Store
from tests.conftest import ROOT

TEAMS, EACH = 50, 2
CROWD = f"""
import os, sys, traceback
from stemtwin.leaderboard.store import Store
from tests.leaderboard.test_store import report_of
gate, open_gate = os.pipe()
children = []
for team in range({TEAMS}):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(open_gate)
            os.read(gate, 1)
            with Store(sys.argv[1]) as store:
                for number in range({EACH}):
                    assert store.submit(report_of(number / 10, entry="entry", team=f"team {{team}}")).new
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    children.append(child)
os.close(open_gate)
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children))
"""


@pytest.mark.slow
def test_fifty_teams_submit_at_once(tmp_path: Path) -> None:
    """Fifty processes that begin at one moment, on a board that does not exist yet, enter two reports each: 100 rows, each whole, none twice."""
    path = tmp_path / "board.db"
    ended = subprocess.run([sys.executable, "-c", CROWD, str(path)], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert all(line.startswith("stemtwin: waiting for another process") for line in ended.stderr.splitlines())
    with Store(path) as store:
        entries = store.entries()
    assert len(entries) == len({(entry.team, entry.artefact_sha256) for entry in entries}) == TEAMS * EACH
    assert all(len(entry.scores) == 2 for entry in entries)


@pytest.mark.slow
def test_killed_submitters_and_scorers_lose_nothing(tmp_path: Path) -> None:
    """Twelve jobs that enter, score, hand in, show and play agents, or the agents, are killed at random moments."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.leaderboard.soak", "12", str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "12 of " in ended.stdout
