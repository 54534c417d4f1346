r"""Dielectric response of materials, as sums of oscillators.

The *loss* oscillators give Im(-1/eps) directly, so each maximum of the spectrum is one row of the table. eps follows
from

.. math:: 1/\epsilon = 1 - \sum_j \frac{A_j}{E_j^2 - E^2 - i E \Gamma_j}, \qquad
    \mathrm{Im}(-1/\epsilon) = \sum_j A_j \frac{E \Gamma_j}{(E^2 - E_j^2)^2 + E^2 \Gamma_j^2}, \qquad \sum_j A_j / E_j^2 = 1 - 1/\epsilon(0)

One oscillator with infinite eps(0) is a Drude free-electron metal. Gold, silver and copper also have *optical*
oscillators for small particles: Drude-Lorentz terms of eps itself (A. D. Rakic et al., Appl. Opt. 37 (1998) 5271),
valid below 6 eV, the range of the particles' dipole resonances. Energies are in eV.
"""

import math
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.spectra.atomic_masses import MASSES, NUMBERS
from stemtwin.twin.physics.spectra.gos import BOHR

PLASMA_CONSTANT = math.sqrt(4 * math.pi * electrons.COULOMB_CONSTANT * electrons.COULOMB_CONSTANT * BOHR)
"""Plasmon energy hbar sqrt(n e^2 / eps0 m) of one free electron per A^3, eV."""
ATOMIC_MASS = 1.66053907e-24
"""Unified atomic mass, g."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Material data for low-loss spectra.

    Parameters
    ----------
    name : str
        Name of the material.
    formula : tuple of (str, float)
        Symbols of the elements and number of atoms of each.
    density : float
        Number of atoms per A^3.
    losses : tuple of (float, float, float)
        One row of three numbers for each maximum of the loss function: its energy E_j (eV), its full width
        Gamma_j (eV), and its relative contribution to sum_j A_j / E_j^2 = 1 - 1/eps(0).
    static : float
        Electronic eps(0); ``inf`` for a metal.
    gap : float
        Energy below which the loss function is 0, eV.
    optical : tuple of (float, float, float)
        One row for each oscillator of eps at low energies, if known: its energy E_j (eV), its width Gamma_j (eV), and
        its strength f_j E_p^2 (eV^2).
    sheet : bool
        True if ``losses`` describes a single sheet including its surfaces.
    source : str
        Source of the data.
    """

    name: str
    formula: tuple[tuple[str, float], ...]
    density: float
    losses: tuple[tuple[float, float, float], ...]
    static: float = math.inf
    gap: float = 0.0
    optical: tuple[tuple[float, float, float], ...] = ()
    sheet: bool = False
    source: str = ""

    @property
    def elements(self) -> frozenset[str]:
        """Symbols of the elements."""
        return frozenset(symbol for symbol, _ in self.formula)

    @property
    def mass_density(self) -> float:
        """Mass density, g/cm^3."""
        atoms = sum(count for _, count in self.formula)
        mean = sum(MASSES[NUMBERS[symbol]] * count for symbol, count in self.formula) / atoms
        return self.density * mean * ATOMIC_MASS * 1e24


def inverse_permittivity(material: Material, energy: np.ndarray) -> np.ndarray:
    """Return 1/eps from the loss oscillators, complex128, at energies (eV) above 0."""
    energy = np.asarray(energy, float)
    total = (1 - 1 / material.static) / sum(share for _, _, share in material.losses)
    out = np.ones(energy.shape, complex)
    for centre, width, share in material.losses:
        out -= total * share * centre**2 / (centre**2 - energy**2 - 1j * energy * width)
    return out


def permittivity(material: Material, energy: np.ndarray) -> np.ndarray:
    """Return the permittivity eps, complex128, at energies (eV) above 0.

    It is computed from the material's optical oscillators, or from its loss oscillators if there are no optical oscillators.
    """
    energy = np.asarray(energy, float)
    if not material.optical:
        return 1 / inverse_permittivity(material, energy)
    out = np.ones(energy.shape, complex)
    for centre, width, strength in material.optical:
        out += strength / (centre**2 - energy**2 - 1j * energy * width)
    return out


