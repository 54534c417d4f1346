"""4D-STEM with the microscope: counts of a camera beside those of other detectors, from one beam."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from stemtwin.twin.instrument.detectors import AnnularDetector, PixelatedDetector
from stemtwin.twin.instrument.hardware.drift import Instabilities
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.samples.sample import Sample

SCAN = RasterScan(shape=(4, 5), field_of_view_angstrom=(3.0, 3.9))
CAMERA = PixelatedDetector(shape=(32, 32), outer_mrad=60.0)
DISC = AnnularDetector(inner_mrad=0, outer_mrad=40, name="disc")


@pytest.fixture
def make(make_perovskite: Callable[..., Sample]) -> Callable[..., Microscope]:
    """Return the maker of microscopes with SrTiO3 in them."""
    sample = make_perovskite(2, sigma=None)
    return lambda profile=PROFILES["ideal"], seed=1: Microscope(sample, profile, seed=seed)


def test_patterns_come_with_images(make: Callable[..., Microscope]) -> None:
    """One acquisition gives patterns and images of one scan, whose sums agree where the camera holds the detector; frames come first."""
    out = make().acquire(SCAN, dwell_time_us=1e3, frames=2, detectors=(DISC, CAMERA))
    assert out.pixelated.dims == ("frame", "y", "x", "ky", "kx")
    assert out.pixelated.dtype == np.uint32
    angle = np.hypot(*np.meshgrid(out.ky, out.kx, indexing="ij"))
    virtual = out.pixelated.where(xr.DataArray(angle < 40, dims=("ky", "kx")), 0).sum(("ky", "kx"))
    np.testing.assert_allclose(virtual, out.disc, rtol=0.03)
    assert not np.array_equal(out.pixelated[0], out.pixelated[1])


def test_a_camera_alone_and_blanked(make: Callable[..., Microscope]) -> None:
    """A camera needs no other detector; with the beam blanked it counts nothing but its own dark counts."""
    scope = make()
    assert float(scope.acquire(SCAN, detectors=(CAMERA,)).pixelated.sum()) > 0
    scope.set(blanked=True)
    assert float(scope.acquire(SCAN, detectors=(CAMERA,)).pixelated.sum()) == 0
    noisy = replace(CAMERA, dark_counts_per_s=1e6)
    assert float(scope.acquire(SCAN, dwell_time_us=10.0, detectors=(noisy,)).pixelated.mean()) == pytest.approx(10, rel=0.05)


def test_drift_and_defocus_reach_the_patterns(make: Callable[..., Microscope]) -> None:
    """Patterns are taken where the beam truly is, with the aberrations that it truly has; one seed gives the same bits."""
    moving = replace(
        PROFILES["ideal"], instabilities=Instabilities(drift_angstrom_per_s=(20.0, 0.0)), imperfections=ScanImperfections(line_jitter_angstrom=0.1)
    )
    still = make().acquire(SCAN, dwell_time_us=5e3, detectors=(CAMERA,)).pixelated.astype(float)
    drifting = make(moving).acquire(SCAN, dwell_time_us=5e3, detectors=(CAMERA,)).pixelated.astype(float)
    scope = make()
    scope.set(C10=80)
    blurred = scope.acquire(SCAN, dwell_time_us=5e3, detectors=(CAMERA,)).pixelated.astype(float)
    for other in (drifting, blurred):
        assert float(abs(other - still).max()) > 10 * float(np.sqrt(still.max()))
    xr.testing.assert_identical(make(moving).acquire(SCAN, detectors=(CAMERA,)), make(moving).acquire(SCAN, detectors=(CAMERA,)))


@pytest.mark.slow
def test_the_camera_length_scales_what_the_instrument_has(static: Sample) -> None:
    """At half the camera length what is asked for by name, cameras and the spectrometer, takes twice the angle; what is given keeps its own."""
    scan, own = RasterScan(shape=(1, 2), field_of_view_angstrom=(3.9, 3.9)), replace(CAMERA, outer_mrad=30.0)
    for detectors in ((), (own,)):
        scope, seen = Microscope(static, replace(PROFILES["ideal"], detectors=detectors)), []
        for length in (100.0, 50.0):
            scope.set(camera_length_mm=length)
            out = scope.acquire(scan, detectors=("pixelated", "eels"))
            seen.append((float(out.kx.max()), out.eels.attrs["collection_mrad"]))
        np.testing.assert_allclose(seen[1], 2 * np.array(seen[0]))
        assert float(scope.acquire(scan, detectors=(CAMERA,)).kx.max()) == 60.0 * 31 / 32
