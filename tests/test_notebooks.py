"""Notebooks: valid, without outputs, linked from their pages, and run in small."""

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from stemtwin.benchmarks import task_pages
from stemtwin.benchmarks.submission import read_submission
from stemtwin.benchmarks.tasks import find_task

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SMALLER = {"FEATURES, PIXELS, PITCH, EDGE = 400, 150_000, 0.2, 11": "FEATURES, PIXELS, PITCH, EDGE = 60, 20_000, 0.2, 9"}
"""Lines of the notebooks, and what stands for them where they are cut short."""
MODULES_OF = {"scikit-image": "skimage"}
"""Modules by their distributions, where the names differ."""


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


def test_every_prediction_task_has_a_notebook() -> None:
    """The notebooks are named like the pages of the tasks: none is missing, and none is left over."""
    assert {path.stem for path in NOTEBOOKS} == {task_pages.stem(task) for task in task_pages.tasks()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_needs_nothing_but_the_package(path: Path) -> None:
    """Imports are of the standard library, of the package, and of what its installation brings without extras."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    required = {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower() for line in needed}
    brought = {MODULES_OF.get(name, name) for name in required}
    imported: set[str] = set()
    for node in ast.walk(ast.parse("\n".join(code_of(path)))):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - sys.stdlib_module_names - brought == {"stemtwin"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_ends_with_a_submission(path: Path) -> None:
    """It reads one dataset, that of its task; the last cell writes the answers to the test split, and submits them as a trial and in earnest."""
    code = "\n".join(code_of(path))
    task = next(task for task in task_pages.tasks() if task_pages.stem(task) == path.stem)
    assert set(re.findall(r'load_arrays\("([^"]+)"', code)) == {f"{task.source}@{task.source_version.partition('.')[0]}"}
    assert re.findall(r'find_task\("([^"]+)"', code) == [task.registered]
    calls = [node for node in ast.walk(ast.parse(code_of(path)[-1])) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert [node.func.id for node in calls if node.func.id in {"write_submission", "main"}] == ["write_submission", "main"]
    words = {node.value for node in ast.walk(ast.parse(code_of(path)[-1])) if isinstance(node, ast.Constant)}
    assert {"test", "submit", "--database", "--dry-run"} <= words


@pytest.mark.slow
def test_the_notebook_of_atoms_ends_with_a_submission(tiny_atoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut to a minute, it trains a baseline that finds most columns, and the folder that it leaves is a valid submission."""
    from stemtwin.benchmarks.runner import load_samples

    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tiny_atoms))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict = {}
    for number, cell in enumerate(cut(code_of(ROOT / "docs" / "notebooks" / "atoms-2d.ipynb"))):
        exec(compile(cell, f"cell {number}", "exec"), names)
    task = find_task("atoms-2d")
    data = load_samples(task, split="test", size="tiny")
    assert len(read_submission(names["folder"] / "mine", task, data).found) == 30
    assert (names["folder"] / "board.sqlite").exists()
    assert names["f1"].value > 0.6
