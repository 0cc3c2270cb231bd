"""What exactly one process of all does: place events in the stream, raise what comes due, tell webhooks, tidy up.

Whoever holds an advisory lock leads. The lock lives as long as its session: a process that dies, even by ``kill -9``,
gives it up with its connection, and another takes over where it stopped, for all there is to know is in the database.
What must never run twice at once runs on that very connection.
"""

import asyncio
import logging
from contextlib import suppress

import asyncpg
from sqlalchemy import text

from app.clock import Clock
from app.db import Database, Query
from app.services.case_reminders import remind_of_cases
from app.services.dispatch import Dispatcher
from app.services.events import place
from app.services.idempotency import forget_expired
from app.services.reminders import remind

__all__ = ["LOCK", "Leader"]

_log = logging.getLogger("liuzhang.leader")

LOCK = 4312282025
"""The advisory lock of the process that leads."""

_TAKE = Query(text("SELECT pg_try_advisory_lock(CAST(:lock AS bigint))"))
_GIVE_UP = Query(text("SELECT pg_advisory_unlock(CAST(:lock AS bigint))"))
_AT_ONCE = 1000
# Seconds.
_BETWEEN_TRIES = 2.0
_BETWEEN_TURNS = 0.2
_BETWEEN_TENDINGS = 2.0
_TO_ARRIVE = 5.0


class Leader:
    """Leads, or waits for its turn, until it is cancelled."""

    def __init__(self, db: Database, dispatcher: Dispatcher, clock: Clock) -> None:
        """Lead on a connection of ``db``, a pool that nobody else needs a connection of."""
        self._db = db
        self._dispatcher = dispatcher
        self._clock = clock

    async def run(self) -> None:
        """Lead whenever nobody else does."""
        while True:
            try:
                async with self._db.held() as session:
                    if await session.fetch_value(_TAKE, lock=LOCK):
                        await self._lead(session)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                _log.warning("leading ended: %s", error)
            except Exception:  # noqa: BLE001 - it is logged whole
                # A mistake of ours must not silence the stream for good.
                _log.exception("leading failed")
            await asyncio.sleep(_BETWEEN_TRIES)

    async def _lead(self, session: Database) -> None:
        loop = asyncio.get_running_loop()
        tended = loop.time() - _BETWEEN_TENDINGS
        try:
            while True:
                placed = await place(session, most=_AT_ONCE)
                if loop.time() - tended >= _BETWEEN_TENDINGS:
                    tended = loop.time()
                    await remind(session, self._clock())
                    await remind_of_cases(session, self._clock())
                    await self._dispatcher.forget()
                    await forget_expired(session, now=self._clock())
                await self._dispatcher.turn()
                if placed < _AT_ONCE:
                    await asyncio.sleep(_BETWEEN_TURNS)
        finally:
            await self._dispatcher.stop(within=_TO_ARRIVE)
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await session.fetch(_GIVE_UP, lock=LOCK)
