"""Task ``instruments``: find atomic columns in images of five instruments, three of them not in the train split, given 0, 5 or 20 labelled images.

Images, answers and matching are those of ``atoms-2d@2``. The train and val splits come from two instruments. The test images come from the same two
instruments (home) and from three more. Each test specimen has three images, one for each number of labelled images that a method is allowed to use:
none, five or twenty. These labelled images are of the same instrument, in the split ``adapt``. The input ``labels`` states the number.

In version 1.0.0 each of the splits train, val and adapt has every material on one instrument only, so effects of material and instrument cannot
be separated within these splits. In the test split of the sizes std and full, the specimens of each material come from all five instruments. In the
size tiny, the test split has one specimen of each of ten materials.
"""

import hashlib

import numpy as np
import xarray as xr

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.answers.points import Points
from stemtwin.benchmarks.families import atoms_v2
from stemtwin.benchmarks.families.atoms import read_columns
from stemtwin.benchmarks.metrics.metric import Metric, add_metrics
from stemtwin.benchmarks.metrics.ranked import AVERAGE_PRECISION, BINS, area
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn, Sums
from stemtwin.benchmarks.tasks import TASKS, Task

HOME = ("corrected-200kv", "nion-100")
AWAY = ("corrected-300kv", "nion-60", "schottky-200kv")
LABELS = (0, 5, 20)
COARSE = 50
"""Number of bins of confidence in the counts of each instrument and number of labels."""
DOMAINS = len(HOME) + len(AWAY)

GIVEN = (*atoms_v2.GIVEN, Field(name="labels", dtype="int64", text="labelled images of the same instrument that may be used: 0, 5 or 20"))


