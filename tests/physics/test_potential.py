"""Slices, potentials, transmissions: row 3 of the acceptance table, exact placement, and atoms that never lie on a slice's edge."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.scattering_factors import PARAMETRIZATIONS, scattering_factor
from tests.physics import twins

SIDES = st.sampled_from([8, 9, 12, 15, 16, 20, 25, 27, 30, 32])
SEEDS = st.integers(0, 2**32 - 1)


@given(shape=st.tuples(SIDES, SIDES), count=st.integers(0, 6), seed=SEEDS, parametrization=st.sampled_from(PARAMETRIZATIONS), damped=st.booleans())
@settings(max_examples=40)
def test_twin(shape, count, seed, parametrization, damped):
    """The sampled potential equals its Fourier series summed atom by atom, on any grid, even or odd, rectangular or square."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape=shape, extent=(rng.uniform(1, 6), rng.uniform(1, 6)))
    at, numbers = twins.atoms(rng, count, grid.extent, 5.0)
    sigma = rng.choice([0.0, 0.05, 0.1], count) if damped else None
    ours = pot.projected_potential(at, numbers, grid, parametrization=parametrization, sigma=sigma)
    theirs = twins.potential(at, numbers, grid, parametrization, sigma)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 3e-6 * np.abs(theirs).max(initial=1.0)


@given(count=st.integers(1, 8), seed=SEEDS)
@settings(max_examples=20)
def test_mean_inner_potential(count, seed):
    """The mean of the sampled potential is K sum_j f_j(0) / area (row 3: 1e-3)."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape=(24, 30), extent=(rng.uniform(2, 8), rng.uniform(2, 8)))
    at, numbers = twins.atoms(rng, count, grid.extent, 5.0)
    forward = sum(float(scattering_factor("kirkland", z, np.array(0.0))) for z in numbers)
    mean = float(pot.projected_potential(at, numbers, grid).mean())
    assert mean == pytest.approx(electrons.POTENTIAL_CONSTANT * forward / np.prod(grid.extent), rel=1e-5)


@given(x=st.floats(0, 4), y=st.floats(0, 3), seed=SEEDS)
@settings(max_examples=20)
def test_sub_pixel_translation(x, y, seed):
    """Atoms moved by any fraction of a pixel move the band-limited potential exactly: its coefficients get a phase ramp."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape=(25, 27), extent=(3.0, 4.0))
    at, numbers = twins.atoms(rng, 3, grid.extent, 5.0)
    here = np.fft.fft2(pot.projected_potential(at, numbers, grid).astype(float))
    there = np.fft.fft2(pot.projected_potential(at + np.array([x, y, 0]), numbers, grid).astype(float))
    ramp = np.exp(-2j * np.pi * (grid.ky[:, None] * y + grid.kx * x))
    assert np.abs(there - here * ramp).max() < 2e-6 * np.abs(here).sum() / math.sqrt(here.size)


def test_orientation_and_peak():
    """Arrays are [y, x]: an atom at (x, y) on a grid point is the maximum at [y / dy, x / dx]; it is symmetric about it."""
    grid = Grid(shape=(30, 40), extent=(3.0, 4.0))
    v = pot.projected_potential(np.array([[1.2, 0.5, 9.0]]), np.array([79]), grid)
    assert np.unravel_index(v.argmax(), v.shape) == (5, 12)
    centred = np.roll(v, (-5, -12), axis=(0, 1))
    assert np.allclose(centred, np.roll(centred[::-1, ::-1], (1, 1), axis=(0, 1)), atol=1e-5 * v.max())


def test_damping_is_the_mean_over_displacements():
    """The Debye-Waller factor gives the mean of the potential over a Gaussian displacement (Gauss-Hermite nodes)."""
    grid, sigma = Grid(shape=(36, 36), extent=(3.0, 3.0)), 0.08
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    weights = weights / weights.sum()
    mean = sum(
        a * b * pot.projected_potential(np.array([[1.0 + sigma * u, 1.3 + sigma * v]]), np.array([38]), grid).astype(float)
        for u, a in zip(nodes, weights, strict=True)
        for v, b in zip(nodes, weights, strict=True)
    )
    damped = pot.projected_potential(np.array([[1.0, 1.3]]), np.array([38]), grid, sigma=np.array([sigma]))
    assert np.abs(damped - mean).max() < 1e-4 * mean.max()


