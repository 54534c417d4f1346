"""A canvas for pictures of environments: frames, gauges and text, drawn by numpy and pillow in a few milliseconds."""

import functools
import importlib.util
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stemtwin.twin.envs.image_features import stretched

Colour = tuple[int, int, int]
Area = tuple[float, float, float, float]
"""Left, top, right and bottom edge of a box, pixels."""
BACKGROUND: Colour = (16, 18, 24)
TRACK: Colour = (50, 54, 66)
GREY: Colour = (148, 154, 168)
WHITE: Colour = (240, 242, 246)
AMBER: Colour = (255, 176, 0)
BLUE: Colour = (100, 143, 255)
RED: Colour = (240, 90, 90)
FONT = "mpl-data/fonts/ttf/DejaVuSans.ttf"
"""Path of the font in the folder of matplotlib."""
FINE = 4
"""Factor by which round shapes are drawn larger before they are reduced, so their edges are smooth."""
MAGMA = np.array(
    [(0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122), (229, 80, 100), (251, 135, 97), (254, 194, 135), (252, 253, 191)], float
)
"""Nine colours of matplotlib's map magma, from dark to bright (public domain)."""
BARS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Lengths of scale bars, A."""
LONGEST_BAR = 0.35
"""Largest length of a scale bar, as a fraction of the frame's width."""


