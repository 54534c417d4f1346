r"""Thermal and coherent cross-sections of single atoms for scattering into a ring of angles, as functions of the probe's position.

An atom scatters the wave :math:`\psi` into a ring D with the probability

.. math:: \sum_{\kappa \kappa'} \bar\psi_\kappa \psi_{\kappa'} A(\kappa, \kappa'), \quad
          A(\kappa, \kappa') = \sum_{k \in D} \overline{T(k - \kappa)} T(k - \kappa') ,

where T is the Fourier transform of exp(i c v) - 1, v is the projected potential of the atom and c is the interaction constant. The average over
independent Gaussian displacements of the atom with the standard deviation u (Einstein model) multiplies the products by
exp(-2 pi^2 u^2 abs(kappa - kappa')^2). In the coherent part, each T has its own Debye-Waller factor; only this part interferes with the waves of
other atoms. The average minus the coherent part is the thermal diffuse scattering (Hall and Hirsch, Proc. R. Soc. A 286 (1965) 158; Allen, Findlay,
Oxley and Rossouw, Ultramicroscopy 96 (2003) 47; Weickenmeier and Kohl, Acta Cryst. A 47 (1991) 590, with exp(i c v) - 1 in place of the first Born
approximation).

If the detector's coherence has a short range (Pennycook and Jesson, Ultramicroscopy 37 (1991) 14), A depends only on the difference q of the two
directions. A is therefore approximated by mu(q), the mean of A over all pairs of directions in a probe that have the difference q. The probability
is then the integral of abs(psi(r))^2 mu(r), where mu(r) is the Fourier transform of mu(q). Two results contain A only through such means and remain
exact: the sum of an image over all probe positions, for all aberrations, and the image of a single atom in focus.
"""

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage

from stemtwin.twin.physics import potential
from stemtwin.twin.physics.grids import Grid, fast_length

