"""The scale of returns: what policies earn on each environment with a goal, as data of the package."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemtwin.twin import checks
from stemtwin.twin.errors import UnknownNameError, suggestion

FOLDER = Path(__file__).parent / "scales"
FLOOR, CEILING = ("no-op", "random"), "oracle"
"""Policies of the normalised return 0, the better of them, and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReturn:
    """Returns of one policy.

    Parameters
    ----------
    mean, low, high : float
        Mean return and its 95 % interval (bootstrap over episodes; over scenes where a split has few, whose episodes are alike).
    success : float
        Fraction of episodes that ended in a success.
    steps : float
        Mean number of steps.
    episodes : int
        Number of episodes.
    version : str
        Version of stemtwin that measured; empty where it is that of the scale.
    iqm, iqm_low, iqm_high : float, optional
        Interquartile mean, of the middle half of the episodes, and its 95 % interval (percentile bootstrap); None in scales
        that were measured before it was.
    cpu_s : float, optional
        Processor time of an episode, s.
    error, error_low, error_high : float, optional
        Mean distance from the goal at the end and its 95 % interval, where the family has such a distance (``GoalFamily.FINAL_ERROR``).
    """

    mean: float
    low: float
    high: float
    success: float
    steps: float
    episodes: int
    version: str = ""
    iqm: float | None = None
    iqm_low: float | None = None
    iqm_high: float | None = None
    cpu_s: float | None = None
    error: float | None = None
    error_low: float | None = None
    error_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedReturn:
    """Difference of the returns of two policies over the same episodes.

    Parameters
    ----------
    better, other : str
        Names of the policies: the difference is the first less the second.
    mean, low, high : float
        Mean difference and its 95 % interval, drawn as those of returns.
    """

    better: str
    other: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnScale:
    """Returns of the policies of one environment and preset.

    Parameters
    ----------
    environment : str
        Id of the environment.
    difficulty : str
        Preset of the family.
    arguments : dict
        Arguments of ``gymnasium.make`` beside the defaults and the difficulty.
    seeds : tuple of int
        Seeds of the episodes, the same for every policy.
    version : str
        Version of stemtwin that measured.
    policies : dict of PolicyReturn
        Returns by the policy's name: ``no-op``, ``random``, ``blind``, ``expert``, ``oracle``, and ``learner`` where one
        was trained.
    paired : tuple of PairedReturn
        The expert less the best of no-op, random and blind, the oracle less the expert, and a trained policy less a fixed rule where there are
        both; empty in older scales.
    """

    environment: str
    difficulty: str
    arguments: dict[str, Any]
    seeds: tuple[int, ...]
    version: str
    policies: dict[str, PolicyReturn]
    paired: tuple[PairedReturn, ...] = ()

    @property
    def floor(self) -> float:
        """Return of the better of doing nothing and random actions."""
        return max(self.policies[name].mean for name in FLOOR if name in self.policies)

    def normalized(self, mean_return: float) -> float:
        """Return a return on the scale: 0 at the floor, 1 at the oracle, not clipped."""
        return (mean_return - self.floor) / (self.policies[CEILING].mean - self.floor)


def reference(environment: str, difficulty: str = "standard") -> ReturnScale:
    """Return the returns of reference policies on an environment with a goal.

    Parameters
    ----------
    environment : str
        Id of the environment, ``"stemtwin/Autofocus-v2"``.
    difficulty : str
        A preset of the family.

    Raises
    ------
    UnknownNameError
        There is no scale of that environment or preset.
    """
    known = {f"stemtwin/{path.stem}": path for path in sorted(FOLDER.glob("*.json"))}
    if environment not in known:
        message = f"There is no scale of returns of {environment!r}. {suggestion(environment, known)}"
        raise UnknownNameError(message)
    content = json.loads(known[environment].read_text(encoding="utf-8"))
    if difficulty not in content["scales"]:
        message = f"There is no scale of {environment} of difficulty={difficulty!r}. {suggestion(difficulty, content['scales'])}"
        raise UnknownNameError(message)
    found = content["scales"][difficulty]
    policies = {name: PolicyReturn(**values) for name, values in found["policies"].items()}
    return ReturnScale(
        environment=environment,
        difficulty=difficulty,
        arguments=found["arguments"],
        seeds=tuple(found["seeds"]),
        version=found["version"],
        policies=policies,
        paired=tuple(PairedReturn(**values) for values in found.get("paired", ())),
    )


def normalized_return(environment: str, mean_return: float, difficulty: str = "standard") -> float:
    """Return a mean return on the scale of an environment: 0 at the better of no-op and random, 1 at the oracle.

    Parameters
    ----------
    environment : str
        Id of the environment.
    mean_return : float
        Mean return of episodes with the scale's arguments (``reference(environment).arguments``).
    difficulty : str
        A preset of the family.

    Raises
    ------
    StemtwinError
        There is no scale of that environment, or the return is not a number.
    """
    return reference(environment, difficulty).normalized(checks.number("mean_return", mean_return, ""))
