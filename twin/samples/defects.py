"""Defects: functions that remove, substitute, add and move atoms of a sample and record each change.

The functions compose: each takes a sample and returns a new one, with one more record in ``defects`` for each changed
site. :func:`sites` returns the sites of a sublattice, and :func:`share` draws a fraction of them. The new sample has no recipe,
because the recipe describes the sample without the change; the library adds its own recipe afterwards.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.neighbours import steps_from
from stemtwin.twin.samples.sample import Defect, Sample, symbols_of, wrap

CROWDED = 0.6  # atoms nearer than this fraction of the sum of their covalent radii overlap; no bond is that short
SIDES = ("both", "entrance", "exit")


def number_of(symbol: str) -> int:
    """Return the atomic number of a symbol; raise SettingsError for an unknown symbol."""
    from ase.data import atomic_numbers

    if symbol not in atomic_numbers or atomic_numbers[symbol] < 1:
        message = f"{symbol!r} is not the symbol of an element. Give a symbol such as 'Si'."
        raise SettingsError(message)
    return int(atomic_numbers[symbol])


def sites(sample: Sample, *symbols: str, side: str = "both") -> np.ndarray:
    """Return the indices (k,) int64 of the atoms of a sublattice, in order.

    Parameters
    ----------
    sample : Sample
        The sample.
    *symbols : str
        Elements of the sublattice; all elements if none is given.
    side : str
        "entrance" or "exit": only atoms on that side of the plane half-way between the first and the last atom
        along z; "both": all atoms.

    Raises
    ------
    SettingsError
        An element or the side is unknown, or the sample holds none of these atoms.
    """
    checks.choice("side", side, SIDES)
    ours = np.isin(sample.numbers, [number_of(symbol) for symbol in symbols]) if symbols else np.ones(len(sample), dtype=bool)
    if side != "both" and len(sample):
        z = sample.positions_angstrom[:, 2]
        beyond = z - (z.min() + z.max()) / 2
        ours &= beyond < -1e-6 if side == "entrance" else beyond > 1e-6
    found = np.flatnonzero(ours)
    if len(found) == 0:
        message = (
            f"{sample.name} holds no {' or '.join(symbols) or 'atoms'}{'' if side == 'both' else f' on the {side} side'}. "
            f"Choose among the atoms of {sample.formula}."
        )
        raise SettingsError(message)
    return found


def share(indices: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Return a randomly drawn fraction of sites, in their original order.

    Parameters
    ----------
    indices : (k,) or (k, m) int
        Sites, or rows of sites that are drawn together.
    fraction : float
        Fraction, 0 to 1. The number of sites is ``fraction * k``, rounded down or up at random, so the mean of this
        number is exactly ``fraction * k``.
    rng : numpy.random.Generator
        Source of the draw. If two fractions are drawn with equal generators, the sites of the smaller fraction are a
        subset of the sites of the larger fraction.

    Raises
    ------
    SettingsError
        The fraction lies outside 0 to 1.
    """
    if not 0 <= fraction <= 1:
        message = f"fraction={fraction!r} must lie between 0 and 1."
        raise SettingsError(message)
    chance, order = rng.random(), rng.permutation(len(indices))
    count = int(np.floor(fraction * len(indices) + 1e-9))
    count += int(chance < fraction * len(indices) - count - 1e-9)
    return indices[np.sort(order[:count])]


def rows_of(sample: Sample, atoms: ArrayLike) -> np.ndarray:
    """Return indices of atoms as rows (k, m), one row for each defect.

    Raises
    ------
    SettingsError
        An atom does not exist or is named twice.
    """
    rows = np.asarray(atoms, dtype=np.int64)
    rows = rows.reshape(-1, 1) if rows.ndim < 2 else rows
    flat = rows.ravel()
    if len(flat) and (flat.min() < 0 or flat.max() >= len(sample)):
        message = f"atom {flat[(flat < 0) | (flat >= len(sample))][0]} does not exist: {sample.name} has atoms 0 to {len(sample) - 1}."
        raise SettingsError(message)
    if len(np.unique(flat)) < len(flat):
        message = f"atom {np.flatnonzero(np.bincount(flat) > 1)[0]} is named twice. Name each atom once."
        raise SettingsError(message)
    return rows


