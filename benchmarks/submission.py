"""Prediction submissions: a folder with ``submission.yaml`` and ``predictions.parquet``, checked completely before anything is scored.

::

    submission.yaml                             predictions.parquet
    ---------------                             -------------------
    schema: stemtwin/submission@1               The columns that the task asks for, one row for each point or each
    task: atoms-2d/test@1                       sample. If answers are arrays: an index of npz or zarr files that lie in
    dataset: atoms-2d@1.0.0                     the same folder.
    size: tiny
    team: ...
    name: ...
    empty: [sample ids without a point]
    method: {domain: the physics of the problem, summary: the method, code: https://..., film: https://..., license: ...}

A sample without points has one row whose coordinates are NaN or null, or is listed under ``empty``, so no sample can be left out by mistake.
Messages count rows from 0. Nothing is unpickled: YAML is read by ``safe_load``, Parquet by pyarrow, arrays by numpy or zarr.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
import yaml

from stemtwin.benchmarks.answers.form import TABLE
from stemtwin.benchmarks.header_text import read_keys
from stemtwin.benchmarks.method_notes import check_notes
from stemtwin.benchmarks.names import check_name
from stemtwin.benchmarks.submission_paths import HEADER, check_folder
from stemtwin.benchmarks.tasks import Task, load_tasks
from stemtwin.twin.errors import SubmissionError
from stemtwin.twin.files import check_writable, write_atomically

if TYPE_CHECKING:
    import xarray as xr

SCHEMA = "stemtwin/submission@1"


class Header(pydantic.BaseModel):
    """Header of a submission, ``submission.yaml``; unknown keys are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_name: str = pydantic.Field(alias="schema")
    task: str
    dataset: str
    size: str = "std"
    name: str
    team: str = ""
    empty: tuple[str, ...] = ()
    method: dict[str, Any] = {}

    @pydantic.field_validator("name", "team")
    @classmethod
    def _shown(cls, value: str, info: pydantic.ValidationInfo) -> str:
        """Check that a board can show a name."""
        return check_name(value, str(info.field_name), empty=info.field_name == "team")

    @pydantic.field_validator("method")
    @classmethod
    def _noted(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Check the notes for a jury."""
        return check_notes(value)

    @property
    def split(self) -> str:
        """The split that ``task: <name>/<split>@<major>`` names."""
        return self.task.partition("/")[2].partition("@")[0]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Submission:
    """A submission that passed every check.

    Parameters
    ----------
    header : Header
        Content of ``submission.yaml``.
    found : dict
        Answers by sample id, one for every sample of the split.
    """

    header: Header
    found: dict[str, Any]


def read_header(folder: Path | str, task: Task | None = None) -> Header:
    """Read ``submission.yaml`` and check it against a task.

    Raises
    ------
    SubmissionError
        The path is not a folder with a header, or the header is too large, is not YAML, has wrong keys or types, or names another task, task version
        or dataset version.
    """
    path = check_folder(Path(folder), whole=False) / HEADER
    content = read_keys(path)
    try:
        header = Header.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        message = f"{path}: key {'.'.join(map(str, first['loc']))!r}: {reason}. Known keys: {', '.join(_keys())}."
        if first["type"] == "value_error":  # a sentence of ours, with its repair
            message = f"{path}: {reason}."
        raise SubmissionError(message) from None
    return _check_header(header, path, task)


def named_task(header: Header) -> Task:
    """Return the task in the version that a header names.

    If the registry does not have this version, version 1 is returned, and the check of the header then refuses the submission.

    Raises
    ------
    UnknownNameError
        There is no task of that name.
    """
    address, _, major = header.task.partition("@")
    name, tasks = address.partition("/")[0], load_tasks()
    full = f"{name}@{major}"
    return tasks[full if full in tasks else name]


def _keys() -> list[str]:
    """Return the keys that a header may contain."""
    return [field.alias or name for name, field in Header.model_fields.items()]


def _check_header(header: Header, path: Path, task: Task | None) -> Header:
    """Return the header, or raise SubmissionError if the task does not accept one of its values."""
    wanted: dict[str, tuple[str, tuple[str, ...]]] = {"schema": (header.schema_name, (SCHEMA,))}
    if task is not None:
        wanted["task"] = (header.task, tuple(task.address(split) for split in task.splits))
        wanted["dataset"] = (header.dataset, (f"{task.source}@{task.source_version}",))
    for key, (value, accepted) in wanted.items():
        if value not in accepted:
            message = f"{path}: key {key!r} is {value!r}; accepted here: {', '.join(accepted)}."
            raise SubmissionError(message)
    return header


def read_submission(folder: Path | str, task: Task, data: "xr.Dataset") -> Submission:
    """Read a submission and check all of it against the samples of the split.

    Parameters
    ----------
    folder : path
        Folder of the submission.
    task : Task
        The task of the submission.
    data : Dataset
        The samples of the split, of which only the inputs are used.

    Raises
    ------
    SubmissionError
        The submission is invalid; the message names the file, the row and the column of the first error, and the reason.
    """
    check_folder(Path(folder))
    header = read_header(folder, task)
    return Submission(header=header, found=task.form.read(Path(folder), data, header.empty))


def write_submission(folder: Path | str, task: Task, found: Mapping[str, Any], *, split: str, size: str, name: str, team: str = "") -> Path:
    """Write a submission folder and return it.

    Parameters
    ----------
    folder : path
        Folder, which is created if it does not exist.
    task : Task
        The task.
    found : mapping
        Answers by sample id.
    split, size, name, team : str
        Content of the header.
    """
    folder = Path(folder)
    check_writable(folder, folder=True)
    header = {
        "schema": SCHEMA,
        "task": task.address(split),
        "dataset": f"{task.source}@{task.source_version}",
        "size": size,
        "name": name,
        "team": team,
    }
    write_atomically(folder / HEADER, yaml.safe_dump(header, sort_keys=False, allow_unicode=True).encode())
    task.form.write(folder, found)
    return folder


__all__ = ["HEADER", "SCHEMA", "TABLE", "Header", "Submission", "named_task", "read_header", "read_submission", "write_submission"]
