"""The library: each specimen against published lengths and densities."""

import json
import pickle

import numpy as np
import pytest
from ase.data import atomic_masses

from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.samples.columns import projected_columns
from stemtwin.twin.samples.library import SAMPLES, list_samples, load_sample
from stemtwin.twin.samples.readers.read_sample import sample_from_recipe
from stemtwin.twin.samples.sample import Sample

CRYSTALS, SHEETS = SAMPLES.names("crystal"), SAMPLES.names("sheet")
HBAR, BOLTZMANN, DALTON, CHARGE = 1.054571817e-34, 1.380649e-23, 1.66053906660e-27, 1.602176634e-19  # CODATA 2018, SI
SMALL = {  # random networks take a second for 3000 atoms
    "carbon-amorphous": {"size_angstrom": (8, 8), "thickness_angstrom": 8},
    "si3n4-amorphous": {"size_angstrom": (8, 8), "thickness_angstrom": 8},
    "au-particle-carbon": {"diameter_angstrom": 13.0, "film_thickness_angstrom": 4.0},
    "pt-particle-carbon": {"diameter_angstrom": 13.0, "film_thickness_angstrom": 4.0},
}
WIDE = (*SAMPLES.names("boundary"), "si-sige-110")  # two grains, or a multilayer, across the width


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


def test_the_library_is_large() -> None:
    """At least 20 specimens, of each family that the tasks need."""
    assert len(list_samples()) >= 20
    for family in ("perovskite", "semiconductor", "metal", "2d", "moire", "boundary", "defect", "amorphous", "particle"):
        assert SAMPLES.names(family)


@pytest.mark.parametrize("name", list_samples())
def test_every_specimen_is_fit_for_use(name: str) -> None:
    """The repeats nearest to 16 A (11 to 18.5), periodic without strain, 40 A or one layer thick, warm, sourced, made again by seed and recipe."""
    small = SMALL.get(name, {})
    sample, specimen = load_sample(name, **small), SAMPLES[name]
    if name in CRYSTALS + SHEETS:
        assert 11 <= sample.size_angstrom[0] <= 18.5
        assert (11 <= sample.size_angstrom[1] <= 18.5) or name in WIDE
        assert 36 <= sample.thickness_angstrom <= 44 if name in CRYSTALS else 4 <= sample.thickness_angstrom <= 14
    assert sample.periodic
    assert sample.strain < 1e-9
    assert sample.thermal_sigma_angstrom.min() > 0.03
    assert sample.thermal_sigma_angstrom.max() < 0.16
    assert set(specimen.thermal_sigma_angstrom) >= set(sample.symbols)
    assert len(specimen.lattice_source) > 30
    assert len(specimen.thermal_source) > 30
    assert sample.digest == load_sample(name, seed=0, **small).digest
    assert sample.digest == sample_from_recipe(sample.recipe).digest
    assert json.loads(sample.recipe)["name"] == sample.name == name
    back = pickle.loads(pickle.dumps(sample))
    assert (back.digest, back.defects, back.recipe) == (sample.digest, sample.defects, sample.recipe)


@pytest.mark.parametrize("name", list_samples())
def test_every_specimen_comes_in_other_sizes(name: str) -> None:
    """Another box is about what was asked for, keeps the density, and its recipe makes it again."""
    knobs = {knob: value for knob, value in SMALL.get(name, {}).items() if not knob.startswith(("size", "thick"))}
    deep = 20 if knobs else 9
    wide = load_sample(name, size_angstrom=(22, 27), thickness_angstrom=deep, seed=3, **knobs)
    assert abs(wide.size_angstrom[0] - 22) < 5
    assert abs(wide.size_angstrom[1] - 27) < 5
    assert sample_from_recipe(wide.recipe).digest == wide.digest
    if name in CRYSTALS and name not in WIDE:
        assert density(wide) == pytest.approx(density(load_sample(name)), rel=0.02)


