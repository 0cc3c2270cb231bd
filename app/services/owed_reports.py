"""Reports against what is owed: the form of a unit, with what it reported of it, and the receipt of one report."""

from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ARRAY, Text, Uuid, any_, bindparam, cast, select

from app.clock import day_of
from app.db import Database, Query
from app.domain.actions import FormAction, form_item_actions
from app.domain.deadlines import Facts, explain, judge, report_name
from app.domain.periods import parse_period
from app.domain.permissions import Subject
from app.domain.plan import RuleKind, battle_of, plan_of
from app.errors import NotFoundError
from app.models import (
    Obligation,
    Rule,
    RuleVersion,
    Submission,
    Task,
)
from app.pagination import Statement
from app.rendering import Known, Rendered, render
from app.schemas.submission import (
    FormItem,
    FormRead,
    ReceiptRead,
)
from app.schemas.task import UnitRef
from app.services.caller import Caller
from app.services.reader import Reader, decoded
from app.services.submission_reads import COLUMNS, missing, note_seen, subject_of, submission_of, visible_submission
from app.services.visible_rows import draft_rights

__all__ = ["get_receipt", "read_form"]

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
_OF_FORM = Query(COLUMNS.where(Submission.id == any_(bindparam("ids", type_=ARRAY(Uuid)))))


async def read_form(
    reader: Reader, trail: Database, named: Any, period: str, *, now: datetime, caller: Caller
) -> FormRead:
    """Every task that a unit owes a report on for a period, with its submission or null; those the caller may see.

    Raises:
        NotFoundError: the caller may see nothing of the unit.
    """
    unit, of, today = named["code"], parse_period(period), day_of(now)
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
    await note_seen(seen, trail, now=now, caller=caller)
    submissions = {row["id"]: submission_of(row, caller) for row in seen}
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


async def get_receipt(
    reader: Reader, trail: Database, identity: UUID, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """What a unit shows in a dispute: what was received when, against which due instant, with which verdict.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    row = await visible_submission(reader, trail, identity, now=now, caller=caller)
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
