"""The SQL of how tasks and targets stand at an instant, for lists to filter by and roll-ups to count.

A task stands where the newest certified reports of its reporting units put it: at their mean per cent, completed only
when all are. It deviates by the mean of what each unit's per cent lies above or below that unit's own schedule. Stages,
schedules and lights follow ``app.domain.progress``; tests hold the SQL equal to it.

Of now and of then there is one path: all of it refers to the parameters that :func:`at_instant` gives, and counts
nothing that was certified or set after them.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Date, DateTime, Numeric, Text, and_, bindparam, case, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, distinct_on
from sqlalchemy.orm import aliased

from app.clock import day_of
from app.domain.plan import Accumulation, Direction, Operator
from app.domain.progress import Light, Stage
from app.models import (
    GivenFigure,
    Indicator,
    Observation,
    Plan,
    ProgressSchedule,
    ScheduleStretch,
    Submission,
    SubmissionRevision,
    Target,
    Task,
)
from app.services.reader import decoded

__all__ = [
    "at_instant",
    "light_by",
    "light_of_task",
    "newest_reports",
    "points_in",
    "reached_by",
    "reports_of_task",
    "revision_shown",
    "schedule_points",
    "schedule_version",
    "stage_of_task",
    "standing_of_targets",
    "standing_of_task",
]

_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_DAY = bindparam("day", type_=Date)


def at_instant(as_of: datetime) -> dict[str, Any]:
    """The parameters of this module's SQL: an instant, and the day it lies on in Shanghai."""
    return {"as_of": as_of, "day": day_of(as_of)}


def _revision(condition: Any) -> Any:
    """The highest revision, of those that meet a condition, of the submission of the query around it."""
    return (
        select(func.max(SubmissionRevision.revision))
        .where(
            SubmissionRevision.task_id == Submission.task_id,
            SubmissionRevision.submission_id == Submission.id,
            condition,
        )
        .correlate(Submission)
        .scalar_subquery()
    )


def _revision_in_force() -> Any:
    return _revision(SubmissionRevision.certified_at <= _AS_OF)


def revision_shown() -> Any:
    """The revision in force of the submission of the query around it, or the newest handed in; null for a draft."""
    return func.coalesce(_revision_in_force(), _revision(SubmissionRevision.submitted_at <= _AS_OF))


def schedule_version(task: Any, unit: Any, *around: Any, as_of: Any = _AS_OF) -> Any:
    """The version of the schedule in force of a unit for a task, columns of the tables ``around``; null for none."""
    return (
        select(func.max(ProgressSchedule.version))
        .where(
            ProgressSchedule.task_id == task,
            ProgressSchedule.unit_id == unit,
            ProgressSchedule.set_at <= as_of,
        )
        .correlate(*around)
        .scalar_subquery()
    )


def schedule_points(task: Any, unit: Any, version: Any, *around: Any) -> Any:
    """The points of a version of a schedule as JSON, for :func:`points_in`; columns of the tables ``around``."""
    point = func.json_build_array(ScheduleStretch.to_day, cast(ScheduleStretch.to_percent, Text))
    return (
        select(func.json_agg(aggregate_order_by(point, ScheduleStretch.to_day)))
        .where(ScheduleStretch.task_id == task, ScheduleStretch.unit_id == unit, ScheduleStretch.version == version)
        .correlate(*around)
        .scalar_subquery()
    )


def points_in(text: str | None) -> tuple[tuple[date, Decimal], ...]:
    """The points of a schedule, read from JSON; none where there is none."""
    return tuple((date.fromisoformat(day), Decimal(percent)) for day, percent in decoded(text) or ())


@dataclass(frozen=True, slots=True)
class _At:
    """The instant and the day as of which something stands: the parameters, or columns of a table around."""

    instant: Any = _AS_OF
    day: Any = _DAY
    around: tuple[Any, ...] = ()


_GIVEN = _At()


def newest_reports(*columns: Any, at: _At = _GIVEN) -> Any:
    """The newest certified report of each reporting unit of the task of the query around it, with further columns."""
    return (
        select(
            Submission.task_id,
            Submission.unit_id,
            Plan.year,
            Plan.ahead_points,
            Plan.behind_points,
            SubmissionRevision.stage,
            SubmissionRevision.percent_complete,
            *columns,
        )
        .select_from(Submission)
        .join(
            SubmissionRevision,
            and_(
                SubmissionRevision.task_id == Submission.task_id,
                SubmissionRevision.submission_id == Submission.id,
                SubmissionRevision.certified_at <= at.instant,
            ),
        )
        .join(Plan, Plan.id == Submission.plan_id)
        .where(Submission.task_id == Task.id)
        .ext(distinct_on(Submission.unit_id))
        .order_by(
            Submission.unit_id,
            Submission.period_start.desc(),
            Submission.id.desc(),
            SubmissionRevision.revision.desc(),
        )
        .correlate(Task, *at.around)
        .subquery("newest")
    )


def _scheduled(report: Any, at: _At = _GIVEN) -> Any:
    """The schedule at the end of the day of the unit of a report: its own, else even over the plan year."""
    span = cast(ScheduleStretch.to_day - ScheduleStretch.from_day, Numeric)
    passed = func.least(func.greatest(cast(at.day - ScheduleStretch.from_day, Numeric), 0), span)
    own = (
        select(func.round(func.sum((ScheduleStretch.to_percent - ScheduleStretch.from_percent) * passed / span), 2))
        .where(
            ScheduleStretch.task_id == report.c.task_id,
            ScheduleStretch.unit_id == report.c.unit_id,
            ScheduleStretch.version
            == schedule_version(report.c.task_id, report.c.unit_id, report, *at.around, as_of=at.instant),
        )
        .correlate(report, *at.around)
        .scalar_subquery()
    )
    start, end = func.make_date(report.c.year, 1, 1), func.make_date(report.c.year, 12, 31)
    share = func.round(cast(at.day - start + 1, Numeric) * 100 / cast(end - start + 1, Numeric), 2)
    return func.coalesce(own, func.least(100, func.greatest(0, share)))


