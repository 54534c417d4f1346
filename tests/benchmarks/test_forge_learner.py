"""Trained policies of AtomForge: choices are actions, frames are read as the form ``state`` has it, what is kept is small and beats the rule."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from stemtwin.benchmarks import forge_choices, kept_runs
from stemtwin.benchmarks.agents import Brief, find_baseline
from stemtwin.benchmarks.baselines import forge_eyes
from stemtwin.benchmarks.baselines.forge_learned import ENVIRONMENT, Learned
from stemtwin.benchmarks.forge_choices import CHOICES
from stemtwin.benchmarks.onnx_policy import OnnxPolicy, learned_path
from stemtwin.twin.envs import forge_scenes, forge_sight
from stemtwin.twin.envs.families.atom_forge import SHORTEST_S, dwell_s
from stemtwin.twin.envs.forge_scenes import FIELD_ANGSTROM, FRAME_PX, PRESETS
from stemtwin.twin.envs.reference import reference

GOALS = tuple(CHOICES)
LARGEST_BYTES = 300_000
"""Most bytes of a policy that ships."""


def first_looks(goal: str, count: int = 4) -> np.ndarray:
    """Return first observations of the form ``state``, (n, m)."""
    env = gym.make(ENVIRONMENT, disable_env_checker=True, difficulty="standard" if goal == "walk" else "drill", split="train")
    return np.stack([env.reset(seed=seed)[0] for seed in range(count)])


def brief(goal: str) -> Brief:
    """Return what an agent is told of an episode; nothing of it is used."""
    env = gym.make(ENVIRONMENT, disable_env_checker=True, difficulty="easy" if goal == "walk" else "drill")
    return Brief(task="atom-forge", observation_space=env.observation_space, action_space=env.action_space, seed=1, truth=None, difficulty="easy")


@pytest.mark.parametrize("goal", GOALS)
def test_every_choice_is_an_action_and_is_found_again(goal: str) -> None:
    """Each choice parks the beam on its candidate for its time, or looks, or stops; of its action it is the nearest choice."""
    choices, rows = CHOICES[goal], forge_choices.table(CHOICES[goal])
    seen = first_looks(goal, 1)
    actions = forge_choices.action_of(choices, np.repeat(seen, len(rows), 0), rows, np)
    assert np.abs(actions).max() <= 1
    for number, action in enumerate(actions):
        assert forge_choices.nearest_choice(choices, seen[0], action) == number
    assert (actions[:, 3] > 0.5).tolist() == [False] * (choices.count - 1) + [True]
    assert dwell_s(float(actions[-2, 2])) == pytest.approx(SHORTEST_S)
    for way, (_, seconds) in enumerate(choices.ways):
        assert dwell_s(float(actions[way, 2])) == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize("goal", GOALS)
def test_candidates_are_seen_alike(goal: str) -> None:
    """Features are finite for any observation, and those of a candidate do not change with what is far from it."""
    choices, seen = CHOICES[goal], first_looks(goal)
    rows, common = forge_choices.features(choices, seen, np)
    assert rows.shape == (4, choices.candidates, choices.width)
    assert common.shape == (4, choices.common)
    blank, _ = forge_choices.features(choices, np.zeros_like(seen), np)
    assert np.isfinite(blank).all()
    if goal == "drill":
        places = forge_scenes.lattice("drill").places[forge_scenes.drilled()]
        changed = seen.copy()
        changed[:, 2] = 0.25  # the first place has lost its S
        apart = np.hypot(*(places - places[0]).T)
        moved = np.abs(forge_choices.features(choices, changed, np)[0] - rows).max(axis=(0, 2)) > 1e-6
        assert not moved[apart > 2.3 * forge_scenes.SULPHUR_ANGSTROM].any()
        assert moved[apart < 1.1 * forge_scenes.SULPHUR_ANGSTROM].all()


def drawn_frame(numbers: np.ndarray) -> np.ndarray:
    """Return a frame of 64 x 64 with a Gaussian for each site, as bright as the form ``state`` has it."""
    axis = FIELD_ANGSTROM / FRAME_PX * (np.arange(FRAME_PX) + 0.5) - FIELD_ANGSTROM / 2
    places, image = forge_scenes.lattice("walk").places, np.zeros((FRAME_PX, FRAME_PX))
    for (x, y), number in zip(places, numbers, strict=True):
        bright = forge_sight.BRIGHTNESS[int(number)] if number else 0.0
        image += 2000 * bright * np.exp(-((axis[:, None] - y) ** 2 + (axis - x) ** 2) / (2 * 0.3**2))
    return image.astype(np.uint16)


def test_frames_are_read_as_the_form_state_has_it() -> None:
    """Place, way, bonds and neighbours of Si that are detected in a frame are those of the form ``state`` without noise, within 0.2 A."""
    preset = PRESETS["easy"]
    for seed in range(4):
        scene = forge_scenes.draw_scene(preset, np.random.default_rng(seed), "train")
        numbers = np.array(scene.numbers)
        quiet = forge_scenes.ForgePreset(goal="walk", energy_ev=72e3, size=(6, 7), jitter_angstrom=0.0, flicker=0.0, looks=60, beam_s=15.0)
        _, sight, _ = forge_sight.look(quiet, scene, numbers, (0.0, 0.0), np.random.default_rng(1))
        image = drawn_frame(numbers)
        target = forge_scenes.lattice("walk").places[list(scene.target)].astype(np.float32)
        shown = {"image": image, "tracked": np.array(forge_sight.brightest(image, (0.0, 0.0)), np.float32), "target": target}
        agent = Learned()
        agent.reset(brief("walk"))
        read = agent._walk(forge_eyes.look({**shown, "budget": np.ones(2, np.float32), "energy": np.array([0.72], np.float32)}))
        ours, theirs = read.reshape(-1)[6:].reshape(3, 5), sight[6:].reshape(3, 5)
        np.testing.assert_allclose(read[:6], sight[:6], atol=0.03)
        np.testing.assert_allclose(ours[:, :2], theirs[:, :2], atol=0.2 / forge_sight.NEAR_ANGSTROM)
    assert agent._walk(None)[0] < forge_choices.SEEN


@pytest.mark.parametrize("goal", GOALS)
def test_a_policy_that_ships_is_small_and_bounded(goal: str) -> None:
    """The file is below 300 kB and gives an action of the space for any observation; its curve names what it was trained on."""
    path = learned_path(ENVIRONMENT, f"-{goal}.onnx")
    assert path.stat().st_size <= LARGEST_BYTES
    policy, width = OnnxPolicy(path), first_looks(goal, 1).shape[1]
    for seen in np.random.default_rng(0).uniform(-1, 1, (20, width)):
        action = policy.act(seen, {})
        assert action.shape == (4,)
        assert np.abs(action).max() <= 1
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert not {"privileged_info", "split"} & told["arguments"].keys()
    assert all(curve[0]["steps"] == 0 for curve in told["curves"].values())


@pytest.mark.parametrize("difficulty", ["easy", "standard", "hard"])
def test_the_learner_beats_the_rule(difficulty: str) -> None:
    """Over the same episodes the trained policy earns more than the rule that always goes towards the target, by a separated interval."""
    lead = next(pair for pair in reference(ENVIRONMENT, difficulty).paired if (pair.better, pair.other) == ("learner", "towards"))
    assert lead.low > 0


@pytest.mark.slow
@pytest.mark.parametrize("difficulty", ["easy", "drill"])
def test_the_policy_plays_as_it_was_kept(difficulty: str) -> None:
    """Kept episodes of the learner are played again by onnxruntime to the same actions; one may fall otherwise by the last bit of a sum."""
    run: Any = kept_runs.read_all(ENVIRONMENT, difficulty)["learner"]
    env, agent, same = run.make(), find_baseline("atom-forge", "learner").factory(), 0
    for kept in run.episodes[:10]:
        observation, info = env.reset(seed=kept.seed)
        agent.reset(brief("walk"))
        for action in kept.actions:
            taken = agent.act(observation, info["cost"])
            if not np.allclose(taken, action, atol=1e-5):
                break
            observation, _, terminated, truncated, info = env.step(taken)
        else:
            same += terminated or truncated
    assert same >= 9
