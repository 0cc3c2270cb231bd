"""Requests sent again: when, with which key, and how often; through proxies and under authorities of one's own."""

import ssl
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.clock import system_clock
from tests.client.conftest import PERIOD, UNIT, Caller, Fails, Offered, failing
from tests.client.test_spreadsheets import fill

Make = Callable[..., Caller]
AT_ONCE = {"Retry-After": "0"}
TASKS = ["431228-2023-6-1-1", "431228-2023-6-2-2", "431228-2023-6-3-4"]
SUBMIT = ("submit", "--task", TASKS[0], "--period", PERIOD, "--stage", "in_progress", "--percent", "40")


@pytest.mark.parametrize("act", ["drop", (503, AT_ONCE), (429, AT_ONCE), (502, {}), (504, {}), (409, AT_ONCE)], ids=str)
def test_what_may_pass_is_asked_again(caller: Make, offered: Offered, act: str | tuple[int, dict[str, str]]) -> None:
    with failing(offered.server, act) as fails:
        ended = caller(server=fails.address).run("status", "--unit", UNIT)
    assert ended.code == 0, ended.err
    assert len(fails.seen) == 2
    assert "秒后重试" in ended.err


@pytest.mark.parametrize("act", [(500, {}), (409, {}), (301, {"Location": "http://127.0.0.1:1/"}), (404, {})], ids=str)
def test_what_will_not_pass_is_asked_once(caller: Make, offered: Offered, act: tuple[int, dict[str, str]]) -> None:
    with failing(offered.server, act) as fails:
        ended = caller(server=fails.address).run("status", "--unit", UNIT)
    # Without a problem it was not the service that answered.
    assert ended.code == 5
    assert len(fails.seen) == 1
    assert f"HTTP {act[0]}" in ended.err


def test_a_change_carries_one_key_however_often_it_is_sent(caller: Make, offered: Offered) -> None:
    with failing(offered.server, "drop", "drop", (503, AT_ONCE)) as fails:
        first = caller(server=fails.address).run(*SUBMIT, "--unit", UNIT, "--draft")
        assert first.code == 0, first.err
        second = caller(server=fails.address).run(*SUBMIT, "--unit", UNIT, "--idempotency-key", "chosen")
    assert second.code == 1
    keys = fails.keys("POST")
    assert len(keys) == 5
    assert len(set(keys[:4])) == 1
    assert keys[4] == "chosen"
    assert len({headers["x-request-id"] for _, _, headers in fails.seen}) == 2


def test_a_form_whose_answer_was_lost_is_there_once_and_counts_as_done(caller: Make, offered: Offered) -> None:
    with failing(offered.server) as fails:
        someone = caller(server=fails.address)
        assert someone.run("form", "get", "2023-04", "--unit", UNIT, "-o", "f.json").code == 0
        assert someone.run("form", "fill", "f.json", TASKS[1], "--stage", "in_progress", "--percent", "12.5").code == 0
        fails.acts += ["pass", "lose", "pass"]
        ended = someone.run("form", "put", "f.json", "--json")
        assert ended.json["accepted"] == 1
        assert "连接中断" in ended.err
        again = someone.run("form", "put", "f.json", "--json")
    assert again.json["results"][0]["id"] == ended.json["results"][0]["id"]
    assert len(fails.keys("PUT")) == 2


