"""Thermal cross-sections: dark-field images of a particle, the first one and those of further states of the optics."""

import functools
import itertools
from dataclasses import replace

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache, simulate
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.physics import thermal_scattering
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import load_sample
from tests.speed.run import Row


@functools.cache
def request() -> Request:
    """Return 128 x 128 points over a particle of 50 A on carbon; its error is not measured here."""
    sample = load_sample("au-particle-carbon", diameter_angstrom=50)
    return Request(
        sample=sample,
        beam=Beam(energy_ev=200e3, semiangle_mrad=20),
        scan=RasterScan(shape=(128, 128), field_of_view_angstrom=sample.size_angstrom),
        detectors=(AnnularDetector(inner_mrad=60, outer_mrad=120, name="haadf"),),
        engine="thermal",
        measure_error=False,
    )


def first_image():
    """Cross-sections, planes and all probes."""

    def ours():
        operator_cache.clear()
        thermal_scattering.atom.cache_clear()  # and with it, what is kept by atom
        simulate.simulate(request())

    return ours, None


def further_state():
    """All probes, with another defocus."""
    states = (Aberrations(C10=10.0 * (n % 7)) for n in itertools.count())
    simulate.simulate(request())

    def ours():
        simulate.simulate(replace(request(), beam=replace(request().beam, aberrations=next(states))))

    return ours, None


def seconds(ours, _):
    """Our time."""
    return ours


PARTICLE = "thermal cross-sections, Au particle of 50 A on carbon, 128 x 128 points, 60-120 mrad, without the measurement of the error"
ROWS = [
    Row(work=f"{PARTICLE}: first image", bar=30.0, prepare=first_image, value=seconds, unit="s", at_most=True),
    Row(work=f"{PARTICLE}: a further state of the optics", bar=10.0, prepare=further_state, value=seconds, unit="s", at_most=True),
]
