"""What is kept of every act: recorded with the act itself, in its transaction, as the last thing that it does.

Whoever appends to a chain holds it until the commit, so nothing else may be waited for after that: the acts of a
transaction are put down together at its end, and a statement that stands alone appends what it did itself (see
:data:`APPEND`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import orjson
from sqlalchemy import text

from app.db import Database, Query
from app.domain.audit import AuditAction, chain_of
from app.services.caller import Caller

__all__ = ["APPEND", "APPENDING", "Act", "Done", "columns_of", "record", "record_all", "shortened"]

Columns: TypeAlias = dict[str, list[Any]]

_COLUMNS = (
    *("audit_chain", "audit_at", "audit_actor", "audit_actor_name", "audit_address", "audit_request_id"),
    *("audit_action", "audit_subject", "audit_plan", "audit_unit", "audit_before", "audit_after"),
)


def _parameter(name: str) -> str:
    """A column as it is given: a single value for all acts, or one each."""
    column = f"CAST(:{name} AS {'timestamptz' if name == 'audit_at' else 'text'}[])"
    alike = f"array_fill(({column})[1], ARRAY[cardinality(CAST(:audit_subject AS text[]))])"
    return f"CASE cardinality({column}) WHEN 1 THEN {alike} ELSE {column} END"


APPEND = f"append_audit({', '.join(map(_parameter, _COLUMNS))}, {{kept}})"
"""For a statement that stands alone: appends the acts of :func:`columns_of` whose subjects are in the array ``kept``.

It must be the last of the statement to take a lock.
"""

APPENDING = text(f"SELECT {APPEND.format(kept='NULL')}")
"""Appends all acts of :func:`columns_of`: the last statement of a transaction."""

_APPEND = Query(APPENDING)


class Act(NamedTuple):
    """What somebody did, to what: a public id or code, of which plan and unit, and what that changed.

    ``before`` and ``after`` are what JSON can say; they hold no secret.
    """

    action: AuditAction
    subject: str
    plan: str | None = None
    unit: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


class Done(NamedTuple):
    """An act, by whom, and when."""

    caller: Caller
    at: datetime
    act: Act


async def record(db: Database, caller: Caller, acts: Sequence[Act], *, now: datetime) -> None:
    """Put down what a caller did: with the transaction that it was done in, or at once where ``db`` is a pool."""
    await record_all(db, [Done(caller, now, act) for act in acts])


async def record_all(db: Database, done: Sequence[Done]) -> None:
    """As :func:`record`, for what several did."""
    if done:
        await db.at_end(_APPEND, columns_of(done))


def columns_of(done: Sequence[Done]) -> Columns:
    """The parameters of :data:`APPEND`."""
    acts = [one.act for one in done]
    return {
        "audit_chain": [chain_of(act.plan, act.unit) for act in acts],
        "audit_at": [one.at for one in done],
        "audit_actor": [one.caller.actor.id for one in done],
        "audit_actor_name": [one.caller.actor.name for one in done],
        "audit_address": [one.caller.origin.shown for one in done],
        "audit_request_id": [one.caller.request_id for one in done],
        "audit_action": [act.action for act in acts],
        "audit_subject": [act.subject for act in acts],
        "audit_plan": [act.plan for act in acts],
        "audit_unit": [act.unit for act in acts],
        "audit_before": [_json(act.before) for act in acts],
        "audit_after": [_json(act.after) for act in acts],
    }


def shortened(columns: Columns) -> Columns:
    """The same parameters with each column that is the same for all acts given once, as most are in a batch."""
    return {
        name: values[:1] if name != "audit_subject" and values.count(values[0]) == len(values) else values
        for name, values in columns.items()
    }


def _json(said: Mapping[str, Any] | None) -> str | None:
    return None if said is None else orjson.dumps(said).decode()
