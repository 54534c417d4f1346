"""A request on its grid: what the detectors and the probe need, and what the sample brings."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam, PotentialSlices
from stemtwin.twin.instrument.simulation.discretisation import discretise
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.sample import Sample


@pytest.fixture
def request_(static: Sample, beam: Beam, raster: RasterScan) -> Request:
    """Return a request with nothing but what is needed."""
    return Request(sample=static, beam=beam, scan=raster)


def test_the_grid_holds_what_the_detectors_need(request_: Request) -> None:
    """Without grid or sampling, the band limit reaches the largest detector angle, and beyond where that is small: sides of factors 2, 3 and 5."""
    for names, angle in (
        (("haadf",), 0.2),
        (("bf",), 0.12),
        ((AnnularDetector(inner_mrad=20, outer_mrad=140),), 0.175),
    ):
        found = discretise(replace(request_, detectors=names))
        assert angle <= found.grid.max_angle(request_.beam.wavelength_angstrom) < 1.15 * angle
        assert found.grid.extent == request_.sample.size_angstrom


def test_grid_and_sampling_are_kept_or_refined_and_said(request_: Request) -> None:
    """A grid with other prime factors is rounded up and the plan says so; a sampling is a largest distance."""
    found = discretise(replace(request_, grid=(97, 100)))
    assert found.grid.shape == (100, 100)
    assert any("97 x 100 rounded up to 100 x 100" in note for note in found.notes)
    fine = discretise(replace(request_, sampling_angstrom=(0.04, 0.03)))
    assert 0.035 < fine.grid.sampling[0] <= 0.04
    assert 0.027 < fine.grid.sampling[1] <= 0.03


def test_a_detector_beyond_the_grid_is_refused_with_the_repair_that_works(request_: Request) -> None:
    """The sampling that the message asks for holds the detector."""
    wide = replace(request_, detectors=(AnnularDetector(inner_mrad=60, outer_mrad=200, name="wide"),))
    with pytest.raises(SamplingError, match=r"outer_mrad=200 of wide .* keV, 0\.1\d* A, 2/3 band limit\)\. Use sampling_angstrom <= ") as caught:
        discretise(replace(wide, sampling_angstrom=0.12))
    asked = float(str(caught.value).split("<= ")[1].split(" ")[0])
    assert discretise(replace(wide, sampling_angstrom=asked)).grid.max_angle(wide.beam.wavelength_angstrom) >= 0.2


def test_an_aperture_beyond_the_grid_is_refused(request_: Request) -> None:
    """A grid too coarse for the convergence is an error, not a cut aperture; what the message asks for suffices."""
    open_ = replace(
        request_,
        beam=replace(request_.beam, semiangle_mrad=40),
        detectors=(AnnularDetector(inner_mrad=0, outer_mrad=5),),
    )
    with pytest.raises(SamplingError, match=r"convergence of 40 mrad reaches beyond the grid's band limit \(\d+\.\d mrad\)") as caught:
        discretise(replace(open_, sampling_angstrom=0.25))
    asked = float(re.search(r"at most ([\d.]+) A apart", str(caught.value))[1])
    assert 0.1 < asked < 0.25
    discretise(replace(open_, sampling_angstrom=asked))


def test_slices(request_: Request, make_perovskite: Callable[..., Sample]) -> None:
    """By default slices are atomic planes; a thickness that lays edges on atoms moves them and says so; one thicker than the sample is refused."""
    sample = make_perovskite(1, 3, sigma=None)
    found = discretise(replace(request_, sample=sample))
    np.testing.assert_allclose(found.slices.planes, 3.905 / 2 * np.arange(6), atol=1e-9)
    assert found.thickness == pytest.approx(3 * 3.905)
    assert found.notes == ()
    moved = discretise(replace(request_, sample=sample, slice_thickness_angstrom=3.905))
    assert any("edges moved" in note for note in moved.notes)
    with pytest.raises(SettingsError, match=r"slice_thickness_angstrom=12 exceeds the sample's thickness \(11\.715 A\)"):
        discretise(replace(request_, sample=sample, slice_thickness_angstrom=12))


def test_a_probe_wider_than_the_cell_gets_more_blocks(request_: Request) -> None:
    """The window grows with defocus, thickness and aberrations, never below 14 A; a demanded window counts too."""
    assert discretise(request_).blocks == (4, 4)
    far = replace(request_, beam=replace(request_.beam, aberrations=Aberrations(C10=-500)))
    assert discretise(far).blocks == (8, 8)
    assert discretise(request_, window_angstrom=30).blocks == (8, 8)
    assert discretise(replace(far, blocks=(1, 1))).blocks == (1, 1)


def test_specimens_that_do_not_repeat_hold_the_probe_and_the_scan(request_: Request, make_perovskite: Callable[..., Sample]) -> None:
    """A cell too small for the probe, or a scan beside it, is refused; where all fits, the plan says how far the edges reach."""
    with pytest.raises(SamplingError, match=r"is not periodic.*size_angstrom"):
        discretise(replace(request_, sample=make_perovskite(1, sigma=None, periodic=False)))
    wide = replace(request_, sample=make_perovskite(4, sigma=None, periodic=False))
    with pytest.raises(SettingsError, match=r"scan reaches from \(0\.3, -0\.2\)"):
        discretise(wide)
    inside = replace(wide, scan=RasterScan(shape=(4, 4), field_of_view_angstrom=(4, 4), origin_angstrom=(5, 5)))
    assert any("opposite edge" in note for note in discretise(inside).notes)
    far = replace(inside, beam=replace(inside.beam, aberrations=Aberrations(C10=-800)))
    with pytest.raises(
        SamplingError,
        match=r"The probe needs a window of \d+\.\d A, but the specimen is not periodic and its cell is 15\.6 x 15\.6 A\.",
    ):
        discretise(far)  # a defocus that would wrap around the cell
    beside = replace(
        inside,
        scan=RasterScan(shape=(4, 4), field_of_view_angstrom=(4, 4), origin_angstrom=(30, 5)),
        detectors=("haadf",),
    )
    for engine in ("local", "tiled"):  # which have vacuum around the field
        with pytest.raises(SettingsError, match=r"scan reaches from \(30\.0, 5\.0\)"):
            discretise(replace(beside, engine=engine))


def test_a_potential_brings_its_grid(request_: Request, nothing: PotentialSlices) -> None:
    """Its points are the wave's: another grid, another cut, or a side with other prime factors is refused."""
    assert discretise(replace(request_, sample=nothing)).grid.shape == (96, 96)
    assert discretise(replace(request_, sample=nothing, grid=(96, 96))).grid.shape == (96, 96)
    for wrong in ({"grid": (64, 64)}, {"sampling_angstrom": 0.02}, {"slice_thickness_angstrom": 1.0}):
        with pytest.raises(SettingsError, match="Omit"):
            discretise(replace(request_, sample=nothing, **wrong))
    odd = PotentialSlices(array=np.zeros((1, 97, 96)), sampling_angstrom=(0.04, 0.04), z_angstrom=np.array([0.0]))
    with pytest.raises(SamplingError, match="Give a potential of 100 x 96 points"):
        discretise(replace(request_, sample=odd))
