"""stemtwin/AtomForge: both forms have the same rates, the state form follows the exact kinetics, and what is made is what is paid."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemtwin.benchmarks.agents import Brief
from stemtwin.benchmarks.baselines.forge import Clairvoyant
from stemtwin.twin.envs import forge_kinetics, forge_scenes, forge_sight
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.families.atom_forge import LONGEST_S, SHORTEST_S, AtomForge, ForgeState, dwell_component, dwell_s
from stemtwin.twin.envs.forge_kinetics import ForgedSites
from stemtwin.twin.envs.forge_scenes import CARBON, PRESETS, SILICON, UNREACHED
from stemtwin.twin.envs.functional_env import StemEnv
from stemtwin.twin.errors import UnknownNameError
from stemtwin.twin.instrument.scope import beam_damage
from stemtwin.twin.physics.dynamics import kinetics
from stemtwin.twin.physics.dynamics.exposure import Exposure, parked
from stemtwin.twin.physics.electrons import ELECTRONS_PER_PICOAMPERE_SECOND

EASY = PRESETS["easy"]
AWAY = np.array([1, 1, -1, -1], np.float32)


def make(**arguments: Any) -> StemEnv:
    """Return the environment without Gymnasium's wrappers."""
    env = gym.make("stemtwin/AtomForge-v1", disable_env_checker=True, **{"difficulty": "easy", "privileged_info": True, **arguments}).unwrapped
    assert isinstance(env, StemEnv)
    return env


def state_of(env: StemEnv) -> ForgeState:
    """Return the state of an episode."""
    assert isinstance(env._state, ForgeState)
    return env._state


def begun(seed: int = 1, **arguments: Any) -> tuple[StemEnv, ForgeState]:
    """Return an environment at the start of an episode, and its state."""
    env = make(**arguments)
    env.reset(seed=seed)
    return env, state_of(env)


def beside_silicon(state: ForgeState) -> tuple[int, int, tuple[float, float]]:
    """Return the site of Si, that of a neighbour, and the neighbour's place on the sheet, A."""
    sheet = forge_scenes.lattice("walk")
    site = int(np.flatnonzero(state.numbers == SILICON)[0])
    other = next(one for one in sheet.bonds[site] if state.numbers[one] == CARBON)
    x, y = sheet.places[other]
    return site, other, (float(x) + sheet.middle[0], float(y) + sheet.middle[1])


# ---- physics


@pytest.fixture(scope="module")
def microscope() -> tuple[StemEnv, ForgeState]:
    """Return the form of the microscope's own frames at the start of an episode, without a frame."""
    env = make(observation="counts")
    task = env.task
    assert isinstance(task, AtomForge)
    scene = forge_scenes.draw_scene(EASY, np.random.default_rng(3), "train")
    sample, order = forge_scenes.specimen(scene, "walk")
    knobs: dict[str, Any] = forge_scenes.knobs(EASY.energy_ev)
    session = sessions.start(forge_scenes.setup("walk", 5, 1), sample, **knobs)
    numbers = np.array(scene.numbers)
    return env, ForgeState(scene=scene, numbers=numbers, bonds_left=task._bonds_left(scene, numbers), draws=(1.0, 0.5), session=session, order=order)


def test_both_forms_have_the_same_rates(microscope: tuple[StemEnv, ForgeState]) -> None:
    """Every process of every site under a parked beam has the rate in the form ``state`` that the microscope's own kinetics give it."""
    _, state = microscope
    assert state.session is not None
    assert state.order is not None
    matter, beam = state.session.scope.matter, forge_scenes.forge_beam("walk", EASY.energy_ev)
    assert matter is not None
    sites = matter.sites
    ordered = np.zeros(len(state.numbers), int)
    ordered[state.order] = sites.numbers
    np.testing.assert_array_equal(ordered, state.numbers)
    density = beam_damage._density(state.session.setup, state.session.scope, 0.0)
    _, _, place = beside_silicon(state)
    knobs = state.session.scope.knobs
    theirs = kinetics.channels(sites, parked(place, 0.7, current=knobs.current_pa, energy=knobs.energy_ev, density=density), matter.processes)
    found = ForgedSites.of(forge_scenes.lattice("walk").network.replace(numbers=state.numbers), beam)
    ours = {
        (beam.processes[c].name, s, p): 0.7 * h
        for c, s, p, h in zip(found.causes, found.sites, found.partners, found.hazards(beam, place), strict=True)
    }
    order = np.append(state.order, -1)
    other = {
        (theirs.processes[c], order[s], order[p]): h for c, s, p, h in zip(theirs.causes, theirs.sites, theirs.partners, theirs.hazards, strict=True)
    }
    assert set(ours) <= set(other)
    for key, hazard in ours.items():
        assert hazard == pytest.approx(other[key], rel=1e-9), key
    assert sum(hazard for key, hazard in other.items() if key not in ours) < 1e-4 * theirs.total


