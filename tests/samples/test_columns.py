"""Projected columns: counts, places, species, edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.columns import projected_columns
from stemtwin.twin.samples.library import SAMPLES, load_sample
from stemtwin.twin.samples.sample import Sample


def test_columns_of_strontium_titanate() -> None:
    """SrTiO3 [001]: Sr at the corners, Ti-O in the middle with as many O as Ti, pure O on the edges; x, y in the box; weights are sums of Z**1.7."""
    sample = load_sample("srtio3-001", size_angstrom=(8, 12), thickness_angstrom=20)
    columns = projected_columns(sample)
    species = np.array(columns.species)
    assert [int(np.sum(species == one)) for one in ("Sr", "Ti-O", "O")] == [6, 6, 12]
    assert np.all(columns.occupancy == np.where(species == "Ti-O", 10, 5))
    assert np.all(columns.heaviest == np.select([species == "Sr", species == "Ti-O"], [38, 22], 8))
    assert np.allclose(columns.weight[species == "Ti-O"], 5 * (22**1.7 + 8**1.7))
    assert np.allclose(columns.x[species == "Ti-O"] % 3.905, 1.9525)
    assert np.all(np.diff(columns.y) >= -1e-9)


@pytest.mark.parametrize("name", SAMPLES.names("crystal") + SAMPLES.names("sheet"))
def test_every_atom_stands_in_one_column(name: str) -> None:
    """Occupancies sum to the atoms, weights to the sum of Z**1.7, and no two columns come within the tolerance."""
    sample = load_sample(name)
    columns = projected_columns(sample)
    assert columns.occupancy.sum() == len(sample)
    assert columns.weight.sum() == pytest.approx(np.sum(sample.numbers**1.7))
    step = np.column_stack([columns.x, columns.y])[:, None] - np.column_stack([columns.x, columns.y])[None]
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    step -= box * np.round(step / box)
    distance = np.linalg.norm(step, axis=-1) + 10 * np.eye(len(columns))
    assert distance.min() > 0.3


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_columns_move_with_the_sample(seed: int) -> None:
    """Shifting a periodic sample by any vector shifts its columns, across the edges too, and changes nothing else."""
    rng = np.random.default_rng(seed)
    shift, box = rng.random(2) * 16, np.array([12.0, 10.0])
    spots = np.array([[0.02, 0.01], [11.98, 5.0], [6.0, 9.99], [3.0, 3.0]])
    positions = np.column_stack([np.repeat(spots, 3, axis=0) + rng.normal(0, 0.03, (12, 2)), np.tile([0.0, 2.0, 4.0], 4)])
    numbers = np.tile([79, 8, 8], 4)

    def columns_at(offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = positions.copy()
        moved[:, :2] = (moved[:, :2] + offset) % box % box
        sample = Sample(name="s", numbers=numbers, positions_angstrom=moved, size_angstrom=(10, 12), thickness_angstrom=6)
        columns = projected_columns(sample)
        assert columns.species == ("Au-O",) * 4
        assert np.all(columns.occupancy == 3)
        return np.column_stack([columns.x, columns.y]), columns.weight

    still, weight = columns_at(np.zeros(2))
    moved, moved_weight = columns_at(shift)
    away = moved[None] - still[:, None] - shift
    away -= box * np.round(away / box)
    assert np.linalg.norm(away, axis=-1).min(axis=1).max() < 1e-9
    assert np.allclose(weight, moved_weight)
    expected = (positions[:, :2] * (numbers**1.7)[:, None]).reshape(4, 3, 2).sum(axis=1) / (79**1.7 + 2 * 8**1.7)
    gap = still[None] - expected[:, None]
    gap -= box * np.round(gap / box)
    assert np.linalg.norm(gap, axis=-1).min(axis=1).max() < 1e-9


def test_no_wrap_where_nothing_repeats() -> None:
    """Two atoms at opposite edges are one column in a periodic box and two in a window."""
    arrays = {
        "name": "s",
        "numbers": [79, 79],
        "positions_angstrom": [[0.05, 1, 0], [9.95, 1, 2]],
        "size_angstrom": (10, 10),
        "thickness_angstrom": 4,
    }
    assert len(projected_columns(Sample(**arrays))) == 1
    assert projected_columns(Sample(**arrays)).x[0] == pytest.approx(0.0, abs=1e-9)
    assert len(projected_columns(Sample(**arrays, periodic=False))) == 2


def test_vacuum_has_no_columns_and_the_tolerance_has_limits() -> None:
    """No atoms, no columns; a tolerance of 0 or of half the box raises."""
    empty = Sample(name="v", numbers=[], positions_angstrom=[], size_angstrom=(5, 5), thickness_angstrom=4)
    assert len(projected_columns(empty)) == 0
    for tolerance in (0.0, 2.5):
        with pytest.raises(SettingsError, match="tolerance_angstrom"):
            projected_columns(empty, tolerance)
