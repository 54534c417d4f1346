"""The approximate engines for dark field: as near to multislice as their results state, and refused where that says nothing."""

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample
from tests.instrument.simulation.engines.dark_field import BEAM, DARK, points, stated


@pytest.fixture(scope="module")
def sheet() -> Sample:
    """Return a field of MoS2 larger than one probe."""
    return load_sample("mos2-1h", size_angstrom=(30, 30))


@pytest.mark.parametrize(("engine", "most"), [("local", 0.01), ("prism", 0.03)])
@pytest.mark.slow
def test_error_against_multislice_is_what_the_result_states(sheet: Sample, engine: str, most: float) -> None:
    """At points that the engine did not choose, the rms error is below what was asked for, and of the size that the result states."""
    settings = {"detectors": (DARK,), "phonons": "static"}
    exact = simulate.simulate(sheet, BEAM, points(24), engine="multislice", **settings)["haadf"].to_numpy()
    data = simulate.simulate(sheet, BEAM, points(24), engine=engine, **settings)
    rms, largest = stated(data)
    error = data["haadf"].to_numpy() - exact
    assert np.sqrt((error**2).mean()) / exact.mean() < most
    assert np.sqrt((error**2).mean()) / exact.mean() < 3 * rms
    assert rms <= largest
    assert data.attrs["engine"] == engine


@pytest.mark.parametrize("engine", ["local", "prism"])
def test_a_probe_wider_than_the_cell_is_refused(sheet: Sample, engine: str) -> None:
    """The engine would let the probe wrap around the cell, where multislice on that cell wraps too and the stated error says nothing: refused."""
    wide = Beam(energy_ev=80e3, semiangle_mrad=25, aberrations=Aberrations(C10=900))
    with pytest.raises(SamplingError, match="whole probe inside the cell"):
        simulate.simulate(sheet, wide, points(3), detectors=(DARK,), phonons="static", engine=engine)
