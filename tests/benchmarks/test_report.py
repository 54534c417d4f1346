"""The report: what is written is read back, nothing is rounded, slices re-aggregate from the file alone."""

import dataclasses
import json

import numpy as np
import pytest

from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.comparisons import detectable_beside
from stemtwin.benchmarks.metrics.detection import f1
from stemtwin.benchmarks.report import NOT_GIVEN, SUPPORT, TRUST, build_report, read_report
from stemtwin.benchmarks.runner import predict, score_predictions, score_submission
from stemtwin.benchmarks.slices import glue
from stemtwin.benchmarks.submission import read_submission, write_submission
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.errors import SettingsError, SubmissionError, UnknownNameError
from tests.benchmarks.frames import make

TASK, DATA = find_task("atoms-2d"), make(n=12, dose=np.geomspace(2e2, 5e5, 12))


@pytest.fixture(scope="module")
def evaluation():
    """Return the evaluation of random points."""
    entry = find_baseline("atoms-2d", "random")
    return score_predictions(TASK, DATA, predict(TASK, entry, DATA), split="test", size="tiny", entry="random", trust="baseline")


def test_written_is_read(evaluation, tmp_path):
    """Reading a written report gives it back to the last bit."""
    assert read_report(evaluation.report.save(tmp_path / "report.json")) == evaluation.report


def test_slices_glue_in_the_file(evaluation, tmp_path):
    """The sums in the file of the slices of any column, added up, score as the whole does: nothing but the JSON is needed."""
    content = json.loads(evaluation.report.save(tmp_path / "report.json").read_text())
    for column in {one["column"] for one in content["slices"]}:
        pieces = [{name: np.array(value) for name, value in one["sums"].items()} for one in content["slices"] if one["column"] == column]
        assert float(f1(glue(pieces))) == content["metrics"][0]["value"]
    assert content["gluing_residual"] < 1e-12


def test_everything_is_said(evaluation):
    """A report names data, versions, seeds, commit, time; every metric has an interval from six specimens or says that it has none."""
    report = evaluation.report
    assert (report.source.n, report.source.n_clusters) == (12, 6)
    assert report.primary.interval.method == "cluster-bca"
    assert report.primary.interval.low < report.primary.value < report.primary.interval.high
    assert report.metric("d90").value is None
    assert report.worst.support == "low"
    assert report.worst.value == min(one.value for one in report.slices)
    assert all(one.support == "low" for one in report.slices if one.n < SUPPORT)
    assert report.provenance.wall_s > 0
    assert len(report.provenance.git_commit or "0" * 40) == 40


def test_sums_of_clusters_are_kept(evaluation, tmp_path):
    """A report keeps the sums of every specimen that its primary metric reads and no others: they add up to its score, and give its own minimum."""
    report = read_report(evaluation.report.save(tmp_path / "report.json"))
    assert len(report.clusters.labels) == report.source.n_clusters == 6
    assert set(report.clusters.sums) == {"tp", "fp", "fn"}
    assert float(f1({name: np.sum(values) for name, values in report.clusters.sums.items()})) == report.primary.value
    assert report.detectable == detectable_beside(f1, report.clusters) > 0
    assert report.schema == "stemtwin/report@2"


def test_reports_of_version_1_are_read(evaluation, tmp_path):
    """A file of version 1, which has neither sums of clusters nor a reason nor a word on its truth, is read, with the same key, as public truth."""
    content = json.loads(evaluation.report.to_json()) | {"schema": "stemtwin/report@1"}
    for name in ("clusters", "detectable"):
        del content[name]
    del content["source"]["truth"]
    for metric in content["metrics"]:
        del metric["reason"]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    report = read_report(path)
    assert report == dataclasses.replace(evaluation.report, clusters=None, detectable=None, schema="stemtwin/report@1")
    assert report.source.truth == "public"
    assert not report.ranked


def test_only_scores_on_hidden_truth_can_be_ranked(evaluation):
    """A rank takes answers that were scored here, on truth that is hidden."""
    hidden = dataclasses.replace(evaluation.report, source=dataclasses.replace(evaluation.report.source, truth="hidden"))
    claims = {trust: dataclasses.replace(hidden, trust=trust).ranked for trust in TRUST}
    assert {trust for trust, claim in claims.items() if claim} == {"scored", "baseline", "isolated"}
    assert not evaluation.report.ranked
    assert hidden.comparability_key == evaluation.report.comparability_key


