"""The local operator agrees with multislice, keeps its promises about bits, and says how far off it is."""

import dataclasses
import functools

import numpy as np
import pytest

from stemtwin.twin.errors import SamplingError, SettingsError
from stemtwin.twin.physics import detector_weights, electrons, potential, probe
from stemtwin.twin.physics.aberrations import Aberrations, chi
from stemtwin.twin.physics.engine.kernels.simd_complex64 import LANES, POINT, aligned
from stemtwin.twin.physics.engine.local import local_image, local_kernels, local_operator, resources
from stemtwin.twin.physics.engine.local.basis import SIDE, Basis, Localisation, partners, pieces_of
from stemtwin.twin.physics.engine.local.local_operator import LocalOperator
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.operator import imaging_operator, single_probes
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.samples.library import load_sample

ENERGY, SEMIANGLE, INNER, OUTER = 80e3, 25e-3, 60e-3, 150e-3
WAVELENGTH = electrons.wavelength(ENERGY)
REACH = Localisation(shape=6.0, reach=2.8, band=3.5, correlation=4.5)
STATES = (Aberrations(), Aberrations(C10=50.0), Aberrations(C10=-200.0), Aberrations(C10=-40.0, C12=30.0, phi12=0.4, C21=2e3, phi21=1.0, C30=2e4))


def annulus(inner, outer):
    """Return the weights of one annular detector."""
    return lambda ky, kx, pixel: detector_weights.annulus(ky, kx, pixel, inner / WAVELENGTH, outer / WAVELENGTH)[None]


def transmit(grid, positions, numbers, slices):
    """Return the transmission functions of atoms."""
    return potential.transmissions(positions, numbers, slices, grid, electrons.interaction_constant(ENERGY))


@functools.cache
def specimen(size=20.0, outer=OUTER, seed=None):
    """Return atoms, numbers, slices and stack of MoS2; with a seed every atom is displaced by about 0.08 A, and the sulphur near 5, 5 A is gone."""
    sample = load_sample("mos2-1h", size_angstrom=(size, size))
    positions, numbers = sample.positions_angstrom.copy(), sample.numbers
    slices = potential.assign_slices(positions[:, 2])
    if seed is not None:
        rng = np.random.default_rng(seed)
        positions[:, :2] += rng.normal(0, 0.08, (len(positions), 2))
        keep = ~((np.hypot(positions[:, 0] - 5, positions[:, 1] - 5) < 2.5) & (numbers == 16))
        positions, numbers = positions[keep], numbers[keep]
        slices = dataclasses.replace(slices, index=slices.index[keep])
    shape = tuple(fast_length(int(np.ceil(3.03 * outer / WAVELENGTH * side))) for side in sample.size_angstrom)
    grid = Grid(shape=shape, extent=sample.size_angstrom)
    transmission = transmit(grid, positions, numbers, slices)
    transmission.flags.writeable = False
    stack = SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=transmission, planes=slices.planes, thickness=sample.thickness_angstrom)
    return positions, numbers, slices, stack


@functools.cache
def operator():
    """Return the operator of a small sheet with defects, built to 1 %."""
    return local_operator.build([specimen(seed=1)[3]], SEMIANGLE, annulus(INNER, OUTER), rng=np.random.default_rng(2))


def fresh(stacks, weights=None, **settings):
    """Return an operator of which nothing is built."""
    return LocalOperator(stacks, SEMIANGLE, annulus(INNER, OUTER) if weights is None else weights, REACH, **settings)


def random_points(extent, count, seed):
    """Return points (x, y) anywhere in a field."""
    return np.random.default_rng(seed).random((count, 2)) * extent[::-1]


def errors(found, true):
    """Return rms and largest error, over the mean."""
    difference = np.asarray(found, float) - true
    return np.sqrt((difference**2).mean()) / true.mean(), np.abs(difference).max() / true.mean()


