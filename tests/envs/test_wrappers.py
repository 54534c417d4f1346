"""Observation wrappers: spaces hold what comes, and each does what its page says."""

import doctest
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from stemtwin.twin.envs import wrappers
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.errors import SettingsError, StemtwinError
from tests.envs.test_conformance import FRAMES_ARE_SLOW

FIELD = (48, 64)


class Camera(gym.Env):
    """Poisson counts with a knob that sets their mean."""

    observation_space = gym.spaces.Dict(
        {
            "image": gym.spaces.Box(0, 65535, FIELD, np.uint16),
            "pair": gym.spaces.Box(0, 65535, (2, *FIELD), np.uint16),
            "knob": gym.spaces.Box(-2.0, 6.0, (2,), np.float32),
            "fresh": gym.spaces.MultiBinary(1),
        }
    )
    action_space = gym.spaces.Box(0, 1, (1,), np.float32)

    def look(self, mean: float) -> dict[str, Any]:
        """Return an observation."""
        draw = self.np_random.poisson
        return {
            "image": draw(mean, FIELD).astype(np.uint16),
            "pair": draw(mean, (2, *FIELD)).astype(np.uint16),
            "knob": np.array([mean - 2, 6], np.float32),
            "fresh": np.array([1], np.int8),
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        """Start dark."""
        super().reset(seed=seed)
        del options
        return self.look(0.0), {}

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """Take counts of a mean of 8 times the action."""
        return self.look(8 * float(action[0])), 0.0, False, False, {}


def started(env: gym.Env, action: float = 0.5) -> tuple[dict, dict]:
    """Return the first two observations; both lie in the space."""
    first, _ = env.reset(seed=3)
    second = env.step(np.array([action], np.float32))[0]
    assert env.observation_space.contains(first)
    assert env.observation_space.contains(second)
    return first, second


@pytest.mark.parametrize("scale", wrappers.SCALES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_counts_become_pixels(scale: Any, dtype: Any) -> None:
    """Images have channels first and the type asked for, rise with the counts, and other parts stay as they are."""
    env = wrappers.CountsToPixels(Camera(), scale, dtype, high=16.0)
    raw = started(Camera())[1]
    seen = started(env)[1]
    assert seen["image"].shape == (1, *FIELD)
    assert seen["pair"].shape == (2, *FIELD)
    assert seen["image"].dtype == dtype
    assert np.array_equal(seen["knob"], raw["knob"])
    order = np.argsort(raw["image"].ravel(), kind="stable")
    assert (np.diff(seen["image"].ravel()[order].astype(float)) >= 0).all()
    if scale == "sqrt":
        white = 255 if dtype == "uint8" else 1
        assert np.allclose(seen["image"][0], white * np.sqrt(np.minimum(raw["image"] / 16, 1)), atol=0.51 if dtype == "uint8" else 1e-6)


def test_the_square_root_makes_noise_the_same_everywhere() -> None:
    """The standard deviation of the root of Poisson counts is 1/2 whatever the mean, for means above a few."""
    rng = np.random.Generator(np.random.Philox(2))
    env = wrappers.CountsToPixels(Camera(), "sqrt", "float32", high=400.0)
    spreads = [env._image(rng.poisson(mean, FIELD).astype(np.uint16)).std() for mean in (10.0, 40.0, 160.0)]
    assert np.allclose(spreads, 0.5 / 20, rtol=0.08)


def test_frames_are_stacked_newest_last_and_forgotten_at_a_reset() -> None:
    """Channels are the frames of the last steps; after a reset all of them are the first frame."""
    env = wrappers.StackedFrames(wrappers.CountsToPixels(Camera(), "fixed", "float32"), 3)
    first, second = started(env)
    assert first["pair"].shape == (6, *FIELD)
    assert np.array_equal(first["image"][0], first["image"][2])
    assert np.array_equal(second["image"][:2], first["image"][1:])
    assert second["image"][2].sum() > 0
    again, _ = env.reset(seed=4)
    assert again["image"].sum() == 0


def test_scalars_are_one_vector_between_minus_1_and_1() -> None:
    """Each read-back is scaled from its bounds: the lower one to -1, the upper one to 1; images stay."""
    first, second = started(wrappers.FlatScalars(Camera()))
    assert set(first) == {"image", "pair", "scalars"}
    names = sorted(("knob", "fresh"))  # Dict spaces sort their parts
    assert names == ["fresh", "knob"]
    assert np.allclose(first["scalars"], [1, -1, 1])
    assert np.allclose(second["scalars"], [1, 0, 1])


def test_a_power_spectrum_of_noise_is_flat_and_of_a_wave_has_its_peaks() -> None:
    """Relative to counting noise the power of noise is 1 on average; a wave of 8 periods has its peak at frequency 8."""
    rng = np.random.Generator(np.random.Philox(4))
    side = 32
    noise = np.mean([np.expm1(wrappers.log_power(rng.poisson(20.0, FIELD), side, 50.0)) for _ in range(40)], axis=0)
    centre = (side // 2, side // 2)
    outside = np.ones((side, side), bool)
    outside[centre[0] - 2 : centre[0] + 3, centre[1] - 2 : centre[1] + 3] = False
    assert noise[outside].mean() == pytest.approx(1, rel=0.03)
    wave = 20 * (1 + 0.5 * np.cos(2 * np.pi * 8 * np.arange(FIELD[1]) / FIELD[1])) * np.ones(FIELD)
    found = wrappers.log_power(rng.poisson(wave), side)
    assert np.unravel_index(np.argmax(np.where(outside, found, 0)), found.shape) in ((16, 24), (16, 8))
    started(wrappers.LogPowerSpectrum(Camera(), side))


def test_wrappers_combine_and_travel_with_the_spec() -> None:
    """Spectra, stack and vector together give one Dict of two images and a vector; the spec makes the same environment again."""
    env = wrappers.FlatScalars(wrappers.StackedFrames(wrappers.LogPowerSpectrum(Camera(), 16), 2))
    _, seen = started(env)
    assert {name: part.shape for name, part in seen.items()} == {"image": (2, 16, 16), "pair": (4, 16, 16), "scalars": (3,)}
    small = {"semiangle_mrad": 10.0, "phonons": 1, "max_frames": 3}
    real = wrappers.StackedFrames(wrappers.CountsToPixels(gym.make("stemtwin/Autofocus-v1", **small)), 2)
    assert real.spec is not None
    again = gym.make(EnvSpec.from_json(real.spec.to_json()))
    assert np.array_equal(again.reset(seed=1)[0]["image"], real.reset(seed=1)[0]["image"])


@pytest.mark.slow
def test_the_example_of_the_module_runs() -> None:
    """What the module shows is what comes."""
    done = doctest.testmod(wrappers)
    assert (done.attempted, done.failed) == (6, 0)


def readings(count: int = 3) -> tuple[gym.Env, list[dict]]:
    """Return Autofocus-v2 as most people make it, of one specimen, and its first observations: readings in ADU."""
    env = gym.make("stemtwin/Autofocus-v2", phonons=1, randomisation={"samples": "mos2-1h"})
    seen = [env.reset(seed=seed)[0] for seed in range(count)]
    assert min(one["image"].mean() for one in seen) > 900
    return env, seen


@pytest.mark.parametrize("settings", [{}, {"scale": "sqrt", "offset": 1000, "gain": 7.6, "high": 10}, {"dtype": "float32"}])
def test_readings_of_a_converter_become_pictures(settings: dict) -> None:
    """Frames in ADU vary after conversion as they are, and where offset and gain are given: no level holds most of the points."""
    env, seen = readings()
    wrapped = wrappers.CountsToPixels(env, **settings)
    for one in seen:
        image = wrapped.observation(one)["image"]
        assert np.unique(image, return_counts=True)[1].max() < 0.3 * image.size
        assert image.std() > 0.1 * wrapped.white


def test_counts_and_readings_have_one_spectrum() -> None:
    """Offset and gain of a converter leave the spectrum over noise as it is; of a frame of the microscope the lattice stands out of it."""
    counts = np.random.Generator(np.random.Philox(5)).poisson(6.0, (64, 64))
    np.testing.assert_allclose(wrappers.log_power(1000 + 7.6 * counts, 48), wrappers.log_power(counts, 48), rtol=1e-4)
    env, seen = readings()
    for one in seen:
        spectrum = wrappers.LogPowerSpectrum(env, 64).observation(one)["image"][0]
        assert 0.4 < np.median(spectrum) < 0.7  # log(1 + log 2) = 0.53
        assert spectrum.max() > 3


LEAST_SIDE = 8
"""Least side of an image; shorter rows are settings."""


@pytest.mark.parametrize("form", ["counts", "pixels"])
def test_wrappers_fit_every_environment(env_id: str, form: str, small: Callable[..., gym.Env]) -> None:
    """All wrappers stand around every environment with images, the vector around every Dict; what is a row of settings is no image."""
    if not hasattr(family_class(env_id), "PRESETS") and form == "pixels":
        pytest.skip("it has one form")
    if env_id in FRAMES_ARE_SLOW:
        pytest.skip("its frames take seconds: among the slow tests")
    fit(env_id, form, small)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["counts", "pixels"])
@pytest.mark.parametrize("slow_id", sorted(FRAMES_ARE_SLOW))
def test_wrappers_fit_environments_of_slow_frames(slow_id: str, form: str, small: Callable[..., gym.Env]) -> None:
    """So they do around environments whose frames take seconds."""
    fit(slow_id, form, small)


def fit(env_id: str, form: str, small: Callable[..., gym.Env]) -> None:
    """Put all wrappers around an environment, and play a step."""
    shape = {"shape": (48, 40)} if "Microscope" in env_id else {}
    if hasattr(family_class(env_id), "PRESETS"):
        shape["observation"] = form
    env = small(env_id, **shape)
    flat = wrappers.FlatScalars(env)
    assert flat.observation_space.contains(flat.reset(seed=1)[0])
    shapes = {name: part.shape for name, part in env.observation_space.spaces.items()}  # type: ignore[attr-defined]
    pictures = [name for name, sides in shapes.items() if len(sides) > 1 and min(sides[-2:]) >= LEAST_SIDE]
    assert set(flat.observation_space.spaces) == {*pictures, "scalars"}  # type: ignore[attr-defined]
    if not pictures:
        with pytest.raises(SettingsError, match="has no images"):
            wrappers.CountsToPixels(env)
        return
    first = env.reset(seed=1)[0]
    counted = [name for name in pictures if first[name].dtype in (np.uint8, np.uint16) and first[name].any()]
    assert counted or not any(first[name].dtype in (np.uint8, np.uint16) for name in pictures)
    side = min(32, *(length for name in pictures for length in shapes[name][-2:]))
    for images in (wrappers.CountsToPixels(env, dtype="float32"), wrappers.LogPowerSpectrum(env, side)):
        whole = wrappers.FlatScalars(wrappers.StackedFrames(images, 2))
        assert set(whole.observation_space.spaces) == {*pictures, "scalars"}  # type: ignore[attr-defined]
        whole.action_space.seed(1)
        seen = [whole.reset(seed=1)[0], whole.step(whole.action_space.sample())[0]]
        assert all(whole.observation_space.contains(one) for one in seen)
        assert all(np.isfinite(one[name]).all() for one in seen for name in pictures)
        assert all(seen[0][name].std() > 0.1 for name in counted)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: wrappers.CountsToPixels(Camera(), "log"), "scale='log'"),  # type: ignore[arg-type]
        (lambda: wrappers.CountsToPixels(Camera(), dtype="uint16"), "dtype='uint16'"),  # type: ignore[arg-type]
        (lambda: wrappers.CountsToPixels(Camera(), high=0), "high=0"),
        (lambda: wrappers.CountsToPixels(Camera(), gain=0), "gain=0"),
        (lambda: wrappers.CountsToPixels(Camera(), offset="dark"), "offset='dark'"),  # type: ignore[arg-type]
        (lambda: wrappers.LogPowerSpectrum(Camera(), 49), "side=49"),
        (lambda: wrappers.StackedFrames(Camera(), 0), "count=0"),
    ],
)
def test_wrong_settings_of_wrappers_are_refused(make: Any, said: str) -> None:
    """Names and numbers out of range end in a sentence."""
    with pytest.raises(StemtwinError, match=said):
        make()


def test_environments_without_images_are_refused() -> None:
    """A flat observation has no images to convert, and the sentence says how to get them."""
    with pytest.raises(SettingsError, match="observation='counts'"):
        wrappers.CountsToPixels(gym.make("CartPole-v1"))
