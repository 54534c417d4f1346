"""Forms of answers: the fields that a task requests, and the operations that the runner, submissions and boards need for any kind of answer."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from stemtwin.benchmarks.discovery import import_modules
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.registry import Registry

if TYPE_CHECKING:
    import xarray as xr

TABLE = "predictions.parquet"
"""File name of the table in a submission, which holds the answers or the index of their arrays."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Description of one input or output of a task.

    Parameters
    ----------
    name, dtype, unit, text : str
        Name; element type; unit ("" for none); description in one line.
    low, high : float, optional
        Inclusive bounds of a number.
    optional : bool
        True if a submission is allowed to leave the field out of all its answers. Metrics that need the field are then "not given".
    scored : bool
        True if a metric reads the field. An unscored field is stored, but does not enter the hash of the answers.
    dims : tuple of str or int
        Dimensions of an array, as names of dimensions of the data or as lengths; () for a number.
    """

    name: str
    dtype: str
    unit: str = ""
    text: str = ""
    low: float | None = None
    high: float | None = None
    optional: bool = False
    scored: bool = True
    dims: tuple[str | int, ...] = ()


class AnswerForm(Protocol):
    """Form of the answers of a task: a kind of answer with the task's own names, units and bounds.

    In every method, ``answers`` maps the id of each sample to its answer. ``data`` holds the samples of the split with their truth; the methods read
    only the inputs.
    """

    @property
    def kind(self) -> str:
        """Registered name of the kind of answer, such as ``"points"``."""
        ...

    @property
    def fields(self) -> tuple[Field, ...]:
        """Columns of the table, or arrays, that the task requests."""
        ...

    def checked(self, answers: Mapping[str, Any], data: "xr.Dataset", source: str) -> dict[str, Any]:
        """Return the answers in the types in which they are scored.

        If a required part of an answer is missing, or if its type, its shape or a value is not allowed, raise SubmissionError with a message that
        begins with ``source``.
        """
        ...

    def missing(self, answers: Mapping[str, Any]) -> frozenset[str]:
        """Return the names of the optional parts (attributes of an answer) that the answers leave out."""
        ...

    def write(self, folder: Path, answers: Mapping[str, Any]) -> None:
        """Write the answers into the folder of a submission."""
        ...

    def read(self, folder: Path, data: "xr.Dataset", empty: tuple[str, ...]) -> dict[str, Any]:
        """Read and check the answers of a submission.

        ``empty`` holds the ids of the samples whose answers are empty according to the header of the submission.
        """
        ...

    def digest(self, answers: Mapping[str, Any]) -> str:
        """Return the sha256 of the scored parts of the answers.

        The hash depends neither on the order of the answers nor on the files that hold them.
        """
        ...


ANSWERS: "Registry[type]" = Registry("kind of answer")
"""Forms of answers by kind, each with a description."""


def load_answers() -> "Registry[type]":
    """Import every kind of answer and return their registry."""
    import_modules("stemtwin.benchmarks.answers")
    return ANSWERS


def sample_ids(data: "xr.Dataset") -> list[str]:
    """Return the ids of the samples of a split, in order."""
    return data["sample_id"].values.astype(str).tolist()


def check_types(answers: Mapping[str, Any], wanted: type, source: str) -> None:
    """Raise SubmissionError if an answer is not an instance of the class ``wanted``."""
    for name, answer in answers.items():
        if not isinstance(answer, wanted):
            message = f"{source}: sample {name!r} has an answer of type {type(answer).__name__}, not {wanted.__name__}. Return a {wanted.__name__}."
            raise SubmissionError(message)


def left_out(names: Iterable[str], answers: Mapping[str, Any], source: str, given: Any) -> frozenset[str]:
    """Return the optional parts that all answers leave out.

    Parameters
    ----------
    names : iterable of str
        Optional parts.
    answers : mapping
        Answers by sample id.
    source : str
        Text with which error messages begin.
    given : callable
        Function of (answer, name) that returns True if the answer has the part, False if the part is left out, and None if the answer is empty.

    Raises
    ------
    SubmissionError
        Some answers have a part that others leave out.
    """
    out = set()
    for name in names:
        told = {sample: found for sample, answer in answers.items() if (found := given(answer, name)) is not None}
        without = [sample for sample, found in told.items() if not found]
        if without and len(without) < len(told):
            message = (
                f"{source}: {name!r} is left out for {len(without)} of {len(told)} samples; the first is {without[0]!r}. Give it for all or none."
            )
            raise SubmissionError(message)
        if without:
            out.add(name)
    return frozenset(out)


def none_empty(empty: tuple[str, ...], kind: str, path: Path) -> None:
    """Raise SubmissionError if the header of a submission lists empty answers, although this kind of answer cannot be empty."""
    if empty:
        message = f"{path}: key 'empty' names {empty[0]!r}, but {kind} cannot be empty. Give an answer for every sample and remove the key."
        raise SubmissionError(message)
