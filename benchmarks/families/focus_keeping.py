"""Task ``focus-keeping``: keep a crystal in focus for an hour while defocus and astigmatism drift, and declare the end.

The task is the preset ``drift`` of the environment of ``autofocus@2``, in which a frame is taken each minute. The focus at the declared end says
little about the focus during the hour, so the score is the mean Strehl ratio of the hour. It is 0 without a declared end.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.families.focus_v2 import ACTION, BESIDE_IMAGE
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import add_metrics
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task
from stemtwin.twin.envs.families.autofocus import HOUR_S
from stemtwin.twin.envs.focus_instrument import PRESETS

DIFFICULTY = "drift"
HOUR = PRESETS[DIFFICULTY]


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    The mean Strehl ratio over the hour of an episode counts as 0 if the agent did not declare the end.
    Each episode is its own cluster for confidence intervals.
    """
    ids = np.array([f"focus-keeping/{episode.number:06d}" for episode in episodes])
    declared = np.array([episode.terminated for episode in episodes], dtype=np.int64)
    kept = declared * np.array([episode.end["hour_strehl"] for episode in episodes])
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "kept": kept,
            "success": (kept > 0.5).astype(np.int64),
            "declared": declared,
            "strehl": np.array([episode.end["strehl"] for episode in episodes]),
            "minutes": np.array([len(episode.actions) for episode in episodes], dtype=np.int64) - declared,
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
        },
        columns={
            "start_C10_angstrom": np.array([episode.start["C10_angstrom"] for episode in episodes]),
            "electrons": np.array([10 ** episode.start["log10_electrons"] for episode in episodes]),
            "drift_factor": np.array([episode.start["drift_factor"] for episode in episodes]),
        },
    )


SUMS = {"samples": 4, "kept": 2.0, "strehl": 3.0, "minutes": 200}
"""Example sums of four episodes, for the references of the metrics."""

KEEPING = add_metrics(
    "focus-keeping",
    experiments.mean(SUMS, "kept", "mean Strehl ratio of the hour at the declared end, 0 without one; missing minutes count as 0", 0.5),
    experiments.success("declared ends with a mean Strehl ratio of the hour above one half"),
    experiments.declared(),
    experiments.mean(SUMS, "strehl", "final Strehl ratio", 0.75),
    experiments.mean(SUMS, "minutes", "frames after the first, one each minute", 50.0),
    experiments.dose(),
)

TASKS.add(
    "focus-keeping",
    Task(
        name="focus-keeping",
        major=1,
        kind="agent",
        title="Keep a crystal in focus for an hour, and declare the end",
        text=(
            f"MoS2 is imaged once in {HOUR.wait_s:g} s while defocus and two-fold astigmatism drift; they start within {HOUR.start_c10[1]:g} A and "
            f"{HOUR.start_c12[1]:g} A. Change C10, C12a and C12b after each frame so that the probe stays in focus for {HOUR_S / 60:g} minutes, and "
            f"declare the end, within {HOUR.frames} frames and {HOUR.dose_budget_e_per_angstrom2:.0e} e-/A^2. The score is the mean Strehl ratio of "
            "the hour, 0 without a declared end."
        ),
        source="stemtwin/Autofocus-v2",
        splits=("public",),
        inputs=(
            Field(name="image", dtype="uint16", unit="adu", text="(128, 128) readings of the latest frame, [y, x]: 1000 + 7.6 for each electron"),
            *BESIDE_IMAGE,
        ),
        outputs=(Field(name="action", dtype="float32", text=ACTION, low=-1, high=1),),
        metrics=KEEPING,
        slices=(
            SliceColumn(column="start_C10_angstrom", edges=(30,), absolute=True, unit="A", title="start |C10|"),
            SliceColumn(column="electrons", edges=(1200.0,), unit="e-", title="electrons at a point"),
            SliceColumn(column="drift_factor", edges=(1.0,), title="drift relative to the instrument's usual drift"),
        ),
        score=score,
        episodes=60,
        key="stemtwin/focus-keeping@1: the public seeds, for practice and for baselines",
        failed={"kept": 0.0, "success": 0.0},
        difficulties=(DIFFICULTY,),
        citation="J. M. LeBeau et al., arXiv:2208.02865 (2022): beam alignment learnt in a virtual environment",
        license="BSD-3-Clause",
    ),
)
