"""Baselines of ``autofocus@2``: a matched filter on the model of the instrument, blind policies, and policies that know the truth."""

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from stemtwin.benchmarks.agents import Baseline, Brief, add_baseline
from stemtwin.twin.envs.families.autofocus import GOAL, NAMES, STEP, Autofocus
from stemtwin.twin.envs.focus_instrument import CURRENT_PA, FIELD_ANGSTROM, PRESETS, SEMIANGLE_MRAD, SHAPE, AutofocusPreset, imaging
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics.aberrations import Aberrations

TASK = "autofocus@2"
FIRST, KEPT = 2500, 40
"""Hypotheses on defocus and astigmatism before the first frame, and those that are usually kept of them."""
SPREADS = (10.0, 4.0, 2.0)
"""Standard deviations by which kept hypotheses are spread, one round after the other, A."""
CHILDREN = 4
"""Hypotheses that each kept one is spread into."""
BEAMS = 40
"""Fourier coefficients of an image that are looked at."""
PLACES = 24
"""Places along each side of the cell where the field may lie."""
MISFIT = 0.02
"""Error of the model, as a fraction of the largest Fourier coefficient."""
TRUSTED, LEAST_FRAMES = 6.0, 3
"""Largest standard deviation of the estimate at which the end is declared, A, and least number of frames before it."""
MINUTES = 3
"""Frames that are looked at together where minutes pass between them: optics and specimen move meanwhile."""
RIVAL = 40.0
"""Specimens whose best hypothesis is by so much worse in the logarithm of the likelihood are given up."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpecimenModel:
    """Model of the images of one specimen in one instrument.

    Parameters
    ----------
    task : Autofocus
        The environment's family.
    sample, profile : str
        Names of specimen and instrument.
    rows, columns : ndarray
        Indices of the Fourier coefficients that are looked at, shape (BEAMS,).
    frequencies : ndarray
        Their spatial frequencies (x, y), 1/A, shape (BEAMS, 2).
    shifts : ndarray
        exp(-2 pi i k r) at the places where the field may lie, shape (BEAMS, PLACES^2).
    hypotheses, bank : ndarray
        First hypotheses (C10, C12a, C12b), A, shape (FIRST, 3), and their Fourier coefficients, shape (FIRST, BEAMS).
    """

    task: Autofocus
    sample: str
    profile: str
    rows: np.ndarray
    columns: np.ndarray
    frequencies: np.ndarray
    shifts: np.ndarray
    hypotheses: np.ndarray
    bank: np.ndarray

    def coefficients(self, states: np.ndarray) -> np.ndarray:
        """Return the Fourier coefficients that are looked at for true C10, C12a, C12b (A, (n, 3)), fractions of the beam, (n, BEAMS)."""
        return image_coefficients(self.task, self.sample, self.profile, states)[:, self.rows, self.columns]


def image_coefficients(task: Autofocus, sample: str, profile: str, states: np.ndarray) -> np.ndarray:
    """Return the Fourier coefficients of images for true C10, C12a, C12b (A, (n, 3)), shape (n, rows, columns)."""
    operator, _ = imaging(task.preset, task.conditions(), task.phonons, sample, profile)
    one = PROFILES[profile]
    beams = [optics.add(one.residual, Aberrations.from_cartesian(**dict(zip(NAMES, state, strict=True)))) for state in states.tolist()]
    source = one.source_size_angstrom(CURRENT_PA, SEMIANGLE_MRAD, one.energy_ev)
    spread = one.focal_spread_angstrom(one.energy_ev)
    parts = [
        operator.images(beams[i : i + 64], semiangle=SEMIANGLE_MRAD * 1e-3, source_size=source, focal_spread=spread).coefficients[:, 0]
        for i in range(0, len(beams), 64)
    ]
    return np.concatenate(parts)


@functools.lru_cache(maxsize=16)
def specimen_model(task: Autofocus, sample: str, profile: str) -> SpecimenModel:
    """Return the model of a specimen in an instrument, with the images of the first hypotheses."""
    preset, rng = task.preset, np.random.Generator(np.random.Philox(1))
    c10 = rng.uniform(preset.start_c10[0], preset.start_c10[1], FIRST) * rng.choice([-1.0, 1.0], FIRST)
    c12, azimuth = rng.uniform(preset.start_c12[0], preset.start_c12[1], FIRST), rng.uniform(0, 2 * np.pi, FIRST)
    hypotheses = np.stack([c10, c12 * np.cos(azimuth), c12 * np.sin(azimuth)], axis=1)
    found = image_coefficients(task, sample, profile, hypotheses)
    middle = found.shape[2] // 2
    power = (np.abs(found) ** 2).mean(axis=0)
    power[0, : middle + 1] = 0  # the mean, and what stands there twice
    rows, columns = np.unravel_index(np.argsort(power, axis=None)[::-1][:BEAMS], power.shape)
    height, width = imaging(task.preset, task.conditions(), task.phonons, sample, profile)[0].grid.extent
    frequencies = np.stack([(columns - middle) / width, rows / height], axis=1)
    at = np.stack([axis.ravel() for axis in np.meshgrid(*(np.arange(PLACES) / PLACES * side for side in (width, height)))])
    return SpecimenModel(
        task=task,
        sample=sample,
        profile=profile,
        rows=rows,
        columns=columns,
        frequencies=frequencies,
        shifts=np.exp(-2j * np.pi * frequencies @ at).astype(np.complex64),
        hypotheses=hypotheses,
        bank=found[:, rows, columns],
    )


@dataclass(slots=True, kw_only=True, eq=False)
class Candidate:
    """A specimen that may be under the beam, and what the frames so far tell of it.

    Parameters
    ----------
    model : SpecimenModel
        The specimen.
    basis : ndarray
        Waves of the Fourier coefficients in the frame, pseudo-inverse, shape (2 BEAMS + 1, pixels).
    waves : ndarray
        The waves, shape (pixels, 2 BEAMS + 1).
    frames : list
        Of each frame the knobs (A), the measured Fourier coefficients as fractions of the beam, and their inverse variance.
    particles : ndarray
        Hypotheses on the start (C10, C12a, C12b), A, shape (n, 3).
    likelihood : ndarray
        Logarithms of their likelihoods, shape (n,).
    kept : int
        Hypotheses that are kept and spread.
    memory : int, optional
        Number of latest frames that count, each with a place of its own; by default all count, with one place.
    """

    model: SpecimenModel
    basis: np.ndarray
    waves: np.ndarray
    frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    particles: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    likelihood: np.ndarray = field(default_factory=lambda: np.zeros(0))
    kept: int = KEPT
    memory: int | None = None

    def see(self, image: np.ndarray, knobs: np.ndarray, scale: float) -> None:
        """Take a frame, readings of so many units to one incident electron at a point, into account."""
        values = image.ravel() / scale
        found = self.basis @ values
        noise = float(np.var(values - self.waves @ found))
        measured = found[1 : BEAMS + 1] + 1j * found[BEAMS + 1 :]
        largest = float(np.abs(measured).max())
        if self.memory is not None:
            self.frames = self.frames[1 - self.memory :]
        self.frames.append((knobs, measured, np.full(BEAMS, 1 / (4 * noise / values.size + 2 * (MISFIT * largest) ** 2))))

    def likelihoods(self, particles: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
        """Return the logarithms of the likelihoods of hypotheses on the start, at the best place for all frames or, with a memory, for each."""
        total, constant = np.zeros((len(particles), PLACES**2), np.float32), np.zeros(len(particles))
        for i, (knobs, measured, weight) in enumerate(self.frames):
            known = first if i == 0 and first is not None else self.model.coefficients(particles + knobs)
            agreement = 2 * np.real((known * (measured.conj() * weight)).astype(np.complex64) @ self.model.shifts)
            total += agreement if self.memory is None else agreement.max(axis=1, keepdims=True)
            constant += (weight * np.abs(known) ** 2).sum(axis=1) + float((weight * np.abs(measured) ** 2).sum())
        return total.max(axis=1) - constant

    def search(self, rng: np.random.Generator) -> None:
        """Update the hypotheses: the best are kept, and spread less and less."""
        if not len(self.particles):
            self.particles = self.model.hypotheses
            self.likelihood = self.likelihoods(self.particles, self.model.bank)
        else:
            self.particles = self.particles[np.argsort(self.likelihood)[::-1][: 4 * self.kept]]
            self.likelihood = self.likelihoods(self.particles)
        for spread in SPREADS:
            best = np.argsort(self.likelihood)[::-1][: self.kept]
            kept, values = self.particles[best], self.likelihood[best]
            children = np.repeat(kept, CHILDREN, axis=0) + spread * rng.standard_normal((len(kept) * CHILDREN, 3))
            self.particles = np.concatenate([kept, children])
            self.likelihood = np.concatenate([values, self.likelihoods(children)])

    def estimate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the start of best fit, A, and the standard deviations of the hypotheses about it."""
        weights = np.exp(self.likelihood - self.likelihood.max())
        mean = weights @ self.particles / weights.sum()
        return mean, np.sqrt(weights @ (self.particles - mean) ** 2 / weights.sum())


