"""Submissions as the API shows them: one, a list, the form of a unit, the history, the receipt."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ARRAY, Text, Uuid, and_, any_, bindparam, case, cast, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.actions import FormAction, form_item_actions, submission_actions
from app.domain.deadlines import Facts, explain, judge, report_name
from app.domain.periods import parse_period
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
    RuleVersion,
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
    FormItem,
    FormRead,
    HistoryRead,
    ObservationRead,
    ReceiptRead,
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
    "get_history",
    "get_receipt",
    "get_submission",
    "is_known",
    "list_submissions",
    "missing",
    "read_form",
    "read_submission",
    "received",
    "subject_of",
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
_COLUMNS: Statement = (
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
    statement=_COLUMNS,
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
_BY_ID = Query(_COLUMNS.where(Submission.id == _ID))
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
_OWED: Statement = (
    select(
        Obligation.due_at,
        Obligation.effective_due_at,
        Obligation.lock_at,
        Obligation.submitted_at,
        Obligation.filed_at,
        Obligation.waived_at,
        Obligation.provisional,
        Obligation.period,
        Rule.code.label("rule"),
        Rule.name.label("rule_name"),
        Task.id.label("task_id"),
        Task.code.label("task"),
        Task.title,
        Submission.id.label("submission"),
        cast(RuleVersion.schedule, Text).label("schedule"),
    )
    .select_from(Obligation)
    .join(Rule, (Rule.id == Obligation.rule_id) & (Rule.kind == RuleKind.REPORTING.value))
    .join(RuleVersion, (RuleVersion.rule_id == Rule.id) & (RuleVersion.version == Obligation.rule_version))
    .join(Task, Task.id == Obligation.task_id)
    .outerjoin(
        Submission,
        (Submission.task_id == Obligation.task_id)
        & (Submission.unit_id == Obligation.unit_id)
        & (Submission.period == Obligation.period),
    )
)
_RECEIPT = Query(_OWED.where(Submission.id == _ID))
_FORM = Query(
    _OWED.where(Obligation.unit_id == bindparam("unit"), Obligation.period == bindparam("period")).order_by(
        Task.sort_key
    )
)
_OF_FORM = Query(_COLUMNS.where(Submission.id == any_(bindparam("ids", type_=ARRAY(Uuid)))))


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
    shown = _submission(row, caller)
    return shown, etag_of(identity, row["version"], shown.allowed_actions)


async def get_submission(
    reader: Reader, trail: Database, identity: UUID, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One submission.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    row = await _visible(reader, trail, identity, now=now, caller=caller)
    shown = _submission(row, caller)
    etag = etag_of(identity, row["version"], shown.allowed_actions)
    if etag in known:
        return Rendered(etag, None)
    return Rendered(etag, render(shown, Known(frozenset())).body)


async def _visible(reader: Reader, trail: Database, identity: UUID, *, now: datetime, caller: Caller) -> Any:
    """A submission that the caller may see; that they have seen it is put down where it has to be."""
    row = await reader.pool.fetch_row(_BY_ID, id=identity, **draft_rights(caller.visibility))
    if row is None or not caller.sees(subject_of(row)):
        raise missing(identity)
    await _note([row], trail, now=now, caller=caller)
    return row


async def _note(rows: Iterable[Any], trail: Database, *, now: datetime, caller: Caller) -> None:
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
    await _note(page.rows, trail, now=now, caller=caller)
    items = [_submission(row, caller) for row in page.rows]
    return render(SubmissionPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def read_form(
    reader: Reader, trail: Database, named: Any, period: str, *, now: datetime, caller: Caller
) -> FormRead:
    """Every task that a unit owes a report on for a period, with its submission or null; those the caller may see.

    Raises:
        NotFoundError: the caller may see nothing of the unit.
    """
    unit, of, today = named["code"], parse_period(period), now.astimezone(SHANGHAI).date()
    owed = [
        row
        for row in await reader.pool.fetch(_FORM, unit=named["id"], period=period)
        if caller.sees(Subject(plan_of(row["task"]), battle_of(row["task"]), unit))
    ]
    if not owed and not (caller.visibility.everything or unit in {scope.unit for scope in caller.visibility.units}):
        raise NotFoundError(f"没有可查阅的{named['name']}月进度表")
    identities = [row["submission"] for row in owed if row["submission"] is not None]
    found = await reader.pool.fetch(_OF_FORM, ids=identities, **draft_rights(caller.visibility))
    seen = [row for row in found if caller.sees(subject_of(row))]
    await _note(seen, trail, now=now, caller=caller)
    submissions = {row["id"]: _submission(row, caller) for row in seen}
    items: list[FormItem] = []
    for row in owed:
        about = {"task": row["task"], "title": row["title"], "due_at": row["effective_due_at"]}
        subject = Subject(plan_of(row["task"]), unit=unit)
        actions = form_item_actions(caller.actor, subject, _facts(row), of, now=now, today=today)
        shown = submissions.get(row["submission"])
        items.append(FormItem(**about, submission=shown, allowed_actions=list(actions)))
    # The form is handed in with those of its tasks that can be.
    whole = [action for action in FormAction if any(action in item.allowed_actions for item in items)]
    return FormRead(
        unit=UnitRef(unit=named["code"], name=named["name"]), period=period, items=items, allowed_actions=whole
    )


async def get_history(
    reader: Reader, trail: Database, identity: UUID, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """All revisions and steps of a submission that the caller may see.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    newest = (await _visible(reader, trail, identity, now=now, caller=caller))["revision"]
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


