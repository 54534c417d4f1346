"""One test for each convention that `twin/physics/__init__.py` states."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin import physics
from stemtwin.twin.physics import detector_weights, electrons, probe
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics.aberrations import Aberrations, chi
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, collect, exit_coefficients
from stemtwin.twin.physics.engine.operator import imaging_operator, single_probes
from stemtwin.twin.physics.grids import Grid, fast_length
from tests.physics import twins

ENERGY = 200e3
WAVELENGTH = electrons.wavelength(ENERGY)
ALPHA = 0.02


def wave(stack, beams, coefficients):
    """Return the exit wave of one incident wave, in real space."""
    everything = np.arange(math.prod(stack.grid.shape))
    exit_side = exit_coefficients(stack, np.asarray(beams), np.asarray(coefficients)[None], everything)[0]
    return np.fft.ifft2(exit_side.reshape(stack.grid.shape)) * everything.size


def probe_wave(stack, state, at=(0.0, 0.0), semiangle=ALPHA):
    """Return the exit wave of a probe at (x, y)."""
    grid = stack.grid
    ky, kx = grid.ky[:, None], grid.kx
    a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, stack.wavelength, semiangle, state) * np.exp(-2j * np.pi * (kx * at[0] + ky * at[1]))
    beams = np.flatnonzero(a)
    return wave(stack, beams, a.ravel()[beams])


def test_arrays_are_y_x():
    """Arrays are [y, x]: an atom at (x, y) makes the potential's peak at [y, x]; shapes, samplings and extents are (y, x)."""
    grid = Grid(shape=(40, 60), extent=(4.0, 9.0))
    assert grid.sampling == (0.1, 0.15)
    v = pot.projected_potential(np.array([[6.0, 1.0, 0.0]]), np.array([14]), grid)
    assert v.shape == (40, 60)
    assert np.unravel_index(v.argmax(), v.shape) == (10, 40)


def test_probe_position_is_x_y():
    """A probe at (x, y) has its peak at [y, x], and scatters where the atom at (x, y) is."""
    stack = twins.vacuum(Grid(shape=(64, 96), extent=(8.0, 12.0)), ENERGY, 0.1)
    intensity = np.abs(probe_wave(stack, Aberrations(), (9.0, 2.0))) ** 2
    assert np.unravel_index(intensity.argmax(), intensity.shape) == (16, 72)
    atom = twins.stack(np.array([[9.0, 2.0, 0.0]]), np.array([38]), stack.grid, ENERGY, 0.1)

    def dark_field(ky, kx, pixel):
        return detector_weights.annulus(ky, kx, pixel, 0.03 / WAVELENGTH, 0.06 / WAVELENGTH)[None]

    at = np.array([[9.0, 2.0], [2.0, 9.0], [6.0, 2.0], [9.0, 6.0]])
    signal = single_probes.probe_signals(atom, at, Aberrations(), ALPHA, dark_field)[0]
    assert signal.argmax() == 0


def test_forward_transform():
    """The forward transform is exp(-2 pi i k.r) with its origin at [0, 0]: a beam k is the wave exp(+2 pi i k.r), k = theta / lambda."""
    grid = Grid(shape=(24, 30), extent=(4.0, 5.0))
    stack = twins.vacuum(grid, ENERGY, 0.0)
    y, x = np.arange(24)[:, None] * grid.sampling[0], np.arange(30) * grid.sampling[1]
    got = wave(stack, [2 * 30 + 3], [1.0])
    assert np.allclose(got, np.exp(2j * np.pi * (3 * x / 5.0 + 2 * y / 4.0)), atol=1e-5)
    assert grid.ky[1] == 1 / 4.0
    assert grid.kx[0] == 0
    assert grid.kx[-1] == -1 / 5.0
    assert grid.max_angle(WAVELENGTH) == pytest.approx(grid.band_limit * WAVELENGTH)


