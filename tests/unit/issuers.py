"""An identity provider for tests: keys, a key set, tokens, and answers over HTTP. It is no part of the service."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from app.security.issuer import Issuer
from app.security.issuer_keys import IssuerKeys
from app.security.tokens import TokenVerifier

URL = "https://id.example.gov.cn/realms/county"
JWKS = "https://id.example.gov.cn/realms/county/keys"
DISCOVERY = f"{URL}/.well-known/openid-configuration"
AUDIENCE = "liuzhang"
START = datetime(2023, 4, 20, 9, 0, tzinfo=UTC)


CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@cache
def _made(family: str, name: str, bits: int) -> Any:
    if family == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if family in CURVES:
        return ec.generate_private_key(CURVES[family])
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def private_key(algorithm: str, name: str = "a", bits: int = 2048) -> Any:
    """A key that this process signs with; the same for the same name and kind, so one RSA key for RS… and PS…."""
    return _made("RSA" if algorithm[:2] in {"RS", "PS"} else algorithm, name, bits)


def jwk(key_id: str | None = "a", algorithm: str = "RS256", *, bits: int = 2048, **members: Any) -> dict[str, Any]:
    """The public key of that id as the issuer publishes it."""
    public = private_key(algorithm, key_id or "a", bits).public_key()
    told = get_default_algorithms()[algorithm].to_jwk(public, as_dict=True)
    return {**told, "use": "sig", **({"kid": key_id} if key_id is not None else {}), **members}


def pem(key_id: str = "a") -> bytes:
    return private_key("RS256", key_id).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def segment(content: bytes | dict[str, Any]) -> str:
    raw = json.dumps(content).encode() if isinstance(content, dict) else content
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token of five minutes from :data:`START`; ``None`` leaves one out."""
    issued = int(START.timestamp())
    good = {"iss": URL, "aud": AUDIENCE, "sub": "7f3a", "name": "向同志", "iat": issued, "exp": issued + 300}
    return {name: value for name, value in {**good, **changed}.items() if value is not None}


def token(
    key_id: str | None = "a", algorithm: str = "RS256", *, header: dict[str, Any] | None = None, **changed: Any
) -> str:
    """A token signed by the key of that id."""
    named = {} if key_id is None else {"kid": key_id}
    payload = json.dumps(claims(**changed)).encode()
    return jwt.api_jws.encode(
        payload, private_key(algorithm, key_id or "a"), algorithm, headers={**named, **(header or {})}
    )


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


class Provider:
    """The issuer's side: what it publishes, how often it was asked, and whether it can be reached."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys: list[Any] = list(keys) or [jwk()]
        self.discovery: Any = {"issuer": URL, "jwks_uri": JWKS}
        self.reachable = True
        self.asked: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        if not self.reachable:
            raise httpx.ConnectError("refused", request=request)
        if str(request.url) == DISCOVERY:
            return told(self.discovery)
        assert str(request.url) == JWKS
        return told({"keys": self.keys})


def told(content: Any, status: int = 200, **headers: str) -> httpx.Response:
    """An answer that is still to be read, as a network's is."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def issuer(**changed: Any) -> Issuer:
    return Issuer(**{"url": URL, "audience": AUDIENCE, "jwks_url": JWKS, **changed})


@asynccontextmanager
async def verifying(answer: Any, clock: Clock, **changed: Any) -> AsyncIterator[TokenVerifier]:
    """A verifier whose issuer answers as the function says."""
    configured = issuer(**changed)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        yield TokenVerifier(configured, IssuerKeys(configured, client, clock), clock)


@contextmanager
def http_server(answers: dict[str, tuple[int, dict[str, str], bytes]]) -> Iterator[str]:
    """A real HTTP server on this machine; yields its address. ``answers`` may be changed while it runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
