"""Scalarisers: figures of merit of a spectrum, to be maximised by a search."""

import functools
import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs.spectral_scenes import CORE, LOW, XRAYS

TECHNIQUES = ("eels", "edx")
"""Techniques of a spectrum: two exposures of energy losses, or one exposure of X-rays."""
EXPOSURES = {"low": (LOW, "eels"), "core": (CORE, "eels"), "edx": (XRAYS, "edx")}
"""Detector and technique of each spectrum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalariser:
    """A ratio of the counts of a spectrum in two windows, (peak + floor) / (base + floor), times a scale.

    Parameters
    ----------
    title : str
        Description for pictures.
    spectrum : str
        ``"low"``, ``"core"`` or ``"edx"``.
    peak, base : tuple of float
        Windows of energy losses or of photon energies, eV.
    floor : float
        Constant added to both counts, as a fraction of the incident electrons; it avoids ratios of empty windows.
    scale : float
        Factor that makes usual values about 1.
    """

    title: str
    spectrum: str
    peak: tuple[float, float]
    base: tuple[float, float]
    floor: float
    scale: float = 1.0

    @property
    def technique(self) -> str:
        """Technique of the spectrum, ``"eels"`` or ``"edx"``."""
        return EXPOSURES[self.spectrum][1]

    def value(self, counts: np.ndarray, electrons: float) -> np.ndarray:
        """Return the figure of merit of each spectrum.

        ``counts`` has the shape (..., channels), and the result has the shape (...). ``electrons`` is the number of
        incident electrons of each spectrum.
        """
        peak, base = (counts[..., part].sum(axis=-1) for part in _windows(self))
        floor = self.floor * electrons
        return self.scale * (peak + floor) / (base + floor)


SCALARISERS = {
    "peak-ratio": Scalariser(title="L lines of iron over the K line of oxygen", spectrum="edx", peak=(640, 840), base=(440, 600), floor=1e-8),
    "edge-plasmon": Scalariser(
        title="plasmon of the flake's corners over the zero loss", spectrum="low", peak=(1.3, 1.9), base=(-0.5, 0.5), floor=0.0, scale=100.0
    ),
    "valence": Scalariser(title="trivalent over divalent iron in the L3 line", spectrum="core", peak=(708.5, 711.0), base=(706.0, 708.5), floor=1e-6),
}
"""Scalarisers by name."""


@functools.cache
def _windows(scalariser: Scalariser) -> tuple[slice, slice]:
    """Return the channels of both windows."""
    detector, _ = EXPOSURES[scalariser.spectrum]
    first, step = detector.energy_range_ev[0], detector.dispersion_ev
    low, high = (slice(round((start - first) / step), round((end - first) / step)) for start, end in (scalariser.peak, scalariser.base))
    return low, high


def best_places(worth: np.ndarray) -> np.ndarray:
    """Return the row-major indices of the best 1 % of a map (n, n), best first, int (k,)."""
    flat = worth.ravel()
    return np.argsort(-flat, kind="stable")[: math.ceil(0.01 * flat.size - 0.5) or 1]


def ranks(worth: np.ndarray) -> np.ndarray:
    """Return the ranks of the candidates of a map (n, n), 1 for the best, equal ranks for equal values, int (n^2,)."""
    flat = worth.ravel()
    return 1 + flat.size - np.searchsorted(np.sort(flat), flat, side="right")
