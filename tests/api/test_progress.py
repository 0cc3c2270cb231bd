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
from app.domain.progress import Light, Stage, Thresholds, deviation, light, schedule_progress, stretches
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
LONG_AGO = datetime(2019, 1, 1, tzinfo=SHANGHAI)
# Not those of the code, so that the plan's are seen to count.
THRESHOLDS = Thresholds(ahead_points=Decimal("7.5"), behind_points=Decimal(25))
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

    async def put_figures(self, value: Decimal) -> None:
        """Make this the figure of every report, the certified ones too, which nothing but a test may."""
        async with self.connection.transaction():
            await self.connection.execute("SET LOCAL session_replication_role = replica")
            await self.connection.execute("UPDATE observations SET value = $1", value)

    async def certify(self, *ids: str) -> None:
        for identity in ids:
            await self.post(f"/submissions/{identity}/certify", {"by": "县统计局"})

    async def series(self, task: str, **query: Any) -> list[dict[str, Any]]:
        answer = await self.get(f"/tasks/{task}/progress", **query)
        TaskProgressRead.model_validate_json(httpx.Response(200, json=answer).content)
        assert answer["task"] == task
        return answer["items"]

    async def rolled_up(self, code: str = BATTLE, **query: Any) -> dict[str, Any]:
        path = f"/{'plans' if code.count('-') == 1 else 'battles'}/{code}/progress"
        answer = await self.get(path, **query)
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
    """One submission, whose revisions were handed in and certified one after the other, a step of time each."""

    id: uuid.UUID
    unit: str
    period: str
    state: SubmissionState
    revisions: list[tuple[Stage, Decimal]]
    certified: int | None
    figures: dict[str, Decimal] = field(default_factory=dict)
    began: datetime = LONG_AGO
    step: timedelta = timedelta(hours=1)

    def submitted_at(self, revision: int) -> datetime | None:
        draft = revision == len(self.revisions) and self.state is SubmissionState.DRAFT
        return None if draft else self.began + (2 * revision - 1) * self.step

    def certified_at(self, revision: int) -> datetime | None:
        return self.began + 2 * revision * self.step if revision <= (self.certified or 0) else None

    def transitions(self) -> list[tuple[int, str, SubmissionState, datetime]]:
        found: list[tuple[int, str, SubmissionState, datetime]] = []
        for revision in range(1, len(self.revisions) + 1):
            handed_in = self.submitted_at(revision)
            action = "correct" if revision > 1 else "submit" if handed_in else "edit"
            state = SubmissionState.SUBMITTED if handed_in else SubmissionState.DRAFT
            found.append((revision, action, state, self.began + (2 * revision - 1) * self.step))
            if certified_at := self.certified_at(revision):
                found.append((revision, "certify", SubmissionState.CERTIFIED, certified_at))
        if self.state is SubmissionState.RETURNED:
            last = len(self.revisions)
            found.append((last, "return", SubmissionState.RETURNED, self.began + 2 * last * self.step))
        return found

    def state_at(self, as_of: datetime) -> SubmissionState:
        return [state for _, _, state, at in self.transitions() if at <= as_of][-1]

    def in_force(self, as_of: datetime) -> int | None:
        return self._newest(self.certified_at, as_of)

    def shown(self, as_of: datetime) -> int | None:
        """The revision in force, or else the newest handed in."""
        return self.in_force(as_of) or self._newest(self.submitted_at, as_of)

    def _newest(self, instant: Any, as_of: datetime) -> int | None:
        numbers = range(1, len(self.revisions) + 1)
        return max((one for one in numbers if (at := instant(one)) and at <= as_of), default=None)

    def figure(self, target: str, revision: int) -> Decimal:
        """What a revision says of a target: the last as given, each before it a cent less."""
        return self.figures[target] - (len(self.revisions) - revision) * CENT


Points = list[tuple[date, Decimal]]


