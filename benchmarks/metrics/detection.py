"""Metrics of matched points: counts of true positives (``tp``), false positives (``fp``) and misses (``fn``), and squared distances."""

import numpy as np

from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, ratio
from stemtwin.benchmarks.slices import Sums


def precision(sums: Sums) -> np.ndarray:
    """Return the precision TP / (TP + FP)."""
    return ratio(sums["tp"], sums["tp"] + sums["fp"])


def recall(sums: Sums) -> np.ndarray:
    """Return the recall TP / (TP + FN)."""
    return ratio(sums["tp"], sums["tp"] + sums["fn"])


def f1(sums: Sums) -> np.ndarray:
    """Return F1 = 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
    return ratio(2 * sums["tp"], 2 * sums["tp"] + sums["fp"] + sums["fn"])


def macro_f1(sums: Sums) -> np.ndarray:
    """Return the mean of F1 over species, with equal weights.

    The species of a column is its heaviest atomic number. A species enters the mean if the truth has a column of this species. A detection is a true
    positive of its species if it is matched to a column of the same species.
    """
    tp, fp, fn = sums["species_tp"], sums["species_fp"], sums["species_fn"]
    present = tp + fn > 0
    values = np.where(present, ratio(2 * tp, 2 * tp + fp + fn), 0.0)
    return ratio(values.sum(axis=-1), present.sum(axis=-1))


def rmsd(sums: Sums) -> np.ndarray:
    """Return the root mean squared distance of matched detections to their columns, pm."""
    return 100.0 * np.sqrt(ratio(sums["square_distance"], sums["tp"]))


COUNTS = {"tp": 6, "fp": 2, "fn": 4}
SPECIES = {"species_tp": [3, 0, 0], "species_fp": [1, 2, 5], "species_fn": [1, 4, 0]}

F1, PRECISION, RECALL, RMSD, MACRO_F1 = add_metrics(
    "detection",
    Metric(name="f1", title="F1 of column detection", formula=f1, text="2 tp / (2 tp + fp + fn)", references=((COUNTS, 2 / 3),)),
    Metric(name="precision", title="fraction of detections that are columns", formula=precision, text="tp / (tp + fp)", references=((COUNTS, 0.75),)),
    Metric(name="recall", title="fraction of columns that were detected", formula=recall, text="tp / (tp + fn)", references=((COUNTS, 0.6),)),
    Metric(
        name="rmsd",
        title="RMS distance of detections to their columns",
        formula=rmsd,
        text="100 sqrt(square_distance / tp), square_distance in A^2",
        references=(({"square_distance": 0.06, "tp": 6}, 10.0),),
        unit="pm",
        direction="min",
    ),
    Metric(
        name="macro_f1",
        title="F1 with the right heaviest element, mean over elements",
        formula=macro_f1,
        text="mean of 2 species_tp / (2 species_tp + species_fp + species_fn) over the species with species_tp + species_fn > 0",
        references=((SPECIES, 0.375),),
        needs=("classes",),
    ),
)
