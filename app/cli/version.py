"""``liuzhang version``."""

import typer

from app.version import VERSION

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def version() -> None:
    """显示版本。"""
    typer.echo(VERSION)
