"""Task ``drift``: find the position of the probe on a drifting specimen in every quarter of every line, from the frames only.

The input holds dark-field frames: a series of 5, 10 or 20 frames, or a pair scanned at 0 and 90 degrees. The answer is the displacement of the
probe from the commanded raster. A displacement that all frames share does not count. Frames of a perfect crystal look correct even if they are
aligned with an offset of one unit cell, but the score is measured against the true displacement. The method of one shift per frame, by correlation
with the previous frame, is on average worse than no correction, because one jump by a cell, or one false peak at a low dose, outweighs the
improvement elsewhere.

Example
    ::

        import numpy as np
        import stemtwin as st
        from stemtwin.benchmarks.answers.displacements import DisplacementField
        from stemtwin.benchmarks.submission import write_submission
        from stemtwin.benchmarks.tasks import find_task

        images, _, facts = st.load_arrays("drift@1", size="tiny", split="test")  # images["image"]: (n, 20, 96, 96) counts
        fields = np.zeros((len(images["image"]), 20, 96, 4, 2))  # frame, line, quarter, x and y: put your own method here
        answers = {name: DisplacementField(displacement=field) for name, field in zip(facts["sample_id"], fields)}
        write_submission("mine", find_task("drift"), answers, split="test", size="tiny", name="as they are")
"""

import hashlib

import numpy as np
import xarray as xr

from stemtwin.benchmarks.answers.displacements import DisplacementAnswers, DisplacementField
from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.metrics import scan_fields
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task

GIVEN = (
    Field(name="image", dtype="uint16", unit="e-", text="(20, 96, 96) counts, [frame, y, x]; frames not taken are 0"),
    Field(name="frames", dtype="int64", text="number of frames that were taken: 2 (a pair at 0 and 90 degrees), 5, 10 or 20"),
    Field(name="rotation_rad", dtype="float32", unit="rad", text="(20,) angle of each frame's raster to that of the first, about the field's middle"),
    Field(name="sampling_angstrom", dtype="float64", unit="A/px", text="step of the square pixels"),
    Field(name="energy_ev", dtype="float64", unit="eV", text="beam energy"),
    Field(name="semiangle_mrad", dtype="float64", unit="mrad", text="probe convergence semi-angle"),
    Field(name="current_pa", dtype="float64", unit="pA", text="probe current"),
    Field(name="dwell_time_us", dtype="float64", unit="us", text="dwell time in each frame"),
    Field(name="flyback_us", dtype="float64", unit="us", text="time between lines"),
    Field(name="pause_s", dtype="float64", unit="s", text="time between frames"),
    Field(name="dose_e_per_angstrom2", dtype="float64", unit="e-/A^2", text="dose of all frames together"),
)
ASKED = DisplacementAnswers(
    dims=("frame", "y", "quarter"),
    unit="A",
    text="true minus commanded position of the probe, [frame, line, quarter, x and y] in the axes of the first frame; frames not taken do not count",
    largest=1e3,
)
INPUTS = tuple(field.name for field in GIVEN)


def true_fields(data: xr.Dataset) -> list[DisplacementField]:
    """Return the displacement field of every sample, in the form of answers."""
    return [DisplacementField(displacement=field) for field in data["displacement"].values]


def score(data: xr.Dataset, found: dict[str, DisplacementField]) -> SampleStatistics:
    """Return the additive statistics of every sample, whose sums over samples give the metrics.

    Parameters
    ----------
    data : Dataset
        Samples of ``drift``.
    found : dict
        Fields by sample id, for exactly the ids of the data.
    """
    ids, shape = data["sample_id"].values.astype(str), (data.sizes["y"], data.sizes["x"])
    rows = []
    for i, name in enumerate(ids):
        frames = int(data["frames"].values[i])
        rows.append(
            scan_fields.score_field(
                found[name].displacement[:frames],
                data["displacement"].values[i, :frames],
                shape=shape,
                step=float(data["sampling_angstrom"].values[i]),
                rotation=data["rotation_rad"].values[i, :frames],
                repeat=float(data["repeat_angstrom"].values[i]),
            )
        )
    statistics = {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
    return SampleStatistics(
        ids=ids,
        clusters=data["specimen"].values.astype(str),
        statistics=statistics | {"samples": np.ones(len(ids), dtype=np.int64)},
        columns={column.column: data[column.column].values for column in SLICES},
    )


def content_hash(data: xr.Dataset) -> str:
    """Return the sha256 of the inputs and of the scored truth.

    The hash does not change if the samples are stored in another order or distributed over other files.
    """
    digest, wide = hashlib.sha256(), ("image", "rotation_rad")
    names = [*(name for name in INPUTS if name not in wide), "repeat_angstrom"]
    numbers = np.stack([data[name].values.astype(float) for name in names], axis=1)
    for i in np.argsort(data["sample_id"].values.astype(str)):
        digest.update(str(data["sample_id"].values[i]).encode())
        parts = [(data[name].values[i], dtype) for name, dtype in (("image", "<u2"), ("rotation_rad", "<f4"), ("displacement", "<f4"))]
        for array, dtype in (*parts, (numbers[i], "<f8")):
            digest.update(np.ascontiguousarray(array).astype(dtype).tobytes())
    return digest.hexdigest()


SLICES = (
    SliceColumn(column="drift_angstrom_per_s", edges=(0.1, 0.5), unit="A/s", title="drift rate"),
    SliceColumn(column="jitter_angstrom", edges=(0.03, 0.1), unit="A", title="jitter"),
    SliceColumn(column="dose_e_per_angstrom2", edges=(1e4, 1e5), unit="e-/A^2", title="dose"),
    SliceColumn(column="periodic"),
    SliceColumn(column="frames"),
    SliceColumn(column="material"),
)

TASKS.add(
    "drift",
    Task(
        name="drift",
        major=1,
        kind="predictions",
        title="Find the true positions of the probe in series and orthogonal pairs of frames",
        text=(
            "Given 5 to 20 frames of a drifting specimen, or two frames scanned at 0 and 90 degrees, in electron counts, give the displacement of "
            "the probe from the commanded raster in every quarter of every line. A displacement that all frames share does not count."
        ),
        source="drift",
        source_version="1.0.0",
        splits=("test", "val", "train"),
        inputs=GIVEN,
        answer=ASKED,
        metrics=(
            scan_fields.FIELD_ERROR,
            scan_fields.FIELD_ERROR_PX,
            scan_fields.FIELD_SKILL,
            scan_fields.STRAIN_BIAS,
            scan_fields.CELL_JUMPS,
        ),
        slices=SLICES,
        score=score,
        truth=true_fields,
        content=content_hash,
        citation="C. Ophus, J. Ciston, C. T. Nelson, Ultramicroscopy 162 (2016) 1: correcting nonlinear drift distortion from orthogonal scans",
    ),
)
