"""``liuzhang account``: accounts of scripts and systems, made and listed beside the service."""

import asyncio
from typing import Annotated

import typer

from app.cli.database import database, prepare
from app.cli.failures import UsageError, explained
from app.clock import system_clock
from app.db import Database, open_read_pool, open_write_pool
from app.domain.roles import Grant, GrantError, parse_grant
from app.errors import AppError
from app.fragments import FragmentCache
from app.rendering import Known
from app.schemas.account import AccountPage, AccountQuery, AccountRead, KeyCreate, KeyIssued
from app.services.accounts import create_account, create_first_administrator, create_key, list_accounts
from app.services.caller import by_command
from app.services.reader import Reader
from app.settings import read_settings

__all__ = ["account_with_key", "commands", "tell_first_administrator"]

commands = typer.Typer(name="account", help="脚本与其他系统的账号", no_args_is_help=True)


@commands.command("create")
@explained
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
        await prepare(url, seed=True)
        return await account_with_key(url, name, grants, settings.environment)

    with database(settings) as (url, _):
        try:
            made, issued = asyncio.run(create(url))
        except AppError as error:
            raise UsageError(error.detail) from None
    typer.echo(f"账号 {made.code} {made.name}\n授权 {' '.join(held.text for held in made.grants)}\n密钥 {issued.key}")
    typer.echo("密钥只显示这一次,请妥善保存", err=True)


@commands.command("list")
@explained
def account_list() -> None:
    """列出账号与授权。"""

    async def read(url: str) -> list[AccountRead]:
        await prepare(url, seed=False)
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

    with database(read_settings()) as (url, _):
        for one in asyncio.run(read(url)):
            state = " (已停用)" if one.disabled_at is not None else ""
            typer.echo(f"{one.code} {one.name}{state} {' '.join(held.text for held in one.grants)}")


def tell_first_administrator(url: str, environment: str) -> None:
    """Where there is no account yet, make an administrator and print its key."""

    async def create() -> KeyIssued | None:
        async with open_write_pool(url, size=1) as pool:
            return await create_first_administrator(Database(pool), environment, now=system_clock())

    first = asyncio.run(create())
    if first is not None:
        typer.echo(f"首次启动:已创建管理员账号,其 API 密钥只显示这一次,请妥善保存\n管理员密钥 {first.key}")


async def account_with_key(url: str, name: str, grants: list[Grant], environment: str) -> tuple[AccountRead, KeyIssued]:
    """Make an account with these grants and a key for it, in one transaction."""
    async with open_write_pool(url, size=1) as pool, Database(pool).transaction() as db:
        now, caller = system_clock(), by_command("account create")
        made = await create_account(db, name, grants, now=now, caller=caller)
        return made, await create_key(db, made.code, KeyCreate(), environment, now=now, caller=caller)
