"""Pictures of environment states for people: the agent's observations, never the truth."""

from collections.abc import Mapping, Sequence

import numpy as np

from stemtwin.twin.envs.canvas import AMBER, GREY, WHITE, Area, PictureCanvas, amount, coloured
from stemtwin.twin.envs.control_panel import Reading
from stemtwin.twin.envs.image_features import power_over_noise, stretched

SPECTRUM_SMOOTHING = 1.0
"""Standard deviation by which a power spectrum is smoothed, reciprocal pixels."""
FRAME_SMOOTHING = 2.0
"""Standard deviation by which the small frame is smoothed, pixels."""
RESOLUTION = 0.8
"""Inverse of the largest spatial frequency that is shown, A."""
KNOBS = ("C10", "C12a", "C12b")
FOCUS_SIZE = (760, 480)
WIDTH, FRAME_SIDE, COLUMNS, ROW = 860, 412, 4, 16
"""Layout of the picture of the microscope: smallest width (pixels), largest side of a frame (pixels), number of columns of
knobs, and height of a row of knobs, pixels."""
COLOURS = {"beam": (90, 200, 160), "detectors": (230, 110, 150), "stage": (190, 150, 255)}
"""Colours of the groups of knobs other than optics."""


def focus_picture(
    observation: Mapping[str, np.ndarray],
    reach: np.ndarray,
    *,
    frame: int,
    field_of_view: float,
    dose: float,
    path: Sequence[np.ndarray] = (),
    note: str = "",
) -> np.ndarray:
    """Draw a frame and its power spectrum beside gauges of the knobs and the budget; return uint8, shape (480, 760, 3).

    Parameters
    ----------
    observation : mapping
        The agent's observation: ``image`` in electrons, ``knobs`` (A) and ``budget``. The picture does not show the truth.
    reach : ndarray
        Largest absolute values of the knobs, A, shape (3,).
    frame : int
        Number of the frame.
    field_of_view : float
        Longer side of the frame, A.
    dose : float
        Dose so far, e-/A^2.
    path : sequence of ndarray
        Earlier values of the knobs, A, oldest first; the last entry contains the values before the last action.
    note : str
        Text beside the number of the frame.
    """
    canvas = PictureCanvas(*FOCUS_SIZE)
    counts = np.asarray(observation["image"])
    height, width = (round(434 * n / max(counts.shape)) for n in counts.shape)
    canvas.text(14, 23, f"frame {frame}", size=17)
    canvas.text(92, 23, note, colour=GREY)
    canvas.text(448, 23, f"{counts.mean():.2f} electrons per point", colour=GREY, anchor="rs")
    top = 34 + (434 - height) / 2
    canvas.frame(counts, (14, top, 14 + width, top + height), field_of_view)
    canvas.text(536, 25, "smoothed", colour=GREY, size=11, anchor="ms")
    _smoothed(canvas, counts, (468, 34, 604, 170))
    canvas.text(680, 25, "power spectrum", colour=GREY, size=11, anchor="ms")
    _spectrum(canvas, counts, field_of_view, (612, 34, 748, 170))
    _gauges(canvas, np.asarray(observation["knobs"]), reach, path)
    rows = zip(("frames left", "dose left"), (float(left) for left in observation["budget"]), strict=False)
    for number, (name, left) in enumerate(rows):
        _budget(canvas, 396 + 26 * number, name, left)
    canvas.text(607, 458, f"dose {amount(dose)} electrons/Å²", colour=GREY, anchor="ms")
    return canvas.array()


def microscope_picture(
    frames: Mapping[str, np.ndarray],
    readings: Sequence[Reading],
    *,
    spent: Mapping[str, float],
    left: Mapping[str, float],
    field_of_view: float,
    fresh: bool,
) -> np.ndarray:
    """Draw the last frames side by side above all knobs and costs; return uint8, shape (height, 860 or more, 3).

    Parameters
    ----------
    frames : mapping
        The last frame of each detector in electrons.
    readings : sequence of Reading
        Readings of knobs and stage. The picture does not show the truth.
    spent : mapping
        ``time_s``, ``electrons``, ``dose_e_per_angstrom2`` and ``moves`` so far.
    left : mapping
        Remaining fraction of each budget, by name of the budget.
    field_of_view : float
        Longer side of the frames, A.
    fresh : bool
        Whether the last action acquired these frames.
    """
    ny, nx = next(iter(frames.values())).shape
    high, wide = (round(FRAME_SIDE * n / max(ny, nx)) for n in (ny, nx))
    columns = _columns(readings)
    rows = max(sum(1 + len(group) for _, group in column) for column in columns)
    width, top = max(WIDTH, 12 * (len(frames) + 1) + wide * len(frames)), 66 + high
    canvas = PictureCanvas(width, top + ROW * rows + 52)
    canvas.text(14, 23, f"action {spent['moves']:.0f}", size=17)
    told = f"{spent['time_s']:.1f} s    {amount(spent['electrons'])} electrons    {amount(spent['dose_e_per_angstrom2'])} electrons/Å²"
    canvas.text(width - 14, 23, told, colour=GREY, anchor="rs")
    for number, (name, image) in enumerate(frames.items()):
        x = 12 + (wide + 12) * number
        canvas.text(x + 2, 46, name, colour=WHITE if fresh else GREY, size=14)
        about = f"{image.mean():.3g} electrons per point" + ("" if fresh else ", not new")
        canvas.text(x + wide - 2, 46, about, colour=GREY, size=12, anchor="rs")
        canvas.frame(image, (x, 52, x + wide, 52 + high), field_of_view)
    each = (width - 24) / COLUMNS
    for number, column in enumerate(columns):
        _column(canvas, 14 + each * number, top, each - 14, column)
    for number, (name, share) in enumerate(left.items()):
        x, y = 14 + (width - 24) / 2 * number, top + ROW * rows + 34
        canvas.text(x, y, f"{name} left", size=12)
        canvas.share((x + 84, y - 9, x + (width - 24) / 2 - 62, y), share)
        canvas.text(x + (width - 24) / 2 - 54, y, f"{share:.0%}", size=12)
    return canvas.array()


