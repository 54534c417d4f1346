"""Training of the learner of ``stemtwin/AtomForge-v1``: proximal policy optimisation from the rule that always goes towards the target.

Run ``python -m stemtwin.benchmarks.forge_learning`` in the environment that ``make learn`` makes. The policy chooses among a neighbour of Si, a
distance behind it, a time, a look and the stop; its logits begin as those of the rule, and what PPO adds to them is learned from rewards of the split
``train`` alone. The file takes the observation and returns the action of the environment, as any agent does.
"""

import argparse
import dataclasses
import io
import itertools
import json
import sys
import time
from typing import Any

import gymnasium
import numpy as np

from stemtwin.benchmarks import learner, return_statistics
from stemtwin.benchmarks.learner import CurvePoint
from stemtwin.twin import files
from stemtwin.twin.envs.families.atom_forge import SHORTEST_S, dwell_component
from stemtwin.twin.envs.forge_sight import FAR_BONDS, NEIGHBOUR

ENVIRONMENT = "stemtwin/AtomForge-v1"
ARGUMENTS: dict[str, Any] = {"difficulty": "standard", "observation": "state"}
"""Arguments of ``gymnasium.make`` in training: the difficulty of the task ``atom-forge``; nothing privileged is among them."""
BEYOND_ANGSTROM, DWELLS_S = (0.0, 0.4), (0.1, 0.2, 0.5)
"""Distances behind a neighbour, A, and times of the parked beam, s, among which the policy chooses."""
CHOICES = tuple(itertools.product(range(3), BEYOND_ANGSTROM, DWELLS_S))
"""Neighbour, distance and time of each choice; after them come a look (the beam far from Si, for the shortest time) and the stop."""
LOOK, STOP = len(CHOICES), len(CHOICES) + 1
BOND_ANGSTROM, DARKEST = 1.42, 0.34
"""Bond of graphene, A; brightness of the brightest place, in units of the observation, below which Si is not seen."""
PRIOR = 3.0
"""Logit of the choice of the rule at the start; that of the same neighbour with another place or time is half of it."""
SETTINGS: dict[str, Any] = {"n_steps": 256, "batch_size": 512, "n_epochs": 6, "gamma": 0.99, "gae_lambda": 0.95, "ent_coef": 0.003}
"""Settings of the proximal policy optimisation (PPO) of Stable-Baselines3."""
RATES, NETWORK, TOGETHER = (1e-3, 1e-4), (128, 64), 16
"""Learning rates at the beginning and at the end; widths of the layers; environments that are played in turn."""
STEPS, EVERY = 98_304, 32_768
"""Steps of the environment; steps between two points of the curve."""


def features(observation: Any, xp: Any) -> Any:
    """Return the inputs of the network, and after them the logits of the rule, (n, 35 + choices), of observations (n, 24).

    Parameters
    ----------
    observation : array or tensor
        Observations of the form ``state`` of a walk.
    xp : module
        numpy or torch.
    """
    seen = (observation[:, :1] > DARKEST) * 1.0
    arrived = (observation[:, 5:6] < 0.5 / FAR_BONDS) * seen
    way = observation[:, 3:5]
    length = xp.sqrt((way * way).sum(1))[:, None] + 1e-6
    cosines, bright = [], []
    for number in range(3):
        first = 6 + NEIGHBOUR * number
        step = observation[:, first : first + 2]
        size = xp.sqrt((step * step).sum(1))[:, None] + 1e-6
        cosines.append((step * way).sum(1)[:, None] / (size * length))
        bright.append(4 * observation[:, first + 2 : first + NEIGHBOUR])
    inputs = [observation, seen, arrived, 2 * observation[:, 5:6], *cosines, *bright]
    going, shut = seen * (1 - arrived), bright[0][:, :1]
    rule = [
        PRIOR * going * ((1.0 if dwell == DWELLS_S[1] and not beyond else 0.5) if number == 0 else 0.0) + 0 * shut
        for number, beyond, dwell in CHOICES
    ]
    return xp.concatenate([*inputs, *rule, PRIOR * (1 - seen) - PRIOR * seen, 2 * PRIOR * arrived - PRIOR * going], 1)


