"""Electron scattering factors of neutral atoms in the parametrisations of Kirkland and of Lobato, for the electron's rest mass.

* kirkland: f = sum_3 a / (g^2 + b) + sum_3 c exp(-d g^2)  (Kirkland, Advanced Computing in Electron Microscopy, appendix C)
* lobato: f = sum_5 a (2 + b g^2) / (1 + b g^2)^2  (Lobato and Van Dyck, Acta Cryst. A 70 (2014) 636)

g = abs(k) in 1/A, f in A. The relativistic mass enters only through the interaction constant.

The coefficients are in ``tables/``, one file for each parametrisation; the head of each file names the sources of the
coefficients. These sources lack Lobato's coefficients of Lr, which are read from the table of the installed abTEM (abTEM
is not imported).

Kirkland's coefficients are rounded to ten decimals and are then bit-identical to those in abTEM's table. The rounding
changes f by less than 2e-10 A and by less than 1e-9 of its value.
"""

import functools
import importlib.metadata
import json
from pathlib import Path

import numpy as np

from stemtwin.twin.errors import SettingsError, UnknownNameError

PARAMETRIZATIONS = ("kirkland", "lobato")

SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd "
    "Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th "
    "Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr"
).split()
"""Chemical symbols by atomic number; entry 0 is a placeholder."""


@functools.cache
def coefficients(parametrization: str, number: int) -> np.ndarray:
    """Return the coefficients of one element: 4 x 3 (kirkland, rows a b c d) or 2 x 5 (lobato, rows a b).

    Raises
    ------
    UnknownNameError
        The parametrisation is unknown.
    SettingsError
        The table does not contain the element.
    """
    if parametrization not in PARAMETRIZATIONS:
        message = f"There is no parametrization named {parametrization!r}. Use one of {', '.join(PARAMETRIZATIONS)}."
        raise UnknownNameError(message)
    if not 0 < number < len(SYMBOLS):
        message = f"The {parametrization} parametrization has no scattering factor for Z={number}. "
        message += "It covers H (1) to Lr (103)."
        raise SettingsError(message)
    table = _table(parametrization)
    if number > len(table):
        out = _abtem_row(parametrization, SYMBOLS[number])
    elif parametrization == "kirkland":
        lorentzians, gaussians = (np.floor(table[number - 1] * 1e10 + 0.5) / 1e10).reshape(2, 3, 2)  # rounded half up
        out = np.concatenate([lorentzians.T, gaussians.T])
    else:
        out = table[number - 1].reshape(2, 5).copy()
    out.flags.writeable = False
    return out


@functools.cache
def _table(parametrization: str) -> np.ndarray:
    """Return the coefficients of the packaged table, unrounded, one row for each element, beginning with H."""
    path = Path(__file__).with_name("tables") / f"{parametrization}.csv"
    columns = {"kirkland": 12, "lobato": 10}[parametrization]
    return np.loadtxt(path, delimiter=",", usecols=range(2, 2 + columns), encoding="utf-8")


def _abtem_row(parametrization: str, symbol: str) -> np.ndarray:
    """Return the coefficients of one element from the installed abTEM's table, in the layout of the packaged table."""
    path = importlib.metadata.distribution("abtem").locate_file(f"abtem/parametrizations/data/{parametrization}.json")
    return np.array(json.loads(Path(str(path)).read_text(encoding="utf-8"))[symbol], dtype=float)


def scattering_factor(parametrization: str, number: int, g2: np.ndarray) -> np.ndarray:
    """Return the electron scattering factor of a neutral atom at rest.

    Parameters
    ----------
    parametrization : str
        ``"kirkland"`` or ``"lobato"``.
    number : int
        Atomic number.
    g2 : ndarray
        Squared spatial frequency g^2 = (2 sin(theta/2) / lambda)^2, 1/A^2, any shape.

    Returns
    -------
    ndarray
        f, A, float64.
    """
    p = coefficients(parametrization, int(number))
    g2 = np.asarray(g2, dtype=float)
    out = np.zeros(g2.shape)
    if parametrization == "kirkland":
        for a, b, c, d in p.T:
            out += a / (g2 + b) + c * np.exp(-d * g2)
    else:
        for a, b in p.T:
            out += a * (2 + b * g2) / (1 + b * g2) ** 2
    return out
