"""A demonstration: half a year of plausible reports, the same every time.

Every report goes in by the service's own use cases, at the instant it is said to have come: on time, late at the unit,
late at certification, returned and mended, missed, extended, waived, corrected afterwards; with figures where the task
has targets, and against a schedule of the unit's own here and there. So every query of the API shows something.
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.deadlines import WaiverKind
from app.domain.periods import parse_period
from app.domain.plan import Accumulation, RuleKind, RuleUnitRole
from app.domain.progress import Stage, schedule_progress
from app.models import Indicator, Material, Obligation, Plan, Rule, RuleUnit, Submission, Target, Task, Unit
from app.schemas.material import MaterialCreate
from app.schemas.obligation import ExtensionCreate, WaiverCreate
from app.schemas.schedule import SchedulePointWrite, ScheduleWrite
from app.schemas.submission import CertifyStep, CorrectionCreate, ReportWrite, ReturnStep, SubmitStep
from app.services.grants import grant_extension, grant_waiver
from app.services.materials import receive_material
from app.services.reader import Reader
from app.services.reports import Report, Reporters
from app.services.schedules import put_schedule
from app.services.steps import certify_submission, correct_submission, return_submission, submit_submission
from app.services.submissions import refuse, take
from seed.demo_assessment import DemoAssessments, fill_assessments
from seed.demo_bulletins import fill_bulletins
from seed.demo_callers import OFFICE, of_certifier, of_unit
from seed.demo_items import fill_items
from seed.demo_ledger import fill_ledger

__all__ = ["DemoError", "DemoReport", "fill_demo"]

FIRST, LAST = "2023-04", "2023-09"
# How a report comes in, and in how many of a hundred cases.
COURSES = {
    "on_time": 63,
    "late_unit": 9,
    "late_certification": 9,
    "returned": 6,
    "missed": 7,
    "extended": 4,
    "waived": 2,
}
CORRECTED, SCHEDULED = 0.08, 0.25
# A month without exceptions: what is not filed when it was due is overdue, all of it.
PLAIN = "2023-05"
APPROVER = "县重点民生实事办"


class DemoError(RuntimeError):
    """The demonstration cannot be filled in; the message (Chinese) says why."""


@dataclass(slots=True)
class DemoReport:
    """What was filled in."""

    submissions: int = 0
    certified: int = 0
    corrected: int = 0
    extended: int = 0
    waived: int = 0
    scheduled: int = 0
    materials: int = 0
    bulletins: int = 0
    cases: int = 0
    assessments: DemoAssessments = field(default_factory=DemoAssessments)
    work_items: int = 0
    figures: int = 0
    rankings: int = 0
    inspections: int = 0


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that happened, to be done at its instant."""

    at: datetime
    do: Callable[[datetime], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Owed:
    """One report that is expected."""

    rule: str
    kind: str
    plan: str
    unit: str
    task: str | None
    period: str
    due_at: datetime
    certifier: str | None


async def fill_demo(writes: Database, reader: Reader) -> DemoReport:
    """Fill the monthly reports and materials of 2023-04 to 2023-09, all or nothing.

    Raises:
        DemoError: the database holds reports already, or no plan whose reports fall into these months.
    """
    report = DemoReport()
    async with writes.transaction() as db:
        for model in (Submission, Material):
            if await db.fetch_value(Query(select(func.count()).select_from(model))):
                raise DemoError("数据库中已有报送,演示数据只能填入没有报送的数据库")
        owed = [_Owed(**dict(row)) for row in await db.fetch(Query(_owed()))]
        if not owed:
            raise DemoError(f"数据库中没有 {FIRST} 至 {LAST} 的应报,请先载入总体方案")
        demo = _Demo(db, reader, report, await _targets(db))
        happened = [event for row in owed for event in demo.events(row)]
        happened += [event for row in owed if row.period == FIRST for event in demo.schedules(row)]
        events = sorted(happened, key=lambda event: event.at)
        for event in events:
            await event.do(event.at)
        report.cases = await fill_ledger(db, reader)
        report.assessments = await fill_assessments(db, reader)
        items = asdict(await fill_items(db, reader))
        # After the ledger, whose orders they list.
        report.bulletins = await fill_bulletins(db, reader)
    # Findings are cases too.
    return replace(report, cases=report.cases + items.pop("findings"), **items)


def _owed() -> Any:
    certifier = (
        select(Unit.code)
        .join(RuleUnit, RuleUnit.unit_id == Unit.id)
        .where(RuleUnit.rule_id == Rule.id, RuleUnit.role == RuleUnitRole.CERTIFIER.value)
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            Rule.code.label("rule"),
            Rule.kind,
            Plan.code.label("plan"),
            Unit.code.label("unit"),
            Task.code.label("task"),
            Obligation.period,
            Obligation.due_at,
            certifier.label("certifier"),
        )
        .join(Rule, Rule.id == Obligation.rule_id)
        .join(Plan, Plan.id == Obligation.plan_id)
        .join(Unit, Unit.id == Obligation.unit_id)
        .outerjoin(Task, Task.id == Obligation.task_id)
        .where(
            Obligation.period_start.between(parse_period(FIRST).start, parse_period(LAST).start)
            | (Obligation.period_start == parse_period(FIRST[:4]).start)
        )
        .order_by(Plan.code, Rule.code, Unit.code, Task.sort_key, Obligation.period_start)
    )


