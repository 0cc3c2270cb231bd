"""Of the demonstration, how the units are assessed: a scheme, faults heard and decided, marks, results in October.

All by the service's own use cases at the instants they are said to have happened. The year is not over, so the results
are interim, and the next ones will supersede them.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.assessment import DEFAULT_SCHEME
from app.domain.hearing import FaultDecision
from app.errors import AppError
from app.schemas.appeal import AppealCreate, AppealDecide
from app.schemas.assessment import AssessmentCreate
from app.schemas.assessment_scheme import AssessmentSchemeCreate, SchemeParameters
from app.schemas.fault import Entered, FaultAnswer, FaultCreate, FaultDecide
from app.schemas.mark import Markable, MarkCreate
from app.services.appeals import decide_appeal, file_appeal
from app.services.assessment_schemes import create_scheme
from app.services.assessment_scope import Scope, scope_of
from app.services.assessments import freeze
from app.services.faults import answer_fault, decide, record_fault
from app.services.marks import give_mark
from app.services.reader import Reader
from seed.demo_callers import OFFICE, REVIEW, of_unit

__all__ = ["DemoAssessments", "fill_assessments"]

_PLANS = Query(text("SELECT code FROM plans ORDER BY code"))
_LEADING = Query(
    text("""
    SELECT u.code, min(t.code COLLATE "C") AS task FROM obligations o
    JOIN rules r ON r.id = o.rule_id JOIN units u ON u.id = o.unit_id JOIN tasks t ON t.id = o.task_id
    WHERE o.battle_id = :battle AND r.kind = 'reporting' GROUP BY u.code ORDER BY u.code
""")
)
_UNIT_OF = Query(text("SELECT u.code FROM assessments a JOIN units u ON u.id = a.unit_id WHERE a.id = :id"))
_MARKS = (95, 88, 92, 76, 90)


@dataclass(frozen=True, slots=True)
class DemoAssessments:
    """What was filled in."""

    faults: int = 0
    marks: int = 0
    results: int = 0


def _at(year: int, month: int, day: int, hour: int = 9) -> datetime:
    return datetime(year, month, day, hour, tzinfo=SHANGHAI)


async def fill_assessments(writes: Database, reader: Reader) -> DemoAssessments:
    """Assess the units of every plan that lays down grades, of which at least three lead tasks."""
    faults = marks = results = 0
    for row in await writes.fetch(_PLANS):
        try:
            scope = await scope_of(writes, row["code"], None)
        except AppError:
            continue
        leading = [(one["code"], one["task"]) for one in await writes.fetch(_LEADING, battle=scope.battle_key)]
        if len(leading) < 3:
            continue
        await _make_scheme(writes, scope)
        faults += await _hear(writes, reader, scope, leading)
        marks += await _mark(writes, reader, scope, leading)
        results += await _settle(writes, reader, scope)
        faults += await _leave_open(writes, reader, scope, leading[2])
    return DemoAssessments(faults, marks, results)


async def _make_scheme(db: Database, scope: Scope) -> None:
    scheme = AssessmentSchemeCreate(
        plan=scope.plan,
        effective_on=date(scope.year, 6, 1),
        parameters=SchemeParameters.of(DEFAULT_SCHEME),
        note="演示数据:与默认办法相同的首个版本。",
    )
    await create_scheme(db, scheme, now=_at(scope.year, 6, 1), caller=OFFICE)


async def _hear(db: Database, reader: Reader, scope: Scope, leading: list[tuple[str, str]]) -> int:
    """One fault is upheld, one dismissed after what the unit says."""
    heard: list[tuple[tuple[str, str], Entered, datetime, FaultDecision]] = [
        (leading[0], "erroneous", _at(scope.year, 8, 10), FaultDecision.UPHELD),
        (leading[1], "concealed", _at(scope.year, 9, 5), FaultDecision.DISMISSED),
    ]
    for (unit, task), kind, recorded, decision in heard:
        found = FaultCreate(
            plan=scope.plan,
            battle=scope.battle,
            unit=unit,
            task=task,
            period=f"{scope.year}-{recorded.month - 1:02}",
            kind=kind,
            description="演示数据:报送数与核查数不一致。",
            evidence="演示数据:现场核查记录。",
        )
        fault = await record_fault(db, reader, found, now=recorded, caller=OFFICE)
        answered = recorded + timedelta(days=2)
        said = FaultAnswer(text="演示数据:已核对,差异为统计口径不同。")
        await answer_fault(db, fault.id, said, now=answered, caller=of_unit(unit))
        decided = FaultDecide(decision=decision, reason="演示数据:经核实。")
        await decide(db, fault.id, decided, now=answered + timedelta(days=6), caller=OFFICE)
    return len(heard)


async def _mark(db: Database, reader: Reader, scope: Scope, leading: list[tuple[str, str]]) -> int:
    given: list[tuple[str, Markable, int]] = [
        (unit, "upkeep", _MARKS[index % len(_MARKS)]) for index, (unit, _) in enumerate(leading)
    ]
    given.append((leading[0][0], "quality", 85))
    for unit, aspect, value in given:
        mark = MarkCreate(
            plan=scope.plan,
            battle=scope.battle,
            unit=unit,
            aspect=aspect,
            value=Decimal(value),
            reason="演示数据:现场查看。",
        )
        await give_mark(db, reader, mark, now=_at(scope.year, 10, 8), caller=OFFICE)
    return len(given)


async def _settle(db: Database, reader: Reader, scope: Scope) -> int:
    """All are settled at once; one appeals in vain."""
    wanted = AssessmentCreate(plan=scope.plan, battle=scope.battle)
    found = await freeze(db, reader, wanted, now=_at(scope.year, 10, 10), caller=OFFICE)
    first = await db.fetch_value(_UNIT_OF, id=found[0])
    said = AppealCreate(text="演示数据:八月的错报系统计口径不同,请复核。")
    appeal = await file_appeal(db, found[0], said, now=_at(scope.year, 10, 11), caller=of_unit(first))
    decided = AppealDecide(decision="rejected", reason="演示数据:核查记录清楚,维持。")
    await decide_appeal(db, appeal.id, decided, now=_at(scope.year, 10, 13), caller=REVIEW)
    return len(found)


async def _leave_open(db: Database, reader: Reader, scope: Scope, leading: tuple[str, str]) -> int:
    """One fault waits for what the unit says, and does not count."""
    unit, task = leading
    found = FaultCreate(
        plan=scope.plan,
        battle=scope.battle,
        unit=unit,
        task=task,
        period=f"{scope.year}-09",
        kind="erroneous",
        description="演示数据:九月报送数待核实。",
        evidence="演示数据:抽查记录。",
    )
    await record_fault(db, reader, found, now=_at(scope.year, 10, 16), caller=OFFICE)
    return 1