def test_transmission_is_plus_i_sigma_v():
    """A thin object multiplies the wave by exp(+i sigma V): matter has a positive potential and advances the phase."""
    grid = Grid(shape=(64, 64), extent=(8.0, 8.0))
    at, numbers = np.array([[4.0, 4.0, 0.0]]), np.array([6])
    got = wave(twins.stack(at, numbers, grid, ENERGY, 0.0), [0], [1.0])
    phase = electrons.interaction_constant(ENERGY) * pot.projected_potential(at, numbers, grid)
    assert np.angle(got)[32, 32] > 0.02
    assert np.abs(np.angle(got) - phase)[16:24].max() < 2e-3  # away from the atom, whose peak the band limit rounds off
    assert np.angle(got).mean() == pytest.approx(phase.mean(), rel=1e-2)


def test_propagator():
    """Free space multiplies a beam by exp(-i pi lambda k^2 dz)."""
    grid = Grid(shape=(24, 30), extent=(4.0, 5.0))
    beams = np.array([0, 1, 2 * 30 + 28, 22 * 30 + 3])
    got = np.diag(exit_coefficients(twins.vacuum(grid, ENERGY, 37.0), beams, np.eye(4, dtype=np.complex64), beams))
    assert np.allclose(got, np.exp(-1j * np.pi * WAVELENGTH * grid.k2.flat[beams] * 37.0), atol=2e-6)


def test_probe_is_minus_i_chi():
    """The probe is A exp(-i chi) with the covered fraction of each reciprocal pixel."""
    grid, state = Grid(shape=(48, 50), extent=(11.0, 12.0)), Aberrations(C10=-60, C12=30, phi12=0.4, C21=800, phi21=2.0)
    ky, kx = grid.ky[:, None], grid.kx
    a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, WAVELENGTH, ALPHA, state)
    covered = probe.disc_coverage(ky, kx, grid.reciprocal_sampling, ALPHA / WAVELENGTH)
    expected = covered * np.exp(-1j * chi(state, ky, kx, WAVELENGTH)) / math.sqrt(math.pi * (ALPHA / WAVELENGTH) ** 2 * 11.0 * 12.0)
    assert np.allclose(a, expected, atol=1e-14)


def test_azimuth():
    """Azimuths are atan2(ky, kx), from +x to +y: a positive C12 with phi12 = 0 defocuses along x and focuses along y."""
    state = Aberrations(C12=50.0, phi12=0.0)
    along_x, along_y = (float(chi(state, np.array(ky), np.array(kx), WAVELENGTH)) for ky, kx in ((0.0, 0.5), (0.5, 0.0)))
    assert along_x == pytest.approx(math.pi * WAVELENGTH * 50 * 0.25)
    assert along_y == pytest.approx(-along_x)
    turned = Aberrations(C12=50.0, phi12=math.pi / 4)
    assert float(chi(turned, np.array(0.5), np.array(0.5), WAVELENGTH)) == pytest.approx(2 * along_x)


@given(d=st.floats(0, 300), c10=st.floats(-200, 200))
def test_overfocus_is_vacuum_in_front(d, c10):
    """C10 > 0 is overfocus: a slab of vacuum d in front equals C10 + d; defocus is -C10 (row 10: 1e-6)."""
    k = np.linspace(0, 1, 11)
    both = chi(Aberrations(C10=c10), np.zeros(11), k, WAVELENGTH) + np.pi * WAVELENGTH * k**2 * d
    assert np.allclose(chi(Aberrations(C10=c10 + d), np.zeros(11), k, WAVELENGTH), both, atol=1e-9)


def test_focus_at_depth():
    """C10 = 0 focuses on the entrance face; to focus at depth z, C10 = -z."""
    grid = Grid(shape=(96, 96), extent=(14.0, 14.0))
    peaks = {c10: np.abs(probe_wave(twins.vacuum(grid, ENERGY, 80.0), Aberrations(C10=c10))).max() for c10 in (-160, -120, -80, -40, 0)}
    assert max(peaks, key=lambda c10: peaks[c10]) == -80
    face = np.abs(probe_wave(twins.vacuum(grid, ENERGY, 0.0), Aberrations())).max()
    assert peaks[-80] == pytest.approx(face, rel=1e-5)


