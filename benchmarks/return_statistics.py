"""Statistics of the returns of baselines: means, interquartile means and paired differences, with intervals, and a check of these numbers.

The statistics of all baselines on one preset of an environment form the preset's scale of returns. The function :func:`failings` checks the scales of
a family of presets, for example whether the expert's returns separate the presets.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy import stats

from stemtwin import __version__
from stemtwin.benchmarks.kept_runs import KeptRun
from stemtwin.benchmarks.statistics import TAIL, interquartile_mean
from stemtwin.twin.envs.reference import PairedReturn, PolicyReturn, ReturnScale
from stemtwin.twin.errors import DatasetError

LEVEL, RESAMPLES, SEED = 0.95, 9999, 20260101
LAZY = ("no-op", "random", "blind")
"""Policies that use no observation: the expert must beat the best of them, and none may reach half of its return."""
EXPERT, ORACLE, LEARNER, RULE = "expert", "oracle", "learner", "towards"
"""Names of further policies. If a family has the fixed rule ``towards``, which moves towards the goal, a trained policy is compared with it."""


class Played(Protocol):
    """A played episode: sum of rewards, number of actions, and whether it ended in a success."""

    @property
    def total(self) -> float:
        """Sum of the rewards."""
        ...

    @property
    def steps(self) -> int:
        """Number of actions."""
        ...

    @property
    def success(self) -> bool:
        """True if the episode ended in a success."""
        ...

    @property
    def error(self) -> float | None:
        """Distance from the goal at the end; None if it was not recorded."""
        ...


def interval(values: np.ndarray, statistic: Callable[..., Any] = np.mean, method: str = "BCa") -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic.

    If the BCa interval is undefined, percentiles are used. If all values are equal, both ends are this value.
    """
    point = float(statistic(values, axis=0))
    if len(values) < 2 or np.ptp(values) <= 1e-9:
        return point, point
    for way in (method, "percentile"):
        rng = np.random.Generator(np.random.Philox(SEED))
        with np.errstate(all="ignore"):
            found = stats.bootstrap((values,), statistic, n_resamples=RESAMPLES, confidence_level=LEVEL, method=way, rng=rng).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            return float(found.low), float(found.high)
    return point, point


def clustered_interval(values: np.ndarray, clusters: np.ndarray, trimmed: float = 0.0) -> tuple[float, float]:
    """Return the 95 % interval of the trimmed mean of values (n,) that are alike within clusters.

    ``clusters`` (n,) are the labels of the clusters, and ``trimmed`` is the fraction of values that is left out at either end. The interval is
    a bootstrap interval, and each bootstrap sample consists of whole clusters. With few clusters, the interval between the usual 2.5 % and 97.5 %
    percentiles of the bootstrap means is too narrow. For k clusters the percentiles are therefore taken at levels that follow from Student's t
    with k - 1 degrees of freedom and the factor sqrt(k / (k - 1)) (T. C. Hesterberg, Am. Stat. 69 (2015) 371).
    """
    order = np.argsort(values, kind="stable")
    labels, inverse = np.unique(clusters[order], return_inverse=True)
    count, rng = len(labels), np.random.Generator(np.random.Philox(SEED))
    if count < 2 or np.ptp(values) <= 1e-9:
        point = float(stats.trim_mean(values, trimmed))
        return point, point
    times = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)[:, inverse]  # of each value, in their order
    until = times.cumsum(axis=1)
    cut = (trimmed * until[:, -1:]).astype(int)
    kept = np.clip(np.minimum(until, until[:, -1:] - cut) - np.maximum(until - times, cut), 0, None)
    drawn = (kept @ values[order]) / kept.sum(axis=1)
    tail = float(stats.norm.cdf(stats.t.ppf((1 - LEVEL) / 2, count - 1) * np.sqrt(count / (count - 1))))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def summary(
    episodes: Iterable[Played], *, version: str = __version__, cpu_s: float | None = None, clusters: np.ndarray | None = None
) -> PolicyReturn:
    """Return the mean and the interquartile mean of the returns of episodes with bootstrap intervals, and the mean final error if it was recorded.

    The mean has a BCa interval over episodes, the interquartile mean a percentile interval. If labels of clusters are given, both intervals are
    those of :func:`clustered_interval`.
    """
    played = list(episodes)
    totals = np.array([episode.total for episode in played])
    if clusters is None:
        (low, high), (iqm_low, iqm_high) = interval(totals), interval(totals, interquartile_mean, "percentile")
    else:
        low, high = clustered_interval(totals, clusters)
        iqm_low, iqm_high = clustered_interval(totals, clusters, TAIL)
    errors = np.array([episode.error for episode in played if episode.error is not None])
    error_low, error_high = interval(errors) if len(errors) else (None, None)
    return PolicyReturn(
        mean=float(totals.mean()),
        low=low,
        high=high,
        success=float(np.mean([episode.success for episode in played])),
        steps=float(np.mean([episode.steps for episode in played])),
        episodes=len(played),
        version=version,
        iqm=float(interquartile_mean(totals)),
        iqm_low=iqm_low,
        iqm_high=iqm_high,
        cpu_s=cpu_s,
        error=float(errors.mean()) if len(errors) else None,
        error_low=error_low,
        error_high=error_high,
    )


