"""Marks for what reports do not tell: each is kept, the newest of an aspect counts."""

from datetime import datetime
from typing import Any

import uuid_utils.compat
from sqlalchemy import DateTime, Uuid, bindparam, exists, or_, select, text
from sqlalchemy.orm import aliased

from app.db import Database, Query
from app.domain.assessment import Aspect
from app.domain.audit import AuditAction
from app.domain.permissions import Capability, Subject, may_assess
from app.models import Battle, Mark, Plan, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, exact, render
from app.schemas.mark import MarkCreate, MarkPage, MarkQuery, MarkRead
from app.schemas.task import UnitRef
from app.services.assessment_scope import assessed_unit, scope_of
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = ["give_mark", "list_marks"]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_LATER = aliased(Mark)
_REPLACED = exists().where(
    _LATER.battle_id == Mark.battle_id,
    _LATER.plan_id == Mark.plan_id,
    _LATER.unit_id == Mark.unit_id,
    _LATER.aspect == Mark.aspect,
    _LATER.marked_at <= _AS_OF,
    or_(_LATER.marked_at > Mark.marked_at, (_LATER.marked_at == Mark.marked_at) & (_LATER.id > Mark.id)),
)
_COLUMNS: Statement = (
    select(
        Mark.id.label("sort_key"),
        Mark.id,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Mark.aspect,
        Mark.value,
        Mark.reason,
        Mark.marked_at,
        Mark.marked_by_name.label("marked_by"),
        _REPLACED.label("replaced"),
    )
    .join(Plan, Plan.id == Mark.plan_id)
    .join(Battle, Battle.id == Mark.battle_id)
    .join(Unit, Unit.id == Mark.unit_id)
    .where(Mark.marked_at <= _AS_OF)
)
_LISTING = Listing(
    statement=_COLUMNS,
    key=Mark.id,
    sorts={"id": Mark.id},
    conditions={
        "plan": Mark.plan_id == key_of(Plan, "plan"),
        "battle": Mark.battle_id == key_of(Battle, "battle"),
        "unit": Mark.unit_id == bindparam("unit"),
        **seen_conditions(plan=Mark.plan_id, unit=Mark.unit_id, battle=Mark.battle_id),
    },
)
_BY_ID = Query(_COLUMNS.where(Mark.id == bindparam("id", type_=Uuid)))
_KEEP = Query(
    text("""
    INSERT INTO marks (id, plan_id, battle_id, unit_id, aspect, value, reason, marked_at, marked_by, marked_by_name)
    VALUES (:id, :plan, :battle, :unit, :aspect, :value, :reason, :now, :by, :by_name)
""")
)


async def give_mark(db: Database, reader: Reader, request: MarkCreate, *, now: datetime, caller: Caller) -> MarkRead:
    """Give a unit a mark for one aspect.

    Raises:
        ForbiddenError: the plan is not one that the caller supervises.
        UnknownReferenceError: no such plan or battle, or the unit leads no task of the battle.
        UnknownUnitError, AmbiguousError: the unit means none or several, or the battle must be named.
    """
    if not may_assess(caller.actor, Subject(request.plan)):
        raise forbidden(caller.actor, Capability.ASSESS, request.plan)
    scope = await scope_of(db, request.plan, request.battle)
    unit = await assessed_unit(db, reader, request.unit, scope)
    identity = uuid_utils.compat.uuid7()
    await db.fetch(
        _KEEP,
        id=identity,
        plan=scope.plan_key,
        battle=scope.battle_key,
        unit=unit["id"],
        aspect=request.aspect,
        value=request.value,
        reason=request.reason,
        now=now,
        by=caller.actor.id,
        by_name=caller.actor.name,
    )
    after = {"aspect": request.aspect, "value": exact(request.value), "reason": request.reason}
    act = Act(AuditAction.ASSESSMENT_MARK, str(identity), scope.plan, unit["code"], after=after)
    await record(db, caller, [act], now=now)
    return _mark(await db.fetch_row(_BY_ID, id=identity, as_of=now))


async def list_marks(reader: Reader, query: MarkQuery, known: Known, *, now: datetime, caller: Caller) -> Rendered:
    """One page of the marks given by ``query.as_of`` (default ``now``) that the caller may see, oldest first.

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    filters: dict[str, dict[str, Any]] = {**equal_to(query, "plan", "battle"), **seen_filter(caller.granted_visibility)}
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.battle or query.plan)}
    always = {"as_of": query.as_of or now}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, always)
    items = [_mark(row) for row in page.rows]
    return render(MarkPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


def _mark(row: Any) -> MarkRead:
    names = ("id", "plan", "battle", "value", "reason", "marked_at", "marked_by")
    return MarkRead(
        **{name: row[name] for name in names},
        unit=UnitRef(unit=row["unit"], name=row["unit_name"]),
        aspect=Aspect(row["aspect"]),
        current=not row["replaced"],
    )
