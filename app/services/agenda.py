"""期限日程: what falls due when and who still owes it, as a list and as a calendar to subscribe to."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any

from asyncpg import Record
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.clock import SHANGHAI, day_of
from app.db import Query
from app.domain.deadlines import deadline_text, report_name
from app.domain.plan import RuleUnitRole
from app.errors import Fault, UnknownReferenceError
from app.models import Battle, Extension, Obligation, Plan, Rule, RuleUnit, RuleVersion, Task, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render, tag_of
from app.schemas.agenda import CalendarQuery, DeadlinePage, DeadlineQuery, DeadlineRead, OutstandingRead
from app.schemas.task import UnitRef
from app.services.calendar_events import drawn_calendar
from app.services.caller import Caller
from app.services.deadlines import effective_due, status_at, was_waived
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = ["get_calendar", "list_deadlines", "refuse_unknown"]

_HORIZON = timedelta(days=60)
_MOST_SHOWN = 500
_MOST_EVENTS = 1000
_INSTANT = DateTime(timezone=True)
_AS_OF = bindparam("as_of", type_=_INSTANT)
_FILED = func.coalesce(Obligation.filed_at <= _AS_OF, literal(value=False))
_EXTENDED = Obligation.effective_due_at != Obligation.due_at
_VERSION_IN_FORCE = and_(RuleVersion.rule_id == Obligation.rule_id, RuleVersion.version == Obligation.rule_version)


def _owed(due_at: ColumnElement[Any], *conditions: Any) -> Statement:
    return select(
        Obligation.unit_id,
        Obligation.rule_id,
        Obligation.plan_id,
        Obligation.battle_id,
        Obligation.period,
        Obligation.period_start,
        Obligation.due_at.label("original_due_at"),
        due_at.label("due_at"),
        Obligation.provisional,
        was_waived().label("waived"),
        _FILED.label("filed"),
    ).where(*conditions)


# What was never extended, nearly everything, is found through the index on its effective due instant; of what was, the
# instant depends on as_of, and it is found through the extensions, which are few.
_OWED = union_all(
    _owed(Obligation.effective_due_at.expression, ~_EXTENDED),
    _owed(
        effective_due(),
        _EXTENDED,
        tuple_(Obligation.unit_id, Obligation.rule_id, Obligation.period).in_(
            select(Extension.unit_id, Extension.rule_id, Extension.period)
        ),
    ),
).subquery("owed")
_KEY = (
    func.to_char(func.timezone("UTC", _OWED.c.due_at), "YYYYMMDDHH24MISSUS")
    + Rule.sort_key
    + literal("/")
    + _OWED.c.period
).collate("C")
_LISTING = Listing(
    statement=select(
        _KEY.label("sort_key"),
        Rule.id.label("rule_id"),
        Rule.code.label("rule"),
        Rule.name.label("rule_name"),
        Plan.code.label("plan"),
        _OWED.c.period,
        _OWED.c.period_start,
        _OWED.c.due_at,
        func.min(_OWED.c.original_due_at).label("original_due_at"),
        func.bool_or(_OWED.c.provisional).label("provisional"),
        func.count().label("expected"),
        func.count().filter(_OWED.c.waived).label("waived"),
        func.count().filter(_OWED.c.filed, ~_OWED.c.waived).label("filed"),
    )
    .select_from(_OWED)
    .join(Rule, Rule.id == _OWED.c.rule_id)
    .join(Plan, Plan.id == _OWED.c.plan_id)
    .where(_OWED.c.due_at.between(bindparam("since", type_=_INSTANT), bindparam("until", type_=_INSTANT)))
    .group_by(Rule.id, Plan.id, _OWED.c.period, _OWED.c.period_start, _OWED.c.due_at),
    key=_KEY,
    sorts={"due_at": _KEY},
    conditions={
        "rule": Rule.code == bindparam("rule"),
        "plan": _OWED.c.plan_id == key_of(Plan, "plan"),
        "battle": _OWED.c.battle_id == key_of(Battle, "battle"),
        "unit": _OWED.c.unit_id == bindparam("unit"),
        **seen_conditions(plan=_OWED.c.plan_id, unit=_OWED.c.unit_id, battle=_OWED.c.battle_id),
    },
)
_SEEN = seen_conditions(plan=Obligation.plan_id, unit=Obligation.unit_id, battle=Obligation.battle_id)
_OUTSTANDING_IF: Mapping[str, ColumnElement[bool]] = {
    "battle": Obligation.battle_id == key_of(Battle, "battle"),
    "unit": Obligation.unit_id == bindparam("unit"),
    **_SEEN,
}
_RULE_KNOWN = Query(
    select(func.count())
    .select_from(RuleVersion)
    .join(Rule, Rule.id == RuleVersion.rule_id)
    .join(Plan, Plan.id == Rule.plan_id)
    .where(
        Rule.code == bindparam("rule"),
        or_(bindparam("plan", type_=Text).is_(None), Plan.code == bindparam("plan", type_=Text)),
    )
)
_PLAN_KNOWN = Query(select(func.count()).select_from(Plan).where(Plan.code == bindparam("plan")))
_UNIT = Query(select(Unit.code, Unit.name).where(Unit.id == bindparam("unit")))


async def list_deadlines(
    reader: Reader, query: DeadlineQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of due instants, each with who still owed what at ``query.as_of`` (default ``now``).

    Raises:
        UnknownReferenceError: no such rule or plan, or ``to`` lies before ``from``.
        UnknownUnitError: the unit filter means no unit.
        AmbiguousError: the unit filter means several units.
    """
    as_of = query.as_of or now
    since, until = _span(query, as_of)
    filters = equal_to(query, "rule", "plan", "battle")
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.battle or query.plan)}
    filters |= seen_filter(caller.visibility)
    always = {"as_of": as_of, "since": since, "until": until}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, always=always)
    if not page.rows:
        await refuse_unknown(reader, query.rule, query.plan)
    owing = await _outstanding(reader, page.rows, filters, as_of)
    items = [_deadline(row, shown, as_of) for row, shown in zip(page.rows, owing, strict=True)]
    answer = DeadlinePage(items=items, next_cursor=page.next_cursor, total=page.total)
    # The sentences tell the other members over again, and beyond them only the instant.
    return render(answer, known, moving={"items": {"__all__": {"explanation"}}})


