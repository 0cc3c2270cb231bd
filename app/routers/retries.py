"""The ``Idempotency-Key`` header: a request that is sent again has its effect once.

The field is that of draft-ietf-httpapi-idempotency-key-header; a bare key is taken as well as a quoted one.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.deps import ATTEMPT, Changing, guard_of
from app.errors import AppError, Fault, InvalidRequestError
from app.services.idempotency import Attempt, Kept, attempt_of, keep, still_running, take_up

__all__ = ["RepeatableRoute", "kept_of", "response_of"]

_HEADER: Final = "idempotency-key"
# Of an answer, what belongs to it and not to its sending.
_KEPT_HEADERS: Final = ("content-type", "etag", "location", "cache-control")


class RepeatableRoute(APIRoute):
    """A route that reads no body before its caller is admitted, and does once what an ``Idempotency-Key`` names."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given the request as :meth:`prepared`."""
        handle = super().get_route_handler()
        guard = guard_of(self.dependant)

        async def repeatably(request: Request) -> Response:
            if guard is not None:
                await guard.admit(request)
            request = self.prepared(request)
            try:
                if _HEADER not in request.headers or not isinstance(guard, Changing):
                    return await handle(request)
                caller, _ = await guard.admit(request)
                attempt = await _attempt(request, caller.actor.id)
                if guard.keeps_answers:
                    request.scope[ATTEMPT] = attempt
                    return await handle(request)
                return await _answered_once(request, guard, attempt, handle)
            except HTTPException as error:
                # FastAPI wraps what reading a body raises, unless it is an HTTPException.
                if isinstance(error.__cause__, AppError):
                    raise error.__cause__ from None
                raise

        return repeatably

    def prepared(self, request: Request) -> Request:
        """The request as the route reads it; raises where it is not to be read."""
        return request


async def _answered_once(
    request: Request, guard: Changing[Any], attempt: Attempt, handle: Callable[[Request], Awaitable[Response]]
) -> Response:
    """What ``handle`` answers to the first sending, whichever this is.

    The effect and the answer are one transaction, which is begun when the body is there and ended before the answer
    is sent.

    Raises:
        KeyReusedError, StillRunningError, ConflictError: as :func:`~app.services.idempotency.take_up` has it.
    """
    caller, now = await guard.admit(request)
    async with guard.within(request, caller) as db:
        (found,) = await take_up(db, [attempt], now=now)
        if isinstance(found, AppError):
            raise found
        if found is not None:
            return response_of(found, again=True)
        response = await handle(request)
        if not await keep(db, [(attempt, kept_of(response))], now=now):
            raise still_running()
    return response


async def _attempt(request: Request, actor: str) -> Attempt:
    headers = request.headers
    given = headers.getlist(_HEADER)
    if len(given) > 1:
        detail = "Idempotency-Key 请求头只能出现一次"
        raise InvalidRequestError(detail, faults=[Fault("/header/Idempotency-Key", "repeated", detail)])
    url = request.scope
    asked = (
        request.method.encode(),
        url.get("raw_path") or url["path"].encode(),
        url["query_string"],
        headers.get("if-match", "").encode(),
        await request.body(),
    )
    credential, lifetime = headers.get("authorization", ""), request.state.idempotency_lifetime
    return attempt_of(given[0], actor=actor, credential=credential, asked=asked, lifetime=lifetime)


def kept_of(response: Response) -> Kept:
    """An answer as it is kept."""
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    # What no cache may keep is not kept here either, not as it is.
    return Kept(response.status_code, headers, bytes(response.body), "no-store" in headers.get("cache-control", ""))


def response_of(kept: Kept, *, again: bool) -> Response:
    """A kept answer, told to be one where it was given before."""
    told = {"Idempotency-Replayed": "true"} if again else {}
    return Response(kept.body, status_code=kept.status, headers={**kept.headers, **told})
