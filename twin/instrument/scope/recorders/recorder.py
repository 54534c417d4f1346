"""The protocol of recorders, and their registry.

A new signal is one file beside this one and an import line in the package's ``__init__``. The file has its detector,
registered in ``DETECTOR_KINDS`` and ``DETECTORS`` with the signal as the first tag, and its recorder, registered in
`RECORDERS` under that signal. Its noise comes from ``setup.rng(name, frame)`` with a name of its own.
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
    """One pass as a recorder has it.

    Parameters
    ----------
    counts : dict of ndarray
        Readings by any names, each of the same shape in every pass.
    signal : ExpectedSignal
        The expected signal.
    state : ScopeState
        The microscope's state with what the recorder keeps in it for the next image.
    """

    counts: dict[str, np.ndarray]
    signal: Signal
    state: ScopeState


class Recorder(Protocol[Signal]):
    """One signal of one acquisition: a frozen value that was checked before any work."""

    @staticmethod
    def longest_dwell_us(profile: Profile) -> float:
        """Return the longest time at a point that the signal can be recorded with, us."""
        ...

    @classmethod
    def prepare(cls, setup: Setup, state: ScopeState, scan: Scan, detectors: tuple[Any, ...], frames: int) -> Self:
        """Return the recorder of detectors, names and values, for so many passes over a scan.

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
        """Return one pass; ``before`` is the expected signal of the pass before, if there was one."""
        ...

    def variables(self, setup: Setup, knobs: Knobs, counts: dict[str, np.ndarray], signal: Signal) -> Variables:
        """Return the readings of all passes for a Dataset, with a dimension frame first where there are several."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain values, for the attributes of a frame: what the operator may know."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Return sentences on doubtful physics in what was asked for."""
        ...


RECORDERS: Registry[type[Recorder[Any]]] = Registry("recorder")
"""Recorders by signal, which is the first tag of their detectors; signals stand in a frame in this order."""


def framed(scan: Scan, values: np.ndarray, fill: float = 0) -> np.ndarray:
    """Return values in visiting order, (n, ...), shaped like the scan, with ``fill`` where the beam was not."""
    out = np.full((math.prod(scan.shape), *values.shape[1:]), fill, values.dtype)
    out[scan.order()] = values
    return out.reshape(*scan.shape, *values.shape[1:])