def _span(query: DeadlineQuery, as_of: datetime) -> tuple[datetime, datetime]:
    """The first and the last instant of the days asked for; the ends of time stand in for days beyond them."""
    first = query.from_ or day_of(as_of)
    last = query.to or (first + _HORIZON if first <= date.max - _HORIZON else date.max)
    if last < first:
        origin = "" if query.from_ else "(省略时为 as_of 当日)"
        detail = f"to({last})早于 from{origin}({first}),其间没有日期"
        raise UnknownReferenceError(detail, faults=[Fault("/query/to", "invalid_range", detail)])
    # On the first day there is, Shanghai's midnight lies before the first instant in UTC.
    since = datetime.combine(max(first, date(1, 1, 2)), time.min, SHANGHAI)
    return since, datetime.combine(max(last, date(1, 1, 2)), time.max, SHANGHAI)


async def refuse_unknown(reader: Reader, rule: str | None, plan: str | None, *, at: str = "/query") -> None:
    """Tell apart what holds nothing from what does not exist; ``at`` is where both were given.

    Raises:
        UnknownReferenceError: no such plan, or no rule of this code has a schedule.
    """
    if plan is not None and not await reader.pool.fetch_value(_PLAN_KNOWN, plan=plan):
        detail = f"没有总体方案 {plan};可用 /api/v1/plans 查找"
        raise UnknownReferenceError(detail, faults=[Fault(f"{at}/plan", "unknown_plan", detail)])
    if rule is not None and not await reader.pool.fetch_value(_RULE_KNOWN, rule=rule, plan=plan):
        detail = f"没有按期报送的规则 {rule};可用 /api/v1/rules 查找"
        raise UnknownReferenceError(detail, faults=[Fault(f"{at}/rule", "unknown_rule", detail)])


