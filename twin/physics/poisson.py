"""Poisson counts by inversion: the count is a function of the mean and of one uniform number, which the caller draws.

For a given mean, the count never decreases when the uniform number increases. Equal uniform numbers act as common
random numbers: two means that differ little give equal counts for almost every uniform number.
"""

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.poisson_kernels import LANES, MOST_MEAN, invert, scratch


def poisson_counts(mean: np.ndarray | float, uniforms: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return the smallest counts k with F(k; mean) > u, where F is the Poisson distribution function.

    The counts are exact up to the rounding of F to float64: for u >= 2^-53 a count can be wrong only where abs(u - F(k)) is
    below 2^-50 F(k) + 2^-44 min(F(k), 1 - F(k)). The work per value is bounded for every mean. The kernel releases
    the interpreter's lock.

    Parameters
    ----------
    mean : ndarray or float
        Means from 0 to 1e9, float32 or float64, broadcastable to ``uniforms``.
    uniforms : ndarray
        Numbers 0 <= u < 1, float64, any shape, as ``numpy.random.Generator.random`` draws them.
    out : ndarray, optional
        Array for the counts, uint16 or uint32, the shape of ``uniforms``.

    Returns
    -------
    ndarray
        ``out`` if it is given, else a new array of uint32.

    Raises
    ------
    SettingsError
        A mean is negative, NaN or above 1e9, a uniform number is outside [0, 1), a count is too large for ``out``, or
        shapes or types do not match. The content of ``out`` is then undefined.
    """
    mean = np.asarray(mean, np.float64)
    uniforms = np.asarray(uniforms)
    if uniforms.dtype != np.float64:
        message = f"uniforms has the type {uniforms.dtype}, but the counts need the 53 bits of float64. Use the numbers of Generator.random()."
        raise SettingsError(message)
    if mean.shape != uniforms.shape:
        mean = _broadcast(mean, uniforms.shape)
    counts = np.empty(uniforms.shape, np.uint32) if out is None else out
    _check_out(counts, uniforms.shape)
    direct = counts.dtype == np.uint32 and counts.flags.c_contiguous
    target = counts if direct else np.empty(uniforms.shape, np.uint32)
    most = int(np.iinfo(counts.dtype).max)
    # writable arrays only: the kernel is compiled for one type of array
    means, flat = (np.require(array, np.float64, ["C", "W"]).reshape(-1) for array in (mean, uniforms))
    block = invert(means, flat, target.reshape(-1), most, *scratch())
    if block >= 0:
        wrong = _first_refused(means, flat, target.reshape(-1), block, most)
        place = np.unravel_index(wrong, uniforms.shape)
        raise SettingsError(_refusal(float(means[wrong]), float(flat[wrong]), place, most))
    if not direct:
        counts[...] = target
    return counts


def _broadcast(mean: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the means in the shape of the uniforms; raise SettingsError if they do not match."""
    try:
        return np.broadcast_to(mean, shape)
    except ValueError:
        message = f"mean of shape {mean.shape} does not match uniforms of shape {shape}; give one uniform per mean."
        raise SettingsError(message) from None


def _check_out(out: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise SettingsError if an array cannot hold the counts."""
    if out.dtype not in (np.uint16, np.uint32) or out.shape != shape or not out.flags.writeable:
        access = "writable" if out.flags.writeable else "read-only"
        repair = f"give a writable one of uint16 or uint32 and shape {shape}"
        message = f"out is a {access} array of {out.dtype} and shape {out.shape}; {repair}."
        raise SettingsError(message)


def _first_refused(mean: np.ndarray, uniforms: np.ndarray, counts: np.ndarray, block: int, most: int) -> int:
    """Return the first index of a block whose mean or uniform is outside the limits, else the first whose count is too large."""
    part = slice(block, block + LANES)
    wrong = ~((mean[part] >= 0) & (mean[part] <= MOST_MEAN) & (uniforms[part] >= 0) & (uniforms[part] < 1))
    return block + int(np.argmax(wrong if wrong.any() else counts[part] > most))


def _refusal(mean: float, uniform: float, place: tuple, most: int) -> str:
    """Return the message for a value that the kernel refused."""
    at = f"[{', '.join(str(int(i)) for i in place)}]"
    if not 0 <= mean <= MOST_MEAN:
        return f"mean{at}={mean:g} electrons is outside 0 to {MOST_MEAN:g}; give finite means within these limits."
    if not 0 <= uniform < 1:
        return f"uniforms{at}={uniform!r} is outside 0 <= u < 1; draw the uniforms with Generator.random()."
    return f"The count at {at} for the mean {mean:g} exceeds {most}, the largest value of out's type; use a wider type."
