"""The database that commands work on: found or started, brought up to date, and opened to the service."""

import hmac
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg

import migrations
from app.cli.failures import UsageError
from app.clock import system_clock
from app.db import SERVICE_ROLE, create_engine
from app.embedded import running
from app.settings import Settings
from seed.loader import LoadReport, seed_if_empty

__all__ = ["check_service", "check_version", "database", "let_service_in", "prepare"]

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


async def let_service_in(url: str) -> str:
    """Let the service log in to the embedded database, whose owner's address is ``url``; the address it logs in with.

    Its password follows from the owner's, so there is no second one to keep.
    """
    parts = urlsplit(url)
    password = hmac.digest((parts.password or "").encode(), SERVICE_ROLE.encode(), "sha256").hex()
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            # Two that change one role at once would fail.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", migrations.LOCK)
            await connection.execute(f"ALTER ROLE {SERVICE_ROLE} LOGIN PASSWORD '{password}'")
    finally:
        await connection.close()
    return parts._replace(netloc=f"{SERVICE_ROLE}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


async def check_service(url: str) -> None:
    """Refuse an address with which the service cannot work as its role, or as one for which no policies hold.

    Raises:
        UsageError: it is such an address.
    """
    try:
        connection = await asyncpg.connect(url, server_settings={"role": SERVICE_ROLE})
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError) as error:
        raise UsageError(
            f"登录数据库后不能改用角色 {SERVICE_ROLE}({error});请由数据库管理员执行:"
            f"GRANT {SERVICE_ROLE} TO 登录所用的账号"
        ) from None
    try:
        if not await connection.fetchval("SELECT row_security_active('submissions')"):
            raise UsageError(f"角色 {SERVICE_ROLE} 不得是超级用户、表的所有者或带 BYPASSRLS,否则行级安全不起作用")
    finally:
        await connection.close()
