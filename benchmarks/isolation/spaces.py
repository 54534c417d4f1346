"""Conversion of Gymnasium spaces to plain values, which an agent in any language can read, and back to spaces."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from stemtwin.twin.errors import SettingsError


def describe_space(space: gym.Space) -> dict[str, Any]:
    """Return the description of a space as a map of plain values for a message.

    Parameters
    ----------
    space : gymnasium.Space
        Space of the kind Box, Discrete, MultiDiscrete, MultiBinary or Text, or a Dict or Tuple of such spaces.

    Returns
    -------
    dict
        The key ``kind``, and some of these keys, which depend on the kind: ``shape``, ``dtype``, ``low`` and ``high`` (arrays, or numbers if all
        entries are equal), ``n``, ``start``, ``nvec``, ``min_length``, ``max_length``, ``characters``, ``spaces``.

    Raises
    ------
    SettingsError
        The space is of another kind.
    """
    described = next((say(space) for kind, say in DESCRIBED.items() if isinstance(space, kind)), None)
    if described is None:
        message = f"{space} cannot be described to an agent. Use Box, Discrete, MultiDiscrete, MultiBinary, Text, or Dict and Tuple of these."
        raise SettingsError(message)
    return {"kind": type(space).__name__.lower(), **described}


DESCRIBED: dict[type, Callable[[Any], dict[str, Any]]] = {
    gym.spaces.Box: lambda space: {
        "shape": list(space.shape), "dtype": str(space.dtype), "low": _ends(space.low), "high": _ends(space.high),
    },
    gym.spaces.Discrete: lambda space: {"n": int(space.n), "start": int(space.start)},
    gym.spaces.MultiDiscrete: lambda space: {"nvec": np.asarray(space.nvec), "start": np.asarray(space.start), "dtype": str(space.dtype)},
    gym.spaces.MultiBinary: lambda space: {"n": space.n if isinstance(space.n, int) else list(space.n)},
    gym.spaces.Text: lambda space: {
        "min_length": space.min_length, "max_length": space.max_length, "characters": "".join(sorted(space.character_list)),
    },
    gym.spaces.Dict: lambda space: {"spaces": {name: describe_space(part) for name, part in space.spaces.items()}},
    gym.spaces.Tuple: lambda space: {"spaces": [describe_space(part) for part in space.spaces]},
}  # fmt: skip


def _ends(ends: np.ndarray) -> np.ndarray | float | int:
    """Return the bounds of a box, as one number if all are equal."""
    return ends.flat[0].item() if ends.size and (ends == ends.flat[0]).all() else ends


def build_space(described: dict[str, Any]) -> gym.Space:
    """Return the Gymnasium space of a description that :func:`describe_space` returned."""
    return BUILT[described["kind"]](described)


def _build_box(described: dict[str, Any]) -> gym.Space:
    """Return a box from a description, in which one number may stand for all bounds."""
    dtype, shape = np.dtype(described["dtype"]), tuple(described["shape"])
    low, high = (np.broadcast_to(np.asarray(described[end], dtype=dtype), shape) for end in ("low", "high"))
    return gym.spaces.Box(low.copy(), high.copy(), shape, dtype.type)


BUILT: dict[str, Callable[[dict[str, Any]], gym.Space]] = {
    "box": _build_box,
    "discrete": lambda told: gym.spaces.Discrete(told["n"], start=told["start"]),
    "multidiscrete": lambda told: gym.spaces.MultiDiscrete(told["nvec"], start=told["start"], dtype=np.dtype(told["dtype"]).type),
    "multibinary": lambda told: gym.spaces.MultiBinary(told["n"]),
    "text": lambda told: gym.spaces.Text(told["max_length"], min_length=told["min_length"], charset=told["characters"]),
    "dict": lambda told: gym.spaces.Dict({name: build_space(part) for name, part in told["spaces"].items()}),
    "tuple": lambda told: gym.spaces.Tuple([build_space(part) for part in told["spaces"]]),
}


def received_action(space: gym.Space, value: Any) -> Any:
    """Return an action from a message, with its lists converted to tuples wherever the space has tuples.

    Everything else is unchanged, and the action is checked later.
    """
    if isinstance(space, gym.spaces.Tuple) and isinstance(value, list) and len(value) == len(space.spaces):
        return tuple(received_action(part, one) for part, one in zip(space.spaces, value, strict=True))
    if isinstance(space, gym.spaces.Dict) and isinstance(value, dict):
        return {name: received_action(space.spaces[name], one) if name in space.spaces else one for name, one in value.items()}
    return value
