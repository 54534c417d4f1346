"""Nested actions as one vector, in which a number from -1 to 1 selects a discrete option by its bin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from stemtwin.twin.envs.control_panel import ControlPanel
from stemtwin.twin.errors import SettingsError

Path = tuple[str, ...]
BORDERS = {"beam/blanked": 0.5, "scan/acquire": -0.5}
"""Numbers in [-1, 1] from which on the beam is blanked, and from which on a frame is acquired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One number of a flat action.

    Parameters
    ----------
    name : str
        Part of the nested action, such as ``beam/optics``.
    index : int
        Index of the number within that part.
    choices : int
        Number of bins, one for each choice; 0 for a number that is used directly.
    """

    name: str
    index: int = 0
    choices: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlatAction:
    """Conversion of nested actions, a ``Dict`` of ``Box`` and ``Discrete``, to vectors and back.

    The parts of a vector are in the order of their names.

    Parameters
    ----------
    space : gymnasium.spaces.Dict
        Space of the nested actions; all numbers of its boxes are in [-1, 1].
    borders : mapping
        Border between the two bins of a choice, by the name of its part. Other choices have equal bins.

    Raises
    ------
    SettingsError
        A part of the space is neither a ``Discrete`` nor a one-dimensional ``Box`` from -1 to 1.
    """

    space: gym.spaces.Dict
    borders: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the types of all parts."""
        for path, part in _parts(self.space):
            box = isinstance(part, gym.spaces.Box) and len(part.shape) == 1 and np.all(part.low == -1) and np.all(part.high == 1)
            if not box and not isinstance(part, gym.spaces.Discrete):
                message = f"{'/'.join(path)} is {part}, which a flat action cannot represent. Use Discrete, or a one-dimensional Box from -1 to 1."
                raise SettingsError(message)

    @property
    def components(self) -> tuple[Component, ...]:
        """Description of each number of the vector, in the same order."""
        out: list[Component] = []
        for path, part in _parts(self.space):
            if isinstance(part, gym.spaces.Discrete):
                out.append(Component(name="/".join(path), choices=int(part.n)))
            else:
                assert isinstance(part, gym.spaces.Box)
                out += [Component(name="/".join(path), index=i) for i in range(part.shape[0])]
        return tuple(out)

    @property
    def box(self) -> gym.spaces.Box:
        """Space of the vectors."""
        return gym.spaces.Box(-1.0, 1.0, (len(self.components),), np.float32)

    def nested(self, vector: np.ndarray) -> dict[str, Any]:
        """Convert a vector to the nested action."""
        out: dict[str, Any] = {}
        start = 0
        for path, part in _parts(self.space):
            inner = out
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
            if isinstance(part, gym.spaces.Discrete):
                inner[path[-1]] = int(np.searchsorted(self._edges(path, part)[1:-1], float(vector[start]), side="right"))
                start += 1
            else:
                assert part.shape is not None
                inner[path[-1]] = np.asarray(vector[start : start + part.shape[0]], np.float32)
                start += part.shape[0]
        return out

    def flat(self, action: dict[str, Any]) -> np.ndarray:
        """Convert a nested action to the vector; each choice becomes the middle of its bin."""
        out: list[float] = []
        for path, part in _parts(self.space):
            value: Any = action
            for name in path:
                value = value[name]
            if isinstance(part, gym.spaces.Discrete):
                edges = self._edges(path, part)
                out.append(float(edges[int(value)] + edges[int(value) + 1]) / 2)
            else:
                out += np.asarray(value).tolist()
        return np.array(out, np.float32)

    def _edges(self, path: Path, part: gym.spaces.Discrete) -> np.ndarray:
        """Return the edges of the bins of a choice, from -1 to 1."""
        border = self.borders.get("/".join(path))
        return np.linspace(-1, 1, int(part.n) + 1) if border is None else np.array([-1, border, 1])


def flat_action(panel: ControlPanel) -> FlatAction:
    """Return the vector form of the actions of a microscope; an action near 0 acquires a frame with the beam on."""
    return FlatAction(space=panel.action_space, borders=BORDERS)


def _parts(space: gym.spaces.Dict, path: Path = ()) -> Iterator[tuple[Path, gym.Space]]:
    """Iterate over the parts of a nested space in the order of their names."""
    for name in sorted(space.spaces):
        part = space.spaces[name]
        if isinstance(part, gym.spaces.Dict):
            yield from _parts(part, (*path, name))
        else:
            yield (*path, name), part
