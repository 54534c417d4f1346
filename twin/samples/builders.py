"""Builders of samples: whole repeats of a crystal, windows cut from it, sheets in vacuum, isolated groups of atoms."""

import functools
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stemtwin.twin.errors import SettingsError, StructureFileError
from stemtwin.twin.samples.crystal import Crystal, draw_sites, primitive
from stemtwin.twin.samples.sample import VACUUM_MARGIN, Sample, wrap
from stemtwin.twin.samples.zone_axes import parse_zone_axis
from stemtwin.twin.samples.zone_axis_cells import OrientedCell, orient, points_inside

DEFAULT_SIZE = 16.0  # A
DEFAULT_THICKNESS = 40.0  # A
MIN_THICKNESS = 0.5  # A, about one slice
# A cell with a wider gap along the beam is a sheet; van der Waals gaps between atomic planes are below 4 A.
SHEET_GAP = 6.0  # A
WINDOW_FACTOR = 1.5  # a periodic cell that exceeds the requested size, and 16 A, by more than this factor is cut
ISOLATED_MARGIN = 5.0  # A of vacuum beside an isolated group of atoms
MOST_GAP_SITES = 200_000  # most sites of an oriented cell that is searched for vacuum
BYTES_PER_ATOM = 1000  # peak while building; measured are 180 for a plain crystal and 920 with mixed sites


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Settings of a build: orientation, box and seed.

    Parameters
    ----------
    zone_axis : (int, int, int)
        Direction [uvw] of the crystal's cell, along which the beam travels.
    size_angstrom : (float, float), optional
        Requested height (y) and width (x), A; None: 16 A, or one cell if the cell is larger.
    thickness_angstrom : float, optional
        Requested thickness, A; None: 40 A for a crystal, its own thickness for a sheet.
    seed : int
        Seed of the random choice of atoms on mixed and partly filled sites.
    max_strain : float
        Largest permitted strain of the periodic cell.
    periodic : bool
        Whether the sample should repeat. False: an unstrained window of exactly the requested size.

    Raises
    ------
    SettingsError
        The zone axis is not three whole numbers or is (0, 0, 0), a size is not above 0, the thickness is below one
        slice (0.5 A), or the seed or the strain is negative.
    """

    zone_axis: tuple[int, int, int] = (0, 0, 1)
    size_angstrom: tuple[float, float] | None = None
    thickness_angstrom: float | None = None
    seed: int = 0
    max_strain: float = 0.01
    periodic: bool = True

    def __post_init__(self) -> None:
        """Check every number and convert it to a plain one."""
        object.__setattr__(self, "zone_axis", parse_zone_axis(self.zone_axis))
        if self.size_angstrom is not None:
            size = _numbers(self.size_angstrom, 2)
            if size is None or not all(length > 0 for length in size):
                message = f"size_angstrom={self.size_angstrom!r} must be two numbers above 0: height (y) and width (x) in A."
                raise SettingsError(message)
            object.__setattr__(self, "size_angstrom", size)
        if self.thickness_angstrom is not None:
            thickness = _numbers([self.thickness_angstrom], 1)
            if thickness is None:
                message = f"thickness_angstrom={self.thickness_angstrom!r} is not a finite number of A. Ask for {MIN_THICKNESS:g} A or more."
                raise SettingsError(message)
            if thickness[0] < MIN_THICKNESS:
                message = (
                    f"thickness_angstrom={self.thickness_angstrom!r} is below one slice ({MIN_THICKNESS:g} A). Ask for {MIN_THICKNESS:g} A or more."
                )
                raise SettingsError(message)
            object.__setattr__(self, "thickness_angstrom", thickness[0])
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer) or self.seed < 0:
            message = f"seed={self.seed!r} must be a whole number, 0 or more."
            raise SettingsError(message)
        object.__setattr__(self, "seed", int(self.seed))
        strain = _numbers([self.max_strain], 1)
        if strain is None or not 0 <= strain[0] < 1:
            message = f"max_strain={self.max_strain!r} must lie between 0 and 1; 0.01 is 1 %."
            raise SettingsError(message)


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """Return values as ``count`` finite floats, or None if they are not."""
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray) or len(values) != count:
        return None
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def specimen_rng(seed: int, stream: str = "specimen") -> np.random.Generator:
    """Return the generator of one random stream of a sample. Streams of one seed with different names are independent."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, zlib.crc32(stream.encode())])))


