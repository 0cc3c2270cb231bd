"""Compliance over twelve periods of a county, in a province of 1 and of 10 million obligations.

What the service asks for the present (from counts) and for a past instant (from the obligations of those periods) is
measured against the same aggregate by a sequential scan, the answers compared first. Both databases stand side by side
on one PostgreSQL, and the rounds go round among all cases. Printed are the medians. Run with ``make bench`` or
``python -m benchmarks.compliance [--small N] [--large N]``.
"""

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg

import migrations
from app.clock import SHANGHAI
from app.db import Database, Query, create_engine, open_read_pool
from app.services.compliance import _NOW as FROM_COUNTS  # pyright: ignore[reportPrivateUsage]
from app.services.compliance import _THEN as FROM_OBLIGATIONS  # pyright: ignore[reportPrivateUsage]
from benchmarks.stage import database

# A county as the document has it: about 160 tasks and 80 units, each of which reports in two of the six battles.
BATTLES, TASKS, UNITS, UNITS_A_BATTLE, REPORTERS_A_TASK = 6, 27, 80, 26, 6
YEARS = range(2017, 2024)
OTHER_RULES = 20
A_COUNTY = BATTLES * TASKS * REPORTERS_A_TASK * 12 * len(YEARS)
BYTES_AN_OBLIGATION = 600

PLAN = f"430001-{YEARS[-1]}"
NOW = datetime(YEARS[-1], 11, 1, tzinfo=SHANGHAI)
PAST = datetime(YEARS[-1], 7, 1, tzinfo=SHANGHAI)
TWELVE = {"since": date(YEARS[-1], 1, 1), "until": date(YEARS[-1], 12, 1)}
COUNTED = ("expected", "waived", "on_time", "late", "overdue", "missed", "not_due")
GROUPS = ("unit", "battle")
SCAN_AT_LEAST, GROWTH_AT_MOST = 100, 1.5

