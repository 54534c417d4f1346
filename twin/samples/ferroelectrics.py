"""Tetragonal ferroelectrics, BaTiO3 and PbTiO3: single domains, 180 degree and 90 degree domain walls."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.builders import DEFAULT_SIZE, DEFAULT_THICKNESS, check_memory
from stemtwin.twin.samples.sample import Defect, Sample, wrap
from stemtwin.twin.samples.sample_families import BuildRequest, Knob, rms, specimen

WALL_SIZE = 64.0  # A, default width of a sample with walls
POLES = ("+x", "-x", "+y", "-y", "+z", "-z")
Pole = Annotated[
    str,
    Knob(
        about="direction of the polarisation (cations against oxygen) of a single domain: an axis of the image, or +z along the beam", choices=POLES
    ),
]
Wall = Annotated[
    str,
    Knob(
        about="pair of walls across x: 180 has polarisation along +y between them and -y beyond; 90 has it head to tail, half-way "
        "between the axes of the image",
        choices=("none", "180", "90"),
    ),
]
Width = Annotated[float, Knob(about="w of a wall: the polarisation along it is P0 tanh(x/w)", low=0.1, high=100.0, unit="A")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tetragonal:
    """A P4mm perovskite with its A site at the origin and its polarisation along +c.

    Parameters
    ----------
    a_site, b_site : str
        Elements of the A and B sites.
    a, c : float
        Lattice constants in A.
    b_shift, apical_shift, equatorial_shift : float
        Shifts along c from the cubic positions, in units of c: of the B site, of the oxygen sites above and below the
        B site, and of the four oxygen sites around the B site.
    """

    a_site: str
    b_site: str
    a: float
    c: float
    b_shift: float
    apical_shift: float
    equatorial_shift: float

    def sites(self) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
        """Return elements (5,), fractional cubic positions (5, 3) and fractional shifts along c (5,) of the sites of a cell."""
        places = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
        shifts = np.array([0.0, self.b_shift, self.apical_shift, self.equatorial_shift, self.equatorial_shift])
        return (self.a_site, self.b_site, "O", "O", "O"), places, shifts


def _make(material: Tetragonal, order: BuildRequest, polarisation: str, wall: str, wall_width_angstrom: float) -> Sample:
    """Return a single domain, or the domains between a pair of walls."""
    if wall != "none" and polarisation != "+y":
        message = f"wall={wall!r} fixes the direction of the polarisation. Leave out polarisation={polarisation!r}, or use wall='none'."
        raise SettingsError(message)
    if wall == "180":
        return _straight_walls(material, order, wall_width_angstrom)
    if wall == "90":
        return _turned_walls(material, order, wall_width_angstrom)
    symbols, places, shifts = material.sites()
    axis, sign = "xyz".index(polarisation[1]), 1.0 if polarisation[0] == "+" else -1.0
    moved = places + np.outer(sign * shifts, [0, 0, 1])
    lengths = np.roll([material.a, material.a, material.c], axis + 1)
    return order.crystal(tuple(lengths.tolist()), tuple(zip(symbols, map(tuple, np.roll(moved, axis + 1, axis=1) % 1.0), strict=True)))


def _grid(order: BuildRequest, repeats: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of repeats (3,) along x, y, z nearest to the requested size, and the cells' indices (n, 3)."""
    height, wide = order.cut.size_angstrom or (DEFAULT_SIZE, width)
    asked = np.array([wide, height, order.cut.thickness_angstrom or DEFAULT_THICKNESS])
    counts = np.maximum(1, np.floor(asked / repeats + 0.5)).astype(int)
    check_memory(order.name, float(np.prod(counts * repeats)) / 12.0, (height, wide), float(asked[2]))
    return counts, np.stack(np.meshgrid(*[np.arange(count) for count in counts], indexing="ij"), axis=-1).reshape(-1, 3)


def _sample(order: BuildRequest, symbols: np.ndarray, positions: np.ndarray, box: np.ndarray, walls: list[Defect], note: str) -> Sample:
    """Return a sample of atoms, sorted by z, then y, then x."""
    positions = wrap(positions / box, box) * box
    rank = np.lexsort(np.round(positions.T, 6))
    sample = order.atoms(symbols[rank], positions[rank], (box[1], box[0]), box[2], notes=(note,))
    return replace(sample, defects=tuple(walls))


def _straight_walls(material: Tetragonal, order: BuildRequest, width: float) -> Sample:
    """Return two 180 degree walls on A-site planes across x, with polarisation along y of the profile tanh(x/w)."""
    lengths = np.array([material.a, material.c, material.a])
    counts, cells = _grid(order, lengths, WALL_SIZE)
    if counts[0] < 4:
        needed = f"wall='180' needs four cells of {material.a:g} A across x, but the width holds {counts[0]}."
        message = f"{needed} Ask for a width of {4 * material.a:.3g} A or more."
        raise SettingsError(message)
    symbols, places, shifts = material.sites()
    ideal = (cells[:, None] + places[None][..., [1, 2, 0]]).reshape(-1, 3) * lengths
    first, second = (lengths[0] * round(counts[0] * quarter / 4) for quarter in (1, 3))
    box = counts * lengths
    x = ideal[:, 0]
    near = [wall + box[0] * image for wall in (first, second) for image in (-1, 0, 1)]
    distance = np.min([np.abs(x - wall) for wall in near], axis=0)
    profile = np.where((x > first) & (x < second), 1.0, -1.0) * np.tanh(distance / width)
    positions = ideal.copy()
    positions[:, 1] += profile * np.tile(shifts, len(cells)) * material.c
    walls = [Defect(kind="wall", name="180", position_angstrom=(place, 0.0, 0.0)) for place in (first, second)]
    note = f"180 degree walls at x = {first:.3f} and {second:.3f} A, w = {width:g} A: polarisation along +y between them, along -y beyond."
    return _sample(order, np.tile(symbols, len(cells)), positions, box, walls, note)


