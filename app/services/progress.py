"""How far tasks are: the series of one, and battles and plans rolled up in SQL, as of any instant."""

from dataclasses import replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import DateTime, and_, bindparam, func, literal, select

from app.db import Query
from app.domain.periods import parse_period
from app.domain.permissions import Capability, Subject
from app.domain.plan import battle_of, plan_of
from app.domain.progress import Light, Stage, Thresholds, deviation, light, percent_of, schedule_progress
from app.domain.workflow import SubmissionState
from app.errors import NotFoundError
from app.models import (
    Battle,
    Plan,
    Submission,
    SubmissionRevision,
    SubmissionTransition,
    Target,
    Task,
    Unit,
)
from app.rendering import Known, Rendered, exact, render
from app.schemas.base import AsOfQuery
from app.schemas.progress import ProgressPoint, RollUpRead, TaskProgressRead
from app.schemas.task import UnitRef
from app.services.caller import Caller, forbidden
from app.services.reader import Reader, key_of
from app.services.standing import (
    at_instant,
    light_by,
    points_in,
    reached_by,
    revision_shown,
    schedule_points,
    schedule_version,
    standing_of_targets,
    standing_of_task,
)
from app.services.tasks import task_key

__all__ = [
    "battles_rolled_up",
    "demand_whole",
    "get_task_progress",
    "roll_up_battle",
    "roll_up_plan",
    "rolled_up",
]

_POINTS = schedule_points(
    Submission.task_id,
    Submission.unit_id,
    schedule_version(Submission.task_id, Submission.unit_id, Submission),
    Submission,
)
_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_STATE = (
    select(SubmissionTransition.to_state)
    .where(
        SubmissionTransition.task_id == Submission.task_id,
        SubmissionTransition.submission_id == Submission.id,
        SubmissionTransition.at <= _AS_OF,
    )
    .order_by(SubmissionTransition.id.desc())
    .limit(1)
    .correlate(Submission)
    .scalar_subquery()
)
_SERIES = Query(
    select(
        Submission.period,
        _STATE.label("state"),
        Unit.code.label("unit"),
        Unit.name.label("unit_name"),
        Plan.year,
        Plan.ahead_points,
        Plan.behind_points,
        SubmissionRevision.revision,
        func.coalesce(SubmissionRevision.certified_at <= _AS_OF, literal(value=False)).label("certified"),
        SubmissionRevision.stage,
        SubmissionRevision.percent_complete,
        _POINTS.label("points"),
    )
    .select_from(Submission)
    .join(
        SubmissionRevision,
        and_(
            SubmissionRevision.task_id == Submission.task_id,
            SubmissionRevision.submission_id == Submission.id,
            SubmissionRevision.revision == revision_shown(),
        ),
    )
    .join(Task, Task.id == Submission.task_id)
    .join(Unit, Unit.id == Submission.unit_id)
    .join(Plan, Plan.id == Submission.plan_id)
    .where(Task.code == bindparam("code"))
    .order_by(Submission.period_start, Submission.period, Unit.code)
)


def _roll_up(model: Any, owner: Any, target_owner: Any, condition: Any) -> Query:
    standing = standing_of_task().lateral("standing")
    light_shown = light_by(standing)

    def count(column: Any, value: str) -> Any:
        return func.count().filter(column == value)

    figures = (
        select(
            func.count().label("tasks"),
            func.count(standing.c.percent).label("reported"),
            *(count(standing.c.stage, stage.value).label(f"stage_{stage.value}") for stage in Stage),
            *(count(light_shown, one.value).label(f"light_{one.value}") for one in Light),
            func.round(func.avg(standing.c.deviation), 2).label("mean_deviation"),
        )
        .select_from(Task)
        .join(standing, literal(value=True))
        .where(owner == model.id)
        .correlate(model)
        .lateral("figures")
    )
    aims = standing_of_targets().where(target_owner == model.id).correlate(model).lateral("aims")
    targets = (
        select(func.count().label("targets"), func.count().filter(reached_by(aims)).label("targets_reached"))
        .select_from(aims)
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
        .where(condition)
        .order_by(model.sort_key)
    )


_OF_BATTLE = _roll_up(Battle, Task.battle_id, Target.battle_id, Battle.code == bindparam("code"))
_OF_BATTLES = _roll_up(Battle, Task.battle_id, Target.battle_id, Battle.plan_id == key_of(Plan, "code"))
_OF_PLAN = _roll_up(Plan, Task.plan_id, Target.plan_id, Plan.code == bindparam("code"))


