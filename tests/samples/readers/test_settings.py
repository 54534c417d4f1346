"""Crystals in every setting of every space group, written as CIF in many dialects and read back."""

from collections import Counter
from pathlib import Path

import gemmi
import numpy as np
import pytest

from stemtwin.twin.errors import StructureFileError
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.readers.formats import read_crystal
from tests.samples.readers.crystals import DIALECTS, NUMBERS, OPEN, DrawnCrystal, all_settings, distances_between, draw_crystal, write_cif

LEFT_OPEN = (*OPEN, "formula", "multiplicities")
"""Dialects that may leave the setting open, also where they say more of the content: the right atoms, or a doubt."""


def same_atoms(drawn: DrawnCrystal, read: Crystal) -> bool:
    """Return whether what was read is what was drawn: cell metric, and each atom with its element, occupancy and U, modulo the lattice."""
    if not np.allclose(read.cell @ read.cell.T, drawn.cell @ drawn.cell.T, rtol=1e-6, atol=1e-4) or read.sigma is None:
        return False
    if len(read.numbers) != sum(len(images) for images in drawn.images):
        return False
    for symbol, images, share, u in zip(drawn.symbols, drawn.images, drawn.occupancy, drawn.u, strict=True):
        distances = distances_between(images, read.fractional, drawn.cell)
        nearest = distances.argmin(axis=1)
        if distances.min(axis=1).max() > 0.02 or len(set(nearest.tolist())) != len(images):
            return False
        if np.any(read.numbers[nearest] != NUMBERS[symbol]) or not np.allclose(read.filling[nearest], share):
            return False
        if not np.allclose(read.sigma[nearest] ** 2, u):
            return False
    return True


def tried(setting: gemmi.SpaceGroup, dialect: str, seed: int, folder: Path) -> str:
    """Return how the reading of one drawn crystal ended: right, or open (with a doubt or a refusal), or wrong."""
    rng = np.random.default_rng([seed, setting.number])
    drawn = draw_crystal(setting, rng)
    path = folder / f"drawn-{seed}.cif"
    path.write_text(write_cif(drawn, dialect, rng), encoding="utf-8", newline="")
    try:
        read = read_crystal(path)
    except StructureFileError as error:
        return "open" if dialect in LEFT_OPEN else f"wrong: {error}"
    right = same_atoms(drawn, read)
    if right:
        return "right" if dialect in LEFT_OPEN or not read.doubts else f"wrong: a needless doubt: {read.doubts}"
    if dialect in LEFT_OPEN and read.doubts:
        return "open"
    return f"wrong: {path}: {setting.xhm()} {dialect}: {read.doubts or 'in silence'}"


def check_many(count: int, folder: Path) -> Counter[str]:
    """Draw crystals, setting after setting and dialect after dialect, and return how many ended right or open; none may end wrong."""
    settings = all_settings()
    ends: Counter[str] = Counter()
    for seed in range(count):
        setting = settings[(seed * 197) % len(settings)]
        dialect = DIALECTS[(seed * 7 + seed // len(settings)) % len(DIALECTS)]
        end = tried(setting, dialect, seed, folder)
        assert not end.startswith("wrong"), end
        ends[f"{dialect}: {end}"] += 1
    return ends


def check_shares(ends: Counter[str], count: int) -> None:
    """Hold that little is left open: nothing where the setting is told, and less than half where it may not be."""
    left = sum(number for key, number in ends.items() if key.endswith("open"))
    assert sum(ends.values()) == count
    assert all(not key.endswith("open") or key.split(":")[0] in LEFT_OPEN for key in ends)
    assert left < 0.3 * count


def test_settings_small(tmp_path: Path) -> None:
    """Of 120 crystals in as many settings, each is read back atom for atom, or the reader says what the file leaves open."""
    check_shares(check_many(120, tmp_path), 120)


@pytest.mark.slow
def test_settings_full(tmp_path: Path) -> None:
    """Of 1,128 crystals in all 564 settings, each is read back atom for atom, or the reader says what the file leaves open."""
    check_shares(check_many(1128, tmp_path), 1128)
