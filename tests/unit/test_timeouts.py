"""The time limit of a request: what it stops, and what it leaves alone."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.middleware.timeouts import TimeoutMiddleware

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "state": {"request_id": "x"}}


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def answered(app: Any, seconds: float = 0.05) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await TimeoutMiddleware(app, seconds=seconds)(dict(SCOPE), receive, send)
    return sent


async def start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def test_what_is_in_time_is_left_alone() -> None:
    async def quick(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)

    assert [message["status"] for message in await answered(quick)] == [200]
    task = asyncio.current_task()
    assert task is not None
    await asyncio.sleep(0.1)
    assert task.cancelling() == 0


async def test_what_is_late_is_stopped_and_answered() -> None:
    cleaned = False

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal cleaned
        try:
            await asyncio.sleep(10)
        finally:
            cleaned = True

    sent = await answered(slow)
    assert sent[0]["status"] == 503
    assert b"/problems/timed-out" in sent[1]["body"]
    assert cleaned
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_answer_that_has_begun_is_broken_off() -> None:
    async def halting(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        await answered(halting)


async def test_what_answers_in_spite_of_it_is_left_alone() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await start(send)

    assert [message["status"] for message in await answered(stubborn)] == [200]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_errors_of_the_application_are_its_own() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError("of a library")

    with pytest.raises(TimeoutError, match="of a library"):
        await answered(failing)


async def test_being_canceled_by_another_goes_before() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(10)

    request = asyncio.create_task(answered(slow, seconds=10))
    await asyncio.sleep(0.01)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