@functools.lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font DejaVu Sans at a size in pixels.

    The font is read from matplotlib's files, because pillow's own font does not contain the angstrom sign.
    """
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    return ImageFont.truetype(str(Path(found.origin).parent / FONT), size)


@functools.lru_cache(maxsize=1)
def _magma() -> np.ndarray:
    at = np.linspace(0, len(MAGMA) - 1, 256)
    out = np.stack([np.interp(at, np.arange(len(MAGMA)), channel) for channel in MAGMA.T], axis=-1).astype(np.uint8)
    out.setflags(write=False)
    return out


def coloured(image: np.ndarray) -> np.ndarray:
    """Colour an image by the colour map magma from its smallest to its largest value; return uint8, shape (ny, nx, 3)."""
    low, high = float(image.min()), float(image.max())
    return _magma()[np.clip((image - low) * (255.0 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)]


class PictureCanvas:
    """A canvas with methods that draw the parts of a picture.

    Parameters
    ----------
    width, height : int
        Size of the picture, pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)

    def array(self) -> np.ndarray:
        """Return the picture, uint8, shape (height, width, 3)."""
        return np.array(self.image)

    def text(self, x: float, y: float, text: str, *, colour: Colour = WHITE, size: int = 12, anchor: str = "ls") -> None:
        """Write a line of text at the point (x, y), pixels.

        ``anchor`` is an anchor code of pillow; ``"ls"`` puts the left end of the baseline at the point.
        """
        self.draw.text((x, y), text, fill=colour, font=font(size), anchor=anchor)

    def paste(self, pixels: np.ndarray, box: Area, *, smooth: bool = False) -> None:
        """Paste an image, uint8, (ny, nx) or (ny, nx, 3), stretched to a box."""
        left, top, right, bottom = (round(value) for value in box)
        how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
        self.image.paste(Image.fromarray(pixels).resize((right - left, bottom - top), how), (left, top))

    def plate(self, box: Area) -> None:
        """Darken a box as a background for text on a frame."""
        left, top, right, bottom = (round(value) for value in box)
        part = self.image.crop((left, top, right, bottom))
        self.image.paste(Image.blend(part, Image.new("RGB", part.size), 0.6), (left, top))

    def rounded(self, box: Area, colour: Colour) -> None:
        """Fill a box that has round ends."""
        left, top, right, bottom = (round(value) for value in box)
        if right > left and bottom > top:
            self.image.paste(colour, (left, top), _pill(right - left, bottom - top))

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle."""
        self.rounded((x - radius, y - radius, x + radius, y + radius), colour)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, width: int = 1) -> None:
        """Draw a line."""
        self.draw.line((x0, y0, x1, y1), fill=colour, width=width)

    def frame(self, counts: np.ndarray, box: Area, side: float) -> None:
        """Draw a frame with its scale bar.

        Parameters
        ----------
        counts : ndarray
            The frame, shape (ny, nx).
        box : tuple of float
            Left, top, right and bottom edge of the frame in the picture, pixels.
        side : float
            Longer side of the frame, A.
        """
        self.paste(stretched(counts, least=1.0), box)
        left, _, right, bottom = box
        scale = (right - left) / (side * counts.shape[1] / max(counts.shape))
        bar = max((length for length in BARS if length * scale <= LONGEST_BAR * (right - left)), default=BARS[0])
        label, size = f"{bar:g} Å", 13
        wide = max(bar * scale, font(size).getlength(label))
        self.plate((left + 8, bottom - 36, left + 24 + wide, bottom - 8))
        self.draw.rectangle((left + 16, bottom - 16, left + 16 + bar * scale, bottom - 13), fill=WHITE)
        self.text(left + 16, bottom - 21, label, size=size)

    def gauge(self, box: Area, value: float, *, trail: tuple[float, ...] = (), colour: Colour = AMBER, width: float = 5) -> None:
        """Draw a number from -1 to 1 as a bar from the middle of a track to a dot.

        Small dots mark the earlier values in ``trail``, which are sorted from oldest to latest.
        """
        left, top, right, bottom = box
        middle, y, reach = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
        self.rounded((left, y - width / 2, right, y + width / 2), TRACK)
        end = middle + max(-1.0, min(1.0, value)) * reach
        self.draw.rectangle((min(middle, end), y - width / 2, max(middle, end), y + width / 2 - 1), fill=_dim(colour, 0.7))
        self.line(middle, y - width, middle, y + width - 1, GREY)
        for number, past in enumerate(trail, 1):
            at = middle + max(-1.0, min(1.0, past)) * reach
            shade = 0.25 + 0.6 * number / len(trail)
            self.dot(at, y, 2.5, _dim(colour, shade))
        self.dot(end, y, width + 1, colour)

    def bar(self, box: Area, value: float, colour: Colour) -> None:
        """Draw a number from -1 to 1 as a bar from the middle of a track."""
        left, top, right, bottom = (round(part) for part in box)
        middle = (left + right) // 2
        end = round(middle + max(-1.0, min(1.0, value)) * (right - left) / 2)
        self.draw.rectangle((left, top, right, bottom), fill=TRACK)
        self.draw.rectangle((min(middle, end), top, max(middle, end), bottom), fill=colour)
        self.line(middle, top - 1, middle, bottom + 1, GREY)

    def share(self, box: Area, value: float, colour: Colour = BLUE) -> None:
        """Draw a fraction from 0 to 1 as the filled part of a track, in red below 0.1."""
        left, top, right, bottom = box
        value = max(0.0, min(1.0, value))
        self.rounded(box, TRACK)
        if value > 0:
            end = max(left + value * (right - left), left + min(bottom - top, right - left))
            self.rounded((left, top, end, bottom), RED if value < 0.1 else colour)


def _dim(colour: Colour, share: float) -> Colour:
    """Return a colour mixed with the background."""
    mixed = [round(share * a + (1 - share) * b) for a, b in zip(colour, BACKGROUND, strict=True)]
    return mixed[0], mixed[1], mixed[2]


@functools.lru_cache(maxsize=512)
def _pill(width: int, height: int) -> Image.Image:
    """Return the mask of a box with round ends."""
    large = Image.new("L", (FINE * width, FINE * height))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, FINE * width - 1, FINE * height - 1), FINE * min(width, height) / 2, fill=255)
    return large.resize((width, height), Image.Resampling.BOX)


def amount(value: float) -> str:
    """Return a number as text with three significant digits and an SI prefix."""
    if value <= 0:
        return "0"
    power = min(max(math.floor(math.log10(value) + 1e-12) // 3, 0), 5)
    return f"{value / 1000**power:.3g}{('', 'k', 'M', 'G', 'T', 'P')[power]}"