def test_a_frame_leaves_an_even_dose_in_the_field() -> None:
    """The dose that a frame of the microscope leaves at sites inside the field is that of the form ``state`` within 4 %: tails reach beyond it."""
    sheet, beam = forge_scenes.lattice("walk"), forge_scenes.forge_beam("walk", EASY.energy_ev)
    points = forge_scenes.frame_scan("walk").points()
    frame = Exposure(
        points=points, dwell=np.full(len(points), EASY.look_us * 1e-6), current=beam.current_pa, energy=beam.energy_ev, density=beam.density
    )
    inside = np.abs(sheet.places).max(axis=1) < 5
    dose = frame.dose_at(sheet.network.positions[inside], sheet.network.size)
    usual = EASY.look_s * beam.electrons_per_s / forge_scenes.FIELD_ANGSTROM**2
    assert usual == pytest.approx(EASY.look_s * beam.current_pa * ELECTRONS_PER_PICOAMPERE_SECOND / 256)
    np.testing.assert_allclose(dose, usual, rtol=0.04)


def test_parked_beams_follow_the_exact_kinetics() -> None:
    """Over 300 parked beams the numbers of hops and of replaced atoms are those of ``kinetics.advance`` within four standard errors."""
    _, state = begun()
    assert state.found is not None
    beam, (_, _, place) = forge_scenes.forge_beam("walk", EASY.energy_ev), beside_silicon(state)
    rng, counts = np.random.default_rng(2), np.zeros((2, 2))
    exposure, many = parked(place, 0.15, current=beam.current_pa, energy=beam.energy_ev, density=beam.density), 300
    names = [one.name for one in beam.processes]
    for _ in range(many):
        _, causes = forge_kinetics.parked(state.found, beam, place, 0.15, (rng.standard_exponential(), rng.random()), rng)
        other = kinetics.advance(state.found.network, exposure, beam.processes, rng).events
        for column, name in enumerate(("hop", "replace-dopant")):
            counts[0, column] += sum(names[one] == name for one in causes)
            counts[1, column] += other.count(name)
    assert counts.sum(axis=0)[0] > many / 2
    assert (np.abs(counts[0] - counts[1]) < 4 * np.sqrt(counts.sum(axis=0) + 1)).all()


@pytest.mark.slow
def test_both_forms_hop_and_lose_as_often(microscope: tuple[StemEnv, ForgeState]) -> None:
    """Over parked beams the microscope's form has the hops and replacements that the form ``state`` has, within four standard errors."""
    env, state = microscope
    assert isinstance(env.task, AtomForge)
    (_, _, place), middle = beside_silicon(state), forge_scenes.lattice("walk").middle
    at, beam, many = (place[0] - middle[0], place[1] - middle[1]), forge_scenes.forge_beam("walk", EASY.energy_ev), 60
    assert state.session is not None
    found = ForgedSites.of(forge_scenes.lattice("walk").network.replace(numbers=state.numbers), beam)
    rng, counts = np.random.default_rng(4), np.zeros((2, 2))
    for number in range(many):  # some 0.2 s of processor time each
        setup = forge_scenes.setup("walk", number, 1)
        other = env.task._parked(dataclasses.replace(state, session=dataclasses.replace(state.session, setup=setup)), at, 0.15, rng)
        assert other.session is not None
        assert other.session.scope.matter is not None
        events = other.session.scope.matter.events
        counts[0] += events.count("hop") > 0, events.count("replace-dopant") > 0
    names = [one.name for one in beam.processes]
    for _ in range(10 * many):
        _, causes = forge_kinetics.parked(found, beam, place, 0.15, (rng.standard_exponential(), rng.random()), rng)
        seen = {names[one] for one in causes}
        counts[1] += "hop" in seen, "replace-dopant" in seen
    share = counts[1] / (10 * many)
    assert (np.abs(counts[0] / many - share) < 4 * np.sqrt(share * (1 - share) / many + 1 / many**2)).all()


