"""The issuer's keys: fetched once, renewed in measure, used on while it is away; and an issuer that misbehaves."""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from app.security.issuer import ALGORITHMS, Issuer, IssuerError, issuer_client, secure_url
from app.security.issuer_keys import LARGEST_ANSWER, IssuerKeys, IssuerUnavailableError, usable_keys
from app.security.tokens import TokenVerifier, UnknownKeyError
from tests.unit.issuers import (
    DISCOVERY,
    JWKS,
    START,
    URL,
    Clock,
    Provider,
    http_server,
    issuer,
    jwk,
    private_key,
    segment,
    token,
    told,
    verifying,
)


def lasting(name: str = "a") -> str:
    """A token that outlives every test here."""
    return token(name, exp=int(START.timestamp()) + 10 * 86400)


async def test_keys_are_fetched_at_the_first_token_and_kept() -> None:
    provider, clock = Provider(), Clock()
    async with verifying(provider.answer, clock) as verifier:
        assert provider.asked == []
        for _ in range(3):
            await verifier.verify(lasting())
            clock.pass_(minutes=19)
        assert provider.asked == [JWKS]
        clock.pass_(minutes=3)
        await verifier.verify(lasting())
        assert provider.asked == [JWKS, JWKS]


async def test_the_keys_are_where_the_issuer_says() -> None:
    provider = Provider()
    async with verifying(provider.answer, Clock(), jwks_url=None) as verifier:
        await verifier.verify(lasting())
    assert provider.asked == [DISCOVERY, JWKS]


async def test_a_rotated_key_is_fetched_and_the_old_one_forgotten() -> None:
    provider, clock = Provider(jwk("a")), Clock()
    async with verifying(provider.answer, clock) as verifier:
        await verifier.verify(lasting("a"))
        provider.keys = [jwk("b")]
        clock.pass_(seconds=60)
        await verifier.verify(lasting("b"))
        assert len(provider.asked) == 2
        with pytest.raises(UnknownKeyError):
            await verifier.verify(lasting("a"))


async def test_made_up_key_ids_ask_the_issuer_once_in_the_interval() -> None:
    provider, clock = Provider(), Clock()
    async with verifying(provider.answer, clock, refetch_interval=timedelta(seconds=30)) as verifier:
        await verifier.verify(lasting())
        for n in range(50):
            with pytest.raises(UnknownKeyError):
                await verifier.verify(token("b", header={"kid": f"made-up-{n}"}))
            clock.pass_(seconds=1)
        assert len(provider.asked) == 2
        await verifier.verify(lasting())
        assert len(provider.asked) == 2


async def test_requests_at_the_same_time_ask_once() -> None:
    provider = Provider()
    started = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.sleep(0.02)
        return provider.answer(request)

    async with verifying(slow, Clock()) as verifier:
        found = await asyncio.gather(*(verifier.verify(lasting()) for _ in range(20)))
    assert len(found) == 20
    assert len(provider.asked) == 1


async def test_a_cancelled_request_cancels_only_itself() -> None:
    provider = Provider()
    started = asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.sleep(0.02)
        return provider.answer(request)

    async with verifying(slow, Clock()) as verifier:
        first = asyncio.create_task(verifier.verify(lasting()))
        await started.wait()
        second = asyncio.create_task(verifier.verify(lasting()))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).subject == "7f3a"
        with pytest.raises(asyncio.CancelledError):
            await first
    assert len(provider.asked) == 1


async def test_an_issuer_that_was_never_reached_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    provider, clock = Provider(), Clock()
    provider.reachable = False
    async with verifying(provider.answer, clock) as verifier:
        with caplog.at_level(logging.WARNING), pytest.raises(IssuerUnavailableError) as caught:
            await verifier.verify(lasting())
        assert "ConnectError" in caught.value.reason
        assert "身份提供方" in caught.value.detail
        assert URL not in caught.value.detail
        assert JWKS in caplog.text
        with pytest.raises(IssuerUnavailableError):
            await verifier.verify(lasting())
        assert len(provider.asked) == 1
        provider.reachable = True
        clock.pass_(seconds=60)
        await verifier.verify(lasting())


