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
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from app.cli.database import database
from app.cli.doctor_database import look_into
from app.cli.failures import explained
from app.cli.findings import Finding, Verdict
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


@commands.command()
@explained
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON,供程序读取")] = False,
) -> None:
    """检查运行环境、设置、数据库、审计记录、事件、日历、磁盘与时钟;有不合格的项则退出码为 1。"""
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
            yield from asyncio.run(look_into(settings, url))
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
