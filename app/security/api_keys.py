"""API keys: what scripts and other systems present as a bearer token; and in the same form the tokens of feeds.

::

    lz_prod_8Zk3mQ0aTfYx_Qm0R…32 characters…_0aZ3fK
    │  │    │            │                    └ CRC-32 of all before it, Base62, 6 characters
    │  │    │            └ secret, 32 Base62 characters: 190 bits
    │  │    └ key id, 12 Base62 characters: public, names the key in lists and records
    │  └ environment, so that a key of the test system is told apart from a wrong one
    └ prefix, so that a leaked key is found by scanners

A feed's token is written alike, with a prefix of its own (:data:`FEED_TOKEN`): neither is ever taken for the other.

A double click selects the whole; there is no character that a shell, a URL or a header would change. The checksum is no
secret and proves nothing: it tells a mistyped or truncated key, or a leaked string, without asking the database.

Only a SHA-256 digest of the whole text is stored. A slow, salted hash is for passwords, which people choose: it makes
each guess at a small space dear. A secret of 190 random bits cannot be guessed at any speed, no two are the same, and
no table of digests can be made beforehand; a slow hash would cost every request and add nothing. The digest covers the
environment and the id too, so no part of a key can be exchanged.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import Final

__all__ = [
    "API_KEY",
    "ENVIRONMENT",
    "FEED_TOKEN",
    "ApiKeyError",
    "IssuedKey",
    "KeyChecksumError",
    "KeyEnvironmentError",
    "MalformedKeyError",
    "PresentedKey",
    "SecretKind",
    "is_api_key",
    "issue_key",
    "key_matches",
    "parse_key",
]

ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_ID_LENGTH: Final = 12
SECRET_LENGTH: Final = 32
CHECKSUM_LENGTH: Final = 6

# What the name of an environment may be; for the setting that gives it.
ENVIRONMENT: Final = r"[a-z][a-z0-9]{0,15}"


@dataclass(frozen=True, slots=True)
class SecretKind:
    """What a secret opens: its prefix, and what people call it (Chinese)."""

    prefix: str
    name: str


API_KEY: Final = SecretKind("lz_", "API 密钥")
FEED_TOKEN: Final = SecretKind("lzcal_", "日历订阅令牌")


class ApiKeyError(ValueError):
    """A text that is no key of this service; ``detail`` (Chinese) says why and never repeats any of the key."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class MalformedKeyError(ApiKeyError):
    """It is not written as a key."""


class KeyChecksumError(ApiKeyError):
    """It is written as a key, but a character is wrong."""


class KeyEnvironmentError(ApiKeyError):
    """It is a key of another environment."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. ``text`` is shown to its owner once and stored nowhere; ``digest`` (32 bytes) is what is stored."""

    key_id: str
    digest: bytes
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key somebody presents: well formed and of this environment, but not yet known to be one that was issued."""

    key_id: str
    digest: bytes = field(repr=False)


def is_api_key(text: str) -> bool:
    """Whether a bearer token means to be a key rather than a JWT, which begins with a Base64url ``{``."""
    return text.startswith(API_KEY.prefix)


def issue_key(environment: str, kind: SecretKind = API_KEY) -> IssuedKey:
    """Make a new key from the system's secure randomness.

    Raises:
        ValueError: the environment's name cannot stand in a key (:data:`ENVIRONMENT`).
    """
    if re.fullmatch(ENVIRONMENT, environment) is None:
        raise ValueError(f"环境名“{environment}”须为 1-16 个小写字母和数字,以字母开头")
    key_id = _random(KEY_ID_LENGTH)
    body = f"{kind.prefix}{environment}_{key_id}_{_random(SECRET_LENGTH)}"
    text = f"{body}_{_checksum(body)}"
    return IssuedKey(key_id, _digest(text), text)


def parse_key(text: str, environment: str, kind: SecretKind = API_KEY) -> PresentedKey:
    """Read a presented key of ``environment``.

    Raises:
        MalformedKeyError: it is not written as a key.
        KeyChecksumError: the checksum does not fit.
        KeyEnvironmentError: it is a key of another environment.
    """
    found = _pattern(kind.prefix).fullmatch(text)
    if found is None:
        raise MalformedKeyError(f"{kind.name}的写法不对:应以 {kind.prefix} 开头,请完整复制签发时显示的全文")
    if _checksum(found["body"]) != found["checksum"]:
        raise KeyChecksumError(f"{kind.name}的校验位不符:可能有字符抄错或缺失,请完整复制签发时显示的全文")
    if found["environment"] != environment:
        raise KeyEnvironmentError(
            f"这是“{found['environment']}”环境的{kind.name},本服务是“{environment}”环境,请使用本环境签发的"
        )
    return PresentedKey(found["key_id"], _digest(text))


def key_matches(presented: PresentedKey, digest: bytes) -> bool:
    """Whether ``digest`` is the stored one of the presented key, in a time that does not tell how much of it fits."""
    return hmac.compare_digest(presented.digest, digest)


@cache
def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?P<body>{prefix}(?P<environment>{ENVIRONMENT})_(?P<key_id>[0-9A-Za-z]{{{KEY_ID_LENGTH}}})"
        rf"_[0-9A-Za-z]{{{SECRET_LENGTH}}})_(?P<checksum>[0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
    )


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()


def _checksum(body: str) -> str:
    """CRC-32 (ISO-HDLC, as of zlib) in Base62, most significant digit first; 62 ** 6 > 2 ** 32."""
    value = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
