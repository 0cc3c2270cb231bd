"""How the service reaches PostgreSQL: a pool for reads, a pool for writes, an engine for migrations and the seed.

Statements are written with SQLAlchemy, compiled once to the SQL of asyncpg, and run without SQLAlchemy in between:
they stay readable and checked, and cost at run time what hand-written SQL costs.

The tables of the progress show a row only to whom it is for, whatever a statement asks for: policies compare it with
the scope of the caller (see ``app.domain.row_scope``). A :class:`Database` that is bound to a caller gives that scope
with every statement on such a table, in the same round trip; one that is not sees none of their rows.
"""

import functools
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import asyncpg
import asyncpg.pool
from sqlalchemy import Select, TextClause
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

__all__ = [
    "PROTECTED",
    "SCOPE_GIVEN",
    "SERVICE_ROLE",
    "Database",
    "Query",
    "Scoped",
    "create_engine",
    "open_read_pool",
    "open_write_pool",
]

if TYPE_CHECKING:
    # Generic for type checkers only.
    _Pool: TypeAlias = asyncpg.pool.Pool[asyncpg.Record]
    _Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

STATEMENT_TIMEOUT = 30
"""Seconds, where nobody says otherwise."""

SERVICE_ROLE = "liuzhang_service"
"""The role as which the service works, whoever it logs in as: it owns nothing, and policies hold for it."""

PROTECTED = ("materials", "observations", "submission_revisions", "submission_transitions", "submissions")
"""The tables whose rows are shown by the scope of the caller."""

# The view asks for the scope itself, for it reads as the owner.
_NAMES_PROTECTED = re.compile(rf"\b({'|'.join((*PROTECTED, 'own_reports'))})\b")
# Of one transaction: a statement that runs by itself is one. The codes of the scope are looked up here, once.
_GIVE_SCOPE = "(SELECT set_config('liuzhang.caller', caller_in_keys({scope}), true)) IS NOT NULL"

SCOPE_GIVEN = _GIVE_SCOPE.format(scope="CAST(:scope AS text)")
"""The condition that gives the scope, for a statement that runs by itself and writes: below all else that it does."""

_DIALECT = asyncpg_dialect.dialect()


class Scoped(Protocol):
    """Whoever a database is asked for."""

    @property
    def scope(self) -> str:
        """What they may see and write, as ``app.domain.row_scope`` writes it."""
        ...


