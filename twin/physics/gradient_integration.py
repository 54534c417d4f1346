"""Integration of a gradient field: integrated differential phase contrast."""

import numpy as np
import scipy.fft


def integrate_gradient(gy: np.ndarray, gx: np.ndarray, sampling: tuple[float, float], *, periodic: bool = False) -> np.ndarray:
    r"""Return the function with mean zero whose gradient is nearest to a given field.

    The least-squares solution in Fourier space is :math:`\phi_q = (q_y G_y + q_x G_x) / (2 \pi i q^2)` (Lazic, Bosch and
    Lazar, Ultramicroscopy 160 (2016) 265).

    Parameters
    ----------
    gy, gx : ndarray
        Gradient along y and x, shape (ny, nx), per A.
    sampling : tuple of float
        Distance between points (dy, dx), A.
    periodic : bool
        If True, the field is periodic. If False, it is continued by reflection, which leaves no jump at the edges.

    Returns
    -------
    ndarray
        float64, shape (ny, nx).
    """
    gy, gx = np.asarray(gy, float), np.asarray(gx, float)
    ny, nx = gy.shape
    if not periodic:  # phi continued evenly: gy is odd along y, gx is odd along x
        gy, gx = _mirrored(gy, -1, 1), _mirrored(gx, 1, -1)
    shape = gy.shape
    qy, qx = scipy.fft.fftfreq(shape[0], sampling[0])[:, None], scipy.fft.fftfreq(shape[1], sampling[1])
    # a real function has no derivative at the Nyquist frequency of an even number of points
    dy = np.where(2 * np.arange(shape[0]) == shape[0], 0.0, qy[:, 0])[:, None]
    dx = np.where(2 * np.arange(shape[1]) == shape[1], 0.0, qx)
    q2 = dy**2 + dx**2
    numerator = dy * scipy.fft.fft2(gy) + dx * scipy.fft.fft2(gx)
    phi = np.where(q2 > 0, numerator / (2j * np.pi * np.where(q2 > 0, q2, 1)), 0)
    return scipy.fft.ifft2(phi).real[:ny, :nx]


def _mirrored(field: np.ndarray, along_y: int, along_x: int) -> np.ndarray:
    field = np.concatenate([field, along_y * field[::-1]], axis=0)
    return np.concatenate([field, along_x * field[:, ::-1]], axis=1)
