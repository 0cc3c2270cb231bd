"""Cases of the ledger: registered, and mended until they are assigned; the steps are in ``case_steps``."""

from datetime import datetime
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import text

from app.db import Database, Query
from app.domain.actions import may_register_kind
from app.domain.audit import AuditAction
from app.domain.cases import CaseAction, CaseKind, CaseState
from app.domain.events import EventType
from app.domain.permissions import Capability, Subject
from app.domain.plan import battle_of
from app.errors import Fault, InvalidRequestError, unknown_reference
from app.rendering import Known
from app.schemas.case import CaseCreate, CasePatch, CaseRead
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.case_acts import Answer, by, case_event, case_for, take_step
from app.services.case_reads import read_case
from app.services.events import emit
from app.services.reader import Reader
from app.services.units import unit_named

__all__ = ["edit_case", "register_case"]

_SAID = ("title", "description", "source_ref", "enterprise", "place")
_NAMED = Query(
    text("""
    SELECT p.id AS plan, b.id AS battle, t.id AS task FROM (SELECT) one
    LEFT JOIN plans p ON p.code = CAST(:plan AS text)
    LEFT JOIN battles b ON b.code = CAST(:battle AS text) AND b.plan_id = p.id
    LEFT JOIN tasks t ON t.code = CAST(:task AS text) AND t.battle_id = b.id
""")
)
_REGISTER = Query(
    text("""
    WITH registered AS (
        INSERT INTO cases (id, plan_id, battle_id, task_id, unit_id, kind, title, description, source_ref, enterprise,
                           place, registered_at, registered_by, state, version, round, level)
        VALUES (:id, CAST(:plan AS bigint), CAST(:battle AS bigint), CAST(:task AS bigint), CAST(:unit AS bigint),
                CAST(:kind AS text), :title, :description, :source_ref, :enterprise, :place,
                CAST(:now AS timestamptz), CAST(:actor AS text), 'registered', 1, 1, 0)
        RETURNING id, registered_at, registered_by
    )
    INSERT INTO case_steps (case_id, at, actor, actor_name, action, to_state, sets_due, round, level)
    SELECT id, registered_at, registered_by, :actor_name, 'register', 'registered', false, 1, 0 FROM registered
""")
)
_EDIT = Query(
    text("""
    UPDATE cases SET unit_id = CAST(:unit AS bigint), title = :title, description = :description,
                     source_ref = :source_ref, enterprise = :enterprise, place = :place
    WHERE id = :id
""")
)


async def register_case(
    db: Database, reader: Reader, request: CaseCreate, *, now: datetime, caller: Caller
) -> CaseRead:
    """Put a case into the ledger.

    Raises:
        UnknownReferenceError: no such plan, battle or task, or one that is not of the other.
        UnknownUnitError, AmbiguousError: the unit means none or several.
        InvalidRequestError: the problem of an enterprise names none.
        ForbiddenError: the caller may register no case of this kind for the unit.
    """
    battle = request.battle if request.task is None or request.battle is not None else battle_of(request.task)
    named = await db.fetch_row(_NAMED, plan=request.plan, battle=battle, task=request.task)
    assert named is not None, "it has one row, whatever is found"
    _demand_known("plan", f"没有总体方案 {request.plan}", known=named["plan"] is not None)
    _demand_known(
        "task" if request.battle is None else "battle",
        f"总体方案 {request.plan} 没有仗 {battle}",
        known=battle is None or named["battle"] is not None,
    )
    _demand_known(
        "task", f"仗 {battle} 没有任务 {request.task}", known=request.task is None or named["task"] is not None
    )
    unit = await unit_named(reader, request.unit, scope=request.plan, at="/body")
    _demand_registrar(caller, Subject(request.plan, battle, unit["code"]), request.kind, unit["name"])
    _demand_enterprise(request.kind, request.enterprise)
    identity: UUID = uuid_utils.compat.uuid7()
    said = request.model_dump(include=set(_SAID))
    await db.fetch(
        _REGISTER,
        id=identity,
        plan=named["plan"],
        battle=named["battle"],
        task=named["task"],
        unit=unit["id"],
        kind=request.kind.value,
        now=now,
        **said,
        **by(caller),
    )
    shown, _ = await read_case(db, identity, now=now, caller=caller)
    after = {"kind": request.kind, "battle": battle, "task": request.task, **said}
    act = Act(AuditAction.CASE_REGISTER, str(identity), request.plan, unit["code"], after=after)
    await record(db, caller, [act], now=now)
    await emit(db, [case_event(EventType.CASE_REGISTERED, shown, now)])
    return shown


async def edit_case(
    db: Database,
    reader: Reader,
    identity: UUID,
    patch: CasePatch,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Answer:
    """Mend what a case says, as long as it is not assigned.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for every step (``case_for``).
        UnknownUnitError, AmbiguousError: the unit means none or several.
        InvalidRequestError: the problem of an enterprise names none.
    """
    case, _ = await case_for(db, identity, CaseAction.EDIT, match, caller)
    before = {name: case[name] for name in (*_SAID, "unit")}
    said = {**before, **patch.model_dump(exclude_unset=True)}
    unit = await unit_named(reader, said["unit"], scope=case["plan"], at="/body")
    kind = CaseKind(case["kind"])
    _demand_registrar(caller, Subject(case["plan"], case["battle"], unit["code"]), kind, unit["name"])
    _demand_enterprise(kind, said["enterprise"])
    await db.fetch(_EDIT, **{**said, "unit": unit["id"]}, id=identity)
    after = {**said, "unit": unit["code"]}
    changed = [name for name, value in after.items() if value != before[name]]
    return await take_step(
        db,
        case,
        CaseAction.EDIT,
        CaseState.REGISTERED,
        now=now,
        caller=caller,
        was={name: before[name] for name in changed},
        said={name: after[name] for name in changed},
    )


def _demand_known(field: str, detail: str, *, known: bool) -> None:
    if not known:
        raise unknown_reference(f"/body/{field}", f"unknown_{field}", detail)


def _demand_registrar(caller: Caller, subject: Subject, kind: CaseKind, unit: str) -> None:
    if not may_register_kind(caller.actor, subject, kind):
        raise forbidden(caller.actor, Capability.REGISTER_CASES, f"{unit}的{kind.label}")


def _demand_enterprise(kind: CaseKind, enterprise: str | None) -> None:
    if kind is CaseKind.ENTERPRISE_PROBLEM and enterprise is None:
        detail = "企业问题须写明企业"
        raise InvalidRequestError(detail, faults=[Fault("/body/enterprise", "no_enterprise", detail)])
