"""Cross-sections of single atoms for a ring, and those of whole specimens, against closed sums."""

import functools

import numpy as np
import pytest
import scipy.fft

from stemtwin.twin.physics import potential, probe, thermal_scattering
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.electrons import interaction_constant, wavelength
from stemtwin.twin.physics.engine.multislice import thermal_specimen
from stemtwin.twin.physics.engine.multislice.absorbing import absorbed
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack
from stemtwin.twin.physics.engine.multislice.thermal_specimen import ThermalAtoms, ThermalOptics
from stemtwin.twin.physics.grids import Grid
from stemtwin.twin.physics.thermal_scattering import Ring, atom, into_ring

ENERGY, ALPHA = 200e3, 0.02
WAVELENGTH, INTERACTION = wavelength(ENERGY), interaction_constant(ENERGY)
RING = Ring(inner=0.06 / WAVELENGTH, outer=0.12 / WAVELENGTH)


@functools.cache
def on_a_grid(number: int) -> tuple[Grid, np.ndarray]:
    """Return a fine grid and the Fourier coefficients of exp(i sigma v) - 1 of an atom, A^2."""
    grid = Grid(shape=(480, 480), extent=(12.0, 12.0))
    v = potential.projected_potential(np.zeros((1, 2)), np.array([number]), grid)
    return grid, scipy.fft.fft2(np.exp(1j * INTERACTION * v.astype(float)) - 1) * 144 / v.size


def summed_over_a_scan(number: int) -> float:
    """Return sum_q W(q) abs(T(q))^2 of a static atom, W the mean of the ring over the aperture's directions (physics.md, section 10, row 9)."""
    grid, t = on_a_grid(number)
    ring = ((grid.k >= RING.inner) & (grid.k < RING.outer)).astype(float)
    disc = probe.aperture(grid.ky[:, None], grid.kx, grid.reciprocal_sampling, ALPHA / WAVELENGTH)
    smeared = scipy.fft.ifft2(scipy.fft.fft2(ring) * scipy.fft.fft2(disc**2)).real / (disc**2).sum()
    return float((smeared * np.abs(t) ** 2).sum() / 144)


@pytest.mark.parametrize("number", [6, 38, 79])
def test_total_cross_section_is_the_sum_over_a_scan(number: int) -> None:
    """At q = 0 everything that an atom scatters into the ring, averaged over the probe's directions, is the closed sum: 2 %."""
    everything, _ = into_ring(atom(number, 0.0, INTERACTION), RING, ALPHA / WAVELENGTH, np.zeros(1))
    assert everything[0] == pytest.approx(summed_over_a_scan(number), rel=0.02)


def test_without_motion_nothing_is_thermal_and_with_much_everything() -> None:
    """The coherent part is everything for a still atom, and vanishes where the Debye-Waller factor does."""
    still, loose = (into_ring(atom(29, sigma, INTERACTION), RING, ALPHA / WAVELENGTH, np.array([0.0, 0.5])) for sigma in (0.0, 0.5))
    np.testing.assert_allclose(still[0], still[1], rtol=1e-12)
    assert loose[1][0] < 1e-6 * loose[0][0]
    np.testing.assert_allclose(loose[0][0], still[0][0], rtol=1e-12)  # of a single atom the total knows no motion


def test_rings_add_up() -> None:
    """Two rings that touch scatter as much as the one that they form."""
    scatterer, q = atom(22, 0.07, INTERACTION), np.array([0.0, 0.6, 1.9])
    middle = 0.08 / WAVELENGTH
    inner, outer, both = (
        into_ring(scatterer, ring, ALPHA / WAVELENGTH, q)
        for ring in (Ring(inner=RING.inner, outer=middle), Ring(inner=middle, outer=RING.outer), RING)
    )
    np.testing.assert_allclose(np.add(inner, outer), both, rtol=5e-3, atol=1e-9)


