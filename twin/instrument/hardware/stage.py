"""Stage: five axes with limits, speed, backlash and errors, and a piezo for short moves. States are frozen values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import InstrumentError, SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePosition:
    """Position of the five stage axes, or another quantity with one number for each axis, such as the speed.

    Parameters
    ----------
    x_angstrom, y_angstrom, z_angstrom : float
        Lateral position and height, A.
    alpha_mrad, beta_mrad : float
        Tilts about the holder's axis (x) and about the axis across it (y), mrad.

    Raises
    ------
    SettingsError
        A number is not finite.
    """

    x_angstrom: float = 0.0
    y_angstrom: float = 0.0
    z_angstrom: float = 0.0
    alpha_mrad: float = 0.0
    beta_mrad: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for item in fields(self):
            object.__setattr__(self, item.name, checks.number(item.name, getattr(self, item.name), unit(item.name)))

    def array(self) -> np.ndarray:
        """Return the array (x, y, z, alpha, beta), A and mrad."""
        return np.array([getattr(self, name) for name in AXES])

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Return the position that an array (x, y, z, alpha, beta), A and mrad, describes."""
        return cls(**dict(zip(AXES, np.asarray(values).tolist(), strict=True)))


AXES = tuple(item.name for item in fields(StagePosition))
LATERAL = np.array([True, True, False, False, False])


def unit(axis: str) -> str:
    """Return the unit of an axis, "A" or "mrad"."""
    return "mrad" if axis.endswith("mrad") else "A"


def _position(x: float, y: float, z: float, alpha: float, beta: float) -> StagePosition:
    return StagePosition(x_angstrom=x, y_angstrom=y, z_angstrom=z, alpha_mrad=alpha, beta_mrad=beta)


REACH = _position(1e7, 1e7, 4e6, 520.0, 520.0)
"""+-1 mm, +-0.4 mm and +-30 degrees [A]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProfile:
    """Imperfections of a stage. The default is an ideal stage without errors and without travel time.

    Parameters
    ----------
    reach : StagePosition
        Largest distance of each axis from 0, A or mrad.
    speed : StagePosition
        Speed of each axis, A/s or mrad/s; 0 means infinite speed.
    backlash : StagePosition
        Play of each axis, A or mrad. After a reversal, a drive must cross the play before the specimen follows.
    repeatability : StagePosition
        Standard deviation of a drive's final position, A or mrad.
    readback : StagePosition
        Standard deviation of the encoders' readings, A or mrad.
    piezo_reach_angstrom, piezo_error_angstrom, piezo_speed_angstrom_per_s : float
        Reach of the piezo, A (0: no piezo), its error (A) and its speed, A/s (0: infinite). The piezo makes lateral
        moves that end within its reach of the drives' position, without backlash.
    settle_s : float
        Time that every move takes in addition to the travel time, s.
    source : str
        Source of the numbers.

    Raises
    ------
    SettingsError
        A number is negative or not finite.
    """

    reach: StagePosition = REACH
    speed: StagePosition = StagePosition()
    backlash: StagePosition = StagePosition()
    repeatability: StagePosition = StagePosition()
    readback: StagePosition = StagePosition()
    piezo_reach_angstrom: float = 0.0
    piezo_error_angstrom: float = 0.0
    piezo_speed_angstrom_per_s: float = 0.0
    settle_s: float = 0.0
    source: str = "ideal"

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("reach", "speed", "backlash", "repeatability", "readback"):
            for axis, value in asdict(getattr(self, name)).items():
                checks.number(f"{name}.{axis}", value, unit(axis), low=0)
        checks.number("piezo_reach_angstrom", self.piezo_reach_angstrom, "A", low=0)
        checks.number("piezo_error_angstrom", self.piezo_error_angstrom, "A", low=0)
        checks.number("piezo_speed_angstrom_per_s", self.piezo_speed_angstrom_per_s, "A/s", low=0)
        checks.number("settle_s", self.settle_s, "s", low=0)


MECHANICAL = StageProfile(
    speed=_position(2e4, 2e4, 1e4, 20.0, 20.0),
    backlash=_position(500.0, 500.0, 1000.0, 1.7, 1.7),
    repeatability=_position(200.0, 200.0, 300.0, 1.0, 1.0),
    readback=_position(10.0, 10.0, 10.0, 0.2, 0.2),
    settle_s=0.5,
    source=(
        "reach +-1 mm, +-0.4 mm, +-30 degrees and speeds of some um/s [A]; backlash 10 to 100 nm, repeatability 5 to 50 nm, tilt 0.1 degrees "
        "[A]; encoders 1 nm, 0.2 mrad [A]"
    ),
)
"""A side-entry stage with motors."""

PIEZO = replace(
    MECHANICAL,
    piezo_reach_angstrom=5e3,
    piezo_error_angstrom=10.0,
    piezo_speed_angstrom_per_s=2e3,
    source=f"{MECHANICAL.source}; a piezo of +-0.5 um, error 1 nm [A]",
)
"""A side-entry stage with motors and a piezo for x and y."""


@dataclass(frozen=True, kw_only=True)
class StageState:
    """Commanded, read and true position of the stage.

    Parameters
    ----------
    drive : StagePosition
        Position of the drives.
    play : StagePosition
        Position to which the drives have carried the specimen. On each axis it differs from ``drive`` by at most half
        the backlash.
    error : StagePosition
        Deviation of the specimen from ``play``.
    piezo_angstrom, piezo_error_angstrom : tuple of float
        Commanded displacement (x, y) of the piezo and its error, A.
    readback : StagePosition
        Readings of the encoders.
    """

    drive: StagePosition = StagePosition()
    play: StagePosition = StagePosition()
    error: StagePosition = StagePosition()
    piezo_angstrom: tuple[float, float] = (0.0, 0.0)
    piezo_error_angstrom: tuple[float, float] = (0.0, 0.0)
    readback: StagePosition = StagePosition()

    @property
    def commanded(self) -> StagePosition:
        """Commanded position of the stage."""
        return StagePosition.of(self.drive.array() + np.array([*self.piezo_angstrom, 0, 0, 0]))

    @cached_property
    def true(self) -> StagePosition:
        """True position of the specimen, which the operator cannot read."""
        piezo = np.add(self.piezo_angstrom, self.piezo_error_angstrom)
        return StagePosition.of(self.play.array() + self.error.array() + np.array([*piezo, 0, 0, 0]))


def destination(state: StageState, way: Mapping[str, float], profile: StageProfile, *, relative: bool = False) -> StagePosition:
    """Return the destination of a move; axes that are not named keep their commanded position.

    Raises
    ------
    SettingsError
        A name is not an axis, or a number is not finite.
    InstrumentError
        The destination is out of reach; the message gives the axis and its limits.
    """
    further = checks.flag("relative", relative)
    unknown = [name for name in way if name not in AXES]
    if unknown:
        message = f"{unknown[0]!r} is not an axis of the stage. Use {', '.join(AXES)}."
        raise SettingsError(message)
    target = asdict(state.commanded)
    for name, value in way.items():
        number = checks.number(name, value, unit(name))
        target[name] = target[name] + number if further else number
    for name, value in target.items():
        reach = getattr(profile.reach, name)
        if abs(value) > reach:
            message = f"{name}={value:g} {unit(name)} is out of the stage's reach. Choose a value from {-reach:g} to {reach:g} {unit(name)}."
            raise InstrumentError(message)
    return StagePosition(**target)


def duration_s(state: StageState, target: StagePosition, profile: StageProfile) -> float:
    """Return the duration of a move, s: the time of the slowest axis plus the settling time, or 0 if no axis moves."""
    return _duration(*_split(state, target, profile), state, profile)


def _split(state: StageState, target: StagePosition, profile: StageProfile) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets of drives and piezo; the piezo moves a lateral axis within its reach, else the drive does."""
    drive, goal = state.drive.array(), target.array()
    by_piezo = LATERAL & (np.abs(goal - drive) <= profile.piezo_reach_angstrom) & (profile.piezo_reach_angstrom > 0)
    return np.where(by_piezo, drive, goal), np.where(by_piezo, goal - drive, 0)[:2]


