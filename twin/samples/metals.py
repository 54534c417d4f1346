"""Metals: fcc and bcc crystals along two zone axes, and a symmetric tilt grain boundary."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.builders import DEFAULT_SIZE, DEFAULT_THICKNESS, check_memory
from stemtwin.twin.samples.defects import remove, share, sites
from stemtwin.twin.samples.sample import Defect, Sample, near_pairs, wrap
from stemtwin.twin.samples.sample_families import PENG, BuildRequest, Knob, fraction, rms, specimen
from stemtwin.twin.samples.semiconductors import AXES, FCC

BCC = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))
CROWDING = 0.7  # atoms of two grains are merged if their distance is less than this fraction of the bond length
GRAIN_SIZE = 52.0  # A, default width of the cell with two boundaries
MissingInMetal = Annotated[float, fraction("fraction of the atoms that are missing")]
Gap = Annotated[float, Knob(about="extra distance between the grains at each boundary", low=0.0, high=1.0, unit="A")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metal:
    """Properties of a metal: symbol, English name, lattice constant and Debye-Waller factor B, with sources.

    Parameters
    ----------
    symbol, title, structure : str
        Symbol of the element, English name, and structure "fcc" or "bcc".
    a : float
        Lattice constant in A at room temperature.
    b : float
        Debye-Waller factor in A^2 at 293 K.
    measured : float
        Debye-Waller factor in A^2 at 280 K, from which ``b`` was scaled in proportion to the temperature.
    card : str
        Source of the lattice constant.
    """

    symbol: str
    title: str
    structure: str
    a: float
    b: float
    measured: float
    card: str

    def sources(self) -> dict[str, str | dict[str, float]]:
        """Return the keyword arguments of :func:`specimen` that state the thermal motion and the sources of the numbers."""
        group = {"fcc": "Fm-3m", "bcc": "Im-3m"}[self.structure]
        return {
            "sigma": {self.symbol: rms(self.b)},
            "lattice_source": f"{group}, {self.card}",
            "thermal_source": f"B = {self.b} A^2 at 293 K, from {self.measured} A^2 at 280 K in proportion to the temperature: {PENG}",
        }


_NBS = "H. E. Swanson, E. Tatge, NBS Circular 539-1 (1953)"
GOLD = Metal(symbol="Au", title="gold", structure="fcc", a=4.078, b=0.62, measured=0.5925, card=f"a = 4.0786 A at 25 C: JCPDS 04-0784 ({_NBS} 33)")
PLATINUM = Metal(
    symbol="Pt", title="platinum", structure="fcc", a=3.923, b=0.322, measured=0.3078, card=f"a = 3.9231 A at 25 C: JCPDS 04-0802 ({_NBS} 31)"
)
ALUMINIUM = Metal(
    symbol="Al", title="aluminium", structure="fcc", a=4.049, b=0.781, measured=0.746, card=f"a = 4.0494 A at 25 C: JCPDS 04-0787 ({_NBS} 11)"
)
COPPER = Metal(symbol="Cu", title="copper", structure="fcc", a=3.615, b=0.55, measured=0.526, card=f"a = 3.6150 A at 25 C: JCPDS 04-0836 ({_NBS} 15)")
NICKEL = Metal(symbol="Ni", title="nickel", structure="fcc", a=3.524, b=0.356, measured=0.34, card=f"a = 3.5238 A at 25 C: JCPDS 04-0850 ({_NBS} 13)")
IRON = Metal(
    symbol="Fe",
    title="iron",
    structure="bcc",
    a=2.866,
    b=0.324,
    measured=0.31,
    card="a = 2.8664 A at 25 C: JCPDS 06-0696 (NBS Circular 539-4 (1955) 3)",
)


def _crystal(metal: Metal, axis: str) -> Callable[..., Sample]:
    places = FCC if metal.structure == "fcc" else BCC

    @specimen(f"{metal.symbol.lower()}-{axis}", "crystal", "metal", title=f"{metal.title} along [{axis}]", **metal.sources())  # type: ignore[arg-type]
    def make(order: BuildRequest, *, vacancy_fraction: MissingInMetal = 0.0) -> Sample:
        sample = order.crystal((metal.a, metal.a, metal.a), tuple((metal.symbol, place) for place in places), zone_axis=AXES[axis])
        return remove(sample, share(sites(sample), vacancy_fraction, order.rng("vacancies")))

    return make


for _metal in (GOLD, PLATINUM, ALUMINIUM, COPPER, NICKEL):
    for _axis in ("001", "110"):
        _crystal(_metal, _axis)
_crystal(IRON, "001")


def sigma5(metal: Metal, order: BuildRequest, excess: float) -> Sample:
    """Return a periodic cell with two symmetric Sigma5 (310) [001] tilt boundaries, both perpendicular to x.

    One grain has [310] along x and [-130] along y, and the other grain is its mirror image. Both grains have the period
    sqrt(10) a along y, where a is the lattice constant, so the cell is not strained. The mirror
    planes are atomic planes of both grains. Beside a mirror plane, some atoms of the two grains are nearer to each other
    than 0.7 of the bond length. Each such pair is replaced by one atom half-way between the two atoms, which gives the
    kite-shaped structural units of this boundary. The atoms are not relaxed further.

    Parameters
    ----------
    metal : Metal
        An fcc metal.
    order : BuildRequest
        Build request; its width holds both grains.
    excess : float
        Extra distance between the grains at each boundary, A.
    """
    period, spacing = metal.a * 10**0.5, metal.a / (2 * 10**0.5)
    height, width = order.cut.size_angstrom or (DEFAULT_SIZE, GRAIN_SIZE)
    thickness = order.cut.thickness_angstrom or DEFAULT_THICKNESS
    planes = 2 * max(1, round(width / (4 * spacing)))  # in each grain; an even number makes both boundaries equal
    if planes < 10:
        message = (
            f"size_angstrom=({height:g}, {width:g}) A is too narrow for two grains of {metal.symbol}. "
            f"Ask for a width of {20 * spacing:.3g} A or more."
        )
        raise SettingsError(message)
    rows, layers = (max(1, round(asked / length)) for asked, length in ((height, period), (thickness, metal.a)))
    grain = planes * spacing
    check_memory(order.name, 4 / metal.a**3 * 2 * grain * rows * period * layers * metal.a, (height, width), thickness)
    turn = np.array([[3, 1, 0], [-1, 3, 0], [0, 0, 10**0.5]]) / 10**0.5
    reach = int((grain + rows * period) / metal.a) + 3
    cells = np.stack(np.meshgrid(*[np.arange(-reach, reach)] * 2, np.arange(layers), indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = (cells[:, None] + np.array(FCC)[None]).reshape(-1, 3) @ turn.T * metal.a
    box = np.array([2 * (grain + excess), rows * period, layers * metal.a])
    inside = (lattice[:, 0] > -1e-6) & (lattice[:, 0] < grain + 1e-6) & (lattice[:, 1] > -1e-6) & (lattice[:, 1] < box[1] - 1e-6)
    one = lattice[inside] + np.array([excess / 2, 0, 0])
    positions = np.vstack([one, one * [-1, 1, 1]])
    positions = wrap(positions / box, box) * box
    positions, merged = _merged(positions, box, CROWDING * metal.a / 2**0.5)
    positions = positions[np.lexsort(np.round(positions.T, 6))]
    walls = [Defect(kind="boundary", name="Sigma5 (310) [001]", position_angstrom=(place, 0.0, 0.0)) for place in (0.0, box[0] / 2)]
    note = f"Two Sigma5 (310) [001] boundaries at x = 0 and {box[0] / 2:.3f} A, misorientation 36.87 degrees; {merged} pairs became one atom each."
    sample = order.atoms(np.full(len(positions), metal.symbol), positions, (box[1], box[0]), box[2], notes=(note,))
    return replace(sample, defects=tuple(walls))


def _merged(positions: np.ndarray, box: np.ndarray, distance: float) -> tuple[np.ndarray, int]:
    """Return positions (n, 3) with all pairs within a distance merged, the nearest first, and the number of pairs.

    A merged pair becomes one atom at its middle. Coincident atoms on the mirror plane are also merged, but not counted.
    """
    size, count = (box[1], box[0]), 0
    while len(pairs := near_pairs(positions, size, distance, periodic=True)):
        step = positions[pairs[:, 1]] - positions[pairs[:, 0]]
        step[:, :2] -= box[:2] * np.round(step[:, :2] / box[:2])
        length = np.linalg.norm(step, axis=1)
        used, middle = np.zeros(len(positions), dtype=bool), []
        for pair in np.argsort(np.round(length, 6), kind="stable"):
            i, j = pairs[pair]
            if not used[i] and not used[j]:
                used[[i, j]] = True
                middle.append(positions[i] + step[pair] / 2)
                count += bool(length[pair] > 1e-3)
        joined = np.array(middle)
        positions = np.vstack([positions[~used], wrap(joined / box, box) * box])
    return positions, count


def _boundary(metal: Metal) -> Callable[..., Sample]:
    @specimen(
        f"{metal.symbol.lower()}-sigma5-310",
        "crystal",
        "metal",
        "boundary",
        title=f"{metal.title}, two symmetric tilt grain boundaries Sigma5 (310) [001]",
        **metal.sources(),  # type: ignore[arg-type]
    )
    def make(order: BuildRequest, *, excess_angstrom: Gap = 0.0, vacancy_fraction: MissingInMetal = 0.0) -> Sample:
        sample = sigma5(metal, order, excess_angstrom)
        return remove(sample, share(sites(sample), vacancy_fraction, order.rng("vacancies")))

    return make


for _metal in (GOLD, ALUMINIUM, NICKEL):
    _boundary(_metal)
