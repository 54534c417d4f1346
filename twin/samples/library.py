"""Specimens by name, each with its numbers and where they come from."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.registry import Registry
from stemtwin.twin.samples.build import Cut, build_sample, specimen_rng
from stemtwin.twin.samples.cif import B_OVER_U
from stemtwin.twin.samples.crystal import Crystal
from stemtwin.twin.samples.sample import Sample, wrap

VACUUM_CELL = 20.0  # A, height of the cell that holds a sheet; the builder trims it
# Threefold silicon buckles out of the sheet, up or down: C. Hofer et al., Appl. Phys. Lett. 114 (2019) 053102. The geometry is a model: bonds of
# 1.75 A to neighbours that are pushed outwards in the plane.
SI_C_BOND = 1.75  # A
SI_NEIGHBOUR_SHIFT = 0.10  # A


@dataclass(frozen=True, kw_only=True, slots=True)
class Specimen:
    """A specimen of the library: one cell, the way it is looked at, and the sources of its numbers.

    Parameters
    ----------
    title : str
        What it is, in a few words.
    cell_angstrom : (float, float, float)
        a, b, c.
    angles_deg : (float, float, float)
        alpha, beta, gamma.
    sites : tuple of (symbol, (float, float, float))
        Elements and fractional places of one cell.
    thermal_sigma_angstrom : mapping from symbol to float
        1-D rms displacements near 300 K.
    lattice_source, thermal_source : str
        Where the numbers come from.
    zone_axis : (int, int, int)
        [uvw] along the beam.
    edit : callable, optional
        What is done to the perfect structure: ``edit(sample, rng)`` returns the sample.
    """

    title: str
    cell_angstrom: tuple[float, float, float]
    angles_deg: tuple[float, float, float] = (90.0, 90.0, 90.0)
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    thermal_sigma_angstrom: Mapping[str, float]
    lattice_source: str
    thermal_source: str
    zone_axis: tuple[int, int, int] = (0, 0, 1)
    edit: Callable[[Sample, np.random.Generator], Sample] | None = None

    def crystal(self, name: str) -> Crystal:
        """Return one cell."""
        from ase.cell import Cell
        from ase.data import atomic_numbers

        symbols = [symbol for symbol, _ in self.sites]
        return Crystal(
            name=name,
            cell=np.array(Cell.new([*self.cell_angstrom, *self.angles_deg]).array),
            fractional=np.array([place for _, place in self.sites], dtype=float),
            numbers=np.array([atomic_numbers[symbol] for symbol in symbols]),
            sigma=np.array([self.thermal_sigma_angstrom[symbol] for symbol in symbols]),
        )


SAMPLES: Registry[Specimen] = Registry("sample")


def load_sample(name: str, *, size_angstrom: tuple[float, float] | None = None, thickness_angstrom: float | None = None, seed: int = 0) -> Sample:
    """Return a specimen of the library.

    Parameters
    ----------
    name : str
        One of :func:`list_samples`.
    size_angstrom : (float, float), optional
        Wanted height (y) and width (x) in A: the whole repeats nearest to it; None: 16 A.
    thickness_angstrom : float, optional
        In A: the whole repeats nearest to it; None: 40 A. A sheet has its own thickness, which a number replaces by a box that it is centred in.
    seed : int
        Of what is drawn: the site of the dopant.

    Raises
    ------
    UnknownNameError
        There is no such specimen.
    SettingsError
        A size, thickness or seed that makes no sense, or more atoms than the machine's memory holds.
    """
    specimen = SAMPLES[name]
    cut = Cut(zone_axis=specimen.zone_axis, size_angstrom=size_angstrom, thickness_angstrom=thickness_angstrom, seed=seed)
    recipe = {"kind": "library", "name": name, "size_angstrom": cut.size_angstrom, "thickness_angstrom": cut.thickness_angstrom, "seed": cut.seed}
    sample = build_sample(specimen.crystal(name), cut, name=name, recipe=json.dumps(recipe, sort_keys=True))
    return sample if specimen.edit is None else specimen.edit(sample, specimen_rng(cut.seed))


def list_samples() -> tuple[str, ...]:
    """Return the names of the library's specimens."""
    return SAMPLES.names()


