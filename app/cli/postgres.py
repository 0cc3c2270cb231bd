"""PostgreSQL's own programs, run beside a server that may be a newer or an older one than they are.

They run as whoever runs the command: unlike the server they do not mind root, and it is the command's file that they
fill. The password of the database is never in a command line, which everybody on the machine can read.
"""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from app.cli.failures import UsageError
from app.embedded import package_programs
from app.settings import PREFIX, Settings

__all__ = ["Programs", "find_programs"]

_ENDING_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Programs:
    """A directory of programs, for one database."""

    directory: Path
    address: str
    password: str | None

    @asynccontextmanager
    async def running(self, name: str, *arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
        """Run a program with pipes to and from it; it is killed where this is left by an error.

        Raises:
            UsageError: it failed; the message is its own.
        """
        process = await asyncio.create_subprocess_exec(
            self.directory / name,
            *arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
        )
        assert process.stderr is not None
        said = asyncio.create_task(process.stderr.read())
        try:
            try:
                yield process
                code = await process.wait()
            except (BrokenPipeError, ConnectionResetError):
                # Either this one ended early, and says why, or one that it was to be connected with.
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), _ENDING_SECONDS)
                code = process.returncode
                if not code:
                    raise
        finally:
            if process.returncode is None:
                process.kill()
                assert process.stdout is not None
                # It is not seen to have ended as long as there is something that nobody has read.
                await asyncio.gather(process.stdout.read(), process.wait())
            told = (await said).decode("utf-8", "replace").strip()
        if code != 0:
            raise UsageError(f"{name} 没有完成(退出码 {code}):\n{told[-2000:]}")

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return (
            kept
            | {"LC_ALL": "C", "PGCLIENTENCODING": "UTF8"}
            | ({} if self.password is None else {"PGPASSWORD": self.password})
        )


def find_programs(settings: Settings, url: str, *, server: int) -> Programs:
    """The programs of the settings, of the Python package or of the machine that are not older than the server.

    Raises:
        UsageError: there are none; the message tells the versions that there are.
    """
    on_path = shutil.which("pg_dump")
    places = [settings.pg_bin, package_programs(), None if on_path is None else Path(on_path).parent]
    found: list[str] = []
    for place in places:
        if place is None or not (place / "pg_dump").is_file():
            continue
        told = subprocess.run([place / "pg_dump", "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
        version = re.search(r"\) (\d+)", told)
        if version is not None and int(version[1]) >= server:
            address, password = _without_password(url)
            return Programs(place, address, password)
        found.append(f"{place}({told.strip() or '不能运行'})")
    raise UsageError(
        f"服务器是 PostgreSQL {server},需要同版或更新的 pg_dump、pg_restore、psql;"
        f"现有: {'、'.join(found) or '没有'};请安装 PostgreSQL {server} 的客户端程序,用 LIUZHANG_PG_BIN 指定其目录"
    )


def _without_password(url: str) -> tuple[str, str | None]:
    """An address of a database without the password in it, and the password."""
    parts = urlsplit(url)
    account, _, hosts = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    query = parse_qsl(parts.query)
    asked = dict(query).get("password", unquote(password)) or None
    left = urlencode([(name, value) for name, value in query if name != "password"])
    # libpq reads %20, and no plus, as a blank.
    return urlunsplit(
        parts._replace(netloc=f"{user}@{hosts}" if account else hosts, query=left.replace("+", "%20"))
    ), asked
