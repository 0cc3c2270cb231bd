"""A province's last ten minutes before the 20th ends: reports from 122 counties of 40 units, 40 tasks each.

First the service is measured against bare Starlette + asyncpg inserting the same rows, in rounds that go round between
them: one report a request, the whole form of a unit, a batch of 500. By then the service has raised its first
reminders; it places the events of both in the stream as they come. Then comes the rush: reports one by one and as
forms, all at once, with compliance asked for meanwhile; every answer must be as expected, and every report be there
afterwards. All commits are durable. Run with ``make bench`` or ``python -m benchmarks.deadline_rush [--seconds S]``.
"""

import argparse
import asyncio
import itertools
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
from fastapi import FastAPI

import migrations
from app.clock import SHANGHAI, system_clock
from app.db import create_engine
from app.main import create_app
from benchmarks.load import Measurement, drive
from benchmarks.stage import Served, database, make_keys, serving

COUNTIES, UNITS, TASKS, BATCH = 122, 40, 40, 500
BEFORE, PERIODS = "2023-04", ("2023-05", "2023-06", "2023-07")
# Ten minutes before the end of the 20th, by the service's clock, when the first worker starts.
TEN_TO_MIDNIGHT = datetime(2023, 7, 20, 23, 50, tzinfo=SHANGHAI)
MOST_A_SECOND = 40_000
ONE_AT_LEAST, MANY_AT_LEAST, MEMORY_AT_MOST = 0.6, 0.7, 1.3

PROVINCE = f"""
    INSERT INTO regions SELECT (430000 + n)::text, '第' || n || '县' FROM generate_series(1, {COUNTIES}) n;
    INSERT INTO units (region_code, code, name, kind)
        SELECT r.code, r.code || '-u' || n, r.name || '第' || n || '局', 'county_bureau'
        FROM regions r, generate_series(1, {UNITS}) n ORDER BY r.code, n;
    INSERT INTO indicators (region_code, code, name, unit_of_measure, direction, accumulation)
        SELECT code, 'i1', '完成投资', '亿元', 'higher', 'cumulative' FROM regions ORDER BY code;
    INSERT INTO plans (code, sort_key, region_code, year, title, short_title, document_number, issuer, issued_on,
                       objective, seed_digest)
        SELECT code || '-2023', code || '-2023', code, 2023, '测试', '测试', '测试', '测试', '2023-03-27', '测试', ''
        FROM regions ORDER BY code;
    INSERT INTO battles (plan_id, ordinal, code, sort_key, short_name, name, objective, locator)
        SELECT id, 6, code || '-6', code || '-06', '测试', '测试', '测试', '附件6' FROM plans ORDER BY id;
    INSERT INTO task_groups (plan_id, battle_id, ordinal, code, sort_key, title, locator)
        SELECT plan_id, id, 1, code || '-1', sort_key || '-01', '测试', '附件6' FROM battles ORDER BY id;
    INSERT INTO tasks (plan_id, battle_id, task_group_id, number, code, sort_key, title, locator, deliverables)
        SELECT g.plan_id, g.battle_id, g.id, n, g.code || '-' || n, g.sort_key || '-' || lpad(n::text, 3, '0'),
               '测试任务', '附件6', '要点' FROM task_groups g, generate_series(1, {TASKS}) n ORDER BY g.id, n;
    INSERT INTO targets (plan_id, battle_id, task_group_id, task_id, ordinal, code, sort_key, indicator_id, operator,
                         value, text, locator, due_on, due_printed)
        SELECT t.plan_id, t.battle_id, t.task_group_id, t.id, 1, t.code || '-T1', t.sort_key || '+T1', i.id, 'gte',
               100, '100亿元', t.locator, '2023-12-31', false
        FROM tasks t JOIN plans p ON p.id = t.plan_id JOIN indicators i ON i.region_code = p.region_code ORDER BY t.id;
    INSERT INTO rules (plan_id, code, sort_key, name, kind, locator, summary, parameters, printed)
        SELECT id, 'monthly-form', sort_key || '-1', '月进度表报送', 'reporting', '附件6', '测试', '{{}}', '{{}}'
        FROM plans ORDER BY id;
    INSERT INTO rule_versions (rule_id, version, effective_from, schedule)
        SELECT id, 1, '2023-04-01', jsonb_build_object(
            'frequency', 'month', 'due_day', 20, 'due_month_offset', 0, 'inclusive', true, 'holiday_policy', 'none',
            'time_zone', 'Asia/Shanghai', 'remind_days', 5, 'first_period', '2023-04', 'last_period', '2023-12',
            'obligor', 'task_reporter', 'townships', false, 'battles', '[]'::jsonb, 'minimum_count', 1)
        FROM rules ORDER BY id;
    INSERT INTO obligations (unit_id, plan_id, battle_id, rule_id, task_id, period, period_start, due_at,
                             effective_due_at, lock_at, rule_version, calendar_version, provisional, submitted_at)
        SELECT u.id, t.plan_id, t.battle_id, r.id, t.id, to_char(start, 'YYYY-MM'), start, due, due,
               due + interval '1 year', 1, 'benchmark', false,
               CASE to_char(start, 'YYYY-MM') WHEN '{BEFORE}' THEN due - interval '1 day' END
        FROM tasks t JOIN plans p ON p.id = t.plan_id JOIN rules r ON r.plan_id = p.id
        JOIN units u ON u.region_code = p.region_code
        CROSS JOIN (SELECT make_date(2023, m, 1) AS start,
                           make_timestamptz(2023, m, 20, 23, 59, 59.999999, 'Asia/Shanghai') AS due
                    FROM generate_series(4, 7) m) AS months
        ORDER BY u.id, t.id, start;
    INSERT INTO submissions (task_id, id, unit_id, plan_id, battle_id, period, period_start, state, revision, version,
                             created_at)
        SELECT task_id, gen_random_uuid(), unit_id, plan_id, battle_id, period, period_start, 'submitted', 1, 1,
               submitted_at FROM obligations WHERE period = '{BEFORE}' ORDER BY unit_id, task_id;
    INSERT INTO submission_revisions (task_id, submission_id, revision, stage, percent_complete, progress, warnings,
                                      created_at, submitted_at, content_hash)
        SELECT task_id, id, 1, 'in_progress', 30, '已开工', '[]', created_at, created_at, repeat('0', 64)
        FROM submissions ORDER BY task_id, id;
    INSERT INTO observations (task_id, submission_id, revision, target_id, value)
        SELECT s.task_id, s.id, 1, t.id, 30 FROM submissions s JOIN targets t ON t.task_id = s.task_id
        ORDER BY s.task_id, s.id;
"""
OWED = f"""
    SELECT o.unit_id, u.code AS unit, o.task_id, t.code AS task, o.plan_id, o.battle_id, o.id AS obligation_id,
           g.id AS target_id, g.code AS target, o.period, u.region_code AS chain, p.code AS plan, b.code AS battle
    FROM obligations o JOIN plans p ON p.id = o.plan_id JOIN units u ON u.id = o.unit_id
    JOIN tasks t ON t.id = o.task_id JOIN battles b ON b.id = t.battle_id JOIN targets g ON g.task_id = t.id
    WHERE o.period > '{BEFORE}' ORDER BY o.period, o.plan_id, o.unit_id, o.task_id
"""
SAID = {"stage": "in_progress", "percent_complete": 40, "progress": "主体工程已完成四成,按计划推进,资金到位。"}
FIGURE = 41.5