# ---- scenes


@pytest.mark.parametrize("difficulty", ["easy", "standard", "hard"])
def test_ways_have_their_length_around_what_cannot_be_passed(difficulty: str) -> None:
    """Si starts whole at the drawn number of bonds, at least six, and every step of a shortest way leads over carbon that has its neighbours."""
    preset, sheet = PRESETS[difficulty], forge_scenes.lattice("walk")
    assert preset.size[0] >= 6
    for seed in range(12):
        scene = forge_scenes.draw_scene(preset, np.random.default_rng(seed), "train")
        numbers, (target,) = np.array(scene.numbers), scene.target
        left = forge_scenes.distances(target, forge_scenes.shut_sites(numbers, target))
        site, steps = int(np.flatnonzero(numbers == SILICON)[0]), 0
        while site != target:
            assert all(numbers[one] > 0 for one in sheet.bonds[site])
            site = min(sheet.bonds[site], key=lambda one, left=left: left[one])
            assert numbers[site] == CARBON
            steps += 1
        assert preset.size[0] <= steps == scene.length <= preset.size[1]


def test_no_two_splits_share_a_shape_of_a_pattern() -> None:
    """Patterns hang together, have the drawn size, and keep their split when they are moved; those of two splits are never the same shape."""
    preset, sheet, shapes = PRESETS["drill"], forge_scenes.lattice("drill"), {}
    for split in ("train", "val", "test"):
        shapes[split] = set()
        for seed in range(60):
            places = sheet.places[list(forge_scenes.draw_scene(preset, np.random.default_rng(seed), split).target)]
            assert preset.size[0] <= len(places) <= preset.size[1]
            reached = {0}
            for _ in places:
                reached |= {int(one) for one in np.flatnonzero((np.hypot(*(places[:, None] - places[list(reached)]).T) < 3.3).any(axis=0))}
            assert len(reached) == len(places)
            assert forge_scenes.shape_split(places[::-1] + np.array([4.7, -2.7])) == split
            shapes[split].add(tuple(sorted(map(tuple, (places - places.mean(axis=0)).round(1).tolist()))))
        assert len(shapes[split]) > 20
    assert not shapes["train"] & shapes["val"]
    assert not (shapes["train"] | shapes["val"]) & shapes["test"]


def test_distances_are_those_of_steps_one_by_one() -> None:
    """Every reached site has a neighbour that is one bond nearer and none that is nearer than that; shut sites are not reached."""
    sheet, rng = forge_scenes.lattice("walk"), np.random.default_rng(1)
    target = int(sheet.inner[5])
    shut = frozenset(int(one) for one in rng.choice(len(sheet.bonds), 60, replace=False)) - {target}
    left = forge_scenes.distances(target, shut)
    for site, row in enumerate(sheet.bonds):
        around = min(left[list(row)])
        assert left[site] == (0 if site == target else UNREACHED if site in shut or around == UNREACHED else around + 1)


@given(st.floats(SHORTEST_S, LONGEST_S))
@settings(max_examples=50, deadline=None)
def test_times_of_the_beam_can_be_asked_for(seconds: float) -> None:
    """The component of an action for a time gives this time back, and stays in the action space."""
    component = dwell_component(seconds)
    assert -1 <= component <= 1
    assert dwell_s(component) == pytest.approx(seconds)


# ---- the goal


def changed(state: ForgeState, task: Any, numbers: np.ndarray) -> ForgeState:
    """Return a state with other atoms on its sites."""
    return dataclasses.replace(state, numbers=numbers, bonds_left=task._bonds_left(state.scene, numbers))


def test_what_is_made_is_paid() -> None:
    """Si at its target, declared, is worth 1 and 1/4 less for a lost atom; elsewhere, and without Si, nothing; the potential is 0 without Si."""
    env, state = begun()
    task: Any = env.task
    site, (target,) = int(np.flatnonzero(state.numbers == SILICON)[0]), state.scene.target
    assert (task.potential(state), task.achievement(state)) == (0.5, 0.0)
    arrived = state.numbers.copy()
    arrived[[site, target]] = arrived[[target, site]]
    done = changed(state, task, arrived)
    assert (task.potential(done), task.achievement(done)) == (1.0, 1.0)
    torn = arrived.copy()
    torn[forge_scenes.lattice("walk").bonds[target][0]] = 0
    assert task.achievement(changed(state, task, torn)) == 0.75
    gone = state.numbers.copy()
    gone[site] = CARBON
    lost = changed(state, task, gone)
    assert (task.potential(lost), task.achievement(lost)) == (0.0, 0.0)
    assert task.step_reward(state, lost) == pytest.approx(-0.15)


