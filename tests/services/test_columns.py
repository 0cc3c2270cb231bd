"""Rows given column by column arrive as they were, whether or not what is alike is given once."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from app.db import Database, Query, open_write_pool
from app.services.columns import Kinds, columns_of, parameters, shortened
from tests.conftest import Clone

KINDS: Kinds = {"at": "timestamptz", "id": "text", "number": "bigint", "said": "text"}
NAMES = ", ".join(KINDS)
QUERY = Query(text(f"SELECT {NAMES} FROM unnest({parameters(KINDS, whole='id')}) AS g({NAMES})"))
AT, LATER = datetime(2023, 4, 20, tzinfo=UTC), datetime(2023, 4, 21, tzinfo=UTC)

Row = tuple[datetime, str, int | None, str | None]
CASES: list[tuple[list[Row], set[str]]] = [
    ([], set()),
    ([(AT, "a", 1, None)], set()),
    ([(AT, "a", 1, "x"), (AT, "a", 1, "x")], {"at", "number", "said"}),
    ([(AT, "a", None, "x"), (AT, "b", None, "y"), (LATER, "c", None, "x")], {"number"}),
    # Alike at the ends alone.
    ([(AT, "a", 1, None), (LATER, "b", 2, "x"), (AT, "c", 1, None)], set()),
]


@pytest.mark.parametrize(("rows", "once"), CASES)
async def test_rows_arrive_as_they_were_given(clone: Clone, rows: list[Row], once: set[str]) -> None:
    columns: dict[str, list[Any]] = columns_of(KINDS, rows)
    short = shortened(columns, whole="id")
    assert {name for name in KINDS if len(short[name]) < len(columns[name])} == once
    async with clone(seeded=False) as url, open_write_pool(url, size=1) as pool:
        for given in (columns, short):
            found: list[asyncpg.Record] = await Database(pool).fetch(QUERY, **given)
            assert [tuple(row) for row in found] == rows
