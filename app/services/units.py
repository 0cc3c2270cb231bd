"""Units: found by code or by any printed name, listed, and counted over the tasks that name them."""

from typing import Any

from sqlalchemy import ARRAY, Text, bindparam, distinct, exists, func, literal, or_, select

from app.db import Query
from app.domain.plan import AssignmentRole, region_of
from app.domain.search import EntryKind
from app.errors import AmbiguousError, Fault, NotFoundError, UnknownUnitError
from app.models import Assignment, Battle, Clause, Region, Task, TaskForce, TaskForceMember, Unit, UnitAlias
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.plan import RegionRead
from app.schemas.unit import UnitCounts, UnitPage, UnitQuery, UnitRead
from app.services.reader import Reader, page_request
from app.services.search import matching, matching_values

__all__ = ["get_unit", "list_units", "resolve_unit", "task_roles"]


def task_roles() -> Any:
    """Every (task, unit, role) of the brackets in force: a task's own clauses and its group heading's."""
    own = select(Clause.task_id.label("task_id"), Assignment.unit_id, Assignment.role).join(
        Assignment, Assignment.clause_id == Clause.id
    )
    inherited = (
        select(Task.id.label("task_id"), Assignment.unit_id, Assignment.role)
        .select_from(Clause)
        .join(Assignment, Assignment.clause_id == Clause.id)
        .join(Task, Task.task_group_id == Clause.task_group_id)
    )
    return own.where(Clause.task_id.is_not(None)).union_all(inherited).subquery("task_roles")


def _named(role: AssignmentRole | None) -> Any:
    roles = task_roles()
    statement = select(func.count(distinct(roles.c.task_id))).where(roles.c.unit_id == Unit.id)
    return (statement if role is None else statement.where(roles.c.role == role.value)).scalar_subquery()


def _in_battle(*, with_role: bool) -> Any:
    roles = task_roles()
    statement = (
        select(literal(1))
        .select_from(roles)
        .join(Task, Task.id == roles.c.task_id)
        .join(Battle, Battle.id == Task.battle_id)
        .where(roles.c.unit_id == Unit.id, Battle.code == bindparam("battle"))
    )
    return exists(statement.where(roles.c.role == bindparam("role")) if with_role else statement)


def _with_role() -> Any:
    roles = task_roles()
    return exists(
        select(literal(1)).select_from(roles).where(roles.c.unit_id == Unit.id, roles.c.role == bindparam("role"))
    )


_ALIASES = (
    select(func.array_agg(UnitAlias.name, type_=ARRAY(Text)))
    .where(UnitAlias.unit_id == Unit.id, UnitAlias.name != Unit.name)
    .scalar_subquery()
)
_COLUMNS: Statement = select(
    Unit.code.label("sort_key"),
    Unit.code,
    Unit.name,
    Unit.kind,
    Unit.note,
    Unit.region_code,
    Region.name.label("region_name"),
    _ALIASES.label("aliases"),
    _named(None).label("tasks"),
    *(_named(role).label(role.value) for role in AssignmentRole),
    select(func.count()).where(TaskForceMember.unit_id == Unit.id).scalar_subquery().label("member_of"),
    select(func.count()).where(TaskForce.office_unit_id == Unit.id).scalar_subquery().label("office_of"),
).join(Region, Region.code == Unit.region_code)

_LISTING = Listing(
    statement=_COLUMNS,
    key=Unit.code,
    sorts={"code": Unit.code, "name": Unit.name},
    conditions={
        "kind": Unit.kind == bindparam("kind"),
        "battle": _in_battle(with_role=False),
        "role": _with_role(),
        "battle_role": _in_battle(with_role=True),
        "q": matching(EntryKind.UNIT, Unit.code),
    },
)
_BY_CODE = Query(_COLUMNS.where(Unit.code == bindparam("code")))

_RESOLVE = Query(
    select(Unit.id, Unit.code, Unit.name, Unit.region_code)
    .where(
        or_(
            Unit.code == bindparam("name"),
            Unit.id.in_(select(UnitAlias.unit_id).where(UnitAlias.name == bindparam("name"))),
        ),
        or_(
            bindparam("region", type_=Text).is_(None),
            Unit.region_code == bindparam("region", type_=Text),
        ),
    )
    .order_by(Unit.code)
)


async def resolve_unit(reader: Reader, name: str, *, scope: str | None, at: str = "/query") -> int:
    """The key of the unit that :func:`unit_named` finds."""
    return int((await unit_named(reader, name, scope=scope, at=at))["id"])


async def unit_named(reader: Reader, name: str, *, scope: str | None, at: str = "/query") -> Any:
    """The ``id``, ``code`` and ``name`` of the unit that ``name`` (a code or any printed name) means.

    ``scope`` is a plan, battle, group or task code; its region narrows a name that several regions use. ``at`` is
    where the name was given, for the fault's pointer.

    Raises:
        UnknownUnitError: no unit has this code or name.
        AmbiguousError: units of several regions have this name.
    """
    region = region_of(scope) if scope else None
    rows = await reader.pool.fetch(_RESOLVE, name=name, region=region)
    if not rows:
        fault = Fault(f"{at}/unit", "unknown_unit", f"没有名为“{name}”的单位")
        raise UnknownUnitError(f"没有编码或名称为“{name}”的单位", faults=[fault])
    if len(rows) > 1:
        candidates = [{"unit": row["code"], "name": row["name"]} for row in rows]
        fault = Fault(f"{at}/unit", "ambiguous_unit", f"“{name}”在 {len(rows)} 个地区都有,请改用单位编码")
        raise AmbiguousError(f"单位名称“{name}”不唯一", faults=[fault], candidates=candidates)
    return rows[0]


async def list_units(reader: Reader, query: UnitQuery, known: Known) -> Rendered:
    """One page of units."""
    filters: dict[str, dict[str, Any]] = {}
    if query.q is not None:
        filters["q"] = matching_values(query.q)
    if query.kind is not None:
        filters["kind"] = {"kind": query.kind.value}
    if query.battle is not None and query.role is not None:
        filters["battle_role"] = {"battle": query.battle, "role": query.role.value}
    elif query.battle is not None:
        filters["battle"] = {"battle": query.battle}
    elif query.role is not None:
        filters["role"] = {"role": query.role.value}
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters)
    items = [_unit(row) for row in page.rows]
    return render(UnitPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def get_unit(reader: Reader, code: str, known: Known) -> Rendered:
    """One unit.

    Raises:
        NotFoundError: no unit has this code.
    """
    row = await reader.pool.fetch_row(_BY_CODE, code=code)
    if row is None:
        raise NotFoundError(f"没有单位 {code}")
    return render(_unit(row), known)


def _unit(row: Any) -> UnitRead:
    return UnitRead(
        code=row["code"],
        region=RegionRead(code=row["region_code"], name=row["region_name"]),
        name=row["name"],
        kind=row["kind"],
        aliases=sorted(row["aliases"] or []),
        note=row["note"],
        counts=UnitCounts.model_validate({name: row[name] for name in UnitCounts.model_fields}),
    )
