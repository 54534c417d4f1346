"""Pictures of environment states for people."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY, AMBER, BLUE = "0.55", "#ffb000", "#648fff"
SPECTRUM_SMOOTHING = 1.0
"""Standard deviation by which a power spectrum is smoothed, reciprocal pixels."""
RESOLUTION = 0.8
"""Spatial frequencies up to 1 / this are shown, 1/A."""


def focus_picture(observation: dict[str, np.ndarray], reach: np.ndarray, *, frame: int, field_of_view: float) -> np.ndarray:
    """Return the frame and its power spectrum beside gauges of the three knobs and of the budget, uint8, shape (480, 760, 3).

    Parameters
    ----------
    observation : dict
        ``image``, ``knobs`` (A) and ``budget`` as the agent sees them; the truth is not shown.
    reach : ndarray
        How far the knobs go, A, shape (3,).
    frame : int
        Number of the frame.
    field_of_view : float
        Side of the frame, A.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.8), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    counts = observation["image"]
    _frame(figure.add_axes((0.02, 0.05, 0.57, 0.9)), counts, field_of_view)
    _spectrum(figure.add_axes((0.67, 0.56, 0.25, 0.39)), counts, field_of_view)
    _gauges(figure.add_axes((0.63, 0.2, 0.35, 0.32)), observation["knobs"], reach)
    _bars(figure.add_axes((0.63, 0.04, 0.35, 0.13)), observation["budget"])
    figure.text(0.02, 0.963, f"frame {frame}", color="white", fontsize=10)
    figure.text(0.59, 0.963, f"{counts.mean():.2f} electrons per point", color=GREY, fontsize=9, ha="right")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def microscope_picture(observation: dict[str, Any], names: tuple[str, ...], spent: dict[str, float], field_of_view: float) -> np.ndarray:
    """Return the last frames side by side over what the knobs and the stage read and what was spent, uint8, shape (420, 300 or more, 3).

    Parameters
    ----------
    observation : dict
        ``frames``, ``fresh``, ``knobs`` and ``stage`` as the agent sees them; the truth is not shown.
    names : tuple of str
        The detectors.
    spent : dict
        ``time_s``, ``electrons`` and ``moves`` so far.
    field_of_view : float
        Longer side of the frame, A.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(names)
    figure = Figure(figsize=(3 * max(count, 2), 4.2), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    for i, (name, frame) in enumerate(zip(names, observation["frames"], strict=True)):
        left = (i + 0.02) / max(count, 2)
        _frame(figure.add_axes((left, 0.32, 0.96 / max(count, 2), 0.62)), frame, field_of_view)
        figure.text(left, 0.955, f"{name}, mean {frame.mean():.1f}", color="white" if observation["fresh"][0] else GREY, fontsize=9)
    axes = figure.add_axes((0.02, 0.12, 0.96, 0.17))
    knobs = observation["knobs"]
    axes.bar(np.arange(len(knobs)), knobs, color=BLUE)
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set(ylim=(-1, 1), xlim=(-0.7, len(knobs) - 0.3))
    axes.axis("off")
    x, y, z = observation["stage"][:3]
    figure.text(0.02, 0.065, f"knobs in units of their reach   stage {x:.0f}, {y:.0f}, {z:.0f} Å", color="white", fontsize=9)
    told = f"action {spent['moves']:.0f}   {spent['time_s']:.1f} s   {spent['electrons']:.3g} electrons"
    figure.text(0.02, 0.015, told, color=GREY, fontsize=9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _frame(axes: "Axes", counts: np.ndarray, side: float) -> None:
    low, high = np.percentile(counts, (1, 99.7))
    height, width = (side * n / max(counts.shape) for n in counts.shape)
    axes.imshow(counts, cmap="gray", extent=(0, width, height, 0), interpolation="nearest", vmin=low, vmax=max(high, low + 1))
    bar = max(b for b in (1, 2, 5, 10, 20, 50, 100) if b <= 0.4 * side)
    left, bottom = 0.04 * width, 0.96 * height
    for colour, width in (("black", 7), ("white", 4)):
        axes.plot([left, left + bar], [bottom, bottom], color=colour, lw=width, solid_capstyle="butt")
    text = axes.text(left, bottom - 0.02 * side, f"{bar} Å", color="white", va="bottom", fontsize=11)
    text.set_bbox({"facecolor": "black", "alpha": 0.5, "pad": 2, "edgecolor": "none"})
    axes.axis("off")


def _spectrum(axes: "Axes", counts: np.ndarray, side: float) -> None:
    """Draw the power spectrum over that of counting noise alone, which is 1 everywhere: what stands out is the lattice."""
    from scipy.ndimage import gaussian_filter

    values = counts - counts.mean()
    values = values * np.outer(np.hanning(len(counts)), np.hanning(counts.shape[1]))
    power = np.fft.fftshift(np.abs(np.fft.fft2(values)) ** 2)
    power = gaussian_filter(power / max(np.median(power), 1e-12), SPECTRUM_SMOOTHING)
    half = counts.shape[0] // 2
    shown = min(half, round(side / RESOLUTION))
    part = np.log1p(power[half - shown : half + shown + 1, half - shown : half + shown + 1])
    k = shown / side
    axes.imshow(part, cmap="magma", extent=(-k, k, k, -k), interpolation="bilinear")
    axes.plot([-0.9 * k, -0.9 * k + 0.5], [0.9 * k] * 2, color="white", lw=2)
    axes.text(-0.9 * k, 0.82 * k, "0.5 /Å", color="white", fontsize=8)
    axes.set_title("power spectrum", color=GREY, fontsize=9, pad=3)
    axes.axis("off")


def _gauges(axes: "Axes", knobs: np.ndarray, reach: np.ndarray) -> None:
    for i, (name, value, end) in enumerate(zip(("C10", "C12a", "C12b"), knobs, reach, strict=True)):
        axes.plot([-1, 1], [-i, -i], color="0.3", lw=5, solid_capstyle="round")
        axes.plot([0, 0], [-i - 0.16, -i + 0.16], color=GREY, lw=1)
        axes.plot([0, value / end], [-i, -i], color=AMBER, lw=3)
        axes.plot(value / end, -i, "o", color=AMBER, ms=10)
        axes.text(-1.1, -i, name, color="white", fontsize=10, ha="right", va="center")
        axes.text(1.1, -i, f"{value:+.0f} Å", color="white", fontsize=10, va="center")
    axes.set_title("knobs since the start", color=GREY, fontsize=9, pad=2)
    axes.set(xlim=(-1.75, 1.75), ylim=(-2.5, 0.5))
    axes.axis("off")


def _bars(axes: "Axes", budget: np.ndarray) -> None:
    for i, (name, left) in enumerate(zip(("frames left", "dose left"), budget, strict=True)):
        axes.barh(-i, 1, color="0.25", height=0.5)
        axes.barh(-i, left, color=BLUE, height=0.5)
        axes.text(-0.03, -i, name, color="white", fontsize=9, ha="right", va="center")
        axes.text(1.03, -i, f"{left:.0%}", color="white", fontsize=9, va="center")
    axes.set(xlim=(-0.55, 1.3), ylim=(-1.5, 0.5))
    axes.axis("off")
