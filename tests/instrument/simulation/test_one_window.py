"""blocks=(1, 1): the cell as one window, as in codes that do not divide the aperture."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import simulate, slice_stacks
from stemtwin.twin.instrument.simulation.diffraction_patterns import expected_patterns, plan_patterns
from stemtwin.twin.instrument.simulation.plan import make_plan
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample

BEAM = Beam(energy_ev=200e3, semiangle_mrad=20, aberrations=Aberrations(C10=-60, C12=20, phi12=0.4))
POINTS = PathScan(positions_angstrom=np.array([[0.2, 0.4], [3.3, 5.7], [1.9, 1.9]]))
NAMES = ("haadf", "abf", "bf", "dpc4")


@pytest.fixture
def small(make_perovskite: Callable[..., Sample]) -> Request:
    """Return a request for a cell of 7.8 A, smaller than the probe, as one window."""
    return Request(sample=make_perovskite(2, 2), beam=BEAM, scan=POINTS, detectors=NAMES, phonons=1, blocks=(1, 1))


def signals(request: Request, **changes: Any) -> np.ndarray:
    """Return all signals of a changed request."""
    asked = replace(request, **changes)
    return simulate.expected(asked, make_plan(asked))[0]


@pytest.mark.parametrize("antialias", [True, False])
def test_all_exact_engines_agree_on_one_window(small: Request, antialias: bool) -> None:
    """Operator, multislice and PRISM of every plane wave are the same but for rounding; the window that the probe needs gives something else."""
    exact = signals(small, engine="multislice", antialias=antialias)
    for engine in ("operator", "prism", "auto"):
        np.testing.assert_allclose(signals(small, engine=engine, antialias=antialias, interpolation=1), exact, rtol=1e-4, atol=1e-6)
    assert make_plan(small).blocks == (1, 1)
    assert make_plan(replace(small, blocks=None)).blocks == (2, 2)
    assert np.abs(signals(small, blocks=None, antialias=antialias) / exact - 1).max() > 0.02


def test_asking_for_the_window_that_the_probe_needs_changes_nothing(small: Request) -> None:
    """blocks=(2, 2) is what a probe of this width has by default, to the last bit."""
    np.testing.assert_array_equal(signals(small, blocks=(2, 2), engine="operator"), signals(small, blocks=None, engine="operator"))


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
def test_one_window_is_what_the_other_solver_computes(small: Request) -> None:
    """With pixel masks on one potential, abTEM's probes in the cell give the same signals to 1e-4, where probes in their own window do not."""
    masks = replace(small, antialias=False, oversampling=1, phonons="static")
    same = replace(masks, sample=slice_stacks.as_slices(masks, make_plan(masks)))
    theirs = signals(same, engine="abtem")
    for engine in ("multislice", "operator"):
        np.testing.assert_allclose(signals(same, engine=engine), theirs, rtol=1e-4, atol=1e-6)
    assert np.abs(signals(same, engine="multislice", blocks=None) / theirs - 1).max() > 0.02


def test_patterns_and_waves_are_those_of_one_window(small: Request) -> None:
    """A camera sees the reciprocal pixels of the cell, the same by both engines; an exit wave of a probe wider than the cell is given."""
    camera = PixelatedDetector(shape=(16, 16), outer_mrad=40.0)
    found = {engine: plan_patterns(replace(small, detectors=(camera,), engine=engine)) for engine in ("operator", "multislice")}
    assert all(len(patterns.layout.blocks) == 1 for patterns in found.values())
    one, other = (expected_patterns(patterns, POINTS.points()) for patterns in found.values())
    np.testing.assert_allclose(one, other, atol=1e-5 * other.max())
    wave = simulate.exit_wave(small.sample, BEAM, blocks=(1, 1), phonons=1)
    assert wave.sizes["y"] * wave.sizes["x"] > 0
    with pytest.raises(SamplingError, match="does not fit the cell"):
        simulate.exit_wave(small.sample, BEAM, phonons=1)
    with pytest.raises(SettingsError, match=r"blocks=\(2, 2\) requests more"):
        simulate.exit_wave(small.sample, BEAM, phonons=1, blocks=(2, 2))


def test_results_say_how_many_cells_a_probe_spans(small: Request) -> None:
    """The settings of a result have the blocks, asked for or not; the request's plain values have them where they were asked for."""
    assert '"blocks": [1, 1]' in simulate.simulate(small).attrs["stemtwin_settings"]
    assert small.to_dict()["blocks"] == [1, 1]
    assert Request.from_dict(small.to_dict()).blocks == (1, 1)
    assert "blocks" not in replace(small, blocks=None).to_dict()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocks": 2}, "blocks=2 is not a pair"),
        ({"blocks": (0, 1)}, r"blocks\[0\]=0"),
        ({"blocks": (2**10, 2**10)}, "at most 32768 can be computed"),
        ({"engine": "local"}, "engine='local' chooses its own windows"),
        ({"engine": "tiled"}, "engine='tiled' chooses its own windows"),
        ({"engine": "prism", "blocks": (2, 2)}, r"blocks=\(2, 2\) requests more"),
    ],
)
def test_blocks_that_make_no_sense_are_refused(small: Request, changes: dict[str, Any], said: str) -> None:
    """Wrong numbers, and engines that divide a cell in another way, each have their own sentence."""
    with pytest.raises(SettingsError, match=said):
        make_plan(replace(small, **changes))


def test_a_specimen_that_does_not_repeat_is_one_window(small: Request, make_perovskite: Callable[..., Sample]) -> None:
    """Where the cell does not repeat, a probe wider than it is refused by default, computed as one window, and never over several cells."""
    alone = replace(small, sample=make_perovskite(2, 2, periodic=False), scan=PathScan(positions_angstrom=np.array([[3.0, 4.0]])))
    assert make_plan(alone).blocks == (1, 1)
    with pytest.raises(SamplingError, match="is not periodic"):
        make_plan(replace(alone, blocks=None))
    with pytest.raises(SettingsError, match=r"blocks=\(2, 1\) repeats the cell"):
        make_plan(replace(alone, blocks=(2, 1)))
    with pytest.raises(SettingsError, match="Scan inside the cell"):
        make_plan(replace(alone, scan=PathScan(positions_angstrom=np.array([[30.0, 4.0]]))))
