"""Bulletins by their rules: kinds and periods, states and steps, numbers and hashes, who reads which, what print is."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.clock import SHANGHAI
from app.domain.bulletin_scope import bulletin_scope
from app.domain.bulletins import (
    TRANSITIONS,
    BulletinAction,
    BulletinKind,
    BulletinState,
    allowed_bulletin_steps,
    apply_bulletin_step,
    canonical,
    default_title,
    hash_of,
    instant_text,
    number_text,
    period_text,
    refuse_period,
)
from app.domain.periods import parse_period
from app.domain.permissions import Subject, may_read_bulletin
from app.domain.roles import Actor
from app.domain.state_table import WrongStepError
from app.files.bulletin_document import _title_lines
from app.files.bulletin_markdown import write_markdown
from app.files.bulletin_sheet import Paragraph, Sheet, Table, printed
from tests.unit.grants import BATTLES, PLANS, actors

CIRCULAR = BulletinKind.MONTHLY_CIRCULAR


def test_a_draft_can_become_anything_and_nothing_else_changes() -> None:
    assert allowed_bulletin_steps(BulletinState.DRAFT) == tuple(BulletinAction)
    assert [TRANSITIONS[state] for state in (BulletinState.ISSUED, BulletinState.DISCARDED)] == [{}, {}]
    assert apply_bulletin_step(BulletinState.DRAFT, BulletinAction.ISSUE) is BulletinState.ISSUED
    with pytest.raises(WrongStepError, match="已印发的简报通报不能修改,现在可以:没有可以采取的步骤") as told:
        apply_bulletin_step(BulletinState.ISSUED, BulletinAction.EDIT)
    assert told.value.allowed == ()


@pytest.mark.parametrize(
    ("period", "text"),
    [
        ("2023-08-D1", "2023年8月上旬"),
        ("2023-12-D3", "2023年12月下旬"),
        ("2023-08", "2023年8月"),
        ("2023-Q3", "2023年第三季度"),
        ("2023", "2023年"),
        ("2023-W15", "2023年第15周"),
    ],
)
def test_a_period_is_written_as_documents_do(period: str, text: str) -> None:
    assert period_text(parse_period(period)) == text


@pytest.mark.parametrize(
    ("kind", "period", "says"),
    [
        (CIRCULAR, "2023-08", None),
        (BulletinKind.DEKAD_BRIEF, "2023-08-D2", None),
        (BulletinKind.QUARTERLY_SUMMARY, "2023-Q3", None),
        (CIRCULAR, "2023-Q3", "月通报按月编发"),
        (BulletinKind.DEKAD_BRIEF, "2023-08", "旬简报按旬编发"),
        (CIRCULAR, "2024-01", "不在总体方案的 2023 年之内"),
    ],
)
def test_a_bulletin_is_of_its_kind_of_period_and_of_the_plans_year(
    kind: BulletinKind, period: str, says: str | None
) -> None:
    refused = refuse_period(kind, parse_period(period), 2023)
    assert refused is None if says is None else says in (refused or "")


def test_numbers_instants_titles_and_hashes() -> None:
    assert (number_text(2023, 8), number_text(2023, None)) == ("〔2023〕第8期", "〔2023〕第  期")
    midnight = datetime(2023, 9, 1, tzinfo=SHANGHAI)
    assert instant_text(midnight, SHANGHAI) == "2023年8月31日24时"
    assert instant_text(midnight.replace(hour=9, minute=5), SHANGHAI) == "2023年9月1日9时05分"
    assert default_title(CIRCULAR, parse_period("2023-08"), "某仗") == "关于2023年8月某仗推进情况的通报"
    assert canonical({"b": 1, "a": "仗"}) == '{"a":"仗","b":1}'
    assert hash_of("a", "b") != hash_of("ab")


@given(actors(), st.sampled_from(PLANS), st.sampled_from((None, *BATTLES)), st.booleans(), st.booleans())
def test_the_scope_of_a_list_is_what_the_rule_allows(
    who: Actor, plan: str, battle: str | None, issued: bool, public: bool
) -> None:
    if battle is not None and not battle.startswith(plan):
        return
    scope = bulletin_scope(who, public=public)
    listed = (
        (issued and (scope.everything or plan in scope.plans))
        or scope.drafts_everywhere
        or plan in scope.draft_plans
        or battle in scope.draft_battles
    )
    assert listed is may_read_bulletin(who, Subject(plan, battle, draft=not issued), public)


SHEET = Sheet(
    "专班",
    "月通报〔2023〕第1期",
    "标题",
    (),
    "专班",
    None,
    None,
    None,
    "县政府办",
    datetime(2023, 9, 1, tzinfo=SHANGHAI),
)


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        ("应报 2 条,其中", "应报 2 条\uff0c其中"),
        ("按时率 73.08%(19/26),报送率", "按时率 73.08%\uff0819/26\uff09\uff0c报送率"),
        ("12:30:05 报出", "12:30:05 报出"),
        ("1,234 项", "1,234 项"),
        ("(未闭合", "(未闭合"),
        ("联系人:甲;乙", "联系人\uff1a甲\uff1b乙"),
    ],
)
def test_print_has_wide_punctuation_between_chinese(narrow: str, wide: str) -> None:
    (block,) = printed(
        Sheet(**{**{name: getattr(SHEET, name) for name in Sheet.__slots__}, "blocks": (Paragraph(narrow),)})
    ).blocks
    assert block == Paragraph(wide)


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("关于2023年8月某仗推进情况的通报", 1),
        ("关于2023年8月打好重点民生保障仗推进情况的通报", 2),
        ("芷江县打好发展“六仗”总体方案2023年第三季度工作总结", 2),
        ("一" * 60, 1),
    ],
)
def test_a_long_title_breaks_after_a_word(title: str, lines: int) -> None:
    broken = _title_lines(title)
    assert (len(broken), "".join(broken)) == (lines, title)


def test_what_people_wrote_is_no_markup() -> None:
    table = Table("表", ("甲|乙", "数"), [["一\n二", "*3*"]], (1, 1))
    values = {name: getattr(SHEET, name) for name in Sheet.__slots__}
    text = write_markdown(Sheet(**{**values, "blocks": (Paragraph("# 不是标题 <b>"), table)})).decode()
    assert "\\# 不是标题 \\<b\\>" in text
    assert "| 甲\\|乙 | 数 |" in text
    assert "| 一<br><br>二 | \\*3\\* |" in text
