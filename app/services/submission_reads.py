"""Submissions as the API shows them: one, a list, the form of a unit, the history, the receipt."""

from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ARRAY, BigInteger, Text, Uuid, any_, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.db import Database, Query
from app.domain.deadlines import Facts, explain, judge, report_name
from app.domain.periods import parse_period
from app.domain.plan import RuleKind, battle_of, plan_of
from app.domain.workflow import SubmissionState, allowed
from app.errors import NotFoundError
from app.models import (
    Battle,
    Obligation,
    Observation,
    Plan,
    Rule,
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
from app.services.deadlines import parsed_period
from app.services.reader import Reader, decoded, equal_to, key_of, page_request
from app.services.submissions import Report, Taken
from app.services.units import resolve_unit

__all__ = [
    "etag_of",
    "get_form",
    "get_history",
    "get_receipt",
    "get_submission",
    "list_submissions",
    "read_submission",
    "received",
]

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
        Observation.revision == Submission.revision,
    )
    .scalar_subquery()
)
_COLUMNS: Statement = (
    select(
        cast(Submission.id, Text).label("sort_key"),
        Submission.id,
        Submission.version,
        Task.code.label("task"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Submission.period,
        Submission.state,
        Submission.revision,
        Submission.certified_revision,
        SubmissionRevision.stage,
        SubmissionRevision.percent_complete,
        SubmissionRevision.progress,
        SubmissionRevision.problems,
        SubmissionRevision.next_steps,
        SubmissionRevision.client_as_of.label("as_of"),
        cast(SubmissionRevision.warnings, Text).label("warnings"),
        SubmissionRevision.submitted_at,
        SubmissionRevision.certified_at,
        SubmissionRevision.content_hash,
        cast(_FIGURES, Text).label("observations"),
    )
    .join(
        SubmissionRevision,
        (SubmissionRevision.task_id == Submission.task_id)
        & (SubmissionRevision.submission_id == Submission.id)
        & (SubmissionRevision.revision == Submission.revision),
    )
    .join(Task, Task.id == Submission.task_id)
    .join(Unit, Unit.id == Submission.unit_id)
    .join(Plan, Plan.id == Submission.plan_id)
    .join(Battle, Battle.id == Submission.battle_id)
)
_KEY = cast(Submission.id, Text)
_LISTING = Listing(
    statement=_COLUMNS,
    key=_KEY,
    sorts={"id": _KEY},
    conditions={
        "plan": Submission.plan_id == key_of(Plan, "plan"),
        "battle": Submission.battle_id == key_of(Battle, "battle"),
        "task": Submission.task_id == key_of(Task, "task"),
        "unit": Submission.unit_id == bindparam("unit"),
        "period": Submission.period == bindparam("period"),
        "status": Submission.state == bindparam("status"),
    },
)
_BY_ID = Query(_COLUMNS.where(Submission.id == bindparam("id", type_=Uuid)))
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
    .where(SubmissionRevision.submission_id == bindparam("id", type_=Uuid))
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
    .where(SubmissionTransition.submission_id == bindparam("id", type_=Uuid))
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
_RECEIPT = Query(_OWED.where(Submission.id == bindparam("id", type_=Uuid)))
_FORM = Query(
    _OWED.where(Obligation.unit_id == bindparam("unit"), Obligation.period == bindparam("period")).order_by(
        Task.sort_key
    )
)
_OF_FORM = Query(_COLUMNS.where(Submission.id == any_(bindparam("ids", type_=ARRAY(Uuid)))))
_UNIT = Query(select(Unit.id, Unit.code, Unit.name).where(Unit.id == bindparam("unit", type_=BigInteger)))


_SAID = ("stage", "percent_complete", "progress", "problems", "next_steps", "as_of")


def etag_of(identity: UUID, version: int) -> str:
    """The ETag of a submission: its version rises with every step."""
    return f'"{identity.hex}-{version}"'


async def read_submission(db: Database, identity: UUID) -> tuple[SubmissionRead, str]:
    """A submission as its own transaction sees it, with its ETag."""
    row = await db.fetch_row(_BY_ID, id=identity)
    assert row is not None, "it was locked by this transaction"
    return _submission(row), etag_of(identity, row["version"])


async def get_submission(reader: Reader, identity: UUID, known: Known) -> Rendered:
    """One submission.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = await reader.pool.fetch_row(_BY_ID, id=identity)
    if row is None:
        raise NotFoundError(f"没有进度报送 {identity}")
    etag = etag_of(identity, row["version"])
    if etag in known:
        return Rendered(etag, None)
    return Rendered(etag, render(_submission(row), Known(frozenset())).body)


async def list_submissions(reader: Reader, query: SubmissionQuery, known: Known) -> Rendered:
    """One page of submissions, oldest first.

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
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_submission(row) for row in page.rows]
    return render(SubmissionPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_form(reader: Reader, unit: int, period: str, known: Known) -> Rendered:
    """Every task that a unit owes a report on for a period, with its submission or null."""
    named = await reader.pool.fetch_row(_UNIT, unit=unit)
    assert named is not None, "the key was resolved from the unit's name"
    owed = await reader.pool.fetch(_FORM, unit=unit, period=period)
    identities = [row["submission"] for row in owed if row["submission"] is not None]
    submissions = {row["id"]: _submission(row) for row in await reader.pool.fetch(_OF_FORM, ids=identities)}
    form = FormRead(
        unit=UnitRef(unit=named["code"], name=named["name"]),
        period=period,
        items=[
            FormItem(
                task=row["task"],
                title=row["title"],
                due_at=row["effective_due_at"],
                submission=submissions.get(row["submission"]),
            )
            for row in owed
        ],
    )
    return render(form, known)


async def get_history(reader: Reader, identity: UUID, known: Known) -> Rendered:
    """All revisions and steps of a submission.

    Raises:
        NotFoundError: there is none of this id.
    """
    revisions = await reader.pool.fetch(_REVISIONS, id=identity)
    if not revisions:
        raise NotFoundError(f"没有进度报送 {identity}")
    steps = [
        StepRead.model_validate(
            {
                **{name: row[name] for name in ("revision", "action", "to_state", "at", "reason")},
                "by": {"unit": row["unit"], "name": row["unit_name"]},
            }
        )
        for row in await reader.pool.fetch(_STEPS, id=identity)
    ]
    shown = [RevisionRead.model_validate(dict(row)) for row in revisions]
    return render(HistoryRead(id=identity, revisions=shown, steps=steps), known)


async def get_receipt(reader: Reader, identity: UUID, known: Known, *, now: datetime) -> Rendered:
    """What a unit shows in a dispute: what was received when, against which due instant, with which verdict.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = await reader.pool.fetch_row(_BY_ID, id=identity)
    owed = await reader.pool.fetch_row(_RECEIPT, id=identity)
    if row is None or owed is None:
        raise NotFoundError(f"没有进度报送 {identity}")
    schedule = decoded(owed["schedule"])
    names = ("due_at", "effective_due_at", "lock_at", "submitted_at", "filed_at")
    facts = Facts(**{name: owed[name] for name in names}, waived=owed["waived_at"] is not None)
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


def received(report: Report, taken: Taken) -> tuple[SubmissionRead, str]:
    """A report that was just taken in, shown as reading it would show it, with its ETag."""
    assert taken.id is not None, "what is not refused has been taken in"
    about, said, identity = taken.about, report.said, UUID(taken.id)
    shown = SubmissionRead(
        id=identity,
        task=report.task,
        unit=UnitRef(unit=about["unit"], name=about["unit_name"]),
        plan=plan_of(report.task),
        battle=battle_of(report.task),
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
        allowed_actions=list(allowed(report.state)),
    )
    return shown, etag_of(identity, 1)


def _submission(row: Any) -> SubmissionRead:
    names = set(SubmissionRead.model_fields) - {"unit", "warnings", "observations", "allowed_actions"}
    return SubmissionRead.model_validate(
        {
            **{name: row[name] for name in names},
            "unit": {"unit": row["unit"], "name": row["unit_name"]},
            "warnings": decoded(row["warnings"]),
            "observations": decoded(row["observations"]) or [],
            "allowed_actions": allowed(SubmissionState(row["state"])),
        }
    )
