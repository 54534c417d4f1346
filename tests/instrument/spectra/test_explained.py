"""Plans of spectra, before any work."""

from collections.abc import Callable

import numpy as np
import pytest

from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector, expected_edx, expected_eels, explain_edx, explain_eels
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=200e3, semiangle_mrad=20)
SCAN = PathScan(positions_angstrom=np.array([[0.0, 0.0]]))


@pytest.mark.parametrize("lost", [True, False])
def test_the_plan_counts_the_waves_that_are_reported(make_perovskite: Callable[..., Sample], lost: bool) -> None:
    """Engine, exactness and the number of waves are known before the work; energy losses also need what is collected."""
    sample = make_perovskite(1, 1, sigma=None)
    steps = list[int]()
    if lost:
        detector = EELSDetector(energy_range_ev=(-10.0, 100.0), dispersion_ev=0.5, collection_mrad=30.0)
        plan = explain_eels(sample, BEAM, SCAN, detector)
        found = expected_eels(sample, BEAM, SCAN, detector, progress=steps.append)
    else:
        plan, found = explain_edx(sample, BEAM, SCAN, EDXDetector()), expected_edx(sample, BEAM, SCAN, EDXDetector(), progress=steps.append)
    assert sum(steps) == plan.waves > 0
    assert found.attrs["engine"] == plan.engine
    assert found.attrs["engine_error"] == plan.exactness
    assert plan.seconds is not None
    assert 0 < plan.seconds < 60
