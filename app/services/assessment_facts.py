"""What is known of the units that are assessed: four statements, however many units they are.

Reports and texts are counted as ``/compliance`` counts them, at the instant asked for. Of reports only what was
certified by then counts, and of those that were sent back or corrected only what led to something certified: so that
everybody who sees a unit counts the same, whoever sees the draft of a correction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Integer,
    and_,
    any_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    text,
)

from app.db import Database, Query
from app.domain.assessment import Aspect, Facts, FaultKind, Given
from app.domain.deadlines import ObligationStatus
from app.domain.plan import RuleKind
from app.models import Material, Obligation, Rule, RuleVersion
from app.services.assessment_scope import Scope
from app.services.deadlines import status_at

__all__ = ["Known", "facts_of_units"]

_TASKS = Query(
    text("""
    WITH owed AS MATERIALIZED (
        SELECT DISTINCT o.unit_id, o.task_id FROM obligations o JOIN rules r ON r.id = o.rule_id
        WHERE o.plan_id = :plan AND o.battle_id = :battle AND o.task_id IS NOT NULL AND r.kind = 'reporting'
          AND (CAST(:unit AS bigint) IS NULL OR o.unit_id = CAST(:unit AS bigint))
    ), certified AS MATERIALIZED (
        SELECT s.task_id, s.unit_id, s.id, s.period_start, max(r.revision) AS revision, count(*) AS revisions
        FROM owed o
        JOIN submissions s ON s.task_id = o.task_id AND s.unit_id = o.unit_id
        JOIN submission_revisions r ON r.task_id = s.task_id AND r.submission_id = s.id
        WHERE r.certified_at <= CAST(:as_of AS timestamptz)
        GROUP BY s.task_id, s.unit_id, s.id, s.period_start
    ), newest AS (
        SELECT DISTINCT ON (c.task_id, c.unit_id) c.task_id, c.unit_id, r.stage, r.percent_complete
        FROM certified c
        JOIN submission_revisions r
          ON r.task_id = c.task_id AND r.submission_id = c.id AND r.revision = c.revision
        ORDER BY c.task_id, c.unit_id, c.period_start DESC, c.id DESC
    ), quality AS (
        SELECT c.unit_id, count(*) AS certified, count(*) FILTER (
            WHERE c.revisions = 1 AND NOT EXISTS (
                SELECT FROM submission_transitions x
                WHERE x.task_id = c.task_id AND x.submission_id = c.id AND x.action = 'return'
                  AND x.revision <= c.revision AND x.at <= CAST(:as_of AS timestamptz))) AS clean
        FROM certified c GROUP BY c.unit_id
    )
    SELECT u.id, u.code, u.name, count(*) AS tasks, count(*) FILTER (WHERE n.stage = 'completed') AS completed,
           round(avg(coalesce(n.percent_complete, 0)), 2) AS mean_percent,
           coalesce(array_agg(t.code ORDER BY t.sort_key) FILTER (WHERE n.stage IS DISTINCT FROM 'completed'),
                    CAST('{}' AS text[])) AS unfinished,
           coalesce(max(q.certified), 0) AS certified, coalesce(max(q.clean), 0) AS clean
    FROM owed o
    JOIN units u ON u.id = o.unit_id
    JOIN tasks t ON t.id = o.task_id
    LEFT JOIN newest n ON n.task_id = o.task_id AND n.unit_id = o.unit_id
    LEFT JOIN quality q ON q.unit_id = o.unit_id
    GROUP BY u.id ORDER BY u.code
""")
)
_MARKS = Query(
    text("""
    SELECT DISTINCT ON (m.unit_id, m.aspect) m.unit_id, m.aspect, m.value, m.marked_by_name, m.reason FROM marks m
    WHERE m.battle_id = :battle AND m.plan_id = :plan AND m.unit_id = ANY(CAST(:units AS bigint[]))
      AND m.marked_at <= CAST(:judged_at AS timestamptz)
    ORDER BY m.unit_id, m.aspect, m.marked_at DESC, m.id DESC
""")
)
_FAULTS = Query(
    text("""
    SELECT f.unit_id, f.kind,
           count(*) FILTER (WHERE f.state <> 'dismissed' AND f.decided_at <= CAST(:judged_at AS timestamptz)
                            AND coalesce(f.withdrawn_at > CAST(:judged_at AS timestamptz), true)) AS upheld,
           count(*) FILTER (WHERE coalesce(f.decided_at > CAST(:judged_at AS timestamptz), true)) AS pending
    FROM faults f
    WHERE f.battle_id = :battle AND f.plan_id = :plan AND f.unit_id = ANY(CAST(:units AS bigint[]))
      AND f.recorded_at <= CAST(:judged_at AS timestamptz)
    GROUP BY f.unit_id, f.kind
