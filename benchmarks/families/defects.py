"""Task ``defects``: find the point defects of a monolayer and assign each to one of eleven classes, with a confidence.

A detection matches a defect of its own class within 0.7 A, one to one, in the order of decreasing confidence. The free-response receiver operating
characteristic (FROC), the precision at 1 % prevalence and the concentration ignore the class, so they measure detection only. The outer 0.8 A of the
frame are not scored.

WSe2 is in the test split only. An exchanged chalcogen atom darkens a column of WSe2 (S in place of Se), but brightens a column of the other
dichalcogenides (Se in place of S). The train split therefore does not contain the contrasts of WSe2, while a rule based on atomic numbers predicts
them.
"""

import dataclasses
import hashlib

import numpy as np
import xarray as xr

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.answers.points import PointAnswers, Points
from stemtwin.benchmarks.families.atoms import frame_bounds
from stemtwin.benchmarks.families.atoms_v2 import RECORDED, ranked_matches
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, ratio
from stemtwin.benchmarks.metrics.ranked import AVERAGE_PRECISION, BINS, area, counted, in_bins
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn, Sums
from stemtwin.benchmarks.tasks import TASKS, Task

CLASSES = ("V_X", "V_2X", "V_M", "M_M", "X_X", "M_2X", "M_ad", "V_C", "V_2C", "Si_C", "N_C")
GATE, MARGIN = 0.7, 0.8
"""Largest distance of a match, and width of the unscored edge of the frame, A."""
SURE = 0.5
"""Smallest confidence with which a detection counts for the precision at 1 % prevalence and the concentration."""
RARE = "rare"
COARSE = 50
"""Number of bins of confidence in the counts of each class."""
PER_NM2 = 100.0
"""Area to which the number of false alarms of FROC refers, nm^2."""

