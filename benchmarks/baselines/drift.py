"""Baselines of ``drift-tracking``: trackers of different care, blind policies, and one that knows the truth."""

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
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
from stemtwin.twin.envs.drift_instrument import FIELD, PERIOD_S, WIDE_FIELD
from stemtwin.twin.envs.families.drift_tracking import STEP

TASK = "drift-tracking"
Seen = Mapping[str, np.ndarray]
OVER = 0.003
"""Share of the watch below which it is over."""
LEAST_FRAMES, LEAST_DOSE = 0.016, 0.02
"""Shares of frames and dose that are less than one further frame."""
JUMPS = 0.04
"""Probability of a jump between two frames, as an operator of a fresh specimen guesses it."""
LOST, LOST_WIDE = 0.8, 0.65
"""Shares of the usual likelihood below which the feature is not in a narrow frame, and in a wide one: a lattice alone can reach 0.75 of it."""
GIVEN_UP = 4
"""Frames without the feature after which the best place is taken nevertheless."""
BLOB_ANGSTROM = 1.6
"""Standard deviation by which frames are smoothed to find the cluster, A."""
CENTRINGS, AROUND = 3, 4.2
"""Times that the centre of mass is taken of what lies around it, and its radius, A."""
DARK = 0.2
"""Share of the usual counts below which a frame is dark, and tells nothing."""
CENTRED = (2, 5)
"""Narrow frames after which the middle of the template is put on its brightest blob."""
REFERENCE_FRAMES = 8
"""Narrow frames before the search for an event begins."""
SURE = 14.0
"""Sum of the largest rise and fall, in standard deviations, at which an event is believed."""


def action(way: np.ndarray, *, wide: bool = False, fast: bool = False, stop: bool = False) -> np.ndarray:
    """Return an action: a way (x, y), A, and what is chosen."""
    chosen = [1.0 if one else -1.0 for one in (wide, stop, fast)]
    return np.array([*np.clip(np.asarray(way) / STEP, -1, 1), *chosen], np.float32)


def last(seen: Seen) -> bool:
    """Return whether the watch is over, or a further frame would be the last one."""
    frames, dose, watch = (float(part) for part in seen["budget"])
    return watch < OVER or frames < LEAST_FRAMES or dose < LEAST_DOSE


def brightest(image: np.ndarray, radius: float) -> np.ndarray:
    """Return the place (x, y) of the brightest blob within a radius about the middle, A: smoothed so far that no lattice is left."""
    smooth, axis = ndimage.gaussian_filter(image, BLOB_ANGSTROM / PITCH), places(SIDE, PITCH)
    found = peak(np.where(np.hypot(axis, axis[:, None]) < radius, smooth, smooth.min()), PITCH)
    for _ in range(CENTRINGS):
        near = np.hypot(axis - found[0], axis[:, None] - found[1]) < AROUND
        weights = np.where(near, np.maximum(smooth - np.median(smooth), 0), 0)
        found = np.array([(weights * axis).sum(), (weights * axis[:, None]).sum()]) / max(weights.sum(), 1e-9)
    return found


class DriftTracker:
    """Likelihoods of the feature's place by correlation with a growing template, a Kalman filter, searches after jumps, and CUSUM for the event."""

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        self.alert = brief.difficulty == "event"
        self.template, self.maps = Template(), ChangeMaps()
        self.motion: Motion | None = None
        self.clock = self.usual = self.counts = 0.0
        self.frames = 0
        self.lost = 0

    def act(self, observation: Seen, cost: Mapping[str, float]) -> np.ndarray:
        """Return the way to where the feature is going to be in the middle of the next frame."""
        del cost
        clock, shift = float(observation["clock"][0]), observation["shift"].astype(float)
        counts = electrons(observation["image"])
        if self.motion is None:
            self.motion = self._begin(counts, shift)
        else:
            self.motion.predict(clock - self.clock)
            if counts.sum() > DARK * self.counts:
                self._see(counts, shift, wide=float(observation["field"][0]) > FIELD)
        self.clock = clock
        if last(observation):
            return action(np.zeros(2), stop=True)
        fast = self.alert and self.frames > REFERENCE_FRAMES and self.change > SURE
        if fast:
            self.alert = False
        way = self.motion.place + PERIOD_S * self.motion.velocity - shift
        return action(way, wide=self.lost > 0, fast=fast)

    def _begin(self, counts: np.ndarray, shift: np.ndarray) -> Motion:
        """Find the brightest place near the middle of the first frame, and take its surroundings as the template."""
        self.counts, self.change = float(counts.sum()), 0.0
        place = brightest(binned(counts), 3.0)
        self.template.add(binned(counts), place)
        return Motion(place=place + shift)

    def _see(self, counts: np.ndarray, shift: np.ndarray, *, wide: bool) -> None:
        """Take a frame: where the feature is, and the template with it, or that it is not there."""
        assert self.motion is not None
        rate, level = self.template.rate(), self.template.level()
        pitch = wide_pitch() if wide else PITCH
        given = counts if wide else binned(counts)
        found = log_likelihood(given, pitch, 1 / BIN**2 if wide else 1.0, rate, level)
        axis = places(found.shape[0], pitch)
        ahead, spread = self.motion.place - shift, max(self.motion.spread(), 0.3) if not self.lost else 12.0
        distance2 = (axis - ahead[0]) ** 2 + (axis[:, None] - ahead[1]) ** 2
        prior = np.log((1 - JUMPS) * np.exp(-distance2 / (2 * spread**2)) / (2 * np.pi * spread**2) + JUMPS / FIELD**2)
        place = peak(found + prior, pitch)
        y, x = (int(np.clip(np.rint(value / pitch + (len(axis) - 1) / 2), 0, len(axis) - 1)) for value in place[::-1])
        likelihood = self.like = float(found[y, x])
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
        if self.alert and self.frames > REFERENCE_FRAMES:
            self.change = self.maps.add(given, place, self.template)
        self.template.add(given, place)
        if self.frames in CENTRED:
            way = brightest(self.template.counts / self.template.frames, 2.5)
            self.template.centre(way)
            self.motion.place = self.motion.place + way

    def _accept(self, place: np.ndarray, shift: np.ndarray, deviation: float) -> None:
        """Give a place in the frame to the filter."""
        assert self.motion is not None
        where = place + shift
        far = np.linalg.norm(where - self.motion.place)
        if self.lost or far > 4 * np.hypot(self.motion.spread(), deviation) + 1.0:
            self.motion.jump(where, deviation)
        else:
            self.motion.update(where, deviation)


