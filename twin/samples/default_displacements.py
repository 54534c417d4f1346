"""Thermal motion for files without displacements, from the Debye model at room temperature.

A pure element has its tabulated Debye temperature (C. Kittel, Introduction to Solid State Physics, chapter 5, table
1). Carbon has the value of graphene (Susi et al., Nat. Commun. 7 (2016) 13040), because the value of diamond does not
describe any other form of carbon. In a compound, atoms of an element that is soft (K, Sr, Pb) or not a solid (O, Cl)
in its pure form are bound as tightly as their neighbours. The 1-D rms displacement in a compound is therefore at most
0.085 A. This limit corresponds to B = 0.57 A^2; hard oxides have 0.3 to 0.5 A^2, and most compounds have 0.6 to 1.0
A^2 at room temperature (L.-M. Peng et al., Acta Cryst. A52 (1996) 456). Elements without a Debye temperature also
have 0.085 A. For Sr, Ti and O in SrTiO3, the model gives 0.085, 0.073 and 0.085 A; the measured values are 0.089,
0.075 and 0.096 A (B = 0.62, 0.44 and 0.73 A^2, ibid.).
"""

import numpy as np

from stemtwin.twin.physics.phonons import debye_sigma

ROOM = 295.0  # K
COMPOUND_SIGMA = 0.085  # A

DEBYE = {
    "Li": 344, "Be": 1440, "C": 1287, "Ne": 75, "Na": 158, "Mg": 400, "Al": 428, "Si": 645, "Ar": 92, "K": 91, "Ca": 230, "Sc": 360, "Ti": 420,
    "V": 380, "Cr": 630, "Mn": 410, "Fe": 470, "Co": 445, "Ni": 450, "Cu": 343, "Zn": 327, "Ga": 320, "Ge": 374, "As": 282, "Se": 90, "Kr": 72,
    "Rb": 56, "Sr": 147, "Y": 280, "Zr": 291, "Nb": 275, "Mo": 450, "Ru": 600, "Rh": 480, "Pd": 274, "Ag": 225, "Cd": 209, "In": 108, "Sn": 200,
    "Sb": 211, "Te": 153, "Xe": 64, "Cs": 38, "Ba": 110, "La": 142, "Gd": 200, "Dy": 210, "Yb": 120, "Lu": 210, "Hf": 252, "Ta": 240, "W": 400,
    "Re": 430, "Os": 500, "Ir": 420, "Pt": 240, "Au": 165, "Hg": 71.9, "Tl": 78.5, "Pb": 105, "Bi": 119, "Th": 163, "U": 207,
}  # fmt: skip
"""Debye temperatures, K."""


def default_sigmas(numbers: np.ndarray) -> np.ndarray:
    """Return the 1-D rms displacements (n,), A, of the atoms of a pure element or a compound, given their atomic numbers (n,)."""
    from ase.data import atomic_masses, chemical_symbols

    present = np.unique(numbers)
    sigma = np.empty(len(numbers))
    for number in present:
        theta = DEBYE.get(chemical_symbols[number])
        own = debye_sigma(float(atomic_masses[number]), theta, ROOM) if theta else COMPOUND_SIGMA
        sigma[numbers == number] = own if len(present) == 1 else min(own, COMPOUND_SIGMA)
    return sigma


def default_note(name: str, numbers: np.ndarray) -> str:
    """Return the note on a structure file without thermal displacements, which states the displacements used instead."""
    from ase.data import chemical_symbols

    sigma = default_sigmas(numbers)
    parts = [f"{chemical_symbols[number]} {sigma[numbers == number][0]:.3f}" for number in np.unique(numbers)]
    return (
        f"{name} gives no thermal displacements: values of the Debye model at {ROOM:g} K were used (1-D rms, A: {', '.join(parts)}). Set other "
        f"values, or 0 for static atoms, with thermal_sigma_angstrom=."
    )
