"""How the service reaches PostgreSQL: a pool for reads, a pool for writes, an engine for migrations and the seed.

Statements are written with SQLAlchemy, compiled once to the SQL of asyncpg, and run without SQLAlchemy in between:
they stay readable and checked, and cost at run time what hand-written SQL costs.
"""

import functools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
import asyncpg.pool
from sqlalchemy import Select, TextClause
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["Database", "Query", "create_engine", "open_read_pool", "open_write_pool"]

if TYPE_CHECKING:
    # Generic for type checkers only.
    _Pool: TypeAlias = asyncpg.pool.Pool[asyncpg.Record]
    _Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

STATEMENT_TIMEOUT = 30
"""Seconds, where nobody says otherwise."""

_DIALECT = asyncpg_dialect.dialect()


def create_engine(url: str) -> AsyncEngine:
    """An engine on ``url`` (``postgresql://…``, read by asyncpg as libpq would), without overflow connections."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=functools.partial(asyncpg.connect, url),
        pool_size=4,
        max_overflow=0,
    )


class Query:
    """A statement compiled for asyncpg; ``bindparam`` names become keyword arguments of :class:`Database`'s methods."""

    __slots__ = ("_fixed", "_names", "sql")

    def __init__(self, statement: Select[*tuple[Any, ...]] | TextClause) -> None:
        """Compile ``statement``; values written into it stay fixed, its named parameters are given at each run."""
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self._fixed: Mapping[str, Any] = compiled.params

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        """The positional arguments for one run."""
        fixed = self._fixed
        return [given[name] if name in given else fixed[name] for name in self._names]


_Pending: TypeAlias = list[tuple[Query, Mapping[str, Sequence[Any]]]]


class Database:
    """Where statements run: on a pool, each a transaction of its own, or within one transaction on one connection."""

    __slots__ = ("_on", "_pending")

    def __init__(self, on: "_Pool | _Connection", pending: _Pending | None = None) -> None:
        """Wrap an open pool, or a connection taken from one; whoever opened it closes it.

        ``pending`` are the statements that a transaction ends with.
        """
        self._on = on
        self._pending: _Pending = [] if pending is None else pending

    @property
    def stands_alone(self) -> bool:
        """Whether every statement is a transaction of its own."""
        return isinstance(self._on, asyncpg.pool.Pool)

    async def fetch(self, query: Query, **given: Any) -> list[asyncpg.Record]:
        """All rows of ``query``."""
        return await self._on.fetch(query.sql, *query.arguments(given))

    async def fetch_row(self, query: Query, **given: Any) -> asyncpg.Record | None:
        """The first row of ``query``, or ``None``."""
        return await self._on.fetchrow(query.sql, *query.arguments(given))

    async def fetch_value(self, query: Query, **given: Any) -> Any:
        """The first column of the first row of ``query``, or ``None``."""
        return await self._on.fetchval(query.sql, *query.arguments(given))

    async def at_end(self, query: Query, columns: Mapping[str, Sequence[Any]]) -> None:
        """Run ``query``, which takes arrays, as the last statement of the transaction; on a pool, at once.

        What is given for one query in one transaction is run in one go: its arrays are strung together. What was given
        within a savepoint that is undone is dropped.
        """
        if self.stands_alone:
            await self.fetch(query, **columns)
        else:
            self._pending.append((query, columns))

    async def _end(self) -> None:
        together: dict[Query, dict[str, list[Any]]] = {}
        for query, columns in self._pending:
            whole = together.setdefault(query, {name: [] for name in columns})
            for name, values in columns.items():
                whole[name] += values
        for query, columns in together.items():
            await self.fetch(query, **columns)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator["Database"]:
        """A transaction, within one a savepoint: kept at the end, undone where an error leaves it."""
        if isinstance(self._on, asyncpg.pool.Pool):
            async with self._on.acquire() as connection, connection.transaction():
                within = Database(connection)
                yield within
                await within._end()
        else:
            kept = len(self._pending)
            try:
                async with self._on.transaction():
                    yield self
            except BaseException:
                del self._pending[kept:]
                raise

    @asynccontextmanager
    async def apart(self) -> AsyncGenerator[None]:
        """What fails in here leaves a transaction around it as it was; on a pool every statement stands apart."""
        if self.stands_alone:
            yield
        else:
            async with self.transaction():
                yield


async def _keep_as_is(_connection: object) -> None:
    """Nothing to reset: what runs here sets nothing on a connection, so the round trip of a reset is saved."""


def open_read_pool(url: str, *, size: int, statement_timeout: int = STATEMENT_TIMEOUT) -> "_Pool":
    """A pool of up to ``size`` connections to ``url``, read-only by default; enter it as a context manager.

    A statement that takes longer than ``statement_timeout`` seconds is stopped (``asyncpg.QueryCanceledError``).
    """
    settings = {"application_name": "liuzhang-read", "default_transaction_read_only": "on"}
    return _open_pool(url, size, {**settings, "statement_timeout": f"{statement_timeout}s"})


def open_write_pool(url: str, *, size: int, statement_timeout: int = STATEMENT_TIMEOUT) -> "_Pool":
    """A pool like :func:`open_read_pool`'s, for writing."""
    # Its statements are few and long, and touch few rows of large tables: planning one anew would cost more than
    # running it, and no plan that reads a table to its end is good, whatever the planner makes of a table's size; nor
    # is one that intersects two long lists of rows where one index has the very key.
    settings = {
        "application_name": "liuzhang-write",
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "random_page_cost": "1.1",
    }
    return _open_pool(url, size, {**settings, "statement_timeout": f"{statement_timeout}s"})


def _open_pool(url: str, size: int, settings: dict[str, str]) -> "_Pool":
    return asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        reset=_keep_as_is,
        server_settings={**settings, "jit": "off"},
    )
