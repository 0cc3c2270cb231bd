"""Told to stop, the service finishes what it was asked, keeps what it says it kept, and ends."""

import asyncio
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field

import httpx
import pytest

from app.embedded import running
from tests.embedded.test_embedded import query
from tests.serve.test_serve import BOUND, Home, Service, home, within_bound

__all__ = ["home"]

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
OWED = (
    "SELECT json_agg(json_build_object('task', t.code, 'unit', u.code, 'period', o.period) ORDER BY o.id)::text "
    "FROM obligations o JOIN tasks t ON t.id = o.task_id JOIN units u ON u.id = o.unit_id "
    "JOIN rules r ON r.id = o.rule_id AND r.kind = 'reporting'"
)
KEPT = (
    "SELECT coalesce(json_agg(s.id), '[]')::text FROM submissions s "
    "JOIN submission_revisions r ON r.submission_id = s.id JOIN submission_transitions x ON x.submission_id = s.id"
)


@dataclass
class Rush:
    """A service to which reports are sent, and what became of them."""

    home: Home
    service: Service
    key: str
    owed: list[dict[str, str]]
    accepted: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    sixty: asyncio.Event = field(default_factory=asyncio.Event)

    def request(self, report: dict[str, str]) -> bytes:
        body = json.dumps({**report, "stage": "in_progress", "percent_complete": 40}).encode()
        head = (
            f"POST /api/v1/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    @property
    def port(self) -> int:
        return int(self.service.address.rsplit(":", 1)[1])

    async def connect(self) -> "Connection":
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port))

    def note(self, answer: "Answer") -> None:
        assert answer.status == 201, answer.body
        self.accepted.append(answer.body["id"])
        if len(self.accepted) == 60:
            self.sixty.set()

    async def client(self, reports: Iterator[dict[str, str]]) -> None:
        """Send reports one after the other, on one connection as long as that lasts, until nobody listens any more."""
        connection: Connection | None = None
        for report in reports:
            fresh = connection is None
            try:
                connection = connection or await self.connect()
                answer = await connection.ask(self.request(report))
            except OSError as error:
                # A connection nobody has taken up was not accepted; one that has been answered on was.
                if connection is not None:
                    await connection.end()
                if not fresh:
                    self.cut.append(repr(error))
                return
            self.note(answer)
            connection = None if answer.closes else connection
        if connection is not None:
            await connection.end()

    def kept(self) -> list[str]:
        """The ids of the reports that are in the database once the service has ended, each with all that belongs."""
        with running(self.home.home) as cluster:
            return json.loads(query(cluster.url, KEPT))


