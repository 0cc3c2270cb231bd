"""Bulletins of task forces: their kinds, numbers and states, and the hash that says whether one is still the same.

::

    draft ──issue──▶ issued        (draft: edit, regenerate as often as wanted)
      └────discard──▶ discarded

General plan, 四(三): each task force sums up by dekad, month and quarter and reports to the county government. What is
issued stays as it was issued: its figures are those of its instant, whatever is corrected later, and can be computed
anew from the data as of that instant.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, time, timedelta, tzinfo
from types import MappingProxyType
from typing import Any, Final

from app.domain.periods import Period
from app.domain.plan import Frequency, Labelled
from app.domain.state_table import StateTable

__all__ = [
    "TRANSITIONS",
    "BulletinAction",
    "BulletinKind",
    "BulletinState",
    "allowed_bulletin_steps",
    "apply_bulletin_step",
    "canonical",
    "default_title",
    "hash_of",
    "instant_text",
    "number_text",
    "period_text",
    "refuse_period",
]


class BulletinKind(Labelled):
    """What a task force sums up, by the period."""

    DEKAD_BRIEF = "dekad_brief", "旬简报"
    MONTHLY_CIRCULAR = "monthly_circular", "月通报"
    QUARTERLY_SUMMARY = "quarterly_summary", "季总结"

    @property
    def frequency(self) -> Frequency:
        """The period of this kind."""
        return _FREQUENCIES[self]


_FREQUENCIES: Final = MappingProxyType(
    {
        BulletinKind.DEKAD_BRIEF: Frequency.DEKAD,
        BulletinKind.MONTHLY_CIRCULAR: Frequency.MONTH,
        BulletinKind.QUARTERLY_SUMMARY: Frequency.QUARTER,
    }
)


class BulletinState(Labelled):
    """Where a bulletin stands."""

    DRAFT = "draft", "草稿"
    ISSUED = "issued", "已印发"
    DISCARDED = "discarded", "已作废"


class BulletinAction(Labelled):
    """A step that somebody takes with a bulletin."""

    EDIT = "edit", "修改"
    REGENERATE = "regenerate", "重新生成"
    ISSUE = "issue", "印发"
    DISCARD = "discard", "作废"


TRANSITIONS: Final[Mapping[BulletinState, Mapping[BulletinAction, BulletinState]]] = MappingProxyType(
    {
        BulletinState.DRAFT: {
            BulletinAction.EDIT: BulletinState.DRAFT,
            BulletinAction.REGENERATE: BulletinState.DRAFT,
            BulletinAction.ISSUE: BulletinState.ISSUED,
            BulletinAction.DISCARD: BulletinState.DISCARDED,
        },
        BulletinState.ISSUED: {},
        BulletinState.DISCARDED: {},
    }
)


_TABLE: Final = StateTable("简报通报", TRANSITIONS)
allowed_bulletin_steps = _TABLE.allowed
apply_bulletin_step = _TABLE.apply


def number_text(year: int, number: int | None) -> str:
    """The number as documents print it, of a draft without it: 〔2023〕第8期."""
    return f"〔{year}〕第{'  ' if number is None else number}期"


def period_text(period: Period) -> str:
    """A period in words: 2023年8月, 2023年第三季度, 2023年8月中旬."""
    year, month = period.start.year, period.start.month
    match period.frequency:
        case Frequency.DEKAD:
            return f"{year}年{month}月{'上中下'[min((period.start.day - 1) // 10, 2)]}旬"
        case Frequency.MONTH:
            return f"{year}年{month}月"
        case Frequency.QUARTER:
            return f"{year}年第{'一二三四'[(month - 1) // 3]}季度"
        case Frequency.WEEK:
            return f"{period.start:%Y年第%V周}"
        case Frequency.YEAR:
            return f"{year}年"


def instant_text(instant: datetime, zone: tzinfo) -> str:
    """An instant as documents write it: midnight ends the day before it, 2023年8月31日24时."""
    local = instant.astimezone(zone)
    if local.time() == time.min:
        day = local - timedelta(days=1)
        return f"{day.year}年{day.month}月{day.day}日24时"
    return f"{local.year}年{local.month}月{local.day}日{local.hour}时{f'{local.minute:02}分' if local.minute else ''}"


def refuse_period(kind: BulletinKind, period: Period, plan_year: int) -> str | None:
    """Why a bulletin of this kind is none of this period; ``None`` where it is."""
    if period.frequency is not kind.frequency:
        return f"{kind.label}按{kind.frequency.label}编发,{period.code} 不是这样的报送期"
    if period.start.year != plan_year:
        return f"{period.code} 不在总体方案的 {plan_year} 年之内"
    return None


def canonical(content: Mapping[str, Any]) -> str:
    """The one way to write a content as JSON: names in order, nothing but what is said."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_of(*texts: str) -> str:
    """The SHA-256 of texts, each a canonical JSON, in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def default_title(kind: BulletinKind, period: Period, scope: str) -> str:
    """The title that a bulletin begins with; ``scope`` is the name of the battle or the plan."""
    match kind:
        case BulletinKind.DEKAD_BRIEF:
            return f"{scope}{period_text(period)}工作简报"
        case BulletinKind.MONTHLY_CIRCULAR:
            return f"关于{period_text(period)}{scope}推进情况的通报"
        case BulletinKind.QUARTERLY_SUMMARY:
            return f"{scope}{period_text(period)}工作总结"
