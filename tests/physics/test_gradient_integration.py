"""Integration of gradients."""

import numpy as np
import pytest

from stemtwin.twin.physics import gradient_integration


@pytest.mark.parametrize("shape", [(16, 20), (15, 21)])
def test_a_periodic_function_comes_back_from_its_gradient(shape):
    """Of a band-limited periodic function, gradient and integral are exact inverses but for the mean."""
    y, x = np.meshgrid(np.arange(shape[0]) * 0.3, np.arange(shape[1]) * 0.2, indexing="ij")
    qy, qx = 2 / (shape[0] * 0.3), 3 / (shape[1] * 0.2)
    arguments = 2 * np.pi * (qy * y - qx * x), 2 * np.pi * qx * x
    function = np.sin(arguments[0]) + 0.3 * np.cos(arguments[1])
    gy = 2 * np.pi * qy * np.cos(arguments[0])
    gx = -2 * np.pi * qx * np.cos(arguments[0]) - 0.3 * 2 * np.pi * qx * np.sin(arguments[1])
    np.testing.assert_allclose(gradient_integration.integrate_gradient(gy, gx, (0.3, 0.2), periodic=True), function, atol=1e-12)


def test_a_field_that_does_not_repeat_is_continued_by_reflection():
    """A Gaussian near the edge of the field comes back within 2 % without periodicity, and not with it."""
    y, x = np.meshgrid(np.arange(60) * 0.1, np.arange(60) * 0.1, indexing="ij")
    function = np.exp(-((y - 0.6) ** 2 + (x - 3) ** 2) / 0.8)
    gy, gx = -(y - 0.6) / 0.4 * function, -(x - 3) / 0.4 * function
    function = function - function.mean()
    assert np.abs(gradient_integration.integrate_gradient(gy, gx, (0.1, 0.1)) - function).max() < 0.02
    assert np.abs(gradient_integration.integrate_gradient(gy, gx, (0.1, 0.1), periodic=True) - function).max() > 0.1


def test_a_curl_is_left_out():
    """What is no gradient does not change the integral: the least-squares solution."""
    y, x = np.meshgrid(np.arange(16) / 16, np.arange(16) / 16, indexing="ij")
    wave = np.sin(2 * np.pi * (x + 2 * y))
    np.testing.assert_allclose(gradient_integration.integrate_gradient(-wave, 2 * wave, (1 / 16, 1 / 16), periodic=True), 0, atol=1e-12)
