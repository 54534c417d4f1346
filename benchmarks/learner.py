"""Training of a policy by Stable-Baselines3, and its play from an ONNX file.

``make learn`` runs ``python -m stemtwin.benchmarks.learner``, in an environment with torch: for each seed a policy is trained
and its return on the validation split is followed; the best one becomes ``benchmarks/learned/<environment>.onnx``, the curves
``<environment>.json``, and its returns the policy ``learner`` of the scale. Playing needs onnxruntime alone.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from stemtwin.benchmarks import returns
from stemtwin.benchmarks.agents import Brief
from stemtwin.twin import files
from stemtwin.twin.envs.reference import reference

FOLDER = Path(__file__).parent / "learned"
DIFFICULTY = "easy"
ARGUMENTS: dict[str, Any] = {"difficulty": DIFFICULTY, "observation": "state"}
"""Arguments of ``gymnasium.make`` in training; nothing privileged is among them."""
SETTINGS: dict[str, Any] = {
    "learning_rate": 5e-4,
    "n_steps": 128,
    "batch_size": 256,
    "n_epochs": 8,
    "gamma": 0.97,
    "policy_kwargs": {"net_arch": [256, 256], "log_std_init": -0.7},
}
"""Settings of the proximal policy optimisation (PPO) of Stable-Baselines3."""
TOGETHER, EVERY, EPISODES = 16, 20_480, 100
"""Environments that are played in turn; steps between two points of the curve; episodes of each point."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One point of a learning curve.

    Parameters
    ----------
    steps : int
        Steps of the environment so far.
    cpu_s : float
        Processor time so far without that of the evaluations, s.
    mean_return, success : float
        Mean return and fraction of successes over the first episodes of the validation split.
    """

    steps: int
    cpu_s: float
    mean_return: float
    success: float


class OnnxPolicy:
    """A policy from an ONNX file: one input (1, n), one output (1, m), float32; see ``agents.Agent``.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime  # pyright: ignore[reportMissingImports] - only where policies are played

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def reset(self, brief: Brief) -> None:
        """Prepare for an episode: a policy remembers nothing."""
        del brief

    def act(self, observation: np.ndarray, cost: Mapping[str, float]) -> np.ndarray:
        """Return the action of the mode of the policy."""
        del cost
        (action,) = self._session.run(None, {self._input: np.asarray(observation, np.float32)[None]})
        return np.clip(np.asarray(action)[0], -1, 1).astype(np.float32)


def learned_path(environment: str, ending: str = ".onnx") -> Path:
    """Return the path of a trained policy, or of its curves (``.json``)."""
    return FOLDER / f"{environment.partition('/')[2]}{ending}"


def evaluate(environment: str, act: Callable[[np.ndarray], np.ndarray], episodes: int = EPISODES) -> returns.PolicyReturn:
    """Return the returns of a policy on the validation split.

    Parameters
    ----------
    environment : str
        Id of the environment.
    act : callable
        From an observation to an action.
    episodes : int
        Number of episodes, seeds 0, 1, ...
    """

    class _Policy:
        def reset(self, brief: Brief) -> None:
            """Do nothing."""

        def act(self, observation: np.ndarray, cost: Mapping[str, float]) -> np.ndarray:
            """Return the action."""
            del cost
            return act(observation)

    env = gymnasium.make(environment, disable_env_checker=True, split="val", privileged_info=True, **ARGUMENTS)
    found = returns.summary(returns.play(env, _Policy(), seed=seed, task="learning") for seed in range(episodes))
    env.close()
    return found


def train(environment: str, seed: int, steps: int, tell: Callable[[str], None]) -> tuple[Any, list[CurvePoint]]:
    """Return a trained model of Stable-Baselines3 and its learning curve.

    Parameters
    ----------
    environment : str
        Id of the environment.
    seed : int
        Seed of the training.
    steps : int
        Steps of the environment.
    tell : callable
        Called with a line at each point of the curve.
    """
    import torch  # pyright: ignore[reportMissingImports] - only where policies are trained
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import DummyVecEnv  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)

    def made() -> gymnasium.Env:
        return gymnasium.make(environment, disable_env_checker=True, **ARGUMENTS)

    model, curve, spent = PPO("MlpPolicy", DummyVecEnv([made] * TOGETHER), seed=seed, **SETTINGS), [], 0.0
    while model.num_timesteps < steps:
        began = time.process_time()
        model.learn(min(EVERY, steps - model.num_timesteps), reset_num_timesteps=False)
        spent += time.process_time() - began
        found = evaluate(environment, lambda observation: model.predict(observation, deterministic=True)[0])
        curve.append(CurvePoint(steps=int(model.num_timesteps), cpu_s=spent, mean_return=found.mean, success=found.success))
        tell(f"{environment} seed {seed}: {curve[-1].steps} steps, {spent:.0f} s of CPU, return {found.mean:.3f}, success {found.success:.2f}")
    return model, curve


def export(model: Any, path: Path) -> None:
    """Write the mode of a model's policy as ONNX, atomically."""
    import torch  # pyright: ignore[reportMissingImports]

    class _Mode(torch.nn.Module):
        def __init__(self, policy: Any) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, observation: Any) -> Any:
            return self.policy._predict(observation, deterministic=True).clamp(-1, 1)

    policy = model.policy.eval().cpu()
    example = torch.zeros(1, *model.observation_space.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as temporary:
        torch.onnx.export(
            _Mode(policy), (example,), str(temporary), input_names=["observation"], output_names=["action"], dynamo=False, opset_version=17
        )


def main(arguments: list[str] | None = None) -> None:
    """Train, write the best policy and the curves, and put the learner on the scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", nargs="?", default="stemtwin/Autofocus-v2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=500_000)
    given = parser.parse_args(arguments)
    curves: dict[int, list[CurvePoint]] = {}
    best: tuple[float, Any] = (-np.inf, None)
    for seed in given.seeds:
        model, curves[seed] = train(given.environment, seed, given.steps, _tell)
        if curves[seed][-1].mean_return > best[0]:
            best = curves[seed][-1].mean_return, model
    path = learned_path(given.environment)
    export(best[1], path)
    told = {
        "environment": given.environment,
        "arguments": ARGUMENTS,
        "settings": SETTINGS,
        "curves": {str(seed): [dataclasses.asdict(point) for point in curve] for seed, curve in curves.items()},
    }
    files.write_atomically(learned_path(given.environment, ".json"), (json.dumps(told, indent=1) + "\n").encode())
    put_on_scale(given.environment, path)


def put_on_scale(environment: str, path: Path) -> None:
    """Add the returns of a policy from an ONNX file to the scale of its environment, as ``learner``."""
    policy, scale = OnnxPolicy(path), reference(environment, DIFFICULTY)
    found = evaluate(environment, lambda observation: policy.act(observation, {}), len(scale.seeds))
    returns.save(dataclasses.replace(scale, policies={**scale.policies, "learner": found}))
    _tell(f"{environment} learner: {found.mean:.3f} ({found.low:.3f} to {found.high:.3f}), normalised {scale.normalized(found.mean):.3f}")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
