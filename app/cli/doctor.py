"""``liuzhang doctor``: is everything as the service needs it, and what to do where it is not.

Nothing is changed, and what cannot be looked at because something before it is broken says so.
"""

import asyncio
import json
import platform
import re
import shutil
import stat
import zoneinfo
from collections.abc import Generator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, NamedTuple

import asyncpg
import typer

import migrations
from app.cli.database import OLDEST_POSTGRESQL, database
from app.cli.failures import explained
from app.clock import SHANGHAI, system_clock
from app.domain.workdays import is_workday
from app.embedded import EmbeddedError
from app.embedded_keeper import DATA
from app.main import create_app
from app.settings import Settings, SettingsError, read_settings
from app.version import VERSION

__all__ = ["commands"]

commands = typer.Typer()

_DISK_FAIL, _DISK_WARN = 512 * 1024**2, 5 * 1024**3
_CLOCK_WARN, _CLOCK_FAIL = timedelta(seconds=2), timedelta(minutes=1)
_LAG_WARN = timedelta(minutes=1)
# What a service connects with beside its pools: migrations, commands, somebody looking.
_SPARE_CONNECTIONS = 10


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """What a check found, and what to do about it."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""


@commands.command()
@explained
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON,供程序读取")] = False,
) -> None:
    """检查运行环境、设置、数据库、日历、磁盘与时钟;有不合格的项则退出码为 1。"""
    findings = list(_examine())
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], ensure_ascii=False, indent=2))
    else:
        marks = {Verdict.OK: "正常", Verdict.WARN: "注意", Verdict.FAIL: "故障"}
        for finding in findings:
            remedy = f"\n      → {finding.remedy}" if finding.remedy else ""
            typer.echo(f"[{marks[finding.verdict]}] {finding.check}: {finding.detail}{remedy}")
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise typer.Exit(1)


def _examine() -> Generator[Finding]:
    yield _packages()
    yield _time_zone()
    now = system_clock()
    yield from (_calendar(year) for year in (now.year, now.year + 1))
    try:
        settings = read_settings()
        # What the settings mean together is found out by wiring them up; nothing is opened by that.
        create_app(settings.model_copy(update={"database_url": settings.database_url or "postgresql://unused"}))
    except SettingsError as error:
        yield Finding("设置", Verdict.FAIL, str(error), "请改正后重试;以下各项未能检查")
        return
    yield Finding("设置", Verdict.OK, f"环境 {settings.environment},{settings.workers} 个服务进程")
    yield from _database(settings)


def _packages() -> Finding:
    found = f"liuzhang {VERSION},Python {platform.python_version()}"
    required = [line for line in requires("liuzhang") or () if "extra ==" not in line]
    missing: list[str] = []
    for name in sorted(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required if "platform_" not in line):
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        told = f"{found};缺少 {'、'.join(missing)}"
        return Finding("程序", Verdict.FAIL, told, "请按 requirements/runtime.txt 重新安装")
    return Finding("程序", Verdict.OK, f"{found},所需的包齐全")


def _time_zone() -> Finding:
    offset = datetime(2026, 1, 1, tzinfo=SHANGHAI).utcoffset()
    told = f"Asia/Shanghai 比 UTC 早 {offset}"
    if offset != timedelta(hours=8):
        return Finding("时区数据", Verdict.FAIL, told, f"请修复系统的时区数据({zoneinfo.TZPATH})或安装 tzdata")
    return Finding("时区数据", Verdict.OK, told)


def _calendar(year: int) -> Finding:
    check = f"{year} 年日历"
    if not is_workday(date(year, 1, 1)).provisional:
        return Finding(check, Verdict.OK, "已有国务院公布的放假安排")
    return Finding(
        check,
        Verdict.WARN,
        "尚无国务院公布的放假安排,涉及节假日顺延的期限为暂定",
        "公布后请升级 chinesecalendar 包,再运行 liuzhang seed",
    )


@contextmanager
def _reached(settings: Settings) -> Generator[str]:
    """The address of the database; an embedded one is started if nobody runs it, but never made."""
    if settings.database_url is None and not (settings.data_dir / DATA).exists():
        raise EmbeddedError(f"{settings.data_dir} 中还没有数据库: 首次运行 liuzhang serve 时建立")
    with database(settings) as (url, _):
        yield url


def _database(settings: Settings) -> Generator[Finding]:
    if settings.database_url is None:
        yield from _data_directory(settings.data_dir)
    try:
        with _reached(settings) as url:
            yield from asyncio.run(_look_into(settings, url))
    except (EmbeddedError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        yield Finding(
            "数据库", Verdict.FAIL, f"连接不上: {reason}", "请检查数据库是否运行、地址与密码;其余各项未能检查"
        )


def _data_directory(directory: Path) -> Generator[Finding]:
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    told = f"{existing} 所在磁盘余 {free / 1024**3:.1f} GiB"
    if free < _DISK_FAIL:
        yield Finding("磁盘", Verdict.FAIL, told, "请清理磁盘;写满后数据库会停止")
    elif free < _DISK_WARN:
        yield Finding("磁盘", Verdict.WARN, told, "请尽快清理磁盘")
    else:
        yield Finding("磁盘", Verdict.OK, told)
    data = directory / DATA
    if data.exists():
        mode = stat.S_IMODE(data.stat().st_mode)
        if mode & 0o077:
            yield Finding("数据目录", Verdict.FAIL, f"{data} 的权限是 {mode:o}", f"请执行 chmod 700 {data}")
        else:
            yield Finding("数据目录", Verdict.OK, f"{data} 的权限是 {mode:o},属于 uid {data.stat().st_uid}")


async def _look_into(settings: Settings, url: str) -> list[Finding]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        findings = [
            await _server(connection),
            await _clock(connection),
            await _structure(connection),
            await _keys(connection, settings),
            await _connections(connection, settings),
        ]
    finally:
        await connection.close()
    if settings.read_database_url is not None:
        findings.append(await _replica(settings.read_database_url))
    return findings


async def _server(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    row = await connection.fetchrow(
        "SELECT current_setting('server_version') AS version, pg_encoding_to_char(encoding) AS encoding, "
        "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', datcollate) AS collation "
        "FROM pg_database d WHERE datname = current_database()"
    )
    assert row is not None, "one is connected to it"
    told = f"PostgreSQL {row['version']},编码 {row['encoding']},排序规则 {row['collation']}"
    if connection.get_server_version().major < OLDEST_POSTGRESQL:
        return Finding("数据库", Verdict.FAIL, told, f"请升级到 PostgreSQL {OLDEST_POSTGRESQL} 或更新")
    if row["encoding"] != "UTF8":
        return Finding("数据库", Verdict.FAIL, told, "请以编码 UTF8 重建数据库")
    if row["collation"] not in {"C", "POSIX", "C.UTF-8", "C.UTF8", "C.utf8"}:
        return Finding("数据库", Verdict.WARN, told, "列表次序会与印发的次序不同;请以排序规则 C 或 C.UTF-8 重建数据库")
    return Finding("数据库", Verdict.OK, told)


async def _clock(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    before = system_clock()
    theirs = await connection.fetchval("SELECT clock_timestamp()")
    after = system_clock()
    # What lies between question and answer is no difference.
    apart = max(before - theirs, theirs - after, timedelta())
    told = f"本机 {after.isoformat(timespec='seconds')},与数据库相差 {apart.total_seconds():.1f} 秒"
    if apart > _CLOCK_FAIL:
        return Finding("时钟", Verdict.FAIL, told, "期限以本机时钟为准;请在两台机器上启用 NTP 对时")
    if apart > _CLOCK_WARN:
        return Finding("时钟", Verdict.WARN, told, "请在两台机器上启用 NTP 对时")
    return Finding("时钟", Verdict.OK, told)


async def _structure(connection: "asyncpg.Connection[asyncpg.Record]") -> Finding:
    known = migrations.revisions()
    if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
        return Finding("表结构", Verdict.FAIL, "还没有表", "请运行 liuzhang migrate")
    current = await connection.fetchval("SELECT version_num FROM alembic_version")
    if current not in known:
        return Finding(
            "表结构", Verdict.FAIL, f"版本 {current} 不为本程序所知", "数据库由更新的版本升级过;请升级本程序"
        )
    if current != known[0]:
        return Finding("表结构", Verdict.FAIL, f"版本 {current},最新为 {known[0]}", "请运行 liuzhang migrate")
    return Finding("表结构", Verdict.OK, f"版本 {current},已是最新")


async def _keys(connection: "asyncpg.Connection[asyncpg.Record]", settings: Settings) -> Finding:
    """Whether there is a key that works here, told by the environment that is part of every key."""
    if await connection.fetchval("SELECT to_regclass('api_keys')") is None:
        return Finding("API 密钥", Verdict.WARN, "还没有密钥表", "请运行 liuzhang migrate")
    valid = await connection.fetchval(
        "SELECT count(*) FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE k.revoked_at IS NULL "
        "AND a.disabled_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())"
    )
    told = f"有效的 {valid} 个;本环境({settings.environment})只接受以 lz_{settings.environment}_ 开头的"
    if valid == 0 and settings.oidc_issuer is None:
        return Finding(
            "API 密钥", Verdict.WARN, told, "没有人能登录;请运行 liuzhang account create 名称 --grant administrator"
        )
    return Finding("API 密钥", Verdict.OK, told)


async def _connections(connection: "asyncpg.Connection[asyncpg.Record]", settings: Settings) -> Finding:
    limit = int(await connection.fetchval("SHOW max_connections"))
    pools = 2 if settings.read_database_url is None else 1
    wanted = settings.workers * settings.pool_size * pools
    told = f"{settings.workers} 个进程 × {settings.pool_size} 个连接 × {pools} 个连接池 = {wanted},数据库至多 {limit}"
    if wanted > limit:
        return Finding(
            "连接数", Verdict.FAIL, told, "请减小 LIUZHANG_POOL_SIZE 或 LIUZHANG_WORKERS,或增大 max_connections"
        )
    if wanted + _SPARE_CONNECTIONS > limit:
        return Finding("连接数", Verdict.WARN, told, f"请为维护留出约 {_SPARE_CONNECTIONS} 个连接")
    return Finding("连接数", Verdict.OK, told)


async def _replica(url: str) -> Finding:
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        return Finding(
            "只读数据库",
            Verdict.FAIL,
            f"连接不上: {error or type(error).__name__}",
            "请检查 LIUZHANG_READ_DATABASE_URL",
        )
    try:
        if not await connection.fetchval("SELECT pg_is_in_recovery()"):
            return Finding("只读数据库", Verdict.OK, "不是副本,没有延迟")
        # Nothing to replay is no lag, however long ago the last change was.
        lag: timedelta | None = await connection.fetchval(
            "SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN interval '0' "
            "ELSE now() - pg_last_xact_replay_timestamp() END"
        )
    finally:
        await connection.close()
    if lag is None or lag > _LAG_WARN:
        return Finding("只读数据库", Verdict.WARN, f"副本延迟 {lag or '未知'}", "请检查流复制")
    return Finding("只读数据库", Verdict.OK, f"副本延迟 {lag.total_seconds():.1f} 秒")
