"""Baselines of ``autofocus@2`` and ``focus-keeping``: a fit of a model of the images, blind policies, and policies that know the truth."""

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline, known_numbers
from stemtwin.benchmarks.baselines.focus_fit import BEAMS, KEPT, PLACES, Candidate, Known, SpecimenModel
from stemtwin.twin.envs.arguments import Randomisation
from stemtwin.twin.envs.families.autofocus import GOAL, NAMES, STEP
from stemtwin.twin.envs.focus_instrument import CURRENT_PA, FIELD_ANGSTROM, SEMIANGLE_MRAD, SHAPE, AutofocusPreset, imaging
from stemtwin.twin.envs.session import scaled
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics.aberrations import Aberrations

TASKS = ("autofocus@2", "focus-keeping")
FIRST = 2500
"""Number of random hypotheses about defocus and astigmatism before the first frame."""
TRUSTED, LEAST_FRAMES = 6.0, 3
"""Largest standard deviation of the estimate at which the end is declared (A) and smallest number of frames before the end."""
ASIDE = 18.0
"""Target of C10 in ``focus-keeping``, A. This offset costs a few percent of the Strehl ratio, and reveals the direction of aberration drift."""
BRIGHTNESS, BLUR_ANGSTROM2 = 0.3, 0.1
"""Largest magnitude of the logarithm of the brightness, and largest variance of the beam positions in an imperfect scan, A^2."""
FAR = 4.0
"""Ratio of a specimen's misfit in the first frame to the smallest misfit of all specimens, above which the specimen is not fitted."""
RIVAL = 40.0
"""Difference of the log-likelihood from the best specimen beyond which a specimen is dropped."""
NEEDED = (
    "randomisation",
    "start_c10_angstrom",
    "start_c12_angstrom",
    "reach_angstrom",
    "faults",
    "frames",
    "dose_budget_e_per_angstrom2",
    "wait_s",
)
"""Names of the known numbers that the model of the instrument needs."""


def preset_from(known: Mapping[str, Any]) -> AutofocusPreset:
    """Return the preset (ranges, knobs and budgets) that the known numbers of a brief describe, see ``Autofocus.known``."""
    return AutofocusPreset(
        randomisation=Randomisation(**known["randomisation"]),
        start_c10=tuple(known["start_c10_angstrom"]),
        start_c12=tuple(known["start_c12_angstrom"]),
        reach=tuple(known["reach_angstrom"]),
        faults=known["faults"],
        frames=known["frames"],
        dose_budget_e_per_angstrom2=known["dose_budget_e_per_angstrom2"],
        wait_s=known["wait_s"],
    )


def image_coefficients(preset: AutofocusPreset, phonons: int, sample: str, profile: str, states: np.ndarray) -> np.ndarray:
    """Return the Fourier coefficients of the images for n states of the optics, (n, rows, columns).

    ``states``, (n, 4), holds the true C10, C12a, C12b (A) and the residual aberrations as multiples of their usual size.
    """
    operator, _ = imaging(preset, preset.randomisation, phonons, sample, profile)
    one = PROFILES[profile]
    beams = [
        optics.add(scaled(one.residual, residual), Aberrations.from_cartesian(**dict(zip(NAMES, state, strict=True))))
        for *state, residual in states.tolist()
    ]
    source = one.source_size_angstrom(CURRENT_PA, SEMIANGLE_MRAD, one.energy_ev)
    spread = one.focal_spread_angstrom(one.energy_ev)
    parts = [
        operator.images(beams[i : i + 64], semiangle=SEMIANGLE_MRAD * 1e-3, source_size=source, focal_spread=spread).coefficients[:, 0]
        for i in range(0, len(beams), 64)
    ]
    return np.concatenate(parts)


