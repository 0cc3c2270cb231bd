"""Paths that a proxy in front and this service could read differently."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import NotFoundError
from app.problems import refusal

__all__ = ["PathMiddleware"]

_ENCODED_SLASH = re.compile(rb"%2f|%5c", re.IGNORECASE)


class PathMiddleware:
    """Knows no path with an encoded slash in it (RFC 3986, 2.2: it is not the same as a slash).

    The server decodes a path before it is routed, so ``/api/v1%2faccounts`` would lead to the accounts, past a proxy
    that lets nobody come to ``/api/v1/accounts`` from outside. No name in this API has a slash.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap ``app``."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; other than HTTP passes through."""
        if scope["type"] == "http" and _ENCODED_SLASH.search(scope.get("raw_path") or b""):
            await refusal(scope, NotFoundError("路径中不能有编码的斜杠(%2F、%5C)"))(scope, receive, send)
            return
        await self.app(scope, receive, send)
