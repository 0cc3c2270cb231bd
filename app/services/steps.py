"""The steps of a submission: edit, submit, certify, return, correct. Each is kept with who, when and why."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, insert, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.periods import parse_period
from app.domain.workflow import SubmissionAction, SubmissionState, apply
from app.domain.workflow import WrongStepError as WrongStep
from app.errors import (
    AppError,
    Fault,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    WrongStepError,
)
from app.models import Obligation, Observation, Submission, SubmissionRevision, SubmissionTransition
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
from app.services.reader import Reader
from app.services.submission_reads import etag_of, read_submission
from app.services.submissions import content_hash, contradictions, figures_of, stored, warnings_of
from app.services.units import resolve_unit

__all__ = [
    "certify_many",
    "certify_submission",
    "correct_submission",
    "edit_submission",
    "return_submission",
    "submit_submission",
]

# A statement of its own, before all else is read: what waited for the lock would go on with what it saw before.
_LOCK = text("SELECT FROM submissions WHERE id = :id FOR UPDATE")
# All at once in one order, that of the form of a unit too, so that no two callers wait for each other.
_LOCK_MANY = text("""
    SELECT s.id, o.unit_id, o.rule_id, o.period_start, o.battle_id, o.effective_due_at, o.lock_at
    FROM submissions s
    JOIN (obligations o JOIN rules r ON r.id = o.rule_id AND r.kind = 'reporting')
        ON o.unit_id = s.unit_id AND o.task_id = s.task_id AND o.period = s.period
    WHERE s.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY s.unit_id, s.period_start, s.task_id
    FOR UPDATE OF s
""")
_CASE = text("""
    SELECT s.task_id, s.id, s.unit_id, s.period, s.period_start, s.state, s.revision, s.certified_revision, s.version,
           t.code AS task, u.code AS unit, p.year, b.percent_complete AS previous_percent,
           o.id AS obligation_id, o.filed_at, greatest(o.lock_at, o.effective_due_at) AS lock_at, v.submitted_at,
           (SELECT array_agg(c.unit_id) FROM rule_units c WHERE c.rule_id = o.rule_id AND c.role = 'certifier')
               AS certifiers
    FROM submissions s
    JOIN tasks t ON t.id = s.task_id
    JOIN units u ON u.id = s.unit_id
    JOIN plans p ON p.id = s.plan_id
    JOIN submission_revisions v ON (v.task_id, v.submission_id, v.revision) = (s.task_id, s.id, s.revision)
    LEFT JOIN LATERAL (
        SELECT o.id, o.filed_at, o.lock_at, o.effective_due_at, o.rule_id FROM obligations o
        JOIN rules r ON r.id = o.rule_id AND r.kind = 'reporting'
        WHERE o.unit_id = s.unit_id AND o.task_id = s.task_id AND o.period = s.period LIMIT 1
    ) o ON true
    LEFT JOIN LATERAL (
        SELECT r.percent_complete FROM submissions x
        JOIN submission_revisions r ON (r.task_id, r.submission_id, r.revision)
                                     = (x.task_id, x.id, coalesce(x.certified_revision, x.revision))
        WHERE x.task_id = s.task_id AND x.unit_id = s.unit_id AND x.period_start < s.period_start
        ORDER BY x.period_start DESC LIMIT 1
    ) b ON true
    WHERE s.id = :id
""")
_FIGURES = text("""
    INSERT INTO observations (task_id, submission_id, revision, target_id, value)
    SELECT :task, :id, :revision, o.target_id, o.value
    FROM jsonb_to_recordset(:observations) AS o(target_id bigint, value numeric)
