"""Drift of aberrations, stage, current and energy as seeded random processes on the simulated clock.

``Instabilities`` sets the sizes of the processes, ``Course`` gives their values for one seed at any time, and ``Creep``
describes the motion of the stage after moves. All values are pure functions of seed, time and commands. They are
bit-identical regardless of the number and order of calls (``random_paths.py``). Contamination is set elsewhere, by
``Damage(contamination=...)``, because it depends on the specimen and its dose.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument.hardware.random_paths import Wander, checked_times
from stemtwin.twin.physics.aberrations import ORDERS, Aberrations

STREAMS = {"aberrations": 0, "stage": 64, "current": 66, "energy": 67, "directions": 68}
"""First key of each process; an aberration's key adds its index among the Cartesian coefficients."""
NAMES = tuple(f"C{n}{m}" for n, m in ORDERS)
CARTESIAN = tuple(Aberrations().cartesian())


@dataclass(frozen=True, slots=True, kw_only=True)
class AberrationWander:
    """Drift of one aberration about its tuned value.

    Parameters
    ----------
    name : str
        Krivanek's name, from C10 to C56.
    sigma_angstrom : float
        Standard deviation of each Cartesian component long after tuning, A.
    tau_s : float
        Correlation time, s.
    rate_angstrom_per_s : float
        Linear drift (A/s) with a sign or direction that is drawn once for each seed.

    Raises
    ------
    SettingsError
        A name or a number is out of range.
    """

    name: str
    sigma_angstrom: float = 0.0
    tau_s: float = 600.0
    rate_angstrom_per_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.name not in NAMES:
            message = f"name={self.name!r} is not an aberration. Use one of {', '.join(NAMES)}."
            raise SettingsError(message)
        checks.number("sigma_angstrom", self.sigma_angstrom, "A", low=0)
        checks.number("tau_s", self.tau_s, "s", low=1)
        checks.number("rate_angstrom_per_s", self.rate_angstrom_per_s, "A/s", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instabilities:
    """Instabilities of an instrument; the default is a stable instrument.

    Parameters
    ----------
    aberrations : tuple of AberrationWander
        Drifts of aberrations, each aberration at most once.
    drift_speed_angstrom_per_s : float
        Speed of the specimen apart from creep (A/s) with a direction that is drawn once for each seed.
    drift_angstrom_per_s : tuple of float, optional
        Velocity (vy, vx) of the specimen apart from creep (A/s) as an alternative to the speed.
    drift_walk_angstrom : float
        Standard deviation of the specimen's random walk along x, and along y, after 1 s, A.
    creep_speed_angstrom_per_s, creep_reach_angstrom, creep_tau_s : float
        Creep after a stage move by a vector d: the specimen continues to move along d with an initial speed of
        creep_speed (1 - exp(-abs(d) / reach)), A/s, which decays with the time constant tau, s.
    fade, fade_tau_s : float
        Fraction of the current that is lost long after a flash of the tip, and the time constant of the loss, s.
    flicker, flicker_tau_s : float
        Relative standard deviation of the current, and its correlation time, s.
    energy_sigma_ev, energy_tau_s : float
        Standard deviation of the beam's energy (eV) and its correlation time, s.
    source : str
        Source of the numbers.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    aberrations: tuple[AberrationWander, ...] = ()
    drift_speed_angstrom_per_s: float = 0.0
    drift_angstrom_per_s: tuple[float, float] | None = None
    drift_walk_angstrom: float = 0.0
    creep_speed_angstrom_per_s: float = 0.0
    creep_reach_angstrom: float = 1e4
    creep_tau_s: float = 240.0
    fade: float = 0.0
    fade_tau_s: float = 7200.0
    flicker: float = 0.0
    flicker_tau_s: float = 20.0
    energy_sigma_ev: float = 0.0
    energy_tau_s: float = 300.0
    source: str = ""

    def __post_init__(self) -> None:
        """Check the numbers."""
        names = [item.name for item in self.aberrations if isinstance(item, AberrationWander)]
        if len(names) != len(self.aberrations) or len(set(names)) != len(names):
            message = f"aberrations={self.aberrations!r} must be AberrationWander values of different names. Give each aberration once."
            raise SettingsError(message)
        for name in ("drift_speed_angstrom_per_s", "creep_speed_angstrom_per_s"):
            checks.number(name, getattr(self, name), "A/s", low=0)
        checks.number("drift_walk_angstrom", self.drift_walk_angstrom, "A", low=0)
        checks.number("creep_reach_angstrom", self.creep_reach_angstrom, "A", above=0)
        for name in ("creep_tau_s", "fade_tau_s", "flicker_tau_s", "energy_tau_s"):
            checks.number(name, getattr(self, name), "s", low=1)
        checks.number("fade", self.fade, "(a fraction)", low=0, high=1)
        checks.number("flicker", self.flicker, "(a fraction)", low=0, high=0.5)
        checks.number("energy_sigma_ev", self.energy_sigma_ev, "eV", low=0, high=1e3)
        if self.drift_angstrom_per_s is not None:
            object.__setattr__(self, "drift_angstrom_per_s", checks.pair("drift_angstrom_per_s", self.drift_angstrom_per_s, "A/s"))
            if self.drift_speed_angstrom_per_s:
                message = (
                    f"drift_angstrom_per_s={self.drift_angstrom_per_s} and drift_speed_angstrom_per_s={self.drift_speed_angstrom_per_s:g} are both "
                    "given, but the first is a velocity and the second a speed with a random direction. Give only one of them."
                )
                raise SettingsError(message)


TYPICAL = Instabilities(
    aberrations=(
        AberrationWander(name="C10", sigma_angstrom=20, tau_s=600, rate_angstrom_per_s=0.1),
        AberrationWander(name="C12", sigma_angstrom=15, tau_s=900),
        AberrationWander(name="C21", sigma_angstrom=300, tau_s=2400),
        AberrationWander(name="C23", sigma_angstrom=200, tau_s=3600),
        AberrationWander(name="C30", sigma_angstrom=3000, tau_s=10800),
    ),
    drift_speed_angstrom_per_s=0.03,
    drift_walk_angstrom=0.2,
    creep_speed_angstrom_per_s=1.5,
    creep_reach_angstrom=1e4,
    creep_tau_s=240,
    fade=0.4,
    fade_tau_s=14400,
    flicker=0.005,
    flicker_tau_s=20,
    energy_sigma_ev=0.05,
    energy_tau_s=300,
    source=(
        "C10 and C12 drift fastest, and a corrected state lasts minutes: Barthel and Thust, Ultramicroscopy 134 (2013) 6 [M]; the standard "
        "deviations and times [A]; settled drift 0.05 to 0.5 nm/min, 2 to 20 nm/min after a move, decay in 2 to 10 min, random walk 0.01 to "
        "0.05 nm/sqrt(s) [A]; a cold field emitter loses some 40 % in hours after a flash and flickers by half a percent [M]; energy 50 meV [A]"
    ),
)
"""A corrected instrument with a cold field emitter some hours after alignment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Creep:
    """Creep of the specimen after stage moves.

    One exponential describes the creep after all past moves, because their time constants are equal.

    Parameters
    ----------
    time_s : float
        Time of the last stage move, s.
    velocity : tuple of float
        Creep velocity (x, y) at that time, A/s.
    offset : tuple of float
        Total creep (x, y) up to that time, A.
    """

    time_s: float = 0.0
    velocity: tuple[float, float] = (0.0, 0.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def at(self, times_s: np.ndarray | float, tau_s: float) -> np.ndarray:
        """Return the total creep (x, y), A, at times in seconds.

        For times of the shape (...), the creep has the shape (..., 2). The times must not precede the last stage move.
        """
        since = checked_times(times_s) - self.time_s
        if (since < 0).any():
            message = f"times_s={since.min() + self.time_s:g} s is before the stage's last move at {self.time_s:g} s. Ask for later times."
            raise SettingsError(message)
        if self.velocity == (0.0, 0.0):
            return np.broadcast_to(np.array(self.offset) + 0.0, (*since.shape, 2))
        return np.array(self.offset) + np.array(self.velocity) * tau_s * -np.expm1(-since / tau_s)[..., None]

    def moved(self, time_s: float, displacement: tuple[float, float], setting: Instabilities) -> Self:
        """Return the creep after a further stage move by a displacement (x, y), A.

        The further move takes place at ``time_s`` (s), which must not be earlier than the time of the previous move.
        """
        offset = self.at(time_s, setting.creep_tau_s)
        distance = math.hypot(*displacement)
        velocity = np.array(self.velocity) * math.exp(-(time_s - self.time_s) / setting.creep_tau_s)
        if distance:
            speed = setting.creep_speed_angstrom_per_s * -math.expm1(-distance / setting.creep_reach_angstrom)
            velocity = velocity + speed / distance * np.array(displacement)
        return replace(self, time_s=float(time_s), velocity=(float(velocity[0]), float(velocity[1])), offset=(float(offset[0]), float(offset[1])))


class Course:
    """Realisation of an instrument's instabilities for one seed, as pure functions of the time.

    The instrument is tuned at time 0.

    Parameters
    ----------
    setting : Instabilities
        Sizes of the instabilities.
    seed : int
        Seed of the realisation.
    """

    def __init__(self, setting: Instabilities, seed: int) -> None:
        self._setting = setting
        directions = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(STREAMS["directions"],))))
        angles = dict(zip((*NAMES, "drift"), directions.uniform(0, 2 * math.pi, len(NAMES) + 1).tolist(), strict=True))
        self._names, sigma, tau, rate = [], [], [], []
        for item in setting.aberrations:
            parts = [(item.name, math.copysign(1, math.cos(angles[item.name])))]
            if item.name[2] != "0":
                parts = [(f"{item.name}a", math.cos(angles[item.name])), (f"{item.name}b", math.sin(angles[item.name]))]
            for name, direction in parts:
                self._names.append(name)
                sigma.append(item.sigma_angstrom)
                tau.append(item.tau_s)
                rate.append(item.rate_angstrom_per_s * direction)
        self._rate = np.array(rate)
        keys = [STREAMS["aberrations"] + CARTESIAN.index(name) for name in self._names]
        self._aberrations = Wander(seed=seed, streams=keys, sigma=sigma, tau_s=tau, step_s=1.0)
        walk, stage = setting.drift_walk_angstrom, STREAMS["stage"]
        self._walk = Wander(seed=seed, streams=(stage, stage + 1), sigma=(walk, walk), tau_s=(math.inf, math.inf))
        self._current = Wander(seed=seed, streams=(STREAMS["current"],), sigma=(setting.flicker,), tau_s=(setting.flicker_tau_s,))
        self._energy = Wander(seed=seed, streams=(STREAMS["energy"],), sigma=(setting.energy_sigma_ev,), tau_s=(setting.energy_tau_s,))
        if setting.drift_angstrom_per_s is None:
            speed, angle = setting.drift_speed_angstrom_per_s, angles["drift"]
            self._drift = np.array([speed * math.cos(angle), speed * math.sin(angle)])
        else:
            self._drift = np.array(setting.drift_angstrom_per_s[::-1])

    @property
    def setting(self) -> Instabilities:
        """Sizes of the instabilities."""
        return self._setting

    @property
    def drifts(self) -> bool:
        """True if the specimen has a drift velocity or a random walk, apart from the creep after stage moves."""
        return bool(self._drift.any() or self._setting.drift_walk_angstrom)

    def aberrations(self, time_s: float) -> Aberrations:
        """Return the change of the aberrations, A and rad, between the tuning and a time, s.

        Random changes are drawn for every full second and interpolated linearly.
        """
        values = self._aberrations.at(float(time_s)) + self._rate * float(time_s)
        return Aberrations.from_cartesian(**dict(zip(self._names, values.tolist(), strict=True)))

    def drift_angstrom(self, times_s: np.ndarray | float, creep: Creep | None = None) -> np.ndarray:
        """Return the drift of the specimen since time 0: the sum of linear drift, random walk and creep after stage moves.

        Parameters
        ----------
        times_s : array_like
            Times, s, any shape. They must not precede the last stage move of ``creep``.
        creep : Creep, optional
            Creep after stage moves; None: no creep.

        Returns
        -------
        ndarray
            Drift (x, y), A, float64, shape (..., 2); an atom at r moves to r + drift.
        """
        times = checked_times(times_s)
        out = self._walk.at(times)
        crept = None if creep is None else creep.at(times, self._setting.creep_tau_s)
        for axis in range(2):  # numpy is slow along a last axis of two
            out[..., axis] += self._drift[axis] * times
            if crept is not None:
                out[..., axis] += crept[..., axis]
        return out

    def current_factor(self, times_s: np.ndarray | float, flashed_s: float = 0.0) -> np.ndarray:
        """Return the beam current relative to the current after the last flash of the tip, shaped like the times.

        All times are in s. They must not precede the flash, which took place at ``flashed_s``.
        """
        times, setting = checked_times(times_s), self._setting
        if (times < flashed_s).any():
            message = f"times_s={times.min():g} s is before the tip was flashed at {flashed_s:g} s. Ask for later times."
            raise SettingsError(message)
        faded = 1 + setting.fade * np.expm1(-(times - flashed_s) / setting.fade_tau_s)
        return faded * np.exp(self._current.at(times)[..., 0] - setting.flicker**2 / 2)

    def energy_shift_ev(self, times_s: np.ndarray | float) -> np.ndarray:
        """Return the change of the beam's energy since time 0, eV, shaped like the times, s."""
        return self._energy.at(times_s)[..., 0]