BOX = 12.0
"""Side of the cell of a single atom, A."""
LARGEST = 12.0
"""Spatial frequencies up to which an atom scatters, 1/A."""
SHELLS, RAYS = 12, 24
"""Radii and azimuths over which rings are integrated."""
DIRECTIONS = 12
"""Directions of a wave along each axis, over which cross-sections are averaged."""
FAR = 9.0
"""Spatial frequency, 1/A, up to which electrons in a ring and beyond are counted when an atom scatters them again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Atom:
    """Scattering of a single atom with the transmission function t = exp(i c v).

    v is the projected potential, and c is the interaction constant.

    Parameters
    ----------
    k : ndarray
        Spatial frequencies, 1/A, shape (n,).
    scattered : ndarray
        Radial Fourier transform of t - 1 at these frequencies for the atom at rest, A^2, complex128, shape (n,).
    absorbed : ndarray
        Radial Fourier transform of log(abs(mean of t)), where the mean is over the atom's thermal motion, A^2, float64,
        shape (n,). It describes the attenuation of the wave.
    sigma : float
        Thermal displacement, 1-D rms, A.
    """

    k: np.ndarray
    scattered: np.ndarray
    absorbed: np.ndarray
    sigma: float

    def wave(self, k: np.ndarray) -> np.ndarray:
        """Return the scattered amplitude (A^2) at spatial frequencies k (1/A) of any shape."""
        return np.interp(k, self.k, np.real(self.scattered), right=0) + 1j * np.interp(k, self.k, np.imag(self.scattered), right=0)

    def loss(self, k: np.ndarray) -> np.ndarray:
        """Return the Fourier transform of log(abs(mean transmission)), A^2, at spatial frequencies k, 1/A; it is negative."""
        return np.interp(k, self.k, self.absorbed, right=0)

    def thermal_share(self, k: np.ndarray) -> np.ndarray:
        """Return the thermal fraction of the intensity that an atom scatters by k, 1/A: 1 - exp(-4 pi^2 u^2 k^2) with u = ``sigma``."""
        return -np.expm1(-4 * (np.pi * self.sigma * k) ** 2)


@functools.lru_cache(maxsize=64)
def atom(number: int, sigma: float, interaction: float, parametrization: str = "kirkland") -> Atom:
    """Return the scattering data of an atom in thermal motion.

    Parameters
    ----------
    number : int
        Atomic number.
    sigma : float
        Thermal displacement, 1-D rms, A.
    interaction : float
        Interaction constant, rad/(V A).
    parametrization : str
        Parametrisation of the scattering factors.
    """
    n = fast_length(int(np.ceil(4 * LARGEST * BOX)))
    grid = Grid(shape=(n, n), extent=(BOX, BOX))
    phase = interaction * potential.projected_potential(np.zeros((1, 2)), np.array([number]), grid, parametrization=parametrization).astype(float)
    gauss = np.exp(-2 * (np.pi * sigma) ** 2 * grid.k2)
    spectrum = scipy.fft.fft2(np.exp(1j * phase) - 1)
    absorbed = np.asarray(scipy.fft.fft2(np.log(np.abs(1 + np.asarray(scipy.fft.ifft2(spectrum * gauss))))))
    k = np.arange(0, LARGEST, 0.5 / BOX)
    return Atom(k=k, scattered=_radial(spectrum, k), absorbed=np.real(_radial(absorbed, k)), sigma=sigma)


def _radial(spectrum: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return a round spectrum along k, A^2: the mean of directions between the axes, where a sampled potential rings."""
    n, angles = len(spectrum), np.deg2rad(np.linspace(8, 37, 6))
    middle = np.roll(spectrum, (n // 2, n // 2), (0, 1)) * (BOX / n) ** 2
    at = [np.outer(trig(angles), k) * BOX + n // 2 for trig in (np.sin, np.cos)]
    real, imag = (scipy.ndimage.map_coordinates(part, at, order=3).mean(axis=0) for part in (np.real(middle), np.imag(middle)))
    return real + 1j * imag


# ---- into a ring ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """A ring of scattering angles.

    Parameters
    ----------
    inner, outer : float
        Radii, 1/A.
    """

    inner: float
    outer: float

    def points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return points (ky > 0, kx), 1/A, and weights, 1/A^2, for integrals over the ring.

        The integrand must be even in ky, because the points cover half of the ring.
        """
        x, w = np.polynomial.legendre.leggauss(SHELLS)
        low, high = np.log(max(self.inner, 1e-2)), np.log(self.outer)
        radius = np.exp(low + (high - low) * (x + 1) / 2)
        azimuth = np.pi * (np.arange(RAYS) + 0.5) / RAYS
        weights = np.repeat(w * (high - low) / 2 * radius**2 * 2 * np.pi / RAYS, RAYS)
        return np.outer(radius, np.sin(azimuth)).ravel(), np.outer(radius, np.cos(azimuth)).ravel(), weights

    def contains(self, k: np.ndarray) -> np.ndarray:
        """Return 1.0 where a spatial frequency, 1/A, lies in the ring, else 0.0."""
        return ((k >= self.inner) & (k < self.outer)).astype(float)


def pairs(radius: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points ky, kx (1/A) for which k - q/2 and k + q/2 both lie in a disc, with q along x.

    ``radius`` is the radius of the disc. If q exceeds the diameter, the only point is (0, 0).
    """
    line = radius * (2 * (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS - 1)
    y, x = (a.ravel() for a in np.meshgrid(line, line, indexing="ij"))
    inside = (np.hypot(y, x - q / 2) < radius) & (np.hypot(y, x + q / 2) < radius)
    return (y[inside], x[inside]) if inside.any() else (np.zeros(1), np.zeros(1))


def into_ring(scatterer: Atom, ring: Ring, radius: float, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectra of an atom's cross-sections for scattering into a ring.

    Parameters
    ----------
    scatterer : Atom
        The atom.
    ring : Ring
        Ring of the detector.
    radius : float
        alpha / lambda of the probe, 1/A.
    q : ndarray
        Spatial frequencies, 1/A, shape (n,).

    Returns
    -------
    tuple of ndarray
        Spectra of the total scattering and of its coherent part, A^2, shape (n,); at q = 0 they are the cross-sections.
    """
    ky, kx, weights = ring.points()
    everything, coherent = np.empty(len(q)), np.empty(len(q))
    for number, each in enumerate(q):
        dy, dx = pairs(radius, float(each))
        a, b = (np.hypot(ky[:, None] - dy, kx[:, None] - dx + shift) for shift in (each / 2, -each / 2))
        product = np.real(scatterer.wave(a).conj() * scatterer.wave(b))
        everything[number] = (weights @ product).mean() * np.exp(-2 * (np.pi * scatterer.sigma * each) ** 2)
        coherent[number] = (weights @ (product * np.exp(-2 * (np.pi * scatterer.sigma) ** 2 * (a**2 + b**2)))).mean()
    return everything, coherent


def emitted(scatterer: Atom, ring: Ring) -> tuple[np.ndarray, np.ndarray]:
    """Return radii in a ring (1/A) and the fraction of the ring's thermal diffuse electrons at each radius, shape (n,)."""
    low = max(ring.inner, 1e-2)
    k = np.linspace(low, ring.outer if ring.outer <= FAR else max(FAR, low + 1), 40)
    density = np.abs(scatterer.wave(k)) ** 2 * scatterer.thermal_share(k) * k
    return k, density / max(density.sum(), 1e-300)


def again_into_ring(scatterer: Atom, source: Atom, of: Ring, ring: Ring, q: np.ndarray) -> np.ndarray:
    """Return the spectrum of an atom's cross-section for scattering the thermal diffuse electrons of one ring into another.

    Parameters
    ----------
    scatterer, source : Atom
        Atom of the second scattering, and atom of the first scattering.
    of, ring : Ring
        Ring of the electrons before the second scattering, and ring after it. If both are the same ring, the result
        describes the change of the number of electrons in the ring: an electron that leaves the ring counts as -1, and an
        electron that stays in the ring counts as 0.
    q : ndarray
        Spatial frequencies, 1/A, shape (n,).

    Returns
    -------
    ndarray
        Spectrum, A^2, shape (n,). Diffuse electrons have many directions, so their scattering by different atoms does
        not interfere, and the spectrum is that of the total scattering, thermal and coherent.
    """
    step = 0.1
    p = (np.arange(int(FAR * 0.75 / step)) + 0.5) * step
    k, share = emitted(source, of)
    turn = np.cos(np.pi * (np.arange(32) + 0.5) / 32)
    landed = np.sqrt(k[:, None, None] ** 2 + p[:, None] ** 2 + 2 * k[:, None, None] * p[:, None] * turn)
    gain = share @ ring.contains(landed).mean(axis=-1) - (1.0 if of == ring else 0.0)
    y, x = np.meshgrid(p, p, indexing="ij")
    chance, out = np.interp(np.hypot(y, x), p, gain), np.empty(len(q))
    for number, each in enumerate(q):
        product = scatterer.wave(np.hypot(y, x + each / 2)).conj() * scatterer.wave(np.hypot(y, x - each / 2))
        out[number] = 4 * step**2 * (np.real(product) * chance).sum() * np.exp(-2 * (np.pi * scatterer.sigma * each) ** 2)
    return out