@dataclass(frozen=True, slots=True)
class _Aim:
    """A target that figures are reported for."""

    code: str
    value: Decimal
    grows: bool


async def _targets(db: Database) -> dict[str, list[_Aim]]:
    """The targets with a value, by task."""
    found = select(Task.code.label("task"), Target.code, Target.value, Indicator.accumulation)
    found = found.join(Task, Task.id == Target.task_id).join(Indicator, Indicator.id == Target.indicator_id)
    aims: dict[str, list[_Aim]] = {}
    for row in await db.fetch(Query(found.where(Target.value.is_not(None)).order_by(Target.code))):
        grows = row["accumulation"] == Accumulation.CUMULATIVE.value
        aims.setdefault(row["task"], []).append(_Aim(row["code"], row["value"], grows))
    return aims


class _Demo:
    """What befalls each expected report; chance is seeded by the report itself, so that no order matters."""

    def __init__(self, db: Database, reader: Reader, report: DemoReport, aims: dict[str, list[_Aim]]) -> None:
        self.db = db
        self.reader = reader
        self.report = report
        self.aims = aims
        self.identities: dict[tuple[str, str, str], UUID] = {}

    def events(self, row: Any) -> Iterator[_Event]:
        """What happens to one expected report."""
        chance = random.Random(f"{row.rule}/{row.unit}/{row.task}/{row.period}")  # noqa: S311 - a demonstration
        if row.kind == RuleKind.MATERIAL.value:
            yield from self._material(row, chance)
        elif row.kind == RuleKind.REPORTING.value:
            yield from self._report(row, chance)

    def _material(self, row: Any, chance: random.Random) -> Iterator[_Event]:
        period = parse_period(row.period)
        yearly = period.start.year != period.next().start.year and (period.end - period.start).days > 31
        for number in range(1, (3 if yearly else 2)):
            if chance.random() < 0.12:
                continue
            start = datetime.combine(period.start, datetime.min.time(), SHANGHAI)
            day = chance.randrange(100, 270) if yearly else chance.randrange(3, 30)
            at = start + timedelta(days=day, hours=chance.randrange(8, 18), minutes=chance.randrange(60))
            request = MaterialCreate(
                rule=row.rule,
                plan=row.plan,
                unit=row.unit,
                period=row.period,
                title=f"演示材料 {row.period} 第 {number} 篇",
                content="演示数据,并非真实材料。",
            )

            async def send(now: datetime, request: MaterialCreate = request) -> None:
                await receive_material(self.db, self.reader, request, now=now, caller=of_unit(row.unit))
                self.report.materials += 1

            yield _Event(at, send)

    def _report(self, row: Any, chance: random.Random) -> Iterator[_Event]:
        (course,) = chance.choices(list(COURSES), weights=list(COURSES.values()))
        if row.period == PLAIN and course in {"extended", "waived"}:
            course = "on_time"
        if course == "missed":
            return
        due: datetime = row.due_at.astimezone(SHANGHAI)
        early = due - timedelta(days=chance.uniform(2, 9))
        if course == "waived":
            yield _Event(early, lambda now: self._waive(row, now))
            return
        submitted = early
        if course == "extended":
            yield _Event(early, lambda now: self._extend(row, due + timedelta(days=7), now))
            submitted = due + timedelta(days=chance.uniform(1, 5))
        if course == "late_unit":
            submitted = due + timedelta(days=chance.uniform(0.5, 8))
        key = (row.unit, row.task, row.period)
        yield _Event(submitted, lambda now: self._submit(row, key, chance, now))
        if course == "returned":
            yield _Event(submitted + timedelta(hours=5), lambda now: self._return(row, key, now))
            submitted += timedelta(hours=20)
            yield _Event(submitted, lambda now: self._submit_again(key, now))
        certified = submitted + timedelta(hours=chance.uniform(2, 24))
        if course == "late_certification":
            certified = due + timedelta(days=chance.uniform(0.5, 6))
        yield _Event(certified, lambda now: self._certify(row, key, now))
        if chance.random() < CORRECTED:
            corrected = certified + timedelta(days=chance.uniform(5, 15))
            yield _Event(corrected, lambda now: self._correct(row, key, chance, now))
            yield _Event(corrected + timedelta(hours=9), lambda now: self._certify(row, key, now))

    def schedules(self, row: _Owed) -> Iterator[_Event]:
        """Here and there a unit sets a schedule of its own before its first report."""
        chance = random.Random(f"{row.unit}/{row.task}/own schedule")  # noqa: S311 - a demonstration
        if row.kind == RuleKind.REPORTING.value and chance.random() < SCHEDULED:
            wanted = ScheduleWrite(
                points=[
                    SchedulePointWrite(period=f"{FIRST[:4]}-{month:02}", percent=Decimal(percent))
                    for month, percent in ((4, 10), (6, 30), (9, 80), (12, 100))
                ],
                reason="演示数据:汛期过后集中施工",
            )
            yield _Event(row.due_at - timedelta(days=15), lambda now: self._schedule(row, wanted, now))

    async def _schedule(self, row: _Owed, wanted: ScheduleWrite, now: datetime) -> None:
        assert row.task is not None, "a report is on a task"
        caller = of_unit(row.unit)
        await put_schedule(self.db, self.reader, row.task, row.unit, wanted, match=None, now=now, caller=caller)
        self.report.scheduled += 1

    async def _extend(self, row: _Owed, until: datetime, now: datetime) -> None:
        case = _case(row, "演示数据:汛情影响")
        await grant_extension(self.db, self.reader, ExtensionCreate(**case, due_at=until), now=now, caller=OFFICE)
        self.report.extended += 1

    async def _waive(self, row: _Owed, now: datetime) -> None:
        case = _case(row, "演示数据:本月无此项工作")
        await grant_waiver(self.db, self.reader, WaiverCreate(**case, kind=WaiverKind.NIL), now=now, caller=OFFICE)
        self.report.waived += 1

    async def _submit(self, row: Any, key: tuple[str, str, str], chance: random.Random, now: datetime) -> None:
        said = ReportWrite(**_said(row, chance, self.aims))
        report = Report(row.task, row.unit, row.period, submit=True, said=said, at=now, caller=of_unit(row.unit))
        (taken,) = await take(self.db.for_caller(Reporters([report])), [report])
        refuse(taken)
        assert taken.id is not None, "what is not refused has been taken in"
        self.identities[key] = UUID(taken.id)
        self.report.submissions += 1

    async def _submit_again(self, key: tuple[str, str, str], now: datetime) -> None:
        step = SubmitStep(reason="已核对")
        await submit_submission(self.db, self.identities[key], step, match=None, now=now, caller=of_unit(key[0]))

    async def _return(self, row: Any, key: tuple[str, str, str], now: datetime) -> None:
        step = ReturnStep(by=row.certifier, reason="数据口径有疑问,请核对")
        await return_submission(
            self.db, self.reader, self.identities[key], step, match=None, now=now, caller=of_certifier(row.certifier)
        )

    async def _certify(self, row: Any, key: tuple[str, str, str], now: datetime) -> None:
        step = CertifyStep(by=row.certifier)
        await certify_submission(
            self.db, self.reader, self.identities[key], step, match=None, now=now, caller=of_certifier(row.certifier)
        )
        self.report.certified += 1

    async def _correct(self, row: Any, key: tuple[str, str, str], chance: random.Random, now: datetime) -> None:
        correction = CorrectionCreate(reason="上报时漏计", **_said(row, chance, self.aims))
        await correct_submission(
            self.db, self.identities[key], correction, match=None, now=now, caller=of_unit(row.unit)
        )
        self.report.corrected += 1


