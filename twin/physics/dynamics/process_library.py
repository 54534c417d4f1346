"""Sets of processes for common specimens.

Most numbers are arguments that a caller can change. Letters in brackets mark the origin of a number;
:mod:`~stemtwin.twin.physics.dynamics.displacement_thresholds` explains them.
"""

import math
from dataclasses import replace

from stemtwin.twin import checks
from stemtwin.twin.physics.dynamics.current_density import Density, gaussian_density
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM, Site, find_site
from stemtwin.twin.physics.dynamics.knockon import BARN
from stemtwin.twin.physics.dynamics.processes import EMPTY, Process, arrhenius
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND

DUNE_RATE = math.log(2) / 3
"""Largest rate per neighbour in the simulator of putting-dune, 1/s [V]: google/putting-dune, constants.py."""
DUNE_OFFSET, DUNE_VARIANCE = 0.85, 0.1
"""Position of the largest rate in bonds from Si, and variance in bonds^2 [V]: google/putting-dune, graphene.py."""
_SU = "[A] as measured for P: Su et al., Sci. Adv. 5 (2019) eaav2252, table 1"
BOND = 1.42
"""C-C bond of graphene, A."""
LOOSE_RATE = 1e3
"""Loss rate of atoms without bonds, or with one of three, 1/s [A]; on the time scale of an image it is immediate."""


def graphene(
    *,
    bulk: Site | None = None,
    edge: Site | None = None,
    hop: Site | None = None,
    rotation: Site | None = None,
    rotate_back: float = 14.0,
    dopant: str = "Si",
    replacement: float = 0.07 * BARN,
    dopant_vacancy: float = 0.01 * BARN,
    healing: float = 0.0,
) -> tuple[Process, ...]:
    """Return the processes in graphene with a dopant: ejection, hole growth, bond rotation, hops, and processes that compete with hops.

    Parameters
    ----------
    bulk, edge, hop, rotation : Site, optional
        Thresholds of C for the ejection of an atom with three bonds and with two bonds, the exchange with a dopant, and the rotation
        of a bond; by default those of ``displacement_thresholds.py``. The default threshold of the hop is an effective value that
        reproduces the observed rate at 60 kV; the computed ``find_site("C", "graphene-si-computed")`` gives a rate 20 times lower.
    rotate_back : float
        Threshold for the back-rotation of a rotated bond, eV. Such a bond is strained and rotates more easily. The default is an assumption [A].
    dopant : str
        Symbol of the dopant.
    replacement : float
        Cross-section for the replacement of the dopant by a C adatom, A^2. The default is the value measured for P at 60 kV,
        0.07 +- 0.02 barn (Su et al., Sci. Adv. 5 (2019) eaav2252, table 1); its use for other dopants is an assumption [A].
    dopant_vacancy : float
        Cross-section for the loss of a C neighbour of the dopant, A^2. The default is the value measured for P at 60 kV,
        0.010 +- 0.003 barn (the same source); its use for other dopants is an assumption [A].
    healing : float
        Rate at which adatoms fill an empty site that has three bonded neighbours, 1/s; 0 in a clean vacuum.
    """
    bulk, edge = bulk or find_site("C", "graphene"), edge or find_site("C", "graphene-edge")
    hop, rotation = hop or find_site("C", "graphene-si"), rotation or find_site("C", "graphene-rotation")
    back = Site(element="C", name="graphene-rotated", displacement=rotate_back, mark="A", source="strained bond", velocity2=rotation.velocity2)
    third = 1 / 3  # one of three bonds
    full = (3, 99)
    return (
        Process(name="eject-bulk", element="C", action="eject", site=bulk, coordination=full, apart_from=dopant),
        Process(name="eject-edge", element="C", action="eject", site=edge, coordination=(2, 2)),
        Process(name="loose", element="C", action="eject", rate=LOOSE_RATE, coordination=(0, 1), source="[A] rate"),
        Process(
            name="rotate-bond", element="C", action="rotate", site=rotation, scale=third, coordination=(3, 3), label=0,
            partner="C", partner_coordination=(3, 3), partner_label=0, product_label=1, source="[A] one of three bonds rotates",
        ),
        Process(
            name="rotate-back", element="C", action="rotate", site=back, scale=third, coordination=(3, 3), label=1,
            partner="C", partner_coordination=(3, 3), partner_label=1, product_label=0, source="[A] one of three bonds rotates",
        ),
        Process(
            name="hop", element="C", action="exchange", site=hop, partner=dopant, partner_coordination=(3, 3),
            source="the C neighbour that is hit changes places with the dopant: Susi et al., Phys. Rev. Lett. 113 (2014) 115501",
        ),
        Process(
            name="eject-beside-dopant", element="C", action="eject", cross_section=dopant_vacancy, beside=dopant, coordination=full, source=_SU,
        ),
        Process(name="replace-dopant", element=dopant, action="become", cross_section=replacement, product="C", coordination=full, source=_SU),
        Process(name="heal", element=EMPTY, action="become", rate=healing, product="C", coordination=full, product_label=0, source="[A] rate"),
    )  # fmt: skip