def _centre(sample: Sample, row: np.ndarray) -> tuple[float, float, float]:
    """Return the mean position of atoms, which may lie across an edge of a periodic sample."""
    first = sample.positions_angstrom[row[0]]
    middle = first + steps_from(sample, first, row).mean(axis=0)
    return tuple(_inside(sample, middle[None])[0].tolist())


def _inside(sample: Sample, positions: np.ndarray) -> np.ndarray:
    """Return positions (k, 3), wrapped into the box along its periodic directions."""
    if not sample.periodic:
        return positions
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    return np.column_stack([wrap(positions[:, :2] / box, box) * box, positions[:, 2]])


def _formula(symbols: Sequence[str]) -> str:
    """Return a formula: "2S" for two atoms of one element, "MoS2" for a mixture."""
    counts = Counter(symbols)
    if len(counts) == 1:
        symbol, count = next(iter(counts.items()))
        return symbol if count == 1 else f"{count}{symbol}"
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(counts.items()))


def remove(sample: Sample, atoms: ArrayLike, *, name: str | None = None, kind: str = "vacancy") -> Sample:
    """Return a sample without the given atoms.

    Parameters
    ----------
    sample : Sample
        The sample before the change.
    atoms : (k,) or (k, m) int
        Indices of the atoms; each row becomes one vacancy.
    name, kind : str
        Name and kind of the defects. By default, the name describes the removed atoms, such as "V_S", "V_2S" or
        "V_MoS6".

    Returns
    -------
    Sample
        The sample with the remaining atoms, whose positions and order are unchanged.

    Raises
    ------
    SettingsError
        An atom does not exist or is named twice.
    """
    rows = rows_of(sample, atoms)
    if rows.size == 0:
        return sample
    new = []
    for row in rows:
        symbols = symbols_of(sample.numbers[row])
        new.append(Defect(kind=kind, name=name or f"V_{_formula(symbols)}", position_angstrom=_centre(sample, row), removed=symbols))
    keep = np.ones(len(sample), dtype=bool)
    keep[rows.ravel()] = False
    sigma = sample.thermal_sigma_angstrom
    return replace(
        sample,
        numbers=sample.numbers[keep],
        positions_angstrom=sample.positions_angstrom[keep],
        thermal_sigma_angstrom=None if sigma is None else sigma[keep],
        defects=(*sample.defects, *new),
        recipe="",
    )


def substitute(sample: Sample, atoms: ArrayLike, symbol: str, *, sigma_angstrom: float | None = None, name: str | None = None) -> Sample:
    """Return a sample in which the given atoms are replaced by another element.

    Parameters
    ----------
    sample : Sample
        The sample before the change.
    atoms : (k,) int
        Indices of the atoms.
    symbol : str
        New element. An atom of this element is left as it is, without a record.
    sigma_angstrom : float, optional
        Thermal sigma of the new atoms, A; None: the value of the replaced atom.
    name : str, optional
        Name of the defects; None: a name such as "W_Mo" for W in place of Mo.

    Raises
    ------
    SettingsError
        The element is unknown, or an atom does not exist or is named twice.
    """
    which, number = rows_of(sample, atoms).ravel(), number_of(symbol)
    which = which[sample.numbers[which] != number]
    if len(which) == 0:
        return sample
    old = symbols_of(sample.numbers[which])
    new = [
        Defect(kind="substitution", name=name or f"{symbol}_{was}", position_angstrom=tuple(place), removed=(was,), added=(symbol,))
        for was, place in zip(old, sample.positions_angstrom[which].tolist(), strict=True)
    ]
    numbers, sigma = sample.numbers.copy(), sample.thermal_sigma_angstrom
    numbers[which] = number
    if sigma is not None and sigma_angstrom is not None:
        sigma = sigma.copy()
        sigma[which] = sigma_angstrom
    return replace(sample, numbers=numbers, thermal_sigma_angstrom=sigma, defects=(*sample.defects, *new), recipe="")


