"""Fit of a crystal's simulated cell to a window of a micrograph: lattice, blur, grey scale, offsets of lines, and noise.

The model of a pixel is offset + slope * S(u), where S is the expected signal of the periodic cell, blurred by a Gaussian. The pixel at the position
v (x, y) relative to the window's centre shows the point u = M v + t of the specimen. M contains rotation, scale and shear. Its deviation from a
rotation is the combined effect of calibration, strain and steady drift, and these three cannot be separated in one image.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter
from scipy.optimize import least_squares
from scipy.signal import fftconvolve

from stemtwin.twin.errors import SettingsError

ANGLES_DEG = np.arange(0.0, 360.0, 5.0)
SCALES = (0.92, 0.96, 1.0, 1.04, 1.08)
"""Rotations and scales of the first search."""
LARGEST_BLUR = 2.0
"""Largest standard deviation of the fitted blur, A."""
BINS = 8
"""Levels of the signal at which noise is measured."""
GOOD_ROWS = 2.0
"""Largest error of a line's offset, relative to the median error, for which the line counts."""
MOST_LAG = 0.9
"""Largest correlation of neighbouring pixels that is assumed."""
LEAST_WINDOW = 24
"""Least edge of a window, px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellSignal:
    """Expected signal of a periodic cell under a point source.

    Parameters
    ----------
    values : ndarray
        (ny, nx) fractions of the beam that reach the detector; pixel [0, 0] lies at (0, 0).
    size_angstrom : tuple of float
        Height and width of the cell, A.
    """

    values: np.ndarray
    size_angstrom: tuple[float, float]

    def blurred(self, sigma: float) -> np.ndarray:
        """Return the spline coefficients of the signal under a Gaussian source with the standard deviation ``sigma`` [A]."""
        (ny, nx), (height, width) = self.values.shape, self.size_angstrom
        ky, kx = np.fft.fftfreq(ny, height / ny)[:, None], np.fft.rfftfreq(nx, width / nx)
        factor = np.exp(-2 * (np.pi * sigma) ** 2 * (ky**2 + kx**2))
        return spline_filter(np.fft.irfft2(np.fft.rfft2(self.values) * factor, s=(ny, nx)), order=3, mode="grid-wrap")

    def at(self, coefficients: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return the signal at positions ``u`` (2, ...), x before y (A) from spline coefficients of :meth:`blurred`."""
        (ny, nx), (height, width) = self.values.shape, self.size_angstrom
        return map_coordinates(coefficients, [u[1] * ny / height, u[0] * nx / width], order=3, mode="grid-wrap", prefilter=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellFit:
    """A cell fitted to a window.

    Parameters
    ----------
    matrix, shift : ndarray
        (2, 2) and (2,): u = matrix @ v + shift, both in A, x before y; v is the position relative to the window's centre,
        computed with the nominal pixel size.
    blur_angstrom : float
        Standard deviation of the blur, A.
    offset, slope : float
        Grey value without signal, and additional grey value if the whole beam reaches the detector.
    correlation : float
        Correlation coefficient of model and window.
    model : ndarray
        (ny, nx) grey values of the model.
    """

    matrix: np.ndarray
    shift: np.ndarray
    blur_angstrom: float
    offset: float
    slope: float
    correlation: float
    model: np.ndarray

    @property
    def rotation_rad(self) -> float:
        """Rotation of the scan's x axis in the specimen, rad; positive from +x towards +y."""
        return float(np.arctan2(self.matrix[1, 0], self.matrix[0, 0]))

    @property
    def distortion(self) -> tuple[float, float, float]:
        """Scale of x and of y, and shear (x per y) of the scan: matrix = rotation @ [[x, shear], [0, y]]; 1, 1 and 0 for a perfect scan."""
        c, s = np.cos(self.rotation_rad), np.sin(self.rotation_rad)
        upper = np.array([[c, s], [-s, c]]) @ self.matrix
        return float(upper[0, 0]), float(upper[1, 1]), float(upper[0, 1])


def pixel_places(shape: tuple[int, int], step: float) -> np.ndarray:
    """Return the positions of the pixels relative to the centre of a window, (2, ny, nx), x before y, A."""
    y, x = np.indices(shape, dtype=float)
    return step * np.stack([x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2])


def search(window: np.ndarray, step: float, cell: CellSignal, turns: "tuple[tuple[float, float], ...] | None" = None) -> tuple[float, CellFit]:
    """Return the best correlation over rotations, scales and shifts, and the coarse fit that reaches it, a start for :func:`refine`.

    Parameters
    ----------
    window : ndarray
        (ny, nx) grey values.
    step : float
        Nominal size of the pixels, A.
    cell : CellSignal
        The cell.
    turns : tuple of (float, float), optional
        Pairs of a rotation [rad] and a scale to try; by default all rotations in steps of 5 degrees, with scales from 0.92 to 1.08.
    """
    if min(window.shape) < LEAST_WINDOW:
        message = f"A window of {window.shape[0]} x {window.shape[1]} px is smaller than {LEAST_WINDOW} px. Give a larger one."
        raise SettingsError(message)
    even = tuple(n - n % 2 for n in window.shape)
    centred = window[: even[0], : even[1]] - window[: even[0], : even[1]].mean()
    centred /= max(float(centred.std()), 1e-30)
    blur = 0.5
    coefficients = cell.blurred(blur)
    wide = pixel_places((2 * even[0] + 1, 2 * even[1] + 1), step)
    best: tuple[float, np.ndarray, np.ndarray] = (-1.0, np.eye(2), np.zeros(2))
    for angle, scale in turns or tuple(itertools.product(np.deg2rad(ANGLES_DEG), SCALES)):
        matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        template = cell.at(coefficients, np.tensordot(matrix, wide, axes=1))
        template = (template - template.mean()) / max(float(template.std()), 1e-30)
        found = fftconvolve(template, centred[::-1, ::-1], mode="valid") / centred.size
        at = np.unravel_index(np.argmax(found), found.shape)
        if found[at] > best[0]:
            moved = step * np.array([at[1] - (found.shape[1] - 1) / 2, at[0] - (found.shape[0] - 1) / 2])
            best = (float(found[at]), matrix, matrix @ moved)
    start = CellFit(matrix=best[1], shift=best[2], blur_angstrom=blur, offset=0.0, slope=1.0, correlation=best[0], model=window)
    return best[0], start


def refine(window: np.ndarray, step: float, cell: CellSignal, start: CellFit) -> CellFit:
    """Return the least-squares fit of a cell to a window, starting from a coarse fit."""
    places = pixel_places(window.shape, step)
    reach = float(np.abs(places).max())

    def parts(p: np.ndarray) -> tuple[np.ndarray, float, float]:
        matrix = start.matrix + p[:4].reshape(2, 2) / reach
        signal = cell.at(cell.blurred(abs(p[6])), np.tensordot(matrix, places, axes=1) + (start.shift + p[4:6])[:, None, None])
        slope, offset = np.polyfit(signal.ravel(), window.ravel(), 1)
        return signal, float(slope), float(offset)

    def residual(p: np.ndarray) -> np.ndarray:
        signal, slope, offset = parts(p)
        return (offset + slope * signal - window).ravel() / scale

    scale = max(float(window.std()), 1e-30)
    bounds = np.array([3.0] * 4 + [2.0, 2.0, LARGEST_BLUR])
    low = np.where(np.arange(7) == 6, 0.0, -bounds)
    found = least_squares(residual, [0, 0, 0, 0, 0, 0, start.blur_angstrom], bounds=(low, bounds), x_scale=0.1, diff_step=1e-4)
    signal, slope, offset = parts(found.x)
    model = offset + slope * signal
    return CellFit(
        matrix=start.matrix + found.x[:4].reshape(2, 2) / reach,
        shift=start.shift + found.x[4:6],
        blur_angstrom=float(found.x[6]),
        offset=offset,
        slope=slope,
        correlation=float(np.corrcoef(model.ravel(), window.ravel())[0, 1]),
        model=model,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LineOffsets:
    """Offsets of scan lines from a fitted model.

    Parameters
    ----------
    offsets_angstrom, errors_angstrom : ndarray
        (lines, 2) offsets x, y of each line, and their standard errors, A.
    jitter_angstrom, wander_angstrom : tuple of float
        Standard deviations of the offsets along x and y, A: jitter is the part that is independent from line to line, wander is the rest. The
        variance of the errors has been subtracted.
    """

    offsets_angstrom: np.ndarray
    errors_angstrom: np.ndarray
    jitter_angstrom: tuple[float, float]
    wander_angstrom: tuple[float, float]


def line_offsets(window: np.ndarray, fit: CellFit, step: float) -> LineOffsets:
    """Return the offset of every scan line at which the pixels of the line fit the model best.

    Differences of neighbouring lines give the jitter, which is independent from line to line; the rest of the spread is the wander.
    """
    fy, fx = np.gradient(fit.model, step)
    residual = window - fit.model
    found, errors, rests = np.zeros((len(window), 2)), np.full((len(window), 2), np.inf), np.zeros_like(residual)
    for line in range(len(window)):
        design = -np.stack([fx[line], fy[line], np.ones(window.shape[1])], axis=1)
        inverse = np.linalg.pinv(design.T @ design)
        p = inverse @ design.T @ residual[line]
        rests[line] = residual[line] - design @ p
        found[line], errors[line] = p[:2], np.sqrt(np.diag(inverse)[:2] * rests[line].var(ddof=3))
    a = float(np.clip((rests[:, 1:] * rests[:, :-1]).mean() / max(float((rests**2).mean()), 1e-30), 0.0, MOST_LAG))
    errors *= np.sqrt((1 + a) / (1 - a))  # pixels that a lag correlates count as fewer
    spread = [_spread(found[:, axis], errors[:, axis]) for axis in (0, 1)]
    jitter, wander = zip(*spread, strict=True)
    return LineOffsets(offsets_angstrom=found, errors_angstrom=errors, jitter_angstrom=jitter, wander_angstrom=wander)


def _spread(offsets: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Return jitter and wander of the lines whose offsets are known well, after subtraction of the errors."""
    good = errors <= GOOD_ROWS * np.median(errors)
    pairs = good[1:] & good[:-1]
    differences = np.diff(offsets)[pairs]
    noise = (errors[1:] ** 2 + errors[:-1] ** 2)[pairs]
    jitter = max(float((differences**2).mean() - noise.mean()) / 2, 0.0) if pairs.any() else 0.0
    total = max(float(offsets[good].var() - (errors[good] ** 2).mean()), 0.0) if good.any() else 0.0
    return float(np.sqrt(jitter)), float(np.sqrt(max(total - jitter, 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseFit:
    """Noise of a window: statistics of its residual from the model.

    Parameters
    ----------
    levels, variances : ndarray
        Mean grey value and variance of the noise in each bin; the pixels are binned by the grey value of the model.
    slope, floor : float
        Straight line of the noise variance as a function of the signal: increase of the variance per grey value, and variance without signal.
    lag_correlation : tuple of float
        Correlation between the noise of neighbouring pixels along x, and along y.
    frequencies, power : ndarray
        Radial power spectrum of the noise: mean frequency [1/A] and mean power [(grey value)^2 A^2] of each ring.
    """

    levels: np.ndarray
    variances: np.ndarray
    slope: float
    floor: float
    lag_correlation: tuple[float, float]
    frequencies: np.ndarray
    power: np.ndarray

    @property
    def gain(self) -> float:
        """Grey values per electron, for a detector that counts electrons and smears them along a line."""
        a = max(self.lag_correlation[0], 0.0)
        return self.slope * (1 + a) / (1 - a)


def noise_of(window: np.ndarray, fit: CellFit, lines: LineOffsets, step: float) -> NoiseFit:
    """Return the noise of a window: the residual from the model, in which every line has its own offset.

    Errors of the model change slowly from line to line and would otherwise count as noise. Variances and the correlation along lines are therefore
    computed from second differences between neighbouring lines. The correlation across lines and the power spectrum are computed from the whole
    residual, so both include the errors of the model.
    """
    fy, fx = np.gradient(fit.model, step)
    model = fit.model - fx * lines.offsets_angstrom[:, :1] - fy * lines.offsets_angstrom[:, 1:]
    rest = window - model
    rest = rest - rest.mean(axis=1, keepdims=True)
    fresh = (rest[:-2] - 2 * rest[1:-1] + rest[2:]) / np.sqrt(6)
    middle = (fit.model[:-2] + 4 * fit.model[1:-1] + fit.model[2:]) / 6
    edges = np.quantile(middle, np.linspace(0, 1, BINS + 1))
    index = np.clip(np.searchsorted(edges, middle, side="right") - 1, 0, BINS - 1)
    levels = np.array([middle[index == i].mean() for i in range(BINS)])
    variances = np.array([(fresh[index == i] ** 2).mean() for i in range(BINS)])
    above = levels - fit.offset
    slope, floor = np.polyfit(above, variances, 1, w=1 / np.maximum(variances, 1e-30))
    if floor < 0 or slope <= 0:  # all of it counted electrons, or none of it
        slope, floor = (float((above * variances).sum() / (above**2).sum()), 0.0) if floor < 0 else (1e-12, float(variances.mean()))
    flat = np.abs(fx[1:-1]) <= np.median(np.abs(fx))  # where the offsets of lines, which were fitted, take no part of the noise
    pairs = flat[:, 1:] & flat[:, :-1]
    across = float((rest[1:] * rest[:-1]).mean() / (rest**2).mean())
    along = (float((fresh[:, 1:] * fresh[:, :-1])[pairs].mean() / (fresh[flat] ** 2).mean()), across)
    frequencies, power = radial_power(rest, step)
    return NoiseFit(
        levels=levels, variances=variances, slope=float(slope), floor=float(floor), lag_correlation=along, frequencies=frequencies, power=power
    )


def radial_power(image: np.ndarray, step: float, rings: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean frequency [1/A] and the mean power of each ring of an image's spectrum, up to the Nyquist frequency."""
    ny, nx = image.shape
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2 * step**2 / (ny * nx)
    k = np.hypot(np.fft.fftfreq(ny, step)[:, None], np.fft.fftfreq(nx, step)).ravel()
    index = np.floor(k / (0.5 / step) * rings).astype(int)
    inside = (index < rings) & (k > 0)
    count = np.bincount(index[inside], minlength=rings)
    there = count > 0
    mean = [np.bincount(index[inside], weights=w[inside], minlength=rings)[there] / count[there] for w in (k, power.ravel())]
    return mean[0], mean[1]
