"""Pictures of exposed areas for people, drawn without matplotlib."""

from collections.abc import Mapping, Sequence

import numpy as np

TILE_PX, GAP_PX, LINE_PX = 144, 8, 14
COLUMNS = 4
WHITE, GREY, BLUE, DARK = (255, 255, 255), (150, 150, 150), (100, 143, 255), (60, 60, 60)


def areas_picture(frames: np.ndarray, told: Sequence[tuple[str, str]], left: Mapping[str, float], title: str) -> np.ndarray:
    """Return frames with two lines of text under each, below a title and bars of what is left.

    Parameters
    ----------
    frames : ndarray
        uint8 (n, 48, 48).
    told : sequence of tuple of str
        Two lines for each frame.
    left : mapping
        What is left of each budget, by its name, 0 to 1.
    title : str
        First line.

    Returns
    -------
    ndarray
        uint8 (height, width, 3).
    """
    from PIL import Image, ImageDraw

    high = TILE_PX + 2 * LINE_PX + GAP_PX
    width = COLUMNS * (TILE_PX + GAP_PX) + GAP_PX
    top = 4 * LINE_PX + 2 * GAP_PX
    height = top + max(2, -(-len(told) // COLUMNS)) * high
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    draw.text((GAP_PX, GAP_PX // 2), title, fill=WHITE)
    for row, (name, part) in enumerate(left.items(), 1):
        y = GAP_PX // 2 + row * LINE_PX
        draw.text((GAP_PX, y), name, fill=GREY)
        for share, colour in ((1.0, DARK), (max(part, 0.0), BLUE)):
            draw.rectangle((60, y + 2, 60 + int(share * (width - 60 - GAP_PX)), y + LINE_PX - 4), fill=colour)
    for i, (frame, lines) in enumerate(zip(frames, told, strict=True)):
        x, y = GAP_PX + i % COLUMNS * (TILE_PX + GAP_PX), top + i // COLUMNS * high
        picture.paste(Image.fromarray(frame).resize((TILE_PX, TILE_PX), Image.Resampling.NEAREST), (x, y))
        for line, text in enumerate(lines):
            draw.text((x, y + TILE_PX + line * LINE_PX), text, fill=WHITE if line else GREY)
    return np.asarray(picture)
