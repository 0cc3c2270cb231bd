"""Backups: what was in the database comes back, all of it, or nothing changes."""

import asyncio
import json
import os
import signal
import stat
import zipfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from app.cli.failures import UsageError
from app.cli.postgres import _without_password, find_programs
from app.embedded import Cluster
from app.settings import Settings
from tests.conftest import Clone
from tests.serve.test_serve import BOUND, Home, home
from tests.services.test_demo import fill

__all__ = ["home"]

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
RESTORING = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'psql'"


async def content(url: str) -> dict[str, str]:
    """A digest of all rows of every table."""
    digest = "SELECT md5(coalesce(string_agg(r::text, ';' ORDER BY r::text COLLATE \"C\"), '')) FROM {} r"
    connection = await asyncpg.connect(url)
    try:
        names = [row[0] for row in await connection.fetch(TABLES)]
        return {name: await connection.fetchval(digest.format(name)) for name in names}
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="module")
async def filled(clone: Clone) -> AsyncGenerator[str]:
    async with clone() as url:
        await fill(url)
        yield url


@pytest.fixture
def backup(home: Home, filled: str) -> Path:
    made = home.run("backup", home.base / "whole.backup", LIUZHANG_DATABASE_URL=filled)
    assert made.returncode == 0, made.stderr
    return home.base / "whole.backup"


async def restored(home: Home, url: str, backup: Path, *options: str) -> tuple[int, str]:
    ended = await asyncio.to_thread(home.run, "restore", backup, *options, LIUZHANG_DATABASE_URL=url)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout + ended.stderr


def altered(backup: Path, alter: Callable[[dict[str, Any]], object]) -> Path:
    """The same backup with another manifest."""
    other = backup.with_name("altered.backup")
    with zipfile.ZipFile(backup) as source, zipfile.ZipFile(other, "w") as target:
        manifest = json.loads(source.read("manifest.json"))
        alter(manifest)
        target.writestr("database.dump", source.read("database.dump"))
        target.writestr("manifest.json", json.dumps(manifest))
    return other


def test_a_backup_is_one_file_for_its_owner_alone(home: Home, backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [path.name for path in home.base.iterdir()] == [backup.name]


async def test_all_comes_back_in_an_empty_database(home: Home, filled: str, backup: Path, clone: Clone) -> None:
    async with clone(seeded=False) as url:
        code, told = await restored(home, url, backup)
        assert code == 0, told
        assert await content(url) == await content(filled)
        # It is a database to work on: rows are counted by triggers, keys go on where they were.
        connection = await asyncpg.connect(url)
        recounted = await connection.fetchval(
            "SELECT (SELECT sum(expected) FROM compliance_counts) = (SELECT count(*) FROM obligations)"
        )
        await connection.execute("UPDATE obligations SET waived_at = now() WHERE waived_at IS NULL")
        waived = await connection.fetchval("SELECT sum(waived) = sum(expected) FROM compliance_counts")
        await connection.close()
        assert (recounted, waived) == (True, True)
        again = home.run("backup", backup, LIUZHANG_DATABASE_URL=url)
        assert (again.returncode, "已存在" in again.stderr) == (1, True)


async def test_a_database_that_is_not_empty_is_replaced_only_when_asked_and_unused(
    home: Home, filled: str, backup: Path, clone: Clone
) -> None:
    async with clone() as url:
        before = await content(url)
        code, told = await restored(home, url, backup)
        assert (code, "不是空的" in told) == (1, True)
        # Nobody is there to say yes.
        code, told = await restored(home, url, backup, "--replace")
        assert (code, "继续吗" in told) == (1, True)
        other = await asyncpg.connect(url, server_settings={"application_name": "liuzhang-read"})
        code, told = await restored(home, url, backup, "--replace", "--yes")
        await other.close()
        assert (code, "正在使用中(liuzhang-read)" in told) == (1, True)
        assert await content(url) == before
        code, told = await restored(home, url, backup, "--replace", "--yes")
        assert code == 0, told
        assert await content(url) == await content(filled)
        service = home.serve(LIUZHANG_DATABASE_URL=url).ready()
        assert service.title()
        assert service.end() == 0


def _flipped(backup: Path) -> Path:
    content = bytearray(backup.read_bytes())
    content[len(content) // 3] ^= 1
    backup.write_bytes(content)
    return backup


def _cut_off(backup: Path) -> Path:
    os.truncate(backup, backup.stat().st_size // 2)
    return backup


def _one_row_more(manifest: dict[str, Any]) -> None:
    manifest["rows"]["materials"] += 1


def _a_table_more(manifest: dict[str, Any]) -> None:
    manifest["rows"]["no_such_table"] = 1


def _of_the_future(manifest: dict[str, Any]) -> None:
    manifest.update(revision="9999", service="9.0.0")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_flipped, "不是完好的备份文件"),
        (_cut_off, "不是完好的备份文件"),
        (lambda backup: altered(backup, lambda manifest: manifest.update(sha256="0" * 64)), "已损坏"),
        (lambda backup: altered(backup, lambda manifest: manifest.pop("rows")), "不是完好的备份文件"),
        (lambda backup: altered(backup, _of_the_future), "9999"),
        (lambda backup: altered(backup, _one_row_more), "表 materials 应有"),
        (lambda backup: altered(backup, _a_table_more), "no_such_table"),
    ],
)
async def test_what_is_not_as_it_was_made_changes_nothing(
    home: Home, backup: Path, clone: Clone, spoil: Callable[[Path], Path], told: str
) -> None:
    async with clone(seeded=False) as url:
        code, said = await restored(home, url, spoil(backup))
        assert (code, told in said) == (1, True), said
        assert await content(url) == {}


