"""Single 1H layers of transition metal dichalcogenides, with vacancies, as alloys and as Janus layers."""

from collections.abc import Callable
from typing import Annotated

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.defects import SIDES, displace, remove, share, sites, substitute
from stemtwin.twin.samples.graphene import VACUUM_CELL
from stemtwin.twin.samples.sample import Sample
from stemtwin.twin.samples.sample_families import BuildRequest, Knob, fraction, specimen

METALS, CHALCOGENS = ("Mo", "W"), ("S", "Se", "Te")
# Lattice constant a and X-X distance across the layer, A. WTe2 has no 1H crystal: its numbers are computed and rounded.
LAYERS = {
    ("Mo", "S"): (3.16, 3.17),
    ("W", "S"): (3.153, 3.14),
    ("Mo", "Se"): (3.289, 3.34),
    ("W", "Se"): (3.282, 3.34),
    ("Mo", "Te"): (3.519, 3.61),
    ("W", "Te"): (3.55, 3.62),
}
_BRONSEMA = "K. D. Bronsema, J. L. de Boer, F. Jellinek, Z. anorg. allg. Chem. 540 (1986) 15"
_SCHUTTE = "W. J. Schutte, J. L. de Boer, F. Jellinek, J. Solid State Chem. 70 (1987) 207"
_SOURCES = {
    ("Mo", "S"): ("molybdenum disulphide", _BRONSEMA),
    ("W", "S"): ("tungsten disulphide", _SCHUTTE),
    ("Mo", "Se"): ("molybdenum diselenide", _BRONSEMA),
    ("W", "Se"): ("tungsten diselenide", _SCHUTTE),
    ("Mo", "Te"): ("molybdenum ditelluride", "D. Puotinen, R. E. Newnham, Acta Cryst. 14 (1961) 691"),
}
_SIGMA = {"Mo": 0.06, "W": 0.055, "S": 0.075, "Se": 0.07, "Te": 0.075}

OneX = Annotated[float, fraction("fraction of the chalcogen sites that are empty, one by one: V_X")]
TwoX = Annotated[float, fraction("fraction of the chalcogen columns that are empty, both atoms: V_2X")]
NoMetal = Annotated[float, fraction("fraction of the metal sites that are empty: V_M")]
MetalShare = Annotated[float, fraction("fraction of the metal sites that hold the other metal: W in Mo layers, Mo in W layers")]
ChalcogenShare = Annotated[float, fraction("fraction of the chalcogen sites on `side` that hold `chalcogen`; 1 on one side gives a Janus layer")]
Chalcogen = Annotated[str, Knob(about="element of chalcogen_fraction", choices=("other", *CHALCOGENS))]
Side = Annotated[str, Knob(about="side of the layer for chalcogen_fraction", choices=SIDES)]


def half_height(metal: str, chalcogen: str, a: float) -> float:
    """Return the height of a chalcogen above the metal plane (A) in a layer with the lattice constant ``a``, A.

    The metal-chalcogen bonds are as long as in the pure compound of the two elements.
    """
    own, across = LAYERS[metal, chalcogen]
    bond_squared = own**2 / 3 + across**2 / 4
    return float(np.sqrt(bond_squared - a**2 / 3))


def _make(
    metal: str,
    native: str,
    order: BuildRequest,
    *,
    vacancy_fraction: float,
    column_vacancy_fraction: float,
    metal_vacancy_fraction: float,
    metal_fraction: float,
    chalcogen_fraction: float,
    chalcogen: str,
    side: str,
) -> Sample:
    """Return a layer with its substitutions and then its vacancies."""
    other_metal = METALS[1 - METALS.index(metal)]
    guest = chalcogen if chalcogen != "other" else CHALCOGENS[1] if native == "S" else CHALCOGENS[0]
    if guest == native and chalcogen_fraction > 0:
        others = ", ".join(x for x in CHALCOGENS if x != native)
        message = f"chalcogen={guest!r} is the chalcogen of {order.name} itself. Choose one of {others}."
        raise SettingsError(message)
    mixed = chalcogen_fraction * (0.5 if side != "both" else 1.0)
    a, across = LAYERS[metal, native]
    if metal_fraction or mixed:  # Vegard's law
        weights = [
            (one, x, (metal_fraction if one == other_metal else 1 - metal_fraction) * (mixed if x == guest else 1 - mixed))
            for one in METALS
            for x in (native, guest)
        ]
        a = sum(LAYERS[one, x][0] * weight for one, x, weight in weights)
        across = 2 * half_height(metal, native, a)
    up = across / 2 / VACUUM_CELL
    places = ((metal, (1 / 3, 2 / 3, 0.5)), (native, (2 / 3, 1 / 3, 0.5 - up)), (native, (2 / 3, 1 / 3, 0.5 + up)))
    sample = order.crystal((a, a, VACUUM_CELL), places, angles_deg=(90.0, 90.0, 120.0))
    if metal_fraction or chalcogen_fraction:
        sample = _alloyed(sample, order, metal, native, other_metal, guest, metal_fraction, chalcogen_fraction, side, a)
    return _with_vacancies(sample, order, vacancy_fraction, column_vacancy_fraction, metal_vacancy_fraction)


