"""Sharing electrons among a camera's pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.physics import camera_pixels

sides = st.floats(0.05, 3.0)


@given(shape=st.tuples(st.integers(1, 6), st.integers(1, 6)), pitch=st.tuples(sides, sides), pixel=st.tuples(sides, sides), seed=st.integers(0, 99))
def test_each_pixel_gets_the_area_that_lies_on_it(shape, pitch, pixel, seed):
    """The share of a camera pixel is the overlap of two rectangles divided by the reciprocal pixel's area."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(-4, 4, (5, 2))
    shares = camera_pixels.resampling(at[:, 0], at[:, 1], pixel, shape, pitch).toarray()
    y, x = (camera_pixels.edges(n, p) for n, p in zip(shape, pitch, strict=True))
    for q, (ky, kx) in enumerate(at):
        for i in range(shape[0]):
            for j in range(shape[1]):
                high = max(0.0, min(ky + pixel[0] / 2, y[i + 1]) - max(ky - pixel[0] / 2, y[i]))
                wide = max(0.0, min(kx + pixel[1] / 2, x[j + 1]) - max(kx - pixel[1] / 2, x[j]))
                assert abs(shares[i * shape[1] + j, q] - high * wide / (pixel[0] * pixel[1])) < 1e-6


def test_electrons_on_the_camera_are_all_kept():
    """Every reciprocal pixel wholly on the camera gives 1 in all; one beside it gives 0."""
    ky, kx = np.meshgrid(np.linspace(-2, 2, 9), np.linspace(-2, 2, 9), indexing="ij")
    shares = camera_pixels.resampling(ky.ravel(), kx.ravel(), (0.5, 0.5), (7, 5), (0.7, 1.0))
    np.testing.assert_allclose(shares.sum(axis=0)[(np.abs(ky.ravel()) <= 2) & (np.abs(kx.ravel()) <= 2)], 1, rtol=1e-6)
    assert camera_pixels.resampling(np.array([9.0]), np.array([0.0]), (0.5, 0.5), (7, 5), (0.7, 1.0)).sum() == 0


def test_equal_pixels_are_passed_on():
    """Where both have the same pixels, the matrix is the identity."""
    k = camera_pixels.centres(5, 0.2)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    np.testing.assert_allclose(camera_pixels.resampling(ky.ravel(), kx.ravel(), (0.2, 0.2), (5, 5), (0.2, 0.2)).toarray(), np.eye(25), atol=1e-6)