@cache
def _outstanding_query(active: frozenset[str]) -> Query:
    """What is owed at due instants that are given as arrays; ``active`` are the filters in use."""
    columns = {"rule_id": BigInteger(), "period": Text(), "period_start": Date(), "due_at": _INSTANT}
    asked = (
        func.unnest(*(bindparam(f"asked_{name}", type_=ARRAY(kind)) for name, kind in columns.items()))
        .table_valued(*(column(name, kind) for name, kind in columns.items()), with_ordinality="item", name="asked")
        .render_derived()
    )
    ranked = (
        select(
            asked.c.item,
            Unit.code.label("unit"),
            Unit.name.label("unit_name"),
            Task.code.label("task"),
            status_at().label("status"),
            func.row_number().over(partition_by=asked.c.item, order_by=(Unit.code, Task.sort_key)).label("place"),
        )
        .select_from(asked)
        .join(
            Obligation,
            and_(
                Obligation.rule_id == asked.c.rule_id,
                Obligation.period_start == asked.c.period_start,
                Obligation.period == asked.c.period,
            ),
        )
        .join(RuleVersion, _VERSION_IN_FORCE)
        .join(Unit, Unit.id == Obligation.unit_id)
        .outerjoin(Task, Task.id == Obligation.task_id)
        .where(
            effective_due() == asked.c.due_at,
            ~_FILED,
            ~was_waived(),
            *(condition for name, condition in _OUTSTANDING_IF.items() if name in active),
        )
        .subquery("ranked")
    )
    return Query(select(ranked).where(ranked.c.place <= literal(_MOST_SHOWN)).order_by(ranked.c.item, ranked.c.place))


async def _outstanding(
    reader: Reader, rows: list[Record], filters: Mapping[str, Mapping[str, Any]], as_of: datetime
) -> list[list[OutstandingRead]]:
    """What was still owed at each due instant of a page, all in one query."""
    owing: list[list[OutstandingRead]] = [[] for _ in rows]
    if not rows:
        return owing
    active = frozenset(_OUTSTANDING_IF) & frozenset(filters)
    found = await reader.pool.fetch(
        _outstanding_query(active),
        as_of=as_of,
        **{name: value for condition in active for name, value in filters[condition].items()},
        **{f"asked_{name}": [row[name] for row in rows] for name in ("rule_id", "period", "period_start", "due_at")},
    )
    for row in found:
        unit = UnitRef(unit=row["unit"], name=row["unit_name"])
        owing[int(row["item"]) - 1].append(OutstandingRead(unit=unit, task=row["task"], status=row["status"]))
    return owing


def _deadline(row: Record, outstanding: list[OutstandingRead], as_of: datetime) -> DeadlineRead:
    counted = {name: row[name] for name in ("expected", "filed", "waived")}
    left = row["expected"] - row["filed"] - row["waived"]
    extended = "经批准延至" if row["due_at"] != row["original_due_at"] else "应于"
    provisional = "(节假日安排尚未公布,期限为暂定)" if row["provisional"] else ""
    waived = f",免报 {row['waived']} 份" if row["waived"] else ""
    report, until = report_name(row["rule_name"]), deadline_text(row["due_at"], SHANGHAI)
    return DeadlineRead(
        due_at=row["due_at"],
        rule=row["rule"],
        rule_name=row["rule_name"],
        plan=row["plan"],
        period=row["period"],
        provisional=row["provisional"],
        **counted,
        outstanding_total=left,
        outstanding=outstanding,
        explanation=(
            f"{row['period']} 的{report}{extended} {until}前报出{provisional};"
            f"截至 {as_of.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S} "
            f"应报 {row['expected']} 份,已报 {row['filed']} 份{waived},{f'未报 {left} 份' if left else '没有未报的'}"
        ),
    )


