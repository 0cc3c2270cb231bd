"""Headers that every answer carries, HEAD for whatever can be read, and which web pages may call this API."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BadRequestError
from app.problems import refusal

__all__ = ["CorsMiddleware", "HeadMiddleware", "SecurityHeadersMiddleware"]

# Nothing that an API answers is a page: no script, no frame, whatever a browser takes it for. Pages bring their own.
_API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_ALWAYS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
_ASSETS = "/docs/assets/"


class SecurityHeadersMiddleware:
    """Adds to every answer what browsers and caches are to know; what a route set itself stays.

    ``Cache-Control``: what has an ETag is kept by whoever asked and compared before use (``no-cache``), and by nobody
    in between where it was given to an identity (``private``; RFC 9111, 5.2.2.7). All else is not kept (``no-store``),
    but for the assets of the documentation.
    """

    def __init__(self, app: ASGIApp, *, hsts_max_age: int) -> None:
        """With ``hsts_max_age`` above zero, browsers are told to come by HTTPS only (RFC 6797)."""
        self.app = app
        hsts = ((b"strict-transport-security", b"max-age=%d" % hsts_max_age),) if hsts_max_age else ()
        self.always = (*_ALWAYS, *hsts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; other than HTTP passes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*self._completed(scope, message["headers"]), *self.always]
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _completed(self, scope: Scope, given: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = list(given)
        names = {name for name, _ in headers}
        if b"content-security-policy" not in names:
            headers.append(_API_POLICY)
        if b"cache-control" not in names:
            if not scope["path"].startswith(_ASSETS):
                headers.append((b"cache-control", b"no-store"))
        elif any(name == b"authorization" for name, _ in scope["headers"]):
            private = (b"cache-control", b"private, no-cache")
            headers = [private if header == (b"cache-control", b"no-cache") else header for header in headers]
        return headers


class HeadMiddleware:
    """Answers HEAD as GET without the content (RFC 9110, 9.3.2), which the routes themselves do not know."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap ``app``."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; whatever is no HEAD passes through."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_content(message: Message) -> None:
            # The server and the log look at the scope too: for them it is the HEAD that it was.
            scope["method"] = "HEAD"
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["method"] = "GET"
        try:
            await self.app(scope, receive, send_without_content)
        finally:
            scope["method"] = "HEAD"


class CorsMiddleware(CORSMiddleware):
    """Lets web pages of the given origins call this API (the Fetch standard's CORS protocol).

    Without credentials: callers identify themselves by ``Authorization``, never by cookies. Starlette's own, but for a
    refused preflight, which is a problem like every other error.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        """Allow ``origins`` (``https://host[:port]``), or all with ``*``."""
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=(
                *("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID"),
            ),
            expose_headers=(
                *("Content-Disposition", "ETag", "Idempotency-Replayed", "Location"),
                *("RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"),
            ),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; a preflight of an origin, method or header that is not allowed is refused."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "origin" in headers and "access-control-request-method" in headers:
                await self._preflight(scope, headers)(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _preflight(self, scope: Scope, headers: Headers) -> Response:
        answer = self.preflight_response(headers)
        if answer.status_code < BadRequestError.status:
            return answer
        return refusal(scope, BadRequestError("不允许此来源、方法或请求头的跨域调用"), headers={"Vary": "Origin"})
