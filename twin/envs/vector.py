"""Vectors of environments whose states are computed together."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import iterate

from stemtwin.twin.envs.functional_env import StemEnv, foresee
from stemtwin.twin.envs.making import check_render_mode, check_split, make_family


class StemVectorEnv(gym.vector.SyncVectorEnv):
    """A vector of environments of one family; a step computes the states of all of them together.

    Trajectories are bit-identical to those of single environments with the same seeds, in all three modes of automatic
    resets.

    Parameters
    ----------
    envs : sequence of gymnasium.Env
        Environments that share one instance of the family.
    autoreset_mode : AutoresetMode or str
        See ``gymnasium.vector.SyncVectorEnv``.
    """

    def __init__(self, envs: Sequence[gym.Env], autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP) -> None:
        super().__init__([lambda env=env: env for env in envs], autoreset_mode=autoreset_mode)

    def step(self, actions: Any) -> Any:
        """Perform one action in every environment; see ``gymnasium.vector.VectorEnv.step``.

        Raises
        ------
        InstrumentError
            An action is outside the action space; the state is unchanged.
        """
        resets = self._autoreset_envs if self.autoreset_mode is AutoresetMode.NEXT_STEP else [False] * self.num_envs
        given = iterate(self.action_space, actions)
        inner = [(env.unwrapped, action, over) for env, action, over in zip(self.envs, given, resets, strict=True)]
        going = [(env, action) for env, action, over in inner if isinstance(env, StemEnv) and not over]
        foresee(going, [env for env, _, over in inner if isinstance(env, StemEnv) and over])
        return super().step(actions)


def make_vector(
    *,
    environment: str,
    num_envs: int = 1,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    **settings: Any,
) -> StemVectorEnv:
    """Return a vector of environments; ``gymnasium.make_vec`` calls this function with the id.

    Parameters
    ----------
    environment : str
        Id of the environment.
    num_envs : int
        Number of environments.
    render_mode : str, optional
        ``"rgb_array"``, or None.
    max_episode_steps : int, optional
        Number of steps after which an episode is truncated.
    autoreset_mode : AutoresetMode or str
        ``"NextStep"``, ``"SameStep"`` or ``"Disabled"``.
    settings
        Arguments of ``EnvArguments`` and settings of the family.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """
    check_render_mode(environment, render_mode)
    check_split(environment, settings)
    task = make_family(environment, **settings)
    envs: list[gym.Env] = [StemEnv(task, render_mode=render_mode) for _ in range(num_envs)]
    if max_episode_steps is not None:
        envs = [gym.wrappers.TimeLimit(env, max_episode_steps) for env in envs]
    return StemVectorEnv(envs, autoreset_mode)