def _alloyed(
    sample: Sample,
    order: BuildRequest,
    metal: str,
    native: str,
    other_metal: str,
    guest: str,
    metal_fraction: float,
    chalcogen_fraction: float,
    side: str,
    a: float,
) -> Sample:
    """Return a layer with metals and chalcogens substituted, each guest chalcogen at the height of its own compound."""
    drawn = share(sites(sample, metal), metal_fraction, order.rng("metal"))
    sample = substitute(sample, drawn, other_metal, sigma_angstrom=order.sigma[other_metal])
    if chalcogen_fraction == 0:
        return sample
    drawn = share(sites(sample, native, side=side), chalcogen_fraction, order.rng("chalcogen"))
    rise = half_height(metal, guest, a) - half_height(metal, native, a)
    middle = sample.thickness_angstrom / 2
    outward = np.sign(sample.positions_angstrom[drawn, 2] - middle)
    room = min(sample.positions_angstrom[:, 2].min(), sample.thickness_angstrom - sample.positions_angstrom[:, 2].max())
    if rise >= room:
        message = (
            f"thickness_angstrom={sample.thickness_angstrom:g} cannot hold {guest}, which lies {rise:.2f} A further from the metal "
            f"plane than {native}. Omit thickness_angstrom."
        )
        raise SettingsError(message)
    sample = displace(sample, drawn, np.outer(outward * rise, [0.0, 0.0, 1.0]))
    return substitute(sample, drawn, guest, sigma_angstrom=order.sigma[guest])


def _with_vacancies(sample: Sample, order: BuildRequest, single: float, column: float, metal: float) -> Sample:
    """Return a layer without given fractions of single chalcogens, chalcogen columns and metals."""
    from scipy.spatial import cKDTree

    if single == column == metal == 0:
        return sample
    entrance = sites(sample, *CHALCOGENS, side="entrance")
    exit_side = sites(sample, *CHALCOGENS, side="exit")
    box, places = (sample.size_angstrom[1], sample.size_angstrom[0]), sample.positions_angstrom[:, :2]
    partner = exit_side[cKDTree(places[exit_side], boxsize=box).query(places[entrance])[1]]
    columns = share(np.column_stack([entrance, partner]), column, order.rng("columns"))
    left = np.setdiff1d(np.concatenate([entrance, exit_side]), columns)
    singles = share(left, single, order.rng("vacancies"))
    gone = share(sites(sample, *METALS), metal, order.rng("metal-vacancies"))
    kept = np.arange(len(sample))  # original indices of the remaining atoms, which keep their order
    for rows in (columns, singles[:, None], gone[:, None]):
        sample = remove(sample, np.searchsorted(kept, rows))
        kept = np.setdiff1d(kept, rows)
    return sample


def _layer(metal: str, native: str) -> Callable[..., Sample]:
    a, across = LAYERS[metal, native]
    name, source = _SOURCES[metal, native]

    @specimen(
        f"{metal}{native}2-1h".lower(),
        "sheet",
        "2d",
        title=f"{name}, one 1H layer; vacancies, alloys, Janus",
        sigma=_SIGMA,
        lattice_source=f"layer of 2H-{metal}{native}2: a = {a:.3f} A, {native}-{native} distance across the layer {across:.2f} A: {source}",
        thermal_source="Mo 0.06, W 0.055, S 0.075, Se 0.07, Te 0.075 A: room-temperature values as used in image simulation, rounded, +-0.01 A",
    )
    def make(
        order: BuildRequest,
        *,
        vacancy_fraction: OneX = 0.0,
        column_vacancy_fraction: TwoX = 0.0,
        metal_vacancy_fraction: NoMetal = 0.0,
        metal_fraction: MetalShare = 0.0,
        chalcogen_fraction: ChalcogenShare = 0.0,
        chalcogen: Chalcogen = "other",
        side: Side = "both",
    ) -> Sample:
        """Return one 1H layer with its vacancies and substitutions."""
        return _make(
            metal,
            native,
            order,
            vacancy_fraction=vacancy_fraction,
            column_vacancy_fraction=column_vacancy_fraction,
            metal_vacancy_fraction=metal_vacancy_fraction,
            metal_fraction=metal_fraction,
            chalcogen_fraction=chalcogen_fraction,
            chalcogen=chalcogen,
            side=side,
        )

    return make


for _metal, _native in _SOURCES:
    _layer(_metal, _native)
