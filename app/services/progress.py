"""How far tasks are: the series of one, the standing of each, and battles and plans rolled up in SQL.

A task stands where the newest certified reports of its reporting units put it: at their mean per cent, completed only
when all are. Schedule and lights follow ``app.domain.progress``; a test holds the SQL equal to it.
"""

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import Date, Numeric, and_, bindparam, case, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import distinct_on

from app.clock import SHANGHAI
from app.db import Query
from app.domain.periods import parse_period
from app.domain.plan import Direction, Operator
from app.domain.progress import DEFAULT_THRESHOLDS, Light, Stage, deviation, light, schedule_progress
from app.errors import NotFoundError
from app.models import Battle, Indicator, Observation, Plan, Submission, SubmissionRevision, Target, Task, Unit
from app.rendering import Known, Rendered, render
from app.schemas.progress import ProgressPoint, RollUpRead, TaskProgressRead
from app.schemas.task import UnitRef
from app.services.reader import Reader

__all__ = ["get_task_progress", "light_of_task", "roll_up_battle", "roll_up_plan", "stage_of_task"]

_DAY = bindparam("today", type_=Date)


def _in_force(revision: Any) -> Any:
    return and_(
        SubmissionRevision.task_id == Submission.task_id,
        SubmissionRevision.submission_id == Submission.id,
        SubmissionRevision.revision == revision,
    )


def _newest() -> Any:
    """The newest certified report of each reporting unit of the task of the query around it."""
    return (
        select(SubmissionRevision.stage, SubmissionRevision.percent_complete)
        .select_from(Submission)
        .join(SubmissionRevision, _in_force(Submission.certified_revision))
        .where(Submission.task_id == Task.id)
        .ext(distinct_on(Submission.unit_id))
        .order_by(Submission.unit_id, Submission.period_start.desc(), Submission.id.desc())
        .correlate(Task)
        .subquery()
    )


def stage_of_task() -> Any:
    """The stage of the task of the query around it; without a certified report it has not started."""
    newest = _newest()
    stage = case(
        (func.bool_and(newest.c.stage == Stage.COMPLETED.value), literal(Stage.COMPLETED.value)),
        (func.bool_and(newest.c.stage == Stage.NOT_STARTED.value), literal(Stage.NOT_STARTED.value)),
        (func.count() == 0, literal(Stage.NOT_STARTED.value)),
        else_=literal(Stage.IN_PROGRESS.value),
    )
    return select(stage).select_from(newest).scalar_subquery()


def _percent_of_task() -> Any:
    newest = _newest()
    return select(func.avg(newest.c.percent_complete)).select_from(newest).scalar_subquery()


def _scheduled() -> Any:
    """The schedule progress of the task's plan at the end of ``today``: linear over its year, 0 to 100."""
    year = select(Plan.year).where(Plan.id == Task.plan_id).correlate(Task).scalar_subquery()
    start, end = func.make_date(year, 1, 1), func.make_date(year, 12, 31)
    elapsed = cast(_DAY - start + 1, Numeric)
    share = func.round(elapsed * 100 / cast(end - start + 1, Numeric), 2)
    return func.least(100, func.greatest(0, share))


def _light(stage: Any, percent: Any, scheduled: Any) -> Any:
    off = percent - scheduled
    return case(
        (percent.is_(None), None),
        (stage == Stage.COMPLETED.value, literal(Light.COMPLETED.value)),
        (off >= float(DEFAULT_THRESHOLDS.ahead_points), literal(Light.AHEAD.value)),
        (off >= 0, literal(Light.ON_TRACK.value)),
        (off >= -float(DEFAULT_THRESHOLDS.behind_points), literal(Light.BEHIND.value)),
        else_=literal(Light.FAR_BEHIND.value),
    )


def light_of_task() -> Any:
    """The light of the task of the query around it on ``today``; null without a certified report."""
    return _light(stage_of_task(), _percent_of_task(), _scheduled())


_SERIES = Query(
    select(
        Submission.period,
        Submission.state,
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Plan.year,
        SubmissionRevision.revision,
        SubmissionRevision.stage,
        SubmissionRevision.percent_complete,
    )
    .select_from(Submission)
    .join(SubmissionRevision, _in_force(func.coalesce(Submission.certified_revision, Submission.revision)))
    .join(Task, Task.id == Submission.task_id)
    .join(Unit, Unit.id == Submission.unit_id)
    .join(Plan, Plan.id == Submission.plan_id)
    .where(Task.code == bindparam("code"))
    .order_by(Submission.period_start, Submission.period, Unit.code)
)
_TASK = Query(select(Task.id).where(Task.code == bindparam("code")))


