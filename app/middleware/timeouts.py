"""How long a request may take."""

import asyncio
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TimedOutError, UnavailableError
from app.problems import refusal

__all__ = ["TimeoutMiddleware"]

_STOPPED = "服务已停止,没有等到处理完;写入请先查询是否已生效,再决定是否重试"
_log = logging.getLogger("liuzhang.errors")


class TimeoutMiddleware:
    """Stops a request that takes too long; a transaction that it has open is undone, its statement is canceled.

    A report or a form may be on its way to the database together with others (:class:`app.services.intake.Intake`),
    whom the timeout of one does not concern: it may be taken in all the same, so the answer promises nothing about
    writes.
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
        started = expired = False
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None, "a request is handled in a task"

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        def expire() -> None:
            nonlocal expired
            expired = True
            task.cancel()

        # As asyncio.timeout does it, which costs three times as much on each of the requests that it does not concern.
        timer = loop.call_later(self.seconds, expire)
        try:
            await self.app(scope, receive, noted)
        except asyncio.CancelledError:
            # Somebody else may have canceled it too, such as the server as it stops: that goes before.
            if not expired or task.uncancel() > 0:
                if not started:
                    await refusal(scope, UnavailableError(_STOPPED), headers={"Retry-After": "5"})(scope, receive, send)
                raise
            if started:
                raise TimeoutError from None
        else:
            if expired:
                task.uncancel()
            return
        finally:
            timer.cancel()
        _log.warning("timed out after %gs", self.seconds)
        detail = f"处理超过 {self.seconds:g} 秒,已停止;查询请缩小范围,写入请先查询是否已生效,再决定是否重试"
        await refusal(scope, TimedOutError(detail), headers={"Retry-After": "5"})(scope, receive, send)
