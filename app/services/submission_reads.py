"""Submissions as the API shows them: one, a list, the form of a unit, the history, the receipt."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, and_, bindparam, case, cast, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from app.db import Database, Query
from app.domain.actions import submission_actions
from app.domain.permissions import Subject
from app.domain.plan import RuleKind, RuleUnitRole, battle_of, plan_of
from app.domain.workflow import SubmissionAction, SubmissionState
from app.errors import NotFoundError
from app.models import (
    Battle,
    Obligation,
    Observation,
    Plan,
    Rule,
    RuleUnit,
    Submission,
    SubmissionRevision,
    SubmissionTransition,
    Target,
    Task,
    Unit,
)
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.submission import (
    HistoryRead,
    ObservationRead,
    RevisionRead,
    StepRead,
    SubmissionPage,
    SubmissionQuery,
    SubmissionRead,
    WarningRead,
)
from app.schemas.task import UnitRef
from app.services.caller import Caller
from app.services.deadlines import parsed_period
from app.services.draft_reads import note_drafts
from app.services.reader import Reader, decoded, equal_to, key_of, page_request
from app.services.reports import Report, Taken
from app.services.units import resolve_unit
from app.services.visible_rows import draft_rights, seen_conditions, seen_filter, sees_draft

__all__ = [
    "COLUMNS",
    "get_history",
    "get_submission",
    "is_known",
    "list_submissions",
    "missing",
    "note_seen",
    "read_submission",
    "received",
    "subject_of",
    "submission_of",
    "visible_submission",
]

_CERTIFIER = aliased(Unit)
# Whoever may not see the draft of a correction sees what is in force, as if there were none.
_IS_CORRECTED = and_(
    Submission.state == SubmissionState.DRAFT.value,
    Submission.certified_revision.is_not(None),
    ~sees_draft(plan=Submission.plan_id, unit=Submission.unit_id),
)
# Looked up for each by its key: what the planner makes of a join on a revision that depends on the state is that it
# finds hardly any, and so it would sort all that there are before it shows a page.
_SHOWN = (
    select(SubmissionRevision)
    .where(
        SubmissionRevision.task_id == Submission.task_id,
        SubmissionRevision.submission_id == Submission.id,
        SubmissionRevision.revision == case((_IS_CORRECTED, Submission.certified_revision), else_=Submission.revision),
    )
    .correlate(Submission)
    .offset(literal_column("0"))
    .lateral("shown")
)
_IS_OLDER = _SHOWN.c.revision < Submission.revision
_STATE = case((_IS_OLDER, SubmissionState.CERTIFIED.value), else_=Submission.state)
# Every step raises the version by one.
_VERSION = case(
    (
        _IS_OLDER,
        select(func.count())
        .where(
            SubmissionTransition.task_id == Submission.task_id,
            SubmissionTransition.submission_id == Submission.id,
            SubmissionTransition.revision <= _SHOWN.c.revision,
        )
        .correlate(Submission, _SHOWN)
        .scalar_subquery(),
    ),
    else_=Submission.version,
)
_FIGURES = (
    select(
        func.json_agg(
            aggregate_order_by(
                func.json_build_object("target", Target.code, "value", Observation.value), Target.code.collate("C")
            )
        ).label("observations")
    )
    .select_from(Observation)
    .join(Target, Target.id == Observation.target_id)
    .where(
        Observation.task_id == Submission.task_id,
        Observation.submission_id == Submission.id,
        Observation.revision == _SHOWN.c.revision,
    )
    .scalar_subquery()
)
# Who certifies matters only to what was handed in and waits.
_CERTIFIERS = case(
    (
        Submission.state == SubmissionState.SUBMITTED.value,
        select(func.array_agg(_CERTIFIER.code, type_=ARRAY(Text)))
        .select_from(Obligation)
        .join(Rule, (Rule.id == Obligation.rule_id) & (Rule.kind == RuleKind.REPORTING.value))
        .join(RuleUnit, (RuleUnit.rule_id == Rule.id) & (RuleUnit.role == RuleUnitRole.CERTIFIER.value))
        .join(_CERTIFIER, _CERTIFIER.id == RuleUnit.unit_id)
        .where(
            Obligation.unit_id == Submission.unit_id,
            Obligation.task_id == Submission.task_id,
            Obligation.period == Submission.period,
        )
        .correlate(Submission)
        .scalar_subquery(),
    )
)
COLUMNS: Statement = (
    select(
        Submission.id.label("sort_key"),
        Submission.id,
        _VERSION.label("version"),
        Task.code.label("task"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Submission.period,
        _STATE.label("state"),
        _SHOWN.c.revision,
        Submission.certified_revision,
        _SHOWN.c.stage,
        _SHOWN.c.percent_complete,
        _SHOWN.c.progress,
        _SHOWN.c.problems,
        _SHOWN.c.next_steps,
        _SHOWN.c.client_as_of.label("as_of"),
        cast(_SHOWN.c.warnings, Text).label("warnings"),
        _SHOWN.c.submitted_at,
        _SHOWN.c.certified_at,
        _SHOWN.c.content_hash,
        cast(_FIGURES, Text).label("observations"),
        _CERTIFIERS.label("certifiers"),
    )
    .select_from(Submission)
    .join(_SHOWN, true())
    .join(Task, Task.id == Submission.task_id)
    .join(Unit, Unit.id == Submission.unit_id)
    .join(Plan, Plan.id == Submission.plan_id)
    .join(Battle, Battle.id == Submission.battle_id)
)
_LISTING = Listing(
    statement=COLUMNS,
    key=Submission.id,
    sorts={"id": Submission.id},
    conditions={
        "plan": Submission.plan_id == key_of(Plan, "plan"),
        "battle": Submission.battle_id == key_of(Battle, "battle"),
        "task": Submission.task_id == key_of(Task, "task"),
        "unit": Submission.unit_id == bindparam("unit"),
        "period": Submission.period == bindparam("period"),
        "status": bindparam("status") == _STATE,
        **seen_conditions(
            plan=Submission.plan_id,
            unit=Submission.unit_id,
            battle=Submission.battle_id,
            draft=(Submission.state == SubmissionState.DRAFT.value) & Submission.certified_revision.is_(None),
        ),
    },
)
_ID = bindparam("id", type_=Uuid)
_BY_ID = Query(COLUMNS.where(Submission.id == _ID))
# The keys of what is below a submission begin with its task.
_TASK_OF_ID = select(Submission.task_id).where(Submission.id == _ID).scalar_subquery()
_REVISIONS = Query(
    select(
        SubmissionRevision.revision,
        SubmissionRevision.stage,
        SubmissionRevision.percent_complete,
        SubmissionRevision.progress,
        SubmissionRevision.submitted_at,
        SubmissionRevision.certified_at,
        SubmissionRevision.content_hash,
    )
    .where(SubmissionRevision.submission_id == _ID, SubmissionRevision.task_id == _TASK_OF_ID)
    .order_by(SubmissionRevision.revision)
)
_STEPS = Query(
    select(
        SubmissionTransition.revision,
        SubmissionTransition.action,
        SubmissionTransition.to_state,
        SubmissionTransition.at,
        SubmissionTransition.reason,
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
    )
    .join(Unit, Unit.id == SubmissionTransition.actor_unit_id)
    .where(SubmissionTransition.submission_id == _ID, SubmissionTransition.task_id == _TASK_OF_ID)
    .order_by(SubmissionTransition.id)
)
_SAID = ("stage", "percent_complete", "progress", "problems", "next_steps", "as_of")


def etag_of(identity: UUID, version: int, actions: Iterable[SubmissionAction]) -> str:
    """The ETag of a submission: its version rises with every step, and callers differ in what they may do with it."""
    offered = frozenset(actions)
    mask = sum(1 << place for place, action in enumerate(SubmissionAction) if action in offered)
    return f'"{identity.hex}-{version}-{mask}"'


def is_known(identity: UUID, version: int, known: Known) -> bool:
    """Whether one of the ETags is of this version, whatever could be done with it then."""
    return known.anything or any(tag.rpartition("-")[0] == f'"{identity.hex}-{version}' for tag in known.tags)


async def read_submission(db: Database, identity: UUID, caller: Caller) -> tuple[SubmissionRead, str]:
    """A submission as its own transaction sees it, with its ETag."""
    row = await db.fetch_row(_BY_ID, id=identity, **draft_rights(caller.visibility))
    assert row is not None, "it was locked by this transaction"
    shown = submission_of(row, caller)
    return shown, etag_of(identity, row["version"], shown.allowed_actions)


async def get_submission(
    reader: Reader, trail: Database, identity: UUID, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One submission.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    row = await visible_submission(reader, trail, identity, now=now, caller=caller)
    shown = submission_of(row, caller)
    etag = etag_of(identity, row["version"], shown.allowed_actions)
    if etag in known:
        return Rendered(etag, None)
    return Rendered(etag, render(shown, Known(frozenset())).body)


async def visible_submission(reader: Reader, trail: Database, identity: UUID, *, now: datetime, caller: Caller) -> Any:
    """A submission that the caller may see; that they have seen it is put down where it has to be."""
    row = await reader.pool.fetch_row(_BY_ID, id=identity, **draft_rights(caller.visibility))
    if row is None or not caller.sees(subject_of(row)):
        raise missing(identity)
    await note_seen([row], trail, now=now, caller=caller)
    return row


async def note_seen(rows: Iterable[Any], trail: Database, *, now: datetime, caller: Caller) -> None:
    """Put down what of these rows the caller sees as an auditor only, before anything of it is answered."""
    await note_drafts(trail, [(str(row["id"]), subject_of(row)) for row in rows], now=now, caller=caller)


def subject_of(row: Any) -> Subject:
    """What the rules of permission ask of a row of ``task``, ``unit`` and ``state``."""
    draft = row["state"] == SubmissionState.DRAFT.value
    return Subject(plan_of(row["task"]), battle_of(row["task"]), row["unit"], draft)


def missing(identity: UUID) -> NotFoundError:
    """The error for a submission that is not there, or not for the caller to see."""
    return NotFoundError(f"没有进度报送 {identity}")


async def list_submissions(
    reader: Reader, trail: Database, query: SubmissionQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of the submissions that the caller may see, oldest first.

    Raises:
        UnknownUnitError: the unit filter means no unit.
        AmbiguousError: the unit filter means several units.
    """
    filters = equal_to(query, "plan", "task", "battle", "status")
    if query.period is not None:
        filters["period"] = {"period": parsed_period(query.period, "/query/period").code}
    if query.unit is not None:
        scope = query.task or query.battle or query.plan
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=scope)}
    filters |= seen_filter(caller.visibility, drafts=True)
    rights = draft_rights(caller.visibility)
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, rights)
    await note_seen(page.rows, trail, now=now, caller=caller)
    items = [submission_of(row, caller) for row in page.rows]
    return render(SubmissionPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_history(
    reader: Reader, trail: Database, identity: UUID, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """All revisions and steps of a submission that the caller may see.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    newest = (await visible_submission(reader, trail, identity, now=now, caller=caller))["revision"]
    revisions = await reader.pool.fetch(_REVISIONS, id=identity)
    steps = [
        StepRead.model_validate(
            {
                **{name: row[name] for name in ("revision", "action", "to_state", "at", "reason")},
                "by": {"unit": row["unit"], "name": row["unit_name"]},
            }
        )
        for row in await reader.pool.fetch(_STEPS, id=identity)
        if row["revision"] <= newest
    ]
    shown = [RevisionRead.model_validate(dict(row)) for row in revisions if row["revision"] <= newest]
    return render(HistoryRead(id=identity, revisions=shown, steps=steps), known)


def received(report: Report, taken: Taken) -> tuple[SubmissionRead, str]:
    """A report that was just taken in, shown as reading it would show it, with its ETag."""
    assert taken.id is not None, "what is not refused has been taken in"
    assert taken.about.unit is not None, "a unit handed it in"
    unit, said, identity = taken.about.unit, report.said, UUID(taken.id)
    plan, battle = plan_of(report.task), battle_of(report.task)
    shown = SubmissionRead(
        id=identity,
        task=report.task,
        unit=UnitRef(unit=unit.code, name=unit.name),
        plan=plan,
        battle=battle,
        period=report.period,
        state=report.state,
        revision=1,
        certified_revision=None,
        **{name: getattr(said, name) for name in _SAID},
        observations=[
            ObservationRead(target=one.target, value=one.value)
            for one in sorted(said.observations, key=lambda one: one.target)
        ],
        warnings=[WarningRead(code=warning.code, detail=warning.detail) for warning in taken.warnings],
        submitted_at=report.at if report.submit else None,
        certified_at=None,
        content_hash=taken.content_hash,
        allowed_actions=list(
            # Whoever reports for a unit certifies nothing of it, whichever units certify.
            submission_actions(report.caller.actor, report.state, Subject(plan, battle, unit.code), ())
        ),
    )
    return shown, etag_of(identity, 1, shown.allowed_actions)


def submission_of(row: Any, caller: Caller) -> SubmissionRead:
    """A row of :data:`COLUMNS`, with what its reader may do with it."""
    names = set(SubmissionRead.model_fields) - {"unit", "warnings", "observations", "allowed_actions"}
    return SubmissionRead.model_validate(
        {
            **{name: row[name] for name in names},
            "unit": {"unit": row["unit"], "name": row["unit_name"]},
            "warnings": decoded(row["warnings"]),
            "observations": decoded(row["observations"]) or [],
            "allowed_actions": submission_actions(
                caller.actor, SubmissionState(row["state"]), subject_of(row), row["certifiers"] or ()
            ),
        }
    )
