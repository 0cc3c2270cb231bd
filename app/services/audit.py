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
from app.services.columns import Columns, Kinds, columns_of, parameters, shortened

__all__ = ["APPEND", "APPENDING", "Act", "Entry", "entry_of", "given", "given_once", "record", "record_all"]

_WHOLE = "audit_subject"
_KINDS: Kinds = {
    "audit_chain": "text",
    "audit_at": "timestamptz",
    **dict.fromkeys(("audit_actor", "audit_actor_name", "audit_address", "audit_request_id", "audit_action"), "text"),
    **dict.fromkeys((_WHOLE, "audit_plan", "audit_unit", "audit_before", "audit_after"), "text"),
}

APPEND = f"append_audit({parameters(_KINDS, whole=_WHOLE)}, {{kept}})"
"""For a statement that stands alone: appends the acts of :func:`given_once` whose subjects are in the array ``kept``.

It must be the last of the statement to take a lock.
"""

APPENDING = text(f"SELECT {APPEND.format(kept='NULL')}")
"""Appends all acts of :func:`given`: the last statement of a transaction."""

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


Entry: TypeAlias = tuple[Any, ...]
"""An act as it is put down: a value for each of the parameters of :data:`APPEND`."""


def entry_of(caller: Caller, act: Act, *, now: datetime) -> Entry:
    """What is put down of an act."""
    return (
        chain_of(act.plan, act.unit),
        now,
        caller.actor.id,
        caller.actor.name,
        caller.origin.shown,
        caller.request_id,
        act.action,
        act.subject,
        act.plan,
        act.unit,
        _json(act.before),
        _json(act.after),
    )


async def record(db: Database, caller: Caller, acts: Sequence[Act], *, now: datetime) -> None:
    """Put down what a caller did: with the transaction that it was done in, or at once where ``db`` is a pool."""
    await record_all(db, [entry_of(caller, act, now=now) for act in acts])


async def record_all(db: Database, entries: Sequence[Entry]) -> None:
    """As :func:`record`, for what several did."""
    if entries:
        await db.at_end(_APPEND, given(entries))


def given(entries: Sequence[Entry]) -> Columns:
    """The parameters of :data:`APPEND`."""
    return columns_of(_KINDS, entries)


def given_once(entries: Sequence[Entry]) -> Columns:
    """The same, with what is the same for all acts given once."""
    return shortened(given(entries), whole=_WHOLE)


def _json(said: Mapping[str, Any] | None) -> str | None:
    return None if said is None else orjson.dumps(said).decode()
