"""Speed of diffraction patterns: a 4D cube from a standing scattering matrix, a Ronchigram of a standing film."""

import dataclasses

import numpy as np

from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.ronchigram import ronchigram
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample
from tests.speed.run import Row


def cube():
    """64 x 64 patterns of 128 x 128 pixels to 60 mrad, new aberrations each time."""
    rng = np.random.default_rng(1)
    sample = load_sample("srtio3-001", size_angstrom=(15.62, 15.62), thickness_angstrom=20.0)
    camera = PixelatedDetector(shape=(128, 128), outer_mrad=60)
    scan = RasterScan(shape=(64, 64), field_of_view_angstrom=(7.81, 7.81))
    beam = Beam(energy_ev=200e3, semiangle_mrad=20)
    request = Request(sample=sample, beam=beam, scan=scan, detectors=(camera,), phonons="static")

    def ours():
        state = Aberrations(C10=float(rng.uniform(-20, 20)))
        simulate(dataclasses.replace(request, beam=dataclasses.replace(beam, aberrations=state)))

    return ours, None


def film():
    """An amorphous film as a phase grating, 512 x 512 pixels, all aberrations to fifth order, new ones each time."""
    rng = np.random.default_rng(2)
    side, thickness = 130.0, 10.0
    spots = np.stack(np.meshgrid(*[np.arange(0, length, 2.2) for length in (side - 2, side - 2, thickness)], indexing="ij"), axis=-1).reshape(-1, 3)
    sample = Sample(
        name="film",
        numbers=np.full(len(spots), 6),
        positions_angstrom=spots + rng.uniform(0, 0.9, spots.shape),
        size_angstrom=(side, side),
        thickness_angstrom=thickness,
    )
    strength = {f"C{n}{m}": 10.0 ** (n + 1) / 2 for n, m in ORDERS}

    def ours():
        beam = Beam(energy_ev=200e3, semiangle_mrad=50, aberrations=Aberrations(**{**strength, "C10": float(rng.uniform(-650, -550))}))
        ronchigram(sample, beam, check=False)

    return ours, None


ROWS = [
    Row(
        work="4D-STEM 64 x 64 x 128 x 128 from a standing scattering matrix, SrTiO3 16 A, 200 kV, 20 mrad, to 60 mrad",
        bar=10,
        prepare=cube,
        value=lambda ours, _: ours,
        unit="s",
        at_most=True,
    ),
    Row(
        work="Ronchigram 512 x 512 of a standing amorphous film, 50 mrad, all aberrations",
        bar=50,
        prepare=film,
        value=lambda ours, _: ours * 1e3,
        unit="ms",
        at_most=True,
    ),
]
