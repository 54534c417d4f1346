"""Windows that last: optics that stray and knobs that are turned cost few operators."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from stemtwin.twin.instrument.hardware.drift import AberrationWander, Instabilities
from stemtwin.twin.instrument.hardware.profiles import PROFILES, Profile
from stemtwin.twin.instrument.scan import RasterScan
from stemtwin.twin.instrument.scope import imaging_requests
from stemtwin.twin.instrument.scope.microscope import Microscope
from stemtwin.twin.instrument.scope.state import ScopeState
from stemtwin.twin.instrument.simulation import operator_cache
from stemtwin.twin.instrument.simulation.discretisation import LEAST_WINDOW, WINDOW_MARGIN
from stemtwin.twin.physics.engine.operator import beam_blocks, imaging_operator
from stemtwin.twin.samples.sample import Sample

SCAN = RasterScan(shape=(6, 6), field_of_view_angstrom=(3.905, 3.905))
STRAYING = replace(
    PROFILES["ideal"], instabilities=Instabilities(aberrations=(AberrationWander(name="C10", sigma_angstrom=5, tau_s=600, rate_angstrom_per_s=0.1),))
)


def windows(scope: Microscope, state: ScopeState, minutes: int = 60, correct_each: int = 0) -> tuple[list[float], ScopeState]:
    """Return the windows of images taken every minute, with the focus brought back now and then, and the state at the end."""
    found = []
    for minute in range(minutes):
        state = replace(state, time_s=60.0 * minute)
        if correct_each and minute and minute % correct_each == 0:
            true = scope._setup.aberrations(state, state.time_s)
            state = replace(state, corrected=replace(state.corrected, C10=state.corrected.C10 - true.C10))
        asked = imaging_requests.request(scope._setup, state, SCAN, ("haadf",))
        plan, room = imaging_requests.settle(scope._setup, state, asked)
        radius = asked.beam.probe_radius(plan.thickness)
        assert room.window_angstrom >= max(LEAST_WINDOW, WINDOW_MARGIN + 2 * radius) - 1e-9
        assert plan.blocks == beam_blocks.window_blocks(plan.grid.extent, room.window_angstrom)
        state = replace(state, room=room)
        found.append(room.window_angstrom)
    return found, state


@pytest.mark.parametrize(("name", "seeds"), [("corrected-200kv", (1, 2)), ("nion-100", (2,))])
def test_an_hour_adrift_needs_two_windows(static: Sample, name: str, seeds: tuple[int, ...]) -> None:
    """However optics stray in an hour, two windows hold the probe in each minute of it; with the focus brought back each quarter, few do."""
    for seed in seeds:
        scope = Microscope(static, name, seed=seed)
        adrift, _ = windows(scope, scope.snapshot())
        assert len(set(adrift)) <= 2
        kept, _ = windows(scope, scope.snapshot(), correct_each=15)
        assert len(set(kept)) <= 3
        assert max(kept) < 1.2 * max(adrift)


def turned(scope: Microscope, steps: Sequence[float]) -> list[float]:
    """Return the windows of images between which the focus is turned to each of these."""
    state, found = replace(scope.snapshot(), room=None), []
    for focus in steps:
        state = replace(state, knobs=replace(state.knobs, aberrations=replace(state.knobs.aberrations, C10=focus)))
        asked = imaging_requests.request(scope._setup, state, SCAN, ("haadf",))
        _, room = imaging_requests.settle(scope._setup, state, asked)
        assert (
            room.window_angstrom >= imaging_requests.window_angstrom(scope._setup, asked.sample, asked.beam)
            or room.window_angstrom == state.room.window_angstrom
        )
        state = replace(state, room=room)
        found.append(room.window_angstrom)
    return found


@pytest.mark.parametrize("profile", [PROFILES["ideal"], STRAYING, PROFILES["corrected-200kv"], PROFILES["nion-60"]], ids=lambda each: each.name)
@pytest.mark.parametrize("semiangle_mrad", [20.0, 30.0, 40.0])
def test_a_focus_turned_step_by_step_needs_few_windows(static: Sample, profile: Profile, semiangle_mrad: float) -> None:
    """On any instrument a focus that leaves its window step by step asks for two new ones at most; back in focus, the first one is there again."""
    scope = Microscope(static, replace(profile, semiangle_mrad=semiangle_mrad), seed=1)
    way = turned(scope, (0.0, 40.0, 80.0, 120.0, 200.0))
    assert len(set(way)) <= 3
    there_and_back = turned(scope, (0.0, 200.0, 0.0, 200.0, -150.0, 0.0))
    assert len(set(there_and_back)) <= 3
    assert there_and_back[0] == there_and_back[2] == there_and_back[5]


def test_a_window_that_is_asked_for_does_not_grow_ahead(static: Sample) -> None:
    """Where a microscope was given a window, a focus that leaves it asks for the window of the probe as it is, whatever came before."""
    scope = Microscope(static, "ideal", seed=1, window_angstrom=16.0)
    assert turned(scope, (0.0, 300.0, 0.0)) == [turned(scope, (focus,))[0] for focus in (0.0, 300.0, 0.0)]


def test_a_frame_says_once_that_its_window_was_outgrown(make_perovskite: Callable[..., Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame for which an operator is built because the focus left its window has a note; frames before and after have none."""
    built: list[int] = []
    build = imaging_operator.build
    monkeypatch.setattr(imaging_operator, "build", lambda *args, **kwargs: built.append(1) or build(*args, **kwargs))
    operator_cache.clear()
    scope, notes, builds = Microscope(make_perovskite(sigma=None), "ideal", seed=1), [], []
    for focus in (0.0, 40.0, 80.0, 120.0, 160.0, 0.0):
        scope.set(C10=focus)
        before = len(built)
        notes.append(scope.acquire(SCAN).attrs.get("notes"))
        builds.append(len(built) - before)
    assert sum(note is not None for note in notes) == 1
    assert "wider" in next(note for note in notes if note is not None)
    assert [number for number, count in enumerate(builds) if count] == [0, next(n for n, note in enumerate(notes) if note is not None)]
    operator_cache.clear()


