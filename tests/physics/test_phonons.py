"""Thermal motion: Debye's model, the Debye-Waller factor, and (row 7) frozen phonons against the damped lattice."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants, integrate, special

from stemtwin.twin.instrument.detectors import AnnularDetector
from stemtwin.twin.instrument.scan import PathScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.physics import detector_weights, electrons, phonons
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.engine.operator import single_probes
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.samples.sample import Sample


@given(mass=st.floats(1, 240), theta=st.floats(80, 2300), temperature=st.floats(1, 1200))
def test_debye_sigma(mass, theta, temperature):
    """<u^2> = (hbar / (2 m)) times the mean of coth(hbar w / 2kT) / w over Debye's spectrum 3 w^2 / w_D^3: the same by its definition, in SI."""
    cut = constants.k * theta / constants.hbar
    beta = constants.hbar * cut / (2 * constants.k * temperature)
    mean = integrate.quad(lambda s: 3 * s / math.tanh(beta * s) if s else 3 / beta, 0, 1, epsabs=1e-12, limit=400, points=[min(1, 1 / beta)])[0]
    expected = math.sqrt(constants.hbar / (2 * mass * constants.u * cut) * mean) * 1e10
    assert phonons.debye_sigma(mass, theta, temperature) == pytest.approx(expected, rel=1e-5)


def test_debye_limits():
    """At 0 K <u^2> = 3 hbar^2 / (4 M k theta), also just above it; at high temperature 3 hbar^2 T / (M k theta^2), the classical oscillator's."""
    zero = math.sqrt(3 * constants.hbar**2 / (4 * 12 * constants.u * constants.k * 2230)) * 1e10
    assert phonons.debye_sigma(12, 2230, 0) == pytest.approx(zero, rel=1e-6)
    assert phonons.debye_sigma(12, 2230, 0.5) == pytest.approx(zero, rel=1e-4)
    hot = math.sqrt(3 * constants.hbar**2 * 3e4 / (63.546 * constants.u * constants.k * 343**2)) * 1e10
    assert phonons.debye_sigma(63.546, 343, 3e4) == pytest.approx(hot, rel=1e-4)


# B at 280 K, A^2: Peng, Ren, Dudarev, Whelan, Acta Cryst. A 52 (1996) 456, table 1 (from measured phonon spectra).
# Debye temperatures, K: Kittel, Introduction to Solid State Physics, chapter 5, table 1 (from low-temperature heat capacities).
@pytest.mark.parametrize(
    ("mass", "theta", "b"),
    [(26.98, 428, 0.7460), (63.546, 343, 0.5260), (107.87, 225, 0.7017), (196.97, 165, 0.5925)],
)
def test_debye_sigma_of_fcc_metals(mass, theta, b):
    """B = 8 pi^2 sigma^2 of Al, Cu, Ag and Au agrees with that of their measured phonon spectra, within Debye's approximation: 15 %."""
    assert 8 * math.pi**2 * phonons.debye_sigma(mass, theta, 280) ** 2 == pytest.approx(b, rel=0.15)


def test_displacements():
    """Displacements are independent Gaussians of the atom's own sigma along x, y and z; the same generator state gives the same ones."""
    sigma = np.repeat([0.05, 0.1, 0.0], 20_000)
    u = phonons.displacements(sigma, np.random.default_rng(1))
    assert u.shape == (60_000, 3)
    for start, width in ((0, 0.05), (20_000, 0.1)):
        part = u[start : start + 20_000]
        assert np.abs(part.std(axis=0) - width).max() < 5 * width / math.sqrt(2 * 20_000)
        assert np.abs(np.corrcoef(part.T) - np.eye(3)).max() < 5 / math.sqrt(20_000)
        assert np.abs(part.mean(axis=0)).max() < 5 * width / math.sqrt(20_000)
    assert not u[40_000:].any()
    assert (u == phonons.displacements(sigma, np.random.default_rng(1))).all()


