"""Pictures of aberration correction: last image or Ronchigram, measured values, commands and budgets, without hidden truth."""

from collections.abc import Mapping

import numpy as np

from stemtwin.twin.envs import tuning_ronchigram
from stemtwin.twin.envs.canvas import AMBER, BLUE, GREY, RED, WHITE, PictureCanvas, amount

SIZE, FRAME = (820, 500), (14, 34, 448, 468)
HAIDER_NAMES = {"C10": "C1", "C12": "A1", "C21": "B2", "C23": "A2", "C30": "C3", "C32": "S3", "C34": "A3"}


def tuning_picture(
    frame: np.ndarray,
    *,
    names: tuple[str, ...],
    told: Mapping[str, np.ndarray],
    steps: np.ndarray,
    left: Mapping[str, float],
    title: str,
    note: str,
    failed: bool,
    dose: float,
    field_of_view: float | None,
) -> np.ndarray:
    """Draw the last image or Ronchigram beside gauges of measured values, knobs and budgets; uint8, shape (500, 820, 3).

    Parameters
    ----------
    frame : ndarray
        The last image or Ronchigram, electrons.
    names : tuple of str
        Names of the Cartesian coefficients.
    told : mapping
        The agent's observation: ``knobs``, ``estimates`` and ``errors`` of all coefficients, A.
    steps : ndarray
        Largest misalignments, A; the gauges extend to twice these values.
    left : mapping
        Remaining fraction of each budget, by name of the budget.
    title, note : str
        Text about the last action, and a note beside it.
    failed : bool
        Whether the last action failed.
    dose : float
        Dose so far, e-/A^2.
    field_of_view : float, optional
        Side of the image, A; None for a Ronchigram.
    """
    canvas = PictureCanvas(*SIZE)
    canvas.text(14, 23, title, size=16, colour=RED if failed else WHITE)
    canvas.text(448, 23, note, colour=GREY, anchor="rs")
    if field_of_view is None:
        canvas.paste(tuning_ronchigram.levels(frame), FRAME, smooth=True)
    else:
        canvas.frame(frame, FRAME, field_of_view)
    canvas.text(14, 490, f"{frame.mean():.1f} electrons per {'point' if field_of_view else 'pixel'}", colour=GREY)
    canvas.text(448, 490, f"dose {amount(dose)} electrons/Å²", colour=GREY, anchor="rs")
    canvas.text(556, 22, "measured", colour=BLUE, size=11, anchor="ms")
    canvas.text(724, 22, "commanded since the start", colour=AMBER, size=11, anchor="ms")
    pitch = min(30.0, 350 / len(names))
    for i, name in enumerate(names):
        _row(canvas, 44 + pitch * i, name, {part: float(values[i]) for part, values in told.items()}, float(steps[i]))
    for number, (name, share) in enumerate(left.items()):
        y = 428 + 24 * number
        canvas.text(462, y + 5, f"{name} left")
        canvas.share((566, y - 5, 740, y + 5), share)
        canvas.text(806, y + 5, f"{share:.0%}", anchor="rs")
    return canvas.array()


def _row(canvas: PictureCanvas, y: float, name: str, told: Mapping[str, float], step: float) -> None:
    """Draw one coefficient: its last measured value with error, and its knob."""
    label = f"{HAIDER_NAMES[name[:3]]} {name[3:]}".strip()
    canvas.text(462, y + 4, label, size=12)
    span = 2 * step
    if told["errors"] < 4 * step:
        canvas.gauge((500, y - 7, 612, y + 7), told["estimates"] / span, colour=BLUE, width=4)
        canvas.text(640, y + 4, _length(told["estimates"]), size=10, anchor="ms")
    else:
        canvas.text(556, y + 4, "not yet", colour=GREY, size=10, anchor="ms")
    canvas.gauge((668, y - 7, 746, y + 7), told["knobs"] / span, width=4)
    canvas.text(808, y + 4, _length(told["knobs"]), size=10, anchor="rs")


def _length(value: float) -> str:
    """Return a length in nm or um."""
    return f"{value / 1e4:+.2f} µm" if abs(value) >= 1e4 else f"{value / 10:+.1f} nm"
