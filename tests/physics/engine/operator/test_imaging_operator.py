"""The imaging operator: row 12 of the acceptance table. The same image as multislice of each probe, for any optics, and its slow twin."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from stemtwin.twin.errors import SamplingError
from stemtwin.twin.physics import detector_weights, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator import beam_blocks, gram_matrix, image_kernels, imaging_operator, quadratic_form_kernels, single_probes
from stemtwin.twin.physics.grids import Grid
from tests.physics import twins
from tests.physics.engine import reference

ENERGY, ALPHA = 200e3, 0.02
WAVELENGTH = 0.0250793
STATE = Aberrations(C10=-30, C12=15, phi12=0.7, C21=400, phi21=-1.0, C23=300, phi23=0.4, C30=2e4)
RINGS = ((0, 10), (21, 40), (40, 62))


def weights(*, antialias=True, rings=RINGS, segments=0):
    """Return the weights of annuli (mrad) and of one annulus cut into segments."""

    def weigh(ky, kx, pixel):
        out = [detector_weights.annulus(ky, kx, pixel, a * 1e-3 / WAVELENGTH, b * 1e-3 / WAVELENGTH, antialias=antialias)[None] for a, b in rings]
        if segments:
            inner, outer = 5e-3 / WAVELENGTH, 30e-3 / WAVELENGTH
            out.append(detector_weights.segments(ky, kx, pixel, inner, outer, segments, 0.3, antialias=antialias))
        return np.concatenate(out)

    return weigh


def specimen(seed, *, shape=(48, 60), extent=(6.2, 7.4), count=12, thickness=8.0, copies=(1, 1)):
    """Return a small random specimen; with copies, the same repeated along y and x on a grid repeated as well."""
    at, numbers = twins.atoms(np.random.default_rng(seed), count, extent, thickness)
    shifts = [(i * extent[1], j * extent[0], 0.0) for j in range(copies[0]) for i in range(copies[1])]
    at, numbers = np.concatenate([at + shift for shift in shifts]), np.tile(numbers, len(shifts))
    grid = Grid(shape=(shape[0] * copies[0], shape[1] * copies[1]), extent=(extent[0] * copies[0], extent[1] * copies[1]))
    return twins.stack(at, numbers, grid, ENERGY, thickness)


def somewhere(rng, extent, count=20):
    """Return random points (x, y), some beyond the cell."""
    return rng.uniform(-0.5, 1.5, (count, 2)) * np.array([extent[1], extent[0]])


def agree(ours, theirs, tolerance=1e-5):
    """Whether all signals above 1e-5 agree within a relative tolerance (the limits of row 12); something must be above."""
    seen = theirs > 1e-5
    return seen.mean() > 0.5 and np.abs(ours / theirs - 1)[seen].max() < tolerance


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_equals_multislice(antialias, seed):
    """For annuli and segments, any aberrations and a smaller convergence than built, the image is multislice's, probe by probe, within 1e-5."""
    stack, rng = specimen(seed), np.random.default_rng(seed)
    weigh = weights(antialias=antialias, segments=3)
    operator = imaging_operator.build(iter([stack]), ALPHA, weigh, antialias=antialias)
    at = somewhere(rng, stack.grid.extent)
    for state, semiangle in ((Aberrations(), ALPHA), (STATE, ALPHA), (STATE, 0.7 * ALPHA)):
        theirs = single_probes.probe_signals(stack, at, state, semiangle, weigh, antialias=antialias)
        assert agree(operator.image(state, semiangle=semiangle).at(at), theirs)