def _si_dopant(sample: Sample, rng: np.random.Generator) -> Sample:
    """Return graphene with one atom replaced by threefold silicon: site and side are drawn, silicon stands out, its neighbours give way."""
    site, side = int(rng.integers(len(sample))), 1.0 if rng.random() < 0.5 else -1.0
    positions, numbers, sigma = sample.positions_angstrom.copy(), sample.numbers.copy(), np.array(sample.thermal_sigma_angstrom)
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    step = positions - positions[site]
    step[:, :2] -= box * np.round(step[:, :2] / box)
    distance = np.linalg.norm(step, axis=1)
    neighbours = np.argsort(np.round(distance, 6), kind="stable")[1:4]
    if len(neighbours) < 3 or distance[neighbours].max() > 1.6:
        message = (
            f"size_angstrom={sample.size_angstrom} A is too small for {sample.name}: a dopant needs three neighbours of its own. Ask for 8 x 8 A "
            f"or more."
        )
        raise SettingsError(message)
    bond = float(distance[neighbours].mean())
    height = float(np.sqrt(SI_C_BOND**2 - (bond + SI_NEIGHBOUR_SHIFT) ** 2))
    if sample.thickness_angstrom <= height:
        message = f"thickness_angstrom={sample.thickness_angstrom:g} cannot hold {sample.name}, {height:.2f} A high. Ask for 1 A or more."
        raise SettingsError(message)
    positions[neighbours] += step[neighbours] / bond * SI_NEIGHBOUR_SHIFT
    positions[:, :2] = wrap(positions[:, :2] / box, box) * box
    positions[:, 2] -= side * height / 2  # the whole stays centred
    positions[site, 2] += side * height
    numbers[site], sigma[site] = 14, SAMPLES["graphene-si"].thermal_sigma_angstrom["Si"]
    note = f"Carbon atom {site} became silicon, {height:.2f} A {'after' if side > 0 else 'before'} the sheet along the beam."
    return replace(sample, positions_angstrom=positions, numbers=numbers, thermal_sigma_angstrom=sigma, notes=(*sample.notes, note))


def _rms(b_factor: float) -> float:
    """Return the 1-D rms displacement (A) of a Debye-Waller factor B (A^2)."""
    return float(np.sqrt(b_factor / B_OVER_U))


_PENG = "L.-M. Peng, G. Ren, S. L. Dudarev, M. J. Whelan, Acta Cryst. A52 (1996) 456, Table 1"
_FCC = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))

