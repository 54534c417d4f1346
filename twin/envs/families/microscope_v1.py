"""``stemtwin/Microscope-v1``, kept for agents trained on it. Some steps take up to a minute to build an imaging operator; use version 2."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import gymnasium as gym
import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.envs import session
from stemtwin.twin.envs.control_panel import COEFFICIENTS, FIELD_ANGSTROM, LONGEST_WAIT_S, REACH_ANGSTROM, ControlPanel, Nested, square
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.scope_family import (
    MISALIGNED,
    ScopeFamily,
    ScopeSession,
    apertures,
    check_reward,
    counts,
    rings,
    sample_of,
    setup_of,
    spent,
)
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.simulation.request import checked_phonons
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import SAMPLES


@environment("Microscope", version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class WholeMicroscope(ScopeFamily):
    """Operate all controls of a microscope without a given goal: version 1, with imaging operators built during steps.

    Description
        See version 2 for the meaning of each part. Every aperture at every camera length needs its own imaging
        operator. The step that first uses an operator builds it in 10 s to a minute of processor time, and caches it on
        disk. Begin with one aperture.
    Action space
        ``Dict`` of setpoints with all parts of version 2, all 25 aberrations and all camera lengths.
    Observation space
        ``Dict``: ``frames``, ``fresh``, ``knobs``, ``stage`` as in version 2, and ``cost`` float32 (4,): time (s),
        electrons and dose (e-/A^2) of the last action, and the remaining fraction of the steps.
    Reward
        A name of ``REWARDS``, as in version 2.
    Starting state
        C10 and C12 are misaligned by up to a quarter of their range. The stage is anywhere within 100 A. One frame has been
        taken.
    Episode end
        An episode is never terminated. It is truncated after ``max_steps`` actions or when the dose is spent.
    Version history
        v1: first version; an imaging operator is built during the step that first needs it. Use version 2.

    Parameters
    ----------
    sample : str
        A sample of the library.
    instrument : str
        Name of an instrument profile.
    detectors : tuple of str
        Names of detectors in the registry.
    shape : tuple of int
        Numbers of points (ny, nx) of every frame.
    semiangles_mrad : tuple of float
        Convergence semi-angles of the available apertures, mrad. The default is 0.5, 0.75 and 1 times the profile's usual
        semi-angle.
    tilting : bool
        Whether beam and stage can be tilted. Each new tilt needs a calculation that takes several seconds.
    reward : str
        A name of ``REWARDS``. Register your own function with ``@REWARDS.register("mine")``.
    max_steps : int
        Largest number of actions in one episode.
    dose_budget_e_per_angstrom2 : float
        Largest nominal dose in one episode, added over all frames regardless of their position, e-/A^2.
    phonons : int
        Number of frozen-phonon configurations.
    damage : bool
        Whether the beam changes the specimen, by the known processes of its material. The specimen then has the
        library's full size, and each event costs some computing time. The truth records the events; the agent sees them
        only in frames.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    sample: str = "mos2-1h"
    instrument: str = "corrected-200kv"
    detectors: tuple[str, ...] = ("haadf", "bf")
    shape: tuple[int, int] = (128, 128)
    semiangles_mrad: tuple[float, ...] = ()
    tilting: bool = False
    reward: str = "none"
    max_steps: int = 200
    dose_budget_e_per_angstrom2: float = 1e9
    phonons: int = 8
    damage: bool = False

    def __post_init__(self) -> None:
        """Check the settings."""
        PROFILES[self.instrument]
        SAMPLES[self.sample]
        checked_phonons(self.phonons)
        object.__setattr__(self, "detectors", rings(self.detectors))
        object.__setattr__(self, "shape", checks.whole_pair("shape", self.shape, low=8, high=1024))
        usual = self.profile.semiangle_mrad
        object.__setattr__(self, "semiangles_mrad", apertures(self.semiangles_mrad, (0.5 * usual, 0.75 * usual, usual)))
        checks.whole("max_steps", self.max_steps, low=1)
        checks.number("dose_budget_e_per_angstrom2", self.dose_budget_e_per_angstrom2, "e-/A^2", above=0)
        checks.flag("tilting", self.tilting)
        checks.flag("damage", self.damage)
        check_reward(self.reward)

    @property
    def profile(self) -> Profile:
        """Profile of the instrument."""
        return PROFILES[self.instrument]

    @property
    def panel(self) -> ControlPanel:
        """Control panel of the actions."""
        return ControlPanel(
            profile=self.profile,
            detectors=self.detectors,
            shape=self.shape,
            semiangles_mrad=self.semiangles_mrad,
            camera_lengths_mm=self.profile.camera_lengths_mm,
            tilting=self.tilting,
            complete=True,
        )

    @property
    def limits(self) -> tuple[int, float]:
        """Largest number of actions and largest dose (e-/A^2) of an episode."""
        return self.max_steps, self.dose_budget_e_per_angstrom2

    @property
    def action_space(self) -> gym.spaces.Dict:
        """Space of actions: setpoints of all controls, in [-1, 1]."""
        return self.panel.action_space

    @property
    def observation_space(self) -> gym.spaces.Dict:
        """Space of observations: frames, read-backs and cost."""
        return gym.spaces.Dict({**self.panel.observed, "cost": gym.spaces.Box(0.0, 1e15, (4,), np.float32)})

    def initial(self, rng: np.random.Generator) -> ScopeSession:
        """Draw a misaligned instrument, and take the first frame."""
        first = [i for i, name in enumerate(COEFFICIENTS) if name in ("C10", "C12a", "C12b")]
        off = np.zeros(len(COEFFICIENTS))
        off[first] = rng.uniform(-MISALIGNED, MISALIGNED, len(first)) * self.reach[first]
        sample, seed = sample_of(self.sample, damage=self.damage), int.from_bytes(rng.bytes(16), "little")
        setup = setup_of(self, self.profile, sample, seed, off)
        x, y = rng.uniform(-REACH_ANGSTROM, REACH_ANGSTROM, 2)
        at = {"x_angstrom": float(x), "y_angstrom": float(y)}
        begun = session.start(setup, sample, at=at, semiangle_mrad=self.semiangles_mrad[-1])
        scan = RasterScan(shape=self.shape, field_of_view_angstrom=square(math.sqrt(math.prod(FIELD_ANGSTROM)), self.shape))
        return self.frame_taken(ScopeSession(session=begun), scan, None)

    def transition(self, state: ScopeSession, action: Nested, rng: np.random.Generator) -> ScopeSession:
        """Set all knobs, move the stage, wait, and optionally take a frame; the episode's own seed determines all noise."""
        del rng
        panel, scan = self.panel, action["scan"]
        turned = Aberrations.from_cartesian(**panel.aberrations(action))
        changes = {**{item.name: getattr(turned, item.name) for item in fields(turned)}, **panel.changes(action)}
        after = session.set_knobs(state.session, changes)
        after = session.wait(session.move(after, panel.way(action)), LONGEST_WAIT_S * (float(action["wait"][0]) + 1) / 2)
        moved = replace(state, session=after, steps=state.steps + 1, fresh=False, spent=spent(state.session, after))
        if not scan["acquire"]:
            return moved
        return self.frame_taken(moved, panel.scan(scan["field"]), panel.dwell_time_us(scan["dwell"][0]), state.session)

    def observe(self, state: ScopeSession) -> dict[str, Any]:
        """Return the observation: frames, read-backs and cost."""
        return {**counts(state, self.panel), "cost": np.array([*state.spent, 1 - state.steps / self.max_steps], np.float32)}
