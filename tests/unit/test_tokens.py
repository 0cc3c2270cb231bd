"""Tokens of the issuer: believed if they are its own, for this service and of now; all others refused, and say why."""

import hashlib
import hmac
import json
from datetime import UTC, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from app.security.issuer import ALGORITHMS
from app.security.tokens import (
    AlgorithmError,
    ClaimError,
    ExpiredTokenError,
    ForgedTokenError,
    ImmatureTokenError,
    MalformedTokenError,
    TokenError,
    UnknownKeyError,
    VerifiedToken,
)
from tests.unit.issuers import START, Clock, Provider, claims, jwk, pem, private_key, segment, token, verifying

NOW = int(START.timestamp())


async def verified(text: str, clock: Clock | None = None, *keys: dict[str, Any], **issuer: Any) -> VerifiedToken:
    async with verifying(Provider(*keys).answer, clock or Clock(), **issuer) as verifier:
        return await verifier.verify(text)


async def refusal(text: str, clock: Clock | None = None, *keys: dict[str, Any], **issuer: Any) -> TokenError:
    with pytest.raises(TokenError) as caught:
        await verified(text, clock, *keys, **issuer)
    assert not caught.value.detail.isascii()
    assert len(text) < 20 or text not in caught.value.detail
    return caught.value


async def test_a_good_token_says_who_it_is() -> None:
    found = await verified(token(roles=["auditor"]))
    assert (found.subject, found.actor_id, found.name) == ("7f3a", "oidc:7f3a", "向同志")
    assert found.expires_at == START + timedelta(minutes=5)
    assert found.expires_at.tzinfo is UTC
    assert found.claims["roles"] == ["auditor"]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
async def test_every_algorithm_that_can_be_configured_works(algorithm: str) -> None:
    good = token("a", algorithm)
    assert await verified(good, None, jwk("a", algorithm), algorithms=frozenset({algorithm}))
    header, payload, signature = good.split(".")
    forged = f"{header}.{segment(claims(sub='other'))}.{signature}"
    assert payload != forged.split(".")[1]
    refused = await refusal(forged, None, jwk("a", algorithm), algorithms=frozenset({algorithm}))
    assert type(refused) is ForgedTokenError


async def test_a_token_signed_by_somebody_else_is_refused() -> None:
    header, payload, _ = token("a").split(".")
    _, _, other = token("b").split(".")
    assert type(await refusal(f"{header}.{payload}.{other}")) is ForgedTokenError
    assert type(await refusal(f"{header}.{payload}.")) is ForgedTokenError


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "nOnE"])
async def test_an_unsigned_token_is_refused(name: str) -> None:
    header = segment({"alg": name, "kid": "a", "typ": "JWT"})
    for signature in ("", token().split(".")[2]):
        assert type(await refusal(f"{header}.{segment(claims())}.{signature}")) is AlgorithmError


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_the_public_key_is_no_secret_to_sign_with(algorithm: str) -> None:
    secrets = [pem(), pem().strip(), json.dumps(jwk()).encode(), jwk()["n"].encode()]
    for secret in secrets:
        text = f"{segment({'alg': algorithm, 'kid': 'a', 'typ': 'JWT'})}.{segment(claims())}"
        signature = hmac.digest(secret, text.encode(), getattr(hashlib, f"sha{algorithm[2:]}"))
        assert type(await refusal(f"{text}.{segment(signature)}")) is AlgorithmError


async def test_a_symmetric_key_in_the_key_set_signs_nothing() -> None:
    secret = b"s" * 32
    text = f"{segment({'alg': 'HS256', 'kid': 'h'})}.{segment(claims())}"
    forged = f"{text}.{segment(hmac.digest(secret, text.encode(), 'sha256'))}"
    shared = {"kty": "oct", "kid": "h", "k": segment(secret), "alg": "HS256"}
    assert type(await refusal(forged, None, jwk(), shared)) is AlgorithmError


async def test_only_the_configured_algorithms_are_accepted() -> None:
    assert type(await refusal(token("a", "PS256"), None, jwk())) is AlgorithmError
    assert type(await refusal(token("e", "ES256"), None, jwk("e", "ES256"))) is AlgorithmError


