"""Figures of the business for the metrics: those of compliance and of the queue, whatever becomes of the database."""

import re
from datetime import datetime, timedelta

import asyncpg
import pytest

from app.clock import SHANGHAI
from app.db import Database, open_read_pool
from app.fragments import FragmentCache
from app.main import create_app
from app.metrics import REPORTS, Figure
from app.services.figures import Figures
from app.services.leader import LOCK
from app.services.reader import Reader
from app.settings import Settings
from tests.conftest import Clone, serving
from tests.services.test_demo import fill

SAMPLE = re.compile(r"^(liuzhang_\w+)(?:\{([^}\n]*)\})? ([\d.e+]+)$", re.MULTILINE)
COUNTED = ("overdue", "missed", "on_time", "late", "waived")


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def sampled(text: str) -> dict[tuple[str, str], float]:
    return {(name, labels): float(value) for name, labels, value in SAMPLE.findall(text)}


# Before any report, when some are due soon and some overdue; and with half a year of them, when all is over.
@pytest.mark.parametrize(
    ("reported", "now"),
    [(False, datetime(2023, 9, 17, 12, tzinfo=SHANGHAI)), (True, datetime(2024, 5, 1, tzinfo=SHANGHAI))],
)
async def test_obligations_are_those_of_compliance_and_the_list(clone: Clone, reported: bool, now: datetime) -> None:
    async with clone() as url:
        if reported:
            await fill(url)
        async with serving(create_app(Settings(database_url=url), clock=Clock(now))) as client:
            shown = sampled((await client.get("/metrics")).text)
            compliance = (await client.get("/api/v1/compliance", params={"rule": "monthly-form"})).json()["total"]

            def figure(status: str) -> float:
                return shown["liuzhang_obligations", f'rule="monthly-form",status="{status}"']

            assert {status: figure(status) for status in COUNTED} == {status: compliance[status] for status in COUNTED}
            soon = {"rule": "monthly-form", "status": "due_soon", "include_total": "true", "limit": "1"}
            assert figure("due_soon") == (await client.get("/api/v1/obligations", params=soon)).json()["total"]
            assert figure("upcoming") + figure("due_soon") == compliance["not_due"]
            assert (figure("due_soon") > 0) is not reported


async def test_what_waits_is_counted_with_the_age_of_the_oldest_and_kept_for_a_moment(clone: Clone) -> None:
    clock = Clock(datetime(2023, 5, 20, 12, tzinfo=SHANGHAI))
    async with clone() as url, serving(create_app(Settings(database_url=url), clock=clock)) as client:
        connection = await asyncpg.connect(url)
        await connection.execute(
            "UPDATE obligations SET submitted_at = $1::timestamptz - n * interval '1 hour' "
            "FROM (SELECT unit_id AS u, id AS i, row_number() OVER (ORDER BY id) AS n FROM obligations LIMIT 3) o "
            "WHERE unit_id = u AND id = i",
            clock.now,
        )
        shown = sampled((await client.get("/metrics")).text)
        assert shown["liuzhang_waiting", ""] == 3
        assert shown["liuzhang_waiting_oldest_seconds", ""] == 3 * 3600
        assert shown["liuzhang_database_up", ""] == 1
        assert any(name == "liuzhang_database_connections" for name, _ in shown)
        await connection.execute("UPDATE obligations SET submitted_at = NULL")
        assert sampled((await client.get("/metrics")).text)["liuzhang_waiting", ""] == 3
        clock.now += timedelta(seconds=16)
        shown = sampled((await client.get("/metrics")).text)
        assert (shown["liuzhang_waiting", ""], shown["liuzhang_waiting_oldest_seconds", ""]) == (0, 0)
        plan = await connection.fetch(
            "EXPLAIN SELECT min(submitted_at) FROM obligations "
            "WHERE submitted_at IS NOT NULL AND filed_at IS NULL AND waived_at IS NULL"
        )
        assert "ix_obligations_submitted_at" in str(plan)
        await connection.close()


