"""Speed of spectra: at a point, and as an image, counted by the microscope."""

import functools

from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector
from stemtwin.twin.samples.library import load_sample
from tests.speed.run import Row

LOSSES = EELSDetector(energy_range_ev=(-24.0, 1000.0), dispersion_ev=1.0, collection_mrad=40.0)
XRAYS = EDXDetector(dispersion_ev=20.0)
SCAN = RasterScan(shape=(100, 100), field_of_view_angstrom=(15.62, 15.62))


@functools.cache
def scope():
    """A corrected 200 kV instrument with 40 A of SrTiO3 in it, its forms warm."""
    sample = load_sample("srtio3-001", size_angstrom=(3.905, 3.905), thickness_angstrom=39.05)
    one = Microscope(sample, PROFILES["corrected-200kv"].still(), seed=1, phonons="static")
    one.acquire_spectrum((0.0, 0.0), detectors=(LOSSES, XRAYS))
    return one


def point(detector):
    """A spectrum at a point that changes."""

    def prepare():
        one = scope()
        places = iter(range(10**9))

        def ours():
            for _ in range(10):
                one.acquire_spectrum((0.1 * next(places), 0.0), detectors=(detector,), dwell_time_us=1e5)
            return 10

        return ours, None

    return prepare


def image(detector):
    """A spectrum image of 100 x 100 points, 1024 channels."""

    def prepare():
        one = scope()
        return lambda: one.acquire(SCAN, detectors=("haadf", detector), dwell_time_us=1e4) and None, None

    return prepare


ROWS = [
    row
    for name, detector in (("energy losses", LOSSES), ("X-rays", XRAYS))
    for row in (
        Row(
            work=f"spectrum of {name} at a point, 1024 channels, SrTiO3 40 A, counted, forms warm",
            bar=10,
            prepare=point(detector),
            value=lambda ours, _: ours * 1e3,
            unit="ms",
            at_most=True,
        ),
        Row(
            work=f"spectrum image of {name}, 100 x 100 x 1024, beside HAADF, counted, forms warm",
            bar=60,
            prepare=image(detector),
            value=lambda ours, _: ours,
            unit="s",
            at_most=True,
        ),
    )
]
