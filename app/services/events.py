"""Events: written with what they tell of, given their place in the stream, and read by whoever may.

An event is written into the outbox in the transaction of its effect, by :func:`emit` or by a part of the statement that
has the effect. :func:`place` moves what is committed to the stream; only the process that leads does so, which is why
a position, once seen, never has an earlier one come after it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from app.db import Database, Query
from app.domain.events import OPENED, EventType, event_id
from app.domain.visibility import Visibility
from app.errors import Fault, InvalidCursorError
from app.rendering import Known, Rendered, render
from app.schemas.event import ChangesQuery, ChangesRead, EventData, EventRead
from app.services.caller import Caller
from app.services.reader import Reader, decoded
from app.services.units import unit_named
from app.services.visible_rows import seen_filter

__all__ = ["COLUMNS", "MATCHING", "NewEvent", "emit", "event_of", "head_of_stream", "list_changes", "matching", "place"]

_EMIT = Query(
    text("""
    INSERT INTO outbox (at, type, plan, battle, unit, subject, data)
    SELECT at, type, plan, battle, unit, subject, data FROM json_to_recordset(CAST(:events AS json)) AS e(
        at timestamptz, type text, plan text, battle text, unit text, subject uuid, data json)
""")
)
# In the order in which they were written: of two transactions, one of which waited for the other, the first is first.
_PLACE = Query(
    text("""
    WITH taken AS (
        DELETE FROM outbox WHERE id = ANY(ARRAY(SELECT id FROM outbox ORDER BY id LIMIT CAST(:most AS int)))
        RETURNING id, at, type, plan, battle, unit, subject, data
    ), placed AS (
        INSERT INTO events (position, at, type, plan, battle, unit, subject, data)
        SELECT (SELECT coalesce(max(position), 0) FROM events) + row_number() OVER (ORDER BY id),
               at, type, plan, battle, unit, subject, data
        FROM taken
        RETURNING 1
    )
    SELECT count(*) FROM placed
""")
)
_HEAD = Query(text("SELECT coalesce(max(position), 0) FROM events"))
COLUMNS = "e.position, e.at, e.type, e.plan, e.battle, e.unit, e.subject, CAST(e.data AS text) AS data"
"""What :func:`event_of` reads, of ``events e``."""

MATCHING = """
    (CAST(:everything AS bool) OR e.type = ANY(CAST(:opened AS text[])) OR e.plan = ANY(CAST(:seen_plans AS text[]))
     OR e.battle = ANY(CAST(:seen_battles AS text[])) OR e.unit = ANY(CAST(:seen_units AS text[]))
     OR e.unit || ' ' || e.plan = ANY(CAST(:seen_pairs AS text[])))
    AND (CAST(:types AS text[]) IS NULL OR e.type = ANY(CAST(:types AS text[])))
    AND (CAST(:plan AS text) IS NULL OR e.plan = CAST(:plan AS text))
    AND (CAST(:unit AS text) IS NULL OR e.unit = CAST(:unit AS text))
"""
"""The events that somebody may see and wants, of ``events e``; :func:`matching` gives its parameters."""

_STRETCH = Query(
    text(f"""
    SELECT {COLUMNS} FROM events e
    WHERE e.position > CAST(:after AS bigint) AND e.position <= CAST(:upto AS bigint) AND {MATCHING}
    ORDER BY e.position LIMIT CAST(:most AS int)
""")  # noqa: S608 - of constants
)
_LATEST = "latest"
# However little of the stream a caller may see, no request looks at more of it.
_LOOKED_THROUGH = 10_000
_BETWEEN_LOOKS = 1.0
_MARK = "c"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that happened; codes as in the API, ``data`` as :class:`~app.schemas.event.EventData` reads it."""

    type: EventType
    at: datetime
    plan: str
    battle: str | None
    unit: str
    subject: UUID | None
    data: dict[str, Any]


async def emit(db: Database, events: Sequence[NewEvent]) -> None:
    """Write events, to be told once the transaction around it is committed."""
    if events:
        await db.fetch(_EMIT, events=orjson.dumps([asdict(event) for event in events], default=_id_text).decode())


def _id_text(value: object) -> str:
    """An id that asyncpg read, which is of a type of its own."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(value)


async def place(leading: Database, *, most: int = 1000) -> int:
    """Give up to ``most`` events of the outbox their places in the stream; returns how many.

    Only on the connection of the process that leads: two at once would number anew what is numbered.
    """
    placed: int = await leading.fetch_value(_PLACE, most=most)
    return placed


async def head_of_stream(db: Database) -> int:
    """The position of the newest event; 0 for none."""
    head: int = await db.fetch_value(_HEAD)
    return head


def matching(
    granted: Visibility, types: Sequence[str] | None, plan: str | None, unit: str | None, *, public: bool
) -> dict[str, Any]:
    """The parameters of :data:`MATCHING`, for what somebody sees by their grants and, where ``public``, like all."""
    found = seen_filter(granted)
    nothing: dict[str, Any] = {f"seen_{name}": [] for name in ("plans", "battles", "units", "pairs")}
    return {
        "everything": not found,
        "opened": sorted(OPENED) if public else [],
        **(found["seen"] if found else nothing),
        "types": types,
        "plan": plan,
        "unit": unit,
    }


def event_of(row: Any) -> EventRead:
    """An event of the stream, read with :data:`COLUMNS`."""
    names = ("type", "at", "plan", "battle", "unit", "subject")
    data = EventData.model_validate(decoded(row["data"]))
    return EventRead.model_validate({"id": event_id(row["position"]), "data": data, **{n: row[n] for n in names}})


async def list_changes(reader: Reader, query: ChangesQuery, known: Known, *, caller: Caller) -> Rendered:
    """What has happened since a cursor, of what the caller may see; where nothing has, wait for it as asked.

    Raises:
        InvalidCursorError: the cursor is none of the stream.
        UnknownUnitError, AmbiguousError: the unit filter means none or several.
    """
    unit = None if query.unit is None else (await unit_named(reader, query.unit, scope=query.plan))["code"]
    types = None if query.types is None else query.types.split(",")
    wanted = matching(caller.granted_visibility, types, query.plan, unit, public=caller.public.progress)
    after = await _position(reader.pool, query.cursor)
    for remaining in range(query.wait, -1, -1):
        found = await _stretch(reader.pool, after, query.limit, wanted)
        if found.items or found.has_more or not remaining:
            return render(found, known)
        after = await _position(reader.pool, found.next_cursor)
        await asyncio.sleep(_BETWEEN_LOOKS)
    raise AssertionError("the last look answers")


async def _stretch(db: Database, after: int, limit: int, wanted: dict[str, Any]) -> ChangesRead:
    head = max(await head_of_stream(db), after)
    upto = min(head, after + _LOOKED_THROUGH)
    rows = await db.fetch(_STRETCH, after=after, upto=upto, most=limit, **wanted)
    reached: int = rows[-1]["position"] if len(rows) == limit else upto
    return ChangesRead(items=[event_of(row) for row in rows], next_cursor=f"{_MARK}{reached}", has_more=reached < head)


async def _position(db: Database, cursor: str | None) -> int:
    if cursor is None:
        return 0
    if cursor == _LATEST:
        return await head_of_stream(db)
    digits = cursor.removeprefix(_MARK)
    if digits == cursor or not digits.isdecimal() or not digits.isascii() or len(digits) > 18:
        fault = Fault("/query/cursor", "invalid_cursor", "不是 /changes 返回的 next_cursor,也不是 latest")
        raise InvalidCursorError("游标无效,请从头(省略 cursor)或从 latest 开始", faults=[fault])
    return int(digits)