@dataclass
class World:
    """A service over random reports, the reports of each task, and the schedules that units set one after the other."""

    hall: Hall
    year: int
    tasks: dict[str, list[Report]]
    schedules: dict[tuple[str, str], list[tuple[datetime, Points]]] = field(default_factory=dict)

    def points(self, task: str, unit: str, as_of: datetime) -> Points:
        found = [points for set_at, points in self.schedules.get((task, unit), ()) if set_at <= as_of]
        return found[-1] if found else []

    def standing(self, task: str, as_of: datetime) -> tuple[Stage, Fraction | None, Fraction]:
        """Stage, mean per cent and mean schedule of a task, from the newest certified report of each unit."""
        newest: dict[str, tuple[Stage, Decimal]] = {}
        for report in sorted(self.tasks[task], key=lambda report: report.period):
            if revision := report.in_force(as_of):
                newest[report.unit] = report.revisions[revision - 1]
        stages = {stage for stage, _ in newest.values()}
        if not newest:
            return Stage.NOT_STARTED, None, Fraction(0)
        mean = Fraction(sum(percent for _, percent in newest.values())) / len(newest)
        day = as_of.astimezone(SHANGHAI).date()
        due = [Fraction(schedule_progress(self.year, day, self.points(task, unit, as_of))) for unit in newest]
        return (stages.pop() if len(stages) == 1 else Stage.IN_PROGRESS), mean, sum(due) / len(due)

    def light(self, task: str, as_of: datetime) -> Light | None:
        stage, mean, due = self.standing(task, as_of)
        # A Fraction compares exactly with the thresholds.
        return None if mean is None else light(stage, mean, due, THRESHOLDS)  # type: ignore[arg-type]


def random_percent(chance: random.Random, year: int) -> Decimal:
    """Mostly at or beside a threshold on one of the days."""
    if chance.random() < 0.15:
        return chance.choice([Decimal(0), Decimal(100), Decimal(100)])
    day = schedule_progress(year, chance.choice(days_of(year)[2:-2]))
    off = chance.choice([-THRESHOLDS.behind_points, Decimal(0), THRESHOLDS.ahead_points]) + chance.choice(
        [-CENT, Decimal(0), Decimal(0), CENT]
    )
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
            report = Report(identity, unit, f"{year}-{month:02}", state, revisions, certified)
            if chance.random() < 0.4:
                report.began = datetime(year, 1, 1, tzinfo=SHANGHAI) + timedelta(seconds=chance.randrange(365 * 86400))
                report.step = chance.choice([timedelta(microseconds=1), timedelta(hours=5), timedelta(days=20)])
            found.append(report)
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
        "warnings, created_at, submitted_at, content_hash) "
        "SELECT id, $2, $3, $4, $5, '', '[]', now(), $6, '' FROM tasks WHERE code = $1",
        [
            (task, report.id, number, stage.value, percent, report.submitted_at(number))
            for number, (stage, percent) in enumerate(report.revisions, 1)
        ],
    )
    await connection.executemany(
        "INSERT INTO submission_transitions (task_id, submission_id, revision, action, to_state, at, actor_unit_id) "
        "SELECT t.id, $2, $3, $4, $5, $6, u.id FROM tasks t, units u WHERE t.code = $1 AND u.code = $7",
        [
            (task, report.id, revision, action, state.value, at, report.unit)
            for revision, action, state, at in report.transitions()
        ],
    )
    await connection.executemany(
        "INSERT INTO observations (task_id, submission_id, revision, target_id, value) "
        "SELECT task_id, $2, $3, id, $4 FROM targets WHERE code = $1",
        [
            (target, report.id, number, report.figure(target, number))
            for target in report.figures
            for number in range(1, len(report.revisions) + 1)
        ],
    )
    # Last, for the figures of what is certified stay as they are.
    await connection.executemany(
        "UPDATE submission_revisions SET certified_at = $3 WHERE submission_id = $1 AND revision = $2",
        [(report.id, number, report.certified_at(number)) for number in range(1, len(report.revisions) + 1)],
    )


