"""Baselines of ``drift-tracking``: trackers, blind policies, and an oracle that knows the truth."""

import math
from collections.abc import Mapping

import numpy as np
from scipy import ndimage, sparse

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline, known_numbers
from stemtwin.benchmarks.baselines.drift_fit import (
    BIN,
    PITCH,
    SIDE,
    ChangeMaps,
    Motion,
    Template,
    binned,
    electrons,
    log_likelihood,
    peak,
    places,
    wide_pitch,
)
from stemtwin.twin.envs.drift_instrument import FAST_S, FIELD, MOST_DOSE, PERIOD_S, WIDE_FIELD
from stemtwin.twin.envs.families.drift_tracking import STEP

TASK = "drift-tracking"
DriftObservation = Mapping[str, np.ndarray]
OVER = 0.003
"""Remaining fraction of the watch (the time of the episode) below which the watch counts as over."""
RESERVE = 0.5
"""Dose that is left unused at the end, in units of the dose of the first frame."""
FINENESS = 1024
"""Number of steps per unit to which actions are rounded; one step is 0.016 A of a shift."""
JUMPS = 0.04
"""Probability of a jump between two frames: a typical guess of an operator for a fresh specimen."""
LOST, LOST_WIDE = 0.8, 0.65
"""Fractions of the usual likelihood below which the feature counts as absent from a narrow and a wide frame; a bare lattice can reach 0.75."""
GIVEN_UP = 4
"""Number of frames without the feature after which the most likely position is accepted."""
ATOM_ANGSTROM, PEAK_ANGSTROM, BRIGHT_ANGSTROM, LINK_ANGSTROM, MOST_PEAKS = 0.6, 1.5, 2.4, 4.7, 12
"""Search for atoms: smoothing, smallest distance of peaks, radius of one peak, largest distance of linked peaks, A, and largest number of peaks."""
DARK = 0.2
"""Fraction of the usual counts below which a frame is dark and is ignored."""
CENTRED = (2, 5, 10, 20)
"""Numbers of narrow frames after which the template is centred on the cluster again."""
REFERENCE_FRAMES = 8
"""Number of narrow frames before the search for an event begins."""
SURE, ALARMS = 14.0, 2
"""Sum of the largest rise and fall, in standard deviations, at which an event is reported, and largest number of reports."""
BLIND_FAST = 0.3
"""Remaining fraction of the watch when the blind policy takes its fast frame."""
WIDE_DOSE = 2.0
"""Electrons of a search frame, relative to those of a narrow frame, because they are spread over a larger area."""


def action(way: np.ndarray, *, exposure: float = 1.0, wide: bool = False, fast: bool = False, stop: bool = False) -> np.ndarray:
    """Return the action for a shift ``way`` (x, y), A, and the settings of the next frame.

    ``exposure`` is the ratio of the electrons per point to those of the first frame of the episode. ``wide`` requests a frame of the large field, and
    ``fast`` a frame after a short time. ``stop`` declares the end.
    """
    chosen = [1.0 if one else -1.0 for one in (wide, stop, fast)]
    numbers = np.clip([*(np.asarray(way) / STEP), math.log(exposure) / math.log(MOST_DOSE)], -1, 1)
    x, y, electrons = np.rint(numbers * FINENESS) / FINENESS
    return np.array([x, y, *chosen, electrons], np.float32)


