"""How well reports came in: expected, on time, late, overdue, missed, waived, by unit, battle, period, task or region.

The present is read from ``compliance_counts``, whose rows are as many as units times periods however many reports there
were; a past instant is computed from the obligations of the periods asked for.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any

from sqlalchemy import Date, DateTime, Text, and_, bindparam, case, func, literal, or_, select

from app.db import Query
from app.domain.deadlines import ObligationStatus
from app.domain.periods import Period
from app.domain.permissions import Capability
from app.domain.plan import Frequency
from app.domain.progress import percent_of
from app.domain.visibility import Visibility
from app.errors import Fault, InvalidRequestError
from app.models import Battle, ComplianceCount, Obligation, Plan, Region, Rule, RuleVersion, Task, Unit
from app.pagination import Statement
from app.rendering import Known, Rendered, render
from app.schemas.obligation import ComplianceQuery, ComplianceRead, ComplianceRow, Ratio
from app.services.caller import Caller, forbidden
from app.services.deadlines import RuleInForce, ambiguous_rule, parsed_period, rules_in_force, status_at
from app.services.reader import Reader
from app.services.visible_rows import seen_conditions, seen_filter, whole_of

__all__ = ["compliance_of", "measure_compliance"]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_COUNTED = ("expected", "waived", "on_time", "late", "overdue", "missed", "not_due")


def _by(table: Any, group: str) -> Any:
    """What rows of counts or obligations are first summed by: their own column, so that names are joined to few."""
    columns = {"unit": "unit_id", "region": "unit_id", "battle": "battle_id", "task": "task_id", "period": "period"}
    return getattr(table, columns[group]).label("by")


def _named(sums: Any, group: str) -> tuple[Statement, Any, Any]:
    """``sums`` with what names its groups joined, and the group's code and name."""
    statement = select().select_from(sums)
    if group == "unit":
        return statement.join(Unit, Unit.id == sums.c.by), Unit.code, Unit.name
    if group == "battle":
        key, name = func.coalesce(Battle.code, literal("-")), func.coalesce(Battle.name, literal("不分仗"))
        return statement.outerjoin(Battle, Battle.id == sums.c.by), key, name
    if group == "task":
        key, name = func.coalesce(Task.code, literal("-")), func.coalesce(Task.title, literal("不分任务"))
        return statement.outerjoin(Task, Task.id == sums.c.by), key, name
    if group == "region":
        joined = statement.join(Unit, Unit.id == sums.c.by).join(Region, Region.code == Unit.region_code)
        return joined, Region.code, Region.name
    return statement, sums.c.by, sums.c.by


def _scope(table: Any) -> Any:
    return and_(
        table.rule_id.in_(
            select(Rule.id)
            .join(Plan, Plan.id == Rule.plan_id)
            .where(
                Rule.code == bindparam("rule"),
                or_(bindparam("plan", type_=Text).is_(None), Plan.code == bindparam("plan", type_=Text)),
            )
            .correlate(None)
        ),
        table.period_start.between(bindparam("since", type_=Date), bindparam("until", type_=Date)),
    )


def _seen(table: Any, *, limited: bool) -> list[Any]:
    """The rows that a caller may see, where it may not see all."""
    conditions = seen_conditions(plan=table.plan_id, unit=table.unit_id, battle=table.battle_id)
    return [conditions["seen"]] if limited else []


def _query(sums: Any, group: str, figures: dict[str, Any]) -> Query:
    statement, key, name = _named(sums, group)
    statement = statement.add_columns(
        key.label("key"), name.label("name"), *(figures[column].label(column) for column in _COUNTED)
    )
    # What is taken back leaves its counts behind, at nought.
    return Query(statement.group_by(key, name).having(figures["expected"] > 0).order_by(key))


