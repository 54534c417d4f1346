"""Task ``denoise``: estimate the noiseless image from few electrons, without adding or removing atoms.

The input comes from a dark-field and a bright-field detector. It is one frame, or a stack of eight frames with the same total dose. The answer is
the expected number of electrons of the whole dose in each pixel of an undistorted raster. The specimen is at rest in this raster, at its position
averaged over the first frame. Errors are measured in units of L, the data range that the dataset card gives for each material and detector, so errors
at different doses are comparable. Vacancies are evaluated in the dark field, at the true sites.

Example
    ::

        import stemtwin as st
        from scipy.ndimage import gaussian_filter
        from stemtwin.benchmarks.answers.images import ImageEstimate
        from stemtwin.benchmarks.submission import write_submission
        from stemtwin.benchmarks.tasks import find_task

        images, _, facts = st.load_arrays("denoise@1", size="tiny", split="test")
        sums = [frames.sum(axis=0, dtype=float) for frames in images]  # (2, 128, 128) counts of the whole dose
        found = [ImageEstimate(image=gaussian_filter(counts, (0, 2, 2))) for counts in sums]
        write_submission("mine", find_task("denoise"), dict(zip(facts["sample_id"], found)), split="test", size="tiny", name="blur")
"""

import hashlib

import numpy as np
import xarray as xr

from stemtwin.benchmarks.answers.form import Field
from stemtwin.benchmarks.answers.images import ImageAnswers, ImageEstimate
from stemtwin.benchmarks.metrics import restoration, vacancies
from stemtwin.benchmarks.metrics.vacancies import LatticeSites
from stemtwin.benchmarks.slices import SampleStatistics, SliceColumn
from stemtwin.benchmarks.tasks import TASKS, Task

CHANNELS = ("haadf", "abf")

GIVEN = (
    Field(name="image", dtype="uint16", unit="e-", text="(8, 2, 128, 128) counts, [frame, channel, y, x]: haadf and abf; frames not taken are 0"),
    Field(name="frames", dtype="int64", text="number of frames that were taken: 1 or 8"),
    Field(name="sampling_angstrom", dtype="float64", unit="A/px", text="step of the square pixels"),
    Field(name="energy_ev", dtype="float64", unit="eV", text="beam energy"),
    Field(name="semiangle_mrad", dtype="float64", unit="mrad", text="probe convergence semi-angle"),
    Field(name="current_pa", dtype="float64", unit="pA", text="probe current"),
    Field(name="dwell_time_us", dtype="float64", unit="us", text="dwell time in each frame"),
    Field(name="dose_e_per_angstrom2", dtype="float64", unit="e-/A^2", text="dose of all frames together"),
    Field(name="haadf_range", dtype="float64", unit="of the beam", text="L of the dark field"),
    Field(name="abf_range", dtype="float64", unit="of the beam", text="L of the bright field"),
)
ASKED = ImageAnswers(dims=("channel", "y", "x"), unit="e-", text="expected electrons of the whole dose, [haadf and abf, y, x]")
INPUTS = tuple(field.name for field in GIVEN)


def expected_images(data: xr.Dataset) -> list[ImageEstimate]:
    """Return the noiseless images of every sample, in the form of answers."""
    return [ImageEstimate(image=image) for image in data["expected"].values]


def sites_of(data: xr.Dataset) -> list[LatticeSites]:
    """Return the lattice sites of every sample of a dataset.

    The arrays of the dataset are padded: of each sample, only the first ``n_sites`` entries count.
    """
    counts = data["n_sites"].values.astype(int)
    x, y, species, atoms, missing = (data[f"site_{name}"].values for name in ("x_angstrom", "y_angstrom", "species", "atoms", "missing"))
    return [
        LatticeSites(
            positions=np.stack([x[i, :n], y[i, :n]], axis=1).astype(float),
            kinds=np.array([f"{a} {b}" for a, b in zip(species[i, :n], atoms[i, :n], strict=True)], dtype=str),
            missing=missing[i, :n].astype(np.int64),
        )
        for i, n in enumerate(counts)
    ]


