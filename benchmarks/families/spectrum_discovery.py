"""Task ``spectrum-discovery``: find the best positions of a scene with few spectra, and declare the best one.

The dark-field image of a scene with particles on a flake is given. The agent takes spectra of energy losses or of X-rays at positions of its choice.
For each spectrum it receives the value of a scalariser, a quantity computed from the spectrum. The brightest positions are not the best. The score is
the fraction of the best 1 % of the positions that was measured, and 0 without a declaration. The ratio of the best value found to the largest value
is not scored, because random positions reach most of the largest value. Episodes of one scene are similar, so confidence intervals treat only the
eight scenes, which follow from the task's key, as independent. Successive episodes use the presets ``easy``, ``standard`` and ``hard`` in
turn. From preset to preset, the scenes stay the same and the numbers of spectra and electrons decrease. In ``hard`` the scalariser is not named.
"""

from collections.abc import Sequence

import numpy as np

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.metrics import experiments
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task, by_preset, presets_in_turn
from stemtwin.twin.envs.families.spectrum_discovery import DECLARE, FAR, SpectrumDiscovery
from stemtwin.twin.envs.scalarisers import SCALARISERS, best_places
from stemtwin.twin.envs.spectral_scenes import CORE, FINER, LOW, XRAYS
from stemtwin.twin.instrument.spectra import EDXDetector, EELSDetector

PRESETS = SpectrumDiscovery.PRESETS
DIFFICULTIES = tuple(PRESETS)
SPECTRA = by_preset(preset.spectra for preset in PRESETS.values())
HIDDEN = ", ".join(name for name, preset in PRESETS.items() if not preset.named)
SIDE = SpectrumDiscovery().side
FOUND = len(best_places(np.zeros((SIDE, SIDE))))
"""Number of positions in the best 1 %."""


def _range(detector: EELSDetector | EDXDetector) -> str:
    """Return the energies of a detector in words."""
    low, high = detector.energy_range_ev
    return f"{low:g} to {high:g} eV in steps of {detector.dispersion_ev:g} eV"


def score(episodes: Sequence[Episode]) -> SampleStatistics:
    """Return the additive statistics of every episode, whose sums over episodes give the metrics.

    The recall and the area under the curve of the best value so far are 0 without a declared end. Each scene is a cluster for confidence
    intervals.
    """
    ids = np.array([f"spectrum-discovery/{episode.number:06d}" for episode in episodes])
    names, best = tuple(SCALARISERS), [episode.end["answer_rank"] for episode in episodes]
    declared = np.array([episode.terminated for episode in episodes])
    scenes = np.array([f"scene {int(episode.start['scene_number'])}" for episode in episodes])
    return SampleStatistics(
        ids=ids,
        clusters=scenes,
        statistics={
            "samples": np.ones(len(episodes), dtype=np.int64),
            "recall": declared * np.array([episode.end["recall"] for episode in episodes]),
            "area": declared * np.array([episode.end["area"] for episode in episodes]),
            "right": (declared & (np.array(best) <= FOUND)).astype(np.int64),
            "declared": declared.astype(np.int64),
            "spectra": np.array([episode.cost["spectra"] for episode in episodes]),
            "edx_spectra": np.array([episode.cost["edx_spectra"] for episode in episodes]),
            "dose": np.array([episode.cost["dose_e_per_angstrom2"] for episode in episodes]),
        },
        columns={
            "difficulty": np.array(presets_in_turn(DIFFICULTIES, (episode.number for episode in episodes))),
            "scalariser": np.array([names[int(episode.start["target"])] for episode in episodes]),
            "scene": scenes,
            "brightness": np.array([episode.start["brightness_correlation"] for episode in episodes]),
        },
    )


SUMS = {"samples": 4, "recall": 1.0, "area": 3.0, "right": 3, "spectra": 100.0, "edx_spectra": 40.0}
"""Example sums of four episodes, for the references of the metrics."""

