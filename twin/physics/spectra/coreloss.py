r"""Core-loss cross-sections of inner shells for a given collection angle.

.. math::

    \frac{d\sigma}{dE} = \frac{4 \pi a_0^2 R^2}{E\, T} \int \frac{df(q, E)}{dE} \, A(\theta) \; d\ln q^2, \qquad T = m v^2 / 2

(M. Inokuti, Rev. Mod. Phys. 43 (1971) 297; R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope,
section 3.6), with the Rydberg energy R and relativistic momenta. A is the fraction of a convergent beam that passes the
collection aperture after scattering by theta.

====== ===================================================================================================================================
Shell  Generalised oscillator strength
====== ===================================================================================================================================
K      hydrogenic (``gos.py``)
L      measured optical oscillator strength (``photoabsorption.py``), times the hydrogenic dependence on q of the 2p electrons
M      measured optical oscillator strength, times (1 + R (q a0)^2 / E)^-3, an assumed fall-off at the Bethe ridge [A]; accurate to +-30 %
====== ===================================================================================================================================

White lines add optical oscillator strength in proportion to the number of holes of the final shell (``ionisation_edges.py``).
"""

import functools
import itertools
import math

import numpy as np
from scipy.interpolate import PchipInterpolator

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.spectra import gos, photoabsorption
from stemtwin.twin.physics.spectra.ionisation_edges import ELECTRONS, WHITE_LINES, Edge

BARN = 1e-8
"""1 barn, A^2."""
HBAR_C = electrons.PLANCK_C / (2 * math.pi)
"""hbar c, eV A."""
NODES = 40
"""Gauss-Legendre nodes of each interval of the integral over q."""
KNOTS = 128
"""Number of energies at which the integral over q is evaluated; it is interpolated between them."""
SOFTENING = 10.0
"""Constant added to the energy above the onset, eV, before interpolation over its logarithm."""

PARALLEL = 1e-6
"""Convergence semi-angle below which a beam is treated as parallel, rad."""
TAIL = 3.2
"""Exponent of the decrease of optical oscillator strengths beyond the table; the true exponent is 3 near the edge and 3.5 far above it."""


def half_velocity_energy(beam_energy: float) -> float:
    """Return T = m v^2 / 2 (eV) of an electron of kinetic energy ``beam_energy`` (eV)."""
    return 0.5 * electrons.REST_ENERGY * electrons.velocity_ratio(beam_energy) ** 2


def characteristic_angle(loss: np.ndarray | float, beam_energy: float) -> np.ndarray | float:
    """Return the characteristic angle of inelastic scattering for an energy loss E, eV: theta_E = E / (gamma m v^2), rad."""
    return loss / (2 * electrons.lorentz_factor(beam_energy) * half_velocity_energy(beam_energy))


def accepted(theta: np.ndarray, convergence: float, collection: float) -> np.ndarray:
    """Return the fraction of a convergent beam that passes a collection aperture after scattering by theta.

    The fraction is the overlap of two discs, divided by the area of the beam's disc.

    Parameters
    ----------
    theta : ndarray
        Scattering angle, rad.
    convergence, collection : float
        Semi-angles, rad.

    Returns
    -------
    ndarray
        Fraction, 0 to 1.
    """
    theta = np.asarray(theta, float)
    if convergence < PARALLEL:
        return (theta < collection).astype(float)
    small, large = min(convergence, collection), max(convergence, collection)
    d = np.clip(theta, 1e-12, None)
    a = np.arccos(np.clip((d**2 + small**2 - large**2) / (2 * d * small), -1, 1))
    b = np.arccos(np.clip((d**2 + large**2 - small**2) / (2 * d * large), -1, 1))
    overlap = small**2 * (a - np.sin(2 * a) / 2) + large**2 * (b - np.sin(2 * b) / 2)
    overlap = np.where(theta <= large - small, math.pi * small**2, np.where(theta >= large + small, 0.0, overlap))
    return overlap / (math.pi * convergence**2)


def momentum(energy: np.ndarray | float) -> np.ndarray | float:
    """Return the wave number 2 pi / lambda (1/A) of an electron of kinetic energy ``energy`` (eV)."""
    return np.sqrt(energy * (energy + 2 * electrons.REST_ENERGY)) / HBAR_C


def _falloff(edge: Edge, loss: np.ndarray, q2: np.ndarray) -> np.ndarray:
    """Return the ratio of df/dE at q to its optical limit."""
    if edge.shell == "M":
        return (1 + gos.RYDBERG * q2 * gos.BOHR**2 / loss) ** -3
    subshell = "1s" if edge.shell == "K" else "2p"
    charge = gos.effective_charge(subshell, edge.number)
    return gos.hydrogenic(subshell, charge, loss, q2) / gos.hydrogenic(subshell, charge, loss, np.zeros(1))


