"""What these commands share: their options, and the connection that they work on."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Annotated, Any

import typer

from app.client.connection import Connection
from app.client.environment import read_environment
from app.client.errors import ClientError, InputError
from app.client.profiles import find_profile, profile_names

__all__ = ["AsJson", "IdempotencyKey", "PeriodOption", "ProfileOption", "UnitOption", "connected", "own_units"]


@contextmanager
def connected(profile: str | None) -> Generator[Connection]:
    """The service of a profile; whoever waits for a retry is told why."""
    environment = read_environment()

    def tell(reason: str, seconds: float) -> None:
        typer.echo(f"{reason},{seconds:.0f} 秒后重试", err=True)

    with Connection(find_profile(profile, environment), environment, tell) as connection:
        yield connection


def own_units(connection: Connection, unit: str | None) -> list[str]:
    """The unit that was named, else those that the caller represents.

    Raises:
        InputError: none was named, and the caller represents none.
    """
    units = [unit] if unit is not None else connection.get("me")["units"]
    if not units:
        raise InputError("您不代表任何单位,请用 --unit 指明")
    return units


def _complete_profile(incomplete: str) -> list[str]:
    return [name for name in profile_names() if name.startswith(incomplete)]


def _complete_unit(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Units that match what is typed so far; none where the service cannot be asked at once."""
    # Whoever presses Tab waits for nothing long, and is shown no error.
    with suppress(ClientError):
        environment = replace(read_environment(), timeout=2, retries=0)
        with Connection(find_profile(ctx.params.get("profile"), environment), environment, _silent) as connection:
            found: list[dict[str, Any]] = connection.get("units", q=incomplete or None, limit=50)["items"]
            return [(one["code"], one["name"]) for one in found if one["code"].startswith(incomplete)]
    return []


def _silent(_reason: str, _seconds: float) -> None: ...


ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", help="所用的登录配置;默认 default", autocompletion=_complete_profile),
]
AsJson = Annotated[bool, typer.Option("--json", help="输出接口的 JSON,供脚本使用")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="自定幂等键:同一键与内容重复提交只生效一次;默认每次执行一个新的"),
]
UnitOption = Annotated[
    str | None,
    typer.Option("--unit", help="单位编码,或文件中印出的任一名称;默认为您所代表的", autocompletion=_complete_unit),
]
PeriodOption = Annotated[str | None, typer.Option("--period", help="报送期,如 2023-05")]
