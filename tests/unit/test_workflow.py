"""The states of a submission: every step that is open, and every other one refused with those that are."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.state_table import WrongStepError
from app.domain.workflow import TRANSITIONS, SubmissionAction, SubmissionState, allowed, apply

DRAFT, SUBMITTED = SubmissionState.DRAFT, SubmissionState.SUBMITTED
CERTIFIED, RETURNED = SubmissionState.CERTIFIED, SubmissionState.RETURNED
SUBMIT, EDIT, CORRECT = SubmissionAction.SUBMIT, SubmissionAction.EDIT, SubmissionAction.CORRECT
CERTIFY, RETURN = SubmissionAction.CERTIFY, SubmissionAction.RETURN

OPEN = {
    (DRAFT, EDIT): DRAFT,
    (DRAFT, SUBMIT): SUBMITTED,
    (SUBMITTED, CERTIFY): CERTIFIED,
    (SUBMITTED, RETURN): RETURNED,
    (CERTIFIED, CORRECT): DRAFT,
    (RETURNED, EDIT): DRAFT,
    (RETURNED, SUBMIT): SUBMITTED,
}


@pytest.mark.parametrize(("state", "action"), list(product(SubmissionState, SubmissionAction)))
def test_a_step_leads_where_the_table_says_or_is_refused(state: SubmissionState, action: SubmissionAction) -> None:
    if (state, action) in OPEN:
        assert action in allowed(state)
        assert apply(state, action) is OPEN[state, action]
        return
    assert action not in allowed(state)
    with pytest.raises(WrongStepError) as caught:
        apply(state, action)
    assert caught.value.allowed == allowed(state)
    assert all(step.label in str(caught.value) for step in allowed(state))


@pytest.mark.parametrize(
    ("state", "action", "message"),
    [
        (SUBMITTED, EDIT, "已报送的进度不能修改,现在可以:认定、退回"),
        (CERTIFIED, EDIT, "已认定的进度不能修改,现在可以:更正"),
        (DRAFT, CERTIFY, "草稿的进度不能认定,现在可以:修改、报送"),
        (CERTIFIED, RETURN, "已认定的进度不能退回,现在可以:更正"),
    ],
)
def test_a_wrong_step_names_the_right_ones(state: SubmissionState, action: SubmissionAction, message: str) -> None:
    with pytest.raises(ValueError, match="现在可以") as caught:
        apply(state, action)
    assert str(caught.value) == message


def test_every_state_has_a_way_on() -> None:
    assert set(TRANSITIONS) == set(SubmissionState)
    assert all(allowed(state) for state in SubmissionState)


@pytest.mark.parametrize("action", [action for action in SubmissionAction if action is not CERTIFY])
def test_only_certification_certifies(action: SubmissionAction) -> None:
    assert all(steps.get(action) is not CERTIFIED for steps in TRANSITIONS.values())


@given(st.lists(st.sampled_from(SubmissionAction), max_size=12))
def test_nothing_is_certified_that_was_not_submitted(actions: list[SubmissionAction]) -> None:
    path = [DRAFT]
    for action in actions:
        try:
            path.append(apply(path[-1], action))
        except WrongStepError as error:
            path.append(apply(path[-1], error.allowed[0]))
    for before, after in pairwise(path):
        assert after is not CERTIFIED or before is SUBMITTED
