"""A load generator for HTTP/1.1 over keep-alive connections, small enough not to be what is measured."""

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Measurement", "drive"]

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Measurement:
    """What one run saw: answers, how long it took (s), every latency (s), answers of another status than expected."""

    answers: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list[float])
    unexpected: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], seen: Measurement, until: float, expected: bytes) -> None:
        self.requests = requests
        self.seen = seen
        self.until = until
        self.expected = expected
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = bytearray()
        self.missing = 0
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._send()

    def _send(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self.transport.close()
            return
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.missing:
            self.missing -= len(data)
        else:
            self.received += data
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self.received[:end])
            length = _LENGTH.search(head)
            self.missing = (int(length.group(1)) if length else 0) + end + 4 - len(self.received)
            self.seen.unexpected += not head.startswith(self.expected)
            self.received.clear()
        if self.missing <= 0:
            self.missing = 0
            now = time.perf_counter()
            self.seen.answers += 1
            self.seen.latencies.append(now - self.sent_at)
            if now < self.until:
                self._send()
            else:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self.done.done():
            self.done.set_result(None)


async def drive(
    port: int, requests: Iterator[bytes], *, seconds: float, connections: int = 32, status: int = 200
) -> Measurement:
    """Send ``requests`` (whole, as bytes) for some seconds or to their end, one at a time on each connection."""
    seen = Measurement()
    loop = asyncio.get_running_loop()
    expected = b"HTTP/1.1 %d" % status
    started = time.perf_counter()
    made = [
        await loop.create_connection(
            lambda: _Connection(requests, seen, started + seconds, expected), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    seen.seconds = time.perf_counter() - started
    return seen
