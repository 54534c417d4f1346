"""Task ``aberration-correction``: reduce the phase error of a probe over its aperture, with a corrector whose response is only partly known.

The score depends on the root mean square phase of all aberrations over the aperture at the declared end. It does not depend on an image, in which
aberrations can compensate each other. An episode without a declared end scores 0. Successive episodes use the presets ``easy``, ``standard`` and
``hard`` in turn, which require corrections up to first, second and third order, with 3, 7 and 12 knobs.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task, by_preset, presets_in_turn
from stemtwin.twin.envs.families.aberration_correction import SOLVED_RAD, STOP
from stemtwin.twin.envs.tuning_presets import MEASUREMENTS, PRESETS
from stemtwin.twin.instrument.hardware.profiles import PROFILES

DIFFICULTIES = tuple(PRESETS)
INSTRUMENTS = {PROFILES[name].energy_ev: name for preset in PRESETS.values() for name in preset.randomisation.profiles}
"""Instruments by the energy of their beam, eV."""


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    Each episode is its own cluster for confidence intervals.
    """
    ids = np.array([f"aberration-correction/{episode.number:06d}" for episode in episodes])
    declared = np.array([episode.terminated for episode in episodes], dtype=np.int64)
    phase = np.array([episode.end["phase_rad"] for episode in episodes])
    names = presets_in_turn(DIFFICULTIES, (episode.number for episode in episodes))
    start = {name: np.array([episode.start[name] for episode in episodes]) for name in episodes[0].start}
    costs = {name: np.array([episode.cost[name] for episode in episodes]) for name in episodes[0].cost}
    return SampleStatistics(
        ids=ids,
        clusters=ids,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "corrected": declared * np.exp(-(phase**2)),
            "success": declared * (phase < SOLVED_RAD),
            "phase": phase,
            "flat_mrad": np.array([episode.end["flat_mrad"] for episode in episodes]),
            "declared": declared,
            "dose": costs["dose_e_per_angstrom2"],
            "time_s": costs["time_s"],
            "actions": costs["moves"],
        },
        columns={
            "difficulty": np.array(names),
            "instrument": np.array([_instrument(name, episode.start["energy_ev"]) for name, episode in zip(names, episodes, strict=True)]),
            "start_C10_angstrom": start["C10_angstrom"],
            "start_C21_angstrom": np.hypot(start["C21a_angstrom"], start["C21b_angstrom"]),
            "electrons": 10 ** start["log10_electrons"],
            "density": start["density_per_angstrom2"],
        },
    )


def _instrument(difficulty: str, energy_ev: float) -> str:
    """Return the name of the instrument of an episode, with a note where it has no faults."""
    return INSTRUMENTS[energy_ev] if PRESETS[difficulty].faults else f"{INSTRUMENTS[energy_ev]} without faults"


SUMS = {
    "samples": 4, "corrected": 3.0, "phase": 2.0, "flat_mrad": 80.0, "time_s": 400.0, "actions": 32,
}  # fmt: skip
"""Example sums of four episodes, for the references of the metrics."""

CORRECTION = add_metrics(
    "aberration-correction",
    Metric(
        name="corrected",
        title="exp(-s^2) of the rms phase error s over the aperture at the declared end, 0 without one",
        formula=mean_of("corrected"),
        text="corrected / samples",
        references=((SUMS, 0.75),),
    ),
    experiments.success("declared end with s < 2 pi / 14"),
    Metric(
        name="phase",
        title="final rms phase error over the aperture",
        formula=mean_of("phase"),
        text="phase / samples",
        references=((SUMS, 0.5),),
        unit="rad",
        direction="min",
    ),
    Metric(
        name="flat_angle",
        title="final angle up to which the phase stays within pi/4",
        formula=mean_of("flat_mrad"),
        text="flat_mrad / samples",
        references=((SUMS, 20.0),),
        unit="mrad",
    ),
    experiments.declared(),
    experiments.dose("dose of an episode on the film"),
    Metric(
        name="time",
        title="time of an episode",
        formula=mean_of("time_s"),
        text="time_s / samples",
        references=((SUMS, 100.0),),
        unit="s",
        direction="min",
    ),
    Metric(
        name="actions",
        title="actions of an episode",
        formula=mean_of("actions"),
        text="actions / samples",
        references=((SUMS, 8.0),),
        direction="min",
    ),
)

