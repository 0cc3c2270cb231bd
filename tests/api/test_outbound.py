"""What is sent goes to the address that was checked, by the name that was listed, whatever the name says next."""

import asyncio
import base64
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.security.addresses import parse_networks
from app.security.outbound import Outbound
from app.security.targets import Targets, parse_targets
from app.security.webhook_secrets import secret_text, signature_headers, webhook_secret
from tests.api.receivers import Receiver, receiving

NAME = "oa.example.gov.cn"
LOOPBACK = parse_networks(["127.0.0.0/8"])


class Names:
    """A name server that answers as it is told, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: Callable[[int], list[str]]) -> None:
        self.asked = 0
        real = socket.getaddrinfo

        def answer(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host not in {NAME, NAME.encode()}:
                return real(host, port, *args, **kwargs)
            self.asked += 1
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answers(self.asked)]

        monkeypatch.setattr(socket, "getaddrinfo", answer)


def outbound(port: int, *, scheme: str = "http", networks: Any = (), tls: ssl.SSLContext | None = None) -> Outbound:
    return Outbound(Targets(parse_targets([f"{scheme}://{NAME}:{port}"]), networks), timeout=2, tls=tls)


def port_of(receiver: Receiver) -> int:
    return int(re.findall(r":(\d+)/", receiver.url)[0])


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"], ["10.1.1.1"], ["100.100.100.200"]]
)
async def test_a_name_that_leads_inside_is_not_followed(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    Names(monkeypatch, lambda _: addresses)
    async with receiving() as receiver, outbound(port_of(receiver)) as out:
        outcome = await out.post(f"http://{NAME}:{port_of(receiver)}/", {}, b"{}")
    assert (outcome.succeeded, outcome.status, receiver.messages) == (False, None, [])
    assert outcome.error is not None
    assert "不是允许访问的地址" in outcome.error


async def test_a_name_is_asked_once_and_rebinding_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # At the second look it would lead to where nothing may go; there is no second look.
    names = Names(monkeypatch, lambda asked: ["127.0.0.1"] if asked == 1 else ["10.1.1.1"])
    async with receiving() as receiver, outbound(port_of(receiver), networks=LOOPBACK) as out:
        outcome = await out.post(f"http://{NAME}:{port_of(receiver)}/hook", {}, b"{}")
    assert (outcome.succeeded, names.asked) == (True, 1)
    assert receiver.messages[0].headers["host"] == f"{NAME}:{port_of(receiver)}"


async def test_a_name_that_does_not_resolve_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(8, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    async with outbound(80) as out:
        outcome = await out.post(f"http://{NAME}:80/", {}, b"{}")
    assert outcome.error == f"连接失败: 域名 {NAME} 无法解析"


def certificate(name: str, place: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime(2023, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = place / f"{name}.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return pem


@pytest.mark.parametrize("certified", [NAME, "other.example"])
async def test_tls_goes_by_the_name_and_not_by_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certified: str
) -> None:
    Names(monkeypatch, lambda _: ["127.0.0.1"])
    pem = certificate(certified, tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    asked: list[str | None] = []
    serving.sni_callback = lambda _, name, __: asked.append(name)
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    try:
        trusting = ssl.create_default_context(cafile=pem)
        async with outbound(port, scheme="https", networks=LOOPBACK, tls=trusting) as out:
            outcome = await out.post(f"https://{NAME}:{port}/", {}, b"{}")
    finally:
        server.close()
    assert asked == [NAME]
    assert outcome.succeeded is (certified == NAME), outcome


async def test_an_endless_answer_is_cut_off() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            for _ in range(1000):
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    targets = Targets(parse_targets([f"http://127.0.0.1:{port}"]), LOOPBACK)
    try:
        async with Outbound(targets, timeout=5) as out:
            outcome = await out.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    finally:
        server.close()
    assert outcome.succeeded
    assert outcome.latency_ms < 4000


SECRET = webhook_secret("k" * 32, UUID(int=1), 1)
BODY = '{"id":"evt_1","标题":"六仗"}'.encode()
EVENTS = (Path(__file__).parents[2] / "docs" / "events.md").read_text(encoding="utf-8")


def example(language: str, containing: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", EVENTS, re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if containing in block)


@pytest.mark.parametrize("body", [BODY, BODY + b" "])
def test_the_python_of_the_document_verifies_a_signature(body: bytes) -> None:
    at = datetime.now(UTC)  # noqa: TID251 - the document's own clock
    headers = signature_headers([webhook_secret("o" * 32, UUID(int=1), 1), SECRET], "evt_1", at, BODY)
    names: dict[str, Any] = {}
    exec(example("python", "verified"), names)
    assert names["verified"](secret_text(SECRET), headers, body) is (body == BODY)
    stale = signature_headers([SECRET], "evt_1", at - timedelta(minutes=6), BODY)
    assert not names["verified"](secret_text(SECRET), stale, BODY)


@pytest.mark.skipif(sys.platform != "linux", reason="base64 of GNU")
@pytest.mark.parametrize("body", [BODY, BODY + b" "])
def test_the_shell_of_the_document_verifies_a_signature(tmp_path: Path, body: bytes) -> None:
    headers = signature_headers([SECRET], "evt_1", datetime(2023, 5, 1, tzinfo=UTC), BODY)
    (tmp_path / "body").write_bytes(body)
    done = subprocess.run(
        ["sh", "-c", example("sh", "openssl")],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin:/usr/local/bin",
            "ID": headers["webhook-id"],
            "AT": headers["webhook-timestamp"],
            "SIGNATURE": headers["webhook-signature"],
            "SECRET": secret_text(SECRET),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout.strip(), done.returncode) == (("相符", 0) if body == BODY else ("不符", 1)), done.stderr


def test_a_signature_is_that_of_the_standard() -> None:
    # The example of the Standard Webhooks specification.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signature_headers(
        [secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), b'{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