async def test_known_keys_are_used_on_while_the_issuer_is_away_up_to_their_age() -> None:
    provider, clock = Provider(), Clock()
    async with verifying(provider.answer, clock) as verifier:
        await verifier.verify(lasting())
        provider.reachable = False
        for _ in range(23):
            clock.pass_(hours=1)
            await verifier.verify(lasting())
        clock.pass_(minutes=59, seconds=59)
        await verifier.verify(lasting())
        clock.pass_(seconds=1)
        with pytest.raises(IssuerUnavailableError):
            await verifier.verify(lasting())
        provider.reachable = True
        clock.pass_(minutes=1)
        await verifier.verify(lasting())


async def test_while_the_issuer_is_away_an_unknown_key_may_be_a_new_one() -> None:
    provider, clock = Provider(), Clock()
    async with verifying(provider.answer, clock) as verifier:
        await verifier.verify(lasting())
        with pytest.raises(UnknownKeyError):
            await verifier.verify(lasting("b"))
        provider.reachable = False
        clock.pass_(minutes=1)
        for _ in range(3):
            with pytest.raises(IssuerUnavailableError):
                await verifier.verify(lasting("b"))
        await verifier.verify(lasting())
        assert len(provider.asked) == 2


async def test_a_clock_that_is_put_back_keeps_nothing_longer() -> None:
    provider, clock = Provider(), Clock()
    async with verifying(provider.answer, clock) as verifier:
        clock.pass_(hours=5)
        await verifier.verify(lasting())
        clock.pass_(hours=-5)
        await verifier.verify(lasting())
        assert len(provider.asked) == 2


Answer = Callable[[httpx.Request], Any]


def misbehaving() -> dict[str, Answer]:
    class Trickling(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.005)

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" " * 65536

    def fail(error: type[httpx.RequestError]) -> Answer:
        def answer(request: httpx.Request) -> httpx.Response:
            raise error("away", request=request)

        return answer

    good = json.dumps({"keys": [jwk()]}).encode()
    return {
        "oversized": lambda _: told(good + b" " * LARGEST_ANSWER),
        "endless": lambda _: httpx.Response(200, stream=Endless()),
        "trickling": lambda _: httpx.Response(200, stream=Trickling()),
        "compressed": lambda _: told(good, **{"content-encoding": "gzip"}),
        "redirect": lambda _: told(good, 302, location="https://evil.example/keys"),
        "error": lambda _: told(good, 500),
        "missing": lambda _: told(good, 404),
        "other success": lambda _: told(good, 203),
        "empty": lambda _: told(b""),
        "no JSON": lambda _: told(b"<html>"),
        "deep JSON": lambda _: told(b"[" * 200_000),
        "not UTF-8": lambda _: told(b"\xff\xfe\xff"),
        "list": lambda _: told([jwk()]),
        "no keys": lambda _: told({"keys": []}),
        "keys of nothing": lambda _: told({"keys": None}),
        "unusable keys": lambda _: told({"keys": [7, None, {}, {"kty": "RSA", "kid": "a"}]}),
        "timeout": fail(httpx.ReadTimeout),
        "broken off": fail(httpx.RemoteProtocolError),
    }


@pytest.mark.parametrize("name", misbehaving())
async def test_an_issuer_that_misbehaves_is_unavailable(name: str) -> None:
    answer, clock = misbehaving()[name], Clock()
    provider, broken = Provider(), True

    def choose(request: httpx.Request) -> Any:
        return answer(request) if broken else provider.answer(request)

    async with verifying(choose, clock, timeout=timedelta(seconds=0.1)) as verifier:
        with pytest.raises(IssuerUnavailableError):
            await verifier.verify(lasting())
        broken = False
        clock.pass_(minutes=1)
        await verifier.verify(lasting())
        broken = True
        clock.pass_(hours=2)
        await verifier.verify(lasting())
        assert not any("evil" in url for url in provider.asked)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"jwks_uri": JWKS},
        {"issuer": f"{URL}/", "jwks_uri": JWKS},
        {"issuer": "https://evil.example", "jwks_uri": JWKS},
        {"issuer": URL},
        {"issuer": URL, "jwks_uri": None},
        {"issuer": URL, "jwks_uri": [JWKS]},
        {"issuer": URL, "jwks_uri": JWKS.replace("https", "http")},
        {"issuer": URL, "jwks_uri": "file:///etc/passwd"},
        {"issuer": URL, "jwks_uri": "/keys"},
        {"issuer": URL, "jwks_uri": "https://user:word@id.example.gov.cn/keys"},
        [],
    ],
)
async def test_a_discovery_document_must_be_the_issuers_and_name_a_secure_place(document: Any) -> None:
    provider = Provider()
    provider.discovery = document
    async with verifying(provider.answer, Clock(), jwks_url=None) as verifier:
        with pytest.raises(IssuerUnavailableError):
            await verifier.verify(lasting())
    assert provider.asked == [DISCOVERY]


