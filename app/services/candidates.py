"""Tasks that call for a supervision order, and why: they lag, or their reports have not come twice running.

A row is one task and one of the units that report on it. A task lags by its light at the instant of the question; of
its units those are named whose own figures lie below their schedules. What was submitted and waits for certification
has come, whoever is late now. Whether an order is issued is for a person to decide.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, DateTime, Text, and_, bindparam, case, cast, func, literal, or_, select, true, union

from app.db import Query
from app.domain.actions import candidate_actions
from app.domain.cases import CaseKind, CaseState
from app.domain.deadlines import ObligationStatus
from app.domain.permissions import Subject
from app.domain.plan import RuleKind, battle_of, plan_of
from app.domain.progress import Light
from app.errors import unknown_reference
from app.models import Battle, Case, Obligation, Plan, Rule, RuleVersion, Task, Unit
from app.rendering import Known, Rendered, exact, render
from app.schemas.case import CandidateQuery, CandidateRead, CandidatesRead
from app.schemas.task import UnitRef
from app.services.caller import Caller
from app.services.case_reads import stood_then
from app.services.deadlines import status_at
from app.services.progress import demand_whole
from app.services.reader import Reader
from app.services.standing import at_instant, light_by, reports_of_task, standing_of_task

__all__ = ["list_candidates"]

# Twice running, as in attachment 5, 二(一)2, where the second time has consequences.
_RUNNING = 2
_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_DAY = bindparam("day", type_=Date)
_PLAN, _BATTLE = bindparam("plan", type_=Text), bindparam("battle", type_=Text)


def _lags(light: Any) -> Any:
    lagging = or_(light == Light.BEHIND.value, light == Light.FAR_BEHIND.value)
    return func.coalesce(lagging, literal(value=False))


def _lagging() -> Any:
    """The units below their schedules of the tasks that lag."""
    standing = standing_of_task().lateral("standing")
    reports = reports_of_task().lateral("reports")
    return (
        select(Task.id.label("task_id"), reports.c.unit_id)
        .select_from(Task)
        .join(Plan, Plan.id == Task.plan_id)
        .join(Battle, Battle.id == Task.battle_id)
        .join(standing, true())
        .join(reports, reports.c.deviation < 0)
        .where(Plan.code == _PLAN, or_(_BATTLE.is_(None), Battle.code == _BATTLE), _lags(light_by(standing)))
        .cte("lagging")
    )


def _unreported() -> Any:
    """The units whose newest reports on a task, as many as ``reports``, have not come though they were due."""
    scope = (
        select(Rule.id)
        .join(Plan, Plan.id == Rule.plan_id)
        .where(Plan.code == _PLAN, Rule.kind == RuleKind.REPORTING.value)
    )
    battle = select(Battle.id).where(Battle.code == _BATTLE).scalar_subquery()
    submitted = func.coalesce(Obligation.submitted_at <= _AS_OF, literal(value=False))
    owed = (
        select(
            Obligation.task_id,
            Obligation.unit_id,
            Obligation.rule_id,
            Obligation.period,
            Obligation.period_start,
            submitted.label("submitted"),
            status_at().label("status"),
        )
        .select_from(Obligation)
        .join(
            RuleVersion,
            and_(RuleVersion.rule_id == Obligation.rule_id, RuleVersion.version == Obligation.rule_version),
        )
        .where(
            Obligation.rule_id.in_(scope),
            Obligation.task_id.is_not(None),
            or_(_BATTLE.is_(None), Obligation.battle_id == battle),
        )
        .subquery("owed")
    )

    def is_one_of(*statuses: ObligationStatus) -> Any:
        return or_(*(owed.c.status == one.value for one in statuses))

    missing = and_(is_one_of(ObligationStatus.OVERDUE, ObligationStatus.MISSED), ~owed.c.submitted)
    judged = (
        select(
            owed.c.task_id,
            owed.c.unit_id,
            owed.c.period,
            # How many reports have come since, itself included: 0 for those that have not come running.
            func.count()
            .filter(~missing)
            .over(partition_by=(owed.c.task_id, owed.c.unit_id, owed.c.rule_id), order_by=owed.c.period_start.desc())
            .label("came"),
        )
        .where(~is_one_of(ObligationStatus.UPCOMING, ObligationStatus.DUE_SOON, ObligationStatus.WAIVED))
        .subquery("judged")
    )
    return (
        select(
            judged.c.task_id,
            judged.c.unit_id,
            func.count().label("reports"),
            func.min(judged.c.period.collate("C")).label("since"),
        )
        .where(judged.c.came == 0)
        .group_by(judged.c.task_id, judged.c.unit_id)
        .having(func.count() >= _RUNNING)
        .cte("unreported")
    )


def _since() -> Any:
    """Since the end of which month the task of the query around it has lagged; the day itself if only since then."""
    number = func.generate_series(1, 12).table_valued("month").render_derived(name="number")
    day = cast(func.make_date(Plan.year, 1, 1) + func.make_interval(0, number.c.month), Date) - 1
    months = (
        select(day.label("day"), func.timezone("Asia/Shanghai", cast(day + 1, DateTime())).label("instant"))
        .select_from(number)
        .join(Plan, Plan.id == Task.plan_id)
        .correlate(Task)
        .subquery("months")
    )
    then = standing_of_task(months).lateral("then")
    # How many months have been well since, itself included: 0 for those that have lagged running.
    well = func.count().filter(~_lags(light_by(then))).over(order_by=months.c.day.desc())
    runs = (
        select(months.c.day, well.label("well"))
        .select_from(months)
        .join(then, true())
        .where(months.c.day < _DAY)
        .correlate(Task)
        .subquery("runs")
    )
    return select(func.coalesce(func.min(runs.c.day), _DAY)).where(runs.c.well == 0).correlate(Task).scalar_subquery()


def _statement() -> Query:
    lagging, unreported = _lagging(), _unreported()
    pairs = union(select(lagging.c.task_id, lagging.c.unit_id), select(unreported.c.task_id, unreported.c.unit_id)).cte(
        "pairs"
    )
    standing = standing_of_task().lateral("now")
    light = light_by(standing)
    reports = reports_of_task().lateral("own")
    stood = stood_then()
    order = (
        select(Case.id)
        .select_from(Case)
        .join(stood, true())
        .where(
            Case.task_id == pairs.c.task_id,
            Case.unit_id == pairs.c.unit_id,
            Case.kind == CaseKind.SUPERVISION_ORDER.value,
            stood.c.state != CaseState.CLOSED.value,
        )
        .order_by(Case.id)
        .limit(1)
        .correlate(pairs)
        .scalar_subquery()
    )
    return Query(
        select(
            Task.code.label("task"),
            Task.title,
            Unit.code.label("unit"),
            Unit.name.label("unit_name"),
            standing.c.stage,
            light.label("light"),
            reports.c.percent,
            func.round(reports.c.deviation, 2).label("deviation"),
            case((_lags(light), _since())).label("since"),
            func.coalesce(unreported.c.reports, 0).label("unreported"),
            unreported.c.since.label("unreported_since"),
            order.label("open_order"),
        )
        .select_from(pairs)
        .join(Task, Task.id == pairs.c.task_id)
        .join(Unit, Unit.id == pairs.c.unit_id)
        .join(standing, true())
        .outerjoin(reports, reports.c.unit_id == pairs.c.unit_id)
        .outerjoin(unreported, and_(unreported.c.task_id == pairs.c.task_id, unreported.c.unit_id == pairs.c.unit_id))
        .order_by(Task.sort_key, Unit.code)
    )


_CANDIDATES = _statement()


async def list_candidates(
    reader: Reader, query: CandidateQuery, known: Known, *, now: datetime, caller: Caller
) -> Rendered:
    """The tasks that called for an order at ``query.as_of`` (default ``now``), in print order.

    Raises:
        UnknownReferenceError: the battle is not one of the plan.
        ForbiddenError: the caller does not see the whole of it.
    """
    if query.battle is not None and plan_of(query.battle) != query.plan:
        raise unknown_reference("/query/battle", "unknown_battle", f"仗 {query.battle} 不属于总体方案 {query.plan}")
    demand_whole(caller, Subject(query.plan, query.battle))
    asked = at_instant(query.as_of or now)
    rows = await reader.pool.fetch(_CANDIDATES, plan=query.plan, battle=query.battle, **asked)
    items = [_candidate(row, caller, live=query.as_of is None) for row in rows]
    ordered = sum(item.open_order is not None for item in items)
    tasks = len({item.task for item in items})
    explanation = (
        f"截至 {asked['day']},{tasks} 项任务 {len(items)} 个单位应当督办,其中 {ordered} 个已有未销号的督办单"
        if items
        else f"截至 {asked['day']},没有应当督办的任务"
    )
    shown = CandidatesRead(as_of=asked["as_of"], items=items, explanation=explanation)
    return render(shown, known, moving={"as_of"})


def _candidate(row: Any, caller: Caller, *, live: bool) -> CandidateRead:
    battle, order = battle_of(row["task"]), row["open_order"]
    subject = Subject(plan_of(battle), battle, row["unit"])
    return CandidateRead(
        task=row["task"],
        title=row["title"],
        battle=battle,
        unit=UnitRef(unit=row["unit"], name=row["unit_name"]),
        stage=row["stage"],
        light=row["light"],
        percent_complete=row["percent"],
        deviation=row["deviation"],
        lagging_since=row["since"],
        unreported=row["unreported"],
        unreported_since=row["unreported_since"],
        open_order=order,
        explanation=_explain(row, row["since"]),
        allowed_actions=list(candidate_actions(caller.actor, subject, has_order=order is not None)) if live else [],
    )


def _explain(row: Any, since: date | None) -> str:
    why: list[str] = []
    if since is not None:
        own = (
            ""
            if row["deviation"] is None or row["deviation"] >= 0
            else f",{row['unit_name']}完成 {exact(row['percent'])}%,低于序时进度 {exact(-row['deviation'])} 个百分点"
        )
        why.append(f"任务{Light(row['light']).label}{own},自 {since} 起")
    if row["unreported"]:
        why.append(f"连续 {row['unreported']} 期未报(自 {row['unreported_since']} 起)")
    why.append("已有未销号的督办单" if row["open_order"] is not None else "尚无未销号的督办单")
    return ";".join(why)
