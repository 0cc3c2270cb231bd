"""Extensions and waivers as the API lists them: what was granted by an instant, to whom, why, by whom."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, bindparam, select

from app.models import Extension, Plan, Rule, Task, Unit, Waiver
from app.pagination import Listing, Page, Statement
from app.rendering import Known, Rendered, render
from app.schemas.obligation import ExtensionItem, ExtensionPage, GrantQuery, WaiverItem, WaiverPage
from app.services.caller import Caller
from app.services.deadlines import parsed_period
from app.services.reader import Reader, equal_to, key_of, page_request
from app.services.units import resolve_unit
from app.services.visible_rows import seen_conditions, seen_filter

__all__ = ["list_extensions", "list_waivers"]


def _listing(grant: type[Extension | Waiver], decision: Any) -> Listing:
    columns: Statement = (
        select(
            grant.id.label("sort_key"),
            grant.id,
            Rule.code.label("rule"),
            Plan.code.label("plan"),
            Unit.code.label("unit"),
            Unit.name.label("unit_name"),
            Task.code.label("task"),
            grant.period,
            decision,
            grant.reason,
            grant.approver,
            grant.granted_at,
        )
        .select_from(grant)
        .join(Rule, Rule.id == grant.rule_id)
        .join(Plan, Plan.id == Rule.plan_id)
        .join(Unit, Unit.id == grant.unit_id)
        .outerjoin(Task, Task.id == grant.task_id)
        .where(grant.granted_at <= bindparam("as_of", type_=DateTime(timezone=True)))
    )
    return Listing(
        statement=columns,
        key=grant.id,
        sorts={"id": grant.id},
        conditions={
            "rule": Rule.code == bindparam("rule"),
            "plan": Rule.plan_id == key_of(Plan, "plan"),
            "unit": grant.unit_id == bindparam("unit"),
            "task": grant.task_id == key_of(Task, "task"),
            "period": grant.period == bindparam("period"),
            **seen_conditions(plan=Rule.plan_id, unit=grant.unit_id),
        },
    )


_EXTENSIONS = _listing(Extension, Extension.due_at)
_WAIVERS = _listing(Waiver, Waiver.kind)


async def list_extensions(
    reader: Reader, query: GrantQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """One page of the extensions granted by ``query.as_of`` (default ``now``) that the caller may see, oldest first.

    Raises:
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
        UnknownReferenceError: the period is none.
    """
    page = await _page(_EXTENSIONS, reader, query, now, caller)
    items = [ExtensionItem.model_validate(_shown(row)) for row in page.rows]
    return render(ExtensionPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def list_waivers(reader: Reader, query: GrantQuery, known: Known, *, now: datetime, caller: Caller) -> Rendered:
    """One page of the waivers granted by ``query.as_of`` (default ``now``), oldest first.

    Raises:
        UnknownUnitError, AmbiguousError, UnknownReferenceError: as for :func:`list_extensions`.
    """
    page = await _page(_WAIVERS, reader, query, now, caller)
    items = [WaiverItem.model_validate(_shown(row)) for row in page.rows]
    return render(WaiverPage(items=items, next_cursor=page.next_cursor, total=page.total), known)


async def _page(listing: Listing, reader: Reader, query: GrantQuery, now: datetime, caller: Caller) -> Page:
    filters = {**equal_to(query, "rule", "plan", "task"), **seen_filter(caller.visibility)}
    if query.period is not None:
        filters["period"] = {"period": parsed_period(query.period, "/query/period").code}
    if query.unit is not None:
        filters["unit"] = {"unit": await resolve_unit(reader, query.unit, scope=query.task or query.plan)}
    always = {"as_of": query.as_of or now}
    return await listing.page(reader.pool, page_request(query, sort=query.sort), filters, always)


def _shown(row: Any) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name not in {"sort_key", "unit_name"}}
    return {**shown, "unit": {"unit": row["unit"], "name": row["unit_name"]}}
