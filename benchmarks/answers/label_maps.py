"""Answers that are label maps: a class for each pixel."""

import dataclasses
from typing import ClassVar

import numpy as np

from stemtwin.benchmarks.answers.arrays import ArrayAnswers
from stemtwin.benchmarks.answers.form import ANSWERS, Field
from stemtwin.twin.errors import SubmissionError

TOLERANCE = 1e-3
"""Largest allowed difference between 1 and the sum of the probabilities in a pixel."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabelMap:
    """Class of each pixel of one sample.

    Parameters
    ----------
    labels : ndarray
        Index of the class of each pixel.
    probabilities : ndarray, optional
        (k, ...) probability of each class in each pixel; None if not given.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None = None


@ANSWERS.register("label-maps", "a class for each pixel, with optional probabilities")
@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelMapAnswers(ArrayAnswers):
    """Form of answers that are label maps.

    Parameters
    ----------
    classes : tuple of str
        Names of the classes; a label is an index into this tuple.
    dims : tuple of str or int
        Dimensions of the map: names of dimensions of the data, or lengths.
    probabilities : bool
        True if answers are allowed to give probabilities; given probabilities are scored.
    """

    classes: tuple[str, ...]
    dims: tuple[str | int, ...] = ("y", "x")
    probabilities: bool = False
    kind: str = dataclasses.field(default="label-maps", init=False)
    answer: ClassVar[type] = LabelMap

    @property
    def fields(self) -> tuple[Field, ...]:
        """Arrays that the task requests."""
        told, k = ", ".join(f"{i}: {name}" for i, name in enumerate(self.classes)), len(self.classes)
        labels = Field(name="labels", dtype="integer", text=told, low=0, high=k - 1, dims=self.dims)
        text = "probability of each class in each pixel"
        more = Field(name="probabilities", dtype="float", text=text, low=0.0, high=1.0, dims=(k, *self.dims), optional=True)
        return (labels, more) if self.probabilities else (labels,)

    def check_law(self, answer: LabelMap, source: str) -> None:
        """Raise SubmissionError where the probabilities of a pixel do not sum to 1."""
        if answer.probabilities is not None:
            worst = float(np.abs(answer.probabilities.sum(axis=0, dtype=np.float64) - 1).max(initial=0.0))
            if worst > TOLERANCE:
                message = (
                    f"{source}: the sum of the 'probabilities' of a pixel differs from 1 by {worst:.2g}; "
                    f"at most {TOLERANCE:g} is allowed. Normalise them."
                )
                raise SubmissionError(message)
