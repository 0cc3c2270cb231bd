"""When a request is sent again, and after how long.

Again: no connection or a broken one, 429, 502, 503, 504, and a 409 that says when to come back (``Retry-After``), which
is the first sending of the same request still being worked on. Everything else is an answer. To send a change again is
safe, since it carries the same ``Idempotency-Key`` each time.
"""

from collections.abc import Callable
from typing import Any, Final

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_result,
    stop_after_attempt,
    wait_exponential_jitter,
    wait_random,
)

from app.client.errors import UnreachableError

__all__ = ["comes_again", "retried"]

_AGAIN: Final = frozenset({429, 502, 503, 504})
# Seconds; a service that asks for a longer pause is not waited for, but told of.
_LONGEST: Final = 120
_growing = wait_exponential_jitter(multiplier=0.5, max=30, jitter=0.5)
_apart = wait_random(0, 0.5)


def retried(
    send: Callable[[], httpx.Response], *, retries: int, on_retry: Callable[[str, float], None]
) -> httpx.Response:
    """Send until there is an answer, with growing pauses that vary, or as long as the service asks for.

    Args:
        send: sends the request, each time the same.
        retries: how often at most it is sent again.
        on_retry: told before each pause: why, and how many seconds.

    Returns:
        The answer; the last one where all of them asked to come again.

    Raises:
        UnreachableError: no answer came at all.
    """
    attempts = Retrying(
        retry=retry_if_exception(_may_pass) | retry_if_result(_is_worth_waiting_for),
        stop=stop_after_attempt(retries + 1),
        wait=_pause,
        before_sleep=lambda state: on_retry(_reason(state), state.upcoming_sleep),
        # The last answer, or the last exception.
        retry_error_callback=_outcome,
    )
    try:
        return attempts(send)
    except httpx.TransportError as error:
        raise UnreachableError(f"无法访问服务: {_trouble(error)}") from error


def comes_again(response: httpx.Response) -> bool:
    """Whether an answer is none yet, but asks to come again."""
    return response.status_code in _AGAIN or (response.status_code == 409 and "retry-after" in response.headers)


def _is_worth_waiting_for(response: httpx.Response) -> bool:
    return comes_again(response) and (_asked_pause(response) or 0) <= _LONGEST


def _may_pass(error: BaseException) -> bool:
    """Whether the next attempt may fare better: what is wrong with the request or with a certificate stays wrong."""
    wrong = isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError) or "CERTIFICATE" in str(error)
    return isinstance(error, httpx.TransportError) and not wrong


def _pause(state: RetryCallState) -> float:
    outcome = state.outcome
    asked = None if outcome is None or outcome.failed else _asked_pause(outcome.result())
    # Those who were told the same pause do not all come back at once.
    return _growing(state) if asked is None else asked + _apart(state)


def _asked_pause(response: httpx.Response) -> int | None:
    asked = response.headers.get("retry-after", "")
    return int(asked) if asked.isascii() and asked.isdigit() else None


def _outcome(state: RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.result()


def _reason(state: RetryCallState) -> str:
    assert state.outcome is not None
    error = state.outcome.exception()
    return f"服务答复 HTTP {state.outcome.result().status_code}" if error is None else _trouble(error)


def _trouble(error: BaseException) -> str:
    match error:
        case httpx.ConnectTimeout():
            return "连接超时"
        case httpx.TimeoutException():
            return "应答超时"
        case httpx.ProxyError():
            return f"代理拒绝转发({error})"
        case _ if "CERTIFICATE" in str(error):
            return f"服务的证书不可信({error});内部证书请用 login 的 --ca-file 或 LIUZHANG_CA_FILE 给出根证书"
        case httpx.ConnectError():
            return f"无法连接({error})"
        case _:
            return f"连接中断({error})"
