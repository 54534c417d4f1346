"""One operator for all camera lengths and convergences gives what operators of their own give."""

from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope import acquisition, common_operator, imaging_requests, knobs
from stemtwin.twin.instrument.scope.setup import CommonOperator, Setup
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.simulation import simulate
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.samples.library import load_sample

PROFILE = PROFILES["corrected-200kv"].still()
LENGTHS, ANGLES = (91.0, 115.0, 230.0), (6.0, 10.0)
NAMES = ("haadf", "laadf", "bf")
COMMON = CommonOperator(detectors=NAMES, camera_lengths_mm=LENGTHS, semiangles_mrad=ANGLES)
SETUP = Setup(profile=PROFILE, seed=1, phonons=1, specimen_seed=0, window_angstrom=16.0, common=COMMON)
SAMPLE = load_sample("mos2-1h", size_angstrom=(5.47, 9.48), seed=0)
SCAN = RasterScan(shape=(12, 16), field_of_view_angstrom=(6, 8))


def state(length: float, angle: float, **changes: object) -> ScopeState:
    """Return a microscope at a camera length and convergence."""
    turned = knobs.turn(knobs.initial(PROFILE), PROFILE, {"camera_length_mm": length, "semiangle_mrad": angle, **changes})
    return ScopeState(specimen=SAMPLE, knobs=turned)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("angle", ANGLES)
def test_a_part_is_the_operator_of_its_own(length: float, angle: float) -> None:
    """At each camera length and convergence the expected signals are those of an operator built for them, on the same grid, but for rounding."""
    at = state(length, angle, C10=-30.0)
    request = imaging_requests.request(SETUP, at, SCAN, NAMES)
    part = common_operator.part(SETUP, at, request, NAMES)
    assert part is not None
    found, _ = part.expected(request)
    grid, blocks = part.plan.grid.shape, part.plan.blocks
    own = replace(request, detectors=part.plan.detectors, grid=grid, blocks=blocks)
    expected, _, _ = simulate.expected(own, make_plan(own))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * other.max())


def test_channels_are_shared_where_angles_are_equal() -> None:
    """Detectors whose angles do not depend on the convergence stand in the operator once for each camera length."""
    rings = replace(COMMON, detectors=("haadf", "bf"))
    found = common_operator.whole(replace(SETUP, common=rings), SAMPLE, PROFILE.energy_ev)
    assert sum(ring.channels for ring in found.plan.detectors) == 2 * len(LENGTHS)
    following = common_operator.whole(SETUP, SAMPLE, PROFILE.energy_ev)
    assert sum(ring.channels for ring in following.plan.detectors) == 3 * len(LENGTHS) * len(ANGLES)


def test_what_it_does_not_serve_is_imaged_as_ever() -> None:
    """Other detectors, apertures, tilts, and setups without a common operator take operators of their own."""
    at = state(115.0, 10.0)
    request = imaging_requests.request(SETUP, at, SCAN, NAMES)
    assert common_operator.part(SETUP, at, request, NAMES) is not None
    assert common_operator.part(SETUP, at, request, ("haadf",)) is None
    assert common_operator.part(SETUP, state(115.0, 8.0), request, NAMES) is None
    assert common_operator.part(replace(SETUP, common=None), at, request, NAMES) is None
    tilted = replace(request, beam=replace(request.beam, beam_tilt_mrad=(1.0, 0.0)))
    assert common_operator.part(SETUP, at, tilted, NAMES) is None


def test_the_window_stays_whatever_the_knobs_do() -> None:
    """A probe that outgrows the window is imaged with the same operator; readings are finite counts."""
    orders = [acquisition.order(SETUP, state(115.0, 10.0, C10=value), SCAN, detectors=NAMES) for value in (0.0, -5000.0)]
    plans = [order.recorders[0].plan for order in orders]
    assert plans[0].blocks == plans[1].blocks
    frame, _ = acquisition.acquire(SETUP, state(115.0, 10.0, C10=-5000.0), orders[1])
    assert frame["bf"].to_numpy().min() >= 0