def _smoothed(canvas: PictureCanvas, counts: np.ndarray, box: Area) -> None:
    """Draw the frame with its noise smoothed away."""
    from scipy.ndimage import gaussian_filter

    ny, nx = counts.shape
    left, top, right, bottom = box
    wide, high = ((right - left) * n / max(ny, nx) for n in (nx, ny))
    x, y = (left + right - wide) / 2, (top + bottom - high) / 2
    smooth = gaussian_filter(counts.astype(np.float32), FRAME_SMOOTHING)
    canvas.paste(stretched(smooth), (x, y, x + wide, y + high), smooth=True)


def _spectrum(canvas: PictureCanvas, counts: np.ndarray, side: float, box: Area) -> None:
    """Draw the power spectrum relative to noise, in which the lattice stands out from 1."""
    from scipy.ndimage import gaussian_filter

    ny, nx = counts.shape
    power = gaussian_filter(power_over_noise(counts), SPECTRUM_SMOOTHING)
    pixel = [side * n / max(ny, nx) for n in (ny, nx)]  # frequencies are multiples of 1 / this
    shown = [min(n // 2 - 1, round(length / RESOLUTION)) for n, length in zip((ny, nx), pixel, strict=True)]
    rows, columns = (slice(n // 2 - m, n // 2 + m + 1) for n, m in zip((ny, nx), shown, strict=True))
    left, _, right, bottom = box
    canvas.paste(coloured(np.log1p(power[rows, columns])), box, smooth=True)
    scale = (right - left) / (2 * shown[1] + 1) * pixel[1]  # pixels of the picture per 1/A
    bar = max((b for b in (0.05, 0.1, 0.2, 0.5, 1.0) if b * scale <= 0.4 * (right - left)), default=0.05)
    canvas.draw.rectangle((left + 10, bottom - 14, left + 10 + bar * scale, bottom - 12), fill=WHITE)
    canvas.text(left + 10, bottom - 18, f"{bar:g} /Å", size=11)


def _gauges(canvas: PictureCanvas, knobs: np.ndarray, reach: np.ndarray, path: Sequence[np.ndarray]) -> None:
    """Draw the knobs since the start, their earlier values, and the changes of the last action."""
    canvas.text(607, 213, "knobs since the start", colour=GREY, anchor="ms")
    for i, (name, value, end) in enumerate(zip(KNOBS, knobs, reach, strict=True)):
        y = 246 + 48 * i
        trail = tuple(float(past[i] / end) for past in path)
        canvas.text(470, y + 5, name, size=13)
        canvas.gauge((522, y - 8, 676, y + 8), float(value / end), trail=trail)
        canvas.text(746, y + 5, f"{value:+.0f} Å", size=13, anchor="rs")
        if path:
            change = float(value - path[-1][i])
            canvas.text(746, y + 19, f"{change:+.0f} Å", colour=AMBER if abs(change) >= 0.5 else GREY, size=11, anchor="rs")


def _budget(canvas: PictureCanvas, y: float, name: str, left: float) -> None:
    canvas.text(470, y + 5, name)
    canvas.share((556, y - 5, 690, y + 5), left)
    canvas.text(746, y + 5, f"{left:.0%}", anchor="rs")


def _columns(readings: Sequence[Reading]) -> list[list[tuple[str, list[Reading]]]]:
    """Return the groups of readings in columns of similar length, without dividing a group."""
    groups: dict[str, list[Reading]] = {}
    for reading in readings:
        groups.setdefault(reading.group, []).append(reading)
    most = max(1 + len(group) for group in groups.values())
    while True:
        columns: list[list[tuple[str, list[Reading]]]] = [[]]
        for name, group in groups.items():
            if columns[-1] and sum(1 + len(each) for _, each in columns[-1]) + 1 + len(group) > most:
                columns.append([])
            columns[-1].append((name, group))
        if len(columns) <= COLUMNS:
            return columns
        most += 1


def _column(canvas: PictureCanvas, x: float, y: float, width: float, column: list[tuple[str, list[Reading]]]) -> None:
    """Draw groups of readings below each other, each with a title and a gauge with name and value per reading."""
    for title, group in column:
        canvas.text(x, y + 11, title, colour=COLOURS.get(title, AMBER), size=12)
        y += ROW
        for reading in group:
            colour = COLOURS.get(reading.group, AMBER)
            canvas.text(x, y + 10, reading.name, colour=WHITE, size=10)
            canvas.bar((x + 80, y + 2, x + width - 60, y + 10), reading.value, colour)
            canvas.text(x + width, y + 10, reading.text, colour=GREY, size=10, anchor="rs")
            y += ROW
