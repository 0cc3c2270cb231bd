"""Documents that are written from the code: the OpenAPI document and the page of permissions."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.failures import explained
from app.domain.permission_page import permission_page
from app.main import create_app
from app.settings import Settings

__all__ = ["commands", "write_json"]

commands = typer.Typer()


@commands.command()
@explained
def openapi(path: Annotated[Path, typer.Argument(help="写入的文件")] = Path("openapi.json")) -> None:
    """导出 OpenAPI 文档。"""
    # The document does not depend on a database; no connection is opened for it.
    write_json(path, create_app(Settings(database_url="postgresql://unused")).openapi())


@commands.command()
@explained
def permissions(path: Annotated[Path, typer.Argument(help="写入的文件")] = Path("docs/permissions.md")) -> None:
    """由规则生成权限说明。"""
    path.write_text(permission_page(), encoding="utf-8")
    typer.echo(f"已写入 {path}")


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as the repository keeps JSON, and say so."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"已写入 {path}")
