"""Obligations: expanded from the rules of a plan, asked for, extended and waived."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, case, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.deadlines import DueRule, due_of
from app.domain.owing import reporters
from app.domain.periods import Period, parse_period, periods_between
from app.domain.plan import AssignmentRole, Frequency, HolidayPolicy, Obligor, UnitKind
from app.domain.workdays import calendar_version
from app.models import Assignment, Battle, Clause, Plan, Rule, RuleVersion, Task, TaskForce, Unit

__all__ = ["brackets_of_tasks", "due_rule", "expand_obligations"]


@dataclass(frozen=True, slots=True)
class _Reporter:
    """A unit that owes reports on a task."""

    task: int
    battle: int
    ordinal: int
    unit: int


@dataclass(frozen=True, slots=True)
class _Force:
    """The task force of a battle, with the unit that houses its office."""

    battle: int
    ordinal: int
    unit: int


# What is due already is history: only what lies ahead follows a change of rule, units or calendar.
_UPSERT = text("""
    INSERT INTO obligations AS o (unit_id, plan_id, battle_id, rule_id, task_id, period, period_start, due_at,
                                  effective_due_at, lock_at, rule_version, calendar_version, provisional)
    SELECT u, :plan, b, :rule, t, p, s::date, d, d, l, v, :calendar, x
    FROM unnest(CAST(:units AS bigint[]), CAST(:battles AS bigint[]), CAST(:tasks AS bigint[]),
                CAST(:periods AS text[]), CAST(:starts AS date[]), CAST(:due AS timestamptz[]),
                CAST(:lock AS timestamptz[]), CAST(:versions AS int[]), CAST(:provisional AS bool[]))
         AS owed (u, b, t, p, s, d, l, v, x)
    -- Only a rule that has never asked for anything asks for what is past.
    WHERE d > :now OR NOT EXISTS (SELECT FROM obligations WHERE rule_id = :rule)
    ON CONFLICT (unit_id, rule_id, period, task_id, battle_id) DO UPDATE
    SET due_at = excluded.due_at, lock_at = excluded.lock_at,
        effective_due_at = CASE WHEN o.effective_due_at = o.due_at THEN excluded.due_at ELSE o.effective_due_at END,
        rule_version = excluded.rule_version, calendar_version = excluded.calendar_version,
        provisional = excluded.provisional
    WHERE o.due_at > :now AND o.filed_at IS NULL
      AND (o.due_at, o.lock_at, o.rule_version, o.provisional)
          IS DISTINCT FROM (excluded.due_at, excluded.lock_at, excluded.rule_version, excluded.provisional)
""")
_PRUNE = text("""
    DELETE FROM obligations o
    WHERE o.rule_id = :rule AND o.due_at > :now AND o.submitted_at IS NULL AND o.waived_at IS NULL
      AND NOT EXISTS (
          SELECT FROM unnest(CAST(:units AS bigint[]), CAST(:battles AS bigint[]), CAST(:tasks AS bigint[]),
                             CAST(:periods AS text[])) AS owed (u, b, t, p)
          WHERE owed.u = o.unit_id AND owed.p = o.period AND owed.t IS NOT DISTINCT FROM o.task_id
            AND owed.b IS NOT DISTINCT FROM o.battle_id)
""")


def due_rule(schedule: dict[str, Any]) -> DueRule:
    """The due rule of a stored schedule."""
    return DueRule(
        frequency=Frequency(schedule["frequency"]),
        due_day=schedule["due_day"],
        due_month_offset=schedule["due_month_offset"],
        # Schedules that were stored before there was such a thing have none.
        due_days_after=schedule.get("due_days_after", 0),
        inclusive=schedule["inclusive"],
        holiday_policy=HolidayPolicy(schedule["holiday_policy"]),
        time_zone=ZoneInfo(schedule["time_zone"]),
        remind_days=schedule["remind_days"],
    )


def brackets_of_tasks() -> Select[Any, Any, Any, Any, Any, Any]:
    """Every unit named in the brackets of tasks, in print order; the bracket of an item comes before its heading's."""
    return (
        select(Task.id, Task.battle_id, Battle.ordinal, Assignment.role, Unit.kind, Assignment.unit_id)
        .join(Battle, Battle.id == Task.battle_id)
        .join(Clause, (Clause.task_id == Task.id) | (Clause.task_group_id == Task.task_group_id))
        .join(Assignment, Assignment.clause_id == Clause.id)
        .join(Unit, Unit.id == Assignment.unit_id)
        .order_by(Task.id, case((Clause.task_id.is_not(None), 0), else_=1), Clause.ordinal, Assignment.position)
    )


