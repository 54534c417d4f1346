"""Pictures of datasets for the pages of their tasks: inputs of samples and their truth, drawn from the columns that the dataset card describes.

The first row of a picture shows the first input that is an image, summed over frames. The second row shows the first truth that is an image or, if
there is none, the same input again. The second row is left out if the truth contains neither images nor points. The points drawn over the second row
come from ragged truth columns (columns of varying length) whose names end with ``x_angstrom`` and ``y_angstrom``. The first ragged column of strings
gives the colours of the points. Invisible points are drawn as crosses, and points with missing atoms have a ring.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.datasets.cards import Card
from stemtwin.datasets.columns import IMAGE_DIMS, Column
from stemtwin.twin import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLANES = (IMAGE_DIMS, ("ky", "kx"))
"""Last dimensions of arrays that are shown as images."""
SHOWN = 4
"""Number of samples in a picture."""
COLOURS = (
    *("tab:orange", "tab:cyan", "tab:pink", "tab:olive", "tab:green", "tab:red", "tab:purple", "tab:brown"),
    *("tab:blue", "yellow", "lime", "magenta"),
)
"""Colours of successive kinds of points; the palette of the file contains all of them."""
CAPTION = ("material", "instrument", "scan", "dose_e_per_angstrom2")
"""Columns whose values a caption states, if the card has these columns."""
GREYS, TONES = 40, 16
"""Number of shades of grey, and number of shades of each colour, in the palette of the file."""


def pick(card: Card, data: dict[str, np.ndarray], count: int = SHOWN) -> list[int]:
    """Return indices of rows of different specimens: the row of highest dose of each material, then the rows of lowest dose of any material."""
    names = [column.name for column in card.columns]
    total = len(data["specimen"])
    dose = np.asarray(data["dose_e_per_angstrom2"], dtype=float) if "dose_e_per_angstrom2" in names else np.zeros(total)
    kinds, specimens = (np.asarray(data[name if name in names else "specimen"]).astype(str) for name in ("material", "specimen"))
    brightest = np.argsort(-dose, kind="stable").tolist()
    rows: list[int] = []
    for row in brightest:
        if len(rows) < count and kinds[row] not in kinds[rows]:
            rows.append(row)
    for row in reversed(brightest):
        if len(rows) < count and specimens[row] not in specimens[rows]:
            rows.append(row)
    return rows


def plane(column: Column, value: np.ndarray) -> np.ndarray:
    """Return an image (y, x) from an array: the sum over frames, and the first element along every other dimension."""
    for name in column.dim_names[:-2]:
        value = value.sum(axis=0, dtype=float) if "frame" in name else value[0]
    return np.asarray(value, dtype=float)


def images(card: Card, role: str) -> list[Column]:
    """Return the columns with a given role whose last two dimensions are y and x, or the two angles of a diffraction pattern."""
    return [column for column in card.columns if column.role == role and column.shape and column.dim_names[-2:] in PLANES]


def points(card: Card) -> tuple[Column, Column] | None:
    """Return the two ragged truth columns that hold the x and y of points, A; None if the card has no such columns."""
    ragged = {column.name: column for column in card.columns if column.ragged and column.role == "truth"}
    for name, column in ragged.items():
        other = f"{name.removesuffix('x_angstrom')}y_angstrom"
        if name.endswith("x_angstrom") and other in ragged:
            return column, ragged[other]
    return None


def draw(card: Card, data: dict[str, np.ndarray], path: Path) -> bool:
    """Draw samples of a dataset as a PNG of few colours; return False if the dataset has no image to draw.

    Parameters
    ----------
    card : Card
        The card.
    data : dict of ndarray
        A split as :func:`stemtwin.datasets.catalog.load_dataset` gives it with ``format="numpy"``.
    path : Path
        The file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    given, asked, rows = images(card, "input"), images(card, "truth"), pick(card, data)
    if not given:
        return False
    lines = 2 if asked or points(card) is not None else 1
    figure = Figure(figsize=(2.4 * len(rows), 3.3 if lines == 1 else 5.2), layout="constrained")
    axes = figure.subplots(lines, len(rows), squeeze=False)
    colours: dict[str, str] = {}
    below = asked[0] if asked else given[0]
    for column, row in zip(axes.T, rows, strict=True):
        _show(column[0], plane(given[0], data[given[0].name][row]), caption(card, data, row))
        column[0].set_xlabel("\n".join(_scalars(card, data, row)) if lines == 1 else "", fontsize=8)
        if lines == 2:
            _show(column[1], plane(below, data[below.name][row]), "\n".join(_scalars(card, data, row)))
            _mark(column[1], card, data, row, colours)
            axes[1][0].set_ylabel(f"truth{f': {below.name}' if asked else ', drawn in'}", fontsize=9)
    axes[0][0].set_ylabel(f"given: {given[0].name}", fontsize=9)
    handles = [figure.axes[0].scatter([], [], s=20, color=colour, label=name) for name, colour in colours.items()]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(100)
    canvas.draw()
    save(np.asarray(canvas.buffer_rgba())[..., :3], path)
    return True