def exact_signals(stacks, at, state, semiangle, weigh, *, antialias):
    """Return the quadratic form in numpy and complex128, one point at a time: signal = a^H M a plus the aperture-edge waves' part, (channels, P)."""
    grid = stacks[0].grid
    radius = semiangle / stacks[0].wavelength
    c = probe.aperture(grid.ky[:, None], grid.kx, grid.reciprocal_sampling, radius, antialias=antialias).ravel()
    beams = np.flatnonzero(c)
    c = c[beams]
    ky, kx = grid.ky[beams // grid.shape[1]], grid.kx[beams % grid.shape[1]]
    area = math.pi * radius**2 * np.prod(grid.extent) if antialias else (c**2).sum()
    a = c * np.exp(-1j * probe.chi(state, ky, kx, stacks[0].wavelength)) / math.sqrt(area)
    detectors = weigh(grid.ky[:, None], grid.kx, grid.reciprocal_sampling).astype(float).reshape(-1, grid.band.size)
    out = np.zeros((len(detectors), len(at)))
    for stack in stacks:
        s = reference.multislice(stack, beams, np.eye(beams.size)).reshape(beams.size, -1)
        for channel, weight in enumerate(detectors):
            m = (s.conj() * weight) @ s.T
            for p, (x, y) in enumerate(at):
                b = a * np.exp(-2j * np.pi * (kx * x + ky * y))
                out[channel, p] += (b.conj() @ m @ b).real / len(stacks)
            if antialias:
                norm = (np.abs(a) ** 2).sum()
                rim = c**6 * (1 - c)
                out[channel] += (1 - norm) * (rim @ m.diagonal().real) / rim.sum() / len(stacks)
    return out


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.sampled_from([20, 25, 30, 32]), st.sampled_from([18, 24, 27, 32])),
    antialias=st.booleans(),
    c10=st.floats(-80, 80),
    c12=st.floats(0, 60),
    phi12=st.floats(-3, 3),
    smaller=st.floats(0.5, 1.0),
    configurations=st.integers(1, 2),
)
@settings(max_examples=12)
def test_twin(seed, shape, antialias, c10, c12, phi12, smaller, configurations):
    """The operator equals its slow twin in complex128 on random specimens, grids, optics and points, within 1e-5."""
    rng = np.random.default_rng(seed)
    extent = (shape[0] * 0.14, shape[1] * 0.15)
    stacks = [specimen(int(rng.integers(2**32)), shape=shape, extent=extent, count=6, thickness=4.0) for _ in range(configurations)]
    state, at, weigh = Aberrations(C10=c10, C12=c12, phi12=phi12), somewhere(rng, extent, 5), weights(antialias=antialias, rings=RINGS[:2])
    operator = imaging_operator.build(iter(stacks), ALPHA, weigh, antialias=antialias)
    ours = operator.image(state, semiangle=smaller * ALPHA).at(at)
    theirs = exact_signals(stacks, at, state, smaller * ALPHA, weigh, antialias=antialias)
    assert np.abs(ours - theirs).max() < 1e-5 * theirs.max()
    seen = theirs > 1e-5
    assert np.abs(ours / theirs - 1)[seen].max(initial=0.0) < 1e-5


@pytest.mark.parametrize("antialias", [True, False])
def test_blocks_are_a_larger_cell(antialias):
    """2 x 2 offset blocks on a cell are the same as a cell repeated 2 x 2: for wide probes, in the operator and in single probes."""
    small, large = specimen(5, count=6, thickness=4.0), specimen(5, count=6, thickness=4.0, copies=(2, 2))
    at, wide = somewhere(np.random.default_rng(5), small.grid.extent, 8), replace(STATE, C10=-150.0)
    weigh = weights(antialias=antialias, rings=RINGS[1:])
    theirs = single_probes.probe_signals(large, at, wide, ALPHA, weigh, antialias=antialias)
    assert agree(single_probes.probe_signals(small, at, wide, ALPHA, weigh, blocks=(2, 2), antialias=antialias), theirs, 2e-5)
    operator = imaging_operator.build(iter([small]), ALPHA, weigh, blocks=(2, 2), antialias=antialias)
    assert agree(operator.image(wide).at(at), theirs, 2e-5)
    wrapped = imaging_operator.build(iter([small]), ALPHA, weigh, antialias=antialias).image(wide).at(at)
    assert np.abs(wrapped / theirs - 1).max() > 0.01  # without blocks this probe meets itself


