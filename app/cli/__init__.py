"""The ``liuzhang`` command: the composition root, where service, database, migrations and seed meet."""

import typer

from app.cli import accounts, audit, backups, doctor, documents, plans, serve

__all__ = ["app", "main"]

app = typer.Typer(help="六仗:县级政府年度计划的工作服务", no_args_is_help=True, add_completion=True)
for part in (serve, plans, backups, doctor, audit, documents):
    app.add_typer(part.commands)
app.add_typer(accounts.commands, name="account")


def main() -> None:
    """Entry point of the ``liuzhang`` command."""
    app()
