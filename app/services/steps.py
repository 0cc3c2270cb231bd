"""The steps of a submission: edit, submit, certify, return, correct. Each is kept with who, when and why.

One submission or five hundred cost the same round trips: one query locks them, one reads what their steps need, one
statement takes the step with all of them.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from app.db import Database, Query
from app.domain.events import EventType
from app.domain.permissions import Capability, may_certify, may_report, may_return
from app.domain.plan import battle_of, plan_of
from app.domain.roles import Role
from app.domain.workflow import SubmissionAction, SubmissionState, apply
from app.errors import AppError, Fault, InvalidRequestError, PreconditionError
from app.rendering import Known
from app.schemas.submission import (
    BatchRead,
    BatchResult,
    CertificationCreate,
    CertifyStep,
    CorrectionCreate,
    ReportWrite,
    ReturnStep,
    SubmissionRead,
    SubmitStep,
)
from app.services.audit import record
from app.services.caller import Caller, forbidden
from app.services.reader import Reader
from app.services.report_checks import (
    LIMITS,
    points_of,
    previous_of,
)
from app.services.revisions import keep_content
from app.services.state_steps import open_steps_named
from app.services.submission_acts import said, stepped
from app.services.submission_reads import is_known, missing, read_submission, subject_of
from app.services.units import unit_named

__all__ = [
    "certify_many",
    "certify_submission",
    "correct_submission",
    "edit_submission",
    "return_submission",
    "submit_submission",
]

# A statement of its own, before all else is read: what waited for the lock would go on with what it saw before. All in
# one order, that of the form of a unit too, so that no two callers wait for each other.
_LOCK = Query(
    text("""
    SELECT FROM submissions WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY unit_id, period_start, task_id FOR UPDATE
""")
)
_CASES = Query(
    text(f"""
    SELECT s.task_id, s.id, s.unit_id, s.period, s.period_start, s.state, s.revision, s.certified_revision, s.version,
           t.code AS task, u.code AS unit, u.name AS unit_name,
           {LIMITS} AS limits, {points_of("s.task_id", "s.unit_id")} AS points,
           q.submission_id AS previous_id, q.revision AS previous_revision, q.percent_complete AS previous_percent,
           o.id AS obligation_id, greatest(o.lock_at, o.effective_due_at) AS lock_at, r.submitted_at,
           ARRAY(SELECT c.unit_id FROM rule_units c WHERE c.rule_id = o.rule_id AND c.role = 'certifier') AS certifiers
    FROM submissions s
    JOIN tasks t ON t.id = s.task_id
    JOIN units u ON u.id = s.unit_id
    LEFT JOIN submission_revisions r ON (r.task_id, r.submission_id, r.revision) = (s.task_id, s.id, s.revision)
    LEFT JOIN LATERAL (
        SELECT o.id, o.lock_at, o.effective_due_at, o.rule_id, o.rule_version FROM obligations o
        JOIN rules r ON r.id = o.rule_id AND r.kind = 'reporting'
        WHERE o.unit_id = s.unit_id AND o.task_id = s.task_id AND o.period = s.period LIMIT 1
    ) o ON true
    JOIN plans p ON p.id = s.plan_id
    LEFT JOIN rule_versions v ON v.rule_id = o.rule_id AND v.version = o.rule_version
    LEFT JOIN LATERAL ({previous_of("s.task_id", "s.unit_id", "s.period_start")}) q ON true
    WHERE s.id = ANY(CAST(:ids AS uuid[]))
