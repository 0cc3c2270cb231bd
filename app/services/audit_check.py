"""The whole audit trail checked, as one snapshot and in memory that does not grow with it."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy import Text, cast, select

from app.db import Query
from app.domain.audit import HASHED, Break, ChainCheck, Head
from app.models import AuditEntry, AuditHead

__all__ = ["HEADS", "ROWS", "Noted", "TrailCheck", "check_rows", "check_trail"]

_JSON = {"before", "after"}
ROWS = Query(
    select(
        *(getattr(AuditEntry, name) for name in HASHED if name not in _JSON),
        *(cast(getattr(AuditEntry, name), Text).label(name) for name in HASHED if name in _JSON),
        AuditEntry.position,
        AuditEntry.previous_hash,
        AuditEntry.hash,
    ).order_by(AuditEntry.chain, AuditEntry.position)
)
"""All of the trail, as :func:`check_rows` takes it."""

HEADS = Query(select(AuditHead.chain, AuditHead.position, AuditHead.hash).order_by(AuditHead.chain))
"""Where the database says that each chain ends."""

# So many rows are fetched at once.
_FETCHED = 500

Noted: TypeAlias = Mapping[str, Mapping[int, bytes]]
"""Hashes that somebody noted outside the database, by chain and position."""


@dataclass(slots=True)
class TrailCheck:
    """What a check has found so far: the newest row of each chain that was read to its end, and how many rows."""

    entries: int = 0
    heads: list[Head] = field(default_factory=list[Head])


async def check_trail(url: str, noted: Noted, report: TrailCheck) -> AsyncGenerator[Break]:
    """Where the trail of a database is not as it was written; ``report`` is filled in meanwhile."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            heads = [Head(**dict(row)) for row in await connection.fetch(HEADS.sql)]
            rows = (dict(row) async for row in connection.cursor(ROWS.sql, prefetch=_FETCHED))
            async for found in check_rows(rows, heads, noted, report):
                yield found
    finally:
        await connection.close()


async def check_rows(
    rows: AsyncIterable[Mapping[str, Any]], heads: Iterable[Head], noted: Noted, report: TrailCheck
) -> AsyncGenerator[Break]:
    """Where ``rows``, in the order of :data:`ROWS`, are not as they were written; ``report`` is filled in meanwhile."""
    ends = {head.chain: head for head in heads}
    unread = {*ends, *noted}
    chain: ChainCheck | None = None

    def end(chain: ChainCheck) -> list[Break]:
        report.heads.append(chain.head)
        return list(chain.end(ends.get(chain.head.chain)))

    async for row in rows:
        if chain is None or chain.head.chain != row["chain"]:
            for found in end(chain) if chain is not None else ():
                yield found
            unread.discard(row["chain"])
            chain = ChainCheck(row["chain"], noted.get(row["chain"], {}))
        report.entries += 1
        for found in chain.row(row):
            yield found
    if chain is not None:
        for found in end(chain):
            yield found
    for name in sorted(unread):
        for found in ChainCheck(name, noted.get(name, {})).end(ends.get(name)):
            yield found
