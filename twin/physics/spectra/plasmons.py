r"""Plasmons of particles and flakes: losses that depend on shape and beam position, not on the mass in the beam's path.

For the dipole mode of a sphere in the quasi-static approximation, with the beam outside at the impact parameter b (F.
J. Garcia de Abajo, Rev. Mod. Phys. 82 (2010) 209):

.. math::

    \Gamma(E) = \frac{4 e^2 q^2}{\pi (\hbar v)^2 \gamma^2}
    \Big[K_1^2\Big(\frac{q b}{\gamma}\Big) + \frac{1}{\gamma^2} K_0^2\Big(\frac{q b}{\gamma}\Big)\Big]\, \mathrm{Im}\,\alpha(E), \qquad
    q = \frac{E}{\hbar v}, \quad \alpha = a^3 \frac{\epsilon - 1}{\epsilon + 2}

K_1 and K_0 are, up to a factor, Fourier integrals of the dipole's potential p . r / r^3 along the path, for p across and
along the beam. Inside the sphere the potential is p . r / a^3. For a beam through the sphere, the difference of the two
potentials is therefore integrated between the two surface points and subtracted. The results for beams outside and
through the sphere agree at b = a, the radius.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import k0, k1

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.spectra import dielectric
from stemtwin.twin.physics.spectra.coreloss import HBAR_C, line
from stemtwin.twin.physics.spectra.dielectric import Material

PATH_NODES = 48
"""Gauss-Legendre nodes along the path inside a sphere."""
OPTICAL_LIMIT = 6.0
"""Highest energy at which the optical oscillators are valid, eV."""


def sphere_dipole(loss: np.ndarray, impact: np.ndarray, radius: float, material: Material, beam_energy: float) -> np.ndarray:
    """Return the probability that a beam excites the dipole plasmon of a sphere in vacuum.

    Parameters
    ----------
    loss : ndarray
        Energy loss, eV, shape (n,); the probability is 0 at E <= 0.
    impact : ndarray
        Distance of the beam from the sphere's centre, A, any shape.
    radius : float
        Radius, A, well below the wavelength of the resonance (quasi-static), for example 300 A.
    material : Material
        Material of the sphere.
    beam_energy : float
        Beam energy, eV.

    Returns
    -------
    ndarray
        Probability, 1/eV, shape ``(*impact.shape, n)``.

    Raises
    ------
    SettingsError
        The radius is not positive.
    """
    if not radius > 0:
        message = f"radius={radius:g} A must be above 0."
        raise SettingsError(message)
    loss, impact = np.asarray(loss, float), np.asarray(impact, float)[..., None]
    energy = np.maximum(loss, 1e-6)
    velocity = electrons.velocity_ratio(beam_energy) * HBAR_C  # hbar v, eV A
    polarisability = radius**3 * _dipole_response(material, energy)
    transverse, along = _fields(impact, energy / velocity, radius, electrons.lorentz_factor(beam_energy))
    out = electrons.COULOMB_CONSTANT / (np.pi * velocity**2) * (transverse**2 + along**2) * polarisability
    return np.where(loss > 0, out, 0.0)


def _dipole_response(material: Material, energy: np.ndarray) -> np.ndarray:
    """Return Im (eps - 1) / (eps + 2), from the optical oscillators up to 6 eV and from the loss oscillators above."""
    eps = 1 / dielectric.inverse_permittivity(material, energy)
    response = ((eps - 1) / (eps + 2)).imag
    if material.optical:
        low = dielectric.permittivity(material, energy)
        share = np.clip(OPTICAL_LIMIT + 0.5 - energy, 0, 1)
        response = share * ((low - 1) / (low + 2)).imag + (1 - share) * response
    return response


def _fields(impact: np.ndarray, q: np.ndarray, radius: float, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the coupling of the passing charge to dipoles along x and z, 1/A.

    Outside the sphere, the coupling is 2 (q / gamma) K_1 along x and 2 (q / gamma^2) K_0 along z.

    The charge's field is Lorentz-contracted: with u = gamma z, the path integrals are those of a slow charge at
    q / gamma.
    """
    outside = np.maximum(impact, 1e-3 * radius)
    q = q / gamma
    transverse, along = 2 * q * k1(q * outside), 2 * q * k0(q * outside)
    inside = outside < radius
    if inside.any():
        half = np.sqrt(np.maximum(radius**2 - outside**2, 0))
        u = np.arcsinh(half / outside)  # z = b sinh(u): 1 / r^3 is smooth in u for any impact
        for x, w in zip(*np.polynomial.legendre.leggauss(PATH_NODES), strict=True):
            z = outside * np.sinh(u * x)
            r = np.hypot(outside, z)
            step = w * u * r * (1 / r**3 - 1 / radius**3)
            transverse = transverse - np.where(inside, step * outside * np.cos(q * z), 0)
            along = along - np.where(inside, step * z * np.sin(q * z), 0)
    return transverse, along / gamma


