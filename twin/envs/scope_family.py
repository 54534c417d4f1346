"""The whole microscope as a family: the state of an episode, and the common parts of the versions of ``stemtwin/Microscope``."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.envs import image_features, session
from stemtwin.twin.envs.arguments import Randomisation
from stemtwin.twin.envs.control_panel import COEFFICIENTS, ControlPanel
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.preparation import specimen
from stemtwin.twin.envs.rewards import REWARDS
from stemtwin.twin.envs.session import Session
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import DETECTORS, checked
from stemtwin.twin.instrument.hardware.drift import Instabilities
from stemtwin.twin.instrument.hardware.profiles import Profile
from stemtwin.twin.instrument.hardware.scan_distortion import ScanImperfections
from stemtwin.twin.instrument.hardware.stage import StageProfile
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope.setup import CommonOperator, Setup
from stemtwin.twin.instrument.scope.specimen_state import find_damage
from stemtwin.twin.instrument.settings import LEAST_SEMIANGLE_MRAD
from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

MISALIGNED = 0.25
"""Largest misalignment of an aberration at the start, as a fraction of its largest value on the panel."""
COSTS = ("time_s", "electrons", "dose_e_per_angstrom2")
"""Names of the costs of an action."""
SCALARS = 11
"""Number of scalars of an observation without knobs and stage: field, dwell time, flag for new frames, costs and budgets."""
MOST_SPENT = 15.0
"""Decadic logarithm of the largest cost."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScopeSession:
    """State of an episode of the whole microscope.

    Parameters
    ----------
    session : Session
        The microscope of this episode and the record of its use.
    frame : xarray.Dataset, optional
        The last frame.
    fresh : bool
        Whether the last action acquired this frame.
    spent : tuple of float
        Costs of the last action: time (s), electrons, dose (e-/A^2).
    steps : int
        Number of actions so far.
    scan : tuple of float
        Last setpoints in [-1, 1]: four numbers of the field and one number of the dwell time.
    rotation_rad : float
        Hidden rotation of the scan on the specimen, rad.
    """

    session: Session
    frame: xr.Dataset | None = None
    fresh: bool = False
    spent: tuple[float, float, float] = (0.0, 0.0, 0.0)
    steps: int = 0
    scan: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    rotation_rad: float = 0.0

    @property
    def cost(self) -> dict[str, float]:
        """Cost of the last action: ``time_s``, ``electrons`` and ``dose_e_per_angstrom2``."""
        return dict(zip(COSTS, self.spent, strict=True))


