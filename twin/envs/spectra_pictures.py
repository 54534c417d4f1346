"""Pictures of the spectrum search: image with measured positions, scores, and the last spectrum."""

from collections.abc import Mapping, Sequence

import numpy as np

from stemtwin.twin.envs.canvas import AMBER, BLUE, GREY, WHITE, Area, PictureCanvas, amount, coloured
from stemtwin.twin.envs.scalarisers import EXPOSURES

SIZE = (800, 500)
FRAME: Area = (14, 40, 454, 480)
PLOTS: dict[str, tuple[Area, str, bool]] = {
    "low": ((480, 56, 786, 126), "low losses, log", True),
    "core": ((480, 156, 786, 226), "L edges of iron", False),
    "edx": ((480, 256, 786, 326), "X-rays", False),
}
"""Area and title of each exposure, and whether its counts are drawn on a logarithmic scale."""
CURVE: Area = (480, 356, 786, 426)
BAR: Area = (550, 458, 786, 470)


def spectra_picture(
    image: np.ndarray,
    measured: Sequence[tuple[np.ndarray, float]],
    spectra: Mapping[str, np.ndarray],
    *,
    answer: np.ndarray | None,
    left: float,
    dose: float,
    field: float,
    title: str,
) -> np.ndarray:
    """Draw the image with measured positions, the last spectrum, the scores and the budget; uint8, shape (500, 800, 3).

    Parameters
    ----------
    image : ndarray
        Image, electrons, shape (ny, nx).
    measured : sequence of (ndarray, float)
        Position (x, y) in [-1, 1] and score of each spectrum, in order.
    spectra : mapping of ndarray
        Counts of the last spectrum, by name of the exposure. An exposure that was not taken has zeros only. The mapping is
        empty before the first spectrum.
    answer : ndarray, optional
        Declared position (x, y) in [-1, 1].
    left : float
        Remaining fraction of the number of spectra, 0 to 1.
    dose : float
        Dose so far, e-/A^2.
    field : float
        Side of the field, A.
    title : str
        Title in the first line of the picture.
    """
    canvas = PictureCanvas(*SIZE)
    canvas.text(14, 25, title, size=15)
    canvas.frame(np.sqrt(image), FRAME, field)
    _places(canvas, measured, answer)
    for name, (box, told, log) in PLOTS.items():
        low, high = EXPOSURES[name][0].energy_range_ev
        canvas.text(box[0], box[1] - 6, told, colour=GREY, size=11)
        canvas.text(box[2], box[1] - 6, f"{low:g} to {high:g} eV", colour=GREY, size=11, anchor="rs")
        canvas.draw.rectangle(box, outline=GREY)
        if name in spectra and spectra[name].any():
            values = np.log10(1 + spectra[name].astype(float)) if log else spectra[name].astype(float)
            _line(canvas, values, box)
    canvas.text(CURVE[0], CURVE[1] - 6, "scores in order", colour=GREY, size=11)
    canvas.draw.rectangle(CURVE, outline=GREY)
    if measured:
        scores = [score for _, score in measured]
        canvas.text(CURVE[2], CURVE[1] - 6, f"last {scores[-1]:.3g}, best {max(scores):.3g}", colour=GREY, size=11, anchor="rs")
        _bars(canvas, np.array(scores), CURVE)
    canvas.text(480, BAR[3], "spectra left", colour=GREY, size=11)
    canvas.share(BAR, left)
    canvas.text(786, 490, f"{len(measured)} spectra, dose {amount(dose)} electrons/Å²", colour=GREY, size=11, anchor="rs")
    return canvas.array()


def _spot(place: np.ndarray) -> tuple[float, float]:
    """Return the pixel of a position (x, y) in [-1, 1]."""
    left, top, right, bottom = FRAME
    return left + (float(place[0]) + 1) / 2 * (right - left), top + (float(place[1]) + 1) / 2 * (bottom - top)


def _places(canvas: PictureCanvas, measured: Sequence[tuple[np.ndarray, float]], answer: np.ndarray | None) -> None:
    """Draw measured positions in the colours of their scores, a ring around the last one and a cross at the answer."""
    if measured:
        scores = np.array([score for _, score in measured])
        colours = coloured(np.array([scores]))[0]
        for number, (place, _) in enumerate(measured):
            x, y = _spot(place)
            canvas.dot(x, y, 6, WHITE if number == len(measured) - 1 else GREY)
            canvas.dot(x, y, 4, (int(colours[number][0]), int(colours[number][1]), int(colours[number][2])))
    if answer is not None:
        x, y = _spot(answer)
        for dx, dy in ((12, 0), (0, 12)):
            canvas.line(x - dx, y - dy, x + dx, y + dy, AMBER, 3)


def _line(canvas: PictureCanvas, values: np.ndarray, box: Area) -> None:
    """Draw a curve from 0 to its largest value."""
    left, top, right, bottom = box
    x = np.linspace(left + 2, right - 2, len(values))
    y = bottom - 3 - (bottom - top - 8) * values / max(float(values.max()), 1e-9)
    canvas.draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=AMBER, width=2)


def _bars(canvas: PictureCanvas, scores: np.ndarray, box: Area) -> None:
    """Draw a bar for each score, scaled between the smallest and the largest."""
    left, top, right, bottom = box
    step = (right - left) / max(len(scores), 24)
    span = max(float(np.ptp(scores)), 1e-9)
    for number, share in enumerate((scores - scores.min()) / span):
        x = left + number * step
        canvas.draw.rectangle((x + 1, bottom - 2 - (bottom - top - 4) * float(share), x + max(step - 1, 2), bottom - 1), fill=BLUE)
