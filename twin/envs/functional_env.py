"""Definition of a task, and the one class that makes a Gymnasium environment of it."""

import dataclasses
from typing import Any, Generic, Protocol, TypeVar

import gymnasium as gym
import numpy as np

from stemtwin.twin.errors import InstrumentError, SettingsError, suggestion

State = TypeVar("State")


class FunctionalEnv(Protocol[State]):
    """A task as pure functions of a frozen state: nothing is remembered but what the state holds, nothing is random but what ``rng`` draws."""

    @property
    def observation_space(self) -> gym.Space:
        """Space of the agent's observations."""
        ...

    @property
    def action_space(self) -> gym.Space:
        """Space of the agent's actions."""
        ...

    def initial(self, rng: np.random.Generator) -> State:
        """Draw the state at the start of an episode."""
        ...

    def transition(self, state: State, action: Any, rng: np.random.Generator) -> State:
        """Return the state after an action; the noise of what is seen is drawn here."""
        ...

    def observe(self, state: State) -> Any:
        """Return the agent's observation."""
        ...

    def reward(self, state: State) -> float:
        """Return the reward for reaching a state."""
        ...

    def terminated(self, state: State) -> bool:
        """Return whether the task is done."""
        ...

    def truncated(self, state: State) -> bool:
        """Return whether the budget is spent."""
        ...

    def cost(self, state: State) -> dict[str, float]:
        """Return the dose, time and moves spent since the start: ``dose_e_per_angstrom2``, ``beam_s``, ``moves``."""
        ...

    def truth(self, state: State) -> dict[str, float]:
        """Return the hidden state, for scorers."""
        ...

    def picture(self, state: State) -> np.ndarray:
        """Return a picture of the state for people, uint8, shape (height, width, 3)."""
        ...


class StemEnv(gym.Env, Generic[State]):
    """A Gymnasium environment of a task.

    Parameters
    ----------
    task : FunctionalEnv
        The task.
    render_mode : str, optional
        ``"rgb_array"`` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, task: FunctionalEnv[State], render_mode: str | None = None) -> None:
        self.task = task
        self.observation_space = task.observation_space
        self.action_space = task.action_space
        self.render_mode = render_mode
        self._state: State | None = None
        self._rng: np.random.Generator | None = None
        self._over = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; see ``gymnasium.Env.reset``.

        Raises
        ------
        SettingsError
            There are ``options``: these environments have none. Nothing has changed then.
        """
        if options:
            message = f"options={options!r} of reset() are not known. Pass settings to gymnasium.make, and reset with a seed alone."
            raise SettingsError(message)
        super().reset(seed=seed)
        stream = np.random.SeedSequence([int(word) for word in self.np_random.integers(2**32, size=4, dtype="u4")])
        start, self._rng = (np.random.Generator(np.random.Philox(child)) for child in stream.spawn(2))
        self._state, self._over = self.task.initial(start), False
        return self.task.observe(self._state), self._info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act once; see ``gymnasium.Env.step``.

        Raises
        ------
        InstrumentError
            The action is outside the action space, the episode is over, or there was no reset; nothing has changed then.
        """
        if self._state is None or self._rng is None or self._over:
            message = "step() came after the end of the episode. Call reset()." if self._over else "step() came before reset(). Call reset() first."
            raise InstrumentError(message)
        self._state = self.task.transition(self._state, self._checked(action), self._rng)
        done, spent = bool(self.task.terminated(self._state)), bool(self.task.truncated(self._state))
        self._over = done or spent
        return self.task.observe(self._state), float(self.task.reward(self._state)), done, spent and not done, self._info()

    def _checked(self, action: Any) -> Any:
        """Return the action in the action space's own type; numbers of another type are converted, nothing is clipped."""
        given = _converted(self.action_space, action)
        if given is None or not self.action_space.contains(given):
            message = f"action={action!r} is not in the action space {self.action_space}. Give one that is; nothing is clipped."
            raise InstrumentError(message)
        return given

    def render(self) -> np.ndarray | None:
        """Return a picture of the state, uint8, shape (height, width, 3), or None without a render mode."""
        if self.render_mode is None or self._state is None:
            return None
        return self.task.picture(self._state)

    def truth(self) -> dict[str, float]:
        """Return the hidden state, for scorers and training only; an agent that is scored never gets it.

        Raises
        ------
        InstrumentError
            There was no reset.
        """
        if self._state is None:
            message = "truth() came before reset(). Reset the environment first."
            raise InstrumentError(message)
        return self.task.truth(self._state)

    def _info(self) -> dict[str, Any]:
        assert self._state is not None
        return {"cost": self.task.cost(self._state)}


def wrong_setting(environment: str, task: type, settings: dict[str, Any]) -> SettingsError | None:
    """Return the error of the first of some settings that a task does not have, or None where it has them all."""
    known = [field.name for field in dataclasses.fields(task)]
    wrong = next((name for name in settings if name not in known), None)
    if wrong is None:
        return None
    return SettingsError(f"{environment} has no setting {wrong!r}. {suggestion(wrong, known, listed='Settings')}")


def _converted(space: gym.Space, action: Any) -> Any:
    """Return an action whose numbers have the types of a space, or None where they cannot have."""
    if isinstance(space, gym.spaces.Dict):
        if not isinstance(action, dict) or action.keys() != space.spaces.keys():
            return None
        return {name: _converted(part, action[name]) for name, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Box):
        try:
            numbers = np.asarray(action)
        except ValueError:
            return None
        return numbers.astype(space.dtype) if np.can_cast(numbers.dtype, space.dtype, "same_kind") else None
    return action
