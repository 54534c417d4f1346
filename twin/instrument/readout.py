"""What detectors make of the beam: electrons, and where there is a detector chain, numbers of an ADC."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stemtwin.twin.instrument.detectors import Detector
from stemtwin.twin.instrument.exposure import Exposure
from stemtwin.twin.instrument.setup import Setup
from stemtwin.twin.instrument.state import ScopeState
from stemtwin.twin.physics import noise


def read(setup: Setup, state: ScopeState, signals: np.ndarray, shot: Exposure) -> np.ndarray:
    """Return what all channels read in one pass, in visiting order.

    Parameters
    ----------
    setup, state : Setup, ScopeState
        The microscope; its frame number is the key of the noise.
    signals : ndarray
        Expected fractions of the incident beam, shape (channels, n).
    shot : Exposure
        The pass.

    Returns
    -------
    ndarray
        uint32 electrons, shape (channels, n).
    """
    return noise.count_electrons(signals, shot.incident, setup.rng("noise", state.frames))


def describe(detectors: Sequence[Detector]) -> dict[str, dict[str, Any]]:
    """Return the attributes of each detector's readings by its name."""
    return {d.name: {"units": "electrons", "long_name": "detected electrons"} for d in detectors}
