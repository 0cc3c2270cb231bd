"""Keyset lists: filters, order and cursor of a list compiled to one statement for each combination in use.

A page starts after the last row of the page before, found through the index of the sort order: no page costs more
than the first, and a row inserted meanwhile never shifts another onto a page twice.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from asyncpg import Record
from sqlalchemy import BigInteger, ColumnElement, Date, DateTime, Integer, Select, Uuid, bindparam, func, select, tuple_

from app.db import Database, Query
from app.errors import Fault, InvalidCursorError

__all__ = ["Listing", "Page", "PageRequest", "Statement"]

Statement = Select[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a list, in which order: ``sort`` is a name, with ``-`` in front for descending."""

    limit: int
    cursor: str | None
    sort: str
    include_total: bool


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, the cursor of the next (``None`` on the last), and the total where it was asked for."""

    rows: list[Record]
    next_cursor: str | None
    total: int | None


@dataclass(slots=True)
class Listing:
    """A list of the API: what it selects, its unique key, its sort orders and the conditions a filter can switch on.

    ``statement`` must select the key as ``sort_key`` and every sort column under the sort's name. A condition refers
    to its values by ``bindparam``; a filter is active when its condition is named in a call.
    """

    statement: Statement
    key: Any
    sorts: Mapping[str, Any]
    conditions: Mapping[str, ColumnElement[bool]]
    _compiled: dict[tuple[Any, ...], Query] = field(default_factory=dict[tuple[Any, ...], Query], init=False)

    async def page(
        self,
        pool: Database,
        request: PageRequest,
        filters: Mapping[str, Mapping[str, Any]],
        always: Mapping[str, Any] | None = None,
    ) -> Page:
        """Read one page; ``filters`` maps the active conditions to the values of their parameters.

        ``always`` holds the parameters of the statement itself, which no filter switches on.

        Raises:
            InvalidCursorError: the cursor was not given out by this list in this order.
        """
        descending = request.sort.startswith("-")
        sort = request.sort.removeprefix("-")
        after = self._after(request) if request.cursor else None
        values = dict(always or {})
        values.update((name, value) for condition in filters.values() for name, value in condition.items())
        active = tuple(filters)
        query = self._query(active, sort, descending=descending, paged=after is not None)
        rows = await pool.fetch(query, **values, **(after or {}), page_limit=request.limit + 1)
        total: int | None = None
        if request.include_total:
            total = await pool.fetch_value(self._count(active), **values)
        more = len(rows) > request.limit
        rows = rows[: request.limit]
        return Page(rows, self._cursor(request.sort, sort, rows[-1]) if more else None, total)

    def _query(self, active: tuple[str, ...], sort: str, *, descending: bool, paged: bool) -> Query:
        shape = (active, sort, descending, paged)
        found = self._compiled.get(shape)
        if found is None:
            column, key = self.sorts[sort], self.key
            statement = self.statement.where(*(self.conditions[name] for name in active))
            if paged:
                here = key if column is key else tuple_(column, key)
                after_key = bindparam("after_key", type_=key.type)
                there = after_key if column is key else tuple_(bindparam("after_value", type_=column.type), after_key)
                statement = statement.where(here < there if descending else here > there)
            order = (column.desc(), key.desc()) if descending else (column, key)
            statement = statement.order_by(*order).limit(bindparam("page_limit", type_=Integer))
            found = self._compiled[shape] = Query(statement)
        return found

    def _count(self, active: tuple[str, ...]) -> Query:
        shape = (active,)
        found = self._compiled.get(shape)
        if found is None:
            matching = self.statement.where(*(self.conditions[name] for name in active)).order_by(None).subquery()
            found = self._compiled[shape] = Query(select(func.count()).select_from(matching))
        return found

    def _cursor(self, order: str, sort: str, row: Record) -> str:
        value = row["sort_key"] if self.sorts[sort] is self.key else row[sort]
        # An id that asyncpg read is of a type of its own.
        position = orjson.dumps([order, value, row["sort_key"]], default=str)
        return base64.urlsafe_b64encode(position).rstrip(b"=").decode()

    def _after(self, request: PageRequest) -> dict[str, Any]:
        text = request.cursor or ""
        try:
            position = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            return self._position(request.sort, *position)
        except (binascii.Error, ValueError, TypeError):
            fault = Fault("/query/cursor", "invalid_cursor", "不是本列表按此排序返回的 next_cursor")
            raise InvalidCursorError("翻页游标无效,请从第一页重新查询", faults=[fault]) from None

    def _position(self, expected: str, order: object, value: object, key: object) -> dict[str, Any]:
        if order != expected:
            raise ValueError(order)
        column = self.sorts[expected.removeprefix("-")]
        return {"after_value": _read(value, column.type), "after_key": _read(key, self.key.type)}


def _read(value: object, kind: object) -> object:
    """What a cursor says of a column of this type.

    Raises:
        ValueError: no such column has this value.
    """
    if isinstance(kind, BigInteger):
        if type(value) is int and abs(value) < 2**63:
            return value
    elif isinstance(value, str) and "\0" not in value:
        return next((parse for of, parse in _PARSED.items() if isinstance(kind, of)), str)(value)
    raise ValueError(value)


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(text)
    return instant


_PARSED: Mapping[type, Callable[[str], Any]] = {Date: date.fromisoformat, DateTime: _instant, Uuid: UUID}
