"""Registration of scanned frames: coarse shifts by correlation, then a shift of every line by Gauss-Newton steps.

All positions are (x, y), A, along the axes of the first frame and relative to the middle of the field. The specimen is rendered on a grid: the counts
of each pixel are distributed around the estimated position of the probe. Each frame is compared with the mean of the other frames, never with itself.
"""

import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

MARGIN_ANGSTROM = 6.0
"""Width of the margin of the grid around the field, A."""
WIDTH_ANGSTROM = (0.2, 0.6)
"""Smallest and largest standard deviation of the filter for rendering, A."""
ELECTRONS = 40.0
"""Target number of electrons of all frames in the area of the filter, 2 pi times its variance."""
REACH_ANGSTROM = 0.6
"""Distance from the expected shift within which the search for a correlation peak takes place, A: less than half a cell of most lattices."""
GRID_PX = 0.5
"""Step of the search for the common shift from frame to frame of a series, px."""
FASTEST_ANGSTROM_PER_S = 2.0
SHEAR_STEP_ANGSTROM = 0.5
"""Step of the search for the drift of a pair, as the displacement during one frame, A."""
ROUNDS = 6
FRAME_SPREAD_ANGSTROM = 0.3
"""Prior standard deviation of the shift of a whole frame relative to the coarse field, A."""
RAMP_SPREAD_ANGSTROM = {"series": 0.03, "pair": 0.1}
"""Prior standard deviation of the change of the shift from the middle of a frame to its end, A."""
JITTER_ANGSTROM = 0.1
"""Initial standard deviation of the shifts of lines, A."""
CORRELATED = 0.5
"""Fraction of the variance of line shifts that is correlated between lines."""
CORRELATION_LINES = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScannedFrames:
    """Frames of one sample.

    Parameters
    ----------
    counts : ndarray
        (n, ny, nx) electrons.
    places : ndarray
        (n, ny, nx, 2) commanded positions, A.
    times : ndarray
        (n, ny) time in the middle of each line, s.
    step : float
        Pixel size, A/px.
    """

    counts: np.ndarray
    places: np.ndarray
    times: np.ndarray
    step: float

    @property
    def width_px(self) -> float:
        """Standard deviation w of the Gaussian filter that smooths images of the specimen, px.

        All frames together have 40 electrons, on average, in an area of 2 pi w^2. If this w is outside the range from 0.2 A to 0.6 A, the nearer end
        of the range is used.
        """
        wanted = np.sqrt(ELECTRONS / (2 * np.pi * max(self.counts.mean() * len(self.counts), 1e-9)))
        return float(np.clip(wanted, WIDTH_ANGSTROM[0] / self.step, WIDTH_ANGSTROM[1] / self.step))


def frames_of(given: dict) -> ScannedFrames:
    """Return the frames of a sample of the task ``drift``."""
    n, step = int(given["frames"]), float(given["sampling_angstrom"])
    counts = np.asarray(given["image"][:n], dtype=float)
    ny, nx = counts.shape[1:]
    x, y = (np.arange(nx) - (nx - 1) / 2) * step, (np.arange(ny) - (ny - 1) / 2) * step
    places = np.empty((n, ny, nx, 2))
    for frame, angle in zip(places, np.asarray(given["rotation_rad"][:n], dtype=float), strict=True):
        frame[..., 0] = np.cos(angle) * x - np.sin(angle) * y[:, None]
        frame[..., 1] = np.sin(angle) * x + np.cos(angle) * y[:, None]
    line = (nx * float(given["dwell_time_us"]) + float(given["flyback_us"])) * 1e-6
    times = np.arange(n)[:, None] * (ny * line + float(given["pause_s"])) + (np.arange(ny) + 0.5) * line
    return ScannedFrames(counts=counts, places=places, times=times, step=step)


