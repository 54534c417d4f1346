"""The whole microscope as a family: the state of an episode, and what the versions of ``stemtwin/Microscope`` have in common."""

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
"""At the start aberrations are off by so much of their reach at most."""
COSTS = ("time_s", "electrons", "dose_e_per_angstrom2")
"""Names of what an action costs."""
SCALARS = 11
"""Numbers of an observation beside knobs, stage and images: field and dwell time, fresh, cost, budget."""
MOST_SPENT = 15.0
"""Decadic logarithm of the largest cost."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScopeSession:
    """State of the environment.

    Parameters
    ----------
    session : Session
        The microscope of this episode and what was done with it.
    frame : xarray.Dataset, optional
        The last frame.
    fresh : bool
        Whether the last action took it.
    spent : tuple of float
        Costs of the last action, in the order of ``COSTS``.
    steps : int
        Actions so far.
    scan : tuple of float
        Field (4) and dwell time as they were set last, in [-1, 1].
    rotation_rad : float
        Hidden angle between the scan and the specimen, rad.
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
        """Cost of the last action by name."""
        return dict(zip(COSTS, self.spent, strict=True))


class ScopeFamily(ABC):
    """Common part of the versions: costs, ends, the truth and the picture. They differ in their panel and their settings."""

    __slots__ = ()
    reward: str

    @property
    @abstractmethod
    def panel(self) -> ControlPanel:
        """Settings that actions reach."""

    @property
    @abstractmethod
    def limits(self) -> tuple[int, float]:
        """Most actions and largest dose (e-/A^2) of an episode."""

    @property
    def reach(self) -> np.ndarray:
        """Range of each Cartesian aberration, A."""
        return self.panel.reach

    def step_reward(self, before: ScopeSession, after: ScopeSession) -> float:
        """Return the named reward of the last action's frame and cost."""
        del before
        frame = after.frame.copy(deep=True) if after.fresh and after.frame is not None else None
        return float(REWARDS[self.reward](frame, after.cost))

    def terminated(self, state: ScopeSession) -> bool:  # noqa: ARG002 - there is no goal
        """Return False."""
        return False

    def truncated(self, state: ScopeSession) -> bool:
        """Return whether the steps or the dose are spent."""
        steps, dose = self.limits
        return state.steps >= steps or state.session.dose_e_per_angstrom2 >= dose

    def cost(self, state: ScopeSession) -> dict[str, float]:
        """Return the spending since the start: dose (e-/A^2), time with the beam on the specimen (s), all time (s), electrons, actions."""
        return {**state.session.cost, "moves": float(state.steps)}

    def truth(self, state: ScopeSession) -> dict[str, float]:
        """Return the true aberrations (A), where the specimen truly is (A), and of one that can change how many atoms it has and what happened."""
        setup, scope = state.session.setup, state.session.scope
        true = setup.aberrations(scope, scope.time_s).cartesian()
        at = setup.specimen_shift(scope, np.array([scope.time_s]))[0]
        found = {**{f"{name}_angstrom": float(value) for name, value in true.items()}, "x_angstrom": float(at[0]), "y_angstrom": float(at[1])}
        matter = scope.matter
        return found if matter is None else {**found, "atoms": float(matter.sites.present.sum()), "events": float(len(matter.events))}

    def picture(self, state: ScopeSession) -> np.ndarray:
        """Return the frames over all knobs as they read, uint8, shape (height, width, 3)."""
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
        """Return the state after a frame; the cost counts from a session before."""
        frame, after = session.acquire(state.session, scan, detectors=self.panel.detectors, dwell_time_us=dwell_time_us)
        for readings in frame.data_vars.values():
            read_only(readings.to_numpy())
        cost = spent(before or state.session, after, after.last_dose_e_per_angstrom2)
        return replace(state, session=after, frame=frame, fresh=True, spent=cost)


def side(centres: np.ndarray) -> float:
    """Return the length of a field along an axis from the equally spaced centres of its pixels."""
    return float(np.ptp(centres)) * len(centres) / (len(centres) - 1)


def counts(state: ScopeSession, panel: ControlPanel) -> dict[str, Any]:
    """Return frames, whether they are fresh, knobs and stage as they read, as arrays of the observation space."""
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
    """Return the readings beside frames, in parts: knobs, stage in units of its range, field and dwell time, fresh, logarithms of costs, budget."""
    return [seen["knobs"], seen["stage"] / panel.stage_space().high, state.scan, seen["fresh"], logarithms(state) / MOST_SPENT, budget]


