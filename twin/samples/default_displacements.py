"""Thermal motion for files that give none: Debye's model at room temperature, by a table of Debye temperatures.

An element by itself has the Debye temperature of the table (C. Kittel, Introduction to Solid State Physics, chapter 5, table 1; carbon has that of
graphene, Susi et al., Nat. Commun. 7 (2016) 13040, as diamond's describes no other carbon). In a compound, atoms of an element that is soft by itself
(K, Sr, Pb), or that is no solid at all (O, Cl), are held as tightly as their neighbours: there the rms displacement along one axis is at most
0.085 A, which is B = 0.57 A^2, between the 0.3 to 0.5 A^2 of hard oxides and the 0.6 to 1.0 A^2 of most compounds at room temperature (L.-M. Peng
et al., Acta Cryst. A52 (1996) 456). Elements without a Debye temperature have 0.085 A too. For SrTiO3 this gives 0.085, 0.073 and 0.085 A; measured
were 0.089, 0.075 and 0.096 A (B = 0.62, 0.44 and 0.73 A^2, ibid.).
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
    """Return the 1-D rms displacement (n,) of atoms by their atomic numbers (n,) and by whether they are all of one element, A."""
    from ase.data import atomic_masses, chemical_symbols

    present = np.unique(numbers)
    sigma = np.empty(len(numbers))
    for number in present:
        theta = DEBYE.get(chemical_symbols[number])
        own = debye_sigma(float(atomic_masses[number]), theta, ROOM) if theta else COMPOUND_SIGMA
        sigma[numbers == number] = own if len(present) == 1 else min(own, COMPOUND_SIGMA)
    return sigma


def default_note(name: str, numbers: np.ndarray) -> str:
    """Return the sentence on a file of that name that gives no displacements."""
    from ase.data import chemical_symbols

    sigma = default_sigmas(numbers)
    parts = [f"{chemical_symbols[number]} {sigma[numbers == number][0]:.3f}" for number in np.unique(numbers)]
    return (
        f"{name} gives no thermal displacements: those of Debye's model at {ROOM:g} K were taken (1-D rms, A: {', '.join(parts)}). Set others, or 0 "
        f"for static atoms, with thermal_sigma_angstrom=."
    )