def waves_in_frame(frequencies: np.ndarray, rotation: float) -> np.ndarray:
    """Return 1, cos and sin of 2 pi k r for points of the frame about its middle, shape (pixels, 2 BEAMS + 1).

    Parameters
    ----------
    frequencies : ndarray
        Spatial frequencies (x, y) on the specimen, 1/A, shape (BEAMS, 2).
    rotation : float
        Rotation of the scan, rad.
    """
    cos, sin = math.cos(rotation), math.sin(rotation)
    y, x = ((np.arange(n) - (n - 1) / 2) * FIELD_ANGSTROM / n for n in SHAPE)
    turned = frequencies @ np.array([[cos, -sin], [sin, cos]])
    phase = 2 * np.pi * (turned[:, 0] * np.tile(x, SHAPE[0])[:, None] + turned[:, 1] * np.repeat(y, SHAPE[1])[:, None])
    return np.concatenate([np.ones((len(phase), 1)), np.cos(phase), np.sin(phase)], axis=1)


def preset_of(brief: Brief) -> str:
    """Return the preset whose knobs have the reach of an observation space."""
    reach = brief.observation_space["knobs"].high
    return next(name for name, preset in PRESETS.items() if np.allclose(preset.reach, reach))


class MatchedFilter:
    """Compares the Fourier coefficients of all frames with those of the model, for every start, place and specimen at once.

    Parameters
    ----------
    phonons : int
        Frozen-phonon configurations of the model.
    kept : int
        Hypotheses that are kept after each frame: its time goes with them.
    """

    def __init__(self, phonons: int = 4, kept: int = KEPT) -> None:
        self.phonons, self.kept = phonons, kept

    def reset(self, brief: Brief) -> None:
        """Begin anew."""
        self.difficulty = preset_of(brief)
        self.preset: AutofocusPreset = PRESETS[self.difficulty]
        self.reach = np.array(self.preset.reach)
        self.rng = np.random.Generator(np.random.Philox(brief.seed))
        self.candidates: list[Candidate] = []
        self.seen = 0

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the way to the start's best estimate, and the end where it is sure."""
        del cost
        if not self.candidates:
            self._begin(observation)
        knobs = np.asarray(observation["knobs"], dtype=float)
        for one in self.candidates:
            one.see(*self._electrons(observation["image"], one), knobs, float(observation["electrons"][0]))
            one.search(self.rng)
        self.seen += 1
        best = max(self.candidates, key=lambda one: one.likelihood.max())
        self.candidates = [one for one in self.candidates if one.likelihood.max() > best.likelihood.max() - RIVAL]
        start, deviation = best.estimate()
        way = np.clip(-start, -self.reach, self.reach) - knobs
        left = start + knobs + np.clip(way, -STEP, STEP)
        sure = self.seen >= LEAST_FRAMES and deviation.max() < TRUSTED and np.abs(left).max() < GOAL / 4
        last = min(observation["budget"]) < 1.5 * (1 - min(observation["budget"])) / max(self.seen, 1)
        done = last if self.preset.wait_s else sure or last
        return np.append(np.clip(way / STEP, -1, 1), 1.0 if done else -1.0).astype(np.float32)

    def _begin(self, observation: Mapping[str, np.ndarray]) -> None:
        """Prepare every specimen for the rotation of the scan."""
        task, drawn = Autofocus(difficulty=self.difficulty, phonons=self.phonons), self.preset.randomisation
        rotation = math.atan2(float(observation["scan"][1]), float(observation["scan"][0]))
        for sample, profile in itertools.product(drawn.samples, drawn.profiles):
            model = specimen_model(task, sample, profile)
            waves = waves_in_frame(model.frequencies, rotation)
            basis = np.linalg.solve(waves.T @ waves, waves.T)
            memory = MINUTES if self.preset.wait_s else None
            self.candidates.append(Candidate(model=model, basis=basis, waves=waves, kept=self.kept, memory=memory))

    def _electrons(self, image: np.ndarray, one: Candidate) -> tuple[np.ndarray]:
        """Return a frame in electrons."""
        chain = PROFILES[one.model.profile].chain("haadf") if self.preset.faults else None
        return (image.astype(float) if chain is None else chain.electrons(image),)


