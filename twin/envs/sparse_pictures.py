"""Pictures of sparse scans: reconstruction, its uncertainty, incident electrons and remaining budgets, without hidden truth."""

from collections.abc import Mapping

import numpy as np

from stemtwin.twin.envs.canvas import AMBER, GREY, PictureCanvas, coloured

SIDE, GAP, TOP = 384, 12, 54
"""Side of an image, distance between images, and height of the header, pixels."""
FOOT = 34
DARKEST = 0.6
"""Exponent of the displayed brightness, which makes both supports and particles visible."""


def sampling_picture(
    estimate: np.ndarray,
    uncertainty: np.ndarray,
    exposure: np.ndarray,
    pixels: np.ndarray,
    *,
    left: Mapping[str, float],
    action: int,
    told: str,
    side: float,
    note: str = "",
) -> np.ndarray:
    """Draw the image with the points of the last block, the image's uncertainty, and the incident electrons; return uint8 (450, 1200, 3).

    Parameters
    ----------
    estimate, uncertainty : ndarray
        Reconstructed image and its standard deviation, fractions of the beam, (n, n).
    exposure : ndarray
        Incident electrons at each point so far, (n, n).
    pixels : ndarray
        Rows and columns of the last block in the order of the visits, (k, 2).
    left : mapping
        Remaining fraction of each budget, by name of the budget.
    action : int
        Number of the action.
    told : str
        Text about the last action.
    side : float
        Side of the field, A.
    note : str
        Text beside the number of the action.
    """
    width = 3 * SIDE + 4 * GAP
    canvas = PictureCanvas(width, TOP + SIDE + FOOT)
    canvas.text(14, 23, f"action {action}", size=17)
    canvas.text(112, 23, note or told, colour=GREY)
    panels = (("reconstruction, last block", estimate**DARKEST), ("uncertainty", uncertainty**DARKEST), ("electrons sent", np.sqrt(exposure)))
    for number, (name, values) in enumerate(panels):
        x = GAP + (SIDE + GAP) * number
        canvas.text(x + 2, TOP - 6, name, colour=GREY, size=12)
        if number == 0:
            canvas.frame(values / max(float(values.max()), 1e-12) * 100, (x, TOP, x + SIDE, TOP + SIDE), side)
        else:
            canvas.paste(coloured(values), (x, TOP, x + SIDE, TOP + SIDE))
    _path(canvas, pixels, len(estimate))
    for number, (name, share) in enumerate(left.items()):
        x, y = 14 + (width - 24) / 2 * number, TOP + SIDE + 22
        canvas.text(x, y, f"{name} left", size=12)
        canvas.share((x + 96, y - 9, x + (width - 24) / 2 - 62, y), share)
        canvas.text(x + (width - 24) / 2 - 54, y, f"{share:.0%}", size=12)
    return canvas.array()


def _path(canvas: PictureCanvas, pixels: np.ndarray, points: int) -> None:
    """Mark the points of the last block on the first image."""
    scale = SIDE / points
    for row, column in pixels:
        canvas.dot(GAP + (column + 0.5) * scale, TOP + (row + 0.5) * scale, 1.6, AMBER)