def table() -> np.ndarray:
    """Return of each choice the factors of the steps to the neighbours, a place, and the components of time and stop, float32 (choices, 7)."""
    rows = []
    for number, beyond, dwell in CHOICES:
        factors = [0.0, 0.0, 0.0]
        factors[number] = 1 + beyond / BOND_ANGSTROM
        rows.append([*factors, 0.0, 0.0, dwell_component(dwell), -1.0])
    away = [0.0, 0.0, 0.0, 1.0, 1.0, dwell_component(SHORTEST_S), -1.0]
    return np.array([*rows, away, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]], np.float32)


def action_of(observation: Any, row: Any, xp: Any) -> Any:
    """Return the actions of the environment, (n, 4), of observations and rows of :func:`table`, (n, 7)."""
    steps = [observation[:, 6 + NEIGHBOUR * number : 8 + NEIGHBOUR * number] for number in range(3)]
    place = sum((row[:, number : number + 1] * step for number, step in enumerate(steps)), row[:, 3:5])
    return xp.clip(xp.concatenate([place, row[:, 5:]], 1), -1, 1)


class ForgeChoices(gymnasium.Wrapper):
    """The environment with the inputs of the network as its observations and choices as its actions.

    Parameters
    ----------
    env : gymnasium.Env
        The environment, of the form ``state``.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.rows, self.last = table(), np.zeros((1, *(env.observation_space.shape or ())), np.float32)
        self.observation_space = gymnasium.spaces.Box(-10, 10, features(self.last, np).shape[1:], np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(self.rows))

    def reset(self, **given: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**given)
        return self._told(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """Take a choice."""
        taken = action_of(self.last, self.rows[int(action)][None], np)[0].astype(np.float32)
        observation, reward, terminated, truncated, info = self.env.step(taken)
        return self._told(observation), reward, terminated, truncated, info

    def _told(self, observation: np.ndarray) -> np.ndarray:
        self.last = observation[None]
        return features(self.last, np)[0].astype(np.float32)


def _policy_class() -> Any:
    """Return the policy whose logits begin as those of the rule."""
    import torch  # pyright: ignore[reportMissingImports] - only where policies are trained
    from stable_baselines3.common.policies import ActorCriticPolicy  # pyright: ignore[reportMissingImports]

    rule = len(CHOICES) + 2

    def layers(width: int) -> tuple[torch.nn.Module, int]:
        """Return layers of the network, and the width of the last one."""
        made = []
        for size in NETWORK:
            made += [torch.nn.Linear(width, size), torch.nn.Tanh()]
            width = size
        return torch.nn.Sequential(*made), width

    class _Extractor(torch.nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.actor, last = layers(width - rule)
            self.critic, self.latent_dim_vf = layers(width - rule)
            self.latent_dim_pi = last + rule

        def forward(self, given: Any) -> tuple[Any, Any]:
            return self.forward_actor(given), self.forward_critic(given)

        def forward_actor(self, given: Any) -> Any:
            return torch.cat([self.actor(given[:, :-rule]), given[:, -rule:]], 1)

        def forward_critic(self, given: Any) -> Any:
            return self.critic(given[:, :-rule])

    class _Policy(ActorCriticPolicy):
        def _build_mlp_extractor(self) -> None:
            self.mlp_extractor = _Extractor(self.features_dim)

        def _build(self, lr_schedule: Any) -> None:
            super()._build(lr_schedule)
            with torch.no_grad():
                self.action_net.weight[:, -rule:] = torch.eye(rule)

    return _Policy


def train(seed: int, steps: int) -> tuple[bytes, list[CurvePoint]]:
    """Return a trained policy as ONNX and its learning curve, which is told on stderr as it grows.

    Parameters
    ----------
    seed : int
        Seed of the training.
    steps : int
        Steps of the environment.
    """
    import torch  # pyright: ignore[reportMissingImports]
    from stable_baselines3 import PPO  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.callbacks import BaseCallback  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.env_util import make_vec_env  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.utils import LinearSchedule  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    curve: list[CurvePoint] = []
    rows = table()

    class _Curve(BaseCallback):
        began, evaluating = 0.0, 0.0

        def _on_training_start(self) -> None:
            self.began = time.process_time()

        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            if self.num_timesteps >= EVERY * len(curve):
                self.point()

        def act(self, observation: np.ndarray) -> np.ndarray:
            """Return the action of the mode of the policy."""
            chosen, _ = self.model.predict(features(observation[None], np).astype(np.float32), deterministic=True)
            return action_of(observation[None], rows[chosen], np)[0].astype(np.float32)

        def point(self) -> None:
            """Add a point to the curve; its evaluation does not count as time of the training."""
            before = time.process_time()
            found = return_statistics.summary(learner.play(ENVIRONMENT, self.act, learner.CURVE_SEEDS, ARGUMENTS))
            cpu_s = before - self.began - self.evaluating
            self.evaluating += time.process_time() - before
            curve.append(CurvePoint(steps=self.num_timesteps, cpu_s=cpu_s, mean_return=found.mean, success=found.success))
            sys.stderr.write(f"{ENVIRONMENT} seed {seed}: {self.num_timesteps} of {steps} steps, {cpu_s:.0f} s of CPU, return {found.mean:.3f}\n")
            sys.stderr.flush()

    envs = make_vec_env(ENVIRONMENT, n_envs=TOGETHER, seed=seed, env_kwargs={**ARGUMENTS, "split": "train"}, wrapper_class=ForgeChoices)
    model = PPO(_policy_class(), envs, learning_rate=LinearSchedule(*RATES, 1.0), seed=seed, **SETTINGS)
    watch = _Curve()
    model.learn(steps, callback=watch)
    watch.point()
    return export(model), curve


def export(model: Any) -> bytes:
    """Return the mode of a model's policy as ONNX, from observations to actions of the environment."""
    import torch  # pyright: ignore[reportMissingImports]

    class _Mode(torch.nn.Module):
        def __init__(self, policy: Any) -> None:
            super().__init__()
            self.policy = policy
            self.register_buffer("rows", torch.tensor(table()))

        def forward(self, observation: Any) -> Any:
            given = features(observation, torch)
            logits = self.policy.action_net(self.policy.mlp_extractor.forward_actor(given))
            return action_of(observation, self.rows[logits.argmax(1)], torch)

    written = io.BytesIO()
    example = torch.zeros(1, *ForgeChoices(gymnasium.make(ENVIRONMENT, **ARGUMENTS)).last.shape[1:])
    mode = _Mode(model.policy.eval().cpu())
    torch.onnx.export(mode, (example,), written, input_names=["observation"], output_names=["action"], dynamo=False, opset_version=17)
    return written.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Train, write the best policy and the curves, and put the learner on the scale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--score", action="store_true", help="play the policy that is kept, put it on the scale, and train nothing")
    given = parser.parse_args(arguments)
    if not given.score:
        trained = {seed: train(seed, given.steps) for seed in given.seeds}
        curves = {str(seed): [dataclasses.asdict(point) for point in curve] for seed, (_, curve) in trained.items()}
        best = max(trained.values(), key=lambda one: one[1][-1].mean_return)[0]
        settings = {**SETTINGS, "learning_rate": RATES, "net_arch": NETWORK, "n_envs": TOGETHER}
        told = {"environment": ENVIRONMENT, "arguments": ARGUMENTS, "settings": settings, "curves": curves}
        files.write_atomically(learner.learned_path(ENVIRONMENT), best)
        files.write_atomically(learner.learned_path(ENVIRONMENT, ".json"), (json.dumps(told, indent=1) + "\n").encode())
    learner.put_on_scale(ENVIRONMENT, ARGUMENTS)


if __name__ == "__main__":
    main()
