"""The scale of returns: how it is measured, written, and read."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stemtwin as st
from stemtwin.benchmarks import return_statistics, return_tables, returns
from stemtwin.benchmarks.agents import Baseline
from stemtwin.twin.envs import ENVIRONMENTS
from stemtwin.twin.envs import reference as references
from stemtwin.twin.envs.functional_env import StemEnv
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.envs.reference import PolicyReturn, ReturnScale
from stemtwin.twin.errors import SettingsError, UnknownNameError
from tests.envs.test_goal_family import WalkHome

UNLIKE = {"stemtwin/Autofocus-v2"}
"""Environments whose presets earn on unlike scales, for whom final errors are separated instead: the worse the start of Autofocus-v2, the more
Strehl ratio there is to be gained."""
GOALS = [name for name in ENVIRONMENTS if issubclass(family_class(name), GoalFamily)]


class Home:
    """An oracle: one step home a time, and the word there."""

    def reset(self, brief: Any) -> None:
        """Keep the door to the truth."""
        self.truth = brief.truth

    def act(self, observation: np.ndarray, cost: dict[str, float]) -> np.ndarray:
        """Go home."""
        del observation, cost
        at = self.truth()["place"]
        return np.array([np.clip(-at, -1, 1), 1.0 if abs(at) < 1 else 0.0], np.float32)


def scale() -> ReturnScale:
    """Return a scale of three policies."""
    one = PolicyReturn(mean=0.0, low=-0.1, high=0.1, success=0.0, steps=5.0, episodes=10)
    means = {"no-op": -0.2, "random": -0.05, "expert": 0.6, "oracle": 0.75}
    policies = {name: dataclasses.replace(one, mean=mean) for name, mean in means.items()}
    return ReturnScale(
        environment="stemtwin/WalkHome-v1", difficulty="standard", arguments={"split": "val"}, seeds=(0, 1), version="0", policies=policies
    )


def test_zero_is_the_better_of_no_op_and_random_and_one_the_oracle() -> None:
    """The scale is linear between the two and is not clipped."""
    assert scale().floor == -0.05
    assert scale().normalized(-0.05) == 0
    assert scale().normalized(0.75) == 1
    assert scale().normalized(-0.85) == pytest.approx(-1)


def test_a_scale_is_written_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read back it is the same value; a learner's return survives a new measurement of the others under its own version, and nothing else does."""
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    returns.save(scale(), tmp_path)
    assert st.reference("stemtwin/WalkHome-v1") == scale()
    assert st.normalized_return("stemtwin/WalkHome-v1", 0.75) == 1
    learner = dataclasses.replace(scale().policies["expert"], mean=0.7)
    returns.save(dataclasses.replace(scale(), policies={**scale().policies, "learner": learner, "fixed": learner}), tmp_path)
    for version in ("1", "2"):
        returns.save(dataclasses.replace(scale(), version=version), tmp_path)
        found = st.reference("stemtwin/WalkHome-v1")
        assert found.version == version
        assert found.policies == {**scale().policies, "learner": dataclasses.replace(learner, version="0")}
    with pytest.raises(UnknownNameError, match="stemtwin/WalkHome-v1"):
        st.reference("stemtwin/WalkHom-v1")


def test_an_oracle_is_played_to_its_return() -> None:
    """The return of an episode is the sum of its rewards, its success that of the end; equal seeds give equal episodes."""
    env = StemEnv(WalkHome(privileged_info=True))
    first = returns.play(env, Home(), seed=3, task="walk", oracle=True)
    assert first.success
    assert 0.5 < first.total <= 0.9
    assert first == returns.play(env, Home(), seed=3, task="walk", oracle=True)
    found = return_statistics.summary(returns.play(env, Home(), seed=seed, task="walk", oracle=True) for seed in range(20))
    assert found.low <= found.mean <= found.high
    assert (found.success, found.episodes) == (1.0, 20)


