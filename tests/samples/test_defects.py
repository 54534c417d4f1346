"""Defects: what changes, what stays, what is remembered, what is refused."""

import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.twin.errors import SettingsError
from stemtwin.twin.samples.defects import add, displace, remove, share, sites, substitute
from stemtwin.twin.samples.library import load_sample
from stemtwin.twin.samples.sample import Defect, Sample

SHEET = load_sample("mos2-1h")


def test_removal_keeps_everybody_else() -> None:
    """Without two atoms the others keep element, place, motion and order; the record holds element and place of each, the recipe is gone."""
    less = remove(SHEET, [5, 40])
    kept = np.delete(np.arange(len(SHEET)), [5, 40])
    assert np.array_equal(less.numbers, SHEET.numbers[kept])
    assert np.array_equal(less.positions_angstrom, SHEET.positions_angstrom[kept])
    assert np.array_equal(less.thermal_sigma_angstrom, SHEET.thermal_sigma_angstrom[kept])
    assert [one.removed for one in less.defects] == [(SHEET.symbols[5],), (SHEET.symbols[40],)]
    assert [one.position_angstrom for one in less.defects] == [tuple(SHEET.positions_angstrom[i]) for i in (5, 40)]
    assert {one.kind for one in less.defects} == {"vacancy"}
    assert less.recipe == ""
    assert remove(SHEET, []) is SHEET


def test_a_row_is_one_defect() -> None:
    """Two atoms above each other are one V_2S in the middle of the layer, also where they lie around the edge of the box."""
    bottom, top, places = sites(SHEET, "S", side="entrance"), sites(SHEET, "S", side="exit"), SHEET.positions_angstrom
    above = [top[np.argmin(np.linalg.norm(places[top, :2] - places[i, :2], axis=1))] for i in bottom[:2]]
    less = remove(SHEET, np.column_stack([bottom[:2], above]))
    assert [one.name for one in less.defects] == ["V_2S", "V_2S"]
    assert [one.position_angstrom[2] for one in less.defects] == pytest.approx([SHEET.thickness_angstrom / 2] * 2)
    far = Sample(name="s", numbers=[6, 7], positions_angstrom=[[0.5, 1, 1], [7.5, 1, 1]], size_angstrom=(8, 8), thickness_angstrom=3)
    gone = remove(far, [[0, 1]]).defects[0]
    assert gone.name == "V_CN"
    assert gone.position_angstrom == pytest.approx((0.0, 1.0, 1.0), abs=1e-9)


def test_substitution_is_in_place() -> None:
    """Elements change and nothing moves; motion is the old atom's unless it is given; an atom that is right already leaves no record."""
    metal = sites(SHEET, "Mo")
    mixed = substitute(SHEET, metal[:3], "W", sigma_angstrom=0.05)
    assert np.array_equal(mixed.positions_angstrom, SHEET.positions_angstrom)
    assert mixed.formula == "Mo27S60W3"
    assert np.all(mixed.thermal_sigma_angstrom[metal[:3]] == 0.05)
    assert [one.name for one in mixed.defects] == ["W_Mo"] * 3
    assert np.array_equal(substitute(SHEET, metal[:3], "W").thermal_sigma_angstrom, SHEET.thermal_sigma_angstrom)
    assert substitute(mixed, metal[:3], "W") is mixed


def test_adding_and_taking_away_again() -> None:
    """An adatom stands where it was put, wrapped into the box; without it the sample has the digest that it had."""
    place = np.array([SHEET.size_angstrom[1] + 1.0, 2.0, 0.3])
    more = add(SHEET, ["Si"], [place], sigma_angstrom=0.06)
    assert more.numbers[-1] == 14
    assert more.positions_angstrom[-1] == pytest.approx([1.0, 2.0, 0.3])
    assert more.defects == (Defect(kind="adatom", name="Si_ad", position_angstrom=tuple(more.positions_angstrom[-1]), added=("Si",)),)
    assert remove(more, [len(SHEET)]).digest == SHEET.digest


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_there_and_back(seed: int) -> None:
    """Moving atoms by up to 0.3 A and back, around the edges too, is the identity; a named move is one record for each row."""
    rng = np.random.default_rng(seed)
    atoms, step = rng.choice(len(SHEET), 12, replace=False), rng.uniform(-0.3, 0.3, (12, 3))
    moved = displace(SHEET, atoms, step)
    assert moved.defects == ()
    assert moved.digest != SHEET.digest
    back = displace(moved, atoms, -step, name="back").positions_angstrom - SHEET.positions_angstrom
    box = np.array([SHEET.size_angstrom[1], SHEET.size_angstrom[0], 1e9])
    assert np.abs(back - box * np.round(back / box)).max() < 2e-5  # wrapping moves what lies within 1e-5 A of the edge onto it
    assert len(displace(SHEET, atoms.reshape(6, 2), step.reshape(6, 2, 3), name="pairs").defects) == 6