# ---- against multislice --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
def test_agrees_with_multislice(state):
    """Images at 50 points that the check did not see are within 1 % (rms / mean) of multislice of single probes, for any state of the optics."""
    stack = specimen(seed=1)[3]
    at = random_points(stack.grid.extent, 50, 77)
    true = single_probes.probe_signals(stack, at, state, SEMIANGLE, annulus(INNER, OUTER))[0]
    rms, largest = errors(operator().image(state).at(at)[0], true)
    assert rms < 0.01
    assert largest < 0.03


def test_tolerance_report_is_honest():
    """The reported error is that of other random points within a factor of two and within the tolerance, also within a stricter one."""
    stack = specimen(seed=1)[3]
    assert operator().accuracy.points >= 50
    assert operator().accuracy.rms <= 0.01
    found = []
    for state in (Aberrations(), Aberrations(C10=2 * WAVELENGTH / SEMIANGLE**2)):
        at = random_points(stack.grid.extent, 48, 5)
        true = single_probes.probe_signals(stack, at, state, SEMIANGLE, annulus(INNER, OUTER))[0]
        found.append((operator().image(state).at(at)[0] - true) / true.mean())
    independent = np.sqrt(np.square(found).mean())
    assert 0.5 * independent < operator().accuracy.rms < 2 * independent
    strict = local_operator.build([stack], SEMIANGLE, annulus(INNER, OUTER), rng=np.random.default_rng(3), tolerance=0.0025)
    assert strict.accuracy.rms <= 0.0025
    assert strict.accuracy.largest >= strict.accuracy.rms


def test_smaller_convergence():
    """An operator gives the images of any smaller convergence, within 1 %."""
    stack = specimen(seed=1)[3]
    at = random_points(stack.grid.extent, 50, 8)
    true = single_probes.probe_signals(stack, at, Aberrations(C10=-30.0), 18e-3, annulus(INNER, OUTER))[0]
    assert errors(operator().image(Aberrations(C10=-30.0), semiangle=18e-3).at(at)[0], true)[0] < 0.01


@pytest.mark.parametrize(("inner", "outer"), [(50e-3, 75e-3), (31e-3, 50e-3)])
def test_detectors_near_the_bright_field(inner, outer):
    """Medium and low angles, down to 1.2 times the convergence, are built to 1 %, too."""
    found = local_operator.build([specimen(outer=90e-3, seed=1)[3]], SEMIANGLE, annulus(inner, outer), rng=np.random.default_rng(4))
    assert found.accuracy.rms <= 0.01


def dense_and_local(size):
    """Return both operators' images of a periodic sheet on 24 x 24 points, for each state."""
    stack = specimen(size=size)[3]
    dense = imaging_operator.build(iter([stack]), SEMIANGLE, annulus(INNER, OUTER))
    ours = local_operator.build([stack], SEMIANGLE, annulus(INNER, OUTER), rng=np.random.default_rng(6))
    y, x = (np.arange(24) / 24 * side for side in stack.grid.extent)
    return [(ours.image(state).raster(y, x), dense.image(state).raster(y, x)) for state in STATES[:3]]


def test_agrees_with_the_dense_operator():
    """On a periodic cell of 16 A the local operator's whole image is the dense one's within 1 %, although their detectors' edges differ."""
    for found, true in dense_and_local(16.0):
        assert errors(found, true)[0] < 0.01


@pytest.mark.slow
def test_agrees_with_the_dense_operator_on_a_larger_cell():
    """On a periodic cell of 31 A the local operator's whole image is also the dense one's within 1 %."""
    for found, true in dense_and_local(31.0):
        assert errors(found, true)[0] < 0.01


