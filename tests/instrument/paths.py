"""Hypothesis strategies for scans of every registered kind."""

import math
from typing import Any

from hypothesis import strategies as st

from stemtwin.twin.instrument.scan import SCANS, LissajousScan, PathScan, RasterScan, Scan, SerpentineScan, SparseScan, SpiralScan

LENGTHS = st.floats(0.5, 5000)
PLACES = st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
ANGLES = st.floats(-10, 10)
RASTER: dict[str, Any] = {
    "shape": st.tuples(st.integers(1, 9), st.integers(1, 9)),
    "field_of_view_angstrom": st.tuples(LENGTHS, LENGTHS),
    "origin_angstrom": PLACES,
    "rotation_rad": ANGLES,
}
COPRIME = st.tuples(st.integers(1, 40), st.integers(1, 40)).filter(lambda pair: math.gcd(*pair) == 1)
EACH = {
    "raster": st.builds(RasterScan, **RASTER),
    "serpentine": st.builds(SerpentineScan, **RASTER),
    "sparse": st.builds(
        SparseScan, **RASTER, fraction=st.floats(0.01, 1), pattern=st.sampled_from(["random", "line-hop"]), seed=st.integers(0, 2**64)
    ),
    "path": st.builds(PathScan, positions_angstrom=st.lists(PLACES, min_size=1, max_size=9)),
    "spiral": st.builds(
        SpiralScan,
        shape=st.integers(1, 300),
        diameter_angstrom=LENGTHS,
        centre_angstrom=PLACES,
        turns=st.none() | st.floats(0.1, 1),
        motion=st.sampled_from(["linear-speed", "angular-speed"]),
        rotation_rad=ANGLES,
    ),
    "lissajous": st.builds(
        LissajousScan,
        shape=st.integers(1, 300),
        field_of_view_angstrom=st.tuples(LENGTHS, LENGTHS),
        centre_angstrom=PLACES,
        cycles=COPRIME,
        phase_rad=st.none() | ANGLES,
        rotation_rad=ANGLES,
    ),
}


def any_scan() -> st.SearchStrategy[Scan]:
    """Draw a scan of any registered kind; a kind without a strategy here is an error."""
    return st.one_of(*(EACH[name] for name in SCANS))
