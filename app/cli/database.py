"""The database that commands work on: found or started, and brought up to date."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

import migrations
from app.cli.failures import UsageError
from app.clock import system_clock
from app.db import create_engine
from app.embedded import running
from app.settings import Settings
from seed.loader import LoadReport, seed_if_empty

__all__ = ["check_version", "database", "prepare"]

OLDEST_POSTGRESQL = 15


@contextmanager
def database(settings: Settings, *, revive: bool = False) -> Generator[tuple[str, str]]:
    """The database of the settings, the embedded one started where none is set: its address and where it is.

    With ``revive`` the embedded one is started again where it dies meanwhile.
    """
    if settings.database_url is not None:
        yield settings.database_url, "外部 PostgreSQL(LIUZHANG_DATABASE_URL)"
        return
    with running(settings.data_dir.absolute(), pg_bin=settings.pg_bin, revive=revive) as cluster:
        yield cluster.url, f"{cluster.data_dir}(内嵌 PostgreSQL {cluster.version})"


async def prepare(url: str, *, seed: bool) -> list[LoadReport]:
    """Migrate, and seed where empty."""
    await check_version(url)
    engine = create_engine(url)
    try:
        await migrations.upgrade(engine)
        return await seed_if_empty(engine, now=system_clock()) if seed else []
    finally:
        await engine.dispose()


async def check_version(url: str) -> None:
    """Refuse a PostgreSQL that is too old.

    Raises:
        UsageError: it is.
    """
    connection = await asyncpg.connect(url)
    try:
        major = connection.get_server_version().major
    finally:
        await connection.close()
    if major < OLDEST_POSTGRESQL:
        raise UsageError(f"PostgreSQL 版本为 {major},须为 {OLDEST_POSTGRESQL} 或更新")
