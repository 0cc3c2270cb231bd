"""Materials received, and counted against what a period asks for."""

from datetime import datetime
from typing import Any

import uuid_utils.compat
from sqlalchemy import Text, bindparam, cast, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import SHANGHAI
from app.domain.periods import Period, period_of
from app.domain.plan import Frequency, RuleKind
from app.errors import Fault, UnknownReferenceError
from app.models import Material, Obligation, Plan, Rule, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.material import MaterialCreate, MaterialPage, MaterialQuery, MaterialRead, MaterialReceipt
from app.services.deadlines import parsed_period, rule_in_force
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.units import resolve_unit

__all__ = ["list_materials", "receive_material"]

_KEY = cast(Material.id, Text)
_COLUMNS: Statement = (
    select(
        _KEY.label("sort_key"),
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
    key=_KEY,
    sorts={"id": _KEY},
    conditions={
        "rule": Rule.code == bindparam("rule"),
        "plan": Rule.plan_id == key_of(Plan, "plan"),
        "unit": Material.unit_id == bindparam("unit"),
        "period": Material.period == bindparam("period"),
    },
)


async def receive_material(
    connection: AsyncConnection, reader: Reader, request: MaterialCreate, *, now: datetime
) -> MaterialReceipt:
    """Take a text in; the one that completes what the period asks for files the obligation.

    Raises:
        UnknownReferenceError: no such rule or period, the rule asks for no material, the unit owes none, the period
            lies ahead, or it is locked and has no extension.
        UnknownUnitError, AmbiguousError: the unit means none or several.
    """
    rule = await rule_in_force(reader, request.rule, request.plan, at="/body")
    kind = (await connection.execute(select(Rule.kind).where(Rule.id == rule.key))).scalar_one()
    if kind != RuleKind.MATERIAL.value:
        raise _refusal("not_material", f"{rule.code}({rule.name})不是材料报送规则", "/body/rule")
    unit = await resolve_unit(reader, request.unit, scope=rule.plan, at="/body")
    today = now.astimezone(SHANGHAI).date()
    newest = rule.schedule()
    period = (
        period_of(Frequency(newest["frequency"]), today)
        if request.period is None
        else parsed_period(request.period, "/body/period")
    )
    here = (Obligation.unit_id == unit, Obligation.rule_id == rule.key, Obligation.period == period.code)
    lock_at = func.greatest(Obligation.lock_at, Obligation.effective_due_at).label("lock_at")
    # Locked, so that of two texts that complete a period at once one is the second.
    owed = (await connection.execute(select(lock_at).where(*here).with_for_update())).one_or_none()
    if owed is None:
        raise _refusal("not_owed", f"“{request.unit}”在 {period.code} 没有应报的{rule.name}")
    if period.start > today:
        raise _refusal("period_ahead", f"{period.code} 尚未开始")
    if now > owed.lock_at:
        raise _refusal("locked", f"{period.code} 的补报期限已过,须先批准延期")
    identity = uuid_utils.compat.uuid7()
    await connection.execute(
        insert(Material).values(
            id=identity,
            unit_id=unit,
            rule_id=rule.key,
            period=period.code,
            period_start=period.start,
            title=request.title,
            content=request.content,
            received_at=now,
        )
    )
    received = await _count(connection, unit, rule.key, period)
    required = int(rule.schedule(period)["minimum_count"])
    if received >= required:
        unfiled = update(Obligation).where(*here, Obligation.filed_at.is_(None))
        await connection.execute(unfiled.values(submitted_at=now, filed_at=now))
    row = (await connection.execute(_COLUMNS.where(Material.id == identity))).mappings().one()
    return MaterialReceipt(**dict(_material(row)), received=received, required=required)


async def list_materials(reader: Reader, query: MaterialQuery, known: Known) -> Rendered:
    """One page of materials, oldest first.

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
        UnknownReferenceError: the period is none.
    """
    filters = equal_to(query, "rule", "plan")
    if query.period is not None:
        filters["period"] = {"period": parsed_period(query.period, "/query/period").code}
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.plan)}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_material(row) for row in page.rows]
    return render(MaterialPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def _count(connection: AsyncConnection, unit: int, rule: int, period: Period) -> int:
    counted = select(func.count()).where(
        Material.unit_id == unit, Material.rule_id == rule, Material.period_start == period.start
    )
    return int((await connection.execute(counted)).scalar_one())


def _refusal(code: str, detail: str, pointer: str = "/body/period") -> UnknownReferenceError:
    return UnknownReferenceError(detail, faults=[Fault(pointer, code, detail)])


def _material(row: Any) -> MaterialRead:
    names = set(MaterialRead.model_fields) - {"unit"}
    unit = {"unit": row["unit"], "name": row["unit_name"]}
    return MaterialRead.model_validate({**{name: row[name] for name in names}, "unit": unit})
