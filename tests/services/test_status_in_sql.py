"""The statuses of the list, computed in SQL, are those that the domain judges from the same facts, at every instant.

All instants are taken from one grid of days and the microseconds beside it, and so are the instants asked about: each
question lies exactly at, just before and just after the boundaries of many obligations at once.
"""

import functools
import random
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.domain.deadlines import Facts, ObligationStatus, Verdict, judge
from app.main import create_app
from app.settings import Settings
from tests.conftest import Clone, serving

TICK = timedelta(microseconds=1)
DAYS = 14
GRID = [datetime(2023, 4, 10, 23, 59, 59, 999999, tzinfo=SHANGHAI) + timedelta(days=day) for day in range(DAYS)]
REMIND_DAYS = (0, 1, 5, 10)
ROWS = 360
Key = tuple[str, str, str | None]


@dataclass(frozen=True)
class Known:
    """Everything that ever happens to one obligation."""

    due_at: datetime
    lock_at: datetime
    extensions: tuple[tuple[datetime, datetime], ...]
    waived_at: datetime | None
    submitted_at: datetime | None
    filed_at: datetime | None
    remind_days: int

    def effective(self, as_of: datetime) -> datetime:
        """The due instant of the last extension granted by ``as_of``."""
        granted = sorted(grant for grant in self.extensions if grant[0] <= as_of)
        return granted[-1][1] if granted else self.due_at

    def verdict(self, as_of: datetime) -> Verdict:
        facts = Facts(
            due_at=self.due_at,
            effective_due_at=self.effective(as_of),
            lock_at=self.lock_at,
            submitted_at=self.submitted_at,
            filed_at=self.filed_at,
            waived=self.waived_at is not None and self.waived_at <= as_of,
        )
        return judge(facts, as_of=as_of, remind_days=self.remind_days)


def some(chance: random.Random, share: float) -> datetime | None:
    """A grid instant, most often itself, else a microsecond or so beside it; or none."""
    if chance.random() >= share:
        return None
    return chance.choice(GRID) + chance.choice([-TICK, timedelta(), timedelta(), TICK])


def sure(chance: random.Random) -> datetime:
    return some(chance, 1) or GRID[0]


def random_fact(chance: random.Random) -> Known:
    due_at = sure(chance)
    lock_at = max(due_at, sure(chance))
    granted = {sure(chance) for _ in range(chance.choice([0, 0, 1, 1, 2, 3]))}
    # No extension ends on the original instant: that would be none.
    extensions = tuple((at, to) for at in sorted(granted) if (to := sure(chance)) != due_at)
    submitted_at = some(chance, 0.7)
    filed_at = some(chance, 0.8) if submitted_at else None
    if filed_at and submitted_at:
        filed_at, submitted_at = max(filed_at, submitted_at), min(filed_at, submitted_at)
    return Known(due_at, lock_at, extensions, some(chance, 0.2), submitted_at, filed_at, chance.choice(REMIND_DAYS))


async def grant(
    connection: "asyncpg.Connection[asyncpg.Record]", chance: random.Random, table: str, **columns: Any
) -> None:
    """Insert an extension or a waiver."""
    columns |= {"id": uuid.UUID(int=chance.getrandbits(128)), "reason": "理由", "approver": "某人"}
    places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    await connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", *columns.values())


async def insert(connection: "asyncpg.Connection[asyncpg.Record]", chance: random.Random) -> dict[Key, Known]:
    """Put random obligations in the place of those of the plan, a third of them of one task each."""
    await connection.execute("DELETE FROM obligations")
    plan, rule, schedule = await connection.fetchrow(
        "SELECT r.plan_id, r.id, v.schedule FROM rules r JOIN rule_versions v ON v.rule_id = r.id "
        "WHERE r.code = 'monthly-form'"
    ) or pytest.fail("no rule")
    for version, days in enumerate(REMIND_DAYS, 2):
        await connection.execute(
            "INSERT INTO rule_versions (rule_id, version, effective_from, schedule) VALUES "
            "($1, $2, date '2030-01-01' + $2::int, $3::jsonb || jsonb_build_object('remind_days', $4::int))",
            *(rule, version, schedule, days),
        )
    units = await connection.fetch("SELECT id, code FROM units WHERE kind <> 'collective' ORDER BY code LIMIT 30")
    tasks = await connection.fetch("SELECT id, code, battle_id FROM tasks WHERE code LIKE '%-6-1-%' ORDER BY code")
    facts: dict[Key, Known] = {}
    for number in range(ROWS):
        unit, period = units[number % len(units)], f"2023-{number // len(units) + 1:02}"
        # Of one unit and period there may be a report on a task, and one beside it that is about none.
        task = chance.choice(tasks) if chance.random() < 0.7 else None
        fact = facts[unit["code"], period, task and task["code"]] = random_fact(chance)
        last = fact.effective(GRID[-1] + timedelta(days=1))
        await connection.execute(
            "INSERT INTO obligations (unit_id, plan_id, battle_id, rule_id, task_id, period, period_start, due_at, "
            "effective_due_at, lock_at, rule_version, calendar_version, provisional, waived_at, submitted_at, "
            "filed_at) VALUES ($1, $2, $3, $4, $5, $6, ($6 || '-01')::text::date, $7, $8, $9, $10, 'x', false, $11, "
            "$12, $13)",
            *(unit["id"], plan, task and task["battle_id"], rule, task and task["id"], period, fact.due_at, last),
            *(fact.lock_at, 2 + REMIND_DAYS.index(fact.remind_days), fact.waived_at, fact.submitted_at, fact.filed_at),
        )

        granted = functools.partial(grant, connection, chance, unit_id=unit["id"], rule_id=rule, period=period)
        for granted_at, to in fact.extensions:
            # About this task, or about all of the unit and period.
            about = task["id"] if task and chance.random() < 0.5 else None
            await granted("extensions", task_id=about, due_at=to, granted_at=granted_at)
        if fact.waived_at:
            about = task["id"] if task and chance.random() < 0.5 else None
            kind = chance.choice(["exempt", "nil"])
            await granted("waivers", task_id=about, kind=kind, granted_at=fact.waived_at)
        # What is granted for another task is not about this one.
        other = chance.choice([found["id"] for found in tasks if task is None or found["id"] != task["id"]])
        if chance.random() < 0.3:
            await granted("extensions", task_id=other, due_at=sure(chance), granted_at=sure(chance))
        if chance.random() < 0.3:
            await granted("waivers", task_id=other, kind="nil", granted_at=sure(chance))
    return facts


