"""Task ``drift-tracking``: keep a feature in view through drift, jumps and tilts, detect the hop of an atom, and declare the end.

An episode takes two minutes. Successive episodes use the presets ``easy``, ``standard``, ``hard`` and ``event`` in turn. The agent receives one frame
at a time and its own commanded shift, moves the beam and chooses the number of electrons. The score depends on the true position of the feature in
every frame and, for the preset ``event``, on the delay between the hop of an atom and the first fast frame that shows the hop. The agent can
request a fast frame, which ends 0.5 s after the previous frame instead of 2 s. An episode without a declared end scores 0.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task, presets_in_turn
from stemtwin.twin.envs.drift_instrument import FAST_S, FIELD, INSTRUMENT, MOST_DOSE, PERIOD_S, PRESETS, SHAPE, WATCH_S, WIDE_FIELD, usual_frames
from stemtwin.twin.envs.drift_scenes import BOXES
from stemtwin.twin.envs.drift_watch import NEAR, PATIENCE_S
from stemtwin.twin.envs.families.drift_tracking import STEP

DIFFICULTIES = tuple(PRESETS)
SPEEDS = [preset.speed_angstrom_per_s for preset in PRESETS.values()]


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    The watched fraction is the part of the time in which the feature is close to the middle of narrow frames, and counts as 0 without a declared end.
    Each episode is its own cluster for confidence intervals.
    """
    ids = np.array([f"drift-tracking/{episode.number:06d}" for episode in episodes])
    names = presets_in_turn(DIFFICULTIES, (episode.number for episode in episodes))
    presets = [PRESETS[name] for name in names]
    end = {name: np.array([episode.end[name] for episode in episodes]) for name in episodes[0].end}
    declared = np.array([episode.terminated for episode in episodes], dtype=np.int64)
    event = np.array([preset.event for preset in presets], dtype=np.int64)
    found = event * (end["delay_s"] >= 0)
    achieved = declared * end["watched"] * np.where(event, (1 + end["detection"]) / 2, 1.0)
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "achieved": achieved,
            "watched": declared * end["watched"],
            "success": (achieved > 0.5).astype(np.int64),
            "declared": declared,
            "distance": end["distance_angstrom"],
            "in_view": (end["distance_angstrom"] < FIELD / 2).astype(np.int64),
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
            "events": event,
            "found": found.astype(np.int64),
            "false_alarms": event * end["false_alarms"],
            "delay": found * end["delay_s"],
        },
        columns={
            "difficulty": np.array(names),
            "specimen": np.array([tuple(BOXES)[int(episode.start["specimen"])] for episode in episodes]),
            "electrons": np.array([10 ** episode.start["log10_electrons"] for episode in episodes]),
            "drift_angstrom_per_s": np.array([episode.start["drift_angstrom_per_s"] for episode in episodes]),
            "instrument": np.array([INSTRUMENT if preset.faults else f"{INSTRUMENT} without chain and scan faults" for preset in presets]),
        },
    )


SUMS = {
    "samples": 8, "achieved": 5.0, "watched": 6.0, "distance": 16.0, "in_view": 6,
    "events": 2, "found": 1, "false_alarms": 3.0, "delay": 4.0,
}  # fmt: skip
"""Example sums of eight episodes, for the references of the metrics."""

TRACKING = add_metrics(
    "drift-tracking",
    Metric(
        name="achievement",
        title="watched fraction of declared watches; with an event, times (1 + value of its detection) / 2",
        formula=mean_of("achieved"),
        text="achieved / samples",
        references=((SUMS, 0.625),),
    ),
    Metric(
        name="watched",
        title=f"fraction of the watch with the feature in the middle, each frame weighted by exp(-(r / {NEAR:g} A)^2)",
        formula=mean_of("watched"),
        text="watched / samples",
        references=((SUMS, 0.75),),
    ),
    experiments.success("watches with an achievement above one half"),
    experiments.declared("watches with a declared end"),
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
        name="detected",
        title="events shown by a narrow fast frame",
        formula=mean_of("found", over="events"),
        text="found / events",
        references=((SUMS, 0.5),),
    ),
    Metric(
        name="detection_delay",
        title="time from a detected event to the frame that shows it",
        formula=mean_of("delay", over="found"),
        text="delay / found",
        references=((SUMS, 4.0),),
        unit="s",
        direction="min",
    ),
    Metric(
        name="false_alarms",
        title="fast frames before an event",
        formula=mean_of("false_alarms", over="events"),
        text="false_alarms / events",
        references=((SUMS, 1.5),),
        direction="min",
    ),
    experiments.dose(),
)

