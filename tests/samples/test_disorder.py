"""What is not one crystal: amorphous films, nanoparticles, twisted sheets."""

import numpy as np
import pytest
from ase.data import atomic_masses

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.metals import GOLD
from stemtwin.twin.samples.moire import commensurate
from stemtwin.twin.samples.neighbours import find_bonds
from stemtwin.twin.samples.particles import _magic, cluster, rotation
from stemtwin.twin.samples.sample import Sample, near_pairs, separation

DALTON = 1.66053906660  # 1e-24 g; CODATA 2018


def density(sample: Sample) -> float:
    """Return the mass density in g/cm^3."""
    return float(atomic_masses[sample.numbers].sum() * DALTON / np.prod(sample.size_angstrom) / sample.thickness_angstrom)


@pytest.fixture(scope="module")
def carbon() -> Sample:
    """Return a film of amorphous carbon, 16 x 16 x 16 A."""
    return load_sample("carbon-amorphous", thickness_angstrom=16, seed=1)


def test_carbon_film_has_its_density_and_first_shell(carbon: Sample) -> None:
    """2.0 g/cm^3; the first shell at 1.45 +- 0.03 A holds 2.6 to 3 atoms, none nearer than 1.2 A; nothing between 1.75 and 2.2 A; then the second.

    Evaporated carbon: 1.43 to 1.46 A, coordination near 3, second shell at 2.5 A (J. Robertson, Adv. Phys. 35 (1986) 317).
    """
    assert density(carbon) == pytest.approx(2.0, rel=2e-3)
    places, size = carbon.positions_angstrom, carbon.size_angstrom
    distance = separation(places, near_pairs(places, size, 3.0, periodic=True), size, periodic=True)
    first = distance[distance < 1.75]
    assert first.min() > 1.2
    assert first.mean() == pytest.approx(1.45, abs=0.02)
    assert first.std() < 0.06
    assert np.sum((distance > 1.75) & (distance < 2.2)) < 0.02 * len(first)
    inside = (places[:, 2] > 2) & (places[:, 2] < 14)
    bonds = find_bonds(carbon, 1.75)
    assert 2.6 < bonds.coordination[inside].mean() <= 3
    assert bonds.coordination.max() == 3
    assert np.mean(bonds.coordination[inside] == 3) > 0.75
    counts, edges = np.histogram(distance, np.arange(2.2, 3.01, 0.1))
    shells = counts / (edges[1:] ** 3 - edges[:-1] ** 3)
    assert 2.3 < edges[np.argmax(shells)] + 0.05 < 2.6


def test_carbon_film_is_random_and_even(carbon: Sample) -> None:
    """Another seed, another film; no layer along x, y or z holds 25 % more or less than its share (of 100 atoms, 2.5 standard deviations if free)."""
    assert load_sample("carbon-amorphous", thickness_angstrom=16, seed=2).digest != carbon.digest
    for axis, length in enumerate((16, 16, 16)):
        share = np.histogram(carbon.positions_angstrom[:, axis], np.linspace(0, length, 5))[0] / len(carbon)
        np.testing.assert_allclose(share, 0.25, rtol=0.25)


def test_nitride_film_has_its_stoichiometry_and_bonds() -> None:
    """Si3N4 exactly, 3.0 g/cm^3 to half a formula unit; Si-N at 1.75 +- 0.05 A, silicon 3.4 to 4 and nitrogen 2.6 to 3 bonds, none between likes."""
    sample = load_sample("si3n4-amorphous", size_angstrom=(14, 14), thickness_angstrom=14, seed=1)
    symbols = np.array(sample.symbols)
    assert np.sum(symbols == "Si") * 4 == np.sum(symbols == "N") * 3
    assert density(sample) == pytest.approx(3.0, rel=0.01)
    bonds = find_bonds(sample, 2.1)
    unlike = symbols[bonds.first] != symbols[bonds.second]
    assert bonds.length[unlike].mean() == pytest.approx(1.77, abs=0.03)
    z = sample.positions_angstrom[:, 2]
    inside = (z > 2) & (z < 12)
    count = np.bincount(bonds.first[unlike], minlength=len(sample))
    assert 3.4 < count[inside & (symbols == "Si")].mean() <= 4.05
    assert 2.6 < count[inside & (symbols == "N")].mean() <= 3.05
    assert np.sum(~unlike) < 0.01 * np.sum(unlike)