async def test_a_restore_that_is_killed_changes_nothing(
    home: Home, backup: Path, clone: Clone, cluster: Cluster
) -> None:
    async with clone() as url:
        before = await content(url)
        name = url.split("?")[0].rsplit("/", 1)[1]
        # From another database: whoever is connected to the same one stops the restore.
        watcher = await asyncpg.connect(cluster.url)

        async def psql_is(there: bool) -> None:
            async with asyncio.timeout(BOUND):
                while bool(await watcher.fetchval(RESTORING, name)) is not there:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        running = asyncio.create_task(restored(home, url, backup, "--replace", "--yes"))
        await psql_is(there=True)
        (restore,) = home.processes(f"restore {backup}")
        os.kill(restore, signal.SIGKILL)
        assert (await running)[0] == -signal.SIGKILL
        await psql_is(there=False)
        await watcher.close()
        assert await content(url) == before


def test_the_embedded_database_is_backed_up_while_it_serves(home: Home) -> None:
    service = home.serve().ready()
    backup = home.base / "running.backup"
    made = home.run("backup", backup)
    assert made.returncode == 0, made.stderr
    assert "plans" in json.loads(zipfile.ZipFile(backup).read("manifest.json"))["rows"]
    refused = home.run("restore", backup, "--replace", "--yes")
    assert (refused.returncode, "liuzhang-read" in refused.stderr) == (1, True)
    assert service.end() == 0
    other = home.run("restore", backup, LIUZHANG_DATA_DIR=str(home.base / "other"))
    assert other.returncode == 0, other.stderr
    assert home.stopped()


def test_programs_that_are_too_old_are_told(home: Home, filled: str) -> None:
    old = home.base / "old"
    old.mkdir()
    (old / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.9'\n")
    (old / "pg_dump").chmod(0o755)
    with pytest.raises(UsageError, match=r"PostgreSQL 99.*14\.9"):
        find_programs(Settings(pg_bin=old), filled, server=99)
    # Those of the package take their place.
    assert find_programs(Settings(pg_bin=old), filled, server=18).directory != old


@pytest.mark.parametrize(
    ("url", "address", "password"),
    [
        ("postgresql://u:p%40ss@db:5432/x", "postgresql://u@db:5432/x", "p@ss"),
        ("postgresql://u@db/x?sslmode=require", "postgresql://u@db/x?sslmode=require", None),
        ("postgresql://u:p@/x?host=/a%20b", "postgresql://u@/x?host=%2Fa%20b", "p"),
        ("postgresql://db/x?user=u&password=p", "postgresql://db/x?user=u", "p"),
    ],
)
def test_a_password_is_taken_out_of_an_address(url: str, address: str, password: str | None) -> None:
    assert _without_password(url) == (address, password)
