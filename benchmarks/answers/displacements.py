"""Answers that are displacement fields: a vector for each pixel, scan line or frame."""

import dataclasses
from typing import ClassVar

import numpy as np

from stemtwin.benchmarks.answers.arrays import ArrayAnswers
from stemtwin.benchmarks.answers.form import ANSWERS, Field


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DisplacementField:
    """Displacements of one sample.

    Parameters
    ----------
    displacement : ndarray
        (..., 2) x and y components, in the task's unit.
    sigma : ndarray, optional
        (..., 2) standard deviation of each component; None if not given.
    """

    displacement: np.ndarray
    sigma: np.ndarray | None = None


@ANSWERS.register("displacements", "a vector (x, y) for each pixel, line or frame")
@dataclasses.dataclass(frozen=True, kw_only=True)
class DisplacementAnswers(ArrayAnswers):
    """Form of answers that are displacement fields.

    Parameters
    ----------
    dims : tuple of str or int
        Dimensions of the field, as names of dimensions of the data or as lengths; the last axis, x and y, is not listed.
    unit, text : str
        Unit and description of the displacements.
    largest : float, optional
        Largest allowed absolute value of a component.
    sigma : bool
        True if answers are allowed to give a standard deviation; a given standard deviation is scored.
    """

    dims: tuple[str | int, ...] = ("y", "x")
    unit: str = "A"
    text: str = "displacement (x, y)"
    largest: float | None = None
    sigma: bool = False
    kind: str = dataclasses.field(default="displacements", init=False)
    answer: ClassVar[type] = DisplacementField

    @property
    def fields(self) -> tuple[Field, ...]:
        """Arrays that the task requests."""
        low = None if self.largest is None else -self.largest
        dims = (*self.dims, 2)
        field = Field(name="displacement", dtype="float", unit=self.unit, text=self.text, low=low, high=self.largest, dims=dims)
        text = "standard deviation of each component"
        sigma = Field(name="sigma", dtype="float", unit=self.unit, text=text, low=0.0, dims=dims, optional=True)
        return (field, sigma) if self.sigma else (field,)
