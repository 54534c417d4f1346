"""Perovskite oxides without polarisation: SrTiO3, LaFeO3, (La,Sr)FeO3."""

from typing import Annotated

import numpy as np

from stemtwin.twin.samples.defects import remove, share, sites, substitute
from stemtwin.twin.samples.sample import Sample
from stemtwin.twin.samples.sample_families import BuildRequest, Sites, fraction, rms, specimen

NoOxygen = Annotated[float, fraction("fraction of the oxygen sites that are empty, V_O")]
NoCation = Annotated[float, fraction("fraction of the A sites (Sr, La) that are empty")]
Strontium = Annotated[float, fraction("fraction x of the lanthanum sites that hold strontium, drawn by the seed")]


def cubic(a_site: str, b_site: str) -> Sites:
    """Return the sites of a cubic perovskite with the A site at the origin."""
    return (
        (a_site, (0.0, 0.0, 0.0)),
        (b_site, (0.5, 0.5, 0.5)),
        ("O", (0.5, 0.5, 0.0)),
        ("O", (0.5, 0.0, 0.5)),
        ("O", (0.0, 0.5, 0.5)),
    )


def with_vacancies(sample: Sample, order: BuildRequest, cations: tuple[str, ...], oxygen: float, cation: float) -> Sample:
    """Return an oxide with oxygen and cation vacancies, given as fractions of the oxygen sites and of the A sites."""
    gone = share(sites(sample, "O"), oxygen, order.rng("oxygen-vacancies"))
    also = share(sites(sample, *cations), cation, order.rng("cation-vacancies"))
    return remove(sample, np.concatenate([gone, also]))


_SRTIO3 = {
    "sigma": {"Sr": np.sqrt(0.00787).item(), "Ti": np.sqrt(0.00557).item(), "O": np.sqrt(0.009275).item()},
    "lattice_source": "Pm-3m, a = 3.905 A at room temperature: JCPDS 35-0734",
    "thermal_source": (
        "<u^2> Sr 0.00787, Ti 0.00557, O 0.009275 A^2: muSTEM 5.3, Tutorial/SrTiO3.xtl (L. J. Allen et al., Ultramicroscopy 151 (2015) 11)"
    ),
}


@specimen("srtio3-001", "crystal", "perovskite", title="strontium titanate along [001]", **_SRTIO3)
def srtio3_001(order: BuildRequest, *, oxygen_vacancy_fraction: NoOxygen = 0.0, cation_vacancy_fraction: NoCation = 0.0) -> Sample:
    """Return SrTiO3 [001], with Sr columns at the corners of the cell and Ti-O columns in the middle."""
    sample = order.crystal((3.905, 3.905, 3.905), cubic("Sr", "Ti"))
    return with_vacancies(sample, order, ("Sr",), oxygen_vacancy_fraction, cation_vacancy_fraction)


@specimen("srtio3-110", "crystal", "perovskite", title="strontium titanate along [110]", **_SRTIO3)
def srtio3_110(order: BuildRequest, *, oxygen_vacancy_fraction: NoOxygen = 0.0, cation_vacancy_fraction: NoCation = 0.0) -> Sample:
    """Return SrTiO3 [110]; the columns are Sr-O, Ti and O, and the x axis is the cubic [001] direction."""
    sample = order.crystal((3.905, 3.905, 3.905), cubic("Sr", "Ti"), zone_axis=(1, 1, 0))
    return with_vacancies(sample, order, ("Sr",), oxygen_vacancy_fraction, cation_vacancy_fraction)


