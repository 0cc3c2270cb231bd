"""Figures that came from above after the plan was issued: targets like any other, with the document that gave them.

Their codes go from ``-T101`` on, so that those of the plan's file never meet them.
"""

from datetime import date, datetime
from typing import Any

from pypinyin import Style, lazy_pinyin
from sqlalchemy import bindparam, text

from app.clock import SHANGHAI, day_of
from app.db import Database, Query
from app.domain.actions import figure_actions
from app.domain.audit import AuditAction
from app.domain.events import EventType
from app.domain.owing import reporters
from app.domain.permissions import Capability, Subject, may_give_figure
from app.domain.plan import AssignmentRole, Operator, UnitKind, battle_of, plan_of
from app.domain.search import EntryKind, index_text
from app.errors import (
    ConflictError,
    Fault,
    InvalidRequestError,
    NotFoundError,
    unknown_reference,
)
from app.models import GivenFigure, Target, Task
from app.rendering import Known, Rendered, exact, render
from app.schemas.base import AsOfQuery
from app.schemas.given_figure import FigureCreate, GivenFigureRead, GivenFiguresRead
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.events import NewEvent, emit
from app.services.obligations import brackets_of_tasks
from app.services.reader import Reader
from app.services.targets import target_read, targets_where

__all__ = ["give_figure", "list_figures"]

_FIRST, _LAST = 101, 999
# One after the other: each takes the next number. What only refers to the task, as reports do, need not wait.
_TASK = """
    SELECT t.id, t.plan_id, t.battle_id, t.task_group_id, t.code, t.sort_key, t.title, t.locator, t.upstream_note,
           p.year, p.region_code,
           (SELECT u.code FROM task_forces f JOIN units u ON u.id = f.office_unit_id
            WHERE f.battle_id = t.battle_id) AS office
    FROM tasks t JOIN plans p ON p.id = t.plan_id WHERE t.code = :code
"""
_READ_TASK = Query(text(_TASK))
_LOCK_TASK = Query(text(f"{_TASK} FOR NO KEY UPDATE OF t"))
_NEXT = Query(text("SELECT coalesce(max(ordinal) + 1, 0) FROM targets WHERE task_id = :task"))
_INDICATOR = Query(
    text("""
    SELECT id, code, unit_of_measure, direction, accumulation FROM indicators
    WHERE region_code = :region AND name = :name ORDER BY id LIMIT 1
""")
)
_NEW_INDICATOR = Query(
    text("""
    INSERT INTO indicators (region_code, code, name, unit_of_measure, direction, accumulation)
    VALUES (:region, :code, :name, :unit_of_measure, :direction, :accumulation) RETURNING id
""")
)
_LOCK_INDICATORS = Query(text("SELECT pg_advisory_xact_lock(hashtextextended('indicators of ' || :region, 0))"))
_TAKEN = Query(text("SELECT code FROM indicators WHERE region_code = :region AND starts_with(code, :code)"))
_REPLACED = Query(
    text("""
    SELECT g.target_id, EXISTS (SELECT FROM given_figures l WHERE l.replaces_id = g.target_id) AS superseded
    FROM given_figures g JOIN targets t ON t.id = g.target_id WHERE t.code = :code AND t.task_id = :task
""")
)
_GIVE = Query(
    text("""
    WITH target AS (
        INSERT INTO targets (plan_id, battle_id, task_group_id, task_id, ordinal, code, sort_key, indicator_id,
                             operator, value, value_max, text, locator, due_on, due_printed)
        VALUES (:plan_id, :battle_id, :task_group_id, :task_id, :ordinal, :code, :sort_key, :indicator, :operator,
                CAST(:value AS numeric), CAST(:value_max AS numeric), CAST(:text AS text), :locator, :due_on,
                :due_printed)
        RETURNING id
    )
    INSERT INTO given_figures (target_id, replaces_id, document_number, document_title, document_issuer,
                               document_issued_on, actor, given_at)
    SELECT id, CAST(:replaced AS bigint), CAST(:number AS text), CAST(:title AS text), CAST(:issuer AS text),
           CAST(:issued_on AS date), CAST(:actor AS text), CAST(:now AS timestamptz) FROM target
""")
)
_MAKE_FOUND = Query(
    text("""
    INSERT INTO search_entries (region_code, plan_id, kind, code, sort_key, title, detail, names, pinyin, initials,
                                haystack, grams)
    VALUES (:region, :plan_id, :kind, :code, :sort_key, :title, :detail, CAST(:names AS text[]),
            CAST(:pinyin AS text[]), CAST(:initials AS text[]), :haystack, CAST(:grams AS text[]))
""")
)
_BRACKETS = Query(brackets_of_tasks().where(Task.id == bindparam("task")))
_UNITS = Query(text("SELECT code FROM units WHERE id = ANY(CAST(:units AS bigint[])) ORDER BY code"))
_BY_CODE = targets_where(Target.code == bindparam("code"))
_OF_TASK = targets_where((Target.task_id == bindparam("task")) & GivenFigure.given_at.is_not(None))