@pytest.mark.parametrize("tilt", [(0.0, 0.02), (0.015, 0.0), (-0.01, 0.02)])
def test_tilt(tilt):
    """Specimen tilt (ty, tx): an atom at depth z appears at x + z tan tx, y + z tan ty."""
    grid, z = Grid(shape=(96, 96), extent=(9.6, 9.6)), 120.0
    stack = twins.stack(np.array([[4.0, 5.0, z]]), np.array([14]), grid, ENERGY, z, tilt=tilt)
    seen = np.array([4.0 + z * math.tan(tilt[1]), 5.0 + z * math.tan(tilt[0]), 0.0])
    untilted = twins.stack(seen[None], np.array([14]), grid, ENERGY, 0.0)
    beams, everything = np.arange(3), np.arange(grid.band.size)
    got = exit_coefficients(stack, beams[:1], np.ones((1, 1), np.complex64), everything)[0].reshape(grid.shape)
    # seen from the front: where the atom would be in the exit wave, shifted by the tilt of the whole thickness
    phase = np.exp(2j * np.pi * z * (grid.kx * math.tan(tilt[1]) + grid.ky[:, None] * math.tan(tilt[0])))
    straight = exit_coefficients(untilted, beams[:1], np.ones((1, 1), np.complex64), everything)[0].reshape(grid.shape)
    assert np.allclose(got, straight * phase, atol=1e-5)

    # and a converged probe meets it there
    def dark_field(ky, kx, pixel):
        return detector_weights.annulus(ky, kx, pixel, 0.03 / WAVELENGTH, 0.07 / WAVELENGTH)[None]

    at = np.array([seen[:2], [4.0, 5.0]])
    signal = single_probes.probe_signals(stack, at, Aberrations(C10=-z), ALPHA, dark_field)[0]
    assert signal[0] > 2 * signal[1]


def test_band_limit_is_strict():
    """A wave holds k < (1 - 1e-6) (2/3) / (2 max(dx, dy)) and nothing at or beyond it, on transmission and propagator."""
    grid = Grid(shape=(48, 60), extent=(4.8, 5.4))
    assert grid.band_limit == pytest.approx((1 - 1e-6) * (2 / 3) / (2 * 0.1), rel=1e-12)
    at, numbers = twins.atoms(np.random.default_rng(0), 5, grid.extent, 3.0)
    stack = twins.stack(at, numbers, grid, ENERGY, 4.0)
    assert np.abs(np.fft.fft2(stack.transmission)[:, ~grid.band]).max() < 1e-3  # of 2880 points
    everything = np.arange(grid.band.size)
    behind = exit_coefficients(stack, np.array([0]), np.ones((1, 1), np.complex64), everything)[0].reshape(grid.shape)
    assert not behind[~grid.band].any()
    # on the circle itself: a square grid whose coefficient (16, 0) lies exactly at 2/3 of Nyquist
    square = Grid(shape=(48, 48), extent=(4.8, 4.8))
    assert not square.band[16, 0]
    assert not square.band[0, 16]
    assert square.band[15, 0]


def test_potential_is_not_band_limited():
    """V itself keeps all its coefficients; only exp(i sigma V) is cut."""
    grid = Grid(shape=(48, 48), extent=(4.8, 4.8))
    v = np.fft.fft2(pot.projected_potential(np.array([[1.0, 2.0, 0.0]]), np.array([79]), grid))
    assert np.abs(v[~grid.band]).min() > 0.5 * np.abs(v[23, 23])


def test_antialiasing():
    """Antialiased: signals hardly move when the cell's size changes; pixel masks (inner <= theta < outer) jump."""

    def vary(antialias):
        part = []
        for side in np.linspace(14, 15, 9):
            grid = Grid(shape=(64, 64), extent=(side, side))
            stack = twins.vacuum(grid, ENERGY, 0.0)

            def half(ky, kx, pixel):
                return detector_weights.annulus(ky, kx, pixel, 0.0, 0.5 * ALPHA / WAVELENGTH, antialias=antialias)[None]

            part.append(single_probes.probe_signals(stack, np.zeros((1, 2)), Aberrations(), ALPHA, half, antialias=antialias)[0, 0])
        return np.ptp(part)

    assert vary(True) < 0.006
    assert vary(False) > 3 * vary(True)
    ring = detector_weights.annulus(np.zeros(4), np.array([0.9, 1.0, 1.9, 2.0]), (0.1, 0.1), 1.0, 2.0, antialias=False)
    assert ring.tolist() == [0, 1, 1, 0]


