"""Processes that an atom can undergo: conditions, actions and rates, as immutable objects."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError
from stemtwin.twin.physics.dynamics import kinetics_kernels
from stemtwin.twin.physics.dynamics.competing_processes import Branching, branching
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM, Site, cross_sections
from stemtwin.twin.physics.dynamics.isotopes import SYMBOLS, number_of
from stemtwin.twin.physics.dynamics.site_network import BOND, JUMP
from stemtwin.twin.physics.phonons import BOLTZMANN

ACTIONS = {
    "eject": kinetics_kernels.EJECT,
    "become": kinetics_kernels.BECOME,
    "exchange": kinetics_kernels.EXCHANGE,
    "rotate": kinetics_kernels.ROTATE,
}
LINKS = {"bond": BOND, "jump": JUMP}
FACES = {"any": 0, "exit": 1, "entrance": -1}
EMPTY = "empty"
"""Value of ``element`` and ``partner`` for an empty lattice position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One kind of event: conditions on the atom, the action, and its cross-section or rate.

    The rate at an atom is ``scale * cross_section * J + rate`` with the current density J (electrons / (A^2 s)) at the
    point given by ``offset``. A cross-section from ``site`` excludes energy transfers that cause a process with a higher
    threshold in the same atom (``competing_processes.py``).

    Parameters
    ----------
    name : str
        Name in the event log.
    element : str
        Symbol of the atom's element, or "empty" for an empty lattice position.
    action : {"eject", "become", "exchange", "rotate"}
        "eject": the atom is lost. "become": the atom is replaced by ``product``. "exchange": the atom changes places
        with its partner, or jumps to the partner's position if this is empty. "rotate": the bond to the partner rotates
        by 90 degrees.
    site : Site, optional
        Displacement parameters from which the cross-section at the beam's energy is computed.
    cross_section : float, optional
        Cross-section at every energy, A^2; an alternative to ``site``.
    scale : float
        Factor of the cross-section, for example 1/3 for one of three bonds that can rotate.
    rate : float
        Spontaneous rate, 1/s.
    coordination : (int, int)
        Smallest and largest number of atoms bonded to the atom.
    beside, apart_from : str, optional
        Element that must be, or must not be, among the bonded neighbours.
    face : {"any", "exit", "entrance"}
        Position of the atom relative to its neighbours: behind them along the beam ("exit") or in front ("entrance").
    label : int, optional
        Required class of the lattice position; see ``SiteNetwork.labels``.
    partner : str, optional
        Symbol of the partner's element, or "empty". Each matching partner gives a separate event.
    partner_coordination : (int, int)
        Smallest and largest number of atoms bonded to the partner.
    partner_label : int, optional
        Required class of the partner's lattice position.
    link : {"bond", "jump"}
        Kind of the link to the partner.
    product : str, optional
        Element that replaces the atom.
    product_label : int, optional
        Class of both lattice positions after the event.
    offset : float
        Point whose current density determines the rate, as a fraction of the way from the partner to the atom; 1 is the
        atom.
    source : str
        Source of the numbers, with its confidence mark (V, M or A).

    Raises
    ------
    UnknownNameError
        An element is unknown.
    SettingsError
        The parameters contradict each other, or a number is out of range.
    """

    name: str
    element: str
    action: str
    site: Site | None = None
    cross_section: float | None = None
    scale: float = 1.0
    rate: float = 0.0
    coordination: tuple[int, int] = (0, 99)
    beside: str | None = None
    apart_from: str | None = None
    face: str = "any"
    label: int | None = None
    partner: str | None = None
    partner_coordination: tuple[int, int] = (0, 99)
    partner_label: int | None = None
    link: str = "bond"
    product: str | None = None
    product_label: int | None = None
    offset: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        """Check the parameters."""
        for field, value, known in (("action", self.action, ACTIONS), ("link", self.link, LINKS), ("face", self.face, FACES)):
            checks.choice(f"{self.name}: {field}", value, known)
        for element in (self.element, self.partner, self.beside, self.apart_from, self.product):
            _number(element)
        if (self.action in {"exchange", "rotate"}) is not (self.partner is not None):
            repair = "needs a partner. Give one." if self.partner is None else "has no partner. Leave out the argument partner."
            message = f"{self.name}: the action {self.action!r} {repair}"
            raise SettingsError(message)
        if (self.action == "become") is not (self.product is not None):
            message = f"{self.name}: action={self.action!r} and product={self.product!r} contradict each other. "
            message += "Give a product with the action 'become', and with no other."
            raise SettingsError(message)
        if self.site is not None and self.cross_section is not None:
            message = f"{self.name}: both a site and a cross-section are given. Give only one of them."
            raise SettingsError(message)
        if self.cross_section is not None:
            checks.number("cross_section", self.cross_section, "A^2", low=0.0, high=1e4, repair="1 barn is 1e-8 A^2.")
        checks.number("scale", self.scale, "", low=0.0, high=1e6, repair="Give the factor of the cross-section.")
        checks.number("rate", self.rate, "per s", low=0.0, high=1e15, repair="Give the spontaneous rate in 1/s.")
        checks.number("offset", self.offset, "", low=-2.0, high=3.0, repair="1 is the atom, 0 its partner.")
        if self.offset != 1.0 and self.partner is None:
            message = f"{self.name}: offset={self.offset:g} is relative to a partner. Give a partner, or leave out the offset."
            raise SettingsError(message)

    def cross_section_at(self, energy: float, temperature: float = ROOM) -> float:
        """Return the scaled cross-section (A^2) at a beam energy (eV) and a temperature (K), as if no other process competed."""
        if self.site is not None:
            return self.scale * cross_sections(self.site, energy, temperature=temperature).total
        return self.scale * (self.cross_section or 0.0)


def _number(element: str | None) -> int:
    if element is None:
        return kinetics_kernels.ANY
    return 0 if element == EMPTY else number_of(element)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rules:
    """Set of r processes at one beam energy, as arrays for the kernels.

    ``table`` has the shape (r, 16). ``cross_sections`` (A^2) and ``rates`` (1/s) have the shape (r,). ``fractions`` lists
    the g different values of ``Process.offset``, shape (g,). The cross-sections include all energy transfers above the
    threshold, also those that cause a competing process instead. The kernels subtract these transfers with the arrays of
    ``branching``.
    """

    table: np.ndarray
    cross_sections: np.ndarray
    rates: np.ndarray
    fractions: np.ndarray
    branching: Branching
    names: tuple[str, ...]

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Arrays of the rules in the order in which the kernels take them."""
        competing = self.branching
        own = (self.table, self.cross_sections, self.rates, self.fractions)
        return *own, competing.above, competing.chances, competing.parts

    @property
    def second_shell(self) -> bool:
        """True if a rule depends on the neighbours of a partner."""
        return bool(((self.table[:, kinetics_kernels.PARTNER_LEAST] > 0) | (self.table[:, kinetics_kernels.PARTNER_MOST] < 99)).any())