def dichalcogenide(
    metal: str = "Mo",
    chalcogen: str = "S",
    *,
    layer: Site | None = None,
    core: Site | None = None,
    loosening: float = 0.4,
    migration: float = 1.4,
    barrier: float = 2.3,
    temperature: float = ROOM,
    entrance: float = 0.0,
) -> tuple[Process, ...]:
    """Return the processes in a layer such as MoS2: loss of chalcogen, migration of vacancies, loss of metal.

    Parameters
    ----------
    metal, chalcogen : str
        Mo or W, and S, Se or Te.
    layer, core : Site, optional
        Thresholds of chalcogen and metal; by default those of the compound in ``displacement_thresholds.py``.
    loosening : float
        Reduction of the threshold of a chalcogen atom that has lost a metal neighbour, eV. The default is assumed [A].
    migration : float
        Difference between the threshold for loss and the lower threshold for a jump into a neighbouring empty site of
        the same layer, eV. The default is assumed [A].
    barrier : float
        Barrier of the thermal jump, eV. The default is quoted from memory [M]: Komsa et al., Phys. Rev. B 88
        (2013) 035301, for MoS2.
    temperature : float
        Temperature of the specimen for the thermal jump, K.
    entrance : float
        Cross-section for ejection from the chalcogen layer on the entrance side, divided by the cross-section for
        ejection from the layer on the exit side. The default is assumed [A]. The beam drives atoms of the entrance side into the sheet,
        not out of it.

    Raises
    ------
    UnknownNameError
        ``displacement_thresholds.py`` does not contain the compound.
    """
    compound = f"{metal}{chalcogen}2".lower()
    layer, core = layer or find_site(chalcogen, compound), core or find_site(metal, compound)
    loose = replace(layer, name=f"{compound}-loosened", displacement=layer.displacement - loosening, mark="A")
    jump = replace(layer, name=f"{compound}-migration", displacement=layer.displacement - migration, mark="A", excited=None)
    return (
        Process(name="eject-chalcogen", element=chalcogen, action="eject", site=layer, coordination=(3, 3), face="exit"),
        Process(name="eject-entrance", element=chalcogen, action="eject", site=layer, scale=entrance, coordination=(3, 3), face="entrance"),
        Process(name="eject-loosened", element=chalcogen, action="eject", site=loose, coordination=(1, 2)),
        Process(name="eject-metal", element=metal, action="eject", site=core),
        Process(
            name="migrate", element=chalcogen, action="exchange", site=jump, scale=1 / 6, rate=arrhenius(barrier, temperature), partner=EMPTY,
            link="jump", source="[A] one of six directions",
        ),
        Process(name="loose-chalcogen", element=chalcogen, action="eject", rate=LOOSE_RATE, coordination=(0, 0), source="[A] rate"),
        Process(name="loose-metal", element=metal, action="eject", rate=LOOSE_RATE, coordination=(0, 0), source="[A] rate"),
    )  # fmt: skip


def solid(element: str, full: int, *, bulk: Site | None = None, surface: Site | None = None) -> tuple[Process, ...]:
    """Return the loss processes of an element in a crystal: displacement in the bulk, sputtering from the exit face.

    Parameters
    ----------
    element : str
        Chemical symbol.
    full : int
        Number of bonds of an atom in the bulk.
    bulk, surface : Site, optional
        Thresholds; by default those of ``displacement_thresholds.py``.
    """
    bulk, surface = bulk or find_site(element, "bulk"), surface or find_site(element, "surface")
    return (
        Process(name=f"displace-{element}", element=element, action="eject", site=bulk, coordination=(full, 99)),
        Process(name=f"sputter-{element}", element=element, action="eject", site=surface, coordination=(0, full - 1), face="exit"),
    )


def putting_dune(current: float, *, rate: float = DUNE_RATE, dopant: str = "Si") -> tuple[Process, Density]:
    """Return the hop model of the published simulator putting-dune, as a process and the current density of the beam.

    In putting-dune, Si and a C neighbour change places at the rate k = rate exp(-abs(b - 0.85 d)^2 / (0.2 (1.42 A)^2)),
    where d and b are the positions of the neighbour and of the beam relative to Si. The returned process reproduces this
    rate. It uses the current density of a Gaussian probe at 0.85 of the way from Si to C, and a cross-section that yields
    ``rate`` at the peak of this density.

    Parameters
    ----------
    current : float
        Current to which ``rate`` belongs, pA; at other currents the rate is proportional to the current.
    rate : float
        Largest rate per neighbour, 1/s.
    dopant : str
        Symbol of the element that hops.

    Returns
    -------
    Process, Density
        Process and density, to be used together.
    """
    repair = "Give the current to which the rate belongs, in pA."
    current = checks.number("current", current, "pA", low=1e-6, high=1e9, repair=repair)
    sigma = math.sqrt(DUNE_VARIANCE) * BOND
    cross_section = rate * 2 * math.pi * sigma**2 / (current * ELECTRONS_PER_PICOAMPERE_SECOND)
    hop = Process(
        name="hop", element="C", action="exchange", cross_section=cross_section, partner=dopant, offset=DUNE_OFFSET, source="[V] google/putting-dune",
    )  # fmt: skip
    return hop, gaussian_density(sigma)
