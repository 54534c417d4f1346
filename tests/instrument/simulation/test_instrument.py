"""simulate(instrument=...): a detector's name means the instrument's own detector."""

from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.samples.sample import Sample

NAME = "corrected-200kv"


def test_names_mean_the_detectors_of_the_instrument(thermal: Sample, beam: Beam, raster: RasterScan) -> None:
    """Haadf and bf of an instrument are its profile's, given as objects, to the last bit, and not those that follow the convergence."""
    own = PROFILES[NAME].detector("haadf"), PROFILES[NAME].detector("bf")
    assert None not in own
    settings = {"phonons": 1}
    named = simulate.simulate(thermal, beam, raster, instrument=NAME, detectors=("haadf", "bf"), **settings)
    given = simulate.simulate(thermal, beam, raster, detectors=own, **settings)
    usual = simulate.simulate(thermal, beam, raster, detectors=("haadf", "bf"), **settings)
    for name in ("haadf", "bf"):
        np.testing.assert_array_equal(named[name], given[name])
        assert named[name].attrs == given[name].attrs
        assert abs(float(named[name].mean() / usual[name].mean()) - 1) > 0.05
    assert named.attrs == given.attrs


def test_other_detectors_stay_what_they_are(thermal: Sample, beam: Beam, raster: RasterScan) -> None:
    """A name that the instrument does not have follows the convergence; a detector that is given keeps its angles; the default is the own haadf."""
    ring = replace(PROFILES[NAME].detector("bf"), name="ring")
    plan = simulate.explain(sample=thermal, beam=beam, scan=raster, instrument=PROFILES[NAME], detectors=("maadf", ring), phonons=1)
    assert [(d.inner_mrad, d.outer_mrad) for d in plan.detectors] == [(40, 60), (ring.inner_mrad, ring.outer_mrad)]
    (haadf,) = simulate.explain(sample=thermal, beam=beam, scan=raster, instrument=NAME, phonons=1).detectors
    assert haadf == PROFILES[NAME].detector("haadf")


def test_an_instrument_that_does_not_exist_is_refused(thermal: Sample, beam: Beam, raster: RasterScan) -> None:
    """An unknown name, another kind of thing, and an instrument beside a whole request each have their own sentence."""
    with pytest.raises(UnknownNameError, match="corrected-200kv"):
        simulate.simulate(thermal, beam, raster, instrument="corrected-200kV")
    with pytest.raises(SettingsError, match="is not an instrument profile"):
        simulate.simulate(thermal, beam, raster, instrument=200)  # type: ignore[arg-type]
    for call in (simulate.simulate, simulate.explain):
        with pytest.raises(SettingsError, match="Both a request and instrument are given"):
            call(Request(sample=thermal, beam=beam, scan=raster), instrument=NAME)
