"""Comparison of a measured micrograph with the twin at matched conditions.

The cell of each named sample is simulated once and fitted to a window of the image. The fit determines the knobs, which are these settings of the
twin: source size, detector chain (gain, offset, read noise, lag), dose, line jitter and wander, and drift. The twin's microscope then takes the same
frame, and the same quantities are measured in the frame and in the image. The baselines of ``atoms-2d`` and ``atoms-2d@2`` run unchanged on both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from stemtwin.benchmarks import micrograph_fit, twin_answers
from stemtwin.benchmarks.micrograph_fit import CellFit, CellSignal, LineOffsets, NoiseFit
from stemtwin.benchmarks.twin_answers import TwinConditions
from stemtwin.twin.errors import DatasetError, SettingsError
from stemtwin.twin.instrument.hardware.drift import Instabilities
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.hardware.readout_chain import DetectorChain
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation.simulate import simulate
from stemtwin.twin.physics.electrons import ELEMENTARY_CHARGE
from stemtwin.twin.samples.columns import projected_columns
from stemtwin.twin.samples.sample import Sample

ANSWERED = 128
"""Edge of the square that baselines receive (px) as in their dataset."""
WINDOW = 64
CANDIDATES = (2, 4)
"""Numbers of windows along y and x in which a sample is searched for."""
CELL_STEP = 0.12
"""Step of the simulated cell, A."""
SPECIES_SIGMA = 0.25
"""Width of the Gaussian with which the brightness of a column is measured, A."""
VISIBLE = 0.2
"""Least weight of a scored column as a fraction of the largest weight, as in ``atoms-2d``."""
DARKEST = 0.05
"""Fraction of the pixels, the darkest ones of the model, that is the background."""
LOW_POWER, HIGH_POWER = (0.0, 0.5), (2.0, 3.3)
"""Bands of frequency in which noise power is reported, 1/A."""
SAME = 0.2
"""Relative difference up to which two values agree."""
LEAST_DIFFERENCE = {"A": 0.02, "1": 0.03}
"""Absolute differences by unit up to which two values agree, whatever their relative difference."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowMeasurement:
    """Quantities measured in a window.

    Parameters
    ----------
    window : ndarray
        (ny, nx) grey values.
    fit : CellFit
        Fit of the cell to the window.
    lines : LineOffsets
        Offsets of the scan lines.
    noise : NoiseFit
        Noise of the window.
    contrast : dict
        Brightness of every kind of column above the background, relative to the brightest kind.
    """

    window: np.ndarray
    fit: CellFit
    lines: LineOffsets
    noise: NoiseFit
    contrast: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleComparison:
    """Comparison of a sample in the twin with a window of a measured image.

    Parameters
    ----------
    name : str
        Name of the sample.
    region : tuple of int
        First row and column, height and width of the window, px.
    measured, twin : WindowMeasurement
        Measurements of the image and of the twin's frame.
    knobs : dict
        Settings of the twin by name.
    answers : dict
        Answers of each baseline to the image and to the twin's frame, by the name of the baseline.
    square, twin_square : ndarray
        Squares of the image and of the twin's frame that the baselines receive, grey values.
    square_region : tuple of int
        Region of the square in the image, px.
    """

    name: str
    region: tuple[int, int, int, int]
    measured: WindowMeasurement
    twin: WindowMeasurement
    knobs: dict[str, float]
    answers: dict[str, dict[str, Any]]
    square: np.ndarray
    twin_square: np.ndarray
    square_region: tuple[int, int, int, int]


def simulate_cell(sample: Sample, conditions: TwinConditions) -> CellSignal:
    """Return the expected signal of a sample's cell under a point source.

    Raises
    ------
    SettingsError
        The sample is not periodic, so its cell cannot be repeated over an image.
    """
    if not sample.periodic:
        message = f"The sample {sample.name!r} is not periodic, but its cell must be repeated over the image. Give a crystal."
        raise SettingsError(message)
    ny, nx = (max(16, math.ceil(length / CELL_STEP)) for length in sample.size_angstrom)
    beam = Beam(energy_ev=conditions.energy_ev, semiangle_mrad=conditions.semiangle_mrad, aberrations=conditions.aberrations())
    scan = RasterScan(shape=(ny, nx), field_of_view_angstrom=sample.size_angstrom)
    found = simulate(sample, beam, scan, detectors=(conditions.detector(),), seed=conditions.seed)
    return CellSignal(values=found["haadf"].to_numpy().astype(float), size_angstrom=sample.size_angstrom)


