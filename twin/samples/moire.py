"""Twisted bilayers: commensurate cells of graphene and MoS2."""

import math
from dataclasses import replace
from typing import Annotated

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.builders import DEFAULT_SIZE
from stemtwin.twin.samples.defects import remove, share, sites
from stemtwin.twin.samples.dichalcogenides import LAYERS
from stemtwin.twin.samples.graphene import VACUUM_CELL, A
from stemtwin.twin.samples.sample import Defect, Sample
from stemtwin.twin.samples.sample_families import SAMPLES, BuildRequest, Knob, Sites, fraction, specimen

TOLERANCE = 0.6  # largest difference between the requested and the built twist, degrees
MOST_CELLS = 600  # cells of one sheet in a commensurate cell: edges of up to 24.5 lattice constants, 60 A in graphene
GAP_GRAPHENE, GAP_MOS2 = 3.35, 6.147  # A between the middles of the sheets

Twist = Annotated[
    float,
    Knob(
        about="angle between the sheets, within 0.6 degrees, in the smallest commensurate cell; 0: as in the crystal",
        low=0.0,
        high=60.0,
        unit="degrees",
    ),
]
MissingInSheets = Annotated[float, fraction("fraction of the atoms of both sheets that are missing")]


def commensurate(twist_deg: float) -> tuple[int, int, float]:
    """Return the smallest commensurate cell of two hexagonal lattices near a twist angle.

    With lattice vectors 60 degrees apart, the vector (i, j) of one sheet and (j, i) of the other have the same length,
    sqrt(i^2 + ij + j^2), in units of the lattice constant. A twist that makes these two vectors coincide makes them an
    edge of a common cell.

    Parameters
    ----------
    twist_deg : float
        Requested angle, above 0 and below 60 degrees.

    Returns
    -------
    i, j : int
        Indices with i > j > 0 and without a common divisor.
    twist_deg : float
        Twist angle of the cell, degrees.

    Raises
    ------
    SettingsError
        No commensurate cell with up to 600 cells of one sheet has a twist within 0.6 degrees of the requested one.
    """
    found = []
    for i in range(2, 40):
        for j in range(1, i):
            if math.gcd(i, j) == 1 and (i - j) % 3 and i * i + i * j + j * j <= MOST_CELLS:
                found.append((i * i + i * j + j * j, i, j, 60.0 - 2 * math.degrees(math.atan2(j * 3**0.5 / 2, i + j / 2))))
    fitting = [one for one in found if abs(one[3] - twist_deg) <= TOLERANCE]
    if not fitting:
        near = min(found, key=lambda one: abs(one[3] - twist_deg))
        message = (
            f"twist_deg={twist_deg:g}: no commensurate cell with up to {MOST_CELLS} cells of a sheet has a twist within {TOLERANCE:g} degrees. "
            f"Use the nearest twist, {near[3]:.3f} degrees."
        )
        raise SettingsError(message)
    _, i, j, angle = min(fitting)
    return i, j, angle


def _laid(basis: Sites, a: float, edge: tuple[int, int], height: float) -> list[tuple[str, tuple[float, float, float]]]:
    """Return the fractional sites of one sheet in the common 120 degree cell, with its lattice vector ``edge`` along x.

    Parameters
    ----------
    basis : tuple of (symbol, (u, v, z))
        Sites of one cell with lattice vectors 60 degrees apart; z in A from the middle of the sheet.
    a : float
        Lattice constant in A.
    edge : (int, int)
        Lattice vector that becomes an edge of the common cell.
    height : float
        Height z of the middle of the sheet, A.
    """
    own = a * np.array([[1.0, 0.0], [0.5, 3**0.5 / 2]])
    along = np.array(edge) @ own
    length = float(np.linalg.norm(along))
    turn = np.array([[along[0], along[1]], [-along[1], along[0]]]) / length
    common = length * np.array([[1.0, 0.0], [-0.5, 3**0.5 / 2]])
    reach = 2 * sum(edge) + 2
    grid = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    to_fraction = own @ turn.T @ np.linalg.inv(common)
    out = []
    for symbol, (u, v, z) in basis:
        spots = (grid + np.array([u, v])) @ to_fraction
        inside = np.all((spots > -1e-9) & (spots < 1 - 1e-9), axis=1)
        out += [(symbol, (float(x), float(y), (height + z) / VACUUM_CELL)) for x, y in spots[inside]]
    return out