def create_engine(url: str) -> AsyncEngine:
    """An engine on ``url`` (``postgresql://…``, read by asyncpg as libpq would), without overflow connections."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=functools.partial(asyncpg.connect, url),
        pool_size=4,
        max_overflow=0,
    )


class Query:
    """A statement compiled for asyncpg; ``bindparam`` names become keyword arguments of :class:`Database`'s methods.

    ``scope`` is no such name: a :class:`Database` gives it.
    """

    __slots__ = ("_fixed", "_names", "is_guarded", "scoped_sql", "sql", "takes_scope")

    def __init__(self, statement: Select[*tuple[Any, ...]] | TextClause) -> None:
        """Compile ``statement``; values written into it stay fixed, its named parameters are given at each run."""
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self._fixed: Mapping[str, Any] = compiled.params
        self.is_guarded = _NAMES_PROTECTED.search(self.sql) is not None
        self.takes_scope = "scope" in self._names
        # The condition depends on no row, so PostgreSQL looks at it once, before it reads any.
        condition = _GIVE_SCOPE.format(scope=f"${len(self._names) + 1}")
        self.scoped_sql = f"SELECT * FROM ({self.sql}\n) AS scoped WHERE {condition}"  # noqa: S608 - of constants

    def arguments(self, given: Mapping[str, Any]) -> list[Any]:
        """The positional arguments for one run."""
        fixed = self._fixed
        return [given[name] if name in given else fixed[name] for name in self._names]


_Pending: TypeAlias = list[tuple[Query, Mapping[str, Sequence[Any]]]]


class Database:
    """Where statements run: on a pool, each a transaction of its own, or within one transaction on one connection."""

    __slots__ = ("_caller", "_on", "_pending")

    def __init__(
        self, on: "_Pool | _Connection", caller: Scoped | None = None, pending: _Pending | None = None
    ) -> None:
        """Wrap an open pool, or a connection taken from one and given the caller's scope; who opened it closes it.

        ``pending`` are the statements that a transaction ends with.
        """
        self._on = on
        self._caller = caller
        self._pending: _Pending = [] if pending is None else pending

    def for_caller(self, caller: Scoped) -> "Database":
        """The same pool, asked for a caller: it shows and takes what is theirs."""
        return Database(self._on, caller, self._pending)

    @property
    def stands_alone(self) -> bool:
        """Whether every statement is a transaction of its own."""
        return isinstance(self._on, asyncpg.pool.Pool) or not self._on.is_in_transaction()

    async def fetch(self, query: Query, **given: Any) -> list[asyncpg.Record]:
        """All rows of ``query``."""
        sql, arguments = self._run(query, given)
        return await self._on.fetch(sql, *arguments)

    async def fetch_row(self, query: Query, **given: Any) -> asyncpg.Record | None:
        """The first row of ``query``, or ``None``."""
        sql, arguments = self._run(query, given)
        return await self._on.fetchrow(sql, *arguments)

    async def fetch_value(self, query: Query, **given: Any) -> Any:
        """The first column of the first row of ``query``, or ``None``."""
        sql, arguments = self._run(query, given)
        return await self._on.fetchval(sql, *arguments)

    def _run(self, query: Query, given: dict[str, Any]) -> tuple[str, list[Any]]:
        """The SQL and the arguments of one run, the caller's scope among them where rows are shown by it."""
        if not query.is_guarded:
            return query.sql, query.arguments(given)
        scope = "" if self._caller is None else self._caller.scope
        if query.takes_scope:
            return query.sql, query.arguments({**given, "scope": scope})
        if self._caller is None or not isinstance(self._on, asyncpg.pool.Pool):
            # A transaction was given the scope as it began.
            return query.sql, query.arguments(given)
        return query.scoped_sql, [*query.arguments(given), scope]

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
    async def held(self) -> AsyncGenerator["Database"]:
        """One connection of a pool, for as long as what belongs to its session is needed: an advisory lock."""
        assert isinstance(self._on, asyncpg.pool.Pool)
        async with self._on.acquire() as connection:
            yield Database(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator["Database"]:
        """A transaction, within one a savepoint: kept at the end, undone where an error leaves it."""
        if isinstance(self._on, asyncpg.pool.Pool):
            async with self._on.acquire() as connection, self._begun(connection) as within:
                yield within
        elif self.stands_alone:
            async with self._begun(self._on) as within:
                yield within
        else:
            kept = len(self._pending)
            undo = "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part"
            try:
                async with _kept(self._on, "SAVEPOINT part", "RELEASE SAVEPOINT part", undo):
                    yield self
            except BaseException:
                del self._pending[kept:]
                raise

    @asynccontextmanager
    async def _begun(self, connection: "_Connection") -> AsyncGenerator["Database"]:
        async with _kept(connection, self._begin(), "COMMIT", "ROLLBACK"):
            within = Database(connection, self._caller)
            yield within
            await within._end()

    def _begin(self) -> str:
        """Begin a transaction and give it the caller's scope, in one round trip."""
        if self._caller is None:
            return "BEGIN"
        quoted = self._caller.scope.replace("'", "''")
        return f"BEGIN; SELECT set_config('liuzhang.caller', caller_in_keys('{quoted}'), true)"

    @asynccontextmanager
    async def apart(self) -> AsyncGenerator[None]:
        """What fails in here leaves a transaction around it as it was; on a pool every statement stands apart."""
        if self.stands_alone:
            yield
        else:
            async with self.transaction():
                yield


@asynccontextmanager
async def _kept(connection: "_Connection", begin: str, keep: str, undo: str) -> AsyncGenerator[None]:
    """Not asyncpg's own transaction: that cannot begin with more than its BEGIN, at the cost of a round trip."""
    try:
        await connection.execute(begin)
        yield
    except BaseException:
        if not connection.is_closed():
            await connection.execute(undo)
        raise
    await connection.execute(keep)


async def _keep_as_is(_connection: object) -> None:
    """Nothing to reset: what runs here sets nothing on a connection, so the round trip of a reset is saved."""


def open_read_pool(
    url: str, *, size: int, statement_timeout: int = STATEMENT_TIMEOUT, role: str | None = None
) -> "_Pool":
    """A pool of up to ``size`` connections to ``url``, read-only by default; enter it as a context manager.

    A statement that takes longer than ``statement_timeout`` seconds is stopped (``asyncpg.QueryCanceledError``). It
    works as ``role``, or as whom ``url`` names.
    """
    settings = {"application_name": "liuzhang-read", "default_transaction_read_only": "on"}
    return _open_pool(url, size, {**settings, "statement_timeout": f"{statement_timeout}s"}, role)


def open_write_pool(
    url: str, *, size: int, statement_timeout: int = STATEMENT_TIMEOUT, role: str | None = None
) -> "_Pool":
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
    return _open_pool(url, size, {**settings, "statement_timeout": f"{statement_timeout}s"}, role)


def _open_pool(url: str, size: int, settings: dict[str, str], role: str | None) -> "_Pool":
    return asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        reset=_keep_as_is,
        server_settings={**settings, "jit": "off", **({} if role is None else {"role": role})},
    )
