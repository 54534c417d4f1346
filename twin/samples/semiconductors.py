"""Diamond and zinc-blende crystals: Si, Ge, GaAs, CdTe, and strained SiGe layers in silicon."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.defects import remove, share, sites, substitute
from stemtwin.twin.samples.sample import Defect, Sample
from stemtwin.twin.samples.sample_families import PENG, BuildRequest, Knob, Sites, fraction, rms, specimen

FCC = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
AXES = {"001": (0, 0, 1), "110": (1, 1, 0)}
MULTILAYER_SIZE = 65.172  # A, default width of the multilayer: twelve cells of silicon
MissingInSemiconductor = Annotated[float, fraction("fraction of the atoms that are missing")]
Antisite = Annotated[float, fraction("fraction of the cation sites that hold an anion")]
Germanium = Annotated[float, fraction("fraction of germanium in the layer, drawn by the seed")]
Layer = Annotated[float, Knob(about="fraction of the width that is the SiGe layer, to the nearest cell", low=0.05, high=0.95)]


def zinc_blende(first: str, second: str) -> Sites:
    """Return the sites of a zinc-blende cell, which is a diamond cell if both elements are the same."""
    return tuple((symbol, (x + shift, y + shift, z + shift)) for x, y, z in FCC for symbol, shift in ((first, 0.0), (second, 0.25)))


_GERMANIUM = f"B = 0.573 A^2 at 280 K: {PENG}"
_ELEMENTS = {
    "si": (
        "silicon",
        "Si",
        5.431,
        {"Si": rms(0.463)},
        "Fd-3m, a = 5.431020511(89) A at 22.5 C: CODATA 2018",
        f"B = 0.463 A^2 at 280 K: {PENG}",
    ),
    "ge": ("germanium", "Ge", 5.658, {"Ge": rms(0.573)}, "Fd-3m, a = 5.6576 A at 25 C: JCPDS 04-0545 (NBS Circular 539-1 (1953) 18)", _GERMANIUM),
}
_VIEW = {"110": ", the dumbbells", "001": ""}


def _element(key: str, axis: str) -> Callable[..., Sample]:
    title, symbol, a, sigma, lattice, thermal = _ELEMENTS[key]

    @specimen(
        f"{key}-{axis}",
        "crystal",
        "semiconductor",
        title=f"{title} along [{axis}]{_VIEW[axis]}",
        sigma=sigma,
        lattice_source=lattice,
        thermal_source=thermal,
    )
    def make(order: BuildRequest, *, vacancy_fraction: MissingInSemiconductor = 0.0) -> Sample:
        sample = order.crystal((a, a, a), zinc_blende(symbol, symbol), zone_axis=AXES[axis])
        return remove(sample, share(sites(sample), vacancy_fraction, order.rng("vacancies")))

    return make


for _key, _axis in (("si", "110"), ("si", "001"), ("ge", "110")):
    _element(_key, _axis)


def _compound(order: BuildRequest, a: float, cation: str, anion: str, vacancy_fraction: float, antisite_fraction: float) -> Sample:
    """Return a zinc-blende compound along [110], with antisites (anions on cation sites) and vacancies."""
    sample = order.crystal((a, a, a), zinc_blende(cation, anion), zone_axis=(1, 1, 0))
    wrong = share(sites(sample, cation), antisite_fraction, order.rng("antisites"))
    sample = substitute(sample, wrong, anion, sigma_angstrom=order.sigma[anion])
    return remove(sample, share(sites(sample), vacancy_fraction, order.rng("vacancies")))


@specimen(
    "gaas-110",
    "crystal",
    "semiconductor",
    title="gallium arsenide along [110], the polar dumbbells",
    sigma={"Ga": rms(0.65), "As": rms(0.55)},
    lattice_source="F-43m, a = 5.6533 A at 300 K: I. Vurgaftman, J. R. Meyer, L. R. Ram-Mohan, J. Appl. Phys. 89 (2001) 5815",
    thermal_source="B Ga 0.65, As 0.55 A^2 near 300 K, rounded, +-10 %: models compared by J. S. Reid, Acta Cryst. A39 (1983) 1",
)
def gaas_110(order: BuildRequest, *, vacancy_fraction: MissingInSemiconductor = 0.0, antisite_fraction: Antisite = 0.0) -> Sample:
    """Return GaAs [110], with Ga and As columns 1.41 A apart."""
    return _compound(order, 5.6533, "Ga", "As", vacancy_fraction, antisite_fraction)


@specimen(
    "cdte-110",
    "crystal",
    "semiconductor",
    title="cadmium telluride along [110], the polar dumbbells",
    sigma={"Cd": rms(1.75), "Te": rms(1.40)},
    lattice_source="F-43m, a = 6.481 A at 25 C: JCPDS 15-0770",
    thermal_source="B Cd 1.75, Te 1.40 A^2 near 300 K, rounded, +-15 %: models compared by J. S. Reid, Acta Cryst. A39 (1983) 1",
)
def cdte_110(order: BuildRequest, *, vacancy_fraction: MissingInSemiconductor = 0.0, antisite_fraction: Antisite = 0.0) -> Sample:
    """Return CdTe [110], with Cd and Te columns 1.62 A apart."""
    return _compound(order, 6.481, "Cd", "Te", vacancy_fraction, antisite_fraction)


@specimen(
    "si-sige-110",
    "crystal",
    "semiconductor",
    title="a strained Si(1-x)Ge(x) layer in silicon along [110]; growth direction [001] along x",
    sigma={"Si": rms(0.463), "Ge": rms(0.573)},
    lattice_source=(
        "Si a = 5.431 A (CODATA 2018), Ge 5.658 A (JCPDS 04-0545), Vegard between them; the layer keeps silicon's lattice in its plane and is longer "
        "by the misfit times 1 + 2 c12/c11 = 1.771 along its normal (Si c11 = 165.7, c12 = 63.9 GPa: J. J. Hall, Phys. Rev. 161 (1967) 756)"
    ),
    thermal_source=f"B Si 0.463, Ge 0.573 A^2 at 280 K: {PENG}",
)
def si_sige_110(order: BuildRequest, *, germanium_fraction: Germanium = 0.3, layer_fraction: Layer = 0.5) -> Sample:
    """Return silicon with a coherent SiGe layer in the middle of the width, between two abrupt interfaces."""
    box = order.cut.size_angstrom or (16.0, MULTILAYER_SIZE)
    order = replace(order, cut=replace(order.cut, size_angstrom=box))
    a = 5.431
    sample = order.crystal((a, a, a), zinc_blende("Si", "Si"), zone_axis=(1, 1, 0))
    cells = round(sample.size_angstrom[1] / a)
    layer = min(cells - 1, max(1, round(cells * layer_fraction)))
    if cells < 2:
        message = f"size_angstrom={box} A is only one cell ({a} A) wide, too narrow for a layer in silicon. Ask for a width of {2 * a:.4g} A or more."
        raise SettingsError(message)
    start = a * ((cells - layer) // 2)
    stretch = germanium_fraction * (5.658 / a - 1) * (1 + 2 * 63.9 / 165.7)
    positions = sample.positions_angstrom.copy()
    depth = positions[:, 0] - start
    inside = (depth > -1e-6) & (depth < layer * a - 1e-6)
    drawn = share(np.flatnonzero(inside), germanium_fraction, order.rng("germanium"))
    positions[:, 0] += stretch * np.clip(depth, 0, layer * a)
    height, width = sample.size_angstrom
    stop = start + layer * a * (1 + stretch)
    sample = replace(sample, positions_angstrom=positions, size_angstrom=(height, width + stretch * layer * a))
    sample = substitute(sample, drawn, "Ge", sigma_angstrom=order.sigma["Ge"])
    walls = [Defect(kind="boundary", name="Si/SiGe (001)", position_angstrom=(place, 0.0, 0.0)) for place in (start, stop)]
    note = f"SiGe from x = {start:.3f} to {stop:.3f} A, {stretch:.3%} longer along x than silicon."
    return replace(sample, defects=(*walls, *sample.defects), notes=(*sample.notes, note))
