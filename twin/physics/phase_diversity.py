"""Phase diversity: defocus and twofold astigmatism from a defocus series of a film.

The film is unknown but the same in all images, so the images differ only by their probes. For each set of aberrations,
the film that fits the images best follows in closed form. The fit searches for the aberrations whose best film leaves
the smallest residual. It needs no knowledge of the film, the source size or the detector. Sources: Gonsalves, Opt. Eng.
21 (1982) 829; Paxman, Schulz, Fienup, J. Opt. Soc. Am. A 9 (1992) 1072.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft

from stemtwin.twin.physics import coherence
from stemtwin.twin.physics.aberrations import Aberrations, basis, vector
from stemtwin.twin.physics.probe import disc_coverage

HIGHEST = 0.24
"""Highest frequency used in a fit, cycles per point."""
NODES = 12
"""Points of the quadrature across the overlap of two apertures."""
PRIOR = 1e-4
"""Regularisation of the film at frequencies that no image transfers, relative to the noise power of the images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmOptics:
    """Optics of the images of a film.

    Parameters
    ----------
    wavelength, semiangle : float
        Wavelength (A) and convergence semi-angle, rad.
    size : int
        Number of points along each side of an image.
    sampling : float
        Distance between points, A.
    """

    wavelength: float
    semiangle: float
    size: int
    sampling: float

    @property
    def radius(self) -> float:
        """Radius of the aperture, 1/A."""
        return self.semiangle / self.wavelength

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the images' spatial frequencies (qy, qx) in the order of ``rfft2``, broadcastable, 1/A."""
        return fft.fftfreq(self.size, self.sampling)[:, None], fft.rfftfreq(self.size, self.sampling)[None, :]


