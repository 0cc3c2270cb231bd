"""Tasks: the hot path of the service.

A page is one query over one table, versions included. The ETag follows from the versions, so an unchanged page costs
that one query; of a changed one, only the tasks that changed are rendered again, their brackets read in a second.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from asyncpg import Record
from sqlalchemy import bindparam, exists, literal, select

from app.db import Database, Query
from app.domain.permissions import Capability
from app.domain.search import EntryKind
from app.errors import NotFoundError
from app.models import Battle, Plan, Target, Task, TaskGroup, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, exact, tag_of
from app.schemas.task import TaskQuery, TaskRead, UnitTaskQuery
from app.services.brackets import leads_of, read_brackets
from app.services.caller import Caller, forbidden
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.search import matching, matching_values
from app.services.standing import at_instant, light_of_task, stage_of_task
from app.services.targets import target_shown, targets_where
from app.services.units import resolve_unit, task_roles
from app.services.visible_rows import seen_conditions, seen_filter, whole_of

__all__ = ["get_task", "list_tasks", "list_unit_tasks", "task_key"]

_ROLES = task_roles()
_UNIT, _ROLE = _ROLES.c.unit_id == bindparam("unit"), _ROLES.c.role == bindparam("role")


_COLUMNS: Statement = select(
    Task.id,
    Task.version,
    Task.sort_key,
    Task.task_group_id,
    Task.code,
    Task.number,
    Task.title,
    Task.locator,
    Task.deliverables,
    Task.upstream_note,
)
_LISTING = Listing(
    statement=_COLUMNS,
    key=Task.sort_key,
    sorts={"code": Task.sort_key, "title": Task.title},
    conditions={
        "plan": Task.plan_id == key_of(Plan, "plan"),
        "battle": Task.battle_id == key_of(Battle, "battle"),
        "group": Task.task_group_id == key_of(TaskGroup, "group"),
        "unit": Task.id.in_(select(_ROLES.c.task_id).where(_UNIT)),
        "role": Task.id.in_(select(_ROLES.c.task_id).where(_ROLE)),
        "unit_role": Task.id.in_(select(_ROLES.c.task_id).where(_UNIT, _ROLE)),
        "q": matching(EntryKind.TASK, Task.code),
        "stage": stage_of_task() == bindparam("stage"),
        "light": light_of_task() == bindparam("light"),
        **seen_conditions(plan=Task.plan_id, battle=Task.battle_id),
        "with_targets": exists(select(literal(1)).where(Target.task_id == Task.id)),
        "without_targets": ~exists(select(literal(1)).where(Target.task_id == Task.id)),
    },
)
_BY_CODE = Query(_COLUMNS.where(Task.code == bindparam("code")))
_TARGETS = targets_where(Target.task_id == bindparam("task"))
_UNIT_BY_CODE = Query(select(Unit.id).where(Unit.code == bindparam("code")))

_ITEM, _DETAIL = "task-item", "task"
# A release that renders tasks differently must not be taken for the one before it.
_SHAPE = hashlib.blake2b(orjson.dumps(TaskRead.model_json_schema()), digest_size=4).hexdigest()


_KEY_OF = Query(select(Task.id).where(Task.code == bindparam("code")))


async def task_key(db: Database, code: str) -> int | None:
    """The key of the task of this code, ``None`` where there is none."""
    return await db.fetch_value(_KEY_OF, code=code)


async def list_tasks(reader: Reader, query: TaskQuery, known: Known, *, now: datetime, caller: Caller) -> Rendered:
    """One page of tasks; stages and lights are those at ``query.as_of`` (default ``now``).

    Raises:
        UnknownUnitError: the unit filter means no unit.
        AmbiguousError: the unit filter means several units.
        UnauthenticatedError, ForbiddenError: stage or light is asked for, and the caller sees the progress of no
            whole plan or battle.
    """
    filters = equal_to(query, "plan", "battle", "group")
    if query.stage is not None or query.light is not None:
        filters |= _progress_filter(caller)
    if query.unit is not None:
        unit = await resolve_unit(reader, query.unit, scope=query.group or query.battle or query.plan)
        filters |= _unit_filter(unit, query.role)
    elif query.role is not None:
        filters["role"] = {"role": query.role.value}
    if query.q is not None:
        filters["q"] = matching_values(query.q)
    asked = at_instant(query.as_of or now)
    if query.stage is not None:
        filters["stage"] = {"stage": query.stage.value, **asked}
    if query.light is not None:
        filters["light"] = {"light": query.light.value, **asked}
    if query.has_targets is not None:
        filters["with_targets" if query.has_targets else "without_targets"] = {}
    return await _page(reader, query, filters, known)


def _progress_filter(caller: Caller) -> dict[str, dict[str, Any]]:
    """Stage and light of a task are made of the reports of all its units: only what is seen whole is shown by them."""
    caller.demand(Capability.READ_PROGRESS)
    whole = whole_of(caller.visibility)
    if whole.nothing:
        raise forbidden(caller.actor, Capability.READ_PROGRESS, "按阶段与亮灯筛选须能查阅全仗或全方案的进度")
    return seen_filter(whole)


async def list_unit_tasks(reader: Reader, code: str, query: UnitTaskQuery, known: Known) -> Rendered:
    """One page of the tasks that name a unit.

    Raises:
        NotFoundError: no unit has this code.
    """
    unit = await reader.pool.fetch_value(_UNIT_BY_CODE, code=code)
    if unit is None:
        raise NotFoundError(f"没有单位 {code}")
    return await _page(reader, query, _unit_filter(unit, query.role), known)


async def get_task(reader: Reader, code: str, known: Known) -> Rendered:
    """One task with its targets.

    Raises:
        NotFoundError: no task has this code.
    """
    row = await reader.pool.fetch_row(_BY_CODE, code=code)
    if row is None:
        raise NotFoundError(f"没有任务 {code}")
    etag = f'"{_SHAPE}-{row["id"]}-{row["version"]}"'
    if etag in known:
        return Rendered(etag, None)
    (body,) = await _fragments(reader, _DETAIL, [row])
    return Rendered(etag, body)


def _unit_filter(unit: int, role: Any) -> dict[str, dict[str, Any]]:
    if role is None:
        return {"unit": {"unit": unit}}
    return {"unit_role": {"unit": unit, "role": role.value}}


async def _page(
    reader: Reader, query: TaskQuery | UnitTaskQuery, filters: dict[str, dict[str, Any]], known: Known
) -> Rendered:
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    tail = b'],"next_cursor":%b,"total":%b}' % (orjson.dumps(page.next_cursor), orjson.dumps(page.total))
    seen = b",".join(b"%d-%d" % (row["id"], row["version"]) for row in page.rows)
    etag = tag_of(b"%b %b" % (_SHAPE.encode(), seen + tail))
    if etag in known:
        return Rendered(etag, None)
    items = await _fragments(reader, _ITEM, page.rows)
    return Rendered(etag, b'{"items":[' + b",".join(items) + tail)


async def _fragments(reader: Reader, kind: str, rows: Sequence[Record]) -> list[bytes]:
    """The rendered tasks of ``rows``, in their order; what is not cached is rendered in one go."""
    cache = reader.fragments
    found = {row["id"]: cache.get(kind, row["id"], row["version"]) for row in rows}
    missing = [row for row in rows if found[row["id"]] is None]
    if missing:
        for key, version, fragment in await _render(reader, kind, missing):
            cache.put(kind, key, version, fragment)
            found[key] = fragment
    return [fragment for fragment in found.values() if fragment is not None]


async def _render(reader: Reader, kind: str, rows: Sequence[Record]) -> list[tuple[int, int, bytes]]:
    """Render tasks to JSON, each with its key and version."""
    keys = [row["id"] for row in rows]
    brackets = await read_brackets(reader, tasks=keys, groups={row["task_group_id"] for row in rows})
    targets = {
        key: [target_shown(row) for row in await reader.pool.fetch(_TARGETS, task=key)]
        for key in (keys if kind == _DETAIL else ())
    }
    rendered: list[tuple[int, int, bytes]] = []
    for key, version, _, group_id, code, number, title, locator, deliverables, upstream_note in rows:
        clauses = brackets.of_task.get(key, [])
        heading = brackets.of_group.get(group_id)
        # A code holds the codes of what it is part of: no join is needed to show them.
        group = code.rpartition("-")[0]
        battle = group.rpartition("-")[0]
        task: dict[str, Any] = {
            "code": code,
            "plan": battle.rpartition("-")[0],
            "battle": battle,
            "group": group,
            "number": number,
            "title": title,
            "locator": locator,
            "deliverables": deliverables,
            "upstream_note": upstream_note,
            "leads": leads_of(*clauses, heading) if heading else leads_of(*clauses),
            "clauses": clauses,
            "group_clause": heading,
        }
        if kind == _DETAIL:
            task["targets"] = targets[key]
        rendered.append((key, version, orjson.dumps(task, default=exact)))
    return rendered
