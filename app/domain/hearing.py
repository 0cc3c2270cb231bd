"""Faults that are entered, and appeals against a result: whoever is judged is heard first.

::

    fault:   recorded ──answer──▶ answered ──uphold──▶ upheld ──withdraw──▶ withdrawn
                │                     └─────dismiss──▶ dismissed
                └── dismiss at any time; uphold once the time to answer is over

    appeal:  filed ──uphold──▶ upheld (a new revision of the result)
               └────reject──▶ rejected

Attachment 6, 三(五), takes points off for erroneous and concealed reports and does not say how they are established.
That the unit is heard, and that somebody else looks at an appeal than who settled the result, is our reading.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.domain.plan import Labelled
from app.domain.state_table import WrongStepError

__all__ = [
    "APPEAL_STEPS",
    "FAULT_STEPS",
    "AppealAction",
    "AppealState",
    "FaultAction",
    "FaultDecision",
    "FaultState",
    "decide_fault",
    "fault_steps",
]


class FaultState(Labelled):
    """Where a fault that was entered stands."""

    RECORDED = "recorded", "已登记"
    ANSWERED = "answered", "已申辩"
    UPHELD = "upheld", "已认定"
    DISMISSED = "dismissed", "不予认定"
    WITHDRAWN = "withdrawn", "已撤销"


class FaultAction(Labelled):
    """A step that somebody takes with a fault."""

    ANSWER = "answer", "申辩"
    UPHOLD = "uphold", "认定"
    DISMISS = "dismiss", "不予认定"
    WITHDRAW = "withdraw", "撤销认定"


class FaultDecision(Labelled):
    """What is decided of a fault."""

    UPHELD = "upheld", "认定"
    DISMISSED = "dismissed", "不予认定"
    WITHDRAWN = "withdrawn", "撤销认定"


class AppealState(Labelled):
    """Where an appeal stands."""

    FILED = "filed", "已提出"
    UPHELD = "upheld", "申诉成立"
    REJECTED = "rejected", "维持原结果"


class AppealAction(Labelled):
    """A step that somebody takes with an appeal."""

    DECIDE = "decide", "复核"


FAULT_STEPS: Final[Mapping[FaultState, Mapping[FaultAction, FaultState]]] = MappingProxyType(
    {
        FaultState.RECORDED: {
            FaultAction.ANSWER: FaultState.ANSWERED,
            FaultAction.UPHOLD: FaultState.UPHELD,
            FaultAction.DISMISS: FaultState.DISMISSED,
        },
        FaultState.ANSWERED: {
            FaultAction.UPHOLD: FaultState.UPHELD,
            FaultAction.DISMISS: FaultState.DISMISSED,
        },
        FaultState.UPHELD: {FaultAction.WITHDRAW: FaultState.WITHDRAWN},
        FaultState.DISMISSED: {},
        FaultState.WITHDRAWN: {},
    }
)

APPEAL_STEPS: Final[Mapping[AppealState, tuple[AppealAction, ...]]] = MappingProxyType(
    {AppealState.FILED: (AppealAction.DECIDE,), AppealState.UPHELD: (), AppealState.REJECTED: ()}
)

_STEP_OF: Final = {
    FaultDecision.UPHELD: FaultAction.UPHOLD,
    FaultDecision.DISMISSED: FaultAction.DISMISS,
    FaultDecision.WITHDRAWN: FaultAction.WITHDRAW,
}


def fault_steps(state: FaultState, *, answer_time_over: bool) -> tuple[FaultAction, ...]:
    """The steps that are open; what was not answered is upheld only once the unit has had its time."""
    waiting = state is FaultState.RECORDED and not answer_time_over
    return tuple(step for step in FAULT_STEPS[state] if not (waiting and step is FaultAction.UPHOLD))


def decide_fault(state: FaultState, step: FaultDecision | FaultAction, *, answer_time_over: bool) -> FaultState:
    """The state that a decision or an answer leads to.

    Raises:
        WrongStepError: it is not open.
    """
    action = step if isinstance(step, FaultAction) else _STEP_OF[step]
    allowed = fault_steps(state, answer_time_over=answer_time_over)
    if action not in allowed:
        what = f"{state.label}的过错"
        if action is FaultAction.UPHOLD and state is FaultState.RECORDED:
            what = "申辩期限未到、单位也没有申辩的过错"
        raise WrongStepError(what, action, allowed)
    return FAULT_STEPS[state][action]
