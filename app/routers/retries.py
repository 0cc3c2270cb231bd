"""The ``Idempotency-Key`` header: a request that is sent again has its effect once.

The field is that of draft-ietf-httpapi-idempotency-key-header; a bare key is taken as well as a quoted one.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import Request, Response

from app.deps import Changing
from app.errors import Fault, InvalidRequestError
from app.services.idempotency import Attempt, Kept, attempt_of, keep, take_up

__all__ = ["HEADER", "answered_once"]

HEADER: Final = "idempotency-key"
# Of an answer, what belongs to it and not to its sending.
_KEPT_HEADERS: Final = ("content-type", "etag", "location", "cache-control")


async def answered_once(
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
    async with guard.within(request) as db:
        kept = await take_up(db, attempt, now=now)
        if kept is not None:
            return _again(kept)
        response = await handle(request)
        await keep(db, attempt, _kept(response), now=now, lifetime=request.state.idempotency_lifetime)
    return response


async def _attempt(request: Request, actor: str) -> Attempt:
    headers = request.headers
    given = headers.getlist(HEADER)
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