class ScopeFamily(ABC):
    """Common part of all versions of the microscope family: costs, ends of episodes, truth and picture.

    The versions differ in their control panel and in their settings.
    """

    __slots__ = ()
    reward: str

    @property
    @abstractmethod
    def panel(self) -> ControlPanel:
        """Control panel of the actions."""

    @property
    @abstractmethod
    def limits(self) -> tuple[int, float]:
        """Largest number of actions and largest dose (e-/A^2) of an episode."""

    @property
    def reach(self) -> np.ndarray:
        """Largest absolute value to which each Cartesian aberration can be set, A."""
        return self.panel.reach

    def step_reward(self, before: ScopeSession, after: ScopeSession) -> float:
        """Return the reward of the last action, from its frame and cost, by the reward function that the environment was made with."""
        del before
        frame = after.frame.copy(deep=True) if after.fresh and after.frame is not None else None
        return float(REWARDS[self.reward](frame, after.cost))

    def terminated(self, state: ScopeSession) -> bool:  # noqa: ARG002 - there is no goal
        """Return False, because the family has no goal; only a spent budget ends an episode."""
        return False

    def truncated(self, state: ScopeSession) -> bool:
        """Return True if the number of actions or the dose has reached its limit."""
        steps, dose = self.limits
        return state.steps >= steps or state.session.dose_e_per_angstrom2 >= dose

    def cost(self, state: ScopeSession) -> dict[str, float]:
        """Return the cost since the start: dose (e-/A^2), beam time (s), total time (s), electrons, actions."""
        return {**state.session.cost, "moves": float(state.steps)}

    def truth(self, state: ScopeSession) -> dict[str, float]:
        """Return true aberrations and specimen position, A; with ``damage`` also the numbers of atoms and of events."""
        setup, scope = state.session.setup, state.session.scope
        true = setup.aberrations(scope, scope.time_s).cartesian()
        at = setup.specimen_shift(scope, np.array([scope.time_s]))[0]
        found = {**{f"{name}_angstrom": float(value) for name, value in true.items()}, "x_angstrom": float(at[0]), "y_angstrom": float(at[1])}
        matter = scope.matter
        return found if matter is None else {**found, "atoms": float(matter.sites.present.sum()), "events": float(len(matter.events))}

    def picture(self, state: ScopeSession) -> np.ndarray:
        """Draw the frames above the read-backs of all knobs; return uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import pictures

        assert state.frame is not None
        scope, (steps, dose) = state.session.scope, self.limits
        return pictures.microscope_picture(
            dict(zip(self.panel.detectors, images(state, self.panel), strict=True)),
            (*self.panel.readings(scope.knobs), *self.panel.stage_readings(scope.stage.readback)),
            spent=self.cost(state),
            left={"actions": 1 - state.steps / steps, "dose": 1 - state.session.dose_e_per_angstrom2 / dose},
            field_of_view=max(side(state.frame[axis].to_numpy()) for axis in "yx"),
            fresh=state.fresh,
        )

    def frame_taken(self, state: ScopeSession, scan: RasterScan, dwell_time_us: float | None, before: Session | None = None) -> ScopeSession:
        """Acquire a frame, and return the state after it.

        The cost of the action is counted from the session ``before``. If ``before`` is omitted, the cost is counted from the
        session of ``state``.
        """
        frame, after = session.acquire(state.session, scan, detectors=self.panel.detectors, dwell_time_us=dwell_time_us)
        for readings in frame.data_vars.values():
            read_only(readings.to_numpy())
        cost = spent(before or state.session, after, after.last_dose_e_per_angstrom2)
        return replace(state, session=after, frame=frame, fresh=True, spent=cost)


def side(centres: np.ndarray) -> float:
    """Return the length of a field along one axis, from the positions of its equally spaced pixel centres along this axis."""
    return float(np.ptp(centres)) * len(centres) / (len(centres) - 1)


def counts(state: ScopeSession, panel: ControlPanel) -> dict[str, Any]:
    """Return the observation in the form "counts": frames, flag for new frames, and read-backs of knobs and stage."""
    assert state.frame is not None  # the first frame is taken at the start
    frames = np.stack([state.frame[name].to_numpy() for name in panel.detectors])
    ends = panel.stage_space()
    return {
        "frames": np.clip(frames, 0, 65535).astype(np.uint16),
        "fresh": np.array([state.fresh], np.int8),
        "knobs": panel.numbers(state.session.scope.knobs),
        "stage": np.clip(state.session.scope.stage.readback.array()[: panel.axes], ends.low, ends.high).astype(np.float32),
    }


def images(state: ScopeSession, panel: ControlPanel) -> list[np.ndarray]:
    """Return the last frame of each detector in electrons."""
    assert state.frame is not None  # the first frame is taken at the start
    return [image_features.electrons(state.frame[name]) for name in panel.detectors]


def logarithms(state: ScopeSession) -> np.ndarray:
    """Return log10(1 + cost) of the last action: time (s), electrons, dose (e-/A^2)."""
    return np.log10(1 + np.array(state.spent))


def scalars(state: ScopeSession, panel: ControlPanel, seen: dict[str, Any], budget: list[float]) -> list[Any]:
    """Return the scalars of an observation as a list of vectors.

    The scalars are the knobs, the stage in units of its range, the field and dwell time, the flag for new frames, the logarithms of
    the costs, and the budgets.
    """
    return [seen["knobs"], seen["stage"] / panel.stage_space().high, state.scan, seen["fresh"], logarithms(state) / MOST_SPENT, budget]


def bounded(*parts: Any) -> np.ndarray:
    """Concatenate vectors into one float32 vector, and clip its values to [-1, 1]."""
    return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)


def spent(before: Session, after: Session, dose: float = 0.0) -> tuple[float, float, float]:
    """Return the time (s) and the electrons spent between two states of one session, and the given dose (e-/A^2)."""
    return after.scope.time_s - before.scope.time_s, after.scope.electrons - before.scope.electrons, dose


def rings(names: Any) -> tuple[str, ...]:
    """Check the names of detectors that give one number at each point, and return them as a tuple.

    Raises
    ------
    StemtwinError
        A name is unknown, or a detector does not give one number at each point.
    """
    given = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (names,)
    found = checked(given)
    for name in given:
        if not isinstance(name, str) or "annular" not in DETECTORS.tags(name):
            known = ", ".join(DETECTORS.names("annular"))
            message = (
                f"detectors={given!r}: {name!r} does not name a registered detector that records one number at each point. "
                f"Use {known}, or record other detectors with stemtwin.Microscope."
            )
            raise SettingsError(message)
    return found  # type: ignore[return-value] - only names


def check_reward(reward: Any) -> None:
    """Raise an error if a reward is not the name of a registered reward.

    Raises
    ------
    StemtwinError
        The reward is a function, or its name is unknown.
    """
    if not isinstance(reward, str):
        message = (
            f"reward={reward!r} is not the name of a reward ({', '.join(REWARDS)}). Register a function of (frame, cost) "
            'with @REWARDS.register("mine") from stemtwin.twin.envs.rewards, and pass reward="mine".'
        )
        raise SettingsError(message)
    REWARDS[reward]


def apertures(asked: Any, usual: tuple[float, ...]) -> tuple[float, ...]:
    """Return the available convergence semi-angles, mrad: the given semi-angles, or the usual ones if none are given.

    Raises
    ------
    SettingsError
        A value is not a number, or it is outside the range of apertures.
    """
    return checks.numbers("semiangles_mrad", asked, "mrad", low=LEAST_SEMIANGLE_MRAD, high=150) or usual


def setup_of(task: Any, profile: Profile, sample: Sample, seed: int, off: np.ndarray, common: CommonOperator | None = None) -> Setup:
    """Return the setup of an episode: an instrument whose aberrations are misaligned by ``off``, shape (25,), A."""
    return Setup(
        profile=profile,
        seed=seed,
        phonons=task.phonons if sample.thermal_sigma_angstrom is not None else "static",
        lattice_average=False,
        specimen_seed=0,
        misalignment=Aberrations.from_cartesian(**dict(zip(COEFFICIENTS, off.tolist(), strict=True))),
        window_angstrom=window_angstrom(task.panel, sample.thickness_angstrom),
        damage=find_damage(task.damage),
        common=common,
    )


@functools.lru_cache(maxsize=16)
def sample_of(name: str, *, damage: bool) -> Sample:
    """Return a sample of the library, at its full size if the beam can damage it, and otherwise as one small cell."""
    return load_sample(name, seed=0) if damage else specimen(name)


def window_angstrom(panel: ControlPanel, thickness: float) -> float:
    """Return the side (A) of the calculation window for the widest likely probe, with random aberrations within the panel's ranges."""
    angle = max(panel.semiangles_mrad) * 1e-3
    orders = np.array([int(name[1]) for name in panel.coefficients])
    blur = panel.reach * angle**orders
    return 2 * (math.sqrt((blur**2).sum()) + thickness * angle) + WINDOW_MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopePreset:
    """Settings of one difficulty of the whole microscope.

    Parameters
    ----------
    apertures : tuple of float
        Convergence semi-angles of the available apertures, in units of the profile's usual semi-angle.
    camera_lengths : int
        Largest number of available camera lengths. The usual length of the profile is included first, then longer lengths,
        then shorter lengths, until this number is reached.
    order : int
        Largest order of the aberrations that have knobs.
    misaligned : int
        Largest order of the aberrations that are misaligned at the start.
    quiet : bool
        Whether scan and stage are perfect and nothing drifts.
    shape : tuple of int
        Numbers of points (ny, nx) of a frame.
    max_steps, dose_budget_e_per_angstrom2 : int, float
        Largest number of actions and largest dose, e-/A^2, of an episode.
    phonons : int
        Number of frozen-phonon configurations.
    randomisation : Randomisation
        Ranges from which episodes are drawn.
    """

    apertures: tuple[float, ...]
    camera_lengths: int
    order: int
    misaligned: int
    quiet: bool
    shape: tuple[int, int]
    max_steps: int
    dose_budget_e_per_angstrom2: float
    phonons: int
    randomisation: Randomisation


