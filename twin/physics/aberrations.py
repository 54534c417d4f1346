r"""Coherent axial aberrations to fifth order, in Krivanek's polar notation.

.. math:: \chi(\alpha, \phi) = \frac{2\pi}{\lambda} \sum_{nm} C_{nm} \frac{\alpha^{n+1}}{n+1} \cos m(\phi - \phi_{nm})

Source: Krivanek, Dellby, Lupini, Ultramicroscopy 78 (1999) 1; Haider's notation: Uhlemann and Haider, Ultramicroscopy 72 (1998) 109.
"""

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError

ORDERS = tuple((n, m) for n in range(1, 6) for m in range(n + 2) if (n + m) % 2)
"""Pairs (n, m) of every axial aberration C_nm to fifth order."""
_TABLE: tuple[tuple[int, str, str, tuple[str, ...]], ...] = tuple(
    (m, f"C{n}{m}", f"phi{n}{m}", (f"C{n}{m}a", f"C{n}{m}b") if m else (f"C{n}0",)) for n, m in ORDERS
)
"""Fold m, polar names of magnitude and azimuth, and Cartesian names of each pair (n, m)."""

HAIDER = {
    "C1": ("C10", 1), "A1": ("C12", 1), "B2": ("C21", 3), "A2": ("C23", 1), "C3": ("C30", 1), "S3": ("C32", 4), "A3": ("C34", 1),
    "B4": ("C41", 5), "D4": ("C43", 5), "A4": ("C45", 1), "C5": ("C50", 1), "S5": ("C52", 6), "R5": ("C54", 6), "A5": ("C56", 1),
}  # fmt: skip
"""Haider's name -> (Krivanek's name, ratio of C_nm to Haider's coefficient)."""

