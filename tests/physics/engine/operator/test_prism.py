"""The scattering matrix: exact at f = 1, the known window error at f = 2."""

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import detector_weights, electrons, potential
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import prism, single_probes
from stemtwin.twin.physics.grids import Grid

ENERGY, SEMIANGLE = 100e3, 25e-3
WAVELENGTH = electrons.wavelength(ENERGY)


def weights(ky, kx, pixel):
    """A dark-field ring and a bright-field disc."""
    rings = ((75e-3, 110e-3), (0.0, 15e-3))
    return np.stack([detector_weights.annulus(ky, kx, pixel, inner / WAVELENGTH, outer / WAVELENGTH) for inner, outer in rings])


def crystal(cells: int, points: int) -> SliceStack:
    """A simple cubic crystal of strontium and oxygen, three cells deep."""
    a = 3.9
    grid = Grid(shape=(points * cells, points * cells), extent=(a * cells, a * cells))
    base = np.array([[0.5, 0.5, 0.5], [0.0, 0.0, 0.25]]) * a
    shifts = np.array([[i, j, k] for i in range(cells) for j in range(cells) for k in range(3)]) * a
    atoms = (base[None] + shifts[:, None]).reshape(-1, 3)
    numbers = np.tile([38, 8], len(shifts))
    slices = potential.assign_slices(atoms[:, 2])
    transmission = potential.transmissions(atoms, numbers, slices, grid, electrons.interaction_constant(ENERGY))
    return SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=transmission, planes=slices.planes, thickness=3 * a)


POINTS = np.array([[5.85, 5.85], [3.9, 3.9], [4.7, 5.1], [6.3, 4.2], [0.1, 7.7]])
STATES = (Aberrations(), Aberrations(C10=-30, C12=10, phi12=0.4, C30=1e4))


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("state", STATES, ids=["focus", "aberrated"])
def test_f_1_is_multislice(state, antialias):
    """With f = 1 every signal equals multislice of that probe to 1e-4 (here 1e-5)."""
    stack = crystal(3, 60)
    exact = single_probes.probe_signals(stack, POINTS, state, SEMIANGLE, weights, antialias=antialias)
    matrix = prism.build(stack, SEMIANGLE, antialias=antialias)
    np.testing.assert_allclose(matrix.signals(POINTS, state, weights), exact, rtol=1e-5, atol=1e-8)


def test_smaller_convergence_than_built():
    """A matrix serves every convergence up to the one that it was built for, and refuses a larger one."""
    stack = crystal(3, 60)
    exact = single_probes.probe_signals(stack, POINTS, STATES[1], 20e-3, weights)
    matrix = prism.build(stack, SEMIANGLE)
    np.testing.assert_allclose(matrix.signals(POINTS, STATES[1], weights, semiangle=20e-3), exact, rtol=1e-5, atol=1e-8)
    with pytest.raises(SamplingError, match="built for 25 mrad, not for 30"):
        matrix.signals(POINTS, STATES[1], weights, semiangle=30e-3)


def test_patterns_sum_to_what_stays_inside_the_band():
    """In vacuum a pattern is the aperture: its sum is the sum of the squared amplitudes, wherever the probe is, for f = 1 and f = 2."""
    grid = Grid(shape=(96, 120), extent=(20.0, 24.0))
    stack = SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=np.ones((1, 96, 120), np.complex64), planes=np.array([1.0]), thickness=2.0)
    for f in ((1, 1), (2, 2)):
        matrix = prism.build(stack, SEMIANGLE, interpolation=f)
        patterns = matrix.patterns(POINTS, Aberrations(C10=40))
        expected = (np.abs(matrix.amplitudes(Aberrations())) ** 2).sum()
        np.testing.assert_allclose(patterns.sum(axis=(1, 2)), expected, rtol=1e-4)


def test_f_2_has_the_known_window_error():
    """F = 2 leaves a window of 1/2 the cell: columns within a few percent, the rms error stated by ``window_error``, and not zero."""
    stack = crystal(6, 50)
    exact = single_probes.probe_signals(stack, POINTS, Aberrations(), SEMIANGLE, weights)
    matrix = prism.build(stack, SEMIANGLE, interpolation=(2, 2))
    rms, worst = prism.window_error(matrix.signals(POINTS, Aberrations(), weights), exact)
    assert 1e-4 < rms < 0.06
    assert rms <= worst < 0.12


def test_too_much_interpolation_is_refused():
    """Fewer than 3 plane waves across the aperture are refused."""
    with pytest.raises(SamplingError, match="fewer than 3 plane waves"):
        prism.build(crystal(1, 60), SEMIANGLE, interpolation=(3, 3))