COUNTS = by_preset(len(preset.names) for preset in PRESETS.values())
ACTION = (
    f"(2 + n,) measurement ({', '.join(MEASUREMENTS)}, a fifth of the range each); stop above {STOP:g}; changes of the n = {COUNTS} coefficients, "
    f"by preset, of {', '.join(max((preset.names for preset in PRESETS.values()), key=len))}, in units of a fifth of the range of knobs"
)

MISALIGNED = "; ".join(
    f"{', '.join(f'{coefficient} up to {high / 10:g} nm' for coefficient, (_, high) in preset.start.items())} ({name})"
    for name, preset in PRESETS.items()
)
BUDGETS = ", ".join(
    f"{by_preset(told)} {unit}"
    for unit, told in (
        ("actions", [f"{preset.actions}" for preset in PRESETS.values()]),
        ("s", [f"{preset.time_s:g}" for preset in PRESETS.values()]),
        ("e-/A^2", [f"{preset.dose_e_per_angstrom2:.0e}" for preset in PRESETS.values()]),
    )
)

TASKS.add(
    "aberration-correction",
    Task(
        name="aberration-correction",
        major=1,
        kind="agent",
        title="Correct the aberrations of a probe up to first, second or third order, and declare the end",
        text=(
            f"A probe corrector is misaligned: {MISALIGNED}. Take images, Ronchigrams, C1A1 and tableaus of a film of gold "
            "clusters, and command changes of the corrector; its gains, rotations and side effects are unknown. Declare the end within "
            f"{BUDGETS}. The score is exp(-s^2) of the root mean square phase error s over the aperture at the declared end, 0 without one."
        ),
        source="stemtwin/AberrationCorrection-v1",
        splits=("public",),
        inputs=(
            Field(
                name="image",
                dtype="uint16",
                unit="adu",
                text="(128, 128) readings of the last image, [y, x]: electrons (easy), or 1000 + 7.6 for each electron",
            ),
            Field(name="ronchigram", dtype="uint16", unit="e-", text="(128, 128) counts of the last Ronchigram, [ky, kx]; 0 before"),
            Field(name="knobs", dtype="float32", unit="A", text=f"(n,) changes since the start, as commanded; n is {COUNTS}, by preset"),
            Field(name="estimates", dtype="float32", unit="A", text="(n,) coefficients at their last measurement"),
            Field(name="errors", dtype="float32", unit="A", text="(n,) their standard deviations"),
            Field(name="ages", dtype="float32", unit="s", text="(n,) time since they were measured"),
            Field(name="report", dtype="int8", text="(6,) 1 for the last measurement (image, Ronchigram, C1A1, Fast, Standard), and for its failure"),
            Field(name="misfit", dtype="float32", text="(1,) chi-square per degree of freedom of the last result"),
            Field(name="budget", dtype="float32", text="(3,) remaining fractions of actions, time, dose"),
            Field(name="electrons", dtype="float32", unit="e-", text="(1,) incident electrons at one point of an image"),
        ),
        outputs=(Field(name="action", dtype="float32", text=ACTION, low=-1, high=1),),
        metrics=CORRECTION,
        slices=(
            SliceColumn(column="difficulty", title="difficulty"),
            SliceColumn(column="instrument", title="instrument"),
            SliceColumn(column="start_C10_angstrom", edges=(200, 400), absolute=True, unit="A", title="start |C10|"),
            SliceColumn(column="start_C21_angstrom", edges=(4000, 8000), unit="A", title="start |C21|"),
            SliceColumn(column="electrons", edges=(700, 1400), unit="e-", title="electrons at a point"),
            SliceColumn(column="density", edges=(0.006, 0.009), unit="1/A^2", title="clusters"),
        ),
        score=score,
        episodes=90,
        key="stemtwin/aberration-correction@1: the public seeds, for practice and for baselines",
        failed={"corrected": 0.0, "success": 0.0},
        difficulties=DIFFICULTIES,
        citation="M. Haider, S. Uhlemann, J. Zach, Ultramicroscopy 81 (2000) 163; A. Pattison et al., BEACON, npj Comput. Mater. (2025)",
        license="BSD-3-Clause",
    ),
)