# ---- row 7: frozen phonons ---------------------------------------------------------------------------------------------------------------


def thermal_specimen(cells, points):
    """Return SrTiO3 [001], its 1-D rms displacements, and a grid."""
    a = 3.905
    sites = a * np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    # <u^2> of Sr, Ti, O at room temperature, A^2: muSTEM's tutorial file SrTiO3.xtl
    sigma = np.sqrt([0.00787, 0.00557, 0.009275, 0.009275, 0.009275])
    steps = a * np.stack(np.meshgrid(np.arange(cells[0]), np.arange(cells[0]), np.arange(cells[1]), indexing="ij"), axis=-1).reshape(-1, 3)
    at = (sites[None] + steps[:, None]).reshape(-1, 3)
    grid = Grid(shape=(points, points), extent=(cells[0] * a, cells[0] * a))
    return at, np.tile([38, 22, 8, 8, 8], len(steps)), np.tile(sigma, len(steps)), grid, cells[1] * a


def configuration(at, numbers, sigma, grid, thickness, rng, strength=1.0):
    """Return the slices of one frozen-phonon configuration, each atom in its plane's slice; with ``strength`` potentials are so much weaker."""
    slices = pot.assign_slices(at[:, 2])
    moved = at + phonons.displacements(sigma, rng)
    t = pot.transmissions(moved, numbers, slices, grid, strength * electrons.interaction_constant(200e3), oversampling=1)
    return SliceStack(grid=grid, wavelength=electrons.wavelength(200e3), transmission=t, planes=slices.planes, thickness=thickness)


@pytest.mark.parametrize(("cells", "points", "count"), [((1, 2), 48, 150), pytest.param((2, 12), 128, 400, marks=pytest.mark.slow)])
def test_average_wave_is_the_damped_lattice(cells, points, count):
    """The mean exit wave over configurations is that of the lattice with Debye-Waller factors, within 3 standard errors.

    That is so to first order in the phases: the mean of exp(i sigma V) differs from exp(i sigma mean V) by what is scattered diffusely, which
    is of second order (an absorptive potential would hold it). So the check takes potentials a tenth as strong; at full strength the damped
    lattice is still nearer to the mean wave than the static one.
    """
    at, numbers, sigma, grid, thickness = thermal_specimen(cells, points)
    select, start, slices = np.flatnonzero(grid.k < 1.5), np.ones((1, 1), np.complex64), pot.assign_slices(at[:, 2])

    def compare(strength):
        rng = np.random.default_rng(1)
        stacks = (configuration(at, numbers, sigma, grid, thickness, rng, strength) for _ in range(count))
        waves = np.array([exit_coefficients(stack, np.array([0]), start, select)[0] for stack in stacks])
        out = []
        for damping in (sigma, None):
            t = pot.transmissions(at, numbers, slices, grid, strength * electrons.interaction_constant(200e3), oversampling=1, sigma=damping)
            one = SliceStack(grid=grid, wavelength=electrons.wavelength(200e3), transmission=t, planes=slices.planes, thickness=thickness)
            out.append(np.linalg.norm(waves.mean(axis=0) - exit_coefficients(one, np.array([0]), start, select)[0]))
        return *out, np.linalg.norm(waves.std(axis=0)) / np.sqrt(count)

    damped, static, error = compare(0.1)
    assert damped < 3 * error
    assert static > 3 * damped
    damped, static, _ = compare(1.0)
    assert damped < 0.6 * static


