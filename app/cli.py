"""The ``liuzhang`` command: the composition root, where service, database, migrations and seed meet."""

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from types import FrameType
from typing import Annotated, ParamSpec, TextIO, TypeVar

import asyncpg
import typer
import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

import migrations
from app.clock import system_clock
from app.db import Database, create_engine, open_read_pool, open_write_pool
from app.domain.permission_page import permission_page
from app.domain.roles import Grant, GrantError, Role, parse_grant
from app.embedded import EmbeddedError, running
from app.errors import AppError
from app.fragments import FragmentCache
from app.main import create_app
from app.protocol import LenientHttpProtocol
from app.rendering import Known
from app.schemas.account import AccountPage, AccountQuery, AccountRead, KeyCreate, KeyIssued
from app.security.redaction import RedactingFormatter
from app.services.accounts import create_account, create_first_administrator, create_key, list_accounts
from app.services.reader import Reader
from app.settings import Settings, SettingsError, read_settings
from app.version import VERSION
from seed.audit import audit_file
from seed.demo import DemoError, DemoReport, fill_demo
from seed.format import json_schemas
from seed.loader import LoadReport, load_plan, plan_directories, seed_if_empty
from seed.reader import PlanSource, SeedError, read_plan

__all__ = ["configure_logging", "main"]

OLDEST_POSTGRESQL = 15

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

app = typer.Typer(help="六仗:县级政府年度计划的工作服务", no_args_is_help=True, add_completion=True)

account = typer.Typer(help="脚本与其他系统的账号", no_args_is_help=True)
app.add_typer(account, name="account")

SeedDirectory = Annotated[
    Path | None, typer.Option("--seed", help="总体方案的数据目录(含 plan.yaml);默认为项目自带的全部方案")
]


class UsageError(RuntimeError):
    """Something the user can put right; the message (Chinese) says how."""


def _explained(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Turn expected failures into one line on standard error and exit code 1."""

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except UnicodeError:
            typer.echo("错误: 文件不是 UTF-8 编码的文本", err=True)
        except (UsageError, DemoError, SettingsError, EmbeddedError, SeedError, ValueError) as error:
            typer.echo(f"错误: {error}", err=True)
        except (OSError, asyncpg.PostgresError, SQLAlchemyError) as error:
            typer.echo(f"错误: 无法使用数据库或文件: {error}", err=True)
        raise typer.Exit(1)

    return run


@contextmanager
def _database(settings: Settings) -> Generator[tuple[str, str]]:
    """The database of the settings, the embedded one started where none is set: its address and where it is."""
    if settings.database_url is not None:
        yield settings.database_url, "外部 PostgreSQL(LIUZHANG_DATABASE_URL)"
        return
    with running(settings.data_dir.absolute(), pg_bin=settings.pg_bin) as cluster:
        yield cluster.url, f"{cluster.data_dir}(内嵌 PostgreSQL {cluster.version})"


async def _prepare(url: str, *, seed: bool) -> list[LoadReport]:
    """Migrate, and seed where empty."""
    await _check_version(url)
    engine = create_engine(url)
    try:
        await migrations.upgrade(engine)
        return await seed_if_empty(engine, now=system_clock()) if seed else []
    finally:
        await engine.dispose()


async def _check_version(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        major = connection.get_server_version().major
    finally:
        await connection.close()
    if major < OLDEST_POSTGRESQL:
        raise UsageError(f"PostgreSQL 版本为 {major},须为 {OLDEST_POSTGRESQL} 或更新")


def _bind(host: str, port: int) -> socket.socket:
    """Take the port before anything else is started, so that a taken one is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # A second bind with SO_REUSEADDR only fails against a socket that listens.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"无法监听 {host}:{port}({error.strerror});该端口可能已被另一个服务占用,"
            "可用 make serve PORT=8001 或 LIUZHANG_PORT 换一个端口"
        ) from None
    return listener


