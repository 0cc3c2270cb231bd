"""GET one task and GET a list of 50 tasks with their units, against bare Starlette + asyncpg + orjson.

All servers run at once on one PostgreSQL (two workers each); the rounds go round among them, so that what the machine
does in between hits all alike. Printed are the medians over the rounds: answers a second, CPU of the service a request,
and the ratio to bare in the same round. Run with ``make bench`` or ``python -m benchmarks.read [--seconds S]``.
"""

import argparse
import asyncio
import itertools
import random
import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import asyncpg

import migrations
from app.clock import system_clock
from app.db import create_engine
from benchmarks.load import drive
from benchmarks.stage import Served, database, make_keys, serving
from seed.loader import seed_if_empty

OURS = "app.main:create_app"
PLAN = "999999-2023"
BATTLES, GROUPS, TASKS, UNITS_A_TASK = 6, 10, 50, 5

# 3,000 tasks with five units and two targets each, in a county of their own beside the real plan.
DATA = f"""
    INSERT INTO regions VALUES ('999999', '测试县');
    INSERT INTO units (region_code, code, name, kind)
        SELECT '999999', '999999-u' || n, '测试单位第' || n || '号', 'county_bureau' FROM generate_series(1, 80) n;
    INSERT INTO indicators (region_code, code, name, unit_of_measure, direction, accumulation)
        SELECT '999999', 'i' || n, '指标' || n, '%', 'higher', 'cumulative' FROM generate_series(1, 50) n;
    INSERT INTO plans (code, sort_key, region_code, year, title, short_title, document_number, issuer, issued_on,
                       objective, seed_digest)
        VALUES ('{PLAN}', '{PLAN}', '999999', 2023, '测试', '测试', '测试', '测试', '2023-01-01', '测试', '');
    INSERT INTO battles (plan_id, ordinal, code, sort_key, short_name, name, objective, locator)
        SELECT p.id, n, '{PLAN}-' || n, '{PLAN}-' || lpad(n::text, 2, '0'), '测试', '测试', '测试', '附件' || n
        FROM plans p, generate_series(1, {BATTLES}) n WHERE p.code = '{PLAN}';
    INSERT INTO task_groups (plan_id, battle_id, ordinal, code, sort_key, title, locator)
        SELECT b.plan_id, b.id, n, b.code || '-' || n, b.sort_key || '-' || lpad(n::text, 2, '0'), '测试', '附件'
        FROM battles b JOIN plans p ON p.id = b.plan_id, generate_series(1, {GROUPS}) n WHERE p.code = '{PLAN}';
    INSERT INTO tasks (plan_id, battle_id, task_group_id, number, code, sort_key, title, locator, deliverables)
        SELECT g.plan_id, g.battle_id, g.id, n, g.code || '-' || n, g.sort_key || '-' || lpad(n::text, 3, '0'),
               '测试任务第' || n || '项工作', '附件1/二/(二)/' || n, repeat('交付内容要点', 8)
        FROM task_groups g JOIN plans p ON p.id = g.plan_id, generate_series(1, {TASKS}) n WHERE p.code = '{PLAN}';
    INSERT INTO clauses (task_id, ordinal, code, open_ended)
        SELECT t.id, 1, t.code || '.1', true FROM tasks t JOIN plans p ON p.id = t.plan_id WHERE p.code = '{PLAN}';
    INSERT INTO assignments (clause_id, position, unit_id, role, printed_name)
        SELECT c.id, n, u.id, CASE n WHEN 1 THEN 'lead' ELSE 'responsible' END, u.name
        FROM clauses c JOIN tasks t ON t.id = c.task_id JOIN plans p ON p.id = t.plan_id,
             generate_series(1, {UNITS_A_TASK}) n
        JOIN units u ON u.region_code = '999999'
        WHERE p.code = '{PLAN}' AND u.code = '999999-u' || ((c.id * 7 + n * 11) % 80 + 1);
    INSERT INTO targets (plan_id, battle_id, task_group_id, task_id, ordinal, code, sort_key, indicator_id, operator,
                         value, text, locator, due_on, due_printed)
        SELECT t.plan_id, t.battle_id, t.task_group_id, t.id, n, t.code || '-T' || n, t.sort_key || '+T' || n,
               i.id, 'gte', 7.5, '增长7.5%以上', t.locator, '2023-12-31', false
        FROM tasks t JOIN plans p ON p.id = t.plan_id, generate_series(1, 2) n
        JOIN indicators i ON i.region_code = '999999' AND i.code = 'i' || n WHERE p.code = '{PLAN}';
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One thing measured: who answers, what is sent, what must come back, and the least ratio to bare."""

    name: str
    server: str
    requests: list[bytes]
    status: int
    least: float | None


