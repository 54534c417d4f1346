"""Films of beam damage: a hole that grows in graphene, and a silicon atom that is moved along a path.

Each function acquires images with the microscope, draws them beside a map of the true dose and the atoms, and writes an
animated GIF.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stemtwin.leaderboard.demos import silicon_manipulation
from stemtwin.twin.progress import Tick

if TYPE_CHECKING:
    import xarray as xr

    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.samples.sample import Sample


HOLE_FRAMES = 30
SECONDS = 0.3
"""Duration of each frame of a film except the last, s."""
SHOWN = 0
"""Seed of the filmed attempt, the first attempt of ``stemtwin demo --led``."""
COLOURS = {6: "#ffffff", 14: "#5fe08a"}
PATH, TARGET = "#4aa3ff", "#ff4040"
LEAST = 300.0
"""Ratio of the largest dose of a film to the smallest dose shown in the dose map."""
GREYS, WARMS = 24, 48
"""Numbers of grey levels and of dose colours in a film; small numbers keep the file small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One frame of a film.

    Parameters
    ----------
    image : DataArray
        Acquired image (y, x).
    dose : ndarray
        True dose in the pixels of the image, e-/A^2.
    atoms : ndarray
        Position x and y (A) and atomic number of each atom, shape (n, 3).
    bonds : ndarray
        Position x and y of both ends of each bond, A, shape (m, 2, 2).
    text : str
        Caption.
    path : tuple
        Points (x, y) of a planned path, A.
    target : tuple of float, optional
        Position (x, y) of the parked beam, A.
    """

    image: "xr.DataArray"
    dose: np.ndarray
    atoms: np.ndarray
    bonds: np.ndarray
    text: str
    path: tuple[tuple[float, float], ...] = ()
    target: tuple[float, float] | None = None


def hole_film(folder: Path, tick: Tick) -> tuple[Path, str]:
    """Film the growth of a hole in graphene under a scanned beam at 80 kV; return the file and a summary."""
    from stemtwin.twin.instrument.hardware.profiles import PROFILES
    from stemtwin.twin.instrument.scan import RasterScan
    from stemtwin.twin.instrument.scope.microscope import Microscope
    from stemtwin.twin.samples.library import load_sample

    sample = load_sample("graphene", size_angstrom=(25.0, 25.0), hole_angstrom=4.0, seed=0)
    scope = Microscope(sample, PROFILES["nion-100"].still(), seed=3, phonons=1, engine="local", damage=True)
    scope.set(energy_ev=80e3)
    scan = RasterScan(shape=(72, 72), field_of_view_angstrom=(18.0, 18.0), origin_angstrom=(3.75, 3.25))
    stills = []
    for number in range(HOLE_FRAMES):
        seen = scope.truth()["sample"]
        frame = scope.acquire(scan, dwell_time_us=400.0, detectors="maadf")
        lost = len(sample) - len(seen)
        stills.append(_still(scope, scan, frame["maadf"], seen, f"graphene, 80 kV, 60 pA: {scope.time_s:.0f} s, {lost} atoms lost"))
        tick((number + 1) / (HOLE_FRAMES + 4))
    path = save_film(stills, folder / FILES[0])
    tick(1.0)
    return path, f"a hole in graphene lost {lost} atoms in {scope.time_s:.0f} s at 80 kV"


def silicon_film(folder: Path, tick: Tick) -> tuple[Path, str]:
    """Film an agent that sees only images and moves a silicon atom in graphene at 60 kV; return the file and a summary."""
    scope, scan = silicon_manipulation.microscope(SHOWN), silicon_manipulation.field()
    stills: list[Still] = []
    for step in silicon_manipulation.lead(scope, scan):
        text = f"Si in graphene, 60 kV, {silicon_manipulation.CURRENT_PA:g} pA: {scope.time_s:.0f} s, {scope.truth()['events'].count('hop')} hops"
        shown = _still(scope, scan, step.frame["haadf"], step.sample, text)
        stills.append(replace(shown, path=step.way, target=step.decision.target))
        tick(0.9 * step.done)
    path = save_film(stills, folder / FILES[1])
    tick(1.0)
    done = "to the end" if silicon_manipulation.has_arrived(step.decision) else "along a part"
    hops = scope.truth()["events"].count("hop")
    return path, f"a silicon atom was moved {done} of its path by {hops} hops in {scope.time_s:.0f} s at 60 kV"


FILMS = {"growth of a hole": hole_film, "silicon manipulation": silicon_film}
"""Films by their names on the progress bar."""
FILES = ("hole.gif", "silicon.gif")
"""Names of the written files."""


def _still(scope: "Microscope", scan: "RasterScan", image: "xr.DataArray", sample: "Sample", text: str) -> Still:
    """Return the frame of a film from an image, its sample, and the dose so far."""
    from stemtwin.twin.samples.neighbours import find_bonds

    xy, bonds = sample.positions_angstrom[:, :2], find_bonds(sample)
    once = bonds.first < bonds.second
    start = xy[bonds.first[once]]
    return Still(
        image=image,
        dose=scope.truth()["dose"].on_raster(scan, blur_angstrom=0.3),
        atoms=np.column_stack([xy, sample.numbers]),
        bonds=np.stack([start, start + bonds.step[once][:, :2]], axis=1),
        text=text,
    )


def save_film(stills: Sequence[Still], path: Path) -> Path:
    """Draw the frames and write them atomically as an animated GIF; return the path."""
    from PIL import Image

    from stemtwin.twin.files import write_atomically

    low, high = np.percentile(np.concatenate([still.image.to_numpy().ravel() for still in stills]).astype(float), (0.5, 99.9))
    most = max(float(still.dose.max()) for still in stills)
    pictures = [Image.fromarray(draw(still, (float(low), float(high)), most)) for still in stills]
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    shown = [round(1000 * SECONDS)] * (len(flat) - 1) + [2500]
    buffer = io.BytesIO()
    flat[0].save(buffer, format="GIF", save_all=True, append_images=flat[1:], duration=shown, loop=0, optimize=True)
    write_atomically(path, buffer.getvalue())
    return path


def _palette() -> list[int]:
    """Return the colours of a film, three numbers each: greys, dose colours, colours of atoms and marks."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    warm, grey = colormaps["inferno"](np.linspace(0, 1, WARMS)), np.repeat(np.linspace(0, 1, GREYS)[:, None], 4, axis=1)
    marks = np.array([to_rgba(colour) for colour in (*COLOURS.values(), PATH, TARGET)])
    return np.rint(255 * np.concatenate([grey, warm, marks])[:, :3]).astype(int).ravel().tolist()


