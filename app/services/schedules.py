"""序时进度 of units: read as of any instant, and set anew, each version kept with the server's instant."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

from asyncpg import Record
from sqlalchemy import ARRAY, BigInteger, and_, any_, bindparam, or_, select, text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.actions import ScheduleAction, schedule_actions
from app.domain.audit import AuditAction
from app.domain.owing import reporters
from app.domain.permissions import Capability, Subject, may_set_schedule
from app.domain.plan import AssignmentRole, UnitKind, battle_of, plan_of
from app.domain.progress import refuse_schedule, stretches
from app.errors import Fault, InvalidRequestError, NotFoundError, PreconditionError, UnknownReferenceError, summary_of
from app.models import Obligation, ProgressSchedule, Task, Unit
from app.rendering import Known, Rendered, exact, render
from app.schemas.base import AsOfQuery
from app.schemas.schedule import SchedulePoint, ScheduleQuery, ScheduleWrite, TaskSchedulesRead, UnitScheduleRead
from app.schemas.task import UnitRef
from app.services.audit import Act, record
from app.services.caller import Caller, forbidden
from app.services.deadlines import parsed_period
from app.services.obligations import brackets_of_tasks
from app.services.reader import Reader
from app.services.standing import at_instant, points_in, schedule_points, schedule_version
from app.services.tasks import task_key
from app.services.units import resolve_unit

__all__ = ["get_schedule", "list_schedules", "put_schedule"]

_BRACKETS = Query(brackets_of_tasks().where(Task.id == bindparam("task")))
_KEY = bindparam("task", type_=BigInteger)
_POINTS = schedule_points(
    ProgressSchedule.task_id, ProgressSchedule.unit_id, ProgressSchedule.version, ProgressSchedule
)
_SCHEDULES = Query(
    select(
        Unit.id,
        Unit.code,
        Unit.name,
        ProgressSchedule.version,
        ProgressSchedule.reason,
        ProgressSchedule.set_at,
        _POINTS.label("points"),
    )
    .select_from(Unit)
    .outerjoin(
        ProgressSchedule,
        and_(
            ProgressSchedule.task_id == _KEY,
            ProgressSchedule.unit_id == Unit.id,
            ProgressSchedule.version == schedule_version(_KEY, Unit.id, Unit),
        ),
    )
    .where(
        or_(
            Unit.id == any_(bindparam("reporters", type_=ARRAY(BigInteger))),
            Unit.id.in_(select(Obligation.unit_id).where(Obligation.task_id == _KEY)),
            ProgressSchedule.version.is_not(None),
        )
    )
    .order_by(Unit.code)
)


# One after the other; what only refers to the task, as reports do, need not wait.
_LOCK = Query(
    text("""
    SELECT t.id, p.year FROM tasks t JOIN plans p ON p.id = t.plan_id WHERE t.code = :code FOR NO KEY UPDATE OF t
""")
)
_NEWEST = Query(text("SELECT max(version) FROM progress_schedules WHERE task_id = :task AND unit_id = :unit"))
_KEEP = Query(
    text("""
    WITH kept AS (
        INSERT INTO progress_schedules (task_id, unit_id, version, reason, set_at)
        VALUES (:task, :unit, :version, :reason, :now) RETURNING task_id, unit_id, version
    )
    INSERT INTO schedule_stretches (task_id, unit_id, version, from_day, to_day, from_percent, to_percent)
    SELECT kept.*, course.* FROM kept, unnest(CAST(:from_days AS date[]), CAST(:to_days AS date[]),
                                              CAST(:from_percents AS numeric[]), CAST(:to_percents AS numeric[]))
                                       AS course
""")
)


async def list_schedules(
    reader: Reader, code: str, query: ScheduleQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The schedules for a task that the caller may see, as they were at ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: no task has this code.
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    task = await _task(reader, code)
    unit = None if query.unit is None else await resolve_unit(reader, query.unit, scope=code)
    rows = await _rows(reader, task, query.as_of or now)
    items = [
        _schedule(code, row, caller, query.as_of)
        for row in rows
        if unit in {None, row["id"]} and caller.sees(_subject(code, row))
    ]
    return render(TaskSchedulesRead(task=code, items=items), known)


async def get_schedule(
    reader: Reader, code: str, unit: str, query: AsOfQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The schedule of one unit for a task, as it was at ``query.as_of`` (default ``now``).

    Raises:
        NotFoundError: no task has this code.
        UnknownUnitError, AmbiguousError: the unit means none or several.
        UnknownReferenceError: the unit does not report on the task.
        NotFoundError: it is not for the caller to see.
    """
    task = await _task(reader, code)
    row = await _row(reader, code, task, unit, query.as_of or now)
    if not caller.sees(_subject(code, row)):
        raise NotFoundError(f"没有可查阅的“{unit}”对任务 {code} 的序时进度")
    return render(_schedule(code, row, caller, query.as_of), known)