def test_signal_is_a_fraction_of_the_beam():
    """A detector that takes everything reads 1 in vacuum, with covered fractions and with pixel masks."""
    stack = twins.vacuum(Grid(shape=(48, 48), extent=(6.0, 6.0)), ENERGY, 5.0)
    for antialias in (True, False):
        signal = single_probes.probe_signals(
            stack, np.zeros((1, 2)), Aberrations(), ALPHA, lambda ky, kx, _: np.ones((1, ky.size, kx.size), np.float32), antialias=antialias
        )
        assert signal[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_slices_from_the_entrance_on():
    """The beam travels along +z, slices are listed from the entrance face on; the wave goes to each plane by its true distance."""
    grid = Grid(shape=(48, 48), extent=(6.0, 6.0))
    at, numbers = np.array([[2.0, 3.0, 40.0], [4.0, 3.0, 1.0]]), np.array([14, 38])
    stack = twins.stack(at, numbers, grid, ENERGY, 50.0)
    assert stack.planes.tolist() == [1.0, 40.0]
    peak = [np.unravel_index(np.angle(t).argmax(), grid.shape) for t in stack.transmission]
    assert peak == [(24, 32), (24, 16)]
    got = wave(stack, [0], [1.0])
    t, grid_k2 = stack.transmission.astype(complex), grid.k2

    def propagate(psi, d):
        return np.fft.ifft2(np.fft.fft2(psi) * np.where(grid.band, np.exp(-1j * np.pi * WAVELENGTH * grid_k2 * d), 0))

    assert np.allclose(got, propagate(propagate(propagate(np.ones(grid.shape), 1.0) * t[0], 39.0) * t[1], 10.0), atol=1e-5)


def test_mean_plane():
    """Edges lie midway between atomic planes; a slice transmits at the unweighted mean depth of its atoms."""
    slices = pot.assign_slices(np.array([0.0, 0.2, 2.0, 4.0, 4.1, 4.3]))
    assert np.allclose(slices.planes, [0.1, 2.0, (4.0 + 4.1 + 4.3) / 3])
    assert np.allclose(slices.edges, [1.1, 3.0])


def test_fast_lengths():
    """Grid sides chosen for the user are even and factor into 2, 3 and 5."""
    assert [fast_length(n) for n in (1, 7, 14, 22, 97, 101, 384, 385, 487)] == [2, 8, 16, 24, 100, 108, 384, 400, 500]


def test_random_numbers_come_from_the_caller():
    """No module of the physics layer makes a generator or touches numpy's global one."""
    folder = Path(physics.__file__).parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert not called.startswith(("np.random", "numpy.random", "random.")), f"{path.name}:{node.lineno}"


def test_collect_is_the_sum_of_intensities():
    """A detector's signal is sum_q D_q |Psi_q|^2."""
    grid = Grid(shape=(24, 24), extent=(3.0, 3.0))
    at, numbers = twins.atoms(np.random.default_rng(2), 3, grid.extent, 2.0)
    stack, beams = twins.stack(at, numbers, grid, ENERGY, 2.0), np.array([0, 1, 25])
    a = np.array([[0.5, 0.2j, -0.3]], np.complex64)
    weights = np.random.default_rng(3).random((2, 24, 24)).astype(np.float32)
    behind = exit_coefficients(stack, beams, a, np.arange(576))[0]
    expected = weights.reshape(2, -1) @ np.abs(behind) ** 2
    assert np.allclose(collect(stack, beams, a, weights)[:, 0], expected, rtol=1e-5)


# ---- against abTEM -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.reference
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_probe_equals_abtem(seed):
    """Our probe is abTEM's after a transpose (its arrays are [x, y]): the same signs and azimuths of every aberration."""
    import abtem

    rng = np.random.default_rng(seed)
    sizes = {"C10": 80, "C12": 60, "C21": 2e3, "C23": 2e3, "C30": 1e5, "C32": 1e5, "C34": 1e5, "C41": 3e6, "C43": 3e6, "C45": 3e6, "C50": 1e8}
    values = {name: float(size * rng.uniform(-1, 1)) for name, size in sizes.items()}
    values |= {f"phi{name[1:]}": float(rng.uniform(-math.pi, math.pi)) for name in sizes if name[2] != "0"}
    with abtem.config.set({"device": "cpu", "precision": "float64", "local_diagnostics.progress_bar": False}):
        theirs = abtem.Probe(energy=ENERGY, semiangle_cutoff=20, soft=False, extent=(14.0, 12.0), gpts=(140, 120), aberrations=values)
        array = theirs.build(scan=abtem.CustomScan([[6.5, 4.0]]), lazy=False).array[0].T
    grid = Grid(shape=(120, 140), extent=(12.0, 14.0))
    ky, kx = grid.ky[:, None], grid.kx
    a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, WAVELENGTH, ALPHA, Aberrations(**values), antialias=False)
    ours = np.fft.ifft2(a * np.exp(-2j * np.pi * (kx * 6.5 + ky * 4.0)))
    overlap = np.vdot(ours, array) / math.sqrt((np.abs(ours) ** 2).sum() * (np.abs(array) ** 2).sum())
    assert abs(overlap - 1) < 1e-4