@functools.lru_cache(maxsize=16)
def specimen_model(preset: AutofocusPreset, phonons: int, sample: str, profile: str) -> SpecimenModel:
    """Return the model of a specimen in an instrument, with the starting points of a fit.

    The starting points are 2500 random combinations of defocus and astigmatism. The model stores the strongest Fourier coefficients of the image at
    each starting point.
    """
    rng = np.random.Generator(np.random.Philox(1))
    c10 = rng.uniform(preset.start_c10[0], preset.start_c10[1], FIRST) * rng.choice([-1.0, 1.0], FIRST)
    c12, azimuth = rng.uniform(preset.start_c12[0], preset.start_c12[1], FIRST), rng.uniform(0, 2 * np.pi, FIRST)
    hypotheses = np.stack([c10, c12 * np.cos(azimuth), c12 * np.sin(azimuth)], axis=1)
    found = image_coefficients(preset, phonons, sample, profile, np.column_stack([hypotheses, np.ones(FIRST)]))
    middle = found.shape[2] // 2
    power = (np.abs(found) ** 2).mean(axis=0)
    power[0, : middle + 1] = 0  # the mean, and coefficients that occur twice
    rows, columns = np.unravel_index(np.argsort(power, axis=None)[::-1][:BEAMS], power.shape)
    height, width = imaging(preset, preset.randomisation, phonons, sample, profile)[0].grid.extent
    at = [axis.ravel() for axis in np.meshgrid(*(np.arange(PLACES) / PLACES * side for side in (width, height)))]
    return SpecimenModel(
        sample=sample,
        profile=profile,
        images=lambda states: image_coefficients(preset, phonons, sample, profile, states)[:, rows, columns],
        frequencies=np.stack([(columns - middle) / width, rows / height], axis=1),
        places=np.stack(at, axis=1),
        hypotheses=hypotheses,
        bank=found[:, rows, columns],
    )


def known_before(preset: AutofocusPreset) -> Known:
    """Return the prior before the first frame, from the ranges of initial and residual aberrations, gains of the knobs, brightness and blur."""
    drawn = preset.randomisation
    c10, c12 = preset.start_c10[1], preset.start_c12[1]
    hour = bool(preset.wait_s)  # aberrations drift as far as the knobs reach
    start = 3 * np.array(preset.reach) if hour else 1.1 * np.array([c10, c12, c12])
    dim, blur = (BRIGHTNESS, BLUR_ANGSTROM2) if preset.faults else (0.0, 0.0)
    low = np.concatenate([-start, [drawn.residual[0]], [drawn.knob_gain[0]] * 3, [-dim, 0.0]])
    high = np.concatenate([start, [drawn.residual[1]], [drawn.knob_gain[1]] * 3, [dim, blur]])
    deviation = (high - low) / math.sqrt(12)
    return Known(mean=(low + high) / 2, deviation=deviation, low=low, high=high, strays=hour)


def waves_in_frame(frequencies: np.ndarray, rotation: float) -> np.ndarray:
    """Return 1, cos and sin of 2 pi k r, for spatial frequencies k and positions r relative to the middle of the frame, (pixels, 81).

    Parameters
    ----------
    frequencies : ndarray
        Spatial frequencies (x, y) on the specimen, 1/A, shape (40, 2).
    rotation : float
        Rotation of the scan, rad.
    """
    cos, sin = math.cos(rotation), math.sin(rotation)
    y, x = ((np.arange(n) - (n - 1) / 2) * FIELD_ANGSTROM / n for n in SHAPE)
    turned = frequencies @ np.array([[cos, -sin], [sin, cos]])
    phase = 2 * np.pi * (turned[:, 0] * np.tile(x, SHAPE[0])[:, None] + turned[:, 1] * np.repeat(y, SHAPE[1])[:, None])
    return np.concatenate([np.ones((len(phase), 1)), np.cos(phase), np.sin(phase)], axis=1)