def _from_counts(group: str, *, limited: bool = False) -> Query:
    table = ComplianceCount
    open_ = table.expected - table.waived - table.on_time - table.late

    def still(condition: Any) -> Any:
        return func.sum(case((condition, open_), else_=0))

    locked = func.greatest(table.lock_at, table.due_at) < _AS_OF
    by = _by(table, group)
    sums = (
        select(
            by,
            *(func.sum(getattr(table, column)).label(column) for column in ("expected", "waived", "on_time", "late")),
            still(and_(table.due_at < _AS_OF, ~locked)).label("overdue"),
            still(and_(table.due_at < _AS_OF, locked)).label("missed"),
            still(table.due_at >= _AS_OF).label("not_due"),
        )
        .where(_scope(table), *_seen(table, limited=limited))
        .group_by(by)
        .subquery()
    )
    return _query(sums, group, {column: func.sum(sums.c[column]) for column in _COUNTED})


def _from_obligations(group: str, *, limited: bool = False) -> Query:
    table = Obligation
    judged = (
        select(_by(table, group), status_at().label("status"))
        .select_from(table)
        .join(RuleVersion, and_(RuleVersion.rule_id == table.rule_id, RuleVersion.version == table.rule_version))
        .where(_scope(table), *_seen(table, limited=limited))
        .subquery()
    )
    # Grouped by status, each is judged once, and not once for every figure.
    sums = (
        select(judged.c.by, judged.c.status, func.count().label("reports"))
        .group_by(judged.c.by, judged.c.status)
        .subquery()
    )

    def count(*statuses: ObligationStatus) -> Any:
        return func.sum(case((or_(*(sums.c.status == one.value for one in statuses)), sums.c.reports), else_=0))

    figures = {
        "expected": func.sum(sums.c.reports),
        "waived": count(ObligationStatus.WAIVED),
        "on_time": count(ObligationStatus.ON_TIME),
        "late": count(ObligationStatus.LATE),
        "overdue": count(ObligationStatus.OVERDUE),
        "missed": count(ObligationStatus.MISSED),
        "not_due": count(ObligationStatus.UPCOMING, ObligationStatus.DUE_SOON),
    }
    return _query(sums, group, figures)


_NOW = {group: _from_counts(group) for group in ("unit", "battle", "period", "region")}
_THEN = {group: _from_obligations(group) for group in ("unit", "battle", "period", "task", "region")}


_limited_counts = cache(partial(_from_counts, limited=True))
_limited_obligations = cache(partial(_from_obligations, limited=True))


