"""Rewards by name: what each one measures of a frame, and how the environment takes them."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import xarray as xr
from gymnasium.envs.registration import EnvSpec

from stemtwin.twin.envs import scope_family
from stemtwin.twin.envs.families.microscope_v1 import WholeMicroscope
from stemtwin.twin.envs.rewards import REWARDS, Reward, contrast, correlation, signal
from stemtwin.twin.errors import SettingsError, UnknownNameError
from stemtwin.twin.registry import Registry

ENVIRONMENT = "stemtwin/Microscope-v1"
FREE = {"time_s": 0.0, "electrons": 0.0, "dose_e_per_angstrom2": 0.0}
INCIDENT = 500.0
SHAPE = (160, 200)


def framed(image: np.ndarray, **about: float) -> xr.Dataset:
    """Return a frame of one detector."""
    return xr.Dataset({"haadf": (("y", "x"), image, about)}, attrs={"electrons_per_point": INCIDENT})


def drawn(mean: np.ndarray | float) -> np.ndarray:
    """Return counts of a mean, shape (160, 200)."""
    return np.random.Generator(np.random.Philox(1)).poisson(mean, SHAPE)


@pytest.mark.parametrize("name", REWARDS)
def test_every_reward_is_a_number_in_the_unit_interval(name: str) -> None:
    """Of no frame a reward is 0; of noise, of a constant, of nothing and of a blanked beam it lies in [0, 1]."""
    reward = REWARDS[name]
    assert reward(None, FREE) == 0
    dark = framed(np.zeros(SHAPE)).assign_attrs(electrons_per_point=0.0)
    for frame in (framed(drawn(3.0)), framed(np.full(SHAPE, 7)), framed(np.zeros(SHAPE)), dark, framed(np.full(SHAPE, -2.0))):
        found = reward(frame, FREE)
        assert isinstance(found, float)
        assert 0 <= found <= 1


@pytest.mark.parametrize("name", REWARDS)
def test_readings_of_a_converter_count_as_their_electrons(name: str) -> None:
    """A frame in ADU, offset and gain stated, has the reward of its electrons; further images change nothing."""
    electrons = drawn(4.0)
    read = framed(electrons * 7.5 + 1000.0, gain_adu=7.5, offset_adu=1000.0)
    expected = REWARDS[name](framed(electrons), FREE)
    assert REWARDS[name](read, FREE) == pytest.approx(expected, rel=1e-9)
    assert REWARDS[name](framed(electrons).assign(bf=(("y", "x"), drawn(90.0))), FREE) == expected


def test_contrast_is_the_normalised_variance() -> None:
    """Of two values 0 and a in equal parts v = m^2, hence 1/2; of Poisson counts of mean m, v / m^2 = 1 / m."""
    half = np.zeros(SHAPE)
    half[::2] = 6.0
    assert contrast(framed(half), FREE) == pytest.approx(0.5)
    for mean in (2.0, 20.0):
        assert contrast(framed(drawn(mean)), FREE) == pytest.approx(1 / (1 + mean), rel=0.02)


def test_signal_is_the_collected_fraction() -> None:
    """The mean of counts of a fraction f of the incident electrons is f within its standard error."""
    assert signal(framed(drawn(0.04 * INCIDENT)), FREE) == pytest.approx(0.04, rel=4 / np.sqrt(0.04 * INCIDENT * np.prod(SHAPE)))


def test_correlation_is_the_part_that_is_not_noise() -> None:
    """White noise has none within its standard error; a wave of variance S beside noise of variance 1 has S / (1 + S)."""
    noise = np.random.Generator(np.random.Philox(2)).normal(size=SHAPE)
    error = 4 / np.sqrt(noise.size)
    assert correlation(framed(noise), FREE) <= error
    wave = np.sin(2 * np.pi * np.arange(SHAPE[1]) / 50)  # its neighbours correlate by cos(2 pi / 50) = 0.992
    for ratio in (0.5, 4.0):
        found = correlation(framed(np.sqrt(2 * ratio) * wave + noise), FREE)
        assert found == pytest.approx(ratio / (1 + ratio), abs=error + 0.01)


def test_a_reward_travels_with_the_spec(small_settings: dict[str, dict[str, Any]]) -> None:
    """The spec of an environment with a reward survives JSON, and what it makes gives the same rewards: those of the frames taken."""
    env = gym.make(ENVIRONMENT, reward="contrast", **small_settings[ENVIRONMENT])
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec is not None
    assert again.spec.kwargs["reward"] == "contrast"
    env.action_space.seed(4)
    actions = [env.action_space.sample() for _ in range(5)]
    rewards = []
    for one in (env, again):
        one.reset(seed=7)
        steps = [one.step(action) for action in actions]
        assert [reward > 0 for _, reward, *_ in steps] == [bool(observation["fresh"][0]) for observation, *_ in steps]
        rewards.append([reward for _, reward, *_ in steps])
    assert rewards[0] == rewards[1]
    assert any(rewards[0])


def test_a_reward_of_ones_own_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered function gets the frame of the last action, or None, and its cost; what it returns is the reward."""
    registry: Registry[Reward] = Registry("reward")
    monkeypatch.setattr(scope_family, "REWARDS", registry)

    @registry.register("mine")
    def mine(frame: xr.Dataset | None, cost: Mapping[str, float]) -> float:
        return float(frame is None) + cost["time_s"]

    task = WholeMicroscope(semiangles_mrad=(5.0,), phonons=1, shape=(8, 8), reward="mine")
    state = task.initial(np.random.Generator(np.random.Philox(3)))
    assert state.fresh
    assert task.step_reward(state, state) == state.cost["time_s"] > 0
    action = gym.make(ENVIRONMENT, semiangles_mrad=(5.0,), phonons=1, shape=(8, 8), reward="mine").action_space.sample()
    action["scan"]["acquire"] = 0
    after = task.transition(state, action, np.random.Generator(np.random.Philox(3)))
    assert task.step_reward(state, after) == 1 + after.cost["time_s"]


def test_what_is_not_a_name_is_refused() -> None:
    """A function is refused with the way to register it; an unknown name with the nearest known one."""
    with pytest.raises(SettingsError, match=r'is not the name of a reward \(none, .*@REWARDS\.register\("mine"\).*reward="mine"'):
        gym.make(ENVIRONMENT, reward=contrast)
    with pytest.raises(UnknownNameError, match="no reward named 'contrats'"):
        gym.make(ENVIRONMENT, reward="contrats")
