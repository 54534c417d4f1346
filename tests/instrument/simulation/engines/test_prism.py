"""PRISM: as near to multislice as the result states."""

import re

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import load_sample

BEAM = Beam(energy_ev=80e3, semiangle_mrad=25, aberrations=Aberrations(C10=30), source_size_angstrom=0.2)
DARK = AnnularDetector(inner_mrad=60, outer_mrad=120, name="haadf")


@pytest.fixture(scope="module")
def sheet():
    """A field of MoS2 larger than one probe."""
    return load_sample("mos2-1h", size_angstrom=(30, 30))


def points(count: int) -> PathScan:
    """Random points of the field."""
    return PathScan(positions_angstrom=np.random.default_rng(5).uniform(0, 28, (count, 2)))


def stated(data) -> tuple[float, float]:
    """The rms and the largest error that a result states."""
    found = re.search(r"rms ([0-9.e+-]+), largest ([0-9.e+-]+) of the mean", data.attrs["engine_error"])
    assert found is not None
    return float(found[1]), float(found[2])


def test_error_against_multislice_is_what_the_result_states(sheet):
    """At points that the engine did not choose, the rms error is below what was asked for, and of the size that the result states."""
    settings = {"detectors": (DARK,), "phonons": "static"}
    exact = simulate.simulate(sheet, BEAM, points(24), engine="multislice", **settings)["haadf"].to_numpy()
    data = simulate.simulate(sheet, BEAM, points(24), engine="prism", **settings)
    rms, largest = stated(data)
    error = data["haadf"].to_numpy() - exact
    assert np.sqrt((error**2).mean()) / exact.mean() < 0.03
    assert np.sqrt((error**2).mean()) / exact.mean() < 3 * rms
    assert rms <= largest
    assert data.attrs["engine"] == "prism"


def test_prism_with_f_1_is_exact(sheet):
    """With f = 1 every plane wave is taken: multislice to 1e-4."""
    small = load_sample("mos2-1h")
    settings = {"detectors": (DARK, "bf"), "phonons": 2}
    exact = simulate.simulate(small, BEAM, points(5), engine="multislice", **settings)
    data = simulate.simulate(small, BEAM, points(5), engine="prism", interpolation=1, **settings)
    for name in ("haadf", "bf"):
        np.testing.assert_allclose(data[name], exact[name], rtol=1e-4)
    assert stated(data)[1] < 1e-4


def test_a_probe_wider_than_the_cell_is_refused(sheet):
    """The engine would let the probe wrap around the cell, where multislice on that cell wraps too and the stated error says nothing: refused."""
    wide = Beam(energy_ev=80e3, semiangle_mrad=25, aberrations=Aberrations(C10=900))
    with pytest.raises(SamplingError, match="whole probe inside the cell"):
        simulate.simulate(sheet, wide, points(3), detectors=(DARK,), phonons="static", engine="prism")