def clusters(optics: FilmOptics, density: float, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a film of clusters at random positions, with random weights of mean 1 and standard deviation 1/2.

    Parameters
    ----------
    optics : FilmOptics
        Optics of the images; their field is one period of the film.
    density : float
        Clusters per A^2.
    sigma : float
        Standard deviation of a cluster's projected density, A.
    rng : numpy.random.Generator
        The only source of randomness.

    Returns
    -------
    ndarray
        Fourier coefficients of the film's density in the order of ``rfft2``, shape (size, size // 2 + 1). The coefficient
        at zero frequency is the sum of the clusters' weights.
    """
    side = optics.size * optics.sampling
    count = int(rng.poisson(density * side**2))
    y, x, weight = *rng.uniform(0, side, (2, count)), rng.gamma(4, 1 / 4, count)
    qy, qx = (q.reshape(-1) for q in optics.frequencies())
    rows = np.exp(-2j * np.pi * np.outer(qy, y)) * weight
    columns = np.exp(-2j * np.pi * np.outer(x, qx))
    out = np.zeros((qy.size, qx.size), dtype=complex)
    for first in range(0, count, 64):  # the order of summation does not depend on the threads of a matrix product
        out += np.einsum("ic,cj->ij", rows[:, first : first + 64], columns[first : first + 64], optimize=False)
    return out * coherence.source_factor(sigma, qy[:, None], qx[None, :])


@functools.lru_cache(maxsize=6)
def _pupil(optics: FilmOptics) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Return the side of the probe's grid, and indices, weights and phases per A of the beams within the aperture."""
    side = optics.size * optics.sampling
    grid = fft.next_fast_len(math.ceil(side * (2 * optics.radius + 0.5 / optics.sampling)) + 1)
    k = fft.fftfreq(grid, side / grid)
    weight = disc_coverage(k[:, None], k[None, :], (1 / side, 1 / side), optics.radius)
    iy, ix = np.nonzero(weight)
    return grid, iy * grid + ix, weight[iy, ix], basis(k[iy], k[ix], optics.wavelength)


def transfer(optics: FilmOptics, aberrations: Aberrations, foci: Sequence[tuple[float, float]] = ((0.0, 1.0),)) -> np.ndarray:
    """Return the probe's transfer function for the Fourier coefficients of an incoherent image.

    Parameters
    ----------
    optics : FilmOptics
        Optics of the images.
    aberrations : Aberrations
        Aberrations of the probe.
    foci : sequence of tuple
        Pairs that describe a focal spread: a change of C10, A, and its weight.

    Returns
    -------
    ndarray
        Fourier transform of the probe's intensity in the order of ``rfft2``, 1 at the origin, complex128, shape
        (size, size // 2 + 1).
    """
    grid, place, weight, phases = _pupil(optics)
    wave, intensity = np.zeros(grid * grid, dtype=complex), np.zeros((grid, grid))
    in_focus = weight * np.exp(-1j * np.einsum("i,ib->b", vector(aberrations), phases))
    for focus, share in foci:
        wave[place] = in_focus * np.exp(-1j * focus * phases[0]) if focus else in_focus
        probe = fft.ifft2(wave.reshape(grid, grid))
        intensity += share * (probe.real**2 + probe.imag**2)
    out = fft.rfft2(intensity)
    half = optics.size // 2
    rows = np.concatenate([np.arange(optics.size - half), np.arange(grid - half, grid)])
    return out[rows, : half + 1] / out[0, 0].real


def images(optics: FilmOptics, film: np.ndarray, transfers: list[np.ndarray], shifts: np.ndarray) -> np.ndarray:
    """Return noiseless images of a film: its density, in clusters per A^2, convolved with the intensity of the probe.

    Parameters
    ----------
    optics : FilmOptics
        Optics of the images.
    film : ndarray
        Fourier coefficients of the film; see :func:`clusters`.
    transfers : list of ndarray
        Transfer function of each image; see :func:`transfer`.
    shifts : ndarray
        Shift of each image, (y, x), A, shape (n, 2).

    Returns
    -------
    ndarray
        Images, float64, shape (n, size, size).
    """
    qy, qx = optics.frequencies()
    out = [
        fft.irfft2(film * transfer * np.exp(-2j * np.pi * (qy * dy + qx * dx)), (optics.size, optics.size))
        for transfer, (dy, dx) in zip(transfers, shifts, strict=True)
    ]
    return np.stack(out) / optics.sampling**2


def first_order_transfer(
    optics: FilmOptics, qy: np.ndarray, qx: np.ndarray, first_order: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the transfer function of a probe with defocus and twofold astigmatism, and its derivatives.

    chi(k + q/2) - chi(k - q/2) = 2 pi k.s with s = lambda [[C10 + C12a, C12b], [C12b, C10 - C12a]] q, so the transfer
    function is the Fourier transform, at s, of the overlap of two discs (Hopkins, Proc. Roy. Soc. A 231 (1955) 91). The
    integral along q has a closed form; the integral across q is computed by Gaussian quadrature.

    Parameters
    ----------
    optics : FilmOptics
        Optics of the images.
    qy, qx : ndarray
        Frequencies other than 0 and below twice the aperture's radius, shape (Q,), 1/A.
    first_order : tuple of float
        C10, C12a, C12b, A.

    Returns
    -------
    tuple of ndarray
        Transfer function, real, shape (Q,), and its derivatives with respect to C10, C12a, C12b, 1/A, shape (3, Q).
    """
    c10, c12a, c12b = first_order
    q = np.hypot(qy, qx)
    cos, sin = qx / q, qy / q
    double, cross = cos**2 - sin**2, 2 * sin * cos
    along, across = optics.wavelength * q * (c10 + c12a * double + c12b * cross), optics.wavelength * q * (c12b * double - c12a * cross)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    theta, radius = (nodes + 1) * np.pi / 4, optics.radius
    half = np.sqrt(radius**2 - q**2 / 4)[:, None]
    y = half * np.sin(theta)
    x = np.sqrt(radius**2 - y**2) - q[:, None] / 2
    area = half * np.cos(theta) * weights * (x / radius**2)  # pi / 4 times 4 / pi
    px, py = 2 * np.pi * along[:, None] * x, 2 * np.pi * across[:, None] * y
    small = np.abs(px) < 1e-4
    safe = np.where(small, 1.0, px)
    line = np.where(small, 1 - px**2 / 6, np.sin(safe) / safe)
    slope = np.where(small, -px / 3, (np.cos(safe) - line) / safe)
    cosine = np.cos(py)
    by_along = 2 * np.pi * (area * slope * cosine * x).sum(axis=1)
    by_across = -2 * np.pi * (area * line * np.sin(py) * y).sum(axis=1)
    derivatives = np.stack([by_along, by_along * double - by_across * cross, by_along * cross + by_across * double])
    return (area * line * cosine).sum(axis=1), derivatives * optics.wavelength * q


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FirstOrder:
    """Defocus and astigmatism fitted to images.

    Parameters
    ----------
    values, covariance : ndarray
        C10, C12a, C12b, A, shape (3,), and their covariance, A^2, shape (3, 3).
    shifts : ndarray
        Shift (y, x) of each image relative to the final image of the series, A, shape (n, 2).
    misfit : float
        Chi-square per degree of freedom: 1 if defocus, astigmatism and counting noise explain the images.
    """

    values: np.ndarray
    covariance: np.ndarray
    shifts: np.ndarray
    misfit: float


def fit_first_order(counts: np.ndarray, foci: tuple[float, ...], optics: FilmOptics, *, highest: float = HIGHEST, steps: int = 25) -> FirstOrder:
    """Fit the common defocus and astigmatism of a defocus series of one film.

    Parameters
    ----------
    counts : ndarray
        Counted electrons, shape (n, size, size); the variance of a count is its mean. The last image is the sharpest
        image, and its entry in ``foci`` is 0.
    foci : tuple of float
        Increment of C10 for each image, A.
    optics : FilmOptics
        Optics of the images.
    highest : float
        Highest frequency used, cycles per point (the film must have no contrast beyond 1/2).
    steps : int
        Largest number of steps of the fit.

    Returns
    -------
    FirstOrder
        Result of a Levenberg-Marquardt fit that starts at the best of several defoci; the film is projected out of
        residuals and derivatives (Kaufman, BIT 15 (1975) 49).
    """
    spectra = fft.rfft2(counts.astype(float))
    qy, qx, looked = _looked(optics, highest)
    variance = np.maximum(counts.sum(axis=(1, 2)), 1.0)
    problem = _Problem(optics, foci, qy[looked], qx[looked], spectra[:, looked] / np.sqrt(variance)[:, None], np.sqrt(variance.mean() / variance))
    shifts = _shifts(spectra, optics)
    span = max(map(abs, foci))
    parameters = np.concatenate([[problem.best_focus(span * np.linspace(-1.6, 1.6, 33), shifts), 0.0, 0.0], shifts[:-1].reshape(-1)])
    damping, state = 1e-3, problem.linearise(parameters)
    for _ in range(steps):
        cost, hessian, gradient = state
        new = parameters + np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
        trial = problem.linearise(new)
        if trial[0] < cost:
            parameters, state, damping = new, trial, max(damping / 10, 1e-9)
            if cost - trial[0] < 1e-2:  # a hundredth of chi-square: a tenth of a standard deviation
                break
        else:
            damping *= 10
            if damping > 1e6:
                break
    cost, hessian, _ = state
    freedom = (len(foci) - 1) * problem.qy.size - len(parameters) / 2
    covariance = np.linalg.inv(hessian)[:3, :3] / 2  # real and imaginary part share a coefficient's variance
    shifts = np.concatenate([parameters[3:].reshape(-1, 2), np.zeros((1, 2))])
    return FirstOrder(values=parameters[:3], covariance=covariance, shifts=shifts, misfit=float(cost / freedom))


def first_order_covariance(
    optics: FilmOptics, foci: tuple[float, ...], contrast: np.ndarray, first_order: tuple[float, float, float], *, highest: float = HIGHEST
) -> np.ndarray:
    """Return the covariance of the values of :func:`fit_first_order` due to counting statistics alone.

    Parameters
    ----------
    optics : FilmOptics
        Optics of the images.
    foci : tuple of float
        Increment of C10 for each image, A.
    contrast : ndarray
        Ratio of the mean power of the film in a perfect image to the power of the counting noise, in the order of
        ``rfft2``, shape (size, size // 2 + 1).
    first_order : tuple of float
        True C10, C12a, C12b, A.
    highest : float
        Highest frequency used in the fit, cycles per point.

    Returns
    -------
    ndarray
        Inverse of the Fisher information for unknown film and shifts, A^2, shape (3, 3).
    """
    qy, qx, looked = _looked(optics, highest)
    film, ones = np.sqrt(contrast[looked]), np.ones(len(foci))
    problem = _Problem(optics, foci, qy[looked], qx[looked], np.zeros((len(foci), int(looked.sum())), complex), ones)
    parameters = np.concatenate([np.asarray(first_order, float), np.zeros(2 * (len(foci) - 1))])
    values, _ = problem.transfers(parameters)
    _, hessian, _ = replace(problem, spectra=values * film).linearise(parameters)
    return np.linalg.inv(hessian)[:3, :3] / 2


def _looked(optics: FilmOptics, highest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the frequencies of Fourier coefficients and the mask of those in a fit, one of each conjugate pair."""
    qy, qx = np.broadcast_arrays(*optics.frequencies())
    distance = np.hypot(qy, qx)
    return qy, qx, (distance > 0) & (distance < min(highest / optics.sampling, 1.9 * optics.radius)) & ((qx > 0) | (qy > 0))


@dataclass(frozen=True, slots=True)
class _Problem:
    """Least-squares problem with the film projected out.

    The spectra are scaled to unit noise; ``weights`` scale each image's transfer function to the same unit.
    """

    optics: FilmOptics
    foci: tuple[float, ...]
    qy: np.ndarray
    qx: np.ndarray
    spectra: np.ndarray
    weights: np.ndarray

    def transfers(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the transfer functions, shape (n, Q), and their derivatives, shape (P, n, Q).

        The parameters are C10, C12a, C12b and the shifts of all images except the last.
        """
        count = len(self.foci)
        values, derivatives = np.empty((count, self.qy.size), complex), np.zeros((len(parameters), count, self.qy.size), complex)
        for i, focus in enumerate(self.foci):
            first = (parameters[0] + focus, parameters[1], parameters[2])
            value, slopes = first_order_transfer(self.optics, self.qy, self.qx, first)
            ramp = self.weights[i] * np.ones(self.qy.size, complex)
            if i < count - 1:
                dy, dx = parameters[3 + 2 * i : 5 + 2 * i]
                ramp = ramp * np.exp(-2j * np.pi * (self.qy * dy + self.qx * dx))
                derivatives[3 + 2 * i, i] = -2j * np.pi * self.qy * value * ramp
                derivatives[4 + 2 * i, i] = -2j * np.pi * self.qx * value * ramp
            values[i], derivatives[:3, i] = value * ramp, slopes * ramp
        return values, derivatives

    def best_focus(self, candidates: np.ndarray, shifts: np.ndarray) -> float:
        """Return the candidate for C10 with the smallest residual at low frequencies.

        The transfer functions are those of geometrical optics, 2 J1(x) / x.
        """
        from scipy import special

        low = np.hypot(self.qy, self.qx) < 0.5 * np.hypot(self.qy, self.qx).max()
        qy, qx, spectra = self.qy[low], self.qx[low], self.spectra[:, low]
        ramps = self.weights[:, None] * np.exp(-2j * np.pi * (shifts[:, :1] * qy + shifts[:, 1:] * qx))
        reach = 2 * np.pi * self.optics.semiangle * np.hypot(qy, qx)
        left = []
        for c10 in candidates:
            x = np.maximum(np.abs(c10 + np.array(self.foci))[:, None] * reach, 1e-9)
            values = 2 * special.j1(x) / x * ramps
            film = (values.conj() * spectra).sum(axis=0) / ((np.abs(values) ** 2).sum(axis=0) + PRIOR)
            left.append((np.abs(spectra - values * film) ** 2).sum())
        return float(candidates[int(np.argmin(left))])

    def linearise(self, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the sum of squared residuals, half its Hessian (Gauss-Newton) and minus half its gradient."""
        values, derivatives = self.transfers(parameters)
        power = (np.abs(values) ** 2).sum(axis=0) + PRIOR
        film = (values.conj() * self.spectra).sum(axis=0) / power
        left = self.spectra - values * film
        slopes = derivatives * film
        slopes = slopes - values * ((values.conj() * slopes).sum(axis=1) / power)[:, None]
        flat, rest = slopes.reshape(len(parameters), -1), left.reshape(-1)
        hessian = np.einsum("ik,jk->ij", flat.real, flat.real) + np.einsum("ik,jk->ij", flat.imag, flat.imag)
        gradient = np.einsum("ik,k->i", flat.real, rest.real) + np.einsum("ik,k->i", flat.imag, rest.imag)
        return float((np.abs(rest) ** 2).sum()), hessian, gradient


def _shifts(spectra: np.ndarray, optics: FilmOptics) -> np.ndarray:
    """Return the shift of each image relative to the last, (y, x), A, shape (n, 2), to whole points.

    The shifts are those of the maxima of the cross-correlations.
    """
    size = optics.size
    product = spectra * spectra[-1].conj()
    product[:, 0, 0] = 0
    peaks = np.abs(fft.irfft2(product, (size, size))).reshape(len(spectra), -1).argmax(axis=1)
    places = np.stack(np.unravel_index(peaks, (size, size)), axis=1)
    return ((places + size // 2) % size - size // 2) * optics.sampling


def deconvolved(counts: np.ndarray, optics: FilmOptics, shifts: np.ndarray, *, width: int = 48) -> np.ndarray:
    """Return the probes of all images except the last, by deconvolution with the last image (Wiener filter).

    Parameters
    ----------
    counts : ndarray
        Counted electrons, shape (n, size, size).
    optics : FilmOptics
        Optics of the images.
    shifts : ndarray
        Shift of each image relative to the last image, (y, x), A, shape (n, 2).
    width : int
        Number of points along each side of a probe's image.

    Returns
    -------
    ndarray
        float32, shape (n - 1, width, width); each probe is centred and has a sum of about 1.
    """
    spectra = fft.rfft2(counts.astype(float))
    qy, qx = optics.frequencies()
    last = spectra[-1]
    noise = counts[-1].sum()
    start = optics.size // 2 - width // 2
    out = []
    for spectrum, (dy, dx) in zip(spectra[:-1], shifts[:-1], strict=True):
        ramp = np.exp(2j * np.pi * (qy * dy + qx * dx))
        ratio = spectrum * ramp * last.conj() / (np.abs(last) ** 2 + 4 * noise)
        out.append(fft.fftshift(fft.irfft2(ratio, (optics.size, optics.size)))[start : start + width, start : start + width])
    return np.stack(out).astype(np.float32)