def _duration(drive: np.ndarray, piezo: np.ndarray, state: StageState, profile: StageProfile) -> float:
    ways = [*np.abs(drive - state.drive.array()), *np.abs(piezo - state.piezo_angstrom)]
    speeds = [*profile.speed.array(), profile.piezo_speed_angstrom_per_s, profile.piezo_speed_angstrom_per_s]
    if not any(ways):
        return 0.0
    return float(max(way / speed if speed else 0.0 for way, speed in zip(ways, speeds, strict=True)) + profile.settle_s)


def move(state: StageState, target: StagePosition, profile: StageProfile, rng: np.random.Generator) -> tuple[StageState, float, StagePosition]:
    """Move the stage and return its new state.

    Backlash is a play operator (Brokate and Sprekels, Hysteresis and Phase Transitions, section 2.1): the specimen stays
    at rest until the distance to its drive reaches half the backlash, and then follows at this distance.

    Parameters
    ----------
    state : StageState
        State before the move.
    target : StagePosition
        Commanded position, as from :func:`destination`.
    profile : StageProfile
        Imperfections of the stage.
    rng : numpy.random.Generator
        Source of the errors; every move draws the same number of values.

    Returns
    -------
    tuple
        New StageState, duration (s), and readings of the encoders (StagePosition).

    Raises
    ------
    InstrumentError
        The target is out of reach.
    """
    destination(state, asdict(target), profile)
    drive, piezo = _split(state, target, profile)
    taken = _duration(drive, piezo, state, profile)
    half = profile.backlash.array() / 2
    drawn, fine, read = rng.standard_normal((3, 5))
    error = np.where(
        drive != state.drive.array(), drawn * profile.repeatability.array(), state.error.array()
    )  # a drive has a new error after each move
    fine = np.where(piezo != state.piezo_angstrom, fine[:2] * profile.piezo_error_angstrom * (piezo != 0), state.piezo_error_angstrom)
    seen = drive + np.array([*piezo, 0, 0, 0]) + read * profile.readback.array()
    new = StageState(
        drive=StagePosition.of(drive),
        play=StagePosition.of(np.clip(state.play.array(), drive - half, drive + half)),
        error=StagePosition.of(error),
        piezo_angstrom=(float(piezo[0]), float(piezo[1])),
        piezo_error_angstrom=(float(fine[0]), float(fine[1])),
        readback=StagePosition.of(seen),
    )
    return new, taken, new.readback


def lateral_step(before: StageState, after: StageState) -> tuple[float, float]:
    """Return the displacement (x, y), A, of the specimen in a stage move. The creep after the move depends on it."""
    return after.true.x_angstrom - before.true.x_angstrom, after.true.y_angstrom - before.true.y_angstrom
