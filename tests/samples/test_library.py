"""The library: each specimen against published lengths and densities."""

import json

import numpy as np
import pytest
from ase.data import atomic_masses

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.samples.columns import projected_columns
from stemtwin.twin.samples.library import SAMPLES, list_samples, load_sample
from stemtwin.twin.samples.readers import sample_from_recipe
from stemtwin.twin.samples.sample import Sample

CRYSTALS, SHEETS = SAMPLES.names("crystal"), SAMPLES.names("sheet")
HBAR, BOLTZMANN, DALTON, CHARGE = 1.054571817e-34, 1.380649e-23, 1.66053906660e-27, 1.602176634e-19  # CODATA 2018, SI


def bonds(sample: Sample, first: int, second: int) -> np.ndarray:
    """Return, for each atom of one element with all its neighbours inside the box along z, the distance to its nearest atom of another."""
    ours, others = (sample.positions_angstrom[sample.numbers == number] for number in (first, second))
    step = others[None] - ours[:, None]
    box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
    step[..., :2] -= box * np.round(step[..., :2] / box)
    distance = np.linalg.norm(step, axis=-1)
    distance[distance < 1e-9] = np.inf
    return distance.min(axis=1)


def density(sample: Sample) -> float:
    """Return the mass density in g/cm^3."""
    height, width = sample.size_angstrom
    return float(atomic_masses[sample.numbers].sum() * DALTON * 1e3 / (height * width * sample.thickness_angstrom * 1e-24))


@pytest.mark.parametrize("name", list_samples())
def test_every_specimen_is_fit_for_use(name: str) -> None:
    """About 16 A (never above 18), periodic without strain, 40 A or one layer thick, warm, sources named, reproducible by seed and recipe."""
    sample, specimen = load_sample(name), SAMPLES[name]
    assert all(13.9 <= length <= 18 for length in sample.size_angstrom)
    assert sample.periodic
    assert sample.strain == 0
    assert 36 <= sample.thickness_angstrom <= 44 if name in CRYSTALS else 4 <= sample.thickness_angstrom <= 8
    assert sample.thermal_sigma_angstrom.min() > 0.03
    assert sample.thermal_sigma_angstrom.max() < 0.12
    assert set(specimen.thermal_sigma_angstrom) == {symbol for symbol, _ in specimen.sites} | set(sample.symbols)
    assert len(specimen.lattice_source) > 30
    assert len(specimen.thermal_source) > 30
    assert sample.digest == load_sample(name, seed=0).digest
    assert sample.digest == sample_from_recipe(sample.recipe).digest
    assert json.loads(sample.recipe)["name"] == sample.name == name
    wide = load_sample(name, size_angstrom=(30, 25), thickness_angstrom=20, seed=3)
    assert abs(wide.size_angstrom[0] - 30) < 3
    assert sample_from_recipe(wide.recipe).digest == wide.digest


@pytest.mark.parametrize(
    ("name", "first", "second", "length"),
    [
        ("srtio3-001", 22, 8, 1.9525),  # a/2
        ("srtio3-001", 38, 8, 2.761),  # a/sqrt2
        ("si-110", 14, 14, 2.352),  # the Si-Si bond, a sqrt3/4: CRC Handbook 2.352 A
        ("au-001", 79, 79, 2.884),  # Au-Au, a/sqrt2: CRC Handbook 2.884 A
        ("graphene", 6, 6, 1.420),  # C-C, a/sqrt3: 1.42 A
        ("graphene-si", 14, 6, 1.75),
        ("mos2-1h", 42, 16, 2.417),  # Mo-S 2.41 to 2.42 A: Bronsema et al. (1986)
        ("mos2-1h", 42, 42, 3.160),  # a
    ],
)
def test_bond_lengths(name: str, first: int, second: int, length: float) -> None:
    """The shortest distances between two elements are the published ones, for every atom."""
    assert np.allclose(bonds(load_sample(name), first, second), length, atol=2e-3)


@pytest.mark.parametrize(("name", "value"), [("srtio3-001", 5.12), ("si-110", 2.329), ("au-001", 19.3)])
def test_densities(name: str, value: float) -> None:
    """The mass density is the handbook's (CRC Handbook: SrTiO3 5.1, Si 2.3290, Au 19.3 g/cm^3) within 0.3 %."""
    assert density(load_sample(name)) == pytest.approx(value, rel=3e-3)


@pytest.mark.parametrize(("name", "value"), [("graphene", 0.3816), ("mos2-1h", 3 / 8.648)])
def test_areal_densities(name: str, value: float) -> None:
    """Graphene has 38.2 atoms per nm^2, an MoS2 layer three atoms per cell of a^2 sqrt3/2 = 8.648 A^2."""
    sample = load_sample(name)
    assert len(sample) / np.prod(sample.size_angstrom) == pytest.approx(value, rel=1e-3)


def test_stoichiometry() -> None:
    """SrTiO3 has 1 : 1 : 3 atoms, MoS2 1 : 2."""
    oxide, sulphide = load_sample("srtio3-001"), load_sample("mos2-1h")
    assert [oxide.symbols.count(symbol) * 5 / len(oxide) for symbol in ("Sr", "Ti", "O")] == [1, 1, 3]
    assert sulphide.symbols.count("S") == 2 * sulphide.symbols.count("Mo")


