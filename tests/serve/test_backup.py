"""Backups: what was in the database comes back, all of it, or nothing changes."""

import asyncio
import json
import os
import signal
import stat
import zipfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import pytest_asyncio

from app.cli.database import let_service_in
from app.cli.failures import UsageError
from app.cli.postgres import _without_password, find_programs
from app.db import PROTECTED
from app.embedded import Cluster
from app.settings import Settings
from tests.conftest import KEYS, Clone
from tests.serve.test_serve import BOUND, Home, Service, home
from tests.services.test_demo import fill

__all__ = ["home"]

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
# Everything that the roles of a database, its policies and its triggers hang on.
RIGHTS = {
    "tables": "SELECT relname, relacl::text, relrowsecurity FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    "columns": "SELECT attrelid::regclass::text, attname, attacl::text FROM pg_attribute WHERE attacl IS NOT NULL "
    "AND attrelid > 16383",
    "functions": "SELECT oid::regprocedure::text, proacl::text, prosecdef, proconfig FROM pg_proc "
    "WHERE pronamespace = 'public'::regnamespace",
    "policies": "SELECT * FROM pg_policies WHERE schemaname = 'public'",
    "triggers": "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal",
    "schema": "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'public'",
    "defaults": "SELECT defaclobjtype, defaclacl::text FROM pg_default_acl",
}
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


async def rights(url: str) -> dict[str, list[tuple[Any, ...]]]:
    connection = await asyncpg.connect(url)
    try:
        return {
            name: sorted((tuple(row) for row in await connection.fetch(query)), key=repr)
            for name, query in RIGHTS.items()
        }
    finally:
        await connection.close()


@asynccontextmanager
async def nothing_there(home: Home, clone: Clone) -> AsyncGenerator[dict[str, str]]:
    """A server without the service's role: the embedded one that the restore itself makes."""
    yield {}


@asynccontextmanager
async def role_there(home: Home, clone: Clone) -> AsyncGenerator[dict[str, str]]:
    async with clone(seeded=False) as url:
        yield {"LIUZHANG_DATABASE_URL": url}


@pytest.mark.parametrize("place", [nothing_there, role_there])
async def test_what_is_restored_is_defended_as_what_was_backed_up(
    home: Home, filled: str, backup: Path, clone: Clone, place: Any
) -> None:
    async with place(home, clone) as settings:
        ended = await asyncio.to_thread(home.run, "restore", backup, **settings)
        assert ended.returncode == 0, ended.stderr
        service = home.serve(**settings).ready()
        url = settings.get("LIUZHANG_DATABASE_URL") or home.url
        assert await rights(url) == await rights(filled)
        await assert_defended(url)
        assert_works(service)
        assert home.run("audit-verify", **settings).returncode == 0
        assert service.end() == 0


