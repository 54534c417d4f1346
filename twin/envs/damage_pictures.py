"""Pictures of exposed areas."""

from collections.abc import Mapping, Sequence

import numpy as np

from stemtwin.twin.envs.canvas import GREY, WHITE, PictureCanvas

TILE_PX, GAP_PX, LINE_PX, NAMES_PX = 168, 8, 18, 76
COLUMNS = 4


def areas_picture(frames: np.ndarray, told: Sequence[tuple[str, str]], left: Mapping[str, float], title: str) -> np.ndarray:
    """Draw a title, bars of the remaining budgets and, below them, the frames, each with two lines of text.

    Parameters
    ----------
    frames : ndarray
        uint8 (n, 48, 48).
    told : sequence of tuple of str
        Two lines for each frame.
    left : mapping
        Remaining fraction of each budget, 0 to 1, by the name of the budget.
    title : str
        Title in the first line of the picture.

    Returns
    -------
    ndarray
        uint8 (height, width, 3).
    """
    high = TILE_PX + 2 * LINE_PX + GAP_PX
    width = COLUMNS * (TILE_PX + GAP_PX) + GAP_PX
    top = 4 * LINE_PX + 2 * GAP_PX
    canvas = PictureCanvas(width, top + max(2, -(-len(told) // COLUMNS)) * high)
    canvas.text(GAP_PX, LINE_PX, title, size=13)
    for row, (name, part) in enumerate(left.items(), 1):
        y = GAP_PX + row * LINE_PX
        canvas.text(GAP_PX, y + LINE_PX - 5, f"{name} left", colour=GREY, size=11)
        canvas.share((NAMES_PX, y + 3, width - GAP_PX, y + LINE_PX - 4), part)
    for i, (frame, lines) in enumerate(zip(frames, told, strict=True)):
        x, y = GAP_PX + i % COLUMNS * (TILE_PX + GAP_PX), top + i // COLUMNS * high
        canvas.paste(frame, (x, y, x + TILE_PX, y + TILE_PX))
        for line, text in enumerate(lines, 1):
            canvas.text(x, y + TILE_PX + line * LINE_PX - 4, text, colour=WHITE if line > 1 else GREY, size=10)
    return canvas.array()
