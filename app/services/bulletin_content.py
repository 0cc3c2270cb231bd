"""The figures of a bulletin: those that the API answers of the same instant, put together for a battle or a plan.

They do not depend on who asks. Whoever draws up a bulletin acts for the task force and sees the battle, or the plan,
whole; how its reports came in is counted over all of them, those of units that are of no one battle included.
"""

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import ARRAY, DateTime, Text, any_, bindparam, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.clock import SHANGHAI
from app.db import Query
from app.domain.bulletins import BulletinKind, instant_text
from app.domain.cases import CaseKind, CaseState
from app.domain.deadlines import report_name
from app.domain.periods import Period
from app.domain.plan import Direction, Operator, RuleKind
from app.domain.progress import Light, Stage, percent_of
from app.files.forms import aim_text
from app.models import Battle, Indicator, Obligation, Plan, Rule, Submission, SubmissionRevision, Target, Task, Unit
from app.rendering import exact
from app.schemas.bulletin_content import (
    BulletinBattle,
    BulletinContent,
    BulletinDue,
    BulletinLaggard,
    BulletinOrder,
    BulletinReport,
    BulletinTarget,
    BulletinTimeliness,
)
from app.schemas.obligation import ComplianceQuery
from app.schemas.task import UnitRef
from app.services.case_reads import open_cases
from app.services.compliance import compliance_of
from app.services.deadlines import effective_due, was_waived
from app.services.progress import battles_rolled_up, rolled_up
from app.services.reader import Reader, decoded
from app.services.standing import (
    at_instant,
    light_by,
    newest_reports,
    reached_by,
    standing_of_targets,
    standing_of_task,
)

__all__ = ["BulletinOf", "compose_content"]

_CENT = Decimal("0.01")
_AS_OF = bindparam("as_of", type_=DateTime(timezone=True))
_SINCE, _UNTIL = (bindparam(name, type_=DateTime(timezone=True)) for name in ("since", "until"))
_LAGGING = (Light.BEHIND, Light.FAR_BEHIND)
# How the units of a battle report is the task force's affair, and how the task forces do is the county's.
_COUNTED = {
    True: (RuleKind.REPORTING, RuleKind.MATERIAL),
    False: (RuleKind.REPORTING, RuleKind.MATERIAL, RuleKind.BULLETIN),
}


@dataclass(frozen=True, slots=True)
class BulletinOf:
    """Of what a bulletin is: the keys, codes and names of a plan and perhaps of a battle, whose it is, which period."""

    plan_id: int
    plan: str
    plan_title: str
    year: int
    battle_id: int | None
    battle: str | None
    battle_name: str | None
    unit_id: int
    unit: str
    unit_name: str
    signer: str
    kind: BulletinKind
    period: Period

    @property
    def scope_name(self) -> str:
        """What it is about."""
        return self.battle_name or self.plan_title


def _within(model: Any, *, of_battle: bool) -> Any:
    """Tasks or targets of the battle, or of the whole plan."""
    return model.battle_id == bindparam("battle") if of_battle else model.plan_id == bindparam("plan")


def _laggards(*, of_battle: bool) -> Query:
    standing = standing_of_task().lateral("standing")
    newest = newest_reports(Submission.period, SubmissionRevision.problems, SubmissionRevision.next_steps)
    report = func.json_build_object(
        *("unit", Unit.code, "name", Unit.name, "period", newest.c.period),
        *("percent_complete", cast(newest.c.percent_complete, Text)),
        *("problems", newest.c.problems, "next_steps", newest.c.next_steps),
    )
    reports = (
        select(func.json_agg(aggregate_order_by(report, Unit.code)))
        .select_from(newest)
        .join(Unit, Unit.id == newest.c.unit_id)
        .scalar_subquery()
    )
    light = light_by(standing)
    return Query(
        select(
            Task.code,
            Task.title,
            standing.c.stage,
            standing.c.percent,
            standing.c.deviation,
            light.label("light"),
            reports.label("reports"),
        )
        .select_from(Task)
        .join(standing, literal(value=True))
        .where(_within(Task, of_battle=of_battle), or_(*(light == one.value for one in _LAGGING)))
        .order_by(standing.c.deviation, Task.sort_key)
    )


def _targets(*, of_battle: bool) -> Query:
    named = (Target.code, Target.sort_key, Indicator.name, Indicator.unit_of_measure, Target.text)
    aims = standing_of_targets(*named).where(_within(Target, of_battle=of_battle)).subquery("aims")
    statement = select(aims, func.coalesce(reached_by(aims), literal(value=False)).label("reached"))
    # What nobody can report a figure of would fill the pages of a whole plan with blanks.
    shown = statement if of_battle else statement.where(aims.c.figure.is_not(None))
    return Query(shown.order_by(aims.c.sort_key))


