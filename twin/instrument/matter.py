"""A specimen that the beam changes: what can happen to it, what has happened, and the sample that it is now."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.instrument import checks
from stemtwin.twin.physics.dynamics import library
from stemtwin.twin.physics.dynamics.contamination import Contamination, Film
from stemtwin.twin.physics.dynamics.kinetics import Events
from stemtwin.twin.physics.dynamics.processes import Process, as_processes
from stemtwin.twin.physics.dynamics.sites import ROOM
from stemtwin.twin.physics.dynamics.specimen import Specimen
from stemtwin.twin.registry import Registry
from stemtwin.twin.samples.sample import Sample

FILM_STEP_ANGSTROM = 2.0
"""Distance of the points of a contamination film, A."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What the beam can do to a specimen.

    Parameters
    ----------
    processes : tuple of Process
        What can happen to its atoms.
    bond_angstrom : float
        Atoms nearer than this are bonded, A.
    jump_angstrom : float
        Atoms of ``jump_element`` at one height nearer than this can jump into each other's empty sites, A; 0: none.
    jump_element : str, optional
        Whose atoms jump.
    temperature_k : float
        Of the specimen, K.
    relax : bool
        Whether the structure relaxes after each event, by a valence force field (graphene and its dopants).
    contamination : Contamination, optional
        How a hydrocarbon film grows; None: the specimen stays clean.

    Raises
    ------
    SettingsError
        A number is out of range, or something is no process.
    """

    processes: tuple[Process, ...] = ()
    bond_angstrom: float = 1.8
    jump_angstrom: float = 0.0
    jump_element: str | None = None
    temperature_k: float = ROOM
    relax: bool = True
    contamination: Contamination | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        object.__setattr__(self, "processes", as_processes(self.processes))
        checks.number("bond_angstrom", self.bond_angstrom, "A", above=0, high=10)
        checks.number("jump_angstrom", self.jump_angstrom, "A", low=0, high=20)
        checks.number("temperature_k", self.temperature_k, "K", above=0, high=3000)

    @property
    def waits(self) -> bool:
        """Whether anything happens without a beam."""
        return any(process.rate for process in self.processes)


DAMAGE: Registry[Damage] = Registry("set of processes")
"""Sets of processes by name."""
DAMAGE.add("graphene", Damage(processes=library.graphene(), bond_angstrom=1.8))
DAMAGE.add("mos2", Damage(processes=library.molybdenum_disulfide(), bond_angstrom=2.8, jump_angstrom=3.5, jump_element="S", relax=False))
DAMAGE.add("contamination", Damage(contamination=Contamination()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matter:
    """The specimen's sites at one moment, and everything that happened to them.

    Parameters
    ----------
    sites : Specimen
        Atoms on their sites; empty sites stay, so that numbers of sites stay what they are.
    origin : Sample
        The specimen as it was put in.
    events : Events
        What happened, in order.
    film : Film, optional
        Contamination.
    """

    sites: Specimen
    origin: Sample
    events: Events = field(default_factory=Events.none)
    film: Film | None = None

    @classmethod
    def of(cls, sample: Sample, damage: Damage) -> Self:
        """Return the matter of a sample on which nothing has happened yet.

        Raises
        ------
        SettingsError
            The cell is so small that an atom would be its own neighbour.
        """
        size = sample.size_angstrom if sample.periodic else None
        sites = Specimen.build(
            sample.positions_angstrom,
            sample.numbers,
            bond=damage.bond_angstrom,
            jump=damage.jump_angstrom,
            jump_element=damage.jump_element,
            size=size,
        )
        film = None if damage.contamination is None else Film.clean(sample.size_angstrom, FILM_STEP_ANGSTROM)
        return cls(sites=sites, origin=sample, film=film)

    def sample(self) -> Sample:
        """Return the sample that it is now: atoms that are left, where they are, each with the thermal motion of its site.

        An atom of another element than stood there first has the mean thermal sigma of its element, if the specimen had it. Where an atom has moved
        beyond the exit face, the box is made thicker.
        """
        here = self.sites.present
        numbers = self.sites.numbers[here]
        height, width = self.origin.size_angstrom
        at = self.sites.positions[here].copy()
        if self.origin.periodic:
            at[:, :2] %= (width, height)
            at[:, :2][at[:, :2] >= (width, height)] = 0.0
        at[:, 2] = np.maximum(at[:, 2], 0.0)
        thickness = self.origin.thickness_angstrom
        if len(at) and at[:, 2].max() >= thickness:
            thickness = float(at[:, 2].max()) + 1e-3
        return replace(
            self.origin,
            numbers=numbers,
            positions_angstrom=at,
            thickness_angstrom=thickness,
            thermal_sigma_angstrom=self._sigma(here),
            sites=np.flatnonzero(here),
            recipe="",
        )

    def _sigma(self, here: np.ndarray) -> np.ndarray | None:
        first, sigma = self.origin.numbers, self.origin.thermal_sigma_angstrom
        if sigma is None:
            return None
        means: Mapping[int, float] = {int(number): float(sigma[first == number].mean()) for number in np.unique(first)}
        out = sigma.copy()
        changed = here & (self.sites.numbers != first)
        out[changed] = [means.get(int(number), old) for number, old in zip(self.sites.numbers[changed], sigma[changed], strict=True)]
        return out[here]


def find_damage(given: "Damage | str | None") -> Damage | None:
    """Return what the beam can do, by name or as given.

    Raises
    ------
    UnknownNameError
        There is no set of that name.
    SettingsError
        It is no Damage.
    """
    if given is None or isinstance(given, Damage):
        return given
    if isinstance(given, str):
        return DAMAGE[given]
    message = f"damage={given!r} is no set of processes. Use one of {', '.join(DAMAGE)}, or a Damage."
    raise SettingsError(message)
