"""The score report: every number of an evaluation with its uncertainty and its origin; frozen, stored as JSON, never rounded."""

import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import json
import math
import platform
import subprocess
from pathlib import Path
from typing import Literal

import numpy as np
import pydantic
from llvmlite import binding

from stemtwin.benchmarks.attempts import Attempts
from stemtwin.benchmarks.comparisons import ClusterSums, cluster_sums, detectable_beside
from stemtwin.benchmarks.method_notes import check_notes
from stemtwin.benchmarks.metrics.metric import Metric
from stemtwin.benchmarks.names import check_name
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn, gluing_residual, parts
from stemtwin.benchmarks.statistics import MIN_CLUSTERS, Interval, interval
from stemtwin.benchmarks.tasks import Task
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.files import write_atomically

SCHEMA = "stemtwin/report@2"
SUPPORT = 30  # samples below which a slice is marked "low"
NOT_GIVEN = "not given"  # reason of a metric whose optional part of an answer is missing
SLICE_RESAMPLES = 999  # a slice's interval guides the eye; the headline intervals use the full number

Trust = Literal["scored", "baseline", "isolated", "practice", "oracle", "reported", "algorithm"]
Isolation = Literal["", "bubblewrap", "process"]
TRUST = {
    "scored": "predictions that this scorer scored",
    "baseline": "code of this package, run by its own runner",
    "isolated": "foreign code in a process of its own, which this runner timed and answered",
    "practice": "foreign code in the scorer's process, which could have read the truth",
    "oracle": "reads the truth, to show what is possible",
    "reported": "numbers from a report file, which cannot be checked",
    "algorithm": "scored against labels of measured data that an algorithm made, whose errors an entry may share",
}
ORDERED = ("scored", "baseline", "isolated")  # put in order on a board; the others stand among them by their score
PUBLIC = "public truth"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MetricValue:
    """One metric of the whole evaluation.

    ``value`` is None if the metric is undefined for the data, and ``interval`` is None if there are too few clusters.

    ``reason`` states why a value is missing, if this is known: ``"not given"`` means that the answers lack an optional part that the metric needs.
    """

    name: str
    version: str
    title: str
    unit: str
    direction: Literal["max", "min"]
    value: float | None
    interval: Interval | None
    reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SliceValue:
    """The primary metric on one slice, with the sums from which any union of slices can be scored; ``title`` names the slice for readers."""

    column: str
    label: str
    title: str
    n: int
    n_clusters: int
    support: Literal["ok", "low"]
    value: float | None
    interval: Interval | None
    sums: dict[str, float | list[float]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Origin of a report: versions, seeds, commit of the checkout (None outside one), wall time [s], date (UTC, ISO 8601), system and processor."""

    version: str
    python: str
    numpy: str
    git_commit: str | None
    git_dirty: bool | None
    seeds: dict[str, str | int]
    wall_s: float
    created: str
    machine: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Scored data: dataset or environment, its version and size, and the sha256 of its content (for an environment, of its seeds and presets).

    ``truth`` is ``"public"`` if anybody can look the truth up, or compute it from a published key. Scores on public truth are not ranked.
    """

    name: str
    version: str
    size: str
    split: str
    sha256: str
    n: int
    n_clusters: int
    truth: Literal["public", "hidden"] = "public"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A score report.

    Parameters
    ----------
    task, major : str, int
        Task and its version.
    source : Source
        Data set or environment on which the entry was scored.
    entry, team : str
        Names of the entry and of its team.
    trust : str
        Level of trust in the score: ``"scored"``, ``"baseline"``, ``"isolated"``, ``"practice"``, ``"oracle"``, ``"reported"`` or ``"algorithm"``.
        Only reports with one of the first three levels can be ranked.
    artefact_sha256 : str
        Hash of the answers: of predictions, or of the actions of all episodes.
    metrics : tuple of MetricValue
        The first is the primary one.
    slices : tuple of SliceValue
        Every slice of every column.
    worst : SliceValue or None
        The worst slice among those with full support (30 samples and five clusters), or among all slices if none has full support.
    gluing_residual : float
        Largest relative difference between the sums over all samples and the sums added up over the slices of a column.
    cost : dict
        Mean costs of the entry for a sample or an episode: seconds of wall time, dose, frames; empty if the answers were made elsewhere.
    provenance : Provenance
        Software that made the report.
    clusters : ClusterSums or None
        For every cluster, the sums from which the primary metric is computed. A board compares entries by these sums. None in reports of version 1.
    isolation : str
        Isolation of the agent from the truth: ``"bubblewrap"``, ``"process"``, or "" if the agent ran in the scorer's process; "" for predictions.
    failures : dict
        Number of episodes that the agent's own faults ended, by kind of fault. The primary metric of such an episode is the task's ``floor``.
    attempts : Attempts or None
        Repeated attempts at the same episodes.
    method : dict
        Notes of the team for a jury, see :mod:`stemtwin.benchmarks.method_notes`.
    detectable : float or None
        Minimum detectable difference of the primary metric from a second entry, see :mod:`stemtwin.benchmarks.comparisons`.

    Raises
    ------
    SettingsError
        A board would not show the name of the entry or of the team as it was written.
    """

    task: str
    major: int
    source: Source
    entry: str
    trust: Trust
    artefact_sha256: str
    metrics: tuple[MetricValue, ...]
    slices: tuple[SliceValue, ...]
    worst: SliceValue | None
    gluing_residual: float
    cost: dict[str, float]
    provenance: Provenance
    team: str = ""
    clusters: ClusterSums | None = None
    detectable: float | None = None
    isolation: Isolation = ""
    failures: dict[str, int] = dataclasses.field(default_factory=dict)
    attempts: Attempts | None = None
    method: dict[str, str] = dataclasses.field(default_factory=dict)
    schema: Literal["stemtwin/report@1", "stemtwin/report@2"] = SCHEMA

    def __post_init__(self) -> None:
        """Check the names."""
        check_name(self.entry, "entry")
        check_name(self.team, "team", empty=True)
        check_notes(self.method)

    @property
    def ranked(self) -> bool:
        """True if the report can be ranked: the truth is hidden, and the scorer itself scored the answers or ran the entry."""
        return self.trust in ORDERED and self.source.truth == "hidden"

    @property
    def primary(self) -> MetricValue:
        """The metric by which the board ranks."""
        return self.metrics[0]

    @property
    def comparability_key(self) -> str:
        """Sha256 of the properties that all reports in one table share: task, data, split, number of samples, version of the primary metric."""
        source, metric = self.source, self.primary
        parts_ = (self.task, self.major, source.name, source.version, source.size, source.split, source.sha256, source.n, metric.name, metric.version)
        return hashlib.sha256(json.dumps(parts_).encode()).hexdigest()

    def metric(self, name: str) -> MetricValue:
        """Return the metric with a given name."""
        return next(metric for metric in self.metrics if metric.name == name)

    def to_json(self) -> str:
        """Return the report as JSON, with nothing rounded and None for undefined values."""
        content = {"comparability_key": self.comparability_key, **dataclasses.asdict(self)}
        return json.dumps(content, indent=1, allow_nan=False)

    def save(self, path: Path | str) -> Path:
        """Write the report as JSON and return the path."""
        path = Path(path)
        write_atomically(path, (self.to_json() + "\n").encode())
        return path


def read_report(path: Path | str) -> Report:
    """Read a report file.

    Raises
    ------
    SubmissionError
        The file is missing, is not JSON, is not a report (the message then names the wrong key), or has a comparability key that does not
        follow from its content.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        message = f"{path}: there is no such file. Give a report.json, or a folder with submission.yaml and predictions.parquet."
        raise SubmissionError(message) from None
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}). Give a report.json that 'stemtwin eval' wrote."
        raise SubmissionError(message) from None
    except ValueError as error:
        message = f"{path} is not a JSON file ({error}). Give a report.json that 'stemtwin eval' wrote."
        raise SubmissionError(message) from None
    key = content.pop("comparability_key", None) if isinstance(content, dict) else None
    try:
        report = _adapter().validate_python(content, strict=False)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ").rstrip(".")
        key = f"key {'.'.join(map(str, first['loc']))!r}: " if first["loc"] or first["type"] != "value_error" else ""
        message = f"{path}: {key}{said}. Give a report.json that 'stemtwin eval' wrote."
        raise SubmissionError(message) from None
    if not report.metrics:
        message = f"{path}: key 'metrics' is empty, but the primary metric is needed. Give a report.json that 'stemtwin eval' wrote."
        raise SubmissionError(message)
    if key != report.comparability_key:
        message = f"{path}: key 'comparability_key' does not follow from the content. Write the report again with 'stemtwin eval'."
        raise SubmissionError(message)
    return report