class NoOperation:
    """Does nothing until the budget is spent."""

    def reset(self, brief: Brief) -> None:
        """Remember nothing."""

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return an action that changes nothing."""
        del observation, cost
        return np.array([0, 0, 0, -1], np.float32)


class RandomActions:
    """Uniform actions, the stop among them."""

    def reset(self, brief: Brief) -> None:
        """Seed the draws."""
        self.rng = np.random.Generator(np.random.Philox(brief.seed))

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return a uniform action."""
        del observation, cost
        return self.rng.uniform(-1, 1, 4).astype(np.float32)


class BlindSweep:
    """Goes through the defocus from one end to the other without a look at the images, and declares the end in the middle again."""

    def reset(self, brief: Brief) -> None:
        """Begin at one end."""
        reach = float(brief.observation_space["knobs"].high[0])
        self.targets = iter([*np.linspace(-0.8, 0.8, 6) * reach, 0.0])

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the way to the next defocus."""
        del cost
        target = next(self.targets, None)
        way = 0.0 if target is None else (target - float(observation["knobs"][0])) / STEP[0]
        return np.array([np.clip(way, -1, 1), 0, 0, 1 if target is None else -1], np.float32)


class FocusByTruth:
    """Goes straight to an aberration by the truth, and declares the end there or never.

    Parameters
    ----------
    target : tuple of float
        True C10, C12a, C12b to go to, A.
    declares : bool
        Whether the end is declared there.
    """

    def __init__(self, target: tuple[float, float, float] = (0.0, 0.0, 0.0), *, declares: bool = True) -> None:
        self.target, self.declares = np.array(target), declares

    def reset(self, brief: Brief) -> None:
        """Take the door to the truth."""
        if brief.truth is None:
            message = "This policy needs the door to the truth, which only the runner opens, for an entry marked as oracle."
            raise SettingsError(message)
        preset = PRESETS[preset_of(brief)]
        self.truth, self.hour, self.seen = brief.truth, bool(preset.wait_s), 0
        self.exact = preset.randomisation.knob_gain == (1.0, 1.0) and not preset.randomisation.failing

    def act(self, observation: Mapping[str, np.ndarray], cost: Mapping[str, float]) -> np.ndarray:
        """Return the way that is left."""
        del cost
        self.seen += 1
        state = self.truth()
        left = self.target - np.array([state["C10_angstrom"], state["C12a_angstrom"], state["C12b_angstrom"]])
        last = min(observation["budget"]) < 1.5 * (1 - min(observation["budget"])) / self.seen
        reached = np.abs(left / STEP).max() <= 1 if self.exact else np.abs(left).max() < GOAL / 10
        there = last if self.hour else reached
        return np.append(np.clip(left / STEP, -1, 1), 1.0 if there and self.declares else -1.0).astype(np.float32)


Hover = functools.partial(FocusByTruth, (GOAL + 0.5, 0.0, 0.0), declares=False)
"""Stays just outside of the goal."""

for _name, _text, _factory in (
    ("expert", "a matched filter on the model of the instrument, for every start, place and specimen", MatchedFilter),
    ("no-op", "does nothing", NoOperation),
    ("random", "uniform actions", RandomActions),
    ("blind", "sweeps the defocus without a look at the images", BlindSweep),
    ("hover", "stays just outside of the goal, by the truth", Hover),
    ("oracle", "cancels the true aberrations", FocusByTruth),
):
    add_baseline(Baseline(task=TASK, name=_name, text=_text, factory=_factory, oracle=_name in ("hover", "oracle")))
