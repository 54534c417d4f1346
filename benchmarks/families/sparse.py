"""Task ``sparse-scan``: choose the path of the beam that gives the best image of a sparse scene with few electrons.

The agent chooses lines, spirals and hops. One fixed reconstruction of all counts gives the image and its uncertainty. The error and the logarithmic
score are compared with those of a raster of the same scene with the same dose and path time. As in the reward of the environment, the skill is 0 if
the image is worse than that of the raster, or if the episode has no declared end. The logarithmic score and the coverage are always computed from the
agent's image, also in episodes with a skill of 0. Successive episodes use the presets ``easy``, ``standard`` and ``hard`` in turn. Each episode is
compared with its own raster, so the skills of different presets have one scale.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of, ratio
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn, Sums
from stemtwin.benchmarks.tasks import TASKS, Task, by_preset, presets_in_turn
from stemtwin.twin.envs.families.sparse_scan import STOP, SUCCESS
from stemtwin.twin.envs.sparse_instrument import PRESETS
from stemtwin.twin.envs.sparse_paths import COUNT, KINDS
from stemtwin.twin.envs.sparse_scenes import PITCH_ANGSTROM, PROFILE, SCENES

DIFFICULTIES, POINTS = tuple(PRESETS), 128
NOMINAL = 0.9
"""Fraction of points that lie within 1.645 standard deviations of the truth if the uncertainty is correct."""


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    Each episode is its own cluster for confidence intervals.
    """
    ids = np.array([f"sparse-scan/{episode.number:06d}" for episode in episodes])
    end = {name: np.array([episode.end[name] for episode in episodes]) for name in episodes[0].end}
    names = presets_in_turn(DIFFICULTIES, (episode.number for episode in episodes))
    declared = np.array([episode.terminated for episode in episodes], dtype=np.int64)
    skill = declared * np.maximum(1 - end["error"] / end["raster_error"], 0)
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "skill": skill,
            "log_gain": end["log_score"] - end["raster_log_score"],
            "covered": end["coverage"],
            "success": (skill > SUCCESS).astype(np.int64),
            "declared": declared,
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
            "path_ms": np.array([episode.cost["path_s"] for episode in episodes]) * 1e3,
            "blocks": np.array([len(episode.actions) for episode in episodes], dtype=np.int64) - declared,
        },
        columns={
            "difficulty": np.array(names),
            "instrument": np.array([PROFILE if PRESETS[name].faults else f"{PROFILE} without detector chain" for name in names]),
            "sample": np.array([tuple(SCENES)[int(number)] for number in end["sample"]]),
            "electrons": 10 ** end["log10_electrons"],
        },
    )


def coverage_error(sums: Sums) -> np.ndarray:
    """Return the absolute difference between the mean coverage and the nominal coverage."""
    return np.abs(ratio(np.asarray(sums["covered"]), np.asarray(sums["samples"])) - NOMINAL)


SUMS = {"samples": 4, "skill": 1.0, "log_gain": -2.0, "covered": 3.2, "path_ms": 120.0, "blocks": 160}
"""Example sums of four episodes, for the references of the metrics."""

SPARSE = add_metrics(
    "sparse-scan",
    Metric(
        name="skill",
        title="1 - rms error over that of a raster with the same dose and path time, at least 0; 0 without a declared end",
        formula=mean_of("skill"),
        text="skill / samples",
        references=((SUMS, 0.25),),
    ),
    Metric(
        name="log_score_gain",
        title="logarithmic score of image and uncertainty minus that of the raster",
        formula=mean_of("log_gain"),
        text="log_gain / samples",
        references=((SUMS, -0.5),),
        unit="nat",
    ),
    Metric(
        name="coverage_error",
        title=f"distance of the fraction of points within 1.645 standard deviations from {NOMINAL:g}",
        formula=coverage_error,
        text=f"abs(covered / samples - {NOMINAL:g})",
        references=((SUMS, 0.1),),
        direction="min",
    ),
    experiments.success("declared ends with a skill above 1/3"),
    experiments.declared(),
    experiments.dose("mean dose over the field"),
    Metric(
        name="path_time",
        title="time along the path",
        formula=mean_of("path_ms"),
        text="path_ms / samples",
        references=((SUMS, 30.0),),
        unit="ms",
        direction="min",
    ),
    Metric(
        name="blocks",
        title="blocks of an episode",
        formula=mean_of("blocks"),
        text="blocks / samples",
        references=((SUMS, 40.0),),
        direction="min",
    ),
)

ACTION = f"(7,) kind ({', '.join(KINDS)} in thirds), x and y of both corners; stop above {STOP:g}; logarithm of the dwell time"

BLOCKS = by_preset(preset.blocks(POINTS) for preset in PRESETS.values())

TASKS.add(
    "sparse-scan",
    Task(
        name="sparse-scan",
        major=1,
        kind="agent",
        title="Scan a sparse scene with few electrons",
        text=(
            f"A field of {POINTS} x {POINTS} points, {PITCH_ANGSTROM:g} A apart, holds particles, pores or a grain boundary. Choose blocks of "
            f"{COUNT} points along lines, spirals or hops, {BLOCKS} at the usual dwell time, and declare the end. The answer is "
            "the image with its uncertainty from one fixed reconstruction of all counts. The score is 1 - its rms error over that of a raster "
            "with the same dose and path time, 0 where the raster is better or no end is declared."
        ),
        source="stemtwin/SparseScan-v1",
        splits=("public",),
        inputs=(
            Field(name="taken", dtype="uint8", text=f"(1,) points of the last block that were scanned: {COUNT}, or 0"),
            Field(
                name="readings",
                dtype="uint16",
                unit="adu",
                text=f"({COUNT},) its readings: electrons (easy), or 1000 + 7.6 for each electron, 0 where none was taken",
            ),
            Field(name="pixels", dtype="uint8", text=f"({COUNT}, 2) rows and columns of the points of the last block"),
            Field(name="estimate", dtype="float32", text=f"({POINTS}, {POINTS}) image so far, fraction of the beam, [y, x]"),
            Field(name="uncertainty", dtype="float32", text=f"({POINTS}, {POINTS}) its standard deviation"),
            Field(name="budget", dtype="float32", text="(2,) remaining fractions of dose and path time"),
            Field(name="electrons", dtype="float32", unit="e-", text="(1,) incident electrons at each of these points, 0 where none was taken"),
        ),
        outputs=(Field(name="action", dtype="float32", text=ACTION, low=-1, high=1),),
        metrics=SPARSE,
        slices=(
            SliceColumn(column="difficulty", title="difficulty"),
            SliceColumn(column="instrument", title="instrument"),
            SliceColumn(column="sample", title="sample"),
            SliceColumn(column="electrons", edges=(2500.0, 4000.0), unit="e-", title="electrons at a point"),
        ),
        score=score,
        episodes=90,
        key="stemtwin/sparse-scan@1: the public seeds, for practice and for baselines",
        failed={"skill": 0.0, "success": 0.0},
        difficulties=DIFFICULTIES,
        citation="L. Kovarik et al., Appl. Phys. Lett. 109 (2016) 164102: line hops that spare the dose",
        license="BSD-3-Clause",
    ),
)
