"""The whole audit trail checked, as one snapshot and in memory that does not grow with it."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

import asyncpg
from sqlalchemy import Text, cast, select

from app.db import Query
from app.domain.audit import HASHED, Break, ChainCheck, Head
from app.models import AuditEntry, AuditHead

__all__ = ["TrailCheck", "check_trail"]

_JSON = {"before", "after"}
_ROWS = Query(
    select(
        *(getattr(AuditEntry, name) for name in HASHED if name not in _JSON),
        *(cast(getattr(AuditEntry, name), Text).label(name) for name in HASHED if name in _JSON),
        AuditEntry.position,
        AuditEntry.previous_hash,
        AuditEntry.hash,
    ).order_by(AuditEntry.chain, AuditEntry.position)
)
_HEADS = Query(select(AuditHead.chain, AuditHead.position, AuditHead.hash).order_by(AuditHead.chain))
# So many rows are fetched at once.
_FETCHED = 500


@dataclass(slots=True)
class TrailCheck:
    """What a check has found so far: the newest row of each chain that was read to its end, and how many rows."""

    entries: int = 0
    heads: list[Head] = field(default_factory=list[Head])


async def check_trail(url: str, noted: Mapping[str, Mapping[int, bytes]], report: TrailCheck) -> AsyncGenerator[Break]:
    """Where the trail is not as it was written, chain by chain; ``report`` is filled in meanwhile.

    ``noted`` are hashes that somebody noted outside the database, by chain and position.
    """
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            heads = {row["chain"]: Head(**dict(row)) for row in await connection.fetch(_HEADS.sql)}
            unread = {*heads, *noted}
            chain: ChainCheck | None = None

            def end(chain: ChainCheck) -> list[Break]:
                report.heads.append(chain.head)
                return list(chain.end(heads.get(chain.head.chain)))

            async for row in connection.cursor(_ROWS.sql, prefetch=_FETCHED):
                if chain is None or chain.head.chain != row["chain"]:
                    for found in end(chain) if chain is not None else ():
                        yield found
                    unread.discard(row["chain"])
                    chain = ChainCheck(row["chain"], noted.get(row["chain"], {}))
                report.entries += 1
                for found in chain.row(dict(row)):
                    yield found
            if chain is not None:
                for found in end(chain):
                    yield found
            for name in sorted(unread):
                for found in ChainCheck(name, noted.get(name, {})).end(heads.get(name)):
                    yield found
    finally:
        await connection.close()
