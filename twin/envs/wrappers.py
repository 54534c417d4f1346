"""Observation wrappers for training libraries: images as pixels or power spectra, stacked images, and scalars as one vector.

The wrappers apply to environments whose observation is a ``Dict`` of images and read-backs. Images are non-negative ``Box``
parts with two or more dimensions, channels first if there are three. All other parts are read-backs. The wrappers can be
combined:

>>> import gymnasium as gym
>>> import stemtwin
>>> from stemtwin.envs import wrappers
>>> env = gym.make("stemtwin/Autofocus-v2", randomisation={"samples": "mos2-1h"})
>>> env = wrappers.FlatScalars(wrappers.StackedFrames(wrappers.CountsToPixels(env), 2))
>>> {name: part.shape for name, part in env.reset(seed=1)[0].items()}
{'image': (2, 128, 128), 'scalars': (8,)}
"""

from collections import deque
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from stemtwin.twin import checks
from stemtwin.twin.envs.arguments import one_of
from stemtwin.twin.envs.image_features import power_over_noise, spread
from stemtwin.twin.errors import SettingsError

SCALES = ("percentile", "sqrt", "fixed")
SCALARS = "scalars"
"""Name of the vector that :class:`FlatScalars` makes."""
LEAST_SIDE = 8
"""Smallest side of an image, pixels; smaller arrays are settings or positions."""