def _q_integral(edge: Edge, loss: np.ndarray, beam_energy: float, collection: float, convergence: float) -> np.ndarray:
    """Return the cross-section per unit of optical oscillator strength (A^2) at energy losses (n,)."""
    k0, k1 = momentum(beam_energy), momentum(beam_energy - loss)
    low = (k0 - k1) ** 2
    angles = [0.0, collection] if convergence < PARALLEL else [0.0, abs(collection - convergence), collection + convergence]
    x, w = np.polynomial.legendre.leggauss(NODES)
    total = np.zeros(loss.shape)
    for begin, end in itertools.pairwise(angles):
        if end <= begin:
            continue
        bottom, top = (np.log(low + 4 * k0 * k1 * math.sin(min(angle, math.pi) / 2) ** 2) for angle in (begin, end))
        half = (top - bottom) / 2
        q2 = np.exp(bottom + half * (1 + x[:, None]))
        theta = 2 * np.arcsin(np.sqrt(np.clip((q2 - low) / (4 * k0 * k1), 0, 1)))
        total += half * (w[:, None] * _falloff(edge, loss, q2) * accepted(theta, convergence, collection)).sum(axis=0)
    return 4 * math.pi * gos.BOHR**2 * gos.RYDBERG**2 / (loss * half_velocity_energy(beam_energy)) * total


