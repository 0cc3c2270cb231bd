"""What is offered: to nobody what the rules deny or the state does not allow, in the order of the workflow."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clock import SHANGHAI
from app.domain import actions
from app.domain.actions import (
    AccountAction,
    FormAction,
    KeyAction,
    ObligationAction,
    ScheduleAction,
    WebhookAction,
    account_actions,
    calendar_subscription_actions,
    delivery_actions,
    form_item_actions,
    key_actions,
    obligation_actions,
    obligation_rights,
    schedule_actions,
    submission_actions,
    webhook_actions,
)
from app.domain.deadlines import Facts
from app.domain.events import WebhookState
from app.domain.periods import parse_period
from app.domain.permissions import (
    Subject,
    may_certify,
    may_file_material,
    may_grant_extension,
    may_grant_waiver,
    may_report,
    may_set_schedule,
)
from app.domain.plan import Labelled, RuleKind
from app.domain.roles import Actor, parse_grant
from app.domain.workflow import SubmissionAction, SubmissionState, allowed
from tests.unit.grants import UNITS, actor, actors, subjects

JYJ, TJJ = "431228-jyj", "431228-tjj"
ROW = Subject("431228-2023", "431228-2023-6", JYJ)
DRAFT = replace(ROW, draft=True)
NOW = datetime(2023, 5, 10, 9, 0, tzinfo=SHANGHAI)
DUE = datetime(2023, 5, 20, 23, 59, 59, 999999, tzinfo=SHANGHAI)
LOCK = DUE + timedelta(days=31)
OWED = Facts(due_at=DUE, effective_due_at=DUE, lock_at=LOCK)
MAY = parse_period("2023-05")
ALL = tuple(ObligationAction)
REPORT, EXTEND, WAIVE = ObligationAction
TICK = timedelta(microseconds=1)


def who(*texts: str) -> Actor:
    return actor(*map(parse_grant, texts))


@pytest.mark.parametrize(
    ("grants", "state", "expected"),
    [
        (("reporter:431228-jyj",), SubmissionState.DRAFT, (SubmissionAction.EDIT, SubmissionAction.SUBMIT)),
        (("reporter:431228-jyj",), SubmissionState.RETURNED, (SubmissionAction.EDIT, SubmissionAction.SUBMIT)),
        (("reporter:431228-jyj",), SubmissionState.CERTIFIED, (SubmissionAction.CORRECT,)),
        (("reporter:431228-jyj",), SubmissionState.SUBMITTED, ()),
        (("reporter:431228-tjj",), SubmissionState.DRAFT, ()),
        (("certifier:431228-tjj",), SubmissionState.SUBMITTED, (SubmissionAction.CERTIFY, SubmissionAction.RETURN)),
        (("certifier:431228-tjj",), SubmissionState.CERTIFIED, ()),
        (("certifier:431228-tjj",), SubmissionState.DRAFT, ()),
        (("certifier:431228-tjj", "reporter:431228-jyj"), SubmissionState.SUBMITTED, ()),
        (("supervisor", "auditor", "administrator", "reader"), SubmissionState.SUBMITTED, ()),
        ((), SubmissionState.DRAFT, ()),
    ],
)
def test_the_steps_of_a_submission(
    grants: tuple[str, ...], state: SubmissionState, expected: tuple[SubmissionAction, ...]
) -> None:
    row = DRAFT if state is SubmissionState.DRAFT else ROW
    assert submission_actions(who(*grants), state, row, iter([TJJ, "431229-jyj"])) == expected


@given(actors(), st.sampled_from(SubmissionState), subjects(), st.lists(st.sampled_from(UNITS)))
def test_no_step_is_offered_that_the_state_or_the_rules_deny(
    someone: Actor, state: SubmissionState, subject: Subject, certifiers: list[str]
) -> None:
    offered = submission_actions(someone, state, subject, certifiers)
    assert set(offered) <= set(allowed(state))
    writes = {SubmissionAction.EDIT, SubmissionAction.SUBMIT, SubmissionAction.CORRECT}
    assert not writes & set(offered) or may_report(someone, subject)
    assert writes >= set(offered) or any(may_certify(someone, subject, unit) for unit in certifiers)


@given(actors(), subjects(), st.sampled_from(RuleKind))
def test_what_is_owed_is_reported_by_its_unit_and_eased_by_supervisors(
    someone: Actor, subject: Subject, kind: RuleKind
) -> None:
    hands_in = {RuleKind.REPORTING: may_report, RuleKind.MATERIAL: may_file_material}
    rights = obligation_rights(someone, subject, kind)
    assert (REPORT in rights) is (kind in hands_in and hands_in[kind](someone, subject))
    assert (EXTEND in rights) is may_grant_extension(someone, subject)
    assert (WAIVE in rights) is may_grant_waiver(someone, subject)


OPEN = (REPORT, EXTEND, WAIVE)
EASED = (EXTEND, WAIVE)
OBLIGATIONS: list[tuple[dict[str, Any], datetime, tuple[ObligationAction, ...]]] = [
    ({}, NOW, OPEN),
    # The first and the last instant at which it is taken; the day is that of the plan, not of UTC.
    ({}, datetime(2023, 5, 1, tzinfo=SHANGHAI) - TICK, EASED),
    ({}, datetime(2023, 5, 1, tzinfo=SHANGHAI), OPEN),
    ({}, DUE + TICK, OPEN),
    ({}, LOCK, OPEN),
    ({}, LOCK + TICK, EASED),
    ({"effective_due_at": LOCK + timedelta(days=9)}, LOCK + timedelta(days=9), OPEN),
    ({"effective_due_at": LOCK + timedelta(days=9)}, LOCK + timedelta(days=9) + TICK, EASED),
    # It waits for certification, which can be late as well.
    ({"submitted_at": NOW}, NOW, EASED),
    ({"submitted_at": NOW, "filed_at": NOW}, NOW, ()),
    ({"waived": True}, NOW, ()),
    ({"waived": True}, LOCK + TICK, ()),
]


@pytest.mark.parametrize(("facts", "now", "expected"), OBLIGATIONS)
def test_what_can_be_done_about_what_is_owed(
    facts: dict[str, Any], now: datetime, expected: tuple[ObligationAction, ...]
) -> None:
    def offered(rights: tuple[ObligationAction, ...]) -> tuple[ObligationAction, ...]:
        today = now.astimezone(SHANGHAI).date()
        return obligation_actions(rights, replace(OWED, **facts), MAY, now=now, today=today)

    assert offered(ALL) == expected
    for action in ObligationAction:
        assert offered((action,)) == tuple(one for one in expected if one is action)
    assert offered(()) == ()


@pytest.mark.parametrize(("facts", "now", "expected"), OBLIGATIONS)
def test_a_task_of_a_form_is_handed_in_while_its_report_can_be(
    facts: dict[str, Any], now: datetime, expected: tuple[ObligationAction, ...]
) -> None:
    owed, today = replace(OWED, **facts), now.astimezone(SHANGHAI).date()
    offered = form_item_actions(who("reporter:431228-jyj"), ROW, owed, MAY, now=now, today=today)
    assert offered == ((FormAction.REPORT,) if REPORT in expected else ())
    assert form_item_actions(who("reporter:431228-tjj"), ROW, owed, MAY, now=now, today=today) == ()


@given(actors(), subjects())
def test_a_schedule_is_set_by_whoever_may_set_it(someone: Actor, subject: Subject) -> None:
    assert schedule_actions(someone, subject) == ((ScheduleAction.SET,) if may_set_schedule(someone, subject) else ())


def test_an_account_is_disabled_or_enabled() -> None:
    prepared = (AccountAction.RENAME, AccountAction.SET_GRANTS, AccountAction.ISSUE_KEY)
    assert account_actions(disabled=False) == (*prepared, AccountAction.DISABLE)
    assert account_actions(disabled=True) == (*prepared, AccountAction.ENABLE)


@pytest.mark.parametrize(
    ("facts", "works"),
    [
        ({}, True),
        ({"expires_at": NOW + TICK}, True),
        ({"expires_at": NOW}, False),
        ({"revoked_at": NOW - TICK}, False),
        ({"revoked_at": NOW - TICK, "expires_at": NOW + TICK}, False),
    ],
)
def test_nothing_is_done_with_what_works_no_more(facts: dict[str, datetime], works: bool) -> None:
    given_facts: dict[str, Any] = {"expires_at": None, "revoked_at": None, **facts, "now": NOW}
    assert key_actions(**given_facts, replaced=False) == (tuple(KeyAction) if works else ())
    assert key_actions(**given_facts, replaced=True) == ((KeyAction.REVOKE,) if works else ())
    assert bool(calendar_subscription_actions(**given_facts)) is works


def test_a_webhook_is_paused_once_and_anything_is_delivered_again() -> None:
    assert webhook_actions(WebhookState.ACTIVE) == tuple(WebhookAction)
    assert set(WebhookAction) - set(webhook_actions(WebhookState.PAUSED)) == {WebhookAction.PAUSE}
    assert delivery_actions() == ("redeliver",)


def test_every_step_has_a_chinese_name() -> None:
    kinds = [kind for kind in Labelled.__subclasses__() if kind.__module__ == actions.__name__]
    assert len(kinds) >= 9
    assert all(not action.label.isascii() for kind in kinds for action in kind)