Rows = list[asyncpg.Record]


def create_served() -> FastAPI:
    """The service, its clock at ten minutes to midnight."""
    started = system_clock()
    return create_app(clock=lambda: TEN_TO_MIDNIGHT + (system_clock() - started) % timedelta(minutes=9))


@dataclass(frozen=True, slots=True)
class Way:
    """One way of sending reports: how many go with a request, what is wanted, and what the service answers."""

    name: str
    reports: int
    least: float
    status: int
    connections: int = 32
    keyed: bool = False


WAYS = (
    Way("one report", 1, ONE_AT_LEAST, 201),
    Way("one report with a key", 1, ONE_AT_LEAST, 201, keyed=True),
    Way(f"form of {TASKS}", TASKS, MANY_AT_LEAST, 200),
    Way(f"batch of {BATCH}", BATCH, MANY_AT_LEAST, 200, 8),
)


def _request(method: str, path: str, body: Any, key: str = "", *, keyed: bool = False) -> bytes:
    content = orjson.dumps(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    head += f"Idempotency-Key: {uuid4()}\r\n" if keyed else ""
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


def _to_bare(rows: Rows, _: dict[str, str], *, keyed: bool = False) -> bytes:
    keys = ("task_id", "unit_id", "plan_id", "battle_id", "obligation_id", "target_id", "period")
    keys += ("chain", "plan", "battle", "unit", "task")
    said = {"percent_complete": SAID["percent_complete"], "progress": SAID["progress"], "value": FIGURE}
    items = [{**{name: row[name] for name in keys}, **said, "key": str(uuid4()) if keyed else None} for row in rows]
    return _request("POST", "/reports", {"items": items})


def _to_service(rows: Rows, keys: dict[str, str], *, keyed: bool = False) -> bytes:
    key = keys[rows[0]["unit"].split("-")[0]]
    lines = [
        {"task": row["task"], **SAID, "observations": [{"target": row["target"], "value": FIGURE}]} for row in rows
    ]
    if len(rows) == TASKS:
        return _request("PUT", f"/api/v1/units/{rows[0]['unit']}/forms/{rows[0]['period']}", {"items": lines}, key)
    reports = [{**line, "unit": row["unit"], "period": row["period"]} for line, row in zip(lines, rows, strict=True)]
    if len(rows) == 1:
        return _request("POST", "/api/v1/submissions", reports[0], key, keyed=keyed)
    return _request("POST", "/api/v1/submissions/batch", {"items": reports}, key)


class Supply:
    """The reports that are still owed, in the order of the forms; each is sent once, with the key of its county."""

    def __init__(self, rows: list[asyncpg.Record], keys: dict[str, str]) -> None:
        self.rows = rows
        self.keys = keys
        self.next = 0
        self.sent = 0

    def offer(self, reports: int, at_most: int) -> list[Rows]:
        """Up to ``at_most`` parts of ``reports`` reports each, from the beginning of a form on."""
        self.next = -(-self.next // TASKS) * TASKS
        end = min(len(self.rows), self.next + reports * at_most)
        return [self.rows[start : start + reports] for start in range(self.next, end - reports + 1, reports)]

    def take(self, reports: int, parts: int) -> None:
        """Of what was offered last, so many parts were sent."""
        self.next += reports * parts
        self.sent += reports * parts


async def _prepare(url: str) -> Supply:
    engine = create_engine(url)
    await migrations.upgrade(engine)
    await engine.dispose()
    connection = await asyncpg.connect(url, server_settings={"session_replication_role": "replica", "jit": "off"})
    await connection.execute("ALTER TABLE obligations ENABLE ALWAYS TRIGGER count_obligations_inserted")
    await connection.execute(PROVINCE)
    await connection.execute("VACUUM ANALYZE")
    owed = await connection.fetch(OWED)
    await connection.close()
    return Supply(owed, await make_keys(url, _grants()))


def _grants() -> dict[str, list[str]]:
    """Of each county, a key for its units and those of the next, for a batch can reach into it; one that sees all."""

    def reporters(county: int) -> list[str]:
        return [f"reporter:{430001 + county % COUNTIES}-u{unit}" for unit in range(1, UNITS + 1)]

    keys = {str(430001 + county): [*reporters(county), *reporters(county + 1)] for county in range(COUNTIES)}
    return {**keys, "supervisor": ["supervisor"]}


async def _settled(url: str) -> None:
    """Wait until the service has done what it does once: raised what is due soon and told of it."""
    connection = await asyncpg.connect(url)
    done = "SELECT EXISTS (SELECT FROM reminder_progress) AND NOT EXISTS (SELECT FROM outbox)"
    while not await connection.fetchval(done):  # noqa: ASYNC110 - in another process
        await asyncio.sleep(0.5)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def _ratios(servers: dict[str, Served], supply: Supply, *, rounds: int, seconds: float) -> bool:
    reached = True
    print(f"\n{'':28}{'reports/s':>12}{'CPU ms':>10}{'ratio':>9}{'at least':>10}")
    for way in WAYS:
        rates: dict[str, list[float]] = {name: [] for name in servers}
        costs: dict[str, list[float]] = {name: [] for name in servers}
        for number in range(-1, rounds):
            for name, server in list(servers.items())[:: 1 if number % 2 else -1]:
                send, status = (_to_bare, 201) if name == "bare" else (_to_service, way.status)
                length = seconds if number >= 0 else 0.5
                # Made beforehand, so that making them is not measured.
                requests = [
                    send(rows, supply.keys, keyed=way.keyed)
                    for rows in supply.offer(way.reports, int(length * MOST_A_SECOND / way.reports))
                ]
                before = server.cpu_seconds()
                seen = await drive(
                    server.port, iter(requests), seconds=length, status=status, connections=way.connections
                )
                supply.take(way.reports, seen.answers)
                if seen.unexpected:
                    raise RuntimeError(f"{way.name}, {name}: {seen.unexpected} wrong of {seen.answers} answers")
                if seen.seconds < length:
                    raise RuntimeError(f"{way.name}, {name}: no reports are left to send; ask for fewer rounds")
                if number >= 0:
                    rates[name].append(seen.rate * way.reports)
                    costs[name].append((server.cpu_seconds() - before) / seen.answers * 1000)
        ratio = statistics.median(mine / base for mine, base in zip(rates["service"], rates["bare"], strict=True))
        for name in servers:
            rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
            tail = f"{ratio:9.2f}{way.least:>10.2f}  {'reached' if ratio >= way.least else 'MISSED'}"
            print(f"  {way.name + ', ' + name:26}{rate:12.0f}{cost:10.2f}" + (tail if name == "service" else ""))
        reached = reached and ratio >= way.least
    return reached


def _compliance(plan: str, key: str) -> bytes:
    path = f"/api/v1/compliance?rule=monthly-form&plan={plan}&from={PERIODS[-1]}&to={PERIODS[-1]}&group_by=unit"
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


async def _rush(service: Served, supply: Supply, *, seconds: float) -> bool:
    before = service.worker_memory()
    single = [_to_service(rows, supply.keys) for rows in supply.offer(1, int(seconds * MOST_A_SECOND / 8))]
    supply.take(1, len(single))
    forms = [_to_service(rows, supply.keys) for rows in supply.offer(TASKS, int(seconds * MOST_A_SECOND / TASKS / 2))]
    asked = itertools.cycle(
        [_compliance(f"{430000 + n}-2023", supply.keys["supervisor"]) for n in range(1, COUNTIES + 1)]
    )
    seen: dict[str, Measurement] = dict(
        zip(
            ("one by one", "as forms", "compliance asked"),
            await asyncio.gather(
                drive(service.port, iter(single), seconds=seconds, status=201, connections=20),
                drive(service.port, iter(forms), seconds=seconds, connections=8),
                drive(service.port, asked, seconds=seconds, connections=2),
            ),
            strict=True,
        )
    )
    supply.take(1, seen["one by one"].answers - len(single))
    supply.take(TASKS, seen["as forms"].answers)
    print(f"\nthe rush, {seconds:.0f} s{'':14}{'answers/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'errors':>9}")
    for name, run in seen.items():
        latencies = statistics.quantiles((latency * 1000 for latency in run.latencies), n=100)
        print(f"  {name:26}{run.rate:12.0f}{latencies[49]:10.1f}{latencies[98]:10.1f}{run.unexpected:9}")
    total = seen["one by one"].rate + TASKS * seen["as forms"].rate
    grown = max(after / first for after, first in zip(service.worker_memory(), before, strict=True))
    print(f"  {'reports in all':26}{total:12.0f}")
    kept = "reached" if grown <= MEMORY_AT_MOST else "MISSED"
    print(f"  {'memory of a worker, grown':26}{grown:12.2f}{'at most':>10}{MEMORY_AT_MOST:>9.2f}  {kept}")
    return grown <= MEMORY_AT_MOST and not any(run.unexpected for run in seen.values())


async def _check(url: str, supply: Supply) -> None:
    """Every report that was sent is there, once, with all that it entails, and counted."""
    connection = await asyncpg.connect(url)
    for what, query in {
        "submissions": f"SELECT count(*) FROM submissions WHERE period > '{BEFORE}'",
        "obligations": f"SELECT count(submitted_at) FROM obligations WHERE period > '{BEFORE}'",
        "figures": "SELECT count(*) FROM observations WHERE value = 41.5",
        "steps": "SELECT count(*) FROM submission_transitions",
        "acts": "SELECT count(*) FROM audit_entries WHERE action = 'submission.create'",
    }.items():
        found = await connection.fetchval(query)
        if found != supply.sent:
            raise RuntimeError(f"{supply.sent} reports were sent, and {found} {what} are there")
    await connection.close()
    print(f"  all {supply.sent} reports sent are there, with their figures, steps and obligations")


async def _run(servers: dict[str, Served], supply: Supply, url: str, *, rounds: int, seconds: float) -> bool:
    await _settled(url)
    reached = await _ratios(servers, supply, rounds=rounds, seconds=seconds)
    calm = await _rush(servers["service"], supply, seconds=6 * seconds)
    await _check(url, supply)
    return reached and calm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    # The middle one counts; many short ones are steadier than a few long ones.
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with ExitStack() as stack:
        cluster = stack.enter_context(database())
        supply = asyncio.run(_prepare(cluster.url))
        servers = {
            name: stack.enter_context(serving(name, app, cluster.url))
            for name, app in (
                ("bare", "benchmarks.bare_writes:create_app"),
                ("service", "benchmarks.deadline_rush:create_served"),
            )
        }
        reached = asyncio.run(_run(servers, supply, cluster.url, rounds=given.rounds, seconds=given.seconds))
    if not reached:
        raise SystemExit("a target was missed")


if __name__ == "__main__":
    main()
