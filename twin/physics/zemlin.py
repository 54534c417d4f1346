"""Aberrations seen along a tilted beam, and all of them from the defocus and the twofold astigmatism that tilts induce (a Zemlin tableau).

Source: Zemlin, Weiss, Schiske, Kunath, Herrmann, Ultramicroscopy 3 (1978) 49; for probes Haider, Uhlemann, Zach, Ultramicroscopy 81 (2000) 163.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations, vector

CARTESIAN = tuple(Aberrations().cartesian())
"""C10, C12a, C12b, C21a, ... C56b: the order of vectors and matrices here."""
PLACE = {name: i for i, name in enumerate(CARTESIAN)}


def _complex_terms() -> list[tuple[int, int, int, int, complex]]:
    """Return n, m, the powers p and q, and what one A of each Cartesian coefficient adds to K in chi_nm ~ Re(K w^p conj(w)^q) / (n + 1)."""
    terms = []
    for n, m in ORDERS:
        p, q = (n + 1 + m) // 2, (n + 1 - m) // 2
        terms += [(n, m, p, q, 1.0), (n, m, p, q, -1j)] if m else [(n, m, p, q, 1.0)]
    return terms


def recentring(tilt: tuple[float, float]) -> np.ndarray:
    """Return the matrix that takes Cartesian coefficients about the axis to those about a tilted beam.

    chi(tilt + angle) is a polynomial in angle, too: its constant is a phase, its linear part shifts the image, and from second order on it has the
    form of axial aberrations again. With w = tilt + angle as complex numbers, each term w^p conj(w)^q is expanded by the binomial theorem.

    Parameters
    ----------
    tilt : tuple of float
        (ty, tx), rad.

    Returns
    -------
    ndarray
        Shape (25, 25): ``vector(recentred) = recentring(tilt) @ vector(aberrations)``.
    """
    t, out = complex(tilt[1], tilt[0]), np.zeros((len(CARTESIAN), len(CARTESIAN)))
    for column, (n, _, p, q, unit) in enumerate(_complex_terms()):
        for i in range(p + 1):
            for j in range(q + 1):
                order, fold = i + j - 1, abs(i - j)
                if order < 1:
                    continue
                value = unit * math.comb(p, i) * math.comb(q, j) * t ** (p - i) * t.conjugate() ** (q - j) * (order + 1) / (n + 1)
                if fold == 0:
                    out[PLACE[f"C{order}0"], column] += value.real
                else:  # Re(c v^i conj(v)^j) = Re(conj(c) v^j conj(v)^i)
                    out[PLACE[f"C{order}{fold}a"], column] += value.real
                    out[PLACE[f"C{order}{fold}b"], column] += -value.imag if i > j else value.imag
    return out


def recentred(aberrations: Aberrations, tilt: tuple[float, float]) -> Aberrations:
    """Return the aberrations about a beam tilted by (ty, tx), rad; the phase's constant and the image shift are left out."""
    values = np.einsum("ij,j->i", recentring(tilt), vector(aberrations))
    return Aberrations.from_cartesian(**dict(zip(CARTESIAN, values.tolist(), strict=True)))


def averaging(semiangle: float) -> np.ndarray:
    """Return the C10, C12a and C12b that describe a probe best: the linear field of ray displacements nearest to the true one over the aperture.

    The displacement of a ray is the gradient of W = lambda chi / 2 pi. Over a disc of radius a the nearest linear field has
    C10 = (2/a^2) <theta . grad W>, C12a = (2/a^2) <x dW/dx - y dW/dy>, C12b = (2/a^2) <x dW/dy + y dW/dx>: C10 itself with 2/3 a^2 C30 and
    1/2 a^4 C50, C12 with 1/2 a^2 C32 and 1/3 a^4 C52. These are also how second moments of probes change with defocus.

    Parameters
    ----------
    semiangle : float
        a, rad; 0: C10 and C12 alone.

    Returns
    -------
    ndarray
        Shape (3, 25).
    """
    out = np.zeros((3, len(CARTESIAN)))
    for n, m in ORDERS:
        # W = C r^(n+1) cos(m (phi - phi_nm)) / (n+1): radial and azimuthal derivatives times cos and sin of the fold, averaged over the disc.
        radial = 4 / (n + 3) * semiangle ** (n - 1)  # (2/a^2) <r^(n+1)>
        if m == 0:
            out[0, PLACE[f"C{n}0"]] = radial
        elif m == 2:
            out[1, PLACE[f"C{n}2a"]] = out[2, PLACE[f"C{n}2b"]] = radial / 2 * (1 + 2 / (n + 1))
    return out


