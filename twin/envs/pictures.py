"""Pictures of environment states for people."""

import numpy as np


def focus_picture(observation: dict[str, np.ndarray], reach: np.ndarray, *, frame: int, field_of_view: float) -> np.ndarray:
    """Return the frame with a scale bar, beside gauges of the three knobs and of the budget, uint8, shape (480, 720, 3).

    Parameters
    ----------
    observation : dict
        ``image``, ``knobs`` (A) and ``budget`` as the agent sees them.
    reach : ndarray
        How far the knobs go, A, shape (3,).
    frame : int
        Number of the frame.
    field_of_view : float
        Side of the frame, A.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.8), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    image = figure.add_axes((0.02, 0.03, 0.62, 0.93))
    image.imshow(observation["image"], cmap="gray", extent=(0, field_of_view, field_of_view, 0), interpolation="nearest")
    bar = 10.0 if field_of_view > 20 else 5.0
    image.plot([0.8, 0.8 + bar], [field_of_view - 0.8] * 2, color="white", lw=4, solid_capstyle="butt")
    image.text(0.8, field_of_view - 1.1, f"{bar:g} Å", color="white", va="bottom", fontsize=11)
    image.text(0.8, 0.8, f"frame {frame}", color="white", va="top", fontsize=11)
    image.axis("off")
    gauges = figure.add_axes((0.72, 0.42, 0.25, 0.5), facecolor="black")
    for i, (name, value) in enumerate(zip(("C10", "C12a", "C12b"), observation["knobs"], strict=True)):
        gauges.plot([-1, 1], [-i, -i], color="0.35", lw=6, solid_capstyle="round")
        gauges.plot(value / reach[i], -i, "o", color="#ffb000", ms=11)
        gauges.text(-1.05, -i + 0.3, f"{name}  {value:+.0f} Å", color="white", fontsize=11)
    gauges.text(-1.05, 0.85, "knobs since the start", color="0.7", fontsize=9)
    gauges.set(xlim=(-1.15, 1.15), ylim=(-2.6, 1.1))
    gauges.axis("off")
    budget = figure.add_axes((0.72, 0.08, 0.25, 0.26), facecolor="black")
    for i, (name, left) in enumerate(zip(("frames left", "dose left"), observation["budget"], strict=True)):
        budget.barh(-i, 1, color="0.25", height=0.3)
        budget.barh(-i, left, color="#648fff", height=0.3)
        budget.text(0, -i + 0.22, f"{name}  {left:.0%}", color="white", fontsize=10)
    budget.set(xlim=(-0.03, 1.03), ylim=(-1.4, 0.7))
    budget.axis("off")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
