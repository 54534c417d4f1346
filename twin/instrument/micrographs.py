"""Figures of results: micrographs with a scale bar, diffraction patterns, and spectra. Colour bars state their units."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

BARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Lengths of scale bars, A."""
UNITS = {"electrons": "electrons per pixel", "counts": "counts per pixel", "angstrom": "Å", "1/angstrom^2": "atoms per Å²"}
"""Labels of colour bars by the unit of a frame. A frame of the unit "1" is labelled with its name, and any other unit is its own label."""
PATTERN_GAMMA = 0.4
"""Exponent of the grey levels of diffraction patterns, which makes weak beams visible beside the direct one."""


def show(axes: "Axes", frame: xr.DataArray, *, title: str = "") -> None:
    """Draw one frame (dims y, x; coordinates in A) with a scale bar, and with a colour bar if the frame has a unit."""
    y, x = frame["y"].to_numpy(), frame["x"].to_numpy()
    dy = y[1] - y[0] if len(y) > 1 else 1.0
    dx = x[1] - x[0] if len(x) > 1 else 1.0
    height, width = dy * len(y), dx * len(x)
    values = frame.to_numpy().astype(float)
    low, high = np.percentile(values, (0.1, 99.9))
    drawn = axes.imshow(values, cmap="gray", extent=(0, width, height, 0), vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest")
    bar = max((b for b in BARS if b <= 0.35 * width), default=BARS[0])
    left, bottom = 0.05 * width, height - 0.05 * height
    axes.plot([left, left + bar], [bottom, bottom], color="black", lw=6, solid_capstyle="butt")
    axes.plot([left, left + bar], [bottom, bottom], color="white", lw=4, solid_capstyle="butt")
    text = axes.text(left, bottom - 0.02 * height, f"{bar / 10:g} nm" if bar >= 10 else f"{bar} Å", color="white", va="bottom", fontsize=10)
    text.set_bbox({"facecolor": "black", "alpha": 0.35, "pad": 1.5, "edgecolor": "none"})
    axes.set_title(title, fontsize=10)
    axes.axis("off")
    _colour_bar(axes, drawn, frame)


def show_pattern(axes: "Axes", pattern: xr.DataArray, *, title: str = "") -> None:
    """Draw one diffraction pattern (dims ky, kx; coordinates in mrad) with compressed grey levels and a colour bar."""
    from matplotlib.colors import PowerNorm

    ky, kx = pattern["ky"].to_numpy(), pattern["kx"].to_numpy()
    sides = [(k[0] - (k[1] - k[0]) / 2, k[-1] + (k[1] - k[0]) / 2) for k in (kx, ky)]
    values = pattern.to_numpy().astype(float)
    norm = PowerNorm(PATTERN_GAMMA, vmin=0, vmax=max(float(values.max()), 1e-12))
    drawn = axes.imshow(values, cmap="gray", extent=(*sides[0], *sides[1][::-1]), norm=norm, interpolation="nearest")
    axes.set_title(title, fontsize=10)
    axes.set(xlabel="kx (mrad)", ylabel="ky (mrad)")
    _colour_bar(axes, drawn, pattern, fraction="fraction of the beam per pixel")


def show_spectrum(axes: "Axes", spectrum: xr.DataArray, *, title: str = "") -> None:
    """Draw one spectrum, whose only dimension is an energy in eV, on a logarithmic intensity scale."""
    energies = spectrum[spectrum.dims[0]]
    values = spectrum.to_numpy().astype(float)
    least = values[values > 0].min() if (values > 0).any() else 1e-12
    axes.semilogy(energies, np.maximum(values, least), lw=0.8, color="black")
    label = str(spectrum.attrs.get("long_name", spectrum.attrs.get("units", "")))
    axes.set(xlabel=f"{energies.attrs.get('long_name', 'energy')} (eV)", ylabel=label, xlim=(float(energies[0]), float(energies[-1])))
    axes.set_title(title, fontsize=10)


def _colour_bar(axes: "Axes", drawn: "AxesImage", frame: xr.DataArray, *, fraction: str = "fraction of the beam") -> None:
    """Draw the colour bar of a frame with its unit or name; do nothing for a frame without a unit."""
    unit = str(frame.attrs.get("units", ""))
    if not unit or axes.figure is None:
        return
    named = str(frame.attrs.get("long_name", fraction))
    text = (fraction if named.startswith("fraction") or "kx" in frame.dims else named) if unit == "1" else UNITS.get(unit, unit)
    bar = axes.figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label(text, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.formatter.set_powerlimits((-2, 4))  # type: ignore[attr-defined] - a scalar formatter
    bar.ax.yaxis.get_offset_text().set_fontsize(7)


def micrographs(frames: Sequence[tuple[str, xr.DataArray]], *, columns: int = 0, caption: str = "") -> "Figure":
    """Return a figure of results side by side.

    Parameters
    ----------
    frames : sequence of (str, xarray.DataArray)
        Pairs of a title and a result. A result is a frame with dims (y, x) and coordinates in A, a pattern with dims
        (ky, kx) and coordinates in mrad, or a spectrum with an energy axis in eV.
    columns : int
        Number of results in a row; 0: all results are in one row.
    caption : str
        Line of text below the results.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns or len(frames)
    rows = -(-len(frames) // columns)
    figure = Figure(figsize=(4.1 * columns, 3.9 * rows + (0.35 if caption else 0)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(frames) :]:
        axis.axis("off")
    for axis, (title, frame) in zip(axes, frames, strict=False):
        _drawer(frame)(axis, frame, title=title)
    if caption:
        figure.supxlabel(caption, fontsize=9)
    return figure


def _drawer(frame: xr.DataArray) -> Any:
    """Return the function that draws a result, by its dimensions."""
    if frame.ndim == 1:
        return show_spectrum
    return show_pattern if "kx" in frame.dims else show


def save_png(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG atomically, and return the path."""
    import io

    from stemtwin.twin.files import check_writable, write_atomically

    check_writable(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())
    return path
