"""Effects of the specimen's electrons on its atoms: radiolysis, and knock-on of an atom in an excited state. Two terms beside the knock-on term.

How an excitation moves an atom is known for few materials. Both terms here have the energy dependence of inelastic scattering, and their
strengths are parameters of a site that are to be set from measured rates.
"""

import math
from dataclasses import dataclass

from stemtwin.twin import checks
from stemtwin.twin.physics.electrons import COULOMB_CONSTANT, REST_ENERGY, beam_energy, velocity_ratio

REFERENCE_ENERGY = 80e3
"""Beam energy at which ``ExcitedState.probability`` is given, eV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiolysis:
    """Displacement by the energy of an electronic excitation alone.

    Parameters
    ----------
    loss : float
        Smallest energy loss that can break the bond, eV.
    electrons : float
        Valence electrons of the atom that can take it.
    efficiency : float
        Part of such losses that displace the atom; 0 where the excitation spreads before the atom can move (metals, graphene).

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    loss: float
    electrons: float
    efficiency: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        checks.number_field(self, "loss", "eV", low=0.1, high=1e3, repair="Give the energy that breaks the bond, about 10 eV.")
        checks.number_field(self, "electrons", "electrons", low=0.0, high=100.0, repair="Give the valence electrons.")
        checks.number_field(self, "efficiency", "per loss", low=0.0, high=1.0, repair="Give a probability.")

    def cross_section(self, energy: float) -> float:
        """Return efficiency x electrons x 2 pi e^4 / (m v^2 loss), A^2.

        That is Thomson's cross-section of a free electron for taking over more than ``loss`` (J. J. Thomson, Phil. Mag. 23 (1912) 449): like
        every inelastic cross-section it falls as 1 / v^2, so that radiolysis, other than knock-on, is worse at low voltage.
        """
        beta = velocity_ratio(beam_energy(energy))
        return self.efficiency * self.electrons * 2 * math.pi * COULOMB_CONSTANT**2 / (REST_ENERGY * beta**2 * self.loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcitedState:
    """Knock-on of an atom whose bonds an excitation has weakened (Kretschmer et al., Nano Lett. 20 (2020) 2865; Speckmann et al., arXiv:2302.10529).

    Parameters
    ----------
    lowering : float
        By how much the excited state lowers the displacement threshold, eV.
    probability : float
        That the electron that hits also excites (or finds an excitation that still lives), at 80 keV; it goes as 1 / v^2.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    lowering: float
    probability: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        checks.number_field(self, "lowering", "eV", low=0.0, high=100.0, repair="It lowers the displacement threshold.")
        checks.number_field(self, "probability", "per hit", low=0.0, high=1.0, repair="Give a probability.")

    def probability_at(self, energy: float) -> float:
        """Return the probability at a beam energy (eV), at most 1."""
        return min(1.0, self.probability * (velocity_ratio(REFERENCE_ENERGY) / velocity_ratio(beam_energy(energy))) ** 2)