""")  # noqa: S608 - of constants
)
# The obligation notes what is handed in and what is filed; once it is filed it stays filed as it was.
_STEP = Query(
    text("""
    WITH given AS (
        SELECT g.*, CAST(:action AS text) AS action, CAST(:to_state AS text) AS to_state,
               CAST(:now AS timestamptz) AS at, coalesce(CAST(:actor AS bigint), g.unit_id) AS actor
        FROM jsonb_to_recordset(CAST(:steps AS jsonb)) AS g(
            task_id bigint, id uuid, unit_id bigint, obligation_id bigint, revision int, submitted_at timestamptz,
            event text, task text, unit text, plan text, battle text, period text)
    ), moved AS (
        UPDATE submissions s
        SET state = g.to_state, revision = g.revision, version = s.version + 1,
            certified_revision = CASE g.action WHEN 'certify' THEN g.revision ELSE s.certified_revision END
        FROM given g WHERE s.task_id = g.task_id AND s.id = g.id
    ), stamped AS (
        UPDATE submission_revisions r
        SET submitted_at = g.submitted_at, certified_at = CASE g.action WHEN 'certify' THEN g.at END
        FROM given g
        WHERE r.task_id = g.task_id AND r.submission_id = g.id AND r.revision = g.revision
          AND g.action IN ('submit', 'certify')
    ), owed AS (
        UPDATE obligations o
        SET submitted_at = CASE WHEN g.action <> 'return' THEN g.submitted_at END,
            filed_at = CASE g.action WHEN 'certify' THEN g.at END
        FROM given g
        WHERE o.unit_id = g.unit_id AND o.id = g.obligation_id AND o.filed_at IS NULL
          AND g.action IN ('submit', 'certify', 'return')
    ), told AS (
        INSERT INTO outbox (at, type, plan, battle, unit, subject, data)
        SELECT g.at, g.event, g.plan, g.battle, g.unit, g.id,
               json_build_object('task', g.task, 'period', g.period, 'revision', g.revision,
                                 'content_hash', r.content_hash)
        FROM given g
        JOIN submission_revisions r ON (r.task_id, r.submission_id, r.revision) = (g.task_id, g.id, g.revision)
        WHERE g.event IS NOT NULL
    )
    INSERT INTO submission_transitions (task_id, submission_id, revision, action, to_state, at, actor_unit_id, reason)
    SELECT task_id, id, revision, action, to_state, at, actor, CAST(:reason AS text) FROM given ORDER BY task_id, id