@given(shape=st.tuples(SIDES, SIDES), oversampling=st.integers(1, 3), seed=SEEDS)
@settings(max_examples=25)
def test_transmission_twin(shape, oversampling, seed):
    """exp(i sigma V) comes from the finer grid coefficient by coefficient, and holds nothing at or beyond the band limit."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape=shape, extent=(shape[0] * rng.uniform(0.05, 0.15), shape[1] * rng.uniform(0.05, 0.15)))
    at, numbers = twins.atoms(rng, 3, grid.extent, 1.0)
    interaction = electrons.interaction_constant(rng.uniform(30e3, 300e3))
    slices = pot.assign_slices(np.zeros(3))
    ours = pot.transmissions(at, numbers, slices, grid, interaction, oversampling=oversampling)[0]
    theirs = twins.transmission(at, numbers, grid, interaction, oversampling)
    assert ours.dtype == np.complex64
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
    assert np.abs(np.fft.fft2(ours)[~grid.band]).max(initial=0.0) < 1e-5 * grid.band.size**0.5


def test_transmission_of_vacuum():
    """No atoms: one plane at the entrance face that transmits everything."""
    slices = pot.assign_slices(np.empty(0))
    t = pot.transmissions(np.empty((0, 3)), np.empty(0, int), slices, Grid(shape=(12, 10), extent=(3.0, 2.0)), 7e-4)
    assert slices.planes.tolist() == [0.0]
    assert t.shape == (1, 12, 10)
    assert np.abs(t - 1).max() < 1e-6


# ---- slices ------------------------------------------------------------------------------------------------------------------------------


def check(z, slices):
    """What holds for every cut: each atom in one slice, in order, planes at the mean depth, edges between slices and off all atoms."""
    assert slices.index.shape == z.shape
    assert np.array_equal(np.unique(slices.index), np.arange(len(slices.planes)))
    assert (np.diff(slices.planes) > 0).all()
    assert slices.edges.shape == (len(slices.planes) - 1,)
    for i, plane in enumerate(slices.planes):
        inside = z[slices.index == i]
        assert plane == pytest.approx(inside.mean(), abs=1e-9)
        assert i == 0 or inside.min() > slices.edges[i - 1]
        assert i == len(slices.edges) or inside.max() < slices.edges[i]


def test_atomic_planes():
    """Planes of a crystal become slices at their depth, with edges midway between them, whatever the noise in z; none is lost."""
    a = 3.905
    ideal = np.tile(np.arange(10) * a / 2, 7)
    for noise in (0.0, 1e-9, 0.05):
        z = ideal + noise * np.random.default_rng(0).uniform(0, 1, ideal.size)
        slices = pot.assign_slices(z)
        check(z, slices)
        assert len(slices.planes) == 10
        assert np.allclose(slices.edges, (slices.planes[1:] + slices.planes[:-1]) / 2, atol=noise + 1e-9)


def test_thin_and_thick():
    """One layer is one slice, MoS2's three planes are three; rumpled planes less than 0.4 A apart are one; close planes join up to 1 A."""
    assert len(pot.assign_slices(np.full(50, 5.0)).planes) == 1
    mos2 = np.repeat([3.44, 5.0, 6.56], 16)
    assert np.allclose(pot.assign_slices(mos2).planes, [3.44, 5.0, 6.56])
    assert len(pot.assign_slices(np.array([0.0, 0.3, 2.0, 2.3])).planes) == 2
    joined = pot.assign_slices(np.arange(12) * 0.45)
    check(np.arange(12) * 0.45, joined)
    assert len(joined.planes) == 4
    bilayer = np.concatenate([mos2, mos2 + 100.0])  # vacuum between them holds no slices
    assert len(pot.assign_slices(bilayer).planes) == 6


@given(count=st.integers(1, 400), thickness=st.floats(0.5, 60), seed=SEEDS, repeated=st.booleans())
def test_any_atoms(count, thickness, seed, repeated):
    """Amorphous or layered, sparse or dense: every atom in one slice, none on an edge; where atoms lie densely, slices are 0.5 to 3 A thick."""
    z = np.random.default_rng(seed).uniform(0, thickness, count)
    z = np.round(z, 1) if repeated else z
    slices = pot.assign_slices(z)
    check(z, slices)
    if count / thickness > 20:
        assert np.diff(slices.planes).max(initial=1.0) < 3.0
        assert np.diff(slices.planes).min(initial=1.0) > 0.4


@given(count=st.integers(1, 300), step=st.floats(0.3, 4.0), seed=SEEDS, on_edges=st.booleans())
def test_asked_thickness(count, step, seed, on_edges):
    """Asked slices are that thick; edges lie at multiples, or aside where atoms would lie on them, and then the cut says so."""
    rng = np.random.default_rng(seed)
    z = step * rng.integers(0, 12, count) if on_edges else step * (rng.integers(0, 12, count) + rng.uniform(0.1, 0.9, count))
    slices = pot.assign_slices(z, step)
    check(z, slices)
    assert slices.shifted == on_edges
    for i in range(len(slices.planes)):
        assert np.ptp(z[slices.index == i]) <= step
    if on_edges:  # half a slice aside: every multiple is a slice of its own
        assert len(slices.planes) == len(np.unique(np.round(z / step)))


def test_asked_thickness_with_atoms_on_every_edge():
    """Atoms at multiples and half multiples: the edges go into the widest gap, off every atom."""
    z = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.25, 3.0])
    slices = pot.assign_slices(z, 1.0)
    check(z, slices)
    assert slices.shifted
    assert np.abs(z[:, None] - slices.edges).min() > pot.EDGE_TOLERANCE


def test_edge_in_vacuum_between_equal_depths():
    """A cut that must be made where many atoms share a depth goes beside them, not through them."""
    z = np.concatenate([np.arange(20) * 0.3, np.full(50, 5.7), [40.0, 40.0, 40.0]])
    check(z, pot.assign_slices(z))


def test_noise_does_not_move_atoms_to_another_slice():
    """Float noise on the depths changes no atom's slice, with atoms at multiples of the thickness (PyPrismatic's and abTEM's old trap)."""
    z = np.repeat(np.arange(20) * 1.9525, 5)
    noisy = z + 1e-13 * np.random.default_rng(0).standard_normal(z.size)
    for thickness in (None, 1.9525, 3.905):
        assert np.array_equal(pot.assign_slices(z, thickness).index, pot.assign_slices(noisy, thickness).index)


@pytest.mark.parametrize("thickness", [0.0, -1.0, math.nan, math.inf])
def test_no_thickness(thickness):
    """A slice thickness that is none is refused."""
    with pytest.raises(SamplingError, match="slice_thickness"):
        pot.assign_slices(np.arange(3.0), thickness)