@functools.lru_cache(maxsize=256)
def compiled(processes: tuple[Process, ...], energy: float, temperature: float = ROOM) -> Rules:
    """Return processes as rules for the kernels, at one beam energy (eV) and temperature (K).

    Raises
    ------
    SettingsError
        Two processes have the same name.
    """
    names = tuple(process.name for process in processes)
    if len(set(names)) < len(names):
        message = f"Two of the processes {', '.join(names)} have the same name. Give each a different name."
        raise SettingsError(message)
    fractions = [1.0, *sorted({process.offset for process in processes} - {1.0})]
    table = np.zeros((len(processes), kinetics_kernels.COLUMNS), dtype=np.int64)
    for row, process in zip(table, processes, strict=True):
        row[kinetics_kernels.ELEMENT], row[kinetics_kernels.PARTNER] = _number(process.element), _number(process.partner)
        if process.partner is None:
            row[kinetics_kernels.PARTNER] = kinetics_kernels.NOTHING
        row[kinetics_kernels.LEAST], row[kinetics_kernels.MOST] = process.coordination
        row[kinetics_kernels.PARTNER_LEAST], row[kinetics_kernels.PARTNER_MOST] = process.partner_coordination
        row[kinetics_kernels.BESIDE], row[kinetics_kernels.APART_FROM] = _number(process.beside), _number(process.apart_from)
        row[kinetics_kernels.FACE], row[kinetics_kernels.LINK], row[kinetics_kernels.ACTION] = (
            FACES[process.face],
            LINKS[process.link],
            ACTIONS[process.action],
        )
        row[kinetics_kernels.PRODUCT] = _number(process.product)
        for column, label in (
            (kinetics_kernels.LABEL, process.label),
            (kinetics_kernels.PARTNER_LABEL, process.partner_label),
            (kinetics_kernels.PRODUCT_LABEL, process.product_label),
        ):
            row[column] = kinetics_kernels.ANY if label is None else label
        row[kinetics_kernels.GROUP] = fractions.index(process.offset)
    return Rules(
        table=table,
        cross_sections=np.array([process.cross_section_at(energy, temperature) for process in processes], dtype=float),
        rates=np.array([process.rate for process in processes], dtype=float),
        fractions=np.array(fractions),
        branching=branching(processes, energy, temperature),
        names=names,
    )


def arrhenius(barrier: float, temperature: float, attempt: float = 1e13) -> float:
    """Return the rate attempt x exp(-barrier / kT) of a thermal process, 1/s.

    Parameters
    ----------
    barrier : float
        Energy barrier, eV.
    temperature : float
        Temperature of the specimen, K.
    attempt : float
        Attempt frequency, 1/s.

    Raises
    ------
    SettingsError
        The barrier or the temperature is out of range.
    """
    barrier = checks.number("barrier", barrier, "eV", low=0.0, high=20.0, repair="Give the barrier in eV.")
    repair = "Give the specimen's temperature in K."
    temperature = checks.number("temperature", temperature, "K", low=1.0, high=5000.0, repair=repair)
    return attempt * math.exp(-barrier / (BOLTZMANN * temperature))


def symbol(number: int) -> str:
    """Return the symbol of an atomic number, or "empty" for 0."""
    if number == 0:
        return EMPTY
    return SYMBOLS[number] if number < len(SYMBOLS) else str(number)


def as_processes(processes: Sequence[Any]) -> tuple[Process, ...]:
    """Return processes as a tuple; raise SettingsError if one of them is not a Process."""
    wrong = [one for one in processes if not isinstance(one, Process)]
    if wrong:
        message = f"{wrong[0]!r} is not a Process. Use Process(...), or a set such as graphene()."
        raise SettingsError(message)
    return tuple(processes)
