"""The sample: a box of atoms in the path of the beam."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stemtwin.twin.errors import SettingsError, StructureFileError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import ArrayLike

VACUUM_MARGIN = 2.0  # A of vacuum before the first and after the last atom of a sheet
MIN_DISTANCE = 0.3  # A; nearer atoms overlap (published random-packed amorphous carbon has distances down to 0.32 A)
MAX_SIGMA = 1.0  # A; a larger 1-D rms displacement is a B factor or has a wrong unit
MAX_NUMBER = 118
G_PER_CM3 = 1.66053907  # of 1 u / A^3


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """A change of the perfect structure at one site; the ground truth of detection tasks.

    Parameters
    ----------
    kind : str
        "vacancy", "substitution", "adatom", "displacement", "hole", "edge", "wall", "boundary", "twist", "particle".
    name : str
        Name as in the literature: "V_S", "V_2S", "W_Mo" (W in place of Mo), "Sigma5 (310)".
    position_angstrom : (float, float, float)
        x, y, z in A: position of the present or missing atom, or the centre of several atoms. For an extended defect,
        only the coordinate along its normal is given; the other coordinates are 0.
    removed, added : tuple of str
        Symbols of the removed and of the added atoms.
    """

    kind: str
    name: str
    position_angstrom: tuple[float, float, float]
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Convert the position to three floats and the symbols to tuples."""
        place = tuple(float(value) for value in self.position_angstrom)
        if len(place) != 3 or not np.all(np.isfinite(place)):
            given = f"position_angstrom={self.position_angstrom!r}"
            message = f"{given} of the defect {self.name!r} must be three finite numbers: x, y, z in A."
            raise SettingsError(message)
        object.__setattr__(self, "position_angstrom", place)
        object.__setattr__(self, "removed", tuple(self.removed))
        object.__setattr__(self, "added", tuple(self.added))


def symbols_of(numbers: np.ndarray) -> tuple[str, ...]:
    """Return the chemical symbols of atomic numbers."""
    from ase.data import chemical_symbols  # ase costs 50 ms to import

    return tuple(chemical_symbols[number] for number in numbers)


