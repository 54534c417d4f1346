"""Task ``hypothesis-test``: decide by experiment which of two laws of beam damage is true, and give the probability.

Every episode is about one pair of laws that agree at the usual settings. The agent exposes fresh areas at energies, doses and times of its choice,
and declares the probability of the second law. An episode without a declaration counts as a declared probability of one half. A failed episode counts
as the worst possible declaration, so breaking off an episode when the data look unfavourable gains nothing. Successive episodes use the presets
``easy``, ``standard`` and ``hard`` in turn. The score has the same scale (bits) in all presets, so its mean over presets is a proper score, too.
"""

import math

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of, ratio
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn, Sums
from stemtwin.benchmarks.tasks import TASKS, Task, by_preset, presets_in_turn
from stemtwin.twin.envs.damage_laws import PAIRS, USUAL_DOSE
from stemtwin.twin.envs.families.hypothesis_test import DECLARE, EDGE, HypothesisTest, answered_probability

PRESETS = HypothesisTest.PRESETS
DIFFICULTIES = tuple(PRESETS)
UNDECLARED = 0.5
BINS = 10
"""Number of bins of the declared probability, which is compared in each bin with the fraction of episodes in which law 1 is true."""


def declared(episode: Episode) -> float:
    """Return the declared probability of law 1, the second of the pair, or one half if an episode has no declaration."""
    return answered_probability(episode.actions[-1]) if episode.terminated else UNDECLARED


