"""Displacement thresholds and thermal velocities by element and site, their sources, and the resulting cross-sections.

Every value carries a mark: [V] read in the named source, [M] quoted from memory of the literature, [A] assumed, to be
replaced by a measured value. ``dataclasses.replace(find_site("C", "graphene"), displacement=22.0)`` returns a site with
another threshold, which every function of this package accepts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stemtwin.twin import checks
from stemtwin.twin.errors import SettingsError, UnknownNameError, suggestion
from stemtwin.twin.physics.dynamics import knockon
from stemtwin.twin.physics.dynamics.electronic_excitation import ExcitedState, Radiolysis
from stemtwin.twin.physics.dynamics.isotopes import SYMBOLS, isotopes, number_of
from stemtwin.twin.physics.dynamics.knockon import displacement_energy
from stemtwin.twin.physics.electrons import beam_energy
from stemtwin.twin.physics.phonons import debye_velocity2

MARKS = ("V", "M", "A")
ROOM = 300.0  # K
METRE2 = 1e20  # (A/s)^2 in 1 m^2/s^2


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Displacement parameters of an element on one kind of site.

    Parameters
    ----------
    element : str
        Chemical symbol.
    name : str
        Name of the site, for example ``"graphene"``, ``"graphene-edge"``, ``"bulk"`` or ``"surface"``.
    displacement : float
        Displacement threshold, eV.
    mark : {"V", "M", "A"}
        Confidence mark of the threshold: read in the source ("V"), quoted from memory ("M") or assumed ("A").
    source : str
        Source of the threshold.
    velocity2 : float, optional
        Mean square velocity along the beam at 300 K, (A/s)^2, of an atom whose mass is the natural mean.
    debye : float, optional
        Debye temperature for motion along the beam, K. It determines how ``velocity2`` changes with temperature. Without
        ``velocity2``, it also determines the mean square velocity itself.
    velocity_source : str
        Mark and source of ``velocity2`` or ``debye``.
    radiolysis : Radiolysis, optional
        Parameters of radiolysis; none by default.
    excited : ExcitedState, optional
        Parameters of knock-on in an excited state; none by default.

    Raises
    ------
    UnknownNameError
        The element is unknown.
    SettingsError
        A number is out of range.
    """

    element: str
    name: str
    displacement: float
    mark: str
    source: str
    velocity2: float | None = None
    debye: float | None = None
    velocity_source: str = ""
    radiolysis: Radiolysis | None = None
    excited: ExcitedState | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "element", SYMBOLS[number_of(self.element)])
        object.__setattr__(self, "displacement", displacement_energy(self.displacement))
        if self.mark not in MARKS:
            message = f"mark={self.mark!r} is not a confidence mark. "
            message += "Use V (read in the source), M (quoted from memory) or A (assumed)."
            raise SettingsError(message)
        if self.velocity2 is not None:
            checks.number_field(self, "velocity2", "(A/s)^2", low=0.0, high=1e28, repair="Graphene at 300 K has 3.2e25.")
        if self.debye is not None:
            checks.number_field(self, "debye", "K", low=10.0, high=5000.0, repair="Debye temperatures are 40 to 2300 K.")
        if self.excited is not None and self.excited.lowering >= self.displacement:
            message = f"lowering={self.excited.lowering:g} eV must be below the threshold of {self.displacement:g} eV. "
            message += "Give a smaller value."
            raise SettingsError(message)

    def velocity2_at(self, temperature: float = ROOM) -> float:
        """Return the mean square velocity along the beam, (A/s)^2, of an atom whose mass is the natural mean; 0 if unknown.

        Parameters
        ----------
        temperature : float
            Temperature of the specimen, K.

        Raises
        ------
        SettingsError
            The temperature is out of range, or the mean square velocity is known at 300 K only.
        """
        repair = "Give the specimen's temperature in K."
        temperature = checks.number("temperature", temperature, "K", low=0.0, high=5000.0, repair=repair)
        if self.debye is None:
            if self.velocity2 and temperature != ROOM:
                message = f"The mean square velocity of {self.element} in {self.name} is known at {ROOM:g} K only, "
                message += f"not at {temperature:g} K. Give debye, the Debye temperature in K."
                raise SettingsError(message)
            return self.velocity2 or 0.0
        mass = sum(m * part for m, part in isotopes(self.element))
        value = debye_velocity2(mass, self.debye, temperature)
        return value if self.velocity2 is None else self.velocity2 * value / debye_velocity2(mass, self.debye, ROOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossSection:
    """Cross-sections of one site, A^2 (1 barn = 1e-8 A^2), at one beam energy, eV."""

    energy: float
    static: float
    knock_on: float
    excited: float
    radiolysis: float

    @property
    def total(self) -> float:
        """Sum of ``knock_on`` (with thermal motion), ``excited`` (additional knock-on in excited states) and ``radiolysis``, A^2."""
        return self.knock_on + self.excited + self.radiolysis


def cross_sections(site: Site, energy: float, *, temperature: float = ROOM, model: str = "auto", mass: float | None = None) -> CrossSection:
    """Return the cross-sections of a site at one beam energy.

    Parameters
    ----------
    site : Site
        Site from :func:`find_site`, or any other.
    energy : float
        Beam energy, eV.
    temperature : float
        Temperature of the specimen, K.
    model : str
        Scattering formula; see :func:`knockon.cross_section`.
    mass : float, optional
        Mass of one isotope, u; by default the cross-sections are means over the natural isotopes.

    Raises
    ------
    SettingsError
        A number is out of range.
    """
    energy, velocity2 = beam_energy(energy), site.velocity2_at(temperature)
    if mass is not None and velocity2:
        velocity2 *= sum(m * part for m, part in isotopes(site.element)) / mass
    static = knockon.cross_section(site.element, energy, site.displacement, mass=mass, model=model)
    moving = knockon.cross_section(site.element, energy, site.displacement, mass=mass, velocity2=velocity2, model=model)
    excited = 0.0
    if site.excited is not None:
        lowered = knockon.cross_section(site.element, energy, site.displacement - site.excited.lowering, mass=mass, velocity2=velocity2, model=model)
        excited = site.excited.probability_at(energy) * (lowered - moving)
    radiolysis = site.radiolysis.cross_section(energy) if site.radiolysis else 0.0
    return CrossSection(energy=energy, static=static, knock_on=moving, excited=excited, radiolysis=radiolysis)


def find_site(element: str | int, site: str, sites: Sequence[Site] | None = None) -> Site:
    """Return the site of an element by its name, by default from :data:`SITES`.

    Raises
    ------
    UnknownNameError
        The element is unknown, or it has no site of that name; the message then suggests or lists its sites.
    """
    symbol, table = SYMBOLS[number_of(element)], SITES if sites is None else sites
    known = {entry.name: entry for entry in table if entry.element == symbol}
    if site in known:
        return known[site]
    message = f"There is no site {site!r} of {symbol}. {suggestion(site, known, listed=f'Known sites of {symbol}')}"
    raise UnknownNameError(message)


def surface_displacement(sublimation: float) -> float:
    """Return the displacement threshold of a surface atom, 5/3 of the sublimation energy, eV.

    The value assumes a planar escape potential. It lies between E_sub and 2 E_sub, where E_sub is the sublimation energy.
    Source: Egerton, McLeod, Wang, Malac, Ultramicroscopy 110 (2010) 991 ([V]: read in this source).

    Parameters
    ----------
    sublimation : float
        Sublimation energy per atom, eV.
    """
    repair = "Give the sublimation energy per atom, 1 to 9 eV."
    return 5 / 3 * checks.number("sublimation", sublimation, "eV", low=0.05, high=20.0, repair=repair)


_GRAPHENE = {"velocity2": 3.17e5 * METRE2, "debye": 1287.0, "velocity_source": "[M] Susi et al., Nat. Commun. 7 (2016) 13040"}
_KOMSA = "Komsa et al., Phys. Rev. Lett. 109 (2012) 035503 (computed)"
_HOBBS = "Hobbs, in: Introduction to Analytical Electron Microscopy (1987) 399"
_EGERTON = "5/3 of the sublimation energy: Egerton et al., Ultramicroscopy 110 (2010) 991; energies: Kittel, chapter 3, table 1"
_PONS = "Pons and Bourgoin, J. Phys. C 18 (1985) 3839"
_BRYANT = "Bryant, Cox and Webster, J. Phys. C 1 (1968) 1737"
_MEYER = "Meyer et al., Phys. Rev. Lett. 108 (2012) 196102; Susi et al., Nat. Commun. 7 (2016) 13040"
_ASTM = "ASTM E521, effective displacement energies"


def _layer(element: str, name: str, displacement: float, debye: float, source: str = _KOMSA, mark: str = "M", **terms: object) -> Site:
    """Return a site of a layered material with the velocity of Debye's model."""
    where = "[A] Debye temperature of the bulk"
    return Site(element=element, name=name, displacement=displacement, mark=mark, source=source, debye=debye, velocity_source=where, **terms)  # type: ignore[arg-type]


# element: bulk threshold (eV), its mark and source, sublimation energy (eV), Debye temperature (K: Kittel, chapter 5, table 1)
_SOLIDS = {
    "C": (80.0, "V", f"diamond: {_HOBBS}", 7.37, 2230.0), "Mg": (10.0, "M", "as quoted by Hobbs", 1.51, 400.0),
    "Al": (17.0, "V", _HOBBS, 3.39, 428.0), "Si": (13.0, "M", "Loferski and Rappaport, Phys. Rev. 111 (1958) 432", 4.63, 645.0),
    "Ti": (30.0, "M", _ASTM, 4.85, 420.0),
    "V": (40.0, "M", _ASTM, 5.31, 380.0), "Cr": (40.0, "M", _ASTM, 4.10, 630.0), "Fe": (40.0, "M", _ASTM, 4.28, 470.0),
    "Co": (40.0, "M", _ASTM, 4.39, 445.0), "Ni": (40.0, "M", _ASTM, 4.44, 450.0), "Cu": (20.0, "V", _HOBBS, 3.49, 343.0),
    "Ge": (15.0, "M", "Loferski and Rappaport, Phys. Rev. 111 (1958) 432", 3.85, 374.0), "Zr": (40.0, "M", _ASTM, 6.25, 291.0),
    "Nb": (40.0, "M", _ASTM, 7.57, 275.0), "Mo": (60.0, "M", _ASTM, 6.82, 450.0), "Pd": (41.0, "M", "as quoted by Hobbs", 3.89, 274.0),
    "Ag": (39.0, "M", "as quoted by Hobbs", 2.95, 225.0), "Ta": (90.0, "M", _ASTM, 8.10, 240.0), "W": (90.0, "M", _ASTM, 8.90, 400.0),
    "Pt": (44.0, "M", "as quoted by Hobbs", 5.84, 240.0), "Au": (34.0, "V", _HOBBS, 3.81, 165.0), "Pb": (25.0, "M", _ASTM, 2.03, 105.0),
}  # fmt: skip
_DEBYE = "[M] Debye temperature: Kittel, chapter 5, table 1"


def _solids() -> Iterable[Site]:
    for element, (bulk, mark, source, sublimation, debye) in _SOLIDS.items():
        yield Site(element=element, name="bulk", displacement=bulk, mark=mark, source=source, debye=debye, velocity_source=_DEBYE)
        yield Site(
            element=element,
            name="surface",
            displacement=surface_displacement(sublimation),
            mark="M",
            source=_EGERTON,
            debye=debye,
            velocity_source=_DEBYE,
        )


def _perovskites() -> Iterable[Site]:
    """Yield the sites of SrTiO3, and of other perovskites by analogy: A site, B site, oxygen."""
    smith = "Smith et al., J. Am. Ceram. Soc. 86 (2003) 1459"
    kin = {"srtio3": ("Sr", "Ti"), "batio3": ("Ba", "Ti"), "pbtio3": ("Pb", "Ti"), "lafeo3": ("La", "Fe"), "lasrfeo3": ("La", "Sr", "Fe")}
    for compound, metals in kin.items():
        known = compound == "srtio3"
        mark, source, moving = ("M", smith, "[M] Debye temperature") if known else ("A", f"as in SrTiO3: {smith}", "[A] Debye temperature of SrTiO3")
        values = [(metal, 70.0) for metal in metals[:-1]] + [(metals[-1], 140.0), ("O", 45.0)]
        for element, displacement in values:
            yield Site(
                element=element, name=compound, displacement=displacement, mark=mark, source=source, debye=513.0, velocity_source=moving
            )  # fmt: skip


SITES: tuple[Site, ...] = (
    Site(element="C", name="graphene", displacement=21.14, mark="M", source=_MEYER, **_GRAPHENE),
    Site(
        element="C",
        name="graphene-edge",
        displacement=15.0,
        mark="M",
        source="between 12 and 17 eV: Kotakoski et al., ACS Nano 6 (2012) 671",
        **_GRAPHENE,
    ),
    Site(element="C", name="graphene-vacancy", displacement=14.5, mark="M", source="Zobelli et al., Phys. Rev. B 75 (2007) 245402", **_GRAPHENE),
    Site(
        element="C",
        name="graphene-si",
        displacement=13.85,
        mark="A",
        source="exchange with a Si neighbour, 0.05 barn at 60 kV: google/putting-dune; as for P, Su et al., Sci. Adv. 5 (2019) eaav2252",
        **_GRAPHENE,
    ),
    Site(
        element="C",
        name="graphene-si-computed",
        displacement=14.8,
        mark="M",
        source="exchange with a Si neighbour, 14.8 to 15 eV, computed: Susi et al., Phys. Rev. Lett. 113 (2014) 115501",
        **_GRAPHENE,
    ),
    Site(
        element="C",
        name="graphene-rotation",
        displacement=19.0,
        mark="A",
        source="a bond rotates at a lower energy than its atoms are lost, 18 to 21 eV",
        **_GRAPHENE,
    ),
    Site(
        element="Si",
        name="graphene",
        displacement=13.3,
        mark="A",
        source="set so that Si is never ejected at 60 kV, as observed",
        debye=600.0,
        velocity_source="[A] Debye temperature",
    ),
    Site(
        element="N",
        name="graphene",
        displacement=19.1,
        mark="M",
        source="Susi et al., ACS Nano 6 (2012) 8837",
        debye=1287.0,
        velocity_source="[A] Debye temperature of graphene",
    ),
    Site(
        element="B",
        name="graphene",
        displacement=19.6,
        mark="A",
        source="computed values are close to that of C",
        debye=1287.0,
        velocity_source="[A] Debye temperature of graphene",
    ),
    Site(
        element="B",
        name="hbn",
        displacement=19.36,
        mark="M",
        source="Kotakoski et al., Phys. Rev. B 82 (2010) 113404",
        debye=1300.0,
        velocity_source="[A] Debye temperature of graphene",
    ),
    Site(
        element="N",
        name="hbn",
        displacement=23.06,
        mark="M",
        source="Kotakoski et al., Phys. Rev. B 82 (2010) 113404",
        debye=1300.0,
        velocity_source="[A] Debye temperature of graphene",
    ),
    Site(element="C", name="graphite", displacement=30.0, mark="V", source=_HOBBS, debye=1287.0, velocity_source="[A] Debye temperature of graphene"),
    # [A]: the parameters of the excited state, to be fitted to measured rates
    _layer("S", "mos2", 6.9, 580.0, excited=ExcitedState(lowering=2.0, probability=0.01)),
    _layer(
        "S",
        "mos2-vacancy",
        6.5,
        580.0,
        f"slightly below that of the perfect layer; {_KOMSA}",
        "A",
        excited=ExcitedState(lowering=2.0, probability=0.01),
    ),
    _layer("Mo", "mos2", 20.0, 450.0),
    _layer("S", "ws2", 7.0, 530.0),
    _layer("W", "ws2", 26.0, 400.0),
    _layer("Se", "mose2", 6.4, 440.0),
    _layer("Mo", "mose2", 20.0, 450.0),
    _layer("Se", "wse2", 6.8, 420.0),
    _layer("W", "wse2", 26.0, 400.0),
    _layer("Te", "mote2", 5.9, 300.0),
    _layer("Mo", "mote2", 20.0, 450.0),
    *_perovskites(),
    Site(
        element="Mg",
        name="mgo",
        displacement=55.0,
        mark="M",
        source="Zinkle and Kinoshita, J. Nucl. Mater. 251 (1997) 200",
        debye=946.0,
        velocity_source="[M] Debye temperature",
    ),
    Site(
        element="O",
        name="mgo",
        displacement=55.0,
        mark="M",
        source="Zinkle and Kinoshita, J. Nucl. Mater. 251 (1997) 200",
        debye=946.0,
        velocity_source="[M] Debye temperature",
    ),
    Site(
        element="O",
        name="sio2",
        displacement=28.0,
        mark="A",
        source="knock-on does not limit the dose on quartz",
        debye=470.0,
        velocity_source="[A] Debye temperature",
        radiolysis=Radiolysis(loss=10.0, electrons=6.0, efficiency=1e-4),  # [A] order of magnitude by Hobbs for quartz
    ),
    Site(element="Ga", name="gaas", displacement=10.0, mark="M", source=_PONS, debye=344.0, velocity_source="[M] Debye temperature"),
    Site(element="As", name="gaas", displacement=10.0, mark="M", source=_PONS, debye=344.0, velocity_source="[M] Debye temperature"),
    Site(element="Cd", name="cdte", displacement=5.6, mark="M", source=_BRYANT, debye=158.0, velocity_source="[M] Debye temperature"),
    Site(element="Te", name="cdte", displacement=7.8, mark="M", source=_BRYANT, debye=158.0, velocity_source="[M] Debye temperature"),
    *_solids(),
)
"""Known sites. All parameters of excited states and radiolysis are [A]: orders of magnitude, to be replaced by measured
values."""
