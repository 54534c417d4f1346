"""Pictures of frames for people: micrographs with a scale bar."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Lengths of scale bars, A."""


def show(axes: "Axes", frame: xr.DataArray, *, title: str = "") -> None:
    """Draw one frame (dims y, x; coordinates in A) with a scale bar on matplotlib axes."""
    y, x = frame["y"].to_numpy(), frame["x"].to_numpy()
    dy = y[1] - y[0] if len(y) > 1 else 1.0
    dx = x[1] - x[0] if len(x) > 1 else 1.0
    height, width = dy * len(y), dx * len(x)
    values = frame.to_numpy().astype(float)
    low, high = np.percentile(values, (0.1, 99.9))
    axes.imshow(values, cmap="gray", extent=(0, width, height, 0), vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest")
    bar = max((b for b in BARS if b <= 0.35 * width), default=BARS[0])
    left, bottom = 0.05 * width, height - 0.05 * height
    axes.plot([left, left + bar], [bottom, bottom], color="black", lw=6, solid_capstyle="butt")
    axes.plot([left, left + bar], [bottom, bottom], color="white", lw=4, solid_capstyle="butt")
    text = axes.text(left, bottom - 0.02 * height, f"{bar / 10:g} nm" if bar >= 10 else f"{bar} Å", color="white", va="bottom", fontsize=10)
    text.set_bbox({"facecolor": "black", "alpha": 0.35, "pad": 1.5, "edgecolor": "none"})
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def micrographs(frames: Sequence[tuple[str, xr.DataArray]], *, columns: int = 0, caption: str = "") -> "Figure":
    """Return a figure of frames side by side.

    Parameters
    ----------
    frames : sequence of (str, xarray.DataArray)
        A title and a frame, dims (y, x), coordinates in A.
    columns : int
        Frames in a row; 0: all of them.
    caption : str
        A line below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns or len(frames)
    rows = -(-len(frames) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.9 * rows + (0.35 if caption else 0)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(frames) :]:
        axis.axis("off")
    for axis, (title, frame) in zip(axes, frames, strict=False):
        show(axis, frame, title=title)
    if caption:
        figure.supxlabel(caption, fontsize=9)
    return figure


def save_png(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG, whole or not at all, and return the path."""
    import io

    from stemtwin.twin.files import check_writable, write_atomically

    check_writable(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())
    return path
