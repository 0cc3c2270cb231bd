"""How the service reaches PostgreSQL: an engine for work in transactions, a pool of its own for reads.

Reads are written with SQLAlchemy Core, compiled once to the SQL of asyncpg, and run without SQLAlchemy in between:
the statement stays readable and checked, and costs at run time what hand-written SQL costs.
"""

import functools
from collections.abc import Mapping
from typing import Any

import asyncpg
import asyncpg.pool
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = ["ReadPool", "ReadQuery", "create_engine", "open_read_pool"]

_DIALECT = asyncpg_dialect.dialect()


def create_engine(url: str, *, pool_size: int = 4) -> AsyncEngine:
    """An engine on ``url`` (``postgresql://…``, read by asyncpg as libpq would), without overflow connections."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=functools.partial(asyncpg.connect, url),
        pool_size=pool_size,
        max_overflow=0,
    )


class ReadQuery:
    """A statement compiled for asyncpg; ``bindparam`` names become keyword arguments of the pool's methods."""

    __slots__ = ("_fixed", "_names", "sql")

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        """Compile ``statement``; values written into it stay fixed, its named parameters are given at each run."""
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self._fixed: Mapping[str, Any] = compiled.params

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        """The positional arguments for one run."""
        fixed = self._fixed
        return [given[name] if name in given else fixed[name] for name in self._names]


class ReadPool:
    """Connections for reading, each statement its own transaction; served first come, first served."""

    def __init__(self, pool: "asyncpg.pool.Pool[asyncpg.Record]") -> None:
        """Wrap an open pool; the opener closes it."""
        self._pool = pool

    async def fetch(self, query: ReadQuery, **given: Any) -> list[asyncpg.Record]:
        """All rows of ``query``."""
        return await self._pool.fetch(query.sql, *query.arguments(given))

    async def fetch_row(self, query: ReadQuery, **given: Any) -> asyncpg.Record | None:
        """The first row of ``query``, or ``None``."""
        return await self._pool.fetchrow(query.sql, *query.arguments(given))

    async def fetch_value(self, query: ReadQuery, **given: Any) -> Any:
        """The first column of the first row of ``query``, or ``None``."""
        return await self._pool.fetchval(query.sql, *query.arguments(given))


async def _keep_as_is(_connection: object) -> None:
    """Nothing to reset: reads set nothing on a connection, so the round trip of a reset is saved."""


def open_read_pool(url: str, *, size: int) -> "asyncpg.pool.Pool[asyncpg.Record]":
    """A pool of up to ``size`` connections to ``url``, read-only by default; enter it as a context manager."""
    return asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        reset=_keep_as_is,
        server_settings={
            "application_name": "liuzhang-read",
            "default_transaction_read_only": "on",
            "statement_timeout": "30s",
            "jit": "off",
        },
    )
