"""What a reading route is given: the reader, its query, and what the caller already has.

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
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Fault, InvalidRequestError
from app.rendering import Known
from app.services.reader import Reader

__all__ = ["Reading", "Writing", "WritingDep", "query_parameters", "reading"]

QueryT = TypeVar("QueryT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reading(Generic[QueryT]):
    """One reading request: what it reads with, what it asks, the ETags its caller knows, and when it came."""

    reader: Reader
    query: QueryT
    known: Known
    now: datetime


class _Take(Generic[QueryT]):
    """Takes a request up as a :class:`Reading` of a query model."""

    def __init__(self, model: type[QueryT]) -> None:
        self.model = model

    async def __call__(self, request: Request) -> Reading[QueryT]:
        """Validate the query.

        Raises:
            RequestValidationError: a parameter is unknown, missing or out of bounds.
            InvalidRequestError: a parameter is given more than once; none of this API takes several values, and none
                may be dropped silently.
        """
        given = request.query_params
        values = dict(given)
        if len(values) != len(given.multi_items()):
            names = [name for name, _ in given.multi_items()]
            repeated = sorted({name for name in names if names.count(name) > 1})
            faults = [Fault(f"/query/{name}", "repeated", "参数只能出现一次") for name in repeated]
            raise InvalidRequestError("查询参数重复", faults=faults)
        try:
            query = self.model.model_validate(values)
        except ValidationError as error:
            raise RequestValidationError(
                [{**item, "loc": ("query", *item["loc"])} for item in error.errors(include_url=False)]
            ) from None
        known = Known.parse(request.headers.get("if-none-match"))
        return Reading(request.state.reader, query, known, request.state.clock())


@dataclass(frozen=True, slots=True)
class Writing:
    """One writing request: its transaction, committed before the answer is sent, a reader for names, when it came."""

    connection: AsyncConnection
    reader: Reader
    now: datetime


async def _writing(request: Request) -> AsyncGenerator[Writing]:
    async with request.state.engine.begin() as connection:
        yield Writing(connection, request.state.reader, request.state.clock())


# The scope makes a commit that fails an error of the request, not a lost write behind a 201.
WritingDep = Annotated[Writing, Depends(_writing, scope="function")]


def reading(model: type[BaseModel]) -> Any:
    """The dependency that gives a route its ``Reading[model]``."""
    return Depends(_Take(model))


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
