"""The table of images: a row for each structure file, with times and refusals; a slow image fails the run."""

import pytest

from tests.measured import images

ANSWER = "import json; print(json.dumps({'engine': 'operator', 'exactness': 'exact'}))"
REFUSAL = "import sys; sys.stderr.write('stemtwin: no elements.\\nName them.'); sys.exit(1)"


@pytest.fixture
def folder(tmp_path):
    """A folder with two structure files, one of them deeper, and others."""
    (tmp_path / "deeper").mkdir()
    for name in ("b.cif", "deeper/a.cif.gz", "README.md", "measured.csv"):
        (tmp_path / name).touch()
    return tmp_path


def test_all_structures_have_a_row(folder, monkeypatch, capsys):
    """Structure files alone are imaged, and the particle after them; time limits decide the exit code."""
    monkeypatch.setattr(images, "PROGRAM", ANSWER)
    assert images.main([str(folder)]) == 0
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2:]] == ["| b.cif", "| deeper/a.cif.gz", f"| {images.PARTICLE}"]
    monkeypatch.setattr(images, "LIMIT_S", 0.0)
    assert images.main([str(folder), "--only", "B.CIF"]) == 1
    assert "| b.cif | operator | exact | 0." in (out := capsys.readouterr().out)
    assert "**slow**" in out


def test_refusals_and_endless_work_are_said(folder, monkeypatch, capsys):
    """A refused file has its sentence in the row, one that never ends is ended."""
    monkeypatch.setattr(images, "PROGRAM", REFUSAL)
    assert images.main([str(folder), "--only", "b.cif"]) == 0
    assert "| b.cif | refused | stemtwin: no elements. Name them. |" in capsys.readouterr().out
    monkeypatch.setattr(images, "PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(images, "PATIENCE_S", 0.3)
    monkeypatch.setattr(images, "LIMIT_S", 0.1)
    assert images.main([str(folder), "--only", "b.cif"]) == 1
    assert "ended after" in capsys.readouterr().out
