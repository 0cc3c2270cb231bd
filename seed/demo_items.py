"""The demonstration of lists, figures from above, rankings and inspections: plausible, the same every time.

Whatever the plan is called: projects stand under the tasks that wait for figures from above, and ranked and inspected
are the members of the task force of whichever battle asks for it, and the townships.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import bindparam, select, text

from app.clock import SHANGHAI
from app.db import Database, Query
from app.domain.inspections import INSPECTION_RULE
from app.domain.rankings import RANKING_RULES, RankingKind
from app.domain.work_items import WorkItemState
from app.models import Plan, Rule
from app.schemas.given_figure import FigureCreate
from app.schemas.inspection import InspectionCreate, InspectionPatch
from app.schemas.ranking import RankingCreate
from app.schemas.work_item import WorkItemCreate, WorkItemPatch
from app.services.given_figures import give_figure
from app.services.inspections import patch_inspection, record_inspection
from app.services.rankings import record_ranking
from app.services.reader import Reader
from app.services.work_items import create_work_item, patch_work_item
from seed.demo_callers import OFFICE, of_unit

__all__ = ["ItemsReport", "fill_items"]

_WAITING = Query(
    text("""
    SELECT DISTINCT ON (t.sort_key) t.code, t.title, p.year, u.code AS unit
    FROM tasks t JOIN plans p ON p.id = t.plan_id
    JOIN obligations o ON o.task_id = t.id JOIN units u ON u.id = o.unit_id
    WHERE t.upstream_note IS NOT NULL ORDER BY t.sort_key, u.code
""")
)
_ASKING = Query(select(Plan.code, Plan.year).join(Rule, Rule.plan_id == Plan.id).where(Rule.code == bindparam("rule")))
_MEMBERS = Query(
    text("""
    SELECT u.code FROM rules r JOIN plans p ON p.id = r.plan_id JOIN task_forces f ON f.battle_id = r.battle_id
    JOIN task_force_members m ON m.task_force_id = f.id JOIN units u ON u.id = m.unit_id
    WHERE p.code = :plan AND r.code = :rule AND u.kind <> 'township' ORDER BY m.position LIMIT 8
""")
)
_TOWNSHIPS = Query(
    text("""
    SELECT u.code FROM units u JOIN plans p ON p.region_code = u.region_code
    WHERE p.code = :plan AND u.kind = 'township' ORDER BY u.code