async def get_receipt(
    reader: Reader, trail: Database, identity: UUID, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """What a unit shows in a dispute: what was received when, against which due instant, with which verdict.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    row = await _visible(reader, trail, identity, now=now, caller=caller)
    owed = await reader.pool.fetch_row(_RECEIPT, id=identity)
    if owed is None:
        raise missing(identity)
    schedule = decoded(owed["schedule"])
    facts = _facts(owed)
    verdict = judge(facts, as_of=now, remind_days=schedule["remind_days"])
    receipt = ReceiptRead.model_validate(
        {
            **{name: row[name] for name in ("id", "task", "period", "revision", "content_hash", "submitted_at")},
            "server_time": now,
            "unit": {"unit": row["unit"], "name": row["unit_name"]},
            "rule": owed["rule"],
            "filed_at": owed["filed_at"],
            "due_at": owed["effective_due_at"],
            "status": verdict.status,
            "late_stage": verdict.late_stage,
            "explanation": explain(
                verdict,
                facts,
                period=parse_period(row["period"]),
                report=report_name(owed["rule_name"]),
                as_of=now,
                zone=ZoneInfo(schedule["time_zone"]),
                provisional=owed["provisional"],
            ),
        }
    )
    # Until it is filed, the time that is left counts down.
    moving = {"server_time"} if owed["filed_at"] else None
    return render(receipt, known, moving=moving)


def _facts(owed: Any) -> Facts:
    names = ("due_at", "effective_due_at", "lock_at", "submitted_at", "filed_at")
    return Facts(**{name: owed[name] for name in names}, waived=owed["waived_at"] is not None)


def received(report: Report, taken: Taken) -> tuple[SubmissionRead, str]:
    """A report that was just taken in, shown as reading it would show it, with its ETag."""
    assert taken.id is not None, "what is not refused has been taken in"
    about, said, identity = taken.about, report.said, UUID(taken.id)
    plan, battle = plan_of(report.task), battle_of(report.task)
    shown = SubmissionRead(
        id=identity,
        task=report.task,
        unit=UnitRef(unit=about["unit"], name=about["unit_name"]),
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
            submission_actions(report.caller.actor, report.state, Subject(plan, battle, about["unit"]), ())
        ),
    )
    return shown, etag_of(identity, 1, shown.allowed_actions)


def _submission(row: Any, caller: Caller) -> SubmissionRead:
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
