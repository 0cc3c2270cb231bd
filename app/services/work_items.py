"""Work items: listed and read as of any instant, made and changed, each change a revision that keeps the one before."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, cast
from uuid import UUID

import orjson
import uuid_utils.compat
from pydantic import BaseModel
from sqlalchemy import ARRAY, Date, DateTime, Text, Uuid, all_, bindparam, func, select, text
from sqlalchemy.orm import aliased

from app.clock import day_of
from app.db import Database, Query
from app.domain.actions import work_item_actions
from app.domain.audit import AuditAction
from app.domain.events import EventType
from app.domain.permissions import Capability, Subject, may_manage_work_item
from app.domain.plan import battle_of, plan_of
from app.domain.search import index_text
from app.domain.work_items import (
    SIX_ONES_LOCATOR,
    Milestone,
    SixOne,
    WorkItemFacts,
    WorkItemKind,
    WorkItemState,
    is_overdue,
    missing_ones,
    next_due,
)
from app.errors import (
    Fault,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    summary_of,
    unknown_reference,
)
from app.models import Battle, Plan, Task, Unit, WorkItem, WorkItemRevision
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, exact, render
from app.schemas.base import AsOfQuery
from app.schemas.work_item import (
    MilestoneRead,
    WorkItemCreate,
    WorkItemHistory,
    WorkItemPage,
    WorkItemPatch,
    WorkItemQuery,
    WorkItemRead,
    WorkItemRevisionRead,
)
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.events import NewEvent, emit
from app.services.reader import Reader, decoded, equal_to, key_of, page_request
from app.services.search import matching_values
from app.services.units import resolve_unit, unit_named
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = ["create_work_item", "get_work_item", "get_work_item_history", "list_work_items", "patch_work_item"]

_Later = aliased(WorkItemRevision)


def _newest(*conditions: Any) -> Any:
    """The newest revision of the item of the query around it, of those that meet the conditions."""
    return (
        select(func.max(_Later.revision))
        .where(_Later.work_item_id == WorkItem.id, *conditions)
        .correlate(WorkItem)
        .scalar_subquery()
    )


_SELECTED: Statement = (
    select(
        WorkItem.id.label("sort_key"),
        WorkItem.id,
        Task.code.label("task"),
        WorkItem.kind,
        WorkItem.created_at,
        WorkItemRevision.revision,
        WorkItemRevision.at,
        WorkItemRevision.actor,
        WorkItemRevision.reason,
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        WorkItemRevision.title,
        WorkItemRevision.state,
        WorkItemRevision.starts_on,
        WorkItemRevision.due_on,
        WorkItemRevision.next_due_on,
        WorkItemRevision.missing,
        WorkItemRevision.content,
    )
    .join(WorkItemRevision, WorkItemRevision.work_item_id == WorkItem.id)
    .join(Task, Task.id == WorkItem.task_id)
    .join(Unit, Unit.id == WorkItemRevision.unit_id)
)
_AS_IT_WAS = WorkItemRevision.revision == _newest(_Later.at <= bindparam("as_of", type_=DateTime(timezone=True)))
_OVERDUE = func.coalesce(WorkItemRevision.next_due_on < bindparam("today", type_=Date), False)
_LISTING = Listing(
    statement=_SELECTED.where(_AS_IT_WAS),
    key=WorkItem.id,
    sorts={"id": WorkItem.id},
    conditions={
        "plan": WorkItem.plan_id == key_of(Plan, "plan"),
        "battle": WorkItem.battle_id == key_of(Battle, "battle"),
        "task": WorkItem.task_id == key_of(Task, "task"),
        "unit": WorkItemRevision.unit_id == bindparam("unit"),
        "kind": WorkItem.kind == bindparam("kind"),
        "state": WorkItemRevision.state == bindparam("state"),
        "incomplete": func.cardinality(WorkItemRevision.missing) > 0,
        "complete": func.cardinality(WorkItemRevision.missing) == 0,
        "late": _OVERDUE,
        "not_late": ~_OVERDUE,
        "q": WorkItemRevision.grams.contains(bindparam("grams", type_=ARRAY(Text)))
        & WorkItemRevision.haystack.like(all_(bindparam("patterns", type_=ARRAY(Text)))),
        **seen_conditions(plan=WorkItem.plan_id, unit=WorkItemRevision.unit_id, battle=WorkItem.battle_id),
    },
)
_ONE = _SELECTED.where(WorkItem.id == bindparam("id", type_=Uuid))
_AS_OF = Query(_ONE.where(_AS_IT_WAS))
_NEWEST = Query(_ONE.where(WorkItemRevision.revision == _newest()))
_HISTORY = Query(_ONE.order_by(WorkItemRevision.revision))
_LOCK = Query(text("SELECT FROM work_items WHERE id = :id FOR UPDATE"))
_TASK = Query(text("SELECT id, plan_id, battle_id FROM tasks WHERE code = :code"))
_CREATE = Query(
    text("""
    INSERT INTO work_items (id, plan_id, battle_id, task_id, kind, created_at)
    VALUES (:id, :plan_id, :battle_id, :task_id, :kind, :now)
