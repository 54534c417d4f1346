"""Aberrations along tilted beams, and tableaus."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import zemlin
from stemtwin.twin.physics.aberrations import Aberrations, chi, vector

WAVELENGTH = 0.0251
SCALE = np.array([0.0251 * (int(name[1]) + 1) * 0.03 ** -(int(name[1]) + 1) for name in zemlin.CARTESIAN])
"""Coefficients with a phase of 2 pi at 30 mrad, A."""
tilt_angles = st.tuples(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03))


@st.composite
def states(draw):
    """Any aberrations whose phases at 30 mrad are up to some 2 pi each."""
    values = SCALE * draw(st.lists(st.floats(-1, 1), min_size=25, max_size=25))
    return Aberrations.from_cartesian(**dict(zip(zemlin.CARTESIAN, values.tolist(), strict=True)))


def phase(state: Aberrations, ty, tx):
    """Return chi at angles in rad."""
    return chi(state, np.asarray(ty) / WAVELENGTH, np.asarray(tx) / WAVELENGTH, WAVELENGTH)


@settings(max_examples=40)
@given(states(), tilt_angles, tilt_angles)
def test_recentred_aberrations_have_the_same_phase(state, tilt, angle) -> None:
    """f(2a) - 2 f(a) + f(0), f(a) = chi(tilt + a), knows no constant and no linear part: it is that of the recentred aberrations."""
    (ty, tx), (ay, ax) = tilt, angle
    there = phase(state, ty + 2 * ay, tx + 2 * ax) - 2 * phase(state, ty + ay, tx + ax) + phase(state, ty, tx)
    new = zemlin.recentred(state, tilt)
    assert phase(new, 2 * ay, 2 * ax) - 2 * phase(new, ay, ax) == pytest.approx(there, rel=1e-9, abs=1e-6)


@settings(max_examples=40)
@given(tilt_angles, tilt_angles)
def test_tilts_add_up(first, second) -> None:
    """A tilt and then another are their sum; no tilt changes nothing."""
    both = zemlin.recentring(second) @ zemlin.recentring(first)
    whole = zemlin.recentring((first[0] + second[0], first[1] + second[1]))
    assert both / SCALE[:, None] * SCALE == pytest.approx(whole / SCALE[:, None] * SCALE, abs=1e-9)
    assert np.array_equal(zemlin.recentring((0.0, 0.0)), np.eye(25))


@settings(max_examples=40)
@given(states(), tilt_angles)
def test_induced_values_are_second_derivatives(state, tilt) -> None:
    """C10 + C12a, C12b, C10 - C12a along a tilted beam are the second derivatives of W = lambda chi / 2 pi there, by central differences."""
    h = 2e-4
    ty, tx = tilt
    w = {(i, j): phase(state, ty + i * h, tx + j * h) * WAVELENGTH / (2 * math.pi) for i in range(-2, 3) for j in range(-2, 3)}
    weights = {-2: -1 / 12, -1: 4 / 3, 0: -5 / 2, 1: 4 / 3, 2: -1 / 12}  # fourth order
    slopes = {-2: 1 / 12, -1: -2 / 3, 0: 0.0, 1: 2 / 3, 2: -1 / 12}
    xx = sum(weights[j] * w[0, j] for j in weights) / h**2
    yy = sum(weights[i] * w[i, 0] for i in weights) / h**2
    xy = sum(slopes[i] * slopes[j] * w[i, j] for i in slopes for j in slopes) / h**2
    c10, c12a, c12b = zemlin.induced(np.array([tilt]))[0] @ vector(state)
    assert (c10 + c12a, c12b, c10 - c12a) == pytest.approx((xx, xy, yy), rel=1e-5, abs=0.05)


@settings(max_examples=40)
@given(states(), st.floats(0.001, 0.03))
def test_averaging_finds_the_nearest_linear_field(state, semiangle) -> None:
    """(2/a^2) <x dW/dx + y dW/dy> and its two fellows over the disc, by quadrature with differences along radius and azimuth."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    r = semiangle * np.sqrt((nodes + 1) / 2)[:, None]
    phi = 2 * np.pi * np.arange(24) / 24

    def w(radius, angle):
        return phase(state, radius * np.sin(angle), radius * np.cos(angle)) * WAVELENGTH / (2 * math.pi)

    h = 1e-3
    radial = (8 * (w(r * (1 + h), phi) - w(r * (1 - h), phi)) - w(r * (1 + 2 * h), phi) + w(r * (1 - 2 * h), phi)) / (12 * h)  # r dW/dr
    turned = (8 * (w(r, phi + h) - w(r, phi - h)) - w(r, phi + 2 * h) + w(r, phi - 2 * h)) / (12 * h)  # dW/dphi
    cos, sin = np.cos(2 * phi), np.sin(2 * phi)
    fields = (radial, radial * cos - turned * sin, radial * sin + turned * cos)
    law = [2 / semiangle**2 * (weights[:, None] / 2 * field).sum() / 24 for field in fields]
    size = np.abs(zemlin.averaging(semiangle)) @ np.abs(vector(state))
    assert zemlin.averaging(semiangle) @ vector(state) == pytest.approx(law, abs=1e-6 * size.max() + 1e-6)
    assert zemlin.averaging(0.0) @ vector(state) == pytest.approx(vector(state)[:3])


