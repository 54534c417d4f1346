"""Pictures of environment states for people."""

from typing import TYPE_CHECKING

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


def _frame(axes: "Axes", counts: np.ndarray, side: float) -> None:
    low, high = np.percentile(counts, (1, 99.7))
    axes.imshow(counts, cmap="gray", extent=(0, side, side, 0), interpolation="nearest", vmin=low, vmax=max(high, low + 1))
    bar = max(b for b in (1, 2, 5, 10, 20) if b <= 0.4 * side)
    left, bottom = 0.04 * side, 0.96 * side
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
