"""Protocol and registry of recorders.

A new signal needs one file beside this one and an import line in the package's ``__init__``. The file defines a detector
and a recorder. The detector is registered in ``DETECTOR_KINDS`` and ``DETECTORS`` with the signal as its first tag, and
the recorder is registered in `RECORDERS` under the signal. The recorder draws noise from ``setup.rng(name, frame)`` with
a unique name.
"""

import math
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.scope.knobs import Knobs
from stemtwin.twin.instrument.scope.last_pass import ExpectedSignal, Variables
from stemtwin.twin.instrument.scope.scan_pass import ScanPass
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.progress import Progress
from stemtwin.twin.registry import Registry

FRACTION = {"units": "1", "long_name": "fraction of the incident beam"}
"""Attributes of expected signals."""

Signal = TypeVar("Signal", bound=ExpectedSignal)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording(Generic[Signal]):
    """Recording of one pass by a recorder.

    Parameters
    ----------
    counts : dict of ndarray
        Readings by name. The recorder chooses the names. A reading has the same shape in every pass.
    signal : ExpectedSignal
        Expected signal.
    state : ScopeState
        State of the microscope, which includes the data that the recorder needs for the next pass.
    """

    counts: dict[str, np.ndarray]
    signal: Signal
    state: ScopeState


class Recorder(Protocol[Signal]):
    """Immutable recorder of one signal during one acquisition. :meth:`prepare` creates it and checks its settings."""

    @staticmethod
    def longest_dwell_us(profile: Profile) -> float:
        """Return the longest dwell time that the signal permits, us."""
        ...

    @classmethod
    def prepare(cls, setup: Setup, state: ScopeState, scan: Scan, detectors: tuple[Any, ...], frames: int) -> Self:
        """Return the recorder of detectors, given as names or values, for a number of passes over a scan.

        Raises
        ------
        StemtwinError
            The signal cannot be computed or recorded.
        """
        ...

    def renewed(self, setup: Setup, state: ScopeState) -> Self:
        """Return the recorder for a specimen that has changed."""
        ...

    def record(self, setup: Setup, state: ScopeState, shot: ScanPass, before: Signal | None, progress: Progress | None) -> Recording[Signal]:
        """Return the recording of one pass; ``before`` is the expected signal of the last pass, or None."""
        ...

    def variables(self, setup: Setup, knobs: Knobs, counts: dict[str, np.ndarray], signal: Signal) -> Variables:
        """Return the readings of all passes as variables and coordinates of a Dataset.

        The first dimension is ``frame`` if there are several passes.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """Return the settings that the user is allowed to know, as plain values for the attributes of a frame."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Return warnings about doubtful physics of the request."""
        ...


RECORDERS: Registry[type[Recorder[Any]]] = Registry("recorder")
"""Recorders by signal, which is the first tag of their detectors; frames list signals in this order."""


def framed(scan: Scan, values: np.ndarray, fill: float = 0) -> np.ndarray:
    """Return values in visiting order, shape (n, ...), as an array shaped like the scan, with ``fill`` at unvisited points."""
    out = np.full((math.prod(scan.shape), *values.shape[1:]), fill, values.dtype)
    out[scan.order()] = values
    return out.reshape(*scan.shape, *values.shape[1:])
