"""atomap finds the columns of ``atoms-2d@2`` (tiny) beside the baselines of the task; a script of ``make foreign``.

Users of atomap choose the separation of the peaks by eye; here it is the one with the largest F1 on the val split. Each peak is refined by its centre
of mass and by a two-dimensional Gaussian.
"""

import sys
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import atomap.api as am  # pyright: ignore[reportMissingImports] - not ours
import hyperspy.api as hs  # pyright: ignore[reportMissingImports] - not ours
import numpy as np

from stemtwin.benchmarks.agents import Baseline, find_baseline
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.baselines.atoms import unknown
from stemtwin.benchmarks.readings import electrons_of
from stemtwin.benchmarks.runner import load_samples, predict, score_predictions
from stemtwin.benchmarks.tasks import find_task

NAME, SIZE = "atoms-2d@2", "tiny"
SEPARATIONS_ANGSTROM = (0.6, 0.9, 1.2, 1.6)
NEIGHBOURS = 9
"""Number of neighbours from whose distances atomap takes the size of the region of a fit."""
BESIDE = ("random", "maxima", "log")
"""Baselines of the task whose scores are printed beside that of atomap."""


def refined(peaks: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return peaks (n, 2), refined by their centres of mass and by two-dimensional Gaussians, px."""
    lattice = am.Sublattice(peaks, image=image)
    lattice.find_nearest_neighbors(nearest_neighbors=NEIGHBOURS)
    lattice.refine_atom_positions_using_center_of_mass(show_progressbar=False)
    lattice.refine_atom_positions_using_2d_gaussian(show_progressbar=False)
    return np.asarray(lattice.atom_positions, dtype=float).reshape(-1, 2)


class AtomapColumns:
    """Columns that atomap finds.

    Parameters
    ----------
    separation_angstrom : float
        Least distance of two columns, A.
    """

    def __init__(self, separation_angstrom: float) -> None:
        self.separation_angstrom = separation_angstrom

    def predict(self, given: Mapping[str, Any], rng: np.random.Generator) -> Points:
        """Return the columns, with confidences from 0.5 to 1 in the order of their brightness."""
        del rng
        image, step = electrons_of(given), float(given["sampling_angstrom"])
        image -= image.min()  # atomap fits no negative values
        pixels = max(2, round(self.separation_angstrom / step))
        peaks = np.asarray(am.get_atom_positions(hs.signals.Signal2D(image), separation=pixels, subtract_background=True), dtype=float)
        places = peaks if len(peaks) <= NEIGHBOURS else refined(peaks, image)
        ny, nx = image.shape
        places = places[np.all((places >= 0) & (places <= [nx - 1, ny - 1]), axis=1)]
        brightness = image[tuple(np.round(places[:, ::-1]).astype(int).T)]
        rank = np.argsort(np.argsort(brightness)) / max(len(brightness), 1)
        return Points.at(places * step, classes=unknown(len(places)), confidence=0.5 + rank / 2)


def score(split: str, entry: Baseline) -> dict[str, float]:
    """Return the metrics of an entry on a split."""
    task = find_task(NAME)
    data = load_samples(task, split=split, size=SIZE)
    found = predict(task, entry, data)
    report = score_predictions(task, data, found, split=split, size=SIZE, entry=entry.name, trust="practice").report
    return {metric.name: metric.value for metric in report.metrics if metric.value is not None}


def say(name: str, split: str, metrics: Mapping[str, float]) -> None:
    """Write the metrics of a method on one line."""
    told = ", ".join(f"{metric} {value:.3g}" for metric, value in metrics.items())
    sys.stdout.write(f"{name}, {split}: {told}\n")
    sys.stdout.flush()


def main() -> None:
    """Choose the separation on val, and compare the scores on test."""
    hs.set_log_level("ERROR")  # fits that do not converge keep the centre of mass
    title, tried = f"atomap {version('atomap')}", {}
    for separation in SEPARATIONS_ANGSTROM:
        entry = Baseline(task=NAME, name="atomap", text="atomap", factory=partial(AtomapColumns, separation))
        tried[separation] = score("val", entry), entry
        say(f"{title}, separation {separation:g} A", "val", tried[separation][0])
    _, entry = max(tried.values(), key=lambda one: one[0]["f1"])
    found = score("test", entry)
    say(title, "test", found)
    beside = {name: score("test", find_baseline(NAME, name)) for name in BESIDE}
    for name, metrics in beside.items():
        say(f"baseline {name}", "test", metrics)
    assert found["f1"] > beside["maxima"]["f1"] > beside["random"]["f1"], (found, beside)


if __name__ == "__main__":
    main()
