"""Roles and grants: what each needs, the textual form, and what a claim of a token grants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.roles import (
    ANONYMOUS,
    ROLE_BOUNDS,
    Actor,
    Grant,
    GrantError,
    Role,
    format_grant,
    grants_of_claims,
    parse_grant,
)
from tests.unit.grants import GRANTS

PLAN, UNIT, BATTLE = "431228-2023", "431228-jyj", "431228-2023-6"


@pytest.mark.parametrize(
    ("role", "bounds", "message"),
    [
        (Role.REPORTER, {}, "报送角色必须指明所代表的单位;现缺少单位编码,如 431228-jyj"),
        (Role.REPORTER, {"plan": PLAN}, "报送角色必须指明所代表的单位;现缺少单位编码,如 431228-jyj"),
        (Role.CERTIFIER, {}, "评估认定角色必须指明其所在的评估认定单位,如统计局;现缺少单位编码,如 431228-jyj"),
        (Role.COORDINATOR, {"plan": PLAN}, "专班协调角色必须指明所协调的一仗;现缺少仗编码,如 431228-2023-6"),
        (
            Role.COORDINATOR,
            {"unit": UNIT, "battle": BATTLE},
            "专班协调角色必须指明所协调的一仗;请去掉单位编码“431228-jyj”",
        ),
        (
            Role.READER,
            {"battle": BATTLE},
            "查阅角色可限定到一个总体方案、一个单位;请去掉仗编码“431228-2023-6”",
        ),
        (
            Role.SUPERVISOR,
            {"unit": UNIT},
            "督导角色(政府办)可限定到一个总体方案,不限定单位和仗;请去掉单位编码“431228-jyj”",
        ),
        (
            Role.AUDITOR,
            {"battle": BATTLE},
            "审计角色可限定到一个总体方案,不限定单位和仗;请去掉仗编码“431228-2023-6”",
        ),
        (
            Role.ADMINISTRATOR,
            {"plan": PLAN},
            "管理员角色不带总体方案、单位和仗;请去掉总体方案编码“431228-2023”",
        ),
        (Role.REPORTER, {"unit": PLAN}, "单位编码“431228-2023”写法不对,应如 431228-jyj"),
        (Role.REPORTER, {"unit": f"{UNIT}\n"}, f"单位编码“{UNIT}\n”写法不对,应如 431228-jyj"),
        (Role.REPORTER, {"unit": ""}, "单位编码“”写法不对,应如 431228-jyj"),
        (Role.AUDITOR, {"plan": "43122८-2023"}, "总体方案编码“43122८-2023”写法不对,应如 431228-2023"),
        (Role.COORDINATOR, {"battle": PLAN}, "仗编码“431228-2023”写法不对,应如 431228-2023-6"),
        (
            Role.COORDINATOR,
            {"plan": "431228-2024", "battle": BATTLE},
            "仗“431228-2023-6”不属于总体方案“431228-2024”",
        ),
    ],
)
def test_a_grant_that_cannot_be_says_what_the_role_needs(role: Role, bounds: dict[str, str], message: str) -> None:
    with pytest.raises(GrantError) as caught:
        Grant(role, **bounds)
    assert caught.value.detail == str(caught.value) == message


def test_a_refusal_repeats_no_long_input() -> None:
    with pytest.raises(GrantError) as caught:
        Grant(Role.REPORTER, unit="x" * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("grant", GRANTS, ids=format_grant)
def test_every_grant_survives_its_textual_form(grant: Grant) -> None:
    assert parse_grant(format_grant(grant)) == grant


def test_no_two_grants_have_one_text() -> None:
    assert len({format_grant(grant) for grant in GRANTS}) == len(GRANTS)


@pytest.mark.parametrize(
    ("text", "grant"),
    [
        ("reporter:431228-jyj", Grant(Role.REPORTER, unit=UNIT)),
        ("certifier:431228-tjj@431228-2023", Grant(Role.CERTIFIER, plan=PLAN, unit="431228-tjj")),
        ("coordinator:431228-2023-6", Grant(Role.COORDINATOR, battle=BATTLE)),
        ("supervisor", Grant(Role.SUPERVISOR)),
        ("auditor@431228-2023", Grant(Role.AUDITOR, plan=PLAN)),
        ("administrator", Grant(Role.ADMINISTRATOR)),
    ],
)
def test_the_textual_form(text: str, grant: Grant) -> None:
    assert parse_grant(text) == grant
    assert format_grant(grant) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "root",
        "Supervisor",
        " supervisor",
        "supervisor ",
        "supervisor:",
        "supervisor@",
        "supervisor@:",
        "reporter",
        "reporter:",
        "reporter:@431228-2023",
        "reporter:431228-jyj@",
        "reporter:431228-jyj@431228-2023@431228-2024",
        "reporter:431228-jyj:431228-tjj",
        "reporter@431228-2023:431228-jyj",
        "coordinator:431228-jyj",
        "coordinator:431228-2023-6@431228-2024",
        "administrator@431228-2023",
        "administrator:431228-jyj",
        "reader:431228-2023",
    ],
)
def test_a_text_that_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(GrantError):
        parse_grant(text)


def test_an_unknown_role_is_told_the_known_ones() -> None:
    with pytest.raises(GrantError) as caught:
        parse_grant("root:431228-jyj")
    assert "没有角色“root”" in str(caught.value)
    assert all(f"{role}({role.label})" in str(caught.value) for role in Role)


@given(st.text() | st.from_regex(r"[a-z]+(:[0-9a-z-]+)?(@[0-9a-z-]+)?", fullmatch=True))
def test_what_is_accepted_is_written_as_it_was_read(text: str) -> None:
    try:
        read = parse_grant(text)
    except GrantError:
        return
    assert format_grant(read) == text


def test_every_role_says_in_chinese_what_it_is_given_with() -> None:
    assert set(ROLE_BOUNDS) == set(Role)
    assert all(role.label in bounds.sentence for role, bounds in ROLE_BOUNDS.items())


def test_nobody_can_be_anonymous_and_hold_a_role() -> None:
    assert not ANONYMOUS.identified
    assert ANONYMOUS.grants == ()
    with pytest.raises(GrantError):
        Actor(ANONYMOUS.id, "谁", (Grant(Role.AUDITOR),))


def test_an_actor_has_the_roles_of_its_grants() -> None:
    held = (Grant(Role.REPORTER, unit=UNIT), Grant(Role.REPORTER, unit="431228-tjj"), Grant(Role.AUDITOR))
    assert Actor("oidc:7", "向同志", held).roles == {Role.REPORTER, Role.AUDITOR}


def test_a_claim_grants_what_it_lists_and_reports_the_rest() -> None:
    claims = {
        "sub": "7",
        "liuzhang": ["reporter:431228-jyj", "offline_access", "auditor", "reporter:431228-jyj", "reporter", 7, None],
    }
    mapped = grants_of_claims(claims, "liuzhang")
    assert mapped.grants == (Grant(Role.REPORTER, unit=UNIT), Grant(Role.AUDITOR))
    assert mapped.unknown == ("offline_access", "reporter", "7", "None")


def test_a_claim_that_is_missing_grants_nothing() -> None:
    for claims in ({}, {"liuzhang": None}, {"LIUZHANG": ["administrator"]}, {"a": {"b": ["administrator"]}}):
        assert grants_of_claims(claims, "a.b" if "a" in claims else "liuzhang").grants == ()


@pytest.mark.parametrize("value", ["administrator", {"administrator": True}, 1, True, {"0": "administrator"}])
def test_a_claim_that_is_no_list_grants_nothing_and_is_reported(value: object) -> None:
    mapped = grants_of_claims({"roles": value}, "roles")
    assert mapped.grants == ()
    assert len(mapped.unknown) == 1


def test_a_claim_may_have_any_name() -> None:
    name = "https://id.example.gov.cn/claims/roles"
    assert grants_of_claims({name: ["auditor"]}, name).grants == (Grant(Role.AUDITOR),)


def test_a_long_claim_is_cut_and_says_so() -> None:
    mapped = grants_of_claims({"roles": [f"reporter:431228-u{n}" for n in range(500)]}, "roles")
    assert len(mapped.grants) == 200
    assert mapped.unknown == ("… +300",)


def test_what_is_reported_fits_one_line_of_a_log() -> None:
    mapped = grants_of_claims({"roles": ["x\n2026 admin logged in", "y" * 5000, ["administrator"]]}, "roles")
    assert mapped.grants == ()
    assert len(mapped.unknown) == 3
    assert all(len(text) <= 100 and text.isprintable() for text in mapped.unknown)
