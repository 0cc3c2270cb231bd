"""What one sees of a request: its id, a line of the log, and its place in the metrics."""

import contextvars
import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.metrics import Metrics

__all__ = ["ObservabilityMiddleware", "current_request_id", "request_id_of"]

_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("request_id", default=None)
_log = logging.getLogger("liuzhang.access")
# Not what begins as a key or token does: an id is logged and answered, and somebody may mistake one header for another.
_ACCEPTABLE_ID = re.compile(r"(?!lz_|lzcal_|eyJ)[A-Za-z0-9._-]{8,128}")


def request_id_of(scope: Scope) -> str:
    """The id of the request, as the middleware set it."""
    return str(scope["state"]["request_id"])


def current_request_id() -> str | None:
    """The id of the request that the running code works for, if it works for one."""
    return _current.get()


class ObservabilityMiddleware:
    """Takes the caller's ``X-Request-ID`` where it is a sane one, else makes one; measures and logs each request.

    It also answers for exceptions that nothing inside handled, so that even such an answer carries the request id.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, failed: Callable[[Request, Exception], Response]) -> None:
        """Wrap ``app``; ``failed`` gives the answer for an exception that comes through."""
        self.app = app
        self.metrics = metrics
        self.failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; other than HTTP passes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        # Never reset: the server runs each request in a task of its own.
        _current.set(request_id)
        started = time.perf_counter()
        status = size = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception as error:
            if status:
                raise
            await self.failed(Request(scope), error)(scope, receive, send_with_id)
        finally:
            elapsed = time.perf_counter() - started
            # The operation's id, never the path itself: paths are without number, label values must not be.
            operation = getattr(scope.get("endpoint"), "__name__", "(none)")
            method = scope["method"] if scope["method"] in _METHODS else "(other)"
            self.metrics.requests.labels(method, operation, str(status)).inc()
            self.metrics.duration.labels(method, operation).observe(elapsed)
            if _log.isEnabledFor(logging.INFO):
                _log_access(scope, method, status, elapsed, size)


def _log_access(scope: Scope, method: str, status: int, elapsed: float, size: int) -> None:
    # As it was sent, in percent-encoding: decoded, it could hold a line break and forge a line of the log.
    path = scope.get("raw_path", b"").decode("ascii", "backslashreplace")[:_LOGGED_PATH]
    milliseconds = round(elapsed * 1000, 1)
    fields = {
        "method": method,
        "path": path,
        "route": getattr(scope.get("route"), "path", None),
        "status": status,
        "duration_ms": milliseconds,
        "actor": scope["state"].get("actor"),
        "bytes": size,
    }
    _log.info("%s %s %s %.1fms", method, path, status, milliseconds, extra=fields)


_LOGGED_PATH = 500
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