def machine_memory() -> int:
    """Return the memory of this machine in bytes, or 8 GiB if the operating system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30


def check_memory(name: str, atoms: float, size: tuple[float, float], thickness: float) -> None:
    """Raise SettingsError if building a sample of this many atoms would need more than half of this machine's memory."""
    needed, limit = atoms * BYTES_PER_ATOM, machine_memory() / 2
    if needed > limit:
        message = (
            f"{name}: size_angstrom=({size[0]:.4g}, {size[1]:.4g}) with thickness_angstrom={thickness:.4g} holds about {atoms:.2g} atoms "
            f"and needs {needed / 2**30:.3g} GiB to build. The limit is half of this machine's memory, {limit / 2**30:.3g} GiB. "
            f"Ask for a smaller size or thickness."
        )
        raise SettingsError(message)


def widest_gap(heights: np.ndarray, period: float) -> tuple[float, float]:
    """Return the widest empty gap along z of a periodic structure and the height of the first atom above it.

    Parameters
    ----------
    heights : (n,) float
        Heights z of the atoms in A, in [0, period).
    period : float
        Period along z, A.

    Returns
    -------
    gap, start : float
        Width of the gap and height of the atom above it, A. If several gaps are equally wide, the gap whose upper atom
        is nearest to z = 0 is returned, so the origin of a crystal is preserved where possible.
    """
    z = np.sort(heights)
    gaps = np.diff(z, prepend=z[-1] - period)
    wide = np.flatnonzero(gaps > gaps.max() - 1e-3)
    away = np.minimum(z[wide], period - z[wide])
    first = wide[np.argmin(np.round(away, 3))]
    return float(gaps[first]), float(z[first])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Sites:
    """Sites in a box (3,) before the draw of mixed ones: positions (n, 3) and index (n,) into the crystal's sites."""

    positions: np.ndarray
    index: np.ndarray
    box: np.ndarray
    periodic: bool
    strain: float
    notes: tuple[str, ...]


def build_sample(crystal: Crystal, cut: Cut, *, name: str, recipe: str = "") -> Sample:
    """Return a sample of a crystal.

    Parameters
    ----------
    crystal : Crystal
        One cell, or an isolated group of atoms.
    cut : Cut
        Orientation, box and seed.
    name, recipe : str
        Name and recipe of the sample.

    Returns
    -------
    Sample
        Whole repeats of the strained cell, at least one, as near to the requested size as possible. In three
        cases, the sample is an unstrained window around the middle of the cell: if ``cut.periodic`` is False, if the cell
        needs more strain than allowed, or if the cell exceeds 1.5 times the requested size and 24 A. The first atom of a
        crystal lies at z = 0. Without a requested thickness, a sheet or an isolated group has 2 A of vacuum on either
        side. With a requested thickness, the sheet or group is centred in a box of this thickness, and cut to
        the box if it is thicker.

    Raises
    ------
    SettingsError
        The sample does not fit into the machine's memory.
    StructureFileError
        No atoms are left after the cut, or atoms overlap.
    """
    base = primitive(crystal)
    sites = _isolated(base, cut) if base.isolated else _crystalline(base, crystal.cell, cut)
    filled, drawn = draw_sites(
        sites.positions, base.filling[sites.index], sites.box, specimen_rng(cut.seed), periodic=sites.periodic, name=crystal.name
    )
    positions, index = sites.positions[filled], sites.index[filled]
    if len(index) == 0:
        box = " x ".join(f"{length:.4g}" for length in sites.box)
        message = f"{crystal.name}: no atoms are left in the box of {box} A (x, y, z) after cutting. Ask for a larger size or thickness."
        raise StructureFileError(message)
    order = np.lexsort((index, *np.round(positions.T, 6)))
    notes = (
        *crystal.doubts,
        *crystal.notes,
        *sites.notes,
        *([f"{drawn} mixed or partly filled places were drawn with seed {cut.seed}."] if drawn else []),
    )
    return Sample(
        name=name,
        numbers=base.numbers[index[order]],
        positions_angstrom=positions[order],
        size_angstrom=(sites.box[1], sites.box[0]),
        thickness_angstrom=sites.box[2],
        thermal_sigma_angstrom=None if base.sigma is None else base.sigma[index[order]],
        periodic=sites.periodic,
        strain=sites.strain,
        notes=notes,
        recipe=recipe,
    )


