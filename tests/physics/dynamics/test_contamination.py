"""The film that the beam grows: its law, its halo, and what a shower does."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import k0

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics.contamination import Contamination, Film, grow, shower
from stemtwin.twin.physics.dynamics.current_density import gaussian_density
from stemtwin.twin.physics.dynamics.exposure import Exposure, parked
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND

MODEL = Contamination(growth=1e-5, saturation=1e4, halo_fraction=0.0, recovery=100.0)


def flood(film, current, duration):
    """Return an exposure that hits every point of a film alike."""
    ny, nx = film.height.shape
    y, x = np.mgrid[0:ny, 0:nx] * film.step
    points = np.column_stack([x.ravel(), y.ravel()])
    dwell = np.full(len(points), duration / len(points))
    return Exposure(points=points, dwell=dwell, current=current, energy=60e3, density=gaussian_density(0.5))


@pytest.mark.parametrize("current", [1.0, 100.0, 1e4])
def test_growth_law(current):
    """Under an even beam dh/dt = k J / (1 + J / J_s): proportional to J when weak, k J_s when strong."""
    film = Film.clean((40.0, 60.0), 2.0)
    beam = flood(film, current, 3.0)
    density = current * ELECTRONS_PER_PICOAMPERE_SECOND / (film.height.size * 4.0)
    expected = 3.0 * 1e-5 * density / (1 + density / 1e4)
    assert grow(film, beam, MODEL).height == pytest.approx(np.full(film.height.shape, expected), rel=1e-9)


@given(fraction=st.floats(0, 1), length=st.floats(0, 60))
def test_the_halo_takes_nothing_away(fraction, length):
    """However wide the halo, the film's volume is the same as long as it stays on the grid, and no height is negative."""
    model = dataclasses.replace(MODEL, halo_fraction=fraction, halo_length=length)
    bare = Film.clean((600.0, 600.0), 10.0)
    beam = parked((300.0, 300.0), 2.0, current=50.0, energy=60e3, density=gaussian_density(0.5))
    film = grow(bare, beam, model)
    assert film.volume == pytest.approx(grow(bare, beam, MODEL).volume, rel=0.02)
    assert film.height.min() >= 0


def test_the_halo_is_that_of_diffusion_with_loss():
    """A point of growth spreads as K0(r / l) / (2 pi l^2), the Green function of steady diffusion with loss."""
    model = dataclasses.replace(MODEL, halo_fraction=1.0, halo_length=30.0)
    bare = Film.clean((402.0, 402.0), 2.0)
    film = grow(bare, parked((200.0, 200.0), 2.0, current=50.0, energy=60e3, density=gaussian_density(0.5)), model)
    total = grow(bare, parked((200.0, 200.0), 2.0, current=50.0, energy=60e3, density=gaussian_density(0.5)), MODEL).volume
    r = np.array([10.0, 20.0, 40.0, 70.0])
    found = film.at(np.column_stack([200 + r, np.full(4, 200.0)]))
    assert found == pytest.approx(total * k0(r / 30) / (2 * math.pi * 30**2), rel=0.02)


def test_a_shower_clears_and_holds_off():
    """A shower lowers film and supply by its dose; growth is then slower, until the supply has recovered with its own time."""
    film = Film.clean((40.0, 40.0), 2.0)
    beam = flood(film, 10.0, 1.0)
    grown = grow(film, beam, MODEL)
    showered = shower(grown, 1e3, MODEL)
    assert showered.height == pytest.approx(grown.height * math.exp(-1 / 3))
    assert showered.supply == pytest.approx(math.exp(-1))
    slow = grow(showered, beam, MODEL).height - showered.height
    assert slow.mean() == pytest.approx(math.exp(-1) * grown.height.mean(), rel=0.02)
    rested = showered
    for _ in range(10):
        rested = grow(rested, dataclasses.replace(beam, current=0.0, repeats=100), MODEL)
    assert rested.supply == pytest.approx(1.0, abs=1e-4)
    assert rested.height == pytest.approx(showered.height)
    assert (grow(rested, beam, MODEL).height - rested.height).mean() == pytest.approx(grown.height.mean(), rel=1e-3)


def test_time_may_be_cut():
    """Two exposures of half the time grow what one grows; the supply is the same too."""
    film = dataclasses.replace(Film.clean((40.0, 40.0), 2.0), supply=0.2)
    whole = grow(film, flood(film, 10.0, 40.0), MODEL)
    half = grow(grow(film, flood(film, 10.0, 20.0), MODEL), flood(film, 10.0, 20.0), MODEL)
    assert half.height == pytest.approx(whole.height, rel=1e-9)
    assert half.supply == pytest.approx(whole.supply, rel=1e-12)


def test_heights_between_points():
    """Between its points a film is linear; beside the grid there is none."""
    y, x = np.mgrid[0:5, 0:7] * 2.0
    film = Film(height=1 + 0.5 * x + 0.25 * y, step=2.0, origin=(10.0, 20.0))
    assert film.at(np.array([[13.0, 21.0], [10.0, 20.0]])) == pytest.approx([1 + 1.5 + 0.25, 1.0])
    assert film.at(np.array([[-50.0, 21.0]]))[0] == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Film(height=np.full((2, 2), -1.0), step=1.0), "of at least 0"),
        (lambda: Film(height=np.zeros(3), step=1.0), "heights"),
        (lambda: Film(height=np.zeros((2, 2)), step=0.0), "step"),
        (lambda: Contamination(growth=-1.0), "growth"),
        (lambda: Contamination(halo_fraction=2.0), "halo_fraction"),
        (lambda: Contamination(removal_dose=0.0), "removal_dose"),
        (lambda: shower(Film.clean((4.0, 4.0), 1.0), -1.0), "dose"),
    ],
)
def test_absurd_films_are_refused(make, words):
    """Negative heights, rates or doses are one clear sentence."""
    with pytest.raises(SettingsError, match=words):
        make()


def test_a_surface_that_repeats_has_no_border():
    """Where the surface repeats, nothing is lost, a cell further on is the same place, and the film is the same wherever in the cell the beam was."""
    model = Contamination(growth=1e-5, halo_fraction=0.5, halo_length=6.0)
    heights = []
    for x, y in ((6.0, 8.0), (0.0, 0.0), (-12.0, 32.0)):
        film = grow(Film.clean((20.0, 24.0), 2.0, repeats=True), parked((x, y), 2.0, current=50.0, energy=60e3, density=gaussian_density(0.5)), model)
        heights.append(float(film.at(np.array([[x, y]]))[0]))
        assert film.at(np.array([[x + 24.0, y - 20.0]]))[0] == pytest.approx(heights[-1], rel=1e-12)
        assert film.at(np.array([[x + 23.9, y]]))[0] == pytest.approx(heights[-1], rel=0.2)
        heights.append(film.volume)
    np.testing.assert_allclose(heights[::2], heights[0], rtol=1e-9)
    np.testing.assert_allclose(heights[1::2], heights[1], rtol=1e-9)
