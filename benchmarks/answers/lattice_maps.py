"""Answers that are maps of a crystal: orientation, lattice vectors and phase in each pixel."""

import dataclasses
from typing import ClassVar

import numpy as np

from stemtwin.benchmarks.answers.arrays import ArrayAnswers
from stemtwin.benchmarks.answers.form import ANSWERS, Field
from stemtwin.twin.errors import SubmissionError

TOLERANCE = 1e-3
"""Largest allowed difference between 1 and the norm of a quaternion."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LatticeMap:
    """Crystal lattice in each pixel of one sample; a part that is not given is None.

    Parameters
    ----------
    orientation : ndarray, optional
        (..., 4) unit quaternion (w, x, y, z) that rotates the axes of the crystal into the axes of the frame.
    lattice : ndarray, optional
        (..., 2, 2) the two lattice vectors, each (x, y), in the task's unit.
    phase : ndarray, optional
        (...) index of the phase.
    """

    orientation: np.ndarray | None = None
    lattice: np.ndarray | None = None
    phase: np.ndarray | None = None


@ANSWERS.register("lattice-maps", "orientation, lattice vectors and phase of each pixel")
@dataclasses.dataclass(frozen=True, kw_only=True)
class LatticeMapAnswers(ArrayAnswers):
    """Form of answers that are maps of a crystal.

    Parameters
    ----------
    orientation, lattice, phase : str
        Request for each of the three maps: ``"required"``, ``"optional"`` or ``"none"``.
    phases : tuple of str
        Names of the phases; the map of phases holds indices into this tuple.
    dims : tuple of str or int
        Dimensions of a map: names of dimensions of the data, or lengths.
    unit : str
        Unit of the lattice vectors.
    """

    orientation: str = "required"
    lattice: str = "none"
    phase: str = "none"
    phases: tuple[str, ...] = ()
    dims: tuple[str | int, ...] = ("y", "x")
    unit: str = "A"
    kind: str = dataclasses.field(default="lattice-maps", init=False)
    answer: ClassVar[type] = LatticeMap

    @property
    def fields(self) -> tuple[Field, ...]:
        """Arrays that the task requests."""
        told = ", ".join(f"{i}: {name}" for i, name in enumerate(self.phases))
        every = (
            (self.orientation, Field(name="orientation", dtype="float", text="unit quaternion (w, x, y, z)", dims=(*self.dims, 4))),
            (self.lattice, Field(name="lattice", dtype="float", unit=self.unit, text="two lattice vectors (x, y)", dims=(*self.dims, 2, 2))),
            (self.phase, Field(name="phase", dtype="integer", text=told, low=0, high=max(len(self.phases) - 1, 0), dims=self.dims)),
        )
        return tuple(dataclasses.replace(field, optional=asked == "optional") for asked, field in every if asked != "none")

    def check_law(self, answer: LatticeMap, source: str) -> None:
        """Raise SubmissionError where a quaternion is not of length 1."""
        if answer.orientation is not None:
            norm = np.linalg.norm(answer.orientation.astype(np.float64), axis=-1)
            worst = float(np.abs(norm - 1).max(initial=0.0))
            if worst > TOLERANCE:
                message = (
                    f"{source}: the length of a quaternion of 'orientation' differs from 1 by {worst:.2g}; "
                    f"at most {TOLERANCE:g} is allowed. Normalise it."
                )
                raise SubmissionError(message)
