"""The environment variables of the client; the service knows their names, so that both can run in one environment."""

import os
from dataclasses import dataclass
from typing import Final

from app.client.errors import InputError

__all__ = ["VARIABLES", "Environment", "read_environment"]

VARIABLES: Final = {
    "LIUZHANG_SERVER": "服务地址,如 https://liuzhang.example.gov.cn;优先于登录时所存",
    "LIUZHANG_KEY": "API 密钥;优先于登录时所存",
    "LIUZHANG_PROFILE": "所用的登录配置;默认 default",
    "LIUZHANG_CA_FILE": "服务证书的根证书(PEM);优先于登录时所存",
    "LIUZHANG_INSECURE_HTTP": "true 时允许以不加密的 http 访问本机以外的服务",
    "LIUZHANG_TIMEOUT": "等待应答的秒数;默认 60",
    "LIUZHANG_RETRIES": "至多重试几次;默认 5,0 为不重试",
}


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment says; ``None`` where it says nothing."""

    server: str | None
    key: str | None
    profile: str | None
    ca_file: str | None
    insecure_http: bool
    timeout: int
    retries: int


def read_environment() -> Environment:
    """Read the variables; an empty one counts as not set.

    Raises:
        InputError: a value is not allowed.
    """
    given = {name: os.environ.get(name) or None for name in VARIABLES}
    return Environment(
        server=given["LIUZHANG_SERVER"],
        key=given["LIUZHANG_KEY"],
        profile=given["LIUZHANG_PROFILE"],
        ca_file=given["LIUZHANG_CA_FILE"],
        insecure_http=_truth("LIUZHANG_INSECURE_HTTP", given["LIUZHANG_INSECURE_HTTP"]),
        timeout=_number("LIUZHANG_TIMEOUT", given["LIUZHANG_TIMEOUT"] or "60", least=1, most=3600),
        retries=_number("LIUZHANG_RETRIES", given["LIUZHANG_RETRIES"] or "5", least=0, most=20),
    )


def _truth(name: str, text: str | None) -> bool:
    if text not in {None, "true", "false"}:
        raise InputError(f"{name} 须为 true 或 false")
    return text == "true"


def _number(name: str, text: str, *, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise InputError(f"{name} 须为 {least} 至 {most} 的整数")
    return int(text)