def _stage(newest: Any) -> Any:
    """The stage that the newest reports put a task into; without one it has not started."""
    return case(
        (func.bool_and(newest.c.stage == Stage.COMPLETED.value), literal(Stage.COMPLETED.value)),
        (func.bool_and(newest.c.stage == Stage.NOT_STARTED.value), literal(Stage.NOT_STARTED.value)),
        (func.count() == 0, literal(Stage.NOT_STARTED.value)),
        else_=literal(Stage.IN_PROGRESS.value),
    )


def standing_of_task(at: Any = None) -> Any:
    """One row on the task of the query around it: its stage, per cent and deviation, and the thresholds of its lights.

    All but the stage are null without a certified report. ``at`` is a table around that has an ``instant`` and its
    ``day``, as of which it stands in place of the parameters.
    """
    when = _GIVEN if at is None else _At(at.c.instant, at.c.day, (at,))
    newest = newest_reports(at=when)
    standing = select(
        _stage(newest).label("stage"),
        func.avg(newest.c.percent_complete).label("percent"),
        func.avg(newest.c.percent_complete - _scheduled(newest, when)).label("deviation"),
        func.max(newest.c.ahead_points).label("ahead_points"),
        func.max(newest.c.behind_points).label("behind_points"),
    ).select_from(newest)
    return standing.correlate(*when.around) if when.around else standing


def reports_of_task() -> Any:
    """Each reporting unit of the task of the query around it, its newest certified per cent, and its deviation."""
    newest = newest_reports()
    return select(
        newest.c.unit_id,
        newest.c.percent_complete.label("percent"),
        (newest.c.percent_complete - _scheduled(newest)).label("deviation"),
    ).select_from(newest)


def light_by(standing: Any) -> Any:
    """The light of a task that stands so; null without a certified report."""
    return case(
        (standing.c.deviation.is_(None), None),
        (standing.c.stage == Stage.COMPLETED.value, literal(Light.COMPLETED.value)),
        (standing.c.deviation >= standing.c.ahead_points, literal(Light.AHEAD.value)),
        (standing.c.deviation >= 0, literal(Light.ON_TRACK.value)),
        (standing.c.deviation >= -standing.c.behind_points, literal(Light.BEHIND.value)),
        else_=literal(Light.FAR_BEHIND.value),
    )


def stage_of_task() -> Any:
    """The stage of the task of the query around it."""
    newest = newest_reports()
    return select(_stage(newest)).select_from(newest).scalar_subquery()


def light_of_task() -> Any:
    """The light of the task of the query around it; null without a certified report."""
    standing = standing_of_task().subquery("standing")
    return select(light_by(standing)).select_from(standing).scalar_subquery()


def _figures() -> Any:
    """The certified figures of the target of the query around it, a row each."""
    return (
        select(Observation.value, Submission.period_start, Submission.id)
        .select_from(Submission)
        .join(
            Observation,
            and_(
                Observation.task_id == Submission.task_id,
                Observation.submission_id == Submission.id,
                Observation.revision == _revision_in_force(),
            ),
        )
        .where(Submission.task_id == Target.task_id, Observation.target_id == Target.id)
        .correlate(Target)
        .subquery("figures")
    )


def standing_of_targets(*columns: Any) -> Any:
    """Every target that has a value, with the year's figure as it stands; null without a certified one.

    What is measured period by period adds up to the year's figure; of what is cumulative, or of a point in time, it is
    the newest, and of several units that report for one period that which came last.
    """
    every, each = _figures(), _figures()
    total = select(func.sum(every.c.value)).select_from(every).scalar_subquery()
    newest = (
        select(each.c.value)
        .select_from(each)
        .order_by(each.c.period_start.desc(), each.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            Target.operator,
            Target.value,
            Target.value_max,
            Indicator.direction,
            case((Indicator.accumulation == Accumulation.PERIOD.value, total), else_=newest).label("figure"),
            *columns,
        )
        .join(Indicator, Indicator.id == Target.indicator_id)
        .where(Target.operator.is_not(None), _in_force())
    )


def _in_force() -> Any:
    """Whether a target holds: one that came from above since then, and until another took its place."""
    given, later = aliased(GivenFigure), aliased(GivenFigure)
    as_of = bindparam("as_of", type_=DateTime(timezone=True))
    ahead = select(given.target_id).where(given.given_at > as_of)
    replaced = select(later.replaces_id).where(later.replaces_id.is_not(None), later.given_at <= as_of)
    return and_(Target.id.not_in(ahead), Target.id.not_in(replaced))


def reached_by(standing: Any) -> Any:
    """Whether a target that stands so is reached."""
    operator, figure, value = standing.c.operator, standing.c.figure, standing.c.value
    exact = or_(operator == Operator.EQ.value, operator == Operator.APPROX.value)
    lower = standing.c.direction == Direction.LOWER.value
    return or_(
        and_(operator == Operator.GTE.value, figure >= value),
        and_(operator == Operator.GT.value, figure > value),
        and_(operator == Operator.LTE.value, figure <= value),
        and_(operator == Operator.LT.value, figure < value),
        # Beyond the value on the better side is reached too.
        and_(exact, lower, figure <= value),
        and_(exact, ~lower, figure >= value),
        and_(operator == Operator.RANGE.value, figure.between(value, standing.c.value_max)),
    )
