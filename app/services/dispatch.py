"""Tells webhooks of events: at least once, and of each unit in the order of the stream.

A webhook is given deliveries for what it may see and wants, as far as the stream goes; of each unit only the first that
waits is sent. One that fails waits, longer each time, and what comes after it for its unit waits with it. Where several
fail in a row the receiver is taken to be down: only the first delivery of all is tried, until it succeeds. One that has
failed for more than three days is a dead letter, and pauses its webhook; nothing is skipped unless its owner says so.

Only the process that leads dispatches. What has been sent and not yet been noted when it dies is sent again.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import text

from app.clock import Clock
from app.db import Database, Query
from app.domain.events import OPENED, DeliveryState, PauseReason, event_id, try_again_after
from app.domain.permissions import Subject
from app.domain.roles import Actor
from app.domain.visibility import Visibility, visible
from app.security.outbound import Outcome
from app.services.events import COLUMNS, MATCHING, event_of, head_of_stream, matching
from app.services.identity import GRANTS_HELD, grants_held
from app.services.webhooks import Sender

__all__ = ["Dispatcher"]

_log = logging.getLogger("liuzhang.dispatch")
# Not the generator of the module, which whoever else is in this process may count on.
_CHANCE = random.SystemRandom()

_WAITING = Query(
    text("""
    SELECT w.id FROM webhooks w
    WHERE w.state = 'active' AND (w.retry_at IS NULL OR w.retry_at <= CAST(:now AS timestamptz))
      AND (w.position < (SELECT coalesce(max(position), 0) FROM events)
           OR EXISTS (SELECT FROM webhook_deliveries d
                      WHERE d.webhook_id = w.id AND d.state = 'pending'
                        AND d.next_try_at <= CAST(:now AS timestamptz)))
""")
)
_WEBHOOK = Query(
    text(f"""
    SELECT w.id, w.url, w.types, w.plan, w.unit, w.secret_version, w.overlap_until, w.position, w.failures, w.retry_at,
           a.code, a.name, a.disabled_at, {GRANTS_HELD} AS grants
    FROM webhooks w JOIN accounts a ON a.id = w.account_id WHERE w.id = :id AND w.state = 'active'
""")  # noqa: S608 - of constants
)
_GIVE = Query(
    text(f"""
    WITH given AS (
        INSERT INTO webhook_deliveries (webhook_id, position, unit, state, tries, attempts, next_try_at)
        SELECT CAST(:id AS uuid), e.position, e.unit, 'pending', 0, '[]', CAST(:now AS timestamptz) FROM events e
        WHERE e.position > CAST(:after AS bigint) AND e.position <= CAST(:upto AS bigint) AND {MATCHING}
        ON CONFLICT DO NOTHING
    )
    UPDATE webhooks SET position = CAST(:upto AS bigint)
    WHERE id = CAST(:id AS uuid) AND position = CAST(:after AS bigint)
""")  # noqa: S608 - of constants
)
_PENDING = Query(text("SELECT count(*) FROM webhook_deliveries WHERE webhook_id = :id AND state = 'pending'"))
_FIRST_OF_EACH_UNIT = Query(
    text(f"""
    SELECT {COLUMNS}, d.tries, d.next_try_at FROM (
        SELECT DISTINCT ON (unit) position, tries, next_try_at FROM webhook_deliveries
        WHERE webhook_id = :id AND state = 'pending' ORDER BY unit, position
    ) d JOIN events e ON e.position = d.position
    ORDER BY e.position
""")  # noqa: S608 - of constants
)
_SETTLE = Query(
    text("""
    WITH tried AS (
        UPDATE webhook_deliveries
        SET state = CAST(:state AS text), tries = tries + 1, next_try_at = CAST(:next AS timestamptz),
            settled_at = CASE WHEN CAST(:next AS timestamptz) IS NULL THEN CAST(:now AS timestamptz) END,
            attempts = CASE WHEN jsonb_array_length(attempts) < 50 THEN attempts ELSE attempts - 0 END
                       || CAST(:attempt AS jsonb)
        WHERE webhook_id = CAST(:id AS uuid) AND position = :position AND state = 'pending'
    )
    UPDATE webhooks
    SET failures = CASE WHEN CAST(:failed AS bool) THEN failures + 1 ELSE 0 END,
        retry_at = CASE WHEN CAST(:failed AS bool) AND failures + 1 >= CAST(:several AS int)
                        THEN CAST(:next AS timestamptz) END,
        state = CASE WHEN CAST(:pause AS text) IS NULL THEN state ELSE 'paused' END,
        pause_reason = coalesce(CAST(:pause AS text), pause_reason)
    WHERE id = CAST(:id AS uuid) AND (failures > 0 OR CAST(:failed AS bool))
""")
)
_WITHHOLD = Query(
    text("""
    UPDATE webhook_deliveries SET state = 'withheld', next_try_at = NULL, settled_at = CAST(:now AS timestamptz)
    WHERE webhook_id = :id AND position = :position AND state = 'pending'
""")
)
_PAUSE = Query(text("UPDATE webhooks SET state = 'paused', pause_reason = :reason WHERE id = :id AND state = 'active'"))
_FORGET = Query(
    text("""
    DELETE FROM webhook_deliveries WHERE (webhook_id, position) IN (
        SELECT webhook_id, position FROM webhook_deliveries
        WHERE settled_at < CAST(:before AS timestamptz) AND state <> 'dead' LIMIT 1000)
