"""What everything that goes by steps has in common: from each state, the steps that are open and where each leads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.domain.plan import Labelled

__all__ = ["StateTable", "WrongStepError"]

StateT = TypeVar("StateT", bound=Labelled)
ActionT = TypeVar("ActionT", bound=Labelled)


class WrongStepError(ValueError):
    """A step that is not open; the message is Chinese and names the steps that are."""

    def __init__(self, what: str, step: Labelled, allowed: Sequence[Labelled]) -> None:
        self.allowed = tuple(allowed)
        steps = "、".join(one.label for one in allowed) or "没有可以采取的步骤"
        super().__init__(f"{what}不能{step.label},现在可以:{steps}")


@dataclass(frozen=True, slots=True)
class StateTable(Generic[StateT, ActionT]):
    """The steps of one kind of thing, called ``noun`` (Chinese); in each state in the order in which they are offered.

    A state without steps is an end.
    """

    noun: str
    steps: Mapping[StateT, Mapping[ActionT, StateT]]

    def allowed(self, state: StateT) -> tuple[ActionT, ...]:
        """The steps that are open from ``state``."""
        return tuple(self.steps[state])

    def apply(self, state: StateT, action: ActionT) -> StateT:
        """The state that ``action`` leads to.

        Raises:
            WrongStepError: the action is not open from ``state``.
        """
        if action not in self.steps[state]:
            raise WrongStepError(f"{state.label}的{self.noun}", action, self.allowed(state))
        return self.steps[state][action]
