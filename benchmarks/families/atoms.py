"""Task ``atoms-2d``: find the atomic columns of an annular dark-field image.

A detection is a point in the frame's coordinates, A: pixel [0, 0] is centred on (0, 0), and x runs along the last axis. Detections and columns are
matched one to one, within a gate of min(0.5 A, 0.4 d_nn) about each column, where d_nn is the distance to the nearest visible neighbour. The number
of pairs is as large as possible, and the total distance is the smallest for this number. Columns too faint to see (``column_visible`` False) and
columns within 0.5 A of the frame's edge are not scored. An unmatched detection within 0.5 A of the edge is not counted as false. Within the gate of
each unscored column, one unmatched detection is not counted as false.

Example
    ::

        import stemtwin as st
        from skimage.feature import peak_local_max
        from stemtwin.benchmarks.answers.points import Points
        from stemtwin.benchmarks.submission import write_submission
        from stemtwin.benchmarks.tasks import find_task

        images, _, facts = st.load_arrays("atoms-2d@1", size="tiny", split="test")
        peaks = [peak_local_max(image.astype(float), min_distance=5)[:, ::-1] for image in images]  # x and y in px
        found = [Points.at(xy * step) for xy, step in zip(peaks, facts["sampling_angstrom"], strict=True)]
        write_submission("mine", find_task("atoms-2d"), dict(zip(facts["sample_id"], found)), split="test", size="tiny", name="peaks")
"""

import dataclasses
import hashlib

import numpy as np
import xarray as xr

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.answers.points import PointAnswers, Points
from stemtwin.benchmarks.matching import match, nearest_distance
from stemtwin.benchmarks.metrics.detection import F1, MACRO_F1, PRECISION, RECALL, RMSD
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, ratio
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn, Sums
from stemtwin.benchmarks.tasks import TASKS, Task

GATE = 0.5  # A
GATE_OF_NEIGHBOUR = 0.4
MARGIN = 0.5  # A

GIVEN = (
    Field(name="image", dtype="uint16", unit="e-", text="(128, 128) counts of the annular dark-field detector, [y, x]"),
    Field(name="sampling_angstrom", dtype="float64", unit="A/px", text="step of the square pixels"),
    Field(name="energy_ev", dtype="float64", unit="eV", text="beam energy"),
    Field(name="semiangle_mrad", dtype="float64", unit="mrad", text="probe convergence semi-angle"),
    Field(name="current_pa", dtype="float64", unit="pA", text="probe current"),
    Field(name="dwell_time_us", dtype="float64", unit="us", text="dwell time"),
    Field(name="dose_e_per_angstrom2", dtype="float64", unit="e-/A^2", text="dose"),
)
DOSE_EDGES = tuple(float(edge) for edge in 10 ** np.arange(1.0, 6.01, 0.5))  # e-/A^2: edges of the bins in which D90 is sought
D90_F1 = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrueColumns:
    """The true columns of one image.

    Parameters
    ----------
    positions : ndarray
        (m, 2) float64: x and y, A.
    heaviest : ndarray
        (m,) int64: atomic number of the heaviest element of each column.
    visible : ndarray
        (m,) bool: False for columns too faint to see.
    """

    positions: np.ndarray
    heaviest: np.ndarray
    visible: np.ndarray


def read_columns(data: xr.Dataset) -> list[TrueColumns]:
    """Return the true columns of every sample of a dataset.

    The arrays of the dataset are padded: of each sample, only the first ``n_columns`` entries count.
    """
    n = data["n_columns"].values.astype(int)
    x, y = data["column_x_angstrom"].values, data["column_y_angstrom"].values
    heaviest, visible = data["column_heaviest"].values, data["column_visible"].values
    return [
        TrueColumns(
            positions=np.stack([x[i, : n[i]], y[i, : n[i]]], axis=1).astype(float),
            heaviest=heaviest[i, : n[i]].astype(np.int64),
            visible=visible[i, : n[i]].astype(bool),
        )
        for i in range(len(n))
    ]


def frame_bounds(data: xr.Dataset) -> np.ndarray:
    """Return the bounds of every frame, A, (n, 2, 2): the second axis is the lower and the upper bound, and the third is x and y.

    The bounds are the outer edges of the outer pixels.
    """
    ny, nx = data["image"].shape[1:]
    step = data["sampling_angstrom"].values.astype(float)
    return np.stack([np.stack([-step / 2, -step / 2], axis=1), np.stack([(nx - 0.5) * step, (ny - 0.5) * step], axis=1)], axis=1)


