"""Task ``ronchigram``: measure all aberrations to third order with their uncertainties from one Ronchigram, and choose the imaging aperture.

The inputs are the far field of a parked probe through a wide aperture, in electron counts, and the nominal defocus. The answer holds the twelve
Cartesian coefficients to third order, a standard deviation and a 90 % interval of each, and the largest aperture within which the aberrations beyond
first order keep the phase flat to pi/4. The scored phase is the phase error that remains over a reference aperture after the estimated aberrations
are corrected.

Example
    ::

        import stemtwin as st
        from stemtwin.benchmarks.answers.values import Values
        from stemtwin.benchmarks.families.ronchigram import NAMES
        from stemtwin.benchmarks.submission import write_submission
        from stemtwin.benchmarks.tasks import find_task

        images, _, facts = st.load_arrays("ronchigram@1", size="tiny", split="test")  # (n, 128, 128) counts: put your own method here
        blind = dict.fromkeys(NAMES, 0.0) | {"aperture_mrad": 15.0}
        answers = {name: Values(value=blind | {"C10_angstrom": set_}) for name, set_ in zip(facts["sample_id"], facts["set_C10_angstrom"])}
        write_submission("mine", find_task("ronchigram"), answers, split="test", size="tiny", name="blind")
"""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np
import xarray as xr

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.answers.values import ValueAnswers, Values
from stemtwin.benchmarks.metrics import wavefront
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task
from stemtwin.datasets.generators.ronchigram import COEFFICIENTS

LEAST_PHASE_RAD = 0.0003
"""Lower limit of the mean residual phase of any method (rad) for any selection of samples.

The limit is below 0.0004 rad, the smallest bound of a single sample that :mod:`stemtwin.benchmarks.wavefront_bound` computes from twelve samples for
each energy. The mean bounds are 0.0025 rad (100 keV) and 0.0054 rad (200 keV).
"""
APERTURE = "aperture_mrad"
NAMES = tuple(f"{name}_angstrom" for name in COEFFICIENTS)

GIVEN = (
    Field(name="image", dtype="uint16", unit="e-", text="(128, 128) counts, [ky, kx]; the optic axis is the middle of the array"),
    Field(name="pixel_mrad", dtype="float64", unit="mrad/px", text="step of the square pixels"),
    Field(name="energy_ev", dtype="float64", unit="eV", text="beam energy"),
    Field(name="semiangle_mrad", dtype="float64", unit="mrad", text="aperture of the Ronchigram"),
    Field(name="reference_mrad", dtype="float64", unit="mrad", text="aperture in which phases and the Strehl ratio are measured"),
    Field(name="set_C10_angstrom", dtype="float64", unit="A", text="nominal C10, about which the true one scatters"),
    Field(name="electrons", dtype="float64", unit="e-", text="mean number of incident electrons"),
)
ASKED = ValueAnswers(
    quantities=(
        *(Field(name=f"{name}_angstrom", dtype="float", unit="A", text=f"Cartesian coefficient {name}", low=-1e9, high=1e9) for name in COEFFICIENTS),
        Field(name=APERTURE, dtype="float", unit="mrad", text="largest aperture flat to pi/4 beyond first order", low=1.0, high=200.0),
    ),
    sigma="optional",
    interval="optional",
    level=0.9,
)
INPUTS = tuple(field.name for field in GIVEN)


def coefficients_of(data: xr.Dataset) -> np.ndarray:
    """Return the true coefficients of every sample, (n, 12), A."""
    return np.stack([data[name].values.astype(float) for name in NAMES], axis=1)


def true_values(data: xr.Dataset) -> list[Values]:
    """Return the true coefficients and the true aperture of every sample, in the form of answers."""
    table = np.column_stack([coefficients_of(data), data[APERTURE].values])
    return [Values(value=dict(zip((*NAMES, APERTURE), row, strict=True))) for row in table.tolist()]