def _rules(*, of_battle: bool) -> Query:
    """The rules whose reports fell due between two instants, with the first and the last period of each."""
    scope = Rule.battle_id == bindparam("battle") if of_battle else Obligation.plan_id == bindparam("plan")
    return Query(
        select(
            Rule.code, Rule.name, func.min(Obligation.period).label("first"), func.max(Obligation.period).label("last")
        )
        .join(Rule, Rule.id == Obligation.rule_id)
        .where(
            scope,
            Obligation.due_at.between(_SINCE, _UNTIL),
            Rule.kind == any_(bindparam("kinds", type_=ARRAY(Text))),
        )
        .group_by(Rule.id)
        .order_by(Rule.sort_key)
    )


def _due(*, of_battle: bool) -> Query:
    """What was owed at an instant and is due between two others."""
    scope = [Obligation.plan_id == bindparam("plan")]
    if of_battle:
        scope.append(or_(Obligation.battle_id == bindparam("battle"), Rule.battle_id == bindparam("battle")))
    owed = (
        select(
            Rule.code,
            Rule.name,
            Rule.sort_key,
            Obligation.period,
            effective_due().label("due_at"),
            Unit.name.label("unit"),
        )
        .select_from(Obligation)
        .join(Rule, Rule.id == Obligation.rule_id)
        .join(Unit, Unit.id == Obligation.unit_id)
        .where(*scope, func.coalesce(Obligation.filed_at > _AS_OF, literal(value=True)), ~was_waived())
        .subquery("owed")
    )
    # Of a row each, so that a unit that owes several reports is named once.
    return Query(
        select(
            *(owed.c.code, owed.c.name, owed.c.period, owed.c.due_at),
            func.count().label("reports"),
            func.array_agg(owed.c.unit.distinct(), type_=ARRAY(Text)).label("units"),
        )
        .where(owed.c.due_at.between(_SINCE, _UNTIL))
        .group_by(owed.c.code, owed.c.name, owed.c.sort_key, owed.c.period, owed.c.due_at)
        .order_by(owed.c.due_at, owed.c.sort_key, owed.c.period)
    )


_LAGGARDS = {whole: _laggards(of_battle=whole) for whole in (True, False)}
_TARGETS = {whole: _targets(of_battle=whole) for whole in (True, False)}
_RULES = {whole: _rules(of_battle=whole) for whole in (True, False)}
_DUE = {whole: _due(of_battle=whole) for whole in (True, False)}
_NAMES = Query(
    select(Battle.code, Battle.name).join(Plan, Plan.id == Battle.plan_id).where(Plan.id == bindparam("plan"))
)


async def compose_content(reader: Reader, of: BulletinOf, *, as_of: datetime) -> BulletinContent:
    """What a bulletin says of ``as_of``; ``reader`` must see all reports of its battle or plan."""
    one = of.battle is not None
    keys = {"plan": of.plan_id, "battle": of.battle_id}
    instant = at_instant(as_of)
    progress = await rolled_up(reader, of.plan, of.battle, as_of=as_of)
    battles = [] if one else await _battles(reader, of, as_of)
    targets = [_target(row) for row in await reader.pool.fetch(_TARGETS[one], **keys, **instant)]
    laggards = [_laggard(row) for row in await reader.pool.fetch(_LAGGARDS[one], **keys, **instant)]
    timeliness = await _timeliness(reader, of, keys, as_of)
    since, until = _days(of.period.next().start, of.period.next().end)
    due = await reader.pool.fetch(_DUE[one], **keys, as_of=as_of, since=since, until=until)
    content = BulletinContent(
        plan=of.plan,
        plan_title=of.plan_title,
        battle=of.battle,
        battle_name=of.battle_name,
        kind=of.kind,
        period=of.period.code,
        as_of=as_of,
        progress=progress,
        stage_shares={stage: percent_of(count, progress.tasks) for stage, count in progress.stages.items()},
        light_shares={light: percent_of(count, progress.tasks) for light, count in progress.lights.items()},
        battles=battles,
        targets=targets,
        timeliness=timeliness,
        laggards=laggards,
        orders=await _orders(reader, of, as_of),
        due_next=[_due_read(row) for row in due],
        explanation="",
    )
    return content.model_copy(update={"explanation": _explain(of, content)})


def _days(first: date, last: date) -> tuple[datetime, datetime]:
    """The first and the last instant of days in Shanghai."""
    return datetime.combine(first, time.min, SHANGHAI), datetime.combine(last, time.max, SHANGHAI)