""")
)
Answer = tuple[SubmissionRead, str]


async def edit_submission(
    db: Database, identity: UUID, report: ReportWrite, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """Replace what a draft, or a report that was returned, says.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError: the caller may not take this step.
        PreconditionError: it has changed since the caller read it.
        WrongStepError: it is neither a draft nor returned.
        InvalidRequestError: the report contradicts itself.
    """
    case = await _own_case(db, identity, match, caller)
    to_state = _to_state(case, SubmissionAction.EDIT)
    before, _ = await read_submission(db, identity, caller)
    await keep_content(db, case, report, revision=case["revision"], submitted_at=None, now=now)
    await _take_step(db, [case], SubmissionAction.EDIT, to_state, now=now)
    after, etag = await read_submission(db, identity, caller)
    await record(db, caller, [stepped(case, SubmissionAction.EDIT, to_state, said(before), said(after))], now=now)
    return after, etag


async def submit_submission(
    db: Database, identity: UUID, step: SubmitStep, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """Hand a draft in.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`edit_submission`.
        InvalidRequestError: the period is locked.
    """
    case = await _own_case(db, identity, match, caller)
    to_state = _to_state(case, SubmissionAction.SUBMIT)
    _refuse_locked(case, now)
    await _take_step(db, [case], SubmissionAction.SUBMIT, to_state, now=now, reason=step.reason)
    act = stepped(case, SubmissionAction.SUBMIT, to_state, after={"reason": step.reason})
    await record(db, caller, [act], now=now)
    return await read_submission(db, identity, caller)


async def certify_submission(
    db: Database,
    reader: Reader,
    identity: UUID,
    step: CertifyStep,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Answer:
    """Confirm the figures, which files the report.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`edit_submission`.
        InvalidRequestError: the unit is not the rule's certifier, or reports these figures itself.
    """
    return await _judge(db, reader, identity, SubmissionAction.CERTIFY, step, match=match, now=now, caller=caller)


async def return_submission(
    db: Database,
    reader: Reader,
    identity: UUID,
    step: ReturnStep,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Answer:
    """Send the figures back with a reason; the certifier never edits them.

    Raises:
        AppError: as for :func:`certify_submission`.
    """
    return await _judge(db, reader, identity, SubmissionAction.RETURN, step, match=match, now=now, caller=caller)


async def correct_submission(
    db: Database, identity: UUID, correction: CorrectionCreate, *, match: Known | None, now: datetime, caller: Caller
) -> Answer:
    """Open a new revision of a certified report; the certified one stays in force until the new one is certified.

    Raises:
        NotFoundError, ForbiddenError, PreconditionError, WrongStepError: as for :func:`edit_submission`.
        InvalidRequestError: the report contradicts itself.
    """
    case = await _own_case(db, identity, match, caller)
    to_state = _to_state(case, SubmissionAction.CORRECT)
    if correction.submit:
        to_state = apply(to_state, SubmissionAction.SUBMIT)
    revision = case["revision"] + 1
    submitted_at = now if correction.submit else None
    content_hash = await keep_content(db, case, correction, revision=revision, submitted_at=submitted_at, now=now)
    await _take_step(
        db, [case], SubmissionAction.CORRECT, to_state, now=now, reason=correction.reason, revision=revision
    )
    after = {"revision": revision, "reason": correction.reason, "content_hash": content_hash}
    await record(db, caller, [stepped(case, SubmissionAction.CORRECT, to_state, after=after)], now=now)
    return await read_submission(db, identity, caller)


async def certify_many(
    db: Database, reader: Reader, request: CertificationCreate, *, now: datetime, caller: Caller
) -> BatchRead:
    """Confirm many reports, each with its own result; one that cannot be confirmed does not hold up the others.

    Raises:
        UnknownUnitError, AmbiguousError: the certifier means no unit or several.
        ForbiddenError: the caller does not certify for that unit.
        InvalidRequestError: no certifier is named, and the caller certifies for several.
    """
    locked = await _lock(db, request.ids)
    cases = {key: seen for key, case in locked.items() if (seen := _as_seen(case, caller)) is not None}
    actor = await _certifier(reader, request.by, cases, caller)
    results: list[BatchResult] = []
    confirmed: dict[UUID, Any] = {}
    for index, identity in enumerate(request.ids):
        case = cases.get(identity)
        try:
            if case is None:
                raise missing(identity)
            if identity in confirmed:
                case = {**case, "state": SubmissionState.CERTIFIED.value}
            _demand_certifier(case, actor, SubmissionAction.CERTIFY, caller)
            _to_state(case, SubmissionAction.CERTIFY)
            _refuse_certifier(case, actor)
        except AppError as error:
            faults = error.faults or [Fault(f"/body/ids/{index}", error.slug, error.detail)]
            errors = [fault.shown() for fault in faults]
            results.append(BatchResult(index=index, status=error.status, id=identity, warnings=[], errors=errors))
        else:
            confirmed[identity] = case
            results.append(BatchResult(index=index, status=200, id=identity, warnings=[], errors=[]))
    if confirmed:
        await _take_step(
            db,
            list(confirmed.values()),
            SubmissionAction.CERTIFY,
            SubmissionState.CERTIFIED,
            now=now,
            actor=actor["id"],
            reason=request.reason,
        )
        after = {"by": actor["code"], "reason": request.reason}
        acts = [
            stepped(case, SubmissionAction.CERTIFY, SubmissionState.CERTIFIED, after=after)
            for case in confirmed.values()
        ]
        await record(db, caller, acts, now=now)
    return BatchRead(accepted=len(confirmed), refused=len(results) - len(confirmed), results=results)


async def _lock(db: Database, identities: Sequence[UUID]) -> dict[UUID, Any]:
    """The submissions with what their steps need, locked until the transaction ends."""
    await db.fetch(_LOCK, ids=identities)
    return {case["id"]: case for case in await db.fetch(_CASES, ids=identities)}


async def _case(db: Database, identity: UUID, caller: Caller) -> Any:
    case = (await _lock(db, [identity])).get(identity)
    seen = None if case is None else _as_seen(case, caller)
    if seen is None:
        raise missing(identity)
    return seen


def _as_seen(case: Any, caller: Caller) -> Any | None:
    """A submission as its caller sees it: without the draft of a correction, where they see none; ``None``: not."""
    subject = subject_of(case)
    if caller.sees(subject):
        return case
    if case["certified_revision"] is None or not caller.sees(replace(subject, draft=False)):
        return None
    # As what is in force it can be judged no more, whichever version of it they know.
    return {**case, "state": SubmissionState.CERTIFIED.value, "version": None}


async def _own_case(db: Database, identity: UUID, match: Known | None, caller: Caller) -> Any:
    """A submission of a unit that the caller reports for."""
    case = await _case(db, identity, caller)
    if not may_report(caller.actor, subject_of(case)):
        raise forbidden(caller.actor, Capability.REPORT, case["unit_name"])
    _refuse_changed(case, match)
    return case


def _refuse_changed(case: Any, match: Known | None) -> None:
    if match is None or case["version"] is None:
        return
    if not is_known(case["id"], case["version"], match):
        raise PreconditionError("该进度报送已被更改,请重新读取")


def _to_state(case: Any, action: SubmissionAction) -> SubmissionState:
    with open_steps_named():
        return apply(SubmissionState(case["state"]), action)


def _refuse_locked(case: Any, now: datetime) -> None:
    if case["certified_revision"] is None and case["lock_at"] is not None and now > case["lock_at"]:
        detail = f"{case['period']} 的补报期限已过,须先批准延期"
        raise InvalidRequestError(detail, faults=[Fault("/path/id", "locked", detail)])


async def _judge(
    db: Database,
    reader: Reader,
    identity: UUID,
    action: SubmissionAction,
    step: CertifyStep | ReturnStep,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Answer:
    """What the certifier alone may do with what was handed in."""
    case = await _case(db, identity, caller)
    actor = await _certifier(reader, step.by, {identity: case}, caller)
    _demand_certifier(case, actor, action, caller)
    _refuse_changed(case, match)
    to_state = _to_state(case, action)
    _refuse_certifier(case, actor)
    await _take_step(db, [case], action, to_state, now=now, actor=actor["id"], reason=step.reason)
    act = stepped(case, action, to_state, after={"by": actor["code"], "reason": step.reason})
    await record(db, caller, [act], now=now)
    return await read_submission(db, identity, caller)


async def _certifier(reader: Reader, name: str | None, cases: dict[UUID, Any], caller: Caller) -> Any:
    """The unit that the caller certifies for; its name is read in the region of the first submission."""
    scope = next((case["task"] for case in cases.values()), None)
    own = sorted({grant.unit for grant in caller.actor.grants if grant.role is Role.CERTIFIER and grant.unit})
    if name is None and len(own) != 1:
        detail = f"您可代表 {'、'.join(own)} 认定,请用 by 指明其一"
        raise InvalidRequestError(detail, faults=[Fault("/body/by", "missing", detail)])
    unit = await unit_named(reader, own[0] if name is None else name, scope=scope, at="/body")
    if unit["code"] not in own:
        raise forbidden(caller.actor, Capability.CERTIFY, f"代表{unit['name']}")
    return unit


def _demand_certifier(case: Any, unit: Any, action: SubmissionAction, caller: Caller) -> None:
    """Whether the caller may judge the unit's figures at all; which units the rule names is looked at afterwards."""
    subject = replace(subject_of(case), draft=False)
    may = may_certify if action is SubmissionAction.CERTIFY else may_return
    if not may(caller.actor, subject, unit["code"]):
        raise forbidden(caller.actor, Capability.CERTIFY, f"{case['unit_name']}的进度")