async def test_a_key_serves_only_the_algorithm_that_it_names() -> None:
    allowed = frozenset({"RS256", "PS256"})
    bound = jwk(alg="RS256")
    assert await verified(token(), None, bound, algorithms=allowed)
    other = token("a", "PS256")
    assert type(await refusal(other, None, bound, algorithms=allowed)) is UnknownKeyError
    assert type(await refusal(token("e", "ES256"), None, jwk("e", "ES384"), algorithms=ALGORITHMS)) is UnknownKeyError


async def test_a_token_must_name_its_key() -> None:
    assert type(await refusal(token(None))) is UnknownKeyError
    assert type(await refusal(token(None, header={"kid": ""}))) is UnknownKeyError
    assert type(await refusal(token(None, header={"kid": "x" * 300}))) is UnknownKeyError
    assert type(await refusal(token("b"))) is UnknownKeyError
    header = segment({"alg": "RS256", "kid": ["a"]})
    assert type(await refusal(f"{header}.{segment(claims())}.AAAA")) is MalformedTokenError


async def test_a_key_that_the_token_brings_along_is_not_believed() -> None:
    for brought in ({"jwk": jwk("b")}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/x"}):
        provider = Provider()
        async with verifying(provider.answer, Clock()) as verifier:
            with pytest.raises(UnknownKeyError):
                await verifier.verify(token("b", header=brought))
            header = {"alg": "RS256", "kid": "a", **brought}
            _, payload, signature = token("b").split(".")
            with pytest.raises(ForgedTokenError):
                await verifier.verify(f"{segment(header)}.{payload}.{signature}")
        assert not any("evil" in url for url in provider.asked)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"iss": "https://id.example.gov.cn/realms/other"}, "iss"),
        ({"iss": "https://id.example.gov.cn/realms/county/"}, "iss"),
        ({"iss": ["https://id.example.gov.cn/realms/county"]}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "other"}, "aud"),
        ({"aud": ["other", "LIUZHANG"]}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": [7, "liuzhang"]}, "aud"),
        ({"aud": {"liuzhang": True}}, "aud"),
        ({"aud": None}, "aud"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"exp": None}, "exp"),
        ({"iat": None}, "iat"),
        ({"exp": str(NOW + 300)}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"exp": float("inf")}, "exp"),
        ({"exp": 10**400}, "exp"),
        ({"exp": -1}, "exp"),
        ({"exp": [NOW + 300]}, "exp"),
        ({"iat": "now"}, "iat"),
        ({"nbf": "now"}, "nbf"),
    ],
)
async def test_a_missing_or_wrong_claim_is_refused_and_named(changed: dict[str, Any], named: str) -> None:
    refused = await refusal(token(**changed))
    assert type(refused) is ClaimError
    assert named in refused.detail


def signed(header: dict[str, Any], payload: dict[str, Any]) -> str:
    """A token signed by key ``a``, with whatever PyJWT would not write."""
    text = f"{segment({'alg': 'RS256', 'kid': 'a', **header})}.{segment(payload)}"
    return f"{text}.{segment(private_key('RS256').sign(text.encode(), PKCS1v15(), SHA256()))}"


async def test_a_null_claim_is_a_wrong_one() -> None:
    assert await verified(signed({}, claims()))
    for name in ("iss", "aud", "sub", "exp", "iat", "nbf"):
        assert type(await refusal(signed({}, {**claims(), name: None}))) is ClaimError, name


async def test_one_of_several_audiences_is_enough() -> None:
    assert await verified(token(aud=["other", "liuzhang"]))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-31, ImmatureTokenError),
        (-30, None),
        (0, None),
        (299, None),
        (329, None),
        (330, ExpiredTokenError),
        (86400, ExpiredTokenError),
    ],
)
async def test_a_token_is_believed_from_its_issue_to_its_expiry_give_or_take_the_leeway(
    seconds: int, expected: type[TokenError] | None
) -> None:
    clock = Clock()
    clock.pass_(seconds=seconds)
    clock.now = clock.now.astimezone(ZoneInfo("Asia/Shanghai"))
    if expected is None:
        assert await verified(token(), clock)
    else:
        assert type(await refusal(token(), clock)) is expected


