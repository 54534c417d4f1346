"""Images of a film at several foci, and the fit of what they share."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.physics import noise, phase_diversity, probe
from stemtwin.twin.physics.aberrations import Aberrations, add
from stemtwin.twin.physics.phase_diversity import FilmOptics

OPTICS = FilmOptics(wavelength=0.0251, semiangle=0.008, size=64, sampling=2.4)
FOCI = (3000.0, -3000.0, 0.0)


def frequencies(highest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the frequencies of the images below a highest one, without 0, 1/A."""
    qy, qx = np.broadcast_arrays(*OPTICS.frequencies())
    some = (np.hypot(qy, qx) > 0) & (np.hypot(qy, qx) < highest)
    return qy[some], qx[some]


def take(state: Aberrations, rng: np.random.Generator, *, electrons: float = 1e5, shifts: np.ndarray | None = None, optics: FilmOptics = OPTICS):
    """Return the expected electrons of three images."""
    film = phase_diversity.clusters(optics, 0.003, 2.4, rng)
    transfers = [phase_diversity.transfer(optics, add(state, Aberrations(C10=focus))) for focus in FOCI]
    density = phase_diversity.images(optics, film, transfers, np.zeros((3, 2)) if shifts is None else shifts)
    return np.maximum(electrons * (0.01 + density), 0)


def first_order(state: Aberrations) -> np.ndarray:
    """Return C10, C12a, C12b."""
    return np.array(list(state.cartesian().values())[:3])


states = st.builds(
    Aberrations, C10=st.floats(-600, 600), C12=st.floats(0, 400), phi12=st.floats(0, 3.2), C21=st.floats(0, 5e3), C23=st.floats(0, 5e3)
)


@settings(max_examples=6, deadline=None)
@given(states, st.sampled_from(FOCI), st.tuples(st.integers(-12, 12), st.integers(0, 12)))
def test_the_transfer_is_the_overlap_of_two_apertures(state: Aberrations, focus: float, place: tuple[int, int]) -> None:
    """Slow twin: sum over beams of a(k) conj(a(k - q)), beam by beam, on the reciprocal points of the field."""
    side, (jy, jx) = OPTICS.size * OPTICS.sampling, place
    half = math.ceil(OPTICS.radius * side) + 1
    index = np.arange(-half - 12, half + 13)
    k = index / side
    beams = probe.amplitudes(k[:, None], k[None, :], (1 / side, 1 / side), OPTICS.wavelength, OPTICS.semiangle, add(state, Aberrations(C10=focus)))
    shifted = np.roll(beams, (jy, jx), axis=(0, 1))
    law = (beams * shifted.conj()).sum() / (np.abs(beams) ** 2).sum()
    found = phase_diversity.transfer(OPTICS, add(state, Aberrations(C10=focus)))
    assert found[jy, jx] == pytest.approx(law, abs=1e-12)
    assert np.abs(found).max() <= 1 + 1e-12


def test_without_aberrations_the_transfer_is_that_of_a_round_lens() -> None:
    """(2/pi) (acos x - x sqrt(1 - x^2)), x = q / 2r, on both ways (Goodman, Introduction to Fourier Optics, eq. 6-31)."""
    qy, qx = frequencies(0.2)
    x = np.hypot(qy, qx) / (2 * OPTICS.radius)
    law = 2 / np.pi * (np.arccos(x) - x * np.sqrt(1 - x**2))
    assert phase_diversity.first_order_transfer(OPTICS, qy, qx, (0.0, 0.0, 0.0))[0] == pytest.approx(law, abs=1e-5)
    fine = replace(OPTICS, size=256)  # the aperture's edge is as wide as a reciprocal pixel of the field
    x = np.hypot(*np.broadcast_arrays(*fine.frequencies())) / (2 * fine.radius)
    law = 2 / np.pi * (np.arccos(np.minimum(x, 1)) - x * np.sqrt(np.maximum(1 - x**2, 0)))
    assert phase_diversity.transfer(fine, Aberrations()) == pytest.approx(law, abs=2.5e-3)


@settings(max_examples=15, deadline=None)
@given(st.floats(-3600, 3600), st.floats(-600, 600), st.floats(-600, 600))
def test_the_first_order_has_its_integral(c10: float, c12a: float, c12b: float) -> None:
    """The quadrature across the overlap agrees with wave optics, and its derivatives with differences."""
    qy, qx = frequencies(0.1)
    found, slopes = phase_diversity.first_order_transfer(OPTICS, qy, qx, (c10, c12a, c12b))
    whole = phase_diversity.transfer(OPTICS, Aberrations.from_cartesian(C10=c10, C12a=c12a, C12b=c12b))
    distance = np.hypot(*np.broadcast_arrays(*OPTICS.frequencies()))
    assert found == pytest.approx(whole[(distance > 0) & (distance < 0.1)], abs=8e-3)
    step = 0.5
    for i in range(3):
        ends = [
            phase_diversity.first_order_transfer(OPTICS, qy, qx, tuple(np.array([c10, c12a, c12b]) + sign * step * np.eye(3)[i]))[0]
            for sign in (1, -1)
        ]
        assert slopes[i] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-7)


