"""Materials received, and counted against what a period asks for."""

import hashlib
from datetime import datetime
from typing import Any

import uuid_utils.compat
from sqlalchemy import Uuid, bindparam, select, text

from app.clock import day_of
from app.db import Database, Query
from app.domain.audit import AuditAction
from app.domain.periods import period_of
from app.domain.permissions import Capability, Subject, may_file_material
from app.domain.plan import Frequency, RuleKind
from app.errors import unknown_reference
from app.models import Material, Plan, Rule, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.material import MaterialCreate, MaterialPage, MaterialQuery, MaterialRead, MaterialReceipt
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.deadlines import parsed_period, rule_in_force
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.units import resolve_unit, unit_named
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = ["list_materials", "receive_material"]

_COLUMNS: Statement = (
    select(
        Material.id.label("sort_key"),
        Material.id,
        Rule.code.label("rule"),
        Plan.code.label("plan"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Material.period,
        Material.title,
        Material.content,
        Material.received_at,
    )
    .join(Rule, Rule.id == Material.rule_id)
    .join(Plan, Plan.id == Rule.plan_id)
    .join(Unit, Unit.id == Material.unit_id)
)
_LISTING = Listing(
    statement=_COLUMNS,
    key=Material.id,
    sorts={"id": Material.id},
    conditions={
        "rule": Rule.code == bindparam("rule"),
        "plan": Rule.plan_id == key_of(Plan, "plan"),
        "unit": Material.unit_id == bindparam("unit"),
        "period": Material.period == bindparam("period"),
        **seen_conditions(plan=Rule.plan_id, unit=Material.unit_id),
    },
)


_KIND = Query(select(Rule.kind).where(Rule.id == bindparam("rule")))
# Locked, so that of two texts that complete a period at once one is the second.
_OWED = Query(
    text("""
    SELECT greatest(lock_at, effective_due_at) AS lock_at FROM obligations
    WHERE unit_id = :unit AND rule_id = :rule AND period = :period FOR UPDATE
""")
)
_KEEP = Query(
    text("""
    INSERT INTO materials (id, unit_id, rule_id, period, period_start, title, content, received_at)
    VALUES (:id, :unit, :rule, :period, :start, :title, :content, :now)
""")
)
_COUNT = Query(
    text("SELECT count(*) FROM materials WHERE unit_id = :unit AND rule_id = :rule AND period_start = :start")
)
_FILE = Query(
    text("""
    UPDATE obligations SET submitted_at = :now, filed_at = :now
    WHERE unit_id = :unit AND rule_id = :rule AND period = :period AND filed_at IS NULL
""")
)
_BY_ID = Query(_COLUMNS.where(Material.id == bindparam("id", type_=Uuid)))


async def receive_material(
    db: Database, reader: Reader, request: MaterialCreate, *, now: datetime, caller: Caller
) -> MaterialReceipt:
    """Take a text in; the one that completes what the period asks for files the obligation.

    Raises:
        UnknownReferenceError: no such rule or period, the rule asks for no material, the unit owes none, the period
            lies ahead, or it is locked and has no extension.
        UnknownUnitError, AmbiguousError: the unit means none or several.
        ForbiddenError: the caller may not file for the unit.
    """
    rule = await rule_in_force(reader, request.rule, request.plan, at="/body")
    if await db.fetch_value(_KIND, rule=rule.key) != RuleKind.MATERIAL.value:
        raise unknown_reference("/body/rule", "not_material", f"{rule.code}({rule.name})不是材料报送规则")
    named = await unit_named(reader, request.unit, scope=rule.plan, at="/body")
    if not may_file_material(caller.actor, Subject(rule.plan, unit=named["code"])):
        raise forbidden(caller.actor, Capability.FILE_MATERIAL, named["name"])
    unit: int = named["id"]
    today = day_of(now)
    newest = rule.schedule()
    period = (
        period_of(Frequency(newest["frequency"]), today)
        if request.period is None
        else parsed_period(request.period, "/body/period")
    )
    here = {"unit": unit, "rule": rule.key, "period": period.code}
    owed = await db.fetch_row(_OWED, **here)
    if owed is None:
        raise unknown_reference("/body/period", "not_owed", f"“{request.unit}”在 {period.code} 没有应报的{rule.name}")
    if period.start > today:
        raise unknown_reference("/body/period", "period_ahead", f"{period.code} 尚未开始")
    if now > owed["lock_at"]:
        raise unknown_reference("/body/period", "locked", f"{period.code} 的补报期限已过,须先批准延期")
    identity = uuid_utils.compat.uuid7()
    said = {"title": request.title, "content": request.content}
    await db.fetch(_KEEP, id=identity, **here, start=period.start, **said, now=now)
    received = await db.fetch_value(_COUNT, unit=unit, rule=rule.key, start=period.start)
    required = int(rule.schedule(period)["minimum_count"])
    if received >= required:
        await db.fetch(_FILE, **here, now=now)
    after = {
        "rule": rule.code,
        "period": period.code,
        "title": request.title,
        "content_hash": hashlib.sha256(request.content.encode()).hexdigest(),
    }
    act = Act(AuditAction.MATERIAL_CREATE, str(identity), rule.plan, named["code"], after=after)
    await record(db, caller, [act], now=now)
    row = await db.fetch_row(_BY_ID, id=identity)
    return MaterialReceipt(**dict(_material(row)), received=received, required=required)


async def list_materials(reader: Reader, query: MaterialQuery, known: Known, *, caller: Caller) -> Rendered:
    """One page of the materials that the caller may see, oldest first.

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
        UnknownReferenceError: the period is none.
    """
    filters = equal_to(query, "rule", "plan")
    if query.period is not None:
        filters["period"] = {"period": parsed_period(query.period, "/query/period").code}
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.plan)}
    page = await _LISTING.page(
        reader.pool, page_request(query, sort=query.sort), {**filters, **seen_filter(caller.visibility)}
    )
    items = [_material(row) for row in page.rows]
    return render(MaterialPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


def _material(row: Any) -> MaterialRead:
    names = set(MaterialRead.model_fields) - {"unit"}
    unit = {"unit": row["unit"], "name": row["unit_name"]}
    return MaterialRead.model_validate({**{name: row[name] for name in names}, "unit": unit})