def score_sample(estimate: np.ndarray, truth: np.ndarray, sites: LatticeSites, ranges: tuple[float, float], step: float) -> dict[str, float]:
    """Return the additive statistics of one sample, whose sums over samples give the metrics.

    Parameters
    ----------
    estimate, truth : ndarray
        (2, ny, nx) expected electrons.
    sites : LatticeSites
        Sites of the frame.
    ranges : tuple of float
        Data range L of each channel, e-.
    step : float
        Pixel size, A/px.
    """
    estimate, truth = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    pairs = list(zip(estimate, truth, ranges, strict=True))
    peak = [restoration.psnr(*pair) for pair in pairs]
    return {
        "psnr": float(np.mean(peak)),
        **{f"psnr_{name}": one for name, one in zip(CHANNELS, peak, strict=True)},
        "ssim": float(np.mean([restoration.ssim(*pair) for pair in pairs])),
        "resolution": float(np.mean([restoration.resolution(ours, true, step) for ours, true, _ in pairs])),
        "deviance": float(np.mean([restoration.deviance(ours, true) for ours, true, _ in pairs])),
        **vacancies.count_invented(estimate[0], truth[0], sites, step),
    }


def score(data: xr.Dataset, found: dict[str, ImageEstimate]) -> SampleStatistics:
    """Return the additive statistics of every sample, whose sums over samples give the metrics.

    Parameters
    ----------
    data : Dataset
        Samples of ``denoise``.
    found : dict
        Images by sample id, for exactly the ids of the data.
    """
    ids, steps = data["sample_id"].values.astype(str), data["sampling_angstrom"].values.astype(float)
    incident = data["dose_e_per_angstrom2"].values * steps**2
    ranges = np.stack([data[f"{name}_range"].values * incident for name in CHANNELS], axis=1)
    parts = zip(ids, data["expected"].values, sites_of(data), ranges.tolist(), steps.tolist(), strict=True)
    rows = [score_sample(found[name].image, truth, sites, tuple(ours), step) for name, truth, sites, ours, step in parts]
    statistics = {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}
    columns = {column.column: data[column.column].values for column in SLICES}
    return SampleStatistics(
        ids=ids,
        clusters=data["specimen"].values.astype(str),
        statistics=statistics | {"samples": np.ones(len(ids), dtype=np.int64)},
        columns=columns,
    )


def content_hash(data: xr.Dataset) -> str:
    """Return the sha256 of the inputs and of the scored truth.

    The hash does not change if the samples are stored in another order or distributed over other files.
    """
    digest = hashlib.sha256()
    places = sites_of(data)
    numbers = np.stack([data[name].values.astype(float) for name in INPUTS if name != "image"], axis=1)
    for i in np.argsort(data["sample_id"].values.astype(str)):
        digest.update(str(data["sample_id"].values[i]).encode())
        digest.update("\n".join(places[i].kinds).encode())
        arrays = ((data["image"].values[i], "<u2"), (data["expected"].values[i], "<f4"), (numbers[i], "<f8"))
        for array, dtype in (*arrays, (places[i].positions, "<f8"), (places[i].missing, "<i8")):
            digest.update(np.ascontiguousarray(array).astype(dtype).tobytes())
    return digest.hexdigest()


SLICES = (
    SliceColumn(column="dose_e_per_angstrom2", edges=(1e2, 1e3), unit="e-/A^2", title="dose"),
    SliceColumn(column="frames"),
    SliceColumn(column="material"),
    SliceColumn(column="scan"),
)

TASKS.add(
    "denoise",
    Task(
        name="denoise",
        major=1,
        kind="predictions",
        title="Denoise low-dose images without inventing or filling vacancies",
        text=(
            "Given one frame, or eight that share its dose, of a dark-field and a bright-field detector in electron counts, give the expected "
            "electrons of the whole dose in each pixel of the undistorted raster, at the mean position of the specimen during the first frame."
        ),
        source="denoise",
        source_version="1.0.0",
        splits=("test", "val", "train"),
        inputs=GIVEN,
        answer=ASKED,
        metrics=(
            restoration.PSNR,
            restoration.PSNR_HAADF,
            restoration.PSNR_ABF,
            restoration.SSIM,
            restoration.RESOLUTION,
            restoration.DEVIANCE,
            vacancies.HALLUCINATION,
            vacancies.FILLED,
            vacancies.EMPTIED,
        ),
        slices=SLICES,
        score=score,
        truth=expected_images,
        content=content_hash,
        citation="J. L. Vincent et al., Microsc. Microanal. 27 (2021) 1431: denoising of images with ultra-low signal to noise by neural networks",
    ),
)
