"""Deadlines asked for: what is owed and how it stands, whether a filing would be on time, how well reports came in.

Lateness is derived. The statuses of a list are computed in SQL from the same instants that ``app.domain.deadlines``
judges; a test holds the two equal.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from asyncpg import Record
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import INTERVAL

from app.clock import day_of
from app.db import Query
from app.domain.actions import ObligationAction, obligation_actions, obligation_rights
from app.domain.deadlines import Facts, ObligationStatus, due_of, explain, judge, report_name
from app.domain.periods import Period, parse_period, period_of
from app.domain.permissions import Subject
from app.domain.plan import RuleKind
from app.errors import AmbiguousError, Fault, UnknownReferenceError
from app.models import Battle, Extension, Obligation, Plan, Rule, RuleVersion, Task, Unit, Waiver
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.obligation import CheckQuery, CheckRead, ObligationPage, ObligationQuery, ObligationRead
from app.schemas.task import UnitRef
from app.services.caller import Caller
from app.services.obligations import due_rule
from app.services.reader import Reader, decoded, equal_to, key_of, page_request
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = [
    "RuleInForce",
    "ambiguous_rule",
    "check_deadline",
    "effective_due",
    "list_obligations",
    "parsed_period",
    "rule_in_force",
    "rules_in_force",
    "status_at",
    "was_waived",
]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))


def _concerns(grant: Any) -> ColumnElement[bool]:
    """The extension or waiver is about the obligation at hand and had been granted."""
    return and_(
        grant.unit_id == Obligation.unit_id,
        grant.rule_id == Obligation.rule_id,
        grant.period == Obligation.period,
        or_(grant.task_id.is_(None), grant.task_id == Obligation.task_id),
        grant.granted_at <= _AS_OF,
    )


def _latest(grant: Any, *columns: Any) -> Any:
    shown = func.json_build_object(*(part for column in columns for part in (column.key, column)))
    return (
        select(shown).where(_concerns(grant)).order_by(grant.granted_at.desc(), grant.id.desc()).limit(1)
    ).scalar_subquery()


# Extensions and waivers are few: their tables are only looked into where the obligation says there is one.
_EXTENDED_TO = (
    select(Extension.due_at)
    .where(_concerns(Extension))
    .order_by(Extension.granted_at.desc(), Extension.id.desc())
    .limit(1)
    .scalar_subquery()
)
_EFFECTIVE = case(
    (Obligation.effective_due_at == Obligation.due_at, Obligation.due_at),
    else_=func.coalesce(_EXTENDED_TO, Obligation.due_at),
)
_WAIVED = and_(Obligation.waived_at.is_not(None), exists(select(literal(1)).where(_concerns(Waiver))))
_EXTENSION = _latest(Extension, Extension.due_at, Extension.reason, Extension.approver, Extension.granted_at)
_WAIVER = _latest(Waiver, Waiver.kind, Waiver.reason, Waiver.approver, Waiver.granted_at)
_REMIND = cast(func.concat(RuleVersion.schedule["remind_days"].as_string(), literal(" days")), INTERVAL)


def status_at() -> ColumnElement[str]:
    """The status of an obligation at the parameter ``as_of``, as ``app.domain.deadlines.judge`` has it.

    The query around it joins the rule version of the obligation.
    """
    filed = Obligation.filed_at <= _AS_OF
    return case(
        (_WAIVED, literal("waived")),
        (and_(filed, Obligation.filed_at <= _EFFECTIVE), literal("on_time")),
        (filed, literal("late")),
        (and_(_AS_OF <= _EFFECTIVE, _EFFECTIVE - _AS_OF < _REMIND), literal("due_soon")),
        (_AS_OF <= _EFFECTIVE, literal("upcoming")),
        (func.greatest(Obligation.lock_at, _EFFECTIVE) < _AS_OF, literal("missed")),
        else_=literal("overdue"),
    )


def effective_due() -> ColumnElement[Any]:
    """The due instant of an obligation after the extensions granted by the parameter ``as_of``."""
    return _EFFECTIVE


def was_waived() -> ColumnElement[bool]:
    """Whether an obligation had been waived by the parameter ``as_of``."""
    return _WAIVED


_COLUMNS: Statement = (
    select(
        (
            func.to_char(func.timezone("UTC", Obligation.due_at), "YYYYMMDDHH24MISSUS")
            + Unit.code
            + literal("/")
            + Rule.sort_key
            + literal("/")
            + func.coalesce(Task.sort_key, "")
            + Obligation.period
        )
        .collate("C")
        .label("sort_key"),
        Rule.code.label("rule"),
        Rule.name.label("rule_name"),
        Rule.kind,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Task.code.label("task"),
        Obligation.period,
        Obligation.due_at,
        _EFFECTIVE.label("effective_due_at"),
        Obligation.lock_at,
        Obligation.submitted_at,
        Obligation.filed_at,
        _WAIVED.label("waived"),
        Obligation.rule_version,
        Obligation.calendar_version,
        Obligation.provisional,
        RuleVersion.schedule,
        _EXTENSION.label("extension"),
        _WAIVER.label("waiver"),
    )
    .join(Rule, Rule.id == Obligation.rule_id)
    .join(
        RuleVersion,
        and_(RuleVersion.rule_id == Obligation.rule_id, RuleVersion.version == Obligation.rule_version),
    )
    .join(Plan, Plan.id == Obligation.plan_id)
    .join(Unit, Unit.id == Obligation.unit_id)
    .outerjoin(Battle, Battle.id == Obligation.battle_id)
    .outerjoin(Task, Task.id == Obligation.task_id)
)
_KEY = _COLUMNS.selected_columns["sort_key"]
_LISTING = Listing(
    statement=_COLUMNS,
    key=_KEY.element,  # type: ignore[attr-defined]
    sorts={"due_at": _KEY.element},  # type: ignore[attr-defined]
    conditions={
        "rule": Rule.code == bindparam("rule"),
        "plan": Obligation.plan_id == key_of(Plan, "plan"),
        "battle": Obligation.battle_id == key_of(Battle, "battle"),
        "unit": Obligation.unit_id == bindparam("unit"),
        "task": Obligation.task_id == key_of(Task, "task"),
        "period": Obligation.period == bindparam("period"),
        "status": status_at() == bindparam("status"),
        **seen_conditions(plan=Obligation.plan_id, unit=Obligation.unit_id, battle=Obligation.battle_id),
    },
)
_RULE = Query(
    select(Rule.id, Rule.code, Rule.name, Plan.code.label("plan"), RuleVersion.effective_from, RuleVersion.schedule)
    .join(Plan, Plan.id == Rule.plan_id)
    .join(RuleVersion, RuleVersion.rule_id == Rule.id)
    .where(
        Rule.code == bindparam("code"),
        or_(bindparam("plan", type_=Text).is_(None), Plan.code == bindparam("plan", type_=Text)),
    )
    .order_by(Plan.code, RuleVersion.version)
)
# The form of a unit is on time when all of it is: where only some of its tasks were extended, the others decide.
_OWED = Query(
    select(
        Unit.code,
        Unit.name,
        func.min(Obligation.due_at).label("due_at"),
        func.min(_EFFECTIVE).label("effective_due_at"),
        func.min(Obligation.lock_at).label("lock_at"),
    )
    .select_from(Obligation)
    .join(Unit, Unit.id == Obligation.unit_id)
    .where(
        Obligation.unit_id == bindparam("unit"),
        Obligation.rule_id == bindparam("rule"),
        Obligation.period == bindparam("period"),
    )
    .group_by(Unit.code, Unit.name)
)


class RuleInForce:
    """A rule with its schedules, oldest first."""

    def __init__(self, rows: list[Record]) -> None:
        """Take the rows of one rule, a version each."""
        self.key: int = rows[0]["id"]
        self.code: str = rows[0]["code"]
        self.plan: str = rows[0]["plan"]
        self.name: str = report_name(rows[0]["name"])
        self._history = [(row["effective_from"], decoded(row["schedule"])) for row in rows]

    def schedule(self, period: Period | None = None) -> dict[str, Any]:
        """The schedule in force for ``period``; without one the newest."""
        if period is None:
            return self._history[-1][1]
        in_force = [schedule for since, schedule in self._history if since <= period.start]
        return in_force[-1] if in_force else self._history[0][1]


async def rule_in_force(reader: Reader, code: str, plan: str | None, *, at: str = "/query") -> RuleInForce:
    """The rule that a query or a body (``at``) names.

    Raises:
        UnknownReferenceError: no rule of this code has a schedule.
        AmbiguousError: several plans have one, and ``plan`` was not given.
    """
    rules = await rules_in_force(reader, code, plan, at=at)
    if len(rules) > 1:
        raise ambiguous_rule(rules, f"规则 {code} 不唯一", at=at)
    return rules[0]


async def rules_in_force(reader: Reader, code: str, plan: str | None, *, at: str = "/query") -> list[RuleInForce]:
    """The rules of a code, by the codes of the plans that have one.

    Raises:
        UnknownReferenceError: no rule of this code has a schedule.
    """
    rows = await reader.pool.fetch(_RULE, code=code, plan=plan)
    plans = list(dict.fromkeys(row["plan"] for row in rows))
    if not plans:
        fault = Fault(f"{at}/rule", "unknown_rule", f"没有按期报送的规则 {code}")
        raise UnknownReferenceError(f"没有按期报送的规则 {code};可用 /api/v1/rules 查找", faults=[fault])
    return [RuleInForce([row for row in rows if row["plan"] == found]) for found in plans]


def ambiguous_rule(rules: list[RuleInForce], detail: str, *, at: str = "/query") -> AmbiguousError:
    """The error that says which plans have a rule, one of which must be named."""
    fault = Fault(f"{at}/plan", "ambiguous_rule", "多个总体方案都有此规则,请给出 plan")
    return AmbiguousError(detail, faults=[fault], candidates=[{"plan": rule.plan} for rule in rules])


def parsed_period(code: str, pointer: str) -> Period:
    """The period that a parameter names.

    Raises:
        UnknownReferenceError: the code looks like a period but is none, such as ``2023-13``.
    """
    try:
        return parse_period(code)
    except ValueError as error:
        raise UnknownReferenceError(str(error), faults=[Fault(pointer, "invalid_period", str(error))]) from None


async def list_obligations(
    reader: Reader, query: ObligationQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of the obligations that the caller may see, as they stood at ``query.as_of`` (default ``now``).

    Raises:
        UnknownUnitError: the unit filter means no unit.
        AmbiguousError: the unit filter means several units.
    """
    as_of = query.as_of or now
    filters = equal_to(query, "rule", "plan", "battle", "task", "status")
    if query.period is not None:
        filters["period"] = {"period": parsed_period(query.period, "/query/period").code}
    if query.unit is not None:
        scope = query.task or query.battle or query.plan
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=scope)}
    filters |= seen_filter(caller.visibility)
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, always={"as_of": as_of})
    rights = _rights_of(caller)
    today = day_of(now)
    # As it stood at another instant nothing can be done with it; and what the past was stays as it was.
    items = [
        _obligation(row, as_of, rights(row["plan"], row["unit"], row["kind"]) if query.as_of is None else (), today)
        for row in page.rows
    ]
    return render(ObligationPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


def _rights_of(caller: Caller) -> Callable[[str, str, str], tuple[ObligationAction, ...]]:
    """What a caller may do by plan, unit and kind of rule, each asked once: they may hold hundreds of grants."""

    @cache
    def rights(plan: str, unit: str, kind: str) -> tuple[ObligationAction, ...]:
        return obligation_rights(caller.actor, Subject(plan, unit=unit), RuleKind(kind))

    return rights


def _obligation(row: Record, as_of: datetime, rights: tuple[ObligationAction, ...], today: date) -> ObligationRead:
    schedule = decoded(row["schedule"])
    facts = Facts(
        due_at=row["due_at"],
        effective_due_at=row["effective_due_at"],
        lock_at=row["lock_at"],
        submitted_at=row["submitted_at"],
        filed_at=row["filed_at"],
        waived=row["waived"],
    )
    verdict = judge(facts, as_of=as_of, remind_days=schedule["remind_days"])
    period = parse_period(row["period"])
    extension, waiver = decoded(row["extension"]), decoded(row["waiver"])
    # What had not happened at the instant of the question is not shown.
    shown = {name: row[name] if row[name] and row[name] <= as_of else None for name in ("submitted_at", "filed_at")}
    names = ("rule", "plan", "battle", "task", "period", "due_at", "effective_due_at", "lock_at", "rule_version")
    return ObligationRead.model_validate(
        {
            **{name: row[name] for name in (*names, "calendar_version", "provisional")},
            **shown,
            "unit": UnitRef(unit=row["unit"], name=row["unit_name"]),
            "status": verdict.status,
            "late_by_seconds": verdict.late_by_seconds,
            "late_stage": verdict.late_stage,
            "on_time_originally": verdict.on_time_originally,
            "extension": extension,
            "waiver": waiver,
            "explanation": explain(
                verdict,
                facts,
                period=period,
                report=report_name(row["rule_name"]),
                as_of=as_of,
                zone=ZoneInfo(schedule["time_zone"]),
                provisional=row["provisional"],
            ),
            "allowed_actions": obligation_actions(rights, facts, period, now=as_of, today=today),
        }
    )


async def check_deadline(reader: Reader, query: CheckQuery, known: Known, *, now: datetime) -> Rendered:
    """Would a filing at ``query.at`` (default ``now``) be on time?

    Raises:
        UnknownReferenceError: no such rule, a period of another frequency, or a unit that owes no such report then.
        UnknownUnitError: the unit means none.
        AmbiguousError: the rule or the unit means several.
    """
    rule = await rule_in_force(reader, query.rule, query.plan)
    at = query.at or now
    newest = rule.schedule()
    zone = ZoneInfo(newest["time_zone"])
    period = (
        parsed_period(query.period, "/query/period")
        if query.period is not None
        else _period_at(newest, at.astimezone(zone))
    )
    schedule = rule.schedule(period)
    try:
        due = due_of(due_rule(schedule), period)
    except ValueError as error:
        fault = Fault("/query/period", "wrong_period", str(error))
        raise UnknownReferenceError(str(error), faults=[fault]) from None
    unit, original, effective, lock_at = None, due.due_at, due.due_at, due.lock_at
    if query.unit is not None:
        key = await resolve_unit(reader, query.unit, scope=rule.plan)
        owed = await reader.pool.fetch_row(_OWED, unit=key, rule=rule.key, period=period.code, as_of=at)
        if owed is None:
            detail = f"“{query.unit}”在 {period.code} 没有应报的{rule.name}"
            raise UnknownReferenceError(detail, faults=[Fault("/query/unit", "not_owed", detail)])
        unit = UnitRef(unit=owed["code"], name=owed["name"])
        original, effective, lock_at = owed["due_at"], owed["effective_due_at"], owed["lock_at"]
    facts = Facts(due_at=original, effective_due_at=effective, lock_at=lock_at, submitted_at=at, filed_at=at)
    verdict = judge(facts, as_of=at, remind_days=schedule["remind_days"])
    answer = CheckRead(
        rule=rule.code,
        plan=rule.plan,
        unit=unit,
        period=period.code,
        at=at,
        due_at=effective,
        original_due_at=original,
        on_time=verdict.status is ObligationStatus.ON_TIME,
        remaining_seconds=(effective - at) // timedelta(seconds=1),
        provisional=due.provisional,
        explanation=explain(
            verdict, facts, period=period, report=rule.name, as_of=at, zone=zone, provisional=due.provisional
        ),
    )
    return render(answer, known)


def _period_at(schedule: dict[str, Any], at: datetime) -> Period:
    """The period that a filing at a local instant belongs to: the one whose due month it falls in."""
    rule = due_rule(schedule)
    period = period_of(rule.frequency, at.date())
    for _ in range(rule.due_month_offset):
        period = period.previous()
    return period
