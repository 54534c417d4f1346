"""Sets of processes for specimens that are studied under the beam. Every number is a parameter; marks as in ``sites.py``."""

import math
from dataclasses import replace

from stemtwin.twin import checks
from stemtwin.twin.physics.dynamics.current_density import Density, gaussian_density
from stemtwin.twin.physics.dynamics.displacement_thresholds import ROOM, Site, find_site
from stemtwin.twin.physics.dynamics.knockon import BARN
from stemtwin.twin.physics.dynamics.processes import EMPTY, Process, arrhenius
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND

DUNE_RATE = math.log(2) / 3
"""Largest rate for each neighbour in the simulator of putting-dune, 1/s [V]: google/putting-dune, constants.py."""
DUNE_OFFSET, DUNE_VARIANCE = 0.85, 0.1
"""Position of the largest rate, in bonds from Si, and its variance, in bonds^2 [V]: google/putting-dune, graphene.py."""
_SU = "[A] as measured of P: Su et al., Sci. Adv. 5 (2019) eaav2252, table 1"
BOND = 1.42
"""C-C bond of graphene, A."""
LOOSE_RATE = 1e3
"""Rate at which an atom without bonds, or with one where three belong, is gone, 1/s [A]: at once on the scale of an image."""


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
    """Return the processes in graphene with a dopant: ejection, growth of holes, bonds that turn, hops of the dopant and what competes with them.

    Parameters
    ----------
    bulk, edge, hop, rotation : Site, optional
        Thresholds of C: with three bonds, with two, beside a dopant, for turning a bond; by default those of ``sites.py``. That of the hop is an
        effective one, which gives the rate that is observed at 60 kV; ``find_site("C", "graphene-si-computed")`` is the computed one, 20 times rarer.
    rotate_back : float
        Threshold for turning a turned bond back, eV [A]: it is strained, and so turns more easily.
    dopant : str
        Si, or another element.
    replacement : float
        Cross-section for a C adatom to take the dopant's place, A^2 [A]: what was measured for P at 60 kV, 0.07 +- 0.02 barn (``_SU``).
    dopant_vacancy : float
        Cross-section for losing a C neighbour of the dopant, A^2 [A]: what was measured for P at 60 kV, 0.010 +- 0.003 barn (``_SU``).
    healing : float
        Rate at which an empty site with three bonds is filled with C, 1/s: adatoms; 0 in a clean vacuum.
    """
    bulk, edge = bulk or find_site("C", "graphene"), edge or find_site("C", "graphene-edge")
    hop, rotation = hop or find_site("C", "graphene-si"), rotation or find_site("C", "graphene-rotation")
    back = Site(element="C", name="graphene-rotated", displacement=rotate_back, mark="A", source="strained bond", velocity2=rotation.velocity2)
    third = 1 / 3  # one of three bonds
    full = (3, 99)
    return (
        Process(name="eject-bulk", element="C", action="eject", site=bulk, coordination=full, apart_from=dopant),
        Process(name="eject-edge", element="C", action="eject", site=edge, coordination=(2, 2)),
        Process(name="loose", element="C", action="eject", rate=LOOSE_RATE, coordination=(0, 1), source="[A]"),
        Process(
            name="rotate-bond", element="C", action="rotate", site=rotation, scale=third, coordination=(3, 3), label=0,
            partner="C", partner_coordination=(3, 3), partner_label=0, product_label=1, source="[A]",
        ),
        Process(
            name="rotate-back", element="C", action="rotate", site=back, scale=third, coordination=(3, 3), label=1,
            partner="C", partner_coordination=(3, 3), partner_label=1, product_label=0, source="[A]",
        ),
        Process(
            name="hop", element="C", action="exchange", site=hop, partner=dopant, partner_coordination=(3, 3),
            source="the C neighbour that is hit changes places with the dopant: Susi et al., Phys. Rev. Lett. 113 (2014) 115501",
        ),
        Process(
            name="eject-beside-dopant", element="C", action="eject", cross_section=dopant_vacancy, beside=dopant, coordination=full, source=_SU,
        ),
        Process(name="replace-dopant", element=dopant, action="become", cross_section=replacement, product="C", coordination=full, source=_SU),
        Process(name="heal", element=EMPTY, action="become", rate=healing, product="C", coordination=full, product_label=0, source="[A]"),
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
    """Return the processes in a layer such as MoS2: loss of chalcogen, vacancies that move, loss of metal.

    Parameters
    ----------
    metal, chalcogen : str
        Mo or W; S, Se or Te.
    layer, core : Site, optional
        Thresholds of chalcogen and metal; by default those of ``sites.py`` for the compound.
    loosening : float
        By how much the threshold of a chalcogen atom that has lost a metal neighbour is lower, eV [A].
    migration : float
        By how much the threshold for a jump into an empty site beside it in the same layer is lower than for loss, eV [A].
    barrier : float
        Of the thermal jump, eV [M]: Komsa et al., Phys. Rev. B 88 (2013) 035301, for MoS2.
    temperature : float
        Of the specimen, K, for the thermal jump.
    entrance : float
        Cross-section of the layer that the beam meets first relative to the one behind, [A]: its atoms are driven into the sheet, not out of it.

    Raises
    ------
    UnknownNameError
        There is no such compound in ``sites.py``.
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
        Process(name="loose-chalcogen", element=chalcogen, action="eject", rate=LOOSE_RATE, coordination=(0, 0), source="[A]"),
        Process(name="loose-metal", element=metal, action="eject", rate=LOOSE_RATE, coordination=(0, 0), source="[A]"),
    )  # fmt: skip


def solid(element: str, full: int, *, bulk: Site | None = None, surface: Site | None = None) -> tuple[Process, ...]:
    """Return the loss of an element's atoms from a crystal: from anywhere, and more easily from the exit face.

    Parameters
    ----------
    element : str
        Chemical symbol.
    full : int
        Bonds of an atom inside.
    bulk, surface : Site, optional
        Thresholds; by default those of ``sites.py``.
    """
    bulk, surface = bulk or find_site(element, "bulk"), surface or find_site(element, "surface")
    return (
        Process(name=f"displace-{element}", element=element, action="eject", site=bulk, coordination=(full, 99)),
        Process(name=f"sputter-{element}", element=element, action="eject", site=surface, coordination=(0, full - 1), face="exit"),
    )


def putting_dune(current: float, *, rate: float = DUNE_RATE, dopant: str = "Si") -> tuple[Process, Density]:
    """Return the hop of the published simulator putting-dune as a process and a beam.

    Its rate for each C neighbour at d from Si is k = rate exp(-|b - 0.85 d|^2 / (2 0.1 (1.42 A)^2)) for a beam at b: the current of a Gaussian
    probe counts at 0.85 of the bond, with the cross-section that gives ``rate`` at the density's peak.

    Parameters
    ----------
    current : float
        pA for which the rate holds; at another current it is proportional.
    rate : float
        Largest rate for each neighbour, 1/s.
    dopant : str
        The element that hops.

    Returns
    -------
    Process, Density
        To be used together.
    """
    repair = "Give the current for which the rate holds, in pA."
    current = checks.number("current", current, "pA", low=1e-6, high=1e9, repair=repair)
    sigma = math.sqrt(DUNE_VARIANCE) * BOND
    cross_section = rate * 2 * math.pi * sigma**2 / (current * ELECTRONS_PER_PICOAMPERE_SECOND)
    hop = Process(
        name="hop", element="C", action="exchange", cross_section=cross_section, partner=dopant, offset=DUNE_OFFSET, source="[V] google/putting-dune",
    )  # fmt: skip
    return hop, gaussian_density(sigma)