def score_sample(answer: Values, truth: np.ndarray, aperture: float, assumed: np.ndarray, *, semiangle_mrad: float, energy_ev: float) -> dict:
    """Return the additive statistics of one sample, whose sums over samples give the metrics.

    Parameters
    ----------
    answer : Values
        Answer of an entry.
    truth, assumed : ndarray
        (12,) true coefficients, and nominal coefficients, A.
    aperture : float
        True largest aperture with a flat phase, mrad.
    semiangle_mrad, energy_ev : float
        Reference aperture [mrad] and beam energy [eV].
    """

    def column(part: Mapping[str, float]) -> np.ndarray:
        return np.array([part[name] for name in NAMES])

    found = column(answer.value)
    out = wavefront.score_aberrations(found, truth, assumed, semiangle_mrad=semiangle_mrad, energy_ev=energy_ev)
    out |= {"aperture_error": abs(answer.value[APERTURE] - aperture) / aperture, "coefficients": len(NAMES)}
    out["inside_68"] = wavefront.count_inside(found - column(answer.sigma), found + column(answer.sigma), truth) if answer.sigma else 0
    out["inside_90"] = wavefront.count_inside(column(answer.low), column(answer.high), truth) if answer.low and answer.high else 0
    return out


def score(data: xr.Dataset, found: dict[str, Values]) -> SampleStatistics:
    """Return the additive statistics of every sample, whose sums over samples give the metrics.

    Parameters
    ----------
    data : Dataset
        Samples of ``ronchigram``.
    found : dict
        Values by sample id, for exactly the ids of the data.
    """
    ids, truth = data["sample_id"].values.astype(str), coefficients_of(data)
    assumed = np.zeros_like(truth)
    assumed[:, 0] = data["set_C10_angstrom"].values
    parts = zip(ids, truth, assumed, *(data[name].values.tolist() for name in (APERTURE, "reference_mrad", "energy_ev")), strict=True)
    rows = [
        score_sample(found[name], true, aperture, blind, semiangle_mrad=semiangle, energy_ev=energy)
        for name, true, blind, aperture, semiangle, energy in parts
    ]
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
    digest = hashlib.sha256()
    names = [*(name for name in INPUTS if name != "image"), *NAMES, APERTURE]
    numbers = np.stack([data[name].values.astype(float) for name in names], axis=1)
    for i in np.argsort(data["sample_id"].values.astype(str)):
        digest.update(str(data["sample_id"].values[i]).encode())
        for array, dtype in ((data["image"].values[i], "<u2"), (numbers[i], "<f8")):
            digest.update(np.ascontiguousarray(array).astype(dtype).tobytes())
    return digest.hexdigest()


SLICES = (
    SliceColumn(column="electrons", edges=(1e7,), unit="e-"),
    SliceColumn(column="material"),
    SliceColumn(column="spread", edges=(0.7, 1.3), title="size of aberrations"),
    SliceColumn(column="energy_ev", title="energy"),
)

TASKS.add(
    "ronchigram",
    Task(
        name="ronchigram",
        major=1,
        kind="predictions",
        title="Measure all aberrations to third order in one Ronchigram, and choose the aperture",
        text=(
            "Given one Ronchigram in electron counts and the nominal defocus, give the twelve Cartesian aberration coefficients to third order, "
            "with a standard deviation and a 90 % interval of each, and the largest aperture that is flat to pi/4 beyond first order."
        ),
        source="ronchigram",
        source_version="1.0.0",
        splits=("test", "val", "train"),
        inputs=GIVEN,
        answer=ASKED,
        metrics=(
            dataclasses.replace(wavefront.RESIDUAL_PHASE, limit=LEAST_PHASE_RAD),
            wavefront.STREHL,
            wavefront.QUARTER_WAVES,
            wavefront.PHASE_SKILL,
            wavefront.APERTURE_ERROR,
            wavefront.MISCOVERAGE_68,
            wavefront.MISCOVERAGE_90,
        ),
        slices=SLICES,
        score=score,
        truth=true_values,
        content=content_hash,
        citation="N. Schnitzer, S. H. Sung, R. Hovden, Microsc. Microanal. 26 (2020) 921: the aperture by a network from Ronchigrams",
    ),
)
