"""Training of the learner of ``stemtwin/AtomForge-v1``: imitation of the planner, then proximal policy optimisation (PPO).

``make learn`` runs ``python -m stemtwin.benchmarks.training.forge`` in an environment with torch. One network scores all candidate positions of the
beam with the same weights (:mod:`~stemtwin.benchmarks.forge_choices`). It first learns to imitate the choices of the baseline ``expert`` in episodes
of the split ``train``, and then learns from the rewards of that split. The exported network maps an observation of the form ``state`` to an action
and has no memory.
"""

import argparse
import dataclasses
import functools
import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from stemtwin.benchmarks import forge_choices, return_statistics
from stemtwin.benchmarks.agents import brief_for, load_baselines
from stemtwin.benchmarks.forge_choices import CHOICES, ForgeChoices
from stemtwin.benchmarks.onnx_policy import OnnxPolicy, learned_path
from stemtwin.benchmarks.returns import agent_seed
from stemtwin.benchmarks.training import learner
from stemtwin.benchmarks.training.learner import CurvePoint
from stemtwin.twin import files

ENVIRONMENT, TASK = "stemtwin/AtomForge-v1", "atom-forge"
PRESETS = {"walk": ("easy", "standard", "hard"), "drill": ("drill",)}
"""Training presets by goal; the environments of a goal use its presets in turn."""
JUDGED = {"walk": "standard", "drill": "drill"}
"""Preset of the learning curve."""
DEMONSTRATIONS, PASSES, RATE = {"walk": 120, "drill": 200}, 30, 2e-3
"""Number of episodes of the planner for each preset; passes through them, and their learning rate."""
SETTINGS: dict[str, Any] = {"n_steps": 512, "batch_size": 1024, "n_epochs": 6, "gamma": 1.0, "gae_lambda": 0.97, "ent_coef": 0.0, "clip_range": 0.1}
"""Settings of the PPO of Stable-Baselines3. At a return of 0.6, a discount of 0.995 would make a look cost 0.003, and 0.99 would make it cost 0.006.

The true cost of a look is 0.00125, so there is no discount.
"""
RATES, NETWORK, TOGETHER = (3e-4, 3e-5), 64, 24
"""Learning rates of PPO at the beginning and at the end; width of the layers; environments that are played in turn."""
WARM, STEPS, EVERY = 49_152, {"walk": 196_608, "drill": 98_304}, 49_152
"""Steps in which only the critic learns, total steps by goal, steps between two points of the curve."""


class ForgePractice(gymnasium.Wrapper):
    """Training environment whose action is the index of a choice (:mod:`~stemtwin.benchmarks.forge_choices`).

    Parameters
    ----------
    env : gymnasium.Env
        The environment, which gives observations of the form ``state``.
    choices : ForgeChoices
        Choices for the goal of the environment.
    """

    def __init__(self, env: gymnasium.Env, choices: ForgeChoices) -> None:
        super().__init__(env)
        self.choices, self.rows, self.last = choices, forge_choices.table(choices), np.zeros((1, 1), np.float32)
        self.action_space = gymnasium.spaces.Discrete(choices.count)

    def reset(self, **given: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**given)
        self.last = observation[None]
        return observation, info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Carry out the action that belongs to a choice."""
        taken = forge_choices.action_of(self.choices, self.last, self.rows[int(action)][None], np)[0].astype(np.float32)
        observation, reward, terminated, truncated, info = self.env.step(taken)
        self.last = observation[None]
        return observation, reward, terminated, truncated, info


def demonstrations(goal: str, episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Play the planner on the split ``train``, and return its observations (n, m) and the choices nearest to its actions, int (n,).

    Parameters
    ----------
    goal : str
        ``"walk"`` or ``"drill"``.
    episodes : int
        Number of episodes of each preset.
    """
    seen, chosen, agent = [], [], load_baselines()[f"{TASK}/expert"].factory()
    for difficulty in PRESETS[goal]:
        env = gymnasium.make(ENVIRONMENT, difficulty=difficulty, split="train", disable_env_checker=True)
        for seed in range(episodes):
            observation, info = env.reset(seed=seed)
            agent.reset(brief_for(env, task=TASK, seed=agent_seed(seed)))
            over = False
            while not over:
                action = agent.act(observation, dict(info["cost"]))
                seen.append(observation)
                chosen.append(forge_choices.nearest_choice(CHOICES[goal], observation, action))
                observation, _, terminated, truncated, info = env.step(action)
                over = terminated or truncated
        env.close()
        _tell(f"{goal}: {episodes} episodes of the planner on {difficulty}, {len(seen)} choices so far")
    return np.array(seen, np.float32), np.array(chosen)