def caption(card: Card, data: dict[str, np.ndarray], row: int) -> str:
    """Return the conditions of a row for its caption."""
    names = [column.name for column in card.columns]
    said = [str(data[name][row]) for name in CAPTION[:3] if name in names]
    dose = [f"{float(data[CAPTION[3]][row]):.3g} e$^-$/Å$^2$"] if CAPTION[3] in names else []
    return "\n".join([", ".join(said), *dose])


def _scalars(card: Card, data: dict[str, np.ndarray], row: int) -> Iterator[str]:
    """Yield at most three truth values of a row that are single numbers; yield nothing for a dataset with points."""
    single = [column for column in card.columns if column.role == "truth" and not column.shape and not column.ragged]
    for column in single[:3] if points(card) is None else ():
        value = data[column.name][row]
        yield f"{column.name} {value:.3g} {column.unit}" if column.dtype.startswith("float") else f"{column.name} {value}"


def _show(axis: "Axes", image: np.ndarray, title: str) -> None:
    """Show an image in grey, from nearly its darkest to nearly its brightest pixel."""
    low, high = np.quantile(image, (0.001, 0.999))
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=8)


def _mark(axis: "Axes", card: Card, data: dict[str, np.ndarray], row: int, colours: dict[str, str]) -> None:
    """Draw the points of a row's truth, and add a colour for each new kind."""
    found = points(card)
    if found is None:
        return
    step = float(data["sampling_angstrom"][row]) if "sampling_angstrom" in data else 1.0
    x, y = (np.asarray(column.trimmed(data, row), dtype=float) / step for column in found)
    alike = [c for c in card.columns if c.ragged and c.role == "truth" and c.count_name == found[0].count_name]
    kinds = np.array(_values(data, row, [c for c in alike if c.dtype == "string"], "points", len(x)), dtype=str)
    visible = np.array(_values(data, row, [c for c in alike if c.name.endswith("visible")], True, len(x)), dtype=bool)
    missing = np.array(_values(data, row, [c for c in alike if c.name.endswith("missing")], 0, len(x))) > 0
    for kind in sorted(set(kinds.tolist())):
        colours.setdefault(kind, COLOURS[len(colours) % len(COLOURS)])
        mine = (kinds == kind) & visible & ~missing
        axis.scatter(x[mine], y[mine], s=9, color=colours[kind], linewidths=0)
        axis.scatter(x[(kinds == kind) & ~visible], y[(kinds == kind) & ~visible], s=12, marker="x", color=colours[kind], linewidths=0.6)
    axis.scatter(x[missing], y[missing], s=70, facecolors="none", edgecolors="tab:red", linewidths=1.2)
    ny, nx = axis.images[0].get_size()
    axis.set(xlim=(-0.5, nx - 0.5), ylim=(ny - 0.5, -0.5))


def _values(data: dict[str, np.ndarray], row: int, columns: Sequence[Column], otherwise: Any, count: int) -> Any:
    """Return the values of a row in the first of several columns or, without columns, one value repeated for every point."""
    return columns[0].trimmed(data, row) if columns else [otherwise] * count


def save(pixels: np.ndarray, path: Path) -> None:
    """Write pixels (y, x, RGB) as a PNG with a palette of greys and of the colours of the marks."""
    from matplotlib.colors import to_rgb
    from PIL import Image

    greys = np.linspace(0, 255, GREYS)[:, None].repeat(3, axis=1)
    tones = [255 * np.array(to_rgb(colour)) * np.linspace(0.3, 1.0, TONES)[:, None] for colour in COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([greys, *tones]).round().astype(np.uint8).tobytes())
    picture = Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.NONE)
    with files.replacing(path, ending=".png") as temporary:
        picture.save(temporary, optimize=True)
