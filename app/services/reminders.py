"""What the clock makes of obligations: due soon, overdue, missed, told once for each due instant.

A pass goes from the instant that the last one reached to now, a day at a time, in bounded batches: after downtime it
catches up in order. What is raised is kept by obligation, kind and instant in the database, so that a pass that was cut
short, or two at once, say nothing twice; an extension makes a new instant, and so a new reminder. What lay in the past
when the service first ran raises nothing.

The conditions are those of :func:`app.domain.deadlines.judge`.
"""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from app.db import Database, Query
from app.domain.events import Reminder

__all__ = ["remind", "remind_of_extended"]

_OBLIGATION = "o.unit_id, o.id, o.plan_id, o.battle_id, o.rule_id, o.task_id, o.period, o.effective_due_at, o.lock_at"
_OPEN = """
    o.filed_at IS NULL AND o.waived_at IS NULL AND NOT EXISTS (
        SELECT FROM raised_reminders r
        WHERE (r.unit_id, r.obligation_id, r.kind) = (o.unit_id, o.id, CAST(:kind AS text)) AND r.instant = {instant})
"""
_FROM, _TO, _NOW = (f"CAST(:{name} AS timestamptz)" for name in ("from", "to", "now"))
_DUE = "o.effective_due_at"


def _found(instant: str, where: str, joined: str = "obligations o") -> str:
    return f"""
        SELECT {_OBLIGATION}, o.submitted_at, {instant} AS instant FROM {joined}
        WHERE {where} AND {_OPEN.format(instant=instant)}
    """  # noqa: S608 - of constants


def _within(column: str, span: str = "interval '0'") -> str:
    return f"{column} >= {_FROM} + {span} AND {column} < {_TO} + {span}"


_DAYS = "CAST(v.schedule ->> 'remind_days' AS int)"
_VERSION = "JOIN rule_versions v ON v.rule_id = o.rule_id AND v.version = o.rule_version"
_SPAN = "make_interval(hours => 24 * {days})"
# Rules differ in how many days ahead they remind; each number of days has a stretch of the index of its own.
_DUE_SOON = _found(
    _DUE,
    f"{_within(_DUE, _SPAN.format(days='d.days'))} AND {_DUE} >= {_NOW} AND {_DAYS} = d.days",
    f"(SELECT DISTINCT {_DAYS} AS days FROM rule_versions v) d CROSS JOIN obligations o {_VERSION}",  # noqa: S608 - of constants
)
_OVERDUE = _found(_DUE, _within(_DUE))
# An extension beyond the lock has moved the lock along.
_MISSED = f"""
    {_found("o.lock_at", f"{_within('o.lock_at')} AND {_DUE} <= o.lock_at")}
    UNION ALL {_found(_DUE, f"{_within(_DUE)} AND {_DUE} > o.lock_at")}
"""
_EXTENDED = _found(
    _DUE,
    f"""
        o.unit_id = CAST(:unit AS bigint) AND o.rule_id = CAST(:rule AS bigint) AND o.period = CAST(:period AS text)
        AND (CAST(:task AS bigint) IS NULL OR o.task_id = CAST(:task AS bigint))
        AND {_DUE} >= {_NOW} AND {_DUE} < {_NOW} + {_SPAN.format(days=_DAYS)}
    """,
    f"obligations o {_VERSION}",
)


def _raising(found: str) -> Query:
    return Query(
        text(f"""
        WITH found AS MATERIALIZED (
            {found} ORDER BY instant LIMIT CAST(:most AS int)
        ), raised AS (
            INSERT INTO raised_reminders (unit_id, obligation_id, kind, instant)
            SELECT unit_id, id, CAST(:kind AS text), instant FROM found
            ON CONFLICT DO NOTHING
            RETURNING unit_id, obligation_id
        ), told AS (
            INSERT INTO outbox (at, type, plan, battle, unit, data)
            SELECT {_NOW}, 'obligation.' || CAST(:kind AS text), p.code, b.code, u.code,
                   json_build_object('rule', l.code, 'task', t.code, 'period', f.period, 'due_at', f.effective_due_at,
                                     'lock_at', greatest(f.lock_at, f.effective_due_at),
                                     'submitted_at', f.submitted_at)
            FROM found f
            JOIN raised r ON r.unit_id = f.unit_id AND r.obligation_id = f.id
            JOIN plans p ON p.id = f.plan_id
            JOIN units u ON u.id = f.unit_id
            JOIN rules l ON l.id = f.rule_id
            LEFT JOIN battles b ON b.id = f.battle_id
            LEFT JOIN tasks t ON t.id = f.task_id
            ORDER BY f.instant, u.code, l.code, t.code
        )
        SELECT count(*) FROM raised
    """)  # noqa: S608 - of constants
    )


# In the order in which they come about.
_RAISE = {
    Reminder.DUE_SOON: _raising(_DUE_SOON),
    Reminder.OVERDUE: _raising(_OVERDUE),
    Reminder.MISSED: _raising(_MISSED),
}
_RAISE_EXTENDED = _raising(_EXTENDED)
_REACHED = Query(text("SELECT reached FROM reminder_progress"))
_REACH = Query(
    text("""
    INSERT INTO reminder_progress (id, reached) VALUES (1, CAST(:reached AS timestamptz))
    ON CONFLICT (id) DO UPDATE SET reached = excluded.reached
""")
)
_SLICE = timedelta(days=1)
_BATCH = 5000
# Longer than any rule reminds ahead.
_LONGEST_AHEAD = timedelta(days=400)


async def remind(db: Database, now: datetime, *, batch: int = _BATCH) -> AsyncGenerator[int]:
    """Raise whatever has come about by ``now``, batch by batch; yields how many events each is."""
    reached: datetime | None = await db.fetch_value(_REACHED)
    if reached is None:
        async for raised in _raise(db, Reminder.DUE_SOON, now - _LONGEST_AHEAD, now, now=now, batch=batch):
            yield raised
        await db.fetch(_REACH, reached=now)
        return
    while reached < now:
        until = min(reached + _SLICE, now)
        for kind in _RAISE:
            async for raised in _raise(db, kind, reached, until, now=now, batch=batch):
                yield raised
        await db.fetch(_REACH, reached=until)
        reached = until


async def remind_of_extended(db: Database, now: datetime, **scope: Any) -> int:
    """Raise at once what is due soon by an extension that was just granted; ``scope`` is what it extends.

    The instant at which that became so may have passed, and no pass looks back.
    """
    raised: int = await db.fetch_value(_RAISE_EXTENDED, kind=Reminder.DUE_SOON.value, now=now, most=_BATCH, **scope)
    return raised


async def _raise(
    db: Database, kind: Reminder, start: datetime, end: datetime, *, now: datetime, batch: int
) -> AsyncGenerator[int]:
    raised = batch
    while raised == batch:
        raised = await db.fetch_value(_RAISE[kind], kind=kind.value, now=now, most=batch, **{"from": start, "to": end})
        yield raised
