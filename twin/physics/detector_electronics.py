"""Read-out chain of an image detector: pulse heights, lag of the amplifier, digitisation, and response map.

A detector turns each electron into a pulse. Pulse heights vary: if their mean is 1 and their variance is v, the sum of
the pulses of a Poisson-distributed number of electrons with mean N has the variance N (1 + v). The signal-to-noise ratio
is the same as if only the fraction DQE = 1 / (1 + v) of the electrons had been counted. The amplifier adds an offset and
noise; the converter rounds and clips.
"""

import math

import numpy as np

from stemtwin.twin.physics.lag_filters import one_pole


def pulse_charge(electrons: np.ndarray, dqe: float, rng: np.random.Generator) -> np.ndarray:
    """Draw the charge that electrons generate, in units of the mean pulse.

    Parameters
    ----------
    electrons : ndarray
        Numbers of electrons, any shape.
    dqe : float
        Detective quantum efficiency 1 / (1 + var(g) / mean(g)^2) of the pulse heights g, above 0 and at most 1.
    rng : numpy.random.Generator
        The only source of randomness; not used if ``dqe`` is 1.

    Returns
    -------
    ndarray
        float64, the shape of ``electrons``.

    Notes
    -----
    Pulse heights are Gamma-distributed with shape k = DQE / (1 - DQE). The sum of N pulses is then Gamma-distributed with shape N k, so it is
    drawn as one number.
    """
    electrons = np.asarray(electrons, float)
    if dqe == 1:
        return electrons.copy()
    shape = dqe / (1 - dqe)
    return rng.standard_gamma(shape * electrons) / shape


def lagged(signal: np.ndarray, dwell: float, waits: np.ndarray, tau: float, *, dark: bool) -> np.ndarray:
    """Return the readings of a detector whose response lags behind the signal.

    A visit is the dwell of the beam at one scan position. The signal is constant during each visit.

    Parameters
    ----------
    signal : ndarray
        Signal at each visit, in visiting order, shape (..., n).
    dwell : float
        Duration of a visit, over which the detector averages, s.
    waits : ndarray
        Time between the end of the previous visit and the beginning of each visit, s, shape (n,).
    tau : float
        Time constant of scintillator and amplifier, s: the response to a pulse is exp(-t / tau) / tau. 0 means no lag.
    dark : bool
        If True, the beam is blanked during the waits. If False, the beam waits at the next position, so part of the
        charge that the detector collects during a wait appears in the reading of the next visit; the beam is assumed to
        have waited at the first position for a long time.

    Returns
    -------
    ndarray
        Mean over each visit of the filtered signal, float64, shape (..., n). Without blanking, a constant signal is
        unchanged. Only the charge that the detector releases after the last visit and, with ``dark``, during the waits
        is lost.

    Notes
    -----
    With a = exp(-dwell / tau), the signal x and the filter's state s at the beginning of a visit, the mean is
    x + (s - x) (tau / dwell) (1 - a) and the state at the end is x + (s - x) a. During a wait of the duration g the
    state decays by the factor exp(-g / tau).
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
    """Return the readings of the analogue-to-digital converter.

    Parameters
    ----------
    charge : ndarray
        Charge in units of the mean pulse, any shape.
    gain : float
        Steps of the converter per mean pulse.
    offset, read_noise : float
        Mean reading without electrons, and standard deviation of the noise of each reading, steps.
    bits : int
        Number of bits. Readings are rounded to whole numbers and clipped to 0 .. 2^bits - 1. With 0 bits, they are neither
        rounded nor clipped.
    rng : numpy.random.Generator
        The only source of randomness; not used if ``read_noise`` is 0.

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
    """Return the detection efficiency at positions on the detector, divided by the highest efficiency.

    Parameters
    ----------
    ky, kx : ndarray
        Positions, broadcastable, in the unit of ``radius``.
    radius : float
        Outer radius of the detector.
    slope : tuple of float
        Amplitude of rho cos(phi - phi_1) and its azimuth phi_1, rad; rho is the distance from the centre / ``radius``.
    bowl : float
        Amplitude of 2 rho^2 - 1: above 0 the outer part is more efficient.
    twofold : tuple of float
        Amplitude of rho^2 cos(2 (phi - phi_2)) and its azimuth phi_2, rad.

    Returns
    -------
    ndarray
        (1 + the terms of ``slope``, ``bowl`` and ``twofold``) / (1 + the sum of their amplitudes), at most 1.

    Notes
    -----
    The low-order variation measured by LeBeau and Stemmer, Ultramicroscopy 108 (2008) 1653, is expressed by the first
    Zernike polynomials.
    """
    y, x = np.asarray(ky) / radius, np.asarray(kx) / radius
    total = 1 + slope[0] * (x * math.cos(slope[1]) + y * math.sin(slope[1])) + bowl * (2 * (x**2 + y**2) - 1)
    total = total + twofold[0] * ((x**2 - y**2) * math.cos(2 * twofold[1]) + 2 * x * y * math.sin(2 * twofold[1]))
    return total / (1 + abs(slope[0]) + abs(bowl) + abs(twofold[0]))
