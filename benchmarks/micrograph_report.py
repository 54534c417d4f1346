"""Report of a comparison of a micrograph with the twin: tables as Markdown, and pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.benchmarks.micrograph_twin import SampleComparison, as_values
from stemtwin.benchmarks.task_pictures import save
from stemtwin.benchmarks.twin_answers import TwinConditions
from stemtwin.twin.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VALUES, TEXT, PICTURE, ANSWERS = "comparison.json", "comparison.md", "comparison.png", "answers.png"
"""Files of a report."""
SHOWN = {"atoms-2d/log": "cyan", "atoms-2d@2/log": "tab:orange", "atoms-2d@2/unet": "tab:pink"}
"""Baselines in the picture of answers, and their colours."""


def write_report(found: Sequence[SampleComparison], step: float, conditions: TwinConditions, source: str, folder: Path) -> list[Path]:
    """Write the report of an image's comparisons into a folder, and return the files.

    Parameters
    ----------
    found : sequence of SampleComparison
        One comparison for each sample.
    step : float
        Nominal size of the pixels, A.
    conditions : TwinConditions
        Conditions of the twin.
    source : str
        Name of the image's file.
    folder : Path
        Folder of the report, which is made if it does not exist.
    """
    values = {"file": source, "pixel_size_angstrom": step, "samples": [as_values(one, step) for one in found]}
    values["conditions"] = {name: getattr(conditions, name) for name in TwinConditions.__slots__}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / VALUES, (json.dumps(values, indent=1) + "\n").encode())
    write_atomically(folder / TEXT, ("\n\n".join(tables(values)) + "\n").encode())
    draw(found, folder / PICTURE)
    draw_answers(found, step, folder / ANSWERS)
    return [folder / name for name in (VALUES, TEXT, PICTURE, ANSWERS)]


def tables(values: dict[str, Any]) -> list[str]:
    """Return the Markdown blocks of a report: conditions, headings and tables."""
    one = values["conditions"]
    angles = f"{one['semiangle_mrad']:g} mrad, dark field {one['inner_mrad']:g} to {one['outer_mrad']:g} mrad"
    out = [
        f"Twin: `{one['instrument']}` at {one['energy_ev'] / 1e3:g} keV, convergence {angles}, C10 {one['C10_angstrom']:g} A, "
        f"{one['dwell_time_us']:g} us per pixel; pixels of {values['pixel_size_angstrom']:.4f} A as stated in the file."
    ]
    for sample in values["samples"]:
        top, left, height, width = sample["region"]
        out.append(f"**{sample['sample']}**, rows {top} to {top + height}, columns {left} to {left + width}")
        lines = ["| quantity | unit | image | twin | agree |", "|---|---|---|---|---|"]
        lines += [
            f"| {row['quantity']} | {row['unit']} | {row['measured']:.3g} | {row['twin']:.3g} | {'yes' if row['agrees'] else 'no'} |"
            for row in sample["quantities"]
        ]
        knobs = [f"{name} {value:.3g}" for name, value in sample["knobs"].items()]
        out += ["\n".join(lines), f"Knobs of the twin: {', '.join(knobs)}.", _answers(sample["baselines"])]
    return out


def _answers(baselines: dict[str, Any]) -> str:
    """Return the table of the answers of baselines in the window."""
    lines = ["| baseline | in | columns found | at faint columns | elsewhere | rms distance (A) |", "|---|---|---|---|---|---|"]
    for name, found in baselines.items():
        if "skipped" in found:
            lines.append(f"| {name} | - | {found['skipped']} | | | |")
            continue
        for key, where in (("measured", "image"), ("twin", "twin")):
            one = found[key]
            rms = "-" if one["rms_angstrom"] is None else f"{one['rms_angstrom']:.3f}"
            cells = f"{one['found']} of {found['columns']} | {one['at_faint']} of {found['faint_columns']} | {one['elsewhere']} | {rms}"
            lines.append(f"| {name} | {where} | {cells} |")
    return "\n".join(lines)


def draw(found: Sequence[SampleComparison], path: Path) -> None:
    """Draw the window, fitted model, residual, frame of the twin, line offsets and noise power of every sample as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 2.9 * len(found)), layout="constrained", dpi=80)
    axes = figure.subplots(len(found), 6, squeeze=False)
    for row, one in zip(axes, found, strict=True):
        low, high = np.quantile(one.measured.window, (0.005, 0.995))
        rest = one.measured.window - one.measured.fit.model
        half = (high - low) / 2
        shown = (("image", one.measured.window), ("model of the twin", one.measured.fit.model), ("twin's frame", one.twin.window))
        for axis, (title, picture) in zip(row[[0, 1, 3]], shown, strict=True):
            _grey(axis, picture, title, low, high)
        _grey(row[2], rest, f"image less model, {rest.std() / one.measured.fit.model.std():.0%} rms", -half, half)
        row[0].set_ylabel(one.name, fontsize=9)
        _lines(row[4], one)
        _power(row[5], one)
    _finish(figure, path)


