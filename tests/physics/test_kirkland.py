"""Row 4 of the acceptance table: the bright-field image of five single atoms in Kirkland's book."""

import numpy as np
import pytest

from stemtwin.twin.instrument.settings import PlaneWave
from stemtwin.twin.instrument.simulation.simulate import exit_wave
from stemtwin.twin.physics import electrons, probe
from stemtwin.twin.physics.aberrations import Aberrations, chi
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.samples.sample import Sample


def image(points, oversampling):
    """Return the image of C, Si, Cu, Au, U in a row, 10 A apart, 200 kV, with an objective lens of Cs 1.3 mm, 700 A underfocus and 10.37 mrad."""
    sample = Sample(
        name="five atoms",
        numbers=[6, 14, 29, 79, 92],
        positions_angstrom=[(x, 25.0, 0.0) for x in (5.0, 15.0, 25.0, 35.0, 45.0)],
        size_angstrom=(50.0, 50.0),
        thickness_angstrom=0.1,
    )
    exit_face = exit_wave(sample, PlaneWave(energy_ev=200e3), grid=(points, points), antialias=False, oversampling=oversampling)
    wave = (exit_face.wave_real + 1j * exit_face.wave_imag).values[0]
    grid, wavelength = Grid(shape=wave.shape, extent=(50.0, 50.0)), electrons.wavelength(200e3)
    lens = np.exp(-1j * chi(Aberrations(C10=-700.0, C30=1.3e7), grid.ky[:, None], grid.kx, wavelength))
    opening = probe.aperture(grid.ky[:, None], grid.kx, grid.reciprocal_sampling, 10.37e-3 / wavelength, antialias=False)
    return np.abs(np.fft.ifft2(np.fft.fft2(wave) * lens * opening)) ** 2


@pytest.mark.parametrize("oversampling", [1, 2])
def test_five_atoms(oversampling):
    """Kirkland, Advanced Computing in Electron Microscopy, fig. 5.12: the image ranges from 0.72 to 1.03; heavier atoms are darker, C to U."""
    intensity = image(512, oversampling)
    assert 0.715 < intensity.min() < 0.725
    assert 1.025 < intensity.max() < 1.035
    atoms = intensity[256, [51, 154, 256, 358, 461]]
    assert (np.diff(atoms) < 0).all()
    assert np.unravel_index(intensity.argmin(), intensity.shape) == pytest.approx((256, 461), abs=1)