@functools.lru_cache(maxsize=64)
def _oriented(lattice: bytes, cell: bytes, zone_axis: tuple[int, int, int], size: float, max_strain: float) -> OrientedCell:
    """Return the cached result of :func:`orient` for matrices (3, 3) given as bytes."""
    found = orient(np.frombuffer(lattice).reshape(3, 3), np.frombuffer(cell).reshape(3, 3), zone_axis, size, max_strain)
    for array in (found.edges, found.lengths, found.rotation):
        array.setflags(write=False)
    return found


def _nearest(size: float, length: float) -> int:
    """Return the number of repeats whose length is nearest to a size, at least one."""
    return max(1, math.floor(size / length + 0.5))


def _crystalline(base: Crystal, cell: np.ndarray, cut: Cut) -> _Sites:
    """Return the sites of a crystal in whole repeats or in a window."""
    size = cut.size_angstrom or (DEFAULT_SIZE, DEFAULT_SIZE)
    thickness = cut.thickness_angstrom or DEFAULT_THICKNESS
    oriented = _oriented(base.cell.astype(float).tobytes(), cell.astype(float).tobytes(), cut.zone_axis, max(*size, DEFAULT_SIZE), cut.max_strain)
    lengths = oriented.lengths
    wide = bool(lengths[0] > WINDOW_FACTOR * max(size[1], DEFAULT_SIZE) or lengths[1] > WINDOW_FACTOR * max(size[0], DEFAULT_SIZE))
    strained = oriented.strain > cut.max_strain
    window = not cut.periodic or (wide and cut.size_angstrom is not None) or strained
    gap, start = _gap(base, oriented, window=window)
    sheet = gap > SHEET_GAP
    deep = 1 if sheet else _nearest(thickness, lengths[2])
    if window:
        depth = thickness if not sheet and lengths[2] > WINDOW_FACTOR * thickness else deep * lengths[2]
        sites = _window(base, oriented, cut, size, (start, depth))
    else:
        sites = _repeats(base, oriented, size, start, deep)
    return _as_sheet(sites, cut.thickness_angstrom, f"The cell has {gap:.1f} A of vacuum along the beam") if sheet else sites


def _gap(base: Crystal, oriented: OrientedCell, *, window: bool) -> tuple[float, float]:
    """Return the widest gap along z and the height of the first atom above it, A; none for a cell of too many sites."""
    lengths = oriented.lengths
    if abs(np.linalg.det(oriented.edges)) * len(base.numbers) > MOST_GAP_SITES:
        return 0.0, 0.0
    points = points_inside(oriented.edges)
    inside = (points[:, None] + base.fractional[None]).reshape(-1, 3)
    placed = inside @ base.cell @ oriented.rotation.T
    heights = placed[:, 2] if window else inside @ np.linalg.inv(oriented.edges)[:, 2] * lengths[2]
    return widest_gap(wrap(heights / lengths[2], lengths[2]) * lengths[2], lengths[2])


def _repeats(base: Crystal, oriented: OrientedCell, size: tuple[float, float], start: float, deep: int) -> _Sites:
    """Return the sites of whole repeats of the oriented cell, starting with the plane at height ``start``."""
    lengths = oriented.lengths
    repeats = np.array([_nearest(size[1], lengths[0]), _nearest(size[0], lengths[1]), deep])
    box = repeats * lengths
    check_memory(base.name, len(base.numbers) / base.volume * float(np.prod(box)), (box[1], box[0]), box[2])
    points = points_inside(oriented.edges)
    unit = (points[:, None] + base.fractional[None]).reshape(-1, 3) @ np.linalg.inv(oriented.edges)
    unit[:, 2] -= start / lengths[2]
    unit = wrap(unit, lengths)
    grid = np.stack(np.meshgrid(*[np.arange(count) for count in repeats], indexing="ij"), axis=-1).reshape(-1, 3)
    positions = ((grid[:, None] + unit[None]) * lengths).reshape(-1, 3)
    index = np.tile(np.arange(len(base.numbers)), len(points) * len(grid))
    notes = [f"{repeats[0]} x {repeats[1]} x {repeats[2]} repeats (x, y, z) of a cell of {lengths[0]:.4f} x {lengths[1]:.4f} x {lengths[2]:.4f} A."]
    if oriented.strain:
        notes.append(f"A strain of {oriented.strain:.3%} made the cell orthogonal.")
    return _Sites(positions=positions, index=index, box=box, periodic=True, strain=oriented.strain, notes=tuple(notes))


