"""Appeals against a result: one each, decided by somebody else; what is upheld is settled anew, and the old stays."""

from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import DateTime, Uuid, bindparam, case, literal, select, text

from app.db import Database, Query
from app.domain.actions import appeal_actions
from app.domain.audit import AuditAction
from app.domain.events import EventType
from app.domain.hearing import AppealState
from app.domain.permissions import Capability, Subject, may_answer_assessment, may_assess
from app.errors import ConflictError, ForbiddenError, NotFoundError, WrongStepError
from app.models import Appeal, Assessment, Battle, Plan, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.appeal import AppealCreate, AppealDecide, AppealPage, AppealQuery, AppealRead
from app.schemas.task import UnitRef
from app.services.assessment_schemes import scheme_used
from app.services.assessment_scope import scope_of
from app.services.assessments import settle
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.events import NewEvent, emit
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = ["decide_appeal", "file_appeal", "list_appeals"]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_DECIDED = Appeal.decided_at <= _AS_OF
_STATE = case((_DECIDED, Appeal.state), else_=literal(AppealState.FILED.value))
_COLUMNS: Statement = (
    select(
        Appeal.id.label("sort_key"),
        Appeal.id,
        Appeal.assessment_id.label("assessment"),
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Appeal.text,
        _STATE.label("state"),
        Appeal.filed_at,
        Appeal.filed_by_name.label("filed_by"),
        case((_DECIDED, Appeal.decision_reason)).label("decision_reason"),
        case((_DECIDED, Appeal.decided_at)).label("decided_at"),
        case((_DECIDED, Appeal.decided_by_name)).label("decided_by"),
        case((_DECIDED, Appeal.result_id)).label("result"),
        Appeal.unit_id,
        Assessment.frozen_by.label("settled_by"),
        Assessment.revision,
        Assessment.as_of.label("settled_as_of"),
        Assessment.scheme_id,
        Assessment.judged_at,
    )
    .join(Assessment, Assessment.id == Appeal.assessment_id)
    .join(Plan, Plan.id == Appeal.plan_id)
    .join(Battle, Battle.id == Appeal.battle_id)
    .join(Unit, Unit.id == Appeal.unit_id)
    .where(Appeal.filed_at <= _AS_OF)
)
_LISTING = Listing(
    statement=_COLUMNS,
    key=Appeal.id,
    sorts={"id": Appeal.id},
    conditions={
        "plan": Appeal.plan_id == key_of(Plan, "plan"),
        "battle": Appeal.battle_id == key_of(Battle, "battle"),
        "unit": Appeal.unit_id == bindparam("unit"),
        "assessment": Appeal.assessment_id == bindparam("assessment", type_=Uuid),
        "state": bindparam("state") == _STATE,
        **seen_conditions(plan=Appeal.plan_id, unit=Appeal.unit_id, battle=Appeal.battle_id),
    },
)
_BY_ID = Query(_COLUMNS.where(Appeal.id == bindparam("id", type_=Uuid)))
_LOCK = Query(text("SELECT FROM appeals WHERE id = :id FOR UPDATE"))
_ALONE = Query(text("SELECT pg_advisory_xact_lock(hashtextextended('assessment ' || CAST(:battle AS text), 0))"))
_RESULT = Query(
    text("""
    SELECT a.id, a.plan_id, a.battle_id, a.unit_id, a.revision, p.code AS plan, b.code AS battle, u.code AS unit,
           u.name AS unit_name,
           (SELECT max(n.revision) FROM assessments n
            WHERE n.battle_id = a.battle_id AND n.unit_id = a.unit_id) AS newest
    FROM assessments a
    JOIN plans p ON p.id = a.plan_id JOIN battles b ON b.id = a.battle_id JOIN units u ON u.id = a.unit_id
    WHERE a.id = :id
""")
)
_KEEP = Query(
    text("""
    INSERT INTO appeals (id, assessment_id, plan_id, battle_id, unit_id, text, state, filed_at, filed_by_name)
    VALUES (:id, :assessment, :plan, :battle, :unit, :said, 'filed', :now, :by_name)
    ON CONFLICT (assessment_id) DO NOTHING RETURNING id
""")
)
_DECIDE = Query(
    text("""
    UPDATE appeals SET state = :state, decision_reason = :said, decided_at = :now, decided_by = :by,
                       decided_by_name = :by_name, result_id = :result
    WHERE id = :id
""")
)


async def file_appeal(
    db: Database, assessment: UUID, request: AppealCreate, *, now: datetime, caller: Caller
) -> AppealRead:
    """Take an appeal in against the newest result of a unit.

    Raises:
        NotFoundError: there is no result of this id that the caller may see.
        ForbiddenError: the caller does not report for the unit.
        ConflictError: the result is superseded, or there is an appeal against it.
    """
    result = await db.fetch_row(_RESULT, id=assessment)
    if result is None or not caller.granted_visibility.admits(_subject(result)):
        raise NotFoundError(f"没有考核结果 {assessment}")
    if not may_answer_assessment(caller.actor, _subject(result)):
        raise forbidden(caller.actor, Capability.ANSWER_ASSESSMENTS, result["unit_name"])
    if result["revision"] < result["newest"]:
        raise ConflictError("该结果已被后一版取代,请对最新一版申诉")
    keys = {"plan": result["plan_id"], "battle": result["battle_id"], "unit": result["unit_id"]}
    said = {"said": request.text, "by_name": caller.actor.name}
    identity = uuid_utils.compat.uuid7()
    if not await db.fetch(_KEEP, id=identity, assessment=assessment, **keys, **said, now=now):
        raise ConflictError("该结果已有申诉;每一版结果只能申诉一次")
    after = {"assessment": str(assessment), "revision": result["revision"], "text": request.text}
    act = Act(AuditAction.APPEAL_FILE, str(identity), result["plan"], result["unit"], after=after)
    await record(db, caller, [act], now=now)
    return _appeal(await db.fetch_row(_BY_ID, id=identity, as_of=now), caller, past=False)


