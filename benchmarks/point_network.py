"""Networks that find points in images: resampling to a fixed pixel size, inference from an ONNX file, and points from probability maps.

A network receives maps of an image on pixels of 0.15 A and returns, for each of these pixels, one logit for each class of points and the offset to
the nearest point, x and y in pixels. Training is in :mod:`stemtwin.benchmarks.training`; inference needs only onnxruntime.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.feature import peak_local_max

from stemtwin.benchmarks.onnx_policy import make_session
from stemtwin.benchmarks.readings import white_noise

STEP_ANGSTROM = 0.15
"""Pixel of the networks, A."""
MULTIPLE = 16
"""The networks accept heights and widths that are multiples of this number, px."""
LEAST = 0.02
"""Probability below which no point is reported."""

Run = Callable[[np.ndarray], np.ndarray]
"""A network: maps (1, n, ny, nx) to logits and offsets (1, k + 2, ny, nx), float32."""


def onnx_run(path: Path) -> Run:
    """Return the network of an ONNX file; raise SettingsError if onnxruntime is not installed."""
    session = make_session(path)
    return partial(_run, session, session.get_inputs()[0].name)


def _run(session: Any, name: str, maps: np.ndarray) -> np.ndarray:
    (out,) = session.run(None, {name: maps})
    return np.asarray(out)


def weights(count: int, step: float) -> np.ndarray:
    """Return the weights (m, count) that resample ``count`` pixels of ``step`` A to m pixels of 0.15 A.

    The weights are triangles whose width follows the larger of the two pixel sizes.
    """
    places = ((np.arange(max(1, round(count * step / STEP_ANGSTROM))) + 0.5) * STEP_ANGSTROM / step - 0.5)[:, None]
    out = np.maximum(0.0, 1.0 - np.abs(places - np.arange(count)) * step / max(step, STEP_ANGSTROM))
    return out / out.sum(axis=1, keepdims=True)


def resampled(image: np.ndarray, step: float) -> np.ndarray:
    """Resample an image (ny, nx) from pixels of ``step`` A to pixels of 0.15 A; the outer corner of the first pixel stays in place."""
    return weights(image.shape[0], step) @ image @ weights(image.shape[1], step).T


def to_angstrom(places: np.ndarray, step: float) -> np.ndarray:
    """Convert positions (n, 2) on the grid of a network [px of 0.15 A] to positions in an image [A].

    The image has pixels of ``step`` A, and the centre of its first pixel is the origin of the result.
    """
    return (places + 0.5) * STEP_ANGSTROM - step / 2


def to_pixels(positions: np.ndarray, step: float) -> np.ndarray:
    """Convert positions (n, 2) in an image [A] to positions on the grid of a network [px of 0.15 A].

    The image has pixels of ``step`` A, and the centre of its first pixel is the origin of the given positions.
    """
    return (positions + step / 2) / STEP_ANGSTROM - 0.5


def resampled_noise(electrons: np.ndarray, step: float) -> float:
    """Return the standard deviation of the noise (e-) that remains in an image (ny, nx) with pixels of ``step`` A after :func:`resampled`."""
    return white_noise(electrons) * min(1.0, step / STEP_ANGSTROM)


def smoothed(image: np.ndarray, sigma_angstrom: float) -> np.ndarray:
    """Return an image on pixels of 0.15 A, smoothed by a Gaussian with a given standard deviation, A."""
    return gaussian_filter(image, sigma_angstrom / STEP_ANGSTROM, mode="reflect")


def answer(run: Run, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run a network on maps (n, ny, nx) of any size, and return the probabilities (k, ny, nx) and the offsets (2, ny, nx), px."""
    ny, nx = maps.shape[1:]
    padded = np.pad(maps, ((0, 0), (0, -ny % MULTIPLE), (0, -nx % MULTIPLE)), mode="reflect")
    out = run(padded[None].astype(np.float32))[0, :, :ny, :nx].astype(float)
    return 1 / (1 + np.exp(-np.clip(out[:-2], -30, 30))), out[-2:]


def peaks(probability: np.ndarray, offsets: np.ndarray, apart_angstrom: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points at the maxima of the probability: positions (n, 2), classes (n,) from 0, and probabilities (n,).

    Positions are x and y in pixels of 0.15 A.

    Parameters
    ----------
    probability : ndarray
        (k, ny, nx) probabilities by class.
    offsets : ndarray
        (2, ny, nx) offsets x and y to the nearest point, px; their mean over 3 x 3 pixels, weighted by probability, gives the position.
    apart_angstrom : float
        Least distance of two points, A.
    """
    most = probability.max(axis=0)
    distance = max(1, round(apart_angstrom / STEP_ANGSTROM))
    found = peak_local_max(most, min_distance=distance, threshold_abs=LEAST, exclude_border=False)
    ny, nx = most.shape
    places = np.empty((len(found), 2))
    for number, (y, x) in enumerate(found):
        rows, columns = np.mgrid[max(0, y - 1) : min(ny, y + 2), max(0, x - 1) : min(nx, x + 2)]
        share = most[rows, columns] / most[rows, columns].sum()
        places[number] = np.sum(share * (columns + offsets[0, rows, columns])), np.sum(share * (rows + offsets[1, rows, columns]))
    classes = probability[:, found[:, 0], found[:, 1]].argmax(axis=0) if len(found) else np.empty(0, dtype=np.int64)
    return places, classes, most[tuple(found.T)]


class PointNetwork:
    """A trained network that finds points; a subclass names its ONNX file.

    Parameters
    ----------
    run : callable, optional
        Function that runs the network; by default the network of the ONNX file.

    Raises
    ------
    SettingsError
        onnxruntime is not installed.
    """

    MODEL: ClassVar[Path]
    APART_ANGSTROM: ClassVar[float]
    """Least distance of two points, A."""

    def __init__(self, run: Run | None = None) -> None:
        self._run = onnx_run(self.MODEL) if run is None else run

    def located(
        self, maps: np.ndarray, shape: tuple[int, ...], step: float, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the points within a frame: positions [A] (n, 2), classes (n,) from 0, and probabilities (n,).

        Parameters
        ----------
        maps : ndarray
            (m, y, x) input maps of the frame, on pixels of 0.15 A.
        shape : tuple of int
            Height and width of the frame, pixels.
        step : float
            Size of the frame's pixels, A.
        allowed : ndarray, optional
            (k,) bool: the classes that can occur; by default all.
        """
        probability, offsets = answer(self._run, maps)
        if allowed is not None:
            probability *= allowed[:, None, None]
        places, classes, most = peaks(probability, offsets, self.APART_ANGSTROM)
        positions = to_angstrom(places, step)
        ny, nx = shape
        keep = ((positions >= -step / 2) & (positions <= np.array([nx - 0.5, ny - 0.5]) * step)).all(axis=1)
        return positions[keep], classes[keep], most[keep]
