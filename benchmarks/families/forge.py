"""Task ``atom-forge``: move a silicon atom through graphene to a target site with a parked beam, without the loss of an atom.

After each exposure to the parked beam, the agent receives features that are detected around the atom (observation form ``state``). The environment
can also give frames of the microscope (other observation forms). An episode without a declared end scores 0. Successive episodes use the presets
``easy``, ``standard`` and ``hard`` in turn. The preset ``drill``, whose goal is a pattern of vacancies and whose features differ, is a separate task
(``forge_drill.py``).
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import add_metrics
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task, by_preset, presets_in_turn
from stemtwin.twin.envs.families.atom_forge import LONGEST_S, REACH_ANGSTROM, SHORTEST_S, STOP
from stemtwin.twin.envs.forge_scenes import PRESETS
from stemtwin.twin.envs.forge_sight import WIDTHS

WALKS = {name: preset for name, preset in PRESETS.items() if preset.goal == "walk"}
DIFFICULTIES = tuple(WALKS)


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    Each episode is its own cluster for confidence intervals.
    """
    ids = np.array([f"atom-forge/{episode.number:06d}" for episode in episodes])
    declared = np.array([episode.terminated for episode in episodes], dtype=np.int64)
    arrived = np.array([episode.end["left"] == 0 for episode in episodes], dtype=np.int64)
    whole = np.array([episode.end["lost"] == 0 for episode in episodes], dtype=np.int64)
    length = np.array([episode.start["length"] for episode in episodes])
    left = np.array([episode.end["left"] for episode in episodes])
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "arrived": declared * arrived,
            "unharmed": declared * arrived * whole,
            "kept": np.array([episode.end["dopant"] for episode in episodes], dtype=np.int64),
            "shortening": np.clip(1 - left / length, -1, 1) * np.array([episode.end["dopant"] for episode in episodes]),
            "declared": declared,
            "looks": np.array([episode.cost["looks"] for episode in episodes]),
            "beam_s": np.array([episode.cost["beam_s"] for episode in episodes]),
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
        },
        columns={
            "difficulty": np.array(presets_in_turn(DIFFICULTIES, (episode.number for episode in episodes))),
            "length": length,
            "foreign": np.array([episode.start["foreign"] for episode in episodes]),
            "empty": np.array([episode.start["empty"] for episode in episodes]),
        },
    )


SUMS = {"samples": 4, "arrived": 3, "unharmed": 2, "kept": 3, "shortening": 2.5, "looks": 100.0, "beam_s": 40.0}
"""Example sums of four episodes, for the references of the metrics."""


FORGING = add_metrics(
    "atom-forge",
    experiments.mean(SUMS, "unharmed", "Si at the target at the declared end, and no atoms lost", 0.5, proportion=True),
    experiments.mean(SUMS, "arrived", "Si at the target at the declared end", 0.75, proportion=True),
    experiments.mean(SUMS, "shortening", "shortening of the path over its length, 0 where Si is lost", 0.625),
    experiments.mean(SUMS, "kept", "Si still in the sheet", 0.75, proportion=True),
    experiments.declared(),
    experiments.mean(SUMS, "looks", "frames of an episode", 25.0, direction="min"),
    experiments.mean(SUMS, "beam_s", "time with the beam on the specimen", 10.0, unit="s", direction="min"),
    experiments.dose("dose of an episode over the area of the field"),
)

LENGTHS = [length for preset in WALKS.values() for length in preset.size]
ENERGIES = by_preset(f"{preset.energy_ev / 1e3:g}" for preset in WALKS.values())
LOOKS = by_preset(preset.looks for preset in WALKS.values())
SECONDS = by_preset(f"{preset.beam_s:g}" for preset in WALKS.values())

TASKS.add(
    "atom-forge",
    Task(
        name="atom-forge",
        major=1,
        kind="agent",
        title="Move a silicon atom through graphene",
        text=(
            f"A Si atom sits in a sheet of graphene with N atoms and vacancies, {min(LENGTHS)} to {max(LENGTHS)} bonds from its target. "
            f"Park a beam of {ENERGIES} kV beside it for {SHORTEST_S:g} to {LONGEST_S:g} s: a C atom that is hit swaps sites "
            f"with Si; a Si atom that is hit for long is replaced by C. Declare the end at the target, within {LOOKS} looks and "
            f"{SECONDS} s of beam. The score is the fraction of episodes that end there without the loss of an atom."
        ),
        source="stemtwin/AtomForge-v1",
        splits=("public",),
        inputs=(
            Field(
                name="state",
                dtype="float32",
                text=f"({WIDTHS['walk'] + 3},) features detected about Si, path to the target, remaining looks and beam time, beam energy",
            ),
        ),
        outputs=(
            Field(
                name="action",
                dtype="float32",
                text=f"(4,) beam from Si along x, y as fractions of {REACH_ANGSTROM['walk']:g} A; logarithm of its time; stop above {STOP:g}",
                low=-1,
                high=1,
            ),
        ),
        metrics=FORGING,
        slices=(
            SliceColumn(column="difficulty", title="difficulty"),
            SliceColumn(column="length", edges=(7, 9, 11), unit="bonds", title="length of the path"),
            SliceColumn(column="foreign", edges=(5, 9), title="N atoms"),
            SliceColumn(column="empty", edges=(1, 3), title="vacancies"),
        ),
        score=score,
        episodes=90,
        key="stemtwin/atom-forge@1: the public seeds, for practice and for baselines",
        failed={"unharmed": 0.0, "arrived": 0.0, "kept": 0.0, "shortening": -1.0},
        difficulties=DIFFICULTIES,
        citation="T. Susi et al., Phys. Rev. Lett. 113 (2014) 115501; M. Tripathi et al., Nano Lett. 18 (2018) 5319: silicon led through graphene",
        license="BSD-3-Clause",
    ),
)
