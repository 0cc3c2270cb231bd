"""How far tasks are: the series of one, stages and lights as filters, and the roll-ups, all equal to the domain.

Most of it runs on databases of random reports, whose per cents lie at and just beside the thresholds of the lights on
many days; what the API says is compared with what ``app.domain.progress`` says of the same reports.
"""

import math
import random
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.clock import SHANGHAI
from app.domain.periods import parse_period
from app.domain.plan import Accumulation, Operator
from app.domain.progress import Light, Stage, deviation, light, schedule_progress
from app.domain.workflow import SubmissionState
from app.fragments import FragmentCache
from app.main import create_app
from app.schemas.progress import RollUpRead, TaskProgressRead
from app.services.reader import Reader
from app.settings import Settings
from tests.conftest import Clone, CountingDatabase, serving

PLAN, BATTLE = "431228-2023", "431228-2023-6"
NOON = time(12, tzinfo=SHANGHAI)
CENT = Decimal("0.01")
# (seed, year of the plan): a common year and a leap year.
WORLDS = [(1, 2023), (20260420, 2024)]


def days_of(year: int) -> list[date]:
    """Days before, in and after a year."""
    start, end = date(year, 1, 1), date(year, 12, 31)
    beside = [timedelta(days=offset) for offset in (-400, -1, 0, 1)]
    chance = random.Random(year)
    inside = [start + timedelta(days=chance.randrange(365)) for _ in range(12)]
    ends = [date(year, 2, 28), date(year, 3, 1) - timedelta(days=1), date(year, 3, 1), date(year, 7, 2)]
    return sorted({*(start + step for step in beside), *(end - step for step in beside), *inside, *ends})


