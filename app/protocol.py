"""HTTP/1.1 as this service reads it: Chinese may stand in the URL as people type it.

A URL is ASCII (RFC 3986), and the parser refuses anything else. But ``curl 'http://…/tasks?unit=县发改局'`` sends the
characters as they are, in UTF-8, and so do many scripts. They are percent-encoded here before the parser sees them,
which is what the sender meant. What is no HTTP at all is answered with a problem like every other error.
"""

import asyncio
import re
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import AppError, BadRequestError, HeadersTooLargeError, SlowBodyError
from app.problems import problem_of

__all__ = ["LenientHttpProtocol", "encode_target"]

_REQUEST_LINE = re.compile(rb"([A-Z]{3,7} )([^ \r\n]+)( HTTP/1\.[01]\r\n)")
_NON_ASCII = re.compile(rb"[\x80-\xff]")


def encode_target(data: bytes) -> bytes:
    """Percent-encode the bytes beyond ASCII in the request line that ``data`` begins with, if it does."""
    line = None if data.isascii() else _REQUEST_LINE.match(data)
    if line is None or line.group(2).isascii():
        return data
    target = _NON_ASCII.sub(lambda byte: b"%%%02X" % byte.group()[0], line.group(2))
    return line.group(1) + target + line.group(3) + data[line.end() :]


class LenientHttpProtocol(HttpToolsProtocol):
    """The server's protocol for one connection.

    The parser itself knows no limits: a request line or header without end would be kept in memory, and one that
    trickles in would hold its connection for ever. Bodies are bounded where they are read.
    """

    header_size: ClassVar[int] = 64 * 1024
    header_seconds: ClassVar[float] = 20
    # How long a server that stops waits for requests that may be on their way already.
    last_seconds: ClassVar[float] = 0.5

    _heading = False
    _headed = 0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin; who connects and says nothing is let go in time."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.header_seconds, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; whatever was to be waited for is so no more."""
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass on what came in; the body of a running request is never touched."""
        cycle = getattr(self, "cycle", None)
        between_requests = cycle is None or cycle.response_complete
        if between_requests and len(data) > self.header_size and data.find(b"\r\n\r\n", 0, self.header_size) < 0:
            self._refuse(HeadersTooLargeError, self._too_large())
            return
        within_header = self._heading
        super().data_received(encode_target(data) if between_requests else data)
        if self._heading and not self.transport.is_closing():
            # What it began in may have been the end of a body.
            self._wait_for_header(len(data) if within_header else 0)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._heading = True
        self._headed = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its header is there."""
        self._heading = False
        self._in_time()
        super().on_headers_complete()
        if self.app_state.get("stopping"):
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """The server stops: a request that has begun is finished, and one that is on its way is waited for."""
        cycle = getattr(self, "cycle", None)
        if cycle is not None and not cycle.response_complete:
            super().shutdown()
        elif not self._heading:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(self.last_seconds, self.timeout_keep_alive_handler)

    def _wait_for_header(self, more: int) -> None:
        """Keep count of a header that comes in pieces."""
        self._headed += more
        if self._headed > self.header_size:
            self._refuse(HeadersTooLargeError, self._too_large())
        elif self._late is None:
            detail = f"请求头没有在 {self.header_seconds:g} 秒内传完"
            self._late = self.loop.call_later(self.header_seconds, self._refuse, SlowBodyError, detail)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_large(self) -> str:
        return f"请求行与请求头合计至多 {self.header_size} 字节"

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the server's words are not for users
        """Answer what cannot be parsed, and close."""
        self._refuse(BadRequestError, "收到的内容不是合法的 HTTP 请求,请检查请求行与请求头")

    def _refuse(self, error: type[AppError], detail: str) -> None:
        """Answer with a problem, and close."""
        self._heading = False
        self._in_time()
        if self.transport.is_closing():
            return
        body = problem_of(error(detail), "-")
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
