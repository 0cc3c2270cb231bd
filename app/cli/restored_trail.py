"""The audit trail of a restore that is not committed yet: the session that restores, which alone sees it, reads it out.

That session is a psql, which is asked for the rows as JSON, one on each line.
"""

from asyncio import StreamReader
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import orjson

from app.domain.audit import Break, Head
from app.services.audit_check import HEADS, ROWS, Noted, TrailCheck, check_rows

__all__ = ["check_restored_trail"]

_PIECE = 1024 * 1024
# Rows come some at a time; what a script of pg_restore writes of its own goes nowhere, before and after.
_ASK = rf"""
SET LOCAL search_path = public;
SET LOCAL TimeZone = 'UTC';
\set FETCH_COUNT 500
\o
SELECT row_to_json(h) FROM ({HEADS.sql}) h;
SELECT '';
SELECT row_to_json(r) FROM ({ROWS.sql}) r;
SELECT '';
\o /dev/null
"""  # noqa: S608 - of constants


async def check_restored_trail(psql: Process, noted: Noted, report: TrailCheck) -> AsyncGenerator[Break]:
    """Where the trail in the open transaction of ``psql`` is not as it was written; ``report`` is filled in meanwhile.

    Raises:
        BrokenPipeError: ``psql`` has ended.
    """
    assert psql.stdin is not None
    assert psql.stdout is not None
    psql.stdin.write(_ASK.encode())
    await psql.stdin.drain()
    lines = _lines(psql.stdout)
    heads = [Head(**row) async for row in _until_blank(lines)]
    async for found in check_rows(_until_blank(lines), heads, noted, report):
        yield found


async def _until_blank(lines: AsyncGenerator[bytes]) -> AsyncGenerator[dict[str, Any]]:
    async for line in lines:
        if not line:
            return
        row = orjson.loads(line)
        for name in row.keys() & {"hash", "previous_hash"}:
            row[name] = bytes.fromhex(row[name].removeprefix(r"\x"))
        if "at" in row:
            row["at"] = datetime.fromisoformat(row["at"])
        yield row
    raise BrokenPipeError("psql has ended")


async def _lines(out: StreamReader) -> AsyncGenerator[bytes]:
    # A line may be longer than the reader's own limit.
    rest = b""
    while piece := await out.read(_PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