def test_an_agents_draws_are_not_the_environments() -> None:
    """The seed of a brief is none of the environment's, another one for each episode, and always the same one."""
    seeds = [returns.agent_seed(seed) for seed in range(100)]
    assert seeds == [returns.agent_seed(seed) for seed in range(100)]
    assert len(set(seeds)) == 100
    assert min(seeds) > 100
    told: list[int] = []

    class Listener(Home):
        def reset(self, brief: Any) -> None:
            super().reset(brief)
            told.append(brief.seed)

    returns.play(StemEnv(WalkHome(privileged_info=True)), Listener(), seed=3, task="walk", oracle=True)
    assert told == [seeds[3]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stemtwin/Autofocus-v3"], "Did you mean 'stemtwin/Autofocus-v2'"),
        (["stemtwin/Microscope-v2"], "environment='stemtwin/Microscope-v2' is unknown"),
        (["--difficulties", "easy", "standrad"], "Did you mean 'standard'"),
        (["stemtwin/AtomForge-v1", "--policies", "learnt"], "Did you mean 'learner'"),
        (["--episodes", "0"], "episodes=0 must be a whole number, 1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused_first(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with a sentence before anything is played or written."""
    monkeypatch.setattr(returns, "measure", lambda *_, **__: pytest.fail("something was measured"))
    with pytest.raises(SystemExit):
        returns.main(words)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("environment", GOALS)
def test_every_environment_with_a_goal_has_its_scale(environment: str) -> None:
    """The package's data name the policies that everybody is compared with, in the order that the rewards promise, over the same seeds.

    There are 100 episodes, or 30 where one of the expert takes more than 20 s; scales that are older than kept runs may have fewer on hard presets.
    """
    for difficulty in returns.presets(environment):
        found = st.reference(environment, difficulty)
        means = {name: policy.mean for name, policy in found.policies.items()}
        assert {"no-op", "random", "blind", "expert", "oracle"} <= set(means)
        assert means["oracle"] > means["expert"] > max(means["no-op"], means["random"], means["blind"])
        assert found.normalized(means["blind"]) < found.normalized(means["expert"]) / 2
        slow = (found.policies["expert"].cpu_s or 0) > returns.SLOW_S
        least = returns.FEW if slow else returns.EPISODES
        for policy in found.policies.values():
            assert -1 <= policy.low <= policy.mean <= policy.high <= 1
            assert policy.episodes == len(found.seeds)
            assert policy.episodes >= least or (difficulty == "hard" and not found.paired)


@pytest.mark.parametrize("environment", GOALS)
def test_scales_show_what_they_have_to(environment: str) -> None:
    """Oracle, expert and lazy policies are apart over the same episodes, and the expert earns less from preset to preset, by separated intervals.

    Where presets earn on unlike scales the expert's mean final errors grow instead, by separated intervals, too.
    """
    measured = [st.reference(environment, difficulty) for difficulty in returns.ordered(environment)]
    told = [line for line in returns.missed(environment) if "drill: learner minus towards" not in line]  # its page gives the difference
    assert [line for line in told if environment not in UNLIKE or "the expert's returns on" not in line] == []
    assert all(scale.policies["expert"].error is not None for scale in measured if environment in UNLIKE)


def test_baselines_of_an_environment_are_found_by_its_task() -> None:
    """Each environment with a goal has baselines of its task, the oracle marked."""
    found = returns.environments()
    assert set(found) == set(GOALS)
    for policies in found.values():
        assert all(isinstance(policy, Baseline) for policy in policies.values())
        assert policies["oracle"].oracle


def test_the_files_are_of_known_environments() -> None:
    """No file is left from an environment that is gone."""
    for path in references.FOLDER.glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["environment"] == f"stemtwin/{path.stem}"
        assert f"stemtwin/{path.stem}" in ENVIRONMENTS


def test_the_tables_of_the_docs_are_the_same_data() -> None:
    """docs/environments.md holds exactly the tables that ``python -m stemtwin.benchmarks.returns --table`` prints."""
    page = (Path(__file__).parents[2] / "docs" / "environments.md").read_text(encoding="utf-8")
    assert return_tables.tables() in page


def test_a_scale_without_oracle_normalises_nothing() -> None:
    """A form whose events nobody knows in advance has no oracle, so a return has no value of 1: one sentence names the policies."""
    scale = st.reference("stemtwin/AtomForge-v1", "easy", "counts")
    with pytest.raises(SettingsError, match=r"cannot be normalised, because its scale has the policies .*expert.*, but not 'oracle'"):
        scale.normalized(0.5)
