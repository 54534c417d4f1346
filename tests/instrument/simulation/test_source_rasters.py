"""Coarse rasters under a source of finite size: what a Gaussian does to waves, and to whole images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan, SerpentineScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import simulate, source_rasters
from stemtwin.twin.instrument.simulation.engines import thermal
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.coherence import source_factor
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=200e3, semiangle_mrad=25, source_size_angstrom=0.3, focal_spread_angstrom=15)
SCAN = RasterScan(shape=(24, 20), field_of_view_angstrom=(2.7, 2.4), origin_angstrom=(1.0, 0.5))


@pytest.fixture(scope="module")
def layer() -> Sample:
    """A small cell of MoS2."""
    return load_sample("mos2-1h", size_angstrom=(5, 9))


def asked(sample: Sample, **changes) -> Request:
    """Return a request for a ring by the engine ``thermal``."""
    ring = AnnularDetector(inner_mrad=60, outer_mrad=120, name="ring")
    given = {"sample": sample, "beam": BEAM, "scan": SCAN, "detectors": (ring,), "engine": "thermal", "measure_error": False}
    return Request(**{**given, **changes})


@given(share=st.tuples(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7)), sigma=st.floats(0.1, 0.8))
def test_waves_of_an_image_are_damped_as_by_a_gaussian(layer, share, sigma):
    """Each wave that an image may hold comes out with the Gaussian's factor, from the coarse points alone."""
    request = asked(layer, beam=replace(BEAM, source_size_angstrom=sigma))
    raster = source_rasters.source_raster(request)
    assert raster is not None
    qy, qx = (2 * BEAM.semiangle_rad / BEAM.wavelength_angstrom * s for s in share)
    y, x = SCAN.axes()
    sharp = np.exp(2j * np.pi * (raster.points() @ np.array([qx, qy])))
    exact = np.exp(2j * np.pi * (qy * y[:, None] + qx * x)) * source_factor(sigma, np.array(qy), np.array(qx))
    np.testing.assert_allclose(raster.blurred(sharp), exact, atol=4 * source_rasters.MISTAKEN)


def test_image_is_that_of_coherent_modes_at_each_point(layer, monkeypatch):
    """A raster under a source of finite size has the signals of its points, each by all modes of the beam, from fewer waves; so has a serpentine."""
    monkeypatch.setattr(thermal, "COHERENCE_TOLERANCE", 1e-3)
    request = asked(layer)
    raster = simulate.simulate(request)["ring"].to_numpy()
    some = np.arange(0, SCAN.count, 47)
    path = PathScan(positions_angstrom=SCAN.points()[some])
    single = simulate.simulate(replace(request, scan=path))["ring"].to_numpy()
    np.testing.assert_allclose(raster.ravel()[some], single, atol=3e-3 * single.mean())
    assert simulate.explain(request).waves < SCAN.count * simulate.explain(replace(request, scan=path)).waves / some.size
    turned = SerpentineScan(shape=SCAN.shape, field_of_view_angstrom=SCAN.field_of_view_angstrom, origin_angstrom=SCAN.origin_angstrom)
    np.testing.assert_array_equal(simulate.simulate(replace(request, scan=turned))["ring"], raster)


def test_no_coarse_raster_of_what_is_none(layer):
    """A sharp source, a rotated raster and a path have none."""
    for changes in (
        {"beam": replace(BEAM, source_size_angstrom=0.0)},
        {"scan": replace(SCAN, rotation_rad=0.2)},
        {"scan": PathScan(positions_angstrom=SCAN.points())},
    ):
        assert source_rasters.source_raster(asked(layer, **changes)) is None