PRESETS = {
    "easy": ScopePreset(
        apertures=(1.0,),
        camera_lengths=1,
        order=1,
        misaligned=1,
        quiet=True,
        shape=(64, 64),
        max_steps=50,
        dose_budget_e_per_angstrom2=2e7,
        phonons=4,
        randomisation=Randomisation(residual=(0.0, 0.0), drift=(0.0, 0.0)),
    ),
    "standard": ScopePreset(
        apertures=(0.6, 1.0),
        camera_lengths=3,
        order=3,
        misaligned=2,
        quiet=False,
        shape=(128, 128),
        max_steps=100,
        dose_budget_e_per_angstrom2=2e7,
        phonons=4,
        randomisation=Randomisation(rotation_rad=(-0.1, 0.1), knob_gain=(0.95, 1.05)),
    ),
    "hard": ScopePreset(
        apertures=(0.5, 0.75, 1.0),
        camera_lengths=99,
        order=5,
        misaligned=3,
        quiet=False,
        shape=(128, 128),
        max_steps=200,
        dose_budget_e_per_angstrom2=1e7,
        phonons=8,
        randomisation=Randomisation(rotation_rad=(-0.3, 0.3), residual=(0.5, 2.0), drift=(1.0, 5.0), knob_gain=(0.9, 1.1), failing=0.05),
    ),
}
"""Difficulties of version 2."""