@functools.lru_cache(maxsize=512)
def _kernel(edge: Edge, beam_energy: float, collection: float, convergence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logarithms of energies, and of the cross-section per unit of optical oscillator strength there, both read-only."""
    loss = np.geomspace(0.7 * edge.onset, 0.9 * beam_energy, KNOTS)
    values = np.log(np.maximum(_q_integral(edge, loss, beam_energy, collection, convergence), 1e-300))
    loss = np.log(loss)
    loss.flags.writeable = values.flags.writeable = False
    return loss, values


def optical_strength(edge: Edge, loss: np.ndarray, *, shift: float = 0.0) -> np.ndarray:
    """Return the optical oscillator strength of the continuum of one atom.

    Parameters
    ----------
    edge : Edge
        Ionisation edge.
    loss : ndarray
        Energy loss, eV.
    shift : float
        Shift of the onsets, eV.

    Returns
    -------
    ndarray
        df/dE, 1/eV; 0 below the onset.

    Raises
    ------
    SettingsError
        The table has no data for the edge.
    """
    loss = np.asarray(loss, float)
    above = loss - shift >= edge.onset
    out = np.zeros(loss.shape)
    if edge.shell == "K":
        charge = gos.effective_charge("1s", edge.number)
        out[above] = ELECTRONS["K"] * gos.hydrogenic("1s", charge, loss[above] - shift, np.zeros(1))
        return out
    key = f"{edge.symbol}_{edge.shell}"
    if key not in photoabsorption.STRENGTH:
        message = f"There is no optical oscillator strength for {key}. Use one of {', '.join(photoabsorption.STRENGTH)}."
        raise SettingsError(message)
    excess = loss[above] - shift - edge.onset
    knots, values = np.log(np.array(photoabsorption.EXCESS) + SOFTENING), np.log(np.array(photoabsorption.STRENGTH[key]) * 1e-3)
    last = photoabsorption.EXCESS[-1]
    f = PchipInterpolator(knots, values)(np.clip(np.log(excess + SOFTENING), knots[0], knots[-1]))
    f = np.where(excess > last, values[-1] - TAIL * np.log((excess + edge.onset) / (last + edge.onset)), f)
    partners = [(ELECTRONS[name], onset) for name, onset in edge.subshells if name != "L1"]
    share = sum(count * (loss[above] - shift >= onset) for count, onset in partners) / sum(count for count, _ in partners)
    out[above] = share * np.exp(f)
    return out


def white_line_strength(edge: Edge, loss: np.ndarray, *, valence: float | None = None) -> tuple[np.ndarray, float]:
    """Return the optical oscillator strength of the white lines of one atom, df/dE, 1/eV, and the shift of the onsets, eV.

    Parameters
    ----------
    edge : Edge
        The edge; strength and shift are 0 if it has no white lines.
    loss : ndarray
        Energy loss, eV.
    valence : float, optional
        Valence of the atom; by default the valence in the table of white lines.

    Raises
    ------
    SettingsError
        The valence implies a number of holes that the shell cannot have.
    """
    loss = np.asarray(loss, float)
    lines = WHITE_LINES.get(edge.symbol)
    if lines is None or edge.shell == "K" or len(edge.subshells) < 2 or edge.subshells[0][0] not in ("L3", "M5"):
        return np.zeros(loss.shape), 0.0
    if (edge.shell == "M") != (edge.number >= 55):
        return np.zeros(loss.shape), 0.0
    change = 0.0 if valence is None else valence - lines.valence
    holes, most = lines.holes + change, 10 if edge.shell == "L" else 14
    if not 0 <= holes <= most:
        message = f"valence={valence} of {edge.symbol} leaves {holes:g} of {most} states empty. Use {lines.valence - lines.holes:g} to "
        message += f"{lines.valence + most - lines.holes:g}."
        raise SettingsError(message)
    shift, out = lines.shift * change, np.zeros(loss.shape)
    shares = (lines.branching, 1 - lines.branching)
    for (_, onset), width, share in zip(edge.subshells[:2], lines.widths, shares, strict=True):
        first = onset + shift + width / 2
        pair = ((first, 0.4), (first + lines.splitting, 0.6)) if lines.splitting else ((first, 1.0),)
        for centre, part in pair:
            out += holes * lines.strength * share * part * line(loss - centre, width)
    return out, shift


def line(offset: np.ndarray, width: float) -> np.ndarray:
    """Return a squared Lorentzian of area 1 at an offset from its centre, 1/eV; its tails fall as E^-4.

    ``offset`` and ``width``, the full width at half maximum, are in eV.
    """
    c = math.sqrt(2) - 1
    return 2 / (math.pi * width) * 2 * math.sqrt(c) / (1 + c * (2 * offset / width) ** 2) ** 2


def differential(
    edge: Edge,
    loss: np.ndarray,
    beam_energy: float,
    collection: float,
    *,
    convergence: float = 0.0,
    valence: float | None = None,
    white_lines: bool = True,
) -> np.ndarray:
    """Return the cross-section of one atom per unit of energy loss.

    Parameters
    ----------
    edge : Edge
        Edge with all its subshells.
    loss : ndarray
        Energy loss, eV, shape (n,).
    beam_energy : float
        Beam energy, eV.
    collection, convergence : float
        Semi-angles of the collection aperture and of the probe, rad.
    valence : float, optional
        Valence of the atom, which shifts the onsets and changes the white lines.
    white_lines : bool
        Whether white lines are added.

    Returns
    -------
    ndarray
        dsigma/dE, A^2/eV; 0 below the onset.

    Raises
    ------
    SettingsError
        The beam energy is below twice the onset, a parameter is out of range, or there are no data for the edge.
    """
    check_angles(beam_energy, collection, convergence)
    if beam_energy < 2 * edge.onset:
        message = f"A beam of {beam_energy:g} eV is too slow for the edge {edge.name} at {edge.onset:g} eV. "
        message += f"Use a beam energy of at least {2 * edge.onset:g} eV."
        raise SettingsError(message)
    loss = np.asarray(loss, float)
    lines, shift = white_line_strength(edge, loss, valence=valence)
    strength = optical_strength(edge, loss, shift=shift)
    if white_lines:
        strength = strength + lines
    at, values = _kernel(edge, float(beam_energy), float(collection), float(convergence))
    inside = (strength > 0) & (loss > 0.7 * edge.onset)
    out = np.zeros(loss.shape)
    out[inside] = strength[inside] * np.exp(np.interp(np.log(loss[inside]), at, values))
    return out


def cross_section(edge: Edge, window: float, beam_energy: float, collection: float, **settings: object) -> float:
    """Return the cross-section (A^2) for losses from the onset to ``window`` eV above it.

    The other parameters are those of :func:`differential`.
    """
    loss = edge.onset + np.concatenate([np.arange(0, min(window, 60), 0.02), np.linspace(min(window, 60), window, 400)])
    return float(np.trapezoid(differential(edge, loss, beam_energy, collection, **settings), loss))  # type: ignore[arg-type]


def check_angles(beam_energy: float, collection: float, convergence: float = 0.0) -> None:
    """Raise SettingsError if a beam energy (eV) or one of two semi-angles (rad) is out of range."""
    if not (1e3 <= beam_energy <= 3e6 and 0 < collection <= 0.5 and 0 <= convergence <= 0.2):
        message = (
            f"beam_energy={beam_energy:g} eV, collection={collection:g} rad and convergence={convergence:g} rad are out of range: "
            "1e3 to 3e6 eV, 0 to 0.5 rad and 0 to 0.2 rad. Did you pass keV or mrad?"
        )
        raise SettingsError(message)


def delocalisation(loss: float, beam_energy: float, collection: float) -> float:
    """Return the diameter that contains half of the inelastic signal of one atom.

    Parameters
    ----------
    loss : float
        Energy loss, eV.
    beam_energy : float
        Beam energy, eV.
    collection : float
        Collection semi-angle, rad.

    Returns
    -------
    float
        d50 = sqrt((0.5 lambda / theta_E^(3/4))^2 + (0.6 lambda / beta)^2), A, with the characteristic angle theta_E and
        the collection angle beta (R. F. Egerton, J. Phys.: Conference Series 644 (2015) 012008). The constants
        of this formula are literature values quoted from memory [M].
    """
    wavelength = electrons.wavelength(beam_energy)
    return math.hypot(0.5 * wavelength / characteristic_angle(loss, beam_energy) ** 0.75, 0.6 * wavelength / collection)