def bilayer(order: BuildRequest, basis: Sites, second: Sites, a: float, gap: float, twist_deg: float) -> Sample:
    """Return a bilayer whose first sheet along z is ``basis``.

    Without a twist, the second sheet is ``second``, so the stacking is that of the crystal. With a twist, the second
    sheet is a rotated copy of ``basis``.
    """
    low, high = (VACUUM_CELL - gap) / 2, (VACUUM_CELL + gap) / 2
    if twist_deg == 0:
        edges, angle, upper = ((1, 0), (1, 0)), 0.0, second
    else:
        i, j, angle = commensurate(twist_deg)
        edges, upper = ((i, j), (j, i)), basis
    length = a * math.sqrt(edges[0][0] ** 2 + edges[0][0] * edges[0][1] + edges[0][1] ** 2)
    places = tuple(_laid(basis, a, edges[0], low) + _laid(upper, a, edges[1], high))
    height, width = order.cut.size_angstrom or (DEFAULT_SIZE, DEFAULT_SIZE)
    size = (max(height, length * 3**0.5), max(width, length))  # at least one whole cell
    sample = replace(order, cut=replace(order.cut, size_angstrom=size)).crystal((length, length, VACUUM_CELL), places, angles_deg=(90.0, 90.0, 120.0))
    note = f"Twist of {angle:.3f} degrees, a cell of {length:.3f} A with {len(places)} atoms."
    twist = Defect(kind="twist", name=f"{angle:.3f} degrees", position_angstrom=(0.0, 0.0, sample.thickness_angstrom / 2))
    return replace(sample, notes=(*sample.notes, note), defects=(twist,) if angle else ())


def _register(name: str, parent: str, title: str, lattice: str, basis: Sites, second: Sites, a: float, gap: float) -> None:
    """Register the bilayer of a sheet of the library, with the sheet's thermal motion."""
    one = SAMPLES[parent]

    @specimen(
        name,
        "sheet",
        "2d",
        "moire",
        title=title,
        sigma={symbol: one.thermal_sigma_angstrom[symbol] for symbol, _ in basis},
        lattice_source=f"{one.lattice_source}; {lattice}",
        thermal_source=one.thermal_source,
    )
    def make(order: BuildRequest, *, twist_deg: Twist = 0.0, vacancy_fraction: MissingInSheets = 0.0) -> Sample:
        sample = bilayer(order, basis, second, a, gap, twist_deg)
        return remove(sample, share(sites(sample), vacancy_fraction, order.rng("vacancies")))


_CARBON = (("C", (0.0, 0.0, 0.0)), ("C", (1 / 3, 1 / 3, 0.0)))
_BERNAL = (("C", (1 / 3, 1 / 3, 0.0)), ("C", (2 / 3, 2 / 3, 0.0)))
_register(
    "graphene-bilayer",
    "graphene",
    "two sheets of graphene, AB or twisted",
    "3.35 A between the sheets, as in graphite",
    _CARBON,
    _BERNAL,
    A,
    GAP_GRAPHENE,
)
_WIDE, _ACROSS = LAYERS["Mo", "S"]
_MOS2 = (("Mo", (0.0, 0.0, 0.0)), ("S", (1 / 3, 1 / 3, -_ACROSS / 2)), ("S", (1 / 3, 1 / 3, _ACROSS / 2)))
_TURNED = (("Mo", (1 / 3, 1 / 3, 0.0)), ("S", (0.0, 0.0, -_ACROSS / 2)), ("S", (0.0, 0.0, _ACROSS / 2)))
_register(
    "mos2-bilayer",
    "mos2-1h",
    "two layers of MoS2, 2H or twisted",
    "c = 12.294 A, two layers",
    _MOS2,
    _TURNED,
    _WIDE,
    GAP_MOS2,
)