async def expand_obligations(connection: AsyncConnection, plan: int, *, now: datetime) -> int:
    """Write every report that the rules of ``plan`` expect; returns how many rows were written or taken back.

    Idempotent. What was due at ``now`` or is filed stays as it is; what lies ahead follows the rules, the units in the
    brackets and the calendar of today. Reports that are no longer owed and not begun go.
    """
    rules = await connection.execute(
        select(Rule.id, Battle.ordinal, RuleVersion.version, RuleVersion.effective_from, RuleVersion.schedule)
        .join(RuleVersion, RuleVersion.rule_id == Rule.id)
        .outerjoin(Battle, Battle.id == Rule.battle_id)
        .where(Rule.plan_id == plan)
        .order_by(Rule.id, RuleVersion.version)
    )
    versions: dict[int, list[Any]] = {}
    for row in rules:
        versions.setdefault(row.id, []).append(row)
    reporting = await _reporters(connection, plan)
    townships = await _townships(connection, plan)
    forces = await _task_forces(connection, plan)
    changed = 0
    for rule, history in versions.items():
        if all(row.schedule["obligor"] is None for row in history):
            continue
        owed = {row.version: _owed(row.schedule, row.ordinal, reporting, townships, forces) for row in history}
        rows = [
            (unit, battle, task, period, version, due_of(due_rule(schedule), period))
            for period, version, schedule in _periods(history)
            for unit, battle, task in owed[version]
        ]
        values = {
            "rule": rule,
            "now": now,
            "units": [unit for unit, *_ in rows],
            "battles": [battle for _, battle, *_ in rows],
            "tasks": [task for _, _, task, *_ in rows],
            "periods": [period.code for *_, period, _, _ in rows],
        }
        upserted = await connection.execute(
            _UPSERT,
            {
                **values,
                "plan": plan,
                "calendar": calendar_version(),
                "starts": [period.start for *_, period, _, _ in rows],
                "due": [due.due_at for *_, due in rows],
                "lock": [due.lock_at for *_, due in rows],
                "versions": [version for *_, version, _ in rows],
                "provisional": [due.provisional for *_, due in rows],
            },
        )
        pruned = await connection.execute(_PRUNE, values)
        changed += upserted.rowcount + pruned.rowcount
    return changed


async def _reporters(connection: AsyncConnection, plan: int) -> list[_Reporter]:
    """Who reports on which task of the plan, in print order."""
    brackets: dict[tuple[int, int, int], list[tuple[AssignmentRole, UnitKind, int]]] = {}
    for task, battle, ordinal, role, kind, unit in await connection.execute(
        brackets_of_tasks().where(Task.plan_id == plan)
    ):
        brackets.setdefault((task, battle, ordinal), []).append((AssignmentRole(role), UnitKind(kind), unit))
    return [
        _Reporter(task, battle, ordinal, unit)
        for (task, battle, ordinal), bracket in brackets.items()
        for unit in reporters(bracket)
    ]


async def _task_forces(connection: AsyncConnection, plan: int) -> list[_Force]:
    """The task forces of the plan, one a battle, each with the unit that houses its office."""
    found = await connection.execute(
        select(Battle.id, Battle.ordinal, TaskForce.office_unit_id)
        .join(TaskForce, TaskForce.battle_id == Battle.id)
        .where(Battle.plan_id == plan)
        .order_by(Battle.ordinal)
    )
    return [_Force(battle, ordinal, unit) for battle, ordinal, unit in found]


async def _townships(connection: AsyncConnection, plan: int) -> list[int]:
    result = await connection.execute(
        select(Unit.id)
        .join(Plan, Plan.region_code == Unit.region_code)
        .where(Plan.id == plan, Unit.kind == UnitKind.TOWNSHIP.value)
        .order_by(Unit.code)
    )
    return list(result.scalars())


def _owed(
    schedule: dict[str, Any],
    ordinal: int | None,
    reporting: Iterable[_Reporter],
    townships: list[int],
    forces: Iterable[_Force],
) -> list[tuple[int, int | None, int | None]]:
    """Unit, battle and task of each report that one period expects; ``ordinal`` is the battle of the rule, if any."""
    if schedule["obligor"] is None:
        return []
    ordinals = set(schedule["battles"]) or ({ordinal} if ordinal is not None else None)
    scope = [item for item in reporting if ordinals is None or item.ordinal in ordinals]
    owed: list[tuple[int, int | None, int | None]]
    match Obligor(schedule["obligor"]):
        case Obligor.TASK_REPORTER:
            owed = [(item.unit, item.battle, item.task) for item in scope]
        case Obligor.LEAD_UNIT:
            owed = [(unit, None, None) for unit in dict.fromkeys(item.unit for item in scope)]
        case Obligor.TASK_FORCE:
            # One unit may house the offices of several: each owes its own.
            owed = [
                (force.unit, force.battle, None) for force in forces if ordinals is None or force.ordinal in ordinals
            ]
    return owed + [(unit, None, None) for unit in (townships if schedule["townships"] else [])]


def _periods(history: list[Any]) -> Iterable[tuple[Period, int, dict[str, Any]]]:
    """Every period that a rule covers, with the version and the schedule in force for it."""
    current = history[-1].schedule
    if current["first_period"] is None or current["last_period"] is None:
        return
    for period in periods_between(parse_period(current["first_period"]), parse_period(current["last_period"])):
        in_force = [row for row in history if row.effective_from <= period.start] or history[:1]
        yield period, in_force[-1].version, in_force[-1].schedule
