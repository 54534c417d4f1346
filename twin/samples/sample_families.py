"""Samples of the library: builder functions, settings (knobs), and sources of lattice parameters and thermal motion."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError, UnknownNameError, suggestion
from stemtwin.twin.registry import Registry
from stemtwin.twin.samples.builders import Cut, build_sample, specimen_rng
from stemtwin.twin.samples.crystal import B_OVER_U, Crystal
from stemtwin.twin.samples.sample import Sample

Value = float | int | str
Maker = TypeVar("Maker", bound=Callable[..., Sample])
Sites = tuple[tuple[str, tuple[float, float, float]], ...]
ORDERED = ("name", "size_angstrom", "thickness_angstrom", "seed")  # settings of every library sample besides its knobs
RESERVED = {*ORDERED, "kind", "digest"}  # keys of a recipe
PENG = "L.-M. Peng, G. Ren, S. L. Dudarev, M. J. Whelan, Acta Cryst. A52 (1996) 456, Table 1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Knob:
    """Setting of a library sample in addition to box and seed: a number within limits, or one of several words.

    Parameters
    ----------
    about : str
        Description of the setting.
    default : float, int or str
        Default value; an integer default admits only whole numbers. :func:`specimen` takes the default from the
        signature of the builder function.
    low, high : float
        Limits of a number.
    unit : str
        Unit of a number.
    choices : tuple of str
        Permitted words; () for a number.
    """

    about: str
    default: Value = 0.0
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    choices: tuple[str, ...] = ()

    def checked(self, name: str, value: object) -> Value:
        """Return a checked value as a plain number or word.

        Raises
        ------
        SettingsError
            The value has a wrong type, is outside the limits, or is not one of the permitted words.
        """
        if self.choices:
            return checks.choice(name, value, self.choices)
        whole = isinstance(self.default, int)
        kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
        number = float(value) if isinstance(value, kinds) and not isinstance(value, bool) else math.nan
        if not (math.isfinite(number) and self.low <= number <= self.high):
            what = "a whole number" if whole else "a number"
            between = f"from {self.low:g} to {self.high:g}" if math.isfinite(self.high) else f"of {self.low:g} or more"
            message = f"{name}={value!r} must be {what} {between}{' ' + self.unit if self.unit else ''} ({self.about})."
            raise SettingsError(message)
        return int(number) if whole else number


def fraction(about: str) -> Knob:
    """Return a knob for a fraction, with the limits 0 and 1."""
    return Knob(about=about, low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRequest:
    """Request to build a library sample, with methods that build it.

    Parameters
    ----------
    name : str
        Name of the sample.
    cut : Cut
        Box and seed. Its zone axis is not used, because each library sample has its own.
    sigma : mapping from symbol to float
        1-D rms displacements in A.
    """

    name: str
    cut: Cut
    sigma: Mapping[str, float] = field(default_factory=dict)

    def rng(self, stream: str) -> np.random.Generator:
        """Return the random generator of a named stream. Its draws do not depend on those of other streams."""
        return specimen_rng(self.cut.seed, stream)

    def crystal(
        self,
        cell_angstrom: tuple[float, float, float],
        sites: Sites,
        *,
        angles_deg: tuple[float, float, float] = (90.0, 90.0, 90.0),
        zone_axis: tuple[int, int, int] = (0, 0, 1),
        max_strain: float = 0.01,
    ) -> Sample:
        """Return whole repeats of a crystal in the requested box.

        Parameters
        ----------
        cell_angstrom, angles_deg : (float, float, float)
            Lengths a, b, c in A; angles alpha, beta, gamma.
        sites : tuple of (symbol, (float, float, float))
            Elements and fractional positions of one cell.
        zone_axis : (int, int, int)
            Direction [uvw] along the beam.
        max_strain : float
            Largest permitted strain in making the cell orthogonal.
        """
        from ase.cell import Cell
        from ase.data import atomic_numbers

        symbols = [symbol for symbol, _ in sites]
        crystal = Crystal(
            name=self.name,
            cell=np.array(Cell.new([*cell_angstrom, *angles_deg]).array),
            fractional=np.array([place for _, place in sites], dtype=float),
            numbers=np.array([atomic_numbers[symbol] for symbol in symbols]),
            sigma=np.array([self.sigma[symbol] for symbol in symbols]),
        )
        return build_sample(crystal, replace(self.cut, zone_axis=zone_axis, max_strain=max_strain), name=self.name)

    def atoms(
        self, symbols: np.ndarray, positions: np.ndarray, size: tuple[float, float], thickness: float, *, notes: tuple[str, ...] = ()
    ) -> Sample:
        """Return a periodic sample of atoms with symbols (n,) and positions (n, 3), A, in a box.

        The box has the given size (y, x) and thickness, A.
        """
        from ase.data import atomic_numbers

        return Sample(
            name=self.name,
            numbers=np.array([atomic_numbers[symbol] for symbol in symbols], dtype=np.int64),
            positions_angstrom=positions,
            size_angstrom=size,
            thickness_angstrom=thickness,
            thermal_sigma_angstrom=np.array([self.sigma[symbol] for symbol in symbols]),
            notes=notes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleFamily:
    """A sample of the library with its settings.

    Parameters
    ----------
    title : str
        Description in a few words.
    make : callable
        Function ``make(order, **knobs)`` that returns the sample.
    knobs : mapping from str to Knob
        Settings of this sample.
    thermal_sigma_angstrom : mapping from symbol to float
        1-D rms displacements near 300 K (A) of every element that the sample can contain.
    lattice_source, thermal_source : str
        Sources of the lattice parameters and the thermal motion.
    """

    title: str
    make: Callable[..., Sample]
    knobs: Mapping[str, Knob]
    thermal_sigma_angstrom: Mapping[str, float]
    lattice_source: str
    thermal_source: str

    def settings(self, name: str, given: Mapping[str, object]) -> dict[str, Value]:
        """Return the checked value of every knob.

        Raises
        ------
        UnknownNameError
            The sample does not have the knob; the message names the most similar one.
        SettingsError
            A value is outside its limits.
        """
        for knob in given:
            if knob not in self.knobs:
                hint = suggestion(knob, [*self.knobs, *ORDERED[1:]], listed="Its knobs")
                message = f"The sample {name!r} has no knob {knob!r}. {hint}"
                raise UnknownNameError(message)
        return {label: knob.checked(label, given[label]) if label in given else knob.default for label, knob in self.knobs.items()}


SAMPLES: Registry[SampleFamily] = Registry("sample")


def specimen(name: str, *tags: str, title: str, sigma: Mapping[str, float], lattice_source: str, thermal_source: str) -> Callable[[Maker], Maker]:
    """Return a decorator that adds a builder function to the library.

    Parameters
    ----------
    name : str
        New name in kebab-case.
    *tags : str
        "crystal", "sheet", "film" or "particle", followed by the family.
    title, lattice_source, thermal_source : str
        Texts as in :class:`SampleFamily`.
    sigma : mapping from symbol to float
        1-D rms displacements in A.

    Returns
    -------
    callable
        Decorator for ``make(order, *, knob: Annotated[type, Knob(...)] = default, ...) -> Sample``; each keyword is a
        knob.
    """

    def decorate(make: Maker) -> Maker:
        """Register the maker of a family."""
        parameters = list(inspect.signature(make).parameters.values())[1:]
        knobs = {one.name: replace(one.annotation.__metadata__[0], default=one.default) for one in parameters}
        if taken := RESERVED & set(knobs):
            message = f"The sample {name!r} cannot have a knob named {', '.join(sorted(taken))} (reserved for its recipe). Choose another name."
            raise SettingsError(message)
        thing = SampleFamily(
            title=title,
            make=make,
            knobs=MappingProxyType(knobs),
            thermal_sigma_angstrom=MappingProxyType(dict(sigma)),
            lattice_source=lattice_source,
            thermal_source=thermal_source,
        )
        SAMPLES.add(name, thing, *tags)
        return make

    return decorate


def rms(b_factor: float) -> float:
    """Return the 1-D rms displacement (A) of a Debye-Waller factor B (A^2)."""
    return float(np.sqrt(b_factor / B_OVER_U))
