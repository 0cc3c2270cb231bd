"""The rules of permission: each by its table, all of them denied by default and in agreement with the table."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.permission_page import permission_page, permission_table
from app.domain.permissions import (
    ROLE_CAPABILITIES,
    RULES,
    Capability,
    Subject,
    has_capability,
    may_certify,
    may_edit_bulletin,
    may_file_material,
    may_grant_extension,
    may_grant_waiver,
    may_handle_case,
    may_judge_case,
    may_manage_accounts,
    may_manage_case,
    may_manage_subscription,
    may_manage_webhooks,
    may_read_audit,
    may_read_bulletin,
    may_read_plan,
    may_read_progress,
    may_read_self,
    may_register_case,
    may_report,
    may_return,
    may_see_draft,
    may_set_schedule,
    may_subscribe,
)
from app.domain.roles import ANONYMOUS, Actor, Grant, Role, parse_grant
from tests.unit.grants import GRANTS, SUBJECTS, UNITS, actor, actors, holding, subjects

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"

JYJ, TJJ = "431228-jyj", "431228-tjj"
ROW = Subject("431228-2023", "431228-2023-6", JYJ)
DRAFT = Subject("431228-2023", "431228-2023-6", JYJ, draft=True)
WHOLE_PLAN = Subject("431228-2023")
WHOLE_BATTLE = Subject("431228-2023", "431228-2023-6")


def who(*texts: str) -> Actor:
    return actor(*map(parse_grant, texts))


# Every rule as a question about an actor and a row; those without a row are asked all the same.
ASKED: dict[str, tuple[Capability, Callable[[Actor, Subject, bool, str | None], bool]]] = {
    "read_plan": (Capability.READ_PLAN, lambda a, _, public, __: may_read_plan(a, public)),
    "read_progress": (Capability.READ_PROGRESS, lambda a, s, public, _: may_read_progress(a, s, public)),
    "see_draft": (Capability.READ_DRAFT, lambda a, s, *_: may_see_draft(a, s)),
    "report": (Capability.REPORT, lambda a, s, *_: may_report(a, s)),
    "file_material": (Capability.FILE_MATERIAL, lambda a, s, *_: may_file_material(a, s)),
    "set_schedule": (Capability.SET_SCHEDULE, lambda a, s, *_: may_set_schedule(a, s)),
    "certify": (Capability.CERTIFY, lambda a, s, _, unit: may_certify(a, s, unit)),
    "return": (Capability.CERTIFY, lambda a, s, _, unit: may_return(a, s, unit)),
    "grant_extension": (Capability.GRANT, lambda a, s, *_: may_grant_extension(a, s)),
    "grant_waiver": (Capability.GRANT, lambda a, s, *_: may_grant_waiver(a, s)),
    "read_audit": (Capability.READ_AUDIT, lambda a, *_: may_read_audit(a)),
    "subscribe": (Capability.SUBSCRIBE, lambda a, *_: may_subscribe(a)),
    "manage_subscription": (Capability.MANAGE_SUBSCRIPTIONS, lambda a, *_: may_manage_subscription(a, a.id)),
    "manage_accounts": (Capability.MANAGE_ACCOUNTS, lambda a, *_: may_manage_accounts(a)),
    "manage_webhooks": (Capability.MANAGE_WEBHOOKS, lambda a, *_: may_manage_webhooks(a)),
    "read_self": (Capability.READ_SELF, lambda a, *_: may_read_self(a)),
    "register_case": (Capability.REGISTER_CASES, lambda a, s, *_: may_register_case(a, s)),
    "manage_case": (Capability.MANAGE_CASES, lambda a, s, *_: may_manage_case(a, s)),
    "judge_case": (Capability.MANAGE_CASES, lambda a, s, *_: may_judge_case(a, s)),
    "handle_case": (Capability.HANDLE_CASES, lambda a, s, *_: may_handle_case(a, s)),
    "edit_bulletin": (Capability.EDIT_BULLETINS, lambda a, s, *_: may_edit_bulletin(a, s)),
    "read_bulletin": (Capability.READ_PROGRESS, lambda a, s, public, _: may_read_bulletin(a, s, public)),
}
CERTIFYING = st.sampled_from((None, *UNITS))


def test_every_rule_is_asked_here() -> None:
    assert {f"may_{name}" for name in ASKED} == {rule.__name__ for rules in RULES.values() for rule in rules}
    for name, (capability, _) in ASKED.items():
        assert f"may_{name}" in {rule.__name__ for rule in RULES[capability]}


@given(actors() | st.just(ANONYMOUS), subjects(), st.booleans(), CERTIFYING)
def test_a_rule_never_allows_what_the_table_denies(
    someone: Actor, subject: Subject, public: bool, certifying_unit: str | None
) -> None:
    for capability, rule in ASKED.values():
        if rule(someone, subject, public, certifying_unit):
            assert has_capability(someone, capability, public=public)


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("role", Role)
def test_what_the_table_gives_a_role_some_grant_of_it_uses(name: str, role: Role) -> None:
    capability, rule = ASKED[name]
    used = any(
        rule(actor(grant), subject, False, unit)
        for grant in holding(role)
        for subject in SUBJECTS
        for unit in (None, *UNITS)
    )
    # Whoever is identified may ask who they are: the role has no part in that.
    assert used == (capability in ROLE_CAPABILITIES[role])


@pytest.mark.parametrize("someone", [ANONYMOUS, actor()], ids=["anonymous", "no grant"])
def test_nothing_is_allowed_without_a_grant(someone: Actor) -> None:
    for name, (capability, rule) in ASKED.items():
        if name != "read_self":
            assert not has_capability(someone, capability)
            assert not any(rule(someone, subject, False, unit) for subject in SUBJECTS for unit in (None, *UNITS))


def test_only_plans_and_progress_can_be_opened_to_everyone() -> None:
    opened = {capability for capability in Capability if has_capability(ANONYMOUS, capability, public=True)}
    assert opened == {Capability.READ_PLAN, Capability.READ_PROGRESS}
    assert may_read_plan(ANONYMOUS, public=True)
    assert may_read_progress(ANONYMOUS, ROW, public=True)
    assert not may_read_progress(ANONYMOUS, DRAFT, public=True)


@given(actors(), st.sampled_from(GRANTS), subjects(), st.booleans(), CERTIFYING)
def test_a_further_grant_takes_nothing_away_but_certifying_ones_own(
    someone: Actor, further: Grant, subject: Subject, public: bool, certifying_unit: str | None
) -> None:
    more = actor(*someone.grants, further)
    own = further.role in {Role.REPORTER, Role.CERTIFIER} and further.unit == subject.unit
    for name, (_, rule) in ASKED.items():
        if rule(someone, subject, public, certifying_unit) and not (
            name in {"certify", "return", "judge_case"} and own
        ):
            assert rule(more, subject, public, certifying_unit)


@pytest.mark.parametrize(
    ("grant", "subject", "expected"),
    [
        ("reader", ROW, True),
        ("reader", Subject(), True),
        ("reader@431228-2023", ROW, True),
        ("reader@431228-2023", WHOLE_PLAN, True),
        ("reader@431228-2024", ROW, False),
        ("reader@431228-2023", Subject(unit=JYJ), False),
        ("reader:431228-jyj", ROW, True),
        ("reader:431228-jyj", WHOLE_PLAN, False),
        ("reader:431228-tjj", ROW, False),
        ("reader:431228-jyj@431228-2024", ROW, False),
        ("reporter:431228-jyj", ROW, True),
        ("reporter:431228-jyj", Subject(unit=JYJ), True),
        ("reporter:431228-tjj", ROW, False),
        ("reporter:431228-jyj", WHOLE_PLAN, False),
        ("reporter:431228-jyj", WHOLE_BATTLE, False),
        ("reporter:431228-jyj@431228-2024", ROW, False),
        ("certifier:431228-tjj", ROW, True),
        ("certifier:431228-tjj@431228-2023", ROW, True),
        ("certifier:431228-tjj@431228-2024", ROW, False),
        ("coordinator:431228-2023-6", ROW, True),
        ("coordinator:431228-2023-6", WHOLE_BATTLE, True),
        ("coordinator:431228-2023-6", WHOLE_PLAN, False),
        ("coordinator:431228-2023-1", ROW, False),
        ("supervisor", ROW, True),
        ("supervisor@431228-2023", WHOLE_PLAN, True),
        ("supervisor@431228-2024", ROW, False),
        ("auditor", ROW, True),
        ("auditor@431228-2023", ROW, True),
        ("auditor@431228-2024", ROW, False),
        ("administrator", ROW, False),
        ("administrator", Subject(), False),
    ],
)
def test_who_reads_progress(grant: str, subject: Subject, expected: bool) -> None:
    assert may_read_progress(who(grant), subject, public=False) is expected


@pytest.mark.parametrize("grant", GRANTS)
def test_only_the_unit_itself_and_the_auditor_see_a_draft(grant: Grant) -> None:
    expected = grant.plan in {None, DRAFT.plan} and (
        grant.role is Role.AUDITOR or (grant.role is Role.REPORTER and grant.unit == DRAFT.unit)
    )
    assert may_see_draft(actor(grant), DRAFT) is expected
    assert may_read_progress(actor(grant), DRAFT, public=True) is expected


@pytest.mark.parametrize("rule", [may_report, may_file_material, may_set_schedule])
@pytest.mark.parametrize("grant", GRANTS)
def test_only_the_reporter_of_the_unit_writes_for_it(rule: Callable[[Actor, Subject], bool], grant: Grant) -> None:
    expected = grant.role is Role.REPORTER and grant.unit == ROW.unit and grant.plan in {None, ROW.plan}
    assert rule(actor(grant), ROW) is expected
    assert rule(actor(grant), DRAFT) is expected


@pytest.mark.parametrize("rule", [may_certify, may_return])
class TestCertification:
    def test_is_the_named_units_own(self, rule: Callable[[Actor, Subject, str | None], bool]) -> None:
        certifier = who("certifier:431228-tjj@431228-2023")
        assert rule(certifier, ROW, TJJ)
        assert not rule(certifier, ROW, "431229-jyj")
        assert not rule(certifier, ROW, None)

    def test_keeps_to_its_plan(self, rule: Callable[[Actor, Subject, str | None], bool]) -> None:
        assert not rule(who("certifier:431228-tjj@431228-2024"), ROW, TJJ)
        assert rule(who("certifier:431228-tjj"), ROW, TJJ)

    def test_is_never_of_a_draft(self, rule: Callable[[Actor, Subject, str | None], bool]) -> None:
        assert not rule(who("certifier:431228-tjj"), DRAFT, TJJ)

    def test_is_never_of_ones_own(self, rule: Callable[[Actor, Subject, str | None], bool]) -> None:
        assert not rule(who("certifier:431228-jyj"), ROW, JYJ)
        assert not rule(who("certifier:431228-tjj", "reporter:431228-jyj"), ROW, TJJ)
        assert not rule(who("certifier:431228-tjj", "reporter:431228-jyj@431228-2024"), ROW, TJJ)
        assert not rule(who("certifier:431228-tjj", "certifier:431228-jyj"), ROW, TJJ)
        assert rule(who("certifier:431228-tjj", "reporter:431228-tjj"), ROW, TJJ)

    def test_is_not_of_figures_of_nobody(self, rule: Callable[[Actor, Subject, str | None], bool]) -> None:
        assert not rule(who("certifier:431228-tjj"), WHOLE_BATTLE, TJJ)

    @pytest.mark.parametrize("grant", [grant for grant in GRANTS if grant.role is not Role.CERTIFIER])
    def test_is_no_other_roles(self, rule: Callable[[Actor, Subject, str | None], bool], grant: Grant) -> None:
        assert not any(rule(actor(grant), ROW, unit) for unit in UNITS)


@pytest.mark.parametrize("rule", [may_grant_extension, may_grant_waiver])
@pytest.mark.parametrize("grant", GRANTS)
def test_only_the_supervisor_of_the_plan_eases_a_deadline(rule: Callable[[Actor, Subject], bool], grant: Grant) -> None:
    assert rule(actor(grant), ROW) is (grant.role is Role.SUPERVISOR and grant.plan in {None, ROW.plan})


def test_a_supervisor_of_a_plan_decides_nothing_outside_plans() -> None:
    assert not may_grant_extension(who("supervisor@431228-2023"), Subject(unit=JYJ))


@pytest.mark.parametrize("grant", GRANTS)
def test_the_audit_is_for_the_auditor_of_all_plans(grant: Grant) -> None:
    assert may_read_audit(actor(grant)) is (grant == Grant(Role.AUDITOR))


@pytest.mark.parametrize("grant", GRANTS)
def test_accounts_are_for_the_administrator(grant: Grant) -> None:
    assert may_manage_accounts(actor(grant)) is (grant.role is Role.ADMINISTRATOR)


def test_administrators_read_and_write_no_figures() -> None:
    assert ROLE_CAPABILITIES[Role.ADMINISTRATOR] == {
        Capability.READ_PLAN,
        Capability.MANAGE_ACCOUNTS,
        Capability.MANAGE_SUBSCRIPTIONS,
        Capability.READ_SELF,
    }
    assert not may_subscribe(who("administrator"))


def test_auditors_change_nothing_but_what_their_phone_shows() -> None:
    reads = {capability for capability in Capability if capability.startswith("read_")}
    assert ROLE_CAPABILITIES[Role.AUDITOR] == reads | {Capability.SUBSCRIBE, Capability.MANAGE_SUBSCRIPTIONS}


@pytest.mark.parametrize("grant", GRANTS)
def test_a_subscription_is_its_owners_and_the_administrators(grant: Grant) -> None:
    someone = actor(grant)
    administers = grant.role is Role.ADMINISTRATOR
    assert may_subscribe(someone) is not administers
    assert may_manage_subscription(someone, someone.id)
    assert may_manage_subscription(someone, "account:another") is administers


def test_whoever_is_identified_may_ask_who_they_are() -> None:
    assert may_read_self(actor())
    assert has_capability(actor(), Capability.READ_SELF)
    assert not may_read_self(ANONYMOUS)
    assert not has_capability(ANONYMOUS, Capability.READ_SELF, public=True)


@pytest.mark.parametrize(
    ("plan", "battle"), [(None, "431228-2023-1"), ("431228-2024", "431228-2023-1"), ("431228-202", "431228-2023-1")]
)
def test_a_row_cannot_be_of_a_battle_of_another_plan(plan: str | None, battle: str) -> None:
    with pytest.raises(ValueError, match="is not of plan"):
        Subject(plan, battle)


def test_the_table_speaks_of_every_role_and_every_kind_of_operation() -> None:
    assert set(ROLE_CAPABILITIES) == set(Role)
    assert set(RULES) == set(Capability)
    assert [row.capability for row in permission_table()] == list(Capability)
    for row in permission_table():
        assert row.roles == {role for role in Role if row.capability in ROLE_CAPABILITIES[role]}


def test_every_rule_says_its_reason() -> None:
    for row in permission_table():
        for name, text in row.rules:
            rule, _, reason = text.partition("\n\n")
            assert rule.endswith("。"), name
            assert reason.startswith("理由:"), name
            assert "\n" not in rule + reason, name


def test_the_page_is_the_generated_one() -> None:
    assert PAGE.read_text(encoding="utf-8") == permission_page()
