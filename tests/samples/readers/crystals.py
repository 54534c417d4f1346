"""Crystals drawn at random in any setting that gemmi knows, and CIFs of them in the dialects of programs and databases."""

from dataclasses import dataclass

import gemmi
import numpy as np

from stemtwin.twin.samples.readers.orbits import Operations, operations_of_group
from stemtwin.twin.samples.readers.space_groups import table

ELEMENTS = ("Mg", "Al", "Ti", "Fe", "Sr", "La", "O")
NUMBERS = {symbol: gemmi.Element(symbol).atomic_number for symbol in ELEMENTS}
APART = 2.3  # A between two sites: no two atoms look like a mistake


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawnCrystal:
    """A crystal: its setting, cell, and independent sites with element, occupancy, U and their images."""

    setting: gemmi.SpaceGroup
    parameters: tuple[float, ...]
    cell: np.ndarray
    symbols: list[str]
    places: np.ndarray
    occupancy: np.ndarray
    u: np.ndarray
    images: list[np.ndarray]

    @property
    def counts(self) -> dict[str, float]:
        """Atoms of each element in the cell."""
        counts: dict[str, float] = {}
        for symbol, share, images in zip(self.symbols, self.occupancy, self.images, strict=True):
            counts[symbol] = counts.get(symbol, 0.0) + share * len(images)
        return counts


def _parameters(setting: gemmi.SpaceGroup, rng: np.random.Generator) -> tuple[float, ...]:
    """Return a cell that has the metric of the setting and no other."""
    a, b, c = rng.permutation([rng.uniform(5, 6.2), rng.uniform(6.9, 8), rng.uniform(8.7, 10)])
    number = setting.number
    angles = [90.0, 90.0, 90.0]
    if number <= 2:
        angles = rng.uniform(76, 86, 3).tolist()
    elif number <= 15:
        angles["abc".index(setting.monoclinic_unique_axis())] = float(rng.choice([rng.uniform(95, 118), rng.uniform(76, 86)]))
    elif setting.ext == "R":
        angles = [float(rng.choice([rng.uniform(50, 57), rng.uniform(63, 85), rng.uniform(95, 105)]))] * 3
    elif 143 <= number <= 194:
        angles[2] = 120.0
    if number > 194 or setting.ext == "R":
        return c, c, c, *angles
    return a, a if number > 74 else b, c, *angles


