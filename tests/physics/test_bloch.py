"""Row 5 of the acceptance table: Bloch waves as the second solver of a perfect crystal.

For a potential without structure along z (only the zero-order Laue zone), the beams' amplitudes obey an eigenvalue problem (Humphreys,
Rep. Prog. Phys. 42 (1979) 1825): 2 K s_g C_g + sum_h U_(g-h) C_h = 2 K gamma C_g, with U_g = gamma_rel / (pi Omega) sum_j f_j(g) exp(-B_j g^2 / 4)
exp(-2 pi i g.r_j). No interaction constant, no grid, no slices, no Fourier transform, nothing in common with multislice but the scattering factors.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from stemtwin.twin.physics import electrons
from stemtwin.twin.physics import potential as pot
from stemtwin.twin.physics.engine.multislice.multislice import SliceStack, exit_coefficients
from stemtwin.twin.physics.grids import Grid, fast_length
from stemtwin.twin.physics.scattering_factors import scattering_factor


def bloch_intensities(positions, numbers, b, cell, depth, energy, thickness, reach, tilt):
    """Return indices (n, 2) as (hy, hx) and intensities of all beams up to ``reach`` (1/A) behind a crystal; tilt (ty, tx) of the specimen, rad."""
    (height, width), k = cell, 1 / electrons.wavelength(energy)
    my, mx = int(reach * height) + 1, int(reach * width) + 1
    h = np.array([(y, x) for y in range(-my, my + 1) for x in range(-mx, mx + 1) if math.hypot(y / height, x / width) < reach])
    g = h / np.array([height, width])
    # U of every difference, once
    span_y, span_x = np.arange(-4 * my, 4 * my + 1), np.arange(-4 * mx, 4 * mx + 1)
    dy, dx = np.meshgrid(span_y / height, span_x / width, indexing="ij")
    u = np.zeros(dy.shape, complex)
    for (x, y), number, damping in zip(positions[:, :2], numbers, b, strict=True):
        g2 = dy**2 + dx**2
        u += scattering_factor("kirkland", number, g2) * np.exp(-damping * g2 / 4) * np.exp(-2j * np.pi * (dx * x + dy * y))
    u *= electrons.lorentz_factor(energy) / (math.pi * height * width * depth)
    difference = h[:, None] - h[None, :]
    matrix = u[difference[..., 0] + 4 * my, difference[..., 1] + 4 * mx]
    excitation = -(g**2).sum(axis=1) / (2 * k) + g @ np.tan(tilt)  # s_g; by this specimen tilt the Ewald sphere is met at g.tan(t) = g^2 / 2K
    matrix[np.diag_indices(len(h))] += 2 * k * excitation
    with threadpool_limits(1, user_api="blas"):  # two threads are no faster here, and much slower on a busy machine
        values, vectors = np.linalg.eigh(matrix)
    start = vectors[np.flatnonzero((h == 0).all(axis=1))[0]].conj()
    amplitudes = vectors @ (np.exp(2j * np.pi * values / (2 * k) * thickness) * start)
    return h, np.abs(amplitudes) ** 2


def multislice_intensities(positions, numbers, sigma, cell, depth, energy, thickness, reach, tilt, h):
    """Return the same by multislice of the potential averaged along z, in slices of 0.4 and 0.2 A, extrapolated to none.

    Their error goes as the square. Thinner ones are no better: in single precision each plane gains or loses up to
    2e-7 of the intensity, thousands of them 1e-3.
    """
    shape = tuple(side_for(side, reach) for side in cell)
    grid = Grid(shape=shape, extent=cell)
    select = h[:, 0] % shape[0] * shape[1] + h[:, 1] % shape[1]
    v = pot.projected_potential(positions, numbers, grid, sigma=sigma) / depth

    def amplitudes(count):
        step = thickness / count
        t = pot.transmission(v * step, electrons.interaction_constant(energy), grid)
        stack = SliceStack(
            grid=grid,
            wavelength=electrons.wavelength(energy),
            transmission=np.broadcast_to(t, (count, *shape)),
            planes=(np.arange(count) + 0.5) * step,
            thickness=thickness,
            tilt=tilt,
        )
        return exit_coefficients(stack, np.array([0]), np.ones((1, 1), np.complex64), select)[0]

    count = math.ceil(thickness / 0.4)
    return np.abs((4 * amplitudes(2 * count) - amplitudes(count)) / 3) ** 2


def side_for(length, reach):
    """Return how many points a side needs so that the band limit is a little beyond ``reach``: a number with factors 2, 3 and 5."""
    return fast_length(math.ceil(3.06 * reach * length))


VOLUMES = {6: 8.8, 8: 10.0, 14: 20.0, 22: 17.6, 29: 11.8, 38: 33.0, 42: 15.6, 79: 17.0}
"""A^3 per atom in the elements' solids (C graphite, Si, Ti, Cu, Mo, Au: molar volume / Avogadro's number); O and Sr as in dense oxides."""


@st.composite
def crystals(draw, side, deepest):
    """Any crystal: one to four atoms anywhere in a cell, light to heavy, each with its own vibration; voltage, thickness, tilt."""
    count = draw(st.integers(1, 4))
    cell = (draw(st.floats(2.2, side)), draw(st.floats(2.2, side)))
    fractions = np.array([[draw(st.floats(0, 1)), draw(st.floats(0, 1))] for _ in range(count)])
    numbers = [draw(st.sampled_from(sorted(VOLUMES))) for _ in range(count)]
    least = sum(VOLUMES[number] for number in numbers) / (cell[0] * cell[1])  # no denser than the elements: beams to 6.5 /A serve them
    return {
        "positions": fractions * np.array([cell[1], cell[0]]),
        "numbers": np.array(numbers),
        "sigma": np.array([draw(st.floats(0.07, 0.11)) for _ in range(count)]),
        "cell": cell,
        "depth": least * draw(st.floats(1.0, 2.0)),
        "energy": draw(st.floats(60e3, 300e3)),
        "thickness": draw(st.floats(10.0, deepest)),
        "tilt": (draw(st.floats(-0.008, 0.008)), draw(st.floats(-0.008, 0.008))),
    }


def check(crystal, reach):
    """Compare all beams; return the Bloch waves' intensity of the transmitted one."""
    crystal = dict(crystal)
    sigma = crystal.pop("sigma")
    h, bloch = bloch_intensities(b=8 * np.pi**2 * sigma**2, reach=reach, **crystal)
    multislice = multislice_intensities(sigma=sigma, reach=reach, h=h, **crystal)
    assert bloch.sum() == pytest.approx(1, abs=1e-9)
    assert np.abs(multislice - bloch).max() < 1e-3
    return bloch[np.flatnonzero((h == 0).all(axis=1))[0]]