""")
)
_ADD_REVISION = Query(
    text("""
    INSERT INTO work_item_revisions (work_item_id, revision, at, actor, reason, unit_id, title, state, starts_on,
                                     due_on, next_due_on, missing, content, haystack, grams)
    VALUES (:id, :revision, :at, :actor, :reason, :unit_id, :title, :state, :starts_on, :due_on, :next_due_on,
            CAST(:missing AS text[]), CAST(:content AS jsonb), :haystack, CAST(:grams AS text[]))
""")
)
_IN_CONTENT = ("leader", "person", "scheme", "milestones", "investment")
_SAID = ("title", *_IN_CONTENT, "starts_on", "due_on", "state")


async def list_work_items(
    reader: Reader, query: WorkItemQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of the items that the caller may see, as they were at ``query.as_of`` (default ``now``).

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    as_of = query.as_of or now
    filters = {
        **equal_to(query, "plan", "battle", "task", "kind", "state"),
        **seen_filter(caller.granted_visibility),
    }
    if query.unit is not None:
        scope = query.task or query.battle or query.plan
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=scope)}
    if query.incomplete is not None:
        filters["incomplete" if query.incomplete else "complete"] = {}
    if query.milestone_overdue is not None:
        filters["late" if query.milestone_overdue else "not_late"] = {"today": day_of(as_of)}
    if query.q is not None:
        filters["q"] = matching_values(query.q)
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, {"as_of": as_of})
    items = [_read(row, caller, as_of, past=query.as_of is not None) for row in page.rows]
    return render(WorkItemPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_work_item(
    reader: Reader, identity: UUID, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One item as it was at ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: there was none of this id that the caller may see.
    """
    as_of = query.as_of or now
    row = await reader.pool.fetch_row(_AS_OF, id=identity, as_of=as_of)
    return render(_read(_seen(row, identity, caller), caller, as_of, past=query.as_of is not None), known)