async def assert_defended(url: str) -> None:
    owner = await asyncpg.connect(url, server_settings={"session_replication_role": "replica"})
    service = await asyncpg.connect(await let_service_in(url))
    try:
        for table in PROTECTED:
            counted = f"SELECT count(*) FROM {table}"
            assert (await owner.fetchval(counted) > 0, await service.fetchval(counted)) == (True, 0)
        for connection, statement in (
            (owner, "UPDATE audit_entries SET actor = 'x'"),
            (owner, "TRUNCATE audit_heads"),
        ):
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(statement)
        await owner.execute("SET session_replication_role = origin")
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute("UPDATE submission_transitions SET reason = 'x'")
        for statement in ("INSERT INTO audit_heads VALUES ('x', 0, '')", "DELETE FROM submission_transitions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await service.execute(statement)
    finally:
        await owner.close()
        await service.close()


def assert_works(service: Service) -> None:
    """Reading and writing, which the audit trail is written with."""
    key = {"Authorization": f"Bearer {KEYS['everything']}"}
    with httpx.Client(base_url=f"{service.address}/api/v1", headers=key, timeout=BOUND, trust_env=False) as client:
        assert client.get("/submissions").json()["items"]
        made = client.post("/accounts", json={"name": "恢复之后", "grants": []})
        assert made.status_code == 201, made.text
        (entry,) = client.get("/audit", params={"subject": made.json()["code"]}).json()["items"]
        assert entry["action"] == "account.create"


async def test_whoever_restores_need_not_be_called_as_whoever_owned_it(
    home: Home, backup: Path, clone: Clone, cluster: Cluster
) -> None:
    admin = await asyncpg.connect(cluster.url)
    await admin.execute("CREATE ROLE county LOGIN PASSWORD 'county-secret'; GRANT liuzhang_service TO county")
    try:
        async with clone(seeded=False) as url:
            await admin.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} OWNER TO county")
            owned = url.replace(urlsplit(url).netloc, "county:county-secret@", 1)
            for options in ((), ("--replace", "--yes")):
                code, told = await restored(home, owned, backup, *options)
                assert code == 0, told
            assert {acl for _, acl in (await rights(owned))["defaults"]} == {
                "{liuzhang_service=U/county}",
                "{liuzhang_service=arwd/county}",
            }
            service = home.serve(LIUZHANG_DATABASE_URL=owned).ready()
            assert_works(service)
            assert service.end() == 0
    finally:
        await admin.execute("DROP ROLE county")
        await admin.close()


async def test_a_role_that_may_not_be_made_is_told_and_ends_the_restore_at_once(home: Home, backup: Path) -> None:
    # More than fits into the pipes is still to come then.
    service = home.serve().ready()
    owner = await asyncpg.connect(home.url)
    try:
        await owner.execute("CREATE ROLE county LOGIN PASSWORD 'county-secret'")
        await owner.execute("CREATE DATABASE county OWNER county")
        url = home.url.replace(urlsplit(home.url).netloc, "county:county-secret@", 1).replace("/liuzhang?", "/county?")
        wanted = altered(backup, lambda manifest: manifest["roles"].append("another"))
        code, told = await restored(home, url, wanted)
        assert (code, "CREATE ROLE another" in told) == (1, True), told
    finally:
        await owner.close()
    assert service.end() == 0


TAMPERED = {
    "UPDATE audit_entries SET actor_name = 'x' WHERE chain = 'service' AND position = 2": "内容与哈希不符",
    "DELETE FROM audit_entries WHERE chain = 'service' AND position = 2": "缺少 1 条",
}


@pytest.mark.parametrize("tampering", TAMPERED)
async def test_a_backup_with_a_broken_audit_trail_is_restored_only_when_asked(
    home: Home, clone: Clone, tampering: str
) -> None:
    broken = home.base / "broken.backup"
    async with clone() as url:
        connection = await asyncpg.connect(url)
        await connection.execute(f"ALTER TABLE audit_entries DISABLE TRIGGER ALL; {tampering}")
        await connection.execute("ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER refuse_change")
        await connection.close()
        source = await content(url)
        made = await asyncio.to_thread(home.run, "backup", broken, LIUZHANG_DATABASE_URL=url)
        assert made.returncode == 0, made.stderr
    async with clone() as url:
        before = await content(url)
        code, told = await restored(home, url, broken, "--replace", "--yes")
        assert (code, TAMPERED[tampering] in told, "链 service 第 2 条" in told) == (1, True, True), told
        assert await content(url) == before
        code, told = await restored(home, url, broken, "--replace", "--yes", "--accept-broken-trail")
        assert (code, TAMPERED[tampering] in told) == (0, True), told
        assert await content(url) == source


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


def _another_end(manifest: dict[str, Any]) -> None:
    manifest["audit_heads"] = [f"{head[:-64]}{'0' * 64}" for head in manifest["audit_heads"]]


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
        (lambda backup: altered(backup, _another_end), "哈希与另行记下的不同"),
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
