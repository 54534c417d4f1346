"""Environments as pure functions of a frozen state, and the class that turns them into Gymnasium environments."""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import gymnasium as gym
import numpy as np

from stemtwin.twin.envs.arguments import SPLITS
from stemtwin.twin.errors import InstrumentError, SettingsError, suggestion

State = TypeVar("State")
LAST_BITS = 4
"""Largest excess of an action over a bound, in units in the last place, that is corrected to the bound.

It covers the rounding errors of wrappers such as ``RescaleAction``, if the ends of the range differ from 0 by at most four
times the width of the range.
"""


class FunctionalEnv(Protocol[State]):
    """An environment as pure functions of a frozen state, without memory outside this state and with ``rng`` as the only random source."""

    @property
    def observation_space(self) -> gym.Space:
        """Space of the observations."""
        ...

    @property
    def action_space(self) -> gym.Space:
        """Space of the actions."""
        ...

    def initial(self, rng: np.random.Generator) -> State:
        """Draw the state at the start of an episode; options of ``reset`` are further keyword arguments."""
        ...

    def transition(self, state: State, action: Any, rng: np.random.Generator) -> State:
        """Return the state after an action; the noise of the observation is drawn here."""
        ...

    def observe(self, state: State) -> Any:
        """Return the agent's observation."""
        ...

    def step_reward(self, before: State, after: State) -> float:
        """Return the reward of one transition."""
        ...

    def terminated(self, state: State) -> bool:
        """Return True if the episode has ended."""
        ...

    def truncated(self, state: State) -> bool:
        """Return True if the budget is spent."""
        ...

    def cost(self, state: State) -> dict[str, float]:
        """Return the cost since the start: ``dose_e_per_angstrom2``, ``beam_s``, ``moves``."""
        ...

    def truth(self, state: State) -> dict[str, float]:
        """Return the numbers of the hidden state by name, for scorers."""
        ...

    def picture(self, state: State) -> np.ndarray:
        """Return a picture of the state for people, uint8, shape (height, width, 3)."""
        ...