class _ImageWrapper(gym.ObservationWrapper, RecordConstructorArgs):
    """Base of wrappers that change only the images of a ``Dict``."""

    def __init__(self, env: gym.Env) -> None:
        gym.ObservationWrapper.__init__(self, env)
        self.names = image_names(env.observation_space)

    def _image(self, image: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Return the observation with converted images."""
        return {**observation, **{name: self._image(observation[name]) for name in self.names}}


def image_names(space: gym.Space) -> tuple[str, ...]:
    """Return the names of the images of an observation space.

    Raises
    ------
    SettingsError
        The space is not a ``Dict``, or has no images.
    """
    names = tuple(name for name, part in _parts(space).items() if _is_image(part))
    if not names:
        what = f"non-negative Box parts whose last two dimensions are at least {LEAST_SIDE}"
        message = f"The observation space {space} has no images ({what}). Make the environment with observation='pixels'."
        raise SettingsError(message)
    return names


def _parts(space: gym.Space) -> dict[str, gym.Space]:
    if not isinstance(space, gym.spaces.Dict):
        message = f"The observation space {space} is not a Dict with images. Make the environment with observation='counts'."
        raise SettingsError(message)
    return dict(space.spaces)


def _is_image(part: gym.Space) -> bool:
    return isinstance(part, gym.spaces.Box) and len(part.shape) >= 2 and min(part.shape[-2:]) >= LEAST_SIDE and bool((part.low >= 0).all())


class CountsToPixels(_ImageWrapper):
    """Convert images of counts to uint8 or float32, channels first: shape (channels, height, width).

    Parameters
    ----------
    env : gymnasium.Env
        The environment.
    scale : str
        ``"percentile"`` is linear between the 1st and the 99.7th percentile of each image. It hides the dose and does
        not use ``high``. ``"sqrt"`` is the square root of electrons, from 0 to the root of ``high``; the counting noise
        then has the same strength at all signals. ``"fixed"`` is linear in electrons, from 0 to ``high``.
    dtype : str
        ``"uint8"``, 0 to 255, or ``"float32"``, 0 to 1.
    high : float
        Number of electrons shown as full white with ``"sqrt"`` and ``"fixed"``; larger numbers are clipped.
    offset, gain : float
        Reading without electrons and mean increase of the reading per electron, ADU, for images from a read-out chain. The
        defaults, 0 and 1, are for images in electrons.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    def __init__(
        self,
        env: gym.Env,
        scale: Literal["percentile", "sqrt", "fixed"] = "percentile",
        dtype: Literal["uint8", "float32"] = "uint8",
        high: float = 255.0,
        offset: float = 0.0,
        gain: float = 1.0,
    ) -> None:
        RecordConstructorArgs.__init__(self, scale=scale, dtype=dtype, high=high, offset=offset, gain=gain)
        super().__init__(env)
        one_of("scale", scale, SCALES)
        one_of("dtype", dtype, ("uint8", "float32"))
        self.scale, self.high = scale, checks.number("high", high, "electrons", above=0)
        self.offset, self.gain = checks.number("offset", offset, "ADU"), checks.number("gain", gain, "ADU", above=0)
        self.white, self.dtype = (255.0, np.uint8) if dtype == "uint8" else (1.0, np.float32)
        spaces = _parts(env.observation_space)
        for name in self.names:
            shape = channels_first(spaces[name].shape)
            spaces[name] = gym.spaces.Box(0, self.white, shape, self.dtype)
        self.observation_space = gym.spaces.Dict(spaces)

    def _image(self, image: np.ndarray) -> np.ndarray:
        readings = image.astype(np.float32).reshape(channels_first(image.shape))
        if self.scale == "percentile":
            values = np.stack([spread(one, least=1.0) for one in readings])
        else:
            values = np.clip((readings - self.offset) / (self.gain * self.high), 0, 1)
            values = np.sqrt(values) if self.scale == "sqrt" else values
        values = values * self.white
        return np.rint(values).astype(self.dtype) if self.dtype is np.uint8 else values.astype(self.dtype)


class LogPowerSpectrum(_ImageWrapper):
    """Replace each image by the logarithm of its power spectrum relative to noise, float32, channels first.

    The rings and spots of a power spectrum depend on focus and astigmatism, and they do not change if the specimen moves.
    The mean of the image is subtracted, and its edge is tapered (Hann window). Frequency 0 is in the middle, at pixel
    (side // 2, side // 2). The noise level is estimated from the median of the spectrum, so images may contain counts or
    readings in ADU.

    Parameters
    ----------
    env : gymnasium.Env
        The environment.
    side : int
        Side of the central square of the spectrum (pixels), at most the shorter side of the images.
    most : float
        Value at which log(1 + power / noise) is clipped.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    def __init__(self, env: gym.Env, side: int = 64, most: float = 12.0) -> None:
        RecordConstructorArgs.__init__(self, side=side, most=most)
        super().__init__(env)
        spaces = _parts(env.observation_space)
        least = min(min((spaces[name].shape or ())[-2:]) for name in self.names)
        self.side = checks.whole("side", side, low=8, high=least)
        self.most = checks.number("most", most, "", above=0)
        for name in self.names:
            channels = channels_first(spaces[name].shape)[0]
            spaces[name] = gym.spaces.Box(0.0, self.most, (channels, side, side), np.float32)
        self.observation_space = gym.spaces.Dict(spaces)

    def _image(self, image: np.ndarray) -> np.ndarray:
        readings = image.astype(np.float32).reshape(channels_first(image.shape))
        return np.stack([log_power(one, self.side, self.most) for one in readings])


def log_power(image: np.ndarray, side: int, most: float = 12.0) -> np.ndarray:
    """Return log(1 + power / noise) of an image around frequency 0, float32, shape (side, side)."""
    height, width = image.shape
    relative = power_over_noise(image)
    top, left = height // 2 - side // 2, width // 2 - side // 2
    return np.minimum(np.log1p(relative[top : top + side, left : left + side]), most).astype(np.float32)


class StackedFrames(gym.Wrapper, RecordConstructorArgs):
    """Stack the images of the last steps as channels, newest last; at the start of an episode the first image is repeated.

    Parameters
    ----------
    env : gymnasium.Env
        An environment whose images have channels first, as from :class:`CountsToPixels` and :class:`LogPowerSpectrum`,
        or no channels.
    count : int
        Number of stacked steps.

    Raises
    ------
    SettingsError
        The number is out of range.
    """

    def __init__(self, env: gym.Env, count: int = 2) -> None:
        RecordConstructorArgs.__init__(self, count=count)
        gym.Wrapper.__init__(self, env)
        self.count = checks.whole("count", count, low=1, high=64)
        self.names = image_names(env.observation_space)
        spaces = _parts(env.observation_space)
        for name in self.names:
            box = spaces[name]
            assert isinstance(box, gym.spaces.Box)  # checked
            low, high = (np.concatenate([bound.reshape(channels_first(box.shape))] * count) for bound in (box.low, box.high))
            spaces[name] = gym.spaces.Box(low, high, dtype=box.dtype.type)  # type: ignore[union-attr] - a Box has a type
        self.observation_space = gym.spaces.Dict(spaces)
        self._frames: deque[dict[str, np.ndarray]] = deque(maxlen=count)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; see ``gymnasium.Env.reset``."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._frames.extend([observation] * self.count)
        return self._stacked(observation), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Perform one action; see ``gymnasium.Env.step``."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._frames.append(observation)
        return self._stacked(observation), float(reward), terminated, truncated, info

    def _stacked(self, observation: dict[str, Any]) -> dict[str, Any]:
        images = {name: [frame[name].reshape(channels_first(frame[name].shape)) for frame in self._frames] for name in self.names}
        return {**observation, **{name: np.concatenate(several) for name, several in images.items()}}


class FlatScalars(gym.ObservationWrapper, RecordConstructorArgs):
    """Join all parts that are not images into one vector ``scalars``, float32, scaled from their bounds to [-1, 1].

    Parameters
    ----------
    env : gymnasium.Env
        The environment; every part of its observation except images must be a bounded ``Box``, a ``Discrete`` or a
        ``MultiBinary``.

    Raises
    ------
    SettingsError
        A part is of another type, or not bounded.
    """

    def __init__(self, env: gym.Env) -> None:
        RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)
        parts = _parts(env.observation_space)
        spaces = {name: part for name, part in parts.items() if _is_image(part)}
        self._bounds = {name: _bounds(name, part) for name, part in parts.items() if name not in spaces}
        count = sum(low.size for low, _ in self._bounds.values())
        self.observation_space = gym.spaces.Dict({**spaces, SCALARS: gym.spaces.Box(-1.0, 1.0, (count,), np.float32)})

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Return the observation as its images and the vector ``scalars``."""
        vector = []
        for name, (low, high) in self._bounds.items():
            values = np.asarray(observation[name], float).ravel()
            vector.append(2 * (values - low) / np.where(high > low, high - low, 1) - 1)
        kept = {name: value for name, value in observation.items() if name not in self._bounds}
        return {**kept, SCALARS: np.clip(np.concatenate(vector), -1, 1).astype(np.float32)}


def channels_first(shape: tuple[int, ...] | None) -> tuple[int, int, int]:
    """Return the shape (channels, height, width) of an image; further dimensions before the last two are channels."""
    *before, height, width = shape or (1, 1)
    return int(np.prod(before)), height, width


def _bounds(name: str, part: gym.Space) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of a part of an observation as vectors."""
    if isinstance(part, gym.spaces.Discrete):
        return np.array([float(part.start)]), np.array([float(part.start + part.n - 1)])
    if isinstance(part, gym.spaces.MultiBinary):
        count = int(np.prod(part.shape))
        return np.zeros(count), np.ones(count)
    if isinstance(part, gym.spaces.Box) and part.is_bounded():
        return part.low.astype(float).ravel(), part.high.astype(float).ravel()
    message = f"{name} of the observation is {part}, which cannot be scaled. FlatScalars needs bounded Box, Discrete or MultiBinary parts."
    raise SettingsError(message)