PROVINCE = """
    INSERT INTO regions SELECT (430000 + n)::text, '第' || n || '县' FROM generate_series(1, {counties}) n;
    INSERT INTO units (region_code, code, name, kind)
        SELECT r.code, r.code || '-u' || n, r.name || '第' || n || '局', 'county_bureau'
        FROM regions r, generate_series(0, {units} - 1) n ORDER BY r.code, n;
    INSERT INTO plans (code, sort_key, region_code, year, title, short_title, document_number, issuer, issued_on,
                       objective, seed_digest)
        SELECT r.code || '-' || y, r.code || '-' || y, r.code, y, '测试', '测试', '测试', '测试', make_date(y, 1, 1),
               '测试', ''
        FROM generate_series({first}, {last}) y, regions r ORDER BY y, r.code;
    INSERT INTO battles (plan_id, ordinal, code, sort_key, short_name, name, objective, locator)
        SELECT p.id, n, p.code || '-' || n, p.code || '-' || lpad(n::text, 2, '0'), '测试', '第' || n || '仗', '测试',
               '附件' || n
        FROM plans p, generate_series(1, {battles}) n ORDER BY p.id, n;
    INSERT INTO task_groups (plan_id, battle_id, ordinal, code, sort_key, title, locator)
        SELECT b.plan_id, b.id, 1, b.code || '-1', b.sort_key || '-01', '测试', '附件' FROM battles b ORDER BY b.id;
    INSERT INTO tasks (plan_id, battle_id, task_group_id, number, code, sort_key, title, locator, deliverables)
        SELECT g.plan_id, g.battle_id, g.id, n, g.code || '-' || n, g.sort_key || '-' || lpad(n::text, 3, '0'),
               '测试任务', '附件', '要点'
        FROM task_groups g, generate_series(1, {tasks}) n ORDER BY g.id, n;
    INSERT INTO rules (plan_id, code, sort_key, name, kind, locator, summary, parameters, printed)
        SELECT p.id, c.code, p.sort_key || '-' || c.code, '月进度表报送', 'reporting', '附件', '测试', '{{}}', '{{}}'
        FROM plans p,
             (SELECT 'monthly-form' UNION ALL SELECT 'rule-' || n FROM generate_series(1, {other_rules}) n) AS c (code)
        ORDER BY p.id;
    INSERT INTO rule_versions (rule_id, version, effective_from, schedule)
        SELECT r.id, 1, make_date(p.year, 1, 1), '{{"remind_days": 5}}' FROM rules r JOIN plans p ON p.id = r.plan_id;
    ANALYZE;
"""
# Of what was due some months ago, 88 of 100 came on time and 6 late, 3 were waived, 1 extended, 2 never came.
OWED = """
    INSERT INTO obligations (unit_id, plan_id, battle_id, rule_id, task_id, period, period_start, due_at,
                             effective_due_at, lock_at, rule_version, calendar_version, provisional, waived_at,
                             submitted_at, filed_at)
    SELECT u.id, t.plan_id, t.battle_id, r.id, t.id, to_char(start, 'YYYY-MM'), start, due,
           CASE WHEN luck >= 0.97 AND luck < 0.98 THEN due + interval '5 days' ELSE due END,
           due + interval '1 month', 1, 'benchmark', false,
           CASE WHEN luck >= 0.94 AND luck < 0.97 AND due < $2 THEN due - interval '5 days' END,
           filed - interval '1 day', filed
    FROM plans p
    JOIN rules r ON r.plan_id = p.id AND r.code = 'monthly-form'
    JOIN battles b ON b.plan_id = p.id
    JOIN tasks t ON t.battle_id = b.id
    CROSS JOIN generate_series(1, {reporters}) reporter
    JOIN units u ON u.code = p.region_code || '-u' || (b.ordinal * {units_a_battle} / 2
        + (t.number * {reporters} + reporter) % {units_a_battle}) % {units}
    CROSS JOIN (SELECT make_date($1, m, 1) AS start,
                       make_timestamptz($1, m, 20, 23, 59, 59.999999, 'Asia/Shanghai') AS due
                FROM generate_series(1, 12) m) AS months
    CROSS JOIN LATERAL (SELECT random() + 0 * u.id AS luck) AS lot
    CROSS JOIN LATERAL (SELECT CASE
        WHEN due >= $2 THEN NULL
        WHEN luck < 0.88 THEN due - luck * interval '10 days'
        WHEN luck < 0.94 THEN due + interval '2 days'
        WHEN luck >= 0.97 AND luck < 0.98 THEN due + interval '3 days' END AS filed) AS filing
    WHERE p.year = $1
    ORDER BY p.id, t.id, start
"""
GRANTED = """
    INSERT INTO extensions (unit_id, id, rule_id, task_id, period, due_at, reason, approver, granted_at)
        SELECT unit_id, uuidv7(), rule_id, task_id, period, effective_due_at, '测试', '测试', due_at - interval '1 day'
        FROM obligations WHERE effective_due_at <> due_at;
    INSERT INTO waivers (unit_id, id, rule_id, task_id, period, kind, reason, approver, granted_at)
        SELECT unit_id, uuidv7(), rule_id, task_id, period, 'exempt', '测试', '测试', waived_at
        FROM obligations WHERE waived_at IS NOT NULL;
"""
# What the counts answer, by looking at every obligation.
SCAN = """
    SELECT g.code AS key, g.name, count(*) AS expected,
           count(*) FILTER (WHERE waived_at IS NOT NULL) AS waived,
           count(*) FILTER (WHERE waived_at IS NULL AND filed_at <= effective_due_at) AS on_time,
           count(*) FILTER (WHERE waived_at IS NULL AND filed_at > effective_due_at) AS late,
           count(*) FILTER (WHERE waived_at IS NULL AND filed_at IS NULL AND effective_due_at < $1
                              AND greatest(lock_at, effective_due_at) >= $1) AS overdue,
           count(*) FILTER (WHERE waived_at IS NULL AND filed_at IS NULL AND effective_due_at < $1
                              AND greatest(lock_at, effective_due_at) < $1) AS missed,
           count(*) FILTER (WHERE waived_at IS NULL AND filed_at IS NULL AND effective_due_at >= $1) AS not_due
    FROM obligations o JOIN {group}s g ON g.id = o.{group}_id
    WHERE o.rule_id IN (SELECT r.id FROM rules r JOIN plans p ON p.id = r.plan_id
                        WHERE r.code = 'monthly-form' AND p.code = $2)
      AND o.period_start BETWEEN $3 AND $4
    GROUP BY g.code, g.name ORDER BY g.code
"""
# Nothing but the scan, on one core as the others, and the best plan there is for it: hash joins, and none kept.
SCANNING = {
    "enable_nestloop": "off",
    "plan_cache_mode": "force_custom_plan",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
LOADING = {
    # No look at foreign keys; the triggers that count are told to fire all the same.
    "session_replication_role": "replica",
    "synchronous_commit": "off",
    "work_mem": "256MB",
    "maintenance_work_mem": "512MB",
}
ASKED: dict[str, Any] = {"rule": "monthly-form", "plan": PLAN, **TWELVE}

Rows = list[asyncpg.Record]


@dataclass(frozen=True, slots=True)
class Case:
    """One query in one of the databases; a fast one runs several times a round."""

    name: str
    run: Callable[[], Awaitable[Rows]]
    repeats: int = 5


async def _fill(url: str, obligations: int) -> None:
    begun = time.perf_counter()
    engine = create_engine(url)
    await migrations.upgrade(engine)
    await engine.dispose()
    connection = await asyncpg.connect(url, server_settings=LOADING)
    counties = -(-obligations // A_COUNTY)
    await connection.execute(
        PROVINCE.format(
            counties=counties,
            units=UNITS,
            first=YEARS[0],
            last=YEARS[-1],
            battles=BATTLES,
            tasks=TASKS,
            other_rules=OTHER_RULES,
        )
    )
    await connection.execute("ALTER TABLE obligations ENABLE ALWAYS TRIGGER count_obligations_inserted")
    rebuild = await _drop_indexes(connection)
    owed = OWED.format(reporters=REPORTERS_A_TASK, units=UNITS, units_a_battle=UNITS_A_BATTLE)
    await connection.execute("SELECT setseed(0.2023)")
    for year in YEARS:
        await connection.execute(owed, year, NOW)
    await connection.execute(GRANTED)
    for statement in rebuild:
        await connection.execute(statement)
    await connection.execute("VACUUM ANALYZE")
    rows = await connection.fetchval("SELECT count(*) FROM obligations")
    counts = await connection.fetchval("SELECT count(*) FROM compliance_counts")
    size = await connection.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    await connection.close()
    seconds = time.perf_counter() - begun
    print(f"{counties} counties, {len(YEARS)} years: {rows:,} obligations, {counts:,} counts, {size}, {seconds:.0f} s")


async def _drop_indexes(connection: Any) -> list[str]:
    """Drop the indexes of the obligations, and what refers to them; returns the statements that build them again.

    That is faster at the end.
    """
    rebuild: list[str] = []
    referring: list[str] = []
    for table, name, definition in await connection.fetch(
        "SELECT CAST(conrelid::regclass AS text), conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE confrelid = 'obligations'::regclass"
    ):
        await connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        referring.append(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
    for name, definition in await connection.fetch(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = 'obligations'::regclass AND contype IN ('p', 'u')"
    ):
        await connection.execute(f'ALTER TABLE obligations DROP CONSTRAINT "{name}"')
        rebuild.append(f'ALTER TABLE obligations ADD CONSTRAINT "{name}" {definition}')
    for name, definition in await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'obligations'"
    ):
        await connection.execute(f'DROP INDEX "{name}"')
        rebuild.append(definition)
    return rebuild + referring


def _asking(pool: Database, query: Query, as_of: datetime, **other: Any) -> Callable[[], Awaitable[Rows]]:
    return lambda: pool.fetch(query, **{**ASKED, "as_of": as_of, **other})


def _scanning(connection: Any, group: str) -> Callable[[], Awaitable[Rows]]:
    return lambda: connection.fetch(SCAN.format(group=group), NOW, PLAN, TWELVE["since"], TWELVE["until"])


async def _cases(stack: AsyncExitStack, urls: dict[str, str]) -> list[Case]:
    cases: list[Case] = []
    for size, url in urls.items():
        pool = Database(await stack.enter_async_context(open_read_pool(url, size=1)))
        scanner = await asyncpg.connect(url, server_settings=SCANNING)
        stack.push_async_callback(scanner.close)
        for group in GROUPS:
            now = Case(f"{size}: by {group}, now", _asking(pool, FROM_COUNTS[group], NOW), 40)
            scan = Case(f"{size}: by {group}, sequential scan", _scanning(scanner, group), 1)
            await _check_same(now, scan)
            cases += [now, Case(f"{size}: by {group}, past", _asking(pool, FROM_OBLIGATIONS[group], PAST)), scan]
        cases.append(Case(f"{size}: province by region, now", _asking(pool, FROM_COUNTS["region"], NOW, plan=None), 1))
    # What is compared across sizes is measured one right after the other.
    return sorted(cases, key=lambda case: case.name.split(": ")[1])


async def _check_same(one: Case, other: Case) -> None:
    mine, theirs = _figures(await one.run()), _figures(await other.run())
    if not mine or mine != theirs:
        raise RuntimeError(f"{one.name} and {other.name} differ")


def _figures(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in ("key", "name", *COUNTED)) for row in rows]


async def _measure(urls: dict[str, str], *, rounds: int) -> bool:
    async with AsyncExitStack() as stack:
        cases = await _cases(stack, urls)
        taken: dict[str, list[float]] = {case.name: [] for case in cases}
        for number in range(-2, rounds):
            for case in cases if number % 2 else reversed(cases):
                begun = time.perf_counter()
                for _ in range(case.repeats):
                    await case.run()
                if number >= 0:
                    taken[case.name].append((time.perf_counter() - begun) / case.repeats * 1000)
    times = {name: statistics.median(found) for name, found in taken.items()}
    small, large = urls
    print(f"\n{'':32}" + "".join(f"{size + ', ms':>14}" for size in urls))
    for name in dict.fromkeys(name.split(": ")[1] for name in times):
        print(f"  {name:30}" + "".join(f"{times[f'{size}: {name}']:14.2f}" for size in urls))
    print(f"\n{'':48}{'ratio':>9}{'target':>10}")
    reached = True
    for group in GROUPS:
        now = f"by {group}, now"
        gained = _ratio(taken[f"{large}: by {group}, sequential scan"], taken[f"{large}: {now}"])
        grown = _ratio(taken[f"{large}: {now}"], taken[f"{small}: {now}"])
        for what, ratio, target, good in (
            (f"sequential scan to {now}, {large}", gained, f">= {SCAN_AT_LEAST}", gained >= SCAN_AT_LEAST),
            (f"{now}, {large} to {small}", grown, f"<= {GROWTH_AT_MOST}", grown <= GROWTH_AT_MOST),
        ):
            print(f"  {what:46}{ratio:9.2f}{target:>10}  {'reached' if good else 'MISSED'}")
            reached = reached and good
    return reached


def _ratio(these: list[float], those: list[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(one / other for one, other in zip(these, those, strict=True))


async def _run(url: str, sizes: list[int], *, rounds: int) -> bool:
    urls: dict[str, str] = {}
    for name, obligations in zip(("small", "large"), sizes, strict=True):
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        urls[name] = url.replace("/liuzhang?", f"/{name}?")
        print(f"{name}: ", end="", flush=True)
        await _fill(urls[name], obligations)
    return await _measure(urls, rounds=rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=1_000_000, help="obligations, rounded up to whole counties")
    parser.add_argument("--large", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    needed = (given.small + given.large) * BYTES_AN_OBLIGATION
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        raise SystemExit(f"needs {needed >> 30} GiB in {tempfile.gettempdir()}, {free >> 30} GiB are free")
    with database() as cluster:
        reached = asyncio.run(_run(cluster.url, [given.small, given.large], rounds=given.rounds))
    if not reached:
        raise SystemExit("a ratio was missed")


if __name__ == "__main__":
    main()