def test_silicon_dumbbells() -> None:
    """Along [110] silicon shows pairs of columns a/4 = 1.358 A apart, along x, the cubic [001]."""
    columns = projected_columns(load_sample("si-110"))
    assert len(columns) == 3 * 4 * 4
    row = columns.x[np.isclose(columns.y, columns.y[0])]
    gaps = np.diff(np.sort(row))
    assert np.allclose(np.sort(np.unique(np.round(gaps, 3))), [1.358, 4.073], atol=1e-3)


def test_mos2_layer() -> None:
    """S-S across the layer is 3.17 A, exactly along the beam; Mo lies half-way."""
    sample = load_sample("mos2-1h")
    sulphur = sample.positions_angstrom[sample.numbers == 16]
    assert np.ptp(sulphur[:, 2]) == pytest.approx(3.17)
    assert np.allclose(sample.positions_angstrom[sample.numbers == 42, 2], sulphur[:, 2].mean())
    columns = projected_columns(sample)
    assert sorted(set(columns.occupancy[np.array(columns.species) == "S"])) == [2.0]


def test_the_dopant_is_drawn_and_buckled() -> None:
    """One silicon atom, its site and side drawn by the seed; three bonds of 1.75 A, standing out of the sheet; everything else is graphene."""
    sites, sides = set(), set()
    for seed in range(24):
        sample = load_sample("graphene-si", seed=seed)
        assert sample.symbols.count("Si") == 1
        at = int(np.flatnonzero(sample.numbers == 14)[0])
        step = sample.positions_angstrom - sample.positions_angstrom[at]
        box = np.array([sample.size_angstrom[1], sample.size_angstrom[0]])
        step[:, :2] -= box * np.round(step[:, :2] / box)
        distance = np.sort(np.linalg.norm(step, axis=1))
        assert np.allclose(distance[1:4], 1.75)
        assert distance[4] > 2.4
        sites.add(at)
        sides.add(bool(step[0, 2] > 0))
        assert np.isclose(sample.positions_angstrom[:, 2].min() + sample.positions_angstrom[:, 2].max(), sample.thickness_angstrom)
    assert len(sites) > 15
    assert sides == {True, False}
    assert len(sample) == len(load_sample("graphene"))


def test_a_dopant_needs_room() -> None:
    """A cell in which the dopant's neighbours are each other's images, or a box thinner than the buckling, raises."""
    with pytest.raises(SettingsError, match="too small for graphene-si"):
        load_sample("graphene-si", size_angstrom=(2, 2))
    with pytest.raises(SettingsError, match=r"cannot hold graphene-si, 0\.87 A high"):
        load_sample("graphene-si", thickness_angstrom=0.6)


def test_thermal_sigma_of_graphene_is_the_debye_models() -> None:
    """In-plane u of carbon: g(w) = 2 w/w_D^2 per direction, T = 300 K, theta = 2312 K, modes shorter than 100 A: the integral's closed form."""
    temperature, debye, mass = 300.0, 2312.0, 12.011 * DALTON
    zone = np.sqrt(4 * np.pi * 2 / (2.46**2 * np.sqrt(3) / 2))  # 1/A, the Debye disc that holds the modes of two atoms per cell
    lowest = debye * (2 * np.pi / 100) / zone
    factor = HBAR**2 / (mass * BOLTZMANN) * 1e20 * 2 * temperature / debye**2
    u = np.sqrt(factor * np.log(np.sinh(debye / (2 * temperature)) / np.sinh(lowest / (2 * temperature))))
    assert SAMPLES["graphene"].thermal_sigma_angstrom["C"] == pytest.approx(u, abs=1e-3)


def test_thermal_sigma_of_the_dopant_is_its_oscillators() -> None:
    """u^2 = hbar^2/(2 M E) coth(E/2kT) for Si at 55 meV and 300 K."""
    energy = 0.055 * CHARGE
    u2 = HBAR**2 / (2 * 28.085 * DALTON * energy) / np.tanh(energy / (2 * BOLTZMANN * 300)) * 1e20
    assert SAMPLES["graphene-si"].thermal_sigma_angstrom["Si"] == pytest.approx(np.sqrt(u2), abs=1e-3)


def test_thermal_sigmas_of_the_crystals() -> None:
    """B = 8 pi^2 u^2 gives the published Debye-Waller factors: Sr 0.621, Ti 0.440, O 0.732, Si 0.463, Au 0.62 A^2."""
    values = {"srtio3-001": {"Sr": 0.621, "Ti": 0.440, "O": 0.732}, "si-110": {"Si": 0.463}, "au-001": {"Au": 0.62}}
    for name, factors in values.items():
        for symbol, factor in factors.items():
            assert 8 * np.pi**2 * SAMPLES[name].thermal_sigma_angstrom[symbol] ** 2 == pytest.approx(factor, abs=1e-3)


def test_unknown_names_are_corrected() -> None:
    """A name that is nearly right gets the right one."""
    with pytest.raises(UnknownNameError, match="Did you mean 'srtio3-001'"):
        load_sample("srtio3")