def draw(still: Still, levels: tuple[float, float], most: float) -> np.ndarray:
    """Draw one frame and return its pixels, shape (height, width, 3), uint8.

    Parameters
    ----------
    still : Still
        Frame.
    levels : tuple of float
        Image value that is drawn black, and image value that is drawn white.
    most : float
        Largest dose of the film, e-/A^2.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.5), dpi=90)
    canvas = FigureCanvasAgg(figure)
    left, right, scale = (figure.add_axes((x, 0.02, width, 0.83)) for x, width in ((0.01, 0.455), (0.475, 0.455), (0.94, 0.01)))
    y, x = still.image["y"].to_numpy(), still.image["x"].to_numpy()
    half = 0.5 * float(x[1] - x[0])
    extent = (x[0] - half, x[-1] + half, y[-1] + half, y[0] - half)
    left.imshow(still.image.to_numpy(), cmap="gray", extent=extent, vmin=levels[0], vmax=levels[1], interpolation="nearest")
    # the scale ends above the largest dose, so atoms are lighter than the map
    norm, dose = LogNorm(most / LEAST, 3 * most), np.maximum(still.dose, most / LEAST)
    shown: Any = right.imshow(dose, cmap="inferno", extent=extent, norm=norm, interpolation="nearest")
    right.add_collection(LineCollection(list(still.bonds), colors=COLOURS[6], linewidths=1.0, zorder=2))
    for number, colour in COLOURS.items():
        mine = still.atoms[still.atoms[:, 2] == number]
        right.scatter(mine[:, 0], mine[:, 1], s=16 if number == 6 else 60, color=colour, linewidths=0, zorder=3)
    for axes in (left, right):
        if still.path:
            axes.plot(*np.array(still.path).T, color=PATH, lw=1.2, marker="o", ms=3, zorder=4)
        if still.target is not None:
            axes.plot(*still.target, marker="x", color=TARGET, ms=7, mew=1.8, zorder=5)
        axes.set(xlim=extent[:2], ylim=extent[2:])
        axes.axis("off")
    left.set_title("detector counts", fontsize=8)
    right.set_title("true dose, atoms and bonds", fontsize=8)
    bar = figure.colorbar(shown, cax=scale)
    bar.ax.tick_params(labelsize=6, length=2, pad=1)
    bar.ax.set_title("e⁻/Å²", fontsize=7)
    left.plot([x[0] + 0.7, x[0] + 5.7], [y[-1] - 0.6] * 2, color="white", lw=3, solid_capstyle="butt")
    left.text(
        x[0] + 0.7,
        y[-1] - 1.0,
        "5 Å",
        color="white",
        fontsize=8,
        va="bottom",
        bbox={"facecolor": "black", "alpha": 0.6, "pad": 1, "edgecolor": "none"},
    )
    figure.text(0.012, 0.985, still.text, fontsize=9, va="top")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
