"""Checks of what people type."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError


@pytest.mark.parametrize("value", [None, "3", True, math.nan, math.inf, 1 + 2j, [1.0]])
def test_what_is_no_finite_number_is_refused_by_name_value_and_unit(value: object) -> None:
    """Anything but a finite real number is refused; the message has the name, the value and the unit."""
    with pytest.raises(SettingsError, match=r"current_pa=.* is not a finite number \(pA\)") as caught:
        checks.number("current_pa", value, "pA")
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", ["Fast", "", None, 1, ["fast"]])
def test_a_choice_is_one_of_the_known_words(value: object) -> None:
    """A known word is returned; any other value, in other letters or of another type, is refused with all known words."""
    assert checks.choice("mode", "fast", {"fast": 1, "slow": 2}) == "fast"
    with pytest.raises(SettingsError, match=r"mode=.* is unknown\. Use one of fast, slow\.") as caught:
        checks.choice("mode", value, ("fast", "slow"))
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [1.0, "12", None, {1.0}, {1: 2}])
def test_a_row_of_numbers_is_told_from_one_number(value: object) -> None:
    """Lists, tuples and arrays become floats; a single number, text and things in no order are refused, as is a row with a wrong number."""
    assert checks.numbers("a", [1, np.float32(2)], "A") == checks.numbers("a", np.array([1.0, 2.0]), "A") == (1.0, 2.0)
    with pytest.raises(SettingsError, match=r"a=.* is not a sequence of numbers in A"):
        checks.numbers("a", value, "A")
    with pytest.raises(SettingsError, match="at least 3"):
        checks.numbers("a", (3.0, 2.0), "A", low=3)


def test_limits_are_inclusive_but_above_is_not() -> None:
    """A number at a limit passes, one beyond it does not, and `above` excludes its own value; numpy's numbers become floats."""
    assert checks.number("a", 1, "A", low=1, high=2) == 1.0
    assert type(checks.number("a", np.float32(2), "A", low=1, high=2)) is float
    for value, limits in ((0.999, "at least 1"), (2.001, "at most 2")):
        with pytest.raises(SettingsError, match=limits):
            checks.number("a", value, "A", low=1, high=2)
    with pytest.raises(SettingsError, match="above 0"):
        checks.number("a", 0, "A", above=0)


def test_a_pure_number_has_no_unit_in_its_messages() -> None:
    """Without a unit the messages name value and limits only."""
    with pytest.raises(SettingsError, match=r"^part=2 is out of range: it must be at least 0 and at most 1\. Give less\.$"):
        checks.number("part", 2, "", low=0, high=1, repair="Give less.")
    with pytest.raises(SettingsError, match=r"^part='x' is not a finite number\. Give a number\.$"):
        checks.number("part", "x", "")


@dataclass(frozen=True, slots=True)
class Angle:
    """A frozen value with one number."""

    angle: float

    def __post_init__(self) -> None:
        """Check the number."""
        checks.number_field(self, "angle", "rad", low=0, high=3)


def test_a_number_of_a_frozen_value_is_checked_and_stored_as_a_float() -> None:
    """The field is a float afterwards; a value out of range is refused by the field's name."""
    assert type(Angle(np.float32(2)).angle) is float
    with pytest.raises(SettingsError, match="angle=4 rad is out of range"):
        Angle(4)


@pytest.mark.parametrize("value", [1.5, math.nan, math.inf, -math.inf, True, "3", None, 0, 11])
def test_whole_numbers_are_whole_and_within_limits(value: object) -> None:
    """A fraction, an infinity, a truth value, a text or a number outside 1 to 10 is not a whole number from 1 to 10."""
    with pytest.raises(SettingsError, match=r"frames=.* must be a whole number, 1 to 10\."):
        checks.whole("frames", value, low=1, high=10)


def test_whole_numbers_of_any_size_and_kind_become_ints() -> None:
    """Seeds of hundreds of bits keep every bit; 3.0 and numpy's 3 are 3."""
    assert checks.whole("seed", 2**2000 + 1, low=0) == 2**2000 + 1
    assert [checks.whole("n", value, low=1) for value in (3.0, np.int64(3), np.float32(3))] == [3, 3, 3]


@pytest.mark.parametrize("value", [3, (1,), (1, 2, 3), "ab", None, (1, math.nan)])
def test_pairs_are_two_numbers(value: object) -> None:
    """A pair is two finite numbers and nothing else."""
    with pytest.raises(SettingsError, match="field"):
        checks.pair("field", value, "A")
    with pytest.raises(SettingsError, match="shape"):
        checks.whole_pair("shape", value, low=1, high=5)
    assert checks.pair("field", np.array([1, 2]), "A") == (1.0, 2.0)
    assert checks.whole_pair("shape", [1, 5], low=1, high=5) == (1, 5)