async def test_over_a_real_connection() -> None:
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
    clock = Clock()
    with http_server(answers) as address:
        configured = Issuer(url=address, audience="liuzhang")
        document = {"issuer": address, "jwks_uri": f"{address}/keys"}
        answers["/.well-known/openid-configuration"] = (200, {}, json.dumps(document).encode())
        answers["/keys"] = (200, {}, json.dumps({"keys": [jwk()]}).encode())
        mine = token(iss=address, exp=int(START.timestamp()) + 5 * 86400)
        async with issuer_client() as client:
            verifier = TokenVerifier(configured, IssuerKeys(configured, client, clock), clock)
            assert (await verifier.verify(mine)).subject == "7f3a"
            answers["/keys"] = (200, {}, b" " * (LARGEST_ANSWER + 1))
            clock.pass_(hours=2)
            assert (await verifier.verify(mine)).subject == "7f3a"
            answers["/keys"] = (302, {"Location": f"{address}/other"}, b"")
            answers["/other"] = (200, {}, json.dumps({"keys": [jwk()]}).encode())
            clock.pass_(hours=24)
            with pytest.raises(IssuerUnavailableError, match="status 302"):
                await verifier.verify(mine)
    async with issuer_client() as client:
        verifier = TokenVerifier(configured, IssuerKeys(configured, client, clock), clock)
        with pytest.raises(IssuerUnavailableError, match="Connect"):
            await verifier.verify(mine)


def ids(*keys: Any, algorithms: frozenset[str] = ALGORITHMS) -> set[tuple[str, str]]:
    return set(usable_keys({"keys": list(keys)}, algorithms))


def test_a_key_is_bound_to_the_algorithms_it_can_serve() -> None:
    rsa = {("a", name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")}
    assert ids(jwk()) == rsa
    assert ids(jwk(alg="PS256")) == {("a", "PS256")}
    assert ids(jwk("e", "ES384")) == {("e", "ES384")}
    assert ids(jwk("o", "EdDSA")) == {("o", "EdDSA")}
    assert ids(jwk(), algorithms=frozenset({"ES256", "RS256"})) == {("a", "RS256")}


def test_keys_that_must_not_be_used_are_passed_over() -> None:
    unusable = [
        jwk(None),
        jwk(kid=7),
        jwk(use="enc"),
        jwk("w", bits=1024),
        jwk(d=segment(b"secret")),
        jwk(alg="RSA-OAEP"),
        jwk(alg="HS256"),
        jwk(alg="none"),
        jwk(kty="EC"),
        jwk(n=5),
        jwk(n=None),
        jwk(n=""),
        jwk(e=""),
        jwk(e={}),
        jwk("e", "ES256", crv="P-384"),
        jwk("e", "ES256", x="AA"),
        jwk("o", "EdDSA", crv="X25519"),
        {"kty": "oct", "kid": "h", "k": segment(b"s" * 32)},
        {"kty": "oct", "kid": "h", "k": segment(b"s" * 32), "alg": "RS256"},
        {"kid": "a"},
        [jwk()],
        "a",
        None,
    ]
    assert ids(*unusable) == set()
    assert ids(*unusable, jwk("b"), algorithms=frozenset({"RS256"})) == {("b", "RS256")}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_that_was_published_is_no_secret_any_more(algorithm: str) -> None:
    told = get_default_algorithms()[algorithm].to_jwk(private_key(algorithm), as_dict=True)
    assert "d" in told
    assert ids({**told, "kid": "a"}) == set()


def test_of_two_keys_with_one_id_the_first_counts() -> None:
    first, second = jwk("a"), jwk("b", kid="a")
    found = usable_keys({"keys": [first, second]}, frozenset({"RS256"}))
    assert found["a", "RS256"].key.public_numbers() == private_key("RS256", "a").public_key().public_numbers()


def test_a_key_set_without_end_is_cut() -> None:
    assert len(ids(*(jwk(kid=str(n)) for n in range(300)), algorithms=frozenset({"RS256"}))) == 100


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["kty", "kid", "use", "alg", "n", "e", "crv", "x", "y", "key_ops"])
KINDS = st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "P-384", "Ed25519", "sig", "AQAB", "RS256"])