@pytest.mark.parametrize(
    ("shape", "numbers"),
    [
        ("octahedron", {6, 19, 44, 85, 146}),
        ("cuboctahedron", {13, 55, 147, 309}),
        ("icosahedron", {13, 55, 147, 309}),
        ("decahedron", {7, 39, 116, 258}),
    ],
)
def test_closed_shapes_have_magic_numbers(shape: str, numbers: set[int]) -> None:
    """The series of octahedra, cuboctahedra, Mackay icosahedra and Ino decahedra; what is asked for is met by the nearest of them."""
    assert numbers <= {round(_magic(shape, n)) for n in range(1, 7)}
    for diameter in (8.0, 14.0, 20.0):
        positions = cluster(GOLD, shape, diameter)
        wanted = 4 / GOLD.a**3 * np.pi / 6 * diameter**3
        assert len(positions) == min((round(_magic(shape, n)) for n in range(1, 60)), key=lambda count: abs(count - wanted))
        np.testing.assert_allclose(positions.min(axis=0), -positions.max(axis=0), atol=1e-9)


def test_a_wulff_shape_is_bounded_by_its_planes() -> None:
    """The distances of {100} and {111} from the middle stand as the surface energies, 1.627 : 1.283 (Wulff's theorem), within a plane's spacing."""
    positions = cluster(GOLD, "wulff", 40.0)
    out = {}
    for name, normals in (("100", [(1, 0, 0), (0, 1, 0), (0, 0, 1)]), ("111", [(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)])):
        units = np.array(normals) / np.linalg.norm(normals, axis=1)[:, None]
        out[name] = np.ptp(positions @ units.T, axis=0).mean() / 2
    assert out["100"] / out["111"] == pytest.approx(1.627 / 1.283, abs=0.12)


@pytest.mark.parametrize("shape", ["wulff", "octahedron", "cuboctahedron", "icosahedron", "decahedron"])
def test_particles_are_whole_metal_in_front_of_the_film(shape: str) -> None:
    """Gold bonds of 2.884 A on average, +-4 % (twinned shapes are strained); gold before carbon, interlocked or not, 2.3 A apart or just more."""
    sample = load_sample("au-particle-carbon", shape=shape, diameter_angstrom=12, film_thickness_angstrom=6, seed=4)
    symbols, z = np.array(sample.symbols), sample.positions_angstrom[:, 2]
    bonds = find_bonds(sample)
    gold = (symbols[bonds.first] == "Au") & (symbols[bonds.second] == "Au")
    np.testing.assert_allclose(bonds.length[gold], 2.884, rtol=0.04)
    assert bonds.length[gold].mean() == pytest.approx(2.884, abs=2e-3)
    assert z[symbols == "Au"].mean() < z[symbols == "C"].min()
    metal, film = sample.positions_angstrom[symbols == "Au"], sample.positions_angstrom[symbols == "C"]
    nearest = np.linalg.norm(metal[:, None] - film[None], axis=-1).min()
    assert 2.3 <= nearest < 2.45
    assert z.min() == pytest.approx(2.0)
    one = sample.defects[0]
    assert one.kind == "particle"
    np.testing.assert_allclose(one.position_angstrom, (metal.min(axis=0) + metal.max(axis=0)) / 2, atol=1.5)


def test_particles_turn() -> None:
    """The seed turns a particle; along [001] of a cube-shaped crystal the fourfold axis stays along the beam; rotations are proper."""
    free = {"diameter_angstrom": 14.0, "film_thickness_angstrom": 0.0}
    assert load_sample("au-particle-carbon", seed=1, **free).digest != load_sample("au-particle-carbon", seed=2, **free).digest
    sample = load_sample("au-particle-carbon", view="001", seed=3, **free)
    layers = np.unique(np.round(sample.positions_angstrom[:, 2], 4))
    np.testing.assert_allclose(np.diff(layers), 4.078 / 2, atol=1e-3)
    for view in ("random", "001", "110", "111"):
        turn = rotation(view, np.random.default_rng(5))
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
    axes = np.array([rotation("random", np.random.default_rng(seed))[2] for seed in range(800)])
    assert np.abs(axes.mean(axis=0)).max() < 4 * (1 / 3 / 800) ** 0.5  # every direction as often