def _refuse_certifier(case: Any, unit: Any) -> None:
    if unit["id"] == case["unit_id"]:
        detail = "不得评估认定本单位报送的数据"
    elif unit["id"] not in case["certifiers"]:
        detail = f"“{unit['name']}”不是该规则的评估认定单位"
    else:
        return
    raise InvalidRequestError(detail, faults=[Fault("/body/by", "not_certifier", detail)])


def _event(case: Any, action: SubmissionAction, to_state: SubmissionState) -> EventType | None:
    """What others are told of a step; of a draft, nothing. What follows a certified revision corrects it."""
    match action:
        case SubmissionAction.CERTIFY:
            return EventType.CERTIFIED
        case SubmissionAction.RETURN:
            return EventType.RETURNED
        case SubmissionAction.SUBMIT | SubmissionAction.CORRECT if to_state is SubmissionState.SUBMITTED:
            return EventType.SUBMITTED if case["certified_revision"] is None else EventType.CORRECTED
        case _:
            return None


async def _take_step(
    db: Database,
    cases: Sequence[Any],
    action: SubmissionAction,
    to_state: SubmissionState,
    *,
    now: datetime,
    actor: int | None = None,
    reason: str | None = None,
    revision: int | None = None,
) -> None:
    """Take one step with all ``cases``; without ``actor`` each unit takes it itself."""
    steps = [
        {
            **{name: case[name] for name in ("task_id", "unit_id", "obligation_id", "task", "unit", "period")},
            "id": str(case["id"]),
            "plan": plan_of(case["task"]),
            "battle": battle_of(case["task"]),
            "event": _event(case, action, to_state),
            "revision": revision or case["revision"],
            "submitted_at": now if action is SubmissionAction.SUBMIT else case["submitted_at"],
        }
        for case in cases
    ]
    await db.fetch(
        _STEP,
        steps=orjson.dumps(steps).decode(),
        action=action.value,
        to_state=to_state.value,
        now=now,
        actor=actor,
        reason=reason,
    )
