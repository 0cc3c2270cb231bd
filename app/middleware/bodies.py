"""Bodies of requests: how large, and how long in coming.

Starlette and FastAPI have a limit of their own (``FastAPI(max_body_size=…)``). It is not used: it looks at
``Content-Length`` only once the body is read, answers in plain text where it never is, and knows no time. An endless
or trickling body would hold a connection as long as it likes.
"""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ContentTooLargeError, SlowBodyError
from app.problems import refusal

__all__ = ["BodyLimitMiddleware"]

# Paths that end so take files, which may be larger than what is written by a program.
_FILE = "/file"
# Whatever more of the body comes is not read: the rest of the connection is worthless.
_CLOSE = {"Connection": "close"}


class BodyLimitMiddleware:
    """Refuses a body that is, or says it is, larger than allowed, and one that does not come in time."""

    def __init__(self, app: ASGIApp, *, size: int, file_size: int, seconds: float) -> None:
        """Allow ``size`` bytes, or ``file_size`` for a file, in ``seconds``."""
        self.app = app
        self.size = size
        self.file_size = file_size
        self.seconds = seconds
        self.too_slow = f"请求体没有在 {seconds:g} 秒内传完,未作任何处理;请检查网络后重试"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; what has no body passes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        length: int | None = None
        streamed = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                # The server refused anything but digits; this is for another server.
                length = int(value) if value.isdigit() else 0
            elif name == b"transfer-encoding":
                streamed = True
        size = self.file_size if scope["path"].endswith(_FILE) else self.size
        if length is not None and length > size:
            await refusal(scope, ContentTooLargeError(_too_large(size)), headers=_CLOSE)(scope, receive, send)
        elif length or streamed:
            await self.app(scope, self._counted(receive, size), send)
        else:
            await self.app(scope, receive, send)

    def _counted(self, receive: Receive, size: int) -> Receive:
        """``receive``, which raises ``HTTPException`` (408, 413) once the body is too late or too large.

        An HTTPException, because FastAPI lets nothing else through from reading a body.
        """
        # The clock of the loop, which nothing sets; the service's own clock tells instants, not durations.
        deadline = asyncio.get_running_loop().time() + self.seconds
        taken = 0
        complete = False

        async def counted() -> Message:
            nonlocal taken, complete
            if complete:
                # From here on it only tells that the caller hung up, and may take as long as it likes.
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(SlowBodyError.status, self.too_slow, _CLOSE) from None
            taken += len(message.get("body", b""))
            if taken > size:
                raise HTTPException(ContentTooLargeError.status, _too_large(size), _CLOSE)
            complete = not message.get("more_body", False)
            return message

        return counted


def _too_large(size: int) -> str:
    return f"请求体至多 {size} 字节,未作任何处理;请把内容分成几次提交"
