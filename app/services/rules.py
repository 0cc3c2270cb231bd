"""The rules of a plan."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, Text, bindparam, case, cast, func, literal, or_, select

from app.clock import day_of
from app.db import Query
from app.domain.plan import RuleUnitRole
from app.errors import AmbiguousError, Fault, NotFoundError
from app.models import Battle, Plan, Rule, RuleUnit, RuleVersion, Unit
from app.pagination import Listing, Statement
from app.rendering import Known, Rendered, render
from app.schemas.rule import RuleItemQuery, RulePage, RuleQuery, RuleRead
from app.services.reader import Reader, decoded, equal_to, page_request

__all__ = ["get_rule", "list_rules"]


def _units(role: RuleUnitRole) -> Any:
    ordered = (
        select(Unit.code, Unit.name, RuleUnit.printed_name, RuleUnit.position)
        .join(Unit, Unit.id == RuleUnit.unit_id)
        .where(RuleUnit.rule_id == Rule.id, RuleUnit.role == role.value)
        .order_by(RuleUnit.position)
        .correlate(Rule)
        .subquery()
    )
    shown = func.json_build_object(
        "unit", ordered.c.code, "name", ordered.c.name, "printed_name", ordered.c.printed_name
    )
    return select(func.json_agg(shown)).select_from(ordered).scalar_subquery()


_DAY = bindparam("day", type_=Date)
# The version for periods that begin on or before the day; before the first takes effect, the first.
_IN_FORCE = (
    select(RuleVersion.version, RuleVersion.effective_from, RuleVersion.schedule)
    .where(RuleVersion.rule_id == Rule.id)
    .order_by(
        (RuleVersion.effective_from <= _DAY).desc(),
        case((RuleVersion.effective_from <= _DAY, RuleVersion.version)).desc(),
        RuleVersion.version,
    )
    .limit(1)
    .correlate(Rule)
    .lateral("in_force")
)
_COLUMNS: Statement = (
    select(
        Rule.sort_key,
        Rule.code,
        Plan.code.label("plan"),
        Battle.code.label("battle"),
        Rule.name,
        Rule.kind,
        Rule.locator,
        Rule.summary,
        Rule.owed_by,
        cast(_IN_FORCE.c.schedule, Text).label("schedule"),
        _IN_FORCE.c.version,
        _IN_FORCE.c.effective_from,
        Rule.parameters,
        Rule.printed,
        Rule.interpretation,
        *(_units(role).label(role.value) for role in RuleUnitRole),
    )
    .join(Plan, Plan.id == Rule.plan_id)
    .outerjoin(Battle, Battle.id == Rule.battle_id)
    .outerjoin(_IN_FORCE, literal(True))
)
_LISTING = Listing(
    statement=_COLUMNS,
    key=Rule.sort_key,
    sorts={"code": Rule.sort_key},
    conditions={
        "plan": Plan.code == bindparam("plan"),
        "battle": Battle.code == bindparam("battle"),
        "kind": Rule.kind == bindparam("kind"),
    },
)
_BY_CODE = Query(
    _COLUMNS.where(
        Rule.code == bindparam("code"),
        or_(bindparam("plan", type_=Text).is_(None), Plan.code == bindparam("plan", type_=Text)),
    ).order_by(Rule.sort_key)
)


async def list_rules(reader: Reader, query: RuleQuery, known: Known, *, now: datetime) -> Rendered:
    """One page of rules, in print order, with the schedules in force at ``query.as_of`` (default ``now``)."""
    filters = equal_to(query, "plan", "battle", "kind")
    page = await _LISTING.page(reader.pool, page_request(query, sort=query.sort), filters, _on(query.as_of or now))
    items = [_rule(row) for row in page.rows]
    return render(RulePage(items=items, next_cursor=page.next_cursor, total=page.total), known)


def _on(as_of: datetime) -> dict[str, date]:
    return {"day": day_of(as_of)}


async def get_rule(reader: Reader, code: str, query: RuleItemQuery, known: Known, *, now: datetime) -> Rendered:
    """One rule; ``query.plan`` says whose where several plans have a rule of this code.

    Raises:
        NotFoundError: no plan, or not this plan, has such a rule.
        AmbiguousError: several plans have one, and ``plan`` was not given.
    """
    plan = query.plan
    rows = await reader.pool.fetch(_BY_CODE, code=code, plan=plan, **_on(query.as_of or now))
    if not rows:
        raise NotFoundError(f"没有规则 {code}" if plan is None else f"总体方案 {plan} 没有规则 {code}")
    if len(rows) > 1:
        fault = Fault("/query/plan", "ambiguous_rule", "多个总体方案都有此规则,请给出 plan")
        candidates = [{"plan": row["plan"], "name": row["name"]} for row in rows]
        raise AmbiguousError(f"规则 {code} 不唯一", faults=[fault], candidates=candidates)
    return render(_rule(rows[0]), known)


def _rule(row: Any) -> RuleRead:
    names = ("code", "plan", "battle", "name", "kind", "locator", "summary", "owed_by", "printed", "interpretation")
    versioned = ("version", "effective_from")
    certifiers = decoded(row[RuleUnitRole.CERTIFIER.value]) or [None]
    return RuleRead.model_validate(
        {
            **{name: row[name] for name in (*names, *versioned)},
            "schedule": decoded(row["schedule"]),
            "parameters": decoded(row["parameters"]),
            "receivers": decoded(row[RuleUnitRole.RECEIVER.value]) or [],
            "certifier": certifiers[0],
        }
    )