@given(crystal=crystals(side=2.8, deepest=150.0))
@settings(max_examples=8)
def test_small_crystals(crystal):
    """Every beam's intensity agrees with the Bloch waves' within 1e-3 of the incident beam: any crystal, voltage, thickness and tilt."""
    check(crystal, reach=5.0)


def test_silicon_110_is_dynamical():
    """Silicon [110] at 200 kV scatters most of the transmitted beam away and back again, in both solvers alike."""
    a = 5.431
    cell, depth = (a, a / math.sqrt(2)), a / math.sqrt(2)
    fractions = np.array([[0, 0], [0.5, 0.5], [0, 0.25], [0.5, 0.75]])  # x along [1-10], y along [001]
    crystal = {
        "positions": fractions * np.array([cell[1], cell[0]]),
        "numbers": np.full(4, 14),
        "sigma": np.full(4, 0.0763),
        "cell": cell,
        "depth": depth,
        "energy": 200e3,
        "tilt": (0.0, 0.0),
    }
    central = [check({**crystal, "thickness": thickness}, reach=3.0) for thickness in (20.0, 140.0, 275.0)]
    assert central[1] < 0.1
    assert min(central[0], central[2]) > 0.7


@pytest.mark.slow
@given(crystal=crystals(side=3.5, deepest=600.0))
@settings(max_examples=5)
def test_crystals(crystal):
    """The same for larger cells, up to 600 A and beams up to 6.5 /A."""
    check(crystal, reach=6.5)