def test_blocks_without_beams():
    """A small aperture falls between some offsets; what is left is the same as a larger cell."""
    extent, shape = (3.1, 3.3), (24, 24)
    small, large = (specimen(6, shape=shape, extent=extent, count=3, thickness=4.0, copies=c) for c in ((1, 1), (4, 4)))
    weigh, alpha = weights(rings=((21, 40),)), 0.003
    operator = imaging_operator.build(iter([small]), alpha, weigh, blocks=(4, 4))
    assert len(operator.parts) < 16
    at = somewhere(np.random.default_rng(6), extent, 4)
    assert agree(operator.image(Aberrations(C10=50)).at(at), single_probes.probe_signals(large, at, Aberrations(C10=50), alpha, weigh), 2e-5)


def test_source_and_focal_spread():
    """A finite source is the mean over shifted probes, focal spread the mean over C10: both by Gauss-Hermite multislice, within 1e-5."""
    stack, weigh = specimen(7, count=8, thickness=4.0), weights(rings=RINGS[1:])
    at, source, spread = somewhere(np.random.default_rng(7), stack.grid.extent, 3), 0.35, 40.0
    ours = imaging_operator.build(iter([stack]), ALPHA, weigh).image(STATE, source_size=source, focal_spread=spread).at(at)
    nodes, factors = np.polynomial.hermite_e.hermegauss(17)
    factors = factors / factors.sum()
    shifts = source * np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 1, 2)
    theirs = 0.0
    for node, factor in zip(nodes, factors, strict=True):
        state = replace(STATE, C10=STATE.C10 + spread * node)
        values = single_probes.probe_signals(stack, (at + shifts).reshape(-1, 2), state, ALPHA, weigh).reshape(len(ours), nodes.size**2, len(at))
        theirs = theirs + factor * np.einsum("csp,s->cp", values, np.outer(factors, factors).ravel())
    assert agree(ours, theirs)


def test_reading_an_image():
    """Raster, scattered points and the Fourier sum itself agree within 1e-5 of the signal, on rotated paths and beyond the cell."""
    stack = specimen(8, count=8, thickness=4.0)
    image = imaging_operator.build(iter([stack]), ALPHA, weights()).image(STATE)
    (height, width), (_, rows, columns) = stack.grid.extent, image.coefficients.shape
    y, x = np.linspace(-3, 9, 17), np.linspace(-2, 20, 23)
    raster = image.raster(y, x)
    hy, hx = np.arange(rows), np.arange(columns) - columns // 2
    direct = np.einsum(
        "chg,yh,xg->cyx", image.coefficients, np.exp(-2j * np.pi * np.outer(y, hy) / height), np.exp(-2j * np.pi * np.outer(x, hx) / width)
    ).real
    assert np.abs(raster - direct).max() < 1e-6 * direct.max()
    assert agree(raster, direct, 2e-6)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    assert image.at(grid).shape == raster.shape
    assert agree(image.at(grid), direct)
    turned = grid @ np.array([[math.cos(0.4), math.sin(0.4)], [-math.sin(0.4), math.cos(0.4)]])
    single = np.array([[image.raster(np.array([q]), np.array([p]))[:, 0, 0] for p, q in row] for row in turned]).transpose(2, 0, 1)
    assert agree(image.at(turned), single)


