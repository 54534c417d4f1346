"""Arguments of ``gymnasium.make`` that all families share, and the random conditions of episodes."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.envs.faults import FAULTS, Faults
from stemtwin.twin.errors import SettingsError, UnknownNameError, suggestion
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.registry import Registry
from stemtwin.twin.samples.library import SAMPLES

SPLITS = {"train": 0, "val": 1, "test": 2}
"""Spawn keys of the episodes' random streams, by split. Only the benchmark runner plays test episodes."""
OPEN_SPLITS = ("train", "val")
"""Splits that ``gymnasium.make`` accepts."""
OBSERVATIONS = ("counts", "pixels", "state")
"""Forms of an observation: counts in a ``Dict``, a uint8 image for convolutional policies, a flat ``Box`` of features."""
GOAL_REWARDS = ("dense", "sparse", "none")
"""Rewards of families with a goal."""
LARGEST_FACTOR = 100.0
RANGES = {
    "rotation_rad": ("rad", -7.0, 7.0),
    "electrons_per_point": ("electrons", 1e-3, 6e4),
    "residual": ("times the profile's value", 0.0, LARGEST_FACTOR),
    "drift": ("times the profile's value", 0.0, LARGEST_FACTOR),
    "knob_gain": ("times the commanded change", 0.1, 10.0),
}
"""Unit, smallest and largest permitted value of each range of a ``Randomisation``, by the name of its field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions(Faults):
    """Conditions that were drawn for one episode; the property ``faults`` returns the fault probabilities alone.

    Parameters
    ----------
    sample, profile : str
        Names of the specimen and of the instrument.
    rotation_rad : float
        Rotation of the scan on the specimen, rad.
    electrons_per_point : float
        Mean number of incident electrons at one point.
    residual, drift : float
        Factors of the profile's residual aberrations and of its specimen drift.
    knob_gain : tuple of float
        Ratios of the true to the commanded changes of C10, C12a and C12b.
    failing : float
        Probability that a command does nothing.
    blocked_stage, refused_while_moving, closed_valve, failed_correction : float
        See ``Faults``.
    """

    sample: str
    profile: str
    rotation_rad: float
    electrons_per_point: float
    residual: float
    drift: float
    knob_gain: tuple[float, float, float]
    failing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomisation(Faults):
    """Choices and ranges from which every episode draws its conditions; a range with equal ends fixes a value.

    Parameters
    ----------
    samples : tuple of str
        Samples of the library, with equal probabilities.
    profiles : tuple of str
        Instrument profiles, with equal probabilities.
    rotation_rad : tuple of float
        Range of the rotation of the scan on the specimen, rad; the rotation is uniform.
    electrons_per_point : tuple of float
        Range of the mean number of incident electrons at one point; the logarithm of this number is uniform.
    residual : tuple of float
        Range of the factor of the profile's residual aberrations; the factor is uniform.
    drift : tuple of float
        Range of the factor of the profile's specimen drift; the factor is uniform.
    knob_gain : tuple of float
        Range of the ratio of the true to the commanded change of an aberration; the ratio is uniform and drawn for each
        of the knobs of C10, C12a and C12b.
    failing : float
        Probability that a command does nothing.
    blocked_stage, refused_while_moving, closed_valve, failed_correction : float
        Probabilities of faults; see ``Faults``.

    Raises
    ------
    StemtwinError
        A name is unknown or a number out of range.
    """

    samples: tuple[str, ...] = ("mos2-1h",)
    profiles: tuple[str, ...] = ("corrected-200kv",)
    rotation_rad: tuple[float, float] = (0.0, 0.0)
    electrons_per_point: tuple[float, float] = (1250.0, 1250.0)
    residual: tuple[float, float] = (1.0, 1.0)
    drift: tuple[float, float] = (1.0, 1.0)
    knob_gain: tuple[float, float] = (1.0, 1.0)
    failing: float = 0.0

    def __post_init__(self) -> None:
        """Check names and ranges, and convert lists (from JSON) to tuples."""
        Faults.__post_init__(self)
        object.__setattr__(self, "samples", _names("samples", self.samples, SAMPLES))
        object.__setattr__(self, "profiles", _names("profiles", self.profiles, PROFILES))
        for name, (unit, low, high) in RANGES.items():
            pair = checks.pair(name, _tuple(getattr(self, name)), unit)
            for number in pair:
                checks.number(name, number, unit, low=low, high=high)
            if pair[0] > pair[1]:
                message = f"{name}={pair} is not a range. Give the smaller number first."
                raise SettingsError(message)
            object.__setattr__(self, name, pair)
        checks.number("failing", self.failing, "", low=0, high=0.9)

    def draw(self, rng: np.random.Generator) -> Conditions:
        """Draw the conditions of an episode; the number of random numbers taken from ``rng`` does not depend on the ranges."""
        low, high = np.log(self.electrons_per_point)
        gains = rng.uniform(*self.knob_gain, 3)
        return Conditions(
            sample=self.samples[int(rng.integers(2**62)) % len(self.samples)],
            profile=self.profiles[int(rng.integers(2**62)) % len(self.profiles)],
            rotation_rad=float(rng.uniform(*self.rotation_rad)),
            electrons_per_point=float(np.exp(rng.uniform(low, high))),
            residual=float(rng.uniform(*self.residual)),
            drift=float(rng.uniform(*self.drift)),
            knob_gain=(float(gains[0]), float(gains[1]), float(gains[2])),
            failing=float(self.failing),
            **{name: float(getattr(self, name)) for name in FAULTS},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvArguments:
    """Arguments of every family; a family adds its own settings as further fields.

    Parameters
    ----------
    difficulty : str
        Name of a preset, a key of the family's ``PRESETS``.
    split : str
        ``"train"`` or ``"val"``. The same seed gives different episodes in the two splits.
    observation : str
        Form of the observations: ``"counts"``, ``"pixels"`` or ``"state"``.
    reward : str
        Name of the reward; families with a goal have the rewards ``"dense"``, ``"sparse"`` and ``"none"``.
    randomisation : Randomisation or dict, optional
        Conditions that replace those of the preset; a dict replaces only the conditions that it names.
    privileged_info : bool
        Whether ``info`` has ``truth`` and ``is_success``, for training.

    Raises
    ------
    StemtwinError
        A name is unknown, or the randomisation changes a condition that the family does not draw.
    """

    PRESETS: ClassVar[Mapping[str, Any]] = {}
    """Presets by name; the first three are in order of increasing difficulty."""
    RANDOMISED: ClassVar[tuple[str, ...]] = tuple(item.name for item in fields(Randomisation))
    """Fields of ``Randomisation`` that the family draws."""
    REWARD_NAMES: ClassVar[Collection[str]] = GOAL_REWARDS
    RESET_OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Names of the options of ``reset``, which are passed to ``initial`` as keyword arguments."""

    difficulty: str = "standard"
    split: str = "train"
    observation: str = "counts"
    reward: str = "dense"
    randomisation: Randomisation | Mapping[str, Any] | None = None
    privileged_info: bool = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        one_of("difficulty", self.difficulty, tuple(self.PRESETS))
        if self.split != "test":
            one_of("split", self.split, OPEN_SPLITS)
        one_of("observation", self.observation, OBSERVATIONS)
        one_of("reward", self.reward, self.REWARD_NAMES)
        checks.flag("privileged_info", self.privileged_info)
        self._check_randomisation()

    def _check_randomisation(self) -> None:
        """Refuse conditions that the family does not draw, and complete the randomisation from the preset."""
        given = self.randomisation
        if given is None:
            return
        if not self.RANDOMISED:
            message = f"randomisation={given!r}: {type(self).__name__} has no random conditions. Omit randomisation, and choose a difficulty."
            raise SettingsError(message)
        if not isinstance(given, Randomisation | Mapping):
            message = f"randomisation={given!r} is neither a Randomisation nor a dict. Give, for example, {{'failing': 0.1}}."
            raise SettingsError(message)
        names = [one.name for one in fields(Randomisation)]
        unknown = [name for name in given if name not in names] if isinstance(given, Mapping) else []
        usual = self.preset.randomisation
        whole = usual if unknown else self.conditions()
        wrong = [*unknown, *(name for name in names if name not in self.RANDOMISED and getattr(whole, name) != getattr(usual, name))]
        if wrong:
            known = suggestion(str(wrong[0]), self.RANDOMISED, listed="It draws")
            message = f"randomisation={given!r}: {type(self).__name__} does not draw {wrong[0]!r}. {known}"
            raise UnknownNameError(message)
        object.__setattr__(self, "randomisation", whole)

    @property
    def preset(self) -> Any:
        """Preset that the argument ``difficulty`` names."""
        return self.PRESETS[self.difficulty]

    def conditions(self) -> Randomisation:
        """Return the preset's randomisation, in which the argument ``randomisation`` replaces the conditions that it names."""
        usual: Randomisation = self.preset.randomisation
        if self.randomisation is None or isinstance(self.randomisation, Randomisation):
            return self.randomisation or usual
        return replace(usual, **self.randomisation)

    def drawn_ranges(self) -> dict[str, Any]:
        """Return the ranges of all conditions that the family draws, by name, as plain values."""
        drawn = self.conditions()
        return {name: plain_values(getattr(drawn, name)) for name in self.RANDOMISED}

    def known(self) -> dict[str, Any]:
        """Return the numbers that an operator knows before an experiment, by name, as plain values; the default is empty.

        Every agent receives these numbers in its brief. They depend only on the arguments of the environment, not on
        random draws, a seed or a state.
        """
        return {}


