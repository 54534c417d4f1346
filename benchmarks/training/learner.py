"""Training of a policy by Stable-Baselines3, and its use from an ONNX file.

``make learn`` runs ``python -m stemtwin.benchmarks.training.learner`` in an environment with torch. For each seed, a policy is trained,
and its mean return on the validation split is recorded as a learning curve. The best policy is written to
``benchmarks/learned/<environment>.onnx``, and the curves to ``<environment>.json``. The returns of the best policy are added, as the policy
``learner``, to the scale on which the returns of the environment are compared (:mod:`~stemtwin.benchmarks.returns`). The use of the policy needs
only onnxruntime.
"""

import argparse
import concurrent.futures
import dataclasses
import io
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from stemtwin.benchmarks import kept_runs, return_statistics, returns
from stemtwin.benchmarks.agents import Brief
from stemtwin.benchmarks.kept_runs import EpisodeRecorder, KeptEpisode, KeptRun
from stemtwin.benchmarks.onnx_policy import OnnxPolicy, learned_path
from stemtwin.twin import files
from stemtwin.twin.envs.reference import reference

DIFFICULTY = "easy"
ARGUMENTS: dict[str, Any] = {"difficulty": DIFFICULTY, "observation": "state"}
"""Arguments of ``gymnasium.make`` in training; privileged information is not requested."""
SETTINGS: dict[str, Any] = {
    "n_steps": 128,
    "batch_size": 256,
    "n_epochs": 8,
    "gamma": 0.97,
}
"""Settings of the proximal policy optimisation (PPO) of Stable-Baselines3."""
RATES = (1e-3, 5e-5)
"""Learning rates at the beginning and at the end; the rate falls linearly between them."""
NETWORK, SPREAD = (512, 256), -0.7
"""Widths of the layers, with rectified linear units between (the policy stays below 1 MB); logarithm of the first spread of the actions."""
STEPS, TOGETHER, EVERY = 360_000, 16, 20_480
"""Steps of the environment; number of environments that are played in turn; steps between two points of the curve."""
CURVE_SEEDS = range(1000, 1100)
"""Episodes of each point of the curve, by which the best seed is chosen, distinct from those of the scale."""
SAMPLE = 20
"""Number of episodes of the scale whose returns are kept, for comparison when the policy is played again."""
USUAL_STEP_S, ROWS = 4e-3, 9
"""Usual processor time of a step including the learning, s; rows of the table."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One point of a learning curve.

    Parameters
    ----------
    steps : int
        Steps of the environment so far.
    cpu_s : float
        Processor time so far, without the evaluations, s.
    mean_return, success : float
        Mean return and fraction of successes over 100 episodes of the validation split.
    """

    steps: int
    cpu_s: float
    mean_return: float
    success: float


def play(
    environment: str, act: Callable[[np.ndarray], np.ndarray], seeds: Sequence[int], arguments: Mapping[str, Any] = ARGUMENTS
) -> list[KeptEpisode]:
    """Play a policy on the validation split and return the episodes.

    Parameters
    ----------
    environment : str
        Id of the environment.
    act : callable
        Function of an observation that returns an action.
    seeds : sequence of int
        Seeds of the episodes.
    arguments : mapping
        Arguments of ``gymnasium.make``.
    """

    class _Policy:
        def reset(self, brief: Brief) -> None:
            """Do nothing."""

        def act(self, observation: np.ndarray, cost: Mapping[str, float]) -> np.ndarray:
            """Return the action."""
            del cost
            return act(observation)

    env = gymnasium.make(environment, disable_env_checker=True, split="val", privileged_info=True, **arguments)
    found, recorder = [], EpisodeRecorder.of(env)
    for seed in seeds:
        returns.play(env, _Policy(), seed=seed, task="learning", watcher=recorder)
        found.append(recorder.episode(seed))
    env.close()
    return found