@pytest_asyncio.fixture(scope="module", params=[1, 2023, 20260420], ids=lambda seed: f"seed {seed}")
async def world(clone: Clone, request: pytest.FixtureRequest) -> AsyncGenerator[tuple[httpx.AsyncClient, Any]]:
    """A client on a database of random obligations, and their facts."""
    async with clone() as url:
        connection = await asyncpg.connect(url)
        try:
            facts = await insert(connection, random.Random(request.param))
        finally:
            await connection.close()
        async with serving(create_app(Settings(database_url=url))) as client:
            yield client, facts


World = tuple[httpx.AsyncClient, dict[Key, Known]]


async def listed(client: httpx.AsyncClient, as_of: datetime, **query: str) -> list[dict[str, Any]]:
    answer = await client.get(
        "/api/v1/obligations", params={"as_of": as_of.isoformat(), "limit": 500, "include_total": "true", **query}
    )
    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert (page["next_cursor"], page["total"]) == (None, len(page["items"]))
    return page["items"]


def key_of(item: dict[str, Any]) -> Key:
    return item["unit"]["unit"], item["period"], item["task"]


@pytest.mark.parametrize("day", [-12, -3, *range(DAYS), DAYS + 3])
async def test_the_list_says_and_filters_by_what_the_domain_judges(world: World, day: int) -> None:
    client, facts = world
    for as_of in (GRID[0] + timedelta(days=day) + step for step in (-TICK, timedelta(), TICK)):
        found: dict[Key, ObligationStatus] = {}
        for status in ObligationStatus:
            for item in await listed(client, as_of, status=status.value):
                assert key_of(item) not in found
                found[key_of(item)] = status
                verdict = facts[key_of(item)].verdict(as_of)
                assert (item["status"], item["late_by_seconds"], item["late_stage"], item["on_time_originally"]) == (
                    verdict.status.value,
                    verdict.late_by_seconds,
                    verdict.late_stage,
                    verdict.on_time_originally,
                )
        assert found == {key: fact.verdict(as_of).status for key, fact in facts.items()}


@pytest.mark.parametrize("day", [0, 6, DAYS])
async def test_the_list_shows_what_was_known_then(world: World, day: int) -> None:
    client, facts = world
    as_of = GRID[0] + timedelta(days=day)
    items = await listed(client, as_of)
    assert {key_of(item) for item in items} == facts.keys()
    for item in items:
        fact = facts[key_of(item)]
        shown = {name: item[name] and datetime.fromisoformat(item[name]) for name in ("submitted_at", "filed_at")}
        for name, instant in shown.items():
            happened = getattr(fact, name)
            assert instant == (happened if happened and happened <= as_of else None)
        assert datetime.fromisoformat(item["due_at"]) == fact.due_at
        assert datetime.fromisoformat(item["effective_due_at"]) == fact.effective(as_of)
        assert (item["extension"] is not None) == any(granted <= as_of for granted, _ in fact.extensions)
        assert (item["waiver"] is not None) == (fact.waived_at is not None and fact.waived_at <= as_of)


def test_the_random_facts_meet_every_status() -> None:
    """Each status comes up often enough to be worth the comparison."""
    chance = random.Random(1)
    facts = [random_fact(chance) for _ in range(ROWS)]
    seen = [fact.verdict(as_of).status for fact in facts for as_of in GRID]
    for status in ObligationStatus:
        assert seen.count(status) > len(seen) / 50
