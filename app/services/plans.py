"""Plans, battles and the anomalies of their documents."""

from typing import Any

from sqlalchemy import bindparam, distinct, func, select

from app.db import ReadQuery
from app.errors import NotFoundError
from app.models import (
    Anomaly,
    Assignment,
    Battle,
    Clause,
    Plan,
    Region,
    Rule,
    SuperiorDocument,
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
from app.schemas.plan import (
    AnomalyPage,
    AnomalyQuery,
    AnomalyRead,
    BattleCounts,
    BattleItem,
    BattlePage,
    BattleQuery,
    BattleRead,
    GroupRead,
    PlanCounts,
    PlanPage,
    PlanQuery,
    PlanRead,
    RegionRead,
    SuperiorDocumentRead,
    TaskForceRead,
)
from app.schemas.target import TargetRead
from app.schemas.task import UnitRef
from app.services.brackets import leads_of, read_brackets
from app.services.reader import Reader, decoded, page_request
from app.services.targets import target_read, targets_where

__all__ = ["get_battle", "get_plan", "list_anomalies", "list_battles", "list_plans"]


def _count(model: Any, *conditions: Any) -> Any:
    return select(func.count()).select_from(model).where(*conditions).scalar_subquery()


def _units_named(*scope: Any) -> Any:
    """How many units the brackets of some groups, and of the tasks in them, name."""
    return (
        select(func.count(distinct(Assignment.unit_id)))
        .join(Clause, Clause.id == Assignment.clause_id)
        .outerjoin(Task, Task.id == Clause.task_id)
        .join(TaskGroup, TaskGroup.id == func.coalesce(Clause.task_group_id, Task.task_group_id))
        .where(*scope)
        .scalar_subquery()
    )


_CLAUSES = (
    select(func.count())
    .select_from(Clause)
    .outerjoin(Task, Task.id == Clause.task_id)
    .join(TaskGroup, TaskGroup.id == func.coalesce(Clause.task_group_id, Task.task_group_id))
    .where(TaskGroup.plan_id == Plan.id)
    .scalar_subquery()
)
_SUPERIOR = (
    select(
        func.json_agg(
            func.json_build_object(
                "number", SuperiorDocument.number, "title", SuperiorDocument.title, "issuer", SuperiorDocument.issuer
            )
        )
    )
    .where(SuperiorDocument.plan_id == Plan.id)
    .scalar_subquery()
)
_PLAN_COLUMNS: Statement = select(
    Plan.sort_key,
    Plan.code,
    Plan.region_code,
    Region.name.label("region_name"),
    Plan.year,
    Plan.title,
    Plan.short_title,
    Plan.document_number,
    Plan.issuer,
    Plan.issued_on,
    Plan.objective,
    _SUPERIOR.label("superior_documents"),
    _count(Battle, Battle.plan_id == Plan.id).label("battles"),
    _count(TaskGroup, TaskGroup.plan_id == Plan.id).label("groups"),
    _count(Task, Task.plan_id == Plan.id).label("tasks"),
    _CLAUSES.label("clauses"),
    _units_named(TaskGroup.plan_id == Plan.id).label("units"),
    _count(Target, Target.plan_id == Plan.id).label("targets"),
    _count(Target, Target.plan_id == Plan.id, Target.operator.is_not(None)).label("quantified_targets"),
    _count(Rule, Rule.plan_id == Plan.id).label("rules"),
    _count(Anomaly, Anomaly.plan_id == Plan.id).label("anomalies"),
).join(Region, Region.code == Plan.region_code)
_PLANS = Listing(
    statement=_PLAN_COLUMNS,
    key=Plan.sort_key,
    sorts={"code": Plan.sort_key, "issued_on": Plan.issued_on},
    conditions={"region": Plan.region_code == bindparam("region"), "year": Plan.year == bindparam("year")},
)
_PLAN_BY_CODE = ReadQuery(_PLAN_COLUMNS.where(Plan.code == bindparam("code")))

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
    _count(TaskGroup, TaskGroup.battle_id == Battle.id).label("groups"),
    _count(Task, Task.battle_id == Battle.id).label("tasks"),
    _count(Target, Target.battle_id == Battle.id).label("targets"),
    _units_named(TaskGroup.battle_id == Battle.id).label("units"),
).join(Plan, Plan.id == Battle.plan_id)
_BATTLES = Listing(
    statement=_BATTLE_COLUMNS,
    key=Battle.sort_key,
    sorts={"code": Battle.sort_key},
    conditions={"plan": Plan.code == bindparam("plan")},
)
_BATTLE_BY_CODE = ReadQuery(_BATTLE_COLUMNS.where(Battle.code == bindparam("code")))
_FORCE = ReadQuery(
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
_HEADS = ReadQuery(
    select(TaskForceHead.role, TaskForceHead.post, TaskForceHead.person, TaskForceHead.locator)
    .where(TaskForceHead.task_force_id == bindparam("force"))
    .order_by(TaskForceHead.position)
)
_MEMBERS = ReadQuery(
    select(Unit.code.label("unit"), Unit.name, TaskForceMember.printed_name)
    .join(Unit, Unit.id == TaskForceMember.unit_id)
    .where(TaskForceMember.task_force_id == bindparam("force"))
    .order_by(TaskForceMember.position)
)
_GROUPS = ReadQuery(
    select(
        TaskGroup.id,
        TaskGroup.code,
        TaskGroup.ordinal,
        TaskGroup.title,
        TaskGroup.locator,
        TaskGroup.summary,
        TaskGroup.upstream_note,
        _count(Task, Task.task_group_id == TaskGroup.id).label("task_count"),
    )
    .where(TaskGroup.battle_id == bindparam("battle"))
    .order_by(TaskGroup.ordinal)
)
_TARGETS = targets_where((Target.battle_id == bindparam("battle")) & Target.task_id.is_(None))

_ANOMALIES = Listing(
    statement=select(
        Anomaly.sort_key,
        Anomaly.code,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Anomaly.kind,
        Anomaly.locator,
        Anomaly.printed,
        Anomaly.reading,
        Anomaly.note,
    )
    .join(Plan, Plan.id == Anomaly.plan_id)
    .outerjoin(Battle, Battle.id == Anomaly.battle_id),
    key=Anomaly.sort_key,
    sorts={"code": Anomaly.sort_key},
    conditions={
        "plan": Plan.code == bindparam("plan"),
        "battle": Battle.code == bindparam("battle"),
        "kind": Anomaly.kind == bindparam("kind"),
    },
)


async def list_plans(reader: Reader, query: PlanQuery, known: Known) -> Rendered:
    """One page of plans."""
    filters: dict[str, dict[str, Any]] = {}
    if query.region is not None:
        filters["region"] = {"region": query.region}
    if query.year is not None:
        filters["year"] = {"year": query.year}
    page = await _PLANS.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_plan(row) for row in page.rows]
    return render(PlanPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_plan(reader: Reader, code: str, known: Known) -> Rendered:
    """One plan.

    Raises:
        NotFoundError: no plan has this code.
    """
    row = await reader.pool.fetch_row(_PLAN_BY_CODE, code=code)
    if row is None:
        raise NotFoundError(f"没有总体方案 {code}")
    return render(_plan(row), known)


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


async def list_anomalies(reader: Reader, query: AnomalyQuery, known: Known) -> Rendered:
    """One page of anomalies."""
    filters = {
        name: {name: str(value)} for name in ("plan", "battle", "kind") if (value := getattr(query, name)) is not None
    }
    page = await _ANOMALIES.page(reader.pool, page_request(query, sort=query.sort), filters)
    names = AnomalyRead.model_fields
    items = [AnomalyRead.model_validate({name: row[name] for name in names}) for row in page.rows]
    return render(AnomalyPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


def _plan(row: Any) -> PlanRead:
    names = ("code", "year", "title", "short_title", "document_number", "issuer", "issued_on", "objective")
    return PlanRead(
        **{name: row[name] for name in names},
        region=RegionRead(code=row["region_code"], name=row["region_name"]),
        superior_documents=[
            SuperiorDocumentRead.model_validate(item) for item in decoded(row["superior_documents"] or "[]")
        ],
        counts=PlanCounts.model_validate({name: row[name] for name in PlanCounts.model_fields}),
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
