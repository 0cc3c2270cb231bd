"""JWTs of the configured issuer: verified in signature, issuer, audience and time (RFC 7519, RFC 8725).

PyJWT checks the signature and who it is from and for. The times are checked here, by the service's own clock: PyJWT
reads the system's, which no test can set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from jwt import PyJWK
from jwt.exceptions import (
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from app.clock import Clock
from app.security.issuer import Issuer
from app.security.issuer_keys import IssuerKeys

__all__ = [
    "AlgorithmError",
    "ClaimError",
    "ExpiredTokenError",
    "ForgedTokenError",
    "ImmatureTokenError",
    "MalformedTokenError",
    "TokenError",
    "TokenVerifier",
    "UnknownKeyError",
    "VerifiedToken",
]

LONGEST: Final = 8192
LONGEST_KEY_ID: Final = 256
REQUIRED: Final = ("iss", "aud", "sub", "exp", "iat")

# A token of another kind (a log-out token, a proof of possession) may be signed by the same key (RFC 8725, 3.11).
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)


class TokenError(ValueError):
    """A token that is not believed (401); ``detail`` is Chinese and repeats nothing of the token."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedTokenError(TokenError):
    """It is no JWT, or of a kind that is not for this."""


class AlgorithmError(TokenError):
    """It is signed, or not signed, in a way that is not allowed."""


class UnknownKeyError(TokenError):
    """It names no key of the issuer."""


class ForgedTokenError(TokenError):
    """The signature is not the issuer's."""


class ClaimError(TokenError):
    """A claim is missing or wrong: another issuer, another audience."""


class ExpiredTokenError(TokenError):
    """Its time is over."""


class ImmatureTokenError(TokenError):
    """Its time has not come."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a believed token says. ``subject`` is the issuer's own id of the person, stable and never reassigned."""

    subject: str
    expires_at: datetime
    claims: Mapping[str, Any]

    @property
    def actor_id(self) -> str:
        """The id under which the service's records know this person."""
        return f"oidc:{self.subject}"

    @property
    def name(self) -> str:
        """A name to show, of at most 80 characters; never to tell people apart."""
        for claim in ("name", "preferred_username"):
            found = self.claims.get(claim)
            if isinstance(found, str) and found.strip() and found.isprintable():
                return found.strip()[:80]
        return self.subject[:80]


class TokenVerifier:
    """Verifies the tokens of one issuer, for one event loop."""

    def __init__(self, issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
        """Keep what to verify against."""
        self._issuer = issuer
        self._keys = keys
        self._clock = clock

    async def verify(self, token: str) -> VerifiedToken:
        """Return what a token says if it is the issuer's, for this service, and of now.

        Raises:
            TokenError: one of its subclasses: it is not believed (401).
            IssuerUnavailableError: whether it is to be believed cannot be known now (503).
        """
        key = await self._key_of(token)
        claims = self._signed_claims(token, key)
        expires_at = self._check_times(claims)
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
            raise ClaimError("登录令牌的主体(sub)须为 1-255 个字符的文字")
        return VerifiedToken(subject, expires_at, claims)

    async def _key_of(self, token: str) -> PyJWK:
        """The key that the header names; the header chooses among what is allowed and is believed in nothing else."""
        if len(token) > LONGEST or not token.isascii():
            raise MalformedTokenError(f"登录令牌的写法不对,须为不超过 {LONGEST} 个字符的 JWT")
        try:
            header = jwt.get_unverified_header(token)
        except PyJWTError:
            raise MalformedTokenError("登录令牌的写法不对,须为 JWT") from None
        algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if not isinstance(algorithm, str) or algorithm not in self._issuer.algorithms:
            allowed = "、".join(sorted(self._issuer.algorithms))
            raise AlgorithmError(f"登录令牌的签名算法不被接受,可用的算法:{allowed}")
        if "crit" in header or not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise MalformedTokenError("登录令牌的类型不被接受,须为访问令牌")
        if not isinstance(key_id, str) or not 0 < len(key_id) <= LONGEST_KEY_ID:
            raise UnknownKeyError("登录令牌没有指明签名密钥(kid)")
        key = await self._keys.find(key_id, algorithm)
        if key is None:
            raise UnknownKeyError("登录令牌的签名密钥不属于身份提供方,请重新登录")
        return key

    def _signed_claims(self, token: str, key: PyJWK) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._issuer.audience,
                issuer=self._issuer.url,
                options={
                    "require": list(REQUIRED),
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except InvalidSignatureError:
            raise ForgedTokenError("登录令牌的签名不符") from None
        except MissingRequiredClaimError as error:
            raise ClaimError(f"登录令牌缺少声明 {error.claim}") from None
        except InvalidAudienceError:
            raise ClaimError("登录令牌不是发给本服务的(aud 不符)") from None
        except InvalidIssuerError:
            raise ClaimError("登录令牌不是由所设的身份提供方签发的(iss 不符)") from None
        except PyJWTError:
            raise MalformedTokenError("登录令牌的内容无法读取") from None

    def _check_times(self, claims: Mapping[str, Any]) -> datetime:
        """Check ``exp``, ``iat`` and, if given, ``nbf`` by the service's clock; return when the token expires (UTC)."""
        now, leeway = self._clock(), self._issuer.leeway
        expires_at = _instant(claims, "exp")
        if now >= expires_at + leeway:
            raise ExpiredTokenError("登录令牌已过期,请重新登录")
        begins = [_instant(claims, name) for name in ("iat", "nbf") if name == "iat" or "nbf" in claims]
        if now < max(begins) - leeway:
            raise ImmatureTokenError("登录令牌尚未生效,请核对身份提供方与本服务的时钟")
        return expires_at


def _instant(claims: Mapping[str, Any], name: str) -> datetime:
    """A NumericDate (RFC 7519, 2): seconds since 1970-01-01T00:00:00Z, whole or not, up to the year 9999."""
    value: Any = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimError(f"登录令牌的时间声明 {name} 须为数字")
    # Neither infinity nor NaN, which Python's JSON reads, passes this, nor an integer that no float holds.
    if not 0 <= value < (_LATEST - _EPOCH).total_seconds():
        raise ClaimError(f"登录令牌的时间声明 {name} 超出范围")
    return _EPOCH + timedelta(seconds=value)
