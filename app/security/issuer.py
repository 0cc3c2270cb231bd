"""The one issuer whose tokens the service believes: its name, what it signs with, and how it is asked for its keys.

OpenID Connect Core 1.0, OpenID Connect Discovery 1.0, RFC 7517 (keys), RFC 8725 (what goes wrong with tokens).
"""

import ssl
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx

__all__ = ["ALGORITHMS", "Issuer", "IssuerError", "issuer_client", "secure_url"]

# Asymmetric ones only. Neither ``none`` nor HMAC can be configured: with HMAC, whoever has the public key could sign
# (RFC 8725, 2.1).
ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

# Clocks of two servers differ by seconds; more leeway would be more life for a stolen token.
LONGEST_LEEWAY: Final = timedelta(minutes=2)


class IssuerError(ValueError):
    """The issuer is configured wrongly; ``detail`` (Chinese) says what to put right."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Issuer:
    """The configured issuer.

    Attributes:
        url: the ``iss`` of its tokens, to the letter; ``https``, or ``http`` on this machine.
        audience: what ``aud`` must name: this service.
        algorithms: what it may sign with, of :data:`ALGORITHMS`; the token's own ``alg`` only chooses among these.
        jwks_url: where its keys are; ``None``: as its ``/.well-known/openid-configuration`` says.
        leeway: by how much its clock may differ, at most 2 minutes.
        key_lifetime: how long keys are used without asking again.
        key_maximum_age: how long they are used while the issuer cannot be reached. A key that it has withdrawn
            meanwhile works until then.
        refetch_interval: it is asked at most once in this time, whatever key ids callers make up.
        timeout: for one whole answer.

    Raises:
        IssuerError: a URL is not secure, an algorithm not allowed, a span out of bounds.
    """

    url: str
    audience: str
    algorithms: frozenset[str] = frozenset({"RS256"})
    jwks_url: str | None = None
    leeway: timedelta = timedelta(seconds=30)
    key_lifetime: timedelta = timedelta(hours=1)
    key_maximum_age: timedelta = timedelta(hours=24)
    refetch_interval: timedelta = timedelta(minutes=1)
    timeout: timedelta = timedelta(seconds=5)

    def __post_init__(self) -> None:
        for name, url in (("身份提供方", self.url), ("密钥集", self.jwks_url)):
            if url is not None and not secure_url(url):
                raise IssuerError(f"{name}地址须为 https://(本机可用 http://),不带账号和片段:{url}")
        if "?" in self.url:
            raise IssuerError(f"身份提供方地址不能带查询参数:{self.url}")
        if not self.audience:
            raise IssuerError("须设置令牌的受众(aud),否则发给别的应用的令牌也会被接受")
        if not self.algorithms or not self.algorithms <= ALGORITHMS:
            raise IssuerError(f"签名算法只能取自:{'、'.join(sorted(ALGORITHMS))}")
        zero = timedelta(0)
        if not zero <= self.leeway <= LONGEST_LEEWAY:
            raise IssuerError("时钟误差须在 0 至 120 秒之间")
        if not (zero < self.refetch_interval <= self.key_lifetime <= self.key_maximum_age and zero < self.timeout):
            raise IssuerError("时长须满足 0 < 重取间隔 ≤ 密钥缓存时长 ≤ 密钥最长使用时长,超时须大于 0")


def secure_url(url: str) -> bool:
    """Whether keys may be fetched from this URL: nobody on the way can change them, and it carries no password.

    Read by the parser that fetches it, so that both see the same host.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    if parsed.userinfo or parsed.fragment or not parsed.host or not 0 < (parsed.port or 443) < 65536:
        return False
    return parsed.scheme == "https" or (parsed.scheme == "http" and _on_this_machine(parsed.host))


def issuer_client(ca_file: Path | None = None) -> httpx.AsyncClient:
    """Make the client that asks the issuer; the caller closes it.

    ``ca_file`` (PEM) holds the only authorities to trust, as government networks have their own; ``None`` trusts the
    public ones. The environment's proxies and certificates are not looked at: settings are read in one place.

    Raises:
        IssuerError: the file cannot be read or holds no certificate.
    """
    try:
        verify = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise IssuerError(f"无法读取证书文件 {ca_file}:{error.strerror or error}") from None
    return httpx.AsyncClient(verify=verify, trust_env=False, follow_redirects=False, timeout=10)


def _on_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