def rings(angle: float, *counts: int) -> np.ndarray:
    """Return the untilted beam and rings of tilts, each turned against the last."""
    out = [(0.0, 0.0)]
    for i, count in enumerate(counts, start=1):
        phi = 2 * np.pi * (np.arange(count) + 0.5 * i) / count
        out += list(zip(angle * i / len(counts) * np.sin(phi), angle * i / len(counts) * np.cos(phi), strict=True))
    return np.array(out)


TABLEAUS = [(2, rings(0.009, 8)), (4, rings(0.018, 6, 12)), (5, rings(0.034, 6, 12, 18))]


@settings(max_examples=20)
@given(states(), st.sampled_from(TABLEAUS), st.sampled_from([0.0, 0.008]))
def test_a_tableau_without_noise_is_solved_exactly(state, tableau, semiangle) -> None:
    """Induced values of aberrations up to the order that is fitted give these aberrations back, whatever the weights."""
    order, tilts = tableau
    kept = {name: value for name, value in state.cartesian().items() if int(name[1]) <= order}
    state = Aberrations.from_cartesian(**kept)
    measured = zemlin.induced(tilts, semiangle) @ vector(state)
    spread = np.random.default_rng(0).normal(size=(len(tilts), 3, 3))
    solution = zemlin.solve(measured, spread @ spread.transpose(0, 2, 1) + np.eye(3), tilts, order=order, semiangle=semiangle)
    assert solution.names == tuple(kept)
    scale = np.array([SCALE[zemlin.PLACE[name]] for name in kept])
    assert vector(solution.aberrations()) == pytest.approx(vector(state), abs=1e-7 * SCALE.max())
    assert solution.values / scale == pytest.approx(np.array(list(kept.values())) / scale, abs=1e-7)
    assert solution.misfit < 1e-6


def test_errors_are_what_the_covariance_says() -> None:
    """Gaussian errors of given covariances give coefficients scattered by the covariance of the solution, and a misfit of 1."""
    order, tilts = TABLEAUS[0]
    rng = np.random.default_rng(1)
    spread = rng.normal(size=(len(tilts), 3, 3)) * 5
    covariances = spread @ spread.transpose(0, 2, 1) + 9 * np.eye(3)
    roots = np.linalg.cholesky(covariances)
    scores, misfits = [], []
    for _ in range(250):
        noise = np.einsum("nij,nj->ni", roots, rng.normal(size=(len(tilts), 3)))
        solution = zemlin.solve(noise, covariances, tilts, order=order)
        scores.append(np.linalg.solve(np.linalg.cholesky(solution.covariance / max(1.0, solution.misfit)), solution.values))
        misfits.append(solution.misfit)
    n, freedom = len(scores), 3 * len(tilts) - 7
    assert np.cov(np.array(scores).T) == pytest.approx(np.eye(7), abs=4.5 * math.sqrt(2 / n))
    assert abs(np.mean(misfits) - 1) < 4.5 * math.sqrt(2 / freedom / n)


def test_what_is_not_fitted_widens_the_intervals() -> None:
    """A threefold astigmatism in a fit of first order is a misfit, and the covariance grows by it."""
    _, tilts = TABLEAUS[0]
    measured = zemlin.induced(tilts) @ vector(Aberrations(C23=1e4))
    covariances = np.broadcast_to(np.eye(3), (len(tilts), 3, 3))
    wrong, right = (zemlin.solve(measured, covariances, tilts, order=order) for order in (1, 2))
    assert wrong.misfit > 100
    assert np.diag(wrong.covariance) == pytest.approx(wrong.misfit / len(tilts))
    assert right.misfit < 1e-9


@pytest.mark.parametrize(("order", "tilts"), [(2, rings(0.009)), (4, rings(0.009, 4)), (5, rings(0.034, 3, 3)), (3, np.zeros((20, 2)))])
def test_too_few_tilts_are_refused(order: int, tilts: np.ndarray) -> None:
    """A tableau that does not determine the coefficients says so."""
    with pytest.raises(SettingsError, match="do not determine"):
        zemlin.solve(np.zeros((len(tilts), 3)), np.broadcast_to(np.eye(3), (len(tilts), 3, 3)), tilts, order=order)
