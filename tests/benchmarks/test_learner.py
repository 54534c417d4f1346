"""Trained policies: what is kept plays as it was scored, is small, and reaches nine tenths of the expert."""

import json
from pathlib import Path

import numpy as np
import pytest

from stemtwin.benchmarks.training import learner
from stemtwin.twin.envs.reference import reference

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = "stemtwin/Autofocus-v2"
KEPT = learner.learned_path(ENVIRONMENT)


def told() -> dict:
    """Return what is kept beside the policy."""
    return json.loads(learner.learned_path(ENVIRONMENT, ".json").read_text(encoding="utf-8"))


def test_the_policy_is_small_and_bounded() -> None:
    """It is below 1 MB, and gives an action of the space for any observation."""
    assert KEPT.stat().st_size < 1e6
    policy = learner.OnnxPolicy(KEPT)
    for seen in np.random.default_rng(0).uniform(-1, 1, (20, 113)):
        action = policy.act(seen, {})
        assert action.shape == (4,)
        assert action.dtype == np.float32
        assert np.abs(action).max() <= 1


def test_the_readme_trains_the_same() -> None:
    """The script and the table of the README are those of the command that trained."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    settings = told()["settings"]
    for name in learner.SETTINGS:
        assert f"{name}={settings[name]}" in page, name
    for name in ("net_arch", "log_std_init"):
        assert f'"{name}": {settings[name]}' in page, name
    assert settings | {**learner.SETTINGS, "net_arch": list(learner.NETWORK), "learning_rate": list(learner.RATES)} == settings
    assert f"learn({learner.STEPS:_})" in page
    assert learner.table(ENVIRONMENT) in page
    policies = reference(ENVIRONMENT, learner.DIFFICULTY).policies
    random, expert = (policies[name].mean for name in ("random", "expert"))
    told_returns = f"earn {random:.2f}; the expert, which fits a model of the image, earns {expert:.2f}."
    assert told_returns in " ".join(page.split())


@pytest.mark.slow
def test_the_policy_plays_as_it_was_scored() -> None:
    """The first episodes of the scale, played again by onnxruntime, earn what is kept; one may fall otherwise by the last bit of a sum."""
    policy, kept = learner.OnnxPolicy(KEPT), told()["sample"]
    played = learner.play(ENVIRONMENT, lambda observation: policy.act(observation, {}), range(learner.SAMPLE))
    same = np.isclose([one.total for one in played], kept, rtol=0, atol=1e-6)
    assert same.sum() >= learner.SAMPLE - 1


def test_the_curve_reaches_nine_tenths_of_the_expert() -> None:
    """Each of three seeds comes to 0.9 of the normalised return of the expert within 30 minutes of processor time, without privileges."""
    scale, kept = reference(ENVIRONMENT, learner.DIFFICULTY), told()
    bar = 0.9 * scale.normalized(scale.policies["expert"].mean)
    assert not {"privileged_info", "split"} & kept["arguments"].keys()
    assert len(kept["curves"]) == 3
    for curve in kept["curves"].values():
        within = [point for point in curve if point["cpu_s"] <= 1800]
        assert scale.normalized(within[-1]["mean_return"]) >= bar
    assert scale.normalized(scale.policies["learner"].mean) >= bar