ASKED = PointAnswers(
    positions=(
        Field(name="x_angstrom", dtype="float", unit="A", text="x of the detection; x and y are NaN if the image has no detection"),
        Field(name="y_angstrom", dtype="float", unit="A", text="y of the detection"),
    ),
    classes=Field(
        name="heaviest",
        dtype="integer",
        text="atomic number of the heaviest element of the column; 0: unknown",
        low=0,
        high=118,
        optional=True,
    ),
    confidence=Field(name="score", dtype="float", text="confidence, any finite number; no metric reads it", optional=True, scored=False),
    bounds=frame_bounds,
)


def in_margin(positions: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return a mask, (n,) bool, of the positions that lie within 0.5 A of the frame's edge or outside the frame."""
    return np.minimum(positions - bounds[0], bounds[1] - positions).min(axis=1, initial=np.inf) < MARGIN


def score_image(found: Points, truth: TrueColumns, bounds: np.ndarray, species: np.ndarray) -> dict[str, np.ndarray | float]:
    """Return the additive statistics of one image, whose sums over images give the metrics.

    Parameters
    ----------
    found : Points
        Detections.
    truth : TrueColumns
        True columns.
    bounds : ndarray
        (2, 2) frame bounds, A, see :func:`frame_bounds`.
    species : ndarray
        (k,) atomic numbers for which statistics by species are counted.

    Returns
    -------
    dict
        True positives ``tp``, false positives ``fp``, misses ``fn``, ``square_distance`` (sum over the true positives, A^2), and the counts by
        species ``species_tp``, ``species_fp``, ``species_fn``, (k,) each.
    """
    gates = np.minimum(GATE, GATE_OF_NEIGHBOUR * nearest_distance(truth.positions, truth.positions[truth.visible]))
    scored = truth.visible & ~in_margin(truth.positions, bounds)
    points, columns, distance = match(found.positions, truth.positions[scored], gates[scored])
    left = np.setdiff1d(np.arange(len(found.positions)), points)
    excused, _, _ = match(found.positions[left], truth.positions[~scored], gates[~scored])
    counted = ~in_margin(found.positions[left], bounds)
    counted[excused] = False
    wrong = left[counted]
    named = np.zeros(len(found), dtype=np.int64) if found.classes is None else found.classes
    true_species, said = truth.heaviest[scored], named[points]
    right = said == true_species[columns]
    species_tp = _count(said[right], species)
    return {
        "tp": len(points),
        "fp": len(wrong),
        "fn": int(scored.sum()) - len(points),
        "square_distance": float(np.sum(distance**2)),
        "species_tp": species_tp,
        "species_fp": _count(said[~right], species) + _count(named[wrong], species),
        "species_fn": _count(true_species, species) - species_tp,
    }


def _count(values: np.ndarray, species: np.ndarray) -> np.ndarray:
    """Return the number of values of each species, (k,) int64."""
    return (values[:, None] == species[None, :]).sum(axis=0)


def score(data: xr.Dataset, found: dict[str, Points]) -> SampleStatistics:
    """Return the additive statistics of every image, whose sums over images give the metrics.

    Parameters
    ----------
    data : Dataset
        Samples of ``atoms-2d``.
    found : dict
        Points by sample id, for exactly the ids of the data.
    """
    ids = data["sample_id"].values.astype(str)
    truths, bounds = read_columns(data), frame_bounds(data)
    species = np.unique(np.concatenate([truth.heaviest[truth.visible] for truth in truths] or [np.empty(0, dtype=np.int64)]))
    rows = [score_image(found[name], truth, frame, species) for name, truth, frame in zip(ids, truths, bounds, strict=True)]
    statistics = {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
    dose = data["dose_e_per_angstrom2"].values.astype(float)
    known = np.isfinite(dose)  # measured data need not state it
    bins = known[:, None] * np.eye(len(DOSE_EDGES) + 1, dtype=np.int64)[np.searchsorted(DOSE_EDGES, dose, side="right")]
    for name in ("tp", "fp", "fn"):
        statistics[f"dose_{name}"] = bins * statistics[name][:, None]
    statistics |= {
        "samples": np.ones(len(ids), dtype=np.int64),
        "dose_samples": bins,
        "dose_log10": bins * np.log10(np.where(known, dose, 1.0))[:, None],
    }
    columns = {column.column: data[column.column].values for column in SLICES}
    return SampleStatistics(ids=ids, clusters=data["specimen"].values.astype(str), statistics=statistics, columns=columns)


def content_hash(data: xr.Dataset) -> str:
    """Return the sha256 of the scored content: ids, images and true columns.

    The hash does not change if the samples are stored in another order or distributed over other files.
    """
    digest = hashlib.sha256()
    order = np.argsort(data["sample_id"].values.astype(str))
    images, truths, steps = data["image"].values, read_columns(data), data["sampling_angstrom"].values
    for i in order:
        truth = truths[i]
        digest.update(str(data["sample_id"].values[i]).encode())
        for array, dtype in ((images[i], "<u2"), (steps[i], "<f8"), (truth.positions, "<f8"), (truth.heaviest, "<i8"), (truth.visible, "u1")):
            digest.update(np.ascontiguousarray(array).astype(dtype).tobytes())
    return digest.hexdigest()


def d90(sums: Sums) -> np.ndarray:
    """Return D90, the lowest dose that suffices for F1 >= 0.9, e-/A^2.

    Samples are sorted into half-decade bins of dose, with edges from 10 to 10^6 e-/A^2, and bins without samples are ignored. A bin
    suffices if the F1 of this bin and of every higher bin is at least 0.9. D90 is the geometric mean dose of the samples in the lowest bin that
    suffices. It is NaN if no bin suffices.
    """
    n = np.asarray(sums["dose_samples"], dtype=float)
    values = ratio(2 * sums["dose_tp"], 2 * sums["dose_tp"] + sums["dose_fp"] + sums["dose_fn"])
    enough = (n == 0) | (values >= D90_F1)
    from_top = np.logical_and.accumulate(enough[..., ::-1], axis=-1)[..., ::-1] & (n > 0)
    doses = np.where(from_top, 10.0 ** ratio(sums["dose_log10"], n), np.inf)
    lowest = doses.min(axis=-1)
    return np.where(np.isfinite(lowest), lowest, np.nan)


def _dose_sums(right: dict[int, int]) -> dict[str, list[float]]:
    """Return sums of samples with ten columns at 10^(bin/2 + 0.6) e-/A^2 in some bins, with a number of detected columns for each."""
    n = len(DOSE_EDGES) + 1
    tp = [float(right.get(i, 0)) for i in range(n)]
    return {
        "dose_tp": tp,
        "dose_fp": [0.0] * n,
        "dose_fn": [10.0 - tp[i] if i in right else 0.0 for i in range(n)],
        "dose_samples": [float(i in right) for i in range(n)],
        "dose_log10": [0.5 * i + 0.6 if i in right else 0.0 for i in range(n)],
    }


DETECTION = (
    F1,
    PRECISION,
    RECALL,
    RMSD,
    MACRO_F1,
    *add_metrics(
        "atoms-2d",
        Metric(
            name="d90",
            title="lowest dose with F1 >= 0.9",
            formula=d90,
            text="10^(dose_log10 / dose_samples) of the lowest dose bin from which all bins have 2 dose_tp / (2 dose_tp + dose_fp + dose_fn) >= 0.9",
            references=((_dose_sums({0: 10, 2: 5, 4: 9, 6: 10}), 10**2.6), (_dose_sums({0: 10, 2: 10, 4: 8}), np.nan)),
            unit="e-/A^2",
            direction="min",
        ),
    ),
)

# The only slices of scores. The card's [slices] are bins of drawn values that are part of built data: changing them would change its digest.
SLICES = (
    SliceColumn(column="material"),
    SliceColumn(column="dose_e_per_angstrom2", edges=(1e3, 1e4, 1e5), unit="e-/A^2", title="dose"),
    SliceColumn(column="C10_angstrom", edges=(25, 50), absolute=True, unit="A", title="|C10|"),
    SliceColumn(column="thickness_angstrom", edges=(8, 40, 100), unit="A", title="thickness"),
    SliceColumn(column="instrument"),
)

TASKS.add(
    "atoms-2d",
    Task(
        name="atoms-2d",
        major=1,
        kind="predictions",
        title="Find the atomic columns of a dark-field image",
        text=(
            "Given one annular dark-field image in electron counts, its pixel size and its nominal optics, give the positions of the atomic columns "
            "and, where known, the heaviest element of each. Columns too faint to see and the outer 0.5 A of the frame are not scored."
        ),
        source="atoms-2d",
        source_version="1.0.0",
        splits=("test", "val", "train"),
        inputs=GIVEN,
        answer=ASKED,
        metrics=DETECTION,
        slices=SLICES,
        score=score,
        truth=read_columns,
        content=content_hash,
        citation="J. Wei et al., Microsc. Microanal. (2023), doi:10.1093/micmic/ozac043: benchmark of atomic-column detection by neural networks",
    ),
)
