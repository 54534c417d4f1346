"""Aberrations about a tilted beam, and their fit to tilt-induced defocus and twofold astigmatism (Zemlin tableau).

Source: Zemlin, Weiss, Schiske, Kunath, Herrmann, Ultramicroscopy 3 (1978) 49; for probes Haider, Uhlemann, Zach, Ultramicroscopy 81 (2000) 163.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations, vector

CARTESIAN = tuple(Aberrations().cartesian())
"""Order of the coefficients in vectors and matrices: C10, C12a, C12b, C21a, ... C56b."""
PLACE = {name: i for i, name in enumerate(CARTESIAN)}


def _complex_terms() -> list[tuple[int, int, int, int, complex]]:
    """Return n, m, p, q and K per A of each Cartesian coefficient, for chi_nm ~ Re(K w^p conj(w)^q) / (n + 1)."""
    terms = []
    for n, m in ORDERS:
        p, q = (n + 1 + m) // 2, (n + 1 - m) // 2
        terms += [(n, m, p, q, 1.0), (n, m, p, q, -1j)] if m else [(n, m, p, q, 1.0)]
    return terms


def recentring(tilt: tuple[float, float]) -> np.ndarray:
    """Return the matrix that converts Cartesian coefficients about the axis to those about a tilted beam.

    chi(tilt + angle) is also a polynomial in the angle. Its constant is a phase, its linear part shifts the image, and
    its higher orders have the form of axial aberrations. With w = tilt + angle as complex numbers, each term
    w^p conj(w)^q is expanded by the binomial theorem.

    Parameters
    ----------
    tilt : tuple of float
        Tilt (ty, tx), rad.

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
    """Return the aberrations about a beam tilted by (ty, tx), rad, without the constant phase and the image shift."""
    values = np.einsum("ij,j->i", recentring(tilt), vector(aberrations))
    return Aberrations.from_cartesian(**dict(zip(CARTESIAN, values.tolist(), strict=True)))


def averaging(semiangle: float) -> np.ndarray:
    """Return the matrix that converts Cartesian coefficients to the effective C10, C12a and C12b of a probe.

    The effective values give the linear field of ray displacements that is nearest to the true field over the aperture.
    The displacement of a ray is the gradient of W = lambda chi / 2 pi. Over a disc of radius a the nearest linear field
    has C10 = (2/a^2) <theta . grad W>, C12a = (2/a^2) <x dW/dx - y dW/dy>, C12b = (2/a^2) <x dW/dy + y dW/dx>: the
    effective C10 includes 2/3 a^2 C30 and 1/2 a^4 C50, the effective C12 includes 1/2 a^2 C32 and 1/3 a^4 C52. The
    effective values also determine the change of a probe's second moments with defocus.

    Parameters
    ----------
    semiangle : float
        Radius a of the aperture, rad; with 0 the higher orders do not contribute.

    Returns
    -------
    ndarray
        Shape (3, 25).
    """
    out = np.zeros((3, len(CARTESIAN)))
    for n, m in ORDERS:
        # W = C r^(n+1) cos(m (phi - phi_nm)) / (n+1): radial and azimuthal derivatives times cos and sin of m phi,
        # averaged over the disc
        radial = 4 / (n + 3) * semiangle ** (n - 1)  # (2/a^2) <r^(n+1)>
        if m == 0:
            out[0, PLACE[f"C{n}0"]] = radial
        elif m == 2:
            out[1, PLACE[f"C{n}2a"]] = out[2, PLACE[f"C{n}2b"]] = radial / 2 * (1 + 2 / (n + 1))
    return out


def induced(tilts: np.ndarray, semiangle: float = 0.0) -> np.ndarray:
    """Return the C10, C12a and C12b that each Cartesian coefficient induces at each tilt, per A of the coefficient.

    Parameters
    ----------
    tilts : ndarray
        Tilts (ty, tx), rad, shape (n, 2).
    semiangle : float
        Radius of the aperture over which the measurement averages, rad; with 0, the second derivatives at the tilt are
        used.

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
        Names of the fitted Cartesian coefficients.
    values, covariance : ndarray
        Values of these coefficients (A) and their covariance, A^2.
    misfit : float
        Chi-square per degree of freedom; 1 if the stated errors are right and no other aberration matters.
    """

    names: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    misfit: float

    def aberrations(self) -> Aberrations:
        """Return the fitted values as aberrations; all other coefficients are zero."""
        return Aberrations.from_cartesian(**dict(zip(self.names, self.values.tolist(), strict=True)))


def solve(measured: np.ndarray, covariances: np.ndarray, tilts: np.ndarray, *, order: int, semiangle: float = 0.0) -> Solution:
    """Fit all aberrations up to an order by weighted least squares.

    Parameters
    ----------
    measured : ndarray
        C10, C12a, C12b at each tilt, A, shape (n, 3).
    covariances : ndarray
        Covariance of each measurement, A^2, shape (n, 3, 3).
    tilts : ndarray
        Tilts (ty, tx), rad, shape (n, 2).
    order : int
        Largest order n of the fitted coefficients C_nm.
    semiangle : float
        Radius of the aperture over which the measurement averages, rad; see :func:`induced`.

    Returns
    -------
    Solution
        Fitted coefficients. A misfit above 1 multiplies the covariance.

    Raises
    ------
    SettingsError
        The tilts do not determine the coefficients.
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