def test_what_was_done_before_its_answer_was_lost_is_done_once_and_answered_as_it_was(
    caller: Make, offered: Offered
) -> None:
    with failing(offered.server) as fails:
        reporter, certifier = caller(server=fails.address), caller("certifier", server=fails.address)
        assert reporter.run("form", "get", PERIOD, "--unit", UNIT, "-o", "f.csv").code == 0
        fill(reporter.home / "f.csv", PERIOD, "推进中", "40")
        uploaded = twice(reporter, fails, "form", "put", "f.csv", "--idempotency-key", "lost-1")
        identity = next(row["id"] for row in uploaded["rows"] if row["task"] == TASKS[2])
        report = ("--task", TASKS[1], "--unit", UNIT, "--period", PERIOD, "--stage", "in_progress", "--percent", "40")
        submitted = twice(reporter, fails, "submit", *report, "--idempotency-key", "lost-2")
        certified = twice(certifier, fails, "certify", identity, "--yes", "--idempotency-key", "lost-3")
        assert [(one["id"], one["status"]) for one in certified["results"]] == [(identity, 200)]
        for one, steps in ((identity, ["submit", "certify"]), (submitted["id"], ["submit"])):
            asked = httpx.get(
                f"{offered.server}/api/v1/submissions/{one}/history",
                headers={"Authorization": f"Bearer {offered.keys['reporter']}"},
                trust_env=False,
            )
            assert [step["action"] for step in asked.json()["steps"]] == steps


def twice(someone: Caller, fails: Fails, *arguments: str) -> Any:
    """What a command says whose first answer is lost after the commit, and says again when it is run again."""
    fails.acts.append("lose")
    first = someone.run(*arguments, "--json")
    assert "连接中断" in first.err
    assert someone.run(*arguments, "--json").json == first.json
    return first.json


def test_a_service_that_is_not_there_is_told_after_all_attempts(caller: Make) -> None:
    ended = caller(server="http://127.0.0.1:1").run("status", LIUZHANG_RETRIES="1")
    assert ended.code == 5
    assert ended.err.count("重试") == 1
    assert "无法访问服务" in ended.err
    assert "请求编号: " in ended.err


def test_whoever_is_slow_is_not_waited_for_for_ever(caller: Make, offered: Offered) -> None:
    with failing(offered.server, (503, {"Retry-After": "3600"})) as fails:
        ended = caller(server=fails.address).run("status")
    assert ended.code == 5
    assert len(fails.seen) == 1


def test_another_server_is_no_service(caller: Make, offered: Offered) -> None:
    with failing(offered.server, (200, {"Content-Type": "text/html"})) as fails:
        ended = caller(server=fails.address).run("status")
    assert ended.code == 5
    assert "不是 JSON" in ended.err


def test_proxies_are_used_and_left_out_as_told(caller: Make, offered: Offered) -> None:
    with failing(offered.server) as proxy:
        asked = caller().run("status", HTTP_PROXY=proxy.address)
        assert asked.code == 0, asked.err
        assert [path.startswith(f"{offered.server}/api/v1/") for _, path, _ in proxy.seen] == [True, True]
        assert caller().run("status", HTTP_PROXY=proxy.address, NO_PROXY="127.0.0.1").code == 0
        assert len(proxy.seen) == 2


def test_authorities_of_ones_own_are_believed_and_others_not(stranger: Caller, offered: Offered) -> None:
    certificate, key = authority(stranger.home)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    mine = offered.keys["reporter"]
    with failing(offered.server, tls=context) as fails:
        refused = stranger.run("login", fails.address, LIUZHANG_KEY=mine)
        assert refused.code == 5
        assert "证书不可信" in refused.err
        assert "重试" not in refused.err
        assert stranger.run("login", fails.address, LIUZHANG_KEY=mine, SSL_CERT_FILE=str(certificate)).code == 0
        assert stranger.run("login", fails.address, LIUZHANG_KEY=mine, LIUZHANG_CA_FILE=str(certificate)).code == 0
        assert stranger.run("login", fails.address, "--ca-file", certificate, LIUZHANG_KEY=mine).code == 0
        assert stranger.run("status").code == 0
        certificate.write_text("none")
        assert stranger.run("status").code == 2


def authority(place: Path) -> tuple[Path, Path]:
    """A certificate of an authority of its own for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(system_clock() - timedelta(days=1))
        .not_valid_after(system_clock() + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = place / "ca.pem", place / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    return certificate, secret
