"""What the clock makes of cases that are assigned and not closed: due soon, overdue; said once for each due day.

Every pass looks at all that has come about and was not said yet, so that none is lost however long nobody led; one that
has fallen due meanwhile is said to be overdue alone. How many days ahead a kind reminds stands in
``app.domain.cases``.
"""

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text

from app.clock import day_of
from app.db import Database, Query
from app.domain.cases import KINDS, CaseReminder

__all__ = ["remind_of_cases"]

_DAY = "CAST(:day AS date)"
# By the index of due days of what is not closed.
_FOUND = {
    CaseReminder.DUE_SOON: f"c.due_on >= {_DAY} AND c.due_on <= {_DAY} + CAST(d.days AS int)",
    CaseReminder.OVERDUE: f"c.due_on < {_DAY}",
}


def _raising(kind: CaseReminder) -> Query:
    return Query(
        text(f"""
        WITH found AS MATERIALIZED (
            SELECT c.id, c.plan_id, c.battle_id, c.task_id, c.unit_id, c.kind, c.level, c.due_on
            FROM json_each_text(CAST(:days AS json)) AS d(kind, days)
            JOIN cases c ON c.kind = d.kind
            WHERE c.state <> 'closed' AND {_FOUND[kind]} AND NOT EXISTS (
                SELECT FROM raised_case_reminders r
                WHERE (r.case_id, r.kind, r.due_on) = (c.id, '{kind.value}', c.due_on))
            ORDER BY c.due_on, c.id LIMIT CAST(:most AS int)
        ), raised AS (
            INSERT INTO raised_case_reminders (case_id, kind, due_on)
            SELECT id, '{kind.value}', due_on FROM found
            ON CONFLICT DO NOTHING
            RETURNING case_id
        ), told AS (
            INSERT INTO outbox (at, type, plan, battle, unit, subject, data)
            SELECT CAST(:now AS timestamptz), 'case.{kind.value}', p.code, b.code, u.code, f.id,
                   json_build_object('task', t.code, 'kind', f.kind, 'level', f.level, 'due_at',
                       (f.due_on + 1)::timestamp AT TIME ZONE 'Asia/Shanghai' - interval '1 microsecond')
            FROM found f
            JOIN raised r ON r.case_id = f.id
            JOIN plans p ON p.id = f.plan_id
            JOIN units u ON u.id = f.unit_id
            LEFT JOIN battles b ON b.id = f.battle_id
            LEFT JOIN tasks t ON t.id = f.task_id
            ORDER BY f.due_on, f.id
        )
        SELECT count(*) FROM raised
    """)  # noqa: S608 - of constants
    )


_RAISE = {kind: _raising(kind) for kind in CaseReminder}
_DAYS = orjson.dumps({kind.value: rule.remind_days for kind, rule in KINDS.items()}).decode()
_BATCH = 5000


async def remind_of_cases(db: Database, now: datetime, *, batch: int = _BATCH) -> int:
    """Raise whatever has come about by ``now`` and was not said; returns how many events that are."""
    given: dict[str, Any] = {"day": day_of(now), "now": now, "days": _DAYS, "most": batch}
    total = 0
    for raising in _RAISE.values():
        raised = batch
        while raised == batch:
            raised = await db.fetch_value(raising, **given)
            total += raised
    return total