def loss_function(material: Material, energy: np.ndarray) -> np.ndarray:
    """Return the loss function Im(-1/eps) at energies, eV.

    It is 0 at E <= 0 and below the gap. Above the gap, it is multiplied by sqrt(1 - gap / E).
    """
    energy = np.asarray(energy, float)
    positive = np.maximum(energy, 1e-9)
    out = -np.imag(inverse_permittivity(material, positive))
    out *= np.sqrt(np.clip(1 - material.gap / positive, 0, 1))
    return np.where(energy > 0, out, 0.0)


def plasmon_energy(electrons_per_volume: float) -> float:
    """Return the plasmon energy (eV) for a number of free electrons per A^3."""
    return PLASMA_CONSTANT * math.sqrt(electrons_per_volume)


VALENCE_ELECTRONS: dict[str, int] = {
    symbol: count
    for count, symbols in {
        1: "H Li Na K Rb Cs Cu Ag Au",
        2: "He Be Mg Ca Sr Ba Zn Cd Hg Eu",
        3: "B Al Ga In Tl Sc Y La Ce Pr Nd Pm Sm Gd Tb Dy Ho Er Tm Yb Lu",
        4: "C Si Ge Sn Pb Ti Zr Hf",
        5: "N P As Sb Bi V Nb Ta",
        6: "O S Se Te Cr Mo W",
        7: "F Cl Br I Mn",
        8: "Fe Ru Os",
        9: "Co Rh Ir",
        10: "Ni Pd Pt",
    }.items()
    for symbol in symbols.split()
}
"""Number of electrons per atom that contribute to the plasmon of the free-electron model."""


def free_electron_material(counts: dict[str, float], density: float) -> Material:
    """Return a free-electron model of a composition, for materials that are not in the table.

    Parameters
    ----------
    counts : dict
        Relative number of atoms of each element.
    density : float
        Number of atoms per A^3.

    Returns
    -------
    Material
        Material with two maxima of Im(-1/eps). The first is the plasmon of the valence electrons; its width is a third of
        its energy. The second is a broad maximum at twice the plasmon energy. It represents the outer core shells, whose
        tails make up most of the background of the core edges. It contributes a quarter of the integral of Im(-1/eps) / E
        over E. The widths and this contribution are engineering assumptions [A].

    Raises
    ------
    SettingsError
        The number of valence electrons of an element is unknown.
    """
    unknown = [symbol for symbol in counts if symbol not in VALENCE_ELECTRONS]
    if unknown:
        message = f"There is no low-loss model for {', '.join(unknown)}. Define a Material for these atoms."
        raise SettingsError(message)
    mean = sum(VALENCE_ELECTRONS[symbol] * count for symbol, count in counts.items()) / sum(counts.values())
    centre = plasmon_energy(mean * density)
    return Material(
        name="free electrons " + "".join(sorted(counts)),
        formula=tuple(sorted(counts.items())),
        density=density,
        losses=((centre, centre / 3, 0.75), (2 * centre, 1.2 * centre, 0.25)),
        source="free-electron plasmon of the valence electrons; widths, and a quarter for the outer core shells, [A]",
    )


def material(name: str) -> Material:
    """Return a material of the table by name; raise UnknownNameError for any other name."""
    if name not in MATERIALS:
        message = f"There is no material named {name!r}. Known: {', '.join(MATERIALS)}."
        raise UnknownNameError(message)
    return MATERIALS[name]


def _rakic(plasma: float, *rows: tuple[float, float, float]) -> tuple[tuple[float, float, float], ...]:
    """Return oscillators from rows (strength, width, energy), the order of Rakic's tables."""
    return tuple((energy, width, strength * plasma**2) for strength, width, energy in rows)


_EGERTON = "R. F. Egerton, EELS in the Electron Microscope (2011), table of plasmon energies and widths"
_SHAPE = "maxima as in published low-loss spectra [M], widths and shares [A]"
_RAKIC = "; eps below 6 eV: A. D. Rakic et al., Appl. Opt. 37 (1998) 5271"

