"""Presets of SpectrumDiscovery, and the state of its episodes."""

from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs.arguments import Randomisation

SECONDS_PER_ELECTRON = 1e-9
"""Beam time per electron at 160 pA, s."""
CALM = Randomisation()
"""An instrument without faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryPreset:
    """Settings of one difficulty of the spectrum search.

    Parameters
    ----------
    spectra : int
        Number of spectra in an episode.
    image_electrons : float
        Incident electrons per pixel of the image.
    low_electrons, core_electrons, edx_electrons : float
        Incident electrons of each exposure: low losses and core losses of one energy-loss spectrum, and one X-ray spectrum.
    named : bool
        Whether the agent is told the name of the scalariser to be maximised.
    randomisation : Randomisation
        Faults of the instrument; their probabilities are 0 by default.
    """

    spectra: int
    image_electrons: float
    low_electrons: float
    core_electrons: float
    edx_electrons: float
    named: bool
    randomisation: Randomisation = CALM

    def electrons(self, spectrum: str) -> float:
        """Return the number of incident electrons for the spectrum ``"low"``, ``"core"`` or ``"edx"``."""
        return {"low": self.low_electrons, "core": self.core_electrons, "edx": self.edx_electrons}[spectrum]


EASY = DiscoveryPreset(spectra=80, image_electrons=2e4, low_electrons=2e7, core_electrons=4e8, edx_electrons=4e9, named=True)
STANDARD = DiscoveryPreset(spectra=50, image_electrons=4e3, low_electrons=6e6, core_electrons=1.2e8, edx_electrons=1.2e9, named=True)
HARD = DiscoveryPreset(spectra=32, image_electrons=1e3, low_electrons=2e6, core_electrons=4e7, edx_electrons=4e8, named=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Discovery:
    """State of an episode of the spectrum search.

    Parameters
    ----------
    scene : int
        Number of the scene in its split.
    turn : int
        Number of the orientation of the scene, 0 to 7.
    target : str
        Name of the scalariser to be maximised.
    image : ndarray
        Electrons of the image, uint16 (2 n, 2 n).
    worth : ndarray
        Expected scalariser of all candidates, float64 (n, n).
    ranks : ndarray
        Ranks of all candidates by their expected scalariser, 1 for the best, int (n^2,), in row-major order.
    best : tuple of int
        The best 1 % of the candidates, best first.
    brightness : float
        Correlation coefficient of the image with the expected scalariser.
    places : tuple of int
        Row-major indices of the candidates at which spectra were taken, in order.
    techniques : tuple of str
        Technique of each spectrum.
    scores : tuple of float
        Scalariser of the counts of each spectrum; 0 for dark spectra and for spectra of a technique that the scalariser does not use.
    spectra : tuple of ndarray
        Counts of the last spectrum, in the order of the exposures. An exposure that was not taken has zeros only. The tuple
        is empty before the first spectrum.
    moves : int
        Number of actions.
    answer : int, optional
        Declared candidate.
    """

    scene: int
    turn: int
    target: str
    image: np.ndarray
    worth: np.ndarray
    ranks: np.ndarray
    best: tuple[int, ...]
    brightness: float
    places: tuple[int, ...] = ()
    techniques: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    spectra: tuple[np.ndarray, ...] = ()
    moves: int = 0
    answer: int | None = None

    @property
    def measured(self) -> list[int]:
        """Candidates with a score above 0, in order of measurement."""
        return [place for place, score in zip(self.places, self.scores, strict=True) if score > 0]
