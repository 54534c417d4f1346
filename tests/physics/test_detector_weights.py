"""What detectors weigh: areas, annuli that add up, segments that share a ring out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.physics import detector_weights

KY, KX = np.fft.fftfreq(40, 0.2)[:, None], np.fft.fftfreq(50, 0.21)
PIXEL = (float(KY[1, 0]), float(KX[1]))


@given(radii=st.lists(st.floats(0, 2.3), min_size=3, max_size=3, unique=True).map(sorted), antialias=st.booleans())
def test_annuli_add_up(radii, antialias):
    """Two rings that share an edge are one ring; antialiased weights add up to the ring's exact area."""
    low, middle, high = radii
    first, second, both = (
        detector_weights.annulus(KY, KX, PIXEL, a, b, antialias=antialias) for a, b in ((low, middle), (middle, high), (low, high))
    )
    assert np.allclose(first + second, both, atol=1e-6)
    if antialias:
        assert both.sum(dtype=float) * PIXEL[0] * PIXEL[1] == pytest.approx(math.pi * (high**2 - low**2), rel=1e-5, abs=1e-6)
    else:
        assert np.array_equal(both > 0, (np.hypot(KY, KX) >= low) & (np.hypot(KY, KX) < high))


@given(count=st.integers(2, 12), rotation=st.floats(-7, 7), antialias=st.booleans(), inner=st.floats(0, 1))
@settings(max_examples=40)
def test_segments_share_the_ring(count, rotation, antialias, inner):
    """Segments add up to their ring, pixel by pixel; for every rotation, on edges that run through pixels' centres too."""
    ring = detector_weights.annulus(KY, KX, PIXEL, inner, 2.0, antialias=antialias)
    parts = detector_weights.segments(KY, KX, PIXEL, inner, 2.0, count, rotation, antialias=antialias)
    assert parts.shape == (count, 40, 50)
    assert np.allclose(parts.sum(axis=0), ring, atol=2e-7)


@pytest.mark.parametrize("rotation", [0.0, math.pi / 4, math.pi / 2])
def test_segments_on_diagonals(rotation):
    """Edges along the axes and the diagonals lose no pixel and count none twice; opposite segments of a square grid weigh the same."""
    k = np.fft.fftfreq(32, 0.2)
    parts = detector_weights.segments(k[:, None], k, (k[1], k[1]), 0.0, 2.0, 4, rotation)
    assert np.allclose(parts.sum(axis=0), detector_weights.annulus(k[:, None], k, (k[1], k[1]), 0.0, 2.0), atol=2e-7)
    weights = parts.sum(axis=(1, 2), dtype=float)
    assert np.allclose(weights, weights.mean(), rtol=2e-3)


def test_first_segment():
    """The first segment's centre is at azimuth ``rotation``, from +x to +y; the others follow in that sense."""
    parts = detector_weights.segments(KY, KX, PIXEL, 0.5, 2.0, 4, 0.3)
    for i, part in enumerate(parts):
        y, x = float((part * KY).sum()), float((part * KX).sum())
        assert (math.atan2(y, x) - (0.3 + i * math.pi / 2) + math.pi) % (2 * math.pi) - math.pi == pytest.approx(0, abs=0.03)


def test_segments_have_equal_areas():
    """Antialiased segments of a ring have the same area within their subdivision: 1 %."""
    areas = detector_weights.segments(KY, KX, PIXEL, 0.5, 2.0, 6, 0.2).sum(axis=(1, 2), dtype=float) * PIXEL[0] * PIXEL[1]
    assert np.allclose(areas, math.pi * (4 - 0.25) / 6, rtol=0.01)
