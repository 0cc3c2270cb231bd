"""Decisions about what one unit owes: extensions and waivers, kept with reason, approver and the server's instant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.audit import AuditAction
from app.domain.permissions import Capability, Subject, may_grant_extension, may_grant_waiver
from app.errors import Fault, InvalidRequestError, UnknownReferenceError
from app.schemas.obligation import ExtensionCreate, GrantRead, WaiverCreate
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.deadlines import parsed_period, rule_in_force
from app.services.reader import Reader
from app.services.tasks import task_key
from app.services.units import unit_named

__all__ = ["grant_extension", "grant_waiver"]

_MATCHING = """
    unit_id = CAST(:unit AS bigint) AND rule_id = CAST(:rule AS bigint) AND period = CAST(:period AS text)
    AND (CAST(:task AS bigint) IS NULL OR task_id = CAST(:task AS bigint))
"""
_OWED = Query(
    text(f"SELECT due_at, effective_due_at, waived_at FROM obligations WHERE {_MATCHING} ORDER BY id FOR UPDATE")  # noqa: S608 - of constants
)
_EXTEND = Query(
    text(f"""
    WITH kept AS (
        INSERT INTO extensions (unit_id, id, rule_id, task_id, period, due_at, reason, approver, granted_at)
        SELECT CAST(:unit AS bigint), :id, CAST(:rule AS bigint), CAST(:task AS bigint), CAST(:period AS text),
               CAST(:due_at AS timestamptz), :reason, :approver, :now
    )
    UPDATE obligations SET effective_due_at = CAST(:due_at AS timestamptz) WHERE {_MATCHING}
""")  # noqa: S608 - of constants
)
# One that is waived already keeps its first instant.
_WAIVE = Query(
    text(f"""
    WITH kept AS (
        INSERT INTO waivers (unit_id, id, rule_id, task_id, period, kind, reason, approver, granted_at)
        SELECT CAST(:unit AS bigint), :id, CAST(:rule AS bigint), CAST(:task AS bigint), CAST(:period AS text),
               :kind, :reason, :approver, CAST(:now AS timestamptz)
    )
    UPDATE obligations SET waived_at = coalesce(waived_at, CAST(:now AS timestamptz)) WHERE {_MATCHING}
""")  # noqa: S608 - of constants
)


async def grant_extension(
    db: Database, reader: Reader, request: ExtensionCreate, *, now: datetime, caller: Caller
) -> GrantRead:
    """Give what one unit owes a later due instant.

    Raises:
        UnknownReferenceError: no such rule, period or task, or the unit owes no such report.
        ForbiddenError: the plan is not one that the caller supervises.
        InvalidRequestError: the new instant is not after the original one.
    """
    owed, scope, about = await _owed(db, reader, request, caller)
    latest = max(row["due_at"] for row in owed)
    if request.due_at <= latest:
        detail = f"延期须晚于原定期限 {latest.astimezone(SHANGHAI).isoformat()}"
        raise InvalidRequestError(detail, faults=[Fault("/body/due_at", "not_later", detail)])
    granted = _decision(request, scope, now)
    await db.fetch(_EXTEND, **granted, due_at=request.due_at)
    before = {"due_at": sorted({_instant(row["effective_due_at"]) for row in owed})}
    after = {**_decided(request, owed), "due_at": _instant(request.due_at)}
    act = Act(AuditAction.EXTENSION_GRANT, str(granted["id"]), **about, before=before, after=after)
    await record(db, caller, [act], now=now)
    until = f"延至 {request.due_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"
    return GrantRead(
        id=granted["id"],
        obligations=len(owed),
        granted_at=now,
        explanation=_explain(request, f"{until},原定期限仍保留", len(owed)),
    )


async def grant_waiver(
    db: Database, reader: Reader, request: WaiverCreate, *, now: datetime, caller: Caller
) -> GrantRead:
    """Free one unit of a report; one that is waived already keeps its first instant.

    Raises:
        UnknownReferenceError: no such rule, period or task, or the unit owes no such report.
        ForbiddenError: the plan is not one that the caller supervises.
    """
    owed, scope, about = await _owed(db, reader, request, caller)
    granted = _decision(request, scope, now)
    await db.fetch(_WAIVE, **granted, kind=request.kind.value)
    before = {"waived": sum(row["waived_at"] is not None for row in owed)}
    after = {**_decided(request, owed), "kind": request.kind}
    act = Act(AuditAction.WAIVER_GRANT, str(granted["id"]), **about, before=before, after=after)
    await record(db, caller, [act], now=now)
    return GrantRead(
        id=granted["id"],
        obligations=len(owed),
        granted_at=now,
        explanation=_explain(request, f"自此刻起{request.kind.label}", len(owed)),
    )


async def _owed(
    db: Database, reader: Reader, request: ExtensionCreate | WaiverCreate, caller: Caller
) -> tuple[list[Any], dict[str, Any], dict[str, str]]:
    """The obligations a decision is about, locked, and what they have in common: their keys, and plan and unit."""
    rule = await rule_in_force(reader, request.rule, request.plan, at="/body")
    may = may_grant_extension if isinstance(request, ExtensionCreate) else may_grant_waiver
    if not may(caller.actor, Subject(rule.plan)):
        raise forbidden(caller.actor, Capability.GRANT, rule.plan)
    unit = await unit_named(reader, request.unit, scope=rule.plan, at="/body")
    scope: dict[str, Any] = {
        "unit": unit["id"],
        "rule": rule.key,
        "period": parsed_period(request.period, "/body/period").code,
        "task": None,
    }
    if request.task is not None:
        scope["task"] = await task_key(db, request.task)
        if scope["task"] is None:
            detail = f"没有任务 {request.task}"
            raise UnknownReferenceError(detail, faults=[Fault("/body/task", "unknown_task", detail)])
    owed = await db.fetch(_OWED, **scope)
    if not owed:
        detail = f"“{request.unit}”在 {request.period} 没有这样的应报({rule.name})"
        raise UnknownReferenceError(detail, faults=[Fault("/body/unit", "not_owed", detail)])
    return owed, scope, {"plan": rule.plan, "unit": unit["code"]}


def _decided(request: ExtensionCreate | WaiverCreate, owed: Sequence[Any]) -> dict[str, Any]:
    said = {name: getattr(request, name) for name in ("rule", "period", "task", "reason", "approver")}
    return {**said, "obligations": len(owed)}


def _instant(at: datetime) -> str:
    return at.astimezone(SHANGHAI).isoformat()


def _decision(request: ExtensionCreate | WaiverCreate, scope: dict[str, Any], now: datetime) -> dict[str, Any]:
    identity: UUID = uuid_utils.compat.uuid7()
    return {**scope, "id": identity, "reason": request.reason, "approver": request.approver, "now": now}


def _explain(request: ExtensionCreate | WaiverCreate, decided: str, count: int) -> str:
    return f"{request.approver}批准“{request.unit}”{request.period} 的 {count} 条应报{decided};理由:{request.reason}"