def _case(row: _Owed, reason: str) -> dict[str, Any]:
    """What an extension or a waiver is about."""
    about = {"rule": row.rule, "plan": row.plan, "unit": row.unit, "period": row.period, "task": row.task}
    return {**about, "reason": reason, "approver": APPROVER}


def _said(row: _Owed, chance: random.Random, aims: dict[str, list[_Aim]]) -> dict[str, Any]:
    """What a report says: near the schedule, each task with a pace of its own."""
    period = parse_period(row.period)
    pace = random.Random(row.task).uniform(0.35, 1.45)  # noqa: S311 - a demonstration
    scheduled = schedule_progress(period.start.year, period.end)
    percent = min(Decimal(100), round(scheduled * Decimal(str(pace)) + Decimal(chance.randrange(0, 300)) / 100, 1))
    return {
        "stage": Stage.COMPLETED if percent >= 100 else Stage.IN_PROGRESS,
        "percent_complete": percent,
        "progress": "演示数据:按计划推进。",
        "problems": "演示数据:前期手续办理较慢。" if percent < scheduled else None,
        "next_steps": "演示数据:下月继续推进。",
        "observations": [
            {"target": aim.code, "value": round(aim.value * (percent / 100 if aim.grows else 1), 2)}
            for aim in aims.get(row.task or "", [])
        ],
    }
