"""A specimen that the beam changes: what can happen to it, what has happened, and the sample that it is now."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics.contamination import Contamination, Film
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM
from stemtwin.twin.physics.dynamics.kinetics import Events
from stemtwin.twin.physics.dynamics.processes import Process, as_processes
from stemtwin.twin.physics.dynamics.site_network import SiteNetwork
from stemtwin.twin.samples.kinetics_conversion import SHEET, processes_of, sample_of, specimen_of
from stemtwin.twin.samples.sample import Sample

FILM_STEP_ANGSTROM = 2.0
"""Distance of the points of a contamination film, A."""
RELAXING = frozenset({"C", "Si", "N", "B"})
"""Elements of sheets that the valence force field knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Possible changes of a specimen by the beam.

    Parameters
    ----------
    processes : tuple of Process, optional
        What can happen to its atoms; by default what is known of a specimen of this kind, see ``evolving.processes_of``.
    temperature_k : float
        Of the specimen, K.
    relax : bool, optional
        Whether the structure relaxes after each event, by a valence force field; by default where it is a sheet of carbon with or without dopants.
    contamination : Contamination, optional
        How a hydrocarbon film grows; None: the specimen stays clean.

    Raises
    ------
    SettingsError
        A number is out of range, or something is no process.
    """

    processes: tuple[Process, ...] | None = None
    temperature_k: float = ROOM
    relax: bool | None = None
    contamination: Contamination | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.processes is not None:
            object.__setattr__(self, "processes", as_processes(self.processes))
        checks.number("temperature_k", self.temperature_k, "K", above=0, high=3000)
        if self.contamination is not None and not isinstance(self.contamination, Contamination):
            message = f"contamination={self.contamination!r} is no Contamination. Use Contamination() or leave it out."
            raise SettingsError(message)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matter:
    """The specimen's sites at one moment, and everything that happened to them.

    Parameters
    ----------
    sites : SiteNetwork
        Atoms on their sites; empty sites stay, so that numbers of sites stay what they are.
    origin : Sample
        The specimen as it was put in.
    processes : tuple of Process
        What can happen.
    relax : bool
        Whether the structure relaxes after each event.
    events : Events
        What happened, in order.
    film : Film, optional
        Contamination.
    """

    sites: SiteNetwork
    origin: Sample
    processes: tuple[Process, ...]
    relax: bool
    events: Events = field(default_factory=Events.none)
    film: Film | None = None

    @classmethod
    def of(cls, sample: Sample, damage: Damage) -> Self:
        """Return the matter of a sample to which nothing has happened yet.

        Raises
        ------
        SettingsError
            Nothing is known of what can happen to it, or it repeats by less than twice its longest bond.
        """
        thin = len(sample) > 0 and set(sample.symbols) <= RELAXING and float(np.ptp(sample.positions_angstrom[:, 2])) < SHEET
        return cls(
            sites=specimen_of(sample),
            origin=sample,
            processes=processes_of(sample, temperature_k=damage.temperature_k) if damage.processes is None else damage.processes,
            relax=thin if damage.relax is None else damage.relax,
            film=None if damage.contamination is None else Film.clean(sample.size_angstrom, FILM_STEP_ANGSTROM, repeats=sample.periodic),
        )

    @property
    def restless(self) -> bool:
        """True where anything happens without a beam."""
        return any(process.rate for process in self.processes)

    def sample(self) -> Sample:
        """Return the sample that it is now; see ``evolving.sample_of``."""
        return sample_of(self.sites, self.origin)


def find_damage(given: "Damage | bool | None") -> Damage | None:
    """Return the possible changes by the beam: none (None, False), those known of the specimen (True), or those given.

    Raises
    ------
    SettingsError
        It is no Damage.
    """
    if given is None or given is False:
        return None
    if given is True:
        return Damage()
    if isinstance(given, Damage):
        return given
    message = f"damage={given!r} does not say what the beam does. Use True for what is known of the specimen, or a Damage."
    raise SettingsError(message)
