"""Answers that are numbers, each with a standard deviation or an interval if the task requests it."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.answers import rows
from stemtwin.benchmarks.answers.form import ANSWERS, TABLE, Field, check_types, left_out, sample_ids
from stemtwin.twin.errors import SubmissionError

if TYPE_CHECKING:
    import xarray as xr

PARTS = {"sigma": ("sigma",), "interval": ("low", "high")}
"""Attributes of an answer that hold each kind of uncertainty; the name of a column ends in ``_<attribute>``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Values:
    """Numbers of one sample, by the names of the quantities.

    Parameters
    ----------
    value : dict
        Best estimates.
    sigma : dict, optional
        Standard deviations; None if not given.
    low, high : dict, optional
        Ends of the interval that contains the true value with the probability that the task sets as ``level``; None if not given.
    """

    value: Mapping[str, float]
    sigma: Mapping[str, float] | None = None
    low: Mapping[str, float] | None = None
    high: Mapping[str, float] | None = None


@ANSWERS.register("values", "numbers with an optional standard deviation or interval")
@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueAnswers:
    """Form of answers that are numbers.

    Parameters
    ----------
    quantities : tuple of Field
        Requested numbers.
    sigma, interval : str
        Request for the standard deviations and for the intervals: ``"required"``, ``"optional"`` or ``"none"``, the same for every quantity.
    level : float
        Nominal probability that an interval contains the true value.
    scored : tuple of str
        Uncertainties that metrics use: ``"sigma"``, ``"interval"``, both or none.
    """

    quantities: tuple[Field, ...]
    sigma: str = "none"
    interval: str = "none"
    level: float = 0.95
    scored: tuple[str, ...] = ("sigma", "interval")
    kind: str = dataclasses.field(default="values", init=False)

    @property
    def _parts(self) -> dict[str, str]:
        """Attributes besides the value, and the uncertainty to which each belongs."""
        return {attribute: part for part in PARTS if getattr(self, part) != "none" for attribute in PARTS[part]}

    @property
    def fields(self) -> tuple[Field, ...]:
        """Columns of the table, which has one row for each sample."""
        told = {
            "sigma": "standard deviation",
            "low": f"lower end of the {self.level:.0%} interval",
            "high": f"upper end of the {self.level:.0%} interval",
        }
        more = [
            Field(
                name=f"{one.name}_{attribute}",
                dtype="float",
                unit=one.unit,
                text=f"{told[attribute]} of {one.name}",
                low=0.0 if attribute == "sigma" else None,
                optional=getattr(self, part) == "optional",
                scored=part in self.scored,
            )
            for attribute, part in self._parts.items()
            for one in self.quantities
        ]
        return (rows.id_field(), *self.quantities, *more)

    def checked(self, answers: Mapping[str, Values], data: "xr.Dataset", source: str) -> dict[str, Values]:
        """Return the numbers as float64; raise SubmissionError if a number is missing, not finite or out of bounds."""
        check_types(answers, Values, source)
        ids = [name for name in sample_ids(data) if name in answers]
        columns = self._columns({name: answers[name] for name in ids}, source)
        rows.check_rows(columns, self.fields, ids, source, self._law)
        return self._answers(columns, ids)

    def missing(self, answers: Mapping[str, Values], source: str = "the answers") -> frozenset[str]:
        """Return the uncertainties that the answers leave out, ``"sigma"`` or ``"interval"``."""

        def given(answer: Values, name: str) -> bool:
            return all(getattr(answer, attribute) is not None for attribute in PARTS[name])

        out = left_out([part for part in PARTS if getattr(self, part) != "none"], answers, source, given)
        for name in out:
            if getattr(self, name) == "required":
                message = f"{source}: {name!r} is left out. Give it for every sample."
                raise SubmissionError(message)
        return out

    def _columns(self, answers: Mapping[str, Values], source: str) -> rows.RowColumns:
        """Return the columns of all samples, without the optional ones that are left out."""
        missing = self.missing(answers, source)
        kept = {"value": "", **{attribute: f"_{attribute}" for attribute, part in self._parts.items() if part not in missing}}
        columns = {}
        for attribute, ending in kept.items():
            for one in self.quantities:
                told = [getattr(answer, attribute).get(one.name) for answer in answers.values()]
                if None in told:
                    name = list(answers)[told.index(None)]
                    message = f"{source}: sample {name!r} has no {attribute} of {one.name!r}. Give one for each quantity."
                    raise SubmissionError(message)
                columns[one.name + ending] = np.array(told, dtype=np.float64)
        return columns

    def _answers(self, columns: rows.RowColumns, ids: list[str]) -> dict[str, Values]:
        """Return the answers of the samples from columns."""

        def part(attribute: str, row: int) -> dict[str, float] | None:
            names = {one.name: one.name if attribute == "value" else f"{one.name}_{attribute}" for one in self.quantities}
            there = all(column in columns for column in names.values())
            return {name: float(columns[column][row]) for name, column in names.items()} if there else None

        attributes = ("value", *self._parts)
        return {name: Values(**{one: part(one, row) for one in attributes}) for row, name in enumerate(ids)}  # pyright: ignore[reportArgumentType]

    def _law(self, columns: rows.RowColumns, tell: Any) -> None:
        """Check that the lower end of each interval is not above its upper end."""
        for one in self.quantities:
            low, high = columns.get(f"{one.name}_low"), columns.get(f"{one.name}_high")
            if low is not None and high is not None:
                tell(low > high, f"{one.name}_low", f"is above {one.name}_high")

    def write(self, folder: Path, answers: Mapping[str, Values]) -> None:
        """Write one row for each sample."""
        rows.write_rows(folder, answers, self._columns(answers, "the answers"))

    def read(self, folder: Path, data: "xr.Dataset", empty: tuple[str, ...]) -> dict[str, Values]:
        """Read and check one row of numbers for each sample; an uncertainty must be given for every quantity or for none."""
        columns = rows.read_rows(folder, self.fields, data, empty, self._law, kind=self.kind)
        for part, attributes in PARTS.items():
            names = [f"{one.name}_{attribute}" for one in self.quantities for attribute in attributes]
            there = [name for name in names if name in columns]
            if there and len(there) < len(names):
                lacking = next(name for name in names if name not in columns)
                message = f"{folder / TABLE}: column {lacking!r} is missing, but {there[0]!r} is there. Give the {part} of every quantity or of none."
                raise SubmissionError(message)
        return self._answers(columns, sample_ids(data))

    def digest(self, answers: Mapping[str, Values]) -> str:
        """Return the sha256 of the ids and the scored numbers, sorted by id."""
        ids = sorted(answers)
        columns = self._columns({name: answers[name] for name in ids}, "the answers")
        scored = [field.name for field in self.fields if field.scored and field.name in columns]
        out = hashlib.sha256("\n".join([*scored, *ids]).encode())
        for name in scored:
            out.update(columns[name].astype("<f8").tobytes())
        return out.hexdigest()
