"""Ionisation edges in energy-loss spectra: onsets, numbers of electrons, white lines.

The onsets are those of energy-loss spectra of common compounds, not X-ray edges of free atoms (oxygen K: 532, not
543 eV). Sources: C. C. Ahn, O. L. Krivanek, EELS Atlas (Gatan, 1983); R. F. Egerton, Electron Energy-Loss Spectroscopy
in the Electron Microscope (Springer, 2011), appendix D. Bonding shifts the onsets by a few eV.

The oscillator strength of white lines, 2p to 3d and 3d to 4f, is proportional to the number of holes. The strength per
hole follows from X-ray absorption (iron, L3: a line 2 to 3 eV wide with an absorption coefficient of 1 / (170 angstrom)
at its maximum). Its accuracy, +-30 %, is an assumption; [A] marks assumptions. Branching ratios and shifts with the
valence are typical values of oxides, quoted from memory of the literature; [M] marks such values.
"""

from dataclasses import dataclass

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.physics.scattering_factors import SYMBOLS
from stemtwin.twin.physics.spectra.atomic_masses import NUMBERS

ONSETS: dict[str, dict[str, float]] = {
    "He": {"K": 22},
    "Li": {"K": 55},
    "Be": {"K": 111},
    "B": {"K": 188},
    "C": {"K": 284},
    "N": {"K": 401},
    "O": {"K": 532},
    "F": {"K": 685},
    "Na": {"K": 1072},
    "Mg": {"K": 1305},
    "Al": {"K": 1560, "L3": 73, "L2": 73, "L1": 118},
    "Si": {"K": 1839, "L3": 99.2, "L2": 99.8, "L1": 149},
    "P": {"K": 2146, "L3": 132, "L2": 132.8, "L1": 189},
    "S": {"K": 2472, "L3": 165, "L2": 166.2, "L1": 229},
    "Cl": {"K": 2822, "L3": 200, "L2": 201.6, "L1": 270},
    "K": {"L3": 294, "L2": 296.7, "L1": 377},
    "Ca": {"L3": 346, "L2": 349.6, "L1": 438},
    "Sc": {"L3": 402, "L2": 407, "L1": 500},
    "Ti": {"L3": 456, "L2": 462, "L1": 564},
    "V": {"L3": 513, "L2": 521, "L1": 628},
    "Cr": {"L3": 575, "L2": 584, "L1": 695},
    "Mn": {"L3": 640, "L2": 651, "L1": 769},
    "Fe": {"L3": 708, "L2": 721, "L1": 846},
    "Co": {"L3": 779, "L2": 794, "L1": 926},
    "Ni": {"L3": 855, "L2": 872, "L1": 1008},
    "Cu": {"L3": 931, "L2": 951, "L1": 1096},
    "Zn": {"L3": 1020, "L2": 1043, "L1": 1194},
    "Ga": {"L3": 1115, "L2": 1142, "L1": 1298},
    "Ge": {"L3": 1217, "L2": 1248, "L1": 1414},
    "As": {"L3": 1323, "L2": 1359, "L1": 1527},
    "Se": {"L3": 1436, "L2": 1476, "L1": 1654},
    "Sr": {"L3": 1940, "L2": 2007, "L1": 2216, "M5": 134, "M4": 136},
    "Y": {"L3": 2080, "L2": 2156, "L1": 2373, "M5": 160, "M4": 162},
    "Zr": {"L3": 2222, "L2": 2307, "L1": 2532, "M5": 181, "M4": 183},
    "Nb": {"L3": 2371, "L2": 2465, "L1": 2698, "M5": 202, "M4": 205},
    "Mo": {"L3": 2520, "L2": 2625, "L1": 2866, "M5": 227, "M4": 230},
    "Ru": {"L3": 2838, "L2": 2967, "L1": 3224, "M5": 279, "M4": 284},
    "Rh": {"M5": 307, "M4": 312},
    "Pd": {"M5": 335, "M4": 340},
    "Ag": {"M5": 367, "M4": 373},
    "Cd": {"M5": 404, "M4": 411},
    "In": {"M5": 443, "M4": 451},
    "Sn": {"M5": 485, "M4": 493},
    "Sb": {"M5": 528, "M4": 537},
    "Te": {"M5": 572, "M4": 582},
    "I": {"M5": 619, "M4": 631},
    "Cs": {"M5": 726, "M4": 740},
    "Ba": {"M5": 781, "M4": 796},
    "La": {"M5": 832, "M4": 849},
    "Ce": {"M5": 883, "M4": 901},
    "Pr": {"M5": 931, "M4": 951},
    "Nd": {"M5": 978, "M4": 1000},
    "Sm": {"M5": 1080, "M4": 1106},
    "Eu": {"M5": 1131, "M4": 1161},
    "Gd": {"M5": 1185, "M4": 1217},
    "Hf": {"M5": 1662, "M4": 1716},
    "Ta": {"M5": 1735, "M4": 1793},
    "W": {"M5": 1809, "M4": 1872},
    "Ir": {"M5": 2040, "M4": 2116},
    "Pt": {"M5": 2122, "M4": 2202},
    "Au": {"M5": 2206, "M4": 2291},
    "Pb": {"M5": 2484, "M4": 2586},
    "Bi": {"M5": 2580, "M4": 2688},
}
"""Onset (eV) by element and subshell. Hydrogen has none by design, as its electron contributes to the low loss."""

