"""Entries: a predictor for answers, an agent for environments; the registry of baselines; entry points of foreign code."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from stemtwin.benchmarks.discovery import import_modules
from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.registry import Registry


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Brief:
    """Briefing of an agent before an episode.

    Parameters
    ----------
    task : str
        Name of the task.
    observation_space, action_space : gymnasium.Space
        Spaces of the environment.
    seed : int
        For the agent's own draws; independent of the environment's seed.
    truth : callable, optional
        The training-only door to the true state; None for everybody but an oracle.
    difficulty : str, optional
        Preset of the environment, which an operator may know; None where it has none.
    """

    task: str
    observation_space: Any
    action_space: Any
    seed: int
    truth: Callable[[], dict[str, float]] | None = None
    difficulty: str | None = None


class AgentError(RuntimeError):
    """The end of an episode by the agent's own fault.

    Parameters
    ----------
    kind : str
        One of ``FAILURES``.
    text : str
        One sentence for people.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


FAILURES = {
    "crashed": "the agent's process ended",
    "timed out": "the agent did not answer in time",
    "invalid action": "an action that is not in the action space",
    "protocol": "a message that does not follow the protocol",
}
"""Faults that end an episode, which then counts as the worst that its task can give."""


class Agent(Protocol):
    """A policy: made once without arguments, reset before every episode."""

    def reset(self, brief: Brief) -> None:
        """Prepare for an episode."""

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the next action; ``cost`` is what the episode has spent so far."""
        ...


class Predictor(Protocol):
    """A maker of answers: made once without arguments, called for every sample."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Any:
        """Return the answer, of the class of the task's kind; ``given`` holds the inputs of the task by name (and ``truth``, for an oracle)."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """An entry of this package.

    Parameters
    ----------
    task, name : str
        Its task and its name there.
    text : str
        One line for people.
    factory : callable
        Makes an :class:`Agent` or a :class:`Predictor`.
    oracle : bool
        It reads the truth: shown on boards, never ranked.
    """

    task: str
    name: str
    text: str
    factory: Callable[[], Any]
    oracle: bool = False


BASELINES: "Registry[Baseline]" = Registry("baseline")


def add_baseline(baseline: Baseline) -> Baseline:
    """Register a baseline as ``<task>/<name>``."""
    return BASELINES.add(f"{baseline.task}/{baseline.name}", baseline, baseline.task)


def load_baselines() -> "Registry[Baseline]":
    """Import every module of baselines and return the registry."""
    import_modules("stemtwin.benchmarks.baselines")
    return BASELINES


def find_baseline(task: str, name: str) -> Baseline:
    """Return a baseline of a task by its short name.

    Raises
    ------
    UnknownNameError
        The task has no baseline of that name; lists those that it has.
    """
    names = [full.partition("/")[2] for full in load_baselines().names(task)]
    if name not in names:
        message = f"There is no baseline named {name!r} for task {task!r}. Known: {', '.join(names) or 'none'}."
        raise UnknownNameError(message)
    return BASELINES[f"{task}/{name}"]


def load_entry_point(address: str) -> Callable[[], Any]:
    """Return the factory that ``pkg.mod:Name`` names.

    Raises
    ------
    SettingsError
        Not of that form, no such module, no such name, or nothing that can be called.
    """
    module_name, _, name = address.partition(":")
    if not (module_name and name):
        message = f"agent {address!r} is not of the form 'package.module:Name'."
        raise SettingsError(message)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        message = f"agent {address!r}: {error}. Run from the folder that holds it with PYTHONPATH=. or install it."
        raise SettingsError(message) from None
    factory = getattr(module, name, None)
    if not callable(factory):
        message = f"agent {address!r}: {module_name} has no class or function named {name!r}."
        raise SettingsError(message)
    return factory


NEEDS = {"agent": {"reset": "brief", "act": "observation, cost"}, "predictions": {"predict": "given, rng"}}
"""Required methods of an entry, by kind of task, with the arguments of their calls."""


def make_entry(entry: Baseline, kind: str) -> Any:
    """Return the product of an entry, an :class:`Agent` or a :class:`Predictor`; errors inside its own code pass as they are.

    Raises
    ------
    SettingsError
        It cannot be made without arguments, or lacks a method that the kind of task calls, or one that takes what it is called with.
    """
    form = ", ".join(f"{name}({told})" for name, told in NEEDS[kind].items())
    repair = f"Name a class that is made without arguments and has {form}."
    if not _takes(entry.factory, 0):
        message = f"agent {entry.name!r} cannot be made without arguments. {repair}"
        raise SettingsError(message)
    made = entry.factory()
    for name, told in NEEDS[kind].items():
        method = getattr(made, name, None)
        if not callable(method) or not _takes(method, told.count(",") + 1):
            message = f"agent {entry.name!r} has no method {name}({told}). {repair}"
            raise SettingsError(message)
    return made


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Return whether a function can be called with so many positional arguments; what hides its arguments is believed."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True
