"""One real PostgreSQL a session: a template database made by the migrations and the loader, cloned where needed."""

import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

import migrations
from app.clock import system_clock
from app.db import Database, Query, Scoped, create_engine, open_write_pool
from app.domain.roles import Grant, Role, parse_grant
from app.embedded import Cluster, running
from app.main import create_app
from app.protocol import LenientHttpProtocol
from app.schemas.account import KeyCreate
from app.services.accounts import create_account, create_key
from app.services.caller import by_command
from app.services.leader import LOCK
from app.settings import Settings
from seed.loader import seed_if_empty

Clone = Callable[..., AbstractAsyncContextManager[str]]

_TEMPLATE = "template_seeded"
_names = (f"test_{number}" for number in count(1))


@pytest.fixture(scope="session")
def cluster() -> Generator[Cluster]:
    # Not below pytest's own directory: run by root, PostgreSQL has an account that may not enter there.
    with TemporaryDirectory(prefix="liuzhang-", ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)
        with running(Path(place, "data"), durable=False) as started:
            yield started


def url_of(cluster: Cluster, database: str) -> str:
    return cluster.url.replace("/liuzhang?", f"/{database}?")


@pytest_asyncio.fixture(scope="session")
async def template(cluster: Cluster) -> str:
    """The name of a database that is migrated and seeded; never connected to, only cloned."""
    await _execute(cluster, f"CREATE DATABASE {_TEMPLATE}")
    engine = create_engine(url_of(cluster, _TEMPLATE))
    try:
        await migrations.upgrade(engine)
        await seed_if_empty(engine, now=system_clock())
    finally:
        await engine.dispose()
    await make_keys(url_of(cluster, _TEMPLATE))
    return _TEMPLATE


async def make_key(db: Database, name: str, grants: Iterable[Grant | str]) -> str:
    """A key of a new account that holds these grants."""
    held = [parse_grant(grant) if isinstance(grant, str) else grant for grant in grants]
    now, caller = system_clock(), by_command("test")
    account = await create_account(db, name, held, now=now, caller=caller)
    return (await create_key(db, account.code, KeyCreate(), "prod", now=now, caller=caller)).key


async def make_keys(url: str) -> None:
    """The keys that tests go by which are not about permissions: one for everything but judging, and one for that.

    Nobody judges the figures of a unit that they report for, so one key will not do.
    """
    async with open_write_pool(url, size=1) as pool:
        db = Database(pool)
        units = [row["code"] for row in await pool.fetch("SELECT code FROM units ORDER BY code")]
        everything = [Grant(Role.REPORTER, unit=unit) for unit in units]
        KEYS["everything"] = await make_key(db, "测试", [*everything, "supervisor", "auditor", "administrator"])
        for unit in ("431228-jyj", "431228-nyncj"):
            KEYS[unit] = await make_key(db, "另一认定单位", [f"certifier:{unit}", "auditor"])
        KEYS["certifier"] = await make_key(db, "统计局", ["certifier:431228-tjj", "auditor"])
        KEYS["judge"] = await make_key(db, "督查室", ["supervisor", "auditor"])


KEYS: dict[str, str] = {}


def key_for(path: str) -> str:
    """The key for an operation."""
    of_case = "/cases/" in path and path.endswith(("/verify", "/return", "/close", "/recheck"))
    if of_case or ("/appeals/" in path and path.endswith("/decide")):
        return KEYS["judge"]
    return KEYS["certifier" if path.endswith(("/certify", "/return", "/certifications")) else "everything"]


class Keyed(httpx.Auth):
    """Presents the key for each operation, where a request brings no credentials of its own."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        if "Authorization" not in request.headers and KEYS:
            request.headers["Authorization"] = f"Bearer {key_for(request.url.path)}"
        yield request


async def _execute(cluster: Cluster, statement: str) -> None:
    connection = await asyncpg.connect(cluster.url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="session")
async def clone(cluster: Cluster, template: str) -> Clone:
    """Make disposable databases: ``async with clone() as url``; ``seeded=False`` gives an empty one."""

    @asynccontextmanager
    async def make(*, seeded: bool = True) -> AsyncGenerator[str]:
        name = next(_names)
        await _execute(cluster, f"CREATE DATABASE {name} TEMPLATE {template if seeded else 'template0'}")
        try:
            yield url_of(cluster, name)
        finally:
            await _execute(cluster, f"DROP DATABASE {name} WITH (FORCE)")

    return make


@asynccontextmanager
async def nobody_leads(url: str) -> AsyncGenerator[None]:
    """A session holds the lead of a database and does nothing with it: no event moves, none is raised or sent."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SELECT pg_advisory_lock({LOCK})")
        yield
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="session")
async def database(clone: Clone) -> AsyncGenerator[str]:
    """The seeded database that all tests share which change nothing."""
    async with clone() as url:
        yield url


@asynccontextmanager
async def serving(app: FastAPI, *, auth: httpx.Auth | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    """A client on ``app`` in this process, its lifespan running; without ``auth`` it has the keys for everything."""
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("state", {}).update(state)
            await app(scope, receive, send)

        transport = httpx.ASGITransport(app=with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", auth=auth or Keyed()) as client:
            client.reader = state["reader"]  # type: ignore[attr-defined]
            client.identity = state["identity"]  # type: ignore[attr-defined]
            yield client


@pytest_asyncio.fixture(scope="session")
async def app(database: str) -> FastAPI:
    return create_app(Settings(database_url=database))


@pytest_asyncio.fixture(scope="session")
async def client(app: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    async with serving(app) as ready:
        yield ready


class CountingDatabase(Database):
    """Delegates to an open database, and keeps the statements it was asked for, those in transactions too."""

    def __init__(self, database: Database, statements: list[str] | None = None) -> None:
        super().__init__(database._on, database._caller, database._pending)
        self.statements: list[str] = [] if statements is None else statements

    def for_caller(self, caller: Scoped) -> Database:
        return CountingDatabase(super().for_caller(caller), self.statements)

    async def fetch(self, query: Query, **given: Any) -> list[asyncpg.Record]:
        self.statements.append(query.sql)
        return await super().fetch(query, **given)

    async def fetch_row(self, query: Query, **given: Any) -> asyncpg.Record | None:
        self.statements.append(query.sql)
        return await super().fetch_row(query, **given)

    async def fetch_value(self, query: Query, **given: Any) -> Any:
        self.statements.append(query.sql)
        return await super().fetch_value(query, **given)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Database]:
        async with super().transaction() as within:
            yield CountingDatabase(within, self.statements)


@contextmanager
def listening(app: FastAPI) -> Generator[str]:
    """The address of ``app`` over real HTTP, in a thread with a loop of its own."""
    # FastAPI makes the fields of its routes at first use, with Python's warnings filter changed meanwhile; that filter
    # belongs to all threads, so two servers making theirs at once would let a warning through. Made here, they are not.
    app.openapi()
    started = threading.Event()

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Announcing(uvicorn.Config(app, port=0, http=LenientHttpProtocol, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def server(database: str) -> Generator[str]:
    """The address of the service over real HTTP."""
    with listening(create_app(Settings(database_url=database))) as address:
        yield address


@pytest.fixture(scope="session")
def plan_directory() -> Path:
    return Path(__file__).parent.parent / "seed" / "431228-2023"


@pytest.fixture(scope="session")
def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    return app.openapi()
