"""A demonstration: half a year of plausible reports, the same every time.

Every report goes in by the service's own use cases, at the instant it is said to have come: on time, late at the unit,
late at certification, returned and mended, missed, corrected afterwards. So every query of the API shows something.
"""

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.periods import parse_period
from app.domain.plan import RuleKind, RuleUnitRole
from app.domain.progress import Stage, schedule_progress
from app.models import Material, Obligation, Plan, Rule, RuleUnit, Submission, Task, Unit
from app.schemas.material import MaterialCreate
from app.schemas.submission import CertifyStep, CorrectionCreate, ReportWrite, ReturnStep, SubmitStep
from app.services.materials import receive_material
from app.services.reader import Reader
from app.services.steps import certify_submission, correct_submission, return_submission, submit_submission
from app.services.submissions import Report, refuse, take

__all__ = ["DemoError", "DemoReport", "fill_demo"]

FIRST, LAST = "2023-04", "2023-09"
# How a report comes in, and in how many of a hundred cases.
COURSES = {"on_time": 68, "late_unit": 9, "late_certification": 9, "returned": 6, "missed": 8}
CORRECTED = 0.08


class DemoError(RuntimeError):
    """The demonstration cannot be filled in; the message (Chinese) says why."""


@dataclass(slots=True)
class DemoReport:
    """What was filled in."""

    submissions: int = 0
    certified: int = 0
    corrected: int = 0
    materials: int = 0


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
        demo = _Demo(db, reader, report)
        events = sorted((event for row in owed for event in demo.events(row)), key=lambda event: event.at)
        for event in events:
            await event.do(event.at)
    return report


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


class _Demo:
    """What befalls each expected report; chance is seeded by the report itself, so that no order matters."""

    def __init__(self, db: Database, reader: Reader, report: DemoReport) -> None:
        self.db = db
        self.reader = reader
        self.report = report
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
                await receive_material(self.db, self.reader, request, now=now)
                self.report.materials += 1

            yield _Event(at, send)

    def _report(self, row: Any, chance: random.Random) -> Iterator[_Event]:
        (course,) = chance.choices(list(COURSES), weights=list(COURSES.values()))
        if course == "missed":
            return
        due: datetime = row.due_at.astimezone(SHANGHAI)
        early = due - timedelta(days=chance.uniform(2, 9))
        submitted = due + timedelta(days=chance.uniform(0.5, 8)) if course == "late_unit" else early
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

    async def _submit(self, row: Any, key: tuple[str, str, str], chance: random.Random, now: datetime) -> None:
        said = ReportWrite(**_said(row, chance))
        (taken,) = await take(self.db, [Report(row.task, row.unit, row.period, True, said, now)])
        refuse(taken)
        assert taken.id is not None, "what is not refused has been taken in"
        self.identities[key] = UUID(taken.id)
        self.report.submissions += 1

    async def _submit_again(self, key: tuple[str, str, str], now: datetime) -> None:
        step = SubmitStep(reason="已核对")
        await submit_submission(self.db, self.identities[key], step, match=None, now=now)

    async def _return(self, row: Any, key: tuple[str, str, str], now: datetime) -> None:
        step = ReturnStep(by=row.certifier, reason="数据口径有疑问,请核对")
        await return_submission(self.db, self.reader, self.identities[key], step, match=None, now=now)

    async def _certify(self, row: Any, key: tuple[str, str, str], now: datetime) -> None:
        step = CertifyStep(by=row.certifier)
        await certify_submission(self.db, self.reader, self.identities[key], step, match=None, now=now)
        self.report.certified += 1

    async def _correct(self, row: Any, key: tuple[str, str, str], chance: random.Random, now: datetime) -> None:
        correction = CorrectionCreate(reason="上报时漏计", **_said(row, chance))
        await correct_submission(self.db, self.identities[key], correction, match=None, now=now)
        self.report.corrected += 1


def _said(row: Any, chance: random.Random) -> dict[str, Any]:
    """What a report says: near the schedule, each task with a pace of its own."""
    period = parse_period(row.period)
    pace = random.Random(row.task).uniform(0.35, 1.45)  # noqa: S311 - a demonstration
    scheduled = schedule_progress(period.start.year, period.end)
    percent = min(Decimal(100), round(scheduled * Decimal(str(pace)) + Decimal(chance.randrange(0, 300)) / 100, 1))
    return {
        "stage": Stage.COMPLETED if percent >= 100 else Stage.IN_PROGRESS,
        "percent_complete": percent,
        "progress": "演示数据:按计划推进。",
        "next_steps": "演示数据:下月继续推进。",
    }
