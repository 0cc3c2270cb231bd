"""What a route is given: what it reads or writes with, its query, and what the caller already has.

One dependency, and a coroutine though it never waits. FastAPI sends plain functions to a thread, takes a query model
apart field by field on every request, and looks at every further dependency anew: together that cost more than the
answers do. So the query is validated by its model in one step here, and documented by ``query_parameters``.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from app.db import Database
from app.errors import Fault, InvalidRequestError
from app.rendering import Known
from app.schemas.base import NoQuery
from app.services.intake import Intake
from app.services.reader import Reader

__all__ = [
    "Reading",
    "Taking",
    "TakingDep",
    "Writing",
    "WritingDep",
    "query_parameters",
    "reading",
    "taking",
    "writing",
]

QueryT = TypeVar("QueryT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reading(Generic[QueryT]):
    """One reading request: what it reads with, what it asks, the ETags its caller knows, and when it came."""

    reader: Reader
    query: QueryT
    known: Known
    now: datetime


@dataclass(frozen=True, slots=True)
class Writing(Generic[QueryT]):
    """One writing request: what it writes on, a reader for names, how it is asked to write, and when it came."""

    db: Database
    reader: Reader
    query: QueryT
    now: datetime


@dataclass(frozen=True, slots=True)
class Taking(Writing[QueryT]):
    """One request that takes reports in: on the pool, for what it writes one statement writes, or it says how."""

    intake: Intake


def _validated(model: type[QueryT], request: Request) -> QueryT:
    """The query of a request.

    Raises:
        RequestValidationError: a parameter is unknown, missing or out of bounds.
        InvalidRequestError: a parameter is given more than once; none of this API takes several values, and none may
            be dropped silently.
    """
    given = request.query_params
    values = dict(given)
    if len(values) != len(given.multi_items()):
        names = [name for name, _ in given.multi_items()]
        repeated = sorted({name for name in names if names.count(name) > 1})
        faults = [Fault(f"/query/{name}", "repeated", "参数只能出现一次") for name in repeated]
        raise InvalidRequestError("查询参数重复", faults=faults)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(
            [{**item, "loc": ("query", *item["loc"])} for item in error.errors(include_url=False)]
        ) from None


class _Read(Generic[QueryT]):
    """Takes a request up as a :class:`Reading` of a query model."""

    def __init__(self, model: type[QueryT]) -> None:
        self.model = model

    async def __call__(self, request: Request) -> Reading[QueryT]:
        query = _validated(self.model, request)
        known = Known.parse(request.headers.get("if-none-match"))
        return Reading(request.state.reader, query, known, request.state.clock())


class _Write(Generic[QueryT]):
    """Takes a request up as a :class:`Writing`, in one transaction that is committed before the answer is sent."""

    def __init__(self, model: type[QueryT]) -> None:
        self.model = model

    async def __call__(self, request: Request) -> AsyncGenerator[Writing[QueryT]]:
        query = _validated(self.model, request)
        state = request.state
        async with state.writes.transaction() as db:
            yield Writing(db, state.reader, query, state.clock())


class _Taker(Generic[QueryT]):
    """Takes a request up as a :class:`Taking`."""

    def __init__(self, model: type[QueryT]) -> None:
        self.model = model

    async def __call__(self, request: Request) -> Taking[QueryT]:
        query = _validated(self.model, request)
        state = request.state
        return Taking(state.writes, state.reader, query, state.clock(), state.intake)


def reading(model: type[BaseModel]) -> Any:
    """The dependency that gives a route its ``Reading[model]``."""
    return Depends(_Read(model))


def writing(model: type[BaseModel] = NoQuery) -> Any:
    """The dependency that gives a route its ``Writing[model]``."""
    # The scope makes a commit that fails an error of the request, not a lost write behind a 201.
    return Depends(_Write(model), scope="function")


def taking(model: type[BaseModel] = NoQuery) -> Any:
    """The dependency that gives a route its ``Taking[model]``."""
    return Depends(_Taker(model))


WritingDep = Annotated[Writing[NoQuery], writing()]
TakingDep = Annotated[Taking[NoQuery], taking()]


def query_parameters(model: type[BaseModel]) -> dict[str, Any]:
    """The ``openapi_extra`` of a route whose query is ``model``: one documented parameter a field."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    required = set(schema.get("required", ()))
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "description": field.get("description", ""),
                "schema": {key: value for key, value in field.items() if key not in {"title", "description"}},
            }
            for name, field in schema.get("properties", {}).items()
        ]
    }