TASKS.add(
    "drift-tracking",
    Task(
        name="drift-tracking",
        major=1,
        kind="agent",
        title="Keep a feature of a drifting specimen in view",
        text=(
            f"A cluster of heavy atoms in graphene or MoS2 drifts at about {min(SPEEDS):g} to {max(SPEEDS):g} A/s, walks at random and jumps; the "
            "holder may be tilted, and in every fourth watch an atom beside the cluster hops. Shift the beam after each frame of "
            f"{FIELD:g} A so that the cluster stays in the middle for {WATCH_S:g} s, answer the hop with a fast frame, and declare the end. Frames "
            f"of {WIDE_FIELD:g} A are for searching and do not count. Frames are {PERIOD_S:g} s apart, fast ones {FAST_S:g} s, and the specimen "
            f"tolerates the dose of {usual_frames(WATCH_S)} usual frames. The score is the watched fraction, 0 without a declared end; with an "
            f"event, it is multiplied by (1 + e) / 2, where e = exp(-delay / {PATIENCE_S:g} s), halved by each fast frame before the event."
        ),
        source="stemtwin/DriftTracking-v1",
        splits=("public",),
        inputs=(
            Field(
                name="image",
                dtype="uint16",
                unit="adu",
                text=f"{SHAPE} readings of the latest frame, [y, x]: electrons (easy), or 1000 + 7.6 for each electron",
            ),
            Field(name="field", dtype="float32", unit="A", text="(1,) field of view of the latest frame"),
            Field(name="shift", dtype="float32", unit="A", text="(2,) commanded shift (x, y) along the axes of the frame"),
            Field(name="clock", dtype="float32", unit="s", text="(1,) time at the end of the latest frame"),
            Field(name="budget", dtype="float32", text="(3,) remaining fractions of frames, dose and watch"),
            Field(name="electrons", dtype="float32", unit="e-", text="(1,) incident electrons at one point"),
            Field(name="dose", dtype="float32", unit="e-/A^2", text="(1,) dose so far"),
            Field(name="tilt", dtype="float32", unit="mrad", text="(1,) tilt of the holder, in watches with a series of tilts"),
        ),
        outputs=(
            Field(
                name="action",
                dtype="float32",
                text=(
                    f"(6,) change of the shift along x, y over {STEP:g} A; wide frame above 0.5; end above 0.8; fast frame above 0.5; "
                    f"logarithm to the base {MOST_DOSE:g} of the electrons over the usual number"
                ),
                low=-1,
                high=1,
            ),
        ),
        metrics=TRACKING,
        slices=(
            SliceColumn(column="difficulty", title="difficulty"),
            SliceColumn(column="specimen", title="specimen"),
            SliceColumn(column="electrons", edges=(120.0, 400.0), unit="e-", title="usual electrons at a point"),
            SliceColumn(column="drift_angstrom_per_s", edges=(0.3, 0.6), unit="A/s", title="drift"),
            SliceColumn(column="instrument", title="instrument"),
        ),
        score=score,
        episodes=120,
        key="stemtwin/drift-tracking@1: the public seeds, for practice and for baselines",
        failed={"achieved": 0.0, "watched": 0.0, "success": 0.0},
        difficulties=DIFFICULTIES,
        citation="A. V. Oppenheim, J. S. Lim, Proc. IEEE 69 (1981) 529: the importance of phase in signals",
        license="BSD-3-Clause",
    ),
)
