"""The six-ones of a project, and which milestone is due next."""

from datetime import date
from typing import Any

import pytest

from app.domain.work_items import (
    Milestone,
    SixOne,
    WorkItemFacts,
    WorkItemKind,
    WorkItemState,
    is_overdue,
    missing_ones,
    next_due,
)

JUNE, SEPTEMBER = date(2023, 6, 30), date(2023, 9, 30)
WHOLE: dict[str, Any] = {
    "kind": WorkItemKind.PROJECT,
    "state": WorkItemState.UNDER_WAY,
    "has_leader": True,
    "has_person": True,
    "has_scheme": True,
    "milestones": [Milestone(JUNE, None)],
    "due_on": SEPTEMBER,
}
ALL = (SixOne.LEADER, SixOne.PERSON, SixOne.LEDGER, SixOne.FOLLOW_THROUGH)
NOTHING = {"has_leader": False, "has_person": False, "has_scheme": False, "milestones": [], "due_on": None}


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, ()),
        ({"has_leader": False}, (SixOne.LEADER,)),
        ({"has_person": False}, (SixOne.PERSON,)),
        # A plan without a step is no ledger, and steps without a plan are none either.
        ({"has_scheme": False}, (SixOne.LEDGER,)),
        ({"milestones": []}, (SixOne.LEDGER,)),
        ({"due_on": None}, (SixOne.FOLLOW_THROUGH,)),
        (NOTHING, ALL),
        ({**NOTHING, "state": WorkItemState.COMPLETED}, ALL),
        ({**NOTHING, "state": WorkItemState.CANCELLED}, ()),
        ({**NOTHING, "kind": WorkItemKind.TASK}, ()),
        ({**NOTHING, "kind": WorkItemKind.POLICY}, ()),
    ],
)
def test_what_a_project_lacks(changes: dict[str, Any], missing: tuple[SixOne, ...]) -> None:
    assert missing_ones(WorkItemFacts(**{**WHOLE, **changes})) == missing


@pytest.mark.parametrize(
    ("state", "milestones", "due"),
    [
        (WorkItemState.PLANNED, [], None),
        (WorkItemState.PLANNED, [Milestone(SEPTEMBER, None), Milestone(JUNE, None)], JUNE),
        (WorkItemState.UNDER_WAY, [Milestone(JUNE, JUNE), Milestone(SEPTEMBER, None)], SEPTEMBER),
        (WorkItemState.UNDER_WAY, [Milestone(JUNE, SEPTEMBER)], None),
        (WorkItemState.COMPLETED, [Milestone(JUNE, None)], None),
        (WorkItemState.CANCELLED, [Milestone(JUNE, None)], None),
    ],
)
def test_the_next_milestone_is_the_first_that_is_not_done(
    state: WorkItemState, milestones: list[Milestone], due: date | None
) -> None:
    assert next_due(state, milestones) == due


def test_the_day_itself_is_not_late() -> None:
    assert [is_overdue(JUNE, day) for day in (JUNE, date(2023, 7, 1))] == [False, True]
    assert not is_overdue(None, SEPTEMBER)