FAMILIES = {"K": ("K",), "L": ("L3", "L2", "L1"), "M": ("M5", "M4")}
"""Subshells of an edge by shell, in ascending order of onsets."""
ELECTRONS = {"K": 2, "L3": 4, "L2": 2, "L1": 2, "M5": 6, "M4": 4}
"""Number of electrons in a full subshell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhiteLines:
    """Sharp maxima at the onsets of the two spin-orbit partners of an edge, such as L2 and L3.

    Parameters
    ----------
    valence : float
        Valence for which the tabulated onsets and the branching ratio are valid.
    holes : float
        Number of empty states of the final shell at this valence; it rises by one for each unit of valence.
    strength : float
        Oscillator strength per hole.
    branching : float
        Intensity of the line with the lower energy (L3, M5) as a fraction of the sum of both lines,
        I(L3) / (I(L2) + I(L3)).
    shift : float
        Shift of the onsets per unit of valence, eV.
    widths : tuple of float
        Full widths at half maximum of the lower and the upper line, eV (lifetime and multiplets).
    splitting : float
        Crystal-field splitting (eV), which makes each line a pair; 0 for single lines.
    """

    valence: float
    holes: float
    strength: float = 0.1
    branching: float
    shift: float
    widths: tuple[float, float]
    splitting: float = 0.0


WHITE_LINES: dict[str, WhiteLines] = {
    "Ca": WhiteLines(valence=2, holes=10, strength=0.06, branching=0.42, shift=0.0, widths=(0.9, 1.1), splitting=0.0),
    "Sc": WhiteLines(valence=3, holes=10, strength=0.07, branching=0.43, shift=1.5, widths=(0.9, 1.2), splitting=1.8),
    "Ti": WhiteLines(valence=4, holes=10, strength=0.08, branching=0.46, shift=1.7, widths=(0.9, 1.3), splitting=2.2),
    "V": WhiteLines(valence=5, holes=10, strength=0.09, branching=0.48, shift=0.9, widths=(1.6, 2.0)),
    "Cr": WhiteLines(valence=3, holes=7, branching=0.59, shift=1.0, widths=(2.0, 2.4)),
    "Mn": WhiteLines(valence=3, holes=6, branching=0.68, shift=1.4, widths=(2.4, 2.8)),
    "Fe": WhiteLines(valence=3, holes=5, branching=0.75, shift=1.5, widths=(2.2, 2.8)),
    "Co": WhiteLines(valence=2, holes=3, branching=0.77, shift=1.2, widths=(2.0, 2.6)),
    "Ni": WhiteLines(valence=2, holes=2, branching=0.76, shift=1.2, widths=(1.9, 2.5)),
    "Ba": WhiteLines(valence=2, holes=14, strength=0.08, branching=0.42, shift=0.0, widths=(1.6, 1.8)),
    "La": WhiteLines(valence=3, holes=14, strength=0.08, branching=0.43, shift=0.0, widths=(1.6, 1.8)),
    "Ce": WhiteLines(valence=3, holes=13, strength=0.08, branching=0.47, shift=1.5, widths=(2.0, 2.2)),
    "Sm": WhiteLines(valence=3, holes=9, strength=0.08, branching=0.60, shift=1.5, widths=(2.4, 2.6)),
}
"""White lines by element.

The line reaches half its height at the onset. The reference for vanadium is the valence 5; an atom of valence 4 has one
hole fewer.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An edge of one element: all subshells of one shell.

    Parameters
    ----------
    symbol : str
        Symbol of the element.
    number : int
        Atomic number.
    shell : str
        ``"K"``, ``"L"`` or ``"M"``.
    subshells : tuple of (str, float)
        Subshells and their onsets (eV) in ascending order.
    """

    symbol: str
    number: int
    shell: str
    subshells: tuple[tuple[str, float], ...]

    @property
    def name(self) -> str:
        """Name of the edge by its subshell with the lowest onset, for example ``Ti_L3`` for the L shell of titanium."""
        return f"{self.symbol}_{self.subshells[0][0]}"

    @property
    def onset(self) -> float:
        """Lowest onset, eV."""
        return self.subshells[0][1]


def edges_of(number: int) -> tuple[Edge, ...]:
    """Return the edges of an element in ascending order of onsets; hydrogen has none.

    Raises
    ------
    SettingsError
        The table has no data for the element.
    """
    symbol = SYMBOLS[number] if 0 < number < len(SYMBOLS) else f"Z={number}"
    if symbol == "H":
        return ()
    if symbol not in ONSETS:
        message = f"The table has no ionisation edges of {symbol}. Use one of {', '.join(ONSETS)}."
        raise SettingsError(message)
    found = []
    for shell, family in FAMILIES.items():
        known = tuple((name, float(ONSETS[symbol][name])) for name in family if name in ONSETS[symbol])
        if known:
            found.append(Edge(symbol=symbol, number=number, shell=shell, subshells=known))
    return tuple(sorted(found, key=lambda edge: edge.onset))


def edge(name: str) -> Edge:
    """Return the edge of a shell by the name of the shell or of a subshell, for example ``"Ti L"``, ``"Ti_L3"`` or ``"O_K"``.

    Raises
    ------
    UnknownNameError
        The name is not that of an edge in the table.
    """
    symbol, _, shell = name.replace(" ", "_").partition("_") if isinstance(name, str) else ("", "", "")
    if symbol in ONSETS:
        for found in edges_of(NUMBERS[symbol]):
            if shell[:1] == found.shell and (len(shell) == 1 or shell in dict(found.subshells)):
                return found
        known = ", ".join(each.name for each in edges_of(NUMBERS[symbol]))
        message = f"There is no edge named {name!r}. {symbol} has {known}."
        raise UnknownNameError(message)
    message = f"There is no edge named {name!r}. Give a name such as Ti_L3 or O_K; edges are known for {', '.join(ONSETS)}."
    raise UnknownNameError(message)
