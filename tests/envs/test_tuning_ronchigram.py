"""Ronchigrams of the film on which aberrations are corrected: against multislice, electrons, focal spread, places."""

from dataclasses import replace

import numpy as np
import pytest

import stemtwin as st
from stemtwin.twin.envs import tuning_ronchigram as shadows
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.overlayer import CARBON, CARBON_DENSITY

ENERGY = 200e3
LENS = shadows.lens(electrons.wavelength(ENERGY), 25e-3)
STATES = [Aberrations(C10=120.0, C12=40.0, phi12=0.3, C21=2e3, phi21=1.0), Aberrations(C10=-400.0, C30=2e4), Aberrations(C10=40.0, C23=2e3)]


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """Return a film."""
    return shadows.transmission(LENS, ENERGY, 0.3, 5)


def contrast(pattern: np.ndarray) -> np.ndarray:
    """Return a pattern over its mean within nine tenths of the disc, less one."""
    inner = pattern[shadows.inside(0.9)].astype(float)
    return inner / inner.mean() - 1


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES[:2])
def test_patterns_are_those_of_multislice(state: Aberrations) -> None:
    """What multislice makes of atoms at random places and depths in 30 A is what the grating makes, to a third of the contrast."""
    rng, pitch = np.random.default_rng(2), shadows.SIDE_ANGSTROM / shadows.POINTS
    layers = round(shadows.THICKNESS_ANGSTROM / (2 * pitch))  # sites that are not so near that atoms would lie on each other
    sites = rng.random((*LENS.grid.shape, layers)) < CARBON_DENSITY * pitch**2 * shadows.THICKNESS_ANGSTROM / layers
    y, x, z = (index * step for index, step in zip(np.nonzero(sites), (pitch, pitch, 2 * pitch), strict=True))
    atoms = sites.sum(axis=2)
    carbon = st.Sample(
        name="carbon at random places",
        numbers=np.full(len(y), CARBON),
        positions_angstrom=np.column_stack([x, y, z]),
        size_angstrom=(shadows.SIDE_ANGSTROM, shadows.SIDE_ANGSTROM),
        thickness_angstrom=shadows.THICKNESS_ANGSTROM,
    )
    middle = replace(state, C10=state.C10 + z.mean())
    ours = shadows.expected_pattern(LENS, shadows.grating(LENS, ENERGY, 0.0, atoms), middle, position=(10.0, 20.0))
    beam = st.Beam(energy_ev=ENERGY, semiangle_mrad=25.0, aberrations=state)
    camera = st.PixelatedDetector(shape=(shadows.PIXELS, shadows.PIXELS), outer_mrad=shadows.EDGE * 25.0, name="shadow")
    exact = st.ronchigram(carbon, beam, camera=camera, engine="multislice", position_angstrom=(10.0, 20.0))["shadow"].to_numpy()
    exact, ours = contrast(exact), contrast(ours)
    assert np.corrcoef(exact, ours)[0, 1] > 0.94
    assert (exact - ours).std() < 0.34 * exact.std()


def test_all_electrons_arrive(film: np.ndarray) -> None:
    """Hardly anything is scattered beyond the camera, and the disc holds nearly all, whatever the aberrations."""
    for state in STATES:
        pattern = shadows.expected_pattern(LENS, film, state, focal_spread=17.0)
        assert 0.995 < pattern.sum() < 1.001
        assert pattern[shadows.inside(1.03)].sum() > 0.98


def test_a_focal_spread_of_three_nodes_is_near_that_of_many(film: np.ndarray) -> None:
    """The differences of three foci and of 13 are small beside the contrast."""
    state, nodes = STATES[0], np.linspace(-3, 3, 13)
    ours = contrast(shadows.expected_pattern(LENS, film, state, focal_spread=17.0))
    dense = [shadows.expected_pattern(LENS, film, replace(state, C10=state.C10 + 17.0 * float(node))) for node in nodes]
    many = contrast(np.average(dense, axis=0, weights=np.exp(-(nodes**2) / 2)))
    assert (ours - many).std() < 0.1 * many.std()


def test_patterns_move_with_the_probe(film: np.ndarray) -> None:
    """A probe that is parked on another point sees the film that lies there."""
    step = shadows.SIDE_ANGSTROM / shadows.POINTS
    there = shadows.expected_pattern(LENS, film, STATES[0], position=(3 * step, -5 * step))
    here = shadows.expected_pattern(LENS, np.roll(film, (5, -3), axis=(1, 2)), STATES[0])
    np.testing.assert_allclose(there, here, atol=1e-5 * float(here.max()))


def test_a_source_is_a_mean_over_places(film: np.ndarray) -> None:
    """The film that the source's image blurs gives the mean of patterns of probes parked about the point, to first order in its phase."""
    atoms = np.random.default_rng(3).poisson(CARBON_DENSITY * shadows.THICKNESS_ANGSTROM * 0.32**2, LENS.grid.shape)
    sharp, blurred = (shadows.grating(LENS, ENERGY, size, atoms) for size in (0.0, 0.4))
    nodes = 0.4 * np.array([-1.0, 1.0])
    ours = contrast(shadows.expected_pattern(LENS, blurred, STATES[0]))
    mean = contrast(np.mean([shadows.expected_pattern(LENS, sharp, STATES[0], position=(x, y)) for x in nodes for y in nodes], axis=0))
    alone = contrast(shadows.expected_pattern(LENS, sharp, STATES[0]))
    assert (ours - mean).std() < 0.3 * (alone - mean).std() + 0.05 * mean.std()


def test_levels_are_a_picture_of_the_contrast(film: np.ndarray) -> None:
    """Within the disc 128 is the mean and 5 one percent; outside it is 0; nothing counted is black."""
    picture = shadows.levels((1e8 * shadows.expected_pattern(LENS, film, STATES[0])).astype(np.uint32))
    assert picture[0, 0] == 0
    assert picture[picture > 0].mean() == pytest.approx(128, abs=1)
    assert not shadows.levels(np.zeros((shadows.PIXELS, shadows.PIXELS), np.uint16)).any()
