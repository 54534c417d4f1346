"""From electrons to numbers: pulse heights, the amplifier's lag, the converter, and what a detector answers where.

A detector turns each electron into a pulse. Pulses differ: with mean 1 and variance v their sum over Poisson electrons has the variance N (1 + v), as
if only the share DQE = 1 / (1 + v) of the electrons had been counted. The amplifier adds an offset and noise; the converter rounds and clips.
"""

import math

import numpy as np

from stemtwin.twin.physics.lag_filters import one_pole


def pulse_charge(electrons: np.ndarray, dqe: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the charge that electrons leave, in units of the mean pulse.

    Parameters
    ----------
    electrons : ndarray
        Numbers of electrons, any shape.
    dqe : float
        1 / (1 + var(g) / mean(g)^2) of the pulse heights g, above 0 and at most 1.
    rng : numpy.random.Generator
        The only source of randomness; not used where ``dqe`` is 1.

    Returns
    -------
    ndarray
        float64, the shape of ``electrons``.

    Notes
    -----
    Pulse heights are Gamma-distributed with shape k = DQE / (1 - DQE): the sum of N of them is Gamma-distributed with shape N k, drawn at once.
    """
    electrons = np.asarray(electrons, float)
    if dqe == 1:
        return electrons.copy()
    shape = dqe / (1 - dqe)
    return rng.standard_gamma(shape * electrons) / shape


def lagged(signal: np.ndarray, dwell: float, waits: np.ndarray, tau: float, *, dark: bool) -> np.ndarray:
    """Return the readings of a detector with a lag for a signal that is constant during each visit.

    Parameters
    ----------
    signal : ndarray
        Per visit, in visiting order, shape (..., n).
    dwell : float
        Time at each visit, over which the detector averages, s.
    waits : ndarray
        Time before each visit, s, shape (n,).
    tau : float
        Time constant of scintillator and amplifier, s: exp(-t / tau) / tau follows each pulse. 0: no lag.
    dark : bool
        Whether nothing arrives during the waits (a blanked beam). Otherwise the beam waits where it goes on, so that the signal there is ahead of its
        time; before the first visit it has waited for long.

    Returns
    -------
    ndarray
        Mean over each visit of the filtered signal, float64, shape (..., n). A constant signal stays what it is; no charge is lost but what comes
        after the last visit and, where it is dark, during the waits.

    Notes
    -----
    With a = exp(-dwell / tau) and s the filter's state at a visit's beginning: the mean is x + (s - x) (tau / dwell) (1 - a), the state at its end
    x + (s - x) a; a wait g keeps exp(-g / tau) of the state.
    """
    signal = np.asarray(signal, float)
    if not tau:
        return signal.copy()
    a, kept = math.exp(-dwell / tau), np.exp(-np.asarray(waits) / tau)
    ahead = np.zeros_like(signal) if dark else (1 - kept) * signal
    drive = ahead
    drive[..., 1:] += kept[1:] * (1 - a) * signal[..., :-1]
    if not dark:
        drive[..., 0] = signal[..., 0]
    state = one_pole(drive, a * kept)
    return signal + (state - signal) * (tau / dwell * -math.expm1(-dwell / tau))


def convert(charge: np.ndarray, *, gain: float, offset: float, read_noise: float, bits: int, rng: np.random.Generator) -> np.ndarray:
    """Return the converter's readings.

    Parameters
    ----------
    charge : ndarray
        In units of the mean pulse, any shape.
    gain : float
        Steps of the converter per mean pulse.
    offset, read_noise : float
        Mean without any electron, and standard deviation of the noise of each reading, steps.
    bits : int
        Rounded to whole numbers and clipped to 0 .. 2^bits - 1; 0: neither.
    rng : numpy.random.Generator
        The only source of randomness; not used where ``read_noise`` is 0.

    Returns
    -------
    ndarray
        uint16 up to 16 bits, else uint32; float64 for 0 bits.
    """
    out = gain * np.asarray(charge, float)
    out += offset
    if read_noise:
        out += read_noise * rng.standard_normal(out.shape)
    if not bits:
        return out
    np.rint(out, out=out)
    np.clip(out, 0, 2**bits - 1, out=out)
    return out.astype(np.uint16 if bits <= 16 else np.uint32)


def response(ky: np.ndarray, kx: np.ndarray, radius: float, slope: tuple[float, float], bowl: float, twofold: tuple[float, float]) -> np.ndarray:
    """Return the chance that an electron is detected where it meets the detector, relative to the best place.

    Parameters
    ----------
    ky, kx : ndarray
        Where, broadcastable, in units of ``radius``' own.
    radius : float
        The detector's outer radius.
    slope : tuple of float
        Amplitude of rho cos(phi - phi_1) and its azimuth phi_1, rad; rho is the distance from the centre over the radius.
    bowl : float
        Amplitude of 2 rho^2 - 1: above 0, the rim is the better part.
    twofold : tuple of float
        Amplitude of rho^2 cos(2 (phi - phi_2)) and its azimuth phi_2, rad.

    Returns
    -------
    ndarray
        (1 + all three) / (1 + their largest sum): at most 1.

    Notes
    -----
    The low-order variation of LeBeau and Stemmer, Ultramicroscopy 108 (2008) 1653, in the first polynomials of Zernike.
    """
    y, x = np.asarray(ky) / radius, np.asarray(kx) / radius
    total = 1 + slope[0] * (x * math.cos(slope[1]) + y * math.sin(slope[1])) + bowl * (2 * (x**2 + y**2) - 1)
    total = total + twofold[0] * ((x**2 - y**2) * math.cos(2 * twofold[1]) + 2 * x * y * math.sin(2 * twofold[1]))
    return total / (1 + abs(slope[0]) + abs(bowl) + abs(twofold[0]))
