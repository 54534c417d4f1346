"""Joining of film slices: the joined planes, their transmission, and the measured error of joining."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.physics import detector_weights, electrons, potential
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.local import film_slices, local_operator
from stemtwin.twin.physics.engine.local.film_slices import FilmSlices
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.physics.grids import Grid

ENERGY, SEMIANGLE, INNER, OUTER, SIDE = 200e3, 20e-3, 50e-3, 80e-3, 14.0
WAVELENGTH, INTERACTION = electrons.wavelength(ENERGY), electrons.interaction_constant(ENERGY)
GRID = Grid(shape=(144, 144), extent=(SIDE, SIDE))


def weights(ky, kx, pixel):
    """Return the weights of one annular detector."""
    return detector_weights.annulus(ky, kx, pixel, INNER / WAVELENGTH, OUTER / WAVELENGTH)[None]


def positions(count: int, low: float, high: float, seed: int) -> np.ndarray:
    """Return random places (x, y, z), A."""
    return np.random.default_rng(seed).uniform((0, 0, low), (SIDE, SIDE, high), (count, 3))


@pytest.fixture(scope="module")
def stack() -> SliceStack:
    """Four planes of gold atoms in front of 9 A of carbon atoms in nine slices, none of them behind each other."""
    gold, carbon = positions(40, 0, 8, 1), positions(180, 9, 18, 2)
    places, numbers = np.vstack([gold, carbon]), np.repeat([79, 6], [40, 180])
    index = np.concatenate([gold[:, 2] // 2, carbon[:, 2] // 1 - 5]).astype(int)
    planes = np.array([1.0, 3.0, 5.0, 7.0, *(9.5 + np.arange(9))])
    cut = potential.Slices(index=index, planes=planes, edges=np.empty(0))
    transmission = potential.transmissions(places, numbers, cut, GRID, INTERACTION, oversampling=1)
    return SliceStack(grid=GRID, wavelength=WAVELENGTH, transmission=transmission, planes=cut.planes, thickness=18.0)


def film(stack: SliceStack, thickness: float) -> FilmSlices:
    """Return the carbon of the specimen."""
    return FilmSlices(inside=stack.planes > 8.5, thickness=thickness)


# ---- which slices ----------------------------------------------------------------------------------------------------------------------


@given(
    gaps=st.lists(st.floats(0.2, 3.0), min_size=1, max_size=30),
    thickness=st.floats(1.0, 10.0),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_only_neighbours_of_a_film_are_joined(gaps: list[float], thickness: float, seed: int) -> None:
    """Each plane is in one group, in order; groups of several planes are of a film alone; their mean thickness is at most the one asked for."""
    planes = np.cumsum(gaps)
    inside = np.random.default_rng(seed).random(len(planes)) < 0.7
    found = FilmSlices(inside=inside, thickness=thickness).joined(planes)
    if found is None:
        return
    parts = np.split(np.arange(len(planes)), found.starts[1:])
    assert found.starts[0] == 0
    assert found.count == len(planes) > len(parts)
    assert all(inside[part].all() for part in parts if len(part) > 1)
    assert all(part.size for part in parts)
    np.testing.assert_allclose(found.planes(planes), [planes[part].mean() for part in parts])
    for run in np.split(np.arange(len(planes)), np.flatnonzero(np.diff(inside)) + 1):
        within = [part for part in parts if part[0] in run]
        assert sum(map(len, within)) == len(run)
        if len(within) < len(run):
            assert (planes[run[-1]] - planes[run[0]]) * len(run) / (len(run) - 1) / len(within) <= thickness * (1 + 1e-6)


def test_joined_slices_transmit_the_sum_of_their_potentials(stack: SliceStack) -> None:
    """Single planes keep their bits; a group transmits what one slice with all its atoms does, within what band limits make of it."""
    joined = film(stack, 3.0).joined(stack.planes)
    assert joined is not None
    found = joined.stack(stack)
    assert len(found.planes) == len(joined.starts) == 7
    np.testing.assert_array_equal(found.transmission[:4], stack.transmission[:4])
    places, numbers = positions(180, 9, 18, 2), np.full(180, 6)
    cut = potential.Slices(index=(places[:, 2] // 3 - 3).astype(int), planes=np.arange(3.0), edges=np.empty(0))
    together = potential.transmissions(places, numbers, cut, GRID, INTERACTION, oversampling=1)
    assert np.abs(found.transmission[4:] - together).max() < 0.02 * np.abs(together - 1).max()
    outside = np.fft.fft2(found.transmission[4:])[:, ~GRID.band]
    assert np.abs(outside).max() < 1e-5 * np.prod(GRID.shape)


# ---- where the check allows ------------------------------------------------------------------------------------------------------------


def built(stack: SliceStack, film: FilmSlices | None, tolerance: float = 0.02) -> local_operator.LocalOperator:
    """Return an operator."""
    return local_operator.build([stack], SEMIANGLE, weights, rng=np.random.default_rng(3), tolerance=tolerance, film=film)


@pytest.fixture(scope="module")
def operator(stack: SliceStack) -> local_operator.LocalOperator:
    """Return an operator whose functions pass the film in slices of 3 A."""
    return built(stack, film(stack, 3.0))


def test_joined_films_are_within_the_tolerance_of_all_slices(stack: SliceStack, operator: local_operator.LocalOperator) -> None:
    """Functions pass fewer slices; at points that the check did not see the image is that of multislice through all slices, as the operator says."""
    assert operator.joined is not None
    assert len(operator.windows.setup.stack.planes) == len(operator.joined.starts) < len(stack.planes)
    assert operator.accuracy is not None
    assert operator.accuracy.rms <= 0.02
    at = np.random.default_rng(8).uniform(0, SIDE, (48, 2))
    true = single_probes.probe_signals(stack, at, Aberrations(), SEMIANGLE, weights)[0]
    error = operator.image(Aberrations()).at(at)[0] - true
    assert np.sqrt((error**2).mean()) < 0.025 * true.mean()


def test_what_costs_too_much_is_not_joined(stack: SliceStack, operator: local_operator.LocalOperator) -> None:
    """Thick groups give way to thinner ones, and to none for a strict tolerance."""
    comparison = local_operator.accuracy_check.Comparison(operator, np.random.default_rng(4))
    sizes = []
    for tolerance in (1.0, 0.03, 1e-4):
        groups = film(stack, 12.0).allowed(comparison, stack, tolerance)
        sizes.append(len(stack.planes) if groups is None else len(groups.starts))
        if groups is not None:
            true = comparison.through(stack)
            error = comparison.through(groups.stack(stack)) - true
            assert np.sqrt((error**2).mean()) <= film_slices.SHARE * tolerance * true.mean()
    assert sizes[0] < sizes[1] < sizes[2] == len(stack.planes)


def test_moved_atoms_pass_joined_slices(stack: SliceStack, operator: local_operator.LocalOperator) -> None:
    """After an atom of the film moved, an operator brought up to date is one that was joined and built with the atom there, but for rounding."""
    places = np.array([[5.0, 6.0]])
    one = potential.transmissions(
        places, np.array([14]), potential.Slices(index=np.zeros(1, int), planes=np.zeros(1), edges=np.empty(0)), GRID, INTERACTION
    )
    transmission = stack.transmission.copy()
    transmission[8] *= one[0]
    changed = dataclasses.replace(stack, transmission=transmission)
    ours = operator.copy()
    ours.update([changed])
    again = local_operator.LocalOperator([changed], SEMIANGLE, weights, operator.basis.local)
    again.join(operator.joined)
    again.build()
    y = x = np.arange(20) / 20 * SIDE
    found, expected = (each.image(Aberrations()).raster(y, x)[0] for each in (ours, again))
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_joined_slices_are_part_of_what_an_operator_is(stack: SliceStack, operator: local_operator.LocalOperator) -> None:
    """Two operators with other joined slices do not share pieces."""
    plain = local_operator.LocalOperator([stack], SEMIANGLE, weights, operator.basis.local)
    before = plain.describe()
    plain.join(None)
    assert plain.describe() == before != operator.describe()
    plain.join(operator.joined)
    assert plain.describe() == operator.describe()