def test_particles_need_room() -> None:
    """A box narrower than the particle, or thinner than particle and film, raises with what is needed."""
    with pytest.raises(SettingsError, match=r"too small for a particle .* which needs \("):
        load_sample("au-particle-carbon", size_angstrom=(16, 16), film_thickness_angstrom=0)
    with pytest.raises(SettingsError, match="cannot hold particle and film"):
        load_sample("au-particle-carbon", thickness_angstrom=8, film_thickness_angstrom=0)


@pytest.mark.parametrize(("asked", "built", "cells"), [(21.8, 21.787, 7), (13.2, 13.174, 19), (9.4, 9.430, 37), (7.3, 7.341, 61), (6.0, 6.009, 91)])
def test_commensurate_angles(asked: float, built: float, cells: int) -> None:
    """cos(theta) = (n^2 + 4nm + m^2) / 2(n^2 + nm + m^2): the series m = n + 1 of twisted bilayers, with n^2 + nm + m^2 cells to a sheet."""
    i, j, angle = commensurate(asked)
    assert angle == pytest.approx(built, abs=1e-3)
    assert i * i + i * j + j * j == cells
    assert np.cos(np.radians(angle)) == pytest.approx((i * i + 4 * i * j + j * j) / (2 * cells))


@pytest.mark.parametrize(("name", "per_cell", "a", "layers"), [("graphene-bilayer", 2, 2.46, 2), ("mos2-bilayer", 3, 3.16, 6)])
def test_twisted_sheets_are_whole(name: str, per_cell: int, a: float, layers: int) -> None:
    """Each sheet keeps its density and its bonds, on a periodic cell without strain; the bonds of the two differ by the twist."""
    sample = load_sample(name, twist_deg=21.8)
    area = np.prod(sample.size_angstrom) / (a * a * 3**0.5 / 2)
    assert len(sample) == round(2 * per_cell * area)
    assert sample.strain < 1e-9
    bonds, z = find_bonds(sample), sample.positions_angstrom[:, 2]
    assert len(np.unique(np.round(z, 3))) == layers
    turns = []
    for low in (True, False):
        ours = (z[bonds.first] < sample.thickness_angstrom / 2) == low
        assert np.ptp(bonds.length[ours]) < 1e-6
        angle = np.degrees(np.arctan2(bonds.step[ours, 1], bonds.step[ours, 0])) % 60
        turns.append(np.median(angle))
        assert np.ptp(np.minimum(np.abs(angle - turns[-1]), 60 - np.abs(angle - turns[-1]))) < 1e-6
    assert min(abs(turns[0] - turns[1]), 60 - abs(turns[0] - turns[1])) == pytest.approx(21.787, abs=1e-3)
    assert sample.defects[0].name == "21.787 degrees"


def test_stackings_of_the_crystals() -> None:
    """Without a twist graphene is AB (half of the atoms above each other, 3.35 A apart), MoS2 is 2H (each Mo above S, 6.147 A between the layers)."""
    graphene = load_sample("graphene-bilayer")
    z = graphene.positions_angstrom[:, 2]
    assert np.ptp(z) == pytest.approx(3.35)
    low, high = graphene.positions_angstrom[z < z.mean()], graphene.positions_angstrom[z > z.mean()]
    above = np.linalg.norm(low[:, None, :2] - high[None, :, :2], axis=-1).min(axis=1) < 1e-4
    assert above.mean() == pytest.approx(0.5)
    layers = load_sample("mos2-bilayer")
    metal, sulphur = (layers.positions_angstrom[layers.numbers == number] for number in (42, 16))
    np.testing.assert_allclose(np.ptp(metal[:, 2]), 6.147)
    away = np.linalg.norm(metal[:, None, :2] - sulphur[None, :, :2], axis=-1)
    assert np.all(np.sum(away < 1e-4, axis=1) == 2)


def test_twists_that_cannot_be_met_are_refused() -> None:
    """0.4 degrees needs more cells than allowed: the nearest twist is named."""
    with pytest.raises(SettingsError, match=r"Use the nearest twist, 2\.\d+ degrees"):
        load_sample("graphene-bilayer", twist_deg=0.4)