async def decide_appeal(
    db: Database, identity: UUID, request: AppealDecide, *, now: datetime, caller: Caller
) -> AppealRead:
    """Decide an appeal; upheld, the unit's result is settled anew: with the figures of then and the marks of now.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError: the plan is not one that the caller supervises, or the caller settled the result.
        WrongStepError: it is decided.
        ConflictError: the result is superseded meanwhile, or a fault of the unit is not decided.
    """
    await db.fetch(_LOCK, id=identity)
    row = await db.fetch_row(_BY_ID, id=identity, as_of=now)
    if row is None or not caller.granted_visibility.admits(_subject(row)):
        raise NotFoundError(f"没有申诉 {identity}")
    if not may_assess(caller.actor, _subject(row)):
        raise forbidden(caller.actor, Capability.ASSESS, row["plan"])
    if row["settled_by"] == caller.actor.id:
        raise ForbiddenError("复核须由定案之外的另一人作出")
    if row["state"] != AppealState.FILED:
        raise WrongStepError(f"{AppealState(row['state']).label}的申诉不能再复核,没有可以采取的步骤", allowed=[])
    upheld = request.decision == AppealState.UPHELD.value
    result = await _settle_anew(db, row, now, caller) if upheld else None
    by = {"by": caller.actor.id, "by_name": caller.actor.name}
    await db.fetch(_DECIDE, id=identity, state=request.decision, said=request.reason, now=now, result=result, **by)
    after = {
        "state": request.decision,
        "reason": request.reason,
        "assessment": str(row["assessment"]),
        "result": None if result is None else str(result),
    }
    before = {"state": row["state"]}
    act = Act(AuditAction.APPEAL_DECIDE, str(identity), row["plan"], row["unit"], before=before, after=after)
    await record(db, caller, [act], now=now)
    where = {"plan": row["plan"], "battle": row["battle"], "unit": row["unit"]}
    event = NewEvent(EventType.APPEAL_DECIDED, at=now, **where, subject=identity, data={"kind": request.decision})
    await emit(db, [event])
    return _appeal(await db.fetch_row(_BY_ID, id=identity, as_of=now), caller, past=False)


async def _settle_anew(db: Database, row: Any, now: datetime, caller: Caller) -> UUID:
    await db.fetch(_ALONE, battle=row["battle"])
    newest = await db.fetch_row(_RESULT, id=row["assessment"])
    if newest is None or newest["newest"] > row["revision"]:
        raise ConflictError("该结果已被后一版取代,申诉不能成立;请维持,由单位对最新一版申诉")
    scope = await scope_of(db, row["plan"], row["battle"])
    # By the scheme that the result was settled by: without one, the default of then.
    scheme = await scheme_used(db, scope, row["scheme_id"], judged_at=row["judged_at"])
    unit, as_of = row["unit_id"], row["settled_as_of"]
    (result,) = await settle(db, scope, scheme, unit=unit, as_of=as_of, now=now, caller=caller, anew=True)
    return result


async def list_appeals(reader: Reader, query: AppealQuery, known: Known, *, now: datetime, caller: Caller) -> Rendered:
    """One page of the appeals filed by ``query.as_of`` (default ``now``) that the caller may see, oldest first.

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    filters: dict[str, dict[str, Any]] = {
        **equal_to(query, "plan", "battle", "state"),
        **seen_filter(caller.granted_visibility),
    }
    if query.assessment is not None:
        filters["assessment"] = {"assessment": query.assessment}
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.battle or query.plan)}
    always = {"as_of": query.as_of or now}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, always)
    items = [_appeal(row, caller, past=query.as_of is not None) for row in page.rows]
    return render(AppealPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


def _subject(row: Any) -> Subject:
    return Subject(row["plan"], row["battle"], row["unit"])


def _appeal(row: Any, caller: Caller, *, past: bool) -> AppealRead:
    state = AppealState(row["state"])
    offered = () if past else appeal_actions(caller.actor, state, _subject(row), settled_by=row["settled_by"])
    names = set(AppealRead.model_fields) - {"unit", "explanation", "allowed_actions"}
    after = {
        AppealState.FILED: "等候定案之外的另一人复核",
        AppealState.UPHELD: "已另出一版结果,原结果保留",
        AppealState.REJECTED: "结果不变",
    }[state]
    return AppealRead.model_validate(
        {
            **{name: row[name] for name in names},
            "unit": UnitRef(unit=row["unit"], name=row["unit_name"]),
            "explanation": f"{row['unit_name']}对考核结果第 {row['revision']} 版的申诉:{state.label},{after}",
            "allowed_actions": list(offered),
        }
    )
