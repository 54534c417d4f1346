"""Arguments of environments: names, JSON, and draws of conditions."""

import dataclasses
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from hypothesis import given
from hypothesis import strategies as st

from stemtwin.twin.envs.arguments import EnvArguments, Randomisation
from stemtwin.twin.envs.making import family_class, make_family
from stemtwin.twin.errors import SettingsError, StemtwinError, UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice(EnvArguments):
    """A family with two presets that draws samples and failing commands."""

    PRESETS: ClassVar[dict[str, Any]] = {
        "easy": SimpleNamespace(randomisation=Randomisation()),
        "standard": SimpleNamespace(randomisation=Randomisation(samples=("mos2-1h", "graphene"), failing=0.2)),
    }
    RANDOMISED: ClassVar[tuple[str, ...]] = ("samples", "failing")


def rng(seed: int = 1) -> np.random.Generator:
    """Return a generator."""
    return np.random.Generator(np.random.Philox(seed))


def test_a_dict_changes_the_named_fields_alone() -> None:
    """Fields that a dict does not name are those of the preset; a whole value replaces it."""
    assert Practice().conditions() == Practice.PRESETS["standard"].randomisation
    changed = Practice(randomisation={"failing": 0.5}).conditions()
    assert changed == dataclasses.replace(Practice.PRESETS["standard"].randomisation, failing=0.5)
    assert Practice(randomisation=Randomisation(failing=0.1)).conditions() == Randomisation(failing=0.1)


def test_a_randomisation_survives_json() -> None:
    """What ``dataclasses.asdict`` and JSON make of it (lists instead of tuples) is the same value."""
    value = Randomisation(samples=("graphene",), rotation_rad=(0, 1), knob_gain=(0.9, 1.1))
    assert Randomisation(**json.loads(json.dumps(dataclasses.asdict(value)))) == value


@pytest.mark.parametrize("whole", [True, False], ids=["value", "dict"])
def test_a_randomisation_travels_with_the_spec(env_id: str, whole: bool, small: Any) -> None:
    """A spec through JSON, in which a value is a dict of all its fields, makes the same family again, whichever of the fields it draws."""
    family = family_class(env_id)
    if not getattr(family, "RANDOMISED", ()):
        pytest.skip("nothing is drawn")
    usual = family.PRESETS["easy"].randomisation  # type: ignore[attr-defined] - a family that draws has presets
    changed = {"failing" if "failing" in family.RANDOMISED else "closed_valve": 0.25}  # type: ignore[attr-defined]
    env = small(env_id, randomisation=dataclasses.replace(usual, **changed) if whole else changed)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.task == env.unwrapped.task  # type: ignore[attr-defined]
    assert again.unwrapped.task.conditions() == dataclasses.replace(usual, **changed)  # type: ignore[attr-defined]


WRONG = ("x", b"x", None, np.nan, 5.5, object(), [1, "a"], [["a"]], (None,), {"a": 1})
"""Settings that hardly any argument can have."""


def test_settings_of_any_type_are_taken_or_refused_with_a_sentence(env_id: str, small_settings: dict) -> None:
    """Whatever is given for a setting, making the family either takes it or ends in an error of ours: no TypeError comes from its inside."""
    refused = 0
    for field in dataclasses.fields(family_class(env_id)):
        for wrong in WRONG:
            try:
                make_family(env_id, **{**small_settings.get(env_id, {}), field.name: wrong})
            except StemtwinError as error:
                refused += str(error)[-1] in ".?"
    assert refused > 5 * len(dataclasses.fields(family_class(env_id)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"semiangles_mrad": 10.0}, "semiangles_mrad=10.0 is not a sequence"), ({"camera_lengths_mm": 115.0}, "camera_lengths_mm=115.0 is not a seq"),
     ({"detectors": 5}, "5 is not a detector"), ({"semiangles_mrad": (10.0, "a")}, "semiangles_mrad='a' is not a finite number")],
)  # fmt: skip
def test_rows_of_numbers_are_asked_for(wrong: dict, said: str, small: Any) -> None:
    """A number where several are expected is refused by its name and value."""
    with pytest.raises(StemtwinError, match=said):
        small("stemtwin/Microscope-v2", **wrong)


