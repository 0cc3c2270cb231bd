"""``kill -9`` of the service, many times, under load: what is sent again with its key has its effect exactly once.

Many is 20, unless the environment says otherwise (``KILLS=200``).
"""

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import psutil
import pytest_asyncio

from app.db import create_engine
from tests.conftest import Clone, Keyed
from tests.services.test_obligations import assert_counted

KILLS = int(os.environ.get("KILLS", "20"))
CLIENTS, PROCESSES, ONE_IN = 12, 2, 60
ROOT = Path(__file__).parents[2]
OWED = """
    SELECT u.code AS unit, t.code AS task, o.period
    FROM obligations o JOIN units u ON u.id = o.unit_id JOIN tasks t ON t.id = o.task_id
    JOIN rules r ON r.id = o.rule_id AND r.code = 'monthly-form'
    WHERE o.period IN ('2023-04', '2023-05') ORDER BY o.period, t.code, u.code
"""


@dataclass
class Rush:
    """Clients that do not give up, and what they were answered in the end, by key."""

    client: httpx.AsyncClient
    service: psutil.Process
    deaths: int = 0
    seen: set[int] = field(default_factory=set)
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)

    async def send(self, path: str, body: Any) -> None:
        """Send a request until it is answered, always with the same key."""
        key = str(uuid4())
        while True:
            try:
                answer = await self.client.post(f"/api/v1{path}", json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                self.told["lost"] += 1
                continue
            if answer.status_code in {409, 503}:
                assert answer.json()["type"] in {"/problems/still-running", "/problems/unavailable"}, answer.text
                self.told[answer.json()["type"]] += 1
                await asyncio.sleep(0.05)
                continue
            assert answer.status_code == 201, answer.text
            self.told[f"replayed {answer.headers.get('idempotency-replayed')}"] += 1
            self.answers[key] = answer
            return

    async def kill(self) -> None:
        """Kill processes at any moment; those that killed themselves count as well."""
        enough = CLIENTS
        while self.deaths < KILLS:
            await asyncio.sleep(random.uniform(0.02, 0.2))
            if len(self.answers) < enough:
                continue
            # What has just been started is left to do something first.
            enough = len(self.answers) + CLIENTS
            alive = {process.pid for process in self.service.children()}
            self.deaths += len(self.seen - alive)
            self.seen = alive
            if alive:
                with suppress(ProcessLookupError):
                    os.kill(random.choice(sorted(alive)), signal.SIGKILL)


@pytest_asyncio.fixture
async def mortal(clone: Clone) -> AsyncGenerator[tuple[str, str, psutil.Process]]:
    """The database, the address and the process of a service whose processes die."""
    async with clone() as url:
        command = [sys.executable, "-m", "tests.concurrency.mortal_service", url, str(PROCESSES), str(ONE_IN)]
        # In a session of their own, so that the last word reaches a process that was forked a moment before.
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        yield url, f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_whatever_is_killed_nothing_is_lost_and_nothing_done_twice(
    mortal: tuple[str, str, psutil.Process],
) -> None:
    url, address, service = mortal
    connection = await asyncpg.connect(url)
    owed = [dict(row) for row in await connection.fetch(OWED)]
    texts = {"rule": "work-bulletin-item", "unit": "芷江镇", "content": "正文"}
    async with httpx.AsyncClient(base_url=address, auth=Keyed(), timeout=20, trust_env=False) as client:
        rush = Rush(client, service)
        killing = asyncio.create_task(rush.kill())

        async def post(number: int) -> None:
            sent = 0
            while not killing.done():
                if owed:
                    said = {"stage": "in_progress", "percent_complete": 40, "progress": "按计划推进"}
                    await rush.send("/submissions", {**owed.pop(), **said})
                await rush.send("/materials", {**texts, "title": f"{number}-{sent}"})
                sent += 1

        await asyncio.gather(killing, *(post(number) for number in range(CLIENTS)))
        # An answer once given stays the answer.
        for answer in random.sample(list(rush.answers.values()), 20):
            request = answer.request
            again = None
            while again is None or again.status_code == 503:
                with suppress(httpx.TransportError):
                    again = await client.post(request.url, content=request.content, headers=request.headers)
            assert again.content == answer.content
            assert again.headers["idempotency-replayed"] == "true"

    sent = [(answer.request.url.path, json.loads(answer.request.content), answer) for answer in rush.answers.values()]
    reported = [answer.json()["id"] for path, _, answer in sent if path.endswith("/submissions")]
    sent_titles = [body["title"] for path, body, _ in sent if path.endswith("/materials")]
    stored = {str(row["id"]) for row in await connection.fetch("SELECT id FROM submissions")}
    assert stored == set(reported)
    assert len(stored) == len(reported)
    titles = [row["title"] for row in await connection.fetch("SELECT title FROM materials")]
    assert sorted(titles) == sorted(sent_titles)
    assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == len(rush.answers)
    assert await connection.fetchval("SELECT count(*) FROM submission_revisions") == len(stored)
    assert await connection.fetchval("SELECT count(*) FROM submission_transitions") == len(stored)
    await connection.close()
    engine = create_engine(url)
    await assert_counted(engine)
    await engine.dispose()
    # The effect was there, the answer was not: this is what the keys are for.
    assert rush.told["replayed true"] > 0, rush.told
    assert rush.told["lost"] > KILLS / 4, rush.told
    assert rush.deaths >= KILLS