def _grey(axis: "Axes", picture: np.ndarray, title: str, low: float, high: float) -> None:
    """Show a picture in grey between two values."""
    axis.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=9)


def _lines(axis: "Axes", one: SampleComparison) -> None:
    """Plot the offsets along x of the lines of image and frame, where they are known well."""
    for name, measurement, colour in (("image", one.measured, "black"), ("twin", one.twin, "tab:orange")):
        lines = measurement.lines
        good = lines.errors_angstrom[:, 0] <= 2 * np.median(lines.errors_angstrom[:, 0])
        axis.plot(np.where(good, 100 * lines.offsets_angstrom[:, 0], np.nan), ".-", ms=3, lw=0.6, color=colour, label=name)
    axis.set_title("offset of lines along x (pm)", fontsize=9)
    axis.set_xlabel("line", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)


def _power(axis: "Axes", one: SampleComparison) -> None:
    """Plot the power spectra of the residuals from the models."""
    for name, measurement, colour in (("image", one.measured, "black"), ("twin", one.twin, "tab:orange")):
        axis.semilogy(measurement.noise.frequencies, measurement.noise.power, color=colour, lw=1, label=name)
    axis.set_title("power of the residual", fontsize=9)
    axis.set_xlabel("1/Å", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False)


def draw_answers(found: Sequence[SampleComparison], step: float, path: Path) -> None:
    """Draw the answers of baselines over the image and over the twin's frame as a PNG.

    A rectangle marks the window to which the sample's cell was fitted, because columns are known only there.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    names = [name for name in SHOWN if "skipped" not in found[0].answers[name]]
    figure = Figure(figsize=(6.4 * max(len(names), 1), 3.4 * len(found)), layout="constrained", dpi=80)
    axes = figure.subplots(len(found), 2 * max(len(names), 1), squeeze=False)
    for row, one in zip(axes, found, strict=True):
        low, high = np.quantile(one.square, (0.005, 0.995))
        for number, name in enumerate(names):
            for axis, key, picture in zip(row[2 * number :], ("measured", "twin"), (one.square, one.twin_square), strict=False):
                _grey(axis, picture, f"{name}, {'image' if key == 'measured' else 'twin'}", low, high)
                at = np.array(one.answers[name][key]["positions"]).reshape(-1, 2) / step
                axis.scatter(*at.T, s=16, marker="+", color=SHOWN[name], linewidths=0.8)
                top, left = (a - b for a, b in zip(one.region[:2], one.square_region[:2], strict=True))
                axis.add_patch(Rectangle((left - 0.5, top - 0.5), one.region[3], one.region[2], fill=False, edgecolor="tab:orange", linewidth=1))
        row[0].set_ylabel(one.name, fontsize=9)
    _finish(figure, path)


def _finish(figure: Any, path: Path) -> None:
    """Write a figure as a PNG of few colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    save(np.asarray(canvas.buffer_rgba())[..., :3], path)
