"""The issuer's public keys: fetched when needed, kept for a while, used on while it cannot be reached (RFC 7517)."""

import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, cast

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from app.clock import Clock
from app.security.issuer import Issuer, secure_url

__all__ = ["IssuerKeys", "IssuerUnavailableError", "usable_keys"]

LARGEST_ANSWER: Final = 256 * 1024
MOST_KEYS: Final = 100

# Of JWKs that hold anything at all: what building a key from them has been seen to raise.
_UNUSABLE: Final = (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError)

_log = logging.getLogger(__name__)


class IssuerUnavailableError(Exception):
    """The issuer's keys cannot be had and none that may still be used are at hand: 503, since the token may be good.

    ``detail`` is Chinese, for callers; ``reason`` is for the log, and names addresses.
    """

    detail = "身份提供方暂时无法访问,无法核验登录令牌,请稍后重试;持续出现请联系管理员。"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class IssuerKeys:
    """The keys of one issuer, for one event loop.

    However many requests wait, the issuer is asked once at a time, and at most once in ``refetch_interval``; a request
    that is cancelled does not cancel what the others wait for.
    """

    def __init__(self, issuer: Issuer, client: httpx.AsyncClient, clock: Clock) -> None:
        """Keep how to ask; nothing is fetched before the first token comes."""
        self._issuer = issuer
        self._client = client
        self._clock = clock
        self._keys: Mapping[tuple[str, str], PyJWK] = {}
        self._fetched_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._refusal: str | None = "never asked"
        self._asking: asyncio.Task[None] | None = None

    async def find(self, key_id: str, algorithm: str) -> PyJWK | None:
        """Return the issuer's key of this id for this algorithm, or ``None`` if it has no such key.

        Raises:
            IssuerUnavailableError: the issuer cannot be asked, and what is known of its keys does not answer.
        """
        key = self._known(key_id, algorithm)
        if key is not None and self._since(self._fetched_at) < self._issuer.key_lifetime:
            return key
        if self._asking is not None or self._since(self._asked_at) >= self._issuer.refetch_interval:
            await self._ask()
            key = self._known(key_id, algorithm)
        if key is None and self._refusal is not None:
            raise IssuerUnavailableError(self._refusal)
        return key

    def _known(self, key_id: str, algorithm: str) -> PyJWK | None:
        if self._since(self._fetched_at) >= self._issuer.key_maximum_age:
            return None
        return self._keys.get((key_id, algorithm))

    def _since(self, then: datetime | None) -> timedelta:
        """The time since; for ever if it never was, or if the clock was put back behind it."""
        passed = self._clock() - then if then is not None else timedelta.max
        return passed if passed >= timedelta(0) else timedelta.max

    async def _ask(self) -> None:
        """Fetch the keys, or wait for the fetch that is under way."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._renew())
            self._asking.add_done_callback(self._asked)
        await asyncio.shield(self._asking)

    def _asked(self, _: asyncio.Task[None]) -> None:
        self._asking = None

    async def _renew(self) -> None:
        self._asked_at = self._clock()
        try:
            keys = await self._fetch()
        except IssuerUnavailableError as error:
            self._refusal = error.reason
            _log.warning("issuer keys not renewed: %s", error.reason)
            return
        self._keys, self._fetched_at, self._refusal = keys, self._asked_at, None

    async def _fetch(self) -> Mapping[tuple[str, str], PyJWK]:
        url = self._issuer.jwks_url or await self._discover()
        keys = usable_keys(await self._get(url), self._issuer.algorithms)
        if not keys:
            raise IssuerUnavailableError(f"{url}: no usable key")
        return keys

    async def _discover(self) -> str:
        """Where the issuer says its keys are (OpenID Connect Discovery 1.0, 4)."""
        url = f"{self._issuer.url.rstrip('/')}/.well-known/openid-configuration"
        found = await self._get(url)
        if found.get("issuer") != self._issuer.url:
            raise IssuerUnavailableError(
                f"{url}: it is the document of another issuer, {str(found.get('issuer'))[:200]}"
            )
        keys = found.get("jwks_uri")
        if not isinstance(keys, str) or not secure_url(keys):
            raise IssuerUnavailableError(f"{url}: jwks_uri is missing or not secure, {str(keys)[:200]}")
        return keys

    async def _get(self, url: str) -> dict[str, Any]:
        """Fetch a JSON object: 200 without redirects, whole within the timeout, uncompressed and of bounded size."""
        body = bytearray()
        headers = {"Accept": "application/json, application/jwk-set+json", "Accept-Encoding": "identity"}
        try:
            async with (
                asyncio.timeout(self._issuer.timeout.total_seconds()),
                self._client.stream("GET", url, headers=headers, follow_redirects=False) as response,
            ):
                if response.status_code != 200:
                    raise IssuerUnavailableError(f"{url}: status {response.status_code}")
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise IssuerUnavailableError(f"{url}: compressed, though that was not asked for")
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > LARGEST_ANSWER:
                        raise IssuerUnavailableError(f"{url}: more than {LARGEST_ANSWER} bytes")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise IssuerUnavailableError(f"{url}: {type(error).__name__} {error}") from None
        try:
            found: Any = json.loads(body)
        except (ValueError, RecursionError):
            raise IssuerUnavailableError(f"{url}: no JSON") from None
        if not isinstance(found, dict):
            raise IssuerUnavailableError(f"{url}: no JSON object")
        return cast("dict[str, Any]", found)


def usable_keys(key_set: Mapping[str, Any], algorithms: frozenset[str]) -> dict[tuple[str, str], PyJWK]:
    """Return the keys of a JWK set by key id and algorithm; what cannot be used is passed over (RFC 7517, 5).

    A key is bound to the algorithms that it can serve among the allowed ones: to its own ``alg`` if it names one. It is
    passed over if it has no ``kid``, is not for signatures, is symmetric, is a private key (then it is no secret any
    more), is too weak (RSA below 2048 bits), or is on the wrong curve. Of two with one id, the first counts.
    """
    listed = key_set.get("keys")
    found: dict[tuple[str, str], PyJWK] = {}
    for entry in cast("list[Any]", listed)[:MOST_KEYS] if isinstance(listed, list) else ():
        if not isinstance(entry, dict):
            continue
        jwk = cast("dict[str, Any]", entry)
        key_id = jwk.get("kid")
        if not isinstance(key_id, str) or jwk.get("use", "sig") != "sig" or "d" in jwk or "k" in jwk:
            continue
        for algorithm in algorithms:
            if jwk.get("alg", algorithm) == algorithm:
                key = _built(jwk, algorithm)
                if key is not None:
                    found.setdefault((key_id, algorithm), key)
    return found


def _built(jwk: dict[str, Any], algorithm: str) -> PyJWK | None:
    try:
        key = PyJWK(jwk, algorithm)
        key.Algorithm.prepare_key(key.key)  # refuses the curve of another algorithm
        return None if key.Algorithm.check_key_length(key.key) else key
    except _UNUSABLE:
        return None
