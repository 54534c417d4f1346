"""The scale of returns: stored returns of reference policies in each environment with a goal."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError, UnknownNameError, suggestion

FOLDER = Path(__file__).parent / "scales"
FLOOR, CEILING = ("no-op", "random"), "oracle"
"""Policies that define the scale: the better policy of ``FLOOR`` has the normalised return 0, and ``CEILING`` has 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReturn:
    """Returns of one policy.

    Parameters
    ----------
    mean, low, high : float
        Mean return and its 95 % confidence interval, from a bootstrap over episodes. If a split has few scenes, the
        bootstrap is over scenes, because the episodes of a scene are correlated.
    success : float
        Fraction of episodes that ended in a success.
    steps : float
        Mean number of steps.
    episodes : int
        Number of episodes.
    version : str
        Version of stemtwin used for the measurement; empty if it is ``ReturnScale.version``.
    iqm, iqm_low, iqm_high : float, optional
        Interquartile mean (over the middle half of the episodes) and its 95 % confidence interval (percentile bootstrap);
        None for older measurements.
    cpu_s : float, optional
        Processor time of an episode, s.
    error, error_low, error_high : float, optional
        Mean distance from the goal at the end and its 95 % confidence interval, if the family defines a distance
        (``GoalFamily.FINAL_ERROR``).
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
        Names of the policies; the difference is the first minus the second.
    mean, low, high : float
        Mean difference and its 95 % confidence interval, by the bootstrap of :class:`PolicyReturn`.
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
        Arguments of ``gymnasium.make`` that differ from the defaults, without the difficulty.
    seeds : tuple of int
        Seeds of the episodes, the same for every policy.
    version : str
        Version of stemtwin used for the measurement.
    policies : dict of PolicyReturn
        Returns by name of the policy: ``no-op``, ``random``, ``blind``, ``expert`` and ``oracle``. Some environments have further
        policies, such as ``learner`` (a trained policy) and ``towards`` (a fixed rule that moves towards the goal).
    paired : tuple of PairedReturn
        Differences of the returns of two policies: ``expert`` minus the best of ``no-op``, ``random`` and ``blind``; ``oracle`` minus
        ``expert``; ``learner`` minus ``towards``. If there is no oracle, ``expert`` minus ``towards`` is included. A difference is left
        out if one of its policies is missing. The tuple is empty in older scales.
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
        """Mean return of the better of no-op and random actions."""
        return max(self.policies[name].mean for name in FLOOR if name in self.policies)

    def normalized(self, mean_return: float) -> float:
        """Return the normalised value of a mean return: 0 at the better of no-op and random, 1 at the oracle, not clipped.

        Raises
        ------
        SettingsError
            The scale has no returns of an oracle.
        """
        if CEILING not in self.policies:
            message = (
                f"A return of {self.environment} with difficulty={self.difficulty!r} cannot be normalised, because its scale has the policies "
                f"{', '.join(self.policies)}, but not {CEILING!r}. Compare mean returns without normalisation."
            )
            raise SettingsError(message)
        return (mean_return - self.floor) / (self.policies[CEILING].mean - self.floor)


def reference(environment: str, difficulty: str = "standard", observation: str | None = None) -> ReturnScale:
    """Return the scale of an environment with a goal: the returns of its reference policies.

    Parameters
    ----------
    environment : str
        Id of the environment, for example ``"stemtwin/Autofocus-v2"``.
    difficulty : str
        A preset of the family.
    observation : str, optional
        Form of observation that has a scale of its own. The default is the form in which the family is usually played.

    Raises
    ------
    UnknownNameError
        There is no scale for this environment, preset or form of observation.

    Examples
    --------
    >>> import stemtwin as st
    >>> scale = st.reference("stemtwin/Autofocus-v2", "easy")
    >>> scale.policies["oracle"].mean > scale.policies["expert"].mean > scale.floor
    True
    """
    known = {f"stemtwin/{path.stem}": path for path in sorted(FOLDER.glob("*.json"))}
    if environment not in known:
        message = f"There is no scale of returns for {environment!r}. {suggestion(environment, known)}"
        raise UnknownNameError(message)
    content = json.loads(known[environment].read_text(encoding="utf-8"))
    forms = content.get("forms", {})
    if observation is not None and observation not in forms:
        told = suggestion(observation, forms) if forms else "Omit observation."
        message = f"There is no scale of returns for {environment} with observation={observation!r}. {told}"
        raise UnknownNameError(message)
    scales = content["scales"] if observation is None else forms[observation]
    if difficulty not in scales:
        message = f"There is no scale of returns for {environment} with difficulty={difficulty!r}. {suggestion(difficulty, scales)}"
        raise UnknownNameError(message)
    found = scales[difficulty]
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
    """Return a normalised mean return: 0 at the better of no-op and random, 1 at the oracle.

    Parameters
    ----------
    environment : str
        Id of the environment.
    mean_return : float
        Mean return over episodes with the arguments of the scale (``reference(environment).arguments``).
    difficulty : str
        A preset of the family.

    Raises
    ------
    StemtwinError
        There is no scale for this environment, or the return is not a number.

    Examples
    --------
    >>> import stemtwin as st
    >>> oracle = st.reference("stemtwin/Autofocus-v2").policies["oracle"]
    >>> st.normalized_return("stemtwin/Autofocus-v2", oracle.mean)
    1.0
    """
    return reference(environment, difficulty).normalized(checks.number("mean_return", mean_return, ""))
