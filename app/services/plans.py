"""Plans."""

from typing import Any

from sqlalchemy import bindparam, func, select

from app.db import Query
from app.errors import NotFoundError
from app.models import (
    Anomaly,
    Battle,
    Clause,
    Plan,
    Region,
    Rule,
    SuperiorDocument,
    Target,
    Task,
    TaskGroup,
)
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.plan import LightsRead, PlanCounts, PlanPage, PlanQuery, PlanRead, RegionRead, SuperiorDocumentRead
from app.services.counts import count_of, units_named
from app.services.reader import Reader, decoded, page_request

__all__ = ["get_plan", "list_plans"]


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
    Plan.ahead_points,
    Plan.behind_points,
    _SUPERIOR.label("superior_documents"),
    count_of(Battle, Battle.plan_id == Plan.id).label("battles"),
    count_of(TaskGroup, TaskGroup.plan_id == Plan.id).label("groups"),
    count_of(Task, Task.plan_id == Plan.id).label("tasks"),
    _CLAUSES.label("clauses"),
    units_named(TaskGroup.plan_id == Plan.id).label("units"),
    count_of(Target, Target.plan_id == Plan.id).label("targets"),
    count_of(Target, Target.plan_id == Plan.id, Target.operator.is_not(None)).label("quantified_targets"),
    count_of(Rule, Rule.plan_id == Plan.id).label("rules"),
    count_of(Anomaly, Anomaly.plan_id == Plan.id).label("anomalies"),
).join(Region, Region.code == Plan.region_code)
_PLANS = Listing(
    statement=_PLAN_COLUMNS,
    key=Plan.sort_key,
    sorts={"code": Plan.sort_key, "issued_on": Plan.issued_on},
    conditions={"region": Plan.region_code == bindparam("region"), "year": Plan.year == bindparam("year")},
)
_PLAN_BY_CODE = Query(_PLAN_COLUMNS.where(Plan.code == bindparam("code")))


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


def _plan(row: Any) -> PlanRead:
    names = ("code", "year", "title", "short_title", "document_number", "issuer", "issued_on", "objective")
    return PlanRead(
        **{name: row[name] for name in names},
        region=RegionRead(code=row["region_code"], name=row["region_name"]),
        superior_documents=[
            SuperiorDocumentRead.model_validate(item) for item in decoded(row["superior_documents"] or "[]")
        ],
        lights=LightsRead(ahead_points=row["ahead_points"], behind_points=row["behind_points"]),
        counts=PlanCounts.model_validate({name: row[name] for name in PlanCounts.model_fields}),
    )