@pytest.mark.slow
def test_a_pattern_is_paid_when_it_is_whole() -> None:
    """The whole pattern of vacancies is worth 1, a part half its share, and another lost atom takes 1/4 of it."""
    env, state = begun(difficulty="drill")
    task: Any = env.task
    numbers = state.numbers.copy()
    numbers[state.scene.target[0]] = 0
    part = 1 / state.scene.length
    assert task.potential(changed(state, task, numbers)) == pytest.approx(part)
    assert task.achievement(changed(state, task, numbers)) == pytest.approx(part / 2)
    numbers[list(state.scene.target)] = 0
    assert task.achievement(changed(state, task, numbers)) == 1
    numbers[next(site for site in forge_scenes.exit_face(forge_scenes.lattice("drill")) if numbers[site])] = 0
    assert task.achievement(changed(state, task, numbers)) == 0.75


def test_who_knows_what_comes_next_arrives() -> None:
    """The truth of wanted events holds: a beam there for that time brings Si one bond nearer, but for a hop in a frame, until it arrives."""
    env = make()
    agent, aside = Clairvoyant(), 0
    for seed in range(3):
        observation, info = env.reset(seed=seed)
        agent.reset(
            Brief(
                task="atom-forge", observation_space=env.observation_space, action_space=env.action_space, seed=1, truth=env.truth, difficulty="easy"
            )
        )
        over = False
        while not over:
            before = info["truth"]
            action = agent.act(observation, info["cost"])
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            if action[3] < 0 and tuple(action[:2]) != (1, 1):
                aside += info["truth"]["left"] >= before["left"]
        assert info["is_success"]
    assert aside <= 1


@pytest.mark.slow
def test_who_knows_what_comes_next_makes_the_pattern() -> None:
    """Of a pattern, too, the truth of wanted events holds: no parked beam refills what was made, and one that waits for no event changes nothing."""
    env, agent = make(difficulty="drill"), Clairvoyant()
    spaces: dict[str, Any] = {"observation_space": env.observation_space, "action_space": env.action_space}
    made = 0
    for seed in range(4):
        observation, info = env.reset(seed=seed)
        agent.reset(Brief(task="atom-forge", seed=1, truth=env.truth, difficulty="drill", **spaces))
        over = False
        while not over:
            before, action = info["truth"], agent.act(observation, info["cost"])
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            assert info["truth"]["left"] <= before["left"]
        made += info["is_success"]
    assert made >= 3


def test_the_first_wait_is_the_events_own() -> None:
    """At the place that is found the beam brings the wanted event at the time that is told, and no event before; an unwanted one is not told."""
    _, state = begun()
    assert state.found is not None
    beam, (site, other, place) = forge_scenes.forge_beam("walk", EASY.energy_ev), beside_silicon(state)
    places, rng, between = np.array(place) + np.array([(0.0, 0.0), (0.5, 0.0), (-0.5, 0.3)]), np.random.default_rng(3), (SHORTEST_S, 0.5)
    for _ in range(30):
        draws = float(rng.standard_exponential()), float(rng.random())
        number, seconds = forge_kinetics.first_wait(state.found, beam, places, draws, (other, (site,)), between)
        at = (float(places[number, 0]), float(places[number, 1]))
        if seconds != forge_kinetics.UNKNOWN:
            early, none = forge_kinetics.parked(state.found, beam, at, 0.999 * seconds, draws, rng)
            after, _ = forge_kinetics.parked(state.found, beam, at, 1.0001 * seconds, draws, rng)
            assert (early.network.numbers == state.numbers).all()
            assert not none
            assert after.network.numbers[other] == SILICON
        assert forge_kinetics.first_wait(state.found, beam, places, draws, (other, ()), between)[1] == forge_kinetics.UNKNOWN


