"""Entries (predictors and agents), the registry of baselines, and the loader of a user's own entry."""

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
    """Information that an agent receives before an episode.

    Parameters
    ----------
    task : str
        Name of the task.
    observation_space, action_space : gymnasium.Space
        Observation space and action space of the environment.
    seed : int
        Seed of the agent's own random numbers, independent of the environment's seed.
    truth : callable, optional
        Access to the true state if the entry is an oracle; otherwise None.
    difficulty : str, optional
        Name of the difficulty preset of the environment, which is not secret; None for an environment without presets.
    known : mapping
        Numbers that an operator knows before the experiment, as plain values that msgpack can encode. The mapping is
        empty unless the environment states such numbers. It contains neither true values nor values drawn for the episode.
    """

    task: str
    observation_space: Any
    action_space: Any
    seed: int
    truth: Callable[[], dict[str, float]] | None = None
    difficulty: str | None = None
    known: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def brief_for(env: Any, *, task: str, seed: int, truth: Callable[[], dict[str, float]] | None = None) -> Brief:
    """Return the brief of an episode, with the difficulty preset and the known numbers of the environment's task family.

    Parameters
    ----------
    env : gymnasium.Env
        The environment, with or without wrappers.
    task, seed, truth : str, int, callable
        See :class:`Brief`.
    """
    family = getattr(env.unwrapped, "task", None)
    known = getattr(family, "known", None)
    return Brief(
        task=task,
        observation_space=env.observation_space,
        action_space=env.action_space,
        seed=seed,
        truth=truth,
        difficulty=getattr(family, "difficulty", None),
        known={} if known is None else known(),
    )


def known_numbers(brief: Brief, *names: str) -> Mapping[str, Any]:
    """Return all known numbers of a brief, after a check that the required names are among them.

    Raises
    ------
    SettingsError
        A required name is missing.
    """
    missing = [name for name in names if name not in brief.known]
    if missing:
        message = f"brief.known lacks {', '.join(missing)}, which this policy needs: make the brief with brief_for(env, ...)."
        raise SettingsError(message)
    return brief.known


class AgentError(RuntimeError):
    """Fault of an agent that ends its episode.

    Parameters
    ----------
    kind : str
        ``"crashed"``, ``"timed out"``, ``"invalid action"`` or ``"protocol"``.
    text : str
        Description in one sentence.
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
"""Faults that end an episode. Such an episode counts with the worst values that the task can give."""


class Agent(Protocol):
    """Interface of a policy, an object that is created once without arguments and is reset before every episode."""

    def reset(self, brief: Brief) -> None:
        """Prepare for an episode."""

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the next action; ``cost`` holds the costs of the episode so far."""
        ...


class Predictor(Protocol):
    """Interface of a predictor, an object that is created once without arguments and is called for every sample."""

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Any:
        """Return the answer to one sample as an instance of the task's answer class.

        ``given`` holds the inputs by name. For an oracle, ``given`` also holds ``truth``.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """Entry of a task: its name, its description and its factory.

    Parameters
    ----------
    task, name : str
        Name of the task, and name of the entry within the task.
    text : str
        Description in one line.
    factory : callable
        Factory of an :class:`Agent` or a :class:`Predictor`.
    oracle : bool
        True if the entry reads the truth. Boards show such an entry but do not rank it.
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
    """Import every module of baselines and return the registry of baselines."""
    import_modules("stemtwin.benchmarks.baselines")
    return BASELINES


def find_baseline(task: str, name: str) -> Baseline:
    """Return the baseline of a task that has a given name.

    Raises
    ------
    UnknownNameError
        The task has no baseline of that name; the message lists the known names.
    """
    names = [full.partition("/")[2] for full in load_baselines().names(task)]
    if name not in names:
        message = f"There is no baseline named {name!r} for task {task!r}. Known: {', '.join(names) or 'none'}."
        raise UnknownNameError(message)
    return BASELINES[f"{task}/{name}"]


def load_entry_point(address: str) -> Callable[[], Any]:
    """Return the factory at an address of the form ``package.module:Name``.

    Raises
    ------
    SettingsError
        The address has another form, or names a missing module, a missing object, or an object that cannot be called.
    """
    module_name, _, name = address.partition(":")
    if not (module_name and name):
        message = f"agent {address!r} is not of the form 'package.module:Name'."
        raise SettingsError(message)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        message = f"agent {address!r}: {error}. Install the module, or run with PYTHONPATH=. from the folder that contains it."
        raise SettingsError(message) from None
    factory = getattr(module, name, None)
    if not callable(factory):
        message = f"agent {address!r}: {module_name} has no class or function named {name!r}."
        raise SettingsError(message)
    return factory


NEEDS = {"agent": {"reset": "brief", "act": "observation, cost"}, "predictions": {"predict": "given, rng"}}
"""Required methods of an entry, by kind of task, with the arguments of their calls."""


def make_entry(entry: Baseline, kind: str) -> Any:
    """Return the agent or the predictor that the factory of an entry makes; exceptions of the factory are not caught.

    Raises
    ------
    SettingsError
        The factory needs arguments, or the returned object lacks a method of the interface :class:`Agent` or :class:`Predictor`.
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
    """Return True if a function accepts a number of positional arguments, or if its signature is hidden."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True