def score(episodes: list[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    Each episode is its own cluster for confidence intervals.
    """
    ids = np.array([f"hypothesis-test/{episode.number:06d}" for episode in episodes])
    law = np.array([episode.start["law"] for episode in episodes])
    probability = np.array([declared(episode) for episode in episodes])
    right = np.where(law == 1, probability, 1 - probability)
    bins = np.eye(BINS)[np.minimum((probability * BINS).astype(int), BINS - 1)]
    laws = [PAIRS[tuple(PAIRS)[int(episode.start["pair"])]] for episode in episodes]
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "log_score": 1 + np.log2(right),
            "brier": (1 - right) ** 2,
            "accurate": (right > UNDECLARED).astype(np.int64),
            "declared": np.array([episode.terminated for episode in episodes], dtype=np.int64),
            "bin_samples": bins,
            "bin_probability": bins * probability[:, None],
            "bin_law": bins * law[:, None],
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]) / USUAL_DOSE,
            "areas": np.array([episode.cost["areas"] for episode in episodes]),
            "beam_s": np.array([episode.cost["beam_s"] for episode in episodes]),
        },
        columns={
            "difficulty": np.array(presets_in_turn(DIFFICULTIES, (episode.number for episode in episodes))),
            "pair": np.array([" or ".join(pair) for pair in laws]),
            "law": np.array([pair[int(one)] for pair, one in zip(laws, law, strict=True)]),
            "strength": np.array([episode.start["strength"] for episode in episodes]),
        },
    )


def calibration_error(sums: Sums) -> np.ndarray:
    """Return the expected calibration error.

    In each bin of the declared probability, the error is the absolute difference between the mean declared probability and the fraction of episodes
    in which law 1 is true. The result is the mean over bins, weighted with the number of episodes.
    """
    apart = np.abs(np.asarray(sums["bin_probability"]) - sums["bin_law"]).sum(axis=-1)
    return ratio(apart, np.asarray(sums["bin_samples"]).sum(axis=-1))


SUMS = {"samples": 4, "log_score": 1.0, "brier": 0.5, "accurate": 3, "areas": 16, "beam_s": 60.0}
"""Example sums of four episodes, for the references of the metrics."""
CALIBRATION = {
    "bin_samples": [0, 2, 0, 0, 0, 0, 0, 0, 2, 0],
    "bin_probability": [0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.75, 0.0],
    "bin_law": [0, 1, 0, 0, 0, 0, 0, 0, 2, 0],
}
"""Example bins of four episodes: the sums of declared probabilities and of true laws differ by 0.75 in one bin and by 0.25 in another."""

HYPOTHESIS = add_metrics(
    "hypothesis-test",
    Metric(
        name="log_score",
        title="1 + log2 of the probability declared for the true law",
        formula=mean_of("log_score"),
        text="log_score / samples",
        references=((SUMS, 0.25),),
        unit="bit",
    ),
    Metric(
        name="brier",
        title="squared distance of the probability declared for the true law from 1",
        formula=mean_of("brier"),
        text="brier / samples",
        references=((SUMS, 0.125),),
        direction="min",
    ),
    Metric(
        name="accuracy",
        title="true law declared with a probability above 1/2",
        formula=mean_of("accurate"),
        text="accurate / samples",
        references=((SUMS, 0.75),),
        proportion=True,
    ),
    Metric(
        name="calibration_error",
        title=f"expected calibration error in {BINS} bins",
        formula=calibration_error,
        text="sum over bins of abs(bin_probability - bin_law) / sum of bin_samples",
        references=((CALIBRATION, 0.25),),
        direction="min",
    ),
    experiments.declared("episodes with a declaration"),
    experiments.dose("dose of an episode, in usual doses", unit=""),
    Metric(
        name="areas",
        title="exposed areas of an episode",
        formula=mean_of("areas"),
        text="areas / samples",
        references=((SUMS, 4.0),),
        direction="min",
    ),
    Metric(
        name="beam_time",
        title="time of exposure of an episode",
        formula=mean_of("beam_s"),
        text="beam_s / samples",
        references=((SUMS, 15.0),),
        unit="s",
        direction="min",
    ),
)

AREAS = by_preset(preset.queries for preset in PRESETS.values())
SITES = by_preset(preset.sites for preset in PRESETS.values())
SQUARES = by_preset(f"({preset.sites_per_side}, {preset.sites_per_side})" for preset in PRESETS.values())

TASKS.add(
    "hypothesis-test",
    Task(
        name="hypothesis-test",
        major=1,
        kind="agent",
        title="Decide which law of beam damage is true",
        text=(
            "Two laws of beam damage in MoS2 agree at the usual energy, dose and time: knock-on or radiolysis, one hit or several, heat or beam. "
            f"Expose up to {AREAS} fresh areas of {SITES} sites at settings of your choice, count the lost sites, and declare "
            f"the probability of the second law ({EDGE:g} to {1 - EDGE:g}). The score is the mean logarithmic score."
        ),
        source="stemtwin/HypothesisTest-v1",
        splits=("public",),
        inputs=(
            Field(name="usual", dtype="uint16", text="(1,) sites lost in the first area, at the usual settings"),
            Field(name="lost", dtype="uint16", text=f"(n,) sites lost in the further areas, in order; n is {AREAS}, by preset"),
            Field(name="area", dtype="int8", text=f"{SQUARES}: 1 at the lost sites of the last area"),
            Field(name="settings", dtype="float32", text="(n, 3) energy, dose, time of each, log., as fractions of the reach"),
            Field(name="pair", dtype="int8", text=f"(3,) 1 at the pair of laws: {', '.join(' or '.join(pair) for pair in PAIRS.values())}"),
            Field(name="budget", dtype="float32", text="(3,) remaining fractions of areas, dose, time"),
        ),
        outputs=(Field(name="action", dtype="float32", text=f"(5,) energy, dose, time; declaration above {DECLARE:g}; probability", low=-1, high=1),),
        metrics=HYPOTHESIS,
        slices=(
            SliceColumn(column="difficulty", title="difficulty"),
            SliceColumn(column="pair", title="laws"),
            SliceColumn(column="law", title="true law"),
            SliceColumn(column="strength", edges=(0.5, 0.8), title="strength"),
        ),
        score=score,
        episodes=210,
        key="stemtwin/hypothesis-test@1: the public seeds, for practice and for baselines",
        failed={"log_score": 1 + math.log2(EDGE), "brier": (1 - EDGE) ** 2, "accurate": 0.0},
        difficulties=DIFFICULTIES,
        citation="D. V. Lindley, Ann. Math. Stat. 27 (1956) 986: the information that an experiment gives",
        license="BSD-3-Clause",
    ),
)
