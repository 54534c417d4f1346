"""Scoring that is killed: nothing is lost, and nothing is there twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stemtwin.leaderboard.events.folders import Organiser
from stemtwin.leaderboard.events.scoring import score_event
from stemtwin.leaderboard.events.standings import read_state
from tests.leaderboard.events.conftest import again, hand_in

COMMAND = "import sys; from stemtwin.leaderboard.cli.main import main; sys.exit(main(['event', 'score', sys.argv[1]]))"


def scored_lines(organiser: Organiser) -> int:
    """Return the number of scores in the log."""
    return organiser.folder.log_path.read_bytes().count(b'"kind":"scored"')


@pytest.mark.slow
def test_a_scorer_that_is_killed_goes_on_where_it_was(organiser: Organiser) -> None:
    """SIGKILL after the first and after the second score: the log stays whole, and the board is that of a scorer that was not killed."""
    for number in range(4):
        hand_in(organiser.path, f"team{number}", "agent", f"0.{number + 1}")
    root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    for enough in (1, 2):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(organiser.path)],
            env=os.environ | {"PYTHONPATH": path},
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 120
        while scored_lines(organiser) < enough and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        assert again(organiser).folder.lines
        assert scored_lines(organiser) >= enough
    score_event(again(organiser))
    lines = [line.content["team"] for line in organiser.folder.lines if line.kind == "scored"]
    assert sorted(lines) == [f"team{number}" for number in range(4)]
    state = read_state(organiser.path / "board.json", organiser.event.public_key)
    assert sorted(row["team"] for row in state["rows"]) == sorted(lines)
    assert {outcome.status for outcome in score_event(again(organiser))} == {"known"}
