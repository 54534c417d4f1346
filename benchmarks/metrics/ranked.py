"""Metrics of ranked points: average precision, and efficiency relative to the Cramer-Rao bound.

The average precision is computed from numbers of points in 200 bins of confidence from 0 to 1. These numbers can be summed over samples.
``ranked_tp`` and ``ranked_fp`` are the numbers of right and wrong points in each bin, and ``asked`` is the number of all true points.
"""

import numpy as np

from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, ratio
from stemtwin.benchmarks.slices import Sums

BINS = 200


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """Return the index of the bin of each confidence from 0 to 1, (n,) int64; bin 0 has the lowest confidences."""
    return np.clip(np.floor(np.asarray(confidence, dtype=float) * BINS), 0, BINS - 1).astype(np.int64)


def counted(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of right and of wrong points in each bin of confidence, (200,) int64 each."""
    bins, right = bin_of(confidence), np.asarray(right, dtype=bool)
    return np.bincount(bins[right], minlength=BINS), np.bincount(bins[~right], minlength=BINS)


def precision_recall(tp: np.ndarray, fp: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the precision and the recall of all points in a bin and in all higher bins, for each bin from the highest to the lowest, (..., k) each.

    The precision of each bin is then replaced by the largest precision of this bin and of all lower bins.
    """
    found, wrong = (np.cumsum(np.asarray(counts, dtype=float)[..., ::-1], axis=-1) for counts in (tp, fp))
    total = found + wrong
    raw = np.divide(found, total, out=np.zeros_like(total), where=total > 0)
    precision = np.maximum.accumulate(raw[..., ::-1], axis=-1)[..., ::-1]
    return precision, ratio(found, np.asarray(asked, dtype=float)[..., None])


def area(tp: np.ndarray, fp: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the area under the curve of precision as a function of recall, (...); NaN without true points.

    Each step of the recall is weighted with the precision of :func:`precision_recall`.
    """
    precision, recall = precision_recall(tp, fp, asked)
    return np.sum(np.diff(recall, axis=-1, prepend=0.0) * precision, axis=-1)


def average_precision(sums: Sums) -> np.ndarray:
    """Return the average precision of all points."""
    return area(sums["ranked_tp"], sums["ranked_fp"], sums["asked"])


def efficiency(sums: Sums) -> np.ndarray:
    """Return the square root of the ratio of the summed squared bounds to the summed squared distances of matched points."""
    return np.sqrt(ratio(sums["square_bound"], sums["bounded_square_distance"]))


def in_bins(**counts: int) -> list[int]:
    """Return a list of the counts of all bins from keywords such as ``b199=3``; all other bins are 0."""
    return [counts.get(f"b{number}", 0) for number in range(BINS)]


AVERAGE_PRECISION, EFFICIENCY = add_metrics(
    "ranked",
    Metric(
        name="ap",
        title="average precision, over all thresholds of confidence",
        formula=average_precision,
        text=(
            "sum over the bins of confidence, the highest first, of (ranked_tp / asked) times the largest precision from there on; precision is "
            "the cumulative ranked_tp over ranked_tp + ranked_fp"
        ),
        references=(
            ({"ranked_tp": in_bins(b199=3, b50=2), "ranked_fp": in_bins(b199=1, b50=2), "asked": 8}, (3 * 0.75 + 2 * 0.625) / 8),
            ({"ranked_tp": in_bins(b150=1, b20=3), "ranked_fp": in_bins(b150=1), "asked": 4}, 0.8),
            ({"ranked_tp": in_bins(), "ranked_fp": in_bins(b10=4), "asked": 4}, 0.0),
        ),
    ),
    Metric(
        name="efficiency",
        title="Cramer-Rao bound of single columns over the RMS distance",
        formula=efficiency,
        text=(
            "sqrt(square_bound / bounded_square_distance), over matched columns whose bound is at most a third of their gate; above 1: more than "
            "one column was used"
        ),
        references=(({"square_bound": 0.01, "bounded_square_distance": 0.04}, 0.5),),
    ),
)