async def set_schedule(
    connection: Any, task: str, unit: str, *, year: int, version: int, set_at: datetime, points: Points
) -> None:
    """Write a schedule straight into the database."""
    keys = await connection.fetchrow(
        "SELECT t.id AS task, u.id AS unit FROM tasks t, units u WHERE t.code = $1 AND u.code = $2", task, unit
    )
    await connection.execute(
        "INSERT INTO progress_schedules (task_id, unit_id, version, reason, set_at) VALUES ($1, $2, $3, '', $4)",
        *(*keys, version, set_at),
    )
    await connection.executemany(
        "INSERT INTO schedule_stretches (task_id, unit_id, version, from_day, to_day, from_percent, to_percent) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [(*keys, version, *stretch) for stretch in (stretches(year, points) if points else ())],
    )


def random_points(chance: random.Random, year: int) -> Points:
    """Points at the ends of none to five months, rising."""
    months = sorted(chance.sample(range(1, 13), chance.choice([0, 1, 2, 3, 5])))
    percents = sorted(chance.choice([0, 10_000, chance.randint(0, 10_000)]) for _ in months)
    ends = [parse_period(f"{year}-{month:02}").end for month in months]
    return [(day, percent * CENT) for day, percent in zip(ends, percents, strict=True)]


def random_schedules(
    chance: random.Random, tasks: dict[str, list[Report]], year: int
) -> dict[tuple[str, str], list[tuple[datetime, Points]]]:
    """Schedules of a third of those who report, some set anew in the year."""
    found: dict[tuple[str, str], list[tuple[datetime, Points]]] = {}
    for task, reports in tasks.items():
        for unit in sorted({report.unit for report in reports}):
            if chance.random() < 0.35:
                in_year = datetime(year, 1, 1, tzinfo=SHANGHAI) + timedelta(seconds=chance.randrange(365 * 86400))
                instants = chance.choice([[LONG_AGO], [in_year], [LONG_AGO, in_year]])
                found[task, unit] = [(at, random_points(chance, year)) for at in instants]
    return found


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
        await hall.connection.execute(
            "UPDATE plans SET year = $1, ahead_points = $2, behind_points = $3",
            *(year, THRESHOLDS.ahead_points, THRESHOLDS.behind_points),
        )
        await hall.connection.execute(
            "UPDATE indicators SET accumulation = 'period' WHERE id IN (SELECT indicator_id FROM targets "
            "WHERE operator = 'gte' AND task_id IS NOT NULL ORDER BY code DESC LIMIT 20)"
        )
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
            schedules = random_schedules(chance, tasks, year)
            for (task, unit), versions in schedules.items():
                for version, (set_at, points) in enumerate(versions, 1):
                    kept = {"year": year, "version": version, "set_at": set_at, "points": points}
                    await set_schedule(hall.connection, task, unit, **kept)
        yield World(hall, year, tasks, schedules)


def test_the_random_reports_lie_on_both_sides_of_every_threshold() -> None:
    for seed, year in WORLDS:
        chance = random.Random(seed)
        units = [f"431228-u{number}" for number in range(40)]
        tasks = {str(number): random_reports(chance, units, year) for number in range(160)}
        world = World(None, year, tasks)  # type: ignore[arg-type]
        met: set[Fraction] = set()
        lights: list[Light | None] = []
        for day in days_of(year):
            as_of = datetime.combine(day, NOON)
            lights += [world.light(task, as_of) for task in tasks]
            stands = [world.standing(task, as_of) for task in tasks]
            met |= {mean - due for _, mean, due in stands if mean is not None}
        thresholds = (-THRESHOLDS.behind_points, Decimal(0), THRESHOLDS.ahead_points)
        assert {Fraction(off) for at in thresholds for off in (at - CENT, at)} <= met
        assert {*lights} == {None, *Light}
        stages = [world.standing(task, datetime(year, 12, 31, tzinfo=SHANGHAI))[0] for task in tasks]
        assert all(stages.count(stage) > 5 for stage in Stage)
        assert any(
            report.certified and report.certified < len(report.revisions) for task in tasks.values() for report in task
        )


