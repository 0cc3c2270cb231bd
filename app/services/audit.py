"""What is kept of every act: recorded with the act itself, in its transaction, as the last thing that it does.

Whoever appends to a chain holds it until the commit, so nothing else may be waited for after that: the acts of a
transaction are put down together at its end, and a statement that stands alone appends what it did itself (see
:data:`APPEND`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import orjson
from sqlalchemy import text

from app.db import Database, Query
from app.domain.audit import AuditAction, chain_of
from app.services.caller import Caller

__all__ = ["APPEND", "APPENDING", "AUDIT_COLUMNS", "Act", "Columns", "columns_of", "record"]

Columns: TypeAlias = dict[str, list[Any]]

AUDIT_COLUMNS = (
    *("audit_chain", "audit_at", "audit_actor", "audit_actor_name", "audit_address", "audit_request_id"),
    *("audit_action", "audit_subject", "audit_plan", "audit_unit", "audit_before", "audit_after"),
)
_GIVEN = ", ".join(f"CAST(:{name} AS {'timestamptz' if name == 'audit_at' else 'text'}[])" for name in AUDIT_COLUMNS)
APPEND = f"append_audit({_GIVEN}, {{kept}})"
"""For a statement that stands alone: appends the acts of :func:`columns_of` whose subjects are in the array ``kept``.

It must be the last of the statement to take a lock.
"""

APPENDING = text(f"SELECT {APPEND.format(kept='NULL')}")
"""Appends all acts of :func:`columns_of`: the last statement of a transaction."""

_APPEND = Query(APPENDING)


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did, to what: a public id or code, of which plan and unit, and what that changed.

    ``before`` and ``after`` are what JSON can say; they hold no secret.
    """

    action: AuditAction
    subject: str
    plan: str | None = None
    unit: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


async def record(db: Database, caller: Caller, acts: Sequence[Act], *, now: datetime) -> None:
    """Put down what a caller did: with the transaction that it was done in, or at once where ``db`` is a pool."""
    if acts:
        await db.at_end(_APPEND, columns_of(caller, acts, now))


def columns_of(caller: Caller, acts: Sequence[Act], now: datetime) -> Columns:
    """The parameters of :data:`APPEND` for what one caller did at one instant; those of several are strung together."""
    address = caller.origin.address
    many = len(acts)
    return {
        "audit_chain": [chain_of(act.plan, act.unit) for act in acts],
        "audit_at": [now] * many,
        "audit_actor": [caller.actor.id] * many,
        "audit_actor_name": [caller.actor.name] * many,
        "audit_address": [None if address is None else str(address)] * many,
        "audit_request_id": [caller.request_id] * many,
        "audit_action": [act.action.value for act in acts],
        "audit_subject": [act.subject for act in acts],
        "audit_plan": [act.plan for act in acts],
        "audit_unit": [act.unit for act in acts],
        "audit_before": [_json(act.before) for act in acts],
        "audit_after": [_json(act.after) for act in acts],
    }


def _json(said: Mapping[str, Any] | None) -> str | None:
    return None if said is None else orjson.dumps(said).decode()
