"""Gymnasium spaces as plain values, which an agent in any language can read, and back."""

from typing import Any

import gymnasium as gym
import numpy as np

from stemtwin.twin.errors import SettingsError


def describe_space(space: gym.Space) -> dict[str, Any]:
    """Return a space as a map that a message can carry.

    Parameters
    ----------
    space : gymnasium.Space
        Box, Discrete, MultiDiscrete, MultiBinary, Text, and Dict and Tuple of these.

    Returns
    -------
    dict
        ``kind`` and, by kind: ``shape``, ``dtype``, ``low`` and ``high`` (arrays; numbers where all entries are equal), ``n``, ``start``,
        ``nvec``, ``min_length``, ``max_length``, ``characters``, ``spaces``.

    Raises
    ------
    SettingsError
        A space of another kind.
    """
    kind = type(space).__name__.lower()
    if isinstance(space, gym.spaces.Box):
        return {"kind": kind, "shape": list(space.shape), "dtype": str(space.dtype), "low": _ends(space.low), "high": _ends(space.high)}
    if isinstance(space, gym.spaces.Discrete):
        return {"kind": kind, "n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
    if isinstance(space, gym.spaces.MultiDiscrete):
        return {"kind": kind, "nvec": np.asarray(space.nvec), "start": np.asarray(space.start), "dtype": str(space.dtype)}
    if isinstance(space, gym.spaces.MultiBinary):
        return {"kind": kind, "shape": list(space.shape)}
    if isinstance(space, gym.spaces.Text):
        return {"kind": kind, "min_length": space.min_length, "max_length": space.max_length, "characters": "".join(sorted(space.character_list))}
    if isinstance(space, gym.spaces.Dict):
        return {"kind": kind, "spaces": {name: describe_space(part) for name, part in space.spaces.items()}}
    if isinstance(space, gym.spaces.Tuple):
        return {"kind": kind, "spaces": [describe_space(part) for part in space.spaces]}
    message = f"{space} cannot be described to an agent. Use Box, Discrete, MultiDiscrete, MultiBinary, Text, or Dict and Tuple of these."
    raise SettingsError(message)


def _ends(ends: np.ndarray) -> np.ndarray | float | int:
    """Return the ends of a box: one number where all are equal."""
    return ends.flat[0].item() if ends.size and (ends == ends.flat[0]).all() else ends


def build_space(described: dict[str, Any]) -> gym.Space:
    """Return the Gymnasium space that :func:`describe_space` described."""
    kind = described["kind"]
    if kind == "dict":
        return gym.spaces.Dict({name: build_space(part) for name, part in described["spaces"].items()})
    if kind == "tuple":
        return gym.spaces.Tuple([build_space(part) for part in described["spaces"]])
    if kind == "box":
        dtype, shape = np.dtype(described["dtype"]), tuple(described["shape"])
        low, high = (np.broadcast_to(np.asarray(described[end], dtype=dtype), shape) for end in ("low", "high"))
        return gym.spaces.Box(low.copy(), high.copy(), shape, dtype.type)
    if kind == "discrete":
        return gym.spaces.Discrete(described["n"], start=described["start"])
    if kind == "multidiscrete":
        return gym.spaces.MultiDiscrete(described["nvec"], start=described["start"], dtype=np.dtype(described["dtype"]).type)
    if kind == "multibinary":
        return gym.spaces.MultiBinary(described["shape"])
    return gym.spaces.Text(described["max_length"], min_length=described["min_length"], charset=described["characters"])


def received_action(space: gym.Space, value: Any) -> Any:
    """Return an action as a message brought it, with tuples where the space has tuples; anything else stays as it is, to be checked later."""
    if isinstance(space, gym.spaces.Tuple) and isinstance(value, list) and len(value) == len(space.spaces):
        return tuple(received_action(part, one) for part, one in zip(space.spaces, value, strict=True))
    if isinstance(space, gym.spaces.Dict) and isinstance(value, dict):
        return {name: received_action(space.spaces[name], one) if name in space.spaces else one for name, one in value.items()}
    return value
