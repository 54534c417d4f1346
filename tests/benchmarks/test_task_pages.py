"""Pages of tasks: the files are what the command writes, every example makes a valid submission, and a new task needs no further code."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemtwin.benchmarks import kept_scores, task_pictures
from stemtwin.benchmarks import task_pages as pages
from stemtwin.benchmarks.onnx_policy import FOLDER
from stemtwin.benchmarks.submission import read_submission
from stemtwin.benchmarks.tasks import find_task
from stemtwin.datasets import catalog, storage
from stemtwin.datasets.cards import Card, find_card

TASKS = [pytest.param(task, id=pages.stem(task)) for task in pages.tasks()]
SECTIONS = ("In the laboratory", "One line to load", "A valid submission", "Inputs and answers", "Scoring", "Baselines", "Limits", "Citation")
MOST_BYTES = 250_000
"""Most bytes of a picture."""


def fake_arrays(card: Card, rows: int = 3) -> dict[str, Any]:
    """Return made-up rows of a card: counts in arrays, lists of one to three entries, ones elsewhere."""
    rng, out = np.random.default_rng(0), {}
    lengths = 1 + np.arange(rows) % 3
    counts = {column.count_name for column in card.columns if column.ragged}
    for column in card.columns:
        kind = object if column.dtype == "string" else column.dtype
        if column.name in counts:
            out[column.name] = lengths.astype(kind)
        elif column.ragged:
            values = np.array([["Si"] * 3] * rows, dtype=object) if column.dtype == "string" else rng.integers(1, 9, (rows, 3))
            out[column.name] = values.astype(kind)
        elif column.dtype == "string":
            out[column.name] = np.array([f"{column.name}{row}" for row in range(rows)], dtype=object)
        else:
            out[column.name] = rng.poisson(3.0, (rows, *column.shape)).astype(kind) if column.shape else np.ones(rows, dtype=kind)
    return out


def fake_loader(arrays: dict[str, Any], card: Card, split: str) -> Any:
    """Return a stand-in for the loader of datasets."""
    return lambda *_, format="xarray", **__: arrays if format == "numpy" else storage.to_xarray(arrays, card, split)


def test_the_files_are_what_the_command_writes() -> None:
    """``make pages`` changes no file of docs/tasks and not the references of CITATION.cff, and none is of a task that is gone."""
    wanted = pages.pages()
    for path, text in wanted.items():
        assert path.exists(), f"{path.name} is missing: make pages"
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not what registry, card and scores say: make pages"
    assert set(pages.FOLDER.glob("*.md")) | {pages.CITATION} == set(wanted)


def test_links_and_pictures_of_pages_are_there() -> None:
    """Every relative link and picture of a page is a file; pictures are small."""
    for path in pages.FOLDER.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:\[\]]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), (path.name, link)
    for picture in pages.FOLDER.glob("*.png"):
        assert picture.stat().st_size <= MOST_BYTES, picture.name


@pytest.mark.parametrize("task", TASKS)
def test_a_page_has_all_sections_and_every_baseline(task: Any) -> None:
    """Sections stand in the order of the template; every baseline of the registry has a row in the table of its page."""
    text = pages.page(task)
    found = [title for title in re.findall(r"^## (.+)$", text, re.MULTILINE) if title in SECTIONS]
    assert tuple(found) == SECTIONS
    assert "``" not in text.replace("```", "")
    assert all(f"| {one.name} |" in text for one in pages.baselines(task))
    assert all(limit in text for limit in pages.card_of(task).limits)


@pytest.mark.parametrize("task", TASKS)
def test_an_example_makes_a_valid_submission(task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most ten lines load data, answer every sample and write a folder that the reader of submissions takes; here for made-up rows."""
    code, card, split = pages.example(task), pages.card_of(task), task.splits[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    arrays = fake_arrays(card)
    monkeypatch.setattr(catalog, "load_dataset", fake_loader(arrays, card, split))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, task.name, "exec"), {})
    submission = read_submission(tmp_path / "mine", task, storage.to_xarray(arrays, card, split))
    assert set(submission.found) == set(arrays["sample_id"])


def test_a_new_task_has_a_page_without_further_code() -> None:
    """A task that the registry alone knows: its example gives the answers of a baseline, and no scores are claimed."""

    def score(*_: Any) -> Any:
        """Score nothing."""

    task = dataclasses.replace(find_task("atoms-2d"), name="fresh", major=3, score=score)
    text = pages.page(task)
    assert "No scores are kept yet" in text
    assert 'find_baseline("fresh@3", "")' in text
    assert pages.stem(task) == "fresh-v3"


def test_intervals_stand_beside_values() -> None:
    """An interval is shown where one is kept, and left out where it has no width."""
    row = {"values": {kept_scores.WHOLE: {kept_scores.WHOLE: {"f1": 0.5, "rmsd": None}}}, "intervals": {"f1": [0.4123, 0.6]}}
    assert pages.value_cell(row, "f1") == "0.5 (0.412 to 0.6)"
    assert pages.value_cell(row | {"intervals": {"f1": [0.5, 0.5]}}, "f1") == "0.5"
    assert pages.value_cell(row, "rmsd") == "-"