@given(st.lists(st.dictionaries(MEMBERS, KINDS | VALUES) | VALUES, max_size=4) | VALUES, st.booleans())
def test_whatever_a_key_set_holds_it_is_read_or_passed_over(listed: Any, changed: bool) -> None:
    if changed and isinstance(listed, list):
        listed = [{**jwk(), **entry} if isinstance(entry, dict) else entry for entry in listed]
    for key_id, algorithm in usable_keys({"keys": listed}, ALGORITHMS):
        assert isinstance(key_id, str)
        assert algorithm in ALGORITHMS


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://id.example.gov.cn/realms/county", True),
        ("https://id.example.gov.cn:8443/keys?realm=1", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://127.8.8.8/keys", True),
        ("http://[::1]:8080/keys", True),
        ("http://localhost:8080/keys", True),
        ("http://id.example.gov.cn/keys", False),
        ("http://localhost.example.gov.cn/keys", False),
        ("http://127.0.0.1.example.gov.cn/keys", False),
        ("http://0.0.0.0/keys", False),
        ("http://10.0.0.1/keys", False),
        ("http://127.0.0.1@example.gov.cn/keys", False),
        ("https://user:word@id.example.gov.cn/keys", False),
        ("https://id.example.gov.cn/keys#a", False),
        ("https://", False),
        ("https:///keys", False),
        ("ftp://id.example.gov.cn/keys", False),
        ("file:///etc/passwd", False),
        ("id.example.gov.cn", False),
        ("", False),
        ("https://[::1", False),
        ("https://id.example.gov.cn:99999999/", False),
    ],
)
def test_keys_come_over_https_or_from_this_machine(url: str, secure: bool) -> None:
    assert secure_url(url) is secure


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "http://id.example.gov.cn"},
        {"url": f"{URL}?realm=1"},
        {"jwks_url": "http://id.example.gov.cn/keys"},
        {"audience": ""},
        {"algorithms": frozenset[str]()},
        {"algorithms": frozenset({"none"})},
        {"algorithms": frozenset({"RS256", "HS256"})},
        {"algorithms": frozenset({"rs256"})},
        {"leeway": timedelta(seconds=-1)},
        {"leeway": timedelta(seconds=121)},
        {"refetch_interval": timedelta(0)},
        {"refetch_interval": timedelta(hours=2)},
        {"key_lifetime": timedelta(hours=25)},
        {"timeout": timedelta(0)},
    ],
)
def test_an_issuer_that_would_not_be_safe_cannot_be_configured(changed: dict[str, Any]) -> None:
    with pytest.raises(IssuerError) as caught:
        issuer(**changed)
    assert not caught.value.detail.isascii()


def test_neither_unsigned_nor_symmetric_signatures_can_be_configured() -> None:
    assert not any(name.upper().startswith(("HS", "NONE", "DIR", "A1", "A2")) for name in ALGORITHMS)


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
async def test_a_certificate_file_must_hold_one(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(IssuerError, match="证书"):
        issuer_client(file)


async def test_the_client_verifies_and_follows_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with issuer_client() as client:
        assert client.trust_env is False
        assert client.follow_redirects is False
        context = client._transport._pool._ssl_context  # type: ignore[attr-defined]
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
