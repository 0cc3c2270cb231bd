"""Restoring a backup: a script of pg_restore run by psql, in one transaction.

It ends with counting the rows of every table and checking the audit trail: it comes to pass as a whole, with all that
the backup says it holds, or not at all.
"""

import asyncio
import re
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress

import asyncpg

import migrations
from app.cli.archive import Archive, Manifest
from app.cli.audit import gathered, parse_anchors
from app.cli.database import prepare
from app.cli.failures import UsageError
from app.cli.postgres import Programs, find_programs
from app.cli.restored_trail import check_restored_trail
from app.cli.sql import TABLES, literal, quoted
from app.services.audit_check import TrailCheck
from app.settings import Settings

__all__ = ["restore_from"]

_PIECE = 1024 * 1024
_OTHERS = """
    SELECT string_agg(DISTINCT coalesce(nullif(application_name, ''), 'pid ' || pid), '、') FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_KNOWS_TRANSACTION_TIMEOUT = 17
_OWNERS_DEFAULT = re.compile(rb"^ALTER DEFAULT PRIVILEGES FOR ROLE (\"(?:[^\"]|\"\")+\"|\S+)", re.MULTILINE)


async def restore_from(archive: Archive, settings: Settings, url: str, *, replace: bool, accept: bool) -> str:
    """Restore, then bring the structure up to date; what to tell of the audit trail.

    Raises:
        UsageError: the database is not empty, or somebody uses it, or the backup is not what it says.
    """
    connection = await asyncpg.connect(url)
    try:
        if not replace and await connection.fetch(TABLES):
            raise UsageError("数据库不是空的,不恢复;请指定空的数据库,或用 --replace 取代其中的全部内容")
        if replace and (others := await connection.fetchval(_OTHERS)) is not None:
            raise UsageError(f"数据库正在使用中({others});请先停止服务和其他连接")
        server = connection.get_server_version().major
        programs = find_programs(settings, url, server=server)
        trail = await _run_restore(programs, archive, server=server, replace=replace, accept=accept)
    finally:
        await connection.close()
    await prepare(url, seed=False)
    return trail


async def _run_restore(programs: Programs, archive: Archive, *, server: int, replace: bool, accept: bool) -> str:
    manifest = archive.manifest
    options = ["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--no-password"]
    options += ["--no-align", "--tuples-only"]
    async with programs.running("psql", "--dbname", programs.address, *options) as psql:
        assert psql.stdin is not None
        psql.stdin.write(_opening(manifest, replace=replace).encode())
        async with _script(programs, archive, "pre-data", "data") as script:
            psql.stdin.write(await _header(script, server=server))
            await _pump(script, psql.stdin)
        async with _script(programs, archive, "post-data") as script:
            psql.stdin.write(await _header(script, server=server))
            # Whoever restores need not be called as whoever owned the tables.
            psql.stdin.write(_OWNERS_DEFAULT.sub(b"ALTER DEFAULT PRIVILEGES", await script.read()))
        psql.stdin.write(_counting(manifest).encode())
        trail = await _checked_trail(psql, manifest, accept=accept)
        # Only now that all of it was read: without this line, psql ends without having changed anything.
        psql.stdin.write(b"COMMIT;\n")
        await psql.stdin.drain()
        psql.stdin.close()
    return trail


@asynccontextmanager
async def _script(programs: Programs, archive: Archive, *sections: str) -> AsyncGenerator[StreamReader]:
    """What pg_restore makes of sections of the dump."""
    named = [f"--section={section}" for section in sections]
    async with programs.running("pg_restore", "--no-owner", "--file=-", *named) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feeding = asyncio.create_task(_feed(archive.pieces(), process.stdin))
        try:
            yield process.stdout
            await feeding
        finally:
            feeding.cancel()


async def _feed(pieces: Iterable[bytes], into: StreamWriter) -> None:
    try:
        # Whoever has read all that it needs ends; so does one that fails, and says why.
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                into.write(piece)
                await into.drain()
    finally:
        into.close()


async def _header(script: StreamReader, *, server: int) -> bytes:
    """The settings that a script begins with, but for those that an older server does not know."""
    try:
        header = await script.readuntil(b"SET client_encoding")
    except IncompleteReadError as ended:
        return ended.partial
    return header if server >= _KNOWS_TRANSACTION_TIMEOUT else header.replace(b"SET transaction_timeout = 0;\n", b"")


async def _pump(out: StreamReader, into: StreamWriter) -> None:
    while piece := await out.read(_PIECE):
        into.write(piece)
        await into.drain()


async def _checked_trail(psql: Process, manifest: Manifest, *, accept: bool) -> str:
    """Check the audit trail within the open transaction; what to tell of it.

    Raises:
        UsageError: it is not as it was written, and that is not accepted.
    """
    if "audit_entries" not in manifest.rows:
        return "备份时还没有审计记录"
    report = TrailCheck()
    count, told = await gathered(check_restored_trail(psql, parse_anchors(manifest.audit_heads), report))
    if not count:
        return f"审计记录 {report.entries} 条核对无误"
    found = "\n".join([f"审计记录的哈希链有 {count} 处问题:", *map(str, told)])
    if not accept:
        raise UsageError(f"{found}\n没有恢复;请换一份备份,或查明之后用 --accept-broken-trail 恢复")
    return f"但{found}"


def _opening(manifest: Manifest, *, replace: bool) -> str:
    lines = ["BEGIN;", f"SELECT pg_advisory_xact_lock({migrations.LOCK});", "SET LOCAL lock_timeout = '10s';"]
    if replace:
        lines += [
            "DROP SCHEMA public CASCADE;",
            "CREATE SCHEMA public AUTHORIZATION pg_database_owner;",
            "GRANT USAGE ON SCHEMA public TO PUBLIC;",
        ]
    return "\n".join([*lines, *map(_role, manifest.roles), ""])


def _role(name: str) -> str:
    """Make a role where another server does not have it; whoever restores can act as it, like whoever migrates."""
    told = f"须有数据库角色 {name},而恢复所用的账号无权创建;请由数据库管理员执行:CREATE ROLE {name}; 然后重试"
    return f"""
        DO $role$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(name)}) THEN
                CREATE ROLE {quoted(name)};
                IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                    GRANT {quoted(name)} TO CURRENT_USER;
                END IF;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN RAISE EXCEPTION USING MESSAGE = {literal(told)};
        END $role$;
    """  # noqa: S608 - quoted


def _counting(manifest: Manifest) -> str:
    checks = [
        f"SELECT count(*) INTO found FROM public.{quoted(table)}; IF found <> {rows} THEN "  # noqa: S608
        f"RAISE EXCEPTION '表 % 应有 {rows} 行,恢复出 % 行', {literal(table)}, found; END IF;"
        for table, rows in manifest.rows.items()
    ]
    return "\n".join(["", "DO $count$ DECLARE found bigint; BEGIN", *checks, "END $count$;", ""])