# Stages and lights ---------------------------------------------------------------------------------------------------


CLOCKS = [time(0, tzinfo=SHANGHAI), NOON, time(23, 59, 59, 999999, tzinfo=SHANGHAI)]


def instants_of(year: int) -> list[datetime]:
    # An instant may speak of any zone: the day is that of the place.
    return [datetime.combine(day, CLOCKS[n % 3]).astimezone(UTC) for n, day in enumerate(days_of(year))]


async def test_every_task_is_in_exactly_one_stage_whatever_the_instant(world: World) -> None:
    for as_of in instants_of(world.year)[::3]:
        found = {stage: await world.hall.codes(stage=stage.value, as_of=as_of.isoformat()) for stage in Stage}
        assert found == {
            stage: {task for task in world.tasks if world.standing(task, as_of)[0] is stage} for stage in Stage
        }
        assert sum(map(len, found.values())) == len(world.tasks) == len(await world.hall.codes())


@pytest.mark.parametrize("asked", [True, False])
async def test_every_reported_task_and_no_other_has_one_light_whatever_the_instant(world: World, asked: bool) -> None:
    far = datetime(2030, 1, 1, tzinfo=SHANGHAI)
    for as_of in instants_of(world.year):
        # Asked for then or being then: it is all the same.
        world.hall.now = far if asked else as_of
        query = {"as_of": as_of.isoformat()} if asked else {}
        reported = {task for task in world.tasks if world.standing(task, as_of)[1] is not None}
        assert 0 < len(reported) < len(world.tasks)
        found = {one: await world.hall.codes(light=one.value, **query) for one in Light}
        assert found == {one: {task for task in reported if world.light(task, as_of) is one} for one in Light}, as_of
        assert sum(map(len, found.values())) == len(reported)


async def test_stage_and_light_narrow_each_other_and_the_other_filters(world: World) -> None:
    as_of = world.hall.now = datetime.combine(date(world.year, 7, 2), NOON)
    for ordinal in range(1, 7):
        battle = f"{PLAN}-{ordinal}"
        for stage in Stage:
            for one in Light:
                expected = {
                    task
                    for task in world.tasks
                    if task.startswith(f"{battle}-")
                    and world.standing(task, as_of)[0] is stage
                    and world.light(task, as_of) is one
                }
                assert await world.hall.codes(battle=battle, stage=stage.value, light=one.value) == expected