def difference(better: KeptRun, other: KeptRun) -> PairedReturn:
    """Return the mean difference between the returns of two policies over the same episodes, with its interval.

    If the episodes belong to scenes, the interval is computed over scenes.
    """
    apart = better.totals - other.totals
    low, high = interval(apart) if better.scenes is None else clustered_interval(apart, better.scenes)
    return PairedReturn(better=better.policy, other=other.policy, mean=float(apart.mean()), low=low, high=high)


def scale_of(runs: Mapping[str, KeptRun]) -> ReturnScale:
    """Return the scale of returns from the stored runs of one preset.

    The scale includes mean differences of returns over the same episodes. A difference is left out if a run that it needs is missing. The
    differences are:

    - the expert minus the best of the policies no-op, random and blind
    - the oracle minus the expert; without an oracle, the expert minus the fixed rule, which moves towards the goal
    - the trained policy minus the fixed rule

    Parameters
    ----------
    runs : mapping
        Runs by policy, all over the same seeds.

    Raises
    ------
    DatasetError
        The runs have different seeds.
    """
    first = next(iter(runs.values()))
    if other := next((name for name, run in runs.items() if run.seeds != first.seeds), None):
        message = (
            f"{first.environment}, {first.difficulty}: the runs have different seeds; {other} has {len(runs[other].seeds)} episodes, and "
            f"{first.policy} has {len(first.seeds)}. Play all policies with the same number of episodes."
        )
        raise DatasetError(message)
    differences = []
    if EXPERT in runs:
        lazy = [runs[name] for name in LAZY if name in runs]
        differences += [difference(runs[EXPERT], max(lazy, key=lambda run: run.totals.mean()))] if lazy else []
        differences += [difference(runs[ORACLE], runs[EXPERT])] if ORACLE in runs else []
        differences += [difference(runs[EXPERT], runs[RULE])] if RULE in runs and ORACLE not in runs else []
    if {LEARNER, RULE} <= runs.keys():
        differences.append(difference(runs[LEARNER], runs[RULE]))
    return ReturnScale(
        environment=first.environment,
        difficulty=first.difficulty,
        arguments=first.arguments,
        seeds=first.seeds,
        version=first.version,
        policies={name: summary(run.episodes, version=run.version, cpu_s=run.cpu_s, clusters=run.scenes) for name, run in runs.items()},
        paired=tuple(differences),
    )


def failings(scales: Sequence[ReturnScale]) -> list[str]:
    """Return a sentence for each violated requirement on the scales of returns of a family.

    A scale holds the returns of all baselines on one preset. The scales are ordered from the easiest preset to the hardest.

    Paired intervals must separate the oracle from the expert, the expert from the best of no-op, random and blind, and a trained policy from the
    fixed rule. None of no-op, random and blind may reach half of the expert's normalised return. On neighbouring presets, the intervals of the
    expert's interquartile means must not overlap, and neither may those of the expert's final errors, if the family has final errors.
    """
    found = []
    for scale in scales:
        where, expert = f"{scale.environment} {scale.difficulty}", scale.normalized(scale.policies[EXPERT].mean)
        for pair in scale.paired:
            if pair.low <= 0:
                found.append(f"{where}: {pair.better} minus {pair.other} is {pair.mean:.3f} ({pair.low:.3f} to {pair.high:.3f}), not above 0.")
        for name in LAZY:
            if name in scale.policies and (reached := scale.normalized(scale.policies[name].mean)) >= expert / 2:
                found.append(f"{where}: {name} reaches {reached:.2f} on the normalised scale, half of the expert's {expert:.2f} or more.")
    for one, harder in itertools.pairwise(scales):
        ahead, behind = (_middle(scale.policies[EXPERT]) for scale in (one, harder))
        if not ahead[1] > behind[2]:
            told = " and ".join(f"{middle:.3f} ({low:.3f} to {high:.3f})" for middle, low, high in (ahead, behind))
            found.append(f"{one.environment}: the expert's returns on {one.difficulty} and {harder.difficulty}, {told}, are not separated.")
        found += _mixed_errors(one, harder)
    return found


def _mixed_errors(easier: ReturnScale, harder: ReturnScale) -> list[str]:
    """Return the sentence that the expert's final errors on two presets are not separated, where they are kept; nothing where they are separated."""
    errors = [(one.error, one.error_low, one.error_high) for one in (easier.policies[EXPERT], harder.policies[EXPERT])]
    (_, _, high), (_, low, _) = errors
    if high is None or low is None or high < low:
        return []
    told = " and ".join(f"{mean:.1f} ({low:.1f} to {high:.1f})" for mean, low, high in errors)
    return [f"{easier.environment}: the expert's final errors on {easier.difficulty} and {harder.difficulty}, {told}, are not separated."]


def _middle(policy: PolicyReturn) -> tuple[float, float, float]:
    """Return the interquartile mean with its interval; of older scales the mean."""
    if policy.iqm is None or policy.iqm_low is None or policy.iqm_high is None:
        return policy.mean, policy.low, policy.high
    return policy.iqm, policy.iqm_low, policy.iqm_high