def resolve_sigma(numbers: np.ndarray, given: "float | Mapping[str, float] | ArrayLike | None") -> np.ndarray | None:
    """Return the thermal displacement (1-D rms) of each atom.

    Parameters
    ----------
    numbers : (n,) int
        Atomic numbers.
    given : float, mapping from symbol to float, (n,) array or None
        1-D rms displacement in A. None, or zero for all atoms: static.

    Returns
    -------
    (n,) float64 array, or None for a static sample.

    Raises
    ------
    SettingsError
        The mapping lacks an element of the sample or names an element that the sample does not contain, the number of
        values is wrong, or a value is negative, not finite or above 1 A.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        present = symbols_of(np.unique(numbers))
        missing, extra = [s for s in present if s not in given], [s for s in given if s not in present]
        if missing or extra:
            what = f"lacks {', '.join(missing)}" if missing else f"names {', '.join(map(str, extra))}, which the sample does not hold"
            message = f"thermal_sigma_angstrom {what}. Give one value for each of {', '.join(present)}."
            raise SettingsError(message)
        by_number = {int(number): given[symbol] for number, symbol in zip(np.unique(numbers), present, strict=True)}
        given = [by_number[int(number)] for number in numbers]
    try:
        sigma = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        message = f"thermal_sigma_angstrom={given!r} is not a number, a mapping from symbols to numbers or an array of numbers."
        raise SettingsError(message) from None
    if sigma.ndim == 0:
        sigma = np.full(len(numbers), float(sigma))
    if sigma.shape != (len(numbers),):
        message = f"thermal_sigma_angstrom has shape {sigma.shape}, but the sample has {len(numbers)} atoms. Give one value for each atom, in A."
        raise SettingsError(message)
    if not np.all(np.isfinite(sigma)) or np.any(sigma < 0) or np.any(sigma > MAX_SIGMA):
        worst = sigma[np.argmax(~(np.isfinite(sigma) & (sigma >= 0) & (sigma <= MAX_SIGMA)))]
        message = (
            f"thermal_sigma_angstrom={worst:g} A is outside 0 to {MAX_SIGMA:g} A. It is the 1-D rms displacement, sqrt(U) or sqrt(B / (8 pi^2))."
        )
        raise SettingsError(message)
    return sigma if np.any(sigma > 0) else None


def near_pairs(positions: np.ndarray, size: tuple[float, float], distance: float, *, periodic: bool) -> np.ndarray:
    """Return the pairs of atoms within a distance of each other.

    Parameters
    ----------
    positions : (n, 3) float
        x, y, z in A, within the box in x and y.
    size : (float, float)
        Height (y) and width (x) of the box in A.
    distance : float
        Largest distance, A.
    periodic : bool
        Whether the box repeats in x and y; it never repeats in z.

    Returns
    -------
    (p, 2) int array
        Indices, sorted, each pair once.
    """
    from scipy.spatial import cKDTree

    if len(positions) < 2:
        return np.empty((0, 2), dtype=np.int64)
    tree = cKDTree(positions, boxsize=(size[1], size[0], 0.0) if periodic else None)
    pairs = tree.query_pairs(distance, output_type="ndarray").astype(np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def separation(positions: np.ndarray, pairs: np.ndarray, size: tuple[float, float], *, periodic: bool) -> np.ndarray:
    """Return the distances (p,), A, of pairs (p, 2) of atoms. In a periodic box, the nearest images count."""
    step = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    if periodic:
        box = np.array([size[1], size[0]])
        step[:, :2] -= box * np.round(step[:, :2] / box)
    return np.linalg.norm(step, axis=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """A box of atoms: x and y across the beam, z along it, entrance face at z = 0.

    Parameters
    ----------
    name : str
        Display name.
    numbers : (n,) int64
        Atomic numbers. A sample without atoms is a slab of vacuum.
    positions_angstrom : (n, 3) float64
        x, y, z in A; 0 <= x < size[1], 0 <= y < size[0], 0 <= z < thickness.
    size_angstrom : (float, float)
        Height (y) and width (x) of the box in A.
    thickness_angstrom : float
        Distance from the entrance to the exit face, A.
    thermal_sigma_angstrom : (n,) float64, optional
        1-D rms displacement of each atom in A; None: static.
    periodic : bool
        Whether the box repeats in x and y.
    strain : float
        Largest principal strain of the deformation that made the cell orthogonal.
    notes : tuple of str
        Sentences about changes that were made to the structure.
    recipe : str
        JSON from which ``stemtwin.twin.samples.readers.read_sample.sample_from_recipe`` rebuilds this sample; "" for a
        sample from arrays.
    defects : tuple of Defect
        Changes of the perfect structure, one for each site; mappings of the fields of :class:`Defect` are accepted.
        Defects are not part of the digest.
    sites : (n,) int64, optional
        Number of the random stream of each atom's thermal displacements. Atoms with the same number in two samples have
        the same displacement in a frozen-phonon configuration, so the loss of an atom does not move the other atoms. By
        default, atoms are numbered in their order.

    Raises
    ------
    SettingsError
        Shapes do not match, numbers are not finite, or atoms lie outside the box.
    StructureFileError
        An atomic number does not belong to an element, or atoms overlap.

    Notes
    -----
    The arrays are read-only copies. Two samples are equal when their digests are equal.

    Examples
    --------
    >>> import stemtwin as st
    >>> dimer = st.Sample(
    ...     name="dimer",
    ...     numbers=[79, 79],
    ...     positions_angstrom=[(8.6, 10, 5), (11.4, 10, 5)],
    ...     size_angstrom=(20, 20),
    ...     thickness_angstrom=10,
    ...     periodic=False,
    ... )
    >>> dimer.formula
    'Au2'
    """

    name: str
    numbers: np.ndarray
    positions_angstrom: np.ndarray
    size_angstrom: tuple[float, float]
    thickness_angstrom: float
    thermal_sigma_angstrom: np.ndarray | None = None
    periodic: bool = True
    strain: float = 0.0
    notes: tuple[str, ...] = ()
    recipe: str = ""
    defects: tuple[Defect, ...] = ()
    sites: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Copy, freeze and check all fields."""
        numbers = np.array(self.numbers, dtype=np.int64)
        positions = (
            np.array(self.positions_angstrom, dtype=np.float64).reshape(-1, 3)
            if len(numbers) == 0
            else np.array(self.positions_angstrom, dtype=np.float64)
        )
        size = tuple(float(length) for length in self.size_angstrom)
        thickness = float(self.thickness_angstrom)
        if numbers.ndim != 1 or positions.shape != (len(numbers), 3):
            message = (
                f"positions_angstrom has shape {positions.shape} for numbers of shape {numbers.shape}. Give (n, 3) positions for (n,) atomic numbers."
            )
            raise SettingsError(message)
        if len(size) != 2 or not all(np.isfinite(length) and length > 0 for length in (*size, thickness)):
            message = f"size_angstrom={size} A must be two numbers (y, x) above 0, and thickness_angstrom={thickness:g} A a number above 0."
            raise SettingsError(message)
        if np.any((numbers < 1) | (numbers > MAX_NUMBER)):
            wrong = numbers[(numbers < 1) | (numbers > MAX_NUMBER)][0]
            message = f"The atomic number {wrong} does not belong to an element. Use 1 to {MAX_NUMBER}."
            raise StructureFileError(message)
        sigma = resolve_sigma(numbers, self.thermal_sigma_angstrom)
        sites = None if self.sites is None else np.array(self.sites, dtype=np.int64)
        if sites is not None and (sites.shape != (len(numbers),) or (sites < 0).any() or len(np.unique(sites)) < len(sites)):
            message = (
                f"sites, of shape {sites.shape}, must hold a different whole number, 0 or more, for each of the {len(numbers)} atoms. "
                "Omit the argument to number the atoms in their order."
            )
            raise SettingsError(message)
        if sites is not None and np.array_equal(sites, np.arange(len(numbers))):
            sites = None  # the default numbering
        for array in (numbers, positions, sigma, sites):
            if array is not None:
                array.setflags(write=False)
        frozen = {
            "numbers": numbers,
            "positions_angstrom": positions,
            "size_angstrom": size,
            "thickness_angstrom": thickness,
            "thermal_sigma_angstrom": sigma,
            "sites": sites,
        }
        for field, value in frozen.items():
            object.__setattr__(self, field, value)
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "defects", tuple(one if isinstance(one, Defect) else Defect(**one) for one in self.defects))
        self._check_box()
        self._check_overlaps()

    def _check_box(self) -> None:
        box = np.array([self.size_angstrom[1], self.size_angstrom[0], self.thickness_angstrom])
        outside = ~np.all((self.positions_angstrom >= 0) & (self.positions_angstrom < box), axis=1)
        if np.any(outside):
            first = int(np.argmax(outside))
            place = ", ".join(f"{value:.6g}" for value in self.positions_angstrom[first])
            message = (
                f"Atom {first} at ({place}) A lies outside the box of {box[0]:.6g} x {box[1]:.6g} x {box[2]:.6g} A (x, y, z). "
                "Wrap or shift the atoms into it, for example by Sample.from_ase."
            )
            raise SettingsError(message)
        if not 0 <= self.strain < 1:
            message = f"strain={self.strain} must lie in [0, 1)."
            raise SettingsError(message)

    def _check_overlaps(self) -> None:
        pairs = near_pairs(self.positions_angstrom, self.size_angstrom, MIN_DISTANCE, periodic=self.periodic)
        if len(pairs):
            distances = separation(self.positions_angstrom, pairs, self.size_angstrom, periodic=self.periodic)
            i, j = pairs[np.argmin(distances)]
            first, second = symbols_of(self.numbers[[i, j]])
            message = (
                f"{self.name}: atoms {i} ({first}) and {j} ({second}) overlap at a distance of {distances.min():.3f} A (limit "
                f"{MIN_DISTANCE:g} A). Remove duplicate atoms, or give shared sites partial occupancies."
            )
            raise StructureFileError(message)

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.numbers)

    def __repr__(self) -> str:
        """Return a line with the name, the formula and the box."""
        height, width = self.size_angstrom
        motion = "static" if self.thermal_sigma_angstrom is None else "with thermal motion"
        box = f"{width:.2f} x {height:.2f} x {self.thickness_angstrom:.2f} A (x, y, z)"
        return f"Sample({self.name!r}, {self.formula}, {box}, {motion}{'' if self.periodic else ', not periodic'})"

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbol of each atom."""
        return symbols_of(self.numbers)

    @property
    def formula(self) -> str:
        """Number of atoms of each element, in alphabetical order: ``"O96Sr32Ti32"``."""
        return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(Counter(self.symbols).items())) or "vacuum"

    @property
    def density_g_per_cm3(self) -> float:
        """Mass of the atoms divided by the volume of the box, including its vacuum, g/cm^3."""
        from ase.data import atomic_masses

        volume = self.size_angstrom[0] * self.size_angstrom[1] * self.thickness_angstrom
        return float(np.sum(atomic_masses[self.numbers]) * G_PER_CM3 / volume)

    @property
    def thermal_summary(self) -> str:
        """1-D rms displacements, or their ranges, by element: ``"O 0.081, Sr 0.079 A rms"``, or ``"static"``."""
        sigma = self.thermal_sigma_angstrom
        if sigma is None:
            return "static"
        parts = []
        for number in np.unique(self.numbers):
            own = sigma[self.numbers == number]
            low, high = f"{own.min():.3f}", f"{own.max():.3f}"
            parts.append(f"{symbols_of(np.array([number]))[0]} {low if low == high else f'{low} to {high}'}")
        return f"{', '.join(sorted(parts))} A rms"

    @property
    def digest(self) -> str:
        """SHA-256 hash (hexadecimal) of atomic numbers, positions, size, thickness, thermal sigmas and periodicity.

        Lengths are rounded to 1e-9 A. In a sample with thermal motion, a non-default ``sites`` also contributes.
        """
        lengths = [self.positions_angstrom, np.array([*self.size_angstrom, self.thickness_angstrom])]
        if self.thermal_sigma_angstrom is not None:
            lengths.append(self.thermal_sigma_angstrom)
        hashed = hashlib.sha256(json.dumps(["stemtwin-sample-1", len(self), self.periodic, self.thermal_sigma_angstrom is not None]).encode())
        hashed.update(self.numbers.astype("<i8").tobytes())
        for values in lengths:
            hashed.update(np.rint(values * 1e9).astype("<i8").tobytes())
        if self.sites is not None and self.thermal_sigma_angstrom is not None:
            hashed.update(self.sites.astype("<i8").tobytes())
        return hashed.hexdigest()

    def to_ase(self) -> "Atoms":
        """Return the atoms as ``ase.Atoms``, with their sigmas in the array ``thermal_sigma_angstrom``."""
        from ase import Atoms

        cell = [self.size_angstrom[1], self.size_angstrom[0], self.thickness_angstrom]
        atoms = Atoms(
            numbers=self.numbers, positions=self.positions_angstrom, cell=cell, pbc=(self.periodic, self.periodic, False), info={"name": self.name}
        )
        if self.thermal_sigma_angstrom is not None:
            atoms.set_array("thermal_sigma_angstrom", np.array(self.thermal_sigma_angstrom))
        return atoms

    @classmethod
    def from_ase(
        cls,
        atoms: "Atoms",
        *,
        thermal_sigma_angstrom: "float | Mapping[str, float] | ArrayLike | None" = None,
        name: str | None = None,
        periodic: bool | None = None,
    ) -> Self:
        """Return a sample of ASE's atoms in their present orientation, with the beam along +z.

        Parameters
        ----------
        atoms : ase.Atoms
            Atoms in an orthogonal cell along x, y, z. Atoms outside the cell are wrapped along periodic directions.
        thermal_sigma_angstrom : float, mapping from symbol to float, (n,) array or None
            1-D rms displacement in A; None: static.
        name : str, optional
            Name of the sample; None: the atoms' ``info["name"]`` or their formula.
        periodic : bool, optional
            Whether the cell repeats in x and y; None: as in ``atoms.pbc``.

        Raises
        ------
        StructureFileError
            The cell is missing or not orthogonal, or atoms overlap.
        SettingsError
            Thermal sigmas do not match the atoms, or atoms lie outside a cell that does not repeat.
        """
        name = name or str(atoms.info.get("name", "")) or atoms.get_chemical_formula() or "vacuum"
        cell, pbc = np.array(atoms.cell.array, dtype=float), np.array(atoms.pbc, dtype=bool)
        positions, lengths, notes = np.array(atoms.positions, dtype=float), np.diag(cell).copy(), []
        across = bool(pbc[:2].all()) if periodic is None else periodic
        bare = lengths[2] <= 0 and not cell[2].any() and not pbc[2]
        if not pbc[2] and len(atoms) and (bare or positions[:, 2].min() < 0 or positions[:, 2].max() >= lengths[2]):
            extent = np.ptp(positions[:, 2])
            lengths[2] = max(lengths[2], extent + 2 * VACUUM_MARGIN)
            positions[:, 2] += (lengths[2] - extent) / 2 - positions[:, 2].min()
            notes.append(f"The atoms were centred along z in a box of {lengths[2]:.3f} A.")
        _check_ase_cell(name, cell, lengths)
        repeats = np.array([across, across, pbc[2]])
        positions = np.where(repeats, wrap(positions / lengths, lengths) * lengths, positions)
        return cls(
            name=name,
            numbers=atoms.numbers,
            positions_angstrom=positions,
            size_angstrom=(lengths[1], lengths[0]),
            thickness_angstrom=lengths[2],
            thermal_sigma_angstrom=resolve_sigma(atoms.numbers, thermal_sigma_angstrom),
            periodic=across,
            notes=tuple(notes),
        )

    def __getstate__(self) -> list[Any]:
        """Return the fields, for pickling."""
        return [getattr(self, field) for field in self.__slots__]

    def __setstate__(self, state: list[Any]) -> None:
        """Restore the fields, with read-only arrays again."""
        for field, value in zip(self.__slots__, state, strict=True):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)
            object.__setattr__(self, field, value)


def wrap(fractional: np.ndarray, lengths: np.ndarray, tolerance: float = 1e-5) -> np.ndarray:
    """Return fractional coordinates in [0, 1). Coordinates that lie less than ``tolerance`` (A) below 1 become 0."""
    slack = tolerance / np.asarray(lengths)
    return np.clip(fractional - np.floor(fractional + slack), 0.0, None)


def _check_ase_cell(name: str, cell: np.ndarray, lengths: np.ndarray) -> None:
    if np.any(lengths <= 0):
        message = (
            f"{name} has a cell of {lengths[0]:g} x {lengths[1]:g} x {lengths[2]:g} A (x, y, z); each must be above 0. Give the atoms a cell, "
            f"for example by atoms.center(vacuum=5)."
        )
        raise StructureFileError(message)
    skew = np.abs(cell - np.diag(np.diag(cell))).max()
    if skew > 1e-4:
        message = (
            f"{name} has a cell that is not orthogonal along x, y, z (off-diagonal element of {skew:.4g} A, limit 1e-4 A). "
            f"Use read_sample, which orients the crystal, or build an orthogonal cell."
        )
        raise StructureFileError(message)