def train(environment: str, seed: int, steps: int) -> tuple[bytes, list[CurvePoint]]:
    """Train a policy, and return it as ONNX with its learning curve; new points of the curve are reported on stderr.

    Parameters
    ----------
    environment : str
        Id of the environment.
    seed : int
        Seed of the training.
    steps : int
        Steps of the environment.
    """
    import torch  # pyright: ignore[reportMissingImports] - only where policies are trained
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.callbacks import BaseCallback  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.utils import LinearSchedule  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    curve: list[CurvePoint] = []

    class _Curve(BaseCallback):
        began, evaluating = 0.0, 0.0

        def _on_training_start(self) -> None:
            self.began = time.process_time()

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps >= EVERY * (len(curve) + 1):
                self.point()

        def point(self) -> None:
            """Add a point to the curve; its evaluation does not count as time of the training."""
            before = time.process_time()
            found = return_statistics.summary(
                play(environment, lambda observation: self.model.predict(observation, deterministic=True)[0], CURVE_SEEDS)
            )
            cpu_s = before - self.began - self.evaluating
            self.evaluating += time.process_time() - before
            curve.append(CurvePoint(steps=self.num_timesteps, cpu_s=cpu_s, mean_return=found.mean, success=found.success))
            _tell(f"{environment} seed {seed}: {self.num_timesteps} of {steps} steps, {cpu_s:.0f} s of CPU, return {found.mean:.3f}")

    envs = make_vec_env(environment, n_envs=TOGETHER, seed=seed, env_kwargs=ARGUMENTS)
    network = {"net_arch": list(NETWORK), "activation_fn": torch.nn.ReLU, "log_std_init": SPREAD}
    model = PPO("MlpPolicy", envs, learning_rate=LinearSchedule(*RATES, 1.0), policy_kwargs=network, seed=seed, **SETTINGS)
    watch = _Curve()
    model.learn(steps, callback=watch)
    watch.point()
    return export(model), curve