def induced(tilts: np.ndarray, semiangle: float = 0.0) -> np.ndarray:
    """Return the C10, C12a and C12b that each Cartesian coefficient induces at each tilt.

    Parameters
    ----------
    tilts : ndarray
        (ty, tx), rad, shape (n, 2).
    semiangle : float
        Aperture over which the measurement averages, rad; 0: the second derivatives at the tilt.

    Returns
    -------
    ndarray
        Shape (n, 3, 25).
    """
    return np.stack([_induced(float(ty), float(tx), semiangle) for ty, tx in tilts])


@functools.lru_cache(maxsize=256)
def _induced(ty: float, tx: float, semiangle: float) -> np.ndarray:
    """Return the values of :func:`induced` for one tilt, read-only."""
    out = np.einsum("ij,jk->ik", averaging(semiangle), recentring((ty, tx)))
    out.setflags(write=False)
    return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """Coefficients fitted to a tableau.

    Parameters
    ----------
    names : tuple of str
        The Cartesian coefficients that were fitted.
    values, covariance : ndarray
        Their values, A, and covariance, A^2.
    misfit : float
        Chi-square per degree of freedom; 1 where errors are what they were said to be and no other aberration matters.
    """

    names: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    misfit: float

    def aberrations(self) -> Aberrations:
        """Return the fitted values as aberrations; the rest is zero."""
        return Aberrations.from_cartesian(**dict(zip(self.names, self.values.tolist(), strict=True)))


def solve(measured: np.ndarray, covariances: np.ndarray, tilts: np.ndarray, *, order: int, semiangle: float = 0.0) -> Solution:
    """Fit all aberrations up to an order by weighted least squares.

    Parameters
    ----------
    measured : ndarray
        C10, C12a, C12b at each tilt, A, shape (n, 3).
    covariances : ndarray
        Of each, A^2, shape (n, 3, 3).
    tilts : ndarray
        (ty, tx), rad, shape (n, 2).
    order : int
        Fit C_nm with n up to this.
    semiangle : float
        See :func:`induced`.

    Returns
    -------
    Solution
        With the misfit above 1 the covariance is that many times larger.

    Raises
    ------
    SettingsError
        These tilts do not determine these coefficients.
    """
    names = tuple(name for name in CARTESIAN if int(name[1]) <= order)
    rows = induced(tilts, semiangle)[:, :, [PLACE[name] for name in names]]
    white = np.linalg.inv(np.linalg.cholesky(covariances))
    design, data = np.einsum("nij,njk->nik", white, rows).reshape(-1, len(names)), np.einsum("nij,nj->ni", white, measured).reshape(-1)
    scale = np.sqrt((design**2).sum(axis=0))
    u, s, vh = np.linalg.svd(design / np.where(scale > 0, scale, 1), full_matrices=False)
    if len(s) < len(names) or s[-1] < 1e-6 * s[0]:
        message = f"{len(tilts)} tilts do not determine the {len(names)} coefficients up to order {order}. Use more tilts on more rings."
        raise SettingsError(message)
    values = np.einsum("ji,j,j->i", vh, 1 / s, np.einsum("ij,i->j", u, data)) / scale
    covariance = np.einsum("ji,j,jk->ik", vh, 1 / s**2, vh) / np.outer(scale, scale)
    freedom = data.size - len(names)
    misfit = float(((data - np.einsum("ij,j->i", design, values)) ** 2).sum() / freedom) if freedom else 1.0
    return Solution(names=names, values=values, covariance=covariance * max(1.0, misfit), misfit=misfit)
