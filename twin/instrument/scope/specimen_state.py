"""Specimens that the beam changes: possible processes, past events, and the present sample."""

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
"""Distance between the points of a contamination film, A."""
RELAXING = frozenset({"C", "Si", "N", "B"})
"""Elements of sheets in the valence force field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Settings of beam damage and contamination.

    Parameters
    ----------
    processes : tuple of Process, optional
        Possible processes of the atoms; None: the known processes of the material, see
        ``kinetics_conversion.processes_of``.
    temperature_k : float
        Temperature of the specimen, K.
    relax : bool, optional
        Whether a valence force field relaxes the structure after each event; None: True only for carbon sheets, with
        or without dopants.
    contamination : Contamination, optional
        Growth of a hydrocarbon film; None: the specimen stays clean.

    Raises
    ------
    SettingsError
        A number is out of range, or an object is not a process.
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
            message = f"contamination={self.contamination!r} is not a Contamination. Use Contamination(), or leave out contamination."
            raise SettingsError(message)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matter:
    """Atomic sites of a specimen at one moment, with all earlier events.

    Parameters
    ----------
    sites : SiteNetwork
        Atoms on their sites. Empty sites remain, so the index of a site never changes.
    origin : Sample
        Specimen at the start.
    processes : tuple of Process
        Possible processes.
    relax : bool
        Whether the structure relaxes after each event.
    events : Events
        Past events, in order.
    film : Film, optional
        Contamination film.
    """

    sites: SiteNetwork
    origin: Sample
    processes: tuple[Process, ...]
    relax: bool
    events: Events = field(default_factory=Events.none)
    film: Film | None = None

    @classmethod
    def of(cls, sample: Sample, damage: Damage) -> Self:
        """Return the atomic sites and the possible processes of a sample before any event.

        Raises
        ------
        SettingsError
            Processes of the sample are unknown, or a period of the sample is shorter than twice its longest bond.
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
        """True if a process can happen without a beam."""
        return any(process.rate for process in self.processes)

    def sample(self) -> Sample:
        """Return the present sample; see ``kinetics_conversion.sample_of``."""
        return sample_of(self.sites, self.origin)


def find_damage(given: "Damage | bool | None") -> Damage | None:
    """Return the settings of beam damage, or None without beam damage.

    Parameters
    ----------
    given : Damage, bool or None
        A ``Damage``, which is returned; True for the known processes of the material; None or False for no damage.

    Raises
    ------
    SettingsError
        The value is none of these.
    """
    if given is None or given is False:
        return None
    if given is True:
        return Damage()
    if isinstance(given, Damage):
        return given
    message = f"damage={given!r} is not a Damage. Use True for the known processes of the specimen, or a Damage."
    raise SettingsError(message)
