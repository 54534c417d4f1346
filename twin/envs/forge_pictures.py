"""Pictures of atom-by-atom fabrication."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stemtwin.twin.envs import forge_scenes
from stemtwin.twin.envs.canvas import AMBER, BLUE, GREY, RED, WHITE, PictureCanvas, amount
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM, SULPHUR

SIDE_PX, PANEL_PX, GAP_PX, LINE_PX = 400, 190, 10, 20
GREEN, METAL = (95, 224, 138), (120, 150, 210)
HOLLOW = 0.75
"""Brightness below which a site is drawn as vacant."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForgeView:
    """Content of a picture of atom-by-atom fabrication.

    Parameters
    ----------
    goal : str
        ``"walk"`` or ``"drill"``.
    image : ndarray, optional
        The last frame.
    bright : ndarray, optional
        Brightness of the sites, which are drawn if there is no frame.
    target, trail : tuple
        Target positions, and observed positions of Si, latest last; (x, y) from the centre of the field, A.
    aimed : tuple of float, optional
        Position (x, y) of the parked beam from the centre of the field, A.
    left : mapping
        Remaining fraction of each budget, by name of the budget.
    cost : mapping
        Costs so far, by name.
    energy_ev : float
        Beam energy, eV.
    stopped : bool
        Whether the agent declared the end.
    """

    goal: str
    image: np.ndarray | None
    bright: np.ndarray | None
    target: tuple[tuple[float, float], ...]
    trail: tuple[tuple[float, float], ...]
    aimed: tuple[float, float] | None
    left: Mapping[str, float]
    cost: Mapping[str, float]
    energy_ev: float
    stopped: bool


def forge_picture(view: ForgeView) -> np.ndarray:
    """Draw the last frame or the last observed sites beside dose and budgets; return uint8, shape (height, width, 3)."""
    canvas = PictureCanvas(SIDE_PX + PANEL_PX + 3 * GAP_PX, SIDE_PX + 2 * GAP_PX)
    box = (GAP_PX, GAP_PX, GAP_PX + SIDE_PX, GAP_PX + SIDE_PX)
    if view.image is not None:
        canvas.frame(view.image, box, FIELD_ANGSTROM)
    elif view.bright is not None:
        _graph(canvas, view.goal, view.bright)
    for place in view.target:
        _ring(canvas, place, 11, GREEN)
    points = [_pixel(place) for place in view.trail]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        canvas.line(x0, y0, x1, y1, BLUE, 2)
    if view.trail:
        if view.image is None:
            canvas.dot(*points[-1], 7, AMBER)
        else:
            _ring(canvas, view.trail[-1], 8, AMBER)
    if view.aimed is not None:
        x, y = _pixel(view.aimed)
        canvas.line(x - 6, y - 6, x + 6, y + 6, RED, 2)
        canvas.line(x - 6, y + 6, x + 6, y - 6, RED, 2)
    _panel(canvas, view)
    return canvas.array()


def _panel(canvas: PictureCanvas, view: ForgeView) -> None:
    """Write the spent and the remaining budget beside the field."""
    left, right = SIDE_PX + 2 * GAP_PX, SIDE_PX + PANEL_PX + 2 * GAP_PX
    told = "Si in graphene" if view.goal == "walk" else "S vacancies in MoS₂"
    lines = [told, f"{view.energy_ev / 1e3:g} kV, {forge_scenes.CURRENT_PA:g} pA", f"{amount(view.cost['dose_e_per_angstrom2'])} e⁻/Å²"]
    lines += [f"{view.cost['beam_s']:.1f} s, {view.cost['looks']:.0f} looks", "end declared" if view.stopped else ""]
    for number, line in enumerate(lines, 1):
        canvas.text(left, GAP_PX + number * LINE_PX, line, colour=WHITE if number == 1 else GREY, size=13)
    y = GAP_PX + 7 * LINE_PX
    for name, share in view.left.items():
        canvas.text(left, y, f"{name} left", colour=GREY)
        canvas.share((left, y + 6, right, y + 16), share)
        y += 2 * LINE_PX
    marks = [(GREEN, "goal"), (RED, "beam")] + ([(AMBER, "Si as seen"), (BLUE, "its way")] if view.goal == "walk" else [])
    for number, (colour, name) in enumerate(marks):
        canvas.dot(left + 6, y + LINE_PX * number, 5, colour)
        canvas.text(left + 18, y + LINE_PX * number + 4, name, colour=GREY)


def _graph(canvas: PictureCanvas, goal: str, bright: np.ndarray) -> None:
    """Draw the sites of the field with their brightness, and bonds between those that are not vacant."""
    sheet = forge_scenes.lattice(goal)
    seen = np.flatnonzero(sheet.in_field)
    shown, usual = set(seen.tolist()), sheet.network.numbers
    hollow = bright < HOLLOW
    for site in seen:
        for other in sheet.bonds[site]:
            if site < other and other in shown and not (hollow[site] or hollow[other]):
                canvas.line(*_pixel(sheet.places[site]), *_pixel(sheet.places[other]), GREY, 1)
    for site in seen:
        level = round(min(255.0, 170 * float(bright[site])))
        metal = goal == "drill" and usual[site] != SULPHUR
        if not hollow[site]:
            canvas.dot(*_pixel(sheet.places[site]), 5 if metal else 4, METAL if metal else (level, level, level))


def _ring(canvas: PictureCanvas, place: tuple[float, float], radius: float, colour: tuple[int, int, int]) -> None:
    x, y = _pixel(place)
    corners = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 25)]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        canvas.line(x0, y0, x1, y1, colour, 2)


def _pixel(place: tuple[float, float] | np.ndarray) -> tuple[float, float]:
    """Return a position in the field as pixels of the picture."""
    scale = SIDE_PX / FIELD_ANGSTROM
    x, y = (min(max(GAP_PX + SIDE_PX / 2 + scale * float(one), GAP_PX), GAP_PX + SIDE_PX) for one in place)
    return x, y