def _refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which JSON does not have."""
    message = f"{name} is not JSON"
    raise ValueError(message)


@functools.cache
def _adapter() -> pydantic.TypeAdapter:
    """Return the reader of reports."""
    return pydantic.TypeAdapter(Report)


def build_report(
    task: Task,
    samples: SampleStatistics,
    *,
    source: Source,
    entry: str,
    trust: Trust,
    artefact_sha256: str,
    cost: dict[str, float],
    seeds: dict[str, str | int],
    wall_s: float,
    team: str = "",
) -> Report:
    """Return the report of an evaluation, with every metric on all samples, the primary metric on every slice, and their intervals.

    See :class:`Report` and :class:`Provenance` for the arguments.
    """
    metrics = tuple(_metric_value(metric, samples) for metric in task.metrics)
    given = metrics[0].reason != NOT_GIVEN
    clusters = cluster_sums(task.primary.formula, samples) if given else None
    cut = task.slices if given else ()
    slices = tuple(_slice_value(task, column, label, part) for column in cut for label, part in parts(samples, column).items())
    return Report(
        task=task.name,
        major=task.major,
        source=source,
        entry=entry,
        team=team,
        trust=trust,
        artefact_sha256=artefact_sha256,
        metrics=metrics,
        slices=slices,
        worst=_worst(slices, task.primary.direction),
        gluing_residual=max((gluing_residual(samples, column) for column in task.slices), default=0.0),
        cost={} if trust == "scored" else cost,
        provenance=provenance(seeds=seeds, wall_s=wall_s),
        clusters=clusters,
        detectable=detectable_beside(task.primary.formula, clusters) if clusters else None,
    )


def _metric_value(metric: Metric, samples: SampleStatistics) -> MetricValue:
    """Return a metric on all samples; without a value where the answers lack its optional part."""
    given = metric.name not in samples.not_given
    return MetricValue(
        name=metric.name,
        version=metric.version,
        title=metric.title,
        unit=metric.unit,
        direction=metric.direction,
        value=_number(metric.formula(samples.sums())) if given else None,
        interval=interval(metric.formula, samples, proportion=metric.proportion) if given else None,
        reason="" if given else NOT_GIVEN,
    )


def _slice_value(task: Task, column: SliceColumn, label: str, part: SampleStatistics) -> SliceValue:
    """Return the primary metric on one slice."""
    n_clusters = len(np.unique(part.clusters))
    metric = task.primary
    return SliceValue(
        column=column.column,
        label=label,
        title=f"{column.title or column.column} {label}",
        n=len(part),
        n_clusters=n_clusters,
        support="ok" if len(part) >= SUPPORT and n_clusters >= MIN_CLUSTERS else "low",
        value=_number(metric.formula(part.sums())),
        interval=interval(metric.formula, part, proportion=metric.proportion, resamples=SLICE_RESAMPLES),
        sums={name: np.asarray(total).tolist() for name, total in part.sums().items()},
    )


def _worst(slices: tuple[SliceValue, ...], direction: str) -> SliceValue | None:
    """Return the worst slice with a value: among those with full support, among all where none has it."""
    sign = 1.0 if direction == "max" else -1.0
    valued = [(sign * one.value, one) for one in slices if one.value is not None]
    pool = [pair for pair in valued if pair[1].support == "ok"] or valued
    return min(pool, key=lambda pair: pair[0])[1] if pool else None


def _number(value: np.ndarray | float) -> float | None:
    """Return a finite float, or None."""
    number = float(value)
    return number if math.isfinite(number) else None


def provenance(*, seeds: dict[str, str | int], wall_s: float) -> Provenance:
    """Return the provenance of a new report: the current time, machine, versions and commit, with the given seeds and wall time."""
    commit, dirty = git_state()
    return Provenance(
        version=version(),
        python=platform.python_version(),
        numpy=np.__version__,
        git_commit=commit,
        git_dirty=dirty,
        seeds=seeds,
        wall_s=wall_s,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=f"{platform.system()} {platform.machine()} {binding.get_host_cpu_name()}",
    )


def version() -> str:
    """Return the version of the installed package."""
    try:
        return importlib.metadata.version("stemtwin")
    except importlib.metadata.PackageNotFoundError:
        return "uninstalled"


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout that contains this code, and True if files differ from this commit; (None, None) outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, None
    try:
        commit = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changed = subprocess.run(["git", "-C", str(root), "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit.stdout.strip(), bool(changed.stdout.strip())