async def measure_compliance(
    reader: Reader, query: ComplianceQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The figures of the periods asked for, each rate with its numerator and denominator.

    By unit, whoever sees some units' rows is shown those; anything rolled up over units is shown of plans and battles
    that are seen whole.

    Raises:
        ForbiddenError: the figures are rolled up over units that the caller does not see.
        UnknownReferenceError: no such rule, or a period that is none.
        InvalidRequestError: the periods are not of the rule's frequency, or the first comes after the last.
        AmbiguousError: several plans have the rule with different frequencies, and ``plan`` was not given.
    """
    seen = seen_filter(_visibility(query, caller))
    return render(await compliance_of(reader, query, seen, now=now), known, moving={"as_of"})


async def compliance_of(
    reader: Reader, query: ComplianceQuery, seen: Mapping[str, Mapping[str, Any]], *, now: datetime
) -> ComplianceRead:
    """The figures of the rows that the filter ``seen`` lets through; of all, where it is empty.

    Raises:
        AppError: as for :func:`measure_compliance`, but for what may be seen.
    """
    rules = await rules_in_force(reader, query.rule, query.plan)
    first, last = _range(rules, query)
    as_of = query.as_of or now
    live = query.as_of is not None or query.group_by not in _NOW
    if seen:
        statement = (_limited_obligations if live else _limited_counts)(query.group_by)
    else:
        statement = (_THEN if live else _NOW)[query.group_by]
    found = await reader.pool.fetch(
        statement,
        **seen.get("seen", {}),
        rule=query.rule,
        plan=query.plan,
        since=first.start,
        until=last.start,
        as_of=as_of,
    )
    rows = [_row(row["key"], row["name"], {name: int(row[name]) for name in _COUNTED}) for row in found]
    total = _row("all", "合计", {name: sum(getattr(row, name) for row in rows) for name in _COUNTED})
    by, descending = query.sort.removeprefix("-"), query.sort.startswith("-")
    rows.sort(key=lambda row: (_sort_value(row, by), row.key), reverse=descending)
    return ComplianceRead(
        rule=query.rule,
        as_of=as_of,
        group_by=query.group_by,
        items=rows,
        total=total,
        explanation=_explain(rules[-1].name, first, last, total),
    )


def _visibility(query: ComplianceQuery, caller: Caller) -> Visibility:
    """Of what the caller may see, that by which the grouping asked for is complete."""
    if query.group_by == "unit":
        return caller.visibility
    # A task and a battle lie within one battle; periods and regions do not.
    whole = whole_of(caller.visibility, battles=query.group_by in {"battle", "task"})
    if whole.nothing:
        raise forbidden(caller.actor, Capability.READ_PROGRESS, "跨单位的汇总;可用 group_by=unit 查阅本单位")
    return whole


def _range(rules: list[RuleInForce], query: ComplianceQuery) -> tuple[Period, Period]:
    """The first and the last period asked for; by default all that any of the rules has."""
    schedules = [rule.schedule() for rule in rules]
    frequencies = {schedule["frequency"] for schedule in schedules}
    if len(frequencies) > 1:
        raise ambiguous_rule(rules, f"规则 {query.rule} 在各总体方案中的报送周期不同")
    # Codes of one frequency are ordered as the periods are.
    firsts = [schedule["first_period"] for schedule in schedules if schedule["first_period"] is not None]
    lasts = [schedule["last_period"] for schedule in schedules if schedule["last_period"] is not None]
    since, until = query.from_ or min(firsts, default=None), query.to or max(lasts, default=None)
    missing = [name for name, value in (("from", since), ("to", until)) if value is None]
    if since is None or until is None:
        detail = f"规则 {query.rule} 没有写明起止报送期,请给出 {'、'.join(missing)}"
        raise InvalidRequestError(detail, faults=[Fault(f"/query/{name}", "missing", detail) for name in missing])
    first, last = parsed_period(since, "/query/from"), parsed_period(until, "/query/to")
    _check_range(frequencies.pop(), first, last)
    return first, last


def _check_range(frequency: str, first: Period, last: Period) -> None:
    for period, pointer in ((first, "/query/from"), (last, "/query/to")):
        if period.frequency is not Frequency(frequency):
            detail = f"{period.code} 不是该规则的报送期"
            raise InvalidRequestError(detail, faults=[Fault(pointer, "wrong_period", detail)])
    if first.start > last.start:
        detail = f"起始报送期 {first.code} 晚于截止报送期 {last.code}"
        raise InvalidRequestError(detail, faults=[Fault("/query/from", "wrong_order", detail)])


def _row(key: str, name: str, counted: dict[str, int]) -> ComplianceRow:
    denominator = counted["expected"] - counted["waived"] - counted["not_due"]
    # What was filed before its time is up has been filed: it counts on both sides.
    return ComplianceRow(
        key=key,
        name=name,
        **counted,
        completeness=_ratio(counted["on_time"] + counted["late"], denominator),
        timeliness=_ratio(counted["on_time"], denominator),
    )


def _ratio(numerator: int, denominator: int) -> Ratio:
    return Ratio(numerator=numerator, denominator=denominator, percent=percent_of(numerator, denominator))


def _sort_value(row: ComplianceRow, by: str) -> Any:
    if by == "timeliness":
        return row.timeliness.percent if row.timeliness.percent is not None else Decimal(101)
    return row.key if by == "key" else getattr(row, by)


def _explain(rule: str, first: Period, last: Period, total: ComplianceRow) -> str:
    span = first.code if first.code == last.code else f"{first.code} 至 {last.code}"
    on_time, filed = total.timeliness, total.completeness
    rates = (
        f"按时率 {on_time.percent}%({on_time.numerator}/{on_time.denominator}),"
        f"报送率 {filed.percent}%({filed.numerator}/{filed.denominator})"
        if on_time.percent is not None
        else "尚无到期的应报"
    )
    return f"{rule} {span} 应报 {total.expected} 条,其中免报 {total.waived} 条、未到期 {total.not_due} 条;{rates}"
