"""What a cell or window does not hold of a probe: waves of the aperture's rim, in every engine."""

from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector
from stemtwin.twin.instrument.scan import PathScan, RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation import operator_cache, simulate
from stemtwin.twin.instrument.simulation.diffraction_patterns import expected_patterns, plan_patterns
from stemtwin.twin.instrument.simulation.engines import operator
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import load_sample

BEAM = Beam(energy_ev=80e3, semiangle_mrad=25)
DISC = AnnularDetector(inner_mrad=0, outer_mrad=32, name="disc")


def vacuum(side: float, points: int = 128) -> PotentialSlices:
    """Return a cell in which nothing is."""
    return PotentialSlices(array=np.zeros((1, points, points), np.float32), sampling_angstrom=(side / points,) * 2, z_angstrom=(0.5,))


@pytest.mark.parametrize(("engine", "side"), [("operator", 16.0), ("operator", 8.0), ("multislice", 24.0), ("multislice", 8.0), ("prism", 40.0)])
def test_in_vacuum_nothing_scatters(engine: str, side: float) -> None:
    """A disc wider than the aperture collects all of the beam, bf a quarter, a ring outside nothing: in any cell, one block or many."""
    outside = AnnularDetector(inner_mrad=30, outer_mrad=40, name="outside")
    scan = PathScan(positions_angstrom=np.array([[1.0, 2.0], [7.3, 0.2]]))
    at = Request(sample=vacuum(side), beam=replace(BEAM, aberrations=Aberrations(C10=20)), scan=scan, detectors=("bf", DISC, outside), engine=engine)
    found = simulate.simulate(at)
    np.testing.assert_allclose(found["bf"], 0.25, rtol=1e-4)
    np.testing.assert_allclose(found["disc"], 1, rtol=1e-4)
    np.testing.assert_allclose(found["outside"], 0, atol=1e-4)


@pytest.mark.parametrize("engine", ["operator", "multislice"])
def test_in_vacuum_patterns_are_the_aperture(engine: str) -> None:
    """The patterns of a camera hold all of the beam, and inside the aperture the same everywhere: 1 / (pi alpha^2) per solid angle."""
    camera = PixelatedDetector(shape=(16, 16), outer_mrad=32.0)
    request = Request(sample=vacuum(24), beam=BEAM, scan=PathScan(positions_angstrom=np.zeros((1, 2))), detectors=(camera,), engine=engine)
    found = plan_patterns(request)
    (pattern,) = expected_patterns(found, np.array([[3.0, 4.0]]))
    assert pattern.sum() == pytest.approx(1, rel=1e-4)
    np.testing.assert_allclose(pattern[6:10, 6:10], 16 / (np.pi * 25**2), rtol=1e-3)


def test_small_windows_give_what_large_ones_give() -> None:
    """Means over a crystal's cell by a window of 16 A are those by 39 A, to 0.2 %; a mean over the aperture leaves 2 % in bf and 1 % in abf."""
    sample = load_sample("srtio3-001", size_angstrom=(3.9, 3.9), thickness_angstrom=20)
    ring = AnnularDetector(inner_mrad=50, outer_mrad=100, name="ring")
    scan = RasterScan(shape=(8, 8), field_of_view_angstrom=sample.size_angstrom)
    request = Request(sample=sample, beam=Beam(energy_ev=200e3, semiangle_mrad=20), scan=scan, detectors=("bf", "abf", ring), phonons="damped")
    small, large = (
        operator.image_signals(operator_cache.operator_for(request, make_plan(replace(request, blocks=blocks))), request).mean(axis=(1, 2))
        for blocks in ((4, 4), (10, 10))
    )
    np.testing.assert_allclose(small, large, rtol=2e-3)