async def get_task_progress(
    reader: Reader, code: str, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The reports on a task that the caller may see, as they stood at ``query.as_of`` (default ``now``), in order.

    Raises:
        NotFoundError: no task has this code.
    """
    rows = await reader.pool.fetch(_SERIES, code=code, **at_instant(query.as_of or now))
    if not rows and await task_key(reader.pool, code) is None:
        raise NotFoundError(f"没有任务 {code}")
    points: list[ProgressPoint] = []
    for row in rows:
        subject = Subject(plan_of(code), battle_of(code), row["unit"])
        if caller.sees(subject):
            points.append(_point(row, drafts=caller.sees(replace(subject, draft=True))))
    return render(TaskProgressRead(task=code, items=points), known)


def _point(row: Any, *, drafts: bool) -> ProgressPoint:
    """A report of the series; that it is being corrected is only for whoever sees drafts."""
    state = row["state"] if drafts or row["state"] != SubmissionState.DRAFT else SubmissionState.CERTIFIED
    scheduled = schedule_progress(row["year"], parse_period(row["period"]).end, points_in(row["points"]))
    thresholds = Thresholds(behind_points=row["behind_points"], ahead_points=row["ahead_points"])
    stage, percent = Stage(row["stage"]), row["percent_complete"]
    return ProgressPoint(
        period=row["period"],
        unit=UnitRef(unit=row["unit"], name=row["unit_name"]),
        state=state,
        revision=row["revision"],
        certified=row["certified"],
        stage=stage,
        percent_complete=percent,
        scheduled=scheduled,
        deviation=deviation(percent, scheduled),
        light=light(stage, percent, scheduled, thresholds),
    )


async def roll_up_battle(
    reader: Reader, code: str, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """How far a battle was at ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: no battle has this code.
        ForbiddenError: the caller does not see the whole battle.
    """
    demand_whole(caller, Subject(plan_of(code), code))
    return _rendered(await rolled_up(reader, plan_of(code), code, as_of=query.as_of or now), known)


async def roll_up_plan(
    reader: Reader, code: str, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """How far a plan was at ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: no plan has this code.
        ForbiddenError: the caller does not see the whole plan.
    """
    demand_whole(caller, Subject(code))
    return _rendered(await rolled_up(reader, code, None, as_of=query.as_of or now), known)


def demand_whole(caller: Caller, whole: Subject) -> None:
    """Refuse what is rolled up over units that the caller does not see.

    Raises:
        ForbiddenError: the caller does not see the whole battle or plan.
    """
    if not caller.sees(whole):
        raise forbidden(caller.actor, Capability.READ_PROGRESS, "跨单位的汇总")


async def rolled_up(reader: Reader, plan: str, battle: str | None, *, as_of: datetime) -> RollUpRead:
    """How far a battle, or else the plan, was at ``as_of``, of the rows that ``reader`` sees.

    Raises:
        NotFoundError: there is none of this code.
    """
    statement, code = (_OF_PLAN, plan) if battle is None else (_OF_BATTLE, battle)
    row = await reader.pool.fetch_row(statement, code=code, **at_instant(as_of))
    if row is None:
        raise NotFoundError(f"没有总体方案 {code}" if battle is None else f"没有仗 {code}")
    return _roll_up_read(row, as_of)


async def battles_rolled_up(reader: Reader, plan: str, *, as_of: datetime) -> list[RollUpRead]:
    """How far each battle of a plan was at ``as_of``, in their order."""
    rows = await reader.pool.fetch(_OF_BATTLES, code=plan, **at_instant(as_of))
    return [_roll_up_read(row, as_of) for row in rows]


def _rendered(answer: RollUpRead, known: Known) -> Rendered:
    return render(answer, known, moving={"as_of"})


def _roll_up_read(row: Any, as_of: datetime) -> RollUpRead:
    day = at_instant(as_of)["day"]
    completed = row[f"stage_{Stage.COMPLETED.value}"]
    answer = RollUpRead(
        code=row["code"],
        as_of=as_of,
        tasks=row["tasks"],
        reported=row["reported"],
        stages={stage: row[f"stage_{stage.value}"] for stage in Stage},
        lights={one: row[f"light_{one.value}"] for one in Light},
        completion_rate=percent_of(completed, row["tasks"]),
        scheduled=schedule_progress(row["year"], day),
        mean_deviation=row["mean_deviation"],
        targets=row["targets"],
        targets_reached=row["targets_reached"],
        explanation="",
    )
    return answer.model_copy(update={"explanation": _explain(answer, day)})


def _explain(answer: RollUpRead, day: date) -> str:
    """The figures in one Chinese sentence; of the instant it says no more than the day, which the schedule follows."""
    completed = answer.stages[Stage.COMPLETED]
    rate = "" if answer.completion_rate is None else f"({exact(answer.completion_rate)}%)"
    off = (
        "尚无偏差可计"
        if answer.mean_deviation is None
        else f"平均偏差 {exact(answer.mean_deviation)} 个百分点,"
        + "、".join(f"{one.label} {count} 项" for one, count in answer.lights.items() if one is not Light.COMPLETED)
    )
    return (
        f"截至 {day},{answer.tasks} 项任务中 {answer.reported} 项有认定进度,已完成 {completed} 项{rate};"
        f"序时进度 {exact(answer.scheduled)}%,{off};"
        f"有数值的目标 {answer.targets} 个,达到 {answer.targets_reached} 个"
    )
