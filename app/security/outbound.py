"""Sends a webhook's request, to where it may go and nowhere else.

The name is resolved here, every address it has is checked, and the connection is made to an address that was checked:
no second look at the name can lead elsewhere. TLS and ``Host`` go by the name as ever. There are no redirects, no
proxies, no cookies; little of the answer is read, and none of it kept, so that a webhook reads nothing for anybody.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Self, cast

import httpcore
import httpx

from app.security.addresses import Network
from app.security.targets import TargetError, Targets, reachable

__all__ = ["Outbound", "Outcome"]

_LARGEST_ANSWER = 64 * 1024
_LONGEST_RETRY_AFTER = 3600


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: the status, or (Chinese) why there is none, and how long it took."""

    status: int | None
    error: str | None
    latency_ms: int
    retry_after: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and 200 <= self.status < 300


class _Refused(httpcore.ConnectError):
    """The name leads to an address that is not to be reached."""


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        # Whether anyio is there, which Starlette needs, is not known to type checkers.
        self._backend = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of the host that answers; if any of them is not allowed, to none."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"域名 {host} 无法解析") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        refused = [address for address in addresses if not reachable(address, self._networks)]
        if refused or not addresses:
            raise _Refused(f"{host} 指向 {'、'.join(refused[:3])},不是允许访问的地址")
        failed: Exception | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError(host)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)


class Outbound:
    """Sends to where ``targets`` allow; enter it as a context manager."""

    def __init__(self, targets: Targets, *, timeout: float = 10, tls: ssl.SSLContext | None = None) -> None:
        """Give every request ``timeout`` seconds in all; ``tls`` in place of the usual authorities."""
        self.targets = targets
        self._timeout = timeout
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls or ssl.create_default_context(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=30,
            network_backend=_Checked(targets.networks),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """Send ``body``; whatever goes wrong is told, nothing is raised."""
        started = perf_counter()
        try:
            self.targets.check(url)
            async with asyncio.timeout(self._timeout):
                status, retry_after = await self._exchange(url, headers, body)
        except TargetError as error:
            return Outcome(None, error.detail, 0)
        except TimeoutError:
            return Outcome(None, f"{self._timeout:g} 秒内没有答复", _since(started))
        except _Refused as error:
            return Outcome(None, str(error), _since(started))
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            return Outcome(None, f"连接失败: {str(error)[:200] or type(error).__name__}", _since(started))
        refusal = None if 200 <= status < 300 else f"答复 {status}"
        return Outcome(status, refusal, _since(started), retry_after)

    async def _exchange(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int, int]:
        parsed = httpx.URL(url)
        async with self._pool.stream(
            "POST",
            httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path),
            headers={"Host": parsed.netloc.decode("ascii"), "Content-Length": str(len(body)), **headers},
            content=body,
        ) as response:
            read = 0
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read > _LARGEST_ANSWER:
                    break
            asked = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
            return response.status, min(int(asked), _LONGEST_RETRY_AFTER) if asked.isdigit() else 0


def _since(started: float) -> int:
    return round((perf_counter() - started) * 1000)
