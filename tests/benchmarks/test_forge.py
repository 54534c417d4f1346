"""Task atom-forge: scores are those of what was made, the planner's chances are those of the kinetics, and it goes around what it has seen."""

import itertools
from typing import Any

import numpy as np
import pytest

from stemtwin.benchmarks.baselines.forge_drill import DrillEye, DrillPlan, drill_rates
from stemtwin.benchmarks.baselines.forge_planner import BEYOND, BOND, DWELLS, HOPPED, REPLACED, START, WalkTerms, outcomes, patch, plan, up
from stemtwin.benchmarks.episodes import Episode
from stemtwin.benchmarks.families import forge_drill
from stemtwin.benchmarks.families.forge import score
from stemtwin.twin.envs import forge_kinetics, forge_scenes, forge_sight
from stemtwin.twin.envs.forge_kinetics import ForgedSites
from stemtwin.twin.envs.forge_scenes import CARBON, PRESETS, SILICON

EASY = PRESETS["easy"]


def ended(number: int, *, terminated: bool = True, **end: float) -> Episode:
    """Return an episode of one action."""
    start = {"length": 6.0, "left": 6.0, "lost": 0.0, "dopant": 1.0, "foreign": 2.0, "empty": 0.0}
    cost = {"dose_e_per_angstrom2": 1e7, "beam_s": 4.0, "moves": 9.0, "looks": 10.0}
    common: dict[str, Any] = {"actions": ((0.0, 0.0, 0.0, 1.0),), "rewards": (0.0,), "wall_s": 0.0, "observations_sha256": ""}
    return Episode(number=number, seed=number, start=start, end={**start, **end}, cost=cost, terminated=terminated, **common)