@given(
    seed=st.integers(0, 2**32 - 1),
    radius=st.floats(0.1, 9.0),
    gaps=st.floats(0.0, 0.4),
    channels=st.integers(1, 5),
    states=st.integers(1, 3),
)
@settings(max_examples=20)
def test_quadratic_form_twin(seed, radius, gaps, channels, states):
    """The form equals a sum over all pairs in complex128, for any set of beams, also with holes, many channels and states, within 1e-13."""
    rng = np.random.default_rng(seed)
    hy, hx = (h.ravel() for h in np.mgrid[-9:10, -9:10])
    kept = (np.hypot(hy, hx - 0.3) <= radius) & (rng.random(hy.size) >= gaps)
    kept[180] |= not kept.any()
    hy, hx = hy[kept], hx[kept]
    waves = rng.standard_normal((channels, hy.size, 30)) + 1j * rng.standard_normal((channels, hy.size, 30))
    m = (waves.conj() @ waves.swapaxes(1, 2)).astype(np.complex64)
    a = rng.standard_normal((states, hy.size)) + 1j * rng.standard_normal((states, hy.size))
    listed, my, mx = quadratic_form_kernels.pairs(hy, hx), int(np.ptp(hy)), int(np.ptp(hx))
    elements = np.stack([quadratic_form_kernels.pick(one, listed) for one in m])
    real, imag = quadratic_form_kernels.padded(a.real), quadratic_form_kernels.padded(a.imag)
    ours = quadratic_form_kernels.quadratic_form([real], [imag], [elements], quadratic_form_kernels.form_layout([listed], my, mx))
    twin, size = np.zeros_like(ours), np.zeros(ours.shape[-2:])
    for i, j in np.ndindex(hy.size, hy.size):
        dy, dx = hy[j] - hy[i], hx[j] - hx[i]
        if dy > 0 or (dy == 0 and dx >= 0):
            element = m[:, i, j] if i <= j else m[:, j, i].conj()
            twin[:, :, dy, dx + mx] += (1 + (i != j)) * (a[:, i].conj() * a[:, j])[:, None] * element
            size[dy, dx + mx] += 1
    assert np.abs(ours - twin).max() < 1e-13 * np.abs(m).max() * (np.abs(a) ** 2).max() * max(size.max(), 1)
    assert (ours[:, :, size == 0] == 0).all()
    layout = quadratic_form_kernels.form_layout([listed, listed], my, mx)
    two = quadratic_form_kernels.quadratic_form([real, 2 * real], [imag, 2 * imag], [elements, elements], layout)
    assert np.allclose(two, 5 * ours, rtol=1e-12, atol=1e-12 * np.abs(twin).max())  # blocks add up
    values = rng.standard_normal(hy.size)
    factor = 1 + quadratic_form_kernels.differences(values, listed) ** 2
    damped = (elements.reshape(channels, -1, 2, quadratic_form_kernels.EIGHT) * factor[:, None]).reshape(elements.shape).astype(np.float32)
    expected = np.stack([quadratic_form_kernels.pick((one * (1 + (values[:, None] - values) ** 2)).astype(np.complex64), listed) for one in m])
    assert np.allclose(damped, expected, rtol=1e-6)


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 14),
    half=st.integers(0, 13),
    images=st.integers(1, 3),
    raster=st.tuples(st.integers(1, 35), st.integers(1, 35)),
)
@settings(max_examples=40)
def test_reading_twin(seed, rows, half, images, raster):
    """A raster is the Fourier sum to the last digit of float32, points are within 1e-6 of the largest value, whatever the spectrum and the points."""
    rng = np.random.default_rng(seed)
    c = rng.standard_normal((images, rows, 2 * half + 1)) + 1j * rng.standard_normal((images, rows, 2 * half + 1))
    c[:, 0, :half] = 0
    y, x = (rng.uniform(-20, 20, n) for n in raster)
    hx = np.arange(-half, half + 1)
    twin = np.einsum("chg,yh,xg->cyx", c, np.exp(-1j * np.outer(y, np.arange(rows))), np.exp(-1j * np.outer(x, hx))).real
    scale = np.abs(c).sum(axis=(1, 2)).max()
    ours = image_kernels.raster(c, y, x)
    assert ours.shape == twin.shape
    assert np.abs(ours - twin).max() < 1e-7 * scale
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2) / (2 * np.pi) * np.array([3.0, 2.0])
    assert np.abs(image_kernels.at_points(c, points, (2.0, 3.0)).reshape(twin.shape) - twin).max() < 1e-6 * scale


