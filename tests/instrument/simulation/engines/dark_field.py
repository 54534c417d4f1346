"""A dark-field detector on random points of a sheet, and the error that a result states: shared by the tests of approximate engines."""

import re

import numpy as np
import xarray as xr

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.physics.aberrations import Aberrations

BEAM = Beam(energy_ev=80e3, semiangle_mrad=25, aberrations=Aberrations(C10=30), source_size_angstrom=0.2)
DARK = AnnularDetector(inner_mrad=60, outer_mrad=120, name="haadf")


def points(count: int) -> PathScan:
    """Return random points of a field of 30 A."""
    return PathScan(positions_angstrom=np.random.default_rng(5).uniform(0, 28, (count, 2)))


def stated(data: xr.Dataset) -> tuple[float, float]:
    """Return the rms and the largest error that a result states."""
    found = re.search(r"rms ([0-9.e+-]+), largest ([0-9.e+-]+) of the mean", data.attrs["engine_error"])
    assert found is not None
    return float(found[1]), float(found[2])