def network(choices: ForgeChoices) -> Any:
    """Return a torch module that maps observations to the logits of all choices and to the state value of PPO.

    The network scores all candidate positions of the beam with the same weights. Each score also depends on the mean of the hidden features over all
    candidate positions.
    """
    import torch  # pyright: ignore[reportMissingImports] - only where policies are trained
    from torch import nn  # pyright: ignore[reportMissingImports]

    class _Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each = nn.Sequential(nn.Linear(choices.width + choices.common, NETWORK), nn.ReLU(), nn.Linear(NETWORK, NETWORK), nn.ReLU())
            self.ways = nn.Sequential(nn.Linear(2 * NETWORK, NETWORK), nn.ReLU(), nn.Linear(NETWORK, len(choices.ways)))
            self.whole = nn.Sequential(nn.Linear(NETWORK + choices.common, NETWORK), nn.ReLU(), nn.Linear(NETWORK, 2))
            self.forms = nn.Sequential(nn.Linear(choices.width + choices.common, NETWORK), nn.ReLU(), nn.Linear(NETWORK, NETWORK), nn.ReLU())
            self.worth = nn.Sequential(nn.Linear(NETWORK + choices.common, NETWORK), nn.ReLU(), nn.Linear(NETWORK, 1))

        def joined(self, observation: Any) -> tuple[Any, Any]:
            rows, common = forge_choices.features(choices, observation, torch)
            return torch.cat([rows, common[:, None].expand(-1, rows.shape[1], -1)], 2), common

        def logits(self, observation: Any) -> Any:
            rows, common = self.joined(observation)
            each = self.each(rows)
            mean = each.mean(1)
            ways = self.ways(torch.cat([each, mean[:, None].expand(-1, each.shape[1], -1)], 2))
            return torch.cat([ways.flatten(1), self.whole(torch.cat([mean, common], 1))], 1)

        def value(self, observation: Any) -> Any:
            rows, common = self.joined(observation)
            return self.worth(torch.cat([self.forms(rows).mean(1), common], 1))

    return _Scores()


def policy_class(choices: ForgeChoices) -> Any:
    """Return the policy of Stable-Baselines3 whose logits and values are those of :func:`network`."""
    import torch  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.policies import ActorCriticPolicy  # pyright: ignore[reportMissingImports]

    class _Extractor(torch.nn.Module):
        latent_dim_pi, latent_dim_vf = choices.count, 1

        def __init__(self) -> None:
            super().__init__()
            self.scores = network(choices)

        def forward(self, given: Any) -> tuple[Any, Any]:
            return self.forward_actor(given), self.forward_critic(given)

        def forward_actor(self, given: Any) -> Any:
            return self.scores.logits(given)

        def forward_critic(self, given: Any) -> Any:
            return self.scores.value(given)

    class _Policy(ActorCriticPolicy):
        def _build_mlp_extractor(self) -> None:
            self.mlp_extractor = _Extractor()

        def _build(self, lr_schedule: Any) -> None:
            super()._build(lr_schedule)
            self.action_net, self.value_net = torch.nn.Identity(), torch.nn.Identity()
            self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), eps=1e-5)

    return _Policy


