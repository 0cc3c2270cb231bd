"""Battles, with their task forces and task groups."""

from typing import Any

from sqlalchemy import bindparam, select

from app.db import Query
from app.errors import NotFoundError
from app.models import (
    Battle,
    Plan,
    Target,
    Task,
    TaskForce,
    TaskForceHead,
    TaskForceMember,
    TaskGroup,
    Unit,
)
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.battle import BattleCounts, BattleItem, BattlePage, BattleQuery, BattleRead, GroupRead, TaskForceRead
from app.schemas.target import TargetRead
from app.schemas.task import UnitRef
from app.services.brackets import leads_of, read_brackets
from app.services.counts import count_of, units_named
from app.services.reader import Reader, page_request
from app.services.targets import target_read, targets_where

__all__ = ["get_battle", "list_battles"]

_BATTLE_COLUMNS: Statement = select(
    Battle.id,
    Battle.sort_key,
    Battle.code,
    Plan.code.label("plan"),
    Battle.ordinal,
    Battle.short_name,
    Battle.name,
    Battle.objective,
    Battle.locator,
    count_of(TaskGroup, TaskGroup.battle_id == Battle.id).label("groups"),
    count_of(Task, Task.battle_id == Battle.id).label("tasks"),
    count_of(Target, Target.battle_id == Battle.id).label("targets"),
    units_named(TaskGroup.battle_id == Battle.id).label("units"),
).join(Plan, Plan.id == Battle.plan_id)
_BATTLES = Listing(
    statement=_BATTLE_COLUMNS,
    key=Battle.sort_key,
    sorts={"code": Battle.sort_key},
    conditions={"plan": Plan.code == bindparam("plan")},
)
_BATTLE_BY_CODE = Query(_BATTLE_COLUMNS.where(Battle.code == bindparam("code")))
_FORCE = Query(
    select(
        TaskForce.id,
        TaskForce.name,
        TaskForce.locator,
        TaskForce.open_ended,
        TaskForce.note,
        Unit.code.label("office"),
        Unit.name.label("office_name"),
    )
    .join(Unit, Unit.id == TaskForce.office_unit_id)
    .where(TaskForce.battle_id == bindparam("battle"))
)
_HEADS = Query(
    select(TaskForceHead.role, TaskForceHead.post, TaskForceHead.person, TaskForceHead.locator)
    .where(TaskForceHead.task_force_id == bindparam("force"))
    .order_by(TaskForceHead.position)
)
_MEMBERS = Query(
    select(Unit.code.label("unit"), Unit.name, TaskForceMember.printed_name)
    .join(Unit, Unit.id == TaskForceMember.unit_id)
    .where(TaskForceMember.task_force_id == bindparam("force"))
    .order_by(TaskForceMember.position)
)
_GROUPS = Query(
    select(
        TaskGroup.id,
        TaskGroup.code,
        TaskGroup.ordinal,
        TaskGroup.title,
        TaskGroup.locator,
        TaskGroup.summary,
        TaskGroup.upstream_note,
        count_of(Task, Task.task_group_id == TaskGroup.id).label("task_count"),
    )
    .where(TaskGroup.battle_id == bindparam("battle"))
    .order_by(TaskGroup.ordinal)
)
_TARGETS = targets_where((Target.battle_id == bindparam("battle")) & Target.task_id.is_(None))


async def list_battles(reader: Reader, query: BattleQuery, known: Known) -> Rendered:
    """One page of battles."""
    filters = {} if query.plan is None else {"plan": {"plan": query.plan}}
    page = await _BATTLES.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [BattleItem.model_validate(_battle(row)) for row in page.rows]
    return render(BattlePage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_battle(reader: Reader, code: str, known: Known) -> Rendered:
    """One battle with its task force, its groups and their leads, and the targets of battle and groups.

    Raises:
        NotFoundError: no battle has this code.
    """
    row = await reader.pool.fetch_row(_BATTLE_BY_CODE, code=code)
    if row is None:
        raise NotFoundError(f"没有仗 {code}")
    groups = await reader.pool.fetch(_GROUPS, battle=row["id"])
    brackets = await read_brackets(reader, tasks=[], groups=[group["id"] for group in groups])
    own: list[TargetRead] = []
    of_group: dict[int, list[TargetRead]] = {}
    for target in await reader.pool.fetch(_TARGETS, battle=row["id"]):
        found = own if target["task_group_id"] is None else of_group.setdefault(target["task_group_id"], [])
        found.append(target_read(target))
    shown = [_group(group, brackets.of_group.get(group["id"]), of_group.get(group["id"], [])) for group in groups]
    force = await _task_force(reader, row["id"])
    return render(
        BattleRead.model_validate({**_battle(row), "task_force": force, "groups": shown, "targets": own}), known
    )


def _battle(row: Any) -> dict[str, Any]:
    names = ("code", "plan", "ordinal", "short_name", "name", "objective", "locator")
    counts = {name: row[name] for name in BattleCounts.model_fields}
    return {**{name: row[name] for name in names}, "counts": counts}


def _group(row: Any, clause: dict[str, Any] | None, targets: list[TargetRead]) -> GroupRead:
    names = ("code", "ordinal", "title", "locator", "summary", "upstream_note", "task_count")
    leads = leads_of(clause) if clause else []
    return GroupRead.model_validate(
        {**{name: row[name] for name in names}, "clause": clause, "leads": leads, "targets": targets}
    )


async def _task_force(reader: Reader, battle: int) -> TaskForceRead:
    row = await reader.pool.fetch_row(_FORCE, battle=battle)
    assert row is not None, "the seed gives every battle its task force"
    heads = await reader.pool.fetch(_HEADS, force=row["id"])
    members = await reader.pool.fetch(_MEMBERS, force=row["id"])
    return TaskForceRead.model_validate(
        {
            "name": row["name"],
            "locator": row["locator"],
            "office": UnitRef(unit=row["office"], name=row["office_name"]),
            "heads": [dict(head) for head in heads],
            "members": [dict(member) for member in members],
            "open_ended": row["open_ended"],
            "note": row["note"],
        }
    )