def export(model: Any) -> bytes:
    """Return a model's policy as an ONNX network that maps an observation to the most probable action."""
    import torch  # pyright: ignore[reportMissingImports]

    class _Mode(torch.nn.Module):
        def __init__(self, policy: Any) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, observation: Any) -> Any:
            return self.policy._predict(observation, deterministic=True).clamp(-1, 1)

    policy, written = model.policy.eval().cpu(), io.BytesIO()
    example = torch.zeros(1, *model.observation_space.shape)
    torch.onnx.export(_Mode(policy), (example,), written, input_names=["observation"], output_names=["action"], dynamo=False, opset_version=17)
    return written.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Train policies, and write the learning curves and the best policy.

    The returns of the best policy are added to the environment's scale of returns (:func:`put_on_scale`).
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", nargs="?", default="stemtwin/Autofocus-v2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--workers", type=int, default=2, help="number of seeds trained at the same time")
    parser.add_argument(
        "--score", action="store_true", help="play the stored policy, add its returns to the environment's scale of returns, and train nothing"
    )
    parser.add_argument("--table", action="store_true", help="print the learning curves as a table and train nothing")
    parser.add_argument("--picture", type=Path, help="draw the learning curves, write the picture to this PNG file, and train nothing")
    given = parser.parse_args(arguments)
    if given.picture is not None:
        save_picture(given.environment, given.picture)
        return
    if given.score:
        put_on_scale(given.environment)
        return
    if given.table:
        sys.stdout.write(f"{table(given.environment)}\n")
        return
    _tell(f"{given.environment}: {len(given.seeds)} seeds of {given.steps} steps, about {given.steps * USUAL_STEP_S / 60:.0f} min of CPU each")
    with concurrent.futures.ProcessPoolExecutor(given.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {seed: pool.submit(train, given.environment, seed, given.steps) for seed in given.seeds}
        trained = {seed: one.result() for seed, one in running.items()}
    curves = {str(seed): [dataclasses.asdict(point) for point in curve] for seed, (_, curve) in trained.items()}
    best = max(trained.values(), key=lambda one: one[1][-1].mean_return)[0]
    settings = {**SETTINGS, "learning_rate": RATES, "net_arch": NETWORK, "log_std_init": SPREAD, "n_envs": TOGETHER}
    told = {"environment": given.environment, "arguments": ARGUMENTS, "settings": settings, "curves": curves}
    files.write_atomically(learned_path(given.environment), best)
    files.write_atomically(learned_path(given.environment, ".json"), (json.dumps(told, indent=1) + "\n").encode())
    put_on_scale(given.environment)


def table(environment: str) -> str:
    """Return the learning curves as a Markdown table: steps, processor time, and the mean return of each seed."""
    curves = json.loads(learned_path(environment, ".json").read_text(encoding="utf-8"))["curves"]
    head = [f"seed {seed}" for seed in curves]
    lines = [f"| steps | CPU | {' | '.join(head)} |", "|---" * (len(head) + 2) + "|"]
    rows = list(zip(*curves.values(), strict=True))
    for points in rows[:: max(len(rows) // ROWS, 1)][:-1] + rows[-1:]:
        cells = " | ".join(f"{point['mean_return']:.2f}" for point in points)
        lines.append(f"| {points[0]['steps']} | {max(point['cpu_s'] for point in points) / 60:.0f} min | {cells} |")
    return "\n".join(lines)


def save_picture(environment: str, path: Path) -> None:
    """Draw the learning curves as a PNG, with horizontal lines at the mean returns of oracle, expert and random."""
    from matplotlib.figure import Figure

    curves = json.loads(learned_path(environment, ".json").read_text(encoding="utf-8"))["curves"]
    scale = reference(environment, DIFFICULTY)
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for seed, curve in curves.items():
        axes.plot([point["cpu_s"] / 60 for point in curve], [point["mean_return"] for point in curve], label=f"seed {seed}")
    for name in ("oracle", "expert", "random"):
        axes.axhline(scale.policies[name].mean, color="0.5", linewidth=0.8, linestyle="--" if name == "expert" else ":")
        side = "top" if name == "expert" else "bottom"
        axes.annotate(f" {name}", (0, scale.policies[name].mean), fontsize=8, color="0.3", va=side)
    axes.set(xlabel="processor time, min", ylabel="mean return, validation", xlim=(0, None), ylim=(None, 0.9))
    axes.legend(frameon=False, loc="lower right")
    with files.replacing(path, ending=".png") as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})


def put_on_scale(environment: str, given: Mapping[str, Any] = ARGUMENTS) -> None:
    """Play the trained policy in the episodes that the other policies of an environment played, and add its returns to their scale.

    The run is stored under the name ``learner``. The returns of the first episodes are also stored in the file of the learning curves.
    """
    path, policy, scale = learned_path(environment, ".json"), OnnxPolicy(learned_path(environment)), reference(environment, given["difficulty"])
    began = time.process_time()
    played = play(environment, lambda observation: policy.act(observation, {}), scale.seeds, given)
    each = round((time.process_time() - began) / len(played), 3)
    arguments = {"split": "val", "observation": given["observation"]}
    run = KeptRun(environment=environment, difficulty=given["difficulty"], policy="learner", arguments=arguments, cpu_s=each, episodes=tuple(played))
    kept_runs.save(run, kept_runs.run_path(environment, given["difficulty"], "learner"))
    found = return_statistics.summary(played, cpu_s=each)
    returns.save(dataclasses.replace(scale, policies={**scale.policies, "learner": found}))
    told = {**json.loads(path.read_text(encoding="utf-8")), "sample": [one.total for one in played[:SAMPLE]]}
    files.write_atomically(path, (json.dumps(told, indent=1) + "\n").encode())
    _tell(f"{environment} learner: {found.mean:.3f} ({found.low:.3f} to {found.high:.3f}), normalised {scale.normalized(found.mean):.3f}")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