@pytest.mark.parametrize("name", list_samples())
def test_every_knob_turns(name: str) -> None:
    """Each knob, turned, changes the atoms; what was done is remembered; the recipe makes it again; beyond its limits it raises."""
    small = SMALL.get(name, {})
    plain = load_sample(name, seed=2, **small)
    for label, knob in SAMPLES[name].knobs.items():
        assert len(knob.about) > 10
        others = {"side": {"chalcogen_fraction": 0.5}, "chalcogen": {"chalcogen_fraction": 0.5}, "wall_width_angstrom": {"wall": "180"}}.get(
            label, {}
        )
        rest = {knob: value for knob, value in (small | others).items() if knob != label}
        base = load_sample(name, seed=2, **rest) if others or label in small else plain
        values = [word for word in knob.choices if word not in (knob.default, "other")] or [TURNED.get(label, 0.2 if knob.high == 1 else 2)]
        for value in values:
            if (name, value) in NATIVE:
                continue
            turned = load_sample(name, seed=2, **rest, **{label: value})
            assert turned.digest != base.digest, (label, value)
            assert turned.defects or label in UNRECORDED, (label, value)
            again = sample_from_recipe(turned.recipe)
            assert again.digest == turned.digest
            assert again.defects == turned.defects
        for wrong in ("blue", None, knob.high * 2 + 1 if np.isfinite(knob.high) else float("inf"), True):
            with pytest.raises(SettingsError, match=label):
                load_sample(name, **{label: wrong})
        if not knob.choices:
            with pytest.raises(SettingsError, match=label):
                load_sample(name, **{label: knob.low - 0.5})


TURNED = {
    "density_g_per_cm3": 2.45,
    "diameter_angstrom": 8.0,
    "film_thickness_angstrom": 4.0,
    "twist_deg": 21.8,
    "hole_angstrom": 6.0,
    "excess_angstrom": 0.3,
    "wall_width_angstrom": 2.0,
    "layer_fraction": 0.3,
}
UNRECORDED = {"polarisation", "density_g_per_cm3"}  # nothing to remember but the knob itself
NATIVE = {("mos2-1h", "S"), ("ws2-1h", "S"), ("mose2-1h", "Se"), ("wse2-1h", "Se"), ("mote2-1h", "Te")} | {
    (name, {"mos2-1h": "Se", "ws2-1h": "Se"}.get(name, "S")) for name in ("mos2-1h", "ws2-1h", "mose2-1h", "wse2-1h", "mote2-1h")
}  # what the layer holds already, and what "other" stands for


def test_digests_do_not_drift() -> None:
    """The specimens of released datasets and tasks keep their atoms: digests of version 0.1.0, at the default size and at another one."""
    known = {
        "srtio3-001": ("254d735d663b", "96be9eee372b"),
        "si-110": ("c7baf46d9c71", "39fb396e6e19"),
        "au-001": ("f980b8525562", "df03cafae2e7"),
        "graphene": ("7d73e2b9486a", "70ff66af8516"),
        "graphene-si": ("84723adb53ec", "02f69baa65a8"),
        "mos2-1h": ("a0831195f516", "dfe8f78a0c88"),
    }
    for name, (first, second) in known.items():
        assert load_sample(name).digest.startswith(first)
        assert load_sample(name, size_angstrom=(30, 25), thickness_angstrom=20, seed=3).digest.startswith(second)


def test_knobs_draw_from_their_own_streams() -> None:
    """For one seed, more vacancies are the old ones and new ones, and an alloy keeps its sites whatever the vacancies."""
    few, many = (load_sample("mos2-1h", vacancy_fraction=fraction, seed=5).defects for fraction in (0.05, 0.2))
    assert len(few) == 3
    assert len(many) == 12
    assert {one.position_angstrom for one in few} < {one.position_angstrom for one in many}
    alone = load_sample("mos2-1h", metal_fraction=0.3, seed=5).defects
    both = load_sample("mos2-1h", metal_fraction=0.3, vacancy_fraction=0.2, seed=5).defects
    assert [one for one in both if one.kind == "substitution"] == list(alone)
    assert load_sample("mos2-1h", vacancy_fraction=0.05, seed=6).defects != few


