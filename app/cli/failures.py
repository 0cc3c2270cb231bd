"""How commands fail: one line on standard error, and exit code 1."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import asyncpg
import typer
from sqlalchemy.exc import SQLAlchemyError

from app.embedded import EmbeddedError
from app.settings import SettingsError
from seed.demo import DemoError
from seed.reader import SeedError

__all__ = ["UsageError", "explained"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class UsageError(RuntimeError):
    """Something the user can put right; the message (Chinese) says how."""


def _first_cause(error: BaseException) -> BaseException:
    """What PostgreSQL said, without the statement that SQLAlchemy adds to it."""
    if isinstance(error, SQLAlchemyError):
        while error.__cause__ is not None:
            error = error.__cause__
    return error


def explained(command: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
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
            typer.echo(f"错误: 无法使用数据库或文件: {_first_cause(error)}", err=True)
        raise typer.Exit(1)

    return run