def _request(path: str, header: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode()


async def _prepare(url: str) -> str:
    """Fill the database; returns the key of a reader, for the service is measured with its callers known."""
    engine = create_engine(url)
    await migrations.upgrade(engine)
    await seed_if_empty(engine, now=system_clock())
    await engine.dispose()
    connection = await asyncpg.connect(url)
    await connection.execute(DATA)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return (await make_keys(url, {"reader": ["reader"]}))["reader"]


async def _etag(server: Served, path: str, credentials: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(_request(path, f"{credentials}Connection: close\r\n"))
    head = (await reader.read()).split(b"\r\n\r\n", 1)[0].decode()
    writer.close()
    return next(line.split(": ", 1)[1] for line in head.splitlines() if line.lower().startswith("etag: "))


async def _cases(cached: Served, key: str) -> list[tuple[str, list[Case]]]:
    credentials = f"Authorization: Bearer {key}\r\n"
    codes = [
        f"{PLAN}-{b}-{g}-{t}"
        for b, g, t in itertools.product(range(1, BATTLES + 1), range(1, GROUPS + 1), range(1, TASKS + 1))
    ]
    random.Random(1).shuffle(codes)
    one = [_request(f"/api/v1/tasks/{code}", credentials) for code in codes]
    paths = [f"/api/v1/tasks?battle={PLAN}-{battle}&limit=50" for battle in range(1, BATTLES + 1)]
    pages = [_request(path, credentials) for path in paths]
    known = [
        _request(path, f"{credentials}If-None-Match: {await _etag(cached, path, credentials)}\r\n") for path in paths
    ]
    return [
        (
            "GET one task with units and targets",
            [
                Case("bare", "bare", one, 200, None),
                Case("rendered anew", "uncached", one, 200, 0.65),
                Case("fragment cached", "cached", one, 200, 0.65),
            ],
        ),
        (
            "GET list of 50 tasks with units",
            [
                Case("bare", "bare", pages, 200, None),
                Case("rendered anew", "uncached", pages, 200, 0.75),
                Case("fragments cached", "cached", pages, 200, 1.8),
                Case("unchanged: 304", "cached", known, 304, 3.0),
            ],
        ),
    ]


async def _measure(servers: dict[str, Served], key: str, *, rounds: int, seconds: float) -> bool:
    reached = True
    for title, cases in await _cases(servers["cached"], key):
        rates: dict[str, list[float]] = {case.name: [] for case in cases}
        costs: dict[str, list[float]] = {case.name: [] for case in cases}
        for number in range(-1, rounds):
            for case in cases if number % 2 else reversed(cases):
                server = servers[case.server]
                before = server.cpu_seconds()
                sent: Iterator[bytes] = itertools.cycle(case.requests)
                seen = await drive(server.port, sent, seconds=seconds if number >= 0 else 1.0, status=case.status)
                if seen.unexpected:
                    raise RuntimeError(f"{case.name}: {seen.unexpected} answers of another status")
                if number >= 0:
                    rates[case.name].append(seen.rate)
                    costs[case.name].append((server.cpu_seconds() - before) / seen.answers * 1000)
        print(f"\n{title}\n{'':24}{'answers/s':>12}{'CPU ms':>10}{'ratio':>9}{'at least':>10}")
        bare = rates["bare"]
        for case in cases:
            ratio = statistics.median(mine / base for mine, base in zip(rates[case.name], bare, strict=True))
            least = "" if case.least is None else f"{case.least:.2f}"
            verdict = "" if case.least is None else ("  reached" if ratio >= case.least else "  MISSED")
            reached = reached and (case.least is None or ratio >= case.least)
            rate, cost = statistics.median(rates[case.name]), statistics.median(costs[case.name])
            print(f"  {case.name:22}{rate:12.0f}{cost:10.2f}{ratio:9.2f}{least:>10}{verdict}")
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with ExitStack() as stack:
        cluster = stack.enter_context(database())
        key = asyncio.run(_prepare(cluster.url))
        servers = {
            name: stack.enter_context(serving(name, app, cluster.url, **environment))
            for name, app, environment in (
                ("bare", "benchmarks.bare:create_app", {}),
                ("uncached", OURS, {"LIUZHANG_FRAGMENT_CACHE_SIZE": "0"}),
                ("cached", OURS, {}),
            )
        }
        reached = asyncio.run(_measure(servers, key, rounds=given.rounds, seconds=given.seconds))
    if not reached:
        raise SystemExit("a ratio was missed")


if __name__ == "__main__":
    main()