""")
)
# The stream is kept; so that a receiver that is down for days fills no table, it is given no more than this at once.
_MOST_PENDING = 1000
_MOST_AT_ONCE = 8
_SEVERAL = 3
"""So many failures in a row, and the receiver is taken to be down."""

_GONE = 410
_KEPT = timedelta(days=30)


class Dispatcher:
    """Sends what is due, each webhook in a task of its own, so that a slow receiver holds up nobody else."""

    def __init__(self, db: Database, sender: Sender, clock: Clock, *, public: bool = False) -> None:
        """Work on ``db``, a pool; ``public`` says that the deployment opens progress to everyone."""
        self._db = db
        self._sender = sender
        self._clock = clock
        self._public = public
        self._serving: dict[UUID, asyncio.Task[None]] = {}
        self._stopping = False

    async def turn(self) -> None:
        """Begin with every webhook that has something due and is not being served."""
        for row in await self._db.fetch(_WAITING, now=self._clock()):
            identity: UUID = row["id"]
            if identity not in self._serving and not self._stopping:
                task = asyncio.create_task(self._serve_or_tell(identity))
                self._serving[identity] = task
                task.add_done_callback(lambda _, served=identity: self._serving.pop(served, None))

    async def forget(self) -> None:
        """Drop what arrived long ago from the log, some at a time; dead letters stay."""
        await self._db.fetch(_FORGET, before=self._clock() - _KEPT)

    async def settle(self) -> None:
        """Wait until all that was begun is done."""
        while self._serving:
            await asyncio.gather(*self._serving.values())

    async def stop(self, *, within: float) -> None:
        """Begin nothing more, and give what is on its way ``within`` seconds to arrive."""
        self._stopping = True
        if self._serving:
            _, late = await asyncio.wait(self._serving.values(), timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._stopping = False

    async def _serve_or_tell(self, identity: UUID) -> None:
        try:
            await self._serve(identity)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            _log.warning("webhook %s is served later: %s", identity, error)

    async def _serve(self, identity: UUID) -> None:
        """Send to one webhook until nothing of it is due."""
        while not self._stopping:
            now = self._clock()
            webhook = await self._db.fetch_row(_WEBHOOK, id=identity)
            if webhook is None or (webhook["retry_at"] is not None and webhook["retry_at"] > now):
                return
            if webhook["disabled_at"] is not None:
                await self._db.fetch(_PAUSE, id=identity, reason=PauseReason.ACCOUNT_DISABLED.value)
                return
            actor = Actor.of_account(webhook["code"], webhook["name"], grants_held(webhook["grants"]))
            seen = visible(actor)
            given = await self._give(webhook, seen, now)
            due = await self._due(webhook, now)
            if not due and not given:
                return
            await asyncio.gather(*(self._deliver(webhook, row, seen) for row in due))

    async def _give(self, webhook: Any, seen: Visibility, now: datetime) -> bool:
        """Give a webhook its deliveries for the next stretch of the stream; whether there was any."""
        after: int = webhook["position"]
        upto = min(await head_of_stream(self._db), after + _MOST_PENDING)
        if upto <= after or await self._db.fetch_value(_PENDING, id=webhook["id"]) >= _MOST_PENDING:
            return False
        wanted = matching(seen, webhook["types"], webhook["plan"], webhook["unit"], public=self._public)
        await self._db.fetch(_GIVE, id=webhook["id"], after=after, upto=upto, now=now, **wanted)
        return True

    async def _due(self, webhook: Any, now: datetime) -> Sequence[Any]:
        """What may be sent now: of each unit the first; where the receiver seems to be down, the first of all."""
        first = await self._db.fetch(_FIRST_OF_EACH_UNIT, id=webhook["id"])
        if webhook["failures"] >= _SEVERAL:
            return first[:1]
        return [row for row in first if row["next_try_at"] <= now][:_MOST_AT_ONCE]

    async def _deliver(self, webhook: Any, row: Any, seen: Visibility) -> None:
        here = {"id": webhook["id"], "position": row["position"]}
        opened = self._public and row["type"] in OPENED
        if not opened and not seen.admits(Subject(row["plan"], row["battle"], row["unit"])):
            await self._db.fetch(_WITHHOLD, **here, now=self._clock())
            return
        event = event_of(row)
        body = event.__pydantic_serializer__.to_json(event)
        sent_at = self._clock()
        outcome = await self._sender.send(webhook, event_id(row["position"]), body, sent_at)
        await self._note(here, outcome, row["tries"] + 1, sent_at)

    async def _note(self, here: dict[str, Any], outcome: Outcome, tries: int, sent_at: datetime) -> None:
        """Keep what came of a try, and what follows from it."""
        now = self._clock()
        state, again, pause = DeliveryState.DELIVERED, None, None
        if not outcome.succeeded:
            wait = try_again_after(tries, spread=_CHANCE.random())
            if outcome.status == _GONE:
                state, again, pause = DeliveryState.PENDING, now, PauseReason.GONE
            elif wait is None:
                state, pause = DeliveryState.DEAD, PauseReason.EXHAUSTED
            else:
                state, again = DeliveryState.PENDING, now + max(wait, timedelta(seconds=outcome.retry_after))
        attempt = {"at": sent_at, "status": outcome.status, "error": outcome.error, "latency_ms": outcome.latency_ms}
        await self._db.fetch(
            _SETTLE,
            **here,
            now=now,
            state=state.value,
            next=again,
            attempt=orjson.dumps(attempt).decode(),
            failed=not outcome.succeeded,
            pause=None if pause is None else pause.value,
            several=_SEVERAL,
        )
