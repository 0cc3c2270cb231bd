"""``liuzhang backup`` and ``liuzhang restore``: all of the database in one file, and back.

A restore is one transaction that ends with counting the rows of every table: it comes to pass as a whole, with all that
the backup says it holds, or not at all.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import orjson
import typer

import migrations
from app.cli.archive import Archive, Manifest, NewArchive, new_archive, open_archive
from app.cli.database import check_version, database, prepare
from app.cli.failures import UsageError, explained
from app.cli.postgres import Programs, find_programs
from app.clock import system_clock
from app.settings import Settings, read_settings
from app.version import VERSION

__all__ = ["commands"]

commands = typer.Typer()

_PIECE = 1024 * 1024
_TABLES = """
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = CAST('public' AS regnamespace) AND c.relkind = 'r'
    ORDER BY c.relname
"""
# Who owns the tables is left to the restore; to whom they were opened is part of the backup.
_ROLES = """
    SELECT DISTINCT r.rolname FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND a.grantee <> c.relowner ORDER BY r.rolname
"""
_OTHERS = """
    SELECT string_agg(DISTINCT coalesce(nullif(application_name, ''), 'pid ' || pid), '、') FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@commands.command()
@explained
def backup(path: Annotated[Path, typer.Argument(help="写入的文件;已有的文件不覆盖")]) -> None:
    """备份数据库为一个文件;服务可以照常运行。"""
    settings = read_settings()
    with database(settings) as (url, place):
        made = asyncio.run(_back_up(settings, url, path))
    typer.echo(f"已备份 {place}\n{_described(path, made)}")