@pytest.mark.slow
def test_large_field():
    """A field of 100 x 100 A with defects is within 1 % of multislice through all of it, at defocus 0, 50 and 200 A."""
    stack = specimen(size=100.0, seed=9)[3]
    found = local_operator.build([stack], SEMIANGLE, annulus(INNER, OUTER), rng=np.random.default_rng(10))
    assert found.accuracy.rms <= 0.01
    at = random_points(stack.grid.extent, 64, 11)
    box = ((0.0, stack.grid.extent[0]), (0.0, stack.grid.extent[1]))
    for c10 in (0.0, -50.0, -200.0):
        image = found.image(Aberrations(C10=c10))
        probes = local_operator.accuracy_check._Probes(found, at, box, Aberrations(C10=c10))
        true = (probes.through(stack, probes.weights()) + probes.tails(image.beyond)[:, None])[0]
        assert errors(image.at(at)[0], true)[0] < 0.01


# ---- physics -------------------------------------------------------------------------------------------------------------------------


def test_translation():
    """A specimen rolled by whole pixels gives the rolled image; an image repeats with the field; equal atoms of a perfect sheet look equal."""
    stack = specimen(seed=1)[3]
    move = (37, 90)
    rolled = fresh([dataclasses.replace(stack, transmission=np.roll(stack.transmission, move, (1, 2)))])
    rolled.build()
    at = random_points(stack.grid.extent, 60, 12)
    moved = at + np.array([move[1] * stack.grid.sampling[1], move[0] * stack.grid.sampling[0]])
    original = operator().image(Aberrations()).at(at)[0]
    assert errors(rolled.image(Aberrations()).at(moved)[0], original)[0] < 0.005
    np.testing.assert_allclose(operator().image(Aberrations()).at(at + np.array(stack.grid.extent[::-1]))[0], original, rtol=1e-4)
    perfect, numbers, _, clean = specimen()
    ours = fresh([clean])
    ours.build()
    molybdenum = ours.image(Aberrations()).at(perfect[numbers == 42][:, :2])[0]
    assert molybdenum.std() < 0.005 * molybdenum.mean()


def test_overlaps_are_hermitian_and_images_positive():
    """The overlap of a function with itself is real and not negative, and so is every image."""
    overlaps = operator()._overlaps[0, 0]
    own = np.flatnonzero((operator().basis.steps == 0).all(axis=1))[0]
    assert overlaps[:, :, 0, own].min() > 0
    assert np.abs(overlaps[:, :, 1, own]).max() < 1e-5 * overlaps[:, :, 0, own].max()
    for state in STATES:
        y, x = (np.linspace(0, side, 60) for side in operator().grid.extent)
        assert operator().image(state).raster(y, x).min() > 0


