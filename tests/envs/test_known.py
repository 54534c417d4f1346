"""Known numbers of presets: plain values that follow from the arguments, without truth and without seeds."""

import inspect
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stemtwin.benchmarks.episodes import sealed_arguments
from stemtwin.benchmarks.isolation.wire import LENGTH, pack, unpack
from stemtwin.benchmarks.tasks import Task, load_tasks
from stemtwin.twin.envs import ENVIRONMENTS
from stemtwin.twin.envs.arguments import EnvArguments
from stemtwin.twin.envs.functional_env import hidden_truth
from stemtwin.twin.envs.making import family_class

FAMILIES: dict[str, Any] = {name: family_class(name) for name in ENVIRONMENTS if issubclass(family_class(name), EnvArguments)}
CASES = [(name, difficulty) for name, family in FAMILIES.items() for difficulty in family.PRESETS]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "agents.md"
SPOKEN = {name for name, family in FAMILIES.items() if family.known is not EnvArguments.known}
"""Environments that state numbers."""


def known_of(name: str, **settings: Any) -> dict[str, Any]:
    """Return the known numbers of an environment, of which nothing is built."""
    return FAMILIES[name](**settings).known()


def keys(value: Any) -> set[str]:
    """Return the keys of all nested maps."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def agent_tasks() -> dict[str, Task]:
    """Return the sealed tasks of families with presets, by the id of their environment."""
    tasks = load_tasks()
    return {tasks[name].source: tasks[name] for name in tasks if tasks[name].kind == "agent" and tasks[name].source in FAMILIES}


def test_families_whose_policies_model_the_instrument_state_numbers() -> None:
    """These four do; policies of the others read all they need off spaces and observations."""
    assert {f"stemtwin/{name}" for name in ("Autofocus-v2", "DriftTracking-v1", "HypothesisTest-v1", "SparseScan-v1")} <= SPOKEN


@pytest.mark.parametrize(("name", "difficulty"), CASES)
def test_known_numbers_are_plain_and_pass_a_message(name: str, difficulty: str) -> None:
    """A message gives back equal values of the same types, two calls give equal values that share nothing, and an empty map is the default."""
    known = known_of(name, difficulty=difficulty)
    assert unpack(pack({"type": "reset", "known": known})[LENGTH.size :])["known"] == known
    assert repr(unpack(pack({"type": "reset", "known": known})[LENGTH.size :])["known"]) == repr(known)
    again = known_of(name, difficulty=difficulty)
    assert again == known
    assert bool(known) == (name in SPOKEN)
    again.clear()
    assert known_of(name, difficulty=difficulty) == known


@pytest.mark.parametrize("name", sorted(SPOKEN))
def test_presets_differ_in_known_numbers(name: str) -> None:
    """No two presets have the same numbers."""
    told = [repr(known_of(name, difficulty=one)) for one in FAMILIES[name].PRESETS]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("name", sorted(SPOKEN))
def test_known_numbers_have_no_truth_and_do_not_follow_a_seed(name: str, small_settings: dict[str, dict[str, Any]]) -> None:
    """No key is a name of the truth; episodes, splits, rewards and the door to the truth change nothing."""
    settings = small_settings[name]
    env, known = gym.make(name, disable_env_checker=True, **settings), known_of(name, **settings)
    for seed in (1, 2):
        env.reset(seed=seed)
        assert env.get_wrapper_attr("task").known() == known
    assert not keys(known) & set(hidden_truth(env))
    for other in ({"split": "val"}, {"split": "test"}, {"reward": "none"}, {"privileged_info": True}):
        assert known_of(name, **{**settings, **other}) == known
    env.close()


@pytest.mark.parametrize("name", sorted(agent_tasks()))
def test_a_sealed_environment_knows_no_more(name: str) -> None:
    """Hidden episodes come with the numbers of the open environment of the same preset."""
    family = FAMILIES[name](**sealed_arguments(agent_tasks()[name]))
    assert family.known() == known_of(name, difficulty=family.difficulty)


def test_a_randomisation_is_known() -> None:
    """Ranges that an environment was made with are stated in the place of the preset's."""
    known = known_of("stemtwin/Autofocus-v2", difficulty="easy", randomisation={"samples": ("au-001",), "knob_gain": (0.9, 1.2)})
    assert known["randomisation"]["samples"] == ["au-001"]
    assert known["randomisation"]["knob_gain"] == [0.9, 1.2]
    assert known["randomisation"]["residual"] == known_of("stemtwin/Autofocus-v2", difficulty="easy")["randomisation"]["residual"]
    assert known["thickness_angstrom"] == {"au-001": 8.16}


def test_known_numbers_take_no_state() -> None:
    """The method has no argument, so it cannot read a state."""
    assert all(list(inspect.signature(family.known).parameters) == ["self"] for family in FAMILIES.values())


@pytest.mark.parametrize("name", sorted(SPOKEN))
def test_the_page_of_agents_explains_every_known_number(name: str) -> None:
    """Its table lists the keys of an environment, and no others; its text names the keys of maps inside."""
    text = PAGE.read_text(encoding="utf-8").partition("## Known numbers")[2].partition("\n## ")[0]
    rows = text.partition(f"[`{name.partition('/')[2]}`]")[2].partition("| [`")[0].partition("\n\n")[0].splitlines()
    cells = [row.split("|")[-3] for row in rows]
    known = known_of(name)
    assert {key for cell in cells for key in re.findall(r"`(\w+)`", cell)} == set(known)
    inner = keys([value for key, value in known.items() if key != "thickness_angstrom"])
    assert all(f"`{key}`" in text for key in inner)
