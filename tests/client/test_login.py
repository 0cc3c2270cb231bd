"""Logging in: what is stored, who may read it, and where a key may go."""

import os
import pty
import select
import stat
import subprocess
from collections.abc import Callable

import pytest

from tests.client.conftest import COMMAND, Caller, Offered

PROFILE = "config/liuzhang/profiles/default.json"


def logged_in(stranger: Caller, offered: Offered, *options: str, name: str = "reporter") -> None:
    ended = stranger.run("login", offered.server, "--key-stdin", *options, stdin=offered.keys[name] + "\n")
    assert ended.code == 0, ended.err


def shown_until(terminal: int, wanted: bytes) -> bytes:
    """What a terminal shows until ``wanted`` is among it."""
    shown = b""
    while wanted not in shown:
        assert select.select([terminal], [], [], 30)[0], shown
        shown += os.read(terminal, 1000)
    return shown


def test_login_tells_who_one_is_and_keeps_the_key_for_its_owner_alone(stranger: Caller, offered: Offered) -> None:
    ended = stranger.run("login", offered.server + "/api/v1/", "--key-stdin", stdin=offered.keys["reporter"])
    assert (ended.code, ended.err) == (0, "")
    assert "已登录:账号 reporter" in ended.out
    assert "代表单位:431228-jyj" in ended.out
    assert offered.keys["reporter"] not in ended.out
    path = stranger.home / PROFILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stranger.run("status", "--json").json["items"]


def test_the_key_is_typed_without_being_shown(stranger: Caller, offered: Offered) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "login", offered.server],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=stranger.home,
        env=stranger.variables({}),
        start_new_session=True,
    )
    os.close(theirs)
    # What is typed before the prompt is complete, the terminal throws away.
    shown = shown_until(ours, b": ")
    os.write(ours, offered.keys["reporter"].encode() + b"\n")
    shown += shown_until(ours, "登录配置".encode())
    assert process.wait(30) == 0
    os.close(ours)
    assert offered.keys["reporter"].encode() not in shown


def test_without_a_terminal_the_key_is_not_waited_for(stranger: Caller, offered: Offered) -> None:
    ended = stranger.run("login", offered.server)
    assert ended.code == 2
    assert "--key-stdin" in ended.err


@pytest.mark.parametrize("key", ["lz_prod_wrong", "lz_prod_" + "a" * 50])
def test_a_key_that_is_not_believed_is_not_kept(stranger: Caller, offered: Offered, key: str) -> None:
    ended = stranger.run("login", offered.server, "--key-stdin", stdin=key)
    assert ended.code == 3
    assert ended.err.startswith("错误: ")
    assert "请求编号: " in ended.err
    assert not (stranger.home / PROFILE).exists()


@pytest.mark.parametrize(
    ("server", "key", "told"),
    [
        ("http://10.1.2.3", "k", "--insecure-http"),
        ("http://liuzhang.example.org", "k", "--insecure-http"),
        ("ftp://127.0.0.1", "k", "不是服务地址"),
        ("127.0.0.1:8000", "k", "不是服务地址"),
        ("https://user:pass@example.org", "k", "不是服务地址"),
        ("https://example.org:port", "k", "不是服务地址"),
        ("https://example.org/?a=b", "k", "不是服务地址"),
        ("http://127.0.0.1:1", "", "密钥为空"),
        ("http://127.0.0.1:1", "密钥", "ASCII"),
        ("http://127.0.0.1:1", "a b", "ASCII"),
    ],
)
def test_what_cannot_be_an_address_or_a_key_is_told(stranger: Caller, server: str, key: str, told: str) -> None:
    ended = stranger.run("login", server, "--key-stdin", stdin=key)
    assert ended.code == 2
    assert told in ended.err


def test_who_has_not_logged_in_is_told_how(stranger: Caller) -> None:
    ended = stranger.run("status")
    assert ended.code == 3
    assert "liuzhang login" in ended.err
    assert stranger.run("status", "--profile", "../x").code == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_not_used(stranger: Caller, offered: Offered, mode: int) -> None:
    logged_in(stranger, offered)
    (stranger.home / PROFILE).chmod(mode)
    ended = stranger.run("status")
    assert ended.code == 3
    assert "chmod 600" in ended.err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"server": "http://127.0.0.1"}', '{"other": 1}', "\xff"])
def test_a_file_that_is_none_is_told(stranger: Caller, offered: Offered, content: str) -> None:
    logged_in(stranger, offered)
    (stranger.home / PROFILE).write_text(content, encoding="latin-1")
    ended = stranger.run("status")
    assert ended.code == 3
    assert "无法读取" in ended.err


def test_profiles_stand_side_by_side_and_go_one_by_one(stranger: Caller, offered: Offered) -> None:
    logged_in(stranger, offered)
    logged_in(stranger, offered, "--profile", "tjj", name="certifier")
    assert {one["unit"]["unit"] for one in stranger.run("status", "--json").json["items"]} == {"431228-jyj"}
    assert stranger.run("status", "--profile", "tjj").code == 0
    assert stranger.run("status", LIUZHANG_PROFILE="tjj").code == 0
    assert stranger.run("logout").code == 0
    assert stranger.run("status").code == 3
    assert stranger.run("status", "--profile", "tjj").code == 0
    assert "没有登录配置" in stranger.run("logout").out


def test_the_environment_wins_over_what_is_stored(stranger: Caller, offered: Offered) -> None:
    logged_in(stranger, offered)
    assert stranger.run("status", LIUZHANG_KEY="lz_prod_wrong").code == 3
    assert (
        stranger.run("status", LIUZHANG_SERVER="http://127.0.0.1:1", LIUZHANG_KEY="k", LIUZHANG_RETRIES="0").code == 5
    )


def test_a_stored_key_goes_to_no_other_service(stranger: Caller, offered: Offered) -> None:
    logged_in(stranger, offered)
    ended = stranger.run("status", LIUZHANG_SERVER="https://elsewhere.example.org")
    assert ended.code == 3
    assert "不会发往" in ended.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIUZHANG_RETRIES", "-1"),
        ("LIUZHANG_RETRIES", "many"),
        ("LIUZHANG_TIMEOUT", "0"),
        ("LIUZHANG_INSECURE_HTTP", "1"),
    ],
)
def test_a_wrong_variable_is_named(caller: Callable[..., Caller], name: str, value: str) -> None:
    ended = caller().run("status", **{name: value})
    assert ended.code == 2
    assert name in ended.err
