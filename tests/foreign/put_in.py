"""What was put in, beside the files of ``stemtwin demo --signals``: the expected centre of mass, and X-rays of single elements as standards.

``make foreign`` runs it; the scripts beside it read the files with other people's programs and compare.
"""

import sys
from pathlib import Path

import numpy as np

from stemtwin.datasets import formats
from stemtwin.leaderboard.demos import signals
from stemtwin.twin.instrument.detectors import PixelatedDetector
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.simulation import pattern_analysis
from stemtwin.twin.instrument.simulation.request import Request
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.instrument.spectra import EDXDetector
from stemtwin.twin.samples.sample import Sample

SIDE = 3.905
ELEMENTS = {"Sr": 38, "Ti": 22, "O": 8}
ATOMS = 9
"""In the cell of a standard, side by side."""


def expected_centre_of_mass(path: Path) -> None:
    """Write the centre of mass without noise, mrad, over the same scan, of the same atoms in the same thermal motion."""
    scope = signals.microscope()
    scan = RasterScan(shape=(signals.POINTS,) * 2, field_of_view_angstrom=(signals.FIELD_ANGSTROM,) * 2)
    camera = PixelatedDetector(shape=(64, 64), outer_mrad=60.0)
    seed = scope._setup.stream_seed("specimen")
    request = Request(sample=scope.truth()["sample"], beam=scope.truth()["beam"], scan=scan, detectors=(camera,), phonons=2, seed=seed)
    found = pattern_analysis.centre_of_mass(simulate(request).pixelated)
    np.save(path, np.stack([found.com_y, found.com_x]))


def standards(folder: Path) -> None:
    """Write X-ray spectra of one element each, in thin layers with the same number of atoms, as a laboratory's standards are known."""
    scan = RasterScan(shape=(64, 64), field_of_view_angstrom=(SIDE, SIDE))
    places = [[SIDE / 3 * (i % 3), SIDE / 3 * (i // 3), 1.0 + i] for i in range(ATOMS)]
    for number, (symbol, z) in enumerate(ELEMENTS.items()):
        sample = Sample(name=symbol, numbers=[z] * ATOMS, positions_angstrom=places, size_angstrom=(SIDE, SIDE), thickness_angstrom=ATOMS + 2.0)
        scope = Microscope(sample, PROFILES["corrected-200kv"].still(), seed=10 + number, phonons="static")
        spectrum = scope.acquire_spectrum(scan, dwell_time_us=3e6, detectors=(EDXDetector(),))
        formats.save(spectrum, folder / f"standard-{symbol}.hspy", variable="edx", overwrite=True)


if __name__ == "__main__":
    expected_centre_of_mass(Path(sys.argv[1]) / "expected-com.npy")
    standards(Path(sys.argv[1]))
