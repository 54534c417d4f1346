"""Electronic excitation as a cause of displacement: radiolysis, and knock-on of an atom in an excited state.

The mechanism by which an excitation displaces an atom is known for few materials. The terms for radiolysis and for
excited atoms have the energy dependence of inelastic scattering and add to the knock-on term. Their strengths are
parameters of a site and should be fitted to measured rates.
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
        Smallest energy loss that can break a bond of the atom, eV.
    electrons : float
        Number of the atom's valence electrons that can be excited.
    efficiency : float
        Fraction of the losses above ``loss`` that displace the atom; 0 if the excitation delocalises before the atom can
        move (metals, graphene).

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
        repair = "Give the number of valence electrons."
        checks.number_field(self, "electrons", "electrons", low=0.0, high=100.0, repair=repair)
        checks.number_field(self, "efficiency", "per loss", low=0.0, high=1.0, repair="Give a probability.")

    def cross_section(self, energy: float) -> float:
        """Return the cross-section for displacement by radiolysis, A^2.

        The value is efficiency x electrons x 2 pi e^4 / (m v^2 loss). The last factor is Thomson's cross-section for a
        transfer of more than ``loss`` to a free electron (J. J. Thomson, Phil. Mag. 23 (1912) 449). Like every inelastic
        cross-section it falls as 1 / v^2, so radiolysis, unlike knock-on, is more severe at low voltage.
        """
        beta = velocity_ratio(beam_energy(energy))
        return self.efficiency * self.electrons * 2 * math.pi * COULOMB_CONSTANT**2 / (REST_ENERGY * beta**2 * self.loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcitedState:
    """Knock-on of an atom whose bonds are weakened by an electronic excitation.

    Sources: Kretschmer et al., Nano Lett. 20 (2020) 2865; Speckmann et al., arXiv:2302.10529.

    Parameters
    ----------
    lowering : float
        Reduction of the displacement threshold in the excited state, eV.
    probability : float
        Probability at 80 keV that the atom is in an excited state when it is hit. The excitation may come from the same
        electron or from an earlier one. At other energies the probability is proportional to 1 / v^2.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    lowering: float
    probability: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        repair = "Give the reduction of the displacement threshold."
        checks.number_field(self, "lowering", "eV", low=0.0, high=100.0, repair=repair)
        checks.number_field(self, "probability", "per hit", low=0.0, high=1.0, repair="Give a probability.")

    def probability_at(self, energy: float) -> float:
        """Return the probability of the excited state at a beam energy (eV), at most 1."""
        return min(1.0, self.probability * (velocity_ratio(REFERENCE_ENERGY) / velocity_ratio(beam_energy(energy))) ** 2)
