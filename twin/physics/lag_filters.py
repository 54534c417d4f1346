"""Things that follow with a lag: first-order filters along a sequence of unequal steps."""

import numpy as np
from scipy.linalg import lapack


def one_pole(drive: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return s of s[k] = keep[k] s[k - 1] + drive[k], with nothing before the beginning.

    Parameters
    ----------
    drive : ndarray
        What is added at each step, shape (..., n).
    keep : ndarray
        What is kept of the step before, shape (n,); the first does not matter.

    Returns
    -------
    ndarray
        float64, the shape of ``drive``.

    Notes
    -----
    A lower triangular system with one band, solved from the top by LAPACK's ``dtbtrs``: as exact as the loop, and fast.
    """
    n = len(keep)
    if not n:
        return np.zeros(drive.shape)
    bands = np.empty((2, n), order="F")
    bands[0], bands[1, -1] = 1.0, 0.0
    np.negative(keep[1:], out=bands[1, :-1])
    out, _ = lapack.dtbtrs(bands, np.reshape(drive, (-1, n)).T.astype(float, order="F"), uplo="L", diag="U", overwrite_b=1)
    return np.ascontiguousarray(out.T).reshape(drive.shape)
