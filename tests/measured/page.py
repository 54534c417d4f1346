"""Numbers and pictures of measured files for ``docs/measured-data.md``: ``python -m tests.measured.page [FOLDER]`` (``make measured-data``).

The files are in ``../shared/real`` beside the checkout and are not part of it. If they are absent, nothing is made and the reason is printed. The
image is labelled by the algorithm of :func:`labels_of`, packed by ``stemtwin data pack``, checked by ``stemtwin data verify`` and scored by
``stemtwin eval``, as a user would do; the page shows values from the output of these commands.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max

import stemtwin as st
from stemtwin.benchmarks.agents import find_baseline
from stemtwin.benchmarks.families.atoms import GATE, GATE_OF_NEIGHBOUR
from stemtwin.benchmarks.matching import match, nearest_distance
from stemtwin.benchmarks.measured import load_task
from stemtwin.benchmarks.runner import predict
from stemtwin.benchmarks.tasks import find_task
from stemtwin.leaderboard.cli.main import main as run
from stemtwin.twin.files import replacing, write_atomically

ROOT = Path(__file__).resolve().parents[2]
REAL, PAGE, PICTURE = ROOT.parent / "shared" / "real", ROOT / "docs" / "measured-data.md", ROOT / "docs" / "measured-data.png"
IMAGE = "measured_haadf_pto_sro.npz"
SPECTRA = ("measured_eels_srtio3.csv", "measured_lowloss_al.csv", "measured_edx_srtio3.csv")
BEGIN, END = "<!-- numbers: make measured-data -->", "<!-- end of numbers -->"
TILE_PX = 112
BASELINES = ("log", "random", "oracle")
METRICS = ("f1", "precision", "recall", "rmsd")
COLUMN_ANGSTROM, BACKGROUND_ANGSTROM, APART_ANGSTROM, HEIGHT = 0.45, 2.5, 0.9, 0.1
"""Widths of the two Gaussians (one standard deviation) and least distance of the labels, A; least height, of the 99.5 % quantile."""
SHOWN = ((0, 1), (0, 7), (1, 4))
"""Squares that are drawn, row and column of the image."""


def labels_of(image: np.ndarray, step: float) -> np.ndarray:
    """Return the labels (n, 2) of an image, x and y in px: its maxima between two Gaussians, refined by a parabola along each axis.

    Parameters
    ----------
    image : ndarray
        (ny, nx) grey values.
    step : float
        A/px.
    """
    smooth = gaussian_filter(image.astype(float), COLUMN_ANGSTROM / step) - gaussian_filter(image.astype(float), BACKGROUND_ANGSTROM / step)
    least = HEIGHT * float(np.quantile(smooth, 0.995))
    peaks = peak_local_max(smooth, min_distance=round(APART_ANGSTROM / step), threshold_abs=least, exclude_border=1)
    shifts = []
    for axis in (1, 0):
        before, after = (smooth[tuple((peaks + sign * np.eye(2, dtype=int)[axis]).T)] for sign in (-1, 1))
        shifts.append((after - before) / (2 * (2 * smooth[tuple(peaks.T)] - before - after)))
    return peaks[:, ::-1] + np.clip(np.stack(shifts, axis=1), -0.5, 0.5)


def command(*words: object) -> tuple[int, str, str]:
    """Run a command of stemtwin in this process; return its exit code, its output and its error output."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def told(*words: object) -> dict[str, Any]:
    """Return the JSON that a command prints."""
    code, out, err = command(*words, "--json")
    if code:
        raise SystemExit(err)
    return json.loads(out)


def packed(real: Path, folder: Path) -> tuple[dict[str, Any], np.ndarray, np.ndarray, float]:
    """Label and pack the image; return the report of 'data pack', the image, its labels and its pixel size."""
    with np.load(real / IMAGE) as held:
        image, step = held["image"], float(held["sampling_angstrom"][0])
    places = labels_of(image, step)
    labels = folder / "points.csv"
    labels.write_text("\n".join(["file,x_px,y_px", *(f"{IMAGE},{x:.3f},{y:.3f}" for x, y in places)]) + "\n", encoding="utf-8")
    words = ["--task", "atoms-2d", "--name", "pto-sro", "--labels", labels, "--labels-by", "algorithm", "--tile", TILE_PX]
    words += ["--pixel-size", repr(step), "--variable", "image", "--fact", "material=PbTiO3/SrRuO3", "--folder", folder / "pto-sro"]
    return told("data", "pack", real / IMAGE, *words), image, places, step


