"""``stemtwin/Microscope-v1``: the whole instrument as an environment. Tasks are restrictions of it: fewer knobs, a goal, a budget."""

import functools
import math
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
import xarray as xr

from stemtwin.twin import checks
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.preparation import specimen
from stemtwin.twin.envs.rewards import REWARDS
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.detectors import DETECTORS, checked
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope import acquisition, beam_damage, commands, knobs
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.specimen_state import find_damage
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.settings import LEAST_SEMIANGLE_MRAD
from stemtwin.twin.instrument.simulation.discretisation import WINDOW_MARGIN
from stemtwin.twin.physics import electrons
from stemtwin.twin.physics.aberrations import Aberrations
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample

COEFFICIENTS = tuple(Aberrations().cartesian())
"""Names of the aberrations that can be turned, Cartesian, to fifth order."""
QUARTER_WAVES = {1: 10.0, 2: 4.0, 3: 4.0, 4: 1.0, 5: 1.0}
"""Range of an aberration of each order, in units of the change that turns the phase by a quarter wave at the edge of the aperture."""
FIELD_ANGSTROM = (4.0, 256.0)
DWELL_US = (0.1, 100.0)
REACH_ANGSTROM = 100.0
"""The field's centre can be moved so far from the origin, A."""
STAGE_ANGSTROM, STAGE_MRAD = 1000.0, 20.0
TILT_MRAD, SHIFT_ANGSTROM = 5.0, 50.0
LONGEST_WAIT_S = 60.0
GAIN, OFFSET = (0.1, 10.0), 1000.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScopeSession:
    """State of the environment.

    Parameters
    ----------
    setup : Setup
        The microscope of this episode.
    scope : ScopeState
        Its state.
    frame : xarray.Dataset, optional
        The last frame.
    fresh : bool
        Whether the last action took it.
    cost : dict
        What the last action cost.
    dose : float
        Nominal dose of all frames, e-/A^2.
    steps : int
        Actions so far.
    """

    setup: Setup
    scope: ScopeState
    frame: xr.Dataset | None = None
    fresh: bool = False
    cost: dict[str, float] = field(default_factory=lambda: dict(commands.FREE))
    dose: float = 0.0
    steps: int = 0


def logarithmic(value: float, low: float, high: float) -> float:
    """Return the value at a number in [-1, 1] between two limits on a logarithmic scale."""
    return float(low * (high / low) ** ((float(value) + 1) / 2))


