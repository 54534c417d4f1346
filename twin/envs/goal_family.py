"""Families with a goal: rewards that pay for solving, and an end that the agent declares."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic

from stemtwin.twin.envs.arguments import EnvArguments
from stemtwin.twin.envs.functional_env import State

PROGRESS, BONUS, PRICE = 0.3, 0.6, 0.1
"""Weights of the dense reward: of the potential, of the achievement at the end, of the budget; together 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalError:
    """A distance from the goal at the end of an episode, which tells presets apart where returns do not.

    Parameters
    ----------
    entry : str
        Its name in the truth of a state.
    title, unit : str
        Words and unit for tables.
    """

    entry: str
    title: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalFamily(EnvArguments, Generic[State]):
    """A family with a goal.

    The dense reward of a step from s to s' is 0.3 [P(s') - P(s)] + 0.6 A(s') - 0.1 [B(s') - B(s)]: the potential P in
    [0, 1] knows the truth, the achievement A in [-1, 1] is given once, at a declared end, and B is the spent fraction of
    the budget. Over an episode the first and the last term telescope, so the return lies in [-1, 1], and no way of acting
    without a declared goal earns more than 0.3. The form is that of A. Y. Ng, D. Harada, S. Russell, ICML (1999) 278;
    unlike there, the potential at the end stays as it is, so that the nearness that was reached is paid as well. The
    sparse reward is A(s') alone.
    """

    FINAL_ERROR: ClassVar[FinalError | None] = None
    """Distance from the goal that scales tell beside returns, where a family has one."""

    @abstractmethod
    def potential(self, state: State) -> float:
        """Return the hidden nearness to the goal, in [0, 1]."""

    @abstractmethod
    def achievement(self, state: State) -> float:
        """Return the worth of the declared answer, in [-1, 1]; it is asked for at a declared end alone."""

    @abstractmethod
    def spent(self, state: State) -> float:
        """Return the spent fraction of the budget, in [0, 1]."""

    @abstractmethod
    def declared(self, state: State) -> bool:
        """Return whether the agent has declared the end."""

    def success(self, state: State) -> bool:
        """Return whether the end was declared and the answer is worth more than half."""
        return self.declared(state) and self.achievement(state) > 0.5

    def terminated(self, state: State) -> bool:
        """Return whether the agent has declared the end; the truth ends no episode."""
        return self.declared(state)

    def step_reward(self, before: State, after: State) -> float:
        """Return the reward of one transition, of the kind that ``reward`` names."""
        if self.reward == "none":
            return 0.0
        earned = self.achievement(after) if self.declared(after) else 0.0
        if self.reward == "sparse":
            return earned
        nearer, dearer = self.potential(after) - self.potential(before), self.spent(after) - self.spent(before)
        return PROGRESS * nearer + BONUS * earned - PRICE * dearer
