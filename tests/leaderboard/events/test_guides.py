"""The guides of participants and organisers: their commands, run in their order, end in ranked submissions and a verified event."""

import shutil
from pathlib import Path

import pytest

from stemtwin.benchmarks.isolation.sandbox import strongest_level
from tests.rehearsal.guides import ORGANISING, PARTICIPATING, TEAM, Following, blocks


def test_guides_have_commands_in_the_order_of_an_event(tmp_path: Path) -> None:
    """Every replacement of a reader is found in the commands, and the organiser's guide is divided where teams hand in."""
    following = Following(tmp_path / "event", isolation=strongest_level())
    first, last = following.divided()
    assert first + last == blocks(ORGANISING)
    assert "stemtwin event open" in first[-1].text
    assert "stemtwin event verify" in last[-1].text
    assert len(blocks(PARTICIPATING)) >= 5


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("git") is None, reason="the guides use Git")
def test_guides_end_in_ranked_submissions_and_a_verified_event(tmp_path: Path) -> None:
    """Each fenced command of both pages succeeds; every task of the event ranks an entry of the team, and the archive is verified."""
    following = Following(tmp_path / "event", isolation=strongest_level())
    steps = list(following.steps())
    assert steps[-1].output.endswith("verified\n")
    ranks = following.ranks()
    assert {entry.partition(" ")[0] for entry in ranks} == {"denoise", "hypothesis-test"}, (TEAM, ranks)
