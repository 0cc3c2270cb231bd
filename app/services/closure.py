"""按期销号率: of what fell due in a span of days, how much was closed in time, by unit, battle or kind.

Counted are due days, one for each round of a case: a case that is reopened takes another due day, and what became of
the one before stays as it was.
"""

from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import Date, DateTime, Text, and_, bindparam, case, func, literal, or_, select, true
from sqlalchemy.orm import aliased

from app.clock import day_of
from app.db import Query
from app.domain.cases import CaseAction, CaseKind
from app.domain.permissions import Capability
from app.domain.progress import percent_of
from app.domain.visibility import Visibility
from app.errors import Fault, InvalidRequestError
from app.models import Battle, Case, CaseStep, Plan, Unit
from app.rendering import Known, Rendered, exact, render
from app.schemas.case import ClosureQuery, ClosureRate, ClosureRead, ClosureRow
from app.services.caller import Caller, forbidden
from app.services.reader import Reader
from app.services.visible_rows import seen_conditions, seen_filter, whole_of

__all__ = ["measure_closure"]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_DAY = bindparam("day", type_=Date)
_COUNTED = ("not_due", "closed_in_time", "closed_late", "open_overdue")


def _optional(column: Any, parameter: str, kind: Any = Text) -> Any:
    given = bindparam(parameter, type_=kind)
    return or_(given.is_(None), column == given)


@cache
def _statement(group: str, *, limited: bool) -> Query:
    due, closing = aliased(CaseStep), aliased(CaseStep)
    # Of a round there is at most one.
    closed = (
        select(func.min(closing.at).label("at"))
        .where(
            closing.case_id == due.case_id,
            closing.round == due.round,
            closing.action == CaseAction.CLOSE.value,
            closing.at <= _AS_OF,
        )
        .correlate(due)
        .lateral("closed")
    )
    closed_on = func.date(func.timezone("Asia/Shanghai", closed.c.at))
    became = case(
        (and_(closed.c.at.is_(None), due.due_on >= _DAY), literal("not_due")),
        (closed.c.at.is_(None), literal("open_overdue")),
        (closed_on <= due.due_on, literal("closed_in_time")),
        else_=literal("closed_late"),
    )
    key, name = {
        "unit": (Unit.code, Unit.name),
        "battle": (func.coalesce(Battle.code, literal("-")), func.coalesce(Battle.name, literal("不分仗"))),
        "kind": (Case.kind, Case.kind),
    }[group]
    since, until = bindparam("since", type_=Date), bindparam("until", type_=Date)
    rounds = (
        select(key.label("key"), name.label("name"), became.label("became"))
        .select_from(due)
        .join(Case, Case.id == due.case_id)
        .join(Plan, Plan.id == Case.plan_id)
        .join(Unit, Unit.id == Case.unit_id)
        .outerjoin(Battle, Battle.id == Case.battle_id)
        .join(closed, true())
        .where(
            due.sets_due,
            due.at <= _AS_OF,
            or_(since.is_(None), due.due_on >= since),
            or_(until.is_(None), due.due_on <= until),
            _optional(Plan.code, "plan"),
            _optional(Battle.code, "battle"),
            _optional(Case.kind, "kind"),
        )
    )
    if limited:
        conditions = seen_conditions(plan=Case.plan_id, unit=Case.unit_id, battle=Case.battle_id)
        rounds = rounds.where(conditions["seen"])
    found = rounds.subquery()
    counts = (func.count().filter(found.c.became == one).label(one) for one in _COUNTED)
    return Query(
        select(found.c.key, found.c.name, *counts)
        .group_by(found.c.key, found.c.name)
        .order_by(found.c.key.collate("C"))
    )


async def measure_closure(
    reader: Reader, query: ClosureQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The figures as they stood at ``query.as_of`` (default ``now``), each rate with what it was made of.

    By unit, whoever sees some units' cases is shown those; anything rolled up over units is shown of plans and battles
    that are seen whole.

    Raises:
        ForbiddenError: the figures are rolled up over units that the caller does not see.
        InvalidRequestError: the first day comes after the last.
    """
    if query.from_ is not None and query.to is not None and query.from_ > query.to:
        detail = f"起始日 {query.from_} 晚于截止日 {query.to}"
        raise InvalidRequestError(detail, faults=[Fault("/query/from", "wrong_order", detail)])
    seen = seen_filter(_visibility(query, caller))
    as_of = query.as_of or now
    found = await reader.pool.fetch(
        _statement(query.group_by, limited=bool(seen)),
        **seen.get("seen", {}),
        as_of=as_of,
        day=day_of(as_of),
        since=query.from_,
        until=query.to,
        plan=query.plan,
        battle=query.battle,
        kind=query.kind,
    )
    by_kind = query.group_by == "kind"
    rows = [
        _row(row["key"], CaseKind(row["key"]).label if by_kind else row["name"], {one: row[one] for one in _COUNTED})
        for row in found
    ]
    total = _row("all", "合计", {one: sum(getattr(row, one) for row in rows) for one in _COUNTED})
    shown = ClosureRead(
        as_of=as_of, group_by=query.group_by, items=rows, total=total, explanation=_explain(query, total)
    )
    return render(shown, known, moving={"as_of"})


def _visibility(query: ClosureQuery, caller: Caller) -> Visibility:
    """Of what the caller may see, that by which the grouping asked for is complete."""
    if query.group_by == "unit":
        return caller.granted_visibility
    # A kind lies within one battle where one is asked for.
    whole = whole_of(caller.granted_visibility, battles=query.group_by == "battle" or query.battle is not None)
    if whole.nothing:
        raise forbidden(caller.actor, Capability.READ_PROGRESS, "跨单位的汇总;可用 group_by=unit 查阅本单位")
    return whole


def _row(key: str, name: str, counted: dict[str, int]) -> ClosureRow:
    # What was closed before its time is up has been closed: it counts on both sides.
    denominator = sum(counted.values()) - counted["not_due"]
    in_time = counted["closed_in_time"]
    rate = ClosureRate(numerator=in_time, denominator=denominator, percent=percent_of(in_time, denominator))
    return ClosureRow(key=key, name=name, cases=sum(counted.values()), **counted, closure=rate)


def _explain(query: ClosureQuery, total: ClosureRow) -> str:
    span = _span(query.from_, query.to)
    rate = total.closure
    if rate.percent is None:
        return f"{span}没有到期的台账事项;未到期 {total.not_due} 件"
    reached = "达到按期 100% 的要求" if rate.numerator == rate.denominator else "未达到按期 100% 的要求"
    return (
        f"{span}期限已到或已销号的 {rate.denominator} 件中按期销号 {rate.numerator} 件"
        f"({exact(rate.percent)}%),{reached};"
        f"超期销号 {total.closed_late} 件,超期未销号 {total.open_overdue} 件,未到期 {total.not_due} 件"
    )


def _span(since: date | None, until: date | None) -> str:
    if since is None and until is None:
        return ""
    return f"期限在 {since or '最初'} 至 {until or '最后'} 的,"
