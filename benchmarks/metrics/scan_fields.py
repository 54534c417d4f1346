"""Metrics of displacement fields of scans: the error minus its mean, the strain due to the error, and frames misaligned by a unit cell.

A field gives, for each node of each line of each frame, the true position of the probe on the specimen minus the commanded position. A displacement
that all frames share cannot be observed, so the mean error of a sample is subtracted before anything is measured.
"""

import numpy as np

from stemtwin.benchmarks.metrics.metric import Metric, add_metrics, mean_of, ratio

PM_PER_ANGSTROM = 100.0
LEAST_SKILL = -1.0
"""Lower bound of the skill of a sample."""
HALF = 0.5
"""Smallest displacement between frames, in units of the shortest lattice translation, that counts as a misalignment by a unit cell."""


def residual(estimate: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the error of a field minus the mean of this error over all frames, lines and nodes, (frames, lines, nodes, 2) float64."""
    error = np.asarray(estimate, dtype=float) - np.asarray(truth, dtype=float)
    return error - error.mean(axis=(0, 1, 2))


def root_mean_square(field: np.ndarray) -> float:
    """Return the root of the mean squared length of vectors (..., 2)."""
    return float(np.sqrt((field**2).sum(axis=-1).mean()))


def strain(error: np.ndarray, positions: np.ndarray) -> float:
    """Return the strain that an error of the field would show in an unstrained specimen, %.

    It is the norm of the symmetric part of the mean gradient of the error.

    Parameters
    ----------
    error : ndarray
        (frames, lines, nodes, 2) x and y, A.
    positions : ndarray
        Commanded positions, of the same shape, A. The mean of each frame is subtracted from errors and positions, which superimposes the frames.
    """
    centred, places = (values - values.mean(axis=(1, 2), keepdims=True) for values in (error, positions))
    slope, *_ = np.linalg.lstsq(places.reshape(-1, 2), centred.reshape(-1, 2), rcond=None)
    return float(100 * np.linalg.norm((slope + slope.T) / 2))


def jumps(error: np.ndarray, repeat: float) -> int:
    """Return the number of frames that are displaced from a reference frame by at least half a lattice translation.

    ``repeat`` is the length of the translation, A. The reference frame is the one that gives the smallest number.
    """
    means = error.mean(axis=(1, 2))
    apart = np.linalg.norm(means[:, None] - means, axis=-1)
    return int((apart >= HALF * repeat).sum(axis=1).min())


def node_positions(shape: tuple[int, int], nodes: int, step: float, rotation: np.ndarray) -> np.ndarray:
    """Return the commanded positions of nodes relative to the middle of the field, (frames, lines, nodes, 2) x and y, A.

    Parameters
    ----------
    shape : tuple of int
        Number of lines, and number of pixels in a line.
    nodes : int
        Number of equal segments of each line, with a node in the middle of each segment.
    step : float
        Pixel size, A/px.
    rotation : ndarray
        (frames,) angle of each raster relative to the first raster, positive from +x to +y, rad.
    """
    ny, nx = shape
    x = ((np.arange(nodes) + 0.5) * nx / nodes - 0.5 - (nx - 1) / 2) * step
    y = (np.arange(ny) - (ny - 1) / 2) * step
    cosine, sine = (f(np.asarray(rotation, dtype=float))[:, None, None] for f in (np.cos, np.sin))
    return np.stack([cosine * x - sine * y[:, None], sine * x + cosine * y[:, None]], axis=-1)


def score_field(estimate: np.ndarray, truth: np.ndarray, *, shape: tuple[int, int], step: float, rotation: np.ndarray, repeat: float) -> dict:
    """Return the additive statistics of one sample, whose sums over samples give the metrics.

    Parameters
    ----------
    estimate, truth : ndarray
        (frames, lines, nodes, 2) x and y, A; only frames that were taken.
    shape : tuple of int
        Number of lines, and number of pixels in a line.
    step : float
        Pixel size, A/px.
    rotation : ndarray
        (frames,) angle of each raster relative to the first raster, rad.
    repeat : float
        Length of the shortest lattice translation of the projected specimen, A; 0 if the specimen is not periodic.
    """
    error = residual(estimate, truth)
    size, uncorrected = root_mean_square(error), root_mean_square(residual(np.zeros_like(truth), truth))
    others = len(truth) - 1 if repeat > 0 else 0
    return {
        "field_error": PM_PER_ANGSTROM * size,
        "field_error_px": size / step,
        "skill": max(LEAST_SKILL, 1 - size / max(uncorrected, 1e-12)),
        "strain": strain(error, node_positions(shape, truth.shape[2], step, rotation)),
        "jumped": jumps(error, repeat) if others else 0,
        "others": others,
    }


SUMS = {"field_error": 120.0, "field_error_px": 6.0, "skill": 3.0, "strain": 2.0, "jumped": 3, "others": 12, "samples": 4}
"""Sums of four samples, as examples for the references of the metrics."""
FIELD_ERROR, FIELD_ERROR_PX, FIELD_SKILL, STRAIN_BIAS, CELL_JUMPS = add_metrics(
    "scan-fields",
    Metric(
        name="field_error",
        title="error of the field after the rigid shift",
        formula=mean_of("field_error"),
        text="field_error / samples, the mean of the root mean square distance over frames, lines and nodes, without its mean",
        references=((SUMS, 30.0),),
        unit="pm",
        direction="min",
    ),
    Metric(
        name="field_error_px",
        title="error of the field after the rigid shift in pixels",
        formula=mean_of("field_error_px"),
        text="field_error_px / samples, the same in pixels",
        references=((SUMS, 1.5),),
        unit="px",
        direction="min",
    ),
    Metric(
        name="skill",
        title="fraction of the uncorrected error that is removed",
        formula=mean_of("skill"),
        text="skill / samples, the mean of 1 - error / error of no correction, at least -1: 0 for uncorrected frames, 1 for the truth",
        references=((SUMS, 0.75),),
    ),
    Metric(
        name="strain_bias",
        title="apparent strain of an unstrained lattice in the corrected frames",
        formula=mean_of("strain"),
        text="strain / samples, the mean of the norm of the symmetric part of the mean gradient of the error",
        references=((SUMS, 0.5),),
        unit="%",
        direction="min",
    ),
    Metric(
        name="cell_jumps",
        title="frames of perfect crystals displaced by half a cell or more",
        formula=lambda sums: ratio(sums["jumped"], sums["others"]),
        text="jumped / others, over the frames after the first",
        references=((SUMS, 0.25), ({**SUMS, "jumped": 0, "others": 0}, float("nan"))),
        direction="min",
    ),
)