@environment("Microscope", version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class WholeMicroscope:
    """Everything that an operator can turn, and nothing to be achieved: goal, reward and end are the user's.

    Description
        A microscope with a specimen whose optics are out of tune, that drifts and strays as its profile says. An action sets all knobs (setpoints,
        not increments), moves the stage, waits, and takes a frame or not.
    Action space
        ``Dict``; numbers in Boxes are in [-1, 1].

        - ``scan``: ``acquire`` Discrete(2); ``field`` Box (4,): centre x, centre y (times 100 A), field of view (4 to 256 A, logarithmic), rotation
          (times pi); ``dwell`` Box (1,): 0.1 to 100 us, logarithmic.
        - ``beam``: ``optics`` Box (25,): Cartesian aberrations to fifth order, each times its reach (10, 4, 4, 1, 1 times what turns the phase by a
          quarter wave at the edge of the usual aperture, by order); ``aperture`` Discrete: which of ``semiangles_mrad``; ``current`` Box (1,): a
          thousandth of the profile's largest current to all of it, logarithmic; ``shift`` Box (2,): (x, y) times 50 A; ``blanked`` Discrete(2); with
          ``tilting`` also ``tilt`` Box (2,): (x, y) times 5 mrad.
        - ``detectors``: ``camera_length`` Discrete: which of the profile's; ``gain`` and ``offset`` Box (detectors,): 0.1 to 10, logarithmic, and
          times 1000 ADU (of detectors with a chain; those that count electrons have neither).
        - ``stage``: Box (3,): x, y, z times 1000 A; with ``tilting`` Box (5,): and alpha, beta times 20 mrad.
        - ``wait``: Box (1,): -1 is no time, 1 is 60 s.
    Observation space
        ``Dict``: ``frames`` uint16 (detectors, ny, nx), the last frame taken, electrons or ADU; ``fresh`` MultiBinary(1), whether it is new;
        ``knobs`` float32: the setpoints as they were taken, in the action's units: optics, current, aperture, shift, blanked, camera length, gain,
        offset, and tilt where there is one, choices spread evenly over [-1, 1]; ``stage`` float32: what the encoders read, A and mrad; ``cost``
        float32 (4,): time (s), electrons, dose (e-/A^2) of this action, and the share of the steps that is left.
    Reward
        A name of ``REWARDS`` (``stemtwin.twin.envs.rewards``): ``"none"`` is 0, ``"contrast"``, ``"signal"`` and ``"correlation"`` are computed from
        the frame of the last action and are 0 where it took none.
    Starting state
        C10 and C12 off by up to a quarter of their reach, the stage anywhere within 100 A; one frame has been taken.
    Episode end
        Never terminated; truncated after ``max_steps`` actions or when the dose is spent.
    Version history
        v1: first version.

    Parameters
    ----------
    sample : str
        A sample of the library.
    instrument : str
        An instrument profile.
    detectors : tuple of str
        Registry names.
    shape : tuple of int
        Points (ny, nx) of every frame.
    semiangles_mrad : tuple of float
        Apertures to choose from, mrad; by default half, three quarters and all of the profile's usual one. Each, at each camera length, takes an
        imaging operator of its own: 10 s to a minute of processor time at its first use, kept on disk after that. One aperture is a good start.
    tilting : bool
        Whether beam and stage tilt: each new tilt is a new calculation for the engine, some seconds of work.
    reward : str
        A name of ``REWARDS``. A function of one's own is registered there: ``@REWARDS.register("mine")``.
    max_steps : int
        Actions in one episode.
    dose_budget_e_per_angstrom2 : float
        Nominal dose in one episode, added up over frames wherever they lie, e-/A^2.
    phonons : int
        Frozen-phonon configurations.
    damage : bool
        Whether the beam changes the specimen, as is known of such a one; it is then as large as the library makes it, and each event costs the engine
        some work. What has happened is a part of the truth; the agent sees it in frames alone.

    Raises
    ------
    StemtwinError
        A name is unknown or a number out of range.
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
        names = (self.detectors,) if isinstance(self.detectors, str) else tuple(self.detectors)
        object.__setattr__(self, "detectors", checked(names))
        for name in names:
            if not isinstance(name, str) or "annular" not in DETECTORS.tags(name):
                rings = ", ".join(DETECTORS.names("annular"))
                message = (
                    f"detectors={names!r}: a frame has one number at each point, and {name!r} gives none or several. Use {rings}, or st.Microscope."
                )
                raise SettingsError(message)
        object.__setattr__(self, "shape", checks.whole_pair("shape", self.shape, low=8, high=1024))
        usual = self.profile.semiangle_mrad
        angles = tuple(self.semiangles_mrad) or (0.5 * usual, 0.75 * usual, usual)
        for angle in angles:
            checks.number("semiangles_mrad", angle, "mrad", low=LEAST_SEMIANGLE_MRAD, high=150)
        object.__setattr__(self, "semiangles_mrad", angles)
        checks.whole("max_steps", self.max_steps, low=1)
        checks.number("dose_budget_e_per_angstrom2", self.dose_budget_e_per_angstrom2, "e-/A^2", above=0)
        for name in ("tilting", "damage"):
            if not isinstance(getattr(self, name), bool):
                message = f"{name}={getattr(self, name)!r} is neither True nor False. Give one of them."
                raise SettingsError(message)
        if not isinstance(self.reward, str):
            message = (
                f"reward={self.reward!r} is not the name of a reward ({', '.join(REWARDS)}): register a function of (frame, cost) "
                'under a name, @REWARDS.register("mine") from stemtwin.twin.envs.rewards, and pass reward="mine".'
            )
            raise SettingsError(message)
        REWARDS[self.reward]

    @property
    def profile(self) -> Profile:
        """The instrument's profile."""
        return PROFILES[self.instrument]

    # ---- spaces

    @property
    def action_space(self) -> gym.spaces.Dict:
        """Setpoints of everything, in [-1, 1]."""
        axes, channels = (5 if self.tilting else 3), len(self.detectors)
        return gym.spaces.Dict(
            {
                "scan": gym.spaces.Dict({"acquire": gym.spaces.Discrete(2), "field": _unit(4), "dwell": _unit(1)}),
                "beam": gym.spaces.Dict(
                    {
                        "optics": _unit(len(COEFFICIENTS)),
                        "aperture": gym.spaces.Discrete(len(self.semiangles_mrad)),
                        "current": _unit(1),
                        "shift": _unit(2),
                        "blanked": gym.spaces.Discrete(2),
                        **({"tilt": _unit(2)} if self.tilting else {}),
                    }
                ),
                "detectors": gym.spaces.Dict(
                    {
                        "camera_length": gym.spaces.Discrete(len(self.profile.camera_lengths_mm)),
                        "gain": _unit(channels),
                        "offset": _unit(channels),
                    }
                ),
                "stage": _unit(axes),
                "wait": _unit(1),
            }
        )

    @property
    def observation_space(self) -> gym.spaces.Dict:
        """Frames, read-backs, cost."""
        axes = 5 if self.tilting else 3
        reach = np.array([2 * STAGE_ANGSTROM] * 3 + [2 * STAGE_MRAD] * 2, np.float32)[:axes]
        return gym.spaces.Dict(
            {
                "frames": gym.spaces.Box(0, 65535, (len(self.detectors), *self.shape), np.uint16),
                "fresh": gym.spaces.MultiBinary(1),
                "knobs": _unit(len(COEFFICIENTS) + 6 + 2 * len(self.detectors) + (2 if self.tilting else 0)),
                "stage": gym.spaces.Box(-reach, reach, (axes,), np.float32),
                "cost": gym.spaces.Box(0.0, 1e15, (4,), np.float32),
            }
        )

    @property
    def reach(self) -> np.ndarray:
        """Range of each Cartesian aberration, A, shape (25,)."""
        return _reach(self)

    # ---- the task

    def initial(self, rng: np.random.Generator) -> ScopeSession:
        """Draw an instrument that is out of tune, and take the first frame."""
        first = [i for i, name in enumerate(COEFFICIENTS) if name in ("C10", "C12a", "C12b")]
        off = np.zeros(len(COEFFICIENTS))
        off[first] = rng.uniform(-0.25, 0.25, len(first)) * self.reach[first]
        seed = int.from_bytes(rng.bytes(16), "little")
        setup = Setup(
            profile=self.profile,
            seed=seed,
            phonons=self.phonons if _specimen(self).thermal_sigma_angstrom is not None else "static",
            specimen_seed=0,
            misalignment=Aberrations.from_cartesian(**dict(zip(COEFFICIENTS, off.tolist(), strict=True))),
            window_angstrom=_window(self),
            damage=find_damage(self.damage),
        )
        start = knobs.turn(knobs.initial(self.profile), self.profile, {"semiangle_mrad": self.semiangles_mrad[-1]})
        scope = beam_damage.begun(setup, ScopeState(specimen=_specimen(self), knobs=start))
        x, y = rng.uniform(-REACH_ANGSTROM, REACH_ANGSTROM, 2)
        scope = commands.move(setup, scope, {"x_angstrom": float(x), "y_angstrom": float(y)})
        scan = RasterScan(shape=self.shape, field_of_view_angstrom=_square(math.sqrt(math.prod(FIELD_ANGSTROM)), self.shape))
        return self._frame(ScopeSession(setup=setup, scope=replace(scope, time_s=0.0, creep=replace(scope.creep, time_s=0.0))), scan, None)

    def transition(self, state: ScopeSession, action: dict[str, Any], rng: np.random.Generator) -> ScopeSession:
        """Set everything, move, wait, and take a frame where asked to; all that is random is keyed by the episode's own seed."""
        del rng
        before, profile = state.scope, self.profile
        beam, scan, detectors = action["beam"], action["scan"], action["detectors"]
        turned = Aberrations.from_cartesian(**dict(zip(COEFFICIENTS, (beam["optics"] * self.reach).tolist(), strict=True)))
        changes = {
            **{name: getattr(turned, name) for name in knobs.ABERRATION_NAMES},
            "current_pa": logarithmic(beam["current"][0], profile.max_current_pa * 1e-3, profile.max_current_pa),
            "semiangle_mrad": self.semiangles_mrad[int(beam["aperture"])],
            "beam_tilt_mrad": tuple((TILT_MRAD * beam.get("tilt", np.zeros(2))).tolist()),
            "beam_shift_angstrom": tuple((SHIFT_ANGSTROM * beam["shift"]).tolist()),
            "blanked": bool(beam["blanked"]),
            "camera_length_mm": profile.camera_lengths_mm[int(detectors["camera_length"])],
            "gain": {name: logarithmic(value, *GAIN) for name, value in self._chained(detectors["gain"])},
            "offset_adu": {name: float(OFFSET * value) for name, value in self._chained(detectors["offset"])},
        }
        scope = replace(before, knobs=knobs.turn(before.knobs, profile, changes))
        way: dict[str, float] = dict(zip(STAGE_AXES, (action["stage"] * STAGE_SCALE[: len(action["stage"])]).tolist(), strict=False))
        scope = commands.move(state.setup, scope, way)
        scope = commands.wait(state.setup, scope, LONGEST_WAIT_S * (float(action["wait"][0]) + 1) / 2)
        state = replace(state, scope=scope, steps=state.steps + 1, fresh=False)
        if not scan["acquire"]:
            return replace(state, cost=_spent(before, scope))
        x, y, size, turn = (float(value) for value in scan["field"])
        (height, width), (ny, nx) = _square(logarithmic(size, *FIELD_ANGSTROM), self.shape), self.shape
        asked = RasterScan(
            shape=self.shape,
            field_of_view_angstrom=(height, width),
            origin_angstrom=(REACH_ANGSTROM * x - width * (nx - 1) / (2 * nx), REACH_ANGSTROM * y - height * (ny - 1) / (2 * ny)),
            rotation_rad=math.pi * turn,
        )
        return self._frame(state, asked, logarithmic(scan["dwell"][0], *DWELL_US), before)

    def _chained(self, values: np.ndarray) -> list[tuple[str, float]]:
        """Return the detectors that have a chain, and what is asked of each; the others count electrons."""
        return [(name, value) for name, value in zip(self.detectors, values, strict=True) if self.profile.chain(name) is not None]

    def _frame(self, state: ScopeSession, scan: RasterScan, dwell_time_us: float | None, before: ScopeState | None = None) -> ScopeSession:
        asked = acquisition.order(state.setup, state.scope, scan, dwell_time_us=dwell_time_us, detectors=self.detectors)
        frame, scope = acquisition.acquire(state.setup, state.scope, asked)
        dose = state.dose + asked.cost["dose_e_per_angstrom2"]
        cost = {**_spent(before or state.scope, scope), "dose_e_per_angstrom2": asked.cost["dose_e_per_angstrom2"]}
        return replace(state, scope=scope, frame=frame, fresh=True, cost=cost, dose=dose)

    def observe(self, state: ScopeSession) -> dict[str, Any]:
        """Return frames, read-backs and cost."""
        assert state.frame is not None  # the first frame is taken at the start
        set_to, profile = state.scope.knobs, self.profile
        optics = np.array(list(set_to.aberrations.cartesian().values())) / self.reach
        gain, offset = dict(set_to.gain), dict(set_to.offset_adu)
        others = [
            _place(set_to.current_pa, profile.max_current_pa * 1e-3, profile.max_current_pa),
            _choice(set_to.semiangle_mrad, self.semiangles_mrad),
            *(shift / SHIFT_ANGSTROM for shift in set_to.beam_shift_angstrom),
            _choice(set_to.blanked, (False, True)),
            _choice(set_to.camera_length_mm, profile.camera_lengths_mm),
            *(_place(gain.get(name, 1.0), *GAIN) for name in self.detectors),
            *(offset.get(name, 0.0) / OFFSET for name in self.detectors),
            *((tilt / TILT_MRAD for tilt in set_to.beam_tilt_mrad) if self.tilting else ()),
        ]
        left = 1 - state.steps / self.max_steps
        cost = [*(state.cost[name] for name in ("time_s", "electrons", "dose_e_per_angstrom2")), left]
        frames = np.stack([state.frame[name].to_numpy() for name in self.detectors])
        space = self.observation_space["stage"]
        assert isinstance(space, gym.spaces.Box)
        return {
            "frames": np.clip(frames, 0, 65535).astype(np.uint16),
            "fresh": np.array([state.fresh], np.int8),
            "knobs": np.clip([*optics, *others], -1, 1).astype(np.float32),
            "stage": np.clip(state.scope.stage.readback.array()[: len(space.low)], space.low, space.high).astype(np.float32),
            "cost": np.array(cost, np.float32),
        }

    def step_reward(self, before: ScopeSession, after: ScopeSession) -> float:
        """Return the named reward of the last action's frame and cost."""
        del before
        return float(REWARDS[self.reward](after.frame if after.fresh else None, dict(after.cost)))

    def terminated(self, state: ScopeSession) -> bool:  # noqa: ARG002 - there is no goal
        """Return False."""
        return False

    def truncated(self, state: ScopeSession) -> bool:
        """Return whether the steps or the dose are spent."""
        return state.steps >= self.max_steps or state.dose >= self.dose_budget_e_per_angstrom2

    def cost(self, state: ScopeSession) -> dict[str, float]:
        """Return the spending since the start: dose (e-/A^2), time with the beam on the specimen (s), all time (s), electrons, actions."""
        scope = state.scope
        return {
            "dose_e_per_angstrom2": float(state.dose),
            "beam_s": float(scope.beam_s),
            "time_s": float(scope.time_s),
            "electrons": float(scope.electrons),
            "moves": float(state.steps),
        }

    def truth(self, state: ScopeSession) -> dict[str, float]:
        """Return the true aberrations (A), where the specimen truly is (A), and of one that can change how many atoms it has and what happened."""
        true = state.setup.aberrations(state.scope, state.scope.time_s).cartesian()
        at = state.setup.specimen_shift(state.scope, np.array([state.scope.time_s]))[0]
        found = {**{f"{name}_angstrom": float(value) for name, value in true.items()}, "x_angstrom": float(at[0]), "y_angstrom": float(at[1])}
        matter = state.scope.matter
        return found if matter is None else {**found, "atoms": float(matter.sites.present.sum()), "events": float(len(matter.events))}

    def picture(self, state: ScopeSession) -> np.ndarray:
        """Return the frames beside the read-backs, uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import pictures

        assert state.frame is not None
        side = max(float(np.ptp(state.frame[axis].to_numpy())) for axis in "yx")
        return pictures.microscope_picture(self.observe(state), self.detectors, self.cost(state), side)


STAGE_AXES = ("x_angstrom", "y_angstrom", "z_angstrom", "alpha_mrad", "beta_mrad")
STAGE_SCALE = np.array([STAGE_ANGSTROM] * 3 + [STAGE_MRAD] * 2)


def _unit(count: int) -> gym.spaces.Box:
    return gym.spaces.Box(-1.0, 1.0, (count,), np.float32)


def _place(value: float, low: float, high: float) -> float:
    """Return the position of a number between two limits on a logarithmic scale, in [-1, 1]."""
    return 2 * math.log(value / low) / math.log(high / low) - 1


def _choice(value: float, choices: tuple[float, ...]) -> float:
    """Return the position of one of several choices among them, in [-1, 1]; 0 where there is only one."""
    return 2 * choices.index(value) / (len(choices) - 1) - 1 if len(choices) > 1 else 0.0


def _square(side: float, shape: tuple[int, int]) -> tuple[float, float]:
    """Return the height and width of a field of square pixels whose longer side is given."""
    longest = max(shape)
    return side * shape[0] / longest, side * shape[1] / longest


def _spent(before: ScopeState, after: ScopeState) -> dict[str, float]:
    return {"time_s": after.time_s - before.time_s, "electrons": after.electrons - before.electrons, "dose_e_per_angstrom2": 0.0}


@functools.lru_cache(maxsize=8)
def _reach(task: WholeMicroscope) -> np.ndarray:
    """Return the range of each Cartesian aberration: so many quarter waves, C alpha^(n + 1) / (n + 1) = lambda / 4 each."""
    alpha, wavelength = task.profile.semiangle_mrad * 1e-3, electrons.wavelength(task.profile.energy_ev)
    orders = [int(name[1]) for name in COEFFICIENTS]
    out = np.array([QUARTER_WAVES[n] * (n + 1) * wavelength / 4 / alpha ** (n + 1) for n in orders])
    out.flags.writeable = False
    return out


@functools.lru_cache(maxsize=8)
def _specimen(task: WholeMicroscope) -> Sample:
    return load_sample(task.sample, seed=0) if task.damage else specimen(task.sample)


@functools.lru_cache(maxsize=8)
def _window(task: WholeMicroscope) -> float:
    """Return the window of the widest probe that is likely, A: all aberrations at random in their reach."""
    angle = max(task.semiangles_mrad) * 1e-3
    orders = np.array([int(name[1]) for name in COEFFICIENTS])
    blur = task.reach * angle**orders
    return 2 * (math.sqrt((blur**2).sum()) + _specimen(task).thickness_angstrom * angle) + WINDOW_MARGIN