async def _battles(reader: Reader, of: BulletinOf, as_of: datetime) -> list[BulletinBattle]:
    names = {row["code"]: row["name"] for row in await reader.pool.fetch(_NAMES, plan=of.plan_id)}
    return [
        BulletinBattle(battle=one.code, name=names[one.code], progress=one)
        for one in await battles_rolled_up(reader, of.plan, as_of=as_of)
    ]


async def _timeliness(
    reader: Reader, of: BulletinOf, keys: dict[str, Any], as_of: datetime
) -> list[BulletinTimeliness]:
    since, until = _days(of.period.start, of.period.end)
    one = of.battle is not None
    kinds = [kind.value for kind in _COUNTED[one]]
    found = await reader.pool.fetch(_RULES[one], **keys, since=since, until=until, kinds=kinds)
    counted: list[BulletinTimeliness] = []
    for row in found:
        asked = {"rule": row["code"], "plan": of.plan, "from": row["first"], "to": row["last"], "as_of": as_of}
        counted.append(
            BulletinTimeliness(
                rule=row["code"],
                name=report_name(row["name"]),
                first_period=row["first"],
                last_period=row["last"],
                compliance=await compliance_of(reader, ComplianceQuery.model_validate(asked), {}, now=as_of),
            )
        )
    return counted


async def _orders(reader: Reader, of: BulletinOf, as_of: datetime) -> list[BulletinOrder]:
    """The orders that were in force; what is not assigned yet is none, and what it says may still change."""
    found = await open_cases(
        reader.pool, plan=of.plan, battle=of.battle, kinds=[CaseKind.SUPERVISION_ORDER], as_of=as_of
    )
    return [
        BulletinOrder(
            case=one.id,
            title=one.title,
            unit=UnitRef(unit=one.unit, name=one.unit_name),
            state=one.state,
            level=one.level,
            level_name=one.level_name,
            due_on=one.due_on,
            overdue=one.overdue,
        )
        for one in found
        if one.state is not CaseState.REGISTERED
    ]


def _laggard(row: Any) -> BulletinLaggard:
    percent, deviation = (row[name].quantize(_CENT, ROUND_HALF_UP) for name in ("percent", "deviation"))
    return BulletinLaggard(
        task=row["code"],
        title=row["title"],
        stage=Stage(row["stage"]),
        light=Light(row["light"]),
        percent_complete=percent,
        scheduled=percent - deviation,
        deviation=deviation,
        reports=[_report(report) for report in decoded(row["reports"])],
    )


def _report(said: dict[str, Any]) -> BulletinReport:
    names = ("period", "percent_complete", "problems", "next_steps")
    return BulletinReport(unit=UnitRef(unit=said["unit"], name=said["name"]), **{name: said[name] for name in names})


def _target(row: Any) -> BulletinTarget:
    operator, value = Operator(row["operator"]), Decimal(row["value"])
    figure = None if row["figure"] is None else Decimal(row["figure"])
    attained: Decimal | None = None
    rises = row["direction"] != Direction.LOWER.value and operator is not Operator.RANGE
    if figure is not None and value > 0 and rises:
        attained = (100 * figure / value).quantize(_CENT, ROUND_HALF_UP)
    return BulletinTarget(
        target=row["code"],
        indicator=row["name"],
        text=row["text"],
        aim=aim_text(operator, value, row["value_max"]),
        unit_of_measure=row["unit_of_measure"],
        figure=figure,
        attained=attained,
        reached=row["reached"],
    )


def _due_read(row: Any) -> BulletinDue:
    return BulletinDue(
        rule=row["code"],
        name=report_name(row["name"]),
        period=row["period"],
        due_at=row["due_at"],
        reports=row["reports"],
        units=sorted(row["units"]),
    )


def _explain(of: BulletinOf, content: BulletinContent) -> str:
    """The figures as the first paragraph of the bulletin."""
    progress = content.progress
    said = [
        f"截至{instant_text(content.as_of, SHANGHAI)},{of.scope_name}共有任务{progress.tasks}项",
        f"{progress.reported}项有认定进度",
        f"已完成{progress.stages[Stage.COMPLETED]}项{_in_brackets(content.stage_shares[Stage.COMPLETED])},"
        + "、".join(
            f"{light.label}{count}项{_in_brackets(content.light_shares[light])}"
            for light, count in progress.lights.items()
            if light is not Light.COMPLETED
        ),
        f"序时进度{exact(progress.scheduled)}%"
        + ("" if progress.mean_deviation is None else f",平均偏差{exact(progress.mean_deviation)}个百分点"),
        f"有数值的目标{progress.targets}个,达到{progress.targets_reached}个",
    ]
    return ";".join(said) + "。"


def _in_brackets(share: Decimal | None) -> str:
    return "" if share is None else f"({exact(share)}%)"
