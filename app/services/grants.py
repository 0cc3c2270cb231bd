"""Decisions about what one unit owes: extensions and waivers, kept with reason, approver and the server's instant."""

from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import case, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.clock import SHANGHAI
from app.errors import Fault, InvalidRequestError, UnknownReferenceError
from app.models import Extension, Obligation, Task, Waiver
from app.schemas.obligation import ExtensionCreate, GrantRead, WaiverCreate
from app.services.deadlines import parsed_period, rule_in_force
from app.services.reader import Reader
from app.services.units import resolve_unit

__all__ = ["grant_extension", "grant_waiver"]


async def grant_extension(
    connection: AsyncConnection, reader: Reader, request: ExtensionCreate, *, now: datetime
) -> GrantRead:
    """Give what one unit owes a later due instant.

    Raises:
        UnknownReferenceError: no such rule, period or task, or the unit owes no such report.
        InvalidRequestError: the new instant is not after the original one.
    """
    owed, scope = await _owed(connection, reader, request)
    latest = max(row.due_at for row in owed)
    if request.due_at <= latest:
        detail = f"延期须晚于原定期限 {latest.astimezone(SHANGHAI).isoformat()}"
        raise InvalidRequestError(detail, faults=[Fault("/body/due_at", "not_later", detail)])
    granted = await _keep(connection, Extension, request, scope, now, due_at=request.due_at)
    await connection.execute(update(Obligation).where(*_matching(scope)).values(effective_due_at=request.due_at))
    return GrantRead(id=granted, obligations=len(owed), granted_at=now)


async def grant_waiver(
    connection: AsyncConnection, reader: Reader, request: WaiverCreate, *, now: datetime
) -> GrantRead:
    """Free one unit of a report; one that is waived already keeps its first instant.

    Raises:
        UnknownReferenceError: no such rule, period or task, or the unit owes no such report.
    """
    owed, scope = await _owed(connection, reader, request)
    granted = await _keep(connection, Waiver, request, scope, now, kind=request.kind.value)
    first = case((Obligation.waived_at.is_(None), now), else_=Obligation.waived_at)
    await connection.execute(update(Obligation).where(*_matching(scope)).values(waived_at=first))
    return GrantRead(id=granted, obligations=len(owed), granted_at=now)


async def _owed(
    connection: AsyncConnection, reader: Reader, request: ExtensionCreate | WaiverCreate
) -> tuple[list[Any], dict[str, Any]]:
    """The obligations a decision is about, locked, and what they have in common."""
    rule = await rule_in_force(reader, request.rule, request.plan, at="/body")
    scope: dict[str, Any] = {
        "unit_id": await resolve_unit(reader, request.unit, scope=rule.plan, at="/body"),
        "rule_id": rule.key,
        "period": parsed_period(request.period, "/body/period").code,
    }
    if request.task is not None:
        scope["task_id"] = await connection.scalar(select(Task.id).where(Task.code == request.task))
        if scope["task_id"] is None:
            detail = f"没有任务 {request.task}"
            raise UnknownReferenceError(detail, faults=[Fault("/body/task", "unknown_task", detail)])
    found = select(Obligation.id, Obligation.due_at).where(*_matching(scope)).with_for_update()
    owed = list((await connection.execute(found)).all())
    if not owed:
        detail = f"“{request.unit}”在 {request.period} 没有这样的应报({rule.name})"
        raise UnknownReferenceError(detail, faults=[Fault("/body/unit", "not_owed", detail)])
    return owed, scope


def _matching(scope: dict[str, Any]) -> list[Any]:
    return [getattr(Obligation, name) == value for name, value in scope.items()]


async def _keep(
    connection: AsyncConnection,
    grant: type[Extension | Waiver],
    request: ExtensionCreate | WaiverCreate,
    scope: dict[str, Any],
    now: datetime,
    **decision: Any,
) -> UUID:
    key = uuid_utils.compat.uuid7()
    await connection.execute(
        insert(grant).values(
            id=key, **scope, **decision, reason=request.reason, approver=request.approver, granted_at=now
        )
    )
    return key