def check_window(window: int) -> int:
    """Return the edge of a window, px; raise SettingsError if it is too small for a fit, or larger than the square that baselines receive."""
    if not micrograph_fit.LEAST_WINDOW <= window <= ANSWERED:
        message = f"window={window} must be from {micrograph_fit.LEAST_WINDOW} to {ANSWERED} px. Give a number in between."
        raise SettingsError(message)
    return window


def find_region(image: np.ndarray, step: float, cell: CellSignal, window: int, say: Say) -> tuple[int, int, int, int]:
    """Return the window of an image that a cell fits best: first row and column, height and width, px.

    A coarse grid of windows gives the rotation and the scale. A finer grid over the whole image is then searched with these values.
    """
    height, width = (min(window, length) for length in image.shape)
    rows, columns = ([round(p) for p in np.linspace(0, n - w, c)] for n, w, c in zip(image.shape, (height, width), CANDIDATES, strict=True))
    best: tuple[float, tuple[int, int], CellFit | None] = (-1.0, (0, 0), None)
    for number, (row, column) in enumerate((r, c) for r in dict.fromkeys(rows) for c in dict.fromkeys(columns)):
        say(f"searches for the cell in window {number + 1}")
        value, start = micrograph_fit.search(image[row : row + height, column : column + width], step, cell)
        if value > best[0]:
            best = (value, (row, column), start)
    if best[2] is None:
        message = f"The cell correlates nowhere with the image of {image.shape[0]} x {image.shape[1]} px. Check the sample and the pixel size."
        raise DatasetError(message)
    turn = ((best[2].rotation_rad, math.sqrt(abs(np.linalg.det(best[2].matrix)))),)
    say("searches all windows with the fitted rotation")
    steps = [sorted({*range(0, n - w + 1, max(w // 4, 1)), n - w}) for n, w in zip(image.shape, (height, width), strict=True)]
    scored = [(micrograph_fit.search(image[r : r + height, c : c + width], step, cell, turn)[0], r, c) for r in steps[0] for c in steps[1]]
    _, row, column = max(scored)
    return row, column, height, width


def measure(window: np.ndarray, step: float, cell: CellSignal, sample: Sample, start: CellFit | None = None) -> WindowMeasurement:
    """Fit a sample's cell to a window, and measure lattice, blur, line offsets, noise and contrast."""
    fit = micrograph_fit.refine(window, step, cell, start or micrograph_fit.search(window, step, cell)[1])
    lines = micrograph_fit.line_offsets(window, fit, step)
    noise = micrograph_fit.noise_of(window, fit, lines, step)
    return WindowMeasurement(window=window, fit=fit, lines=lines, noise=noise, contrast=contrast_of(window, fit, sample, step))


def columns_in(fit: CellFit, sample: Sample, shape: tuple[int, int], step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a sample's columns in a fitted window: positions x, y [px] (n, 2), species (n,), and a mask (n,), True for scored columns."""
    columns = projected_columns(sample)
    corners = np.array([[0, 0], [shape[1] - 1, 0], [0, shape[0] - 1], [shape[1] - 1, shape[0] - 1]], dtype=float)
    middle = np.array([shape[1] - 1, shape[0] - 1]) / 2
    u = (corners - middle) * step @ fit.matrix.T + fit.shift
    box = np.array(sample.size_angstrom[::-1])
    low, high = np.floor(u.min(axis=0) / box).astype(int) - 1, np.ceil(u.max(axis=0) / box).astype(int) + 1
    cells = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1).reshape(-1, 2) * box
    places = (cells[:, None] + np.stack([columns.x, columns.y], axis=1)).reshape(-1, 2)
    pixels = (places - fit.shift) @ np.linalg.inv(fit.matrix).T / step + middle
    inside = np.all((pixels >= -0.5) & (pixels <= np.array(shape[::-1]) - 0.5), axis=1)
    asked = columns.weight >= VISIBLE * columns.weight.max()
    return pixels[inside], np.tile(np.array(columns.species), len(cells))[inside], np.tile(asked, len(cells))[inside]


def contrast_of(window: np.ndarray, fit: CellFit, sample: Sample, step: float) -> dict[str, float]:
    """Return the brightness of each kind of column above the background, relative to the brightest kind."""
    places, species, _ = columns_in(fit, sample, window.shape, step)
    smooth = gaussian_filter(window, SPECIES_SIGMA / step)
    read = map_coordinates(smooth, places[:, ::-1].T, order=1, mode="nearest")
    background = float(window[fit.model <= np.quantile(fit.model, DARKEST)].mean())
    heights = {str(kind): float(read[species == kind].mean()) - background for kind in np.unique(species)}
    brightest = max(heights.values(), default=1.0)
    return {kind: height / brightest for kind, height in sorted(heights.items(), key=lambda one: -one[1])}


def knobs_of(measured: WindowMeasurement, step: float, conditions: TwinConditions) -> dict[str, float]:
    """Return the knobs (settings of the twin) that follow from the measurement of a window."""
    fit, noise, lines = measured.fit, measured.noise, measured.lines
    x, y, shear = fit.distortion
    gain = max(noise.gain, abs(fit.slope) * 1e-7)
    lag = noise.lag_correlation[0]
    electrons = abs(fit.slope) / gain
    return {
        "pixel_size_angstrom": step * x,
        "rotation_rad": fit.rotation_rad,
        "source_size_angstrom": fit.blur_angstrom,
        "electrons_per_pixel": electrons,
        "dose_e_per_angstrom2": electrons / (step * x) ** 2,
        "gain_adu": gain,
        "offset_adu": fit.offset,
        "read_noise_adu": math.sqrt(max(noise.floor, 0.0)),
        "lag_us": -conditions.dwell_time_us / math.log(lag) if 0 < lag < 1 else 0.0,
        "line_jitter_angstrom": float(np.sqrt(np.mean(np.square(lines.jitter_angstrom)))),
        "line_wander_angstrom": float(np.sqrt(np.mean(np.square(lines.wander_angstrom)))),
        "drift_x_angstrom_per_line": -shear * step,
        "drift_y_angstrom_per_line": -(y - x) * step,
    }


def image_again(
    sample: Sample, fit: CellFit, knobs: dict[str, float], conditions: TwinConditions, shape: tuple[int, int], aside: np.ndarray
) -> np.ndarray:
    """Return the frame that the twin takes with the fitted knobs, grey values (ny, nx).

    Parameters
    ----------
    sample : Sample
        The sample.
    fit : CellFit
        Fit of the window.
    knobs : dict
        From :func:`knobs_of`.
    conditions : TwinConditions
        Conditions that are not fitted.
    shape : tuple of int
        Size of the frame, px.
    aside : ndarray
        Offset of the frame's centre from the window's centre, x and y, A, computed with the nominal pixel size of the image.
    """
    pitch, angle, dwell = knobs["pixel_size_angstrom"], knobs["rotation_rad"], conditions.dwell_time_us
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    line_s = shape[1] * dwell * 1e-6
    vx, vy = turned @ np.array([knobs["drift_x_angstrom_per_line"], knobs["drift_y_angstrom_per_line"]]) / line_s
    centre = fit.shift + fit.matrix @ aside + np.array([vx, vy]) * line_s * shape[0] / 2
    scan = RasterScan(
        shape=shape,
        field_of_view_angstrom=(shape[0] * pitch, shape[1] * pitch),
        origin_angstrom=tuple((centre - pitch * (np.array(shape[::-1]) - 1) / 2).tolist()),
        rotation_rad=angle,
    )
    scope = Microscope(sample, instrument=_profile(knobs, conditions, (vy, vx)), seed=conditions.seed)
    scope.set(
        C10=conditions.C10_angstrom,
        current_pa=knobs["electrons_per_pixel"] * ELEMENTARY_CHARGE / (dwell * 1e-6) * 1e12,
        source_size_angstrom=knobs["source_size_angstrom"],
    )
    return scope.acquire(scan, dwell_time_us=dwell, detectors=(conditions.detector(),))["haadf"].to_numpy().astype(float)


def _profile(knobs: dict[str, float], conditions: TwinConditions, drift: tuple[float, float]) -> Profile:
    """Return an instrument with the residual aberrations of a profile, and scan, drift and detector as fitted."""
    chain = DetectorChain(
        gain_adu=knobs["gain_adu"], offset_adu=knobs["offset_adu"], read_noise_adu=knobs["read_noise_adu"], bits=0, lag_us=knobs["lag_us"]
    )
    return replace(
        PROFILES["ideal"],
        energy_ev=conditions.energy_ev,
        semiangle_mrad=conditions.semiangle_mrad,
        residual=PROFILES[conditions.instrument].residual,
        max_current_pa=math.inf,
        chains=(("", chain),),
        imperfections=ScanImperfections(
            line_jitter_angstrom=knobs["line_jitter_angstrom"], line_wander_angstrom=knobs["line_wander_angstrom"], line_wander_lines=10.0
        ),
        instabilities=Instabilities(drift_angstrom_per_s=drift),
    )


def compare(
    image: np.ndarray,
    step: float,
    sample: Sample,
    conditions: TwinConditions,
    *,
    region: tuple[int, int, int, int] | None = None,
    window: int = WINDOW,
    progress: Say | None = None,
) -> SampleComparison:
    """Compare an image with a sample in the twin.

    Parameters
    ----------
    image : ndarray
        (ny, nx) grey values.
    step : float
        Nominal size of the square pixels, A.
    sample : Sample
        A periodic sample, a few cells wide.
    conditions : TwinConditions
        Conditions that are not fitted.
    region : tuple of int, optional
        First row and column, height and width of the window, px; by default the square with an edge of ``window`` px that the cell fits best.
    window : int
        Edge of the square window that is fitted if ``region`` is not given, px.
    progress : callable, optional
        Called with a description of each step.

    Raises
    ------
    DatasetError
        The region lies outside the image, or the cell fits nowhere.
    SettingsError
        The sample is not periodic, or the window is too small.
    """
    say: Say = progress or (lambda _: None)
    if region is not None:
        _check_region(region, image.shape)
    say("the cell is simulated")
    cell = simulate_cell(sample, conditions)
    top, left, height, width = region or find_region(image, step, cell, window, say)
    say("the cell is fitted")
    measured = measure(image[top : top + height, left : left + width].astype(float), step, cell, sample)
    return beside_twin(image, step, sample, conditions, cell, (top, left, height, width), measured, say)


def beside_twin(
    image: np.ndarray,
    step: float,
    sample: Sample,
    conditions: TwinConditions,
    cell: CellSignal,
    region: tuple[int, int, int, int],
    measured: WindowMeasurement,
    say: Say,
) -> SampleComparison:
    """Return the comparison of a measured window with the twin's frame, taken with the knobs from the fit; see :func:`compare`."""
    top, left, height, width = region
    knobs = knobs_of(measured, step, conditions)
    first, size = square_about(region, image.shape)
    square = image[first[0] : first[0] + size[0], first[1] : first[1] + size[1]].astype(float)
    aside = step * np.array([first[1] + (size[1] - 1) / 2 - left - (width - 1) / 2, first[0] + (size[0] - 1) / 2 - top - (height - 1) / 2])
    say("the twin takes the frame")
    again = image_again(sample, measured.fit, knobs, conditions, size, aside)
    inner = again[top - first[0] :, left - first[1] :][:height, :width]
    say("the frame is measured")
    twin = measure(inner, step, cell, sample, start=measured.fit)
    say("the baselines answer")
    places, _, asked = columns_in(measured.fit, sample, (height, width), step)
    known = twin_answers.KnownColumns(places=places, asked=asked, corner=(top - first[0], left - first[1]), shape=(height, width))
    answers = twin_answers.answer_both(known, square, again, knobs, conditions, step)
    return SampleComparison(
        name=sample.name,
        region=region,
        measured=measured,
        twin=twin,
        knobs=knobs,
        answers=answers,
        square=square,
        twin_square=again,
        square_region=(first[0], first[1], *size),
    )


def square_about(region: tuple[int, int, int, int], shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the first row and column, and the height and width, of the square around a window. The baselines receive this square.

    Each side has 128 px, fewer if the image is smaller, or more if the window is larger.
    """
    size = (max(min(ANSWERED, shape[0]), region[2]), max(min(ANSWERED, shape[1]), region[3]))
    first = [min(max(at + (part - n) // 2, 0), whole - n) for at, part, n, whole in zip(region[:2], region[2:], size, shape, strict=True)]
    return (first[0], first[1]), size


def _check_region(region: tuple[int, int, int, int], shape: tuple[int, ...]) -> None:
    """Raise DatasetError where a region is not inside an image."""
    top, left, height, width = region
    if min(region) < 0 or min(height, width) < 1 or top + height > shape[0] or left + width > shape[1]:
        message = f"The region {region} (first row and column, height, width) exceeds the image of {shape[0]} x {shape[1]} px. Give one inside it."
        raise DatasetError(message)


def quantities(measurement: WindowMeasurement, step: float) -> dict[str, tuple[float, str]]:
    """Return the numbers of a measurement by name, each with its unit."""
    fit, lines, noise = measurement.fit, measurement.lines, measurement.noise
    x, y, shear = fit.distortion
    low, high = (noise.power[(noise.frequencies >= a) & (noise.frequencies < b)].mean() for a, b in (LOW_POWER, HIGH_POWER))
    return {
        "pixel size along x": (step * x, "A"),
        "pixel size along y": (step * y, "A"),
        "shear of 100 lines": (100 * shear * step, "A"),
        "rotation": (math.degrees(fit.rotation_rad), "deg"),
        "blur": (fit.blur_angstrom, "A"),
        **{f"contrast of {kind}": (value, "1") for kind, value in list(measurement.contrast.items())[1:]},
        "residual / signal (rms)": (float((measurement.window - fit.model).std() / fit.model.std()), "1"),
        "grey values for an electron": (noise.gain, "grey"),
        "noise without signal (rms)": (math.sqrt(max(noise.floor, 0.0)), "grey"),
        "noise correlation along x": (noise.lag_correlation[0], "1"),
        "noise correlation along y": (noise.lag_correlation[1], "1"),
        f"noise power below {LOW_POWER[1]:g} 1/A": (float(low), "grey^2 A^2"),
        f"noise power from {HIGH_POWER[0]:g} 1/A": (float(high), "grey^2 A^2"),
        "line jitter along x": (lines.jitter_angstrom[0], "A"),
        "line jitter along y": (lines.jitter_angstrom[1], "A"),
        "line wander along x": (lines.wander_angstrom[0], "A"),
        "line wander along y": (lines.wander_angstrom[1], "A"),
    }


def agrees(measured: float, twin: float, unit: str) -> bool:
    """Return True if two values agree within 20 %, or within the absolute tolerance of their unit."""
    return abs(measured - twin) <= max(SAME * max(abs(measured), abs(twin)), LEAST_DIFFERENCE.get(unit, 0.0))


def as_values(comparison: SampleComparison, step: float) -> dict[str, Any]:
    """Return a comparison as plain values, for JSON."""
    pairs = [quantities(one, step) for one in (comparison.measured, comparison.twin)]
    rows = [
        {"quantity": name, "unit": unit, "measured": value, "twin": pairs[1][name][0], "agrees": agrees(value, pairs[1][name][0], unit)}
        for name, (value, unit) in pairs[0].items()
        if name in pairs[1]
    ]
    answers = {
        name: {key: {k: v for k, v in part.items() if k != "positions"} if isinstance(part, dict) else part for key, part in one.items()}
        for name, one in comparison.answers.items()
    }
    return {"sample": comparison.name, "region": list(comparison.region), "knobs": comparison.knobs, "quantities": rows, "baselines": answers}