class MatchedFilter:
    """Policy that fits a model of the images of every possible specimen to the Fourier coefficients of all frames.

    The fit determines the initial aberrations, the gains of the knobs, the residual aberrations and the position of the field.

    Parameters
    ----------
    phonons : int
        Number of frozen-phonon configurations of the model.
    kept : int
        Number of hypotheses that are kept after each frame; the computing time is proportional to this number.
    """

    def __init__(self, phonons: int = 4, kept: int = KEPT) -> None:
        self.phonons, self.kept = phonons, kept

    def reset(self, brief: Brief) -> None:
        """Start a new episode."""
        self.preset = preset_from(known_numbers(brief, *NEEDED))
        self.reach = np.array(self.preset.reach)
        self.candidates: list[Candidate] = []
        self.seen = 0

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that moves to the best estimate of focus.

        The action also declares the end if the estimate is certain or if a budget is nearly spent.
        """
        del cost
        if not self.candidates:
            self._begin(observation)
        knobs = np.asarray(observation["knobs"], dtype=float)
        for one in self.candidates:
            one.see(*self._electrons(observation["image"], one), knobs, float(observation["electrons"][0]))
        if not self.seen:
            misfits = [one.begin() for one in self.candidates]
            self.candidates = [one for one, misfit in zip(self.candidates, misfits, strict=True) if misfit < FAR * min(misfits)]
        for one in self.candidates:
            one.search()
        self.seen += 1
        best = max(one.score[0] for one in self.candidates)
        self.candidates = [one for one in self.candidates if one.score[0] > best - RIVAL]
        way, left, deviation = self._way(knobs)
        there = np.abs(left).max() < GOAL / 4 and (not self.preset.randomisation.failing or np.abs(way).max() < GOAL / 2)
        sure = self.seen >= LEAST_FRAMES and deviation.max() < TRUSTED and there
        last = min(observation["budget"]) < 1.5 * (1 - min(observation["budget"])) / max(self.seen, 1)
        done = last if self.preset.wait_s else sure or last
        return np.append(np.clip(way / STEP, -1, 1), 1.0 if done else -1.0).astype(np.float32)

    def _way(self, knobs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the change to the focus of the best hypothesis, the defocus and astigmatism that remain, and their standard deviations, A."""
        numbers, score, covariance = (np.concatenate([getattr(one, name) for one in self.candidates]) for name in ("numbers", "score", "covariance"))
        first = score.argmax()
        aim = np.array([ASIDE if self.preset.wait_s else 0.0, 0.0, 0.0])
        way = np.clip((aim - numbers[first, :3]) / numbers[first, 4:7], -self.reach, self.reach) - knobs
        turned = knobs + np.clip(way, -STEP, STEP)
        left = numbers[:, :3] + numbers[:, 4:7] * turned
        lever = np.concatenate([np.eye(3), np.zeros((3, 1)), np.diag(turned), np.zeros((3, 2))], axis=1)
        weights = np.exp(score - score[first])
        variance = np.einsum("ip,mpq,iq->mi", lever, covariance, lever) + (left - left[first]) ** 2
        return way, left[first], np.sqrt(weights @ variance / weights.sum())

    def _begin(self, observation: Mapping[str, np.ndarray]) -> None:
        """Make a candidate for every specimen in every instrument, at the rotation of the scan."""
        known = known_before(self.preset)
        drawn = self.preset.randomisation
        rotation = math.atan2(float(observation["scan"][1]), float(observation["scan"][0]))
        for sample, profile in itertools.product(drawn.samples, drawn.profiles):
            model = specimen_model(self.preset, self.phonons, sample, profile)
            waves = waves_in_frame(model.frequencies, rotation)
            basis = np.linalg.solve(waves.T @ waves, waves.T)
            self.candidates.append(Candidate(model=model, known=known, basis=basis, waves=waves, kept=self.kept))

    def _electrons(self, image: np.ndarray, one: Candidate) -> tuple[np.ndarray]:
        """Return a frame in electrons."""
        chain = PROFILES[one.model.profile].chain("haadf") if self.preset.faults else None
        return (image.astype(float) if chain is None else chain.electrons(image),)