def test_knobs_that_do_not_exist_are_corrected() -> None:
    """A knob that is nearly right gets the right one, one that is not gets the list, one of a specimen without own knobs the common ones."""
    with pytest.raises(UnknownNameError, match=r"'mos2-1h' has no knob 'vacancy_fracton'\. Did you mean 'vacancy_fraction'"):
        load_sample("mos2-1h", vacancy_fracton=0.1)
    with pytest.raises(UnknownNameError, match="Did you mean 'size_angstrom'"):
        load_sample("mos2-1h", size_angstom=3)
    with pytest.raises(UnknownNameError, match="Its knobs: vacancy_fraction"):
        load_sample("au-001", colour="red")
    with pytest.raises(UnknownNameError, match=r"Its knobs: size_angstrom, thickness_angstrom, seed\."):
        load_sample("graphene-si", colour="red")


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
        ("ws2-1h", 74, 16, 2.405),  # W-S 2.405 A: Schutte et al. (1987)
        ("mose2-1h", 42, 34, 2.528),  # Mo-Se 2.527 A: Bronsema et al. (1986)
        ("wse2-1h", 74, 34, 2.526),  # W-Se 2.526 A: Schutte et al. (1987)
        ("mote2-1h", 42, 52, 2.718),  # from a and the layer's thickness
        ("srtio3-110", 22, 8, 1.9525),
        ("lafeo3-001", 26, 8, 2.005),  # Fe-O 2.002 to 2.009 A: Marezio and Dernier (1971)
        ("batio3-001", 56, 56, 3.994),  # a
        ("pbtio3-001", 22, 8, 1.768),  # the short Ti-O bond, 1.77 A: Nelmes and Kuhs (1985)
        ("si-001", 14, 14, 2.352),
        ("ge-110", 32, 32, 2.450),  # CRC Handbook 2.450 A
        ("gaas-110", 31, 33, 2.448),  # a sqrt3/4
        ("cdte-110", 48, 52, 2.806),
        ("au-110", 79, 79, 2.884),
        ("pt-001", 78, 78, 2.774),  # CRC Handbook 2.775 A
        ("al-110", 13, 13, 2.863),  # CRC Handbook 2.863 A
        ("ni-110", 28, 28, 2.492),  # CRC Handbook 2.492 A
        ("cu-001", 29, 29, 2.556),  # CRC Handbook 2.556 A
        ("fe-001", 26, 26, 2.482),  # CRC Handbook 2.482 A
    ],
)
def test_bond_lengths(name: str, first: int, second: int, length: float) -> None:
    """The shortest distances between two elements are the published ones, for every atom."""
    assert np.allclose(bonds(load_sample(name), first, second), length, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("srtio3-001", 5.12),
        ("srtio3-110", 5.12),
        ("batio3-001", 6.02),
        ("pbtio3-001", 7.95),
        ("lafeo3-001", 6.63),
        ("si-110", 2.329),
        ("si-001", 2.329),
        ("ge-110", 5.323),
        ("gaas-110", 5.318),
        ("cdte-110", 5.85),
        ("au-001", 19.3),
        ("au-110", 19.3),
        ("pt-110", 21.45),
        ("al-001", 2.70),
        ("cu-110", 8.93),
        ("ni-001", 8.91),
        ("fe-001", 7.87),
    ],
)
def test_densities(name: str, value: float) -> None:
    """The mass density is the handbook's (CRC Handbook, or the X-ray density of the JCPDS card) within 0.3 %."""
    assert density(load_sample(name)) == pytest.approx(value, rel=3e-3)


@pytest.mark.parametrize(("name", "value"), [("graphene", 0.3816), ("mos2-1h", 3 / 8.648)])
def test_areal_densities(name: str, value: float) -> None:
    """Graphene has 38.2 atoms per nm^2, an MoS2 layer three atoms per cell of a^2 sqrt3/2 = 8.648 A^2."""
    sample = load_sample(name)
    assert len(sample) / np.prod(sample.size_angstrom) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("srtio3-001", {"Sr": 1, "Ti": 1, "O": 3}),
        ("srtio3-110", {"Sr": 1, "Ti": 1, "O": 3}),
        ("lafeo3-001", {"La": 1, "Fe": 1, "O": 3}),
        ("batio3-001", {"Ba": 1, "Ti": 1, "O": 3}),
        ("pbtio3-001", {"Pb": 1, "Ti": 1, "O": 3}),
        ("gaas-110", {"Ga": 1, "As": 1}),
        ("cdte-110", {"Cd": 1, "Te": 1}),
        ("mos2-1h", {"Mo": 1, "S": 2}),
        ("wse2-1h", {"W": 1, "Se": 2}),
    ],
)
def test_stoichiometry(name: str, parts: dict[str, int]) -> None:
    """The elements stand in the proportions of the formula, exactly."""
    sample = load_sample(name)
    total = sum(parts.values())
    assert {symbol: sample.symbols.count(symbol) * total for symbol in parts} == {symbol: count * len(sample) for symbol, count in parts.items()}


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
    with pytest.raises(SettingsError, match=r"cannot hold graphene-si, which is 0\.87 A high"):
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
    values = {
        "srtio3-001": {"Sr": 0.621, "Ti": 0.440, "O": 0.732},
        "si-110": {"Si": 0.463},
        "au-001": {"Au": 0.62},
        "ge-110": {"Ge": 0.573},
        "al-001": {"Al": 0.781},
    }
    for name, factors in values.items():
        for symbol, factor in factors.items():
            assert 8 * np.pi**2 * SAMPLES[name].thermal_sigma_angstrom[symbol] ** 2 == pytest.approx(factor, abs=1e-3)


def test_unknown_names_are_corrected() -> None:
    """A name that is nearly right gets the right one."""
    with pytest.raises(UnknownNameError, match="Did you mean 'srtio3-"):
        load_sample("srtio3")
