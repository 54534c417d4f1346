"""Pictures of drift tracking: the frame, the path of the beam shift, and the remaining budgets."""

from collections.abc import Mapping, Sequence

import numpy as np

from stemtwin.twin.envs.canvas import AMBER, GREY, TRACK, WHITE, PictureCanvas, amount

SIZE, SIDE = (760, 480), 434
"""Size of a picture (width, height), and side of the frame in it, pixels."""
SMOOTHING_ANGSTROM = 0.4
"""Standard deviation of the smoothing of displayed frames, A."""
PLOT = (482.0, 60.0, 742.0, 320.0)
"""Box of the path in the picture, pixels."""


def watch_picture(image: np.ndarray, field: float, path: Sequence[np.ndarray], *, left: Mapping[str, float], title: str, dose: float) -> np.ndarray:
    """Draw the last frame with its centre marked, the path of the beam shift and the budgets; return uint8, shape (480, 760, 3).

    The picture does not show the true position of the cluster.

    Parameters
    ----------
    image : ndarray
        Last frame, electrons, shape (ny, nx).
    field : float
        Field of view of the frame, A.
    path : sequence of ndarray
        Beam shifts (x, y) of all frames, A.
    left : mapping
        Remaining fraction of each budget, by name of the budget.
    title : str
        Text above the frame.
    dose : float
        Dose so far, e-/A^2.
    """
    from scipy.ndimage import gaussian_filter

    canvas = PictureCanvas(*SIZE)
    canvas.text(14, 23, f"frame {len(path)}", size=17)
    canvas.text(110, 23, title, colour=GREY)
    canvas.frame(gaussian_filter(image.astype(np.float32), SMOOTHING_ANGSTROM * image.shape[1] / field), (14, 34, 14 + SIDE, 34 + SIDE), field)
    x, y = 14 + SIDE / 2, 34 + SIDE / 2
    for a, b in (((x - 16, y), (x - 5, y)), ((x + 5, y), (x + 16, y)), ((x, y - 16), (x, y - 5)), ((x, y + 5), (x, y + 16))):
        canvas.draw.line((*a, *b), fill=AMBER, width=2)
    _path(canvas, np.array(path))
    for row, (name, share) in enumerate(left.items()):
        at = 352 + 26 * row
        canvas.text(482, at + 5, f"{name} left")
        canvas.share((570, at - 5, 690, at + 5), share)
        canvas.text(742, at + 5, f"{share:.0%}", anchor="rs")
    canvas.text(612, 458, f"dose {amount(dose)} electrons/Å²", colour=GREY, anchor="ms")
    return canvas.array()


def _path(canvas: PictureCanvas, path: np.ndarray) -> None:
    """Draw the path of the shift, with the last step in amber."""
    x0, y0, x1, y1 = PLOT
    canvas.text((x0 + x1) / 2, y0 - 12, "shift of the beam", colour=GREY, anchor="ms")
    canvas.draw.rectangle(PLOT, outline=TRACK)
    low, high = path.min(axis=0), path.max(axis=0)
    span = max(float((high - low).max()) * 1.15, 20.0)
    places = [((x0 + x1) / 2 + (x - (low[0] + high[0]) / 2) / span * (x1 - x0), (y0 + y1) / 2 + (y - (low[1] + high[1]) / 2) / span * (y1 - y0))
              for x, y in path.tolist()]  # fmt: skip
    if len(places) > 1:
        canvas.draw.line(places, fill=WHITE, width=1)
        canvas.draw.line(places[-2:], fill=AMBER, width=2)
    x, y = places[-1]
    canvas.draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=AMBER)
    canvas.text(x1 - 6, y1 - 8, f"{path[-1][0]:+.1f}, {path[-1][1]:+.1f} Å", colour=GREY, size=11, anchor="rs")
