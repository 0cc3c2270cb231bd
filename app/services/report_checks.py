"""What a report is measured against, and what looks odd about it or contradicts itself.

The SQL here is for the statements that take reports in and those that change them: what is given to it are expressions
of the query around it, never values.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, TypeAlias

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
from app.services.standing import points_in

__all__ = [
    "AIM",
    "LIMITS",
    "Aim",
    "Figures",
    "Limits",
    "Named",
    "aim_in",
    "contradictions",
    "limits_in",
    "newest_figure_of",
    "points_of",
    "previous_figure_of",
    "previous_of",
    "warnings_of",
]

# Of an earlier period, the revision that counts: the certified one, else the one that waits for certification.
_COUNTED_REVISION = "coalesce(b.certified_revision, CASE b.state WHEN 'submitted' THEN b.revision END)"
_GROWING = {Operator.GTE.value, Operator.GT.value, Operator.EQ.value, Operator.APPROX.value}

# Everybody reports for the same few periods, most on the same schedule.
_scheduled = lru_cache(maxsize=1000)(schedule_progress)


class Aim(NamedTuple):
    """A target that a report names: what its figures are measured against."""

    id: int
    task_id: int | None
    name: str
    accumulation: Accumulation
    operator: str | None
    # What figures should grow towards; a ceiling or an aim without a value is nothing to grow towards.
    grows_to: Decimal | None


class Named(NamedTuple):
    """A target that a report names, and the figure that the unit reported for it last."""

    aim: Aim
    previous: Decimal | None


class Limits(NamedTuple):
    """What a report is measured by: the year of the plan, and the points at which it looks odd."""

    year: int
    thresholds: Thresholds
    jump_points: Decimal


# By their codes; a code that names no target is not among them.
Figures: TypeAlias = Mapping[str, Named]

# What is the same for many reports is written as one text where it is looked up, and read once for each text: the
# limits of a plan ``p`` and of a version ``v`` of its rule, and a target ``g`` with its indicator ``i``.
LIMITS = """CAST(json_build_array(p.year, CAST(p.behind_points AS text), CAST(p.ahead_points AS text),
                                      v.schedule ->> 'jump_points') AS text)"""
AIM = """CAST(json_build_array(g.id, g.task_id, i.name, i.accumulation, g.operator, CAST(g.value AS text)) AS text)"""


@lru_cache(maxsize=1000)
def limits_in(text: str) -> Limits:
    """The limits in a text of :data:`LIMITS`; a rule that names none for jumps has the default."""
    year, behind, ahead, jump = decoded(text)
    jump_points = DEFAULT_JUMP_POINTS if jump is None else Decimal(jump)
    return Limits(year, Thresholds(behind_points=Decimal(behind), ahead_points=Decimal(ahead)), jump_points)


@lru_cache(maxsize=10_000)
def aim_in(text: str) -> Aim:
    """The target in a text of :data:`AIM`."""
    identity, task, name, accumulation, operator, value = decoded(text)
    grows_to = Decimal(value) if value is not None and operator in _GROWING else None
    return Aim(identity, task, name, Accumulation(accumulation), operator, grows_to)


def points_of(task: str, unit: str) -> str:
    """SQL that finds the points of the schedule that a unit gave for a task, null where it gave none."""
    return f"""(
        SELECT json_agg(json_build_array(x.to_day, CAST(x.to_percent AS text))) FROM schedule_stretches x
        WHERE x.task_id = {task} AND x.unit_id = {unit} AND x.version = (
            SELECT max(y.version) FROM progress_schedules y WHERE y.task_id = {task} AND y.unit_id = {unit}))
    """  # noqa: S608 - of constants


def previous_of(task: str, unit: str, start: str) -> str:
    """SQL that finds what a unit reported on a task for the last period before ``start``."""
    return f"""
        SELECT r.submission_id, r.revision, r.percent_complete FROM (
            SELECT b.task_id, b.id, {_COUNTED_REVISION} AS revision FROM submissions b
            WHERE b.task_id = {task} AND b.unit_id = {unit} AND b.period_start < {start}
              AND {_COUNTED_REVISION} IS NOT NULL
            ORDER BY b.period_start DESC LIMIT 1
        ) b JOIN submission_revisions r ON (r.task_id, r.submission_id, r.revision) = (b.task_id, b.id, b.revision)
    """  # noqa: S608 - of constants


def previous_figure_of(
    target: str, *, task: str, unit: str, start: str, previous_id: str, previous_revision: str
) -> str:
    """SQL that finds the figure that a unit reported last before ``start`` for a target.

    That is the figure of the period before or, where that report gave none, the newest before it.
    """
    return f"""coalesce(
        (SELECT n.value FROM observations n
         WHERE n.task_id = {task} AND n.submission_id = {previous_id} AND n.revision = {previous_revision}
           AND n.target_id = {target}),
        {newest_figure_of(target, task=task, unit=unit, start=start)})
    """  # noqa: S608 - of constants


def newest_figure_of(target: str, *, task: str, unit: str, start: str) -> str:
    """The same, where nothing is known of the report before."""
    return f"""(
        SELECT n.value FROM submissions b, LATERAL (
            SELECT n.value FROM observations n
            WHERE (n.task_id, n.submission_id, n.revision) = (b.task_id, b.id, {_COUNTED_REVISION})
              AND n.target_id = {target}
            -- Kept apart: joined otherwise, the figures of all units for the target would be read.
            OFFSET 0
        ) n
        WHERE b.task_id = {task} AND b.unit_id = {unit} AND b.period_start < {start}
        ORDER BY b.period_start DESC LIMIT 1)
    """  # noqa: S608 - of constants


def warnings_of(
    report: ReportWrite,
    period: Period,
    *,
    limits: Limits,
    points: str | None,
    previous_percent: Decimal | None,
    figures: Figures,
) -> list[ReportWarning]:
    """What looks odd about a report that can be taken; ``points`` are those of its own schedule, as JSON."""
    return check_report(
        percent=report.percent_complete,
        previous_percent=previous_percent,
        scheduled=_scheduled(limits.year, period.end, () if points is None else points_in(points)),
        figures=[
            Figure(aim.name, aim.accumulation, observation.value, previous, aim.grows_to)
            for observation in report.observations
            for aim, previous in (figures[observation.target],)
        ],
        jump_points=limits.jump_points,
        thresholds=limits.thresholds,
    )


def contradictions(report: ReportWrite, task: int, figures: Figures) -> list[Fault]:
    """Where a report contradicts itself or names a target that is not its task's."""
    faults: list[Fault] = []
    for part, code, detail in refuse_report(report.stage, report.percent_complete):
        faults.append(Fault(f"/body/{part}", code, detail))
    named: set[str] = set()
    for index, observation in enumerate(report.observations):
        code = observation.target
        target = figures.get(code)
        if target is None or target.aim.task_id != task:
            faults.append(Fault(f"/body/observations/{index}/target", "not_its_target", f"{code} 不是该任务的目标"))
        elif target.aim.operator is None:
            faults.append(Fault(f"/body/observations/{index}/target", "qualitative", f"{code} 是定性目标,没有数值"))
        elif code in named:
            faults.append(Fault(f"/body/observations/{index}/target", "repeated", f"{code} 重复"))
        named.add(code)
    return faults