@pytest.mark.reference
def test_tilt_is_minus_abtems():
    """AbTEM's beam tilt is minus our specimen tilt, in mrad."""
    import abtem

    grid, tilt = Grid(shape=(64, 80), extent=(8.0, 10.0)), (0.012, -0.018)
    at, numbers = twins.atoms(np.random.default_rng(4), 6, grid.extent, 30.0)
    z = np.array([1.0, 9.0, 20.0])
    v = np.array([pot.projected_potential(at[i::3], numbers[i::3], grid) for i in range(3)])
    t = np.array([pot.transmission(s, electrons.interaction_constant(ENERGY), grid) for s in v])
    stack = SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=t, planes=z, thickness=30.0, tilt=tilt)
    ours = wave(stack, [0], [1.0])
    with abtem.config.set({"device": "cpu", "precision": "float64", "local_diagnostics.progress_bar": False, "antialias.taper": 0.0}):
        potential = abtem.PotentialArray(v.transpose(0, 2, 1).copy(), slice_thickness=(8.0, 11.0, 10.0), extent=(10.0, 8.0))
        plane = abtem.PlaneWave(energy=ENERGY, tilt=(-1e3 * tilt[1], -1e3 * tilt[0]))
        theirs = plane.multislice(potential, lazy=False).array.T
    overlap = np.vdot(ours, theirs) / math.sqrt((np.abs(ours) ** 2).sum() * (np.abs(theirs) ** 2).sum())
    straight = wave(SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=t, planes=z, thickness=30.0), [0], [1.0])
    without = np.vdot(straight, theirs) / math.sqrt((np.abs(straight) ** 2).sum() * (np.abs(theirs) ** 2).sum())
    assert abs(overlap) > 1 - 1e-4
    assert abs(without) < 1 - 1e-3


def test_operator_reads_the_same_conventions():
    """The operator's image at (x, y) is the signal of a probe there."""
    grid = Grid(shape=(48, 60), extent=(6.0, 7.5))
    stack = twins.stack(np.array([[5.5, 1.5, 0.0]]), np.array([38]), grid, ENERGY, 0.0)

    def dark_field(ky, kx, pixel):
        return detector_weights.annulus(ky, kx, pixel, 0.03 / WAVELENGTH, 0.06 / WAVELENGTH)[None]

    image = imaging_operator.build(iter([stack]), ALPHA, dark_field).image(Aberrations())
    raster = image.raster(np.arange(12) * 0.5, np.arange(15) * 0.5)[0]
    assert np.unravel_index(raster.argmax(), raster.shape) == (3, 11)
