"""Task ``autofocus``: bring defocus and two-fold astigmatism to zero within a budget of frames and dose.

An episode starts at an unknown defocus and an unknown astigmatism. The agent receives frames, its own commanded increments, the remaining budget and
its costs, and returns increments of C10, C12a and C12b. The score depends on the true aberrations of the instrument at the end.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task
from stemtwin.twin.envs.focus_limits import FRAMES, GOAL, START_C10, START_C12, STEP


def succeeded(truth: dict[str, float]) -> bool:
    """Return True if defocus and two-fold astigmatism are both below the goal of the focusing task."""
    return abs(truth["C10_angstrom"]) < GOAL and abs(truth["C12_angstrom"]) < GOAL


def score(episodes: list[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    Each episode is its own cluster for confidence intervals.
    """
    success = np.array([succeeded(episode.end) for episode in episodes], dtype=np.int64)
    images = np.array([len(episode.actions) + 1 for episode in episodes], dtype=np.int64)  # one frame comes with the reset
    return statistics("autofocus", episodes, np.ones(len(episodes), dtype=np.int64), success, images)


def statistics(name: str, episodes: Sequence[Episode], counted: np.ndarray, success: np.ndarray, images: np.ndarray) -> SampleStatistics:
    """Return the additive statistics of focusing episodes, whose sums over episodes give the metrics.

    Parameters
    ----------
    name : str
        Text with which the ids of the episodes begin.
    episodes : sequence of Episode
        The episodes.
    counted : ndarray
        1 for an episode whose final Strehl ratio counts, 0 for an episode in which it is replaced by 0, int64, shape (n,).
    success, images : ndarray
        ``success`` is 1 for a success and 0 otherwise, and ``images`` is the number of frames, int64, shape (n,) each.
    """
    ids = np.array([f"{name}/{episode.number:06d}" for episode in episodes])
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "strehl": counted * np.array([episode.end["strehl"] for episode in episodes]),
            "success": success,
            "abs_c10": np.abs([episode.end["C10_angstrom"] for episode in episodes]),
            "abs_c12": np.abs([episode.end["C12_angstrom"] for episode in episodes]),
            "success_images": success * images,
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
        },
        columns={
            "start_C10_angstrom": np.array([episode.start["C10_angstrom"] for episode in episodes]),
            "start_C12_angstrom": np.array([episode.start["C12_angstrom"] for episode in episodes]),
            "start_side": np.where([episode.start["C10_angstrom"] < 0 for episode in episodes], "C10 < 0", "C10 > 0"),
        },
    )


SUMS = {"samples": 4, "strehl": 3.0, "success": 3, "abs_c10": 50.0, "abs_c12": 20.0, "success_images": 30}
"""Example sums of four episodes, for the references of the metrics."""

FOCUSING = add_metrics(
    "focusing",
    Metric(name="strehl", title="final Strehl ratio", formula=mean_of("strehl"), text="strehl / samples", references=((SUMS, 0.75),)),
    experiments.success(f"final |C10| < {GOAL:g} A and |C12| < {GOAL:g} A"),
    Metric(
        name="final_c10",
        title="final |C10|",
        formula=mean_of("abs_c10"),
        text="abs_c10 / samples",
        references=((SUMS, 12.5),),
        unit="A",
        direction="min",
    ),
    Metric(
        name="final_c12",
        title="final |C12|",
        formula=mean_of("abs_c12"),
        text="abs_c12 / samples",
        references=((SUMS, 5.0),),
        unit="A",
        direction="min",
    ),
    Metric(
        name="images_to_success",
        title="frames of successful episodes",
        formula=mean_of("success_images", over="success"),
        text="success_images / success",
        references=((SUMS, 10.0), ({"success_images": 0, "success": 0}, np.nan)),
        direction="min",
    ),
    experiments.dose(),
)

INCREMENTS = "(3,) fractions of {:g}, {:g} and {:g} A by which C10, C12a, C12b change".format(*STEP)

TASKS.add(
    "autofocus",
    Task(
        name="autofocus",
        major=1,
        kind="agent",
        title="Focus the probe and correct two-fold astigmatism",
        text=(
            f"A thin crystal is imaged at an unknown defocus ({START_C10[0]:g} to {START_C10[1]:g} A, either sign) and an unknown two-fold "
            f"astigmatism ({START_C12[0]:g} to {START_C12[1]:g} A). Move C10, C12a and C12b by increments until |C10| and |C12| are below "
            f"{GOAL:g} A, within {FRAMES} frames. The score is the Strehl ratio at the end."
        ),
        source="stemtwin/Autofocus-v1",
        splits=("public",),
        inputs=(
            Field(name="image", dtype="uint16", unit="e-", text="(128, 128) counts of the latest frame, [y, x]"),
            Field(name="knobs", dtype="float32", unit="A", text="(3,) C10, C12a, C12b relative to the start"),
            Field(name="budget", dtype="float32", text="(2,) remaining fractions of frames and dose"),
        ),
        outputs=(Field(name="increments", dtype="float32", text=INCREMENTS, low=-1, high=1),),
        metrics=FOCUSING,
        slices=(
            SliceColumn(column="start_C10_angstrom", edges=(50, 100), absolute=True, unit="A", title="start |C10|"),
            SliceColumn(column="start_C12_angstrom", edges=(20, 50), unit="A", title="start |C12|"),
            SliceColumn(column="start_side", title="start"),
        ),
        score=score,
        episodes=100,
        key="stemtwin/autofocus@1: the public seeds, for practice and for baselines",
        failed={"strehl": 0.0, "success": 0.0, "success_images": 0.0},
        citation="J. M. LeBeau et al., arXiv:2208.02865 (2022): beam alignment learnt in a virtual environment",
        license="BSD-3-Clause",
    ),
)