def measure(real: Path, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Pack, verify and score; return the lines of the page's numbers and the content of the picture."""
    said, image, places, step = packed(real, folder)
    checked = told("data", "verify", folder / "pto-sro")
    images, truth, _ = st.load_arrays(folder / "pto-sro", split="test")
    spacing = step * cKDTree(places).query(places, k=2)[0][:, 1]
    bright = places[image[tuple(np.rint(places[:, ::-1]).astype(int).T)] > np.quantile(image, 0.97)]
    cell = step * cKDTree(bright).query(bright, k=2)[0][:, 1]
    facts = {
        "image": f"{image.shape[0]} x {image.shape[1]} px, {image.dtype}, grey values {image.min():.0f} to {image.max():.0f}",
        "pixel size according to the file": f"{step:.4f} A",
        "labels": f"{len(places)}, of which {int(truth['n_columns'].sum())} lie in the squares",
        "squares": f"{len(images)} of {TILE_PX} x {TILE_PX} px, all in the split test",
        "distance of a label to the nearest other label": f"median {np.median(spacing):.2f} A, least {spacing.min():.2f} A",
        "distance of a bright column (lead) to the nearest other one": f"median {np.median(cell):.2f} A",
        "content": f"{said['content_sha256'][:12]}; {checked['files']} files, {checked['rows']} rows verified",
    }
    lines = ["| packed image | |", "|---|---|", *(f"| {name} | {text} |" for name, text in facts.items()), ""]
    lines += [f"| entry | {' | '.join((*METRICS[:3], 'rmsd (pm)'))} | trust | rank |", f"|---|{'---|' * (len(METRICS) + 2)}"]
    for name in BASELINES:
        report = told("eval", "atoms-2d", "--data", folder / "pto-sro", "--baseline", name)
        values = {one["name"]: one["value"] for one in report["metrics"]}
        cells = [f"{values[metric]:.3f}" for metric in METRICS[:3]] + ["-" if values["rmsd"] is None else f"{values['rmsd']:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {report['trust']} | none |")
    lines += ["", "| other measured file | message of 'stemtwin data pack' |", "|---|---|"]
    for name in SPECTRA:
        code, _, err = command("data", "pack", real / name, "--task", "atoms-2d", "--name", "x", "--labels-by", "none", "--folder", folder / "x")
        assert code == 1
        lines.append(f"| `{name}` | {err.strip().removeprefix('stemtwin: ').replace(str(real / name), name).partition('. ')[0]}. |")
    task, split, data = load_task(find_task("atoms-2d"), folder / "pto-sro")
    answers = predict(task, find_baseline("atoms-2d", "log"), data)
    return lines, {"image": image, "places": places, "step": step, "images": images, "truth": truth, "answers": answers, "data": data, "split": split}


def draw(shown: dict[str, Any], path: Path) -> None:
    """Draw the image with its labels in two strips, and squares with labels and answers, as a PNG of few colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    image, places, step = shown["image"], shown["places"], shown["step"]
    low, high = np.quantile(image, (0.001, 0.999))
    grey = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "nearest"}
    figure = Figure(figsize=(9.6, 7.3), layout="constrained")
    grid = figure.add_gridspec(3, len(SHOWN), height_ratios=(1.64, 1.64, 3.2))
    for number, title in enumerate(("the image", "every label ringed")):
        axis = figure.add_subplot(grid[number, :])
        axis.imshow(image, **grey)
        if number:
            axis.scatter(*places.T, s=12, facecolors="none", edgecolors="tab:orange", linewidths=0.7)
        axis.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5), xticks=[], yticks=[])
        axis.set_title(title, fontsize=9)
        axis.plot([20, 20 + 20 / step], [208, 208], color="white", linewidth=2.5)
        axis.text(20 + 10 / step, 202, "20 Å", color="white", fontsize=8, ha="center", va="bottom")
    squares = [figure.add_subplot(grid[2, column]) for column in range(len(SHOWN))]
    for axis, (row, column) in zip(squares, SHOWN, strict=True):
        square = image[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX]
        (number,) = np.flatnonzero((shown["images"] == square).all(axis=(1, 2)))
        labels = np.stack([shown["truth"][f"column_{name}_angstrom"][number] for name in "xy"], axis=1)
        found = shown["answers"][str(shown["data"]["sample_id"].values[number])].positions
        hits, _, _ = match(found, labels, np.minimum(GATE, GATE_OF_NEIGHBOUR * nearest_distance(labels, labels)))
        axis.imshow(square, **grey)
        axis.scatter(*labels.T / step, s=70, facecolors="none", edgecolors="tab:orange", linewidths=1.0, label="label")
        axis.scatter(*found[hits].T / step, s=22, marker="+", color="cyan", linewidths=1.0, label="answer at a label")
        axis.scatter(*np.delete(found, hits, axis=0).T / step, s=22, marker="x", color="magenta", linewidths=1.0, label="answer without one")
        axis.set(xlim=(-0.5, TILE_PX - 0.5), ylim=(TILE_PX - 0.5, -0.5), xticks=[], yticks=[])
        axis.set_title(f"{len(labels)} labels, {len(hits)} found; {len(found) - len(hits)} answers without one", fontsize=8)
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8, facecolor="0.6")
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(100)
    canvas.draw()
    shades = np.linspace(0.0, 1.0, 12)[:, None]
    inks = [np.array(ink) * shades for ink in ((255, 127, 14), (0, 255, 255), (255, 0, 255))]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([np.linspace(0, 255, 40)[:, None].repeat(3, axis=1), *inks]).round().astype(np.uint8).tobytes())
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(palette=palette, dither=Image.Dither.NONE)
    with replacing(path, ending=".png") as temporary:
        picture.save(temporary, optimize=True)


def main(arguments: list[str] | None = None) -> None:
    """Make numbers and picture, or print the reason why not."""
    parser = argparse.ArgumentParser(prog="python -m tests.measured.page", description="Numbers and pictures of measured files.")
    parser.add_argument("folder", nargs="?", type=Path, default=REAL, help="folder of the files (default: ../shared/real)")
    real = parser.parse_args(arguments).folder
    if not (real / IMAGE).is_file():
        sys.stdout.write(f"skipped: {real / IMAGE} is not on this machine, and measured files are not part of the repository\n")
        return
    with tempfile.TemporaryDirectory() as made:
        os.environ["STEMTWIN_DATA_DIR"] = made
        lines, shown = measure(real, Path(made))
        draw(shown, PICTURE)
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_atomically(PAGE, "\n".join([before + BEGIN, "", *lines, "", END + after]).encode())
    sys.stdout.write(f"{PAGE} and {PICTURE} ({PICTURE.stat().st_size / 1e3:.0f} kB)\n")


if __name__ == "__main__":
    main()
