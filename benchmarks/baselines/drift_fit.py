"""Parts of the expert of ``drift-tracking``: likelihoods of positions by correlation with a template, a Kalman filter, and CUSUM maps.

A reference frame is a narrow frame (16 A wide) with as many electrons per point as the first frame of the episode. The exposure of a frame
is the ratio of its electrons per point to those of a reference frame.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import fft, ndimage

from stemtwin.twin.envs.drift_instrument import FIELD, SHAPE, WIDE_FIELD

BIN = 2
"""Number of points of a narrow frame per pixel of the template along each axis."""
PITCH, SIDE = FIELD * BIN / SHAPE[0], SHAPE[0] // BIN
"""Pixel of the template (A) and its side in pixels."""
RADIUS_ANGSTROM, SMOOTHING_ANGSTROM = 4.8, 0.45
"""Radius of the part of the template that is compared, and standard deviation by which it is smoothed, A."""
FORGET = 0.985
"""Factor by which the sums of the template are multiplied before a new frame is added."""
OFFSET_ADU, ADU_PER_ELECTRON = 1000.0, 7.6
"""Reading without electrons and reading per electron, ADU, as stated on the page of the environment."""


def electrons(image: np.ndarray) -> np.ndarray:
    """Return a frame in electrons; readings in ADU are recognised by values that exceed any possible number of electrons."""
    counts = image.astype(float)
    return (counts - OFFSET_ADU) / ADU_PER_ELECTRON if np.median(counts) > OFFSET_ADU / 2 else counts


def binned(counts: np.ndarray) -> np.ndarray:
    """Return the counts of a narrow frame (16 A wide), summed into the larger pixels of a template, shape (64, 64)."""
    return counts.reshape(SIDE, BIN, SIDE, BIN).sum(axis=(1, 3))


@dataclass
class Template:
    """Mean image of the surroundings of the feature, with the feature in the middle.

    Parameters
    ----------
    counts, frames : ndarray
        Weighted sums over the aligned frames for each pixel, shape (64, 64). ``counts`` is the sum of the counts. ``frames`` is the sum of the
        exposures. The exposure is 1 for a reference frame, which has as many electrons per point as the first frame of the episode.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE)))
    frames: np.ndarray = field(default_factory=lambda: np.full((SIDE, SIDE), 1e-9))

    def add(self, counts: np.ndarray, place: np.ndarray, exposure: float = 1.0) -> None:
        """Add a narrow frame (16 A wide) to the mean image.

        The feature is at ``place`` (x, y) relative to the middle of the frame, A. ``exposure`` is the ratio of the electrons per point of the frame
        to those of a reference frame.
        """
        moved, there = aligned(counts, place)
        self.counts, self.frames = FORGET * self.counts + moved, FORGET * self.frames + exposure * there

    def centre(self, place: np.ndarray) -> None:
        """Shift the template to bring the content at a position (x, y), A, to the middle."""
        self.counts, self.frames = (aligned(part, place)[0] for part in (self.counts, self.frames))
        self.frames = np.maximum(self.frames, 1e-9)

    def rate(self) -> np.ndarray:
        """Return the smoothed expected counts in each pixel at an exposure of 1.

        The result is the ratio of the smoothed sums ``counts`` and ``frames``. A uniform frame with an exposure of one half is added to both sums.
        This limits the noise of a template of few frames. The result is at least 5 % of the mean count of a pixel.
        """
        level = self.level()
        smooth = [ndimage.gaussian_filter(part, SMOOTHING_ANGSTROM / PITCH) for part in (self.counts, self.frames)]
        return np.maximum((smooth[0] + 0.5 * level) / (smooth[1] + 0.5), 0.05 * level)

    def level(self) -> float:
        """Return the mean count per pixel of the template in a reference frame."""
        return max(float(self.counts.sum() / self.frames.sum()), 1e-4)