MIXED = ("B2", "S3", "B4", "D4", "S5", "R5")
"""Haider's coefficients whose angle has the opposite sign in the printed expansion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aberrations:
    """Coefficients C_nm in A and their azimuths phi_nm in rad, all zero by default.

    C10 > 0 is overfocus (``defocus`` is -C10); C12 is twofold astigmatism, C21 coma, C23 threefold astigmatism, C30
    spherical aberration. A negative C_nm with m > 0 describes the aberration of the positive coefficient, rotated by
    pi/m.

    Raises
    ------
    SettingsError
        A coefficient or an angle is not a finite number.

    Examples
    --------
    >>> import stemtwin as st
    >>> optics = st.Aberrations(C10=-50.0, C12=20.0, phi12=0.3)
    >>> optics.defocus
    50.0
    >>> st.Aberrations.from_cartesian(C12a=3.0, C12b=4.0).C12
    5.0
    """

    C10: float = 0.0
    C12: float = 0.0
    phi12: float = 0.0
    C21: float = 0.0
    phi21: float = 0.0
    C23: float = 0.0
    phi23: float = 0.0
    C30: float = 0.0
    C32: float = 0.0
    phi32: float = 0.0
    C34: float = 0.0
    phi34: float = 0.0
    C41: float = 0.0
    phi41: float = 0.0
    C43: float = 0.0
    phi43: float = 0.0
    C45: float = 0.0
    phi45: float = 0.0
    C50: float = 0.0
    C52: float = 0.0
    phi52: float = 0.0
    C54: float = 0.0
    phi54: float = 0.0
    C56: float = 0.0
    phi56: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        numbers = _numbers(self)
        if set(map(type, numbers)) == {float} and math.isfinite(sum(numbers)):
            return
        for field in fields(self):
            checks.number_field(self, field.name, "rad" if field.name.startswith("phi") else "A")

    @property
    def defocus(self) -> float:
        """Defocus -C10, A; underfocus is positive."""
        return -self.C10

    def cartesian(self) -> dict[str, float]:
        """Return the Cartesian coefficients by name, A: C_nm,a = C_nm cos(m phi_nm) and C_nm,b = C_nm sin(m phi_nm)."""
        out, numbers = {}, iter(_numbers(self))
        for m, _, _, names in _TABLE:
            value = next(numbers)
            if m == 0:
                out[names[0]] = value
                continue
            angle = m * next(numbers)
            if value == 0:
                out[names[0]] = out[names[1]] = 0.0
            else:
                out[names[0]], out[names[1]] = value * math.cos(angle), value * math.sin(angle)
        return out

    @classmethod
    def from_cartesian(cls, **coefficients: float) -> Self:
        """Return the aberrations with the given Cartesian coefficients, A; coefficients that are not given are zero.

        The names are those of :meth:`cartesian`, from C10 and C12a to C56b.

        Raises
        ------
        SettingsError
            A name is not a Cartesian coefficient.
        """
        polar = {}
        for m, magnitude, azimuth, names in _TABLE:
            a = coefficients.pop(names[0], 0.0)
            if m == 0:
                polar[magnitude] = a
            else:
                b = coefficients.pop(names[1], 0.0)
                if a or b:
                    polar[magnitude], polar[azimuth] = math.hypot(a, b), math.atan2(b, a) / m
        if coefficients:
            unknown = ", ".join(coefficients)
            message = f"Unknown Cartesian aberration coefficients: {unknown}. Use C10, C12a, C12b, C21a, ... C56b."
            raise SettingsError(message)
        return cls(**polar)

    def to_haider(self, *, conjugate_mixed: bool = False) -> dict[str, complex]:
        """Return Uhlemann and Haider's complex coefficients by name, A.

        The names are C1, A1, B2, A2, C3, S3, A3, B4, D4, A4, C5, S5, R5 and A5.

        Parameters
        ----------
        conjugate_mixed : bool
            If True, the angles of the mixed terms (B2, S3, B4, D4, S5, R5) are +m phi_nm, as in control programs that
            conjugate these terms. If False, they are -m phi_nm, as in the printed expansion.
        """
        out = {}
        for name, (krivanek, factor) in HAIDER.items():
            m = int(krivanek[2])
            sign = -1 if name in MIXED and not conjugate_mixed else 1
            angle = sign * m * (getattr(self, f"phi{krivanek[1:]}") if m else 0.0)
            out[name] = getattr(self, krivanek) / factor * complex(math.cos(angle), math.sin(angle))
        return out

    @classmethod
    def from_haider(cls, coefficients: Mapping[str, complex], *, conjugate_mixed: bool = False) -> Self:
        """Return the aberrations for Uhlemann and Haider's complex coefficients in A; see :meth:`to_haider`.

        Raises
        ------
        SettingsError
            A name is not one of Haider's, or C1, C3 or C5 is not real.
        """
        polar = {}
        for name, given in coefficients.items():
            if name not in HAIDER:
                message = f"{name!r} is not an aberration in Haider's notation. Use one of {', '.join(HAIDER)}."
                raise SettingsError(message)
            krivanek, factor = HAIDER[name]
            value = complex(given)
            m = int(krivanek[2])
            if m == 0:
                if value.imag:
                    message = f"{name}={value} A has an imaginary part, but {name} has no azimuth. Give a real number."
                    raise SettingsError(message)
                polar[krivanek] = factor * value.real
            else:
                sign = -1 if name in MIXED and not conjugate_mixed else 1
                polar[krivanek] = factor * abs(value)
                polar[f"phi{krivanek[1:]}"] = sign * math.atan2(value.imag, value.real) / m
        return cls(**polar)


_NAMES = tuple(field.name for field in fields(Aberrations))
_numbers = operator.attrgetter(*_NAMES)
"""Getter of all magnitudes in the order of ``ORDERS``, each followed by its azimuth if it has one."""


def _terms(aberrations: Aberrations) -> list[tuple[int, int, float, float]]:
    terms = []
    for n, m in ORDERS:
        value = getattr(aberrations, f"C{n}{m}")
        if value:
            terms.append((n, m, value, getattr(aberrations, f"phi{n}{m}") if m else 0.0))
    return terms


def chi(aberrations: Aberrations, ky: np.ndarray, kx: np.ndarray, wavelength: float) -> np.ndarray:
    """Return the aberration phase.

    Parameters
    ----------
    aberrations : Aberrations
        Coefficients, A and rad.
    ky, kx : ndarray
        Spatial frequencies, broadcastable, 1/A.
    wavelength : float
        Wavelength, A.

    Returns
    -------
    ndarray
        Phase chi, rad, float64; a probe with the aperture function A has the amplitude A exp(-i chi).
    """
    alpha = wavelength * np.hypot(ky, kx)
    phi = np.arctan2(ky, kx)
    total = np.zeros(np.broadcast_shapes(np.shape(ky), np.shape(kx)))
    for n, m, value, angle in _terms(aberrations):
        term = value / (n + 1) * alpha ** (n + 1)
        total = total + (term * np.cos(m * (phi - angle)) if m else term)
    return 2 * np.pi / wavelength * total


def vector(aberrations: Aberrations) -> np.ndarray:
    """Return the Cartesian coefficients, from C10 and C12a to C56b, as one array, A, shape (25,).

    Its product with :func:`basis` is the aberration phase.
    """
    return np.array(list(aberrations.cartesian().values()))


def basis(ky: np.ndarray, kx: np.ndarray, wavelength: float) -> np.ndarray:
    """Return the phase per A of each Cartesian coefficient: ``chi = vector(aberrations) @ basis``.

    Parameters
    ----------
    ky, kx : ndarray
        Spatial frequencies, shape (B,), 1/A.
    wavelength : float
        Wavelength, A.

    Returns
    -------
    ndarray
        rad/A, float64, shape (25, B).
    """
    alpha, phi, out = wavelength * np.hypot(ky, kx), np.arctan2(ky, kx), []
    for n, m in ORDERS:
        radial = 2 * np.pi / wavelength / (n + 1) * alpha ** (n + 1)
        out += [radial * np.cos(m * phi), radial * np.sin(m * phi)] if m else [radial]
    return np.stack(out)


@functools.lru_cache(maxsize=256)
def blur_radius(aberrations: Aberrations, semiangle: float, *, samples: int = 24) -> float:
    """Return the largest displacement of a ray inside the aperture, A.

    The displacement is abs(grad chi) lambda / (2 pi); its maximum is taken over polar samples.

    Parameters
    ----------
    aberrations : Aberrations
        Coefficients, A and rad.
    semiangle : float
        Convergence semi-angle, rad.
    samples : int
        Number of radii; there are four times as many azimuths.
    """
    radial, azimuthal = _gradients(semiangle, samples)
    coefficients = vector(aberrations)
    return float(np.hypot(coefficients @ radial, coefficients @ azimuthal).max())


@functools.lru_cache(maxsize=16)
def _gradients(semiangle: float, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the radial and azimuthal parts of grad chi lambda / (2 pi) per A of each Cartesian coefficient.

    Both have the shape (25, points), on polar samples of the aperture.
    """
    alpha = semiangle * np.linspace(0, 1, samples + 1)[1:, None]
    phi = 2 * np.pi * np.arange(4 * samples) / (4 * samples)
    radial, azimuthal = [], []
    for name in Aberrations().cartesian():
        n, m = int(name[1]), int(name[2])
        along, across = (np.sin(m * phi), -np.cos(m * phi)) if name.endswith("b") else (np.cos(m * phi), np.sin(m * phi))
        radial.append((alpha**n * along).ravel())
        azimuthal.append((-(alpha**n) * m / (n + 1) * across).ravel())
    return np.array(radial), np.array(azimuthal)