def test_a_film_is_counted_and_shifted() -> None:
    """The mean of an image is the density of clusters; a shift by whole points rolls it; clusters are as many as asked for on average."""
    film = phase_diversity.clusters(OPTICS, 0.003, 2.4, np.random.default_rng(0))
    still, moved = phase_diversity.images(
        OPTICS, film, [phase_diversity.transfer(OPTICS, Aberrations(C10=500.0))] * 2, np.array([[0, 0], [4.8, -7.2]])
    )
    assert np.roll(still, (2, -3), axis=(0, 1)) == pytest.approx(moved, abs=1e-12)
    side = OPTICS.size * OPTICS.sampling
    assert still.mean() * side**2 == pytest.approx(film[0, 0].real)
    counts = [phase_diversity.clusters(OPTICS, 0.003, 2.4, np.random.default_rng(seed))[0, 0].real for seed in range(40)]
    law = 0.003 * side**2
    assert abs(np.mean(counts) - law) < 4.5 * math.sqrt(law * 1.25 / 40)  # weights of variance 1/4


@settings(max_examples=8, deadline=None)
@given(
    st.floats(-700, 700), st.floats(-500, 500), st.floats(-500, 500), st.lists(st.floats(-8, 8), min_size=4, max_size=4), st.integers(0, 2**32 - 1)
)
def test_without_noise_the_fit_is_right(c10: float, c12a: float, c12b: float, shifts: list[float], seed: int) -> None:
    """Probes with defocus and astigmatism alone, any film and any shifts: what goes in comes out."""
    state = Aberrations.from_cartesian(C10=c10, C12a=c12a, C12b=c12b)
    moves = np.array([*np.reshape(shifts, (2, 2)), [0.0, 0.0]])
    fitted = phase_diversity.fit_first_order(take(state, np.random.default_rng(seed), shifts=moves), FOCI, OPTICS)
    assert fitted.values == pytest.approx(first_order(state), abs=1.5)
    assert fitted.shifts == pytest.approx(moves, abs=0.05)
    assert fitted.misfit < 0.05


def test_errors_are_what_the_fit_says_and_fall_with_the_dose() -> None:
    """Scores of errors over stated covariances are chi-square distributed, the misfit is 1; four times the electrons halve the errors."""
    rng, scores, misfits, sizes = np.random.default_rng(5), [], [], []
    for _ in range(16):
        state = Aberrations(C10=rng.normal() * 150, C12=150, phi12=rng.uniform(0, 3))
        low, high = (rng.poisson(take(state, rng, electrons=n, shifts=rng.normal(0, 3, (3, 2)))) for n in (1e5, 4e5))
        few, many = (phase_diversity.fit_first_order(counts, FOCI, OPTICS) for counts in (low, high))
        error = few.values - first_order(state)
        scores.append(error @ np.linalg.solve(few.covariance, error))
        misfits.append(few.misfit)
        sizes.append(np.sqrt(np.diag(few.covariance) / np.diag(many.covariance)))
    assert abs(np.mean(scores) / 3 - 1) < 4.5 * math.sqrt(2 / (3 * len(scores)))
    assert np.mean(misfits) == pytest.approx(1, abs=0.05)
    assert np.mean(sizes) == pytest.approx(2, rel=0.15)


def test_the_fit_does_not_care_for_what_all_images_share() -> None:
    """A source of finite size is a part of the film: the answer is the same."""
    state, rng = Aberrations(C10=200, C12=100, phi12=0.4), np.random.default_rng(2)
    film = phase_diversity.clusters(OPTICS, 0.003, 2.4, rng)
    transfers = [phase_diversity.transfer(OPTICS, add(state, Aberrations(C10=focus))) for focus in FOCI]
    blur = phase_diversity.coherence.source_factor(2.0, *OPTICS.frequencies())
    for film_seen in (film, film * blur):
        fitted = phase_diversity.fit_first_order(1e3 + 1e5 * phase_diversity.images(OPTICS, film_seen, transfers, np.zeros((3, 2))), FOCI, OPTICS)
        assert fitted.values == pytest.approx(first_order(state), abs=1.5)


def test_deconvolved_probes_are_discs_of_the_right_size() -> None:
    """Far from focus a probe is a disc of radius alpha (defocus + C10), stretched along phi12 where C12 adds to it; it holds all the beam."""
    optics = FilmOptics(wavelength=0.0251, semiangle=0.008, size=128, sampling=2.4)
    rng = np.random.default_rng(3)
    counts = noise.count_electrons(take(Aberrations(C10=300, C12=400, phi12=0.5), rng, optics=optics) / 1e5, 1e6, rng)
    fitted = phase_diversity.fit_first_order(counts, FOCI, optics)
    over, under = phase_diversity.deconvolved(counts, optics, fitted.shifts)
    position = 2.4 * (np.arange(48) - 24)
    for image, defocus in ((over, 3300), (under, -2700)):
        assert image.sum() == pytest.approx(1, abs=0.1)
        for angle, reach in ((0.5, abs(defocus + 400)), (0.5 + math.pi / 2, abs(defocus - 400))):
            along = position[:, None] * math.sin(angle) + position[None, :] * math.cos(angle)
            across = -position[:, None] * math.cos(angle) + position[None, :] * math.sin(angle)
            middle = np.abs(across) < 5
            inside, outside = middle & (np.abs(along) < 0.75 * 0.008 * reach), middle & (np.abs(along) > 1.3 * 0.008 * reach)
            assert image[inside].mean() > 8 * abs(image[outside].mean())
