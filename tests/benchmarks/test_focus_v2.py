"""Task autofocus@2: what a declared end is worth, and the matched filter."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np

from stemtwin.benchmarks.agents import brief_for, find_baseline
from stemtwin.benchmarks.baselines.focus_v2 import MatchedFilter, waves_in_frame
from stemtwin.benchmarks.runner import resolve
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.envs.families.autofocus import Autofocus
from stemtwin.twin.envs.focus_instrument import INSTRUMENTS, PRESETS
from stemtwin.twin.envs.functional_env import StemEnv, start

TASK, STANDARD = find_task("autofocus@2"), PRESETS["standard"]


def episode(*, declared: bool, c10: float, strehl: float, number: int = 0) -> Any:
    """Return as much of an episode as is scored."""
    begun = {"C10_angstrom": 60.0, "C12_angstrom": 30.0, "strehl": 0.2, "specimen": 1.0, "log10_electrons": 3.0}
    begun |= {"drift_factor": 0.5, "instrument": 1.0, "hour_strehl": 0.0}
    end = {"C10_angstrom": c10, "C12_angstrom": 5.0, "strehl": strehl, "hour_strehl": 0.9 * strehl}
    cost = {"dose_e_per_angstrom2": 2e5, "beam_s": 0.2, "moves": 3.0}
    return SimpleNamespace(number=number, actions=((0,) * 4,) * 3, start=begun, end=end, cost=cost, terminated=declared)


def test_both_versions_stand_side_by_side() -> None:
    """`autofocus` is version 1 and `autofocus@2` version 2; names, baselines and seeds do not mix."""
    one = find_task("autofocus")
    assert (one.major, one.registered, TASK.major, TASK.registered) == (1, "autofocus", 2, "autofocus@2")
    assert one.address("public") != TASK.address("public")
    assert resolve(TASK, baseline="expert")[0] is find_baseline("autofocus@2", "expert")
    assert dataclasses.asdict(find_baseline("autofocus", "oracle")) != dataclasses.asdict(find_baseline("autofocus@2", "oracle"))


def test_only_a_declared_end_counts() -> None:
    """Strehl ratio and success are 0 where the episode was left without a declared end; the stop takes no frame."""
    found = TASK.score(
        [episode(declared=True, c10=4, strehl=0.97), episode(declared=False, c10=4, strehl=0.97), episode(declared=True, c10=25, strehl=0.8)]
    )
    np.testing.assert_array_equal(found.statistics["success"], [1, 0, 0])
    np.testing.assert_array_equal(found.statistics["strehl"], [0.97, 0, 0.8])
    np.testing.assert_array_equal(found.statistics["success_images"], [3, 0, 0])
    assert {one.column for one in TASK.slices} == set(found.columns)
    assert found.columns["specimen"].tolist() == [STANDARD.randomisation.samples[1]] * 3
    np.testing.assert_allclose(found.columns["electrons"], 1000)


def test_presets_and_instruments_are_slices() -> None:
    """Episodes take the three presets in turn; an instrument without faults is a slice of its own."""
    found = TASK.score([episode(declared=True, c10=4, strehl=0.9, number=number) for number in range(4)])
    assert found.columns["difficulty"].tolist() == ["easy", "standard", "hard", "easy"]
    faulty = INSTRUMENTS[1]
    assert found.columns["instrument"].tolist() == [f"{faulty} without faults", faulty, faulty, f"{faulty} without faults"]


def test_an_hour_counts_by_its_mean() -> None:
    """Keeping focus is worth the mean Strehl ratio of the hour, which the focus at a declared end does not replace, and 0 without such an end."""
    task = find_task("focus-keeping")
    found = task.score(
        [episode(declared=True, c10=25, strehl=0.8), episode(declared=False, c10=4, strehl=0.97), episode(declared=True, c10=4, strehl=0.5)]
    )
    np.testing.assert_allclose(found.statistics["kept"], [0.72, 0, 0.45])
    np.testing.assert_array_equal(found.statistics["success"], [1, 0, 0])
    np.testing.assert_array_equal(found.statistics["minutes"], [2, 3, 2])
    assert {one.column for one in task.slices} == set(found.columns)


def test_waves_of_a_turned_frame_are_those_on_the_specimen() -> None:
    """Cos and sin of 2 pi k r in the frame's own axes are those at the scan's points, whose middle is at the origin."""
    frequencies, rotation = np.array([[0.3, 0.1], [-0.2, 0.45]]), 0.7
    task = Autofocus(difficulty="easy", phonons=1)
    state, _ = start(task, np.random.Generator(np.random.Philox(1)), {})
    scan = dataclasses.replace(state.scan, rotation_rad=rotation)
    phase = 2 * np.pi * (scan.points() - scan.centre_angstrom) @ frequencies.T
    np.testing.assert_allclose(waves_in_frame(frequencies, rotation), np.hstack([np.ones((len(phase), 1)), np.cos(phase), np.sin(phase)]), atol=1e-9)


def test_the_matched_filter_knows_the_start_from_two_frames() -> None:
    """Two frames at different knobs tell C10, C12a and C12b with their signs to 8 A."""
    task = Autofocus(difficulty="easy", phonons=1)
    agent = MatchedFilter(phonons=1)
    agent.reset(brief_for(StemEnv(task), task="", seed=3))
    state, rng = start(task, np.random.Generator(np.random.Philox(4)), {})
    truth = state.true
    action = agent.act(task.observe(state), {})
    agent.act(task.observe(task.transition(state, action, rng)), {})
    assert np.abs(agent.candidates[0].numbers[0, :3] - truth).max() < 8