def test_finest_waves_at_points():
    """One wave as fine as a spectrum allows, the spline's worst case, is read within 1e-6; points that are not finite give NaN."""
    points = np.random.default_rng(2).uniform(-40, 40, (500, 2))
    for row, column in ((26, 0), (26, 52), (0, 52), (26, 26)):
        c = np.zeros((1, 27, 53), np.complex128)
        c[0, row, column] = 0.8 - 0.6j
        expected = (c[0, row, column] * np.exp(-2j * np.pi * (points[:, 1] * row / 5 + points[:, 0] * (column - 26) / 7))).real
        assert np.abs(image_kernels.at_points(c, points, (5.0, 7.0))[0] - expected).max() < 1e-6
    bad = np.array([[np.nan, 0.0], [0.0, np.inf], [1e300, -1e300], [-1e-30, 7.0]])
    assert np.isfinite(image_kernels.at_points(c, bad, (5.0, 7.0))[0]).tolist() == [False, False, True, True]


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 9), half=st.integers(0, 9), raster=st.tuples(st.integers(1, 35), st.integers(1, 35)))
@settings(max_examples=20)
def test_images_read_at_places_of_their_own_are_those_read_alone(seed, rows, half, raster):
    """Many images of two channels, each on a raster or at points of its own, have the bits of one after the other."""
    rng = np.random.default_rng(seed)
    c = rng.standard_normal((3, 2, rows, 2 * half + 1)) + 1j * rng.standard_normal((3, 2, rows, 2 * half + 1))
    y, x = (rng.uniform(-20, 20, (3, n)) for n in raster)
    points = rng.uniform(-9, 9, (3, raster[0], 2))
    drawn, read = image_kernels.own_rasters(c, y, x), image_kernels.at_own_points(c, points, (2.0, 3.0))
    for state in range(3):
        assert (drawn[state] == image_kernels.raster(c[state], y[state], x[state])).all()
        assert (read[state] == image_kernels.at_points(c[state], points[state], (2.0, 3.0))).all()


def test_many_states_are_the_same_bits():
    """Images of many states in one call are bit by bit those of one state after the other, each with its own source size."""
    stack, rng = specimen(17, count=6, thickness=4.0), np.random.default_rng(17)
    operator = imaging_operator.build(iter([stack]), ALPHA, weights(), blocks=(1, 2))
    states = [Aberrations(), *(replace(STATE, C10=c10) for c10 in rng.uniform(-100, 100, 4))]
    sizes, points, axis = (0.0, 0.1, 0.2, 0.3, 0.4), somewhere(rng, stack.grid.extent, 7).reshape(7, 1, 2), np.arange(5.0)
    many = operator.images(states, semiangle=0.9 * ALPHA, source_size=sizes, focal_spread=20.0)
    single = [operator.image(s, semiangle=0.9 * ALPHA, source_size=size, focal_spread=20.0) for s, size in zip(states, sizes, strict=True)]
    assert (many.coefficients == np.stack([one.coefficients for one in single])).all()
    assert many.raster(axis, axis[:3]).shape == (5, 3, 5, 3)
    assert (many.raster(axis, axis[:3]) == np.stack([one.raster(axis, axis[:3]) for one in single])).all()
    assert many.at(points).shape == (5, 3, 7, 1)
    assert (many.at(points) == np.stack([one.at(points) for one in single])).all()
    same = operator.images(states, source_size=0.2).coefficients
    assert (same[1] == operator.image(states[1], source_size=0.2).coefficients).all()
    with pytest.raises(SamplingError, match="states is empty"):
        operator.images([])


