"""The thin limit: what images of several optics share is computed once, to the same bits."""

import math
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.spectra import thin_limit
from stemtwin.twin.instrument.spectra.areal_densities import LossChannel, absorbers
from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

CHANNELS = (LossChannel(name="S", numbers=(16,), d50=0.8), LossChannel(name="all", numbers=(16, 42), d50=2.0))
OPTICS = [Aberrations(), Aberrations(C10=-60, C12=15, phi12=0.3, C30=2e4)]


@pytest.fixture(scope="module")
def layer() -> Sample:
    """Return MoS2 with vacancies."""
    return load_sample("mos2-1h", size_angstrom=(16, 16), vacancy_fraction=0.05, seed=2)


def beam(aberrations: Aberrations) -> Beam:
    """Return a beam with a focal spread and a source."""
    spread = {"focal_spread_angstrom": 30, "source_size_angstrom": 0.4}
    return Beam(energy_ev=80e3, semiangle_mrad=25, aberrations=aberrations, **spread)


def test_atoms_are_transformed_once_for_all_optics(layer: Sample) -> None:
    """Further optics take no atoms again, and their images have the bits of one that starts anew."""
    taken = []

    def counting(*arguments: object) -> object:
        taken.append(arguments)
        return absorbers(*arguments)  # type: ignore[arg-type]

    again = [thin_limit.thin_images(layer, beam(state), CHANNELS, counting, (2.0, -1.0)) for state in OPTICS]
    assert len(taken) == 1
    thin_limit._remembered_profiles.cache_clear()
    thin_limit._aperture.cache_clear()
    anew = [thin_limit.thin_images(layer, beam(state), CHANNELS, absorbers, (2.0, -1.0)) for state in OPTICS[::-1]]
    for one, other in zip(again, anew[::-1], strict=True):
        np.testing.assert_array_equal(one.coefficients, other.coefficients)
    other = thin_limit.thin_images(load_sample("mos2-1h", size_angstrom=(16, 16)), beam(OPTICS[0]), CHANNELS, absorbers)
    assert not np.array_equal(other.coefficients, again[0].coefficients)  # the key holds the sample


def test_large_specimens_are_not_remembered(layer: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profiles beyond the memory that is allowed for them give the same bits, and stay nowhere."""
    kept = thin_limit.thin_images(layer, beam(OPTICS[1]), CHANNELS, absorbers).coefficients
    thin_limit._remembered_profiles.cache_clear()
    monkeypatch.setattr(thin_limit, "REMEMBERED_BYTES", 0)
    again = thin_limit.thin_images(layer, beam(OPTICS[1]), CHANNELS, absorbers).coefficients
    np.testing.assert_array_equal(again, kept)
    assert thin_limit._remembered_profiles.cache_info().currsize == 0


@pytest.mark.parametrize("state", OPTICS)
def test_the_spectrum_of_a_probe_is_that_of_its_whole_grid(state: Aberrations) -> None:
    """Frequencies outside the aperture, and those that are not read, do not contribute to the density's Fourier sum."""
    grid, hy, hx = Grid(shape=(90, 80), extent=(12.0, 11.0)), np.arange(40), np.arange(-35, 36)
    found = thin_limit._spectrum(grid, beam(state), state, hy, hx)
    cells = [math.ceil((thin_limit.LEAST_WINDOW + 2 * radius(state)) / side) for side in grid.extent]
    assert max(cells) > 1
    window = replace(
        grid,
        shape=(grid.shape[0] * cells[0], grid.shape[1] * cells[1]),
        extent=(grid.extent[0] * cells[0], grid.extent[1] * cells[1]),
    )
    at = (window.ky[:, None], window.kx, window.reciprocal_sampling)
    density = np.abs(np.fft.ifft2(probe.amplitudes(*at, beam(state).wavelength_angstrom, 25e-3, state))) ** 2
    whole = np.fft.fft2(density / density.sum())[(hy * cells[0])[:, None], hx * cells[1]]
    np.testing.assert_array_equal(found, whole)
    assert found[0, 35] == pytest.approx(1)


def radius(state: Aberrations) -> float:
    """Return the radius of a probe of 25 mrad, A."""
    return thin_limit.blur_radius(state, 25e-3)