@dataclass(frozen=True, slots=True, kw_only=True)
class FlakeModes:
    """Plasmon modes of a flake's boundary: an edge mode, and a corner mode of lower energy.

    Amplitudes decay as exp(-d / reach) with the distance d from the boundary, on both sides; the corner mode is
    weighted by the sharpness from :func:`rim_weights`. All default values are engineering
    assumptions ([A] marks assumptions), close to the values of doped semiconductor and metal flakes.

    Parameters
    ----------
    edge, corner : tuple of (float, float)
        Energy and full width at half maximum of the edge mode and of the corner mode, eV.
    amplitudes : tuple of float
        Loss probabilities for a beam on the boundary itself: by the edge mode, and by the corner mode at a right-angled
        corner.
    reach : float
        Decay length, A.
    """

    edge: tuple[float, float] = (6.0, 1.5)
    corner: tuple[float, float] = (4.0, 1.2)
    amplitudes: tuple[float, float] = (0.02, 0.03)
    reach: float = 15.0


def rim_weights(points: np.ndarray, atoms: np.ndarray, *, spacing: float = 3.0, probe: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of points from the boundary of a flake, and the sharpness of the boundary nearest to them.

    Parameters
    ----------
    points : ndarray
        Points (x, y), A, shape (n, 2).
    atoms : ndarray
        Projected positions of the flake's atoms, A, shape (m, 2).
    spacing : float
        Length s, A. An atom belongs to the boundary if at least a quarter of the circle of radius 2 s around it is
        farther than s from every atom.
    probe : float
        Radius of the disc in which the boundary's sharpness is determined, A.

    Returns
    -------
    tuple of ndarray
        Distance to the nearest boundary atom, A (inf if there is none), and sharpness of the boundary at this atom (0 for a
        straight edge or a notch, 1 for a right angle or a sharper corner), both of shape (n,).
    """
    rim, sharp = _rim(np.ascontiguousarray(atoms, float).tobytes(), len(atoms), spacing, probe)
    if not len(rim):
        return np.full(len(points), np.inf), np.zeros(len(points))
    distance, nearest = cKDTree(rim).query(points)
    return np.asarray(distance), sharp[nearest]


@functools.lru_cache(maxsize=8)
def _rim(raw: bytes, count: int, spacing: float, probe: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the boundary atoms of a flake and the sharpness of the boundary at each."""
    atoms = np.frombuffer(raw).reshape(count, 2)
    tree = cKDTree(atoms)
    ring = 2 * spacing * np.stack([np.cos(t := np.arange(24) * np.pi / 12), np.sin(t)], axis=1)
    near, _ = tree.query((atoms[:, None] + ring).reshape(-1, 2), distance_upper_bound=spacing)
    rim = atoms[np.isinf(near).reshape(count, 24).sum(axis=1) >= 6]
    if not len(rim):
        return rim, np.empty(0)
    # fraction of a disc around a boundary atom that the flake fills: 1/2 on a straight edge, 1/4 in a right angle
    steps = spacing * (np.arange(-(n := math.ceil(probe / spacing)), n) + 0.5)
    disc = np.array([(x, y) for x in steps for y in steps if x * x + y * y <= probe * probe])
    hit, _ = tree.query((rim[:, None] + disc).reshape(-1, 2), distance_upper_bound=0.75 * spacing)
    filled = np.isfinite(hit).reshape(len(rim), len(disc)).mean(axis=1)
    return rim, np.clip((0.5 - filled) / 0.2, 0, 1)


def flake_spectrum(loss: np.ndarray, distance: np.ndarray, sharpness: np.ndarray, modes: FlakeModes) -> np.ndarray:
    """Return the loss probability of a flake's boundary plasmons.

    Parameters
    ----------
    loss : ndarray
        Energy loss, eV, shape (n,).
    distance, sharpness : ndarray
        Distance from the boundary (A) and sharpness of the boundary, both from :func:`rim_weights`.
    modes : FlakeModes
        Plasmon modes.

    Returns
    -------
    ndarray
        Probability, 1/eV, shape ``(*distance.shape, n)``.
    """
    loss = np.asarray(loss, float)
    decay = np.exp(-np.asarray(distance, float) / modes.reach)
    shapes = [np.where(loss > 0, line(loss - centre, width), 0.0) for centre, width in (modes.edge, modes.corner)]
    edge, corner = modes.amplitudes[0] * decay, modes.amplitudes[1] * decay * np.asarray(sharpness, float)
    return edge[..., None] * shapes[0] + corner[..., None] * shapes[1]