def aligned(counts: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a narrow frame (16 A wide), shifted so that ``place`` (x, y), A, is in the middle, and the coverage of its pixels, (64, 64) each."""
    way = (-place[1] / PITCH, -place[0] / PITCH)
    return tuple(np.maximum(ndimage.shift(part, way, order=1), 0) for part in (counts, np.ones_like(counts)))  # type: ignore[return-value]


def log_likelihood(counts: np.ndarray, pitch: float, points: float, rate: np.ndarray, level: float) -> np.ndarray:
    """Return the logarithm of a likelihood ratio for each position of the feature, shape (ny, nx).

    The ratio is the Poisson likelihood of the counts if the feature is at a pixel, divided by their likelihood if the expected counts are uniform.

    Parameters
    ----------
    counts : ndarray
        The frame, counts, shape (ny, nx).
    pitch : float
        Pixel size of the frame, A.
    points : float
        Number of electrons incident on a pixel of ``counts``, in units of the number incident on a pixel of ``rate`` in a reference frame.
    rate : ndarray
        Expected counts of a reference frame on the pixels of the template, shape (64, 64).
    level : float
        Mean of ``rate`` over the pixels.
    """
    half = int(RADIUS_ANGSTROM / pitch)
    axis = np.arange(-half, half + 1) * (pitch / PITCH) + (SIDE - 1) / 2
    part = ndimage.map_coordinates(rate, np.stack(np.meshgrid(axis, axis, indexing="ij")), order=1, mode="nearest")
    inside = np.hypot(*np.meshgrid(*[places(2 * half + 1, pitch)] * 2)) < RADIUS_ANGSTROM
    ratio, excess = np.log(part / level) * inside, (part - level) * inside * points
    size = [fft.next_fast_len(n + 2 * half, real=True) for n in counts.shape]
    given, there = fft.rfft2(counts, size), fft.rfft2(np.ones_like(counts), size)
    both = given * fft.rfft2(ratio[::-1, ::-1], size) - there * fft.rfft2(excess[::-1, ::-1], size)
    return fft.irfft2(both, size)[half : half + counts.shape[0], half : half + counts.shape[1]]


def places(count: int, pitch: float) -> np.ndarray:
    """Return the coordinates of pixels along one axis relative to the middle of a frame, A, shape (count,)."""
    return (np.arange(count) - (count - 1) / 2) * pitch


def peak(score: np.ndarray, pitch: float) -> np.ndarray:
    """Return the position (x, y), A, of the largest score of a map, refined by parabolas and relative to the middle of the map."""
    iy, ix = np.unravel_index(int(score.argmax()), score.shape)
    found = []
    for index, line in ((ix, score[iy]), (iy, score[:, ix])):
        refine = 0.0
        if 0 < index < len(line) - 1:
            below, here, above = line[index - 1 : index + 2]
            bend = 2 * here - below - above
            refine = float(np.clip((above - below) / (2 * bend), -0.5, 0.5)) if bend > 0 else 0.0
        found.append((index + refine - (len(line) - 1) / 2) * pitch)
    return np.array(found)


@dataclass
class Motion:
    """Kalman filter of a feature with a nearly constant velocity: position and velocity along both axes, A and A/s.

    Parameters
    ----------
    place, velocity : ndarray
        Position (x, y), A, and velocity (x, y), A/s.
    covariance : ndarray
        Covariance of position and velocity along one axis, the same for both axes, shape (2, 2).
    walk : float
        Standard deviation of the random walk after 1 s, A.
    turn : float
        Standard deviation of the change of the velocity after 1 s, A/s.
    """

    place: np.ndarray
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    covariance: np.ndarray = field(default_factory=lambda: np.diag([0.5**2, 0.6**2]))
    walk: float = 0.4
    turn: float = 0.02

    def predict(self, seconds: float) -> None:
        """Advance the filter by a time, s."""
        step = np.array([[1.0, seconds], [0.0, 1.0]])
        self.place = self.place + seconds * self.velocity
        self.covariance = step @ self.covariance @ step.T + np.diag([self.walk**2, self.turn**2]) * seconds

    def update(self, place: np.ndarray, deviation: float) -> None:
        """Update the filter with a measured position (x, y), A, and its standard deviation, A."""
        gain = self.covariance[:, 0] / (self.covariance[0, 0] + deviation**2)
        way = place - self.place
        self.place, self.velocity = self.place + gain[0] * way, self.velocity + gain[1] * way
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])

    def jump(self, place: np.ndarray, deviation: float) -> None:
        """Set the position to a measured position (x, y), A, with its standard deviation, A, after a jump; the velocity is unchanged."""
        self.place = place.copy()
        self.covariance[0] = self.covariance[:, 0] = 0.0
        self.covariance[0, 0] = deviation**2

    def spread(self) -> float:
        """Return the standard deviation of the position along one axis, A."""
        return math.sqrt(self.covariance[0, 0])


@dataclass
class ChangeMaps:
    """Cumulative sums (CUSUM) of the differences between each frame and a template, for every position around the feature.

    A lasting change of the sample makes a sum grow beyond the values that counting noise can cause.

    Parameters
    ----------
    rise, fall : ndarray
        Accumulated excess and deficit of counts, in standard deviations, shape (64, 64).
    """

    rise: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE)))
    fall: np.ndarray = field(default_factory=lambda: np.zeros((SIDE, SIDE)))
    width: float = 0.55
    slack: float = 2.0
    inner: float = 2.8
    outer: float = 7.6

    def add(self, counts: np.ndarray, place: np.ndarray, template: Template, exposure: float = 1.0) -> float:
        """Add a narrow frame (16 A wide), and return a measure of the change of the sample.

        The feature is at ``place`` (x, y) relative to the middle of the frame, A. ``exposure`` is the ratio of the electrons per point of the frame
        to those of a reference frame. The returned measure is the sum of the largest rise and the largest fall, in standard deviations.
        """
        moved, there = aligned(counts, place)
        axis = places(SIDE, PITCH)
        distance = np.hypot(axis, axis[:, None])
        near = (distance > self.inner) & (distance < self.outer) & (there > 0.99)
        width = self.width / PITCH
        expected = exposure * template.counts / template.frames
        told = ndimage.gaussian_filter(moved - expected, width)
        around = ndimage.gaussian_filter(expected, width) + 0.1 * exposure * template.level()
        deviation = np.sqrt(around * (1 + exposure / np.maximum(template.frames, exposure)) / (4 * np.pi * width**2))
        score = np.where(near, told / deviation, 0.0)
        self.rise = np.where(near, np.maximum(self.rise + score - self.slack, 0), self.rise)
        self.fall = np.where(near, np.maximum(self.fall - score - self.slack, 0), self.fall)
        return float(self.rise.max() + self.fall.max())


def wide_pitch() -> float:
    """Return the pixel size of a wide frame (40 A wide), A."""
    return WIDE_FIELD / SHAPE[0]
