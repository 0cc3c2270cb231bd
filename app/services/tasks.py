"""Tasks: the hot path of the service.

A page is found by a query that returns keys and versions only. The ETag follows from the versions, so an unchanged page
costs that one query; of a changed one, only the tasks that changed are rendered again.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
from asyncpg import Record
from sqlalchemy import ARRAY, BigInteger, any_, bindparam, exists, literal, select

from app.db import ReadQuery
from app.domain.search import EntryKind
from app.errors import NotFoundError
from app.models import Battle, Plan, Target, Task, TaskGroup, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, tag_of
from app.schemas.task import TaskQuery, TaskRead, UnitTaskQuery
from app.services.brackets import leads_of, read_brackets
from app.services.reader import Reader, page_request
from app.services.search import matching, matching_values
from app.services.targets import target_read, targets_where
from app.services.units import resolve_unit, task_roles

__all__ = ["get_task", "list_tasks", "list_unit_tasks"]

_ROLES = task_roles()
_UNIT, _ROLE = _ROLES.c.unit_id == bindparam("unit"), _ROLES.c.role == bindparam("role")


def _of(model: Any, name: str) -> Any:
    """The key of the plan, battle or group whose code is the filter's value, as a value known before the list runs."""
    return select(model.id).where(model.code == bindparam(name)).scalar_subquery()


_VERSIONS: Statement = select(Task.id, Task.version, Task.sort_key, Task.title)
_LISTING = Listing(
    statement=_VERSIONS,
    key=Task.sort_key,
    sorts={"code": Task.sort_key, "title": Task.title},
    conditions={
        "plan": Task.plan_id == _of(Plan, "plan"),
        "battle": Task.battle_id == _of(Battle, "battle"),
        "group": Task.task_group_id == _of(TaskGroup, "group"),
        "unit": Task.id.in_(select(_ROLES.c.task_id).where(_UNIT)),
        "role": Task.id.in_(select(_ROLES.c.task_id).where(_ROLE)),
        "unit_role": Task.id.in_(select(_ROLES.c.task_id).where(_UNIT, _ROLE)),
        "q": matching(EntryKind.TASK, Task.code),
        "with_targets": exists(select(literal(1)).where(Target.task_id == Task.id)),
        "without_targets": ~exists(select(literal(1)).where(Target.task_id == Task.id)),
    },
)
_VERSION_OF = ReadQuery(select(Task.id, Task.version).where(Task.code == bindparam("code")))
_TASKS = ReadQuery(
    select(
        Task.id,
        Task.version,
        Task.task_group_id,
        Task.code,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        TaskGroup.code.label("group"),
        Task.number,
        Task.title,
        Task.locator,
        Task.deliverables,
        Task.upstream_note,
    )
    .join(Plan, Plan.id == Task.plan_id)
    .join(Battle, Battle.id == Task.battle_id)
    .join(TaskGroup, TaskGroup.id == Task.task_group_id)
    .where(Task.id == any_(bindparam("tasks", type_=ARRAY(BigInteger))))
)
_TARGETS = targets_where(Target.task_id == any_(bindparam("tasks", type_=ARRAY(BigInteger))))
_UNIT_BY_CODE = ReadQuery(select(Unit.id).where(Unit.code == bindparam("code")))

_ITEM, _DETAIL = "task-item", "task"
# A release that renders tasks differently must not be taken for the one before it.
_SHAPE = hashlib.blake2b(orjson.dumps(TaskRead.model_json_schema()), digest_size=4).hexdigest()


async def list_tasks(reader: Reader, query: TaskQuery, known: Known) -> Rendered:
    """One page of tasks.

    Raises:
        UnknownUnitError: the unit filter means no unit.
        AmbiguousError: the unit filter means several units.
    """
    filters: dict[str, dict[str, Any]] = {}
    for name in ("plan", "battle", "group"):
        value = getattr(query, name)
        if value is not None:
            filters[name] = {name: value}
    if query.unit is not None:
        unit = await resolve_unit(reader, query.unit, scope=query.group or query.battle or query.plan)
        filters |= _unit_filter(unit, query.role)
    elif query.role is not None:
        filters["role"] = {"role": query.role.value}
    if query.q is not None:
        filters["q"] = matching_values(query.q)
    if query.has_targets is not None:
        filters["with_targets" if query.has_targets else "without_targets"] = {}
    return await _page(reader, query, filters, known)


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
    row = await reader.pool.fetch_row(_VERSION_OF, code=code)
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
    """The rendered tasks of ``rows`` (id, version), in their order; what is not cached is rendered in one go."""
    cache = reader.fragments
    found = {row["id"]: cache.get(kind, row["id"], row["version"]) for row in rows}
    missing = [key for key, fragment in found.items() if fragment is None]
    if missing:
        for key, version, fragment in await _render(reader, kind, missing):
            cache.put(kind, key, version, fragment)
            found[key] = fragment
    # A task deleted between the two queries has no fragment: it is no longer part of the answer.
    return [fragment for fragment in found.values() if fragment is not None]


async def _render(reader: Reader, kind: str, keys: list[int]) -> list[tuple[int, int, bytes]]:
    """Render tasks; the version is the one read with the content, not the one of the list."""
    rows = await reader.pool.fetch(_TASKS, tasks=keys)
    brackets = await read_brackets(reader, tasks=keys, groups={row["task_group_id"] for row in rows})
    targets: dict[int, list[Any]] = {}
    if kind == _DETAIL:
        for row in await reader.pool.fetch(_TARGETS, tasks=keys):
            targets.setdefault(row["task_id"], []).append(target_read(row).model_dump(mode="json"))
    rendered: list[tuple[int, int, bytes]] = []
    for key, version, group_id, code, plan, battle, group, number, title, locator, deliverables, upstream_note in rows:
        clauses = brackets.of_task.get(key, [])
        heading = brackets.of_group.get(group_id)
        task: dict[str, Any] = {
            "code": code,
            "plan": plan,
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
            task["targets"] = targets.get(key, [])
        rendered.append((key, version, orjson.dumps(task)))
    return rendered
