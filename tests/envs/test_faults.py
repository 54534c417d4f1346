"""Faults of an instrument: blocked stages, refused commands, closed valves, failed corrections; what is told of them and what is not."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stemtwin as st
from stemtwin.twin.envs import ENVIRONMENTS
from stemtwin.twin.envs import session as sessions
from stemtwin.twin.envs.arguments import EnvArguments, Randomisation
from stemtwin.twin.envs.families.autofocus import Autofocus
from stemtwin.twin.envs.faults import FAULTS, MOVING_S, Faults
from stemtwin.twin.envs.functional_env import start
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.envs.preparation import specimen
from stemtwin.twin.envs.session import Session
from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.instrument.hardware.profiles import PROFILES
from stemtwin.twin.instrument.scope.setup import Setup
from stemtwin.twin.instrument.scope.specimen_state import find_damage
from stemtwin.twin.samples.library import load_sample

PROFILE = replace(PROFILES["corrected-200kv"], semiangle_mrad=10.0)
SCAN = st.RasterScan(shape=(24, 32), field_of_view_angstrom=(6.0, 8.0))
ALWAYS = 1.0


def opened(**chances: float) -> Session:
    """Return a session at one cell of MoS2, static, with faults."""
    setup = Setup(profile=PROFILE, seed=3, phonons="static", window_angstrom=20.0)
    return sessions.start(setup, specimen("mos2-1h"), faults=Faults(**chances))


@pytest.mark.parametrize("name", FAULTS)
def test_probabilities_are_checked_and_travel_as_json(name: str) -> None:
    """A probability is a number in [0, 1], of Faults as of a randomisation, which JSON leaves as it is and an episode hands on."""
    for wrong in (-0.1, 1.1, float("nan"), "often"):
        for made in (Faults, Randomisation):
            with pytest.raises(SettingsError, match=name):
                made(**{name: wrong})
    value = Randomisation(**{name: 0.25})
    assert Randomisation(**json.loads(json.dumps(asdict(value)))) == value
    assert value.draw(np.random.default_rng(0)).faults == Faults(**{name: 0.25})
    assert value.possible
    assert not Faults().possible


@pytest.mark.parametrize("name", FAULTS)
def test_faults_have_streams_of_their_own(name: str) -> None:
    """Of 400 draws with a probability of 0.3 about 120 happen (five standard deviations), and two faults do not happen together."""
    session, other = opened(**{name: 0.3}), FAULTS[(FAULTS.index(name) + 1) % len(FAULTS)]
    drawn = [[sessions._drawn(opened(**{one: 0.3}), one, number) for number in range(400)] for one in (name, other)]
    assert abs(sum(drawn[0]) - 120) < 5 * np.sqrt(400 * 0.3 * 0.7)
    assert drawn[0] != drawn[1]
    assert drawn[0] == [sessions._drawn(session, name, number) for number in range(400)]


def test_a_blocked_stage_takes_its_time_and_stays() -> None:
    """Stage, encoders and creep are as they were, the clock goes as far as with a free stage, and the operator is told."""
    before = opened(blocked_stage=ALWAYS)
    after, free = sessions.move(before, {"x_angstrom": 900.0}), sessions.move(opened(), {"x_angstrom": 900.0})
    assert after.failed
    assert not free.failed
    assert (after.scope.stage, after.scope.creep) == (before.scope.stage, before.scope.creep)
    assert after.clock_s == pytest.approx(free.clock_s)
    assert after.clock_s > before.clock_s


def test_commands_are_refused_until_the_stage_has_settled() -> None:
    """After a move knobs, optics, corrections and moves are refused and take no time; after a wait none is; a blocked stage does not move."""
    moved = sessions.move(opened(refused_while_moving=ALWAYS), {"x_angstrom": 100.0})
    assert not moved.failed
    for command in (
        lambda one: sessions.set_knobs(one, {"current_pa": 20.0}),
        lambda one: sessions.turn_optics(one, {"C10": 20.0}),
        lambda one: sessions.correct(one, "C1", 20.0),
        lambda one: sessions.move(one, {"x_angstrom": 0.0}),
    ):
        refused, done = command(moved), command(sessions.wait(moved, MOVING_S))
        assert refused.failed
        assert refused.scope is moved.scope
        assert not done.failed
        assert done.scope is not moved.scope
    stuck = sessions.move(opened(refused_while_moving=ALWAYS, blocked_stage=ALWAYS), {"x_angstrom": 100.0})
    assert not sessions.set_knobs(stuck, {"current_pa": 20.0}).failed
    _, seen = sessions.acquire(moved, SCAN)
    assert seen.scope.frames == 1


def test_a_failed_correction_leaves_the_optics() -> None:
    """Aberrations stay as they are, other knobs are set, the corrector's time passes, and the operator is told."""
    before = opened(failed_correction=ALWAYS)
    set_, turned = sessions.set_knobs(before, {"C10": 20.0, "current_pa": 20.0}), sessions.turn_optics(before, {"C10": 20.0})
    corrected, right = sessions.correct(before, "A1", 20.0), sessions.correct(opened(), "A1", 20.0)
    for after in (set_, turned, corrected):
        assert after.failed
        assert after.scope.knobs.aberrations == before.scope.knobs.aberrations
        assert after.scope.corrected == before.scope.corrected
    assert set_.scope.knobs.current_pa == 20.0
    assert corrected.clock_s == right.clock_s == PROFILE.corrector.duration_s
    assert right.scope.corrected != before.scope.corrected
    assert not sessions.set_knobs(before, {"current_pa": 20.0}).failed


