"""Tasks: inputs, answers and scoring. Every module of ``families`` registers its task here."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.answers.form import AnswerForm, Field
from stemtwin.benchmarks.discovery import import_modules
from stemtwin.benchmarks.metrics.metric import Metric
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.registry import Registry

if TYPE_CHECKING:
    import xarray as xr

SCHEMA = "stemtwin/task@1"

TASKS: "Registry[Task]" = Registry("task")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task of the catalog.

    Parameters
    ----------
    name : str
        Kebab-case name.
    major : int
        Version; scores of different versions are never in one table.
    kind : str
        ``"predictions"``: answers to the samples of a dataset. ``"agent"``: a policy in an environment.
    title, text, citation, license : str
        Texts for pages and reports.
    source, source_version : str
        Dataset name and version, or environment id (which includes the version).
    splits : tuple of str
        Splits that can be scored; the first is the default.
    inputs : tuple of Field
        Inputs of an entry.
    outputs : tuple of Field
        Actions of an agent; () for predictions.
    answer : AnswerForm, optional
        Form of the answers of a prediction task.
    metrics : tuple of Metric
        The first is the primary one, by which the board ranks.
    slices : tuple of SliceColumn
        Slices of the report.
    score : callable
        Function of (samples of the split, answers by sample id), or of (episodes), that returns SampleStatistics.
    truth : callable, optional
        Function of the samples of the split that returns the truth of each sample, for oracles.
    content : callable, optional
        Function of the samples of the split that returns the sha256 of the scored content; the hash of the dataset's rows by default.
    episodes : int
        Default number of episodes of an agent task; 0 otherwise.
    key : str
        Published key from which the seeds of the episodes are derived; "" for a dataset.
    failed : mapping
        Statistics by name that replace those of an episode ended by a fault of the agent. They are the worst values that the scorer can give, so an
        agent cannot gain by a fault.
    difficulties : tuple of str
        Presets of the environment that the episodes take in turn; () for the default one.
    """

    name: str
    major: int
    kind: str
    title: str
    text: str
    source: str
    splits: tuple[str, ...]
    inputs: tuple[Field, ...]
    metrics: tuple[Metric, ...]
    slices: tuple[SliceColumn, ...]
    score: Callable[..., SampleStatistics]
    outputs: tuple[Field, ...] = ()
    answer: AnswerForm | None = None
    truth: "Callable[[xr.Dataset], Sequence[Any]] | None" = None
    content: "Callable[[xr.Dataset], str] | None" = None
    source_version: str = ""
    episodes: int = 0
    key: str = ""
    failed: Mapping[str, float] = dataclasses.field(default_factory=dict)
    citation: str = ""
    license: str = "CC-BY-4.0"
    difficulties: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the kind, and that an answer, a metric and a split are given."""
        if self.kind not in ("predictions", "agent"):
            message = f"kind={self.kind!r} of task {self.name!r} must be 'predictions' or 'agent'."
            raise SettingsError(message)
        if (self.kind == "predictions") != (self.answer is not None) or (self.kind == "agent") != bool(self.outputs):
            message = f"Task {self.name!r} of kind {self.kind!r} must have answer= (for predictions) or outputs= (for an agent), and not both."
            raise SettingsError(message)
        if not (self.metrics and self.splits):
            message = f"Task {self.name!r} has {len(self.metrics)} metrics and {len(self.splits)} splits. Give at least one of each."
            raise SettingsError(message)

    @property
    def primary(self) -> Metric:
        """The metric by which the board ranks."""
        return self.metrics[0]

    @property
    def form(self) -> AnswerForm:
        """Form of the answers of a prediction task."""
        if self.answer is None:
            message = f"Task {self.name!r} is played by an agent and takes no predictions. Run 'stemtwin eval {self.registered} --agent'."
            raise SettingsError(message)
        return self.answer

    @property
    def asked(self) -> tuple[Field, ...]:
        """Fields of an answer to a prediction task, or of an action in an agent task."""
        return self.outputs if self.answer is None else self.answer.fields

    @property
    def registered(self) -> str:
        """Name in the registry: the task's own name for version 1, ``<name>@<major>`` for other versions."""
        return self.name if self.major == 1 else f"{self.name}@{self.major}"

    def difficulty(self, number: int) -> str | None:
        """Return the preset of the episode with a given number; None for the default of the environment."""
        return presets_in_turn(self.difficulties, [number])[0] if self.difficulties else None

    @property
    def floor(self) -> float:
        """Value of the primary metric for an episode that ended by a fault of the agent."""
        return float(self.primary.formula({name: np.asarray(value) for name, value in {"samples": 1, **self.failed}.items()}))

    @property
    def floor_text(self) -> str:
        """Description of :attr:`floor` in one sentence."""
        unit = f" {self.primary.unit}" if self.primary.unit else ""
        return f"An episode ended by a fault of the agent is scored with {self.primary.name} = {self.floor:.4g}{unit}, the worst possible value."

    @property
    def bound_text(self) -> str:
        """Description of the best possible values of the metrics in one sentence."""
        known = [f"{one.name} {one.limit:g}" for one in self.metrics if one.limit is not None]
        if not known:
            return "Bounds: no bound set by the data is known; no score triggers a review by itself."
        return f"Bounds: {', '.join(known)}; an interval that lies wholly beyond one triggers a review but does not change the ranking."

    def check_split(self, split: str) -> str:
        """Return the name of a split, or raise SettingsError if the task does not have this split."""
        if split not in self.splits:
            message = f"split={split!r} is not a split of task {self.name!r}. Its splits: {', '.join(self.splits)}."
            raise SettingsError(message)
        return split

    def address(self, split: str) -> str:
        """Return the address ``<task>/<split>@<major>`` of a split, which stands in the header of a submission."""
        return f"{self.name}/{split}@{self.major}"

    def content_hash(self, data: "xr.Dataset") -> str:
        """Return the sha256 of the scored content of the samples of a split."""
        return data.attrs["content_sha256"] if self.content is None else self.content(data)

    def card(self) -> dict:
        """Return the task as plain values, for JSON."""
        apart = ("metrics", "score", "slices", "answer", "truth", "content")
        card = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in apart}
        card["inputs"] = [dataclasses.asdict(field) for field in self.inputs]
        card["outputs"] = [dataclasses.asdict(field) for field in self.asked]
        card["answer"] = None if self.answer is None else self.answer.kind
        card["slices"] = [{"column": column.column, "slices": list(column.names()), "unit": column.unit} for column in self.slices]
        shown = ("name", "version", "title", "unit", "direction", "text", "needs")
        card["metrics"] = [{name: getattr(metric, name) for name in shown} | {"primary": metric is self.primary} for metric in self.metrics]
        return {"schema": SCHEMA, **card}


def presets_in_turn(difficulties: Sequence[str], numbers: Iterable[int]) -> list[str]:
    """Return the presets of the episodes with given numbers; successive episodes take the presets in turn."""
    return [difficulties[number % len(difficulties)] for number in numbers]


def by_preset(values: Iterable[object]) -> str:
    """Return a phrase with the distinct values of a setting in several presets, such as ``3, 7 or 12``."""
    told = list(dict.fromkeys(f"{value}" for value in values))
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} or {told[-1]}"


def load_tasks() -> "Registry[Task]":
    """Import every family and return the registry of tasks."""
    import_modules("stemtwin.benchmarks.families")
    return TASKS


def tasks_of(environment: str) -> list[Task]:
    """Return the tasks that are played in an environment, ordered by decreasing number of presets and then by name."""
    registry = load_tasks()
    found = [registry[name] for name in registry if registry[name].source == environment]
    return sorted(found, key=lambda task: (-len(task.difficulties), task.registered))


def find_task(name: str) -> Task:
    """Return the task with a given name. If there is none, raise UnknownNameError, which suggests the most similar name."""
    return load_tasks()[name]