@app.command()
@_explained
def serve(
    host: Annotated[str | None, typer.Option(help="监听地址;默认取 LIUZHANG_HOST")] = None,
    port: Annotated[int | None, typer.Option(help="监听端口;默认取 LIUZHANG_PORT", min=1, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(help="服务进程数;默认取 LIUZHANG_WORKERS", min=1)] = None,
) -> None:
    """启动服务:必要时启动内嵌 PostgreSQL、建表、载入自带的总体方案。"""
    settings = read_settings()
    given = {"host": host, "port": port, "workers": workers}
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    configure_logging(settings.log_level)
    listener = _bind(settings.host, settings.port)
    with listener, _database(settings) as (url, place):
        for report in asyncio.run(_prepare(url, seed=True)):
            typer.echo(f"已载入总体方案 {report.plan}({report.inserted} 行)")
        if settings.read_database_url is not None:
            asyncio.run(_check_version(settings.read_database_url))
        at = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
        _tell_first_administrator(url, settings.environment)
        typer.echo(f"接口      {at}/api/v1\n接口文档  {at}/docs\n接口参考  {at}/reference\n数据      {place}")
        sys.stdout.flush()
        _run(settings.model_copy(update={"database_url": url}), listener)


def _tell_first_administrator(url: str, environment: str) -> None:
    """Where there is no account yet, make an administrator and print its key."""

    async def create() -> KeyIssued | None:
        async with open_write_pool(url, size=1) as pool:
            return await create_first_administrator(Database(pool), environment, now=system_clock())

    first = asyncio.run(create())
    if first is not None:
        typer.echo(f"首次启动:已创建管理员账号,其 API 密钥只显示这一次,请妥善保存\n管理员密钥 {first.key}")


def _end(_number: int, _frame: FrameType | None) -> None:
    """Being told to stop is no failure; and unlike a death by signal it stops the embedded PostgreSQL first."""
    raise SystemExit(0)


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (standard error) from ``level`` on, without secrets."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _run(settings: Settings, listener: socket.socket) -> None:
    """Serve until told to stop: in this process, or in several that read the same settings."""
    config = partial(
        uvicorn.Config,
        http=LenientHttpProtocol,
        log_level=settings.log_level,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    if settings.workers == 1:
        uvicorn.Server(config(create_app(settings))).run(sockets=[listener])
        return
    os.environ["LIUZHANG_DATABASE_URL"] = settings.database_url or ""
    # Long enough for a process still importing on a busy machine, which cannot answer yet, not to be killed as hung.
    shared = config("app.cli:worker", factory=True, workers=settings.workers, timeout_worker_healthcheck=30)
    several = Multiprocess(shared, sockets=[listener])
    several.run()
    if any(process.exitcode == STARTUP_FAILURE for process in several.processes):
        raise UsageError("服务进程没有启动成功,原因见上")


def worker() -> FastAPI:
    """The application in one of several processes, which ends with its parent: a ``kill -9`` leaves no orphan."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
    settings = read_settings()
    configure_logging(settings.log_level)
    return create_app(settings)


@app.command()
@_explained
def migrate() -> None:
    """建表或升级表结构。"""
    with _database(read_settings()) as (url, place):
        asyncio.run(_prepare(url, seed=False))
        typer.echo(f"表结构已是最新: {place}")


@app.command()
@_explained
def seed(directory: SeedDirectory = None) -> None:
    """载入总体方案(可重复执行,只改动有差异的行)。"""

    async def load(url: str) -> list[LoadReport]:
        await _prepare(url, seed=False)
        engine = create_engine(url)
        try:
            return [await load_plan(engine, path, now=system_clock()) for path in _directories(directory)]
        finally:
            await engine.dispose()

    with _database(read_settings()) as (url, _):
        for report in asyncio.run(load(url)):
            typer.echo(
                f"{report.plan}: 新增 {report.inserted} 行,更新 {report.updated} 行,删除 {report.deleted} 行,"
                f"应报变动 {report.obligations} 条"
                if report.changed
                else f"{report.plan}: 与数据库一致,没有改动"
            )


@app.command()
@_explained
def demo() -> None:
    """填入 2023-04 至 2023-09 的演示报送(每次相同);已有报送的数据库一律拒绝。"""

    async def fill(url: str) -> DemoReport:
        await _prepare(url, seed=True)
        async with open_read_pool(url, size=1) as reads, open_write_pool(url, size=1) as writes:
            return await fill_demo(Database(writes), Reader(Database(reads), FragmentCache(0)))

    settings = read_settings()
    with _database(settings) as (url, place):
        filled = asyncio.run(fill(url))
        _tell_first_administrator(url, settings.environment)
        looker, issued = asyncio.run(_account_with_key(url, "演示查阅", [Grant(Role.READER)], settings.environment))
        typer.echo(
            f"已填入演示数据: 报送 {filled.submissions} 份、认定 {filled.certified} 次、更正 {filled.corrected} 次、"
            f"延期 {filled.extended} 次、免报 {filled.waived} 次、自定序时进度 {filled.scheduled} 次、"
            f"材料 {filled.materials} 篇;{place}\n"
            f"进度不公开,请带上账号 {looker.name}({looker.code})的密钥查看;只显示这一次:\n"
            f"curl -H 'Authorization: Bearer {issued.key}' 'http://{settings.host}:{settings.port}/api/v1/compliance"
            "?rule=monthly-form&from=2023-04&to=2023-09&group_by=unit'"
        )


async def _account_with_key(
    url: str, name: str, grants: list[Grant], environment: str
) -> tuple[AccountRead, KeyIssued]:
    async with open_write_pool(url, size=1) as pool, Database(pool).transaction() as db:
        made = await create_account(db, name, grants, now=system_clock())
        return made, await create_key(db, made.code, KeyCreate(), environment, now=system_clock())


@account.command("create")
@_explained
def account_create(
    name: Annotated[str, typer.Argument(help="账号名称,如 县教育局进度上报脚本")],
    grant: Annotated[
        list[str], typer.Option("--grant", help="授权,如 reporter:431228-jyj;可给出多次,写法见 docs/permissions.md")
    ],
) -> None:
    """创建账号并签发密钥;密钥只显示这一次。"""
    settings = read_settings()
    try:
        grants = [parse_grant(one) for one in grant]
    except GrantError as error:
        raise UsageError(error.detail) from None

    async def create(url: str) -> tuple[AccountRead, KeyIssued]:
        await _prepare(url, seed=True)
        return await _account_with_key(url, name, grants, settings.environment)

    with _database(settings) as (url, _):
        try:
            made, issued = asyncio.run(create(url))
        except AppError as error:
            raise UsageError(error.detail) from None
    typer.echo(f"账号 {made.code} {made.name}\n授权 {' '.join(held.text for held in made.grants)}\n密钥 {issued.key}")
    typer.echo("密钥只显示这一次,请妥善保存", err=True)


@account.command("list")
@_explained
def account_list() -> None:
    """列出账号与授权。"""

    async def read(url: str) -> list[AccountRead]:
        await _prepare(url, seed=False)
        found: list[AccountRead] = []
        cursor: str | None = None
        async with open_read_pool(url, size=1) as pool:
            reader = Reader(Database(pool), FragmentCache(0))
            while True:
                page = await list_accounts(reader, AccountQuery(limit=500, cursor=cursor), Known.parse(None))
                shown = AccountPage.model_validate_json(page.body or b"")
                found += shown.items
                if (cursor := shown.next_cursor) is None:
                    return found

    with _database(read_settings()) as (url, _):
        for one in asyncio.run(read(url)):
            state = " (已停用)" if one.disabled_at is not None else ""
            typer.echo(f"{one.code} {one.name}{state} {' '.join(held.text for held in one.grants)}")


@app.command()
@_explained
def permissions(path: Annotated[Path, typer.Argument(help="写入的文件")] = Path("docs/permissions.md")) -> None:
    """由规则生成权限说明。"""
    path.write_text(permission_page(), encoding="utf-8")
    typer.echo(f"已写入 {path}")


@app.command("check-seed")
@_explained
def check_seed(directory: SeedDirectory = None) -> None:
    """检查数据文件,逐条指出文件与行号;不连接数据库。"""
    for path in _directories(directory):
        source = read_plan(path)
        typer.echo(f"{source.code}: {len(source.battles)} 个仗、{_task_count(source)} 项任务,没有问题")


@app.command("audit-seed")
@_explained
def audit_seed(
    source: Annotated[Path, typer.Option("--source", help="原文文本(UTF-8,一段一行)", exists=True, dir_okay=False)],
    directory: SeedDirectory = None,
) -> None:
    """逐处比对数据与原文:责任括注、数字、位置、标题;不一致则列出并以非零退出。"""
    clean = True
    for path in _directories(directory):
        plan = read_plan(path)
        report = audit_file(plan, source)
        for finding in report.findings:
            typer.echo(str(finding))
        clean = clean and report.clean
        typer.echo(
            f"{plan.code}: 任务 {_task_count(plan)}、责任括注 {report.brackets}、标题 {report.titles}、"
            f"位置 {report.locators}、数字 {report.digit_runs},不一致 {len(report.findings)} 处"
        )
    if not clean:
        raise typer.Exit(1)


@app.command("seed-schema")
@_explained
def seed_schema(
    directory: Annotated[Path, typer.Argument(help="写入的目录")] = Path("seed/schema"),
) -> None:
    """由模型生成数据文件的 JSON Schema。"""
    directory.mkdir(parents=True, exist_ok=True)
    for name, schema in json_schemas().items():
        _write_json(directory / f"{name}.schema.json", schema)


@app.command()
@_explained
def openapi(path: Annotated[Path, typer.Argument(help="写入的文件")] = Path("openapi.json")) -> None:
    """导出 OpenAPI 文档。"""
    # The document does not depend on a database; no connection is opened for it.
    _write_json(path, create_app(Settings(database_url="postgresql://unused")).openapi())


@app.command()
def version() -> None:
    """显示版本。"""
    typer.echo(VERSION)


def _directories(directory: Path | None) -> list[Path]:
    if directory is None:
        return plan_directories()
    if not (directory / "plan.yaml").is_file():
        raise UsageError(f"{directory} 中没有 plan.yaml")
    return [directory]


def _task_count(source: PlanSource) -> int:
    return sum(len(group.tasks) for battle in source.battles for group in battle.content.groups)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"已写入 {path}")


def main() -> None:
    """Entry point of the ``liuzhang`` command."""
    app()