@pytest.mark.parametrize("detectors", [("haadf", "bf"), *(pytest.param((name,), marks=pytest.mark.slow) for name in ("eels", "edx", "pixelated"))])
def test_a_closed_valve_shows_in_its_dark_frame_alone(detectors: tuple[str, ...]) -> None:
    """Frames are those of a blanked beam to the last bit, attributes, cost and clock those of an open valve; the specimen gets no dose."""
    scan = st.RasterScan(shape=(2, 3), field_of_view_angstrom=(2.0, 3.0)) if detectors != ("haadf", "bf") else SCAN
    closed, free = opened(closed_valve=ALWAYS), opened()
    asked: dict[str, Any] = {"detectors": detectors, "frames": 2, "dwell_time_us": 1e5 if detectors == ("edx",) else 10.0}
    dark, after = sessions.acquire(closed, scan, **asked)
    seen, lit = sessions.acquire(free, scan, **asked)
    blanked, _ = sessions.acquire(sessions.set_knobs(free, {"blanked": True}), scan, **asked)
    for name in dark.data_vars:
        np.testing.assert_array_equal(dark[name].to_numpy(), blanked[name].to_numpy())
        assert dark[name].attrs == seen[name].attrs
        assert float(dark[name].sum()) < float(seen[name].sum())
    assert dark.attrs == seen.attrs
    assert after.cost == lit.cost
    assert (after.scope.knobs, after.scope.frames, after.failed) == (lit.scope.knobs, lit.scope.frames, False)
    assert after.scope.dose.electrons == 0 < lit.scope.dose.electrons


@pytest.mark.slow
def test_a_closed_valve_keeps_the_specimen() -> None:
    """A beam that would change a specimen changes nothing behind a closed valve."""
    setup, sample = replace(opened().setup, damage=find_damage(True), window_angstrom=10.0), load_sample("mos2-1h", size_angstrom=(12.0, 12.0))
    for faults in (Faults(), Faults(closed_valve=ALWAYS)):
        _, after = sessions.park(sessions.start(setup, sample, faults=faults), (1.0, 1.0), 2.0, looks=20)
        assert after.scope.matter is not None
        assert bool(len(after.scope.matter.events)) is not faults.possible


def test_bare_frames_have_the_same_faults() -> None:
    """Bare frames behind a valve that is closed now and then are those of acquire(), alone and together."""
    first = [opened(closed_valve=0.5), replace(opened(closed_valve=0.5), setup=replace(opened().setup, seed=4)), opened()]
    plan = sessions.imaging_plan(first[0], SCAN)
    operator, together, dark = plan.operator(), list(first), 0
    for _ in range(6):
        found = sessions.acquire_bare(together, [(operator, plan)] * 3, [SCAN] * 3, [5.0] * 3)
        for one, (readings, _, after) in zip(together, found, strict=True):
            frame, right = sessions.acquire(one, SCAN, dwell_time_us=5.0)
            np.testing.assert_array_equal(readings[0], frame["haadf"].to_numpy())
            assert (after.cost["beam_s"], after.clock_s, after.scope.frames) == (right.cost["beam_s"], right.clock_s, right.scope.frames)
            dark += sessions.valve_closed(one)
        together = [after for *_, after in found]
    assert 2 <= dark <= 10


def test_measurements_fail_behind_a_closed_valve() -> None:
    """A measurement behind a closed valve takes its time and finds nothing; one of an open valve is that of the microscope."""
    found, after = sessions.measure(opened(), "C1A1")
    nothing, failed = sessions.measure(opened(closed_valve=ALWAYS), "C1A1")
    scope = st.Microscope(specimen("mos2-1h"), PROFILE, seed=3, phonons="static", window_angstrom=20.0)
    assert found is not None
    assert found.dataset().identical(scope.measure("C1A1"))
    assert nothing is None
    assert (failed.failed, after.failed) == (True, False)
    assert failed.clock_s == after.clock_s


def test_the_documents_say_which_environments_have_a_fault() -> None:
    """The table of docs/environments.md names for each fault those whose current version draws it."""
    current = {name: family for name in ENVIRONMENTS if issubclass(family := family_class(name), EnvArguments)}
    text = (Path(__file__).parents[2] / "docs" / "environments.md").read_text(encoding="utf-8")
    for fault in FAULTS:
        cell = next(line for line in text.splitlines() if line.startswith(f"| `{fault}`")).rsplit("|", 2)[1]
        named = set(re.findall(r"`(\w+)`", cell))
        have = {name.partition("/")[2].partition("-")[0] for name, family in current.items() if fault in family.RANDOMISED}
        others = {name.partition("/")[2].partition("-")[0] for name in current} - have
        assert named == (others if cell.strip().startswith("all") else have), fault


def test_faults_reach_an_environment() -> None:
    """Frames of Autofocus-v2 are dark as often as its valve is closed, and failed corrections leave the read-backs; its stage has no faults."""
    task = Autofocus(difficulty="easy", phonons=1, randomisation={"closed_valve": 0.5, "failed_correction": 0.5})
    usual = Autofocus(difficulty="easy", phonons=1)
    dark = failed = 0
    for seed in range(8):
        state, open_ = (start(one, np.random.Generator(np.random.Philox(seed)), {})[0] for one in (task, usual))
        assert state.true.tolist() == open_.true.tolist()
        after = task.transition(state, np.array([0.5, 0, 0, -1], np.float32), np.random.default_rng(0))
        dark += int(not after.images[0].any())
        failed += int(after.knobs[0] == 0)
        assert after.dose == pytest.approx(2 * state.dose)
    assert 1 <= dark <= 7
    assert 1 <= failed <= 7
    with pytest.raises(UnknownNameError, match="does not draw 'blocked_stage'"):
        Autofocus(randomisation={"blocked_stage": 0.1})
