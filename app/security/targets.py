"""Where webhooks may go: hosts that the operator lists, at addresses that are public or that the operator lists too.

A name alone says nothing: it can lead to a machine inside (SSRF), and somewhere else at the next look (DNS rebinding).
So names are listed, and what a name leads to is checked at the moment of connecting, by whoever connects.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

import httpx

from app.security.addresses import Address, Network, network_allowed

__all__ = ["Target", "TargetError", "Targets", "origin_of", "parse_targets", "reachable"]

_TARGET = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>(?:\*\.)?[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
)
_PORTS: Final = {"https": 443, "http": 80}
# IPv6 addresses that lead to an IPv4 one, and where in them it stands.
_NAT64, _NAT64_LOCAL = IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = IPv6Network("::/96")


class TargetError(ValueError):
    """A target that is not allowed, or an entry of the list that is none; ``detail`` (Chinese) says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Target:
    """One entry of the list: a host, or with ``*.`` in front everything below one, at one port."""

    scheme: str
    host: str
    port: int

    def admits(self, url: httpx.URL) -> bool:
        """Whether a URL is at this target."""
        host = _host(url)
        below = self.host.startswith("*.") and host.endswith(self.host[1:]) and not _is_address(host)
        port = url.port or _PORTS[url.scheme]
        return (url.scheme, port) == (self.scheme, self.port) and (below or host == self.host)


@dataclass(frozen=True, slots=True)
class Targets:
    """Where webhooks may go.

    Attributes:
        listed: the hosts; none: nowhere.
        networks: the addresses that are not public and may be gone to nevertheless.
    """

    listed: Sequence[Target] = ()
    networks: Sequence[Network] = ()

    def check(self, url: str) -> None:
        """Refuse a URL that is not at a listed target.

        Raises:
            TargetError: it is not, or is written so that it cannot be told.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise TargetError("网址写法不对,应如 https://oa.example.gov.cn/hooks/liuzhang") from None
        if parsed.scheme not in _PORTS or not parsed.host or parsed.userinfo or parsed.fragment:
            raise TargetError("网址须以 https:// 开头,不带账号和片段(#)")
        if not any(target.admits(parsed) for target in self.listed):
            raise TargetError(f"{origin_of(url)} 不在管理员所列的 Webhook 目标(LIUZHANG_WEBHOOK_TARGETS)之中")


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL; what comes after them may hold a secret of the receiver's."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


def parse_targets(texts: Iterable[str]) -> tuple[Target, ...]:
    """Read the entries of the list: ``host``, ``*.host``, ``host:port``; with ``http://`` in front without TLS.

    Raises:
        TargetError: an entry is none of these.
    """
    targets: list[Target] = []
    for text in texts:
        match = _TARGET.fullmatch(text)
        port = 0 if match is None else int(match["port"] or _PORTS[match["scheme"] or "https"])
        if match is None or not 0 < port < 65536:
            raise TargetError(f"“{text[:80]}”不是 Webhook 目标,应如 oa.example.gov.cn、*.example.gov.cn 或 host:8443")
        targets.append(Target(match["scheme"] or "https", match["host"].strip("[]").lower(), port))
    return tuple(targets)


def reachable(address: str, networks: Sequence[Network]) -> bool:
    """Whether a resolved address may be connected to: a public one, or one in ``networks``.

    An IPv6 address that wraps an IPv4 one is that one; both must be allowed, as either may be what is reached.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return all(_is_public(one) or network_allowed(one, networks) for one in (found, *_wrapped(found)))


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in _NAT64_LOCAL or address in _COMPATIBLE):
        # What it wraps is looked at in its own right; by itself it is no address of the internet.
        return address.ipv4_mapped is not None
    return address.is_global and not address.is_multicast and not address.is_reserved


def _wrapped(address: Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or address in _NAT64_LOCAL or address in _COMPATIBLE:
        inner.append(low)
    return [one for one in inner if one is not None]


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").strip("[]").lower().rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
