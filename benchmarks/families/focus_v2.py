"""Task ``autofocus@2``: focus on an unnamed crystal with an instrument that has faults, and declare the end.

Version 2 differs from version 1 in two respects: the agent declares the end itself, and the specimen, the rotation, the dose, the residual
aberrations and the drift are drawn at random. An episode without a declared end scores 0. Successive episodes use the presets ``easy``, ``standard``
and ``hard`` in turn. The preset ``drift``, whose goal is to stay in focus, is a separate task (``focus_keeping.py``).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.families.focus import FOCUSING, statistics, succeeded
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task, by_preset, presets_in_turn
from stemtwin.twin.envs.families.autofocus import GOAL, STEP
from stemtwin.twin.envs.focus_instrument import INSTRUMENTS, PRESETS, SPECIMENS

GOALS = {name: preset for name, preset in PRESETS.items() if not preset.wait_s}
"""Presets whose goal is a declared end in focus."""
DIFFICULTIES = tuple(GOALS)


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    Strehl ratio and success are 0 without a declared end. Each episode is its own cluster for confidence intervals.
    """
    declared = np.array([episode.terminated for episode in episodes], dtype=np.int64)
    success = declared * np.array([succeeded(episode.end) for episode in episodes], dtype=np.int64)
    images = np.array([len(episode.actions) for episode in episodes], dtype=np.int64) + 1 - declared  # one comes with the reset, none with the stop
    found = statistics("autofocus@2", episodes, declared, success, images)
    names = presets_in_turn(DIFFICULTIES, (episode.number for episode in episodes))
    instruments = [INSTRUMENTS[int(episode.start["instrument"])] for episode in episodes]
    drawn = {
        "difficulty": np.array(names),
        "instrument": np.array([one if PRESETS[name].faults else f"{one} without faults" for name, one in zip(names, instruments, strict=True)]),
        "specimen": np.array([SPECIMENS[int(episode.start["specimen"])] for episode in episodes]),
        "electrons": np.array([10 ** episode.start["log10_electrons"] for episode in episodes]),
        "drift_factor": np.array([episode.start["drift_factor"] for episode in episodes]),
    }
    return dataclasses.replace(found, columns={**found.columns, **drawn})


ACTION = "(4,) fractions of {:g}, {:g} and {:g} A by which C10, C12a, C12b change; stop above 0.5".format(*STEP)

STARTS_C10 = [abs_c10 for preset in GOALS.values() for abs_c10 in preset.start_c10]
LARGEST_C12 = max(preset.start_c12[1] for preset in GOALS.values())
DOSES = by_preset(f"{preset.dose_budget_e_per_angstrom2:.0e}" for preset in GOALS.values())
FRAMES = by_preset(preset.frames for preset in GOALS.values())
CRYSTALS = len({name for preset in GOALS.values() for name in preset.randomisation.samples})

BESIDE_IMAGE = (
    Field(name="knobs", dtype="float32", unit="A", text="(3,) C10, C12a, C12b relative to the start, as commanded"),
    Field(name="budget", dtype="float32", text="(2,) remaining fractions of frames and dose"),
    Field(name="scan", dtype="float32", text="(2,) cosine and sine of the scan's rotation"),
    Field(name="electrons", dtype="float32", unit="e-", text="(1,) incident electrons at one point"),
)
"""Inputs besides the image, which both tasks of the environment share."""

TASKS.add(
    "autofocus@2",
    Task(
        name="autofocus",
        major=2,
        kind="agent",
        title="Focus the probe, correct two-fold astigmatism, and declare the end",
        text=(
            f"One of {CRYSTALS} thin crystals, whose name is not given, is imaged at an unknown defocus ({min(STARTS_C10):g} to "
            f"{max(STARTS_C10):g} A, either sign) and an unknown two-fold astigmatism (up to {LARGEST_C12:g} A), with all faults of "
            f"the instrument except in the preset easy. Move C10, C12a and C12b by increments until |C10| and |C12| are below {GOAL:g} A, and "
            f"declare the end, within {FRAMES} frames and {DOSES} e-/A^2. The score is the Strehl ratio at the declared end, 0 without one."
        ),
        source="stemtwin/Autofocus-v2",
        splits=("public",),
        inputs=(
            Field(
                name="image",
                dtype="uint16",
                unit="adu",
                text="(128, 128) readings of the latest frame, [y, x]: electrons (easy), or 1000 + 7.6 for each electron",
            ),
            *BESIDE_IMAGE,
        ),
        outputs=(Field(name="action", dtype="float32", text=ACTION, low=-1, high=1),),
        metrics=FOCUSING,
        slices=(
            SliceColumn(column="difficulty", title="difficulty"),
            SliceColumn(column="instrument", title="instrument"),
            SliceColumn(column="start_C10_angstrom", edges=(50, 80), absolute=True, unit="A", title="start |C10|"),
            SliceColumn(column="start_C12_angstrom", edges=(20, 40), unit="A", title="start |C12|"),
            SliceColumn(column="start_side", title="start"),
            SliceColumn(column="specimen", title="specimen"),
            SliceColumn(column="electrons", edges=(800.0, 1200.0), unit="e-", title="electrons at a point"),
            SliceColumn(column="drift_factor", edges=(1.0,), title="drift relative to the instrument's usual drift"),
        ),
        score=score,
        episodes=90,
        key="stemtwin/autofocus@2: the public seeds, for practice and for baselines",
        failed={"strehl": 0.0, "success": 0.0, "success_images": 0.0},
        difficulties=DIFFICULTIES,
        citation="J. M. LeBeau et al., arXiv:2208.02865 (2022): beam alignment learnt in a virtual environment",
        license="BSD-3-Clause",
    ),
)
