"""How long a request may take."""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TimedOutError
from app.observability import request_id_of
from app.problems import refusal

__all__ = ["TimeoutMiddleware"]

_log = logging.getLogger("liuzhang.errors")


class TimeoutMiddleware:
    """Stops a request that takes too long; a transaction that it has open is undone, its statement is canceled.

    A single report may be on its way to the database together with others (:class:`app.services.intake.Intake`), whom
    the timeout of one does not concern: it may be taken in all the same, so the answer promises nothing about writes.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        """Allow ``seconds``, the time in which the body comes included."""
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; other than HTTP passes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        limit = asyncio.timeout(self.seconds)
        try:
            async with limit:
                await self.app(scope, receive, noted)
        except TimeoutError:
            if started or not limit.expired():
                raise
            _log.warning("timed out after %gs, request %s", self.seconds, request_id_of(scope))
            detail = f"处理超过 {self.seconds:g} 秒,已停止;查询请缩小范围,写入请先查询是否已生效,再决定是否重试"
            await refusal(scope, TimedOutError(detail), headers={"Retry-After": "5"})(scope, receive, send)