async def put_schedule(
    db: Database,
    reader: Reader,
    code: str,
    unit: str,
    wanted: ScheduleWrite,
    *,
    match: Known | None,
    now: datetime,
    caller: Caller,
) -> Rendered:
    """Set the schedule of a unit for a task from ``now`` on; without points it is even again.

    Raises:
        NotFoundError, UnknownUnitError, AmbiguousError, UnknownReferenceError: as for :func:`get_schedule`.
        ForbiddenError: the caller does not report for the unit.
        PreconditionError: the schedule has changed since the caller read it.
        InvalidRequestError: the points make no schedule of the plan year.
    """
    task = await db.fetch_row(_LOCK, code=code)
    if task is None:
        raise NotFoundError(f"没有任务 {code}")
    row = await _row(reader, code, task["id"], unit, now)
    if not may_set_schedule(caller.actor, _subject(code, row)):
        raise forbidden(caller.actor, Capability.SET_SCHEDULE, row["name"])
    key = {"task": task["id"], "unit": row["id"]}
    newest = await db.fetch_value(_NEWEST, **key)
    before = _schedule(code, row, caller)
    if match is not None and (newest != row["version"] or render(before, match).body is not None):
        raise PreconditionError("该序时进度已被更改,请重新读取")
    points = _checked(task["year"], wanted)
    version = (newest or 0) + 1
    course = stretches(task["year"], points) if points else []
    await db.fetch(
        _KEEP,
        **key,
        version=version,
        reason=wanted.reason,
        now=now,
        from_days=[stretch.from_day for stretch in course],
        to_days=[stretch.to_day for stretch in course],
        from_percents=[stretch.from_percent for stretch in course],
        to_percents=[stretch.to_percent for stretch in course],
    )
    shown = _shown(code, before.unit, version, points, reason=wanted.reason, set_at=now, actions=before.allowed_actions)
    said = [one.model_dump(mode="json", include={"version", "points", "reason"}) for one in (before, shown)]
    act = Act(AuditAction.SCHEDULE_SET, code, plan_of(code), row["code"], *said)
    await record(db, caller, [act], now=now)
    return render(shown, Known.parse(None))


async def _task(reader: Reader, code: str) -> int:
    key = await task_key(reader.pool, code)
    if key is None:
        raise NotFoundError(f"没有任务 {code}")
    return key


async def _rows(reader: Reader, task: int, as_of: datetime) -> list[Record]:
    """The units that report on a task, by its brackets or by what they owe, each with its schedule or nulls."""
    bracket = [
        (AssignmentRole(row["role"]), UnitKind(row["kind"]), int(row["unit_id"]))
        for row in await reader.pool.fetch(_BRACKETS, task=task)
    ]
    return await reader.pool.fetch(_SCHEDULES, task=task, reporters=reporters(bracket), **at_instant(as_of))


async def _row(reader: Reader, code: str, task: int, unit: str, as_of: datetime) -> Record:
    key = await resolve_unit(reader, unit, scope=code, at="/path")
    for row in await _rows(reader, task, as_of):
        if row["id"] == key:
            return row
    detail = f"“{unit}”不是任务 {code} 的报送单位,没有序时进度可定"
    raise UnknownReferenceError(detail, faults=[Fault("/path/unit", "not_owed", detail)])


def _checked(year: int, wanted: ScheduleWrite) -> list[tuple[date, Decimal]]:
    """The points by their days, in order."""
    points = [
        (parsed_period(point.period, f"/body/points/{place}/period").end, point.percent)
        for place, point in enumerate(wanted.points)
    ]
    refused = refuse_schedule(year, points)
    if refused:
        faults = [Fault(f"/body/points/{one.place}/{one.field}", one.code, one.detail) for one in refused]
        raise InvalidRequestError(summary_of(faults), faults=faults)
    return sorted(points)


def _subject(code: str, row: Record) -> Subject:
    return Subject(plan_of(code), battle_of(code), row["code"])


def _schedule(code: str, row: Record, caller: Caller, as_of: datetime | None = None) -> UnitScheduleRead:
    """A schedule as it is; as it was ``as_of`` another instant, nothing can be done with it."""
    return _shown(
        code,
        UnitRef(unit=row["code"], name=row["name"]),
        row["version"] or 0,
        points_in(row["points"]),
        reason=row["reason"],
        set_at=row["set_at"],
        actions=schedule_actions(caller.actor, _subject(code, row)) if as_of is None else (),
    )


def _shown(
    code: str,
    unit: UnitRef,
    version: int,
    points: Sequence[tuple[date, Decimal]],
    *,
    reason: str | None,
    set_at: datetime | None,
    actions: Sequence[ScheduleAction],
) -> UnitScheduleRead:
    since = "" if set_at is None else f"自 {set_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S} 起"
    steps = "、".join(f"{day.month} 月末 {exact(percent)}%" for day, percent in points)
    course = f"按第 {version} 版节点推进:{steps}" if points else "按年度均匀推进"
    return UnitScheduleRead(
        task=code,
        unit=unit,
        version=version,
        points=[SchedulePoint(period=f"{day:%Y-%m}", percent=percent) for day, percent in points],
        reason=reason,
        set_at=set_at,
        explanation=f"{unit.name}{since}{course}",
        allowed_actions=list(actions),
    )
