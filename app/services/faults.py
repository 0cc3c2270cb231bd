"""Faults that are entered against a unit: recorded with evidence, answered, upheld or not. What is upheld counts."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import DateTime, Uuid, and_, bindparam, case, literal, select, text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.actions import fault_actions
from app.domain.assessment import FaultKind
from app.domain.audit import AuditAction
from app.domain.events import EventType
from app.domain.hearing import FaultAction, FaultDecision, FaultState, decide_fault
from app.domain.permissions import Capability, Subject, may_answer_assessment, may_assess
from app.domain.plan import battle_of, plan_of
from app.errors import (
    Fault,
    InvalidRequestError,
    NotFoundError,
    unknown_reference,
)
from app.models import Battle, Plan, ReportingFault, Task, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.base import AsOfQuery
from app.schemas.fault import FaultAnswer, FaultCreate, FaultDecide, FaultPage, FaultQuery, FaultRead
from app.schemas.task import UnitRef
from app.services.assessment_scope import Scope, assessed_unit, scope_of
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.deadlines import parsed_period
from app.services.events import NewEvent, emit
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.state_steps import open_steps_named
from app.services.tasks import task_key
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = ["answer_fault", "decide", "get_fault", "list_faults", "record_fault"]

_TO_ANSWER = timedelta(days=7)
_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_ANSWERED = ReportingFault.answered_at <= _AS_OF
_DECIDED = ReportingFault.decided_at <= _AS_OF
_WITHDRAWN = ReportingFault.withdrawn_at <= _AS_OF
_STATE = case(
    (_WITHDRAWN, literal(FaultState.WITHDRAWN.value)),
    (
        and_(_DECIDED, ReportingFault.state == FaultState.DISMISSED.value),
        literal(FaultState.DISMISSED.value),
    ),
    (_DECIDED, literal(FaultState.UPHELD.value)),
    (_ANSWERED, literal(FaultState.ANSWERED.value)),
    else_=literal(FaultState.RECORDED.value),
)


def _then(condition: Any, *columns: Any) -> list[Any]:
    """What had been said by the instant asked for."""
    return [case((condition, column)).label(column.key) for column in columns]


_COLUMNS: Statement = (
    select(
        ReportingFault.id.label("sort_key"),
        ReportingFault.id,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Task.code.label("task"),
        ReportingFault.period,
        ReportingFault.kind,
        ReportingFault.description,
        ReportingFault.evidence,
        _STATE.label("state"),
        ReportingFault.answer_due_at,
        ReportingFault.recorded_at,
        ReportingFault.recorded_by_name,
        *_then(_ANSWERED, ReportingFault.answer, ReportingFault.answered_at, ReportingFault.answered_by_name),
        *_then(_DECIDED, ReportingFault.decision_reason, ReportingFault.decided_at, ReportingFault.decided_by_name),
        *_then(
            _WITHDRAWN,
            ReportingFault.withdrawal_reason,
            ReportingFault.withdrawn_at,
            ReportingFault.withdrawn_by_name,
        ),
    )
    .join(Plan, Plan.id == ReportingFault.plan_id)
    .join(Battle, Battle.id == ReportingFault.battle_id)
    .join(Unit, Unit.id == ReportingFault.unit_id)
    .outerjoin(Task, Task.id == ReportingFault.task_id)
    .where(ReportingFault.recorded_at <= _AS_OF)
)
_LISTING = Listing(
    statement=_COLUMNS,
    key=ReportingFault.id,
    sorts={"id": ReportingFault.id},
    conditions={
        "plan": ReportingFault.plan_id == key_of(Plan, "plan"),
        "battle": ReportingFault.battle_id == key_of(Battle, "battle"),
        "unit": ReportingFault.unit_id == bindparam("unit"),
        "kind": ReportingFault.kind == bindparam("kind"),
        "state": bindparam("state") == _STATE,
        **seen_conditions(plan=ReportingFault.plan_id, unit=ReportingFault.unit_id, battle=ReportingFault.battle_id),
    },
)
_BY_ID = Query(_COLUMNS.where(ReportingFault.id == bindparam("id", type_=Uuid)))
_LOCK = Query(text("SELECT FROM faults WHERE id = :id FOR UPDATE"))
_KEEP = Query(
    text("""
    INSERT INTO faults (id, plan_id, battle_id, unit_id, task_id, period, kind, description, evidence, state,
                        answer_due_at, recorded_at, recorded_by, recorded_by_name)
    VALUES (:id, :plan, :battle, :unit, :task, :period, :kind, :description, :evidence, 'recorded',
            :answer_due_at, :now, :by, :by_name)
""")
)
_ANSWER = Query(
    text("""
    UPDATE faults SET state = :state, answer = :said, answered_at = :now, answered_by_name = :by_name WHERE id = :id