@functools.lru_cache(maxsize=256)
def add(first: Aberrations, second: Aberrations) -> Aberrations:
    """Return the sum of two sets of aberrations, the vector sum of each pair of coefficients."""
    return total(first, second)


def total(first: Aberrations, *others: Aberrations) -> Aberrations:
    """Return the sum of sets of aberrations, bit-identical to repeated calls of :func:`add`."""
    numbers: Sequence[float] = _numbers(first)
    for other in others:
        numbers = _added(numbers, _numbers(other))
    return Aberrations(**dict(zip(_NAMES, numbers, strict=True)))


def _added(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Return the sum of magnitudes and azimuths in the order of ``_numbers``."""
    out, place = [], 0
    for m, *_ in _TABLE:
        u, v = a[place], b[place]
        if m == 0:
            out.append(u + v)
            place += 1
            continue
        length = angle = 0.0
        if u or v:
            s, t = m * a[place + 1], m * b[place + 1]
            x = (u * math.cos(s) if u else 0.0) + (v * math.cos(t) if v else 0.0)
            y = (u * math.sin(s) if u else 0.0) + (v * math.sin(t) if v else 0.0)
            if x or y:
                length, angle = math.hypot(x, y), math.atan2(y, x) / m
        out += length, angle
        place += 2
    return out
