"""Replays: equal to the last bit here, by truth and score elsewhere, and what was changed is told."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from stemtwin.benchmarks import replays
from stemtwin.benchmarks.agents import AgentError, Baseline
from stemtwin.benchmarks.episodes import make_environment, replay, run_episode
from stemtwin.benchmarks.report import read_report
from stemtwin.benchmarks.runner import resolve, run_agent, save_run
from stemtwin.benchmarks.seed_keys import SeedKeys, draw_keys, read_keys, write_keys
from stemtwin.benchmarks.tasks import find_task
from stemtwin.twin.errors import SettingsError, SubmissionError

TASK = find_task("hypothesis-test")


@pytest.fixture(scope="module")
def keys() -> SeedKeys:
    """Return secret keys."""
    return draw_keys()


@pytest.fixture
def run(tmp_path: Path, keys: SeedKeys) -> Path:
    """Return the folder of a run with hidden seeds and two attempts at every episode."""
    entry, trust = resolve(TASK, baseline="random")
    save_run(tmp_path / "run", TASK, run_agent(TASK, entry, trust, episodes=3, keys=keys, attempts=2))
    return tmp_path / "run"


def test_a_run_with_hidden_seeds_is_replayed_once_the_keys_are_known(run: Path, keys: SeedKeys) -> None:
    """With the keys everything is equal; without them, or with others, the replay is refused; the report holds their commitment only."""
    found = replays.replay_run(run, keys=keys)
    assert (found.episodes, found.exact, found.same_machine) == (6, 6, True)
    assert found.score == found.again == read_report(run / "report.json").primary.value
    assert "to the last bit" in found.text
    text = (run / "report.json").read_text() + (run / "episodes.json").read_text()
    assert keys.commitment in text
    assert not any(secret in text for secret in (keys.environment, keys.agent, keys.nonce))
    assert read_report(run / "report.json").ranked
    for wrong in (None, draw_keys()):
        with pytest.raises(SubmissionError, match="hidden seeds"):
            replays.replay_run(run, keys=wrong)


def change(run: Path, number: int, **fields: Any) -> None:
    """Change fields of a kept episode."""
    rows = json.loads((run / "episodes.json").read_text())
    rows[number] |= fields
    (run / "episodes.json").write_text(json.dumps(rows))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"observations_sha256": "00" * 32}, "differs in 'observations_sha256'"),
        ({"end": {"law": 5.0}}, "differs in 'end'"),
        ({"seed": "00" * 16}, "its seed is not"),
        ({"actions": [[0.0, 0.0, 0.0, 1.0, 1.0]]}, "differs in|not belong to these episodes"),
    ],
)
def test_changed_runs_are_told(run: Path, keys: SeedKeys, fields: dict[str, Any], told: str) -> None:
    """A changed hash, truth, seed or action is told on the machine of the run."""
    change(run, 2, **fields)
    with pytest.raises(SubmissionError, match=told):
        replays.replay_run(run, keys=keys)


def test_elsewhere_truth_and_score_decide(run: Path, keys: SeedKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other versions another hash is allowed and said, another truth at the start or another score is not."""
    monkeypatch.setattr(replays, "same_machine", lambda _: False)
    change(run, 0, observations_sha256="00" * 32)
    found = replays.replay_run(run, keys=keys)
    assert (found.episodes, found.exact) == (6, 5)
    assert "other versions" in found.text
    rows = json.loads((run / "episodes.json").read_text())
    change(run, 0, start={**rows[0]["start"], "strength": rows[0]["start"]["strength"] + 0.1})
    with pytest.raises(SubmissionError, match="the initial truth or the actions of the replay differ"):
        replays.replay_run(run, keys=keys)


def test_another_score_in_the_report_is_told(run: Path, keys: SeedKeys) -> None:
    """A report whose score does not follow from its episodes is refused."""
    report = read_report(run / "report.json")
    better = dataclasses.replace(report.primary, value=0.99)
    dataclasses.replace(report, metrics=(better, *report.metrics[1:])).save(run / "report.json")
    with pytest.raises(SubmissionError, match=r"the report has log_score 0\.99"):
        replays.replay_run(run, keys=keys)


def test_keys_are_kept_and_checked(tmp_path: Path, keys: SeedKeys) -> None:
    """Keys are read back by their owner only; their text form shows no secret; wrong files and keys are told; commitments differ."""
    path = write_keys(tmp_path / "keys.json", keys)
    assert read_keys(path) == keys
    assert path.stat().st_mode & 0o077 == 0
    assert keys.environment not in repr(keys)
    assert draw_keys().commitment != keys.commitment
    path.write_text("{}")
    with pytest.raises(SettingsError, match="does not contain keys"):
        read_keys(path)
    with pytest.raises(SettingsError, match="hexadecimal"):
        dataclasses.replace(keys, agent="short")
    with pytest.raises(SettingsError, match="are equal"):
        dataclasses.replace(keys, agent=keys.environment)


def test_an_agent_that_fails_before_its_first_action_is_replayed() -> None:
    """Its episode has no action, counts as failed, and is the same when it is played again."""
    failure = ("crashed", "it ended")

    class Failing:
        """An agent whose process ends at the briefing."""

        def reset(self, brief: Any) -> None:
            del brief
            raise AgentError(*failure)

        def act(self, observation: Any, cost: Any) -> None: ...

    entry = Baseline(task=TASK.name, name="failing", text="", factory=Failing)
    one = run_episode(TASK, entry, Failing(), make_environment(TASK), split=TASK.splits[0], number=0, count_failures=True)
    assert (one.failure, one.actions) == ("crashed", ())
    assert replay(TASK, [one]) == (one,)
