"""First-order lag filters along a sequence of unequal steps."""

import numpy as np
from scipy.linalg import lapack


def one_pole(drive: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return the sequence s[k] = keep[k] s[k - 1] + drive[k] with s[-1] = 0.

    Parameters
    ----------
    drive : ndarray
        Input at each step, shape (..., n).
    keep : ndarray
        Fraction of the previous state that remains at each step, shape (n,); the first entry is not used.

    Returns
    -------
    ndarray
        float64, the shape of ``drive``.

    Notes
    -----
    LAPACK's ``dtbtrs`` solves the lower bidiagonal system by forward substitution, which is as accurate as an explicit loop.
    """
    n = len(keep)
    if not n:
        return np.zeros(drive.shape)
    bands = np.empty((2, n), order="F")
    bands[0], bands[1, -1] = 1.0, 0.0
    np.negative(keep[1:], out=bands[1, :-1])
    out, _ = lapack.dtbtrs(bands, np.reshape(drive, (-1, n)).T.astype(float, order="F"), uplo="L", diag="U", overwrite_b=1)
    return np.ascontiguousarray(out.T).reshape(drive.shape)
