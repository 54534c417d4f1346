"""Answers that are the components of a spectrum image: their spectra and their abundances. A method may choose the number of components."""

import dataclasses
from typing import ClassVar

import numpy as np

from stemtwin.benchmarks.answers.arrays import ArrayAnswers
from stemtwin.benchmarks.answers.form import ANSWERS, Field

COMPONENT = "component"
"""Dimension of the components, whose number a method may choose."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Unmixing:
    """Components of one sample.

    Parameters
    ----------
    spectra : ndarray
        (k, energies) spectrum of each component.
    abundances : ndarray
        (k, ...) fraction of each component in each pixel.
    """

    spectra: np.ndarray
    abundances: np.ndarray


@ANSWERS.register("unmixing", "spectra of components with their abundances")
@dataclasses.dataclass(frozen=True, kw_only=True)
class UnmixingAnswers(ArrayAnswers):
    """Form of answers that are spectra with abundances; negative intensities and negative abundances are not allowed.

    Parameters
    ----------
    energy : str or int
        Dimension of a spectrum: the name of a dimension of the data, or a length.
    dims : tuple of str or int
        Dimensions of a map of abundances: names of dimensions of the data, or lengths.
    most : int
        Largest allowed number of components.
    unit : str
        Unit of the spectra.
    """

    energy: str | int = "energy"
    dims: tuple[str | int, ...] = ("y", "x")
    most: int = 16
    unit: str = ""
    kind: str = dataclasses.field(default="unmixing", init=False)
    answer: ClassVar[type] = Unmixing

    @property
    def fields(self) -> tuple[Field, ...]:
        """Arrays that the task requests."""
        return (
            Field(name="spectra", dtype="float", unit=self.unit, text="spectrum of each component", low=0.0, dims=(COMPONENT, self.energy)),
            Field(name="abundances", dtype="float", text="fraction of each component in each pixel", low=0.0, dims=(COMPONENT, *self.dims)),
        )

    def free(self) -> dict[str, int]:
        """Return the largest allowed number of components, by the name of their dimension."""
        return {COMPONENT: self.most}