def test_events_of_a_pattern_mend_what_went_astray() -> None:
    """Atoms of the pattern may be lost, or jump into a vacancy outside of it; inside it they jump to where fewer vacancies are beside them alone."""
    sites, near = forge_scenes.drilled(), forge_scenes.sulphur_neighbours()
    numbers = forge_scenes.lattice("drill").network.numbers.copy()
    middle = int(sites[np.hypot(*forge_scenes.lattice("drill").places[sites].T).argmin()])
    target = (middle, *near[middle][:3])
    astray = near[middle][-1]
    assert all(middle in near[one] and len(row) == 6 for one in near[middle] for row in (near[one],))
    numbers[[astray, near[middle][0], near[middle][1]]] = 0
    best, second = forge_scenes.drilling_events(numbers, target)
    assert set(best) == {middle, near[middle][2]}
    assert next(iter(best)) == middle
    assert set(best[middle]) == {forge_kinetics.GONE, astray}
    beside = {one: sum(not numbers[other] for other in near[one]) for one in target}
    assert all(beside[hole] + 1 < beside[one] and not numbers[hole] for one, holes in second.items() for hole in holes)


def test_a_closed_valve_shows_nothing_and_moves_nothing() -> None:
    """Where the valve is always closed, no look shows Si in the form ``state``, nothing moves, the books count on; other faults are refused."""
    env, before = begun(randomisation={"closed_valve": 1.0})
    for _ in range(12):
        observation, _, _, _, info = env.step(np.array([0.3, 0.3, 1, -1], np.float32))
    assert not observation[:-3].any()
    np.testing.assert_array_equal(state_of(env).numbers, before.numbers)
    assert info["cost"]["beam_s"] > 12
    with pytest.raises(UnknownNameError, match="blocked_stage"):
        make(randomisation={"blocked_stage": 0.1})


@pytest.mark.slow
def test_faults_show_in_frames_of_the_microscope() -> None:
    """A closed valve gives dark frames and traces and moves nothing; a beam that is not parked has no trace, costs its look and no beam time."""
    env, before = begun(observation="counts", randomisation={"closed_valve": 1.0})
    beam = np.array([0.3, 0.3, 1, -1], np.float32)
    for _ in range(3):
        observation, _, _, _, info = env.step(beam)
        assert observation["image"].mean() < forge_sight.DARK
        assert observation["trace"].max() <= 1
    np.testing.assert_array_equal(state_of(env).numbers, before.numbers)
    np.testing.assert_array_equal(observation["tracked"], np.array(before.tracked, np.float32))
    assert info["cost"]["beam_s"] > 3
    env, _ = begun(observation="counts", randomisation={"failing": 0.9})
    parked = []
    for _ in range(20):
        spent, looks = state_of(env).beam_s, state_of(env).looks
        observation, *_ = env.step(np.array([1, 1, 0, -1], np.float32))
        parked.append(state_of(env).beam_s > spent)
        assert bool(observation["trace"].any()) is parked[-1]
        assert state_of(env).looks == looks + 1
    assert 0 < sum(parked) < 10


def test_budgets_bind() -> None:
    """The beam is parked no longer than what is left of its time, and episodes without a declared end are truncated with the looks."""
    env, _ = begun()
    steps, over = 0, False
    while not over:
        *_, terminated, over, _ = env.step(np.array([1, 1, 1, -1], np.float32))
        assert not terminated
        steps += 1
    assert steps <= EASY.looks
    assert state_of(env).beam_s <= EASY.beam_s + 1e-9
    env.reset(seed=2)
    counted = 0
    while not state_of(env).looks >= EASY.looks:
        *_, truncated, _ = env.step(AWAY)
        counted += 1
    assert truncated
    assert counted == EASY.looks - 1


def test_the_microscope_shows_where_silicon_is(microscope: tuple[StemEnv, ForgeState]) -> None:
    """In a frame of the microscope the brightest place is within 0.4 A of Si; a dark frame leaves it where it was."""
    env, state = microscope
    assert isinstance(env.task, AtomForge)
    looked = env.task._looked(state, np.random.default_rng(1))
    site = int(np.flatnonzero(looked.numbers == SILICON)[0])
    assert np.hypot(*(np.array(looked.tracked) - forge_scenes.lattice("walk").places[site])) < 0.4
    seen = env.task.observe(dataclasses.replace(looked, trace=np.zeros(10, np.uint32)))
    assert env.observation_space.contains(seen)
    assert forge_scenes.FIELD_ANGSTROM == 16
    assert seen["image"].mean() > 1