@cache
def _calendar_query(active: frozenset[str]) -> Query:
    """One row for each rule and period of a plan that something is owed for; ``active`` are the filters in use.

    Without ``tell_progress`` nothing is taken as filed, so that no part of a row says what is.
    """
    filed = and_(_FILED, bindparam("tell_progress", type_=Boolean))
    conditions = {
        "rule": Obligation.rule_id.in_(select(Rule.id).where(Rule.code == bindparam("rule"))),
        "plan": Obligation.plan_id == key_of(Plan, "plan"),
        "unit": Obligation.unit_id == bindparam("unit"),
        **_SEEN,
    }
    extended_at = (
        select(func.max(Extension.granted_at))
        .where(
            Extension.unit_id == Obligation.unit_id,
            Extension.rule_id == Obligation.rule_id,
            Extension.period == Obligation.period,
            Extension.granted_at <= _AS_OF,
        )
        .scalar_subquery()
    )
    owed = (
        select(
            Obligation.rule_id,
            Obligation.plan_id,
            Obligation.period,
            Obligation.provisional,
            effective_due().label("due_at"),
            filed.label("filed"),
            func.greatest(case((filed, Obligation.filed_at)), case((_EXTENDED, extended_at))).label("changed_at"),
            cast(RuleVersion.schedule["remind_days"].as_string(), Integer).label("remind_days"),
            Unit.code.label("unit"),
            Unit.name.label("unit_name"),
            Task.code.label("task"),
            Task.title,
            Task.sort_key,
        )
        .join(RuleVersion, _VERSION_IN_FORCE)
        .join(Unit, Unit.id == Obligation.unit_id)
        .outerjoin(Task, Task.id == Obligation.task_id)
        .where(~was_waived(), *(conditions[name] for name in sorted(active)))
        .subquery("owed")
    )
    shown = func.json_build_object(
        *("unit", owed.c.unit_name, "task", owed.c.task, "title", owed.c.title),
        *("filed", owed.c.filed, "due_at", owed.c.due_at),
    )
    # What is all filed keeps the instant it had.
    due_at = func.coalesce(func.min(owed.c.due_at).filter(~owed.c.filed), func.min(owed.c.due_at))
    return Query(
        select(
            Rule.code.label("rule"),
            Rule.name.label("rule_name"),
            Plan.code.label("plan"),
            Plan.issued_on,
            owed.c.period,
            due_at.label("due_at"),
            func.max(owed.c.remind_days).label("remind_days"),
            func.max(owed.c.changed_at).label("changed_at"),
            func.bool_or(owed.c.provisional).label("provisional"),
            func.json_agg(aggregate_order_by(shown, owed.c.sort_key, owed.c.unit)).label("owed"),
            _concerned(RuleUnitRole.RECEIVER).label("receivers"),
            _concerned(RuleUnitRole.CERTIFIER).label("certifiers"),
        )
        .select_from(owed)
        .join(Rule, Rule.id == owed.c.rule_id)
        .join(Plan, Plan.id == owed.c.plan_id)
        .group_by(Rule.id, Plan.id, owed.c.period)
        .order_by(due_at.desc(), Rule.sort_key.desc(), owed.c.period.desc())
        .limit(literal(_MOST_EVENTS))
    )


def _concerned(role: RuleUnitRole) -> Any:
    return (
        select(func.string_agg(Unit.name, aggregate_order_by(literal("、"), RuleUnit.position)))
        .join(RuleUnit, RuleUnit.unit_id == Unit.id)
        .where(RuleUnit.rule_id == Rule.id, RuleUnit.role == role.value)
        .correlate(Rule)
        .scalar_subquery()
    )


async def get_calendar(
    reader: Reader, query: CalendarQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The deadlines of a unit, or of anybody, as an iCalendar object that stays the same until its data changes.

    Asked with a token it holds the due instants alone: not what is filed, by whom and for which task.

    Raises:
        UnknownReferenceError: no such rule or plan.
        UnknownUnitError, AmbiguousError: the unit means none or several.
    """
    values: dict[str, Any] = {name: value for name in ("rule", "plan") if (value := getattr(query, name)) is not None}
    unit: Record | None = None
    if query.unit is not None:
        values["unit"] = await resolve_unit(reader, query.unit, scope=query.plan)
        unit = await reader.pool.fetch_row(_UNIT, unit=values["unit"])
    seen = seen_filter(caller.visibility)
    asked = _calendar_query(frozenset(values) | frozenset(seen))
    values |= {name: value for condition in seen.values() for name, value in condition.items()}
    told = query.token is None
    rows = await reader.pool.fetch(asked, **values, as_of=query.as_of or now, tell_progress=told)
    if not rows:
        await refuse_unknown(reader, query.rule, query.plan)
    whose = unit["name"] if unit else query.plan or ""
    what = report_name(rows[0]["rule_name"]) if rows and query.rule else "报送"
    body = drawn_calendar(f"{whose}{what}期限", reversed(rows), unit, told=told)
    etag = tag_of(body)
    return Rendered(etag, None if etag in known else body, "text/calendar")
