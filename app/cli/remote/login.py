"""``liuzhang login`` and ``logout``: which service, with which key."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.remote.failures import explained
from app.cli.remote.output import print_facts
from app.cli.remote.session import ProfileOption
from app.client.connection import Connection
from app.client.environment import read_environment
from app.client.errors import InputError
from app.client.profiles import DEFAULT, Profile, forget_profile, store_profile
from app.client.servers import server_address

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
@explained
def login(
    server: Annotated[str, typer.Argument(help="服务地址,如 https://liuzhang.example.gov.cn")],
    profile: ProfileOption = None,
    key_stdin: Annotated[bool, typer.Option("--key-stdin", help="从标准输入读取密钥(一行)")] = False,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="服务证书的根证书(PEM)", exists=True, dir_okay=False)
    ] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="允许以不加密的 http 访问本机以外的服务")
    ] = False,
) -> None:
    """存下服务地址与 API 密钥(仅本人可读),并核对密钥是否有效。

    密钥在提示后输入,或用 --key-stdin,或取自环境变量 LIUZHANG_KEY;不能写在命令行里。
    """
    environment = read_environment()
    insecure_http = insecure_http or environment.insecure_http
    name = profile or environment.profile or DEFAULT
    made = Profile(
        server=server_address(server, insecure_http=insecure_http),
        key=_read_key(environment.key, from_stdin=key_stdin),
        ca_file=str(ca_file.absolute()) if ca_file else environment.ca_file,
        insecure_http=insecure_http,
    )
    with Connection(made, environment, lambda reason, _: typer.echo(f"{reason},稍后重试", err=True)) as connection:
        me = connection.get("me")
    path = store_profile(name, made)
    print_facts(
        {
            "已登录": me["name"],
            "授权": " ".join(role["text"] for role in me["roles"]) or "无",
            "代表单位": " ".join(me["units"]) or "无",
            "登录配置": f"{name}({path})",
        }
    )


@commands.command()
@explained
def logout(profile: ProfileOption = None) -> None:
    """删去所存的服务地址与密钥;密钥本身仍有效,不再需要时请管理员吊销。"""
    name = profile or read_environment().profile or DEFAULT
    typer.echo(f"已删去登录配置 {name}" if forget_profile(name) else f"没有登录配置 {name},无须删去")


def _read_key(given: str | None, *, from_stdin: bool) -> str:
    if from_stdin:
        key = sys.stdin.readline().strip()
    elif given is not None:
        key = given
    elif sys.stdin.isatty():
        key = typer.prompt("API 密钥", hide_input=True).strip()
    else:
        raise InputError("没有终端可供输入密钥;请用 --key-stdin,或设环境变量 LIUZHANG_KEY")
    if not key:
        raise InputError("密钥为空")
    return key