async def test_pages_of_a_light_follow_each_other(world: World) -> None:
    as_of = world.hall.now = datetime.combine(date(world.year, 7, 2), NOON)
    query: dict[str, Any] = {"light": "far_behind", "limit": 7}
    found: list[str] = []
    while True:
        page = await world.hall.get("/tasks", **query)
        found += [item["code"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert len(found) > 7
    assert sorted(found) == sorted(task for task in world.tasks if world.light(task, as_of) is Light.FAR_BEHIND)


@pytest.mark.parametrize(
    "query", ["stage=done", "light=green", "stage=", "light=", "stage=completed&stage=not_started"]
)
async def test_unknown_stages_and_lights_are_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/api/v1/tasks?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["pointer"] == f"/query/{query.partition('=')[0]}"


# The series ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("month", [1, 5, 12])
async def test_the_series_of_every_task_is_what_was_reported_against_the_domain(world: World, month: int) -> None:
    as_of = datetime.combine(date(world.year, month, 28), NOON)
    for task, reports in world.tasks.items():
        expected: list[dict[str, Any]] = []
        for report in sorted(reports, key=lambda report: (report.period, report.unit)):
            revision = report.shown(as_of)
            if revision is None:
                continue
            stage, percent = report.revisions[revision - 1]
            points = world.points(task, report.unit, as_of)
            scheduled = schedule_progress(world.year, parse_period(report.period).end, points)
            expected.append(
                {
                    "period": report.period,
                    "unit": report.unit,
                    "state": report.state_at(as_of).value,
                    "revision": revision,
                    "certified": report.in_force(as_of) is not None,
                    "stage": stage.value,
                    "percent_complete": float(percent),
                    "scheduled": float(scheduled),
                    "deviation": float(deviation(percent, scheduled)),
                    "light": light(stage, percent, scheduled, THRESHOLDS).value,
                }
            )
        found = await world.hall.series(task, as_of=as_of.isoformat())
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


async def test_a_draft_is_not_shown_and_counts_for_nothing(hall: Hall) -> None:
    task = f"{BATTLE}-3-3"
    await hall.report(task, "县农业农村局", "2023-04", 100, submit=False)
    assert await hall.series(task) == []
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


async def standings(world: World, as_of: datetime) -> dict[str, tuple[str, Fraction | None]]:
    """Stage and mean of every task, from the series that the API shows."""
    found: dict[str, tuple[str, Fraction | None]] = {}
    for task in await world.hall.codes():
        items = await world.hall.series(task, as_of=as_of.isoformat())
        newest = {item["unit"]["unit"]: item for item in items if item["certified"]}
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


async def reached(world: World, as_of: datetime) -> dict[str, bool]:
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
        detail = await world.hall.get(f"/targets/{target['code']}", as_of=as_of.isoformat())
        shown = [item for item in detail["observations"] if item["certified"]]
        newest = max(shown, key=lambda item: order[target["task"], item["unit"], item["period"]], default=None)
        figure = None if newest is None else newest["value"]
        if newest is not None and target["accumulation"] == "period":
            figure = float(sum(Decimal(str(item["value"])) for item in shown))
        found[target["code"]] = figure is not None and meets(target["operator"], figure, target)
    return found


@pytest.mark.parametrize("month", [1, 5, 9, 12])
async def test_roll_ups_are_what_their_tasks_and_targets_add_up_to(world: World, month: int) -> None:
    as_of = datetime.combine(date(world.year, month, 28), CLOCKS[month % 3])
    world.hall.now = datetime(2030, 1, 1, tzinfo=SHANGHAI)
    shown, targets = await standings(world, as_of), await reached(world, as_of)
    stands = {task: world.standing(task, as_of) for task in world.tasks}
    assert {task: (stage.value, mean) for task, (stage, mean, _) in stands.items()} == shown
    assert 5 < sum(targets.values()) < len(targets)
    for code in (PLAN, *(f"{PLAN}-{ordinal}" for ordinal in range(1, 7))):
        mine = [task for task in stands if task.startswith(f"{code}-")]
        aims = [is_reached for target, is_reached in targets.items() if target.startswith(f"{code}-")]
        stages = [stands[task][0] for task in mine]
        offs = [mean - due for task in mine for _, mean, due in [stands[task]] if mean is not None]
        lights = [world.light(task, as_of) for task in mine]
        answer = await world.hall.rolled_up(code, as_of=as_of.isoformat())
        off = Fraction(str(answer.pop("mean_deviation")))
        # Rounded to the cent, and not further away than that.
        assert abs(off - sum(offs) / len(offs)) <= Fraction(5001, 1_000_000)
        share = Fraction(10_000 * stages.count(Stage.COMPLETED), len(mine))
        assert answer.pop("explanation").startswith(f"截至 {as_of.date()},{len(mine)} 项任务中 {len(offs)} 项")
        assert answer == {
            "code": code,
            "as_of": as_of.isoformat(),
            "tasks": len(mine),
            "reported": len(offs),
            "stages": {stage.value: stages.count(stage) for stage in Stage},
            "lights": {one.value: lights.count(one) for one in Light},
            "completion_rate": math.floor(share + Fraction(1, 2)) / 100,
            "scheduled": float(schedule_progress(world.year, as_of.date())),
            "targets": len(aims),
            "targets_reached": sum(aims),
        }
        # Being then is the same as asking for it.
        world.hall.now, far = as_of, world.hall.now
        assert (await world.hall.rolled_up(code))["lights"] == answer["lights"]
        world.hall.now = far


async def test_the_battles_add_up_to_the_plan(world: World) -> None:
    whole = await world.hall.rolled_up(PLAN)
    parts = [await world.hall.rolled_up(f"{PLAN}-{ordinal}") for ordinal in range(1, 7)]
    for name in ("tasks", "reported"):
        assert whole[name] == sum(part[name] for part in parts)
    for name, values in (("stages", Stage), ("lights", Light)):
        assert whole[name] == {value.value: sum(part[name][value.value] for part in parts) for value in values}


@pytest.mark.parametrize("year", [2023, 2024])
@pytest.mark.parametrize(
    "months",
    [
        {},
        {1: 0, 2: "33.33", 6: "33.34", 12: 100},
        {3: "12.5", 8: "12.5", 11: 60},
        {2: 100},
        {1: 7, 2: "7.01", 3: 50, 4: "50.5", 5: 61, 6: 62, 7: 63, 8: "77.77", 9: 80, 10: 90, 11: 99, 12: "99.99"},
    ],
    ids=["even", "late", "held", "early", "every month"],
)
async def test_the_schedule_in_sql_is_that_of_the_domain_on_every_day(
    hall: Hall, year: int, months: dict[int, Any]
) -> None:
    """With one task reported at 0, the mean deviation is the schedule that SQL computes, below zero."""
    await hall.connection.execute("UPDATE plans SET year = $1", year)
    zero = [(Stage.NOT_STARTED, Decimal(0))]
    unit = await hall.connection.fetchval("SELECT code FROM units LIMIT 1")
    report = Report(uuid.uuid4(), unit, f"{year}-01", SubmissionState.CERTIFIED, zero, 1)
    task = f"{BATTLE}-1-1"
    await keep(hall.connection, task, report)
    points = [(parse_period(f"{year}-{month:02}").end, Decimal(percent)) for month, percent in months.items()]
    # The first is not in force any more: two points that would show.
    for version, given in ((1, [(date(year, 6, 30), Decimal(1))]), (2, points)):
        kept = {"year": year, "version": version, "set_at": LONG_AGO, "points": given}
        await set_schedule(hall.connection, task, unit, **kept)
    day = date(year, 1, 1) - timedelta(days=3)
    while day < date(year + 1, 1, 4):
        hall.now = datetime.combine(day, NOON)
        answer = await hall.rolled_up()
        expected = float(schedule_progress(year, day, points))
        assert answer["scheduled"] == float(schedule_progress(year, day))
        assert answer["mean_deviation"] == (-expected if expected else 0), day
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
            await hall.put_figures(Decimal(figure))
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


@pytest.mark.parametrize("month", [2, 8])
async def test_observations_of_every_target_are_those_of_the_revisions_shown(world: World, month: int) -> None:
    as_of = datetime.combine(date(world.year, month, 20), NOON)
    page = await world.hall.get("/targets", quantified=True, limit=500)
    assert {target["accumulation"] for target in page["items"]} <= set(Accumulation)
    for target in page["items"]:
        code = target["code"]
        reports = [report for report in world.tasks.get(target["task"], ()) if code in report.figures]
        detail = await world.hall.get(f"/targets/{code}", as_of=as_of.isoformat())
        assert detail["observations"] == [
            {
                "period": report.period,
                "unit": report.unit,
                "value": float(report.figure(code, revision)),
                "certified": report.in_force(as_of) is not None,
            }
            for report in sorted(reports, key=lambda report: (report.period, report.unit))
            if (revision := report.shown(as_of)) is not None
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
    world.hall.now = datetime.combine(date(world.year, 12, 31), NOON)
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


# The past stays ------------------------------------------------------------------------------------------------------


async def test_what_comes_later_changes_no_answer_about_before(hall: Hall) -> None:
    """Report, return, report anew, certify, correct, certify: every instant keeps the answer that it had."""
    page = await hall.get("/targets", task=f"{BATTLE}-1-7", quantified=True)
    target = page["items"][0]
    task, code, value = target["task"], target["code"], target["value"]
    owed = await hall.get("/obligations", rule="monthly-form", task=task, period="2023-04")
    unit = owed["items"][0]["unit"]["unit"]
    asked: dict[datetime, dict[str, Any]] = {}

    async def answers(as_of: datetime | None = None) -> dict[str, Any]:
        query = {} if as_of is None else {"as_of": as_of.isoformat()}
        return {
            "series": await hall.series(task, **query),
            "battle": await hall.rolled_up(**query),
            "plan": await hall.rolled_up(PLAN, **query),
            "target": await hall.get(f"/targets/{code}", **query),
            **{one.value: await hall.codes(light=one.value, **query) for one in Light},
            **{one.value: await hall.codes(stage=one.value, **query) for one in Stage},
        }

    async def then() -> None:
        """Note the answers of this instant, then let a day pass."""
        asked[hall.now] = await answers()
        hall.now += timedelta(days=1)

    figure = {"observations": [{"target": code, "value": value}]}
    await then()
    april = await hall.report(task, unit, "2023-04", 20, **figure)
    await then()
    await hall.certify(april)
    await then()
    fixed = {"stage": "in_progress", "percent_complete": 70, "reason": "漏计", "observations": []}
    await hall.post(f"/submissions/{april}/correct", fixed)
    await then()
    await hall.certify(april)
    await then()
    hall.now = datetime.combine(date(2023, 5, 12), NOON)
    may = await hall.report(task, unit, "2023-05", 75)
    await then()
    await hall.post(f"/submissions/{may}/return", {"by": "县统计局", "reason": "请核对"})
    await then()
    await hall.post(f"/submissions/{may}/submit", {})
    # The second submission takes the place of the first: of what was handed in before, only the instants are kept.
    returned = [instant for instant in asked if instant.month == 5]
    await then()
    await hall.certify(may)
    await then()
    for instant, before in asked.items():
        if instant not in returned:
            assert await answers(instant) == before, instant
    shown = [[(item["revision"], item["state"], item["certified"]) for item in asked[at]["series"]] for at in asked]
    first, second = (1, "certified", True), (2, "certified", True)
    assert shown == [
        *([], [(1, "submitted", False)], [first], [(1, "submitted", True)], [second]),
        *([second, (1, state, False)] for state in ("submitted", "returned", "submitted")),
        [second, first],
    ]
    assert [asked[at]["battle"]["targets_reached"] for at in asked] == [0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert [[one.value for one in Light if task in asked[at][one.value]] for at in asked] == [
        *([], [], ["behind"], ["behind"]),
        *[["ahead"]] * 5,
    ]
    # What was certified counts from that very instant on, and not a microsecond before.
    certified = next(at for at, found in asked.items() if found["battle"]["reported"])
    before = await answers(certified - timedelta(microseconds=1))
    assert (before["battle"]["reported"], asked[certified]["battle"]["reported"]) == (0, 1)


async def test_targets_measured_by_period_are_reached_by_their_sum(hall: Hall) -> None:
    code, value, indicator = await hall.connection.fetchrow(
        "SELECT t.code, t.value, t.indicator_id FROM targets t JOIN tasks k ON k.id = t.task_id "
        "WHERE k.code = $1 AND t.value IS NOT NULL",
        _TARGET,
    )
    units = [row["code"] for row in await hall.connection.fetch("SELECT code FROM units ORDER BY code LIMIT 2")]
    stand = (Stage.IN_PROGRESS, Decimal(50))
    # Two units over two months, a quarter of the value each; the last corrected from nothing, and one draft.
    for number, (unit, month) in enumerate([(units[0], 4), (units[1], 4), (units[0], 5), (units[1], 5)]):
        report = Report(
            *(uuid.UUID(int=number + 1), unit, f"2023-{month:02}", SubmissionState.CERTIFIED, [stand, stand], 2),
            figures={code: value / 4},
            began=LONG_AGO + timedelta(days=number),
        )
        await keep(hall.connection, _TARGET, report)
    draft = Report(
        *(uuid.uuid4(), units[0], "2023-06", SubmissionState.DRAFT, [stand], None), figures={code: Decimal(10**6)}
    )
    await keep(hall.connection, _TARGET, draft)
    reached: dict[str, list[int]] = {}
    for accumulation in Accumulation:
        await hall.connection.execute(
            "UPDATE indicators SET accumulation = $1 WHERE id = $2", accumulation.value, indicator
        )
        # The first revision of the last report is a cent too little.
        instants = [LONG_AGO + timedelta(days=3, hours=hours) for hours in (0, 2, 4)]
        reached[accumulation.value] = [
            (await hall.rolled_up(as_of=at.isoformat()))["targets_reached"] for at in instants
        ]
    assert reached == {"period": [0, 0, 1], "cumulative": [0, 0, 0], "point": [0, 0, 0]}


async def test_a_roll_up_says_itself_in_one_sentence(hall: Hall) -> None:
    assert (await hall.rolled_up())["explanation"] == (
        "截至 2023-04-12,22 项任务中 0 项有认定进度,已完成 0 项(0%);序时进度 27.95%,尚无偏差可计;"
        "有数值的目标 12 个,达到 0 个"
    )
    await hall.certify(await hall.report(f"{BATTLE}-3-3", "县农业农村局", "2023-04", 20))
    assert (await hall.rolled_up())["explanation"] == (
        "截至 2023-04-12,22 项任务中 1 项有认定进度,已完成 0 项(0%);序时进度 27.95%,平均偏差 -7.95 个百分点,"
        "超序时 0 项、达序时 0 项、滞后 1 项、严重滞后 0 项;有数值的目标 12 个,达到 0 个"
    )


@pytest.mark.parametrize(
    "path",
    [
        f"/battles/{BATTLE}/progress",
        f"/plans/{PLAN}/progress",
        f"/battles/{BATTLE}/progress?as_of=2023-04-01T00:00:00Z",
        "/compliance?rule=monthly-form",
        "/deadlines?rule=monthly-form&from=2023-04-01&to=2023-12-31",
    ],
)
async def test_the_same_figures_a_second_later_are_304_by_a_weak_tag(hall: Hall, path: str) -> None:
    url = f"/api/v1{path}"
    first = await hall.client.get(url)
    etag = first.headers["etag"]
    assert etag.startswith('W/"')
    hall.now += timedelta(seconds=1)
    again = await hall.client.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    # A cache may have dropped the mark, and who has nothing is sent what is true now.
    assert (await hall.client.get(url, headers={"If-None-Match": etag.removeprefix("W/")})).status_code == 304
    sent = await hall.client.get(url)
    assert sent.headers["etag"] == etag
    assert (sent.content == first.content) == ("as_of=" in path)
    if "as_of=" not in path:
        await hall.certify(await hall.report(f"{BATTLE}-3-3", "县农业农村局", "2023-04", 20))
        changed = await hall.client.get(url, headers={"If-None-Match": etag})
        assert (changed.status_code, changed.headers["etag"] != etag) == (200, True)


@pytest.mark.parametrize(
    "path",
    [
        f"/battles/{BATTLE}/progress",
        f"/plans/{PLAN}/progress",
        f"/tasks/{BATTLE}-3-3/progress",
        f"/tasks/{BATTLE}-3-3/schedules",
        f"/targets/{BATTLE}-1-5-T1",
        "/tasks",
    ],
)
async def test_an_instant_is_given_with_its_offset(client: httpx.AsyncClient, path: str) -> None:
    for wrong in ("2023-04-20", "2023-04-20T00:00:00", "1682006399", ""):
        answer = await client.get(f"/api/v1{path}", params={"as_of": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/as_of"), wrong
    # An unencoded + is a blank.
    assert (await client.get(f"/api/v1{path}?as_of=2023-04-20T23:59:59+08:00")).status_code == 200
