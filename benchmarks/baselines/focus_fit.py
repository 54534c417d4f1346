"""Fit of the expert of ``autofocus@2``: hypotheses about the aberrations, fitted to the frames of one specimen by damped least squares.

A frame is represented by 40 strong Fourier coefficients. They depend on the position of the field and on nine fitted numbers: the initial C10, C12a
and C12b (A), the size of the instrument's residual aberrations relative to its usual value, the gains of the three knobs, the logarithm of the
brightness, and the blur of the scan, A^2. The true C10, C12a and C12b are the initial values plus the gains times the commanded changes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

BEAMS = 40
"""Number of Fourier coefficients of an image that are used."""
PLACES = 24
"""Number of initial positions of the field along each side of the cell."""
MISFIT = 0.03
"""Error of the model, as a fraction of the largest Fourier coefficient."""
STARTS, RESUMED = 16, 160
"""Number of hypotheses that are fitted to the first frame, and number that are compared with the first two frames before the best ones are fitted."""
KEPT = 6
"""Number of hypotheses that are kept after each frame."""
STEPS = 4
"""Number of least-squares steps after each frame."""
APART, SAME = 12.0, 3.0
"""Distance above which hypotheses are fitted separately, and distance below which they are merged, A."""
STRAYED = (12.0, 6.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.01, 0.003)
"""Standard deviations of the changes of the nine fitted numbers in a minute of aberration drift."""
MINUTE_KEPT = 3
"""Number of hypotheses that are kept from one minute to the next."""
AROUND = 15.0
"""Distance from the best hypothesis at which fits begin after aberration drift, A."""
LOST = -4.0 * BEAMS
"""Logarithm of the posterior density below which the search begins anew under aberration drift."""
RIVAL = 30.0
"""Difference of the logarithm of the posterior density from that of the best hypothesis beyond which a hypothesis is dropped."""
NUMBERS = 9
"""Number of fitted numbers: start (C10, C12a, C12b), residual, gains of the three knobs, logarithm of the brightness, blur (A^2) of the scan."""
CHANGES = np.vstack([np.zeros(4), np.diag([2.0, 2.0, 2.0, 0.1])])
"""Steps of C10, C12a, C12b (A) and of the residual, for numerical derivatives."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpecimenModel:
    """Model of the images of one specimen in one instrument.

    Parameters
    ----------
    sample, profile : str
        Names of specimen and instrument.
    images : callable
        Function of the true C10, C12a, C12b (A) and of the residual aberrations as multiples of their usual size, shape (n, 4). It returns the
        Fourier coefficients that represent an image, as fractions of the beam, shape (n, 40).
    frequencies : ndarray
        Spatial frequencies (x, y) of these coefficients, 1/A, shape (40, 2).
    places : ndarray
        Possible positions (x, y) of the field, A, shape (576, 2).
    hypotheses, bank : ndarray
        Hypotheses (C10, C12a, C12b) at which a fit begins, A, shape (n, 3), and the Fourier coefficients of their images, shape (n, 40).
    """

    sample: str
    profile: str
    images: Callable[[np.ndarray], np.ndarray]
    frequencies: np.ndarray
    places: np.ndarray
    hypotheses: np.ndarray
    bank: np.ndarray

    @property
    def shifts(self) -> np.ndarray:
        """Phase factors exp(-2 pi i k r) of the spatial frequencies k at the positions r, shape (40, 576)."""
        return np.exp(-2j * np.pi * self.frequencies @ self.places.T).astype(np.complex64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Knowledge before the first frame.

    Parameters
    ----------
    mean, deviation : ndarray
        Means and standard deviations of the nine fitted numbers, shape (9,); a number with a standard deviation of 0 is held fixed.
    low, high : ndarray
        Limits of the fitted numbers, shape (9,).
    strays : bool
        True if minutes pass between frames, so the aberrations drift and the specimen moves. Only the latest frame is then fitted, and the earlier
        frames enter through the prior.
    """

    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    strays: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Candidate:
    """A specimen that is possibly under the beam, with the evidence from the frames so far.

    Parameters
    ----------
    model : SpecimenModel
        The specimen.
    known : Known
        Prior before the first frame.
    basis, waves : ndarray
        ``waves`` holds the basis functions of the Fourier series of a frame in each pixel, shape (pixels, 81). They are a constant and the
        cosine and sine waves of 40 spatial frequencies. ``basis`` is the pseudo-inverse of ``waves``.
    kept : int
        Number of hypotheses that are kept after each frame.
    knobs, measured, weight : list
        Three values for each frame: the knobs, A; the measured Fourier coefficients, as fractions of the beam; and the inverse variance of these
        coefficients.
    numbers, places : ndarray
        Nine fitted numbers of each hypothesis, shape (n, 9), and position of the field for each hypothesis, A, shape (n, 2).
    score, covariance : ndarray
        Logarithms of the posterior densities of the hypotheses, up to a constant, shape (n,), and covariances of the fitted numbers, shape (n, 9, 9).
    before, precision, odds : ndarray
        Prior of each hypothesis: means of the numbers, shape (n, 9), their inverse covariance, shape (n, 9, 9), and the
        logarithm of the prior weight, shape (n,).
    """

    model: SpecimenModel
    known: Known
    basis: np.ndarray
    waves: np.ndarray
    kept: int = KEPT
    knobs: list[np.ndarray] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    numbers: np.ndarray = field(default_factory=lambda: np.zeros((0, NUMBERS)))
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    score: np.ndarray = field(default_factory=lambda: np.zeros(0))
    covariance: np.ndarray = field(default_factory=lambda: np.zeros((0, NUMBERS, NUMBERS)))
    before: np.ndarray = field(default_factory=lambda: np.zeros((0, NUMBERS)))
    precision: np.ndarray = field(default_factory=lambda: np.zeros((0, NUMBERS, NUMBERS)))
    odds: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def see(self, image: np.ndarray, knobs: np.ndarray, scale: float) -> None:
        """Add a frame, in electrons, to the evidence; ``scale`` is the number of incident electrons per point of the scan."""
        values = image.ravel() / scale
        found = self.basis @ values
        noise = float(np.var(values - self.waves @ found))
        measured = found[1 : BEAMS + 1] + 1j * found[BEAMS + 1 :]
        if self.known.strays:
            self.knobs, self.measured, self.weight = [], [], []
        self.knobs.append(knobs)
        self.measured.append(measured)
        self.weight.append(1 / (4 * noise / values.size + 2 * (MISFIT * float(np.abs(measured).max())) ** 2))

    def search(self) -> None:
        """Fit the hypotheses about the aberrations to the frames, and drop improbable hypotheses and duplicates.

        At most ``kept`` hypotheses remain.
        """
        if len(self.before) and self.known.strays:
            self._stray()
        elif len(self.before) and len(self.knobs) == 2:
            self._resume()
        if not self.known.strays or not len(self.before):
            self._know()
        self._fit()
        if self.known.strays and self.score.max() < LOST:
            self.begin()
            self._know()
            self._fit()
        order = np.argsort(self.score)[::-1]
        order = order[self.score[order] > self.score[order[0]] - RIVAL]
        best = _apart(self._now(self.numbers)[order, -1, :3], SAME, self.kept)
        self._keep(order[best])

    def _know(self) -> None:
        """Set the prior of all hypotheses to the knowledge before the first frame."""
        known, count = self.known, len(self.numbers)
        free = known.deviation > 0
        self.before, self.odds = np.tile(known.mean, (count, 1)), np.zeros(count)
        self.precision = np.tile(np.diag(np.where(free, 1 / np.where(free, known.deviation, 1) ** 2, 1e12)), (count, 1, 1))

    def _keep(self, which: np.ndarray) -> None:
        self.numbers, self.places = self.numbers[which], self.places[which]
        self.score, self.covariance = self.score[which], self.covariance[which]

    def _now(self, numbers: np.ndarray) -> np.ndarray:
        """Return the true C10, C12a, C12b (A) and the residual in each frame, shape (n, frames, 4)."""
        turned = numbers[:, None, :3] + numbers[:, None, 4:7] * np.array(self.knobs)
        return np.concatenate([turned, np.broadcast_to(numbers[:, None, 3:4], (*turned.shape[:2], 1))], axis=2)

    def _placed(self, now: np.ndarray, frames: list[int], first: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the squared misfit of some frames at the best position of the field, shape (n,), and this position, shape (n, 2).

        ``first`` holds the images of the first frame if they are known.
        """
        agreement, constant = np.zeros((len(now), PLACES**2), np.float32), np.zeros(len(now))
        for i, frame in enumerate(frames):
            images = first if first is not None and frame == 0 else self.model.images(now[:, i])
            measured, weight = self.measured[frame], self.weight[frame]
            agreement += 2 * np.real((images * (measured.conj() * weight)).astype(np.complex64) @ self.model.shifts)
            constant += weight * ((np.abs(images) ** 2).sum(axis=1) + float((np.abs(measured) ** 2).sum()))
        best = agreement.argmax(axis=1)
        return constant - agreement[np.arange(len(now)), best], self.model.places[best]

    def begin(self) -> float:
        """Start from the hypotheses of the specimen's model that agree best with the first frame in memory, and return the smallest misfit."""
        misfit, places = self._placed(self._bank()[:, None], [0], self.model.bank)
        self._take(misfit, places, np.arange(len(misfit)), STARTS)
        return float(misfit.min())

    def _resume(self) -> None:
        """Add the hypotheses of the bank that agree best with both frames to the hypotheses that were kept."""
        before = self.numbers, self.places
        misfit, _ = self._placed(self._bank()[:, None], [0], self.model.bank)
        some = np.argsort(misfit)[:RESUMED]
        numbers = self._started(some)
        misfit, places = self._placed(self._now(numbers), [0, 1], self.model.bank[some])
        self._take(misfit, places, some, STARTS // 2)
        self.numbers, self.places = (np.concatenate(pair) for pair in zip(before, (self.numbers, self.places), strict=True))

    def _stray(self) -> None:
        """Apply a minute of aberration drift, and begin on both sides of the focus and of the best hypothesis."""
        self._keep(np.arange(min(len(self.numbers), MINUTE_KEPT)))
        spread = self.covariance.copy()
        strayed = np.where(self.known.deviation > 0, STRAYED, 0.0)
        spread[:, range(NUMBERS), range(NUMBERS)] += strayed**2
        self.before, self.precision, self.odds = self.numbers.copy(), np.linalg.inv(spread), self.score - self.score.max()
        mirrored, around = self.numbers.copy(), np.tile(self.numbers[:1], (2, 1))
        mirrored[:, :3] -= 2 * self._now(mirrored)[:, -1, :3]
        around[:, 0] += (-AROUND, AROUND)
        self.numbers = np.concatenate([self.numbers, mirrored, around])
        own = [*range(len(mirrored)), *range(len(mirrored)), *[0] * len(around)]
        self.before, self.precision, self.odds = self.before[own], self.precision[own], self.odds[own]
        self.places = self._placed(self._now(self.numbers), [0])[1]

    def _bank(self) -> np.ndarray:
        return np.column_stack([self.model.hypotheses, np.full(len(self.model.hypotheses), self.known.mean[3])])

    def _started(self, which: np.ndarray) -> np.ndarray:
        numbers = np.tile(self.known.mean, (len(which), 1))
        numbers[:, :3] = self.model.hypotheses[which] - self.knobs[0]
        return numbers

    def _take(self, misfit: np.ndarray, places: np.ndarray, which: np.ndarray, count: int) -> None:
        order = np.argsort(misfit)[: 8 * count]
        best = order[_apart(self.model.hypotheses[which[order]], APART, count)]
        self.numbers, self.places = self._started(which[best]), places[best]

    def _fit(self) -> None:
        """Improve the fit of all hypotheses to all frames by the Levenberg-Marquardt method."""
        damping = np.full(len(self.numbers), 1e-2)
        cost, normal, slope = self._equations(self.numbers, self.places)
        for _ in range(STEPS):
            damped = normal + damping[:, None, None] * np.einsum("mpp->mp", normal)[:, :, None] * np.eye(normal.shape[1])
            step = -np.linalg.solve(damped, slope[..., None])[..., 0]
            numbers = np.clip(self.numbers + step[:, :NUMBERS], self.known.low, self.known.high)
            places = self.places + step[:, NUMBERS:]
            new, new_normal, new_slope = self._equations(numbers, places)
            better = new < cost
            gained = float((cost - new)[better].max(initial=0.0))
            self.numbers, self.places = np.where(better[:, None], numbers, self.numbers), np.where(better[:, None], places, self.places)
            cost, slope = np.where(better, new, cost), np.where(better[:, None], new_slope, slope)
            normal = np.where(better[:, None, None], new_normal, normal)
            damping = np.where(better, damping / 5, damping * 8)
            if gained < 0.1:
                break
        self.score, self.covariance = -cost, np.linalg.inv(normal)[:, :NUMBERS, :NUMBERS]

    def _equations(self, numbers: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the negative logarithms of the posterior densities, (n,), and their second and first derivatives, (n, p, p) and (n, p).

        The p variables are the nine fitted numbers and the two coordinates of the field.
        """
        free = self.known.deviation > 0
        changes = CHANGES[: 5 if free[3] else 4]
        now = self._now(numbers)
        count, frames = now.shape[:2]
        images = self.model.images((now[:, :, None] + changes).reshape(-1, 4)).reshape(count, frames, len(changes), BEAMS)
        fine = -2 * np.pi**2 * (self.model.frequencies**2).sum(axis=1)
        dimmed = np.exp(numbers[:, 7:8] + numbers[:, 8:9] * fine)
        waves = (dimmed * np.exp(-2j * np.pi * places @ self.model.frequencies.T))[:, None]
        seen = images[:, :, 0] * waves
        size = NUMBERS + 2
        jacobian = np.zeros((count, frames, BEAMS, size), complex)
        for axis in range(len(changes) - 1):
            jacobian[..., axis] = (images[:, :, axis + 1] - images[:, :, 0]) / changes[axis + 1, axis] * waves
        jacobian[..., 4:7] = jacobian[..., :3] * np.array(self.knobs)[:, None]
        jacobian[..., 7], jacobian[..., 8] = seen, seen * fine
        jacobian[..., NUMBERS:] = -2j * np.pi * seen[..., None] * self.model.frequencies
        wrong = (seen - np.array(self.measured)).reshape(count, -1)
        weight = np.repeat(self.weight, BEAMS)
        flat = jacobian.reshape(count, -1, size)
        weighted = flat.conj().transpose(0, 2, 1) * weight
        off = numbers - self.before
        normal, slope = 2 * np.real(weighted @ flat), 2 * np.real(weighted @ wrong[..., None])[..., 0]
        pull = (self.precision @ off[..., None])[..., 0]
        normal[:, :NUMBERS, :NUMBERS] += self.precision
        normal[:, range(NUMBERS, size), range(NUMBERS, size)] += 1e-6
        slope[:, :NUMBERS] += pull
        cost = (weight * np.abs(wrong) ** 2).sum(axis=1) + (off * pull).sum(axis=1) / 2 - self.odds
        return cost, normal, slope


def _apart(points: np.ndarray, distance: float, count: int) -> np.ndarray:
    """Return the indices of at most ``count`` points, in order, each farther than a distance from all points chosen before it."""
    found: list[int] = []
    for i, point in enumerate(points):
        if all(np.linalg.norm(point - points[j]) > distance for j in found):
            found.append(i)
        if len(found) == count:
            break
    return np.array(found, int)
