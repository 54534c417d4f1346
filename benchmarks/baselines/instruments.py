"""Baselines of ``instruments``: the baselines of ``atoms-2d@2``, and a detector that is adapted to each instrument with the labelled images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import Baseline, add_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.baselines.atoms_v2 import LocalMaxima, RefinedPeaks, ScatteredPoints, TrueColumnsOracle
from stemtwin.benchmarks.readings import electrons_of

ADAPTED = Path(__file__).parents[1] / "learned" / "instruments.json"
"""File of settings for each number of labelled images and each instrument; ``python -m stemtwin.benchmarks.instrument_tuning`` writes it."""


class AdaptedPeaks:
    """Refined peaks of the Laplacian of Gaussian, with the settings that are best on labelled images of the same instrument.

    Without labelled images, the settings are those that are best on the two training instruments.
    """

    def __init__(self) -> None:
        self._settings = json.loads(ADAPTED.read_text(encoding="utf-8"))["settings"]

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the refined peaks."""
        del rng
        settings = self._settings[str(int(given["labels"]))]
        found = RefinedPeaks(**settings.get(str(given["instrument"]), settings["any"]))
        return found.points(electrons_of(given), float(given["sampling_angstrom"]))


for _name, _text, _factory in (
    ("maxima", "maxima of the raw readings, with confidence by height", LocalMaxima),
    ("log", "Laplacian of Gaussian, each peak refined by a Gaussian fit", RefinedPeaks),
    ("adapted", "refined peaks with settings for each instrument from the labelled images", AdaptedPeaks),
    ("random", "uniform points", ScatteredPoints),
):
    add_baseline(Baseline(task="instruments", name=_name, text=_text, factory=_factory))
add_baseline(Baseline(task="instruments", name="oracle", text="the truth itself", factory=TrueColumnsOracle, oracle=True))
