"""Intervals and Pareto plots of scores as SVG, without scripts, with labels for screen readers."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, MARGIN = 480, 300, 48


def whisker(value: float, low: float | None, high: float | None, ends: tuple[float, float]) -> Markup:
    """Return an SVG of a score with its interval on the common scale of a table.

    Parameters
    ----------
    value : float
        The score.
    low, high : float or None
        Ends of the interval of the score; None if it has no interval.
    ends : (float, float)
        Ends of the scale.
    """
    first, last = ends
    span = (last - first) or 1.0

    def at(number: float) -> float:
        return round(4 + 112 * (number - first) / span, 2)

    line = ""
    if low is not None and high is not None:
        line = f'<line x1="{at(low)}" x2="{at(high)}" y1="8" y2="8" stroke="currentColor" stroke-width="2"/>'
    return Markup(
        f'<svg class="whisker" viewBox="0 0 120 16" width="120" height="16" aria-hidden="true">{line}'
        f'<circle cx="{at(value)}" cy="8" r="3.5" fill="currentColor"/></svg>'
    )


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return at most ``count`` + 1 round numbers within a range, for the ticks of an axis."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= count)
    return [round(number * step, 12) for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def pareto(points: Sequence[tuple[str, float, float]], *, metric: str, direction: str) -> Markup:
    """Return a plot of score against dose, with the entries of the Pareto front filled and joined.

    Parameters
    ----------
    points : sequence of (str, float, float)
        Name, dose (e-/A^2) and score of each entry; entries without a dose above 0 are left out.
    metric, direction : str
        Name of the score; ``"max"`` if larger scores are better, else ``"min"``.

    Returns
    -------
    Markup
        An SVG, or "" for fewer than two entries.
    """
    points = [point for point in points if point[1] > 0]
    if len(points) < 2:
        return Markup("")
    doses, scores = [math.log10(point[1]) for point in points], [point[2] for point in points]
    x0, x1, y0, y1 = min(doses), max(doses), min(scores), max(scores)
    pad_x, pad_y = 0.08 * (x1 - x0) or 0.5, 0.08 * (y1 - y0) or 0.5
    x0, x1, y0, y1 = x0 - pad_x, x1 + pad_x, y0 - pad_y, y1 + pad_y

    def place(dose: float, score: float) -> tuple[float, float]:
        x = MARGIN + (WIDTH - MARGIN - 8) * (dose - x0) / (x1 - x0)
        return round(x, 1), round(HEIGHT - MARGIN - (HEIGHT - MARGIN - 8) * (score - y0) / (y1 - y0), 1)

    best = {number for number in range(len(points)) if not _beaten(number, doses, scores, direction)}
    parts = [f'<rect x="{MARGIN}" y="8" width="{WIDTH - MARGIN - 8}" height="{HEIGHT - MARGIN - 8}" fill="none" stroke="#999"/>']
    for tick in ticks(x0, x1):
        x, _ = place(tick, y0)
        parts.append(f'<text x="{x}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{10**tick:.3g}</text>')
    for tick in ticks(y0, y1):
        _, y = place(x0, tick)
        parts.append(f'<text x="{MARGIN - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    joined = " ".join("{},{}".format(*place(doses[one], scores[one])) for one in sorted(best, key=lambda one: doses[one]))
    parts.append(f'<polyline points="{joined}" fill="none" stroke="#888" stroke-dasharray="4 3"/>')
    names: dict[tuple[float, float], list[str]] = {}
    for number, (name, dose, score) in enumerate(points):
        x, y = place(doses[number], scores[number])
        fill = "currentColor" if number in best else "none"
        title = f"<title>{escape(name)}: {dose:.3g} e-/A^2, {score:.3g}</title>"
        parts.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{fill}" stroke="currentColor">{title}</circle>')
        names.setdefault((x, y), []).append(name[:24])
    for (x, y), shared in names.items():  # equal entries share a label; near the right edge it is left of its point
        side = f'text-anchor="end" x="{x - 7}"' if x > 0.75 * WIDTH else f'x="{x + 7}"'
        parts.append(f'<text {side} y="{y - 5}">{escape(", ".join(shared)[:48])}</text>')
    parts.append(f'<text x="{(WIDTH + MARGIN) / 2}" y="{HEIGHT - 10}" text-anchor="middle">dose of an episode, e-/A^2</text>')
    parts.append(f'<text x="14" y="{HEIGHT / 2 - 20}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2 - 20})">{escape(metric)}</text>')
    label = f"{metric} against dose of {len(points)} entries"
    return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>')


def _beaten(number: int, doses: Sequence[float], scores: Sequence[float], direction: str) -> bool:
    """Return True if another entry is at least as good in dose and in score, and better in one of the two."""
    sign = 1.0 if direction == "max" else -1.0
    here = (-doses[number], sign * scores[number])
    others = [(-dose, sign * score) for dose, score in zip(doses, scores, strict=True)]
    return any(dose >= here[0] and score >= here[1] and (dose, score) != here for dose, score in others)