@given(count=st.integers(1, 300), low=st.floats(0, 1), high=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_shares_are_whole_numbers_and_nested(count: int, low: float, high: float, seed: int) -> None:
    """A share is the whole number below or above fraction x sites, sorted, without repeats; for one seed a smaller one lies in a larger one."""
    low, high = sorted((low, high))
    few, many = (share(np.arange(100, 100 + count), fraction, np.random.default_rng(seed)) for fraction in (low, high))
    for fraction, drawn in ((low, few), (high, many)):
        assert abs(len(drawn) - fraction * count) < 1
        assert np.all(np.diff(drawn) > 0)
    assert set(few) <= set(many)


def test_the_mean_share_is_the_fraction() -> None:
    """0.25 of 10 sites: 2 or 3, as often; each site is drawn as often as each other (4 standard deviations over 4000 draws)."""
    draws = [share(np.arange(10), 0.25, np.random.default_rng(seed)) for seed in range(4000)]
    counts = np.array([len(one) for one in draws])
    assert set(counts) == {2, 3}
    assert abs(counts.mean() - 2.5) < 4 * 0.5 / 4000**0.5
    often = np.bincount(np.concatenate(draws), minlength=10) / 4000
    assert np.abs(often - 0.25).max() < 4 * (0.25 * 0.75 / 4000) ** 0.5


def test_sublattices_by_element_and_side() -> None:
    """The two sulphur planes share the sulphur, the molybdenum lies on neither side, no symbol means all."""
    entrance, exit_side = sites(SHEET, "S", side="entrance"), sites(SHEET, "S", side="exit")
    assert np.array_equal(np.sort(np.concatenate([entrance, exit_side])), sites(SHEET, "S"))
    assert SHEET.positions_angstrom[entrance, 2].max() < SHEET.positions_angstrom[exit_side, 2].min()
    assert len(sites(SHEET)) == len(SHEET)
    assert np.array_equal(sites(SHEET, "Mo", "S"), sites(SHEET))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: remove(s, [90]), "atom 90 does not exist: mos2-1h has atoms 0 to 89"),
        (lambda s: remove(s, [-1]), "atom -1 does not exist"),
        (lambda s: remove(s, [3, 3]), "atom 3 is named twice"),
        (lambda s: substitute(s, [3], "Xx"), "'Xx' is not the symbol of an element"),
        (lambda s: sites(s, "Au"), "mos2-1h holds no Au. Choose among the atoms of Mo30S60"),
        (lambda s: sites(s, "Mo", side="exit"), "holds no Mo on the exit side"),
        (lambda s: sites(s, "S", side="left"), "side='left' is unknown. Use one of both, entrance, exit"),
        (lambda _: share(np.arange(3), 1.2, np.random.default_rng(0)), r"fraction=1\.2 must lie between 0 and 1"),
        (lambda _: share(np.arange(3), float("nan"), np.random.default_rng(0)), "fraction=nan"),
        (lambda s: add(s, ["C"], [s.positions_angstrom[4] + [0.9, 0, 0]]), r"C at \(.*\) A overlaps .* \(atom 4\), 0.900 A away; the limit is"),
        (lambda s: add(s, ["C"], [[0, 0, 99]]), "lies outside the box"),
        (lambda s: add(s, ["C", "C"], [[0, 0, 1]]), "1 positions for 2 symbols"),
        (lambda s: displace(s, [4], [0, 0, 50]), "lies outside the box"),
        (lambda _: Defect(kind="vacancy", name="V", position_angstrom=(0, 0)), "must be three finite numbers"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(change: Callable[[Sample], object], words: str) -> None:
    """Atoms that are not there, named twice, no element, overlapping, outside: one sentence each, the sample unchanged."""
    digest = SHEET.digest
    with pytest.raises(SettingsError, match=words):
        change(SHEET)
    assert SHEET.digest == digest


def test_defects_travel() -> None:
    """Records survive pickling and being written as plain values, and no digest depends on them."""
    less = remove(SHEET, [5, 40])
    assert pickle.loads(pickle.dumps(less)).defects == less.defects
    plain = json.loads(
        json.dumps([{"kind": d.kind, "name": d.name, "position_angstrom": d.position_angstrom, "removed": d.removed} for d in less.defects])
    )
    again = Sample(
        name="s",
        numbers=less.numbers,
        positions_angstrom=less.positions_angstrom,
        size_angstrom=less.size_angstrom,
        thickness_angstrom=less.thickness_angstrom,
        thermal_sigma_angstrom=less.thermal_sigma_angstrom,
        defects=tuple(plain),
    )
    assert again.defects == less.defects
    assert again.digest == less.digest