class PhaseCorrelation:
    """Moves by the shift between the last narrow frame and the first one, the largest peak of their phase correlation; never predicts or searches."""

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        del brief
        self.first: np.ndarray | None = None

    def act(self, observation: Seen, cost: Mapping[str, float]) -> np.ndarray:
        """Return the way back to the first frame."""
        del cost
        frame = ndimage.gaussian_filter(binned(electrons(observation["image"])), 0.4 / PITCH)
        spectrum = np.fft.fft2((frame - frame.mean()) * np.hanning(SIDE) * np.hanning(SIDE)[:, None])
        if self.first is None:
            self.first = spectrum
        product = spectrum * self.first.conj()
        score = np.fft.fftshift(np.fft.ifft2(product / np.sqrt(np.abs(product) + 1e-9)).real)
        way = peak(np.pad(score, ((0, 1), (0, 1)), mode="wrap"), PITCH)
        return action(way, stop=last(observation))


class StillField:
    """Does nothing until the budget is spent."""

    def reset(self, brief: Brief) -> None:
        """Remember nothing."""

    def act(self, observation: Seen, cost: Mapping[str, float]) -> np.ndarray:
        """Return an action that changes nothing."""
        del observation, cost
        return action(np.zeros(2))


class RandomShifts:
    """Uniform actions, the end among them."""

    def reset(self, brief: Brief) -> None:
        """Seed the draws."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))

    def act(self, observation: Seen, cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform action."""
        del observation, cost
        return self.rng.uniform(-1, 1, 5).astype(np.float32)


class BlindWatch:
    """Keeps the field where it is, takes one fast frame in the middle of the watch, and declares the end in time, without a look at the frames."""

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        del brief
        self.fast = False

    def act(self, observation: Seen, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action of a frame, or the end."""
        del cost
        now = not self.fast and float(observation["budget"][2]) < 0.4
        self.fast |= now
        return action(np.zeros(2), fast=now, stop=last(observation))


class DriftOracle:
    """Reads the place of the feature and whether the atom has hopped, and predicts by the same filter as the expert."""

    def reset(self, brief: Brief) -> None:
        """Take the door to the truth."""
        assert brief.truth is not None
        self.truth, self.motion, self.clock, self.fast = brief.truth, None, 0.0, False

    def act(self, observation: Seen, cost: Mapping[str, float]) -> np.ndarray:
        """Return the way to where the feature is going to be."""
        del cost
        if last(observation):
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
        now = bool(known["hopped"]) and not self.fast
        self.fast |= now
        return action(self.motion.place + PERIOD_S * self.motion.velocity - shift, fast=now)


for _name, _text, _factory in (
    ("expert", "correlation with a growing template, a Kalman filter, wide frames after jumps, CUSUM for the event", DriftTracker),
    ("phase-correlation", "back by the shift from the first frame, by phase correlation alone", PhaseCorrelation),
    ("no-op", "the same field until the budget is spent", StillField),
    ("random", "uniform actions", RandomShifts),
    ("blind", "the same field, one fast frame, and the end in time, without a look", BlindWatch),
):
    add_baseline(Baseline(task=TASK, name=_name, text=_text, factory=_factory))
add_baseline(Baseline(task=TASK, name="oracle", text="reads the place of the feature", factory=DriftOracle, oracle=True))