def bounded(*parts: Any) -> np.ndarray:
    """Return parts as one vector of numbers in [-1, 1], float32."""
    return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)


def spent(before: Session, after: Session, dose: float = 0.0) -> tuple[float, float, float]:
    """Return time (s) and electrons between two sessions, and a dose (e-/A^2)."""
    return after.scope.time_s - before.scope.time_s, after.scope.electrons - before.scope.electrons, dose


def rings(names: Any) -> tuple[str, ...]:
    """Return the names of detectors of which each gives one number at a point.

    Raises
    ------
    StemtwinError
        A name is unknown, or the detector gives none or several.
    """
    given = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (names,)
    found = checked(given)
    for name in given:
        if not isinstance(name, str) or "annular" not in DETECTORS.tags(name):
            known = ", ".join(DETECTORS.names("annular"))
            message = f"detectors={given!r}: a frame has one number at each point, and {name!r} gives none or several. Use {known}, or st.Microscope."
            raise SettingsError(message)
    return found  # type: ignore[return-value] - names alone


def check_reward(reward: Any) -> None:
    """Refuse anything but the name of a reward.

    Raises
    ------
    StemtwinError
        The reward is a function, or its name is unknown.
    """
    if not isinstance(reward, str):
        message = (
            f"reward={reward!r} is not the name of a reward ({', '.join(REWARDS)}): register a function of (frame, cost) "
            'under a name, @REWARDS.register("mine") from stemtwin.twin.envs.rewards, and pass reward="mine".'
        )
        raise SettingsError(message)
    REWARDS[reward]


def apertures(asked: Any, usual: tuple[float, ...]) -> tuple[float, ...]:
    """Return convergences to choose from, mrad: those that were asked for, or the usual ones.

    Raises
    ------
    SettingsError
        They are not numbers, or no aperture has one of them.
    """
    return checks.numbers("semiangles_mrad", asked, "mrad", low=LEAST_SEMIANGLE_MRAD, high=150) or usual


def setup_of(task: Any, profile: Profile, sample: Sample, seed: int, off: np.ndarray, common: CommonOperator | None = None) -> Setup:
    """Return the setup of an episode: an instrument whose aberrations are off, (25,), A."""
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
    """Return a sample of the library; one that the beam changes is as large as the library makes it."""
    return load_sample(name, seed=0) if damage else specimen(name)


def window_angstrom(panel: ControlPanel, thickness: float) -> float:
    """Return the window of the widest probe that is likely, A: all aberrations at random in their reach."""
    angle = max(panel.semiangles_mrad) * 1e-3
    orders = np.array([int(name[1]) for name in panel.coefficients])
    blur = panel.reach * angle**orders
    return 2 * (math.sqrt((blur**2).sum()) + thickness * angle) + WINDOW_MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopePreset:
    """A difficulty.

    Parameters
    ----------
    apertures : tuple of float
        Apertures to choose from, in units of the profile's usual convergence.
    camera_lengths : int
        Camera lengths to choose from at most: the usual one, then longer ones, then shorter ones.
    order : int
        Aberrations up to this order can be turned.
    misaligned : int
        Aberrations up to this order are off at the start.
    quiet : bool
        Whether scan and stage are perfect and nothing strays.
    shape : tuple of int
        Points (ny, nx) of a frame.
    max_steps, dose_budget_e_per_angstrom2 : int, float
        Limits of an episode.
    phonons : int
        Frozen-phonon configurations.
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
    """Return a profile with a perfect scan and stage, where nothing strays; its detectors stay as they are."""
    return replace(profile, imperfections=ScanImperfections(), instabilities=Instabilities(), stage=StageProfile())


def lengths(profile: Profile, asked: Any, count: int) -> tuple[float, ...]:
    """Return camera lengths to choose from, mm: those that were asked for, or so many of the profile's beginning with the usual one.

    Raises
    ------
    SettingsError
        They are not numbers, or the instrument does not have one of them.
    """
    asked = checks.numbers("camera_lengths_mm", asked, "mm")
    wrong = next((length for length in asked if length not in profile.camera_lengths_mm), None)
    if wrong is not None:
        table = ", ".join(f"{length:g}" for length in profile.camera_lengths_mm)
        message = f"camera_lengths_mm={asked}: {wrong:g} mm is not a camera length of {profile.name}. Use some of {table} mm."
        raise SettingsError(message)
    usual = profile.camera_length_mm
    longer = [length for length in profile.camera_lengths_mm if length > usual]
    shorter = [length for length in profile.camera_lengths_mm if length < usual]
    return asked or tuple(sorted([usual, *longer, *shorter][:count]))
