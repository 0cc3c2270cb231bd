"""The ``Idempotency-Key`` header: a request that is sent again has its effect once.

The field is that of draft-ietf-httpapi-idempotency-key-header; a bare key is taken as well as a quoted one.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from app.deps import Changing, guard_of
from app.errors import AppError, Fault, InvalidRequestError
from app.services.idempotency import Attempt, Kept, attempt_of, keep, take_up

__all__ = ["RepeatableRoute"]

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
                if _HEADER in request.headers and isinstance(guard, Changing):
                    return await _answered_once(request, guard, handle)
                return await handle(request)
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
    request: Request, guard: Changing[Any], handle: Callable[[Request], Awaitable[Response]]
) -> Response:
    """What ``handle`` answers to the first request of this key, however often it is sent.

    The effect and the answer are one transaction, which is begun when the body is there and ended before the answer
    is sent.

    Raises:
        InvalidRequestError: the key is not one.
        KeyReusedError, StillRunningError, ConflictError: as :func:`~app.services.idempotency.take_up` has it.
    """
    caller, now = await guard.admit(request)
    attempt = await _attempt(request, caller.actor.id)
    async with guard.within(request, caller) as db:
        kept = await take_up(db, attempt, now=now)
        if kept is not None:
            return _again(kept)
        response = await handle(request)
        await keep(db, attempt, _kept(response), now=now, lifetime=request.state.idempotency_lifetime)
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
    return attempt_of(given[0], actor=actor, credential=headers.get("authorization", ""), asked=asked)


def _kept(response: Response) -> Kept:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    # What no cache may keep is not kept here either, not as it is.
    return Kept(response.status_code, headers, bytes(response.body), "no-store" in headers.get("cache-control", ""))


def _again(kept: Kept) -> Response:
    return Response(kept.body, status_code=kept.status, headers={**kept.headers, "Idempotency-Replayed": "true"})