""")
)
_DECIDE = Query(
    text("""
    UPDATE faults SET state = :state, decision_reason = :said, decided_at = :now, decided_by_name = :by_name
    WHERE id = :id
""")
)
_WITHDRAW = Query(
    text("""
    UPDATE faults SET state = :state, withdrawal_reason = :said, withdrawn_at = :now, withdrawn_by_name = :by_name
    WHERE id = :id
""")
)


async def record_fault(
    db: Database, reader: Reader, request: FaultCreate, *, now: datetime, caller: Caller
) -> FaultRead:
    """Enter a fault against a unit, which has until ``answer_due_at`` to answer.

    Raises:
        ForbiddenError: the plan is not one that the caller supervises.
        UnknownReferenceError: no such plan, battle, task or period, or the unit leads no task of the battle.
        UnknownUnitError, AmbiguousError: the unit means none or several, or the battle must be named.
        InvalidRequestError: the time to answer is over before it began.
    """
    if not may_assess(caller.actor, Subject(request.plan)):
        raise forbidden(caller.actor, Capability.ASSESS, request.plan)
    scope = await scope_of(db, request.plan, _battle(request))
    unit = await assessed_unit(db, reader, request.unit, scope)
    task = await _task(db, request, scope)
    period = None if request.period is None else parsed_period(request.period, "/body/period").code
    answer_due_at = request.answer_due_at or now + _TO_ANSWER
    if answer_due_at <= now:
        detail = "申辩期限须晚于现在"
        raise InvalidRequestError(detail, faults=[Fault("/body/answer_due_at", "not_later", detail)])
    identity: UUID = uuid_utils.compat.uuid7()
    said = {"kind": request.kind, "description": request.description, "evidence": request.evidence, "period": period}
    await db.fetch(
        _KEEP,
        id=identity,
        plan=scope.plan_key,
        battle=scope.battle_key,
        unit=unit["id"],
        task=task,
        answer_due_at=answer_due_at,
        now=now,
        by=caller.actor.id,
        by_name=caller.actor.name,
        **said,
    )
    after = {**said, "task": request.task, "answer_due_at": answer_due_at.astimezone(SHANGHAI).isoformat()}
    act = Act(AuditAction.FAULT_RECORD, str(identity), scope.plan, unit["code"], after=after)
    await record(db, caller, [act], now=now)
    kept = await db.fetch_row(_BY_ID, id=identity, as_of=now)
    await emit(db, [_event(EventType.FAULT_RECORDED, kept, now)])
    return _fault(kept, caller, now)


async def answer_fault(
    db: Database, identity: UUID, answer: FaultAnswer, *, now: datetime, caller: Caller
) -> FaultRead:
    """Take down what the unit says to it, once.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError: the caller does not report for the unit.
        WrongStepError: it is answered already, or decided.
    """
    row = await _locked(db, identity, now, caller)
    if not may_answer_assessment(caller.actor, _subject(row)):
        raise forbidden(caller.actor, Capability.ANSWER_ASSESSMENTS, row["unit_name"])
    state = _to_state(row, FaultAction.ANSWER, now)
    await db.fetch(_ANSWER, id=identity, state=state.value, said=answer.text, now=now, by_name=caller.actor.name)
    return await _stepped(db, row, AuditAction.FAULT_ANSWER, state, answer.text, now=now, caller=caller)


async def decide(db: Database, identity: UUID, decision: FaultDecide, *, now: datetime, caller: Caller) -> FaultRead:
    """Uphold or dismiss a fault, or withdraw what was upheld.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError: the plan is not one that the caller supervises.
        WrongStepError: it is decided already, or the unit has still time to answer.
    """
    row = await _locked(db, identity, now, caller)
    if not may_assess(caller.actor, _subject(row)):
        raise forbidden(caller.actor, Capability.ASSESS, row["plan"])
    state = _to_state(row, decision.decision, now)
    change = _WITHDRAW if decision.decision is FaultDecision.WITHDRAWN else _DECIDE
    await db.fetch(change, id=identity, state=state.value, said=decision.reason, now=now, by_name=caller.actor.name)
    shown = await _stepped(db, row, AuditAction.FAULT_DECIDE, state, decision.reason, now=now, caller=caller)
    await emit(db, [_event(EventType.FAULT_DECIDED, row, now)])
    return shown


async def list_faults(reader: Reader, query: FaultQuery, known: Known, *, now: datetime, caller: Caller) -> Rendered:
    """One page of the faults entered by ``query.as_of`` (default ``now``) that the caller may see, oldest first.

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    filters: dict[str, dict[str, Any]] = {
        **equal_to(query, "plan", "battle", "kind", "state"),
        **seen_filter(caller.granted_visibility),
    }
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.battle or query.plan)}
    always = {"as_of": query.as_of or now}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, always)
    items = [_fault(row, caller, None if query.as_of is not None else now) for row in page.rows]
    return render(FaultPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_fault(
    reader: Reader, identity: UUID, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One fault as it stood at ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: there was none of this id that the caller may see.
    """
    row = await _seen(reader.pool, identity, query.as_of or now, caller)
    return render(_fault(row, caller, None if query.as_of is not None else now), known)


def _battle(request: FaultCreate) -> str | None:
    """The battle that is named, or that of the task.

    Raises:
        UnknownReferenceError: the task is of another battle, or of another plan.
    """
    if request.task is None:
        return request.battle
    wrong_plan = plan_of(request.task) != request.plan
    if wrong_plan or request.battle not in {None, battle_of(request.task)}:
        raise unknown_reference(
            "/body/task", "unknown_task", f"任务 {request.task} 不属于 {request.plan if wrong_plan else request.battle}"
        )
    return battle_of(request.task)


async def _task(db: Database, request: FaultCreate, scope: Scope) -> int | None:
    if request.task is None:
        return None
    key = await task_key(db, request.task)
    if key is None:
        raise unknown_reference("/body/task", "unknown_task", f"{scope.battle_name}没有任务 {request.task}")
    return key


async def _seen(db: Database, identity: UUID, as_of: datetime, caller: Caller) -> Any:
    row = await db.fetch_row(_BY_ID, id=identity, as_of=as_of)
    if row is None or not caller.granted_visibility.admits(_subject(row)):
        raise NotFoundError(f"没有登记的过错 {identity}")
    return row


async def _locked(db: Database, identity: UUID, now: datetime, caller: Caller) -> Any:
    # A statement of its own, before it is read: what waited for the lock would go on with what it saw before.
    await db.fetch(_LOCK, id=identity)
    return await _seen(db, identity, now, caller)


def _to_state(row: Any, step: FaultAction | FaultDecision, now: datetime) -> FaultState:
    with open_steps_named():
        return decide_fault(FaultState(row["state"]), step, answer_time_over=now > row["answer_due_at"])


async def _stepped(
    db: Database, row: Any, action: AuditAction, state: FaultState, said: str, *, now: datetime, caller: Caller
) -> FaultRead:
    before, after = {"state": row["state"]}, {"state": state.value, "kind": row["kind"], "reason": said}
    act = Act(action, str(row["id"]), row["plan"], row["unit"], before=before, after=after)
    await record(db, caller, [act], now=now)
    return _fault(await db.fetch_row(_BY_ID, id=row["id"], as_of=now), caller, now)


def _event(kind: EventType, row: Any, now: datetime) -> NewEvent:
    data = {"task": row["task"], "period": row["period"], "kind": row["kind"], "due_at": row["answer_due_at"]}
    return NewEvent(
        kind,
        at=now,
        plan=row["plan"],
        battle=row["battle"],
        unit=row["unit"],
        subject=row["id"],
        data=data,
    )


def _subject(row: Any) -> Subject:
    return Subject(row["plan"], row["battle"], row["unit"])


def _fault(row: Any, caller: Caller, now: datetime | None) -> FaultRead:
    """A fault as it is shown; at another instant than ``now`` nothing can be done with it."""
    state = FaultState(row["state"])
    offered: tuple[FaultAction, ...] = ()
    if now is not None:
        offered = fault_actions(caller.actor, state, _subject(row), answer_time_over=now > row["answer_due_at"])
    same = ("id", "plan", "battle", "task", "period", "kind", "description", "evidence", "answer_due_at", "recorded_at")
    said = ("answer", "answered_at", "decision_reason", "decided_at", "withdrawal_reason", "withdrawn_at")
    named = {f"{step}_by": row[f"{step}_by_name"] for step in ("recorded", "answered", "decided", "withdrawn")}
    return FaultRead.model_validate(
        {
            **{name: row[name] for name in (*same, *said)},
            **named,
            "unit": UnitRef(unit=row["unit"], name=row["unit_name"]),
            "state": state,
            "counts": state is FaultState.UPHELD,
            "explanation": _explain(row, state),
            "allowed_actions": list(offered),
        }
    )


def _explain(row: Any, state: FaultState) -> str:
    about = "".join(f" {row[name]}" for name in ("task", "period") if row[name] is not None)
    kind = FaultKind(row["kind"])
    counts = {
        FaultState.UPHELD: "计入考核",
        FaultState.RECORDED: f"申辩期限为 {row['answer_due_at'].astimezone(SHANGHAI):%Y-%m-%d %H:%M},尚不计入",
        FaultState.ANSWERED: "等候认定,尚不计入",
    }.get(state, "不计入考核")
    return f"{row['unit_name']}{about and about + ' '}的{kind.label}{state.label},{counts}"
