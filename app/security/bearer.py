"""The ``Authorization: Bearer …`` header and the challenge that answers it (RFC 6750)."""

import re
from enum import StrEnum
from typing import Final

__all__ = ["BearerError", "ChallengeError", "bearer_token", "challenge"]

# Beyond what an issuer puts into a token with a long list of roles; what is longer is not looked at.
LONGEST: Final = 8192

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<token>[A-Za-z0-9\-._~+/]+=*)")


class BearerError(ValueError):
    """The header is no bearer token; ``detail`` (Chinese) says how it is to be written."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ChallengeError(StrEnum):
    """The codes of RFC 6750, 3.1; each belongs to one status."""

    INVALID_REQUEST = "invalid_request"  # 400
    INVALID_TOKEN = "invalid_token"  # 401  # noqa: S105 (a code, no secret)
    INSUFFICIENT_SCOPE = "insufficient_scope"  # 403


def bearer_token(authorization: str | None) -> str | None:
    """Return the token of the header's value, or ``None`` if there is no such header.

    Raises:
        BearerError: another scheme, characters that no token has, or more than 8192 of them. An unreadable header is
            refused, never taken for an anonymous request.
    """
    if authorization is None:
        return None
    if len(authorization) > LONGEST:
        raise BearerError(f"Authorization 请求头过长,最多 {LONGEST} 个字符")
    found = _BEARER.fullmatch(authorization)
    if found is None:
        raise BearerError("Authorization 请求头须写作“Bearer 密钥或令牌”")
    return found["token"]


def challenge(error: ChallengeError | None = None) -> str:
    """Return the value of ``WWW-Authenticate`` for a 401 or 403.

    Without an error for a request that brought no token (RFC 6750, 3.1). The header takes ASCII only, so the Chinese
    detail is in the problem's body and not here.
    """
    return f'Bearer realm="liuzhang", error="{error}"' if error else 'Bearer realm="liuzhang"'