def _turned_walls(material: Tetragonal, order: BuildRequest, width: float) -> Sample:
    """Return two unstrained 90 degree walls, (101) twin boundaries normal to x, with head-to-tail polarisation.

    The lattice changes its orientation abruptly. The component of the polarisation along the wall follows tanh(x/w),
    and the component normal to the wall is constant, so the wall carries no charge.
    """
    a, c = material.a, material.c
    along = math.hypot(a, c)  # repeat along the wall, A
    spacing = a * c / along  # distance of the planes parallel to it, A
    counts, cells = _grid(order, np.array([2 * spacing, along, a]), WALL_SIZE)
    half = int(counts[0])
    if half < 3:
        needed = f"wall='90' needs six planes {spacing:.3g} A apart across x, but the width holds {2 * half}."
        message = f"{needed} Ask for a width of {6 * spacing:.3g} A or more."
        raise SettingsError(message)
    symbols, places, shifts = material.sites()
    # Edges a and c of one twin in the frame (normal, along) of the wall; the other twin's are reversed along the wall.
    edge_a, edge_c = np.array([spacing, a * a / along]), np.array([spacing, -c * c / along])
    offset, shifted = np.outer(places[:, 0], edge_a) + np.outer(places[:, 2], edge_c), np.outer(shifts, edge_c)
    plane = np.arange(2 * half)
    sign = np.where(plane < half, 1.0, -1.0)
    start = np.where(plane < half, plane, 2 * half - plane) * edge_a[1]
    _, j, k = (np.unique(cells[:, axis]) for axis in range(3))
    p, row, layer, site = (one.ravel() for one in np.meshgrid(plane, j, k, np.arange(5), indexing="ij"))
    x = p * spacing + offset[site, 0]
    from_wall = np.abs(x - half * spacing * np.round(x / (half * spacing)))
    y = start[p] + sign[p] * (offset[site, 1] + np.tanh(from_wall / width) * shifted[site, 1]) + row * along
    positions = np.column_stack([x + shifted[site, 0], y, (layer + places[site, 1]) * a])
    box = np.array([2 * half * spacing, counts[1] * along, counts[2] * a])
    walls = [Defect(kind="wall", name="90", position_angstrom=(place, 0.0, 0.0)) for place in (0.0, half * spacing)]
    angle = math.degrees(2 * math.atan2(c, a) - math.pi / 2)
    note = (
        f"90 degree (101) walls at x = 0 and {half * spacing:.3f} A; the lattices meet at 90 {angle:+.2f} degrees, the polarisation turns from "
        f"(+x, -y) to (+x, +y)."
    )
    return _sample(order, np.array(symbols)[site], positions, box, walls, note)


def _register(name: str, material: Tetragonal, **sources: str | dict[str, float]) -> Callable[..., Sample]:
    @specimen(name, "crystal", "perovskite", "ferroelectric", **sources)  # type: ignore[arg-type]
    def make(order: BuildRequest, *, polarisation: Pole = "+y", wall: Wall = "none", wall_width_angstrom: Width = 5.0) -> Sample:
        return _make(material, order, polarisation, wall, wall_width_angstrom)

    return make


_register(
    "batio3-001",
    Tetragonal(a_site="Ba", b_site="Ti", a=3.994, c=4.038, b_shift=0.0135, apical_shift=-0.0250, equatorial_shift=-0.0150),
    title="barium titanate along a pseudo-cubic <001> axis, polar along y",
    sigma={"Ba": rms(0.45), "Ti": rms(0.45), "O": rms(0.60)},
    lattice_source=(
        "P4mm, a = 3.994, c = 4.038 A: JCPDS 05-0626; shifts Ti +0.0135, O -0.0250 and -0.0150 c: J. Harada, T. Pedersen, Z. Barnea, Acta Cryst. A26 "
        "(1970) 336"
    ),
    thermal_source="B Ba 0.45, Ti 0.45, O 0.60 A^2: typical of refinements at room temperature, rounded, +-25 %",
)
_register(
    "pbtio3-001",
    Tetragonal(a_site="Pb", b_site="Ti", a=3.904, c=4.152, b_shift=-0.0377, apical_shift=-0.1118, equatorial_shift=-0.1174),
    title="lead titanate along a pseudo-cubic <001> axis, polar along y",
    sigma={"Pb": rms(1.0), "Ti": rms(0.50), "O": rms(0.75)},
    lattice_source=(
        "P4mm, a = 3.904, c = 4.152 A: G. Shirane, R. Pepinsky, B. C. Frazer, Acta Cryst. 9 (1956) 131; shifts against Pb of Ti 0.0377, O 0.1118 and "
        "0.1174 c: R. J. Nelmes, W. F. Kuhs, Solid State Communications 54 (1985) 721"
    ),
    thermal_source="B Pb 1.0, Ti 0.50, O 0.75 A^2: typical of refinements at room temperature, rounded, +-25 %",
)