@pytest.mark.parametrize("count", [24, pytest.param(100, marks=pytest.mark.slow)])
def test_frozen_phonon_means(count):
    """HAADF means of two independent sets of configurations agree within 3 of their standard errors, and are above the static crystal's."""
    at, numbers, sigma, grid, thickness = thermal_specimen((2, 3), 128)

    def weigh(ky, kx, pixel):
        return detector_weights.annulus(ky, kx, pixel, 60e-3 / electrons.wavelength(200e3), 130e-3 / electrons.wavelength(200e3))[None]

    points = np.array([[0, 0], [1.9525, 1.9525], [1.0, 0.4]])

    def signal(stack):
        return single_probes.probe_signals(stack, points, Aberrations(), 0.02, weigh)[0]

    first, second = (
        np.array([signal(configuration(at, numbers, sigma, grid, thickness, np.random.default_rng([seed, i]))) for i in range(count)])
        for seed in (1, 2)
    )
    error = np.sqrt((first.var(axis=0, ddof=1) + second.var(axis=0, ddof=1)) / count)
    assert (np.abs(first.mean(axis=0) - second.mean(axis=0)) < 3.5 * error).all()
    assert (error < 0.1 * first.mean(axis=0)).all()


@pytest.mark.slow
def test_strontium_titanate():
    """SrTiO3 [001], 78 A, 200 kV, 20 mrad, 60-200 mrad at 0.04 A: means over configurations equal an independent multislice's (row 7).

    With exact placement it gave 0.2080 +- 0.0027 on Sr and 0.1147 +- 0.0011 on Ti/O (32 and 64 configurations, Lobato's factors, transmission on
    the wave's own grid); here the mean over 16 equal columns and 6 configurations, within 3 standard errors or 3 %.
    """
    at, numbers, sigma, grid, thickness = thermal_specimen((4, 20), 384)
    columns = 3.905 * np.stack(np.meshgrid(np.arange(4), np.arange(4)), axis=-1).reshape(-1, 2)
    sample = Sample(
        name="srtio3",
        numbers=numbers,
        positions_angstrom=at,
        size_angstrom=grid.extent,
        thickness_angstrom=thickness,
        thermal_sigma_angstrom=sigma,
    )
    signals = simulate(
        sample,
        Beam(energy_ev=200e3, semiangle_mrad=20),
        PathScan(positions_angstrom=np.concatenate([columns, columns + 1.9525])),
        detectors=(AnnularDetector(inner_mrad=60, outer_mrad=200, name="signal"),),
        engine="multislice",
        phonons=6,
        grid=grid.shape,
        parametrization="lobato",
        antialias=False,
        oversampling=1,
    ).signal.values
    for part, mean, error in ((signals[:16], 0.2080, 0.0027), (signals[16:], 0.1147, 0.0011)):
        allowed = max(0.03 * mean, 3 * np.hypot(error, part.std(ddof=1) / 4))
        assert abs(part.mean() - mean) < allowed


def test_latin_displacements_fill_every_interval_once() -> None:
    """Each coordinate of each atom has one value in each of as many equally probable intervals; orders differ, and no value is infinite."""
    found = phonons.latin_displacements(np.full(200, 0.1), 8, np.random.default_rng(1))
    assert found.shape == (8, 200, 3)
    assert np.isfinite(found).all()
    intervals = np.floor(8 * special.ndtr(found / 0.1)).astype(int)
    np.testing.assert_array_equal(np.sort(intervals, axis=0), np.broadcast_to(np.arange(8)[:, None, None], intervals.shape))
    assert len(np.unique(intervals.reshape(8, -1), axis=1).T) > 500
    assert phonons.latin_displacements(np.full(3, 0.1), 1, np.random.default_rng(1)).shape == (1, 3, 3)


def test_latin_displacements_are_normal_and_their_mean_varies_less() -> None:
    """Over many draws each configuration has the moments of a normal distribution; the mean of cos(u) over 8 varies less than of independent ones."""
    rng = np.random.default_rng(2)
    found = phonons.latin_displacements(np.ones(20_000), 8, rng)
    for one in found:
        assert abs(one.mean()) < 0.02
        assert abs((one**2).mean() - 1) < 0.03
        assert abs((one**4).mean() - 3) < 0.25
    independent = np.stack([phonons.displacements(np.ones(20_000), rng) for _ in range(8)])
    together, apart = (np.cos(each).mean(axis=0).var() for each in (found, independent))
    assert together < 0.25 * apart
