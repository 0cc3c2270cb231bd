"""What every reading use case is given."""

from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel
from sqlalchemy import bindparam, select

from app.db import Database, Scoped
from app.fragments import FragmentCache
from app.pagination import PageRequest
from app.schemas.base import ListQuery

__all__ = ["Reader", "decoded", "equal_to", "key_of", "page_request"]


@dataclass(frozen=True, slots=True)
class Reader:
    """The read pool and the fragments this process has rendered."""

    pool: Database
    fragments: FragmentCache

    def for_caller(self, caller: Scoped) -> "Reader":
        """What a caller reads with."""
        return Reader(self.pool.for_caller(caller), self.fragments)


def page_request(query: ListQuery, *, sort: str) -> PageRequest:
    """The page a list query asks for."""
    return PageRequest(query.limit, query.cursor, sort, query.include_total)


def equal_to(query: BaseModel, *names: str) -> dict[str, dict[str, Any]]:
    """The filters of a listing for those of the named text parameters that a query gives, each by its own value."""
    given = {name: getattr(query, name) for name in names}
    return {name: {name: str(value)} for name, value in given.items() if value is not None}


def decoded(value: str | None) -> Any:
    """A JSON column, which asyncpg hands over as text."""
    return None if value is None else orjson.loads(value)


def key_of(model: Any, parameter: str) -> Any:
    """The key of the row of ``model`` whose code is the parameter's value, looked up once before a list runs."""
    return select(model.id).where(model.code == bindparam(parameter)).scalar_subquery()