def test_scores_are_those_of_what_was_made() -> None:
    """Arrival counts where it was declared, unharmed where no atom was lost; the way of a lost Si is not shortened."""
    episodes = [ended(0, left=0), ended(1, left=0, lost=1), ended(2, left=0, terminated=False), ended(3, left=99, dopant=0), ended(4, left=3)]
    found = score(episodes).statistics
    np.testing.assert_array_equal(found["arrived"], [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(found["unharmed"], [1, 0, 0, 0, 0])
    np.testing.assert_allclose(found["shortening"], [1, 1, 1, 0, 0.5])
    np.testing.assert_array_equal(found["kept"], [1, 1, 1, 0, 1])
    assert score(episodes).columns["difficulty"].tolist() == ["easy", "standard", "hard", "easy", "standard"]


def test_patterns_count_where_they_are_whole() -> None:
    """Only the whole pattern at a declared end counts; in the achievement, a part is half its fraction, and each other loss costs a quarter."""
    episodes = [ended(0, left=0), ended(1, left=0, lost=1), ended(2, left=0, terminated=False), ended(3, left=3), ended(4, left=2, lost=5)]
    found = forge_drill.score(episodes).statistics
    np.testing.assert_array_equal(found["unharmed"], [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(found["whole"], [1, 1, 0, 0, 0])
    np.testing.assert_allclose(found["achieved"], [1, 0.75, 0, 0.25, 0])
    np.testing.assert_allclose(found["finished"], [1, 1, 1, 0.5, 2 / 3])


def test_the_planners_chances_are_those_of_the_kinetics() -> None:
    """Of 400 parked beams Si stays, hops to the wanted neighbour, or is replaced as often as planned, within four standard errors."""
    sheet, beam, rng = forge_scenes.lattice("walk"), forge_scenes.forge_beam("walk", EASY.energy_ev), np.random.default_rng(1)
    site = int(sheet.inner[20])
    numbers = np.full(len(sheet.bonds), CARBON)
    numbers[site] = SILICON
    found, wanted = ForgedSites.of(sheet.network.replace(numbers=numbers), beam), sheet.bonds[site][0]
    place = (float(sheet.places[wanted][0]) + sheet.middle[0], float(sheet.places[wanted][1]) + sheet.middle[1])
    dwell, many, counts = 2, 400, np.zeros(3)
    for _ in range(many):
        after, _ = forge_kinetics.parked(found, beam, place, DWELLS[dwell], (rng.standard_exponential(), rng.random()), rng)
        now = np.flatnonzero(after.network.numbers == SILICON)
        counts += len(now) and now[0] == site, len(now) and now[0] == wanted, not len(now)
    chances = outcomes(EASY.energy_ev)[BEYOND.index(0.0), dwell][[START, HOPPED, REPLACED]]
    assert (np.abs(counts / many - chances) < 4 * np.sqrt(chances * (1 - chances) / many + 1 / many**2)).all()
    np.testing.assert_allclose(outcomes(EASY.energy_ev).sum(axis=2), 1)


@pytest.mark.parametrize("sublattice", [1, -1])
def test_a_patch_is_the_lattice(sublattice: int) -> None:
    """Every link of a patch is a bond's length, goes to the other sublattice and back, and its sites are those of the field."""
    found = patch((1.0, -2.0), sublattice)
    for site, row in enumerate(found.links):
        for number, other in enumerate(row):
            if other >= 0:
                np.testing.assert_allclose(found.places[other] - found.places[site], up(int(found.sublattice[site]))[number], atol=1e-9)
                assert site in found.links[other]
                assert found.sublattice[other] == -found.sublattice[site]
    assert len(found.places) == pytest.approx(256 / (0.75 * np.sqrt(3) * BOND**2), rel=0.1)


def test_a_plan_leads_around_and_stops_at_the_target() -> None:
    """Followed without chance, the plan reaches the target around foreign and empty sites; it stops there, and where no way is left."""
    found = patch((0.0, 0.0), 1)
    nothing = np.zeros(len(found.places), bool)
    far = int(found.bonds(nothing).argmax())
    foreign, empty = nothing.copy(), nothing.copy()
    foreign[[int(found.links[0][0]), int(found.links[int(found.links[0][1])][2])]] = True
    length = int(found.bonds(foreign)[far])
    terms = WalkTerms(energy_ev=EASY.energy_ev, looks=EASY.looks, beam_s=EASY.beam_s, length=length)
    made, site, steps = plan(terms, found, foreign, empty), far, 0
    while (chosen := made.at(site, EASY.looks)) is not None:
        site, steps = int(found.links[site][chosen[0]]), steps + 1
        assert not foreign[site]
        assert steps < 40
    assert site == 0
    empty[found.links[0]] = True
    assert plan(terms, found, foreign, empty).at(far, EASY.looks) is None


@pytest.fixture(scope="module")
def drilling() -> DrillPlan:
    """Return a plan of three places of S in a row, of a beam of 66 kV."""
    sites = forge_scenes.drilled()
    row = sites[np.abs(forge_scenes.lattice("drill").places[sites, 1] - 0.9) < 0.1]
    scene = forge_scenes.ForgeScene(numbers=(), target=tuple(int(one) for one in row[1:4]), length=3)
    bright = np.ones(len(forge_scenes.lattice("drill").bonds))
    eye = DrillEye(np.concatenate([forge_sight._pattern(scene, bright), [1.0, 1.0, 0.66]]))
    return DrillPlan(eye, drill_rates(66e3, 0.04, 36, 15.0, 3))


def test_rates_of_a_pattern_are_those_of_the_kinetics(drilling: DrillPlan) -> None:
    """Losses and jumps of S under a beam on a place beside a vacancy have the rates that the kinetics of the sheet give them, within 2 %."""
    beam, sheet, sites = drilling.rates.beam, forge_scenes.lattice("drill"), forge_scenes.drilled()
    at, other = np.flatnonzero(drilling.eye.wanted)[:2]
    empty = np.zeros(len(sites), bool)
    empty[other] = True
    numbers = sheet.network.numbers.copy()
    numbers[sites[other]] = 0
    found = ForgedSites.of(sheet.network.replace(numbers=numbers), beam)
    place = sheet.places[sites[at]] + np.array(sheet.middle)
    hazards = found.hazards(beam, (float(place[0]), float(place[1])))
    hit = found.sites == sites[at]
    ours, _ = drilling.events(empty, int(at))
    theirs = sorted(hazards[hit].tolist())
    assert len(theirs) == 2
    np.testing.assert_allclose(sorted(ours.tolist())[-2:], theirs, rtol=0.02)


def test_a_pattern_is_worth_more_the_less_is_left(drilling: DrillPlan) -> None:
    """The whole pattern is worth most and ends the plan; an astray vacancy costs more the further it is, at most an atom, beside what is unmade."""
    wanted, apart = drilling.eye.wanted, drilling.steps
    first = int(np.flatnonzero(wanted)[0])
    part = wanted.copy()
    part[first] = False
    assert drilling.best(wanted) is None
    assert drilling.value(wanted) == 0 > drilling.value(part)
    values = {}
    for site in np.flatnonzero(~wanted):
        astray = part.copy()
        astray[site] = True
        values.setdefault(int(apart[first, site]), []).append(drilling.value(astray))
    means = [float(np.mean(values[step])) for step in sorted(values)]
    assert all(one >= following for one, following in itertools.pairwise(means))
    assert min(means) >= drilling.value(part) - drilling.rates.loss - 1e-9
    chosen = drilling.best(part)
    assert chosen is not None
    assert chosen[0] == first
