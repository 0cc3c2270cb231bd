"""Figures of the business for the metrics: what is owed, what waits, what is to be told, how the database is used.

They are looked up in the database when they are asked for, so that they are right however many processes serve, and
kept for a moment, so that asking often costs nothing. A database that does not answer is a figure too.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg
from sqlalchemy import text

from app.db import Query
from app.metrics import Figure
from app.services.reader import Reader

__all__ = ["Figures"]

LIFETIME: Final = timedelta(seconds=15)
PATIENCE: Final = 3.0
"""Seconds that a scrape waits for the database."""

_STATUSES = ("upcoming", "due_soon", "overdue", "missed", "on_time", "late", "waived")
# From the counts of compliance, whose rows are few; the newest version of a rule says when its time is nearly up.
_OBLIGATIONS = Query(
    text("""
    SELECT r.code,
           sum(c.still) FILTER (WHERE c.remaining >= v.remind) AS upcoming,
           sum(c.still) FILTER (WHERE c.remaining >= interval '0' AND c.remaining < v.remind) AS due_soon,
           sum(c.still) FILTER (WHERE c.remaining < interval '0' AND NOT c.locked) AS overdue,
           sum(c.still) FILTER (WHERE c.remaining < interval '0' AND c.locked) AS missed,
           sum(c.on_time) AS on_time, sum(c.late) AS late, sum(c.waived) AS waived
    FROM (SELECT rule_id, on_time, late, waived, expected - waived - on_time - late AS still,
                 due_at - CAST(:now AS timestamptz) AS remaining,
                 greatest(lock_at, due_at) < CAST(:now AS timestamptz) AS locked
          FROM compliance_counts) c
    JOIN rules r ON r.id = c.rule_id
    JOIN (SELECT DISTINCT ON (rule_id) rule_id, make_interval(days => CAST(schedule ->> 'remind_days' AS int)) AS remind
          FROM rule_versions ORDER BY rule_id, version DESC) v ON v.rule_id = c.rule_id
    GROUP BY r.code ORDER BY r.code
""")
)
# Handed in and neither filed nor waived: an index holds just these.
_WAITING = Query(
    text("""
    SELECT count(*) AS reports, coalesce(extract(epoch FROM CAST(:now AS timestamptz) - min(submitted_at)), 0) AS oldest
    FROM obligations WHERE submitted_at IS NOT NULL AND filed_at IS NULL AND waived_at IS NULL
""")
)
# Of each webhook an index holds those that wait, which are bounded, and those that were given up, which pause it.
_TELLING = Query(
    text("""
    SELECT CAST(:now AS timestamptz) AS now, (SELECT reached FROM reminder_progress) AS reached,
           (SELECT count(*) FROM outbox) AS outbox, (SELECT min(at) FROM outbox) AS oldest,
           count(*) FILTER (WHERE d.state = 'pending') AS pending, count(*) FILTER (WHERE d.state = 'dead') AS dead
    FROM webhooks w JOIN webhook_deliveries d ON d.webhook_id = w.id AND d.state IN ('pending', 'dead')
""")
)
_CONNECTIONS = Query(
    text("""
    SELECT application_name, coalesce(state, 'unknown') AS state, count(*) AS connections FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'liuzhang-%' GROUP BY 1, 2 ORDER BY 1, 2
""")
)


class _Source(NamedTuple):
    """A statement, the parameters that it takes of an instant, and the figures that its rows are."""

    query: Query
    parameters: Callable[[datetime], dict[str, Any]]
    figures: Callable[[list[asyncpg.Record]], list[Figure]]


def _obligations(rows: list[asyncpg.Record]) -> list[Figure]:
    values = {(row["code"], status): float(row[status] or 0) for row in rows for status in _STATUSES}
    return [Figure("liuzhang_obligations", "Reports expected, as they stand now", ("rule", "status"), values)]


def _waiting(rows: list[asyncpg.Record]) -> list[Figure]:
    (row,) = rows
    return [
        Figure("liuzhang_waiting", "Reports waiting for certification", (), {(): float(row["reports"])}),
        Figure("liuzhang_waiting_oldest_seconds", "How long the oldest waits", (), {(): float(row["oldest"])}),
    ]


def _telling(rows: list[asyncpg.Record]) -> list[Figure]:
    (row,) = rows
    states = {(state,): float(row[state]) for state in ("pending", "dead")}
    oldest, behind = (_seconds(row[since], row["now"]) for since in ("oldest", "reached"))
    return [
        Figure("liuzhang_outbox", "Events not yet in the stream", (), {(): float(row["outbox"])}),
        Figure("liuzhang_outbox_oldest_seconds", "How long the oldest of them waits", (), {(): oldest}),
        Figure("liuzhang_reminders_behind_seconds", "Since the last look for what has come due", (), {(): behind}),
        Figure("liuzhang_webhook_deliveries", "Events that webhooks wait for, or were given up", ("state",), states),
    ]


def _seconds(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max((now - since).total_seconds(), 0.0)


def _connections(rows: list[asyncpg.Record]) -> list[Figure]:
    values = {(row["application_name"], row["state"]): float(row["connections"]) for row in rows}
    told = "Connections of all service processes to the database read from"
    return [Figure("liuzhang_database_connections", told, ("application", "state"), values)]


def _at(now: datetime) -> dict[str, Any]:
    return {"now": now}


def _any(_: datetime) -> dict[str, Any]:
    return {}


_SOURCES = (
    _Source(_OBLIGATIONS, _at, _obligations),
    _Source(_WAITING, _at, _waiting),
    _Source(_TELLING, _at, _telling),
    _Source(_CONNECTIONS, _any, _connections),
)


class Figures:
    """Looks the figures up, for one process and one event loop."""

    def __init__(self, reader: Reader) -> None:
        """Read with ``reader``."""
        self._reader = reader
        self._found_at: datetime | None = None
        self._found: list[Figure] = []
        self._looking = asyncio.Lock()

    async def look_up(self, *, now: datetime) -> list[Figure]:
        """The figures of ``now``, or of a moment ago; without an answer of the database only that there is none."""
        async with self._looking:
            if self._found_at is None or not timedelta() <= now - self._found_at < LIFETIME:
                try:
                    async with asyncio.timeout(PATIENCE):
                        self._found = await self._ask(now)
                except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                    return [_up(0)]
                self._found_at = now
            return [_up(1), *self._found]

    async def _ask(self, now: datetime) -> list[Figure]:
        found: list[Figure] = []
        for source in _SOURCES:
            found += source.figures(await self._reader.pool.fetch(source.query, **source.parameters(now)))
        return found


def _up(value: int) -> Figure:
    return Figure("liuzhang_database_up", "Whether the database answers", (), {(): value})
