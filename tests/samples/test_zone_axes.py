"""Zone axes as people write them."""

import numpy as np
import pytest
from ase.cell import Cell

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.zone_axes import has_four_indices, is_hexagonal, parse_zone_axis


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        *(("110", (1, 1, 0)), ("1,1,0", (1, 1, 0)), ("[1 1 0]", (1, 1, 0)), ("-110", (-1, 1, 0)), ("1-10", (1, -1, 0)), ("[1 -1 0]", (1, -1, 0))),
        *((" 1, 1 ,0 ", (1, 1, 0)), ("<111>", (1, 1, 1)), ("[1,\u22121,0]", (1, -1, 0)), ("11\u03050", (1, -1, 0))),
        *(
            ("10 -3 7", (10, -3, 7)),
            ("(001)", (0, 0, 1)),
            ("11-20", (1, 1, 0)),
            ("[1,1,-2,0]", (1, 1, 0)),
            ("2-1-10", (1, 0, 0)),
            ("0001", (0, 0, 1)),
        ),
        *(("10-10", (2, 1, 0)), ("11-23", (1, 1, 1)), ((1, 1, -2, 0), (1, 1, 0)), ((0, 0, -2), (0, 0, -2)), (np.array([1, 2, 3]), (1, 2, 3))),
    ],
)
def test_ways_to_write_a_direction(text: str, axis: tuple[int, int, int] | None) -> None:
    """Commas, spaces, brackets, single digits, minus signs and overbars; four indices are [2U+V, U+2V, W] reduced."""
    if axis is None:
        with pytest.raises(SettingsError):
            parse_zone_axis(text)
    else:
        assert parse_zone_axis(text) == axis


def test_four_indices_are_the_same_direction() -> None:
    """U a1 + V a2 + T a3 + W c with a3 = -(a1 + a2) is parallel to the three-index direction, for all small indices."""
    cell = np.array(Cell.new([3.2, 3.2, 5.2, 90, 90, 120]).array)
    for u in range(-2, 3):
        for v in range(-2, 3):
            for w in range(-2, 3):
                if (u, v, w) == (0, 0, 0):
                    continue
                direct = u * cell[0] + v * cell[1] - (u + v) * -(cell[0] + cell[1]) + w * cell[2]
                three = np.array(parse_zone_axis((u, v, -(u + v), w))) @ cell
                assert np.linalg.norm(np.cross(direct, three)) < 1e-9
                assert direct @ three > 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        *(("", "three whole numbers"), ("11", "three whole numbers"), ("1,1", "three whole numbers"), ("abc", "three whole numbers")),
        *(("1120", "must be -2, the negative sum of the first two indices"), ("1 1 2 0", "-2"), ("000", "no direction"), ("0 0 51", "beyond 50")),
        *((5, "three whole numbers"), ((1, 1, 0.5), "three whole numbers"), ("1,1,0,0,0", "three whole numbers"), ("1/2 0 0", "three whole numbers")),
    ],
)
def test_other_texts_are_refused(given: object, words: str) -> None:
    """What is no direction is refused in one sentence that says how to write one."""
    with pytest.raises(SettingsError, match=words):
        parse_zone_axis(given)


def test_hexagonal_cells() -> None:
    """Four indices belong to a = b, gamma = 120 alone."""
    assert has_four_indices("11-20")
    assert not has_four_indices("110")
    assert is_hexagonal(np.array(Cell.new([3, 3, 5, 90, 90, 120]).array))
    for other in ([3, 3, 5, 90, 90, 90], [3, 3.1, 5, 90, 90, 120], [3, 3, 3, 60, 60, 60], [3, 3, 5, 90, 95, 120]):
        assert not is_hexagonal(np.array(Cell.new(other).array))