class NoOperation:
    """Policy that does nothing until the budget is spent."""

    def reset(self, brief: Brief) -> None:
        """Do nothing: the policy has no memory."""

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return an action that changes nothing."""
        del observation, cost
        return np.array([0, 0, 0, -1], np.float32)


class RandomActions:
    """Policy of uniform random actions, some of which declare the end."""

    def reset(self, brief: Brief) -> None:
        """Seed the random generator."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform random action."""
        del observation, cost
        return self.rng.uniform(-1, 1, 4).astype(np.float32)


class BlindSweep:
    """Policy that sweeps the defocus through its whole range without looking at the images, returns to the middle, and declares the end."""

    def reset(self, brief: Brief) -> None:
        """Start a new episode, at one end of the defocus range."""
        reach = float(brief.observation_space["knobs"].high[0])
        self.targets = iter([*np.linspace(-0.8, 0.8, 6) * reach, 0.0])

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action that moves to the next defocus of the sweep, or the action that declares the end."""
        del cost
        target = next(self.targets, None)
        way = 0.0 if target is None else (target - float(observation["knobs"][0])) / STEP[0]
        return np.array([np.clip(way, -1, 1), 0, 0, 1 if target is None else -1], np.float32)


class FocusByTruth:
    """Oracle that moves to given target aberrations, and declares the end if ``declares`` is True.

    Parameters
    ----------
    target : tuple of float
        Target values of the true C10, C12a and C12b, A.
    declares : bool
        True if the end is declared: at the target, or in ``focus-keeping`` shortly before a budget is spent. False if the end is never declared.
    """

    def __init__(self, target: tuple[float, float, float] = (0.0, 0.0, 0.0), *, declares: bool = True) -> None:
        self.target, self.declares = np.array(target), declares

    def reset(self, brief: Brief) -> None:
        """Store the function that returns the truth."""
        if brief.truth is None:
            message = "This policy needs access to the truth, which the runner gives only to an entry marked as oracle."
            raise SettingsError(message)
        preset = preset_from(known_numbers(brief, *NEEDED))
        self.truth, self.hour, self.seen = brief.truth, bool(preset.wait_s), 0
        self.exact = preset.randomisation.knob_gain == (1.0, 1.0) and not preset.randomisation.failing

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the action towards the target, limited to the range of one action, or the action that declares the end."""
        del cost
        self.seen += 1
        state = self.truth()
        left = self.target - np.array([state["C10_angstrom"], state["C12a_angstrom"], state["C12b_angstrom"]])
        last = min(observation["budget"]) < 1.5 * (1 - min(observation["budget"])) / self.seen
        reached = np.abs(left / STEP).max() <= 1 if self.exact else np.abs(left).max() < GOAL / 10
        there = last if self.hour else reached
        return np.append(np.clip(left / STEP, -1, 1), 1.0 if there and self.declares else -1.0).astype(np.float32)


Hover = functools.partial(FocusByTruth, (GOAL + 0.5, 0.0, 0.0), declares=False)
"""Oracle that stays just outside the goal and never declares the end."""

for _task, (_name, _text, _factory) in itertools.product(
    TASKS,
    (
        ("expert", "a fit of the model of the instrument to all frames: start, position, gains, residual, specimen", MatchedFilter),
        ("no-op", "does nothing", NoOperation),
        ("random", "uniform actions", RandomActions),
        ("blind", "sweeps the defocus without looking at the images", BlindSweep),
        ("hover", "uses the truth to stay just outside the goal", Hover),
        ("oracle", "cancels the true aberrations", FocusByTruth),
    ),
):
    add_baseline(Baseline(task=_task, name=_name, text=_text, factory=_factory, oracle=_name in ("hover", "oracle")))