class WatchPlan:
    """Frames, dose and time of an episode, planned from the costs of the first frame.

    Parameters
    ----------
    seen : mapping
        The first observation.
    """

    def __init__(self, seen: DriftObservation) -> None:
        frames, dose, watch = (1 - float(part) for part in seen["budget"])
        self.frame, self.dose = frames, dose
        self.electrons = float(seen["electrons"][0])
        self.watch_s = float(seen["clock"][0]) / watch

    def over(self, seen: DriftObservation) -> bool:
        """Return True if the time is over or if a further frame would be the last one."""
        frames, dose, watch = (float(part) for part in seen["budget"])
        return watch < OVER or frames < 1.5 * self.frame or dose < 1.1 * self.dose / MOST_DOSE

    def exposure(self, seen: DriftObservation) -> float:
        """Return the largest exposure of the remaining frames, relative to the first frame, with which the dose budget lasts to the end."""
        _, dose, watch = (float(part) for part in seen["budget"])
        frames = max(watch * self.watch_s / PERIOD_S, 1.0)
        return float(np.clip((dose / self.dose - RESERVE) / frames, 1 / MOST_DOSE, MOST_DOSE))

    def part(self, seen: DriftObservation) -> float:
        """Return the ratio of the electrons per point of the latest frame to those of the first frame."""
        return float(seen["electrons"][0]) / self.electrons


def cluster_middle(image: np.ndarray, radius: float) -> np.ndarray:
    """Return the centre (x, y), A, of the cluster of atoms in an image, relative to the middle of the image.

    The image is a narrow frame or the mean of several, in the pixels of a template. Its peaks are sorted by decreasing height. The three highest
    peaks count as atoms. Further peaks count as atoms down to the largest drop (the largest ratio of successive heights).
    Atoms closer than 4.7 A are linked into groups. The cluster is the brightest group with an atom within ``radius`` (A) of the middle. Its centre is
    the mean position, weighted with the signal around its atoms.
    """
    smooth, axis = ndimage.gaussian_filter(image, ATOM_ANGSTROM / PITCH), places(SIDE, PITCH)
    peaks = np.argwhere(smooth == ndimage.maximum_filter(smooth, round(PEAK_ANGSTROM / PITCH)))
    heights = smooth[tuple(peaks.T)]
    order = np.argsort(-heights)[: MOST_PEAKS + 1]
    peaks, heights = axis[peaks[order]][:, ::-1], heights[order]
    steps = np.log(np.maximum(heights[:-1], 1e-9) / np.maximum(heights[1:], 1e-9))
    peaks = peaks[: 3 + int(steps[2:].argmax())] if len(steps) > 2 else peaks
    _, group = sparse.csgraph.connected_components(np.linalg.norm(peaks[:, None] - peaks, axis=2) < LINK_ANGSTROM)
    weights, best = np.zeros((SIDE, SIDE)), 0.0
    for number in np.unique(group):
        away = np.min([np.hypot(axis - x, axis[:, None] - y) for x, y in peaks[group == number]], axis=0)
        bright = np.where(away < BRIGHT_ANGSTROM, np.maximum(smooth - np.median(smooth), 0), 0)
        near = np.linalg.norm(peaks[group == number], axis=1).min() < radius
        if near and bright.sum() > best:
            weights, best = bright, bright.sum()
    return np.array([(weights * axis).sum(), (weights * axis[:, None]).sum()]) / max(best, 1e-9)


