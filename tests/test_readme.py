"""The README does what it says: every Python block runs as it stands, in a fresh process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def test_there_are_blocks():
    """Each kind of user has a quick start of at most 15 lines."""
    assert len(BLOCKS) >= 3
    assert all(len(block.strip().splitlines()) <= 15 for block in BLOCKS)


def test_pictures_exist():
    """Every picture that the README shows is in the repository."""
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), name


@pytest.mark.slow
def test_blocks_run(tmp_path, tiny_atoms):
    """Each block runs and prints something; the analyst's after the command that the README gives."""
    environment = {**os.environ, "STEMTWIN_DATA_DIR": str(tiny_atoms)}
    printed = []
    for block in BLOCKS:
        run = subprocess.run([sys.executable, "-c", block], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip()
        printed.append(run.stdout)
    assert any("(30, 128, 128) uint16" in text for text in printed)
