"""The steps of a fault that was entered: every one that is open, and every other refused with those that are."""

from itertools import product

import pytest

from app.domain.hearing import (
    APPEAL_STEPS,
    AppealState,
    FaultAction,
    FaultDecision,
    FaultState,
    decide_fault,
    fault_steps,
)
from app.domain.state_table import WrongStepError

RECORDED, ANSWERED, UPHELD = FaultState.RECORDED, FaultState.ANSWERED, FaultState.UPHELD
OPEN = {
    (RECORDED, FaultAction.ANSWER): ANSWERED,
    (RECORDED, FaultAction.UPHOLD): UPHELD,
    (RECORDED, FaultAction.DISMISS): FaultState.DISMISSED,
    (ANSWERED, FaultAction.UPHOLD): UPHELD,
    (ANSWERED, FaultAction.DISMISS): FaultState.DISMISSED,
    (UPHELD, FaultAction.WITHDRAW): FaultState.WITHDRAWN,
}


@pytest.mark.parametrize(("state", "step", "over"), list(product(FaultState, FaultAction, (True, False))))
def test_a_step_leads_where_the_table_says_or_is_refused(state: FaultState, step: FaultAction, over: bool) -> None:
    allowed = fault_steps(state, answer_time_over=over)
    is_open = (state, step) in OPEN and (over or (state, step) != (RECORDED, FaultAction.UPHOLD))
    assert (step in allowed) == is_open
    if is_open:
        assert decide_fault(state, step, answer_time_over=over) is OPEN[state, step]
        return
    with pytest.raises(WrongStepError, match="现在可以") as caught:
        decide_fault(state, step, answer_time_over=over)
    assert caught.value.allowed == allowed
    assert all(one.label in str(caught.value) for one in allowed)


def test_a_decision_is_a_step() -> None:
    assert decide_fault(ANSWERED, FaultDecision.UPHELD, answer_time_over=False) is UPHELD
    assert decide_fault(UPHELD, FaultDecision.WITHDRAWN, answer_time_over=True) is FaultState.WITHDRAWN
    with pytest.raises(WrongStepError, match="申辩期限未到"):
        decide_fault(RECORDED, FaultDecision.UPHELD, answer_time_over=False)


def test_an_appeal_is_decided_once() -> None:
    assert [state for state, steps in APPEAL_STEPS.items() if steps] == [AppealState.FILED]