def test_a_second_scattering_only_moves_electrons() -> None:
    """What an atom kicks out of three rings that fill all angles and what it kicks into them cancel, where few leave the last one."""
    scatterer, q = atom(79, 0.08, INTERACTION), np.zeros(1)
    below = Ring(inner=0.0, outer=RING.inner)
    gain = thermal_scattering.again_into_ring(scatterer, scatterer, below, RING, q)[0]
    lost = thermal_scattering.again_into_ring(scatterer, scatterer, below, below, q)[0]
    beyond = thermal_scattering.again_into_ring(scatterer, scatterer, below, Ring(inner=RING.outer, outer=20.0), q)[0]
    assert gain > 0 > lost
    assert gain + lost + beyond == pytest.approx(0, abs=0.03 * gain)


def sheet(shift: float = 0.0, depth: float = 0.0) -> ThermalAtoms:
    """Return two planes of a few atoms in a cell of 12 A, moved aside and down."""
    rng = np.random.default_rng(1)
    at = np.column_stack([rng.uniform(3, 9, (4, 2)) + shift, np.array([0.0, 0.0, 2.0, 2.0]) + depth])
    return ThermalAtoms(
        positions=at, numbers=np.array([6, 79, 38, 6]), sigma=np.full(4, 0.07), slices=potential.assign_slices(at[:, 2]), tilt=(0.0, 0.0)
    )


def signals(atoms: ThermalAtoms, points: np.ndarray, C10: float = 0.0) -> np.ndarray:
    """Return the signals of probes at points."""
    grid = Grid(shape=(72, 72), extent=(12.0, 12.0))
    optics = ThermalOptics(wavelength=WAVELENGTH, interaction=INTERACTION, radius=ALPHA / WAVELENGTH)
    made = thermal_specimen.build(atoms, grid, [RING], optics)
    beams = np.flatnonzero(grid.k <= ALPHA / WAVELENGTH)
    ky, kx = grid.ky[beams // 72], grid.kx[beams % 72]
    a = probe.amplitudes(ky, kx, grid.reciprocal_sampling, WAVELENGTH, ALPHA, Aberrations(C10=C10), antialias=False)
    waves = a * np.exp(-2j * np.pi * (np.outer(points[:, 0], kx) + np.outer(points[:, 1], ky)))
    stack = SliceStack(grid=grid, wavelength=WAVELENGTH, transmission=made.transmission, planes=made.planes, thickness=float(made.planes[-1]))
    return absorbed(stack, beams, waves.astype(np.complex64), made.sections, 0.051 / WAVELENGTH)[0]


def test_specimen_and_probe_may_move_together() -> None:
    """Moved by a fraction of a pixel, with the probes, atoms scatter the same to 1 % (physics.md, section 10, row 8: 2 to 2.5 %)."""
    points = sheet().positions[:, :2] + np.array([0.1, 0.0])
    still = signals(sheet(), points)
    for shift in (0.03, 0.083):
        np.testing.assert_allclose(signals(sheet(shift), points + shift), still, rtol=0.01)


def test_vacuum_in_front_is_defocus() -> None:
    """A vacuum slab d in front of the specimen equals C10 + d (physics.md, section 10, row 10)."""
    points = sheet().positions[:, :2]
    np.testing.assert_allclose(signals(sheet(depth=30.0), points), signals(sheet(), points, C10=30.0), rtol=2e-4)


def test_share_of_a_random_film_is_one_and_of_a_crystal_small() -> None:
    """Amplitudes of atoms without order add up in power; those of many planes of a crystal cancel but for few beams."""
    rng = np.random.default_rng(0)
    optics = ThermalOptics(wavelength=WAVELENGTH, interaction=INTERACTION, radius=ALPHA / WAVELENGTH)
    grid = Grid(shape=(72, 72), extent=(12.0, 12.0))
    crystal = np.stack(np.meshgrid(np.arange(4) * 3.0, np.arange(4) * 3.0, np.arange(20) * 3.0, indexing="ij"), -1).reshape(-1, 3)
    film = rng.uniform(0, 1, crystal.shape) * np.array([12, 12, 60])
    shares = []
    for at in (film, crystal):
        atoms = ThermalAtoms(positions=at, numbers=np.full(len(at), 14), sigma=np.full(len(at), 0.08), slices=potential.assign_slices(at[:, 2]))
        shares += thermal_specimen.coherent_shares(atoms, [atom(14, 0.08, INTERACTION)], grid, RING, optics)
    assert shares[0] == pytest.approx(1, abs=0.15)
    assert abs(shares[1]) < 0.4