""").bindparams(bindparam("observations", type_=JSONB))
Answer = tuple[SubmissionRead, str]


async def edit_submission(
    connection: AsyncConnection, identity: UUID, report: ReportWrite, *, match: Known | None, now: datetime
) -> Answer:
    """Replace what a draft, or a report that was returned, says.

    Raises:
        NotFoundError: there is none of this id.
        PreconditionError: it has changed since the caller read it.
        WrongStepError: it is neither a draft nor returned.
        InvalidRequestError: the report contradicts itself.
    """
    case = await _case(connection, identity, match)
    to_state = _to_state(case, SubmissionAction.EDIT)
    kept = await _content(connection, case, report, revision=case.revision)
    observations = kept.pop("observations")
    await connection.execute(update(SubmissionRevision).where(*_revision(case)).values(**kept, submitted_at=None))
    here = (Observation.task_id == case.task_id, Observation.submission_id == identity)
    await connection.execute(delete(Observation).where(*here, Observation.revision == case.revision))
    await _keep_figures(connection, case, case.revision, observations)
    await _step(connection, case, SubmissionAction.EDIT, to_state, actor=case.unit_id, now=now)
    return await read_submission(connection, identity)


async def submit_submission(
    connection: AsyncConnection, identity: UUID, step: SubmitStep, *, match: Known | None, now: datetime
) -> Answer:
    """Hand a draft in.

    Raises:
        NotFoundError, PreconditionError, WrongStepError: as for :func:`edit_submission`.
        InvalidRequestError: the period is locked.
    """
    case = await _case(connection, identity, match)
    to_state = _to_state(case, SubmissionAction.SUBMIT)
    _refuse_locked(case, now)
    await connection.execute(update(SubmissionRevision).where(*_revision(case)).values(submitted_at=now))
    await _obligation(connection, case, submitted_at=now)
    await _step(connection, case, SubmissionAction.SUBMIT, to_state, actor=case.unit_id, now=now, reason=step.reason)
    return await read_submission(connection, identity)


async def certify_submission(
    connection: AsyncConnection,
    reader: Reader,
    identity: UUID,
    step: CertifyStep,
    *,
    match: Known | None,
    now: datetime,
) -> Answer:
    """Confirm the figures, which files the report.

    Raises:
        NotFoundError, PreconditionError, WrongStepError: as for :func:`edit_submission`.
        InvalidRequestError: the unit is not the rule's certifier, or reports these figures itself.
    """
    case = await _case(connection, identity, match)
    to_state = _to_state(case, SubmissionAction.CERTIFY)
    actor = await _certifier(reader, case, step.by)
    await connection.execute(update(SubmissionRevision).where(*_revision(case)).values(certified_at=now))
    await _obligation(connection, case, submitted_at=case.submitted_at, filed_at=now)
    await _step(
        connection,
        case,
        SubmissionAction.CERTIFY,
        to_state,
        actor=actor,
        now=now,
        reason=step.reason,
        certified_revision=case.revision,
    )
    return await read_submission(connection, identity)


async def return_submission(
    connection: AsyncConnection,
    reader: Reader,
    identity: UUID,
    step: ReturnStep,
    *,
    match: Known | None,
    now: datetime,
) -> Answer:
    """Send the figures back with a reason; the certifier never edits them.

    Raises:
        NotFoundError, PreconditionError, WrongStepError, InvalidRequestError: as for :func:`certify_submission`.
    """
    case = await _case(connection, identity, match)
    to_state = _to_state(case, SubmissionAction.RETURN)
    actor = await _certifier(reader, case, step.by)
    await _obligation(connection, case, submitted_at=None)
    await _step(connection, case, SubmissionAction.RETURN, to_state, actor=actor, now=now, reason=step.reason)
    return await read_submission(connection, identity)


async def correct_submission(
    connection: AsyncConnection, identity: UUID, correction: CorrectionCreate, *, match: Known | None, now: datetime
) -> Answer:
    """Open a new revision of a certified report; the certified one stays in force until the new one is certified.

    Raises:
        NotFoundError, PreconditionError, WrongStepError: as for :func:`edit_submission`.
        InvalidRequestError: the report contradicts itself.
    """
    case = await _case(connection, identity, match)
    to_state = _to_state(case, SubmissionAction.CORRECT)
    if correction.submit:
        to_state = apply(to_state, SubmissionAction.SUBMIT)
    revision = case.revision + 1
    kept = await _content(connection, case, correction, revision=revision)
    observations = kept.pop("observations")
    await connection.execute(
        insert(SubmissionRevision).values(
            task_id=case.task_id,
            submission_id=identity,
            revision=revision,
            **kept,
            created_at=now,
            submitted_at=now if correction.submit else None,
        )
    )
    await _keep_figures(connection, case, revision, observations)
    await _step(
        connection,
        case,
        SubmissionAction.CORRECT,
        to_state,
        actor=case.unit_id,
        now=now,
        reason=correction.reason,
        revision=revision,
    )
    return await read_submission(connection, identity)


async def certify_many(
    connection: AsyncConnection, reader: Reader, request: CertificationCreate, *, now: datetime
) -> BatchRead:
    """Confirm many reports, each with its own result; one that cannot be confirmed does not hold up the others."""
    results: list[BatchResult] = []
    step = CertifyStep(by=request.by, reason=request.reason)
    rows = (await connection.execute(_LOCK_MANY, {"ids": request.ids})).all()
    places = {row.id: place for place, row in enumerate(sorted(rows, key=_counted))}
    for index, identity in sorted(enumerate(request.ids), key=lambda item: (places.get(item[1], -1), item[0])):
        try:
            await certify_submission(connection, reader, identity, step, match=None, now=now)
        except AppError as error:
            faults = error.faults or [Fault(f"/body/ids/{index}", error.slug, error.detail)]
            results.append(_result(index, error.status, identity, faults))
        else:
            results.append(_result(index, 200, identity, []))
    results.sort(key=lambda result: result.index)
    accepted = sum(not result.errors for result in results)
    return BatchRead(accepted=accepted, refused=len(results) - accepted, results=results)


def _counted(row: Any) -> tuple[Any, ...]:
    """Orders reports as the triggers of the obligations lock their counts."""
    battle = (row.battle_id is None, row.battle_id or 0)
    return (row.unit_id, row.rule_id, row.period_start, battle, row.effective_due_at, row.lock_at)


def _result(index: int, status: int, identity: UUID, faults: Sequence[Fault]) -> BatchResult:
    errors = [{"pointer": fault.pointer, "code": fault.code, "detail": fault.detail} for fault in faults]
    return BatchResult(index=index, status=status, id=identity, warnings=[], errors=errors)


async def _case(connection: AsyncConnection, identity: UUID, match: Known | None) -> Any:
    """The submission with what its steps need, locked until the transaction ends."""
    await connection.execute(_LOCK, {"id": identity})
    case = (await connection.execute(_CASE, {"id": identity})).one_or_none()
    if case is None:
        raise NotFoundError(f"没有进度报送 {identity}")
    if match is not None and etag_of(identity, case.version) not in match:
        raise PreconditionError("该进度报送已被更改,请重新读取")
    return case


def _to_state(case: Any, action: SubmissionAction) -> SubmissionState:
    try:
        return apply(SubmissionState(case.state), action)
    except WrongStep as error:
        raise WrongStepError(str(error), allowed=[step.value for step in error.allowed]) from None


def _refuse_locked(case: Any, now: datetime) -> None:
    if case.certified_revision is None and case.lock_at is not None and now > case.lock_at:
        detail = f"{case.period} 的补报期限已过,须先批准延期"
        raise InvalidRequestError(detail, faults=[Fault("/path/id", "locked", detail)])


async def _certifier(reader: Reader, case: Any, name: str) -> int:
    unit = await resolve_unit(reader, name, scope=case.task, at="/body")
    if unit == case.unit_id:
        detail = "不得评估认定本单位报送的数据"
    elif unit not in (case.certifiers or []):
        detail = f"“{name}”不是该规则的评估认定单位"
    else:
        return unit
    raise InvalidRequestError(detail, faults=[Fault("/body/by", "not_certifier", detail)])


async def _content(connection: AsyncConnection, case: Any, report: ReportWrite, *, revision: int) -> dict[str, Any]:
    """What a revision keeps of a report, checked."""
    (figures,) = await figures_of(connection, [report], [case])
    faults = contradictions(report, case.task_id, figures)
    if faults:
        raise InvalidRequestError("未接受: " + ";".join(fault.detail for fault in faults[:3]), faults=faults)
    warnings = warnings_of(report, case.year, parse_period(case.period), case.previous_percent, figures)
    kept = stored(report, figures, warnings)
    kept["client_as_of"] = report.as_of
    digest = content_hash(report, task=case.task, unit=case.unit, period=case.period, revision=revision)
    return {**kept, "content_hash": digest}


async def _keep_figures(connection: AsyncConnection, case: Any, revision: int, observations: list[Any]) -> None:
    if observations:
        values = {"task": case.task_id, "id": case.id, "revision": revision, "observations": observations}
        await connection.execute(_FIGURES, values)


def _revision(case: Any) -> list[Any]:
    return [
        SubmissionRevision.task_id == case.task_id,
        SubmissionRevision.submission_id == case.id,
        SubmissionRevision.revision == case.revision,
    ]


async def _obligation(connection: AsyncConnection, case: Any, **instants: datetime | None) -> None:
    """Note on the obligation what happened; once it is filed it stays filed as it was."""
    await connection.execute(
        update(Obligation)
        .where(
            Obligation.unit_id == case.unit_id,
            Obligation.id == case.obligation_id,
            Obligation.filed_at.is_(None),
        )
        .values(**instants)
    )


async def _step(
    connection: AsyncConnection,
    case: Any,
    action: SubmissionAction,
    to_state: SubmissionState,
    *,
    actor: int,
    now: datetime,
    reason: str | None = None,
    **changes: Any,
) -> None:
    values = {"state": to_state.value, "version": case.version + 1, **changes}
    here = (Submission.task_id == case.task_id, Submission.id == case.id)
    await connection.execute(update(Submission).where(*here).values(**values))
    await connection.execute(
        insert(SubmissionTransition).values(
            task_id=case.task_id,
            submission_id=case.id,
            revision=values.get("revision", case.revision),
            action=action.value,
            to_state=to_state.value,
            at=now,
            actor_unit_id=actor,
            reason=reason,
        )
    )
