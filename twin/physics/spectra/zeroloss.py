"""Zero-loss peak: energy spread of gun and spectrometer, as fractions of the beam in energy bins."""

import math

import numpy as np
from scipy.special import erf

from stemtwin.twin.errors import SettingsError


def zero_loss(edges: np.ndarray, width: float, *, asymmetry: float = 0.0, lorentz: float = 0.0, shift: float = 0.0) -> np.ndarray:
    """Return the fraction of a zero-loss peak in each energy bin.

    The peak is a mixture of a Gaussian and a squared Lorentzian, whose tails fall as E^-4. Both have the half width
    (1 - asymmetry) width / 2 on the side of energy gain and (1 + asymmetry) width / 2 on the side of energy loss, so
    the full width at half maximum is ``width`` for every asymmetry and mixture. The gain side is the steep side (Fermi
    edge) of a cold field emitter.

    Parameters
    ----------
    edges : ndarray
        Edges of the bins, eV, increasing, shape (n + 1,).
    width : float
        Full width at half maximum, eV.
    asymmetry : float
        Asymmetry between -1 and 1. It is about 0.3 for a cold field emitter (an unverified literature value [M]).
    lorentz : float
        Height of the squared Lorentzian as a fraction of the peak's height, 0 to 1.
    shift : float
        Energy of the maximum, eV, due to the drift of the spectrum.

    Returns
    -------
    ndarray
        Fractions, shape (n,); over all energies they add up to 1.

    Raises
    ------
    SettingsError
        A parameter is out of range.
    """
    if not (0 < width < math.inf and -1 < asymmetry < 1 and 0 <= lorentz <= 1):
        message = f"width={width} eV must be positive and finite, and asymmetry={asymmetry} must be between -1 and 1. "
        message += f"lorentz={lorentz} must be between 0 and 1."
        raise SettingsError(message)
    x = np.asarray(edges, float) - shift
    half = np.where(x < 0, (1 - asymmetry) * width / 2, (1 + asymmetry) * width / 2)
    gauss = half * math.sqrt(math.pi / math.log(2)) / 2 * erf(math.sqrt(math.log(2)) * x / half)
    c = math.sqrt(2) - 1  # 1 / (1 + c x^2)^2 is 1/2 at x = 1
    tails = half / 2 * (x / half / (1 + c * (x / half) ** 2) + np.arctan(math.sqrt(c) * x / half) / math.sqrt(c))
    total = (1 - lorentz) * width / 2 * math.sqrt(math.pi / math.log(2)) + lorentz * width * math.pi / (4 * math.sqrt(c))
    return np.diff((1 - lorentz) * gauss + lorentz * tails) / total
