"""Rewards in [0, 1], one shape for every task."""

from stemtwin.twin.physics import probe
from stemtwin.twin.physics.aberrations import Aberrations


def strehl(wavelength: float, semiangle: float, c10: float, c12a: float, c12b: float) -> float:
    """Return the Strehl ratio that defocus and twofold astigmatism leave; it knows the truth, so it is for training.

    Parameters
    ----------
    wavelength, semiangle : float
        A; rad.
    c10, c12a, c12b : float
        Cartesian coefficients, A.
    """
    return probe.strehl_ratio(wavelength, semiangle, Aberrations.from_cartesian(C10=c10, C12a=c12a, C12b=c12b), samples=24)
