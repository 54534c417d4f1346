"""Rotations and mirrors of a crystal, and their action on aberrations and on an image's Fourier coefficients."""

import itertools

import numpy as np
import pytest

from stemtwin.twin.physics.aberrations import Aberrations, chi
from stemtwin.twin.physics.engine.operator import point_group
from stemtwin.twin.physics.engine.operator.imaging_operator import ImageCoefficients
from stemtwin.twin.physics.engine.operator.point_group import PlaneSymmetry

SIGNS = list(itertools.product((1, -1), (1, -1)))
MATRICES = [((a, 0), (0, d)) for a, d in SIGNS] + [((0, b), (c, 0)) for b, c in SIGNS]
STATE = Aberrations(
    C10=-50, C12=30, phi12=0.4, C21=900, phi21=1.1, C23=700, phi23=-0.3, C30=2e4, C32=9e3, phi32=0.8, C34=8e3, phi34=0.1, C45=1e6, phi45=0.6
)


@pytest.mark.parametrize("matrix", MATRICES)
def test_aberrations_are_turned_along(matrix: tuple) -> None:
    """The phase of the turned aberrations at any k is that of the given ones at R k; round ones stay as they are."""
    turn, rng = PlaneSymmetry(matrix=matrix), np.random.default_rng(1)
    ky, kx = rng.normal(0, 0.5, (2, 50))
    there = np.array(matrix) @ np.stack([ky, kx])
    np.testing.assert_allclose(chi(turn.aberrations(STATE), ky, kx, 0.025), chi(STATE, *there, 0.025), rtol=1e-9, atol=1e-9)
    assert turn.aberrations(Aberrations(C10=3.0, C30=5.0, phi12=0.3)) == Aberrations(C10=3.0, C30=5.0, phi12=0.3)


def test_coefficients_are_averaged_as_images_are() -> None:
    """The average of coefficients gives at any point the mean of the images of all turns at the points that each turn maps there."""
    rng, extent = np.random.default_rng(2), (7.0, 7.0)
    turns = [PlaneSymmetry(matrix=matrix, step=tuple(rng.random(2).tolist())) for matrix in MATRICES]
    given = rng.normal(size=(8, 2, 4, 7)) + 1j * rng.normal(size=(8, 2, 4, 7))
    at = rng.uniform(-9, 9, (40, 2))
    found = ImageCoefficients(coefficients=point_group.averaged(given, turns), extent=extent).at(at)
    images = []
    for turn, coefficients in zip(turns, given, strict=True):
        before = (at[:, ::-1] - np.array(turn.step) * extent) @ np.array(turn.matrix)  # R^-1 is R transposed
        images.append(ImageCoefficients(coefficients=coefficients, extent=extent).at(before[:, ::-1]))
    np.testing.assert_allclose(found, np.mean(images, axis=0), rtol=2e-5, atol=2e-5)


def test_an_oblong_image_is_averaged_over_its_mirrors() -> None:
    """Coefficients of other numbers along y and x, by turns that exchange neither."""
    rng, turns = np.random.default_rng(3), [PlaneSymmetry(matrix=matrix) for matrix in MATRICES[:4]]
    given = np.repeat(rng.normal(size=(1, 1, 3, 11)) + 0j, 4, axis=0)
    image = ImageCoefficients(coefficients=point_group.averaged(given, turns), extent=(4.0, 9.0))
    y, x = rng.uniform(0, 4, 5), rng.uniform(0, 9, 6)
    np.testing.assert_allclose(image.raster(-y, x), image.raster(y, x), atol=2e-5)
    np.testing.assert_allclose(image.raster(y, -x), image.raster(y, x), atol=2e-5)
    assert np.abs(image.raster(y, x)).max() > 0.1