def quiet(profile: Profile) -> Profile:
    """Return a profile with a perfect scan and stage and no drift; its detectors are unchanged."""
    return replace(profile, imperfections=ScanImperfections(), instabilities=Instabilities(), stage=StageProfile())


def lengths(profile: Profile, asked: Any, count: int) -> tuple[float, ...]:
    """Return the available camera lengths, mm: the given lengths, or ``count`` lengths of the profile if none are given.

    The profile's usual length is included first, then longer lengths, then shorter lengths, until ``count`` is reached.

    Raises
    ------
    SettingsError
        A value is not a number, or a given camera length does not exist on the instrument.
    """
    asked = checks.numbers("camera_lengths_mm", asked, "mm")
    wrong = next((length for length in asked if length not in profile.camera_lengths_mm), None)
    if wrong is not None:
        table = ", ".join(f"{length:g}" for length in profile.camera_lengths_mm)
        message = f"camera_lengths_mm={asked}: {wrong:g} mm is not a camera length of {profile.name}. Choose among {table} mm."
        raise SettingsError(message)
    usual = profile.camera_length_mm
    longer = [length for length in profile.camera_lengths_mm if length > usual]
    shorter = [length for length in profile.camera_lengths_mm if length < usual]
    return asked or tuple(sorted([usual, *longer, *shorter][:count]))
