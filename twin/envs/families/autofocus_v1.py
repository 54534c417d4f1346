"""``stemtwin/Autofocus-v1``, frozen for the task ``autofocus@1``: correction of defocus and twofold astigmatism from images.

The page of this environment lists the defects of version 1. Use version 2.
"""

import functools
import math
from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.focus_limits import FRAMES, GOAL, REACH, START_C10, START_C12, STEP
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.preparation import PreparationLine, specimen
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.settings import Beam
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.instrument.simulation.discretisation import LEAST_WINDOW, WINDOW_MARGIN
from stemtwin.twin.instrument.simulation.engines import operator
from stemtwin.twin.instrument.simulation.plan import Plan, make_plan
from stemtwin.twin.instrument.simulation.request import Request, checked_phonons
from stemtwin.twin.physics import aberrations as optics
from stemtwin.twin.physics import noise, probe
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.physics.engine.operator.imaging_operator import ImagingOperator
from stemtwin.twin.samples.library import SAMPLES

SHAPE = (128, 128)
FRAMES_IN_FOCUS = 2
MOST_ELECTRONS = 60_000
"""Largest number of incident electrons at one point: even with Poisson noise a uint16 frame cannot overflow."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Focus:
    """State of an episode: true aberrations, knobs, last frame and costs.

    Parameters
    ----------
    start : ndarray
        True values (A) of C10, C12a and C12b when the knobs read 0.
    knobs : ndarray
        Sums of the changes of C10, C12a and C12b since the start, A.
    origin : tuple of float
        Position of the field on the specimen (x, y), A.
    image : ndarray
        The last frame, uint16 electrons.
    frames, moves, in_focus : int
        Numbers of frames, of actions, and of consecutive frames in focus.
    dose : float
        Dose so far, e-/A^2.
    """

    start: np.ndarray
    knobs: np.ndarray
    origin: tuple[float, float]
    image: np.ndarray
    frames: int
    moves: int
    in_focus: int
    dose: float

    @property
    def true(self) -> np.ndarray:
        """True values (A) of C10, C12a and C12b."""
        return self.start + self.knobs


@environment("Autofocus", version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class AutofocusV1:
    """Bring a sample into focus: version 1, kept for the scores of ``autofocus@1``.

    Description
        A HAADF frame is taken after each action. The detector is generic and collects electrons from three times the
        convergence semi-angle outwards; it is not the instrument's own detector, whose angles depend on the profile. Defocus and
        twofold astigmatism start at unknown values. Do not train on this version, because it has four defects. Each
        frame pays up to 1 and success ends the episode, so an agent that does nothing (return 2.95) earns more than the
        oracle (2.20), and an agent that stays just outside the goal earns 17. An episode ends when the hidden true
        aberrations reach the goal, without a declaration by the agent. All episodes have the same crystal in the same
        orientation. With the default arguments the dose budget suffices for all frames, so it never ends an episode.
    Action space
        ``Box(-1, 1, (3,))``: changes of C10, C12a, C12b by at most 100, 50, 50 A. Knobs stop 200, 120, 120 A from their
        start.
    Observation space
        ``image`` uint16 (128, 128): detected electrons. ``knobs`` float32 (3,): C10, C12a, C12b in A, relative to the
        start. ``budget`` float32 (2,): remaining fractions of frames and dose.
    Reward
        Strehl ratio of (C10, C12) after the action, in [0, 1]. It is computed from the truth and is meant for training,
        not for scoring.
    Starting state
        abs(C10) is uniform in 20 to 150 A with either sign, abs(C12) is uniform in 0 to 100 A at any azimuth, and the field
        is anywhere on the specimen.
    Episode end
        An episode is terminated when abs(C10) and abs(C12) are below 20 A for two frames in a row. It is truncated after
        20 frames or when the dose is spent.
    Version history
        v1: first version.

    Parameters
    ----------
    sample : str
        A sample of the library.
    instrument : str
        An instrument profile.
    semiangle_mrad, current_pa, dwell_time_us : float
        Convergence semi-angle, mrad; current, pA; dwell time, us.
    field_of_view_angstrom : float
        Side of the square field, A.
    max_frames : int
        Number of frames in one episode, including the first.
    dose_budget_e_per_angstrom2 : float
        Dose budget of one episode, e-/A^2.
    phonons : int
        Number of frozen-phonon configurations, which have independent displacements.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    sample: str = "mos2-1h"
    instrument: str = "corrected-200kv"
    semiangle_mrad: float = 20.0
    current_pa: float = 50.0
    dwell_time_us: float = 4.0
    field_of_view_angstrom: float = 16.0
    max_frames: int = FRAMES
    dose_budget_e_per_angstrom2: float = 2e6
    phonons: int = 8

    def __post_init__(self) -> None:
        """Check the numbers."""
        profile = PROFILES[self.instrument]
        SAMPLES[self.sample]
        checked_phonons(self.phonons)
        checks.number("semiangle_mrad", self.semiangle_mrad, "mrad", above=0, high=40)
        checks.number("current_pa", self.current_pa, "pA", above=0, high=profile.max_current_pa)
        checks.number("dwell_time_us", self.dwell_time_us, "us", above=0, high=profile.max_dwell_time_us)
        checks.number("field_of_view_angstrom", self.field_of_view_angstrom, "A", low=4, high=64)
        checks.whole("max_frames", self.max_frames, low=2)
        if self.incident > MOST_ELECTRONS:
            message = (
                f"current_pa={self.current_pa:g} for dwell_time_us={self.dwell_time_us:g} gives {self.incident:.0f} electrons at each point, but "
                f"a uint16 frame holds at most {MOST_ELECTRONS}. Reduce current or dwell time."
            )
            raise SettingsError(message)
        least = 2 * self.dose_per_frame
        repair = f"An episode needs at least two frames of {self.dose_per_frame:.3g} e-/A^2."
        checks.number("dose_budget_e_per_angstrom2", self.dose_budget_e_per_angstrom2, "e-/A^2", low=least, repair=repair)

    @property
    def action_space(self) -> gym.spaces.Box:
        """Space of actions: changes of C10, C12a and C12b as fractions of the largest changes."""
        return gym.spaces.Box(-1.0, 1.0, (3,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Dict:
        """Space of observations: image, knobs and budget."""
        reach = REACH.astype(np.float32)
        return gym.spaces.Dict(
            {
                "image": gym.spaces.Box(0, 65535, SHAPE, np.uint16),
                "knobs": gym.spaces.Box(-reach, reach, (3,), np.float32),
                "budget": gym.spaces.Box(0.0, 1.0, (2,), np.float32),
            }
        )

    @property
    def incident(self) -> float:
        """Number of incident electrons at one point."""
        return noise.electrons_per_point(self.current_pa, self.dwell_time_us * 1e-6)

    @property
    def dose_per_frame(self) -> float:
        """Dose of one frame, e-/A^2."""
        return self.incident * math.prod(SHAPE) / self.field_of_view_angstrom**2

    def prepare(self, line: PreparationLine) -> None:
        """Build the imaging operator, which takes seconds, unless it is cached; forked processes share it."""
        request, plan = _prepared(self)
        operator_cache.operator_for(request, plan, progress=line.operator(1, 1, plan.waves))

    def initial(self, rng: np.random.Generator) -> Focus:
        """Draw the focus and the position of the field, and take the first frame."""
        c10 = rng.uniform(*START_C10) * rng.choice([-1.0, 1.0])
        c12, azimuth = rng.uniform(*START_C12), rng.uniform(0, 2 * np.pi)
        start, knobs = read_only(np.array([c10, c12 * np.cos(azimuth), c12 * np.sin(azimuth)])), read_only(np.zeros(3))
        origin = (float(rng.uniform(0, 100)), float(rng.uniform(0, 100)))
        empty = Focus(start=start, knobs=knobs, origin=origin, image=np.zeros(SHAPE, np.uint16), frames=0, moves=0, in_focus=0, dose=0.0)
        return self._frame(empty, rng)

    def transition(self, state: Focus, action: np.ndarray, rng: np.random.Generator) -> Focus:
        """Turn the knobs and take a frame."""
        knobs = read_only(np.clip(state.knobs + STEP * np.asarray(action, float), -REACH, REACH))
        return self._frame(replace(state, knobs=knobs, moves=state.moves + 1), rng)

    def _frame(self, state: Focus, rng: np.random.Generator) -> Focus:
        signal = self.expected_image(state.true, state.origin)
        counts = read_only(noise.count_electrons(signal, self.incident, rng).astype(np.uint16))
        c10, c12 = abs(state.true[0]), math.hypot(*state.true[1:])
        focused = state.in_focus + 1 if c10 < GOAL and c12 < GOAL else 0
        return replace(state, image=counts, frames=state.frames + 1, dose=state.dose + self.dose_per_frame, in_focus=focused)

    def expected_image(self, true: np.ndarray, origin: tuple[float, float]) -> np.ndarray:
        """Return the noiseless HAADF image, as a fraction of the beam, for true C10, C12a, C12b (A) and an origin (x, y), A."""
        base, _ = _prepared(self)
        state = optics.add(base.beam.aberrations, Aberrations.from_cartesian(C10=true[0], C12a=true[1], C12b=true[2]))
        request = replace(base, beam=replace(base.beam, aberrations=state), scan=replace(base.scan, origin_angstrom=origin))
        return operator.image_signals(_operator(self), request)[0]

    def observe(self, state: Focus) -> dict[str, np.ndarray]:
        """Return the observation: image, knobs and budget."""
        frames = max(0.0, 1 - state.frames / self.max_frames)
        dose = max(0.0, 1 - state.dose / self.dose_budget_e_per_angstrom2)
        return {"image": state.image.copy(), "knobs": state.knobs.astype(np.float32), "budget": np.array([frames, dose], np.float32)}

    def step_reward(self, before: Focus, after: Focus) -> float:
        """Return the Strehl ratio of (C10, C12) after the action."""
        del before
        return self.strehl(after)

    def strehl(self, state: Focus) -> float:
        """Return the Strehl ratio of (C10, C12)."""
        beam = _prepared(self)[0].beam
        c10, c12a, c12b = state.true
        return probe.strehl_ratio(beam.wavelength_angstrom, beam.semiangle_rad, Aberrations.from_cartesian(C10=c10, C12a=c12a, C12b=c12b))

    def terminated(self, state: Focus) -> bool:
        """Return True if two frames in a row were in focus."""
        return state.in_focus >= FRAMES_IN_FOCUS

    def truncated(self, state: Focus) -> bool:
        """Return True if the frames are spent, or if the dose does not suffice for another frame."""
        return state.frames >= self.max_frames or state.dose + self.dose_per_frame > self.dose_budget_e_per_angstrom2

    def cost(self, state: Focus) -> dict[str, float]:
        """Return the dose (e-/A^2), the beam time on the specimen (s) and the number of actions."""
        beam_s = state.frames * math.prod(SHAPE) * self.dwell_time_us * 1e-6
        return {"dose_e_per_angstrom2": float(state.dose), "beam_s": float(beam_s), "moves": float(state.moves)}

    def truth(self, state: Focus) -> dict[str, float]:
        """Return C10, C12a, C12b, abs(C12) in A and the Strehl ratio."""
        c10, c12a, c12b = (float(v) for v in state.true)
        return {
            "C10_angstrom": c10,
            "C12a_angstrom": c12a,
            "C12b_angstrom": c12b,
            "C12_angstrom": math.hypot(c12a, c12b),
            "strehl": self.strehl(state),
        }

    def picture(self, state: Focus) -> np.ndarray:
        """Draw the frame beside gauges of the knobs and the budget; return uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import pictures

        side = self.field_of_view_angstrom
        return pictures.focus_picture(self.observe(state), REACH, frame=state.frames, field_of_view=side, dose=state.dose)


@functools.lru_cache(maxsize=8)
def _prepared(task: AutofocusV1) -> tuple[Request, Plan]:
    """Return the request without misalignment and its plan, with a window for the widest probe within reach of the knobs."""
    profile = PROFILES[task.instrument]
    sample = specimen(task.sample)
    semiangle = task.semiangle_mrad * 1e-3
    beam = Beam(
        energy_ev=profile.energy_ev,
        semiangle_mrad=task.semiangle_mrad,
        aberrations=profile.residual,
        source_size_angstrom=profile.source_size_angstrom(task.current_pa, task.semiangle_mrad, profile.energy_ev),
        focal_spread_angstrom=profile.focal_spread_angstrom(profile.energy_ev),
    )
    scan = RasterScan(shape=SHAPE, field_of_view_angstrom=(task.field_of_view_angstrom, task.field_of_view_angstrom))
    how = {"engine": operator.NAME, "phonons": task.phonons, "lattice_average": False}
    request = Request(sample=sample, beam=beam, scan=scan, detectors=("haadf",), **how)
    worst = START_C10[1] + REACH[0] + START_C12[1] + math.hypot(*REACH[1:]) + sample.thickness_angstrom
    window = max(LEAST_WINDOW, WINDOW_MARGIN + 2 * (worst * semiangle + optics.blur_radius(profile.residual, semiangle)))
    return request, make_plan(request, window_angstrom=window)


@functools.lru_cache(maxsize=4)
def _operator(task: AutofocusV1) -> ImagingOperator:
    """Return the imaging operator from a cache by task, so a step does not compute the operator's key again."""
    return operator_cache.operator_for(*_prepared(task))