GIVEN = (
    Field(name="image", dtype="uint16", unit="adu", text="(512, 512) readings of the annular dark-field detector, [y, x]"),
    Field(name="material", dtype="string", text="name of the layer in the sample library: mos2-1h, ws2-1h, wse2-1h or graphene"),
    *RECORDED,
)
ASKED = PointAnswers(
    positions=(
        Field(name="x_angstrom", dtype="float", unit="A", text="x of the defect; x and y are NaN if the image has no defect"),
        Field(name="y_angstrom", dtype="float", unit="A", text="y of the defect"),
    ),
    classes=Field(name="defect_class", dtype="integer", text=f"class, numbered from 1: {', '.join(CLASSES)}", low=1, high=len(CLASSES)),
    confidence=Field(name="score", dtype="float", text="confidence, 0 to 1; a detection with at least 0.5 counts as found", low=0.0, high=1.0),
    bounds=frame_bounds,
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrueDefects:
    """The m defects of one image: positions (x, y), A, shape (m, 2), and classes from 1 to 11, shape (m,)."""

    positions: np.ndarray
    classes: np.ndarray


def read_defects(data: xr.Dataset) -> list[TrueDefects]:
    """Return the defects of every sample of a dataset.

    The arrays of the dataset are padded: of each sample, only the first ``n_defects`` entries count.
    """
    counts = data["n_defects"].values.astype(int)
    x, y, classes = (data[f"defect_{name}"].values for name in ("x_angstrom", "y_angstrom", "class"))
    return [
        TrueDefects(positions=np.stack([x[i, :n], y[i, :n]], axis=1).astype(float), classes=classes[i, :n].astype(np.int64))
        for i, n in enumerate(counts)
    ]


def inner(positions: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return a mask, (n,) bool, of the positions that lie at least 0.8 A inside the frame."""
    return np.minimum(positions - bounds[0], bounds[1] - positions).min(axis=1, initial=np.inf) >= MARGIN


def count_defects(found: Points, truth: TrueDefects, bounds: np.ndarray) -> dict[str, np.ndarray | int]:
    """Return the counts of right and wrong detections in one image, once by class and confidence, and once without regard to the class.

    Parameters
    ----------
    found : Points
        Detections with class and confidence.
    truth : TrueDefects
        True defects.
    bounds : ndarray
        (2, 2) frame bounds, A.

    Returns
    -------
    dict
        ``class_tp`` and ``class_fp``, (11 x 50,), are the right and wrong detections by class and confidence, and ``class_asked``, (11,), is the
        number of scored defects by class. The other counts ignore the class: ``ranked_tp`` and ``ranked_fp``, (200,), are the right and wrong
        detections by confidence, ``sure_tp`` and ``sure_fp`` are those with a confidence of at least 0.5, and ``asked`` is the number of scored
        defects.
    """
    counts_in = inner(truth.positions, bounds)
    sure = np.zeros(len(found)) if found.confidence is None else found.confidence
    classes = np.zeros(len(found), dtype=np.int64) if found.classes is None else found.classes
    tp, fp = np.zeros((len(CLASSES), BINS), dtype=np.int64), np.zeros((len(CLASSES), BINS), dtype=np.int64)
    for number in range(1, len(CLASSES) + 1):
        mine, theirs = np.flatnonzero(classes == number), truth.classes == number
        ours = Points(positions=found.positions[mine], classes=None, confidence=sure[mine])
        tp[number - 1], fp[number - 1] = _counts(ours, truth.positions[theirs], counts_in[theirs], bounds)
    right, wrong = _counts(Points(positions=found.positions, classes=None, confidence=sure), truth.positions, counts_in, bounds)
    asked = np.bincount(truth.classes[counts_in], minlength=len(CLASSES) + 1)[1:]
    from_here = round(SURE * BINS)

    def coarse(counts: np.ndarray) -> np.ndarray:
        return counts.reshape(len(CLASSES), COARSE, BINS // COARSE).sum(axis=-1).ravel()

    return {
        "class_tp": coarse(tp),
        "class_fp": coarse(fp),
        "class_asked": asked,
        "ranked_tp": right,
        "ranked_fp": wrong,
        "asked": int(counts_in.sum()),
        "sure_tp": int(right[from_here:].sum()),
        "sure_fp": int(wrong[from_here:].sum()),
    }


def _counts(found: Points, truths: np.ndarray, counts_in: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return right and wrong detections by confidence, (200,) each; those at the edge, or on defects at the edge, are neither."""
    taken = ranked_matches(found, truths, np.full(len(truths), GATE))
    right = (taken >= 0) & np.append(counts_in, False)[taken]
    wrong = (taken < 0) & inner(found.positions, bounds)
    counts = right | wrong
    sure = np.zeros(len(found)) if found.confidence is None else found.confidence
    return counted(sure[counts], right[counts])


def class_precisions(sums: Sums) -> np.ndarray:
    """Return the average precision of each class, (..., 11), which is NaN if the truth has no defect of the class."""
    tp, fp = (np.asarray(sums[name], dtype=float) for name in ("class_tp", "class_fp"))
    shape = (*tp.shape[:-1], len(CLASSES), COARSE)
    return area(tp.reshape(shape), fp.reshape(shape), sums["class_asked"])


def mean_average_precision(sums: Sums) -> np.ndarray:
    """Return the mean of the average precision over the classes that occur in the truth."""
    found = class_precisions(sums)
    known = np.isfinite(found)
    return ratio(np.where(known, found, 0).sum(axis=-1), known.sum(axis=-1))


def recall_at(sums: Sums, alarms: float) -> np.ndarray:
    """Return the largest recall with at most ``alarms`` false alarms per 100 nm^2."""
    tp, fp = (np.cumsum(np.asarray(sums[name], dtype=float)[..., ::-1], axis=-1) for name in ("ranked_tp", "ranked_fp"))
    most = alarms * np.asarray(sums["area_nm2"], dtype=float)[..., None] / PER_NM2
    return ratio(np.where(fp <= most, tp, 0).max(axis=-1), sums["asked"])


def precision_rare(sums: Sums) -> np.ndarray:
    """Return the precision of detections with a confidence of at least 0.5, over the images in which the prevalence of defects is 1 %."""
    return ratio(sums["rare_tp"], np.asarray(sums["rare_tp"], dtype=float) + sums["rare_fp"])


def concentration_bias(sums: Sums) -> np.ndarray:
    """Return the relative error |n - m| / m of the number of defects, for n detections with a confidence of at least 0.5 and m true defects."""
    return np.abs(ratio(np.asarray(sums["sure_tp"], dtype=float) + sums["sure_fp"] - sums["asked"], sums["asked"]))


def _by_class(**found: tuple[int, int, int]) -> dict[str, list[int]]:
    """Return sums of classes k1 to k11: right and wrong detections in the highest bin, and true defects."""
    out: dict[str, list[int]] = {"class_tp": [], "class_fp": [], "class_asked": []}
    for number in range(1, len(CLASSES) + 1):
        right, wrong, asked = found.get(f"k{number}", (0, 0, 0))
        for name, count in (("class_tp", right), ("class_fp", wrong)):
            out[name] += [0] * (COARSE - 1) + [count]
        out["class_asked"].append(asked)
    return out


_FROC = {"ranked_tp": in_bins(b199=3, b100=2, b10=1), "ranked_fp": in_bins(b100=1, b10=20), "asked": 8, "area_nm2": 100.0}
MAP, RECALL_1, RECALL_01, PRECISION_RARE, BIAS = add_metrics(
    "defects",
    Metric(
        name="map",
        title="average precision, mean over the classes of defects",
        formula=mean_average_precision,
        text="mean over the classes with class_asked > 0 of the area below precision over recall of class_tp, class_fp and class_asked",
        references=((_by_class(k1=(3, 1, 4), k10=(1, 0, 2), k11=(0, 5, 0)), (0.75 * 0.75 + 0.5) / 2),),
    ),
    Metric(
        name="recall_1",
        title="recall with one false alarm per 100 nm^2",
        formula=lambda sums: recall_at(sums, 1.0),
        text="ranked_tp / asked at the lowest threshold with ranked_fp of at most area_nm2 / 100, whatever the class",
        references=((_FROC, 5 / 8),),
    ),
    Metric(
        name="recall_01",
        title="recall with one false alarm per 1000 nm^2",
        formula=lambda sums: recall_at(sums, 0.1),
        text="ranked_tp / asked at the lowest threshold with ranked_fp of at most area_nm2 / 1000, whatever the class",
        references=((_FROC, 3 / 8),),
    ),
    Metric(
        name="precision_rare",
        title="precision where 1 % of the sites have a defect",
        formula=precision_rare,
        text="rare_tp / (rare_tp + rare_fp), of detections with a confidence of at least 0.5 in images of 1 % prevalence, whatever the class",
        references=(({"rare_tp": 3, "rare_fp": 9}, 0.25),),
    ),
    Metric(
        name="concentration_bias",
        title="relative error of the number of defects",
        formula=concentration_bias,
        text="|sure_tp + sure_fp - asked| / asked",
        references=(({"sure_tp": 6, "sure_fp": 6, "asked": 8}, 0.5), ({"sure_tp": 4, "sure_fp": 0, "asked": 8}, 0.5)),
        direction="min",
    ),
)
EACH_CLASS = add_metrics(
    "defects",
    *(
        Metric(
            name=f"ap_{name.lower()}",
            title=f"average precision of {name}",
            formula=lambda sums, number=number: class_precisions(sums)[..., number],
            text=f"area below precision over recall of class_tp, class_fp and class_asked of class {number + 1}",
            references=((_by_class(**{f"k{number + 1}": (3, 1, 4)}), 0.75 * 0.75),),
        )
        for number, name in enumerate(CLASSES)
    ),
)


def score(data: xr.Dataset, found: dict[str, Points]) -> SampleStatistics:
    """Return the additive statistics of every image, whose sums over images give the metrics.

    Parameters
    ----------
    data : Dataset
        Samples of ``defects``.
    found : dict
        Points by sample id, for exactly the ids of the data.
    """
    ids, frames = data["sample_id"].values.astype(str), frame_bounds(data)
    rows = [count_defects(found[name], truth, frame) for name, truth, frame in zip(ids, read_defects(data), frames, strict=True)]
    statistics = {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
    rare = data["prevalence"].values.astype(str) == RARE
    sides = frames[:, 1] - frames[:, 0] - 2 * MARGIN
    statistics |= {f"rare_{name}": rare * statistics[f"sure_{name}"] for name in ("tp", "fp")}
    statistics |= {
        "rare_asked": rare * statistics["asked"],
        "rare_sites": rare * data["n_sites"].values.astype(np.int64),
        "area_nm2": sides.prod(axis=1) / 100,
        "samples": np.ones(len(ids), dtype=np.int64),
    }
    return SampleStatistics(
        ids=ids,
        clusters=data["specimen"].values.astype(str),
        statistics=statistics,
        columns={column.column: data[column.column].values for column in SLICES},
    )


def content_hash(data: xr.Dataset) -> str:
    """Return the sha256 of the inputs and of the scored truth.

    The hash does not change if the samples are stored in another order or distributed over other files.
    """
    digest, truths = hashlib.sha256(), read_defects(data)
    numbers = np.stack([data[field.name].values.astype(float) for field in GIVEN if field.dtype == "float64"], axis=1)
    for i in np.argsort(data["sample_id"].values.astype(str)):
        names = (data[name].values[i] for name in ("sample_id", "material", "instrument", "prevalence"))
        digest.update(" ".join(map(str, names)).encode())
        arrays = ((data["image"].values[i], "<u2"), (numbers[i], "<f8"), (truths[i].positions, "<f8"), (truths[i].classes, "<i8"))
        for array, dtype in arrays:
            digest.update(np.ascontiguousarray(array).astype(dtype).tobytes())
    return digest.hexdigest()


SLICES = (
    SliceColumn(column="material"),
    SliceColumn(column="prevalence"),
    SliceColumn(column="dose_e_per_angstrom2", edges=(1e5, 1e6), unit="e-/A^2", title="dose"),
    SliceColumn(column="instrument"),
)

TASKS.add(
    "defects",
    Task(
        name="defects",
        major=1,
        kind="predictions",
        title="Find and name the point defects of monolayers",
        text=(
            "Given the readings of one annular dark-field image of a layer of a named material, give the positions of its point defects, the class "
            f"of each ({', '.join(f'{number} {name}' for number, name in enumerate(CLASSES, 1))}) and a confidence from 0 to 1. WSe2 occurs only in "
            "the test split. The score is the mean over the classes of their average precision."
        ),
        source="defects",
        source_version="1.0.0",
        splits=("test", "val", "train"),
        inputs=GIVEN,
        answer=ASKED,
        metrics=(MAP, AVERAGE_PRECISION, RECALL_1, RECALL_01, PRECISION_RARE, BIAS, *EACH_CLASS),
        slices=SLICES,
        score=score,
        truth=read_defects,
        content=content_hash,
        citation="C.-H. Lee et al., Nano Lett. 20 (2020) 3369: strain mapping of single-atom defects in two-dimensional dichalcogenides",
    ),
)
