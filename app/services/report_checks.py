"""What a report is measured against, and what looks odd about it or contradicts itself.

The SQL here is for the statements that take reports in and those that change them: what is given to it are expressions
of the query around it, never values.
"""

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from app.domain.periods import Period
from app.domain.plan import Accumulation, Operator
from app.domain.progress import (
    DEFAULT_JUMP_POINTS,
    Figure,
    ReportWarning,
    Thresholds,
    check_report,
    refuse_report,
    schedule_progress,
)
from app.errors import Fault
from app.schemas.submission import ReportWrite
from app.services.reader import decoded

__all__ = ["contradictions", "figures_of", "measures_of", "warnings_of"]

# Of an earlier period, the revision that counts: the certified one, else the one that waits for certification.
_COUNTED_REVISION = "coalesce(b.certified_revision, CASE b.state WHEN 'submitted' THEN b.revision END)"
_GROWING = {Operator.GTE.value, Operator.GT.value, Operator.EQ.value, Operator.APPROX.value}

# Everybody reports for the same few periods, most on the same schedule.
_scheduled = lru_cache(maxsize=1000)(schedule_progress)


def measures_of(*, plan: str, task: str, unit: str, start: str, rule: str, version: str) -> str:
    """SQL that finds the plan's year and limits, the unit's own schedule, and what it reported the period before."""
    return f"""
        SELECT p.year, p.ahead_points, p.behind_points, v.schedule -> 'jump_points' AS jump_points,
               (SELECT json_agg(json_build_array(x.to_day, CAST(x.to_percent AS text)))
                FROM schedule_stretches x
                WHERE x.task_id = {task} AND x.unit_id = {unit} AND x.version = (
                    SELECT max(y.version) FROM progress_schedules y WHERE y.task_id = {task} AND y.unit_id = {unit}
                )) AS points,
               q.submission_id AS previous_id, q.revision AS previous_revision, q.percent_complete AS previous_percent
        FROM plans p LEFT JOIN rule_versions v ON v.rule_id = {rule} AND v.version = {version}
        LEFT JOIN LATERAL (
            SELECT r.submission_id, r.revision, r.percent_complete FROM submissions b, submission_revisions r
            WHERE (r.task_id, r.submission_id, r.revision) = (b.task_id, b.id, {_COUNTED_REVISION})
              AND b.task_id = {task} AND b.unit_id = {unit} AND b.period_start < {start}
            ORDER BY b.period_start DESC LIMIT 1
        ) q ON true
        WHERE p.id = {plan} LIMIT 1
    """  # noqa: S608 - of constants


def figures_of(code: str, *, task: str, unit: str, start: str, previous_id: str, previous_revision: str) -> str:
    """SQL that finds the target of a code with the figure that the unit reported last before ``start``.

    That is the figure of the period before or, where that report gave none, the newest before it.
    """
    return f"""
        SELECT g.id AS target_id, g.task_id AS target_task_id, i.name AS indicator_name, i.accumulation, g.operator,
               g.value AS target_value, coalesce(
                   (SELECT n.value FROM observations n
                    WHERE n.task_id = {task} AND n.submission_id = {previous_id} AND n.revision = {previous_revision}
                      AND n.target_id = g.id),
                   (SELECT n.value FROM submissions b, observations n
                    WHERE (n.task_id, n.submission_id, n.revision) = (b.task_id, b.id, {_COUNTED_REVISION})
                      AND n.target_id = g.id AND b.task_id = {task} AND b.unit_id = {unit} AND b.period_start < {start}
                    ORDER BY b.period_start DESC LIMIT 1)
               ) AS previous
        FROM targets g JOIN indicators i ON i.id = g.indicator_id
        WHERE g.code = {code}
    """  # noqa: S608 - of constants


def warnings_of(report: ReportWrite, period: Period, measures: Any, figures: dict[str, Any]) -> list[ReportWarning]:
    """What looks odd about a report that can be taken; ``measures`` and ``figures`` as the SQL here finds them."""
    thresholds, jump = _limits(measures["ahead_points"], measures["behind_points"], measures["jump_points"])
    return check_report(
        percent=report.percent_complete,
        previous_percent=measures["previous_percent"],
        scheduled=_scheduled(measures["year"], period.end, _points(measures["points"])),
        figures=[
            Figure(
                name=target["indicator_name"],
                accumulation=Accumulation(target["accumulation"]),
                value=observation.value,
                previous=target["previous"],
                # A ceiling or an aim without a value is nothing to grow towards.
                target_value=target["target_value"] if target["operator"] in _GROWING else None,
            )
            for observation in report.observations
            for target in (figures[observation.target],)
        ],
        jump_points=jump,
        thresholds=thresholds,
    )


@lru_cache(maxsize=1000)
def _limits(ahead: Decimal, behind: Decimal, jump: str | None) -> tuple[Thresholds, Decimal]:
    """The limits of a plan and of a rule; one that names none for jumps has the default."""
    jump_points = DEFAULT_JUMP_POINTS if jump is None else Decimal(jump)
    return Thresholds(behind_points=behind, ahead_points=ahead), jump_points


def _points(points: str | None) -> tuple[tuple[date, Decimal], ...]:
    return tuple((date.fromisoformat(day), Decimal(percent)) for day, percent in decoded(points) or ())


def contradictions(report: ReportWrite, task: int, figures: dict[str, Any]) -> list[Fault]:
    """Where a report contradicts itself or names a target that is not its task's."""
    faults = [
        Fault(f"/body/{part}", code, detail)
        for part, code, detail in refuse_report(report.stage, report.percent_complete)
    ]
    named = [observation.target for observation in report.observations]
    for index, code in enumerate(named):
        target = figures.get(code)
        if target is None or target["target_task_id"] != task:
            faults.append(Fault(f"/body/observations/{index}/target", "not_its_target", f"{code} 不是该任务的目标"))
        elif target["operator"] is None:
            faults.append(Fault(f"/body/observations/{index}/target", "qualitative", f"{code} 是定性目标,没有数值"))
        elif code in named[:index]:
            faults.append(Fault(f"/body/observations/{index}/target", "repeated", f"{code} 重复"))
    return faults