def plain_values(value: Any) -> Any:
    """Convert dataclasses and mappings to dicts, and lists and tuples to lists; return other values unchanged."""
    if dataclasses.is_dataclass(value):
        return {one.name: plain_values(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain_values(one) for name, one in value.items()}
    return [plain_values(one) for one in value] if isinstance(value, list | tuple) else value


def one_of(name: str, value: object, known: Collection[str]) -> None:
    """Raise an error if a value is not one of the known names.

    Raises
    ------
    SettingsError
        The value is not a string.
    UnknownNameError
        The name is unknown.
    """
    if not isinstance(value, str):
        message = f"{name}={value!r} is not a name. Use one of {', '.join(known)}."
        raise SettingsError(message)
    if value not in known:
        message = f"{name}={value!r} is unknown. {suggestion(value, known)}"
        raise UnknownNameError(message)


def wrong_setting(environment: str, family: type, settings: Mapping[str, Any]) -> SettingsError | None:
    """Return an error about the first setting that a family does not have, or None if the family has all settings."""
    known = [field.name for field in dataclasses.fields(family)]
    wrong = next((name for name in settings if name not in known), None)
    if wrong is None:
        return None
    return SettingsError(f"{environment} has no setting {wrong!r}. {suggestion(wrong, known, listed='Settings')}")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _names(field: str, given: Any, known: Registry[Any]) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else _tuple(given)
    if not isinstance(names, tuple) or not names:
        message = f"{field}={given!r} does not name any {known.kind}. Give at least one, for example {field}=({known.names()[0]!r},)."
        raise SettingsError(message)
    for name in names:
        known[name]
    return names