class DriftTracker:
    """Policy that tracks the feature with a Kalman filter, searches for it after jumps, and detects a hop of an atom with cumulative sums.

    The likelihood of each position of the feature comes from a correlation of the frame with a template, the mean of the accepted narrow frames.
    The cumulative sums (CUSUM) add up the differences between frames and template.
    """

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        self.alarms = ALARMS if known_numbers(brief, "event")["event"] else 0
        self.template, self.maps = Template(), ChangeMaps()
        self.motion: Motion | None = None
        self.clock = self.usual = self.counts = 0.0
        self.frames = 0
        self.lost = 0

    def act(self, observation: DriftObservation, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that shifts the field to the predicted position of the feature, so the feature is in the middle of the next frame."""
        del cost
        clock, shift = float(observation["clock"][0]), observation["shift"].astype(float)
        counts = electrons(observation["image"])
        if self.motion is None:
            self.plan, self.motion = WatchPlan(observation), self._begin(counts, shift)
        else:
            self.motion.predict(clock - self.clock)
            part = self.plan.part(observation)
            if counts.sum() > DARK * part * self.counts:
                self._see(counts, shift, part, wide=float(observation["field"][0]) > FIELD)
        self.clock = clock
        if self.plan.over(observation):
            return action(np.zeros(2), stop=True)
        fast = bool(self.alarms) and self.change > SURE
        if fast:
            self.alarms, self.change, self.maps = self.alarms - 1, 0.0, ChangeMaps()
        way = self.motion.place + (FAST_S if fast else PERIOD_S) * self.motion.velocity - shift
        exposure = self.plan.exposure(observation) * (WIDE_DOSE if self.lost else 1.0)
        return action(way, exposure=exposure, wide=self.lost > 0 and not fast, fast=fast)

    def _begin(self, counts: np.ndarray, shift: np.ndarray) -> Motion:
        """Find the brightest position near the middle of the first frame, and take its surroundings as the template."""
        self.counts, self.change = float(counts.sum()), 0.0
        place = cluster_middle(binned(counts), 4.0)
        self.template.add(binned(counts), place)
        return Motion(place=place + shift)

    def _see(self, counts: np.ndarray, shift: np.ndarray, part: float, *, wide: bool) -> None:
        """Update position and template from a frame, or note that the feature is absent.

        ``part`` is the ratio of the electrons per point of the frame to those of the first frame.
        """
        assert self.motion is not None
        rate, level = self.template.rate(), self.template.level()
        pitch = wide_pitch() if wide else PITCH
        given = counts if wide else binned(counts)
        found = log_likelihood(given, pitch, part / BIN**2 if wide else part, rate, level)
        axis = places(found.shape[0], pitch)
        ahead, spread = self.motion.place - shift, max(self.motion.spread(), 0.3) if not self.lost else 12.0
        distance2 = (axis - ahead[0]) ** 2 + (axis[:, None] - ahead[1]) ** 2
        prior = np.log((1 - JUMPS) * np.exp(-distance2 / (2 * spread**2)) / (2 * np.pi * spread**2) + JUMPS / FIELD**2)
        place = peak(found + prior, pitch)
        y, x = (int(np.clip(np.rint(value / pitch + (len(axis) - 1) / 2), 0, len(axis) - 1)) for value in place[::-1])
        likelihood = float(found[y, x]) / part
        least = LOST_WIDE * (FIELD / WIDE_FIELD) ** 2 if wide else LOST
        if self.frames > 2 and likelihood < least * self.usual and self.lost < GIVEN_UP:
            self.lost += 1
            return
        self._accept(place, shift, 0.25 if not wide else 0.5)
        self.lost = 0
        if wide:
            return
        self.frames += 1
        share = 0.2 if self.frames > 3 else 0.5
        self.usual += share * (likelihood - self.usual) if self.frames > 1 else likelihood
        if self.alarms and self.frames > REFERENCE_FRAMES:
            self.change = self.maps.add(given, place, self.template, part)
        self.template.add(given, place, part)
        if self.frames in CENTRED:
            way = cluster_middle(self.template.counts / self.template.frames, 3.0)
            self.template.centre(way)
            self.motion.place = self.motion.place + way

    def _accept(self, place: np.ndarray, shift: np.ndarray, deviation: float) -> None:
        """Update the filter with a position in the frame."""
        assert self.motion is not None
        where = place + shift
        far = np.linalg.norm(where - self.motion.place)
        if self.lost or far > 4 * np.hypot(self.motion.spread(), deviation) + 1.0:
            self.motion.jump(where, deviation)
        else:
            self.motion.update(where, deviation)


class PhaseCorrelation:
    """Policy that moves the field back by the shift between the first frame and the latest one.

    Phase correlation gives this shift. The policy neither predicts the drift nor searches for the feature.
    """

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        del brief
        self.first: np.ndarray | None = None

    def act(self, observation: DriftObservation, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that shifts the field back to the content of the first frame."""
        del cost
        frame = ndimage.gaussian_filter(binned(electrons(observation["image"])), 0.4 / PITCH)
        spectrum = np.fft.fft2((frame - frame.mean()) * np.hanning(SIDE) * np.hanning(SIDE)[:, None])
        if self.first is None:
            self.first, self.plan = spectrum, WatchPlan(observation)
        product = spectrum * self.first.conj()
        score = np.fft.fftshift(np.fft.ifft2(product / np.sqrt(np.abs(product) + 1e-9)).real)
        way = peak(np.pad(score, ((0, 1), (0, 1)), mode="wrap"), PITCH)
        return action(way, exposure=self.plan.exposure(observation), stop=self.plan.over(observation))


class StillField:
    """Policy that does nothing until the budget is spent."""

    def reset(self, brief: Brief) -> None:
        """Do nothing: the policy has no memory."""

    def act(self, observation: DriftObservation, cost: Mapping[str, float]) -> np.ndarray:
        """Return an action that changes nothing."""
        del observation, cost
        return action(np.zeros(2))


class RandomShifts:
    """Policy of uniform random actions, some of which declare the end."""

    def reset(self, brief: Brief) -> None:
        """Seed the random generator."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))

    def act(self, observation: DriftObservation, cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform random action."""
        del observation, cost
        return self.rng.uniform(-1, 1, 6).astype(np.float32)


class BlindWatch:
    """Policy that ignores the frames.

    It leaves the field in place, takes one fast frame late in the episode, and declares the end before the budget is spent.
    """

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        del brief
        self.plan: WatchPlan | None = None
        self.fast = False

    def act(self, observation: DriftObservation, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that takes the next frame without a shift, or the action that declares the end."""
        del cost
        if self.plan is None:
            self.plan = WatchPlan(observation)
        now = not self.fast and float(observation["budget"][2]) < BLIND_FAST
        self.fast |= now
        return action(np.zeros(2), exposure=self.plan.exposure(observation), fast=now, stop=self.plan.over(observation))


class DriftOracle:
    """Oracle that takes two facts from the truth: the position of the feature, and whether the single atom beside it has hopped.

    The oracle predicts the next position with the Kalman filter that :class:`DriftTracker` uses.
    """

    def reset(self, brief: Brief) -> None:
        """Store the function that returns the truth."""
        assert brief.truth is not None
        self.truth, self.motion, self.plan, self.clock = brief.truth, None, None, 0.0

    def act(self, observation: DriftObservation, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that shifts the field to the predicted position of the feature, or the action that declares the end."""
        del cost
        if self.plan is None:
            self.plan = WatchPlan(observation)
        if self.plan.over(observation):
            return action(np.zeros(2), stop=True)
        known, shift, clock = self.truth(), observation["shift"].astype(float), float(observation["clock"][0])
        where = np.array([known["x_angstrom"], known["y_angstrom"]]) + shift
        if self.motion is None:
            self.motion = Motion(place=where)
        self.motion.predict(clock - self.clock)
        if np.linalg.norm(where - self.motion.place) > 4 * self.motion.spread() + 0.5:
            self.motion.jump(where, 0.05)
        else:
            self.motion.update(where, 0.05)
        self.clock = clock
        now = bool(known["hopped"]) and known["delay_s"] < 0
        exposure = self.plan.exposure(observation)
        return action(self.motion.place + (FAST_S if now else PERIOD_S) * self.motion.velocity - shift, exposure=exposure, fast=now)


for _name, _text, _factory in (
    ("expert", "correlation with a growing template, a Kalman filter, wide frames after jumps, CUSUM for the event", DriftTracker),
    ("phase-correlation", "moves back by the shift from the first frame, by phase correlation only", PhaseCorrelation),
    ("no-op", "the same field until the budget is spent", StillField),
    ("random", "uniform actions", RandomShifts),
    ("blind", "the same field, one fast frame, and the end in time, independent of the frames", BlindWatch),
):
    add_baseline(Baseline(task=TASK, name=_name, text=_text, factory=_factory))
add_baseline(Baseline(task=TASK, name="oracle", text="reads the position of the feature", factory=DriftOracle, oracle=True))
