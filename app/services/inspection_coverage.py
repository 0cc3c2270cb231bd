"""Which of the units that are to be inspected in a quarter have been."""

from datetime import datetime
from typing import Any

from sqlalchemy import text

from app.db import Query
from app.domain.inspections import INSPECTION_RULE, lacking_parts
from app.domain.permissions import Subject
from app.rendering import Known, Rendered, render
from app.schemas.inspection import CoverageQuery, CoverageRead, CoveredUnitRead
from app.schemas.task import UnitRef
from app.services.caller import Caller
from app.services.quarters import quarter_rule
from app.services.reader import Reader

__all__ = ["measure_coverage"]

# The townships of the region, and the members of the task force of the battle that the rule stands in.
_OWED = Query(
    text("""
    WITH owed AS (
        SELECT u.id, u.code, u.name, u.kind FROM units u JOIN plans p ON p.region_code = u.region_code
        WHERE p.id = :plan AND u.kind = 'township'
        UNION
        SELECT u.id, u.code, u.name, u.kind FROM task_forces f
        JOIN task_force_members m ON m.task_force_id = f.id JOIN units u ON u.id = m.unit_id
        WHERE f.battle_id = CAST(:battle AS bigint)
    )
    SELECT o.code, o.name, o.kind, i.id AS inspection, r.score, r.circular_ref, r.exposure_ref
    FROM owed o
    LEFT JOIN inspections i ON i.plan_id = :plan AND i.unit_id = o.id AND i.period_start = :start
                           AND i.recorded_at <= CAST(:as_of AS timestamptz)
    LEFT JOIN LATERAL (
        SELECT score, circular_ref, exposure_ref FROM inspection_revisions
        WHERE inspection_id = i.id AND at <= CAST(:as_of AS timestamptz) ORDER BY revision DESC LIMIT 1
    ) r ON true
    ORDER BY o.kind = 'township', o.code
""")
)


async def measure_coverage(
    reader: Reader, query: CoverageQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """How far the inspections of a quarter reached at ``query.as_of`` (default ``now``), of the units the caller sees.

    Raises:
        UnknownReferenceError: there is no such plan, it asks for no inspections, or the period is no quarter of it that
            has begun.
    """
    rule = await quarter_rule(reader.pool, query.plan, INSPECTION_RULE, query.period, now=now, at="/query")
    as_of = query.as_of or now
    rows = await reader.pool.fetch(
        _OWED, plan=rule.plan_id, battle=rule.battle_id, start=rule.period.start, as_of=as_of
    )
    items = [
        _covered(row) for row in rows if caller.granted_visibility.admits(Subject(rule.plan, rule.battle, row["code"]))
    ]
    done = sum(one.inspection is not None for one in items)
    rest = [one.unit.name for one in items if one.inspection is None]
    missing = f",尚未巡查:{'、'.join(rest[:10])}{'等' if len(rest) > 10 else ''}" if rest else ""
    answer = CoverageRead(
        plan=rule.plan,
        period=rule.period.code,
        rule=rule.code,
        locator=rule.locator,
        owed=len(items),
        inspected=done,
        items=items,
        explanation=f"{rule.period.code} 应巡查 {len(items)} 个单位(各乡镇与专班成员单位),已巡查 {done} 个{missing}",
    )
    return render(answer, known)


def _covered(row: Any) -> CoveredUnitRead:
    there = row["inspection"] is not None
    scored, told, exposed = (row[name] is not None for name in ("score", "circular_ref", "exposure_ref"))
    return CoveredUnitRead(
        unit=UnitRef(unit=row["code"], name=row["name"]),
        kind=row["kind"],
        inspection=row["inspection"],
        lacking=list(lacking_parts(inspected=there, scored=scored, told=told, exposed=exposed)),
    )
