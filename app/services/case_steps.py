"""The steps of a case of the ledger, from its assignment until it is closed, and beyond."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import uuid_utils.compat
from sqlalchemy import text

from app.clock import day_of
from app.db import Database, Query
from app.domain.cases import KINDS, CaseAction, CaseKind, apply
from app.domain.events import EventType
from app.errors import Fault, InvalidRequestError
from app.rendering import Known
from app.schemas.case import (
    AssignStep,
    DoneStep,
    EscalateStep,
    EvidenceCreate,
    HandleStep,
    NoteStep,
    ReasonStep,
    RecheckStep,
    ReopenStep,
)
from app.services.caller import Caller
from app.services.case_acts import Answer, case_for, take_step

__all__ = [
    "add_evidence",
    "assign_case",
    "close_case",
    "escalate_case",
    "receive_case",
    "recheck_case",
    "remind_case",
    "reopen_case",
    "report_case_done",
    "return_case",
    "start_case",
    "verify_case",
]

_ADD = Query(
    text("""
    INSERT INTO case_evidence (id, case_id, round, added_at, actor_name, title, reference, sha256, note)
    SELECT e.id, CAST(:case AS uuid), CAST(:round AS int), CAST(:now AS timestamptz), :actor_name,
           e.title, e.reference, e.sha256, e.note
    FROM json_to_recordset(CAST(:evidence AS json)) AS e(id uuid, title text, reference text, sha256 text, note text)
