"""The other solver on the same request (make check-all)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import simulate, slice_stacks
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore")]  # abTEM and dask warn of their own future

BEAM = Beam(
    energy_ev=200e3,
    semiangle_mrad=20,
    aberrations=Aberrations(C10=-40, C12=20, phi12=0.4, C21=500, phi21=-1, C23=700, phi23=0.2, C30=2e4, C34=1e4, phi34=0.5, C50=1e6),
)
POINTS = PathScan(positions_angstrom=np.array([[0.2, 0.4], [3.3, 5.7], [-2.1, 30.3]]))
NAMES = ("haadf", "maadf", "abf", "bf", "dpc4")


def request_for(sample: Sample, **changes: object) -> Request:
    """Return a request that both solvers can take."""
    return replace(Request(sample=sample, beam=BEAM, scan=POINTS, detectors=NAMES, antialias=False, oversampling=1, phonons="static"), **changes)


def signals(request: Request) -> np.ndarray:
    """Return all signals."""
    return simulate.expected(request, make_plan(request))[0]


def test_both_solvers_agree_on_the_same_potential(make_perovskite: Callable[..., Sample]) -> None:
    """Two multislice codes on one potential, with every kind of aberration and a probe that is not centred, agree to 1e-4 on every detector."""
    request = request_for(make_perovskite(4, 3))
    slices = slice_stacks.as_slices(request, make_plan(request))
    same = replace(request, sample=slices)
    ours, theirs = (signals(replace(same, engine=engine)) for engine in ("multislice", "abtem"))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("tilt", "beam_tilt"), [((5.0, -12.0), (0.0, 0.0)), ((0.0, 0.0), (9.0, 4.0)), ((5.0, -12.0), (9.0, 4.0))])
def test_both_solvers_agree_on_tilts(make_perovskite: Callable[..., Sample], tilt: tuple[float, float], beam_tilt: tuple[float, float]) -> None:
    """A tilted specimen and a tilted beam, alone and together, mean the same to both solvers: 1e-4 on every detector."""
    request = request_for(make_perovskite(4, 3))
    slices = slice_stacks.as_slices(request, make_plan(request))
    lifted = replace(slices, z_angstrom=slices.z_angstrom + 3)  # the way to the first plane counts too
    same = replace(request, sample=lifted, beam=replace(BEAM, beam_tilt_mrad=beam_tilt), tilt_mrad=tilt, detectors=NAMES[1:])
    ours, theirs = (signals(replace(same, engine=engine)) for engine in ("multislice", "abtem"))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)
    straight = signals(replace(same, beam=BEAM, tilt_mrad=(0, 0), engine="multislice"))
    assert np.abs(ours / straight - 1).max() > 0.1


def test_both_solvers_agree_on_a_sample(make_perovskite: Callable[..., Sample]) -> None:
    """With abTEM's own potential signals agree to 2 % for atoms on grid points, to 15 % for displaced ones (it places them bilinearly)."""
    for phonons, tolerance in (("static", 0.02), (2, 0.15)):
        request = request_for(make_perovskite(4, 2), phonons=phonons)
        ours, theirs = (signals(replace(request, engine=engine)) for engine in ("multislice", "abtem"))
        np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=2e-4)


def test_partial_coherence_is_averaged_for_the_other_solver_too(make_perovskite: Callable[..., Sample]) -> None:
    """Focal spread reaches abTEM's signals by the same nodes."""
    request = request_for(make_perovskite(4), beam=replace(BEAM, focal_spread_angstrom=30), scan=PathScan(positions_angstrom=np.array([[0.2, 0.4]])))
    ours, theirs = (signals(replace(request, engine=engine)) for engine in ("multislice", "abtem"))
    np.testing.assert_allclose(theirs, ours, rtol=0.02, atol=2e-4)


def test_what_abtem_cannot_do_alike_is_refused(make_perovskite: Callable[..., Sample]) -> None:
    """A probe wider than the cell and Debye-Waller damping have no counterpart, and the plan says so."""
    with pytest.raises(SamplingError, match=r"The probe needs a window of \d+\.\d A, but engine='abtem' needs the whole probe inside the cell"):
        signals(request_for(make_perovskite(1), engine="abtem"))
    with pytest.raises(SettingsError, match="does not support phonons='damped'"):
        signals(request_for(make_perovskite(4), engine="abtem", phonons="damped"))
