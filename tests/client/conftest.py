"""The command as scripts run it, on a real service, and a server in between that fails as told."""

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.clock import SHANGHAI
from app.db import Database, open_write_pool
from app.main import create_app
from app.settings import Settings
from tests.conftest import Clone, listening, make_key

COMMAND = Path(sys.executable).with_name("liuzhang")
NOW = datetime(2023, 5, 10, 9, 0, tzinfo=SHANGHAI)
UNIT, PERIOD = "431228-jyj", "2023-05"
GRANTS = {
    "reporter": [f"reporter:{UNIT}"],
    "two units": [f"reporter:{UNIT}", "reporter:431228-nyncj"],
    "insurer": ["reporter:431228-ybj"],
    "certifier": ["certifier:431228-tjj"],
    "reader": ["reader"],
    "administrator": ["administrator"],
}


@dataclass(frozen=True)
class Offered:
    """A service of which nothing has been used yet, with keys for it by name."""

    server: str
    keys: dict[str, str]


@dataclass
class Caller:
    """Somebody who runs commands, with a home of their own."""

    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path, stdin: str | None = None, **variables: str) -> "Ended":
        done = subprocess.run(
            [COMMAND, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=self.home,
            env=self.variables(variables),
            timeout=90,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def variables(self, more: dict[str, str]) -> dict[str, str]:
        """The environment; an empty value takes one away."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LIUZHANG_") and not name.lower().endswith("_proxy")
        }
        home = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "PYTHONUTF8": "1"}
        return {name: value for name, value in (inherited | home | self.environment | more).items() if value}


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass
class Fails:
    """A server in front of another, that does for each request what stands next in ``acts``, and then passes on.

    ``drop`` closes the connection, ``lose`` passes on and closes it before the answer, a status answers with it.
    """

    target: str
    acts: list[str | tuple[int, dict[str, str]]] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    def keys(self, method: str) -> list[str]:
        """The idempotency keys of the requests of a method."""
        return [headers["idempotency-key"] for found, _, headers in self.seen if found == method]


@contextmanager
def failing(
    target: str, *acts: str | tuple[int, dict[str, str]], tls: ssl.SSLContext | None = None
) -> Generator[Fails]:
    """A :class:`Fails` that listens; where it is asked as a proxy, it goes where it is told."""
    fails = Fails(target, list(acts))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            fails.seen.append((self.command, self.path, headers))
            act = fails.acts.pop(0) if fails.acts else "pass"
            self.close_connection = True
            if act == "drop":
                return
            if isinstance(act, tuple):
                self.answer(act[0], act[1], b"")
                return
            passed = {name: value for name, value in headers.items() if name not in {"host", "content-length"}}
            url = self.path if self.path.startswith("http") else f"{target}{self.path}"
            answer = httpx.request(self.command, url, content=body, headers=passed, trust_env=False, timeout=30)
            if act != "lose":
                kept = {"Content-Type": answer.headers["content-type"]}
                self.answer(answer.status_code, kept, answer.content)

        do_GET = do_POST = do_PUT = handle_any  # noqa: N815

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content)), "Connection": "close"}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        fails.address = f"{'http' if tls is None else 'https'}://localhost:{server.server_port}"
        try:
            yield fails
        finally:
            server.shutdown()
            thread.join(10)


@pytest_asyncio.fixture(scope="module")
async def offered(clone: Clone) -> AsyncGenerator[Offered]:
    async with clone() as url:
        async with open_write_pool(url, size=1) as pool:
            db = Database(pool)
            keys = {name: await make_key(db, f"账号 {name}", grants) for name, grants in GRANTS.items()}
        with listening(create_app(Settings(database_url=url), clock=lambda: NOW)) as address:
            yield Offered(address, keys)


@pytest.fixture
def caller(offered: Offered, tmp_path: Path) -> Callable[..., Caller]:
    """Make somebody: by the name of a key, at the service or at another address."""

    def make(name: str = "reporter", *, server: str | None = None) -> Caller:
        variables = {"LIUZHANG_SERVER": server or offered.server, "LIUZHANG_KEY": offered.keys[name]}
        return Caller(tmp_path, variables)

    return make


@pytest.fixture
def stranger(tmp_path: Path) -> Caller:
    """Somebody who has not said where the service is."""
    return Caller(tmp_path, {})
