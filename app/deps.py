"""What a route is given: who asks, what it reads or writes with, its query, and what the caller already has.

Which kind of operation a route is must be said where its dependency is made, so that no route can forget it; whoever
has no part in it is refused before anything is read. Which rows it may touch is the services' to ask of the caller.

One dependency, and a coroutine though it never waits. FastAPI sends plain functions to a thread, takes a query model
apart field by field on every request, and looks at every further dependency anew: together that cost more than the
answers do. So the query is validated by its model in one step here, and documented by ``query_parameters``.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from app.db import Database
from app.domain.permissions import Capability
from app.errors import Fault, InvalidRequestError
from app.observability import request_id_of
from app.rendering import Known
from app.schemas.agenda import CalendarQuery
from app.services.calendar_subscriptions import open_subscription
from app.services.caller import Caller
from app.services.idempotency import Attempt
from app.services.identity import Source
from app.services.intake import Intake
from app.services.reader import Reader

__all__ = [
    "ATTEMPT",
    "Changing",
    "Guarded",
    "Reading",
    "Taking",
    "Writing",
    "caller_of",
    "feeding",
    "guard_of",
    "query_parameters",
    "reading",
    "taking",
    "writing",
]

QueryT = TypeVar("QueryT", bound=BaseModel)
_ADMITTED = "liuzhang.admitted"
_WITHIN = "liuzhang.within"
ATTEMPT = "liuzhang.attempt"
"""Where a route leaves the sending of a request with a key, for operations that keep their answers themselves."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[QueryT]):
    """One reading request: who asks what, what it reads with, the ETags its caller knows, and when it came.

    ``trail`` is where it is put down what must not be read unnoticed.
    """

    reader: Reader
    trail: Database
    query: QueryT
    known: Known
    now: datetime
    caller: Caller


@dataclass(frozen=True, slots=True)
class Writing(Generic[QueryT]):
    """One writing request: who writes, on what, a reader for names, how it is asked to write, and when it came.

    ``caller`` holds all that a record of the write has to name: actor, address, request id. ``environment`` is that of
    new keys.
    """

    db: Database
    reader: Reader
    query: QueryT
    now: datetime
    caller: Caller
    environment: str


@dataclass(frozen=True, slots=True)
class Taking(Writing[QueryT]):
    """One request that takes reports in: on the pool, for what it writes one statement writes, or it says how.

    ``attempt`` is its sending, where it has a key and keeps its answer itself.
    """

    intake: Intake
    attempt: Attempt | None


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


async def caller_of(request: Request, now: datetime) -> Caller:
    """Who sends a request that came at ``now``, from where.

    Raises:
        InvalidCredentialsError: credentials are given and not believed.
        IssuerUnreachableError: whether they are to be believed cannot be known now.
    """
    headers = request.headers
    peer = request.client.host if request.client is not None else None
    caller = await request.state.identity.caller(
        headers.getlist("authorization"),
        Source(peer, headers.getlist("x-forwarded-for"), request_id_of(request.scope)),
        now=now,
    )
    # For the log.
    request.state.actor = caller.actor.id
    return caller


class Guarded(Generic[QueryT]):
    """A dependency that refuses whoever has no part in its kind of operation; then it validates the query."""

    def __init__(self, model: type[QueryT], capability: Capability) -> None:
        """Guard an operation of one kind that takes a query model."""
        self.model = model
        self.capability = capability

    async def admit(self, request: Request) -> tuple[Caller, datetime]:
        """The caller of a request, and when it came; asked once, however often it is asked for.

        Raises:
            UnauthenticatedError, ForbiddenError: the operation is not open to the caller.
        """
        admitted = request.scope.get(_ADMITTED)
        if admitted is None:
            now = request.state.clock()
            caller = await caller_of(request, now)
            caller.demand(self.capability)
            admitted = request.scope[_ADMITTED] = (caller, now)
        return admitted

    async def take_up(self, request: Request) -> tuple[Caller, QueryT, datetime]:
        """The caller and the validated query of a request, and when it came.

        Raises:
            UnauthenticatedError, ForbiddenError: the operation is not open to the caller.
            RequestValidationError, InvalidRequestError: the query is not what the model takes.
        """
        caller, now = await self.admit(request)
        return caller, _validated(self.model, request), now


