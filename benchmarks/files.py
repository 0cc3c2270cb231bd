"""A file of 10,000 reports: how fast it is taken in, how much memory that takes, how long other requests wait.

The file is sent as XLSX and as CSV, in parts and as a whole, to the service in this process on a durable PostgreSQL.
Printed are the reports a second, by how much the process grew at most, and the longest pause of the event loop. Run
with ``python -m benchmarks.files [--rows N]``.
"""

import argparse
import asyncio
import csv
import io
from datetime import datetime
from itertools import count

import asyncpg
import httpx
import psutil
from openpyxl import Workbook

import migrations
from app.clock import SHANGHAI, system_clock
from app.db import create_engine
from app.main import create_app
from app.settings import Settings
from benchmarks.stage import database, make_keys
from seed.loader import seed_if_empty

NOW = datetime(2023, 4, 10, 9, 0, tzinfo=SHANGHAI)
HEADINGS = ["任务编码", "单位", "报送期", "阶段", "完成进度", "进展情况", "存在问题", "下步打算"]
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# Every unit owes every task, so that a file of the county's plan can have as many rows as a province's.
OWED = """
    INSERT INTO obligations (unit_id, plan_id, battle_id, rule_id, task_id, period, period_start, due_at,
                             effective_due_at, lock_at, rule_version, calendar_version, provisional)
    SELECT u.id, t.plan_id, t.battle_id, r.id, t.id, '2023-04', '2023-04-01', due, due, due + interval '1 month', 1,
           'benchmark', false
    FROM tasks t JOIN rules r ON r.plan_id = t.plan_id AND r.code = 'monthly-form', units u,
         make_timestamptz(2023, 4, 20, 23, 59, 59.999999, 'Asia/Shanghai') AS due
    ON CONFLICT DO NOTHING
"""
REPORTS = "submissions, submission_revisions, submission_transitions, observations"


def rows_of(owed: list[asyncpg.Record]) -> list[list[object]]:
    said = "首批地块已开工,完成投资1200万元,主体结构封顶,内外装修同步推进,预计八月底交付使用。"
    return [
        [row["task"], row["unit"], "2023-04", "推进中", 20 + n % 70 + 0.5, f"{n}.{said}", "征地尚余两户", "加快征地"]
        for n, row in enumerate(owed)
    ]


def as_workbook(rows: list[list[object]]) -> bytes:
    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("报送")
    for row in [HEADINGS, *rows]:
        sheet.append(row)
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def as_csv(rows: list[list[object]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([HEADINGS, *rows])
    return out.getvalue().encode("gb18030")


async def watch(grown: list[int], gaps: list[float]) -> None:
    """Note the memory of the process and the pauses of its loop until cancelled."""
    process, loop = psutil.Process(), asyncio.get_running_loop()
    for _ in count():
        before = loop.time()
        await asyncio.sleep(0.005)
        gaps.append(loop.time() - before)
        grown.append(process.memory_info().rss)


async def send(client: httpx.AsyncClient, name: str, content: bytes, kind: str, query: str) -> None:
    grown, gaps = [psutil.Process().memory_info().rss], list[float]()
    watching = asyncio.create_task(watch(grown, gaps))
    loop = asyncio.get_running_loop()
    start = loop.time()
    answer = await client.post(f"/api/v1/submissions/file?{query}", content=content, headers={"Content-Type": kind})
    took = loop.time() - start
    watching.cancel()
    assert answer.status_code == 200, answer.text
    read = answer.json()
    assert read["refused"] == 0, read["rows"][0]
    print(
        f"{name:28} {read['accepted']:6} reports  {took:6.1f} s  {read['accepted'] / took:7.0f} a second  "
        f"+{(max(grown) - grown[0]) / 1024 / 1024:5.0f} MiB  longest pause {max(gaps) * 1000:5.0f} ms"
    )


async def measure(url: str, most: int) -> None:
    engine = create_engine(url)
    await migrations.upgrade(engine)
    await seed_if_empty(engine, now=system_clock())
    await engine.dispose()
    connection = await asyncpg.connect(url)
    await connection.execute(OWED)
    owed = await connection.fetch(
        "SELECT t.code AS task, u.code AS unit FROM obligations o JOIN tasks t ON t.id = o.task_id "
        "JOIN units u ON u.id = o.unit_id WHERE o.period = '2023-04' ORDER BY o.id LIMIT $1",
        most,
    )
    units = [row["code"] for row in await connection.fetch("SELECT code FROM units")]
    await connection.execute("ANALYZE")
    key = (await make_keys(url, {"测量": [f"reporter:{unit}" for unit in units]}))["测量"]
    rows = rows_of(owed)
    workbook, text = as_workbook(rows), as_csv(rows)
    print(f"{len(rows)} rows: XLSX {len(workbook) / 1024:.0f} KiB, CSV {len(text) / 1024:.0f} KiB")
    app = create_app(Settings(database_url=url), clock=lambda: NOW)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: dict[str, object], receive: object, send: object) -> None:
            scope["state"] = {**(state or {})}
            await app(scope, receive, send)  # pyright: ignore[reportArgumentType]

        transport = httpx.ASGITransport(app=with_state)  # pyright: ignore[reportArgumentType]
        client = httpx.AsyncClient(transport=transport, base_url="http://bench", timeout=300)
        client.headers["Authorization"] = f"Bearer {key}"
        async with client:
            for name, content, kind in (("XLSX", workbook, XLSX), ("CSV", text, "text/csv")):
                await send(client, f"{name}, checked only", content, kind, "dry_run=true")
                for query, how in (("atomic=false", "in parts"), ("atomic=true", "as a whole")):
                    await send(client, f"{name}, {how}", content, kind, query)
                    # What refuses it anywhere else is a trigger.
                    await connection.execute("SET session_replication_role = replica")
                    await connection.execute(f"TRUNCATE {REPORTS} CASCADE")
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    arguments = parser.parse_args()
    with database() as cluster:
        asyncio.run(measure(cluster.url, arguments.rows))


if __name__ == "__main__":
    main()