MATERIALS: dict[str, Material] = {
    each.name: each
    for each in (
        Material(name="aluminium", formula=(("Al", 1),), density=0.0602, losses=((15.0, 0.53, 1.0),), source=_EGERTON),
        Material(
            name="silicon", formula=(("Si", 1),), density=0.0500, losses=((16.7, 3.2, 1.0),), static=11.7, gap=1.1, source=f"{_EGERTON}; eps(0) 11.7"
        ),
        Material(
            name="germanium", formula=(("Ge", 1),), density=0.0442, losses=((16.0, 3.3, 0.9), (32.5, 6.0, 0.1)), static=16.0, gap=0.7, source=_SHAPE
        ),
        Material(
            name="gold",
            formula=(("Au", 1),),
            density=0.0590,
            losses=((2.6, 0.9, 0.04), (5.9, 3.0, 0.08), (15.8, 7.0, 0.16), (24.8, 8.0, 0.40), (33.0, 12.0, 0.32)),
            optical=_rakic(
                9.03,
                (0.760, 0.053, 0.0),
                (0.024, 0.241, 0.415),
                (0.010, 0.345, 0.830),
                (0.071, 0.870, 2.969),
                (0.601, 2.494, 4.304),
                (4.384, 2.214, 13.32),
            ),
            source=_SHAPE + _RAKIC,
        ),
        Material(
            name="silver",
            formula=(("Ag", 1),),
            density=0.0586,
            losses=((3.8, 0.3, 0.10), (8.0, 3.0, 0.10), (18.0, 8.0, 0.25), (25.0, 9.0, 0.35), (34.0, 12.0, 0.20)),
            optical=_rakic(
                9.01,
                (0.845, 0.048, 0.0),
                (0.065, 3.886, 0.816),
                (0.124, 0.452, 4.481),
                (0.011, 0.065, 8.185),
                (0.840, 0.916, 9.083),
                (5.646, 2.419, 20.29),
            ),
            source=_SHAPE + _RAKIC,
        ),
        Material(
            name="copper",
            formula=(("Cu", 1),),
            density=0.0849,
            losses=((4.3, 2.5, 0.06), (7.5, 4.0, 0.08), (19.5, 9.0, 0.46), (27.5, 10.0, 0.40)),
            optical=_rakic(10.83, (0.575, 0.030, 0.0), (0.061, 0.378, 0.291), (0.104, 1.056, 2.957), (0.723, 3.213, 5.300), (0.638, 4.305, 11.18)),
            source=_SHAPE + _RAKIC,
        ),
        Material(
            name="platinum", formula=(("Pt", 1),), density=0.0662, losses=((6.0, 4.0, 0.05), (23.5, 10.0, 0.50), (35.0, 14.0, 0.45)), source=_SHAPE
        ),
        Material(
            name="palladium", formula=(("Pd", 1),), density=0.0680, losses=((7.3, 3.5, 0.10), (25.5, 10.0, 0.60), (33.5, 12.0, 0.30)), source=_SHAPE
        ),
        Material(
            name="graphene",
            formula=(("C", 1),),
            density=2 / (2.46**2 * 0.8660254 * 3.35),
            losses=((4.7, 1.6, 0.22), (14.6, 7.0, 0.78)),
            static=3.0,
            sheet=True,
            source="one sheet, 3.35 A thick: 4.7 and 14.6 eV, T. Eberlein et al., Phys. Rev. B 77 (2008) 233406; widths and shares [A]",
        ),
        Material(
            name="graphite",
            formula=(("C", 1),),
            density=0.1137,
            losses=((6.8, 2.2, 0.12), (26.5, 11.0, 0.88)),
            static=6.0,
            source=f"{_EGERTON}, pi and pi+sigma; shares [A]",
        ),
        Material(
            name="amorphous-carbon",
            formula=(("C", 1),),
            density=0.1003,
            losses=((5.5, 3.5, 0.05), (24.0, 13.0, 0.95)),
            static=5.0,
            source=_SHAPE + ", 2.0 g/cm^3",
        ),
        Material(
            name="srtio3",
            formula=(("Sr", 1), ("Ti", 1), ("O", 3)),
            density=5 / 3.905**3,
            losses=((13.2, 5.5, 0.13), (23.8, 5.0, 0.12), (30.0, 7.0, 0.55), (46.0, 14.0, 0.20)),
            static=5.2,
            gap=3.2,
            source=_SHAPE,
        ),
        Material(
            name="batio3",
            formula=(("Ba", 1), ("Ti", 1), ("O", 3)),
            density=5 / (3.994**2 * 4.034),
            losses=((12.6, 5.5, 0.15), (26.3, 7.5, 0.60), (41.0, 13.0, 0.25)),
            static=5.4,
            gap=3.2,
            source=_SHAPE,
        ),
        Material(
            name="pbtio3",
            formula=(("Pb", 1), ("Ti", 1), ("O", 3)),
            density=5 / (3.904**2 * 4.152),
            losses=((13.0, 6.0, 0.15), (25.0, 8.0, 0.62), (43.0, 14.0, 0.23)),
            static=6.5,
            gap=3.4,
            source=_SHAPE,
        ),
        Material(
            name="mos2",
            formula=(("Mo", 1), ("S", 2)),
            density=3 / (3.16**2 * 0.8660254 * 6.147),
            losses=((3.1, 0.8, 0.02), (8.7, 2.8, 0.13), (23.0, 8.5, 0.60), (41.0, 14.0, 0.25)),
            static=15.0,
            gap=1.3,
            source=_SHAPE,
        ),
        Material(
            name="ws2",
            formula=(("W", 1), ("S", 2)),
            density=3 / (3.153**2 * 0.8660254 * 6.162),
            losses=((3.2, 0.8, 0.02), (8.5, 2.8, 0.12), (22.8, 8.5, 0.56), (40.0, 14.0, 0.30)),
            static=15.0,
            gap=1.2,
            source=_SHAPE,
        ),
        Material(
            name="mose2",
            formula=(("Mo", 1), ("Se", 2)),
            density=3 / (3.288**2 * 0.8660254 * 6.46),
            losses=((2.8, 0.8, 0.02), (7.8, 2.8, 0.14), (21.5, 8.5, 0.60), (41.0, 14.0, 0.24)),
            static=15.0,
            gap=1.2,
            source=_SHAPE,
        ),
        Material(
            name="wse2",
            formula=(("W", 1), ("Se", 2)),
            density=3 / (3.282**2 * 0.8660254 * 6.48),
            losses=((2.9, 0.8, 0.02), (7.8, 2.8, 0.13), (21.4, 8.5, 0.57), (40.0, 14.0, 0.28)),
            static=15.0,
            gap=1.2,
            source=_SHAPE,
        ),
        Material(
            name="mote2",
            formula=(("Mo", 1), ("Te", 2)),
            density=3 / (3.519**2 * 0.8660254 * 6.982),
            losses=((2.5, 0.8, 0.02), (6.8, 2.8, 0.15), (19.2, 8.5, 0.60), (40.0, 14.0, 0.23)),
            static=15.0,
            gap=1.2,
            source=_SHAPE,
        ),
        Material(
            name="gallium-arsenide",
            formula=(("Ga", 1), ("As", 1)),
            density=8 / 5.653**3,
            losses=((15.8, 4.0, 0.9), (23.0, 6.0, 0.1)),
            static=10.9,
            gap=1.4,
            source=_SHAPE,
        ),
        Material(
            name="cadmium-telluride",
            formula=(("Cd", 1), ("Te", 1)),
            density=8 / 6.481**3,
            losses=((7.5, 3.0, 0.12), (13.6, 5.0, 0.68), (22.0, 8.0, 0.2)),
            static=7.2,
            gap=1.5,
            source=_SHAPE,
        ),
        Material(
            name="silicon-nitride",
            formula=(("Si", 3), ("N", 4)),
            density=0.0931,
            losses=((23.7, 9.5, 1.0),),
            static=4.0,
            gap=5.0,
            source=f"{_SHAPE}, 3.1 g/cm^3",
        ),
        Material(
            name="nickel", formula=(("Ni", 1),), density=0.0914, losses=((7.5, 5.0, 0.10), (21.0, 10.0, 0.50), (28.0, 11.0, 0.40)), source=_SHAPE
        ),
        Material(name="iron", formula=(("Fe", 1),), density=0.0849, losses=((6.5, 5.0, 0.08), (23.0, 10.0, 0.92)), source=_SHAPE),
        Material(
            name="magnesium-oxide",
            formula=(("Mg", 1), ("O", 1)),
            density=8 / 4.212**3,
            losses=((11.5, 3.5, 0.08), (14.8, 3.5, 0.08), (22.3, 6.0, 0.70), (33.0, 10.0, 0.14)),
            static=3.0,
            gap=7.7,
            source=_SHAPE,
        ),
        Material(
            name="ceria",
            formula=(("Ce", 1), ("O", 2)),
            density=12 / 5.411**3,
            losses=((13.5, 4.5, 0.2), (27.5, 10.0, 0.8)),
            static=5.3,
            gap=3.2,
            source=_SHAPE,
        ),
    )
}
"""Materials by name. The fractions of the maxima are engineering assumptions; define a Material where they matter."""


def find(symbols: frozenset[str]) -> Material | None:
    """Return the first material of the table that consists of exactly the given elements, or None."""
    return next((each for each in MATERIALS.values() if each.elements == symbols), None)