def add(
    sample: Sample,
    symbols: Sequence[str],
    positions_angstrom: ArrayLike,
    *,
    sigma_angstrom: float | None = None,
    name: str | None = None,
    kind: str = "adatom",
) -> Sample:
    """Return a sample with further atoms, which follow its own atoms in the arrays.

    Parameters
    ----------
    sample : Sample
        The sample before the change.
    symbols : sequence of str
        Elements (k,).
    positions_angstrom : (k, 3) float
        x, y, z in A. Positions outside a periodic box are wrapped into it.
    sigma_angstrom : float, optional
        Thermal sigma of the new atoms, A; None: the mean of the other atoms.
    name, kind : str
        Name and kind of the defects; None: a name such as "Si_ad".

    Raises
    ------
    SettingsError
        The element is unknown, or a position lies outside the box or is occupied by another atom.
    """
    positions = _inside(sample, np.asarray(positions_angstrom, dtype=float).reshape(-1, 3))
    if len(positions) != len(symbols):
        message = f"positions_angstrom has {len(positions)} positions for {len(symbols)} symbols. Give one position for each symbol."
        raise SettingsError(message)
    numbers = np.array([number_of(symbol) for symbol in symbols], dtype=np.int64)
    sigma = sample.thermal_sigma_angstrom
    if sigma is not None:
        sigma = np.append(sigma, np.full(len(numbers), sigma.mean() if sigma_angstrom is None else sigma_angstrom))
    new = [
        Defect(kind=kind, name=name or f"{symbol}_ad", position_angstrom=tuple(place), added=(symbol,))
        for symbol, place in zip(symbols, positions.tolist(), strict=True)
    ]
    more = replace(
        sample,
        numbers=np.append(sample.numbers, numbers),
        positions_angstrom=np.vstack([sample.positions_angstrom, positions]),
        thermal_sigma_angstrom=sigma,
        defects=(*sample.defects, *new),
        recipe="",
    )
    check_room(more, np.arange(len(sample), len(more)))
    return more


def displace(sample: Sample, atoms: ArrayLike, step_angstrom: ArrayLike, *, name: str | None = None) -> Sample:
    """Return a sample in which the given atoms are moved.

    Parameters
    ----------
    sample : Sample
        The sample before the change.
    atoms : (k,) or (k, m) int
        Indices of the atoms; each row is one defect.
    step_angstrom : (3,) or (..., 3) float
        Displacement in A, one vector for all atoms or one for each.
    name : str, optional
        Name of the recorded defects. Each row is recorded as one defect of the kind "displacement" at the mean position
        of its atoms. None: the move is the relaxation around another defect and is not recorded.

    Raises
    ------
    SettingsError
        An atom does not exist or is named twice, or the move leads out of the box or onto another atom.
    """
    rows = rows_of(sample, atoms)
    if rows.size == 0:
        return sample
    positions = sample.positions_angstrom.copy()
    positions[rows.ravel()] += np.asarray(step_angstrom, dtype=float).reshape(-1, 3)
    moved = replace(sample, positions_angstrom=_inside(sample, positions), recipe="")
    check_room(moved, rows.ravel())
    if name is None:
        return moved
    new = [Defect(kind="displacement", name=name, position_angstrom=_centre(moved, row)) for row in rows]
    return replace(moved, defects=(*sample.defects, *new))


def check_room(sample: Sample, atoms: np.ndarray) -> None:
    """Raise SettingsError if one of the given atoms is too near to another atom of the sample.

    The smallest permitted distance is 0.6 times the sum of the covalent radii of the two atoms.
    """
    from ase.data import covalent_radii
    from scipy.spatial import cKDTree

    if len(atoms) == 0 or len(sample) < 2:
        return
    box = (sample.size_angstrom[1], sample.size_angstrom[0], 0.0)
    tree = cKDTree(sample.positions_angstrom, boxsize=box if sample.periodic else None)
    radii = covalent_radii[sample.numbers]
    reach = CROWDED * (radii[atoms] + radii.max())
    for atom, near in zip(atoms.tolist(), tree.query_ball_point(sample.positions_angstrom[atoms], reach), strict=True):
        others = np.array([other for other in near if other != atom], dtype=np.int64)
        distance = np.linalg.norm(steps_from(sample, sample.positions_angstrom[atom], others), axis=1)
        limit = CROWDED * (radii[atom] + radii[others])
        if np.any(distance < limit):
            worst = int(np.argmin(distance - limit))
            one, other = symbols_of(sample.numbers[[atom, others[worst]]])
            place = ", ".join(f"{value:.3f}" for value in sample.positions_angstrom[atom])
            message = (
                f"{one} at ({place}) A overlaps {other} (atom {others[worst]}), {distance[worst]:.3f} A away; the limit is {limit[worst]:.3f} A, "
                f"{CROWDED:g} times the sum of their covalent radii. Choose another position."
            )
            raise SettingsError(message)
