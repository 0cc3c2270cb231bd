"""What every step of a case has in common: it is locked and judged, taken and kept, put down and told of.

Of two at once the second waits for the lock, and finds what the first has left.
"""

from datetime import datetime, time
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.actions import may_take_case_step
from app.domain.audit import AuditAction
from app.domain.cases import CaseAction, CaseKind, CaseState, apply
from app.domain.events import EventType
from app.domain.permissions import Capability
from app.errors import PreconditionError
from app.rendering import Known
from app.schemas.case import CaseRead
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.case_reads import case_row, is_known, missing_case, read_case, subject_of_case
from app.services.events import NewEvent, emit
from app.services.state_steps import open_steps_named

__all__ = ["Answer", "by", "case_event", "case_for", "take_step"]

Answer: TypeAlias = tuple[CaseRead, str]

# A statement of its own, before all else is read: what waited for the lock would go on with what it saw before.
_LOCK = Query(text("SELECT FROM cases WHERE id = :id FOR UPDATE"))
_STEP = Query(
    text("""
    WITH moved AS (
        UPDATE cases
        SET state = CAST(:to_state AS text), version = version + 1, round = CAST(:round AS int),
            level = CAST(:level AS int), due_on = CAST(:due_on AS date),
            recheck_due_on = CAST(:recheck_due_on AS date), responsible_person = CAST(:responsible_person AS text),
            closed_at = CAST(:closed_at AS timestamptz)
        WHERE id = CAST(:id AS uuid)
    )
    INSERT INTO case_steps (case_id, at, actor, actor_name, action, to_state, reason, reference, passed, due_before,
                            sets_due, round, level, due_on, recheck_due_on, responsible_person, closed_at)
    VALUES (CAST(:id AS uuid), :now, :actor, :actor_name, :action, CAST(:to_state AS text), :reason, :reference,
            CAST(:passed AS bool), CAST(:due_before AS date), CAST(:sets_due AS bool), CAST(:round AS int),
            CAST(:level AS int), CAST(:due_on AS date), CAST(:recheck_due_on AS date),
            CAST(:responsible_person AS text), CAST(:closed_at AS timestamptz))
""")
)
# What others are told of; the rest concerns nobody but whoever does it.
_EVENTS = {
    CaseAction.ASSIGN: EventType.CASE_ASSIGNED,
    CaseAction.REPORT_DONE: EventType.CASE_REPORTED_DONE,
    CaseAction.RETURN: EventType.CASE_RETURNED,
    CaseAction.CLOSE: EventType.CASE_CLOSED,
    CaseAction.REOPEN: EventType.CASE_REOPENED,
    CaseAction.REMIND: EventType.CASE_REMINDED,
    CaseAction.ESCALATE: EventType.CASE_ESCALATED,
}
_CAPABILITIES = {
    CaseAction.EDIT: Capability.REGISTER_CASES,
    CaseAction.RECEIVE: Capability.HANDLE_CASES,
    CaseAction.START: Capability.HANDLE_CASES,
    CaseAction.REPORT_DONE: Capability.HANDLE_CASES,
    CaseAction.ADD_EVIDENCE: Capability.HANDLE_CASES,
}
_STANDING = ("round", "level", "recheck_due_on", "responsible_person", "closed_at")


async def case_for(
    db: Database, identity: UUID, action: CaseAction, match: Known | None, caller: Caller
) -> tuple[Any, CaseState]:
    """A case, locked, that a caller may take a step with, and the state that this leads to.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError: the caller may not take this step.
        PreconditionError: it has changed since the caller read it.
        WrongStepError: its state does not allow this step; the allowed ones are named.
    """
    if not await db.fetch(_LOCK, id=identity):
        raise missing_case(identity)
    case = await case_row(db, identity, caller)
    kind, by_whom = CaseKind(case["kind"]), case["registered_by"]
    if not may_take_case_step(caller.actor, subject_of_case(case), kind, action, by_whom):
        capability = _CAPABILITIES.get(action, Capability.MANAGE_CASES)
        raise forbidden(caller.actor, capability, f"{case['unit_name']}的{kind.label}:{action.label}")
    if match is not None and not is_known(case, match):
        raise PreconditionError("该台账事项已被更改,请重新读取")
    with open_steps_named():
        return case, apply(CaseState(case["state"]), action)


async def take_step(
    db: Database,
    case: Any,
    action: CaseAction,
    to_state: CaseState,
    *,
    now: datetime,
    caller: Caller,
    reason: str | None = None,
    reference: str | None = None,
    changes: dict[str, Any] | None = None,
    passed: bool | None = None,
    was: dict[str, Any] | None = None,
    said: dict[str, Any] | None = None,
    event: EventType | None = None,
) -> Answer:
    """Take a step that was allowed: keep it, put it down, tell of it; ``changes`` are those to how the case stands."""
    stands = {**{name: case[name] for name in _STANDING}, "due_on": case["due_day"], **(changes or {})}
    await db.fetch(
        _STEP,
        id=case["id"],
        action=action.value,
        to_state=to_state.value,
        now=now,
        reason=reason,
        reference=reference,
        passed=passed,
        due_before=case["due_day"],
        sets_due="due_on" in (changes or {}),
        **stands,
        **by(caller),
    )
    shown, etag = await read_case(db, case["id"], now=now, caller=caller)
    name = "change" if action is CaseAction.EDIT else action.value
    act = Act(
        AuditAction(f"case.{name}"),
        str(case["id"]),
        case["plan"],
        shown.unit.unit,
        before={"state": case["state"], "round": case["round"], "level": case["level"], **(was or {})},
        after={
            "state": to_state,
            "reason": reason,
            "reference": reference,
            "passed": passed,
            **{key: stands[key] for key in ("round", "level", "due_on", "responsible_person")},
            **(said or {}),
        },
    )
    await record(db, caller, [act], now=now)
    told = event or _EVENTS.get(action)
    if told is not None:
        await emit(db, [case_event(told, shown, now)])
    return shown, etag


def case_event(kind: EventType, case: CaseRead, now: datetime) -> NewEvent:
    """What others are told of a case."""
    due_at = None if case.due_on is None else datetime.combine(case.due_on, time.max, SHANGHAI)
    return NewEvent(
        kind,
        at=now,
        plan=case.plan,
        battle=case.battle,
        unit=case.unit.unit,
        subject=case.id,
        data={"task": case.task, "kind": case.kind, "level": case.level, "due_at": due_at},
    )


def by(caller: Caller) -> dict[str, str]:
    """Who takes a step, for its row."""
    return {"actor": caller.actor.id, "actor_name": caller.actor.name}
