"""Symmetry operations of a cell, and the orbit of a site, which may be a special position with rounded coordinates."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import gemmi

TWELFTHS = 24  # translations of space groups are multiples of 1/24
ROUNDED = 0.004  # largest rounding error of a decimal translation such as 0.333 or 0.6667
MOST_OPERATIONS = 192
_TERM = re.compile(r"([+-]?)\s*(\d*\.?\d*(?:/\d+)?)\s*\*?\s*([xyz]?)")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Operations:
    """Symmetry operations x -> R x + t in fractions of a cell.

    Parameters
    ----------
    rotations : (k, 3, 3) float
        Rotations R.
    translations : (k, 3) float
        Translations t, in [0, 1).
    """

    rotations: np.ndarray
    translations: np.ndarray

    def __len__(self) -> int:
        """Return the number of operations."""
        return len(self.rotations)

    def metric_deviation(self, cell: np.ndarray) -> float:
        """Return the largest deviation of R^T G R from G, where R is any of the rotations and G the metric tensor of the cell (3, 3).

        Each element of R^T G R - G is divided by the lengths of the two cell edges to which it belongs.
        The result is 0 if all operations preserve lengths and angles.
        """
        metric = cell @ cell.T
        lengths = np.sqrt(np.diag(metric))
        turned = np.einsum("kji,jl,klm->kim", self.rotations, metric, self.rotations)
        return float(np.max(np.abs(turned - metric) / np.outer(lengths, lengths)))

    def keys(self) -> set[tuple[int, ...]]:
        """Return one hashable key for each operation."""
        steps = np.rint(self.translations * 1000).astype(int) % 1000
        return {tuple(row) for row in np.column_stack([np.rint(self.rotations.reshape(-1, 9)).astype(int), steps]).tolist()}


IDENTITY = Operations(rotations=np.eye(3)[None], translations=np.zeros((1, 3)))


def operations_of_group(operations: "Iterable[gemmi.Op]") -> Operations:
    """Return the operations of a gemmi group."""
    import gemmi

    listed = list(operations)
    rotations = np.array([operation.rot for operation in listed], dtype=float) / gemmi.Op.DEN
    translations = np.array([operation.tran for operation in listed], dtype=float) / gemmi.Op.DEN
    return Operations(rotations=rotations, translations=translations % 1.0)


def parse_operation(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation R (3, 3) and the translation t (3,) of a text such as ``-x+1/2,y,z``.

    A leading number and a time reversal in the text are ignored.

    Raises
    ------
    ValueError
        The text is not a symmetry operation.
    """
    plain = re.sub(r"^\s*\d+\s+(?=[-+.\dxXyYzZ])", "", text.strip().strip("'\";")).lower()
    parts = [part.strip() for part in plain.split(",")]
    if len(parts) not in (3, 4) or (len(parts) == 4 and not re.fullmatch(r"[+-]?\s*1?", parts[3])):
        message = f"{text!r} does not have three parts"
        raise ValueError(message)
    rotation, translation = np.zeros((3, 3)), np.zeros(3)
    for row, part in enumerate(parts[:3]):
        at = 0
        while at < len(part):
            found = _TERM.match(part, at)
            if found is None or not found[0].strip() or not (found[2] or found[3]):
                message = f"{text!r} cannot be read at {part[at:]!r}"
                raise ValueError(message)
            sign = -1.0 if found[1] == "-" else 1.0
            value = sign * _fraction(found[2] or "1", text)
            if found[3]:
                rotation[row, "xyz".index(found[3])] += value
            else:
                translation[row] += value
            at = found.end()
            while at < len(part) and part[at] == " ":
                at += 1
    if abs(abs(np.linalg.det(rotation)) - 1) > 1e-6:
        message = f"{text!r} does not preserve volumes"
        raise ValueError(message)
    near = np.rint(translation * TWELFTHS) / TWELFTHS
    return rotation, np.where(np.abs(near - translation) < ROUNDED, near, translation) % 1.0