async def get_work_item_history(
    reader: Reader, identity: UUID, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """All revisions of an item, oldest first, for whoever may see it as it is.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
    """
    rows = await reader.pool.fetch(_HISTORY, id=identity)
    _seen(rows[-1] if rows else None, identity, caller)
    revisions = [
        WorkItemRevisionRead(**_content(row, day_of(now)), at=row["at"], by=row["actor"], reason=row["reason"])
        for row in rows
    ]
    return render(WorkItemHistory(id=identity, revisions=revisions), known)


async def create_work_item(
    db: Database, reader: Reader, wanted: WorkItemCreate, *, now: datetime, caller: Caller
) -> tuple[WorkItemRead, str]:
    """Make an item; returns it with its ETag.

    Raises:
        UnknownReferenceError: there is no such task.
        UnknownUnitError, AmbiguousError: the unit means none or several.
        ForbiddenError: the caller neither reports for the unit nor coordinates the battle.
        InvalidRequestError: what it says contradicts itself.
    """
    task = await db.fetch_row(_TASK, code=wanted.task)
    if task is None:
        raise unknown_reference("/body/task", "unknown_task", f"没有任务 {wanted.task}")
    unit = await unit_named(reader, wanted.unit, scope=wanted.task, at="/body")
    if not may_manage_work_item(caller.actor, _subject(wanted.task, unit["code"])):
        raise forbidden(caller.actor, Capability.MANAGE_WORK_ITEMS, unit["name"])
    said = wanted.model_dump(mode="python", include=set(_SAID))
    _check(wanted.kind, said, day_of(now))
    identity: UUID = uuid_utils.compat.uuid7()
    await db.fetch(
        _CREATE,
        id=identity,
        plan_id=task["plan_id"],
        battle_id=task["battle_id"],
        task_id=task["id"],
        kind=wanted.kind.value,
        now=now,
    )
    by = caller.actor.name
    revised = {"id": identity, "revision": 1, "at": now, "actor": by, "reason": None, "unit_id": unit["id"]}
    await db.fetch(_ADD_REVISION, **revised, **_stored(wanted.kind, said))
    row = await db.fetch_row(_NEWEST, id=identity)
    shown = await _told(db, row, None, now=now, caller=caller)
    return shown, render(shown, Known.parse(None)).etag


async def patch_work_item(
    db: Database,
    reader: Reader,
    identity: UUID,
    patch: WorkItemPatch,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Rendered:
    """Change an item: a new revision with its reason; one that changes nothing is not kept.

    Raises:
        NotFoundError: there is none of this id that the caller may see.
        ForbiddenError: the caller may not change it, or not hand it to that unit.
        PreconditionError: it has changed since the caller read it.
        UnknownUnitError, AmbiguousError, InvalidRequestError: as for :func:`create_work_item`.
    """
    await db.fetch(_LOCK, id=identity)
    was = _seen(await db.fetch_row(_NEWEST, id=identity), identity, caller)
    before = _read(was, caller, now)
    if not may_manage_work_item(caller.actor, _subject(was["task"], was["unit"])):
        raise forbidden(caller.actor, Capability.MANAGE_WORK_ITEMS, was["unit_name"])
    if match is not None and render(before, match).body is not None:
        raise PreconditionError("该清单事项已被更改,请重新读取")
    given = patch.model_dump(mode="python", exclude_unset=True)
    unit = await unit_named(reader, given.pop("unit", was["unit"]), scope=was["task"], at="/body")
    if not may_manage_work_item(caller.actor, _subject(was["task"], unit["code"])):
        raise forbidden(caller.actor, Capability.MANAGE_WORK_ITEMS, unit["name"])
    reason = given.pop("reason")
    kept = _said_of(before)
    said = WorkItemCreate.model_validate(
        {**kept, **given, "task": before.task, "kind": before.kind, "unit": unit["code"]}
    ).model_dump(mode="python", include=set(_SAID))
    _check(before.kind, said, day_of(now))
    revised = {
        "id": identity,
        "actor": caller.actor.name,
        "revision": before.revision + 1,
        # Of two that came at once, the one that waited is the later.
        "at": max(now, was["at"]),
        "reason": reason,
        "unit_id": unit["id"],
    }
    stored = _stored(before.kind, said)
    if unit["code"] == was["unit"] and stored == _stored(before.kind, kept):
        return render(before, Known.parse(None))
    await db.fetch(_ADD_REVISION, **revised, **stored)
    row = await db.fetch_row(_NEWEST, id=identity)
    shown = await _told(db, row, before, now=now, caller=caller)
    return render(shown, Known.parse(None))


async def _told(db: Database, row: Any, before: WorkItemRead | None, *, now: datetime, caller: Caller) -> WorkItemRead:
    """Put down what was done to an item, in the trail and in the stream; returns it as it is now."""
    shown = _read(row, caller, now)
    made = (AuditAction.WORK_ITEM_CREATE, EventType.WORK_ITEM_CREATED)
    action, event = made if before is None else (AuditAction.WORK_ITEM_CHANGE, EventType.WORK_ITEM_CHANGED)
    said = [None if one is None else _audited(one) for one in (before, shown)]
    await record(db, caller, [Act(action, str(shown.id), shown.plan, shown.unit.unit, *said)], now=now)
    told = NewEvent(
        event,
        at=now,
        plan=shown.plan,
        battle=shown.battle,
        unit=shown.unit.unit,
        subject=shown.id,
        data={"task": shown.task, "kind": shown.kind},
    )
    await emit(db, [told])
    return shown


def _audited(item: WorkItemRead) -> dict[str, Any]:
    shown = {"unit", "task", "kind", "revision", "missing", *_SAID}
    return item.model_dump(mode="json", include=shown)


def _plain(value: Any) -> Any:
    """A part of what is shown, as it would be written."""
    if isinstance(value, list):
        return [_plain(one) for one in cast("list[MilestoneRead]", value)]
    return value.model_dump(exclude={"overdue", "unit_of_measure"}) if isinstance(value, BaseModel) else value


def _said_of(item: WorkItemRead) -> dict[str, Any]:
    return {name: _plain(getattr(item, name)) for name in _SAID}


def _stored(kind: WorkItemKind, said: Mapping[str, Any]) -> dict[str, Any]:
    """What a revision keeps of what was said."""
    milestones = [Milestone(one["due_on"], one["done_on"]) for one in said["milestones"]]
    state = WorkItemState(said["state"])
    facts = WorkItemFacts(
        kind=kind,
        state=state,
        has_leader=said["leader"] is not None,
        has_person=said["person"] is not None,
        has_scheme=said["scheme"] is not None,
        milestones=milestones,
        due_on=said["due_on"],
    )
    people = [one[name] for one in (said["leader"], said["person"]) if one for name in ("name", "post") if one[name]]
    found = index_text([said["title"]], [*people, said["scheme"] or "", *(one["title"] for one in said["milestones"])])
    content = {name: said[name] for name in _IN_CONTENT}
    return {
        "title": said["title"],
        "state": state.value,
        "starts_on": said["starts_on"],
        "due_on": said["due_on"],
        "next_due_on": next_due(state, milestones),
        "missing": [one.value for one in missing_ones(facts)],
        # An amount has at most 12 digits, which a JSON number carries exactly.
        "content": orjson.dumps(content, default=exact, option=orjson.OPT_SORT_KEYS).decode(),
        "haystack": found.haystack,
        "grams": found.grams,
    }


def _check(kind: WorkItemKind, said: Mapping[str, Any], today: date) -> None:
    """Refuse what contradicts itself.

    Raises:
        InvalidRequestError: something does.
    """
    faults: list[Fault] = []
    starts, due = said["starts_on"], said["due_on"]
    if starts is not None and due is not None and due < starts:
        faults.append(Fault("/body/due_on", "ends_before_start", f"完成日期 {due} 早于开始日期 {starts}"))
    if said["investment"] is not None and kind is not WorkItemKind.PROJECT:
        faults.append(Fault("/body/investment", "not_a_project", f"{kind.label}清单没有投资,只有项目才填"))
    for place, one in enumerate(said["milestones"]):
        if one["done_on"] is not None and one["done_on"] > today:
            detail = f"节点“{one['title']}”的完成日期 {one['done_on']} 尚未到来"
            faults.append(Fault(f"/body/milestones/{place}/done_on", "not_yet", detail))
    if faults:
        raise InvalidRequestError(summary_of(faults), faults=faults)


def _seen(row: Any, identity: UUID, caller: Caller) -> Any:
    """The row, if there is one for the caller to see.

    Raises:
        NotFoundError: there is not.
    """
    if row is None or not caller.granted_visibility.admits(_subject(row["task"], row["unit"])):
        raise NotFoundError(f"没有清单事项 {identity}")
    return row


def _subject(task: str, unit: str) -> Subject:
    return Subject(plan_of(task), battle_of(task), unit)


def _content(row: Any, today: date) -> dict[str, Any]:
    """What a revision says, as a schema reads it."""
    content = decoded(row["content"])
    open_ = row["state"] not in {WorkItemState.COMPLETED, WorkItemState.CANCELLED}
    for one in content["milestones"]:
        due = date.fromisoformat(one["due_on"])
        one["overdue"] = open_ and one["done_on"] is None and is_overdue(due, today)
    missing = [SixOne(one) for one in row["missing"]]
    is_project = row["kind"] == WorkItemKind.PROJECT
    names = ("revision", "title", "starts_on", "due_on", "state")
    return {
        **{name: row[name] for name in names},
        **content,
        "unit": {"unit": row["unit"], "name": row["unit_name"]},
        "missing": missing,
        "six_ones": {one: one not in missing for one in SixOne} if is_project else None,
    }


def _read(row: Any, caller: Caller, as_of: datetime, *, past: bool = False) -> WorkItemRead:
    """An item as it is, or was; with one that is shown as it was nothing can be done."""
    today = day_of(as_of)
    late = is_overdue(row["next_due_on"], today)
    actions = () if past else work_item_actions(caller.actor, _subject(row["task"], row["unit"]))
    return WorkItemRead.model_validate(
        {
            **_content(row, today),
            "id": row["id"],
            "plan": plan_of(row["task"]),
            "battle": battle_of(row["task"]),
            "task": row["task"],
            "kind": row["kind"],
            "created_at": row["created_at"],
            "changed_at": row["at"],
            "incomplete": bool(row["missing"]),
            "milestone_overdue": late,
            "explanation": _explain(row, today, late=late),
            "allowed_actions": list(actions),
        }
    )


def _explain(row: Any, today: date, *, late: bool) -> str:
    kind, state = WorkItemKind(row["kind"]), WorkItemState(row["state"])
    if kind is not WorkItemKind.PROJECT:
        judged = f"{kind.label}清单事项,{state.label},不按“六个一”判断"
    elif state is WorkItemState.CANCELLED:
        judged = "项目已取消,不再按“六个一”判断"
    elif row["missing"]:
        lacking = "、".join(SixOne(one).label for one in row["missing"])
        judged = f"项目{state.label},缺“六个一”中的{lacking}({SIX_ONES_LOCATOR})"
    else:
        judged = f"项目{state.label},“六个一”齐备({SIX_ONES_LOCATOR})"
    if late:
        judged += f";有节点应于 {row['next_due_on']} 前完成,已逾期 {(today - row['next_due_on']).days} 日"
    return judged
