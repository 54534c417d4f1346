"""Task ``atoms-2d@2``: find the atomic columns in frames of five imperfect instruments, with a confidence for each column.

Version 2 differs from version 1 in its data and in the confidence of each detection. The primary metric is the average precision over all thresholds
of the confidence. For this metric, detections are matched in the order of decreasing confidence, each to the nearest free column within its gate. F1,
the distances and the macro-F1 use the detections with a confidence of at least 0.5, matched as in version 1. As in version 1, columns too faint to
see and columns at the frame's edge are not scored.

The error of positions has a Bayesian lower bound under the prior of the data (:mod:`stemtwin.benchmarks.position_bound`). Over the 20 test frames of
the size tiny the root mean square distance is at least 3.2 pm for a method that uses one column at a time, and at least 0.25 pm for any method. The
Cramer-Rao bound, which ``efficiency`` uses, is 6.9 pm for these frames. It is larger than the Bayesian bound for one column, by a factor of 1.3 for
bright columns and by more for faint columns. A fit of the whole lattice can be more precise than the Cramer-Rao bound. None of these bounds is
declared as the best possible value (``limit``) of a metric, because ``rmsd`` and ``efficiency`` are means over the matched columns, and a method can
leave out columns with large errors.

For comparison, ``make foreign`` scores atomap 0.4.2 on the 20 test frames of the size tiny: average precision 0.77, F1 0.87 and distance 13 pm (root
mean square), where the baseline ``log`` reaches 0.96, 0.92 and 11 pm. The minimum separation of peaks, which users of atomap choose by eye, is the
one of four values that gives the largest F1 on the val split.
"""

import dataclasses
import hashlib

import numpy as np
import xarray as xr

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.answers.points import PointAnswers, Points
from stemtwin.benchmarks.families.atoms import (
    ASKED,
    DETECTION,
    DOSE_EDGES,
    GATE,
    GATE_OF_NEIGHBOUR,
    TrueColumns,
    frame_bounds,
    in_margin,
    read_columns,
    score_image,
)
from stemtwin.benchmarks.matching import match, nearest_distance
from stemtwin.benchmarks.metrics.ranked import AVERAGE_PRECISION, EFFICIENCY, counted
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task

SURE = 0.5
"""Smallest confidence with which a detection counts for F1 and the distances."""
BOUND_OF_GATE = 1 / 3
"""Largest bound, relative to the gate, with which a column counts for the efficiency; the gate would truncate the errors of other columns."""

RECORDED = (
    Field(name="gain_adu", dtype="float64", unit="adu", text="mean reading of one electron above the offset"),
    Field(name="offset_adu", dtype="float64", unit="adu", text="mean reading without electrons"),
    Field(name="sampling_angstrom", dtype="float64", unit="A/px", text="step of the square pixels"),
    Field(name="instrument", dtype="string", text="name of the instrument profile"),
    Field(name="energy_ev", dtype="float64", unit="eV", text="beam energy"),
    Field(name="semiangle_mrad", dtype="float64", unit="mrad", text="probe convergence semi-angle"),
    Field(name="inner_mrad", dtype="float64", unit="mrad", text="inner angle of the detector"),
    Field(name="outer_mrad", dtype="float64", unit="mrad", text="outer angle of the detector"),
    Field(name="current_pa", dtype="float64", unit="pA", text="probe current"),
    Field(name="dwell_time_us", dtype="float64", unit="us", text="dwell time"),
    Field(name="dose_e_per_angstrom2", dtype="float64", unit="e-/A^2", text="dose"),
)
"""Metadata of a recorded frame."""
GIVEN = (Field(name="image", dtype="uint16", unit="adu", text="(256, 256) readings of the annular dark-field detector, [y, x]"), *RECORDED)
CONFIDENCE = Field(name="score", dtype="float", text="confidence, 0 to 1; a detection with at least 0.5 counts for F1", low=0.0, high=1.0)
ASKED_V2 = PointAnswers(positions=ASKED.positions, classes=ASKED.classes, confidence=CONFIDENCE, bounds=frame_bounds)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BoundedColumns:
    """True columns of one image, and the Cramer-Rao bound of each position, (m,) A, for a method that uses one column at a time."""

    columns: TrueColumns
    bounds: np.ndarray

    @property
    def gates(self) -> np.ndarray:
        """Largest distance at which a detection matches each column, (m,) A."""
        places = self.columns.positions
        return np.minimum(GATE, GATE_OF_NEIGHBOUR * nearest_distance(places, places[self.columns.visible]))