def _window(base: Crystal, oriented: OrientedCell, cut: Cut, size: tuple[float, float], depths: tuple[float, float]) -> _Sites:
    """Return the sites of the unstrained crystal in a window of a size around the middle of the oriented cell."""
    lattice = base.cell @ oriented.rotation.T
    start, depth = depths
    box = np.array([size[1], size[0], depth])
    check_memory(base.name, len(base.numbers) / base.volume * float(np.prod(box)), size, box[2])
    middle = (oriented.edges[0] + oriented.edges[1]) @ lattice / 2
    origin = np.array([middle[0] - box[0] / 2, middle[1] - box[1] / 2, start])
    corners = origin + np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * box
    cells = corners @ np.linalg.inv(lattice)
    ranges = [
        np.arange(low, high)
        for low, high in zip(np.floor(cells.min(axis=0)).astype(int) - 1, np.ceil(cells.max(axis=0)).astype(int) + 1, strict=True)
    ]
    check_memory(base.name, math.prod(len(steps) for steps in ranges) * len(base.numbers), size, box[2])
    grid = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    unit = wrap(base.fractional, np.linalg.norm(base.cell, axis=1))
    positions = (grid[:, None] + unit[None]).reshape(-1, 3) @ lattice - origin
    inside = np.all((positions >= -1e-5) & (positions < box - 1e-5), axis=1)
    index = np.tile(np.arange(len(unit)), len(grid))[inside]
    whole = f"out of a cell of {oriented.lengths[0]:.2f} x {oriented.lengths[1]:.2f} A" if cut.periodic else "out of the unstrained crystal"
    if cut.periodic and oriented.strain > cut.max_strain:
        u, v, w = cut.zone_axis
        whole = f"out of the unstrained crystal, as no cell along [{u} {v} {w}] repeats without a strain of {oriented.strain:.2%}"
    note = f"A window of {box[0]:.2f} x {box[1]:.2f} A was cut {whole}: it does not repeat, its edges are not physical."
    return _Sites(positions=np.clip(positions[inside], 0, None), index=index, box=box, periodic=False, strain=0.0, notes=(note,))


def _as_sheet(sites: _Sites, thickness: float | None, why: str) -> _Sites:
    """Return a sheet trimmed to its own thickness, or centred in, or cut to, the requested one."""
    if len(sites.index) == 0:
        return sites
    positions = sites.positions.copy()
    positions[:, 2] -= positions[:, 2].min()
    extent = float(positions[:, 2].max())
    box = sites.box.copy()
    box[2] = extent + 2 * VACUUM_MARGIN if thickness is None else thickness
    keep = positions[:, 2] < box[2] - 1e-9
    if keep.all():
        positions[:, 2] += (box[2] - extent) / 2
        note = f"{why}: the {extent:.2f} A of atoms were centred in {box[2]:.2f} A."
    else:
        note = f"{why}: of its {extent:.2f} A of atoms the first {box[2]:.2f} A were kept."
    return _Sites(
        positions=positions[keep], index=sites.index[keep], box=box, periodic=sites.periodic, strain=sites.strain, notes=(*sites.notes, note)
    )


def _isolated(base: Crystal, cut: Cut) -> _Sites:
    """Return the sites of an isolated group of atoms in a box of vacuum, with the zone axis as a direction in space."""
    z = np.array(cut.zone_axis, dtype=float)
    z /= np.linalg.norm(z)
    x = np.eye(3)[np.argmin(np.round(np.abs(z), 9))]
    x = x - (x @ z) * z
    x /= np.linalg.norm(x)
    positions = base.fractional @ np.array([x, np.cross(z, x), z]).T
    positions -= (positions.min(axis=0) + positions.max(axis=0)) / 2
    own = np.maximum(np.ptp(positions, axis=0)[:2] + 2 * ISOLATED_MARGIN, DEFAULT_SIZE)
    width, height = (own[0], own[1]) if cut.size_angstrom is None else cut.size_angstrom[::-1]
    positions[:, :2] += np.array([width, height]) / 2
    inside = np.all((positions[:, :2] >= 0) & (positions[:, :2] < np.array([width, height])), axis=1)
    note = f"The file has no cell: its atoms stand alone in a box of {width:.2f} x {height:.2f} A."
    sites = _Sites(
        positions=positions[inside], index=np.flatnonzero(inside), box=np.array([width, height, 0.0]), periodic=False, strain=0.0, notes=(note,)
    )
    return _as_sheet(sites, cut.thickness_angstrom, "There is vacuum on all sides")
