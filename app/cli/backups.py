"""``liuzhang backup`` and ``liuzhang restore``: all of the database in one file, and back."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

import migrations
from app.cli.archive import Manifest, NewArchive, new_archive, open_archive
from app.cli.database import check_version, database
from app.cli.failures import UsageError, explained
from app.cli.postgres import Programs, find_programs
from app.cli.restoring import restore_from
from app.cli.sql import TABLES, quoted
from app.clock import system_clock
from app.domain.audit import Head
from app.services.audit_check import HEADS
from app.settings import Settings, read_settings
from app.version import VERSION

__all__ = ["commands"]

commands = typer.Typer()

_PIECE = 1024 * 1024
# Who owns the tables is left to the restore; to whom they were opened is part of the backup.
_ROLES = """
    SELECT DISTINCT r.rolname FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.relnamespace = CAST('public' AS regnamespace) AND a.grantee <> c.relowner ORDER BY r.rolname
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
    *,
    replace: Annotated[bool, typer.Option("--replace", help="数据库不是空的也恢复,其中的全部内容被取代")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="不再询问")] = False,
    accept_broken_trail: Annotated[
        bool, typer.Option("--accept-broken-trail", help="审计记录的哈希链有问题也恢复,问题照样列出")
    ] = False,
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
            trail = asyncio.run(restore_from(archive, settings, url, replace=replace, accept=accept_broken_trail))
            typer.echo(f"已恢复到 {place},各表行数与备份一致,{trail}\n{_described(path, archive.manifest)}")


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
    tables = [row[0] for row in await connection.fetch(TABLES)]
    if "alembic_version" not in tables:
        raise UsageError("数据库中还没有表,没有可备份的内容;请先运行 liuzhang migrate")
    return {
        "made_at": system_clock(),
        "service": VERSION,
        "server": await connection.fetchval("SHOW server_version"),
        "revision": await connection.fetchval("SELECT version_num FROM alembic_version"),
        "roles": [row[0] for row in await connection.fetch(_ROLES)],
        "rows": {table: await connection.fetchval(f"SELECT count(*) FROM {quoted(table)}") for table in tables},  # noqa: S608
        "audit_heads": [str(Head(**dict(row))) for row in await connection.fetch(HEADS.sql)]
        if "audit_heads" in tables
        else [],
    }


async def _dump(programs: Programs, snapshot: str, archive: NewArchive) -> None:
    options = ["--format=custom", f"--snapshot={snapshot}", "--no-owner", "--no-password"]
    async with programs.running("pg_dump", "--dbname", programs.address, *options) as process:
        assert process.stdout is not None
        while piece := await process.stdout.read(_PIECE):
            archive.add(piece)
