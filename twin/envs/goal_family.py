"""Families with a goal: rewards for solving the task, and an end that the agent declares."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic

from stemtwin.twin.envs.arguments import EnvArguments
from stemtwin.twin.envs.functional_env import State

PROGRESS, BONUS, PRICE = 0.3, 0.6, 0.1
"""Weights of the potential, of the achievement at the end and of the budget in the dense reward; their sum is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalError:
    """A distance from the goal at the end of an episode; it shows which of two presets with similar returns is harder.

    Parameters
    ----------
    entry : str
        Name of the distance in the truth of a state.
    title, unit : str
        Title and unit for tables.
    """

    entry: str
    title: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalFamily(EnvArguments, Generic[State]):
    """A family with a goal.

    The dense reward of a step from s to s' is 0.3 [P(s') - P(s)] + 0.6 A(s') - 0.1 [B(s') - B(s)]. The potential P in
    [0, 1] is computed from the truth. The achievement A in [-1, 1] is 0 until the agent declares the end. B is the spent
    fraction of the budget. Over an episode the first and the last term telescope, so the return lies in [-1, 1]. Without a
    declared end, the return is at most 0.3. The form is that of A. Y. Ng, D. Harada, S. Russell, ICML (1999) 278, with one
    difference: the potential is not set to 0 at the end, so the progress towards the goal is rewarded as well. The sparse
    reward is A(s').
    """

    FINAL_ERROR: ClassVar[FinalError | None] = None
    """Distance from the goal that the scale of returns reports in addition to the returns, or None."""

    @abstractmethod
    def potential(self, state: State) -> float:
        """Return the hidden potential, in [0, 1], which increases towards the goal."""

    @abstractmethod
    def achievement(self, state: State) -> float:
        """Return the value of the declared answer, in [-1, 1]; this method is called only if the end was declared."""

    @abstractmethod
    def spent(self, state: State) -> float:
        """Return the spent fraction of the budget, in [0, 1]."""

    @abstractmethod
    def declared(self, state: State) -> bool:
        """Return True if the agent has declared the end."""

    def success(self, state: State) -> bool:
        """Return True if the agent has declared the end, and the achievement of its answer is above 1/2."""
        return self.declared(state) and self.achievement(state) > 0.5

    def terminated(self, state: State) -> bool:
        """Return True if the agent has declared the end; reaching the goal does not end an episode."""
        return self.declared(state)

    def step_reward(self, before: State, after: State) -> float:
        """Return the reward of one transition: dense, sparse or 0, as the argument ``reward`` requests."""
        if self.reward == "none":
            return 0.0
        earned = self.achievement(after) if self.declared(after) else 0.0
        if self.reward == "sparse":
            return earned
        nearer, dearer = self.potential(after) - self.potential(before), self.spent(after) - self.spent(before)
        return PROGRESS * nearer + BONUS * earned - PRICE * dearer