async def list_figures(
    reader: Reader, code: str, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The figures that a task had been given by ``query.as_of`` (default ``now``), as they stood then.

    Raises:
        NotFoundError: no task has this code.
    """
    task = await reader.pool.fetch_row(_READ_TASK, code=code)
    if task is None:
        raise NotFoundError(f"没有任务 {code}")
    as_of = query.as_of or now
    rows = [row for row in await reader.pool.fetch(_OF_TASK, task=task["id"]) if row["given_at"] <= as_of]
    there = {row["code"] for row in rows}
    items = [_read(row, there) for row in rows]
    note = task["upstream_note"]
    explained = f"{note};已补登 {len(items)} 个目标值" if note else "该任务不待上级下达,没有补登的目标值"
    subject = Subject(plan_of(code), battle_of(code))
    actions = figure_actions(caller.actor, subject, upstream=note is not None) if query.as_of is None else ()
    answer = GivenFiguresRead(
        task=code, upstream_note=note, items=items, explanation=explained, allowed_actions=list(actions)
    )
    return render(answer, known)


async def give_figure(
    db: Database, code: str, given: FigureCreate, *, now: datetime, caller: Caller
) -> GivenFigureRead:
    """Make a figure that came from above a target of a task.

    Raises:
        NotFoundError: no task has this code.
        ForbiddenError: the caller neither coordinates the battle nor supervises the plan.
        UnknownReferenceError: the task waits for no figures.
        InvalidRequestError: the bounds make no range, the indicator is new and not said to be what, it is another
            than the one known, the document is of a day to come, or what is to be replaced was not given to this task.
        ConflictError: what is to be replaced is replaced already, or the task has as many as there are codes.
    """
    if not may_give_figure(caller.actor, Subject(plan_of(code), battle_of(code))):
        raise forbidden(caller.actor, Capability.GIVE_FIGURES, battle_of(code))
    task = await db.fetch_row(_LOCK_TASK, code=code)
    if task is None:
        raise NotFoundError(f"没有任务 {code}")
    if task["upstream_note"] is None:
        raise unknown_reference("/path/code", "not_upstream", f"任务 {code} 的目标由方案自定,不待上级下达")
    document = given.document
    if document.issued_on > day_of(now):
        raise _refusal("/body/document/issued_on", "not_yet", f"成文日期 {document.issued_on} 尚未到来")
    if (given.operator is Operator.RANGE) != (given.value_max is not None):
        raise _refusal("/body/value_max", "range_has_max", "value_max 须且只须与 operator=range 同时给出")
    if given.value_max is not None and given.value_max <= given.value:
        raise _refusal("/body/value_max", "range_order", "value_max 须大于 value")
    replaced = await _replaced(db, task, given)
    indicator = await _indicator(db, task["region_code"], given)
    ordinal = max(_FIRST, await db.fetch_value(_NEXT, task=task["id"]))
    if ordinal > _LAST:
        raise ConflictError(f"任务 {code} 的目标编码已用完")
    target = {"code": f"{code}-T{ordinal}", "sort_key": f"{task['sort_key']}+T{ordinal:03}"}
    await db.fetch(
        _GIVE,
        **{name: task[name] for name in ("plan_id", "battle_id", "task_group_id", "locator")},
        **target,
        task_id=task["id"],
        ordinal=ordinal,
        indicator=indicator["id"],
        operator=given.operator.value,
        value=given.value,
        value_max=given.value_max,
        text=given.text,
        due_on=given.due_on or date(task["year"], 12, 31),
        due_printed=given.due_on is not None,
        replaced=replaced,
        **document.model_dump(),
        actor=caller.actor.name,
        now=now,
    )
    found = index_text([given.indicator, given.text], [target["code"], given.text, task["title"], document.number])
    await db.fetch(
        _MAKE_FOUND,
        region=task["region_code"],
        plan_id=task["plan_id"],
        kind=EntryKind.TARGET.value,
        **target,
        title=given.indicator,
        detail=given.text,
        **{name: getattr(found, name) for name in ("names", "pinyin", "initials", "haystack", "grams")},
    )
    (row,) = await db.fetch(_BY_CODE, code=target["code"])
    shown = _read(row, {target["code"]})
    act = Act(AuditAction.TARGET_GIVE, target["code"], plan_of(code), after=_audited(shown))
    await record(db, caller, [act], now=now)
    plan, battle, data = plan_of(code), battle_of(code), {"task": code}
    units = await _reporters(db, task)
    await emit(db, [NewEvent(EventType.TARGET_GIVEN, now, plan, battle, unit, None, data) for unit in units])
    return shown


async def _reporters(db: Database, task: Any) -> list[str]:
    """The units that report on a task, who are to know; where it has none, the office of its task force."""
    bracket = [
        (AssignmentRole(row["role"]), UnitKind(row["kind"]), int(row["unit_id"]))
        for row in await db.fetch(_BRACKETS, task=task["id"])
    ]
    units = await db.fetch(_UNITS, units=list(reporters(bracket)))
    return [row["code"] for row in units] or [task["office"]]


async def _replaced(db: Database, task: Any, given: FigureCreate) -> int | None:
    if given.replaces is None:
        return None
    found = await db.fetch_row(_REPLACED, code=given.replaces, task=task["id"])
    if found is None:
        raise _refusal("/body/replaces", "not_given", f"{given.replaces} 不是任务 {task['code']} 补登的目标")
    if found["superseded"]:
        raise ConflictError(f"{given.replaces} 已被后来补登的目标取代,请取代最新的那一个")
    return found["target_id"]


async def _indicator(db: Database, region: str, given: FigureCreate) -> Any:
    """The indicator of this name, made where there is none."""
    await db.fetch(_LOCK_INDICATORS, region=region)
    known = await db.fetch_row(_INDICATOR, region=region, name=given.indicator)
    said = {name: getattr(given, name) for name in ("unit_of_measure", "direction", "accumulation")}
    if known is not None:
        other = [name for name, value in said.items() if value is not None and value != known[name]]
        if other:
            faults = [
                Fault(f"/body/{name}", "other_indicator", f"已有的指标“{given.indicator}”为 {known[name] or '无'}")
                for name in other
            ]
            raise InvalidRequestError(f"与已有的指标“{given.indicator}”不一致,请省略或改用另一名称", faults=faults)
        return known
    lacking = [name for name in ("direction", "accumulation") if said[name] is None]
    if lacking:
        detail = f"“{given.indicator}”是新的指标,须给出方向与口径"
        raise InvalidRequestError(detail, faults=[Fault(f"/body/{name}", "new_indicator", detail) for name in lacking])
    spelt = "".join(lazy_pinyin(given.indicator, style=Style.NORMAL, errors="ignore"))
    stem = "given-" + ("".join(one for one in spelt.lower() if one.isascii() and one.isalnum())[:50] or "indicator")
    taken = {row["code"] for row in await db.fetch(_TAKEN, region=region, code=stem)}
    code = next(code for code in (stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3))) if code not in taken)
    said = {name: None if value is None else str(value) for name, value in said.items()}
    identity = await db.fetch_value(_NEW_INDICATOR, region=region, code=code, name=given.indicator, **said)
    return {"id": identity}


def _read(row: Any, there: set[str]) -> GivenFigureRead:
    """A given target; what was to take its place later than is asked for is not ``there`` yet."""
    shown = target_read(row).model_dump()
    by = shown["given_by"]
    if by["superseded_by"] not in there:
        by["superseded_by"] = None
    document = by["document"]
    explained = f"由{document['issuer']}{document['number']}下达,{row['given_at'].astimezone(SHANGHAI):%Y-%m-%d} 补登"
    if by["replaces"]:
        explained += f",取代 {by['replaces']}"
    if by["superseded_by"]:
        explained += f";已被 {by['superseded_by']} 取代,不再计入"
    return GivenFigureRead.model_validate({**shown, "explanation": explained})


def _audited(shown: GivenFigureRead) -> dict[str, Any]:
    names = {"indicator_name", "operator", "unit_of_measure", "text", "due_on", "given_by"}
    values = {
        name: None if (value := getattr(shown, name)) is None else exact(value) for name in ("value", "value_max")
    }
    return {**shown.model_dump(mode="json", include=names), **values}


def _refusal(pointer: str, code: str, detail: str) -> InvalidRequestError:
    return InvalidRequestError(detail, faults=[Fault(pointer, code, detail)])