async def test_without_leeway_the_expiry_itself_is_too_late() -> None:
    clock = Clock()
    clock.pass_(seconds=300)
    assert type(await refusal(token(), clock, leeway=timedelta(0))) is ExpiredTokenError
    clock.pass_(seconds=-0.001)
    assert await verified(token(), clock, leeway=timedelta(0))


async def test_a_token_is_not_believed_before_its_time() -> None:
    clock = Clock()
    early = token(nbf=NOW + 100.5)
    assert type(await refusal(early, clock)) is ImmatureTokenError
    clock.pass_(seconds=70.4)
    assert type(await refusal(early, clock)) is ImmatureTokenError
    clock.pass_(seconds=0.1)
    assert await verified(early, clock)


async def test_the_time_is_the_services_own_and_not_the_systems() -> None:
    """START lies years back: by the system's clock the token is long over, and one of the far future has not begun."""
    assert await verified(token())
    clock = Clock()
    clock.pass_(days=36500)
    later = int(clock.now.timestamp())
    assert await verified(token(iat=later, nbf=later, exp=later + 60), clock)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
async def test_access_and_id_tokens_are_accepted(kind: str) -> None:
    assert await verified(token(header={"typ": kind}))


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
    ],
)
async def test_tokens_of_other_kinds_are_refused(header: dict[str, Any]) -> None:
    assert type(await refusal(signed(header, claims()))) is MalformedTokenError


@pytest.mark.parametrize("kind", [None, 7, ["JWT"]])
async def test_a_kind_that_is_no_text_is_refused(kind: object) -> None:
    header = segment({"alg": "RS256", "kid": "a", "typ": kind})
    assert type(await refusal(f"{header}.{segment(claims())}.AAAA")) is MalformedTokenError


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "garbage",
        "a.b",
        "a.b.c",
        "密文.密文.密文",
        f"{segment(b'[]')}.{segment(claims())}.AAAA",
        f"{segment(b'null')}.{segment(claims())}.AAAA",
        f"{segment(b'[' * 5000)}.{segment(claims())}.AAAA",
        f"{segment({'alg': 'RS256', 'kid': 'a'})}.!.AAAA",
        "x" * 9000,
        f"{token()}.{token()}",
        token().replace(".", ".\n"),
        f"{token()}{' ' * 3}",
    ],
)
async def test_garbage_is_refused(text: str) -> None:
    assert type(await refusal(text)) is MalformedTokenError


@pytest.mark.parametrize("header", [{}, {"kid": "a"}, {"alg": None, "kid": "a"}, {"alg": ["RS256"], "kid": "a"}])
async def test_a_header_without_an_algorithm_is_refused(header: dict[str, Any]) -> None:
    assert type(await refusal(f"{segment(header)}.{segment(claims())}.AAAA")) is AlgorithmError


@pytest.mark.parametrize("payload", [b"[]", b"null", b"7", b"\xff", b"{", b'"x"', b"[" * 4000])
async def test_signed_garbage_is_refused(payload: bytes) -> None:
    text = jwt.api_jws.encode(payload, private_key("RS256"), "RS256", headers={"kid": "a"})
    assert type(await refusal(text)) is MalformedTokenError


@given(st.text(max_size=60) | st.from_regex(r"[\w-]{0,20}\.[\w-]{0,20}\.[\w-]{0,20}", fullmatch=True))
async def test_no_text_is_believed_that_nobody_signed(text: str) -> None:
    await refusal(text)


@given(st.data())
async def test_a_changed_character_is_noticed(data: st.DataObject) -> None:
    good = token()
    place = data.draw(st.integers(0, len(good) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.").filter(lambda c: c != good[place]))
    await refusal(good[:place] + other + good[place + 1 :])


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, "向同志"),
        ({"name": " 向同志 "}, "向同志"),
        ({"name": None, "preferred_username": "xiang"}, "xiang"),
        ({"name": "", "preferred_username": "xiang"}, "xiang"),
        ({"name": "a\nb"}, "7f3a"),
        ({"name": 7}, "7f3a"),
        ({"name": None}, "7f3a"),
        ({"name": "长" * 200}, "长" * 80),
    ],
)
async def test_the_name_is_one_that_can_be_shown(changed: dict[str, Any], name: str) -> None:
    assert (await verified(token(**changed))).name == name