def test_a_whole_randomisation_changes_only_what_is_drawn() -> None:
    """A value that differs from the preset in a field that the family does not draw is refused as a dict would be."""
    with pytest.raises(UnknownNameError, match="Practice does not draw 'drift'"):
        Practice(difficulty="easy", randomisation=Randomisation(drift=(0.5, 2.0)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"difficulty": "esay"}, "Did you mean 'easy'"),
        ({"difficulty": 3}, "difficulty=3 is not a name"),
        ({"split": "test-set"}, "split='test-set' is unknown. Known: train, val"),
        ({"split": "tset"}, "split='tset' is unknown. Known: train, val"),
        ({"split": "tran"}, "Did you mean 'train'"),
        ({"split": ["test"]}, "is not a name. Use one of train, val"),
        ({"observation": "images"}, "counts"),
        ({"reward": "densse"}, "dense"),
        ({"privileged_info": 1}, "privileged_info"),
        ({"randomisation": 3}, "neither a Randomisation nor a dict"),
        ({"randomisation": {"drift": (1, 2)}}, "Practice does not draw 'drift'"),
        ({"randomisation": {"faling": 0.1}}, "Practice does not draw 'faling'. Did you mean 'failing'"),
        ({"randomisation": {"electrons": (1, 2)}}, "Practice does not draw 'electrons'"),
        ({"randomisation": {"failing": 2}}, "failing"),
        ({"randomisation": {"samples": "graphen"}}, "graphene"),
        ({"randomisation": {"samples": ()}}, "does not name any sample"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(wrong: dict, said: str) -> None:
    """Unknown names come with the nearest known one, numbers with their limits."""
    with pytest.raises(StemtwinError, match=said):
        Practice(**wrong)


@pytest.mark.parametrize(
    ("field", "pair"), [("drift", (2, 1)), ("residual", (-1, 1)), ("electrons_per_point", (0, 5)), ("knob_gain", (1, float("nan")))]
)
def test_ranges_have_an_order_and_limits(field: str, pair: tuple) -> None:
    """A range is two finite numbers within its limits, the smaller first."""
    with pytest.raises(SettingsError, match=field):
        Randomisation(**{field: pair})


def test_unknown_profiles_are_refused() -> None:
    """A profile is one of the registry."""
    with pytest.raises(UnknownNameError, match="nion-100"):
        Randomisation(profiles=("nion-101",))


@given(st.integers(0, 2**32), st.floats(0, 3), st.floats(0, 3), st.floats(0.5, 2), st.floats(1, 1e4))
def test_draws_lie_in_their_ranges(seed: int, low: float, more: float, gain: float, electrons: float) -> None:
    """Every drawn number lies in its range."""
    value = Randomisation(
        samples=("mos2-1h", "graphene"), residual=(low, low + more), knob_gain=(gain, gain + more), electrons_per_point=(electrons, 2 * electrons)
    )
    drawn = value.draw(rng(seed))
    assert drawn.sample in value.samples
    assert low <= drawn.residual <= low + more
    assert all(gain <= one <= gain + more for one in drawn.knob_gain)
    assert electrons * (1 - 1e-12) <= drawn.electrons_per_point <= 2 * electrons * (1 + 1e-12)


def test_the_number_of_draws_does_not_depend_on_the_ranges() -> None:
    """After drawing the conditions of any randomisation, the generator stands at the same place."""
    places = []
    for value in (Randomisation(), Randomisation(samples=("mos2-1h", "graphene", "si-110"), rotation_rad=(0, 3), drift=(0, 2))):
        stream = rng(5)
        value.draw(stream)
        places.append(stream.random())
    assert places[0] == places[1]


def test_each_name_is_as_likely_as_the_others() -> None:
    """Over 3000 draws of three samples each comes 1000 times within five standard deviations."""
    value, stream = Randomisation(samples=("mos2-1h", "graphene", "si-110")), rng(7)
    counts = np.unique([value.draw(stream).sample for _ in range(3000)], return_counts=True)[1]
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(3000 * 2 / 9)
