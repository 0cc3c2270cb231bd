"""Exactly one process of several leads, and another takes over when it dies."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import pytest

from app.services.leader import LOCK
from tests.conftest import Clone

HOLDERS = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK & 0xFFFFFFFF} AND granted"
HOLDERS += " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
TELL = """
    INSERT INTO outbox (at, type, plan, unit, data)
    SELECT now(), 'submission.submitted', '431228-2023', '431228-jyj', '{"period": "2023-04"}'
    FROM generate_series(1, 10)
"""


def start(url: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app.main:create_app", "--factory", "--port", "0", "--log-level", "warning"],
        env={**os.environ, "LIUZHANG_DATABASE_URL": url},
    )


async def until(question: Callable[[], Coroutine[Any, Any, Any]], seconds: float = 40) -> Any:
    async with asyncio.timeout(seconds):
        while not (answer := await question()):  # noqa: ASYNC110 - it is other processes that are waited for
            await asyncio.sleep(0.1)
    return answer


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_another_process_takes_over_where_the_leader_stopped(clone: Clone, how: signal.Signals) -> None:
    async with clone() as url:
        connection = await asyncpg.connect(url)
        processes = [start(url)]
        try:
            (first,) = await until(lambda: connection.fetch(HOLDERS))
            processes.append(start(url))
            await connection.execute(TELL)
            await until(lambda: connection.fetchval("SELECT count(*) = 10 FROM events"))
            # The other one has started, and waits.
            await until(
                lambda: connection.fetchval(
                    "SELECT count(DISTINCT pid) >= 5 FROM pg_stat_activity WHERE application_name LIKE 'liuzhang-%' "
                    "AND datname = current_database()"
                )
            )
            assert await connection.fetch(HOLDERS) == [first]
            processes[0].send_signal(how)
            await connection.execute(TELL)
            await until(lambda: connection.fetchval("SELECT count(*) = 20 FROM events"))
            # One that is told to stop places what there is first; then it is the other's turn.
            await until(
                lambda: connection.fetchval(f"SELECT count(*) = 1 FROM ({HOLDERS}) h WHERE pid <> $1", first["pid"])
            )
            positions = [row["position"] for row in await connection.fetch("SELECT position FROM events ORDER BY 1")]
            assert positions == list(range(1, 21))
            # The one that is told to stop gives up what it leads.
            processes[1].send_signal(signal.SIGTERM)
            await asyncio.to_thread(processes[1].wait, 20)
            assert await connection.fetch(HOLDERS) == []
        finally:
            for process in processes:
                process.kill()
                process.wait()
            await connection.close()