def test_what_was_not_given_has_no_value(evaluation):
    """A metric whose optional part the answers leave out is None with that reason, even without a statistic for it; others stay as they were."""
    samples = evaluation.samples
    statistics = {name: values for name, values in samples.statistics.items() if not name.startswith("species")}
    part = dataclasses.replace(samples, statistics=statistics, not_given=("macro_f1",))
    made = evaluation.report
    fields = {name: getattr(made, name) for name in ("source", "entry", "trust", "artefact_sha256", "cost")}
    report = build_report(TASK, part, seeds={}, wall_s=1.0, **fields)
    assert (report.metric("macro_f1").value, report.metric("macro_f1").interval, report.metric("macro_f1").reason) == (None, None, NOT_GIVEN)
    assert [one for one in report.metrics if one.name != "macro_f1"] == [one for one in made.metrics if one.name != "macro_f1"]
    assert made.metric("d90").reason == ""
    whole = build_report(TASK, dataclasses.replace(samples, not_given=("f1",)), seeds={}, wall_s=1.0, **fields)
    assert (whole.primary.value, whole.primary.reason, whole.slices, whole.worst, whole.clusters) == (None, NOT_GIVEN, (), None, None)


def test_comparable_only_on_the_same_data(evaluation):
    """The key of comparability follows from task, data, split and metric version, and not from the entry."""
    report = evaluation.report
    assert dataclasses.replace(report, entry="other", trust="scored").comparability_key == report.comparability_key
    for changed in (
        dataclasses.replace(report, major=2),
        dataclasses.replace(report, source=dataclasses.replace(report.source, sha256="0" * 64)),
        dataclasses.replace(report, source=dataclasses.replace(report.source, split="val")),
        dataclasses.replace(report, metrics=(dataclasses.replace(report.primary, version="2.0"),)),
    ):
        assert changed.comparability_key != report.comparability_key


def test_broken_reports_are_refused(evaluation, tmp_path):
    """No file, not JSON, NaN, a list, a missing key, an edited source: each is one sentence that names the file."""
    good = json.loads(evaluation.report.to_json())
    edited = good | {"source": good["source"] | {"sha256": "0" * 64}}
    path = tmp_path / "report.json"
    with pytest.raises(SubmissionError, match="there is no such file"):
        read_report(path)
    for text, message in (
        ("{", "not a JSON file"),
        (json.dumps(good).replace(str(good["metrics"][0]["value"]), "NaN"), "NaN is not JSON"),
        ("[]", "key ''"),
        (json.dumps({name: value for name, value in good.items() if name != "task"}), "key 'task'"),
        (json.dumps(good | {"trust": "golden"}), "key 'trust'"),
        (json.dumps(edited), "does not follow from the content"),
        (json.dumps(good | {"metrics": []}), "key 'metrics' is empty"),
        (json.dumps(good | {"entry": "a\x1b[31m"}), r"report\.json: entry='a.*' holds a control character, U[+]001B\. Remove it\. Give"),
        (json.dumps(good | {"team": " "}), r"report\.json: team=' ' has no visible character"),
        (json.dumps(good | {"clusters": good["clusters"] | {"labels": ["a"]}}), r"sums of 'f.' have 6 entries for 1 labels"),
    ):
        path.write_text(text)
        with pytest.raises(SubmissionError, match=message):
            read_report(path)


def test_a_submission_scores_as_its_predictions(evaluation, tmp_path):
    """Predictions that went through a submission folder score to the bit as those that did not, and have the same hash."""
    folder = write_submission(tmp_path / "entry", TASK, evaluation.found, split="test", size="tiny", name="points")
    report = score_submission(TASK, DATA, read_submission(folder, TASK, DATA)).report
    assert report.metrics == evaluation.report.metrics
    assert report.artefact_sha256 == evaluation.report.artefact_sha256
    assert (report.entry, report.trust, report.cost) == ("points", "scored", {})
    assert evaluation.report.cost["wall_s_per_sample"] > 0


def test_answers_for_other_samples_are_refused(evaluation):
    """Answers that miss a sample are refused, not scored on the rest."""
    short = dict(list(evaluation.found.items())[1:])
    with pytest.raises(SubmissionError, match="1 sample ids differ"):
        score_predictions(TASK, DATA, short, split="test", size="tiny", entry="short", trust="scored")


@pytest.mark.parametrize("name", ["atoms-2d", "autofocus", "autofocus@2"])
def test_cards_are_whole(name):
    """Every task's card is JSON, ranks by its first metric, and says what is given, asked, sliced and cited."""
    card = json.loads(json.dumps(find_task(name).card()))
    assert card["schema"] == "stemtwin/task@1"
    assert [metric["primary"] for metric in card["metrics"]].count(True) == 1
    assert all(card[key] for key in ("title", "text", "source", "splits", "inputs", "outputs", "slices", "citation", "license"))


def test_wrong_tasks_are_named():
    """An unknown task is answered with the likeliest one; a task of no kind, or without metrics, cannot be made."""
    with pytest.raises(UnknownNameError, match="Did you mean 'atoms-2d'"):
        find_task("atoms2d")
    with pytest.raises(SettingsError, match="must be 'predictions' or 'agent'"):
        dataclasses.replace(TASK, kind="game")
    with pytest.raises(SettingsError, match="0 metrics"):
        dataclasses.replace(TASK, metrics=())