""")
)
_SAID = "演示数据,并非真实内容。"
# Of the city's ranking, which has thirteen counties: where each of the eight stood. The first was twice among the last.
_PLACES = {1: (12, 3, 6, 8, 2, 5, 9, 7), 2: (6, 11, 4, 7, 1, 8, 10, 3), 3: (13, 9, 5, 6, 4, 2, 8, 1)}
_RECORDED = {1: (4, 12), 2: (7, 12), 3: (10, 12)}
_ROUNDS = {2: (5, 16), 3: (8, 22)}


@dataclass(frozen=True, slots=True)
class ItemsReport:
    """How much was filled in."""

    work_items: int
    figures: int
    rankings: int
    inspections: int
    findings: int


async def fill_items(db: Database, reader: Reader) -> ItemsReport:
    """Fill in projects, two figures from above, three quarters of rankings and two rounds of inspections."""
    waiting = await db.fetch(_WAITING)
    for task in waiting:
        await _project(db, reader, task)
    figures = [await _figure(db, task, at) for task, at in zip(waiting, ((5, 12), (6, 8)), strict=False)]
    rankings = [
        await _ranking(db, kind, plan, quarter)
        for kind, rule in RANKING_RULES.items()
        for plan in await db.fetch(_ASKING, rule=rule)
        for quarter in _PLACES
    ]
    found = [
        findings
        for plan in await db.fetch(_ASKING, rule=INSPECTION_RULE)
        for quarter in _ROUNDS
        for findings in await _round(db, reader, plan, quarter)
    ]
    return ItemsReport(len(waiting), len(figures), len(rankings), len(found), sum(found))


async def _project(db: Database, reader: Reader, task: Any) -> None:
    """A project of the unit that reports on a task, here and there without one of the six-ones; later it goes on."""
    chance = random.Random(f"{task['code']}/project")  # noqa: S311 - a demonstration
    year: int = task["year"]
    lacks = chance.choice(("", "", "", "leader", "person", "scheme", "due_on"))
    days = [date(year, month, 20) for month in (6, 9, 12)]
    said: dict[str, Any] = {
        "leader": {"name": "演示领导", "post": "副县长"},
        "person": {"name": "演示责任人", "post": "副局长"},
        "scheme": _SAID,
        "due_on": date(year, 12, 31),
    }
    said.pop(lacks, None)
    steps = [{"title": title, "due_on": day} for title, day in zip(("完成前期", "主体完工", "验收"), days, strict=True)]
    wanted = WorkItemCreate.model_validate(
        {
            **said,
            "task": task["code"],
            "kind": "project",
            "title": task["title"],
            "unit": task["unit"],
            "milestones": steps,
            "investment": {"planned": chance.randrange(100, 5000)},
            "starts_on": date(year, 4, 1),
        }
    )
    caller = of_unit(task["unit"])
    made, _ = await create_work_item(db, reader, wanted, now=_at(year, 4, 10), caller=caller)
    for month, done, state in ((7, 1, WorkItemState.UNDER_WAY), (10, 2, WorkItemState.UNDER_WAY)):
        if chance.random() < 0.3:
            continue
        over = [{**step, "done_on": step["due_on"]} if place < done else step for place, step in enumerate(steps)]
        changed = {"reason": "演示数据:按季更新", "milestones": over, "state": state}
        patch = WorkItemPatch.model_validate(changed)
        await patch_work_item(db, reader, made.id, patch, match=None, now=_at(year, month, 8), caller=caller)


async def _figure(db: Database, task: Any, at: tuple[int, int]) -> str:
    given = FigureCreate.model_validate(
        {
            "indicator": f"{task['title']}:上级下达的任务量",
            "unit_of_measure": "项",
            "direction": "higher",
            "accumulation": "cumulative",
            "operator": "gte",
            "value": 12,
            "text": "演示数据:12 项以上",
            "document": {
                "number": f"演示〔{task['year']}〕{at[0]}号",
                "title": "演示数据:关于下达任务的通知",
                "issuer": "演示上级部门",
                "issued_on": date(task["year"], *at),
            },
        }
    )
    return (await give_figure(db, task["code"], given, now=_at(task["year"], *at), caller=OFFICE)).code


async def _ranking(db: Database, kind: RankingKind, plan: Any, quarter: int) -> str:
    if kind is RankingKind.CITY_DEPARTMENTS:
        units = await _codes(db, _MEMBERS, plan, RANKING_RULES[kind])
        entries = [{"unit": unit, "rank": rank, "of": 13} for unit, rank in zip(units, _PLACES[quarter], strict=False)]
    else:
        units = await _codes(db, _TOWNSHIPS, plan)
        random.Random(f"{plan['code']}/{quarter}").shuffle(units)  # noqa: S311 - a demonstration
        entries = [{"unit": unit, "rank": rank} for rank, unit in enumerate(units, 1)]
    request = RankingCreate.model_validate(
        {
            "plan": plan["code"],
            "kind": kind,
            "period": f"{plan['year']}-Q{quarter}",
            "source": "演示数据",
            "entries": entries,
        }
    )
    made, _ = await record_ranking(db, request, now=_at(plan["year"], *_RECORDED[quarter]), caller=OFFICE)
    return str(made.id)


async def _round(db: Database, reader: Reader, plan: Any, quarter: int) -> list[int]:
    """Two units in three are inspected, by the teams in turn; how many findings each had."""
    units = [*await _codes(db, _MEMBERS, plan, INSPECTION_RULE), *await _codes(db, _TOWNSHIPS, plan)]
    month, day = _ROUNDS[quarter]
    found: list[int] = []
    for place, unit in enumerate(units):
        chance = random.Random(f"{plan['code']}/{quarter}/{unit}")  # noqa: S311 - a demonstration
        if chance.random() < 0.34:
            continue
        findings = [
            {"title": f"演示问题 {number}", "description": _SAID, "due_on": date(plan["year"], month + 1, 15)}
            for number in range(1, max(0, chance.randrange(-3, 3)) + 1)
        ]
        request = InspectionCreate.model_validate(
            {
                "plan": plan["code"],
                "period": f"{plan['year']}-Q{quarter}",
                "team": place % 3 + 1,
                "unit": unit,
                "inspected_on": date(plan["year"], month, day),
                "findings": findings,
            }
        )
        made, _ = await record_inspection(db, reader, request, now=_at(plan["year"], month, day), caller=OFFICE)
        found.append(len(findings))
        told = {"score": chance.randrange(70, 100), "circular_ref": "演示通报", "exposure_ref": "演示曝光"}
        known = dict(list(told.items())[: chance.randrange(0, 4)])
        patch, then = InspectionPatch.model_validate(known), _at(plan["year"], month + 1, 20)
        await patch_inspection(db, made.id, patch, match=None, now=then, caller=OFFICE)
    return found


async def _codes(db: Database, query: Query, plan: Any, rule: str | None = None) -> list[str]:
    given: dict[str, Any] = {"plan": plan["code"]} | ({} if rule is None else {"rule": rule})
    rows: Sequence[Any] = await db.fetch(query, **given)
    return [row["code"] for row in rows]


def _at(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, 10, 0, tzinfo=SHANGHAI)