def distances_between(first: np.ndarray, second: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the distances (n, m), A, between fractional places modulo the lattice, up to half of the shortest edge."""
    away = first[:, None] - second[None]
    away -= np.round(away)
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])
    return np.linalg.norm((away[:, :, None] + shifts) @ cell, axis=-1).min(axis=2)


def _site(operations: Operations, cell: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a place and its images, half of the time on a special position; None where its images come too near each other."""
    place = rng.random(3)
    for _ in range(int(rng.integers(0, 3))):  # onto the fixed points of an operation, as far as it has any
        pick = int(rng.integers(len(operations)))
        rotation, shift = operations.rotations[pick], operations.translations[pick]
        order, power = 1, rotation
        while not np.allclose(power, np.eye(3)):
            power, order = power @ rotation, order + 1
        moved, mean = place, np.zeros(3)
        for _ in range(order):
            mean = mean + moved / order
            moved = rotation @ moved + shift
        if np.allclose(rotation @ mean + shift - mean, np.round(rotation @ mean + shift - mean), atol=1e-9):
            place = mean
    images = operations.rotations @ place + operations.translations
    distances = distances_between(place[None], images, cell)[0]  # from one image they are as from any other: the operations are a group of isometries
    if np.any((distances > 1e-6) & (distances < APART)):
        return None
    keys = np.round(images % 1.0, 6) % 1.0
    once = images[np.sort(np.unique(keys, axis=0, return_index=True)[1])]
    assert len(once) * np.sum(distances < 1e-6) == len(images)
    return np.round(place, 10), once


def draw_crystal(setting: gemmi.SpaceGroup, rng: np.random.Generator) -> DrawnCrystal:
    """Return a crystal of one to four independent sites, at least 2.3 A apart."""
    operations = operations_of_group(setting.operations())
    while True:
        parameters = _parameters(setting, rng)
        parameters = tuple(float(np.round(value, 4)) for value in parameters)
        cell = np.array(gemmi.UnitCell(*parameters).orth.mat.tolist()).T
        symbols, places, images = [], [], []
        wanted = int(rng.integers(1, 5))
        for _ in range(30):
            found = _site(operations, cell, rng)
            if found is None or any(distances_between(found[1], other, cell).min() < APART for other in images):
                continue
            symbols.append(str(rng.choice(ELEMENTS)))
            places.append(found[0])
            images.append(found[1])
            if len(places) == wanted:
                break
        if places:
            partial = rng.random(len(places)) < 0.25
            return DrawnCrystal(
                setting=setting,
                parameters=parameters,
                cell=cell,
                symbols=symbols,
                places=np.array(places),
                occupancy=np.where(partial, np.round(rng.uniform(0.3, 0.95, len(places)), 3), 1.0),
                u=np.round(rng.uniform(0.003, 0.02, len(places)), 5),
                images=images,
            )


DIALECTS = ("operations", "magnetic", "named", "hall", "name", "short name", "number", "icsd", "formula", "multiplicities")
OPEN = ("name", "short name", "number")
"""Dialects that may leave the setting open: the right atoms, or a doubt, or a refusal."""


def write_cif(crystal: DrawnCrystal, dialect: str, rng: np.random.Generator) -> str:
    """Return a CIF of a crystal, its symmetry told in one of the dialects."""
    setting = crystal.setting
    digits = int(rng.choice([4, 5, 6]))
    head = ["#\\#CIF_1.1", "data_drawn"]
    tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    head += [f"_cell_{tag}  {value:.4f}{'(2)' if rng.random() < 0.3 else ''}" for tag, value in zip(tags, crystal.parameters, strict=True)]
    if dialect in ("formula", "multiplicities") or rng.random() < 0.3:
        head.append("_chemical_formula_sum '" + " ".join(f"{symbol}{round(count, 4):g}" for symbol, count in sorted(crystal.counts.items())) + "'")
        head.append("_cell_formula_units_Z 1")
    head += _symmetry(setting, dialect, rng)
    kind = str(rng.choice(["U_iso_or_equiv", "B_iso_or_equiv", "aniso"]))
    columns = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy", *([kind] if kind != "aniso" else [])]
    if dialect == "multiplicities":
        columns.append("site_symmetry_multiplicity")
    rows = []
    for at, symbol in enumerate(crystal.symbols):
        place = [f"{value + float(rng.choice([-1, 0, 0, 1])):.{digits}f}" for value in crystal.places[at]]
        rows.append([f"{symbol}{at + 1}", f"{symbol}{rng.choice(['', '2+', '3+'])}", *place, f"{crystal.occupancy[at]:g}"])
        if kind != "aniso":
            rows[-1].append(f"{crystal.u[at] * (1.0 if kind[0] == 'U' else 8 * np.pi**2):.8g}")
        if dialect == "multiplicities":
            rows[-1].append(str(len(crystal.images[at])))
    if rng.random() < 0.3:  # labels alone
        columns.remove("type_symbol")
        rows = [[row[0], *row[2:]] for row in rows]
    tail = _anisotropic(crystal) if kind == "aniso" else []
    end = str(rng.choice(["\n", "\r\n"]))
    return end.join([*head, "loop_", *(f"_atom_site_{column}" for column in columns), *(" ".join(row) for row in rows), *tail, ""])


def _anisotropic(crystal: DrawnCrystal) -> list[str]:
    """Return a loop of the tensors of isotropic displacements: U times the cosines of the reciprocal angles."""
    reciprocal = np.linalg.inv(crystal.cell).T
    unit = reciprocal / np.linalg.norm(reciprocal, axis=1)[:, None]
    cosines = unit @ unit.T
    parts = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    lines = ["loop_", "_atom_site_aniso_label", *(f"_atom_site_aniso_U_{i + 1}{j + 1}" for i, j in parts)]
    for at, symbol in enumerate(crystal.symbols):
        lines.append(" ".join([f"{symbol}{at + 1}", *(f"{crystal.u[at] * cosines[i, j]:.10f}" for i, j in parts)]))
    return lines


def _symmetry(setting: gemmi.SpaceGroup, dialect: str, rng: np.random.Generator) -> list[str]:
    """Return the lines that tell the symmetry."""
    listed = [operation.triplet() for operation in setting.operations()]
    number = f"_symmetry_Int_Tables_number {setting.number}"
    if dialect == "operations":
        tag = str(rng.choice(["_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz"]))
        return ["loop_", tag, *(f"'{listed[at].replace(',', ', ')}'" for at in rng.permutation(len(listed)))]
    if dialect == "magnetic":
        return _magnetic(setting, rng)
    if dialect == "hall":
        quote = "'" if "'" not in setting.hall else '"'
        return [f"_space_group_name_Hall {quote}{setting.hall}{quote}"]
    if dialect == "number":
        return [number]
    suffix = {"1": " S", "2": " Z", "H": " H", "R": " R"}.get(setting.ext, "")
    short = " ".join(part for part in setting.hm.split() if part != "1") if 3 <= setting.number <= 15 else setting.short_name()
    name = {"named": setting.xhm(), "icsd": setting.hm + suffix, "short name": short}.get(dialect, setting.hm)
    return [f"_symmetry_space_group_name_H-M '{name}'", *([number] if dialect in ("named", "icsd") else [])]


def _magnetic(setting: gemmi.SpaceGroup, rng: np.random.Generator) -> list[str]:
    """Return loops of magnetic operations, with and without time reversal, and of centrings."""
    group = setting.operations()
    shifts = [gemmi.Op().translated(list(shift)).triplet() for shift in group.cen_ops]
    lines = ["loop_", "_space_group_symop_magn_operation.id", "_space_group_symop_magn_operation.xyz"]
    lines += [f"{at + 1} {operation.triplet()},{rng.choice(['+1', '-1'])}" for at, operation in enumerate(group.sym_ops)]
    lines += ["loop_", "_space_group_symop_magn_centering.id", "_space_group_symop_magn_centering.xyz"]
    return [*lines, *(f"{at + 1} {shift},+1" for at, shift in enumerate(shifts))]


def all_settings() -> tuple[gemmi.SpaceGroup, ...]:
    """Return every setting that gemmi knows."""
    return table()
