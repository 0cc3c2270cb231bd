"""Where a request comes from, and whether that is allowed.

``X-Forwarded-For`` (RFC 7239, 8.2 names its weakness) is written by whoever likes: each proxy appends the address that
it saw. So only what trusted proxies appended counts, and that is read from the right.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["Address", "Network", "NetworkError", "client_address", "network_allowed", "parse_networks"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class NetworkError(ValueError):
    """A text that is no network; ``detail`` (Chinese) says what is wrong with it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks in CIDR notation, or single addresses.

    Raises:
        NetworkError: one is no network, or is an address with a prefix too short for it (``10.1.2.3/8``): which of the
            two was meant is not guessed, since the wider one lets in more.
    """
    networks: list[Network] = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError:
            raise NetworkError(
                f"“{text[:60]}”不是网段,应如 10.20.0.0/16、192.168.1.7 或 fd00::/8(前缀之后的位须为 0)"
            ) from None
    return tuple(networks)


def network_allowed(address: Address | str | None, networks: Iterable[Network] | None) -> bool:
    """Whether an address lies in one of the networks.

    ``networks`` that are ``None`` allow every address; none at all (an empty list) allow no address. An address that
    is unknown (``None``) or cannot be read lies in no network. An IPv4 address in IPv6 clothes (``::ffff:10.0.0.1``,
    as a socket for both gives it) is the IPv4 address.
    """
    if networks is None:
        return True
    found = _address(address) if isinstance(address, str) else address
    return found is not None and _within(_plain(found), networks)


def client_address(
    peer: str | None, forwarded_for: str | Sequence[str] | None, trusted_networks: Sequence[Network]
) -> Address | None:
    """Return the address of the client behind trusted proxies, or ``None`` where it cannot be known.

    Args:
        peer: the address of the socket's other end; ``None`` or a path for a Unix socket.
        forwarded_for: **all** ``X-Forwarded-For`` lines of the request in their order. One line alone will not do: a
            proxy may append a line of its own below the one that the client made up.
        trusted_networks: the proxies. Empty: nobody is believed and the peer is the client.

    From the right, each address is believed only if the one that told it is trusted; the first that is not trusted is
    the client. If all are, the leftmost is: a caller within the trusted networks. An entry that a trusted proxy wrote
    but that is no address (``unknown``, an obfuscated name) makes the client unknown: to take the proxy's own address
    instead would let a caller in wherever the proxy is let in.
    """
    current = _address(peer or "")
    if current is None or not _within(current, trusted_networks):
        return current
    lines = [forwarded_for] if isinstance(forwarded_for, str) else forwarded_for or ()
    hops = [hop.strip() for line in lines for hop in line.split(",")]
    for hop in reversed([hop for hop in hops if hop]):
        current = _address(_without_port(hop))
        if current is None or not _within(current, trusted_networks):
            return current
    return current


def _address(text: str) -> Address | None:
    try:
        return _plain(ip_address(text))
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """The address itself: IPv4 out of IPv6, and without the zone (``%eth0``), which names an interface of ours."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _without_port(hop: str) -> str:
    """An address as proxies write it: bare, or with a port: ``192.0.2.1:4711``, ``[2001:db8::1]:4711``."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, colon, _ = hop.rpartition(":")
    return host if colon and ":" not in host else hop