def imitate(policy: Any, seen: np.ndarray, chosen: np.ndarray, seed: int) -> None:
    """Fit the logits of a policy to the choices of the planner, by cross entropy."""
    import torch  # pyright: ignore[reportMissingImports]

    rng, scores = np.random.default_rng(seed), policy.mlp_extractor.scores
    inputs, wanted, size = torch.tensor(seen), torch.tensor(chosen), 512
    optimiser = torch.optim.Adam(scores.parameters(), lr=RATE)
    steps = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, PASSES * (len(seen) // size + 1))
    loss = inputs.new_zeros(())
    for _ in range(PASSES):
        for batch in np.array_split(rng.permutation(len(seen)), len(seen) // size + 1):
            loss = torch.nn.functional.cross_entropy(scores.logits(inputs[batch]), wanted[batch], label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps.step()
    _tell(f"imitation of {len(seen)} choices: cross entropy {loss.item():.3f} in the last batch")


def train(goal: str, seed: int, steps: int, taught: tuple[np.ndarray, np.ndarray]) -> tuple[bytes, list[CurvePoint]]:
    """Train a policy, and return it as ONNX with its learning curve.

    The first point of the curve is the policy after imitation. New points are reported on stderr.

    Parameters
    ----------
    goal : str
        ``"walk"`` or ``"drill"``.
    seed : int
        Seed of the training.
    steps : int
        Steps of the environment in PPO.
    taught : tuple of ndarray
        See :func:`demonstrations`.
    """
    import torch  # pyright: ignore[reportMissingImports]
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.utils import LinearSchedule  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.vec_env import DummyVecEnv  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    choices, presets = CHOICES[goal], PRESETS[goal]

    def practice(number: int) -> ForgePractice:
        """Return one of the environments that are played in turn."""
        preset = presets[number % len(presets)]
        return ForgePractice(gymnasium.make(ENVIRONMENT, difficulty=preset, split="train", disable_env_checker=True), choices)

    envs = DummyVecEnv([functools.partial(practice, number) for number in range(TOGETHER)])
    envs.seed(10_000 * (seed + 1))
    rates = LinearSchedule(*RATES, 1.0)
    model = PPO(policy_class(choices), envs, learning_rate=rates, policy_kwargs={"ortho_init": False}, seed=seed, **SETTINGS)
    began = time.process_time()
    imitate(model.policy, *taught, seed)
    watch = _watcher(goal, seed, steps, began)
    model.learn(steps, callback=watch)
    watch.point()
    envs.close()
    return watch.best, watch.curve


def _watcher(goal: str, seed: int, steps: int, began: float) -> Any:
    """Return the recorder of the learning curve and of its best policy; in the first steps only the critic learns."""
    from stable_baselines3.common.callbacks import BaseCallback  # pyright: ignore[reportMissingImports]

    class _Curve(BaseCallback):
        evaluating, best = 0.0, b""

        def __init__(self) -> None:
            super().__init__()
            self.curve: list[CurvePoint] = []

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            scores = self.model.policy.mlp_extractor.scores
            for part in (scores.each, scores.ways, scores.whole):
                part.requires_grad_(self.num_timesteps >= WARM)
            if self.num_timesteps >= EVERY * len(self.curve):
                self.point()

        def point(self) -> None:
            """Add a point to the curve; its evaluation does not count as time of the training."""
            before = time.process_time()
            made = export(self.model.policy, CHOICES[goal])
            found = return_statistics.summary(learner.play(ENVIRONMENT, _actor(made), learner.CURVE_SEEDS, arguments(goal)))
            cpu_s = before - began - self.evaluating
            self.evaluating += time.process_time() - before
            if not self.curve or found.mean > max(one.mean_return for one in self.curve):
                self.best = made
            self.curve.append(CurvePoint(steps=self.num_timesteps, cpu_s=cpu_s, mean_return=found.mean, success=found.success))
            told = f"return {found.mean:.3f} ({found.low:.3f} to {found.high:.3f})"
            _tell(f"{ENVIRONMENT} {goal} seed {seed}: {self.num_timesteps} of {steps} steps, {cpu_s:.0f} s of CPU, {told}")

    return _Curve()


def _actor(made: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from an observation to the action of an exported policy."""
    policy = OnnxPolicy(made)
    return lambda observation: policy.act(observation, {})


def arguments(goal: str) -> dict[str, Any]:
    """Return the arguments of ``gymnasium.make`` for the learning curve: the preset and the form of the observations."""
    return {"difficulty": JUDGED[goal], "observation": "state"}


def export(policy: Any, choices: ForgeChoices) -> bytes:
    """Return a policy as an ONNX network that maps an observation to the action of the most probable choice."""
    import torch  # pyright: ignore[reportMissingImports]

    class _Mode(torch.nn.Module):
        def __init__(self, scores: Any) -> None:
            super().__init__()
            self.scores = scores
            self.register_buffer("rows", torch.tensor(forge_choices.table(choices).copy()))

        def forward(self, observation: Any) -> Any:
            best = self.scores.logits(observation).argmax(1)
            return forge_choices.action_of(choices, observation, self.rows[best], torch)

    written = io.BytesIO()
    example = torch.zeros(1, *policy.observation_space.shape)
    mode = _Mode(policy.mlp_extractor.scores).eval()
    torch.onnx.export(mode, (example,), written, input_names=["observation"], output_names=["action"], dynamo=False, opset_version=17)
    return written.getvalue()


def main(words: list[str] | None = None) -> None:
    """Train policies for both goals, and write the best policy for each goal and the learning curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--goals", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, help="number of environment steps of the PPO training, for each seed")
    given = parser.parse_args(words)
    for goal in given.goals:
        steps, taught = given.steps or STEPS[goal], demonstrations(goal, DEMONSTRATIONS[goal])
        trained = {seed: train(goal, seed, steps, taught) for seed in given.seeds}
        _tell(f"wrote {keep(goal, trained, steps, len(taught[1]))}")
        _tell(f"its scale: python -m stemtwin.benchmarks.returns {ENVIRONMENT} --difficulties {' '.join(PRESETS[goal])} --policies learner")


def keep(goal: str, trained: Mapping[int, tuple[bytes, list[CurvePoint]]], steps: int, choices: int) -> Path:
    """Write the policy with the largest mean return at any point of any curve, and write the curves beside it; return the path of the policy.

    Parameters
    ----------
    goal : str
        ``"walk"`` or ``"drill"``.
    trained : mapping
        Results of :func:`train` by seed.
    steps, choices : int
        Number of steps of PPO; number of choices of the planner that were imitated.
    """
    best = max(trained.values(), key=lambda one: max(point.mean_return for point in one[1]))[0]
    imitation = {"episodes": DEMONSTRATIONS[goal], "choices": choices, "passes": PASSES, "learning_rate": RATE}
    told = {
        "environment": ENVIRONMENT,
        "arguments": arguments(goal),
        "presets": PRESETS[goal],
        "imitation": imitation,
        "settings": {**SETTINGS, "learning_rate": RATES, "width": NETWORK, "n_envs": TOGETHER, "critic_alone": WARM, "steps": steps},
        "curves": {str(seed): [dataclasses.asdict(point) for point in curve] for seed, (_, curve) in trained.items()},
    }
    path = learned_path(ENVIRONMENT, f"-{goal}.onnx")
    files.write_atomically(path, best)
    files.write_atomically(path.with_suffix(".json"), (json.dumps(told, indent=1) + "\n").encode())
    return path


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