SAMPLES.add(
    "srtio3-001",
    Specimen(
        title="strontium titanate along [001]",
        cell_angstrom=(3.905, 3.905, 3.905),
        sites=(("Sr", (0, 0, 0)), ("Ti", (0.5, 0.5, 0.5)), ("O", (0.5, 0.5, 0)), ("O", (0.5, 0, 0.5)), ("O", (0, 0.5, 0.5))),
        thermal_sigma_angstrom=MappingProxyType({"Sr": np.sqrt(0.00787).item(), "Ti": np.sqrt(0.00557).item(), "O": np.sqrt(0.009275).item()}),
        lattice_source="Pm-3m, a = 3.905 A at room temperature: JCPDS 35-0734",
        thermal_source=(
            "<u^2> Sr 0.00787, Ti 0.00557, O 0.009275 A^2: muSTEM 5.3, Tutorial/SrTiO3.xtl (L. J. Allen et al., Ultramicroscopy 151 (2015) 11)"
        ),
    ),
    "crystal",
)
SAMPLES.add(
    "si-110",
    Specimen(
        title="silicon along [110], the dumbbells",
        cell_angstrom=(5.431, 5.431, 5.431),
        sites=tuple(("Si", (x + shift, y + shift, z + shift)) for x, y, z in _FCC for shift in (0.0, 0.25)),
        thermal_sigma_angstrom=MappingProxyType({"Si": _rms(0.463)}),
        lattice_source="Fd-3m, a = 5.431020511(89) A at 22.5 C: CODATA 2018",
        thermal_source=f"B = 0.463 A^2 at 280 K: {_PENG}",
        zone_axis=(1, 1, 0),
    ),
    "crystal",
)
SAMPLES.add(
    "au-001",
    Specimen(
        title="gold along [001]",
        cell_angstrom=(4.078, 4.078, 4.078),
        sites=tuple(("Au", place) for place in _FCC),
        thermal_sigma_angstrom=MappingProxyType({"Au": _rms(0.62)}),
        lattice_source="Fm-3m, a = 4.0786 A at 25 C: JCPDS 04-0784 (H. E. Swanson, E. Tatge, NBS Circular 539-1 (1953) 33)",
        thermal_source=f"B = 0.62 A^2 at 293 K, from 0.5925 A^2 at 280 K in proportion to the temperature: {_PENG}",
    ),
    "crystal",
)
_GRAPHENE = {
    "cell_angstrom": (2.46, 2.46, VACUUM_CELL),
    "angles_deg": (90.0, 90.0, 120.0),
    "sites": (("C", (1 / 3, 2 / 3, 0.5)), ("C", (2 / 3, 1 / 3, 0.5))),
    "lattice_source": "P6/mmm, a = 2.461 A as in graphite at 297 K: Y. Baskin, L. Meyer, Phys. Rev. 100 (1955) 544",
}
_GRAPHENE_THERMAL = (
    "C: in-plane 0.049 A, two-dimensional Debye model at 300 K with a Debye temperature of 2312 K (V. K. Tewary, B. Yang, Phys. Rev. B 79 "
    "(2009) 125416) and the modes "
    "shorter than 100 A; longer ones move what one image shows as a whole"
)
SAMPLES.add(
    "graphene",
    Specimen(title="graphene, one sheet", thermal_sigma_angstrom=MappingProxyType({"C": 0.049}), thermal_source=_GRAPHENE_THERMAL, **_GRAPHENE),
    "sheet",
)
SAMPLES.add(
    "graphene-si",
    Specimen(
        title="graphene with one threefold silicon dopant; the seed draws its site and its side",
        thermal_sigma_angstrom=MappingProxyType({"C": 0.049, "Si": 0.042}),
        thermal_source=_GRAPHENE_THERMAL
        + ". Si: 0.042 A, an oscillator of 55 meV at 300 K, its resonance in graphene (F. S. Hage et al., Science 367 (2020) 1124)",
        edit=_si_dopant,
        **_GRAPHENE,
    ),
    "sheet",
    "defect",
)
SAMPLES.add(
    "mos2-1h",
    Specimen(
        title="molybdenum disulphide, one 1H layer",
        cell_angstrom=(3.16, 3.16, VACUUM_CELL),
        angles_deg=(90.0, 90.0, 120.0),
        sites=(
            ("Mo", (1 / 3, 2 / 3, 0.5)),
            ("S", (2 / 3, 1 / 3, 0.5 - 1.585 / VACUUM_CELL)),
            ("S", (2 / 3, 1 / 3, 0.5 + 1.585 / VACUUM_CELL)),
        ),
        thermal_sigma_angstrom=MappingProxyType({"Mo": 0.06, "S": 0.075}),
        lattice_source=(
            "layer of 2H-MoS2: a = 3.160 A, S-S distance across the layer 3.17 A: K. D. Bronsema, J. L. de Boer, F. Jellinek, Z. anorg. allg. "
            "Chem. 540 (1986) 15"
        ),
        thermal_source="Mo 0.06, S 0.075 A: room-temperature values as used in image simulation, rounded, +-0.01 A",
    ),
    "sheet",
)
