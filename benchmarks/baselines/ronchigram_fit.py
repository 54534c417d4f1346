"""Aberrations from the local spectra of a Ronchigram, by a fit of a model to the spectra of its segments.

In a segment about the angle t, the shadow image of a thin film is magnified by the Hessian H(t) of the wave aberration. A Fourier component g of the
film makes fringes of frequency f = H g, with the contrast sin(pi lambda f H^-1 f). The spectra of the segments therefore show Thon rings, which are
ellipses given by the local H, and H is linear in the coefficients. Counting noise is white. The mean spectrum of the film itself is a smooth function
of f that is fitted as well. The powers in the spectrum of a segment are exponentially distributed about the model (Whittle's likelihood). Segments
overlap and are windowed, so the log-likelihood is scaled to the number of independent pixels.
"""

import dataclasses
import math

import numpy as np

from stemtwin.datasets.generators.ronchigram import COEFFICIENTS
from stemtwin.twin.physics.aberrations import Aberrations, basis
from stemtwin.twin.physics.electrons import wavelength

SEGMENT_PX = 48
SPACING_PX = 15
EDGE_PX = 15
"""Smallest distance of the middle of a segment from the edge of the disc, px."""
LOWEST, HIGHEST = 80.0, 640.0
"""Range of fitted frequencies, 1/rad."""
UNIT = 350.0
"""Unit of the frequency in the model of the film's spectrum, 1/rad."""
LEAST_DETERMINANT = 1e3
"""Smallest magnitude of the determinant of a Hessian in the model, A^2; smaller determinants are replaced by this value."""
ROUNDS = 25
INDEPENDENT = 1.7
"""Factor of the number of independent pixels with which the fit's covariance matches the errors on the train split."""
CLEAR = 1.5
"""Scatter of the powers about the model, relative to an exponential distribution, above which the likelihood is weakened; crystals exceed it."""
FILM = np.array([0.0, 0.0, 0.0, 0.0, -0.15])
"""Initial parameters of the film, see :func:`model`."""
FILM_SIGMA = np.array([1.5, 1.5, 1.5, 0.7, 0.12])
LAST_RING_RAD = 6.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Segments:
    """Spectra of the segments of one Ronchigram.

    Parameters
    ----------
    power : ndarray
        (segments, frequencies) power, in units of the power of the counting noise.
    frequency : ndarray
        (2, frequencies) fx, fy, 1/rad.
    hessians : ndarray
        (12, segments, 3) second derivatives xx, xy, yy of the wave aberration for each coefficient.
    length : float
        Wavelength, A.
    independent : float
        Number of independent values of the image for each value in ``power``, at most 1.
    """

    power: np.ndarray
    frequency: np.ndarray
    hessians: np.ndarray
    length: float
    independent: float


def hessian_basis(angles: np.ndarray, energy_ev: float) -> np.ndarray:
    """Return the second derivatives of the wave aberration at given angles, for each of the 12 coefficients.

    ``angles`` holds n angles (x, y), rad, with the shape (n, 2). The result has the shape (12, n, 3); its last axis holds the derivatives xx, xy and
    yy. They are computed as central differences. The error of these differences is a negligible constant, because the wave aberration is a
    polynomial of fourth order.
    """
    names, length, h = list(Aberrations().cartesian()), wavelength(energy_ev), 1e-3
    rows = [names.index(name) for name in COEFFICIENTS]

    def wave(dx: float, dy: float) -> np.ndarray:
        return basis((angles[:, 1] + dy) / length, (angles[:, 0] + dx) / length, length)[rows] * length / (2 * math.pi)

    middle = wave(0, 0)
    xx, yy = wave(h, 0) - 2 * middle + wave(-h, 0), wave(0, h) - 2 * middle + wave(0, -h)
    xy = (wave(h, h) - wave(h, -h) - wave(-h, h) + wave(-h, -h)) / 4
    return np.stack([xx, xy, yy], axis=-1) / h**2


