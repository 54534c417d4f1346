"""The metric, the task and the baselines of CONTRIBUTING.md run as they stand there, and keep to what all keep to."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemtwin.benchmarks.agents import BASELINES, find_baseline
from stemtwin.benchmarks.metrics.metric import METRICS
from stemtwin.benchmarks.report import read_report
from stemtwin.benchmarks.runner import predict, save_run, score_predictions, score_submission
from stemtwin.benchmarks.submission import read_submission
from stemtwin.benchmarks.tasks import TASKS, Task, load_tasks
from tests.benchmarks import test_metrics
from tests.benchmarks.frames import make
from tests.conftest import ROOT

PLACES = ("metrics.numbers", "families.counting", "baselines.counting")
"""Modules of the walk-throughs, in the order of the page."""
DATA = make(n=12).assign_attrs(content_sha256="0" * 64)


@pytest.fixture(scope="module", autouse=True)
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Import the three files under the names that they have in the package, and take them out again."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page[page.index("### A metric, walked through") :], flags=re.DOTALL)
    load_tasks()
    find_baseline("atoms-2d", "log")
    registries = (METRICS, TASKS, BASELINES)
    before = [set(registry) for registry in registries]
    for place, text in zip(PLACES, blocks, strict=True):
        path = tmp_path_factory.mktemp("walk") / f"{place.rpartition('.')[2]}.py"
        path.write_text(text, encoding="utf-8")
        load(f"stemtwin.benchmarks.{place}", path)
    yield
    for place in PLACES:
        del sys.modules[f"stemtwin.benchmarks.{place}"]
    for registry, known in zip(registries, before, strict=True):
        for name in set(registry) - known:
            registry._things.pop(name)
            registry._tags.pop(name)


def load(name: str, path: Path) -> None:
    """Import a file under a name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


@pytest.mark.parametrize("name", ["numbers/mean_error", "count-columns/covered"])
def test_the_metrics_keep_to_their_references(name: str) -> None:
    """What holds for every metric holds for these."""
    test_metrics.test_references_hold(name)
    test_metrics.test_metrics_say_what_they_are(name)


def test_the_task_is_scored_from_run_to_report(tmp_path: Path) -> None:
    """The oracle is right, peaks are better than a constant; answers go through a submission unchanged; what was not given has no value."""
    task: Task = TASKS["count-columns"]
    assert json.loads(json.dumps(task.card()))["answer"] == "values"
    reports = {}
    for name in ("oracle", "peaks", "constant"):
        found = predict(task, find_baseline(task.name, name), DATA)
        done = score_predictions(task, DATA, found, split="test", size="tiny", entry=name, trust="baseline")
        reports[name] = read_report(save_run(tmp_path / name, task, done) / "report.json")
        again = score_submission(task, DATA, read_submission(tmp_path / name / "submission", task, DATA)).report
        assert (again.metrics, again.artefact_sha256) == (reports[name].metrics, reports[name].artefact_sha256)
    errors = [reports[name].primary.value for name in reports]
    assert errors[0] == 0.0
    assert errors == sorted(errors)
    assert reports["oracle"].metric("covered").value == 1.0
    assert (reports["constant"].metric("covered").value, reports["constant"].metric("covered").reason) == (None, "not given")
