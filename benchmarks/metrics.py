"""Metrics: formulas of sums of per-sample statistics, so that any slice can be re-aggregated.

Every formula takes sums by name, each (...,) or (..., k) with any leading shape, and returns values (...,): the same function scores a data set, a
slice and a thousand bootstrap resamples at once. A value that the sums do not define (a precision without detections) is NaN.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np

from stemtwin.benchmarks.slices import Sums
from stemtwin.twin.envs.focus_limits import GOAL
from stemtwin.twin.errors import SettingsError

DOSE_EDGES = tuple(float(edge) for edge in 10 ** np.arange(1.0, 6.01, 0.5))  # e-/A^2: the bins in which D90 is sought
D90_F1 = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One number of a report.

    Parameters
    ----------
    name, version : str
        Identity; any change of a value bumps the version.
    title : str
        One line for people.
    unit : str
        Unit of the value; "" for a pure number.
    direction : str
        ``"max"`` or ``"min"``: which is better.
    formula : callable
        Sums to values.
    proportion : bool
        The share of samples that succeed.
    """

    name: str
    title: str
    formula: Callable[[Sums], np.ndarray]
    version: str = "1.0"
    unit: str = ""
    direction: Literal["max", "min"] = "max"
    proportion: bool = False

    def __post_init__(self) -> None:
        """Check the direction."""
        if self.direction not in ("max", "min"):
            message = f"direction={self.direction!r} of metric {self.name!r} must be 'max' or 'min'."
            raise SettingsError(message)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return numerator / denominator, NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float))
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator != 0)


def precision(sums: Sums) -> np.ndarray:
    """Return TP / (TP + FP)."""
    return ratio(sums["tp"], sums["tp"] + sums["fp"])


def recall(sums: Sums) -> np.ndarray:
    """Return TP / (TP + FN)."""
    return ratio(sums["tp"], sums["tp"] + sums["fn"])


def f1(sums: Sums) -> np.ndarray:
    """Return 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
    return ratio(2 * sums["tp"], 2 * sums["tp"] + sums["fp"] + sums["fn"])


def macro_f1(sums: Sums) -> np.ndarray:
    """Return the mean over species of F1, each species counted alike.

    A species (heaviest atomic number of a column) counts where the truth holds it. A detection is a true positive of its species when it is matched
    to a column of that species.
    """
    tp, fp, fn = sums["species_tp"], sums["species_fp"], sums["species_fn"]
    present = tp + fn > 0
    values = np.where(present, ratio(2 * tp, 2 * tp + fp + fn), 0.0)
    return ratio(values.sum(axis=-1), present.sum(axis=-1))


def rmsd(sums: Sums) -> np.ndarray:
    """Return the root mean squared distance of matched detections to their columns, pm."""
    return 100.0 * np.sqrt(ratio(sums["square_distance"], sums["tp"]))


def d90(sums: Sums) -> np.ndarray:
    """Return D90, the lowest dose that suffices for F1 >= 0.9, e-/A^2.

    Samples fall into half-decade bins of dose (``DOSE_EDGES``). D90 is the geometric mean dose of the lowest bin that reaches F1 >= 0.9 and above
    which every bin that holds samples reaches it too; NaN where the highest bin does not.
    """
    n = np.asarray(sums["dose_samples"], dtype=float)
    values = ratio(2 * sums["dose_tp"], 2 * sums["dose_tp"] + sums["dose_fp"] + sums["dose_fn"])
    enough = (n == 0) | (values >= D90_F1)
    from_top = np.logical_and.accumulate(enough[..., ::-1], axis=-1)[..., ::-1] & (n > 0)
    doses = np.where(from_top, 10.0 ** ratio(sums["dose_log10"], n), np.inf)
    lowest = doses.min(axis=-1)
    return np.where(np.isfinite(lowest), lowest, np.nan)


def mean_of(name: str, *, over: str = "samples") -> Callable[[Sums], np.ndarray]:
    """Return the formula of a mean: the sum of one statistic over the sum of another."""
    return lambda sums: ratio(sums[name], sums[over])


DETECTION = (
    Metric(name="f1", title="F1 of column detection", formula=f1),
    Metric(name="precision", title="share of detections that are columns", formula=precision),
    Metric(name="recall", title="share of columns that were detected", formula=recall),
    Metric(name="rmsd", title="RMS distance of detections to their columns", formula=rmsd, unit="pm", direction="min"),
    Metric(name="macro_f1", title="F1 with the right heaviest element, mean over elements", formula=macro_f1),
    Metric(name="d90", title="lowest dose with F1 >= 0.9", formula=d90, unit="e-/A^2", direction="min"),
)

FOCUSING = (
    Metric(name="strehl", title="final Strehl ratio", formula=mean_of("strehl")),
    Metric(name="success", title=f"final |C10| < {GOAL:g} A and |C12| < {GOAL:g} A", formula=mean_of("success"), proportion=True),
    Metric(name="final_c10", title="final |C10|", formula=mean_of("abs_c10"), unit="A", direction="min"),
    Metric(name="final_c12", title="final |C12|", formula=mean_of("abs_c12"), unit="A", direction="min"),
    Metric(name="images_to_success", title="frames of the episodes that succeed", formula=mean_of("success_images", over="success"), direction="min"),
    Metric(name="dose", title="dose of an episode", formula=mean_of("dose"), unit="e-/A^2", direction="min"),
)