class _Read(Guarded[QueryT]):
    """Takes a request up as a :class:`Reading` of a query model."""

    async def __call__(self, request: Request) -> Reading[QueryT]:
        caller, query, now = await self.take_up(request)
        known = Known.parse(request.headers.get("if-none-match"))
        reader, trail = request.state.reader.for_caller(caller), request.state.writes
        return Reading(reader, trail, query, known, now, caller)


class _Feed(_Read[CalendarQuery]):
    """Takes the calendar up as a reading request, or by the token of a subscription in its address."""

    async def __call__(self, request: Request) -> Reading[CalendarQuery]:
        tokens = request.query_params.getlist("token")
        if not tokens:
            return await super().__call__(request)
        if "authorization" in request.headers:
            detail = "token 与 Authorization 请求头只能用其一(RFC 6750)"
            raise InvalidRequestError(detail, faults=[Fault("/query/token", "two_credentials", detail)])
        state = request.state
        now = state.clock()
        subscription = await open_subscription(state.writes, tokens[0], state.environment, now=now)
        caller = Caller(subscription.actor, request_id=request_id_of(request.scope))
        caller.demand(self.capability)
        query = subscription.narrowed(_validated(self.model, request))
        known = Known.parse(request.headers.get("if-none-match"))
        return Reading(state.reader.for_caller(caller), state.writes, query, known, now, caller)


class Changing(Guarded[QueryT]):
    """A dependency of an operation that changes something.

    Of requests with a key, it ``keeps_answers`` itself, or its route keeps them.
    """

    keeps_answers = False

    @asynccontextmanager
    async def within(self, request: Request, caller: Caller) -> AsyncGenerator[Database]:
        """A transaction that is the request's: what its operation writes, it writes in here."""
        async with request.state.writes.for_caller(caller).transaction() as db:
            request.scope[_WITHIN] = db
            yield db


class _Write(Changing[QueryT]):
    """Takes a request up as a :class:`Writing`, in one transaction that is committed before the answer is sent."""

    async def __call__(self, request: Request) -> AsyncGenerator[Writing[QueryT]]:
        caller, query, now = await self.take_up(request)
        state = request.state
        reader = state.reader.for_caller(caller)
        if (given := request.scope.get(_WITHIN)) is not None:
            yield Writing(given, reader, query, now, caller, state.environment)
            return
        async with self.within(request, caller) as db:
            yield Writing(db, reader, query, now, caller, state.environment)


class _Taker(Changing[QueryT]):
    """Takes a request up as a :class:`Taking`."""

    def __init__(self, model: type[QueryT], capability: Capability, *, keeps_answers: bool) -> None:
        super().__init__(model, capability)
        self.keeps_answers = keeps_answers

    async def __call__(self, request: Request) -> Taking[QueryT]:
        caller, query, now = await self.take_up(request)
        state = request.state
        db = request.scope.get(_WITHIN)
        # In a transaction of its own a report is on its own: nobody else's can be taken in with it.
        db, intake = (state.writes.for_caller(caller), state.intake) if db is None else (db, Intake(db))
        reader, attempt = state.reader.for_caller(caller), request.scope.get(ATTEMPT)
        return Taking(db, reader, query, now, caller, state.environment, intake, attempt)


def reading(model: type[BaseModel], capability: Capability) -> Any:
    """The dependency that gives a route its ``Reading[model]``."""
    return Depends(_Read(model, capability))


def feeding(capability: Capability) -> Any:
    """The dependency that gives a route its ``Reading[CalendarQuery]``, by a token in its query as well."""
    return Depends(_Feed(CalendarQuery, capability))


def writing(model: type[BaseModel], capability: Capability) -> Any:
    """The dependency that gives a route its ``Writing[model]``."""
    # The scope makes a commit that fails an error of the request, not a lost write behind a 201.
    return Depends(_Write(model, capability), scope="function")


def taking(model: type[BaseModel], capability: Capability, *, keeps_answers: bool = False) -> Any:
    """The dependency that gives a route its ``Taking[model]``."""
    return Depends(_Taker(model, capability, keeps_answers=keeps_answers))


def guard_of(dependant: Dependant) -> Guarded[Any] | None:
    """What guards a route, or ``None`` where nothing does."""
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Guarded):
            return cast("Guarded[Any]", dependency.call)
    return None


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
