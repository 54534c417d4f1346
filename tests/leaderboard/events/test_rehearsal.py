"""The rehearsal of an event in its small form."""

import shutil
from pathlib import Path

import pytest

from stemtwin.benchmarks.isolation.sandbox import strongest_level
from tests.rehearsal.rehearse import COPIED, ROOT, rehearse


def test_every_module_is_installed_anew() -> None:
    """No file of the packages is left out of the copy of the checkout that a new installation is made of."""
    for part in ("stemtwin", "twin", "datasets", "benchmarks", "leaderboard"):
        for folder in (ROOT / part, *(one for one in (ROOT / part).rglob("*") if one.is_dir() and one.name != "__pycache__")):
            names = [one.name for one in folder.iterdir() if one.name != "__pycache__"]
            assert not COPIED(str(folder), names)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(shutil.which("git") is None, reason="teams hand in by Git")
def test_twelve_teams_from_an_empty_folder_to_a_verified_archive(tmp_path: Path) -> None:
    """Honest teams are ranked, broken and late submissions are not, cheats gain nothing, and the archive alone gives equal ranks."""
    rows = rehearse(tmp_path / "event", small=True, isolation=strongest_level())
    value = {row["team"]: row["value"] for row in rows}
    assert value["thief"] == value["client"]  # it found nothing, and played as the documented client does
    assert set(value).isdisjoint({"looker", "mirror", "torn", "late"})