""")
)
_HAS_EVIDENCE = Query(
    text("SELECT EXISTS (SELECT FROM case_evidence WHERE case_id = :id AND round = CAST(:round AS int))")
)


async def assign_case(
    db: Database, identity: UUID, step: AssignStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """交办: give a case to its unit, with a person and a due day.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError: the caller may not take this step.
        PreconditionError: it has changed since the caller read it.
        WrongStepError: its state does not allow this step.
        InvalidRequestError: the due day lies in the past.
    """
    case, to_state = await case_for(db, identity, CaseAction.ASSIGN, match, caller)
    changes = {"due_on": _due(case, step.due_on, now), "responsible_person": step.responsible_person}
    return await take_step(
        db,
        case,
        CaseAction.ASSIGN,
        to_state,
        now=now,
        caller=caller,
        reason=step.note,
        reference=step.reference,
        changes=changes,
    )


async def receive_case(
    db: Database, identity: UUID, step: HandleStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """签收.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
    """
    return await _plain(db, identity, CaseAction.RECEIVE, match=match, now=now, caller=caller, reason=step.note)


async def start_case(
    db: Database, identity: UUID, step: HandleStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """开始办理, again after it was returned.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
    """
    return await _plain(db, identity, CaseAction.START, match=match, now=now, caller=caller, reason=step.note)


async def report_case_done(
    db: Database, identity: UUID, step: DoneStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """报告办结, with what came of it.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
        InvalidRequestError: a case of this kind needs evidence, and there is none of this round.
    """
    case, to_state = await case_for(db, identity, CaseAction.REPORT_DONE, match, caller)
    kind = CaseKind(case["kind"])
    await _add(db, case, step.evidence, now, caller)
    if KINDS[kind].needs_evidence and not await db.fetch_value(_HAS_EVIDENCE, id=identity, round=case["round"]):
        detail = f"{kind.label}报告办结须有佐证:请在 evidence 中给出,或先用 /cases/{identity}/evidence 补充"
        raise InvalidRequestError(detail, faults=[Fault("/body/evidence", "no_evidence", detail)])
    return await take_step(
        db,
        case,
        CaseAction.REPORT_DONE,
        to_state,
        now=now,
        caller=caller,
        reason=step.result,
        said={"evidence": len(step.evidence)},
    )


async def verify_case(
    db: Database, identity: UUID, step: NoteStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """核验: what the unit reported is so.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
    """
    return await _plain(
        db, identity, CaseAction.VERIFY, match=match, now=now, caller=caller, reason=step.note, reference=step.reference
    )


async def return_case(
    db: Database, identity: UUID, step: ReasonStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """退回: it is not so, or not enough; the due day stays.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
    """
    return await _plain(db, identity, CaseAction.RETURN, match=match, now=now, caller=caller, reason=step.reason)


async def close_case(
    db: Database, identity: UUID, step: NoteStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """销号; where the kind asks for it, it is to be looked at again.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
    """
    case, to_state = await case_for(db, identity, CaseAction.CLOSE, match, caller)
    days = KINDS[CaseKind(case["kind"])].recheck_days
    recheck = None if days is None else day_of(now) + timedelta(days=days)
    return await take_step(
        db,
        case,
        CaseAction.CLOSE,
        to_state,
        now=now,
        caller=caller,
        reason=step.note,
        reference=step.reference,
        changes={"closed_at": now, "recheck_due_on": recheck},
    )


async def reopen_case(
    db: Database, identity: UUID, step: ReopenStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """重新立项: another round, with a due day of its own; that of the round before stays in the statistics.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError, InvalidRequestError: as for
            :func:`assign_case`.
    """
    case, to_state = await case_for(db, identity, CaseAction.REOPEN, match, caller)
    changes = _another_round(case, step.due_on, now)
    return await take_step(
        db, case, CaseAction.REOPEN, to_state, now=now, caller=caller, reason=step.reason, changes=changes
    )


async def recheck_case(
    db: Database, identity: UUID, step: RecheckStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """回头看: what is in order stays closed, what is not is reopened.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
        InvalidRequestError: the due day lies in the past, or is given for what is in order.
    """
    case, to_state = await case_for(db, identity, CaseAction.RECHECK, match, caller)
    if step.passed and step.due_on is not None:
        detail = "整改到位的不再有办理期限,请去掉 due_on"
        raise InvalidRequestError(detail, faults=[Fault("/body/due_on", "not_applicable", detail)])
    changes: dict[str, Any] = {"recheck_due_on": None}
    if not step.passed:
        to_state, changes = apply(to_state, CaseAction.REOPEN), _another_round(case, step.due_on, now)
    return await take_step(
        db,
        case,
        CaseAction.RECHECK,
        to_state,
        now=now,
        caller=caller,
        reason=step.reason,
        changes=changes,
        passed=step.passed,
        event=None if step.passed else EventType.CASE_REOPENED,
    )


async def remind_case(
    db: Database, identity: UUID, step: ReasonStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """催办; nothing changes but that it was said.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
    """
    return await _plain(db, identity, CaseAction.REMIND, match=match, now=now, caller=caller, reason=step.reason)


async def escalate_case(
    db: Database, identity: UUID, step: EscalateStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """升级督办, for a reason.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
        InvalidRequestError: the kind has no such level, or it is no higher one.
    """
    case, to_state = await case_for(db, identity, CaseAction.ESCALATE, match, caller)
    kind = CaseKind(case["kind"])
    higher = {one.number: one.name for one in KINDS[kind].levels if one.number > case["level"]}
    if step.level not in higher:
        left = "、".join(f"{number}({name})" for number, name in higher.items()) or "没有更高的级别"
        detail = f"{kind.label}现为 {case['level']} 级,可升至:{left}"
        raise InvalidRequestError(detail, faults=[Fault("/body/level", "not_higher", detail)])
    return await take_step(
        db,
        case,
        CaseAction.ESCALATE,
        to_state,
        now=now,
        caller=caller,
        reason=step.reason,
        changes={"level": step.level},
        said={"level_name": higher[step.level]},
    )


async def add_evidence(
    db: Database, identity: UUID, evidence: EvidenceCreate, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """补充佐证: what it is and where it lies.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`assign_case`.
    """
    case, to_state = await case_for(db, identity, CaseAction.ADD_EVIDENCE, match, caller)
    await _add(db, case, [evidence], now, caller)
    return await take_step(
        db,
        case,
        CaseAction.ADD_EVIDENCE,
        to_state,
        now=now,
        caller=caller,
        reason=evidence.title,
        reference=evidence.reference,
        said=evidence.model_dump(),
    )


async def _plain(
    db: Database,
    identity: UUID,
    action: CaseAction,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
    reason: str | None,
    reference: str | None = None,
) -> Answer:
    """A step that changes nothing but the state."""
    case, to_state = await case_for(db, identity, action, match, caller)
    return await take_step(db, case, action, to_state, now=now, caller=caller, reason=reason, reference=reference)


def _another_round(case: Any, due_on: date | None, now: datetime) -> dict[str, Any]:
    return {
        "round": case["round"] + 1,
        "level": 0,
        "due_on": _due(case, due_on, now),
        "recheck_due_on": None,
        "closed_at": None,
    }


def _due(case: Any, wanted: date | None, now: datetime) -> date:
    """The due day that was asked for, or that of the kind."""
    today = day_of(now)
    if wanted is None:
        return today + timedelta(days=KINDS[CaseKind(case["kind"])].days)
    if wanted < today:
        detail = f"办理期限不能早于当日 {today}"
        raise InvalidRequestError(detail, faults=[Fault("/body/due_on", "past", detail)])
    return wanted


async def _add(db: Database, case: Any, evidence: Sequence[EvidenceCreate], now: datetime, caller: Caller) -> None:
    if evidence:
        rows = [{"id": str(uuid_utils.compat.uuid7()), **one.model_dump()} for one in evidence]
        given = orjson.dumps(rows).decode()
        name = caller.actor.name
        await db.fetch(_ADD, case=case["id"], round=case["round"], now=now, actor_name=name, evidence=given)