def by_domain(sums: Sums, labels: tuple[int, ...] = LABELS) -> np.ndarray:
    """Return the average precision on each of the five instruments, (..., 5).

    The training instruments come first. ``labels`` selects the images by the number of labelled images that a participant may use for adaptation: 0,
    5 or 20. The value is NaN for an instrument without selected images.
    """
    which = [LABELS.index(number) for number in labels]

    def of(name: str, bins: int) -> np.ndarray:
        counts = np.asarray(sums[name], dtype=float)
        return counts.reshape(*counts.shape[:-1], DOMAINS, len(LABELS), bins)[..., which, :].sum(axis=-2)

    return area(of("domain_tp", COARSE), of("domain_fp", COARSE), of("domain_asked", 1)[..., 0])


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean of the values that are not NaN along the last axis, or NaN if all are NaN."""
    known = np.isfinite(values)
    return np.divide(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1), out=np.full(values.shape[:-1], np.nan), where=known.any(axis=-1))


def away(sums: Sums, labels: tuple[int, ...] = LABELS) -> np.ndarray:
    """Return the mean average precision over the instruments that have no training images.

    ``labels`` selects the images by the number of labelled images that a participant may use for adaptation.
    """
    return mean_defined(by_domain(sums, labels)[..., len(HOME) :])


def worst(sums: Sums) -> np.ndarray:
    """Return the smallest average precision among the instruments without training images."""
    found = by_domain(sums)[..., len(HOME) :]
    least = np.where(np.isfinite(found), found, np.inf).min(axis=-1)
    return np.where(np.isfinite(least), least, np.nan)


def gap(sums: Sums) -> np.ndarray:
    """Return the mean average precision on the instruments with training images minus that on the instruments without training images."""
    return mean_defined(by_domain(sums)[..., : len(HOME)]) - away(sums)


def gain(sums: Sums) -> np.ndarray:
    """Return the mean average precision with twenty labelled images minus that without any, on the instruments without training images."""
    return away(sums, (20,)) - away(sums, (0,))


def _example() -> dict[str, list[float]]:
    """Return sums of ten true columns on each instrument and number of labels, some of them found in the highest bin, without false detections."""
    found = ((10, 10, 10), (8, 8, 8), (5, 6, 7), (4, 5, 6), (3, 3, 3))
    tp = [float(right) if number == COARSE - 1 else 0.0 for domain in found for right in domain for number in range(COARSE)]
    return {"domain_tp": tp, "domain_fp": [0.0] * len(tp), "domain_asked": [10.0] * (DOMAINS * len(LABELS))}


_TEXT = "mean over the three other instruments of the area below precision over recall of domain_tp, domain_fp and domain_asked"
TRANSFER = add_metrics(
    "instruments",
    Metric(name="away", title="average precision on unseen instruments", formula=away, text=_TEXT, references=((_example(), 1.4 / 3),)),
    Metric(
        name="worst",
        title="average precision on the worst unseen instrument",
        formula=worst,
        text="the least of the three areas below precision over recall of domain_tp, domain_fp and domain_asked",
        references=((_example(), 0.3),),
    ),
    Metric(
        name="gap",
        title="average precision on the training instruments minus that on unseen ones",
        formula=gap,
        text="mean over the two training instruments of the area of domain_tp, domain_fp and domain_asked, minus away",
        references=((_example(), 0.9 - 1.4 / 3),),
        direction="min",
    ),
    *(
        Metric(
            name=f"away_{number}",
            title=f"average precision on unseen instruments with {number} labelled images",
            formula=lambda sums, number=number: away(sums, (number,)),
            text=f"away, by domain_tp, domain_fp and domain_asked of the images that may be answered with {number} labelled images",
            references=((_example(), value),),
        )
        for number, value in zip(LABELS, (0.4, 1.4 / 3, 1.6 / 3), strict=True)
    ),
    Metric(
        name="gain",
        title="gain through twenty labelled images on unseen instruments",
        formula=gain,
        text="away_20 minus away_0, both from domain_tp, domain_fp and domain_asked",
        references=((_example(), 0.4 / 3),),
    ),
)


def domains(data: xr.Dataset, statistics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the counts of each image by instrument, number of labels and confidence.

    ``domain_tp`` and ``domain_fp``, (n, 5 x 3 x 50), are the right and wrong detections. ``domain_asked``, (n, 5 x 3), is the number of scored
    columns.
    """
    names = (*HOME, *AWAY)
    place = [names.index(name) * len(LABELS) for name in data["instrument"].values.astype(str).tolist()]
    place = np.array(place, dtype=np.int64) + np.searchsorted(LABELS, data["labels"].values)
    mine = np.eye(DOMAINS * len(LABELS), dtype=np.int64)[place]
    coarse = {name: statistics[f"ranked_{name}"].reshape(len(place), COARSE, BINS // COARSE).sum(axis=-1) for name in ("tp", "fp")}
    out = {f"domain_{name}": (mine[:, :, None] * counts[:, None, :]).reshape(len(place), -1) for name, counts in coarse.items()}
    return out | {"domain_asked": mine * statistics["asked"][:, None]}


def score(data: xr.Dataset, found: dict[str, Points]) -> SampleStatistics:
    """Return the additive statistics of every image, whose sums over images give the metrics.

    Parameters
    ----------
    data : Dataset
        Samples of ``instruments``.
    found : dict
        Points by sample id, for exactly the ids of the data.
    """
    statistics = atoms_v2.statistics(data, found)
    kept = {name: array for name, array in statistics.items() if not name.startswith(("species_", "dose_"))}
    return SampleStatistics(
        ids=data["sample_id"].values.astype(str),
        clusters=data["specimen"].values.astype(str),
        statistics=kept | domains(data, statistics),
        columns={column.column: data[column.column].values for column in SLICES},
    )


def content_hash(data: xr.Dataset) -> str:
    """Return the sha256 of the inputs and of the scored truth.

    The hash does not change if the samples are stored in another order or distributed over other files.
    """
    order = np.argsort(data["sample_id"].values.astype(str))
    labels = np.ascontiguousarray(data["labels"].values[order]).astype("<i8").tobytes()
    return hashlib.sha256(atoms_v2.content_hash(data).encode() + labels).hexdigest()


SLICES = (
    SliceColumn(column="instrument"),
    SliceColumn(column="labels"),
    SliceColumn(column="dose_e_per_angstrom2", edges=(1e4, 1e5), unit="e-/A^2", title="dose"),
    SliceColumn(column="structure"),
    SliceColumn(column="material"),
)

TASKS.add(
    "instruments",
    Task(
        name="instruments",
        major=1,
        kind="predictions",
        title="Find the atomic columns in images of instruments without training images",
        text=(
            "Given the readings of one annular dark-field image, give the positions of the atomic columns and a confidence from 0 to 1 for each. "
            f"Train on {' and '.join(HOME)}; the score is the mean average precision on {', '.join(AWAY)}. For these, the input 'labels' states how "
            "many labelled images of the same instrument from the split adapt may be used: none, five or twenty."
        ),
        source="instruments",
        source_version="1.0.0",
        splits=("test", "val", "train", "adapt"),
        inputs=GIVEN,
        answer=atoms_v2.ASKED_V2,
        metrics=(*TRANSFER, AVERAGE_PRECISION, atoms_v2.F1, atoms_v2.RMSD),
        slices=SLICES,
        score=score,
        truth=read_columns,
        content=content_hash,
        citation=atoms_v2.CITATION,
    ),
)