""")
)
_DUE = (ObligationStatus.ON_TIME, ObligationStatus.LATE, ObligationStatus.OVERDUE, ObligationStatus.MISSED)


def _reports() -> Query:
    """Reports and texts by unit, kind of rule and status: how many, and of texts how many are asked for and came."""
    asked = RuleVersion.schedule["minimum_count"].as_integer()
    came = (
        select(func.count())
        .where(
            Material.unit_id == Obligation.unit_id,
            Material.rule_id == Obligation.rule_id,
            Material.period_start == Obligation.period_start,
            Material.received_at <= bindparam("as_of", type_=DateTime(timezone=True)),
        )
        .correlate(Obligation)
        .scalar_subquery()
    )
    in_force = and_(RuleVersion.rule_id == Obligation.rule_id, RuleVersion.version == Obligation.rule_version)
    of_material = Rule.kind == RuleKind.MATERIAL.value
    owed = (
        select(
            Obligation.unit_id,
            Rule.kind,
            status_at().label("status"),
            case((of_material, asked), else_=0).label("asked"),
            case((of_material, func.least(asked, came)), else_=0).label("sent"),
        )
        .select_from(Obligation)
        .join(Rule, Rule.id == Obligation.rule_id)
        .join(RuleVersion, in_force)
        .where(
            Obligation.unit_id == any_(bindparam("units", type_=ARRAY(BigInteger))),
            Obligation.plan_id == bindparam("plan", type_=BigInteger),
            # What is owed apart from any battle, such as texts, is owed by the units of each.
            or_(Obligation.battle_id.is_(None), Obligation.battle_id == bindparam("battle", type_=BigInteger)),
            Rule.kind.in_((literal(RuleKind.REPORTING.value), literal(RuleKind.MATERIAL.value))),
        )
        .subquery("owed")
    )
    return Query(
        select(
            owed.c.unit_id,
            owed.c.kind,
            owed.c.status,
            func.count().label("reports"),
            func.sum(owed.c.asked, type_=Integer).label("asked"),
            func.sum(owed.c.sent, type_=Integer).label("sent"),
        ).group_by(owed.c.unit_id, owed.c.kind, owed.c.status)
    )


_REPORTS = _reports()


@dataclass(frozen=True, slots=True)
class Known:
    """A unit and what is known of it."""

    key: int
    code: str
    name: str
    facts: Facts


async def facts_of_units(
    db: Database, scope: Scope, *, unit: int | None, as_of: datetime, judged_at: datetime
) -> list[Known]:
    """What is known of the units that lead tasks of a battle, or of one, by code.

    Figures are those of ``as_of``; marks and decisions on faults those of ``judged_at``.
    """
    here = {"plan": scope.plan_key, "battle": scope.battle_key}
    leading = await db.fetch(_TASKS, **here, unit=unit, as_of=as_of)
    if not leading:
        return []
    units = [row["id"] for row in leading]
    reports = _by_unit(await db.fetch(_REPORTS, **here, units=units, as_of=as_of))
    marks = _by_unit(await db.fetch(_MARKS, **here, units=units, judged_at=judged_at))
    faults = _by_unit(await db.fetch(_FAULTS, **here, units=units, judged_at=judged_at))
    return [
        Known(
            row["id"],
            row["code"],
            row["name"],
            _facts(row, reports.get(row["id"], ()), marks.get(row["id"], ()), faults.get(row["id"], ())),
        )
        for row in leading
    ]


def _by_unit(rows: Sequence[Any]) -> Mapping[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row["unit_id"], []).append(row)
    return found


def _facts(row: Any, reports: Sequence[Any], marks: Sequence[Any], faults: Sequence[Any]) -> Facts:
    def count(column: str, *statuses: ObligationStatus, kind: RuleKind | None = None) -> int:
        return sum(
            int(one[column] or 0)
            for one in reports
            if one["status"] in statuses and (kind is None or one["kind"] == kind.value)
        )

    entered = {FaultKind(one["kind"]): one["upheld"] for one in faults}
    derived = {
        FaultKind.LATE: count("reports", ObligationStatus.LATE),
        FaultKind.MISSED: count("reports", ObligationStatus.MISSED),
    }
    return Facts(
        due=count("reports", *_DUE, kind=RuleKind.REPORTING),
        on_time=count("reports", ObligationStatus.ON_TIME, kind=RuleKind.REPORTING),
        tasks=row["tasks"],
        completed=row["completed"],
        mean_percent=Decimal(row["mean_percent"]),
        unfinished=tuple(row["unfinished"]),
        certified=row["certified"],
        clean=row["clean"],
        texts_due=count("asked", *_DUE, kind=RuleKind.MATERIAL),
        texts_sent=count("sent", *_DUE, kind=RuleKind.MATERIAL),
        faults={**entered, **derived},
        marks={
            Aspect(one["aspect"]): Given(one["value"].normalize(), one["marked_by_name"], one["reason"])
            for one in marks
        },
        pending=sum(one["pending"] for one in faults),
    )
