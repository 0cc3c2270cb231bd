"""The steps of a case, who may take them, and how it stands on a day."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.actions import candidate_actions, case_actions, may_register_kind
from app.domain.cases import (
    KINDS,
    TRANSITIONS,
    CaseAction,
    CaseFacts,
    CaseKind,
    CaseState,
    allowed,
    apply,
    explain,
)
from app.domain.permissions import Subject
from app.domain.roles import Actor, parse_grant
from app.domain.state_table import WrongStepError

PLAN, BATTLE, UNIT = "431228-2023", "431228-2023-5", "431228-zjj"
SUBJECT = Subject(PLAN, BATTLE, UNIT)
DAYS = st.dates(date(2023, 1, 1), date(2024, 12, 31))
LIFE = (
    CaseAction.ASSIGN,
    CaseAction.RECEIVE,
    CaseAction.START,
    CaseAction.REPORT_DONE,
    CaseAction.RETURN,
    CaseAction.START,
    CaseAction.REPORT_DONE,
    CaseAction.RETURN,
    CaseAction.REPORT_DONE,
    CaseAction.VERIFY,
    CaseAction.CLOSE,
    CaseAction.RECHECK,
    CaseAction.REOPEN,
)
HANDLED = {CaseAction.RECEIVE, CaseAction.START, CaseAction.REPORT_DONE, CaseAction.ADD_EVIDENCE}


def actor(*grants: str) -> Actor:
    return Actor("account:1", "某人", tuple(map(parse_grant, grants)))


def facts(state: CaseState = CaseState.WORKING, **more: object) -> CaseFacts:
    given = {"level": 0, "due_on": date(2023, 6, 15), "closed_on": None, "recheck_due_on": None, **more}
    return CaseFacts(CaseKind.MAJOR_HAZARD, "县住建局", state, **given)  # type: ignore[arg-type]


def test_a_case_can_live_its_whole_life_and_again() -> None:
    state = CaseState.REGISTERED
    for action in LIFE:
        state = apply(state, action)
    assert state is CaseState.ASSIGNED


@pytest.mark.parametrize("state", CaseState)
@pytest.mark.parametrize("action", CaseAction)
def test_a_step_is_taken_or_the_allowed_ones_are_named(state: CaseState, action: CaseAction) -> None:
    if action in TRANSITIONS[state]:
        assert apply(state, action) in CaseState
        return
    with pytest.raises(WrongStepError) as caught:
        apply(state, action)
    assert caught.value.allowed == allowed(state)
    assert all(step.label in str(caught.value) for step in allowed(state))


def test_reminding_escalating_and_evidence_keep_the_state_of_what_is_assigned_and_open() -> None:
    for action in (CaseAction.REMIND, CaseAction.ESCALATE, CaseAction.ADD_EVIDENCE):
        keeping = {state for state in CaseState if TRANSITIONS[state].get(action) is state}
        assert keeping == set(CaseState) - {CaseState.REGISTERED, CaseState.CLOSED}


def test_nothing_but_verification_leads_to_closing() -> None:
    assert {state for state in CaseState if CaseAction.CLOSE in TRANSITIONS[state]} == {CaseState.VERIFIED}
    assert {state for state in CaseState if CaseAction.VERIFY in TRANSITIONS[state]} == {CaseState.REPORTED_DONE}


@pytest.mark.parametrize("kind", CaseKind)
def test_every_kind_has_its_place_in_the_document_and_numbered_levels(kind: CaseKind) -> None:
    rule = KINDS[kind]
    assert rule.locator.startswith("附件")
    assert 0 < rule.remind_days < rule.days
    assert [level.number for level in rule.levels] == list(range(1, len(rule.levels) + 1))
    assert rule.level_name(0) is None
    assert rule.level_name(1) == rule.levels[0].name


def test_units_register_all_but_orders() -> None:
    reporter, coordinator = actor(f"reporter:{UNIT}"), actor(f"coordinator:{BATTLE}")
    assert {kind for kind in CaseKind if not may_register_kind(reporter, SUBJECT, kind)} == {CaseKind.SUPERVISION_ORDER}
    assert all(may_register_kind(coordinator, SUBJECT, kind) for kind in CaseKind)
    assert not any(may_register_kind(actor("reporter:431228-jyj"), SUBJECT, kind) for kind in CaseKind)


@pytest.mark.parametrize("state", CaseState)
def test_what_is_offered_is_split_between_the_unit_and_those_who_manage(state: CaseState) -> None:
    kind = CaseKind.MAJOR_HAZARD
    unit = set(case_actions(actor(f"reporter:{UNIT}"), SUBJECT, kind, state, level=0, registered_by="account:1"))
    office = set(case_actions(actor(f"supervisor@{PLAN}"), SUBJECT, kind, state, level=0, registered_by="account:2"))
    assert unit | office == set(allowed(state))
    assert unit & office <= {CaseAction.EDIT}
    assert unit <= HANDLED | {CaseAction.EDIT}
    not_its_own = case_actions(actor(f"reporter:{UNIT}"), SUBJECT, kind, state, level=0, registered_by="account:2")
    assert set(not_its_own) == unit - {CaseAction.EDIT}
    both = set(
        case_actions(
            actor(f"supervisor@{PLAN}", f"reporter:{UNIT}"), SUBJECT, kind, state, level=0, registered_by="account:1"
        )
    )
    judging = {CaseAction.VERIFY, CaseAction.RETURN, CaseAction.CLOSE, CaseAction.RECHECK}
    assert both == set(allowed(state)) - judging
    assert case_actions(actor("reader"), SUBJECT, kind, state, level=0, registered_by="account:1") == ()
    assert CaseAction.ESCALATE not in case_actions(
        actor("supervisor"), SUBJECT, kind, state, level=4, registered_by="account:1"
    )


def test_an_order_is_offered_where_none_is_open() -> None:
    office = actor(f"coordinator:{BATTLE}")
    assert candidate_actions(office, SUBJECT, has_order=False)
    assert not candidate_actions(office, SUBJECT, has_order=True)
    assert not candidate_actions(actor(f"reporter:{UNIT}"), SUBJECT, has_order=False)


@pytest.mark.parametrize(
    ("case", "day", "said"),
    [
        (facts(CaseState.REGISTERED, due_on=None), date(2023, 6, 15), "已登记;尚未交办,未定期限"),
        (facts(), date(2023, 6, 15), "办理中;期限 2023-06-15"),
        (facts(level=2), date(2023, 6, 18), "办理中;期限 2023-06-15,已逾期 3 天;督办级别 2(通报)"),
        (
            facts(CaseState.CLOSED, closed_on=date(2023, 6, 15), recheck_due_on=date(2023, 7, 15)),
            date(2023, 7, 14),
            "已销号;期限 2023-06-15,2023-06-15 按期销号;2023-07-15 回头看",
        ),
        (
            facts(CaseState.CLOSED, closed_on=date(2023, 6, 16), recheck_due_on=date(2023, 7, 15)),
            date(2023, 7, 15),
            "已销号;期限 2023-06-15,2023-06-16 超期 1 天销号;应于 2023-07-15 回头看,尚未进行",
        ),
    ],
)
def test_how_a_case_stands_is_said_in_one_sentence(case: CaseFacts, day: date, said: str) -> None:
    assert explain(case, day) == f"重大隐患,县住建局承办,{said}"


@given(DAYS, DAYS)
def test_a_due_day_counts_to_its_end(due: date, day: date) -> None:
    case = facts(due_on=due)
    assert case.is_overdue(day) == (day > due)
    assert case.days_late(day) == max(0, (day - due) // timedelta(days=1))
    closed = facts(CaseState.CLOSED, due_on=due, closed_on=due, recheck_due_on=due)
    assert not closed.is_overdue(day)
    assert closed.days_late(day) == 0
    assert closed.is_recheck_due(day) == (day >= due)
