"""Answers that are probabilities of classes, one set for each sample."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.answers import rows
from stemtwin.benchmarks.answers.form import ANSWERS, Field, check_types, sample_ids
from stemtwin.twin.errors import SubmissionError

if TYPE_CHECKING:
    import xarray as xr

TOLERANCE = 1e-4
"""Largest allowed difference between 1 and the sum of a sample's probabilities, which are divided by their sum before they are scored."""

ROUNDING = 1e-12
"""Largest difference between 1 and the sum of a sample's probabilities that is attributed to rounding."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Probabilities:
    """Probabilities of the classes of one sample.

    Parameters
    ----------
    probabilities : ndarray
        (k,) in the order of the task's classes.
    """

    probabilities: np.ndarray


@ANSWERS.register("probabilities", "probabilities of classes")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbabilityAnswers:
    """Form of answers that are probabilities of classes.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes; the column of a class is ``p_<name>``.
    """

    classes: tuple[str, ...]
    kind: str = dataclasses.field(default="probabilities", init=False)

    @property
    def fields(self) -> tuple[Field, ...]:
        """Columns of the table, which has one row for each sample."""
        return (
            rows.id_field(),
            *(Field(name=f"p_{name}", dtype="float", text=f"probability of {name}", low=0.0, high=1.0) for name in self.classes),
        )

    def checked(self, answers: Mapping[str, Probabilities], data: "xr.Dataset", source: str) -> dict[str, Probabilities]:
        """Return the probabilities as float64, summing to 1; raise SubmissionError where they are not probabilities."""
        check_types(answers, Probabilities, source)
        ids = [name for name in sample_ids(data) if name in answers]
        for name in ids:
            if (shape := np.shape(answers[name].probabilities)) != (len(self.classes),):
                message = f"{source}: sample {name!r} has probabilities of the shape {shape}; ({len(self.classes)},) is needed."
                raise SubmissionError(message)
        columns = self._columns({name: answers[name] for name in ids})
        rows.check_rows(columns, self.fields, ids, source, self._law)
        return self._answers(columns, ids)

    def missing(self, answers: Mapping[str, Probabilities]) -> frozenset[str]:
        """Return an empty set, since an answer of this kind has no optional part."""
        del answers
        return frozenset()

    def _columns(self, answers: Mapping[str, Probabilities]) -> rows.RowColumns:
        table = np.array([answer.probabilities for answer in answers.values()], dtype=np.float64).reshape(-1, len(self.classes))
        return {field.name: table[:, i] for i, field in enumerate(self.fields[1:])}

    def _answers(self, columns: rows.RowColumns, ids: list[str]) -> dict[str, Probabilities]:
        table = np.stack([columns[field.name] for field in self.fields[1:]], axis=1)
        total = table.sum(axis=1, keepdims=True)
        table = table / np.where(np.abs(total - 1) > ROUNDING, total, 1.0)  # probabilities that sum to 1 stay unchanged, bit for bit
        return {name: Probabilities(probabilities=table[row]) for row, name in enumerate(ids)}

    def _law(self, columns: rows.RowColumns, tell: Any) -> None:
        """Check that the probabilities of each sample sum to 1."""
        first = self.fields[1].name
        total = np.sum([columns[field.name] for field in self.fields[1:]], axis=0)
        tell(np.abs(total - 1) > TOLERANCE, first, f"and the other probabilities do not sum to 1 within {TOLERANCE:g}")

    def write(self, folder: Path, answers: Mapping[str, Probabilities]) -> None:
        """Write one row for each sample."""
        rows.write_rows(folder, answers, self._columns(answers))

    def read(self, folder: Path, data: "xr.Dataset", empty: tuple[str, ...]) -> dict[str, Probabilities]:
        """Read and check one row of probabilities for each sample."""
        return self._answers(rows.read_rows(folder, self.fields, data, empty, self._law, kind=self.kind), sample_ids(data))

    def digest(self, answers: Mapping[str, Probabilities]) -> str:
        """Return the sha256 of the ids and the probabilities, sorted by id."""
        ids = sorted(answers)
        out = hashlib.sha256("\n".join([*self.classes, *ids]).encode())
        out.update(np.array([answers[name].probabilities for name in ids]).astype("<f8").tobytes())
        return out.hexdigest()