@dataclass
class Answer:
    status: int
    closes: bool
    body: dict[str, str]


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def end(self) -> None:
        """Close, and see it closed: a loop that ends before that leaves it open."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def ask(self, request: bytes) -> Answer:
        self.writer.write(request)
        await self.writer.drain()
        return await self.answer()

    async def answer(self) -> Answer:
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            (length,) = re.findall(r"content-length: (\d+)", head)
            body = await self.reader.readexactly(int(length))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError(f"closed after {error.partial!r}") from None
        closes = "connection: close" in head
        if closes:
            await self.end()
        return Answer(int(head.split()[1]), closes, json.loads(body))


@pytest.fixture
def rush(home: Home, request: pytest.FixtureRequest) -> Rush:
    settings: dict[str, str] = getattr(request, "param", {})
    service = home.serve("--workers", request.getfixturevalue("workers"), **settings).ready()
    assert within_bound(lambda: service.started == int(request.getfixturevalue("workers")))
    query(home.url, "UPDATE obligations SET effective_due_at = '2099-01-01'")
    owed = json.loads(query(home.url, OWED))
    grants = [part for unit in {one["unit"] for one in owed} for part in ("--grant", f"reporter:{unit}")]
    made = home.run("account", "create", "全部", *grants)
    (key,) = re.findall(r"^密钥 (lz_prod_\S+)$", made.stdout, re.MULTILINE)
    return Rush(home, service, key, owed)


@WORKERS
def test_what_has_begun_is_finished(rush: Rush, workers: str) -> None:
    async def stop_halfway() -> None:
        requests = [rush.request(one) for one in rush.owed[:200]]
        connections = [await rush.connect() for _ in requests]
        # Some are amid their header, the others amid their body.
        ends = [60 if n % 7 == 0 else len(one) - 30 - n % 40 for n, one in enumerate(requests)]
        for connection, one, end in zip(connections, requests, ends, strict=True):
            connection.writer.write(one[:end])
        await asyncio.sleep(1)
        rush.service.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(2)
        for connection, one, end in zip(connections, requests, ends, strict=True):
            connection.writer.write(one[end:])
            await asyncio.sleep(0.005)
        for answer in await asyncio.gather(*(connection.answer() for connection in connections)):
            rush.note(answer)
            assert answer.closes

    asyncio.run(stop_halfway())
    assert rush.service.process.wait(BOUND) == 0
    assert rush.home.stopped()
    assert len(rush.accepted) == 200
    assert sorted(rush.kept()) == sorted(rush.accepted)
    assert "Traceback" not in rush.service.stderr


@WORKERS
def test_amid_a_rush_nobody_is_cut_off_and_what_is_answered_is_what_is_kept(rush: Rush, workers: str) -> None:
    async def stop_amid() -> None:
        waiting = iter(rush.owed)
        clients = [asyncio.create_task(rush.client(waiting)) for _ in range(40)]
        await rush.sixty.wait()
        rush.service.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*clients)

    asyncio.run(asyncio.wait_for(stop_amid(), BOUND))
    assert rush.service.process.wait(BOUND) == 0
    assert rush.cut == []
    assert sorted(rush.kept()) == sorted(rush.accepted)


@pytest.mark.parametrize("rush", [{"LIUZHANG_SHUTDOWN_DELAY": "4"}], indirect=True)
@WORKERS
def test_before_it_stops_it_says_so_and_still_serves(rush: Rush, workers: str) -> None:
    service = rush.service
    service.process.send_signal(signal.SIGTERM)
    # Of several processes one hears of it after the other.
    assert within_bound(lambda: all(service.get("/health/ready").status_code == 503 for _ in range(10 * int(workers))))
    served = service.get("/api/v1/plans")
    assert (served.status_code, served.headers["connection"]) == (200, "close")
    assert "正在停止" in service.get("/health/ready").json()["detail"]
    assert service.process.wait(BOUND) == 0
    with pytest.raises(httpx.ConnectError):
        service.get("/health/live")


@pytest.mark.parametrize("rush", [{"LIUZHANG_SHUTDOWN_TIMEOUT": "1"}], indirect=True)
@WORKERS
def test_who_does_not_finish_in_time_is_told(rush: Rush, workers: str) -> None:
    async def dawdle() -> Answer:
        connection = await rush.connect()
        with closing(connection.writer):
            connection.writer.write(rush.request(rush.owed[0])[:-10])
            await asyncio.sleep(0.5)
            rush.service.process.send_signal(signal.SIGTERM)
            return await connection.answer()

    answer = asyncio.run(asyncio.wait_for(dawdle(), BOUND))
    assert (answer.status, answer.body["type"]) == (503, "/problems/unavailable")
    assert rush.service.process.wait(BOUND) == 0
    assert rush.kept() == []


@WORKERS
def test_told_twice_it_stops_at_once(rush: Rush, workers: str) -> None:
    with socket.create_connection(("127.0.0.1", rush.port)) as dawdling:
        dawdling.sendall(rush.request(rush.owed[0])[:-10])
        time.sleep(0.5)
        rush.service.process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        assert rush.service.process.poll() is None
        began = time.monotonic()
        assert rush.service.end() == 1
    assert time.monotonic() - began < 20
    assert "再次收到停止信号" in rush.service.stderr
    assert rush.home.stopped()
