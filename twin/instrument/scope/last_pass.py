"""Last pass of a microscope over a scan, and the signals that are expected without noise and electronics."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr

from stemtwin.twin.instrument.scan import Scan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import results, serialisation

Variables = tuple[dict[str, Any], dict[str, Any]]
"""Variables and coordinates of a Dataset."""


class ExpectedSignal(Protocol):
    """Expected signal of one recorder in one pass.

    It is a frozen value. It stores the computed values of the pass or, if these are larger than the frame, all inputs
    from which bit-identical values are computed again.
    """

    def variables(self) -> Variables:
        """Return the expected fractions of the beam, shaped like the frame, with NaN at unvisited points."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LastPass:
    """True course of the last pass over a scan.

    Parameters
    ----------
    scan : Scan
        Commanded scan.
    points : ndarray
        True positions on the specimen (x, y) in visiting order, A, shape (n, 2).
    incident : ndarray
        Mean number of electrons at each point, shape (n,).
    beam : Beam
        True beam.
    signals : tuple
        Expected signal of each recorder.
    """

    scan: Scan
    points: np.ndarray
    incident: np.ndarray
    beam: Beam
    signals: tuple[ExpectedSignal, ...]

    def expected(self) -> xr.Dataset:
        """Return the expected signals of the pass as fractions of the beam at each point.

        Variables and coordinates are those of the frame. Three coordinates are added for each point: ``specimen_x`` and
        ``specimen_y``, the true position on the specimen in A, and ``incident_electrons``, the mean number of electrons.
        At points that were not visited, the signals and these three coordinates are NaN. The attribute ``stemtwin_settings`` contains the true beam.
        """
        coordinates = results.coordinates(self.scan)
        for name, values in (("specimen_x", self.points[:, 0]), ("specimen_y", self.points[:, 1])):
            coordinates[name] = (self.scan.dims, self.scan.frame(values), results.LENGTH)
        coordinates["incident_electrons"] = (self.scan.dims, self.scan.frame(self.incident), {"units": "electrons"})
        variables: dict[str, Any] = {}
        for signal in self.signals:
            found, axes = signal.variables()
            variables |= found
            coordinates |= axes
        settings = {"beam": serialisation.beam_to_dict(self.beam)}
        return xr.Dataset(
            variables,
            coordinates,
            {"title": "expected signals of the last pass", "stemtwin_settings": json.dumps(settings)},
        )