DISCOVERY = add_metrics(
    "spectrum-discovery",
    Metric(
        name="recall",
        title="fraction of the best 1 % of the positions that was measured, 0 without a declaration",
        formula=mean_of("recall"),
        text="recall / samples",
        references=((SUMS, 0.25),),
    ),
    Metric(
        name="area",
        title=f"area under the curve of the best value so far: 1 in the best 1 %, 0 beyond the best {FAR:g} % and without a declaration",
        formula=mean_of("area"),
        text="area / samples",
        references=((SUMS, 0.75),),
    ),
    Metric(
        name="right",
        title="declared positions in the best 1 %",
        formula=mean_of("right"),
        text="right / samples",
        references=((SUMS, 0.75),),
        proportion=True,
    ),
    experiments.declared("episodes with a declaration"),
    Metric(
        name="spectra",
        title="spectra of an episode",
        formula=mean_of("spectra"),
        text="spectra / samples",
        references=((SUMS, 25.0),),
        direction="min",
    ),
    Metric(
        name="edx_share",
        title="X-ray spectra of an episode",
        formula=mean_of("edx_spectra", over="spectra"),
        text="edx_spectra / spectra",
        references=((SUMS, 0.4), ({"edx_spectra": 0, "spectra": 0}, np.nan)),
    ),
    experiments.dose("dose of an episode, mean over the field"),
)

TASKS.add(
    "spectrum-discovery",
    Task(
        name="spectrum-discovery",
        major=1,
        kind="agent",
        title="Find the best positions of a scene with few spectra",
        text=(
            "The dark-field image of a flake with particles is given. Take up to "
            f"{SPECTRA} spectra, of energy losses or of X-rays, at positions of your choice out of {SIDE} x {SIDE}, find the best 1 % of "
            f"the positions by a quantity of the spectrum, which the preset {HIDDEN} does not name, and declare the best one. The brightest "
            "positions are not the best. The score is the fraction of the best 1 % that was measured, 0 without a declaration."
        ),
        source="stemtwin/SpectrumDiscovery-v1",
        splits=("public",),
        inputs=(
            Field(name="image", dtype="uint16", unit="e-", text=f"({FINER * SIDE}, {FINER * SIDE}) electrons of the dark-field image, [y, x]"),
            Field(name="low", dtype="uint32", unit="e-", text=f"({LOW.channels},) low losses of the last spectrum, {_range(LOW)}"),
            Field(name="core", dtype="uint32", unit="e-", text=f"({CORE.channels},) core losses of the last spectrum, {_range(CORE)}"),
            Field(name="edx", dtype="uint32", text=f"({XRAYS.channels},) X-rays of the last spectrum, {_range(XRAYS)}"),
            Field(
                name="places",
                dtype="float32",
                text=f"(n, 2) positions (x, y) of all spectra, in order, over half the field; n is {SPECTRA}, by preset",
            ),
            Field(name="edx_taken", dtype="int8", text="(n,) 1 for an X-ray spectrum"),
            Field(name="scores", dtype="float32", text="(n,) scalariser of each spectrum, 0 where the spectrum does not give it"),
            Field(
                name="target",
                dtype="int8",
                text=f"({len(SCALARISERS)},) 1 at the named scalariser: {', '.join(SCALARISERS)}; 0 in the preset {HIDDEN}",
            ),
            Field(name="budget", dtype="float32", text="(1,) remaining fraction of the spectra"),
        ),
        outputs=(Field(name="action", dtype="float32", text=f"(4,) position (x, y); X-rays from 0; declaration above {DECLARE:g}", low=-1, high=1),),
        metrics=DISCOVERY,
        slices=(
            SliceColumn(column="difficulty", title="difficulty"),
            SliceColumn(column="scalariser", title="scalariser"),
            SliceColumn(column="scene", title="scene"),
            SliceColumn(column="brightness", edges=(-0.2, 0.0), title="correlation with brightness"),
        ),
        score=score,
        episodes=96,
        key="stemtwin/spectrum-discovery@1: the public seeds, for practice and for baselines",
        failed={"recall": 0.0, "area": 0.0, "right": 0.0},
        difficulties=DIFFICULTIES,
        citation="K. M. Roccapriore, S. V. Kalinin, M. Ziatdinov, Adv. Sci. 9 (2022) 2203422: discovery of spectra by deep kernel learning",
        license="BSD-3-Clause",
    ),
)
