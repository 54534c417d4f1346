"""Tasks: what is given, what is asked, how it is scored. One file per family registers its task here."""

import dataclasses
import importlib
from collections.abc import Callable

from stemtwin.benchmarks.metrics import Metric
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.registry import Registry

SCHEMA = "stemtwin/task@1"
FAMILIES = ("atoms", "focus", "focus_v2", "hypothesis")  # one module of this package each

TASKS: "Registry[Task]" = Registry("task")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A named input or output.

    Parameters
    ----------
    name, dtype, unit, text : str
        Name; element type; unit ("" for none); one line for people.
    low, high : float, optional
        Bounds, inclusive, of a number.
    """

    name: str
    dtype: str
    unit: str = ""
    text: str = ""
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task of the catalog.

    Parameters
    ----------
    name : str
        Kebab-case name.
    major : int
        Version; scores of different versions share no table.
    kind : str
        ``"predictions"``: answers to the samples of a dataset. ``"agent"``: a policy in an environment.
    title, text, citation, license : str
        For people.
    source, source_version : str
        Dataset name and version, or environment id (its version is part of it).
    splits : tuple of str
        Splits that can be scored; the first is the default.
    inputs, outputs : tuple of Field
        What an entry sees and what it answers.
    metrics : tuple of Metric
        The first is the primary one, by which the board ranks.
    slices : tuple of SliceColumn
        What the report is cut by.
    score : callable
        (samples or episodes, answers) to SampleStatistics; see the family's module.
    episodes : int
        Default number of episodes of an agent task; 0 otherwise.
    key : str
        Published key from which the seeds of the episodes are derived; "" for a dataset.
    """

    name: str
    major: int
    kind: str
    title: str
    text: str
    source: str
    splits: tuple[str, ...]
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    metrics: tuple[Metric, ...]
    slices: tuple[SliceColumn, ...]
    score: Callable[..., SampleStatistics]
    source_version: str = ""
    episodes: int = 0
    key: str = ""
    citation: str = ""
    license: str = "CC-BY-4.0"

    def __post_init__(self) -> None:
        """Check the kind, and that there is something to score."""
        if self.kind not in ("predictions", "agent"):
            message = f"kind={self.kind!r} of task {self.name!r} must be 'predictions' or 'agent'."
            raise SettingsError(message)
        if not (self.metrics and self.splits):
            message = f"Task {self.name!r} has {len(self.metrics)} metrics and {len(self.splits)} splits. Give at least one of each."
            raise SettingsError(message)

    @property
    def primary(self) -> Metric:
        """The metric by which the board ranks."""
        return self.metrics[0]

    @property
    def registered(self) -> str:
        """Name in the registry: the task's own of version 1, ``<name>@<major>`` of the others."""
        return self.name if self.major == 1 else f"{self.name}@{self.major}"

    def check_split(self, split: str) -> str:
        """Return the split, or raise SettingsError where the task has none of that name."""
        if split not in self.splits:
            message = f"split={split!r} is none of task {self.name!r}: {', '.join(self.splits)}."
            raise SettingsError(message)
        return split

    def address(self, split: str) -> str:
        """Return ``<task>/<split>@<major>``, which submissions name."""
        return f"{self.name}/{split}@{self.major}"

    def card(self) -> dict:
        """Return the task as plain values, for JSON."""
        card = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in ("metrics", "score", "slices")}
        card["inputs"] = [dataclasses.asdict(field) for field in self.inputs]
        card["outputs"] = [dataclasses.asdict(field) for field in self.outputs]
        card["slices"] = [{"column": column.column, "slices": list(column.names()), "unit": column.unit} for column in self.slices]
        shown = ("name", "version", "title", "unit", "direction")
        card["metrics"] = [{name: getattr(metric, name) for name in shown} | {"primary": metric is self.primary} for metric in self.metrics]
        return {"schema": SCHEMA, **card}


def load_tasks() -> "Registry[Task]":
    """Import every family and return the registry of tasks."""
    for family in FAMILIES:
        importlib.import_module(f"stemtwin.benchmarks.{family}")
    return TASKS


def find_task(name: str) -> Task:
    """Return the task of that name; raise UnknownNameError with the likeliest name otherwise."""
    return load_tasks()[name]