def read_bounded(data: xr.Dataset) -> list[BoundedColumns]:
    """Return the true columns of every sample of a dataset, with the bounds of their positions."""
    values = data["column_bound_angstrom"].values
    return [BoundedColumns(columns=columns, bounds=values[i, : len(columns.heaviest)].astype(float)) for i, columns in enumerate(read_columns(data))]


def ranked_matches(found: Points, truths: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """Return the index of the column that is assigned to each detection, -1 for none, (n,) int64.

    Detections are processed in the order of decreasing confidence. Of detections with equal confidence, the one nearest to a column is processed
    first. Each detection receives the nearest free column whose distance is at most its gate, the largest distance of a match.
    """
    taken = np.full(len(found), -1)
    if len(found) == 0 or len(truths) == 0:
        return taken
    distance = np.linalg.norm(found.positions[:, None] - truths[None], axis=-1)
    distance[distance > gates[None]] = np.inf
    sure = np.zeros(len(found)) if found.confidence is None else found.confidence
    for i in np.lexsort((distance.min(axis=1), -sure)):
        j = int(np.argmin(distance[i]))
        if np.isfinite(distance[i, j]):
            taken[i] = j
            distance[:, j] = np.inf
    return taken


def ranked_counts(found: Points, truth: BoundedColumns, bounds: np.ndarray) -> dict[str, np.ndarray | int]:
    """Return the counts of one image for the average precision.

    ``ranked_tp`` and ``ranked_fp``, (200,), are the right and wrong detections by bin of confidence. ``asked`` is the number of scored columns. The
    argument ``bounds`` holds the bounds of the frame, (2, 2) A.
    """
    columns, gates = truth.columns, truth.gates
    asked = columns.visible & ~in_margin(columns.positions, bounds)
    right = ranked_matches(found, columns.positions[asked], gates[asked]) >= 0
    left = np.flatnonzero(~right)
    excused, _, _ = match(found.positions[left], columns.positions[~asked], gates[~asked])
    wrong = np.zeros(len(found), dtype=bool)
    wrong[left] = ~in_margin(found.positions[left], bounds)
    wrong[left[excused]] = False
    counts = right | wrong
    sure = np.zeros(len(found)) if found.confidence is None else found.confidence
    tp, fp = counted(sure[counts], right[counts])
    return {"ranked_tp": tp, "ranked_fp": fp, "asked": int(asked.sum())}


def bounded_distances(found: Points, truth: BoundedColumns, bounds: np.ndarray) -> dict[str, float]:
    """Return two sums over the matched columns whose Cramer-Rao bound is at most a third of the gate: squared bounds and squared distances, A^2."""
    columns, gates = truth.columns, truth.gates
    asked = columns.visible & ~in_margin(columns.positions, bounds)
    _, which, distance = match(found.positions, columns.positions[asked], gates[asked])
    limit = truth.bounds[asked][which]
    told = limit <= BOUND_OF_GATE * gates[asked][which]
    return {"square_bound": float(np.sum(limit[told] ** 2)), "bounded_square_distance": float(np.sum(distance[told] ** 2))}


def sure_points(found: Points) -> Points:
    """Return the points with a confidence of at least 0.5, without their confidences."""
    keep = np.ones(len(found), dtype=bool) if found.confidence is None else found.confidence >= SURE
    classes = None if found.classes is None else found.classes[keep]
    return Points(positions=found.positions[keep], classes=classes, confidence=None)


def statistics(data: xr.Dataset, found: dict[str, Points]) -> dict[str, np.ndarray]:
    """Return the additive statistics of every image of a dataset by name, (n,) or (n, k), whose sums over images give the metrics."""
    truths, frames = read_bounded(data), frame_bounds(data)
    heavy = [truth.columns.heaviest[truth.columns.visible] for truth in truths]
    species = np.unique(np.concatenate(heavy or [np.empty(0, dtype=np.int64)]))
    rows = []
    for name, truth, frame in zip(data["sample_id"].values.astype(str), truths, frames, strict=True):
        sure = sure_points(found[name])
        row = score_image(sure, truth.columns, frame, species)
        rows.append(row | ranked_counts(found[name], truth, frame) | bounded_distances(sure, truth, frame))
    out = {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
    dose = data["dose_e_per_angstrom2"].values.astype(float)
    bins = np.eye(len(DOSE_EDGES) + 1, dtype=np.int64)[np.searchsorted(DOSE_EDGES, dose, side="right")]
    out |= {f"dose_{name}": bins * out[name][:, None] for name in ("tp", "fp", "fn")}
    return out | {"samples": np.ones(len(dose), dtype=np.int64), "dose_samples": bins, "dose_log10": bins * np.log10(dose)[:, None]}


def score(data: xr.Dataset, found: dict[str, Points]) -> SampleStatistics:
    """Return the additive statistics of every image, whose sums over images give the metrics.

    Parameters
    ----------
    data : Dataset
        Samples of ``atoms-2d@2``.
    found : dict
        Points by sample id, for exactly the ids of the data.
    """
    return SampleStatistics(
        ids=data["sample_id"].values.astype(str),
        clusters=data["specimen"].values.astype(str),
        statistics=statistics(data, found),
        columns={column.column: data[column.column].values for column in SLICES},
    )


def content_hash(data: xr.Dataset) -> str:
    """Return the sha256 of the inputs and of the scored truth.

    The hash does not change if the samples are stored in another order or distributed over other files.
    """
    digest, truths = hashlib.sha256(), read_bounded(data)
    numbers = np.stack([data[field.name].values.astype(float) for field in GIVEN if field.dtype == "float64"], axis=1)
    for i in np.argsort(data["sample_id"].values.astype(str)):
        truth = truths[i].columns
        digest.update(f"{data['sample_id'].values[i]} {data['instrument'].values[i]}".encode())
        arrays = ((data["image"].values[i], "<u2"), (numbers[i], "<f8"), (truth.positions, "<f8"), (truth.heaviest, "<i8"))
        for array, dtype in (*arrays, (truth.visible, "u1"), (truths[i].bounds, "<f8")):
            digest.update(np.ascontiguousarray(array).astype(dtype).tobytes())
    return digest.hexdigest()


F1, PRECISION, RECALL, RMSD, MACRO_F1, D90 = DETECTION
METRICS_V2 = (AVERAGE_PRECISION, F1, PRECISION, RECALL, RMSD, EFFICIENCY, MACRO_F1, D90)
SLICES = (
    SliceColumn(column="instrument"),
    SliceColumn(column="dose_e_per_angstrom2", edges=(1e4, 1e5, 1e6), unit="e-/A^2", title="dose"),
    SliceColumn(column="structure"),
    SliceColumn(column="thickness_angstrom", edges=(8, 20, 60), unit="A", title="thickness"),
    SliceColumn(column="material"),
    SliceColumn(column="focus_error_angstrom", edges=(15,), absolute=True, unit="A", title="|focus error|"),
)
CITATION = "J. Wei et al., Microsc. Microanal. (2023), doi:10.1093/micmic/ozac043: benchmark of atomic-column detection by neural networks"

TASKS.add(
    "atoms-2d@2",
    Task(
        name="atoms-2d",
        major=2,
        kind="predictions",
        title="Find the atomic columns in images of five instruments, with a confidence for each",
        text=(
            "Given the readings of one annular dark-field image with all faults of its instrument, give the positions of the atomic columns, a "
            "confidence from 0 to 1 for each, and, where known, the heaviest element. Columns too faint to see and the outer 0.5 A of the frame "
            "are not scored. The score is the average precision over all images."
        ),
        source="atoms-2d",
        source_version="2.0.0",
        splits=("test", "val", "train"),
        inputs=GIVEN,
        answer=ASKED_V2,
        metrics=METRICS_V2,
        slices=SLICES,
        score=score,
        truth=read_columns,
        content=content_hash,
        citation=CITATION,
    ),
)