# General positions of the space group Pbnm, as in the International Tables.
_PBNM = (
    ((1, 1, 1), (0, 0, 0)),
    ((-1, 1, -1), (0.5, 0.5, 0.5)),
    ((-1, -1, 1), (0, 0, 0.5)),
    ((1, -1, -1), (0.5, 0.5, 0)),
    ((-1, -1, -1), (0, 0, 0)),
    ((1, -1, 1), (0.5, 0.5, 0.5)),
    ((1, 1, -1), (0, 0, 0.5)),
    ((-1, 1, 1), (0.5, 0.5, 0)),
)
_LAFEO3 = (("La", (-0.0072, 0.0290, 0.25)), ("Fe", (0.0, 0.5, 0.0)), ("O", (0.0720, 0.4870, 0.25)), ("O", (-0.2820, 0.2820, 0.0390)))


def _pbnm(asymmetric: Sites) -> Sites:
    """Return all sites of a cell of the space group Pbnm."""
    found = []
    for symbol, place in asymmetric:
        orbit = np.array([np.multiply(signs, place) + shift for signs, shift in _PBNM]) % 1.0
        orbit = np.unique(np.round(orbit, 6) % 1.0, axis=0)
        found += [(symbol, tuple(one)) for one in orbit.tolist()]
    return tuple(found)


@specimen(
    "lafeo3-001",
    "crystal",
    "perovskite",
    title="lanthanum ferrite, orthorhombic, along [001]: tilted octahedra, shifted lanthanum",
    sigma={"La": rms(0.55), "Fe": rms(0.40), "O": rms(0.70)},
    lattice_source=(
        "Pbnm, a = 5.557, b = 5.5652, c = 7.8542 A at room temperature: M. Marezio, P. D. Dernier, Materials Research Bulletin 6 (1971) 23; "
        "coordinates to 0.001, Fe-O 2.005 A and Fe-O-Fe 157 degrees"
    ),
    thermal_source="B La 0.55, Fe 0.40, O 0.70 A^2: typical of refinements of orthoferrites at room temperature, rounded, +-25 %",
)
def lafeo3_001(order: BuildRequest, *, oxygen_vacancy_fraction: NoOxygen = 0.0, cation_vacancy_fraction: NoCation = 0.0) -> Sample:
    """Return LaFeO3 along the axis of the in-phase octahedral tilt."""
    sample = order.crystal((5.557, 5.5652, 7.8542), _pbnm(_LAFEO3))
    return with_vacancies(sample, order, ("La",), oxygen_vacancy_fraction, cation_vacancy_fraction)


@specimen(
    "lasrfeo3-001",
    "crystal",
    "perovskite",
    title="La(1-x)Sr(x)FeO3, pseudo-cubic, along [001]; lanthanum and strontium at random",
    sigma={"La": rms(0.60), "Sr": rms(0.60), "Fe": rms(0.45), "O": rms(0.90)},
    lattice_source=(
        "pseudo-cubic a = 3.930 - 0.075 x A (Vegard) from LaFeO3, (V/4)^(1/3) = 3.930 A (M. Marezio, P. D. Dernier, Materials Research Bulletin 6 "
        "(1971) 23), to cubic SrFeO3, 3.855 A; a model: the octahedra, which tilt less and less up to x = 0.7, are not tilted at all"
    ),
    thermal_source="B La, Sr 0.60, Fe 0.45, O 0.90 A^2: typical of refinements of ferrites at room temperature, rounded, +-25 %",
)
def lasrfeo3_001(
    order: BuildRequest, *, strontium_fraction: Strontium = 0.3, oxygen_vacancy_fraction: NoOxygen = 0.0, cation_vacancy_fraction: NoCation = 0.0
) -> Sample:
    """Return (La,Sr)FeO3 with lanthanum and strontium drawn at random on the A sites."""
    a = 3.930 - 0.075 * strontium_fraction
    sample = order.crystal((a, a, a), cubic("La", "Fe"))
    drawn = share(sites(sample, "La"), strontium_fraction, order.rng("strontium"))
    sample = substitute(sample, drawn, "Sr", sigma_angstrom=order.sigma["Sr"])
    return with_vacancies(sample, order, ("La", "Sr"), oxygen_vacancy_fraction, cation_vacancy_fraction)
