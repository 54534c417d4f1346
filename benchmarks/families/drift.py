"""Task ``drift-tracking``: keep a feature in view through drift and jumps, and say when the watch is over.

An episode is a watch of two minutes. The agent sees one frame at a time and its own commanded shift, and moves the beam; it is scored on where the
feature truly was in every frame. A watch without a declared end counts nothing.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task
from stemtwin.twin.envs.drift_instrument import FIELD, PERIOD_S, PRESETS, SHAPE, WATCH_S, WIDE_FIELD
from stemtwin.twin.envs.drift_scenes import BOXES
from stemtwin.twin.envs.families.drift_tracking import NEAR, STEP

STANDARD = PRESETS["standard"]


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose watched fraction is 0 without a declared end; each is its own cluster."""
    ids = np.array([f"drift-tracking/{episode.number:06d}" for episode in episodes])
    declared = np.array([episode.terminated for episode in episodes], dtype=np.int64)
    watched = np.array([episode.end["watched"] for episode in episodes])
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "watched": declared * watched,
            "success": declared * (watched > 0.5).astype(np.int64),
            "declared": declared,
            "distance": np.array([episode.end["distance_angstrom"] for episode in episodes]),
            "in_view": np.array([episode.end["distance_angstrom"] < FIELD / 2 for episode in episodes], dtype=np.int64),
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
        },
        columns={
            "specimen": np.array([tuple(BOXES)[int(episode.start["specimen"])] for episode in episodes]),
            "drift_angstrom_per_s": np.array([episode.start["drift_angstrom_per_s"] for episode in episodes]),
            "dose_e_per_angstrom2": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
        },
    )


SUMS = {"samples": 4, "watched": 3.0, "success": 3, "declared": 4, "distance": 8.0, "in_view": 3, "dose": 4e6}
"""Sums of four episodes, made up for the references of the metrics."""

TRACKING = add_metrics(
    "drift-tracking",
    Metric(
        name="watched",
        title=f"part of the watch with the feature in the middle, each frame worth exp(-(r / {NEAR:g} A)^2)",
        formula=mean_of("watched"),
        text="watched / samples",
        references=((SUMS, 0.75),),
    ),
    Metric(
        name="success",
        title="watches of which more than half is watched",
        formula=mean_of("success"),
        text="success / samples",
        references=((SUMS, 0.75),),
        proportion=True,
    ),
    Metric(
        name="declared",
        title="watches with a declared end",
        formula=mean_of("declared"),
        text="declared / samples",
        references=((SUMS, 1.0),),
        proportion=True,
    ),
    Metric(
        name="final_distance",
        title="distance of the feature in the last frame",
        formula=mean_of("distance"),
        text="distance / samples",
        references=((SUMS, 2.0),),
        unit="A",
        direction="min",
    ),
    Metric(
        name="in_view",
        title=f"feature within {FIELD / 2:g} A in the last frame",
        formula=mean_of("in_view"),
        text="in_view / samples",
        references=((SUMS, 0.75),),
        proportion=True,
    ),
    Metric(
        name="dose",
        title="dose of an episode",
        formula=mean_of("dose"),
        text="dose / samples",
        references=((SUMS, 1e6),),
        unit="e-/A^2",
        direction="min",
    ),
)

TASKS.add(
    "drift-tracking",
    Task(
        name="drift-tracking",
        major=1,
        kind="agent",
        title="Keep a feature in view of a drifting specimen",
        text=(
            f"A cluster of heavy atoms in graphene or MoS2 drifts at about {STANDARD.speed_angstrom_per_s:g} A/s, walks at random and jumps "
            f"{STANDARD.jumps} times by {STANDARD.jump_angstrom[0]:g} to {STANDARD.jump_angstrom[1]:g} A. Shift the beam after each frame of "
            f"{FIELD:g} A so that the cluster stays in the middle for {WATCH_S:g} s, and declare the end, within {STANDARD.frames} frames; frames of "
            f"{WIDE_FIELD:g} A search, and count nothing. Frames are {PERIOD_S:g} s apart. The score is the watched part, 0 without a declared end."
        ),
        source="stemtwin/DriftTracking-v1",
        splits=("public",),
        inputs=(
            Field(name="image", dtype="uint16", unit="adu", text=f"{SHAPE} readings of the latest frame, [y, x]: 1000 + 7.6 for each electron"),
            Field(name="field", dtype="float32", unit="A", text="(1,) its field of view"),
            Field(name="shift", dtype="float32", unit="A", text="(2,) commanded shift (x, y) along the axes of the frame"),
            Field(name="clock", dtype="float32", unit="s", text="(1,) time at its end"),
            Field(name="budget", dtype="float32", text="(3,) what is left of frames, dose and watch"),
            Field(name="electrons", dtype="float32", unit="e-", text="(1,) incident electrons at one point"),
        ),
        outputs=(
            Field(
                name="action",
                dtype="float32",
                text=f"(5,) ways of the shift along x, y over {STEP:g} A; above 0.5: a wide frame; above 0.8: the end; above 0.5: a fast one",
                low=-1,
                high=1,
            ),
        ),
        metrics=TRACKING,
        slices=(
            SliceColumn(column="specimen", title="specimen"),
            SliceColumn(column="drift_angstrom_per_s", edges=(0.45, 0.55), unit="A/s", title="drift"),
            SliceColumn(column="dose_e_per_angstrom2", edges=(1e6, 1.3e6), unit="e-/A^2", title="dose"),
        ),
        score=score,
        episodes=100,
        key="stemtwin/drift-tracking@1: the public seeds, for practice and for baselines",
        citation="A. V. Oppenheim, J. S. Lim, Proc. IEEE 69 (1981) 529: the importance of phase in signals",
        license="BSD-3-Clause",
    ),
)
