"""``liuzhang serve``: the service in this process or in several, on a database that is ready for it."""

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import threading
from types import FrameType
from typing import Annotated

import typer
from fastapi import FastAPI

from app.cli.accounts import tell_first_administrator
from app.cli.database import check_service, check_version, database, let_service_in, prepare
from app.cli.failures import UsageError, explained
from app.cli.logs import configure_logging
from app.cli.server import run_server, run_workers
from app.main import create_app
from app.settings import Settings, read_settings

__all__ = ["commands", "worker"]

commands = typer.Typer()


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


@commands.command()
@explained
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
    configure_logging(settings)
    if settings.database_url is None and settings.service_database_url is not None:
        raise UsageError("LIUZHANG_SERVICE_DATABASE_URL 须与 LIUZHANG_DATABASE_URL 一起设置")
    listener = _bind(settings.host, settings.port)
    with listener, database(settings, revive=True) as (url, place):
        for report in asyncio.run(prepare(url, seed=True)):
            typer.echo(f"已载入总体方案 {report.plan}({report.inserted} 行)")
        service_url = settings.service_database_url or url
        if settings.database_url is None:
            service_url = asyncio.run(let_service_in(url))
        asyncio.run(check_service(service_url))
        if settings.read_database_url is not None:
            asyncio.run(check_version(settings.read_database_url))
        at = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
        tell_first_administrator(url, settings.environment)
        typer.echo(f"接口      {at}/api/v1\n接口文档  {at}/docs\n接口参考  {at}/reference\n数据      {place}")
        sys.stdout.flush()
        _run(settings.model_copy(update={"service_database_url": service_url}), listener)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Being told to stop is no failure; and unlike a death by signal it stops the embedded PostgreSQL first."""
    raise SystemExit(0)


def _run(settings: Settings, listener: socket.socket) -> None:
    """Serve until told to stop: in this process, or in several that read the same settings."""
    if settings.workers == 1:
        run_server(create_app(settings), settings, listener)
        return
    os.environ["LIUZHANG_SERVICE_DATABASE_URL"] = settings.service_database_url or ""
    run_workers("app.cli.serve:worker", settings, listener)


def worker() -> FastAPI:
    """The application in one of several processes, which ends with its parent: a ``kill -9`` leaves no orphan."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
    settings = read_settings()
    configure_logging(settings)
    return create_app(settings)