def test_building_in_portions(monkeypatch):
    """Exit waves that exceed their memory are made in portions, products in pieces: the same bits, and every plane wave is reported once."""
    stacks = [specimen(seed, count=6, thickness=4.0) for seed in (18, 19)]
    monkeypatch.setattr(gram_matrix, "PIXELS", 32)
    whole = imaging_operator.build(iter(stacks), ALPHA, weights())
    calls, done = [], []
    exit_coefficients = gram_matrix.exit_coefficients
    monkeypatch.setattr(gram_matrix, "exit_coefficients", lambda *a, **k: calls.append(a[3].size) or exit_coefficients(*a, **k))
    parts = imaging_operator.build(iter(stacks), ALPHA, weights(), progress=done.append, held=8 * whole.beams * 100)
    assert max(calls) <= 100
    assert len(calls) > 4
    assert min(done) > 0
    assert sum(done) == 2 * whole.beams
    assert all((a == b).all() for a, b in zip((*whole.matrices, *whole.diagonals), (*parts.matrices, *parts.diagonals), strict=True))


def test_beams_are_remembered_and_cannot_be_changed():
    """The beams of an aperture are found once, read-only, and are those whose reciprocal pixels the aperture covers."""
    grid = Grid(shape=(48, 60), extent=(6.2, 7.4))
    for offset in ((0.0, 0.0), (-0.5, 0.25)):
        arguments = (grid, WAVELENGTH, ALPHA, offset, (2, 4))
        beams = beam_blocks.aperture_beams(*arguments, antialias=True)
        assert beam_blocks.aperture_beams(*arguments, antialias=True) is beams
        with pytest.raises(ValueError, match="read-only"):
            beams[0] = 0
        ky, kx = grid.ky[:, None] + offset[0] / 6.2, grid.kx + offset[1] / 7.4
        cover = probe.disc_coverage(ky, kx, (1 / 12.4, 1 / 29.6), ALPHA / WAVELENGTH)
        assert (beams == np.flatnonzero(cover > 1e-9)).all()


def test_memory_is_counted():
    """What nbytes says is the memory of all arrays that an operator holds, also of what focal spreads leave behind."""
    operator = imaging_operator.build(iter([specimen(20, count=4, thickness=2.0)]), ALPHA, weights())
    operator.image(STATE, focal_spread=10.0)
    (part,), (matrix,), (damped,) = operator.parts, operator.matrices, operator._damped[10.0]
    listed = (part.beams, part.hy, part.hx, part.ky, part.kx, part.basis, part.pairs.runs, part.pairs.groups, part.pairs.differences)
    held = (*listed, matrix, damped, operator.diagonals[0], operator._apertures[ALPHA].amplitudes[0])
    assert operator.nbytes == sum(a.nbytes for a in held)


def test_parseval():
    """Without a detector's limits every electron is counted: the signal of the whole band is 1 for a thin specimen, and 0 of it is lost in vacuum."""
    grid = Grid(shape=(48, 60), extent=(6.2, 7.4))
    stack = twins.vacuum(grid, ENERGY, 10.0)
    whole = imaging_operator.build(iter([stack]), ALPHA, lambda ky, kx, _: (np.hypot(ky, kx) < grid.band_limit).astype(np.float32)[None])
    at = somewhere(np.random.default_rng(9), grid.extent)
    assert np.allclose(whole.image(STATE).at(at), 1.0, atol=1e-5)
    assert np.allclose(whole.image(STATE, semiangle=0.6 * ALPHA).at(at), 1.0, atol=1e-5)


