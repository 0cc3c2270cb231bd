"""A receiver of webhooks over real HTTP, which answers as it is told and keeps what it was sent."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Message", "Receiver", "receiving"]


@dataclass(frozen=True)
class Message:
    """One request as it came, and what it was answered."""

    path: str
    headers: dict[str, str]
    body: bytes
    status: int

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)

    def signed_with(self, secret: str) -> bool:
        """Whether one of the signatures is made with a secret, as docs/events.md says."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """Answers each message by ``answer``; what it took (2xx) is in ``taken``, in order."""

    answer: Callable[[dict[str, Any]], int] = lambda _: 204
    url: str = ""
    messages: list[Message] = field(default_factory=list)
    extra: str = ""
    delay: float = 0

    @property
    def taken(self) -> list[Message]:
        return [message for message in self.messages if 200 <= message.status < 300]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n"):
                headers: dict[str, str] = {}
                while line := (await reader.readuntil(b"\r\n")).decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await asyncio.sleep(self.delay)
                status = self.answer(json.loads(body))
                self.messages.append(Message(request.split()[1].decode(), headers, body, status))
                writer.write(f"HTTP/1.1 {status} X\r\n{self.extra}Content-Length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?x=1"
    try:
        yield receiver
    finally:
        server.close()