def spread(counts: np.ndarray, places: np.ndarray, step: float, side: int) -> np.ndarray:
    """Return the sum of counts and the number of pixels at each point of a square grid, (2, side, side).

    Each pixel is distributed over the four points around its position, with bilinear weights.
    """
    at = np.clip(places.reshape(-1, 2) / step + (side - 1) / 2, 0, side - 1.001)
    low = at.astype(int)
    part, values = at - low, counts.ravel()
    out = np.zeros((2, side * side))
    for dx in (0, 1):
        for dy in (0, 1):
            share = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
            index = (low[:, 1] + dy) * side + low[:, 0] + dx
            out[0] += np.bincount(index, share * values, side * side)
            out[1] += np.bincount(index, share, side * side)
    return out.reshape(2, side, side)


def side_of(frames: ScannedFrames) -> int:
    """Return the number of points along each side of the rendering grid."""
    return 2 * int(np.ceil((frames.places.max() + MARGIN_ANGSTROM) / frames.step)) + 1


def rendered(parts: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the rendered image, in counts per pixel and smoothed by a Gaussian filter, and the mask of covered points, (side, side) each.

    ``parts`` comes from :func:`spread`, and ``width`` is the standard deviation of the filter, px.
    """
    counts, weights = (gaussian_filter(part, width, mode="constant") for part in parts)
    there = weights > 0.2
    return np.divide(counts, weights, out=np.zeros_like(counts), where=there), there


def sharpened(parts: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the image of :func:`rendered`, corrected to first order for its blur, and the mask of covered points.

    A line that passes beside a column would be shifted towards this column by a blurred reference. The blur comes from the filter and from two linear
    interpolations.
    """
    image, there = rendered(parts, width)
    wider = gaussian_filter(there.astype(float), whole := np.sqrt(width**2 + 1 / 3), mode="constant")
    again = np.divide(gaussian_filter(image, whole, mode="constant"), wider, out=np.zeros_like(image), where=there)
    return np.maximum(2 * image - again, 0.0), there


def correlation_peak(first: np.ndarray, second: np.ndarray, near: np.ndarray, reach: float) -> tuple[np.ndarray, float]:
    """Return the offset (x, y), px, of the second image relative to the first one, and the normalised correlation at this offset.

    The images have zero mean. An offset d means second(r + d) = first(r). The search covers all offsets within
    ``reach`` (px) of the expected offset ``near``.
    """
    both = np.fft.irfft2(np.fft.rfft2(first).conj() * np.fft.rfft2(second), s=first.shape)
    n = first.shape[0]
    offsets = np.fft.fftfreq(n, 1 / n)
    allowed = np.hypot(offsets[:, None] - near[1], offsets - near[0]) <= reach
    iy, ix = np.unravel_index(np.argmax(np.where(allowed, both, -np.inf)), both.shape)
    top = both[iy, ix]

    def vertex(before: float, after: float) -> float:
        curvature = before - 2 * top + after
        return float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0

    dx, dy = vertex(both[iy, ix - 1], both[iy, (ix + 1) % n]), vertex(both[iy - 1, ix], both[(iy + 1) % n, ix])
    norm = np.sqrt((first**2).sum() * (second**2).sum())
    return np.array([offsets[ix] + dx, offsets[iy] + dy]), float(top / max(norm, 1e-12))


def _flat(parts: np.ndarray, width: float) -> np.ndarray:
    """Return a rendering without its mean, 0 at uncovered points."""
    image, there = rendered(parts, width)
    return np.where(there, image - image[there].mean(), 0.0)


def common_step(frames: ScannedFrames) -> np.ndarray:
    """Return the shift (x, y), A, from one frame of a series to the next, assumed to be the same for all frames.

    The shift maximises the sum of the correlations of all pairs of frames that are one, two or four frames apart.
    """
    side, width = side_of(frames), max(frames.width_px, 0.3 / frames.step)
    images = [_flat(spread(counts, places, frames.step, side), width) for counts, places in zip(frames.counts, frames.places, strict=True)]
    waves = np.fft.rfft2(np.stack(images))
    reach = FASTEST_ANGSTROM_PER_S * float(frames.times[1, 0] - frames.times[0, 0]) / frames.step
    axis = np.arange(-np.ceil(reach / GRID_PX), np.ceil(reach / GRID_PX) + 1) * GRID_PX
    x, y = (part.ravel() for part in np.meshgrid(axis, axis))
    inside = np.hypot(x, y) <= reach
    x, y, total = x[inside], y[inside], 0.0
    for lag in (1, 2, 4):
        if lag < len(waves):
            surface = np.fft.irfft2((waves[:-lag].conj() * waves[lag:]).sum(axis=0), s=images[0].shape)
            total = total + map_coordinates(surface, [-lag * y, -lag * x], order=1, mode="grid-wrap")
    best = int(np.argmax(total))
    return np.array([x[best], y[best]]) * frames.step


def series_field(frames: ScannedFrames) -> np.ndarray:
    """Return the coarse displacement field of a series of frames, (n, ny, 2), A.

    The shift of each frame comes from its correlation with the mean of the earlier frames, near the shift that :func:`common_step` predicts. Within a
    frame, the shift changes linearly in time, see :func:`through_lines`.
    """
    n, side, width = len(frames.counts), side_of(frames), max(frames.width_px, 0.3 / frames.step)
    shifts, step = np.zeros((n, 2)), common_step(frames)
    total = spread(frames.counts[0], frames.places[0], frames.step, side)
    for f in range(1, n):
        guess = shifts[f - 1] + step
        own = spread(frames.counts[f], frames.places[f] + guess, frames.step, side)
        offset, _ = correlation_peak(_flat(total, width), _flat(own, width), np.zeros(2), REACH_ANGSTROM / frames.step)
        shifts[f] = guess - offset * frames.step
        total = total + spread(frames.counts[f], frames.places[f] + shifts[f], frames.step, side)
    return through_lines(frames, shifts)


def through_lines(frames: ScannedFrames, shifts: np.ndarray) -> np.ndarray:
    """Return the displacement field (n, ny, 2), A, whose mean in each frame is a given shift (n, 2), A.

    Within each frame, the field changes linearly in time. Its velocity is the slope of a straight line that is fitted to the shifts of all frames.
    """
    middle = frames.times.mean(axis=1)
    velocity = np.polyfit(middle, shifts, 1)[0]
    return shifts[:, None] + velocity * (frames.times - middle[:, None])[..., None]


def pair_field(frames: ScannedFrames) -> np.ndarray:
    """Return the coarse displacement field of two orthogonal scans, (2, ny, 2), A, for the constant velocity that makes them correlate best."""
    side, width = side_of(frames), max(frames.width_px, 0.3 / frames.step)
    one, between = float(np.ptp(frames.times[0])), float(frames.times[1].mean() - frames.times[0].mean())
    count = max(1, int(np.ceil(FASTEST_ANGSTROM_PER_S * one / SHEAR_STEP_ANGSTROM)))
    ways = np.arange(-count, count + 1) * SHEAR_STEP_ANGSTROM
    relative = (frames.times - frames.times[0].mean())[..., None]

    def tried(velocity: np.ndarray, reach: float) -> tuple[float, np.ndarray]:
        field = velocity * relative
        images = [
            _flat(spread(counts, places + own[:, None], frames.step, side), width)
            for counts, places, own in zip(frames.counts, frames.places, field, strict=True)
        ]
        offset, quality = correlation_peak(images[0], images[1], np.zeros(2), reach / frames.step)
        return quality, field - np.array([[[0.0, 0.0]], [offset * frames.step]]) if quality > 0 else field

    near = [np.array([wx, wy]) / one for wx in ways for wy in ways if np.hypot(wx, wy) <= FASTEST_ANGSTROM_PER_S * one + SHEAR_STEP_ANGSTROM]
    best = max(near, key=lambda v: tried(v, 0.6 * SHEAR_STEP_ANGSTROM * between / one)[0])
    for fine in (SHEAR_STEP_ANGSTROM / 2, SHEAR_STEP_ANGSTROM / 4):
        around = [best + np.array([wx, wy]) * fine / one for wx in (-1, 0, 1) for wy in (-1, 0, 1)]
        best = max(around, key=lambda v: tried(v, 0.6 * SHEAR_STEP_ANGSTROM * between / one)[0])
    return tried(best, 0.6 * SHEAR_STEP_ANGSTROM * between / one)[1]


def _kernel(lines: int, ramp_spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two prior covariances (lines, lines): of the line shifts, with unit variance, and of the shift of a whole frame and its change."""
    number = np.arange(lines)
    correlated = np.exp(-np.abs(number[:, None] - number) / CORRELATION_LINES)
    ramp = np.linspace(-1, 1, lines)
    whole = FRAME_SPREAD_ANGSTROM**2 + ramp_spread**2 * np.outer(ramp, ramp)
    return (1 - CORRELATED) * np.eye(lines) + CORRELATED * correlated, whole


def refined(frames: ScannedFrames, field: np.ndarray) -> np.ndarray:
    """Return a field (n, ny, 2), A, refined by Gauss-Newton steps that fit the shift of each line to the mean of the other frames.

    Each step solves a least-squares problem, weighted by the Poisson variance, with a Gaussian prior about the given ``field``. The variance of the
    prior is estimated from the shifts and their uncertainty (expectation maximisation). The part of the shifts that is common to all frames of a
    series cannot be observed and is subtracted.
    """
    n, lines = field.shape[:2]
    side, width = side_of(frames), frames.width_px
    turned = not np.allclose(frames.places, frames.places[0])
    unit, smooth = _kernel(lines, RAMP_SPREAD_ANGSTROM["pair" if turned else "series"])
    ramp = np.stack([np.ones(lines), np.linspace(-1, 1, lines)], axis=1)
    detrend = np.eye(lines) - ramp @ np.linalg.pinv(ramp)
    shifts, variance = np.zeros_like(field), JITTER_ANGSTROM**2
    for _ in range(ROUNDS):
        at = frames.places + (field + shifts)[:, :, None]
        parts = np.stack([spread(counts, places, frames.step, side) for counts, places in zip(frames.counts, at, strict=True)])
        prior, square = np.kron(np.eye(2), variance * unit + smooth), 0.0
        for f, others in enumerate(parts.sum(axis=0) - parts):
            information, pull = _normal_equations(frames.counts[f], at[f], sharpened(others, width), frames.step, n)
            known = shifts[f].T.ravel()
            gain = np.linalg.solve(np.eye(2 * lines) + prior @ information, prior)
            found = gain @ (pull + information @ known)
            shifts[f] = found.reshape(2, lines).T
            for c in range(2):
                own = slice(c * lines, (c + 1) * lines)
                square += ((detrend @ found[own]) ** 2).mean() + np.trace(detrend @ gain[own, own]) / lines
        variance = float(square / (2 * n))
        if not turned:
            shifts -= shifts.mean(axis=0)
    return field + shifts


def _normal_equations(
    counts: np.ndarray, at: np.ndarray, reference: tuple[np.ndarray, np.ndarray], step: float, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the information matrix (2 lines, 2 lines) on the shifts of a frame's lines, all x first, and the pull (2 lines,) of its residuals."""
    image, there = reference
    lines, side = len(counts), len(image)
    grid = (at.reshape(-1, 2).T / step + (side - 1) / 2)[::-1]
    slope = np.gradient(image, step)

    def seen(values: np.ndarray) -> np.ndarray:
        return map_coordinates(values, grid, order=1, mode="nearest").reshape(counts.shape)

    mean, gy, gx = seen(image), seen(slope[0]), seen(slope[1])
    inside = seen(there.astype(float)) > 0.999
    floor = max(counts.mean() * 0.2, 1e-6)
    weight = np.where(inside, 1 / (np.maximum(mean, floor) * (1 + 1 / (n - 1))), 0.0)
    rest = counts - mean
    information = np.zeros((2 * lines, 2 * lines))
    slopes = (gx, gy)
    pull = np.concatenate([(weight * g * rest).sum(axis=1) for g in slopes])
    for a in range(2):
        for b in range(2):
            information[a * lines : (a + 1) * lines, b * lines : (b + 1) * lines] = np.diag((weight * slopes[a] * slopes[b]).sum(axis=1))
    return information, pull