async def test_what_is_still_to_be_told_is_counted(clone: Clone) -> None:
    clock = Clock(datetime(2023, 5, 20, 12, tzinfo=SHANGHAI))
    async with clone() as url:
        connection = await asyncpg.connect(url)
        # Somebody else leads, and does nothing.
        assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK)
        await connection.execute(
            "INSERT INTO reminder_progress VALUES (1, $1::timestamptz - interval '90 seconds')", clock.now
        )
        await connection.execute(
            "INSERT INTO outbox (at, type, plan, unit, data) SELECT $1::timestamptz - n * interval '1 minute', "
            "'obligation.overdue', '431228-2023', '431228-jyj', '{}' FROM generate_series(1, 3) n",
            clock.now,
        )
        await connection.execute(
            "WITH w AS (INSERT INTO webhooks (id, account_id, url, created_at, state, secret_version, position, "
            "failures) SELECT gen_random_uuid(), id, 'https://oa.example.gov.cn/', now(), 'active', 1, 0, 0 "
            "FROM accounts LIMIT 2 RETURNING id) INSERT INTO webhook_deliveries (webhook_id, position, unit, state, "
            "tries, attempts, next_try_at, settled_at) SELECT w.id, n, '431228-jyj', state, 1, '[]', "
            "CASE state WHEN 'pending' THEN now() END, CASE WHEN state <> 'pending' THEN now() END "
            "FROM w, unnest(ARRAY['pending', 'pending', 'dead', 'delivered', 'withheld']) WITH ORDINALITY s(state, n)"
        )
        async with serving(create_app(Settings(database_url=url), clock=clock)) as client:
            shown = sampled((await client.get("/metrics")).text)
        await connection.close()
    assert {name: value for (name, _), value in shown.items() if "outbox" in name or "reminders" in name} == {
        "liuzhang_outbox": 3,
        "liuzhang_outbox_oldest_seconds": 180,
        "liuzhang_reminders_behind_seconds": 90,
    }
    assert {labels: value for (name, labels), value in shown.items() if "webhook" in name} == {
        'state="pending"': 4,
        'state="dead"': 2,
    }


async def test_where_nothing_was_ever_told_nothing_is_behind(clone: Clone) -> None:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK)
        async with serving(create_app(Settings(database_url=url))) as client:
            shown = sampled((await client.get("/metrics")).text)
        await connection.close()
    names = ("liuzhang_outbox", "liuzhang_outbox_oldest_seconds", "liuzhang_reminders_behind_seconds")
    assert [shown[name, ""] for name in names] == [0, 0, 0]


async def test_without_a_database_the_rest_is_shown(clone: Clone) -> None:
    async with clone() as url, serving(create_app(Settings(database_url=url))) as client:
        await client.reader.pool._on.close()  # type: ignore[attr-defined]
        answer = await client.get("/metrics")
    assert answer.status_code == 200
    shown = sampled(answer.text)
    assert shown["liuzhang_database_up", ""] == 0
    assert not any(name == "liuzhang_obligations" for name, _ in shown)
    assert "process_start_time_seconds" in answer.text


async def test_reports_are_counted_by_what_became_of_them(clone: Clone) -> None:
    clock = Clock(datetime(2023, 5, 10, 12, tzinfo=SHANGHAI))
    report = {"task": "431228-2023-6-3-4", "unit": "县教育局", "period": "2023-05", "stage": "in_progress"}
    taken, refused = REPORTS.labels("accepted"), REPORTS.labels("already_reported")
    before = taken._value.get(), refused._value.get()
    async with clone() as url, serving(create_app(Settings(database_url=url), clock=clock)) as client:
        statuses = [
            (await client.post("/api/v1/submissions", json={**report, "percent_complete": 40})).status_code
            for _ in range(2)
        ]
        text = (await client.get("/metrics")).text
    assert statuses == [201, 409]
    assert (taken._value.get(), refused._value.get()) == (before[0] + 1, before[1] + 1)
    assert 'liuzhang_reports_total{outcome="already_reported"}' in text


async def test_a_database_that_hangs_is_not_waited_for_long(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.figures.PATIENCE", 0.2)
    async with clone() as url, open_read_pool(url, size=1) as pool:
        figures = Figures(Reader(Database(pool), FragmentCache(0)))
        async with pool.acquire():
            found = await figures.look_up(now=datetime(2023, 5, 10, tzinfo=SHANGHAI))
    assert [(figure.name, figure.values) for figure in found] == [("liuzhang_database_up", {(): 0})]
    assert isinstance(found[0], Figure)