@commands.command()
@explained
def restore(
    path: Annotated[Path, typer.Argument(help="备份文件", exists=True, dir_okay=False)],
    replace: Annotated[bool, typer.Option("--replace", help="数据库不是空的也恢复,其中的全部内容被取代")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问")] = False,
) -> None:
    """从备份恢复到空数据库,核对后才生效;中断或核对不符则什么也不改变。"""
    settings = read_settings()
    with open_archive(path) as archive:
        if archive.manifest.revision not in migrations.revisions():
            raise UsageError(
                f"备份的表结构版本 {archive.manifest.revision} 不为本版本({VERSION})所知;"
                f"它由 {archive.manifest.service} 版备份,请用该版或更新的版本恢复"
            )
        with database(settings) as (url, place):
            asyncio.run(check_version(url))
            if replace and not yes:
                typer.confirm(f"{place} 中的全部内容将被 {path} 取代,继续吗?", abort=True)
            asyncio.run(_restore(settings, url, archive, replace=replace))
            typer.echo(f"已恢复到 {place},各表行数与备份一致\n{_described(path, archive.manifest)}")


def _described(path: Path, manifest: Manifest) -> str:
    return (
        f"文件 {path}({path.stat().st_size} 字节),备份于 {manifest.made_at.isoformat(timespec='seconds')},"
        f"liuzhang {manifest.service},PostgreSQL {manifest.server},表结构 {manifest.revision},"
        f"{len(manifest.rows)} 张表共 {sum(manifest.rows.values())} 行\nSHA-256 {manifest.sha256}"
    )


async def _back_up(settings: Settings, url: str, path: Path) -> Manifest:
    connection = await asyncpg.connect(url)
    try:
        programs = find_programs(settings, url, server=connection.get_server_version().major)
        with new_archive(path) as archive:
            # What is counted and what is dumped is the same instant of the database, whatever is written meanwhile.
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                counted = await _count(connection)
                snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
                await _dump(programs, snapshot, archive)
            return archive.finish(counted)
    finally:
        await connection.close()


async def _count(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, Any]:
    """What a manifest says, but for the digest."""
    tables = [row[0] for row in await connection.fetch(_TABLES)]
    if "alembic_version" not in tables:
        raise UsageError("数据库中还没有表,没有可备份的内容;请先运行 liuzhang migrate")
    return {
        "made_at": system_clock(),
        "service": VERSION,
        "server": await connection.fetchval("SHOW server_version"),
        "revision": await connection.fetchval("SELECT version_num FROM alembic_version"),
        "roles": [row[0] for row in await connection.fetch(_ROLES)],
        "rows": {table: await connection.fetchval(f"SELECT count(*) FROM {_quoted(table)}") for table in tables},  # noqa: S608
        "audit_heads": await _audit_heads(connection) if "audit_heads" in tables else [],
    }


async def _audit_heads(connection: "asyncpg.Connection[asyncpg.Record]") -> list[dict[str, Any]]:
    """The ends of the audit trail's chains."""
    rows = await connection.fetch("SELECT CAST(to_json(h) AS text) FROM audit_heads h ORDER BY h.chain")
    return [orjson.loads(row[0]) for row in rows]


async def _dump(programs: Programs, snapshot: str, archive: NewArchive) -> None:
    options = ["--format=custom", f"--snapshot={snapshot}", "--no-owner", "--no-password"]
    async with programs.running("pg_dump", "--dbname", programs.address, *options) as process:
        assert process.stdout is not None
        while piece := await process.stdout.read(_PIECE):
            archive.add(piece)


async def _restore(settings: Settings, url: str, archive: Archive, *, replace: bool) -> None:
    """Restore, then bring the structure up to date.

    Raises:
        UsageError: the database is not empty, or somebody uses it, or the backup is not what it says.
    """
    connection = await asyncpg.connect(url)
    try:
        if not replace and await connection.fetch(_TABLES):
            raise UsageError("数据库不是空的,不恢复;请指定空的数据库,或用 --replace 取代其中的全部内容")
        if replace and (others := await connection.fetchval(_OTHERS)) is not None:
            raise UsageError(f"数据库正在使用中({others});请先停止服务和其他连接")
        programs = find_programs(settings, url, server=connection.get_server_version().major)
        await _run_restore(programs, archive, replace=replace)
        if archive.manifest.audit_heads and await _audit_heads(connection) != archive.manifest.audit_heads:
            raise UsageError("已恢复,但审计链的末端与备份的清单不符;请勿使用这份数据")
    finally:
        await connection.close()
    await prepare(url, seed=False)


async def _run_restore(programs: Programs, archive: Archive, *, replace: bool) -> None:
    options = ["--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--no-password"]
    async with programs.running("psql", "--dbname", programs.address, *options) as psql:
        assert psql.stdin is not None
        psql.stdin.write(_opening(archive.manifest, replace=replace).encode())
        async with programs.running("pg_restore", "--no-owner", "--file=-") as script:
            assert script.stdin is not None
            assert script.stdout is not None
            await asyncio.gather(_feed(archive.pieces(), script.stdin), _pump(script.stdout, psql.stdin))
        # Only now that all of it was read: without these lines, psql ends without having changed anything.
        psql.stdin.write(_closing(archive.manifest).encode())
        await psql.stdin.drain()
        psql.stdin.close()


async def _feed(pieces: Iterable[bytes], into: StreamWriter) -> None:
    for piece in pieces:
        into.write(piece)
        await into.drain()
    into.close()


async def _pump(out: StreamReader, into: StreamWriter) -> None:
    while piece := await out.read(_PIECE):
        into.write(piece)
        await into.drain()


def _opening(manifest: Manifest, *, replace: bool) -> str:
    lines = ["BEGIN;", f"SELECT pg_advisory_xact_lock({migrations.LOCK});", "SET LOCAL lock_timeout = '10s';"]
    if replace:
        lines += [
            "DROP SCHEMA public CASCADE;",
            "CREATE SCHEMA public AUTHORIZATION pg_database_owner;",
            "GRANT USAGE ON SCHEMA public TO PUBLIC;",
        ]
    for role in manifest.roles:
        # Another server may not have it; whoever restores must be able to act as it, like whoever migrates.
        made = f"CREATE ROLE {_quoted(role)} NOINHERIT; GRANT {_quoted(role)} TO CURRENT_USER;"
        lines.append(
            f"DO $role$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {_literal(role)}) THEN {made} "
            "END IF; END $role$;"
        )
    return "\n".join([*lines, ""])


def _closing(manifest: Manifest) -> str:
    checks = [
        f"SELECT count(*) INTO found FROM public.{_quoted(table)}; IF found <> {rows} THEN "  # noqa: S608
        f"RAISE EXCEPTION '表 % 应有 {rows} 行,恢复出 % 行', {_literal(table)}, found; END IF;"
        for table, rows in manifest.rows.items()
    ]
    return "\n".join(["", "DO $count$ DECLARE found bigint; BEGIN", *checks, "END $count$;", "COMMIT;", ""])


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _literal(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