def test_mean_over_configurations_and_its_error():
    """M is the mean over configurations; the standard error stated is that of the images in focus; one configuration has none."""
    stacks, weigh = [specimen(seed, count=6, thickness=4.0) for seed in (11, 12, 13)], weights(rings=RINGS[1:])
    single = [imaging_operator.build(iter([stack]), ALPHA, weigh) for stack in stacks]
    mean = imaging_operator.build(iter(stacks), ALPHA, weigh)
    y, x = np.arange(24) / 24 * 6.2, np.arange(24) / 24 * 7.4
    images = np.array([one.image(STATE).raster(y, x) for one in single])
    assert agree(mean.image(STATE).raster(y, x), images.mean(axis=0))
    focused = np.array([one.image(Aberrations()).raster(y, x) for one in single])
    expected = np.sqrt((focused.var(axis=0, ddof=1) / 3).mean(axis=(1, 2))) / focused.mean(axis=(0, 2, 3))
    assert np.allclose(mean.standard_error, expected, rtol=1e-4)
    assert np.isnan(single[0].standard_error).all()


def test_focal_spread_states_are_kept_apart():
    """Images at many focal spreads, in turn and again, are the same as from a fresh operator; memory stays bounded."""
    stack, weigh = specimen(14, count=4, thickness=2.0), weights(rings=RINGS[1:2])
    operator, fresh = (imaging_operator.build(iter([stack]), ALPHA, weigh) for _ in range(2))
    bare = operator.nbytes
    for spread in (10.0, 20.0, 30.0, 10.0, 0.0, 20.0):
        one = operator.image(STATE, focal_spread=spread).coefficients
        assert (one == fresh.image(STATE, focal_spread=spread).coefficients).all()
        fresh._damped.clear()
    assert operator.nbytes <= 3 * bare


def test_limits():
    """A convergence beyond the one built, an aperture beyond the band limit and no configuration are refused."""
    stack, weigh = specimen(15, count=2, thickness=1.0), weights()
    operator = imaging_operator.build(iter([stack]), ALPHA, weigh)
    with pytest.raises(SamplingError, match="built for 20 mrad, not for 25"):
        operator.image(STATE, semiangle=0.025)
    with pytest.raises(SamplingError, match=r"70 mrad reaches beyond.*64\.7"):
        imaging_operator.build(iter([stack]), 0.070, weigh)
    with pytest.raises(SamplingError, match="at least one configuration"):
        imaging_operator.build(iter([]), ALPHA, weigh)


def test_bits_do_not_depend_on_threads(monkeypatch):
    """The image has the same bits with 1, 2 and 5 threads, of the engine and of BLAS."""
    bits = set()
    for threads in (1, 2, 5):
        monkeypatch.setenv("STEMTWIN_THREADS", str(threads))
        with threadpool_limits(threads, user_api="blas"):
            image = imaging_operator.build(iter([specimen(16, thickness=4.0)]), ALPHA, weights(segments=2)).image(
                STATE, source_size=0.2, focal_spread=20.0
            )
            points = image.at(somewhere(np.random.default_rng(0), (6.2, 7.4)))
        bits.add(image.coefficients.tobytes() + points.tobytes())
    assert len(bits) == 1


def test_bits_do_not_depend_on_where_work_is_cut(monkeypatch):
    """Cut into pieces for threads or not, one state or many: a form, a raster and points have the same bits."""
    operator = imaging_operator.build(iter([specimen(21, count=4, thickness=2.0)]), ALPHA, weights(rings=RINGS[:1]), blocks=(2, 1))
    states, axis, points = [STATE, Aberrations(C10=40)], np.linspace(0, 9, 21), somewhere(np.random.default_rng(1), (6.2, 7.4), 50)
    bits = set()
    for worth, chunk, threads in ((0, 7, 1), (0, 7, 3), (10**9, 4096, 3)):
        monkeypatch.setenv("STEMTWIN_THREADS", str(threads))
        monkeypatch.setattr(quadratic_form_kernels, "WORTH_A_THREAD", worth)
        monkeypatch.setattr(image_kernels, "CHUNK", chunk)
        images = operator.images(states)
        one = operator.image(states[1]).at(points)  # in chunks where the images of many states are whole pieces
        assert (images.at(points)[1] == one).all()
        bits.add(images.coefficients.tobytes() + images.raster(axis, axis).tobytes() + images.at(points).tobytes() + one.tobytes())
    assert len(bits) == 1