def test_both_halves_of_the_plane():
    """K of a step, computed from the other patch's side, is the conjugate: <j'|D|j> = conj <j|D|j'>."""
    ours = operator()
    windows, stack = ours.windows, specimen(seed=1)[3]
    (partner,) = [p for p in windows.partners((1, 1)) if p.patch == (2, 1)]
    waves = windows.propagate(stack, [(1, 1), (2, 1)])
    back = dataclasses.replace(partner, patch=(1, 1), entries=partner.entries[:, [1, 0, 2]])
    forth_sum, back_sum = (np.zeros_like(ours._overlaps) for _ in range(2))
    windows.correlate([((1, 1), partner)], waves, forth_sum, 1.0, add=False)
    windows.correlate([((2, 1), back)], waves, back_sum, 1.0, add=False)
    scale = np.abs(forth_sum).max()
    for a, b, slot in partner.entries:
        batch, lane = divmod(int(slot), LANES)
        here = forth_sum[0, batch, SIDE + a // SIDE, SIDE + a % SIDE, :, lane]
        there = back_sum[0, batch, 2 * SIDE + b // SIDE, SIDE + b % SIDE, :, lane]
        np.testing.assert_allclose(here, there * [1, -1], atol=1e-5 * scale)


def test_vacuum_scatters_nothing():
    """Nothing reaches a dark-field detector through vacuum."""
    stack = specimen()[3]
    empty = fresh([dataclasses.replace(stack, transmission=np.ones_like(stack.transmission))])
    empty.build()
    image = empty.image(Aberrations(C10=30.0)).at(random_points(stack.grid.extent, 20, 0))
    assert np.abs(image).max() < 1e-9


@pytest.mark.slow
def test_phonons_and_channels():
    """K of several configurations is the mean of theirs, and detectors in one call are the detectors one by one."""
    stacks = [specimen(seed=seed)[3] for seed in (1, 2, 3)]
    both = lambda ky, kx, pixel: np.concatenate([annulus(60e-3, 100e-3)(ky, kx, pixel), annulus(90e-3, 150e-3)(ky, kx, pixel)])  # noqa: E731
    together = fresh(stacks, both)
    together.build()
    accuracy = together.check(np.random.default_rng(1))
    assert 0 < accuracy.standard_error < 0.3
    assert accuracy.rms < 0.01
    at = random_points(stacks[0].grid.extent, 40, 3)
    image = together.image(Aberrations(C10=20.0)).at(at)
    for channel, angles in enumerate([(60e-3, 100e-3), (90e-3, 150e-3)]):
        signals = []
        for stack in stacks:
            one = fresh([stack], annulus(*angles))
            one.build()
            signals.append(one.image(Aberrations(C10=20.0)).at(at)[0])
        np.testing.assert_allclose(image[channel], np.mean(signals, axis=0), rtol=2e-3)


def test_focal_spread_and_source_size():
    """Focal spread is the Gaussian mean over C10, a source the Gaussian mean over places, to 1e-4 of the largest signal."""
    at = random_points(operator().grid.extent, 30, 1)
    nodes = np.linspace(-5, 5, 81)
    shares = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()
    direct = sum(w * operator().image(Aberrations(C10=-60.0 + 25.0 * n)).at(at)[0] for n, w in zip(nodes, shares, strict=True))
    found = operator().image(Aberrations(C10=-60.0), focal_spread=25.0).at(at)[0]
    assert np.abs(found - direct).max() < 2e-4 * direct.max()
    steps = np.linspace(-1.6, 1.6, 25)
    shares = np.exp(-((steps / 0.4) ** 2) / 2)
    shares = np.outer(shares, shares) / shares.sum() ** 2
    moved = at[:, None, None] + np.stack(np.meshgrid(steps, steps), axis=-1)
    direct = (operator().image(Aberrations()).at(moved)[0] * shares).sum(axis=(1, 2))
    found = operator().image(Aberrations(), source_size=0.4).at(at)[0]
    assert np.abs(found - direct).max() < 2e-4 * direct.max()


@pytest.mark.parametrize("phase", [0.3, 2.0, 9.0])
def test_focal_nodes(phase):
    """The nodes give the mean of every interference term up to the largest phase, to 1e-4."""
    nodes, shares = local_image.focal_nodes(phase)
    t = np.linspace(0, phase, 57)
    np.testing.assert_allclose(np.exp(1j * np.outer(t, nodes)) @ shares, np.exp(-(t**2) / 2), atol=2e-4)


def test_hard_edges():
    """With pixel masks the operator equals multislice with pixel masks at the aperture."""
    stack = specimen(seed=1)[3]
    hard = fresh([stack], antialias=False)
    hard.build()
    at = random_points(stack.grid.extent, 40, 21)
    true = single_probes.probe_signals(stack, at, Aberrations(), SEMIANGLE, annulus(INNER, OUTER), antialias=False)[0]
    assert errors(hard.image(Aberrations()).at(at)[0], true)[0] < 0.01


# ---- the same bits -------------------------------------------------------------------------------------------------------------------


def wide():
    """Return the stack of a sheet of several pieces, coarse enough to be quick."""
    return specimen(size=55.0, outer=90e-3, seed=4)[3]


WIDE = annulus(55e-3, 85e-3)


@functools.cache
def wide_operator():
    """Return its operator, built in one go."""
    found = fresh([wide()], WIDE)
    found.build()
    return found


def test_halves_are_the_whole():
    """A field built in two halves has the same bits as one built in one go, and the same image."""
    ly, lx = wide().grid.extent
    halves = fresh([wide()], WIDE)
    halves.build(((0.0, ly), (5.0, lx / 2 - 12.0)), margin=0.0)
    assert 0 < halves._built.sum() < halves._built.size
    halves.build(((0.0, ly), (0.0, lx)))
    assert np.array_equal(halves._overlaps, wide_operator()._overlaps)
    at = random_points(wide().grid.extent, 20, 2)
    assert np.array_equal(halves.image(Aberrations()).at(at), wide_operator().image(Aberrations()).at(at))
    assert halves.describe() == wide_operator().describe()


def test_region_of_a_field():
    """An image of a region, of which only the surroundings are built, is the image of the whole field there, within 0.5 % of the mean."""
    region = ((20.0, 21.0), (19.5, 21.0))
    part = fresh([wide()], WIDE)
    part.build(region, margin=16.0)
    assert not part._built.all()
    at = np.random.default_rng(3).uniform((19.5, 20), (21, 21), (60, 2))
    for state in STATES[:2]:
        ours = part if state == STATES[0] else wide_operator()
        assert errors(ours.image(state, region=region).at(at)[0], wide_operator().image(state).at(at)[0])[0] < 0.005
    assert part.check(np.random.default_rng(5), region).rms < 0.01


@pytest.mark.parametrize("given", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_update_is_a_rebuild(given):
    """After an atom has moved, an update of its surroundings has the bits of a new operator, also across the field's edge, and is less work."""
    stack = wide()
    rows, columns = np.arange(-20, 25), np.arange(100, 140)  # over the edge
    transmission = stack.transmission.copy()
    transmission[np.ix_([1], rows, columns)] *= np.exp(0.2j * np.random.default_rng(0).random((1, 45, 40))).astype(np.complex64)
    changed = dataclasses.replace(stack, transmission=transmission)
    updated = fresh([stack], WIDE)
    updated.build()
    updated.image(Aberrations())
    dy, dx = stack.grid.sampling
    region = ((-20 * dy, 24 * dy), (100 * dx, 139 * dx)) if given else None
    touched = updated.update([changed], None if region is None else [region])
    assert 0 < touched < 0.5 * np.prod(updated.basis.patches)
    anew = fresh([changed], WIDE)
    anew.build()
    assert np.array_equal(updated._overlaps, anew._overlaps)
    assert not np.array_equal(updated._overlaps, wide_operator()._overlaps)
    at = random_points(stack.grid.extent, 20, 2)
    assert np.array_equal(updated.image(Aberrations()).at(at), anew.image(Aberrations()).at(at))


def test_threads_do_not_change_a_bit(monkeypatch):
    """1 and 3 threads give the same bits, of overlaps, images, rasters and points."""
    stack = specimen(outer=90e-3, seed=1)[3]
    at, results = random_points(stack.grid.extent, 3000, 2), []
    for count in ("1", "3"):
        monkeypatch.setenv("STEMTWIN_THREADS", count)
        ours = fresh([stack], WIDE)
        ours.build()
        image = ours.image(STATES[3], focal_spread=20.0, source_size=0.2)
        results.append((ours._overlaps, image.coefficients, image.raster(np.arange(17.0), np.arange(19.0)), image.at(at)))
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


# ---- specimens that do not repeat ----------------------------------------------------------------------------------------------------


def test_a_flake_in_vacuum():
    """A specimen that does not repeat equals the same one with vacuum around it on a larger periodic field, also at its edges."""
    stack = specimen(outer=90e-3, seed=1)[3]
    ny, nx = stack.grid.shape
    flake = fresh([stack], WIDE, periodic=False)
    flake.build()
    border = 160
    padded = np.ones((len(stack.planes), fast_length(ny + 2 * border), fast_length(nx + 2 * border)), np.complex64)
    padded[:, border : border + ny, border : border + nx] = stack.transmission
    dy, dx = stack.grid.sampling
    grid = Grid(shape=padded.shape[1:], extent=(padded.shape[1] * dy, padded.shape[2] * dx))
    around = fresh([dataclasses.replace(stack, grid=grid, transmission=padded)], WIDE)
    around.build()
    at = random_points(stack.grid.extent, 50, 4)
    at[:10, 0] = 0.0
    for state in STATES[:2]:
        found, true = flake.image(state).at(at)[0], around.image(state).at(at + np.array([border * dx, border * dy]))[0]
        assert errors(found, true)[0] < 0.01
    assert flake.check(np.random.default_rng(6)).rms < 0.01


@pytest.mark.parametrize("side", [16.0, 24.0, 40.0, 60.0, 100.0])
def test_a_wider_margin_never_needs_fewer_pieces(side):
    """A scan of a whole field that is not periodic needs all pieces for any margin; parts beyond the lattice's edge remove none."""
    basis = Basis(grid=Grid(shape=(512, 480), extent=(side, side)), radius=SEMIANGLE / WAVELENGTH, periodic=False, local=REACH)
    whole = ((0.0, side), (0.0, side))
    for margin in (0.0, 5.0, 12.0, 15.3, 60.0):
        inner = set(pieces_of(basis, ((side / 2, side / 2), (side / 2, side / 2)), margin))
        assert inner <= set(pieces_of(basis, whole, margin))
        if margin >= REACH.reach + max(basis.spacing):
            assert pieces_of(basis, whole, margin) == pieces_of(basis, None, margin)


def test_a_change_of_more_than_a_field_that_does_not_repeat_is_all_of_it():
    """A region that begins before the field's edge and ends behind the other one touches every patch."""
    stack = specimen(outer=90e-3, seed=1)[3]
    flake = fresh([stack], WIDE, periodic=False)
    assert flake._changed_pixels([stack], [((-15.0, 45.0), (-15.0, 45.0))]).all()


# ---- the kernels and their slow twins ------------------------------------------------------------------------------------------------


def test_overlap_twin():
    """The kernel of overlaps equals a matrix product in numpy; of some functions only, it has the same bits and leaves those of others alone."""
    rng = np.random.default_rng(0)
    count, chosen = 40, np.sort(rng.choice(40, 25, replace=False))
    left, right, shifted, out = aligned(count * POINT), aligned(count * POINT), aligned(25 * POINT), aligned(LANES * POINT)
    left[:], right[:] = rng.standard_normal(left.size), rng.standard_normal(left.size)
    weights = rng.random(25).astype(np.float32)
    qy, qx = rng.integers(0, 6, 25), rng.integers(0, 8, 25)
    ramps = [np.exp(2j * np.pi * rng.random(n)).astype(np.complex64) for n in (6, 8)]
    local_kernels.overlap(left, right, np.arange(LANES), chosen, weights, qy, qx, ramps[0], ramps[1], shifted, out)
    u, v = (a.reshape(-1, 2, LANES)[:, 0] + 1j * a.reshape(-1, 2, LANES)[:, 1] for a in (left, right))
    v = v[chosen] * (ramps[0][qy] * ramps[1][qx])[:, None]
    expected = (v.conj() * weights[:, None]).T @ u[chosen]
    found = out.reshape(-1, 2, LANES)
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], expected, atol=1e-4)
    some, partly = np.array([0, 1, 4, 5, 12, 13, 13, 13]), aligned(LANES * POINT)
    local_kernels.overlap(left, right, some, chosen, weights, qy, qx, ramps[0], ramps[1], shifted, partly)
    np.testing.assert_array_equal(partly.reshape(LANES, -1), np.where(np.isin(np.arange(LANES), some)[:, None], out.reshape(LANES, -1), 0))


def test_image_twin():
    """The image by FFTs is the sum over all pairs of functions, written out."""
    ours, state = operator(), STATES[3]
    basis, image = ours.basis, ours.image(state)
    hy, hx = (np.arange(-m, m + 1) for m in (int(basis.top * side) + 1 for side in basis.grid.extent))
    ky, kx = (k.ravel() for k in np.meshgrid(hy / basis.grid.extent[0], hx / basis.grid.extent[1], indexing="ij"))
    c = probe.disc_coverage(ky, kx, basis.grid.reciprocal_sampling, SEMIANGLE / WAVELENGTH)
    keep = c > 0
    ky, kx, c = ky[keep], kx[keep], c[keep]
    a = c * np.exp(-1j * chi(state, ky, kx, WAVELENGTH)) / np.sqrt(np.pi * (SEMIANGLE / WAVELENGTH) ** 2 * np.prod(basis.grid.extent))
    norm = (np.abs(a) ** 2).sum()
    y, x = (o + np.arange(n) * h for o, n, h in zip(basis.origin, basis.counts, basis.spacing, strict=True))
    conjugated = ours._overlaps[0]

    def form(f):
        total = 0.0
        for slot, (p, q) in enumerate(basis.steps):
            k = conjugated[slot // LANES, :, :, 0, slot % LANES] - 1j * conjugated[slot // LANES, :, :, 1, slot % LANES]
            total += (2 if p or q else 1) * (f.conj() * np.roll(f, (-p, -q), (0, 1)) * k).sum().real
        return total / np.prod(basis.grid.extent)

    rim, beyond = c**6 * (1 - c), 0.0
    for number in np.flatnonzero(rim > 1e-4):  # one plane wave after the other, without interference
        wave = np.outer(np.exp(2j * np.pi * ky[number] * y), np.exp(2j * np.pi * kx[number] * x))
        beyond += rim[number] / rim.sum() * form(wave / basis.shape(np.hypot(ky[number], kx[number])))
    assert image.beyond[0] == pytest.approx(beyond, rel=1e-3)
    for at in random_points(basis.grid.extent, 3, 6):
        f = np.einsum(
            "yk,k,kx->yx",
            np.exp(2j * np.pi * np.outer(y - at[1], ky)),
            a / basis.shape(np.hypot(ky, kx)),
            np.exp(2j * np.pi * np.outer(kx, x - at[0])),
        )
        assert image.at(at[None])[0, 0] == pytest.approx(form(f) + (1 - norm) * image.beyond[0], rel=1e-4)


def test_raster_and_points():
    """A raster, points and the sum of Fourier coefficients agree."""
    image = operator().image(STATES[3])
    y, x = np.linspace(-3, 25, 13), np.linspace(1, 40, 11)
    raster = image.raster(y, x)
    points = image.at(np.stack(np.meshgrid(x, y), axis=-1))
    _, rows, columns = image.coefficients.shape
    hy, hx = np.arange(rows), np.arange(columns) - columns // 2
    ly, lx = image.extent
    direct = np.einsum(
        "chk,yh,kx->cyx",
        image.coefficients.astype(complex),
        np.exp(-2j * np.pi * np.outer(y - image.origin[0], hy) / ly),
        np.exp(-2j * np.pi * np.outer(hx, x - image.origin[1]) / lx),
    ).real
    np.testing.assert_allclose(raster, direct, atol=2e-6 * direct.max())
    np.testing.assert_allclose(points, direct, atol=1e-5 * direct.max())


def test_every_pair_once():
    """All steps from all lattice points are listed once, whatever the number of patches, over the field's edges as well."""
    for periodic in (True, False):
        basis = fresh([specimen()[3]], periodic=periodic).basis
        seen = set()
        for py in range(basis.patches[0]):
            for px in range(basis.patches[1]):
                for partner in partners(basis, (py, px)):
                    for a, b, slot in partner.entries:
                        j = np.array([py * SIDE + a // SIDE, px * SIDE + a % SIDE])
                        other = np.array(partner.patch) * SIDE + np.array([b // SIDE, b % SIDE]) + np.array(partner.cell) * basis.counts
                        assert np.array_equal(other - j, basis.steps[slot])
                        seen.add((*j.tolist(), int(slot)))
        most = np.prod(basis.counts) * len(basis.steps)
        assert len(seen) == most if periodic else 0.7 * most < len(seen) < most


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("region", [None, ((3.0, 9.0), (20.0, 24.0)), ((-4.0, 2.0), (1.0, 1.5))])
def test_what_is_sent_is_known_before(periodic, region, monkeypatch):
    """The patches that a build propagates, including partners and repeated ones, are counted exactly beforehand."""
    found = fresh([wide()], WIDE, periodic=periodic)
    sent = []
    monkeypatch.setattr(found.windows, "propagate", lambda _, patches, __: sent.extend(patches) or dict.fromkeys(patches))
    monkeypatch.setattr(found.windows, "correlate", lambda *_, **__: None)
    found.build(region, margin=2.0)
    assert len(sent) == resources.sent(found.basis, found.pieces(region, 2.0))
    if region is None:
        assert len(set(sent)) == np.prod(found.basis.patches)
        assert (len(sent) > len(set(sent))) == periodic


# ---- what is refused -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "outer", "words"),
    [
        (0.0, 12e-3, "dark field.*dense imaging operator"),
        (26e-3, 100e-3, "26.0 mrad.*dense imaging operator"),
        (60e-3, 190e-3, "exceeds the largest angle"),
        (60e-3, 60e-3, "has no weight at any angle"),
    ],
)
def test_detectors_that_do_not_fit(inner, outer, words):
    """Bright-field detectors, angles beyond the band limit and detectors without any weight are refused."""
    with pytest.raises(SamplingError, match=words):
        local_operator.build([specimen()[3]], SEMIANGLE, annulus(inner, outer), rng=np.random.default_rng(0))


@pytest.mark.slow
def test_a_tolerance_out_of_reach():
    """A tolerance that is missed even with larger windows raises an error with the measured errors."""
    with pytest.raises(SamplingError, match=r"misses tolerance=1e-05: .*%.*windows of .* A.*dense"):
        local_operator.build([specimen(outer=90e-3)[3]], SEMIANGLE, WIDE, rng=np.random.default_rng(0), tolerance=1e-5)
    for tolerance in (0.0, -0.1, 1.0, float("nan")):
        with pytest.raises(SettingsError, match="tolerance"):
            local_operator.build([specimen()[3]], SEMIANGLE, annulus(INNER, OUTER), rng=np.random.default_rng(0), tolerance=tolerance)


def test_misuse():
    """Missing pieces, specimens that do not fit and angles that are too wide are refused with the numbers and the repair."""
    stack = wide()
    part = fresh([stack], WIDE)
    part.build(((20.0, 22.0), (20.0, 22.0)), margin=0.0)
    with pytest.raises(SettingsError, match=r"not built.*build\(region, margin=12\)"):
        part.image(Aberrations())
    with pytest.raises(SettingsError, match=r"y from 20 to 22 A.*margin of 24 A.*margin=24"):
        part.image(Aberrations(C10=-480.0), region=((20.0, 22.0), (20.0, 22.0)))
    with pytest.raises(SettingsError, match="not sliced like the previous one"):
        part.update([specimen()[3]])
    with pytest.raises(SettingsError, match="2 configurations"):
        part.update([stack, stack])
    with pytest.raises(SamplingError, match="built for 25 mrad, not for 30"):
        operator().image(Aberrations(), semiangle=30e-3)
    with pytest.raises(SamplingError, match="at least one configuration"):
        fresh([])
    with pytest.raises(SamplingError, match="band limit"):
        LocalOperator([stack], 70e-3, WIDE, REACH)