def _fraction(text: str, whole: str) -> float:
    """Return the number of a text such as ``1/2``, ``.5`` or ``2``."""
    top, _, bottom = text.partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        message = f"{whole!r} holds {text!r}, which is not a number"
        raise ValueError(message) from None


def listed_operations(texts: Iterable[str]) -> Operations:
    """Return the operations of a list of texts.

    Raises
    ------
    ValueError
        A text cannot be read.
    """
    pairs = [parse_operation(text) for text in texts]
    return Operations(rotations=np.array([pair[0] for pair in pairs]), translations=np.array([pair[1] for pair in pairs]))


def product(first: Operations, second: Operations) -> Operations:
    """Return the distinct products of two sets of operations."""
    rotations = np.einsum("aij,bjk->abik", first.rotations, second.rotations).reshape(-1, 3, 3)
    translations = (np.einsum("aij,bj->abi", first.rotations, second.translations) + first.translations[:, None]).reshape(-1, 3) % 1.0
    keys = np.column_stack([np.rint(rotations.reshape(-1, 9)), np.rint(translations * 1000) % 1000])
    once = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    return Operations(rotations=rotations[once], translations=translations[once])


def closed(operations: Operations) -> Operations:
    """Return the group that operations generate.

    Operations that are already a group are returned as the same object. The search stops
    when it finds more than 192 operations, the largest number per cell of any space group. The set found so far, which may
    be incomplete, is then returned without an error.
    """
    group = operations
    with_identity = np.concatenate([IDENTITY.rotations, group.rotations]), np.concatenate([IDENTITY.translations, group.translations])
    if not IDENTITY.keys() <= group.keys():
        group = Operations(rotations=with_identity[0], translations=with_identity[1])
    while len(group) <= MOST_OPERATIONS:
        more = product(group, group)
        if len(more) == len(group):
            return group
        group = more
    return group


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Orbit:
    """All images of one site in the cell.

    Parameters
    ----------
    images : (m, 3) float
        Fractional coordinates, the site itself first, moved to its special position if it lies on one.
    nearest : float
        Distance between the two nearest distinct images, A; infinity for a single image.
    moved : float
        Distance by which the site was moved to its special position, A.
    """

    images: np.ndarray
    nearest: float
    moved: float


def orbit_of(place: np.ndarray, operations: Operations, cell: np.ndarray, reach: float) -> Orbit:
    """Return the orbit of a site.

    If images of the site lie within ``reach`` of it, the site is moved to their mean, its special position.

    Parameters
    ----------
    place : (3,) float
        Fractional coordinates.
    operations : Operations
        Operations that preserve the lengths and angles of the cell.
    cell : (3, 3) float
        Lattice vectors as rows, A.
    reach : float
        Distance below which two images count as one, A.
    """
    start, distances, same = place, np.empty(0), np.empty(0, dtype=bool)
    for _ in range(4):
        steps = operations.rotations @ place + operations.translations - place
        steps -= np.round(steps)
        distances = np.linalg.norm(steps @ cell, axis=1)
        same = distances < reach
        if same.sum() <= 1:
            break
        shift = steps[same].mean(axis=0)
        place = place + shift
        if np.abs(shift).max() < 1e-12:
            break
    images = operations.rotations @ place + operations.translations
    if same.sum() > 1:
        away = images[:, None] - images[None]
        away -= np.round(away)
        close = np.linalg.norm(away @ cell, axis=2) < max(reach, 1e-3)
        images = images[~np.tril(close, -1).any(axis=1)]
    first = np.argmin(np.linalg.norm((images - place - np.round(images - place)) @ cell, axis=1))
    order = np.concatenate([[first], np.delete(np.arange(len(images)), first)])
    apart = distances[~same]
    moved = float(np.linalg.norm((place - start) @ cell))
    return Orbit(images=images[order], nearest=float(apart.min()) if len(apart) else np.inf, moved=moved)
