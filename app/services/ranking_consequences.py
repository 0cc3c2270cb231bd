"""What follows from the rankings of a year, for every unit that was among the last."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, DateTime, Text, any_, bindparam, select

from app.db import Query
from app.domain.permissions import Subject
from app.domain.rankings import (
    SANCTION_RULES,
    Counting,
    Placing,
    RankingKind,
    Sanction,
    sanction_for,
    times,
)
from app.errors import unknown_reference
from app.models import Battle, Plan, Ranking, RankingEntry, RankingRevision, Rule, Unit
from app.rendering import Known, Rendered, render
from app.schemas.ranking import ConsequenceQuery, ConsequenceRead, ConsequencesRead
from app.services.caller import Caller
from app.services.rankings import last_places, newest_ranking_revision
from app.services.reader import Reader, decoded
from app.services.units import resolve_unit

__all__ = ["list_consequences"]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_PLACES = Query(
    select(
        Ranking.id,
        Ranking.kind,
        Ranking.period,
        Ranking.period_start,
        Battle.code.label("battle"),
        Rule.parameters,
        Unit.id.label("unit_id"),
        Unit.code.label("unit"),
        Unit.name,
        RankingEntry.rank,
        RankingEntry.of_ranked,
    )
    .select_from(Ranking)
    .join(Plan, Plan.id == Ranking.plan_id)
    .join(Rule, Rule.id == Ranking.rule_id)
    .join(RankingRevision, RankingRevision.ranking_id == Ranking.id)
    .join(
        RankingEntry,
        (RankingEntry.ranking_id == Ranking.id) & (RankingEntry.revision == RankingRevision.revision),
    )
    .join(Unit, Unit.id == RankingEntry.unit_id)
    .outerjoin(Battle, Battle.id == Ranking.battle_id)
    .where(
        Plan.code == bindparam("plan"),
        RankingRevision.revision == newest_ranking_revision(_AS_OF),
    )
    .order_by(Ranking.kind, Unit.code, Ranking.period_start)
)
_SANCTIONS = Query(
    select(Rule.code, Rule.parameters, Rule.locator)
    .join(Plan, Plan.id == Rule.plan_id)
    .where(Plan.code == bindparam("plan"), Rule.code == any_(bindparam("rules", type_=ARRAY(Text))))
)
_YEAR = Query(select(Plan.year).where(Plan.code == bindparam("plan")))


async def list_consequences(
    reader: Reader, query: ConsequenceQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """What followed at ``query.as_of`` (default ``now``) for the units that the caller may see.

    Raises:
        UnknownReferenceError: there is no such plan.
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    of_plan = await reader.pool.fetch_value(_YEAR, plan=query.plan)
    if of_plan is None:
        raise unknown_reference("/query/plan", "unknown_plan", f"没有总体方案 {query.plan}")
    year = query.year or of_plan
    unit = None if query.unit is None else await resolve_unit(reader, query.unit, scope=query.plan)
    placed: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in await reader.pool.fetch(_PLACES, plan=query.plan, as_of=query.as_of or now):
        wanted = (
            row["period_start"].year == year and query.kind in {None, row["kind"]} and unit in {None, row["unit_id"]}
        )
        if wanted and caller.granted_visibility.admits(Subject(query.plan, row["battle"], row["unit"])):
            placed[row["kind"], row["unit"]].append(row)
    sanctions = await _sanctions(reader, query.plan)
    found = [_consequence(rows, query.counting, sanctions) for rows in placed.values()]
    items = [one for one in found if one is not None]
    explained = f"{year} 年有 {len(items)} 个单位至少一次居末位,次数按{query.counting.label}计"
    answer = ConsequencesRead(plan=query.plan, year=year, counting=query.counting, items=items, explanation=explained)
    return render(answer, known)


async def _sanctions(reader: Reader, plan: str) -> list[Sanction]:
    rules = [code for codes in SANCTION_RULES.values() for code in codes]
    rows = await reader.pool.fetch(_SANCTIONS, plan=plan, rules=rules)
    return [
        Sanction(row["code"], int(said["occurrence"]), said["measure"], said.get("imposed-by"), row["locator"])
        for row in rows
        for said in (decoded(row["parameters"]),)
        if {"occurrence", "measure"} <= said.keys()
    ]


def _consequence(rows: Sequence[Any], counting: Counting, sanctions: Sequence[Sanction]) -> ConsequenceRead | None:
    """What follows for one unit; ``None`` where it was never among the last."""
    first = rows[0]
    kind = RankingKind(first["kind"])
    places = last_places(first)
    of_quarter = {(row["period_start"].month + 2) // 3: row for row in rows}
    placings = [Placing(quarter, row["rank"], row["of_ranked"]) for quarter, row in of_quarter.items()]
    counted = times(placings, counting, places)
    if not counted:
        return None
    most = max(time for _, time in counted)
    due = sanction_for(most, [one for one in sanctions if one.rule in SANCTION_RULES[kind]])
    quarters = [
        {
            "period": of_quarter[placing.quarter]["period"],
            "ranking": of_quarter[placing.quarter]["id"],
            "rank": placing.rank,
            "of": placing.of,
            "time": time,
        }
        for placing, time in counted
    ]
    return ConsequenceRead.model_validate(
        {
            "unit": {"unit": first["unit"], "name": first["name"]},
            "kind": kind,
            "quarters": quarters,
            "times": most,
            "consequence": None
            if due is None
            else {name: getattr(due, name) for name in ("rule", "occurrence", "measure", "imposed_by", "locator")},
            "explanation": f"{_counted(first['name'], quarters, counting, most, places)};{_follows(kind, due)}",
        }
    )


def _counted(name: str, quarters: Sequence[dict[str, Any]], counting: Counting, most: int, places: int) -> str:
    where = "、".join(f"{one['period']} 第 {one['rank']}/{one['of']} 名" for one in quarters)
    return f"{name}{where},居末 {places} 位,{counting.label}{most} 次"


def _follows(kind: RankingKind, due: Sanction | None) -> str:
    if due is None:
        return f"原文没有规定{kind.label}居末位的后果"
    by = "" if due.imposed_by is None else f"由{due.imposed_by}"
    return f"应{by}{due.measure}({due.locator})"
