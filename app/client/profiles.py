"""Where a user's keys are kept: one file a profile, which nobody else may read."""

import json
import os
import re
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from platformdirs import user_config_path

from app.client.environment import Environment
from app.client.errors import CredentialsError, InputError
from app.client.servers import server_address

__all__ = ["DEFAULT", "Profile", "find_profile", "forget_profile", "profile_names", "store_profile"]

DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Profile:
    """A service and the key for it."""

    server: str
    key: str
    ca_file: str | None = None
    insecure_http: bool = False


def find_profile(name: str | None, environment: Environment) -> Profile:
    """The service and key to use: what the environment says, and for the rest what was stored at login.

    A stored key goes nowhere but to the service that it was stored with.

    Raises:
        CredentialsError: nothing says which service, or with which key.
        InputError: the address or the name cannot be used.
    """
    name = name or environment.profile or DEFAULT
    if environment.server is not None:
        server = server_address(environment.server, insecure_http=environment.insecure_http)
        if environment.key is not None:
            return Profile(server, environment.key, environment.ca_file)
        stored = _load(name)
        if stored.server != server:
            raise CredentialsError(
                f"登录配置 {name} 的密钥属于 {stored.server},不会发往 LIUZHANG_SERVER 所指的 {server};"
                "请一并给出 LIUZHANG_KEY,或用 liuzhang login 登录"
            )
    else:
        stored = _load(name)
        server = server_address(stored.server, insecure_http=stored.insecure_http or environment.insecure_http)
    return Profile(server, environment.key or stored.key, environment.ca_file or stored.ca_file)


def store_profile(name: str, profile: Profile) -> Path:
    """Keep a profile in place of an older one of this name; where it is kept."""
    path = _path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The file is for its owner alone from the start (0600), and appears whole or not at all.
    number, written = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(asdict(profile), file)
        Path(written).replace(path)
    except BaseException:
        Path(written).unlink()
        raise
    return path


def forget_profile(name: str) -> bool:
    """Remove a profile; whether there was one."""
    with suppress(FileNotFoundError):
        _path(name).unlink()
        return True
    return False


def profile_names() -> list[str]:
    """The profiles that there are."""
    return sorted(path.stem for path in _directory().glob("*.json"))


def _directory() -> Path:
    return user_config_path("liuzhang", appauthor=False) / "profiles"


def _path(name: str) -> Path:
    if _NAME.fullmatch(name) is None:
        raise InputError("登录配置的名称须由字母、数字、点、下划线、连字符组成,至多 64 个")
    return _directory() / f"{name}.json"


def _load(name: str) -> Profile:
    path = _path(name)
    try:
        with path.open(encoding="utf-8") as file:
            _refuse_shared(path, os.fstat(file.fileno()))
            return Profile(**json.load(file))
    except FileNotFoundError:
        hint = "" if name == DEFAULT else f" --profile {name}"
        raise CredentialsError(
            f"尚未登录(没有登录配置 {name});请先执行 liuzhang login 服务地址{hint},"
            "或设环境变量 LIUZHANG_SERVER 与 LIUZHANG_KEY"
        ) from None
    except (OSError, ValueError, TypeError) as error:
        raise CredentialsError(f"登录配置 {path} 无法读取({error});请重新执行 liuzhang login") from None


def _refuse_shared(path: Path, status: os.stat_result) -> None:
    """A key that others could read may have been read; on Windows the mode says nothing of that."""
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise CredentialsError(
            f"登录配置 {path} 可被他人读取(权限 {stat.S_IMODE(status.st_mode):04o}),已拒绝使用;"
            f"请执行 chmod 600 {path},密钥若可能已泄露请轮换"
        )