def test_a_window_that_was_looked_ahead_for_is_given_up(static: Sample) -> None:
    """Where much less would do, it goes: images in focus are as quick as before."""
    scope = Microscope(static, STRAYING, seed=1)
    found, state = windows(scope, scope.snapshot())
    assert found[0] == LEAST_WINDOW
    assert found[-1] > 20
    state = replace(state, corrected=replace(state.corrected, C10=-scope._setup.aberrations(state, state.time_s).C10))
    _, room = imaging_requests.settle(scope._setup, state, imaging_requests.request(scope._setup, state, SCAN, ("haadf",)))
    assert room.window_angstrom == LEAST_WINDOW


def test_images_after_a_snapshot_have_the_window_that_they_had(static: Sample) -> None:
    """What was looked ahead for is a part of the state: restored, in another microscope too, the next frames are the same bits."""
    quick = replace(STRAYING, semiangle_mrad=10.0)
    scope, other = Microscope(static, quick, seed=1), Microscope(static, quick, seed=1)
    first = []
    for _ in range(3):
        scope.acquire(SCAN)
        first.append(scope.snapshot())
        scope.advance_time(1200.0)
    last = scope.acquire(SCAN).haadf
    assert first[0].room.window_angstrom < first[2].room.window_angstrom
    for state in first:
        other.restore(state)
        while other.snapshot().frames < 3:
            other.advance_time(1200.0)
            other.acquire(SCAN)
        other.advance_time(1200.0)
        np.testing.assert_array_equal(other.acquire(SCAN).haadf, last)


def test_an_island_is_imaged_wherever_its_probe_fits(make_perovskite: Callable[..., Sample]) -> None:
    """Of a specimen that does not repeat, a probe that fits is imaged: no window is rounded up beyond the cell."""
    scope = Microscope(make_perovskite(4, sigma=None, periodic=False), "ideal")
    scope.set(C10=-120.0)
    assert scope.estimate_cost("acquire", replace(SCAN, origin_angstrom=(6.0, 6.0)))["time_s"] > 0