def test_a_picture_shows_specimens_of_every_material(tmp_path: Path) -> None:
    """The brightest row of each material comes first, then other specimens of low dose; the file is a PNG of few colours."""
    card = find_card("atoms-2d", "1.0.0")
    data = fake_arrays(card, rows=5)
    data |= {
        "material": np.array(["a", "a", "b", "a", "b"], dtype=object),
        "specimen": np.array(["a/0", "a/0", "b/1", "a/2", "b/3"], dtype=object),
        "dose_e_per_angstrom2": np.array([10.0, 20.0, 5.0, 1.0, 2.0]),
    }
    assert task_pictures.pick(card, data) == [1, 2, 3, 4]
    assert task_pictures.draw(card, data, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_the_example_of_atoms_is_scored(tiny_atoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the real data the example finds most columns."""
    from stemtwin.benchmarks.runner import load_samples, score_submission

    task = find_task("atoms-2d")
    monkeypatch.setenv("STEMTWIN_DATA_DIR", str(tiny_atoms))
    monkeypatch.chdir(tmp_path)
    exec(compile(pages.example(task), task.name, "exec"), {})
    data = load_samples(task, split="test", size="tiny")
    report = score_submission(task, data, read_submission(tmp_path / "mine", task, data)).report
    assert 0.4 < report.metric("f1").value < 1


def test_the_file_of_a_picture_keeps_every_colour_apart(tmp_path: Path) -> None:
    """Each colour of a kind of points is within a shade of itself in the file, so no two kinds look alike."""
    from matplotlib.colors import to_rgb
    from PIL import Image

    wanted = np.round(255 * np.array([to_rgb(colour) for colour in task_pictures.COLOURS])).astype(np.uint8)
    task_pictures.save(np.repeat(wanted[None], 4, axis=0), tmp_path / "colours.png")
    found = np.asarray(Image.open(tmp_path / "colours.png").convert("RGB"))[0]
    assert np.abs(found.astype(int) - wanted).max() <= 2
    assert len(np.unique(found, axis=0)) == len(task_pictures.COLOURS)


def test_a_page_names_baselines_whose_intervals_overlap() -> None:
    """Overlapping intervals are named, separate ones are not, nor is the oracle; a baseline without an interval is named, too."""
    task = find_task("drift")
    name = task.primary.name

    def told(**ends: list[float] | None) -> str:
        return pages.overlaps(task, {"rows": {key: {"intervals": {} if one is None else {name: one}} for key, one in ends.items()}})

    assert told(frames=[1.0, 2.0], lines=[2.5, 3.0], oracle=[0.0, 9.0]) == ""
    assert "`frames` and `lines`: only a comparison in pairs" in told(frames=[1.0, 2.0], lines=[1.5, 3.0], rigid=[5.0, 6.0])
    assert told(frames=None, lines=[1.0, 2.0]) == f"No interval of {name} is stored for `frames`."


def test_a_page_tells_differences_on_the_same_specimens() -> None:
    """The difference of neighbours stands with its interval, the better one first, those of others not; there is no sentence without one."""
    task = find_task("drift")
    scores = {"lines": 1.0, "frames": 2.0, "rigid": 3.0}
    rows = {name: {"values": {kept_scores.WHOLE: {kept_scores.WHOLE: {task.primary.name: value}}}} for name, value in scores.items()}
    pair = {"first": "lines", "second": "frames", "value": 0.25, "ends": [0.1, 0.4]}
    far = {"first": "lines", "second": "rigid", "value": 0.5, "ends": [0.2, 0.6]}
    text = pages.differences(task, {"rows": rows, "differences": [pair, far]})
    assert text.endswith("with 95 % intervals: `lines` over `frames` 0.25 (0.1 to 0.4).")
    assert pages.differences(task, {"rows": rows}) == ""


def test_a_page_tells_how_its_network_was_trained() -> None:
    """The data, the steps and the score on val are those beside the network; a task without one has no such sentence."""
    text = pages.page(find_task("atoms-2d@2"))
    told = json.loads((FOLDER / "atoms-2d-v2.json").read_text(encoding="utf-8"))
    best = max(told["curve"], key=lambda one: one["val"])
    assert f"{told['images']} images of the train split of the size {told['size']}: {best['steps']} steps" in text
    assert f"(ap {best['val']:.3f} there)" in text
    assert "trained by" not in pages.page(find_task("drift"))


def test_a_page_tells_where_its_network_is_behind() -> None:
    """Slices in which another baseline is better are named, with both scores; where there is none, the page says so."""
    task = find_task("defects")
    name = task.primary.name

    def rows(first: float, second: float) -> dict[str, Any]:
        scores = {"unet": (0.9, first), "residual": (0.6, second), "oracle": (1.0, 1.0)}
        return {entry: {"values": {"all": {"all": {name: a}}, "material": {"wse2-1h": {name: b}}}} for entry, (a, b) in scores.items()}

    assert (
        pages.behind(task, {"rows": rows(0.2, 0.5)}) == "`unet` is behind another baseline in these slices: material wse2-1h (0.2; `residual` 0.5)."
    )
    assert pages.behind(task, {"rows": rows(0.6, 0.5)}) == "`unet` leads in every slice."
    assert pages.behind(task, {"rows": {"residual": {}}}) == ""