def segments_of(given: dict) -> Segments:
    """Return the spectra of the segments of a sample, given the inputs of the task ``ronchigram``."""
    image, pixel = np.asarray(given["image"], dtype=float), float(given["pixel_mrad"]) * 1e-3
    middle, radius = (np.array(image.shape) - 1) / 2, float(given["semiangle_mrad"]) * 1e-3 / pixel
    reach = int((radius - EDGE_PX) // SPACING_PX)
    steps = np.arange(-reach, reach + 1) * SPACING_PX
    places = [(y, x) for y in steps for x in steps if math.hypot(y, x) <= radius - EDGE_PX]
    taper = np.hanning(SEGMENT_PX + 2)[1:-1]
    window = np.outer(taper, taper)
    fy, fx = np.fft.fftfreq(SEGMENT_PX, pixel)[:, None], np.fft.rfftfreq(SEGMENT_PX, pixel)[None, :]
    size = np.hypot(fy, fx)
    chosen = (size >= LOWEST) & (size <= HIGHEST) & ((fx > 0) | (fy > 0))
    disc = np.hypot(*(np.indices(image.shape) - middle[:, None, None])) <= radius - 1
    power, angles = [], []
    for y, x in places:
        first = np.rint(middle + np.array([y, x]) - SEGMENT_PX / 2 + 0.5).astype(int)
        piece = tuple(slice(max(0, a), a + SEGMENT_PX) for a in first)
        part, mask = (np.zeros((SEGMENT_PX, SEGMENT_PX)) for _ in range(2))
        own = tuple(slice(p.start - a, p.start - a + image[piece].shape[k]) for k, (p, a) in enumerate(zip(piece, first, strict=True)))
        part[own], mask[own] = image[piece], disc[piece]
        weight = window * mask
        mean = (weight * part).sum() / weight.sum()
        spectrum = np.abs(np.fft.rfft2(weight * (part - mean))) ** 2 / max(mean * (weight**2).sum(), 1e-12)
        power.append(spectrum[chosen])
        angles.append(((np.array(first) + (SEGMENT_PX - 1) / 2 - middle) * pixel)[::-1])
    table = np.stack(power)
    frequency = np.stack(np.broadcast_arrays(fx, fy))[:, chosen]
    energy = float(given["energy_ev"])
    bins = disc.sum() / 2 * chosen.sum() / (SEGMENT_PX**2 / 2)
    return Segments(
        power=table,
        frequency=frequency,
        hessians=hessian_basis(np.array(angles), energy),
        length=wavelength(energy),
        independent=min(1.0, float(INDEPENDENT * bins / table.size)),
    )


def model(segments: Segments, coefficients: np.ndarray, film: np.ndarray, excess: float) -> np.ndarray:
    """Return the expected power, (segments, frequencies), in units of the counting noise.

    Parameters
    ----------
    segments : Segments
        Segments of the Ronchigram.
    coefficients : ndarray
        Aberration coefficients, (12,), A.
    film : ndarray
        (5,) parameters of the film. The first three are the constant, linear and quadratic coefficients of a polynomial in u = f / (350 1/rad) - 1,
        where f is the spatial frequency. The polynomial is the logarithm of the ratio of the film's power to ``excess``. The fourth is
        log(phi / 6 rad), where phi is the phase at which the contrast of the rings falls to 1/e. The fifth is a phase shift of the rings, rad.
    excess : float
        Mean power of the segments minus the power of the noise, in units of the power of the noise.
    """
    xx, xy, yy = np.moveaxis(np.tensordot(coefficients, segments.hessians, axes=1), -1, 0)
    determinant = xx * yy - xy**2
    determinant = np.where(np.abs(determinant) < LEAST_DETERMINANT, LEAST_DETERMINANT, determinant)[:, None]
    fx, fy = segments.frequency
    form = (yy[:, None] * fx**2 - 2 * xy[:, None] * fx * fy + xx[:, None] * fy**2) / determinant
    phase = math.pi * segments.length * form
    u = np.hypot(fx, fy) / UNIT - 1
    amplitude = 2 * excess * np.exp(film[0] + film[1] * u + film[2] * u**2)
    seen = np.exp(-((phase / (LAST_RING_RAD * np.exp(film[3]))) ** 2))
    return 1 + amplitude * 0.5 * (1 - seen * np.cos(2 * phase + film[4]))


def misfit(segments: Segments, expected: np.ndarray) -> float:
    """Return the negative logarithm of Whittle's likelihood, scaled to the number of independent pixels."""
    return segments.independent * float((np.log(expected) + segments.power / expected).sum())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fit:
    """Fitted coefficients (12,), A, with their covariance (12, 12), A^2, five parameters of the film, the misfit, and the scatter about the model."""

    coefficients: np.ndarray
    covariance: np.ndarray
    film: np.ndarray
    misfit: float
    dispersion: float


def fit(segments: Segments, mean: np.ndarray, sigma: np.ndarray) -> Fit:
    """Return the fit with the largest posterior density.

    Fisher scoring starts from each of the three best points of a grid of focus and astigmatism, and the best result is kept.

    Parameters
    ----------
    segments : Segments
        From :func:`segments_of`.
    mean, sigma : ndarray
        (12,) prior mean and standard deviation of the coefficients, A.
    """
    excess = max(float(segments.power.mean()) - 1, 0.02)
    blind = _scored(segments, np.concatenate([np.zeros(len(mean)), FILM]), mean, 1e-6 * sigma, excess)
    starts = []
    for focus in np.linspace(-3, 3, 31):
        for a, b in ((0.0, 0.0), (1.2, 0.0), (-1.2, 0.0), (0.0, 1.2), (0.0, -1.2)):
            start = np.concatenate([[focus, a, b], np.zeros(len(mean) - 3)])
            starts.append((misfit(segments, model(segments, mean + sigma * start, blind.film, excess)) + 0.5 * (start**2).sum(), start))
    starts.sort(key=lambda one: one[0])
    found = [_scored(segments, np.concatenate([start, blind.film]), mean, sigma, excess) for _, start in starts[:3]]
    best = min(found, key=lambda one: one.misfit)
    if best.dispersion < CLEAR:
        return best
    weaker = dataclasses.replace(segments, independent=segments.independent / best.dispersion)
    return _scored(weaker, np.concatenate([(best.coefficients - mean) / sigma, best.film]), mean, sigma, excess)


def _scored(segments: Segments, start: np.ndarray, mean: np.ndarray, sigma: np.ndarray, excess: float) -> Fit:
    """Return the fit that Fisher scoring with a damped step reaches from a start, in units of the prior's standard deviations."""
    count, scale = len(mean), np.concatenate([np.ones(len(mean)), FILM_SIGMA])
    middle = np.concatenate([np.zeros(len(mean)), FILM])

    def expected(p: np.ndarray) -> np.ndarray:
        return model(segments, mean + sigma * p[:count], p[count:], excess)

    def total(p: np.ndarray) -> float:
        return misfit(segments, expected(p)) + 0.5 * float((((p - middle) / scale) ** 2).sum())

    p, damping, prior = start.copy(), 1e-2, np.diag(scale**-2)
    best = total(p)
    information = prior
    for _ in range(ROUNDS):
        now = expected(p)
        slopes = np.stack([(expected(p + 1e-4 * unit) - now).ravel() for unit in np.eye(len(p))]) / 1e-4 / now.ravel()
        pull = segments.independent * slopes @ (segments.power / now - 1).ravel() - (p - middle) / scale**2
        information = segments.independent * slopes @ slopes.T + prior
        before = best
        for _ in range(6):
            step = np.linalg.solve(information + damping * np.diag(np.diag(information)), pull)
            trial = total(p + step)
            if trial < best:
                p, best, damping = p + step, trial, damping / 5
                break
            damping *= 6
        if before - best < 1e-3:
            break
    dispersion = float(((segments.power / expected(p) - 1) ** 2).mean())
    covariance = np.linalg.inv(information)[:count, :count] * np.outer(sigma, sigma)
    return Fit(coefficients=mean + sigma * p[:count], covariance=covariance, film=p[count:], misfit=best, dispersion=dispersion)
