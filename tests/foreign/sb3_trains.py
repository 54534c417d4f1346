"""Stable-Baselines3 takes "pixels" and "state" of every family without a warning and trains a little; a script of ``make foreign``."""

import re
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import stable_baselines3  # pyright: ignore[reportMissingImports] - not ours
from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.env_checker import check_env  # pyright: ignore[reportMissingImports]

import stemtwin  # noqa: F401 - registers the environments
from stemtwin.twin.envs import ENVIRONMENTS, wrappers

SETTINGS = {"Microscope": {"flat": True, "incremental": True}}
"""Settings beside the easy preset, by the name of the family."""
STEPS = 64


def say(text: str) -> None:
    """Write one line."""
    sys.stdout.write(f"Stable-Baselines3 {stable_baselines3.__version__}: {text}\n")


def train(env: gym.Env, name: str) -> None:
    """Check an environment with warnings as errors, and train for a few steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)
        policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy"
        before = PPO(policy, env, n_steps=STEPS, batch_size=STEPS // 2, n_epochs=1, seed=1)
        start = {key: value.detach().clone() for key, value in before.policy.state_dict().items()}
        before.learn(STEPS)
    moved = max(float((value - start[key]).abs().max()) for key, value in before.policy.state_dict().items())
    assert np.isfinite(moved), name
    assert moved > 0, name
    say(f"{name} {env.observation_space.__class__.__name__}: checked, trained for {STEPS} steps")


def run_readme() -> None:
    """Run the training script of the README, with fewer steps."""
    page = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```py\n(.*?)```", page, flags=re.DOTALL)
    short = re.sub(r"learn\([\d_]+\)", "learn(256)", script)
    assert short != script
    exec(compile(short, "README.md", "exec"), {})
    say("the training script of the README runs")


def main() -> None:
    """Train on the newest version of every family, and on a wrapped one."""
    newest = {found.name: found for found in ENVIRONMENTS.values()}  # sorted by version
    for found in newest.values():
        for observation in ("pixels", "state"):
            env = gym.make(found.id, disable_env_checker=True, difficulty="easy", observation=observation, **SETTINGS.get(found.name, {}))
            train(env, f"{found.id} {observation}")
    env = gym.make("stemtwin/Autofocus-v2", disable_env_checker=True, difficulty="easy")
    train(wrappers.FlatScalars(wrappers.StackedFrames(wrappers.CountsToPixels(env), 2)), "stemtwin/Autofocus-v2 wrapped")


if __name__ == "__main__":
    main()
    run_readme()
