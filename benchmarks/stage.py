"""What every benchmark stands on: a PostgreSQL of its own with data, and servers to measure against each other."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError

import psutil

from app.clock import system_clock
from app.db import Database, open_write_pool
from app.domain.roles import parse_grant
from app.embedded import Cluster, running
from app.schemas.account import KeyCreate
from app.services.accounts import create_account, create_key
from app.services.caller import by_command

__all__ = ["Served", "database", "make_keys", "serving"]

WORKERS = 2


@dataclass(frozen=True, slots=True)
class Served:
    """A server under measurement."""

    name: str
    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """CPU time used so far by the server and its workers."""
        return sum(_cpu(process) for process in [self.process, *self.process.children(recursive=True)])

    def worker_memory(self) -> list[int]:
        """Resident bytes of each worker."""
        workers = sorted(self.process.children(recursive=True), key=lambda process: process.pid)
        return [process.memory_info().rss for process in workers]


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


@contextmanager
def database() -> Generator[Cluster]:
    """A durable PostgreSQL in a place of its own (fsync on, as users run it)."""
    with TemporaryDirectory(prefix="liuzhang-bench-", ignore_cleanup_errors=True) as place:
        Path(place).chmod(0o755)
        with running(Path(place, "data")) as cluster:
            yield cluster


async def make_keys(url: str, wanted: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """API keys by the names of their accounts, each with the grants wanted for it."""
    now, caller = system_clock(), by_command("benchmark")
    keys: dict[str, str] = {}
    async with open_write_pool(url, size=1) as pool, Database(pool).transaction() as db:
        for name, grants in wanted.items():
            account = await create_account(db, name, [parse_grant(grant) for grant in grants], now=now, caller=caller)
            keys[name] = (await create_key(db, account.code, KeyCreate(), "prod", now=now, caller=caller)).key
    return keys


@contextmanager
def serving(name: str, app: str, url: str, **environment: str) -> Generator[Served]:
    """Serve the application factory ``app`` by uvicorn with two workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--factory", "--port", str(port), "--workers", str(WORKERS)]
    command += ["--no-access-log", "--log-level", "warning", "--no-server-header"]
    process = subprocess.Popen(command, env={**os.environ, "LIUZHANG_DATABASE_URL": url, **environment})
    try:
        _wait(f"http://127.0.0.1:{port}/", process)
        yield Served(name, port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(1200):
        if process.poll() is not None:
            raise RuntimeError("the server did not start")
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except URLError as error:
            if getattr(error, "code", None) is not None:
                return
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the server does not answer")