class Hall:
    """A service on a database of its own, the clock it goes by, and the statements that reading took."""

    def __init__(self, client: httpx.AsyncClient, connection: Any, pool: CountingDatabase) -> None:
        self.client = client
        self.connection = connection
        self.pool = pool
        self.now = datetime.combine(date(2023, 4, 12), NOON)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.client.get(f"/api/v1{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def codes(self, **query: Any) -> set[str]:
        page = await self.get("/tasks", limit=500, include_total=True, **query)
        found = {item["code"] for item in page["items"]}
        assert (page["total"], page["next_cursor"]) == (len(found), None)
        return found

    async def post(self, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
        answer = await self.client.post(f"/api/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def report(self, task: str, unit: str, period: str, percent: float, **more: Any) -> str:
        """Submit a report; its id."""
        body = {"task": task, "unit": unit, "period": period, "percent_complete": percent, "stage": stage_at(percent)}
        return (await self.post("/submissions", {**body, **more}, 201))["id"]

    async def certify(self, *ids: str) -> None:
        for identity in ids:
            await self.post(f"/submissions/{identity}/certify", {"by": "县统计局"})

    async def series(self, task: str) -> list[dict[str, Any]]:
        answer = await self.get(f"/tasks/{task}/progress")
        TaskProgressRead.model_validate_json(httpx.Response(200, json=answer).content)
        assert answer["task"] == task
        return answer["items"]

    async def rolled_up(self, code: str = BATTLE) -> dict[str, Any]:
        path = f"/{'plans' if code.count('-') == 1 else 'battles'}/{code}/progress"
        answer = await self.get(path)
        RollUpRead.model_validate_json(httpx.Response(200, json=answer).content)
        return answer


def stage_at(percent: float) -> str:
    return "completed" if percent == 100 else "in_progress" if percent else "not_started"


@asynccontextmanager
async def opened(clone: Clone) -> AsyncGenerator[Hall]:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        standing: list[Hall] = []
        app = create_app(Settings(database_url=url), clock=lambda: standing[0].now)
        lifespan = app.router.lifespan_context

        @asynccontextmanager
        async def counted(of: FastAPI) -> AsyncGenerator[dict[str, Any]]:
            async with lifespan(of) as state:
                yield {**state, "reader": Reader(CountingDatabase(state["reader"].pool), FragmentCache(0))}

        app.router.lifespan_context = counted
        try:
            async with serving(app) as client:
                standing.append(Hall(client, connection, client.reader.pool))  # type: ignore[attr-defined]
                yield standing[0]
        finally:
            await connection.close()


@pytest_asyncio.fixture
async def hall(clone: Clone) -> AsyncGenerator[Hall]:
    async with opened(clone) as ready:
        yield ready


# Random reports ------------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """One submission: its newest revision, and the certified one where there is one."""

    id: uuid.UUID
    unit: str
    period: str
    state: SubmissionState
    revisions: list[tuple[Stage, Decimal]]
    certified: int | None
    figures: dict[str, Decimal] = field(default_factory=dict)

    @property
    def shown(self) -> int:
        """The revision in force, or else the newest."""
        return self.certified or len(self.revisions)

    @property
    def in_force(self) -> tuple[Stage, Decimal]:
        return self.revisions[self.shown - 1]


@dataclass
class World:
    """A service over random reports, and the reports of each task."""

    hall: Hall
    year: int
    tasks: dict[str, list[Report]]

    def standing(self, task: str) -> tuple[Stage, Fraction | None]:
        """Stage and mean per cent of a task, from the newest certified report of each unit."""
        newest: dict[str, tuple[Stage, Decimal]] = {}
        for report in sorted(self.tasks[task], key=lambda report: report.period):
            if report.certified:
                newest[report.unit] = report.in_force
        stages = {stage for stage, _ in newest.values()}
        if not newest:
            return Stage.NOT_STARTED, None
        mean = Fraction(sum(percent for _, percent in newest.values())) / len(newest)
        return (stages.pop() if len(stages) == 1 else Stage.IN_PROGRESS), mean

    def light(self, task: str, day: date) -> Light | None:
        stage, mean = self.standing(task)
        # A Fraction compares exactly with the thresholds.
        return None if mean is None else light(stage, mean, Fraction(schedule_progress(self.year, day)))  # type: ignore[arg-type]


def random_percent(chance: random.Random, year: int) -> Decimal:
    """Mostly at or beside a threshold on one of the days."""
    if chance.random() < 0.15:
        return chance.choice([Decimal(0), Decimal(100), Decimal(100)])
    day = schedule_progress(year, chance.choice(days_of(year)[2:-2]))
    off = chance.choice([Decimal(-30), Decimal(0), Decimal(10)]) + chance.choice([-CENT, Decimal(0), Decimal(0), CENT])
    return min(max(day + off, Decimal(0)), Decimal(100))


def random_stage(chance: random.Random, percent: Decimal) -> Stage:
    if percent == 100:
        return Stage.COMPLETED
    return chance.choice([Stage.NOT_STARTED, Stage.IN_PROGRESS]) if percent == 0 else Stage.IN_PROGRESS


def random_reports(chance: random.Random, units: list[str], year: int) -> list[Report]:
    """Reports of one task by none to four units, each over one to three months."""
    found: list[Report] = []
    for unit in chance.sample(units, chance.choice([0, 1, 1, 1, 1, 2, 3, 4])):
        finished = chance.random() < 0.2
        for month in chance.sample(range(1, 13), chance.choice([1, 1, 2, 3])):
            percents = [
                Decimal(100) if finished else random_percent(chance, year) for _ in range(chance.choice([1, 1, 2, 3]))
            ]
            revisions = [(random_stage(chance, percent), percent) for percent in percents]
            certified = chance.choice([None, *[len(revisions)] * 3, chance.randint(1, len(revisions))])
            pending = [SubmissionState.DRAFT, SubmissionState.SUBMITTED, SubmissionState.RETURNED]
            state = SubmissionState.CERTIFIED if certified == len(revisions) else chance.choice(pending)
            identity = uuid.UUID(int=chance.getrandbits(128))
            found.append(Report(identity, unit, f"{year}-{month:02}", state, revisions, certified))
    return found


async def keep(connection: Any, task: str, report: Report) -> None:
    """Write a report straight into the database."""
    await connection.execute(
        "INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision, "
        "certified_revision, version, created_at) SELECT t.id, $2, u.id, t.plan_id, t.battle_id, $4, $5, $6, $7, $8, "
        "1, now() FROM tasks t, units u WHERE t.code = $1 AND u.code = $3",
        *(task, report.id, report.unit, report.period, parse_period(report.period).start, report.state.value),
        *(len(report.revisions), report.certified),
    )
    await connection.executemany(
        "INSERT INTO submission_revisions (task_id, submission_id, revision, stage, percent_complete, progress, "
        "warnings, created_at, content_hash) SELECT id, $2, $3, $4, $5, '', '[]', now(), '' FROM tasks WHERE code = $1",
        [
            (task, report.id, number, stage.value, percent)
            for number, (stage, percent) in enumerate(report.revisions, 1)
        ],
    )
    await connection.executemany(
        "INSERT INTO observations (task_id, submission_id, revision, target_id, value) "
        "SELECT task_id, $2, $3, id, $4 FROM targets WHERE code = $1",
        [(target, report.id, report.shown, value) for target, value in report.figures.items()],
    )


async def random_figures(connection: Any, chance: random.Random, tasks: dict[str, list[Report]]) -> None:
    """Give the reports figures at and beside the values of their targets."""
    for row in await connection.fetch(
        "SELECT t.code, k.code AS task, t.value, t.value_max FROM targets t JOIN tasks k ON k.id = t.task_id "
        "WHERE t.value IS NOT NULL ORDER BY t.code"
    ):
        values = [row["value"] + step for step in (-CENT, Decimal(0), CENT)]
        values += [row["value_max"] + step for step in (-CENT, Decimal(0), CENT)] if row["value_max"] else []
        for report in tasks[row["task"]]:
            if chance.random() < 0.7:
                report.figures[row["code"]] = chance.choice(values)


@pytest_asyncio.fixture(scope="module", params=WORLDS, ids=lambda param: f"seed {param[0]}, {param[1]}")
async def world(clone: Clone, request: pytest.FixtureRequest) -> AsyncGenerator[World]:
    seed, year = request.param
    chance = random.Random(seed)
    async with opened(clone) as hall:
        await hall.connection.execute("UPDATE plans SET year = $1", year)
        await hall.connection.execute(
            "UPDATE targets SET operator = 'lt' WHERE code IN (SELECT code FROM targets WHERE operator = 'gte' "
            "AND task_id IS NOT NULL ORDER BY code LIMIT 6)"
        )
        units = [row["code"] for row in await hall.connection.fetch("SELECT code FROM units ORDER BY code LIMIT 40")]
        codes = [row["code"] for row in await hall.connection.fetch("SELECT code FROM tasks ORDER BY code")]
        tasks = {code: random_reports(chance, units, year) for code in codes}
        await random_figures(hall.connection, chance, tasks)
        async with hall.connection.transaction():
            for task, reports in tasks.items():
                for report in reports:
                    await keep(hall.connection, task, report)
        yield World(hall, year, tasks)


def test_the_random_reports_lie_on_both_sides_of_every_threshold() -> None:
    for seed, year in WORLDS:
        chance = random.Random(seed)
        units = [f"431228-u{number}" for number in range(40)]
        tasks = {str(number): random_reports(chance, units, year) for number in range(160)}
        world = World(None, year, tasks)  # type: ignore[arg-type]
        met: set[Fraction] = set()
        lights: list[Light | None] = []
        for day in days_of(year):
            scheduled = Fraction(schedule_progress(year, day))
            lights += [world.light(task, day) for task in tasks]
            met |= {mean - scheduled for task in tasks if (mean := world.standing(task)[1]) is not None}
        assert {Fraction(off) for at in (-30, 0, 10) for off in (at - CENT, at)} <= met
        assert {*lights} == {None, *Light}
        stages = [world.standing(task)[0] for task in tasks]
        assert all(stages.count(stage) > 5 for stage in Stage)
        assert any(
            report.certified and report.certified < len(report.revisions) for task in tasks.values() for report in task
        )


# Stages and lights ---------------------------------------------------------------------------------------------------


async def test_every_task_is_in_exactly_one_stage(world: World) -> None:
    found = {stage: await world.hall.codes(stage=stage.value) for stage in Stage}
    assert found == {stage: {task for task in world.tasks if world.standing(task)[0] is stage} for stage in Stage}
    assert sum(map(len, found.values())) == len(world.tasks) == len(await world.hall.codes())


async def test_every_reported_task_and_no_other_has_one_light_whatever_the_day(world: World) -> None:
    reported = {task for task in world.tasks if world.standing(task)[1] is not None}
    assert 0 < len(reported) < len(world.tasks)
    clocks = [time(0, tzinfo=SHANGHAI), NOON, time(23, 59, 59, 999999, tzinfo=SHANGHAI)]
    for number, day in enumerate(days_of(world.year)):
        # The clock may speak of any zone: the day is that of the place.
        world.hall.now = datetime.combine(day, clocks[number % 3]).astimezone(UTC)
        found = {one: await world.hall.codes(light=one.value) for one in Light}
        assert found == {one: {task for task in reported if world.light(task, day) is one} for one in Light}, day
        assert sum(map(len, found.values())) == len(reported)


async def test_stage_and_light_narrow_each_other_and_the_other_filters(world: World) -> None:
    day = date(world.year, 7, 2)
    world.hall.now = datetime.combine(day, NOON)
    for ordinal in range(1, 7):
        battle = f"{PLAN}-{ordinal}"
        for stage in Stage:
            for one in Light:
                expected = {
                    task
                    for task in world.tasks
                    if task.startswith(f"{battle}-")
                    and world.standing(task)[0] is stage
                    and world.light(task, day) is one
                }
                assert await world.hall.codes(battle=battle, stage=stage.value, light=one.value) == expected


async def test_pages_of_a_light_follow_each_other(world: World) -> None:
    day = date(world.year, 7, 2)
    world.hall.now = datetime.combine(day, NOON)
    query: dict[str, Any] = {"light": "far_behind", "limit": 7}
    found: list[str] = []
    while True:
        page = await world.hall.get("/tasks", **query)
        found += [item["code"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert len(found) > 7
    assert sorted(found) == sorted(task for task in world.tasks if world.light(task, day) is Light.FAR_BEHIND)


@pytest.mark.parametrize(
    "query", ["stage=done", "light=green", "stage=", "light=", "stage=completed&stage=not_started"]
)
async def test_unknown_stages_and_lights_are_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/api/v1/tasks?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["pointer"] == f"/query/{query.partition('=')[0]}"


# The series ----------------------------------------------------------------------------------------------------------


async def test_the_series_of_every_task_is_what_was_reported_against_the_domain(world: World) -> None:
    for task, reports in world.tasks.items():
        expected: list[dict[str, Any]] = []
        for report in sorted(reports, key=lambda report: (report.period, report.unit)):
            stage, percent = report.in_force
            scheduled = schedule_progress(world.year, parse_period(report.period).end)
            expected.append(
                {
                    "period": report.period,
                    "unit": report.unit,
                    "state": report.state.value,
                    "revision": report.shown,
                    "stage": stage.value,
                    "percent_complete": float(percent),
                    "scheduled": float(scheduled),
                    "deviation": float(deviation(percent, scheduled)),
                    "light": light(stage, percent, scheduled).value,
                }
            )
        found = await world.hall.series(task)
        assert [{**item, "unit": item["unit"]["unit"]} for item in found] == expected


async def test_a_correction_counts_once_it_is_certified(hall: Hall) -> None:
    task, unit = f"{BATTLE}-3-3", "县农业农村局"
    assert await hall.series(task) == []
    identity = await hall.report(task, unit, "2023-04", 20)

    async def now_shown() -> tuple[Any, ...]:
        (item,) = await hall.series(task)
        assert (item["period"], item["unit"]["name"], item["scheduled"]) == ("2023-04", unit, 32.88)
        assert item["deviation"] == pytest.approx(item["percent_complete"] - 32.88)
        return item["state"], item["revision"], item["percent_complete"], item["light"]

    # Shown before it is certified, but not counted.
    assert await now_shown() == ("submitted", 1, 20, "behind")
    assert (await hall.rolled_up())["reported"] == 0
    assert task not in await hall.codes(stage="in_progress")
    await hall.certify(identity)
    assert await now_shown() == ("certified", 1, 20, "behind")
    assert await hall.codes(stage="in_progress") == {task}
    # On 12 April 27.95 should be done.
    assert await hall.codes(light="behind") == {task}
    fixed = {"stage": "in_progress", "percent_complete": 60, "progress": "更正", "reason": "漏计"}
    await hall.post(f"/submissions/{identity}/correct", fixed)
    assert await now_shown() == ("submitted", 1, 20, "behind")
    assert await hall.codes(light="behind") == {task}
    await hall.certify(identity)
    assert await now_shown() == ("certified", 2, 60, "ahead")
    assert await hall.codes(light="ahead") == {task}
    assert await hall.codes(light="behind") == set()


async def test_a_draft_is_shown_as_one_and_counts_for_nothing(hall: Hall) -> None:
    task = f"{BATTLE}-3-3"
    await hall.report(task, "县农业农村局", "2023-04", 100, submit=False)
    (item,) = await hall.series(task)
    assert (item["state"], item["light"]) == ("draft", "completed")
    assert await hall.codes(stage="completed") == set()
    assert (await hall.rolled_up())["lights"] == dict.fromkeys(Light, 0)


async def several(hall: Hall) -> tuple[str, list[str]]:
    """A task with several reporting units."""
    page = await hall.get("/obligations", rule="monthly-form", period="2023-04", limit=500)
    units: dict[str, list[str]] = {}
    for item in page["items"]:
        units.setdefault(item["task"], []).append(item["unit"]["unit"])
    task = max(units, key=lambda code: len(units[code]))
    assert len(units[task]) >= 2
    return task, sorted(units[task])


async def test_a_task_of_several_units_stands_at_their_mean(hall: Hall) -> None:
    task, units = await several(hall)
    one, other = units[:2]
    ids = [await hall.report(task, unit, "2023-04", percent) for unit, percent in ((one, 100), (other, 31))]
    assert [item["unit"]["unit"] for item in await hall.series(task)] == [one, other]
    await hall.certify(ids[0])
    # Those who have not reported keep nobody down.
    assert await hall.codes(stage="completed") == await hall.codes(light="completed") == {task}
    await hall.certify(ids[1])
    assert await hall.codes(stage="completed") == set()
    assert await hall.codes(stage="in_progress") == {task}
    rolled = await hall.rolled_up()
    assert rolled["scheduled"] == 27.95
    # Half of 131, less the schedule.
    assert rolled["mean_deviation"] == 37.55
    assert (rolled["stages"]["completed"], rolled["completion_rate"], rolled["lights"]["ahead"]) == (0, 0, 1)
    # The newest report of each: of one that of April, of the other that of May.
    hall.now = datetime.combine(date(2023, 5, 12), NOON)
    await hall.certify(await hall.report(task, other, "2023-05", 100))
    assert await hall.codes(stage="completed") == {task}
    assert (await hall.rolled_up())["completion_rate"] == round(100 / 22, 2)
    await hall.certify(await hall.report(task, one, "2023-05", 0))
    assert await hall.codes(stage="completed") == set()
    assert await hall.codes(stage="in_progress") == {task}


# Roll-ups ------------------------------------------------------------------------------------------------------------


async def standings(world: World) -> dict[str, tuple[str, Fraction | None]]:
    """Stage and mean of every task, from the series and the submissions that the API shows."""
    certified: set[tuple[str, str, str]] = set()
    query: dict[str, Any] = {"limit": 500}
    while True:
        page = await world.hall.get("/submissions", **query)
        certified |= {
            (item["task"], item["unit"]["unit"], item["period"])
            for item in page["items"]
            if item["certified_revision"] is not None
        }
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    found: dict[str, tuple[str, Fraction | None]] = {}
    for task in await world.hall.codes():
        newest = {
            item["unit"]["unit"]: item
            for item in await world.hall.series(task)
            if (task, item["unit"]["unit"], item["period"]) in certified
        }
        stages = {item["stage"] for item in newest.values()} or {"not_started"}
        percents = [Fraction(str(item["percent_complete"])) for item in newest.values()]
        mean = sum(percents) / Fraction(len(percents)) if percents else None
        found[task] = (stages.pop() if len(stages) == 1 else "in_progress", mean)
    return found


def meets(operator: str, value: float, target: dict[str, Any]) -> bool:
    match operator:
        case "gt":
            return value > target["value"]
        case "lte":
            return value <= target["value"]
        case "lt":
            return value < target["value"]
        case "range":
            return target["value"] <= value <= target["value_max"]
        case "eq" | "approx" if target["direction"] == "lower":
            return value <= target["value"]
        case _:
            return value >= target["value"]


async def reached(world: World) -> dict[str, bool]:
    """Whether each target with a value is reached, by the figures that the API shows."""
    # The API does not say which of two units came last; whoever has the reports does.
    order = {
        (task, report.unit, report.period): (report.period, report.id)
        for task, reports in world.tasks.items()
        for report in reports
    }
    page = await world.hall.get("/targets", quantified=True, limit=500)
    found: dict[str, bool] = {}
    for target in page["items"]:
        detail = await world.hall.get(f"/targets/{target['code']}")
        shown = [item for item in detail["observations"] if item["certified"]]
        newest = max(shown, key=lambda item: order[target["task"], item["unit"], item["period"]], default=None)
        found[target["code"]] = newest is not None and meets(target["operator"], newest["value"], target)
    return found


async def test_roll_ups_are_what_their_tasks_and_targets_add_up_to(world: World) -> None:
    stands, targets = await standings(world), await reached(world)
    assert {task: (stage.value, mean) for task in world.tasks for stage, mean in [world.standing(task)]} == stands
    assert 5 < sum(targets.values()) < len(targets)
    for day in days_of(world.year):
        world.hall.now = datetime.combine(day, NOON)
        scheduled = schedule_progress(world.year, day)
        for code in (PLAN, *(f"{PLAN}-{ordinal}" for ordinal in range(1, 7))):
            mine = [stand for task, stand in stands.items() if task.startswith(f"{code}-")]
            aims = [is_reached for target, is_reached in targets.items() if target.startswith(f"{code}-")]
            stages = [stage for stage, _ in mine]
            offs = [mean - Fraction(scheduled) for _, mean in mine if mean is not None]
            lights = [
                light(Stage(stage), mean, Fraction(scheduled))  # type: ignore[arg-type]
                for stage, mean in mine
                if mean is not None
            ]
            answer = await world.hall.rolled_up(code)
            off = Fraction(str(answer.pop("mean_deviation")))
            # Rounded to the cent, and not further away than that.
            assert abs(off - sum(offs) / len(offs)) <= Fraction(5001, 1_000_000)
            share = Fraction(10_000 * stages.count("completed"), len(mine))
            assert answer == {
                "code": code,
                "as_of": world.hall.now.isoformat(),
                "tasks": len(mine),
                "reported": len(offs),
                "stages": {stage.value: stages.count(stage.value) for stage in Stage},
                "lights": {one.value: lights.count(one) for one in Light},
                "completion_rate": math.floor(share + Fraction(1, 2)) / 100,
                "scheduled": float(scheduled),
                "targets": len(aims),
                "targets_reached": sum(aims),
            }


async def test_the_battles_add_up_to_the_plan(world: World) -> None:
    whole = await world.hall.rolled_up(PLAN)
    parts = [await world.hall.rolled_up(f"{PLAN}-{ordinal}") for ordinal in range(1, 7)]
    for name in ("tasks", "reported"):
        assert whole[name] == sum(part[name] for part in parts)
    for name, values in (("stages", Stage), ("lights", Light)):
        assert whole[name] == {value.value: sum(part[name][value.value] for part in parts) for value in values}


@pytest.mark.parametrize("year", [2023, 2024])
async def test_the_schedule_in_sql_is_that_of_the_domain_on_every_day(hall: Hall, year: int) -> None:
    """With one task reported at 0, the mean deviation is the schedule that SQL computes, below zero."""
    await hall.connection.execute("UPDATE plans SET year = $1", year)
    zero = [(Stage.NOT_STARTED, Decimal(0))]
    unit = await hall.connection.fetchval("SELECT code FROM units LIMIT 1")
    report = Report(uuid.uuid4(), unit, f"{year}-01", SubmissionState.CERTIFIED, zero, 1)
    await keep(hall.connection, f"{BATTLE}-1-1", report)
    day = date(year, 1, 1) - timedelta(days=3)
    while day < date(year + 1, 1, 4):
        hall.now = datetime.combine(day, NOON)
        answer = await hall.rolled_up()
        expected = float(schedule_progress(year, day))
        assert (answer["scheduled"], answer["mean_deviation"]) == (expected, -expected if expected else 0), day
        day += timedelta(days=1)


async def test_nothing_reported_is_no_deviation_and_all_unstarted(hall: Hall) -> None:
    for code, tasks in ((PLAN, 163), (BATTLE, 22)):
        answer = await hall.rolled_up(code)
        assert answer["stages"] == {"not_started": tasks, "in_progress": 0, "completed": 0}
        assert (answer["reported"], answer["mean_deviation"], answer["completion_rate"]) == (0, None, 0)
        assert set(answer["lights"].values()) == {0}
        assert answer["targets_reached"] == 0 < answer["targets"]


async def test_a_battle_without_tasks_has_no_completion_rate(hall: Hall) -> None:
    await hall.connection.execute("DELETE FROM tasks WHERE code LIKE $1", f"{BATTLE}-%")
    answer = await hall.rolled_up()
    assert (answer["tasks"], answer["completion_rate"], answer["mean_deviation"]) == (0, None, None)


async def test_half_a_cent_of_the_completion_rate_is_rounded_up(hall: Hall) -> None:
    """Of 16 tasks 1 is 6.25; of 32, 3.125."""
    battle = f"{PLAN}-1"
    codes = sorted(await hall.codes(battle=battle))
    await hall.connection.execute("DELETE FROM tasks WHERE code = ANY($1)", codes[32:])
    unit = await hall.connection.fetchval("SELECT code FROM units LIMIT 1")
    done = [(Stage.COMPLETED, Decimal(100))]
    await keep(hall.connection, codes[0], Report(uuid.uuid4(), unit, "2023-04", SubmissionState.CERTIFIED, done, 1))
    answer = await hall.rolled_up(battle)
    assert (answer["tasks"], answer["completion_rate"]) == (32, 3.13)


# Targets -------------------------------------------------------------------------------------------------------------

_TARGET = f"{BATTLE}-1-5"
# Operator, value, upper value, direction of the indicator; the figures that reach it, and those that do not.
REACHED: list[tuple[Operator, int, int | None, str, list[str], list[str]]] = [
    (Operator.GTE, 43, None, "higher", ["43", "43.01", "100"], ["42.99", "0", "-1"]),
    (Operator.GT, 43, None, "higher", ["43.01"], ["43", "42.99"]),
    (Operator.LTE, 43, None, "lower", ["43", "42.99", "0"], ["43.01"]),
    (Operator.LT, 43, None, "lower", ["42.99"], ["43", "43.01"]),
    (Operator.RANGE, 43, 50, "steady", ["43", "46", "50"], ["42.99", "50.01"]),
    # Beyond the value on the better side is reached too.
    (Operator.EQ, 43, None, "higher", ["43", "44"], ["42.99"]),
    (Operator.APPROX, 43, None, "higher", ["43", "44"], ["42.99"]),
    (Operator.EQ, 0, None, "lower", ["0"], ["1", "0.01"]),
    (Operator.APPROX, 43, None, "lower", ["43", "42"], ["43.01"]),
]


def test_every_operator_is_tried() -> None:
    assert {row[0] for row in REACHED} == set(Operator)


async def test_targets_reached_by_each_operator(hall: Hall) -> None:
    unit = await hall.connection.fetchval("SELECT code FROM units LIMIT 1")
    target = await hall.connection.fetchrow(
        "SELECT t.id, t.code, t.indicator_id FROM targets t JOIN tasks k ON k.id = t.task_id "
        "WHERE k.code = $1 AND t.value IS NOT NULL",
        _TARGET,
    )
    stand = [(Stage.IN_PROGRESS, Decimal(50))]
    report = Report(uuid.uuid4(), unit, "2023-04", SubmissionState.CERTIFIED, stand, 1, {target["code"]: Decimal(43)})
    await keep(hall.connection, _TARGET, report)
    for operator, value, value_max, direction, yes, no in REACHED:
        await hall.connection.execute(
            "UPDATE targets SET operator = $2, value = $3, value_max = $4 WHERE id = $1",
            *(target["id"], operator.value, value, value_max),
        )
        await hall.connection.execute(
            "UPDATE indicators SET direction = $2 WHERE id = $1", target["indicator_id"], direction
        )
        for figure in (*yes, *no):
            await hall.connection.execute("UPDATE observations SET value = $1", Decimal(figure))
            for code in (BATTLE, PLAN):
                answer = await hall.rolled_up(code)
                assert answer["targets_reached"] == (figure in yes), (operator, figure)


async def test_only_the_newest_certified_figure_reaches_a_target(hall: Hall) -> None:
    page = await hall.get("/targets", task=f"{BATTLE}-1-7", quantified=True)
    target = page["items"][0]
    task, code, value = target["task"], target["code"], target["value"]
    owed = await hall.get("/obligations", rule="monthly-form", task=task, period="2023-04")
    unit = owed["items"][0]["unit"]["unit"]

    async def seen() -> tuple[int, list[tuple[Any, ...]]]:
        detail = await hall.get(f"/targets/{code}")
        assert {key: detail[key] for key in target} == target
        shown = [(item["period"], item["unit"], item["value"], item["certified"]) for item in detail["observations"]]
        return (await hall.rolled_up())["targets_reached"], shown

    def figure(amount: float) -> dict[str, Any]:
        return {"observations": [{"target": code, "value": amount}]}

    assert await seen() == (0, [])
    april = await hall.report(task, unit, "2023-04", 30, **figure(value))
    assert await seen() == (0, [("2023-04", unit, value, False)])
    await hall.certify(april)
    assert await seen() == (1, [("2023-04", unit, value, True)])
    # A pending correction changes nothing.
    fixed = {"stage": "in_progress", "percent_complete": 30, "reason": "误填", **figure(value - 1)}
    await hall.post(f"/submissions/{april}/correct", fixed)
    assert await seen() == (1, [("2023-04", unit, value, True)])
    await hall.certify(april)
    assert await seen() == (0, [("2023-04", unit, value - 1, True)])
    hall.now = datetime.combine(date(2023, 5, 12), NOON)
    may = await hall.report(task, unit, "2023-05", 40, **figure(value + 0.5))
    assert (await seen())[0] == 0
    await hall.certify(may)
    both = [("2023-04", unit, value - 1, True), ("2023-05", unit, value + 0.5, True)]
    assert await seen() == (1, both)
    # A later report without the figure leaves the last one standing.
    hall.now = datetime.combine(date(2023, 6, 12), NOON)
    await hall.certify(await hall.report(task, unit, "2023-06", 50))
    assert await seen() == (1, both)


async def test_of_two_units_the_figure_that_came_last_counts(hall: Hall) -> None:
    code, value = await hall.connection.fetchrow(
        "SELECT t.code, t.value FROM targets t JOIN tasks k ON k.id = t.task_id "
        "WHERE k.code = $1 AND t.value IS NOT NULL",
        _TARGET,
    )
    units = [row["code"] for row in await hall.connection.fetch("SELECT code FROM units ORDER BY code LIMIT 6")]
    stand = [(Stage.IN_PROGRESS, Decimal(50))]
    for number, unit in enumerate(units):
        figures = {code: value - number % 2}
        report = Report(uuid.UUID(int=number + 1), unit, "2023-04", SubmissionState.CERTIFIED, stand, 1, figures)
        await keep(hall.connection, _TARGET, report)
        assert (await hall.rolled_up())["targets_reached"] == (number + 1) % 2


async def test_observations_of_every_target_are_those_of_the_revisions_shown(world: World) -> None:
    page = await world.hall.get("/targets", quantified=True, limit=500)
    assert {target["accumulation"] for target in page["items"]} <= set(Accumulation)
    for target in page["items"]:
        reports = [report for report in world.tasks.get(target["task"], ()) if target["code"] in report.figures]
        detail = await world.hall.get(f"/targets/{target['code']}")
        assert detail["observations"] == [
            {
                "period": report.period,
                "unit": report.unit,
                "value": float(report.figures[target["code"]]),
                "certified": report.certified is not None,
            }
            for report in sorted(reports, key=lambda report: (report.period, report.unit))
        ]


# What there is not, and what it costs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/tasks/431228-2023-6-9-9/progress",
        "/battles/431228-2023-9/progress",
        "/plans/431228-2024/progress",
        "/targets/431228-2023-6-1-5-T99",
    ],
)
async def test_what_is_not_there_is_a_404(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/api/v1{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    body = answer.json()
    assert body["type"] == "/problems/not-found"
    assert path.split("/")[2] in body["detail"]


@pytest.mark.parametrize("path", ["/tasks/x/progress", "/battles/431228-2023/progress", "/plans/2023/progress"])
async def test_what_is_no_code_is_a_422(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/api/v1{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize(
    "path", [f"/tasks/{BATTLE}-3-3/progress", f"/battles/{BATTLE}/progress", f"/plans/{PLAN}/progress"]
)
async def test_unknown_parameters_are_refused(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/api/v1{path}?period=2023-04")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/query/period"


async def test_no_statement_per_task_report_or_figure(world: World) -> None:
    world.hall.now = datetime.combine(date(world.year, 7, 2), NOON)
    busy = max(world.tasks, key=lambda task: len(world.tasks[task]))
    idle = next(task for task, reports in world.tasks.items() if not reports)
    figures: dict[str, int] = {}
    for reports in world.tasks.values():
        for report in reports:
            for code in report.figures:
                figures[code] = figures.get(code, 0) + 1
    most = max(figures, key=lambda code: figures[code])
    assert figures[most] > 2 < len(world.tasks[busy])
    costs = {
        f"/tasks/{busy}/progress": 1,
        # Whether there is such a task at all.
        f"/tasks/{idle}/progress": 2,
        **{f"/battles/{PLAN}-{ordinal}/progress": 1 for ordinal in range(1, 7)},
        f"/plans/{PLAN}/progress": 1,
        f"/targets/{most}": 2,
        **{
            f"/tasks?{query}&limit={limit}": 2
            for query in ("stage=in_progress", "light=far_behind", "stage=in_progress&light=behind")
            for limit in (1, 50)
        },
    }
    for path, cost in costs.items():
        before = len(world.hall.pool.statements)
        answer = await world.hall.client.get(f"/api/v1{path}")
        assert (answer.status_code, len(world.hall.pool.statements) - before) == (200, cost), path


async def test_an_unchanged_series_is_304_until_another_report_comes(hall: Hall) -> None:
    task, unit = f"{BATTLE}-3-3", "县农业农村局"
    path = f"/api/v1/tasks/{task}/progress"
    etag = (await hall.client.get(path)).headers["etag"]
    assert (await hall.client.get(path, headers={"If-None-Match": etag})).status_code == 304
    await hall.report(task, unit, "2023-04", 20)
    assert (await hall.client.get(path, headers={"If-None-Match": etag})).status_code == 200
