"""Translations of perfect crystals: found from the atoms, and lost with the first atom that is not in its place."""

from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.samples.defects import remove
from stemtwin.twin.samples.lattice_translations import TOLERANCE, lattice_translations
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Sample


@pytest.fixture(scope="module")
def crystal() -> Sample:
    """Return 3 x 2 cells of SrTiO3."""
    return load_sample("srtio3-001", size_angstrom=(7.8, 11.7), thickness_angstrom=4)


def moved(sample: Sample, atom: int, step: tuple[float, float, float]) -> Sample:
    """Return a sample with one atom moved, A."""
    places = sample.positions_angstrom.copy()
    places[atom] += step
    return replace(sample, positions_angstrom=places, recipe="")


@pytest.mark.parametrize(
    ("name", "side", "count"),
    [("srtio3-001", 8, 4), ("graphene", 8, 12), ("mos2-1h", 10, 12), ("au-001", 8, 8), ("si-110", 8, 2), ("lafeo3-001", 16, 9)],
)
def test_crystals_have_the_translations_of_their_lattice(name: str, side: float, count: int) -> None:
    """The number of lattice points across the beam in the cell; each one leaves the sample's atoms in place."""
    sample = load_sample(name, size_angstrom=(side, side))
    found = lattice_translations(sample)
    assert found.count == count
    width, height = sample.size_angstrom[::-1]
    here = {(n, *np.round(p % [width, height, 1e9], 4)) for n, p in zip(sample.numbers, sample.positions_angstrom + 1e-6, strict=True)}
    for step in found.vectors(sample.size_angstrom):
        places = (sample.positions_angstrom + 1e-6 + [*step, 0]) % [width, height, 1e9]
        assert {(n, *np.round(p, 4)) for n, p in zip(sample.numbers, places, strict=True)} == here


@pytest.mark.parametrize("name", ["carbon-amorphous", "graphene-si", "si-sige-110", "lasrfeo3-001"])
def test_what_is_no_perfect_crystal_has_none(name: str) -> None:
    """Glass, a dopant, a layer that is mixed at random, a mixed crystal."""
    assert lattice_translations(load_sample(name, size_angstrom=(16, 16))).count == 1


def test_one_changed_atom_ends_them(crystal: Sample) -> None:
    """A vacancy, a foreign atom, a film, a displaced atom, an atom that moves more, an edge: whatever the sample's name and recipe say."""
    count = lattice_translations(crystal).count
    assert count == 6
    numbers, sigma = crystal.numbers.copy(), np.array(crystal.thermal_sigma_angstrom)
    numbers[7], sigma[3] = 39, sigma[3] * 1.01
    film = {
        "numbers": np.append(crystal.numbers, 6),
        "positions_angstrom": np.vstack([crystal.positions_angstrom, [1.0, 1.0, crystal.thickness_angstrom + 1]]),
        "thickness_angstrom": crystal.thickness_angstrom + 2,
        "thermal_sigma_angstrom": np.append(sigma, 0.08),
    }
    broken = {
        "vacancy": remove(crystal, [5]),
        "dopant": replace(crystal, numbers=numbers),
        "film": replace(crystal, **film),
        "motion": replace(crystal, thermal_sigma_angstrom=sigma),
        "edge": replace(crystal, periodic=False),
        **{f"moved along {'xyz'[axis]}": moved(crystal, 9, tuple(0.01 * np.eye(3)[axis])) for axis in range(3)},
    }
    assert {name: lattice_translations(sample).count for name, sample in broken.items()} == dict.fromkeys(broken, 1)


def test_the_tolerance_is_a_thousandth_of_an_angstrom(crystal: Sample) -> None:
    """Rounding of coordinates in a file does not end them, and the tolerance is as stated."""
    assert lattice_translations(moved(crystal, 9, (0.9 * TOLERANCE, 0, 0))).count == 6
    assert lattice_translations(moved(crystal, 9, (1.1 * TOLERANCE, 0, 0))).count == 1
    rounded = replace(crystal, positions_angstrom=np.round(crystal.positions_angstrom, 4))
    assert lattice_translations(rounded).count == 6


def test_a_ripple_is_no_lattice(crystal: Sample) -> None:
    """Rows of atoms at heights that differ by less than the tolerance from one to the next, and by more all together."""
    steps = np.arange(40)
    places = np.column_stack([steps * 0.5, np.ones(40), 1 + 0.02 * np.sin(2 * np.pi * steps / 40)])
    sheet = {"name": "ripple", "numbers": np.full(40, 6), "size_angstrom": (4.0, 20.0), "thickness_angstrom": 2.0}
    assert lattice_translations(Sample(positions_angstrom=places, **sheet)).count == 1
    assert lattice_translations(Sample(positions_angstrom=places * [1, 1, 0], **sheet)).count == 40


def test_a_shift_of_the_origin_changes_nothing(crystal: Sample) -> None:
    """Atoms on the seam of the cell, to both sides of it by rounding."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        places = crystal.positions_angstrom + [*rng.uniform(0, 4, 2), 0] + [1e-9, 1e-9, 0] * rng.standard_normal((len(crystal), 3))
        places %= [*crystal.size_angstrom[::-1], 1e9]
        assert lattice_translations(replace(crystal, positions_angstrom=places, recipe="")).count == 6