class StemEnv(gym.Env, Generic[State]):
    """A Gymnasium environment of a family; ``help(env.unwrapped)`` shows the description of the family.

    Parameters
    ----------
    task : FunctionalEnv
        The family with its arguments.
    render_mode : str, optional
        ``"rgb_array"`` or None.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, task: FunctionalEnv[State], render_mode: str | None = None) -> None:
        self.__doc__ = inspect.getdoc(type(task))
        self.task = task
        self.observation_space = task.observation_space
        self.action_space = task.action_space
        self.render_mode = render_mode
        self._state: State | None = None
        self._rng: np.random.Generator | None = None
        self._over = False
        self._foreseen: State | None = None
        self._begun: tuple[State, np.random.Generator] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; see ``gymnasium.Env.reset``.

        Raises
        ------
        StemtwinError
            The family has no such option, or its value is out of range. The state is unchanged.
        """
        check_options(self.task, options)
        super().reset(seed=seed)
        begun = self._begun if seed is None and not options else None
        self._state, self._rng = begun or start(self.task, self.np_random, options or {})
        self._over, self._foreseen, self._begun = False, None, None
        return self.task.observe(self._state), episode_info(self.task, self._state)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Perform one action; see ``gymnasium.Env.step``.

        Raises
        ------
        InstrumentError
            The action is outside the action space, the episode is over, or there was no reset; the state is unchanged.
        """
        before, rng = self.ready()
        if self._foreseen is None:
            self._state = self.task.transition(before, checked_action(self.action_space, action), rng)
        else:
            self._state, self._foreseen = self._foreseen, None
        done, spent = bool(self.task.terminated(self._state)), bool(self.task.truncated(self._state))
        self._over = done or spent
        reward = float(self.task.step_reward(before, self._state))
        return self.task.observe(self._state), reward, done, spent and not done, episode_info(self.task, self._state)

    def ready(self) -> tuple[State, np.random.Generator]:
        """Return the present state and the random generator of the next step.

        Raises
        ------
        InstrumentError
            The episode is over, or there was no reset.
        """
        if self._state is None or self._rng is None or self._over:
            message = (
                "step() was called after the end of the episode. Call reset()."
                if self._over
                else "step() was called before reset(). Call reset() first."
            )
            raise InstrumentError(message)
        return self._state, self._rng

    def foresee(self, state: State, rng: np.random.Generator | None = None) -> None:
        """Store the next state, which was computed in advance.

        The next call of :meth:`step` uses this state. If a generator is given, the next call of :meth:`reset` uses the state
        and the generator instead.
        """
        if rng is None:
            self._foreseen = state
        else:
            self._begun = state, rng

    def render(self) -> np.ndarray | None:
        """Return a picture of the state, uint8, shape (height, width, 3), or None without a render mode."""
        if self.render_mode is None or self._state is None:
            return None
        return self.task.picture(self._state)

    def truth(self) -> dict[str, float]:
        """Return the hidden state, for training; the environment must have ``privileged_info=True``.

        Raises
        ------
        InstrumentError
            The environment has ``privileged_info=False``, or there was no reset.
        """
        if not getattr(self.task, "privileged_info", True):
            message = "truth() is for training, and this environment has privileged_info=False. Make it with privileged_info=True."
            raise InstrumentError(message)
        return hidden_truth(self)


def hidden_truth(env: gym.Env) -> dict[str, float]:
    """Return the hidden state of an environment, for scorers and oracles; scored agents never receive it.

    Parameters
    ----------
    env : gymnasium.Env
        A :class:`StemEnv` or another environment with a method ``truth``, possibly inside wrappers.

    Raises
    ------
    InstrumentError
        There was no reset.
    """
    inner: Any = env.unwrapped
    if not isinstance(inner, StemEnv):
        return inner.truth()
    if inner._state is None:
        message = "truth() was called before reset(). Reset the environment first."
        raise InstrumentError(message)
    return inner.task.truth(inner._state)


def read_only(array: np.ndarray) -> np.ndarray:
    """Make an array read-only, because several states may share it, and return it."""
    array.setflags(write=False)
    return array


def foresee(given: Sequence[tuple[StemEnv[State], Any]], beginning: Sequence[StemEnv[State]] = ()) -> None:
    """Compute the next states of several environments of one family together, if the family has a method ``transitions``.

    Parameters
    ----------
    given : sequence of tuple
        Environments and their actions.
    beginning : sequence of StemEnv
        Environments whose next call is ``reset()``, without seed and options.

    Raises
    ------
    InstrumentError
        An action is outside the action space, an episode is over, or there was no reset; all states are unchanged.
    """
    if not given:
        return
    task = given[0][0].task
    together = getattr(task, "transitions", None)
    if together is None:
        return
    actions = [checked_action(env.action_space, action) for env, action in given]
    states, generators = zip(*(env.ready() for env, _ in given), strict=True)
    streams = [_streams(task, env.np_random) for env in beginning]
    found = together(states, actions, generators, [first for first, _ in streams])
    for (env, _), state in zip(given, found[: len(given)], strict=True):
        env.foresee(state)
    for env, state, (_, steps) in zip(beginning, found[len(given) :], streams, strict=True):
        env.foresee(state, steps)


def start(task: FunctionalEnv[State], stream: np.random.Generator, options: Mapping[str, Any]) -> tuple[State, np.random.Generator]:
    """Return the first state of an episode, and the random generator of its steps.

    Parameters
    ----------
    task : FunctionalEnv
        The family with its arguments; each split has its own random streams.
    stream : numpy.random.Generator
        Random generator of the environment, from which 128 bits are drawn.
    options : mapping
        Checked options of ``reset``.
    """
    first, steps = _streams(task, stream)
    return task.initial(first, **options), steps


def _streams(task: FunctionalEnv[Any], stream: np.random.Generator) -> tuple[np.random.Generator, np.random.Generator]:
    """Return the random generators of an episode's first state and of its steps, from 128 bits of the environment's generator."""
    split = getattr(task, "split", None)
    words = [int(word) for word in stream.integers(2**32, size=4, dtype="u4")]
    root = np.random.SeedSequence(words, spawn_key=() if split is None else (SPLITS[split],))
    first, steps = (np.random.Generator(np.random.Philox(child)) for child in root.spawn(2))
    return first, steps


def check_options(task: FunctionalEnv[Any], options: Mapping[str, Any] | None) -> None:
    """Raise an error for unknown options of ``reset``, and for values that the family's ``check_reset`` does not accept.

    Raises
    ------
    StemtwinError
        An option is unknown, or its value is out of range.
    """
    known = getattr(task, "RESET_OPTIONS", ())
    wrong = next((name for name in options or {} if name not in known), None)
    if wrong is None:
        check = getattr(task, "check_reset", None)
        if check is not None:
            check(**(options or {}))
        return
    told = suggestion(wrong, known, listed="Options") if known else "This environment has no options: pass settings to gymnasium.make."
    message = f"options={dict(options or {})!r} of reset(): the option {wrong!r} is unknown. {told}"
    raise SettingsError(message)


def checked_action(space: gym.Space, action: Any) -> Any:
    """Convert an action to the data types of the space and check it; actions are not clipped.

    A number that exceeds a bound by at most four units in the last place, a rounding error of a wrapper, is set to the bound.

    Raises
    ------
    InstrumentError
        The action is not in the space.
    """
    given = _converted(space, action)
    if given is None or not space.contains(given):
        message = f"action={action!r} is not in the action space {space}. Give an action within it; actions are not clipped."
        raise InstrumentError(message)
    return given


def episode_info(task: FunctionalEnv[State], state: State) -> dict[str, Any]:
    """Return the ``info`` of a state: its cost, and with ``privileged_info`` the truth and the success."""
    info: dict[str, Any] = {"cost": task.cost(state)}
    if getattr(task, "privileged_info", False):
        info["truth"] = task.truth(state)
        if (success := getattr(task, "success", None)) is not None:
            info["is_success"] = bool(success(state))
    return info


def _converted(space: gym.Space, action: Any) -> Any:
    """Return an action converted to the types of a space, or None if that is impossible."""
    if isinstance(space, gym.spaces.Dict):
        fits = isinstance(action, dict) and action.keys() == space.spaces.keys()
        found = _all_converted(space.spaces.values(), [action[name] for name in space.spaces]) if fits else None
        return None if found is None else dict(zip(space.spaces, found, strict=True))
    if isinstance(space, gym.spaces.Tuple):
        found = _all_converted(space.spaces, action) if isinstance(action, tuple) and len(action) == len(space.spaces) else None
        return None if found is None else tuple(found)
    if isinstance(space, gym.spaces.Box):
        try:
            numbers = np.asarray(action)
        except ValueError:
            return None
        return _on_bounds(space, numbers.astype(space.dtype)) if np.can_cast(numbers.dtype, space.dtype, "same_kind") else None
    return action


def _all_converted(spaces: Iterable[gym.Space], actions: Iterable[Any]) -> list[Any] | None:
    """Return the converted parts of an action, or None if one of them cannot be converted."""
    found = [_converted(space, action) for space, action in zip(spaces, actions, strict=True)]
    return None if any(part is None for part in found) else found


def _on_bounds(space: gym.spaces.Box, numbers: np.ndarray) -> np.ndarray:
    """Set numbers that exceed a bound only in the last bits to the bound, and return all numbers."""
    if numbers.shape != space.shape or not np.issubdtype(numbers.dtype, np.floating):
        return numbers
    for bound, beyond in ((space.low, numbers < space.low), (space.high, numbers > space.high)):
        if beyond.any():
            close = beyond & (np.abs(numbers - bound) <= LAST_BITS * np.spacing(np.abs(bound)))
            numbers = np.where(close, bound, numbers)
    return numbers