def _reached() -> Any:
    """Whether the newest certified figure of a target meets it."""
    newest = (
        select(Observation.value)
        .select_from(Submission)
        .join(
            Observation,
            and_(
                Observation.task_id == Submission.task_id,
                Observation.submission_id == Submission.id,
                Observation.revision == Submission.certified_revision,
            ),
        )
        .where(Submission.task_id == Target.task_id, Observation.target_id == Target.id)
        # Of several units that report for one period, the one that came last.
        .order_by(Submission.period_start.desc(), Submission.id.desc())
        .limit(1)
        .correlate(Target)
        .scalar_subquery()
    )
    operator = Target.operator
    exact = or_(operator == Operator.EQ.value, operator == Operator.APPROX.value)
    lower = Indicator.direction == Direction.LOWER.value
    return or_(
        and_(operator == Operator.GTE.value, newest >= Target.value),
        and_(operator == Operator.GT.value, newest > Target.value),
        and_(operator == Operator.LTE.value, newest <= Target.value),
        and_(operator == Operator.LT.value, newest < Target.value),
        # Beyond the value on the better side is reached too.
        and_(exact, lower, newest <= Target.value),
        and_(exact, ~lower, newest >= Target.value),
        and_(operator == Operator.RANGE.value, newest.between(Target.value, Target.value_max)),
    )


def _roll_up(model: Any, owner: Any, target_owner: Any) -> Query:
    standing = (
        select(
            stage_of_task().label("stage"),
            _percent_of_task().label("percent"),
            light_of_task().label("light"),
            (_percent_of_task() - _scheduled()).label("deviation"),
        )
        .select_from(Task)
        .where(owner == model.id)
        .correlate(model)
        .lateral("standing")
    )

    def count(column: Any, value: str) -> Any:
        return func.count().filter(column == value)

    figures = (
        select(
            func.count().label("tasks"),
            func.count(standing.c.percent).label("reported"),
            *(count(standing.c.stage, stage.value).label(f"stage_{stage.value}") for stage in Stage),
            *(count(standing.c.light, one.value).label(f"light_{one.value}") for one in Light),
            func.round(func.avg(standing.c.deviation), 2).label("mean_deviation"),
        )
        .select_from(standing)
        .correlate(model)
        .lateral("figures")
    )
    targets = (
        select(func.count().label("targets"), func.count().filter(_reached()).label("targets_reached"))
        .select_from(Target)
        .join(Indicator, Indicator.id == Target.indicator_id)
        .where(target_owner == model.id, Target.operator.is_not(None))
        .correlate(model)
        .lateral("targets")
    )
    plan = model.id if model is Plan else model.plan_id
    year = (
        select(Plan.year).where(Plan.id == plan).correlate(model).scalar_subquery() if model is not Plan else Plan.year
    )
    return Query(
        select(model.code, year.label("year"), *figures.c, *targets.c)
        .select_from(model)
        .join(figures, literal(True))
        .join(targets, literal(True))
        .where(model.code == bindparam("code"))
    )


_OF_BATTLE = _roll_up(Battle, Task.battle_id, Target.battle_id)
_OF_PLAN = _roll_up(Plan, Task.plan_id, Target.plan_id)


async def get_task_progress(reader: Reader, code: str, known: Known) -> Rendered:
    """The reports on a task, period by period.

    Raises:
        NotFoundError: no task has this code.
    """
    rows = await reader.pool.fetch(_SERIES, code=code)
    if not rows and await reader.pool.fetch_value(_TASK, code=code) is None:
        raise NotFoundError(f"没有任务 {code}")
    return render(TaskProgressRead(task=code, items=[_point(row) for row in rows]), known)


def _point(row: Any) -> ProgressPoint:
    scheduled = schedule_progress(row["year"], parse_period(row["period"]).end)
    stage, percent = Stage(row["stage"]), row["percent_complete"]
    return ProgressPoint(
        period=row["period"],
        unit=UnitRef(unit=row["unit"], name=row["unit_name"]),
        state=row["state"],
        revision=row["revision"],
        stage=stage,
        percent_complete=percent,
        scheduled=scheduled,
        deviation=deviation(percent, scheduled),
        light=light(stage, percent, scheduled),
    )


async def roll_up_battle(reader: Reader, code: str, known: Known, *, now: datetime) -> Rendered:
    """How far a battle is.

    Raises:
        NotFoundError: no battle has this code.
    """
    return await _rolled_up(reader, _OF_BATTLE, code, known, now=now, missing=f"没有仗 {code}")


async def roll_up_plan(reader: Reader, code: str, known: Known, *, now: datetime) -> Rendered:
    """How far a plan is.

    Raises:
        NotFoundError: no plan has this code.
    """
    return await _rolled_up(reader, _OF_PLAN, code, known, now=now, missing=f"没有总体方案 {code}")


async def _rolled_up(reader: Reader, query: Query, code: str, known: Known, *, now: datetime, missing: str) -> Rendered:
    today: date = now.astimezone(SHANGHAI).date()
    row = await reader.pool.fetch_row(query, code=code, today=today)
    if row is None:
        raise NotFoundError(missing)
    completed = row[f"stage_{Stage.COMPLETED.value}"]
    share = Decimal(100 * completed) / row["tasks"] if row["tasks"] else None
    rate = None if share is None else share.quantize(Decimal("0.01"), ROUND_HALF_UP)
    answer = RollUpRead(
        code=row["code"],
        as_of=now,
        tasks=row["tasks"],
        reported=row["reported"],
        stages={stage: row[f"stage_{stage.value}"] for stage in Stage},
        lights={one: row[f"light_{one.value}"] for one in Light},
        completion_rate=rate,
        scheduled=schedule_progress(row["year"], today),
        mean_deviation=row["mean_deviation"],
        targets=row["targets"],
        targets_reached=row["targets_reached"],
    )
    return render(answer, known)
