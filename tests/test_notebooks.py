"""Notebooks: valid, without outputs, linked from their pages, and run in small."""

import json
import re
from pathlib import Path

import pytest

from stemtwin.benchmarks.submission import read_submission
from stemtwin.benchmarks.tasks import find_task

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SMALLER = {"FEATURES, PIXELS, PITCH, EDGE = 400, 150_000, 0.2, 11": "FEATURES, PIXELS, PITCH, EDGE = 60, 20_000, 0.2, 9"}
"""Lines of the notebooks, and what stands for them where they are cut short."""


def code_of(path: Path) -> list[str]:
    """Return the code of a notebook's cells."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def cut(code: list[str]) -> list[str]:
    """Return the code with all lines cut that are to be."""
    for line, shorter in SMALLER.items():
        assert sum(line in cell for cell in code) == 1, line
        code = [cell.replace(line, shorter) for cell in code]
    return code


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_one_without_outputs(path: Path) -> None:
    """It is of format 4.5, every cell has an id of its own, code is Python and was not run; its badge and links lead to itself and to files."""
    told = json.loads(path.read_text(encoding="utf-8"))
    assert (told["nbformat"], told["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in told["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in told["cells"]:
        if cell["cell_type"] == "code":
            compile("".join(cell["source"]), path.name, "exec")
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    text = "".join("".join(cell["source"]) for cell in told["cells"] if cell["cell_type"] == "markdown")
    assert f"/docs/notebooks/{path.name})" in text
    assert all((path.parent / link).exists() for link in re.findall(r"\]\(([^)#:]+)\)", text))
    page = (ROOT / "docs" / "tasks" / f"{path.stem}.md").read_text(encoding="utf-8")
    assert f"../notebooks/{path.name}" in page


@pytest.mark.slow
def test_the_notebook_of_atoms_ends_with_a_submission(tiny_atoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut to a minute, it trains a baseline that finds most columns, and the folder that it leaves is a valid submission."""
    from stemtwin.benchmarks.runner import load_samples

    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tiny_atoms))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for number, cell in enumerate(cut(code_of(ROOT / "docs" / "notebooks" / "atoms-2d.ipynb"))):
        exec(compile(cell, f"cell {number}", "exec"), names)
    task = find_task("atoms-2d")
    data = load_samples(task, split="test", size="tiny")
    assert len(read_submission(tmp_path / "mine", task, data).found) == 30
    assert names["f1"].value > 0.6
