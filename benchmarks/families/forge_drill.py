"""Task ``atom-drill``: drill a pattern of S vacancies into MoS2 with a parked beam, without the loss of other atoms.

The task is the preset ``drill`` of the environment of ``atom-forge``. Its features, actions and probabilities differ from those of a walk of Si, so
an agent for walks cannot be used for patterns, and a mean score over walks and patterns would be meaningless. The score is the achievement that the
environment defines. Each loss of an atom outside the pattern costs only a part of the achievement, because frames and probe tails eject atoms even
when the oracle plays. An episode without a declared end scores 0.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import add_metrics
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task
from stemtwin.twin.envs.families.atom_forge import LONGEST_S, LOSS, REACH_ANGSTROM, SHORTEST_S, STOP
from stemtwin.twin.envs.forge_scenes import PRESETS
from stemtwin.twin.envs.forge_sight import WIDTHS

DIFFICULTY = "drill"
DRILL = PRESETS[DIFFICULTY]


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    Each episode is its own cluster for confidence intervals.
    """
    ids = np.array([f"atom-drill/{episode.number:06d}" for episode in episodes])
    declared = np.array([episode.terminated for episode in episodes], dtype=np.int64)
    length = np.array([episode.start["length"] for episode in episodes])
    left = np.array([episode.end["left"] for episode in episodes])
    lost = np.array([episode.end["lost"] for episode in episodes])
    whole = declared * (left == 0)
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "whole": whole,
            "unharmed": whole * (lost == 0),
            "achieved": declared * np.maximum(1 - LOSS * lost, 0) * np.where(left == 0, 1.0, (1 - left / length) / 2),
            "finished": 1 - left / length,
            "lost": lost,
            "declared": declared,
            "looks": np.array([episode.cost["looks"] for episode in episodes]),
            "beam_s": np.array([episode.cost["beam_s"] for episode in episodes]),
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
        },
        columns={"length": length},
    )


SUMS = {"samples": 4, "whole": 3, "unharmed": 2, "achieved": 2.5, "finished": 3.6, "lost": 2.0, "looks": 80.0, "beam_s": 30.0}
"""Example sums of four episodes, for the references of the metrics."""

DRILLING = add_metrics(
    "atom-drill",
    experiments.mean(
        SUMS, "achieved", f"1 for the whole pattern or half its fraction, times 1 - {LOSS:g} for each other lost atom, if declared", 0.625
    ),
    experiments.mean(SUMS, "unharmed", "the whole pattern at the declared end, and no other atoms lost", 0.5, proportion=True),
    experiments.mean(SUMS, "whole", "the whole pattern at the declared end", 0.75, proportion=True),
    experiments.mean(SUMS, "finished", "final fraction of the pattern", 0.9),
    experiments.mean(SUMS, "lost", "lost atoms outside the pattern", 0.5, direction="min"),
    experiments.declared(),
    experiments.mean(SUMS, "looks", "frames of an episode", 20.0, direction="min"),
    experiments.mean(SUMS, "beam_s", "time with the beam on the specimen", 7.5, unit="s", direction="min"),
    experiments.dose("dose of an episode over the area of the field"),
)

TASKS.add(
    "atom-drill",
    Task(
        name="atom-drill",
        major=1,
        kind="agent",
        title="Drill a pattern of vacancies into MoS2",
        text=(
            f"A pattern of {DRILL.size[0]} to {DRILL.size[1]} connected S sites on the exit face of MoS2 is marked. Park a beam of "
            f"{DRILL.energy_ev / 1e3:g} kV on sites for {SHORTEST_S:g} to {LONGEST_S:g} s to eject their atoms. Frames and probe tails eject atoms, "
            f"too, and an S atom beside a vacancy often jumps into it. Declare the end within {DRILL.looks} looks and {DRILL.beam_s:g} s of beam. "
            f"The score is 1 for the whole pattern or half its finished fraction, times 1 - {LOSS:g} for each other lost atom, and 0 without a "
            "declared end."
        ),
        source="stemtwin/AtomForge-v1",
        splits=("public",),
        inputs=(
            Field(
                name="state",
                dtype="float32",
                text=f"({WIDTHS['drill'] + 3},) position, brightness and mark of each S site, remaining looks and beam time, beam energy",
            ),
        ),
        outputs=(
            Field(
                name="action",
                dtype="float32",
                text=f"(4,) beam from the centre along x, y over {REACH_ANGSTROM['drill']:g} A; logarithm of its time; stop above {STOP:g}",
                low=-1,
                high=1,
            ),
        ),
        metrics=DRILLING,
        slices=(SliceColumn(column="length", edges=(5, 6), unit="sites", title="size of the pattern"),),
        score=score,
        episodes=90,
        key="stemtwin/atom-drill@1: the public seeds, for practice and for baselines",
        failed={"achieved": 0.0, "unharmed": 0.0, "whole": 0.0, "finished": 0.0},
        difficulties=(DIFFICULTY,),
        citation="H.-P. Komsa et al., Phys. Rev. Lett. 109 (2012) 035503: defects that electrons make in dichalcogenides",
        license="BSD-3-Clause",
    ),
)
