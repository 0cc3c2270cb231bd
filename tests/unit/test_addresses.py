"""Where a request comes from: networks that are allowed, and the client behind proxies that are trusted."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.security.addresses import NetworkError, client_address, network_allowed, parse_networks

PROXIES = parse_networks(["10.0.0.0/8", "fd00::/8", "127.0.0.1"])


def seen(peer: str | None, forwarded: str | list[str] | None) -> str | None:
    found = client_address(peer, forwarded, PROXIES)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.7", None, "203.0.113.7"),
        ("203.0.113.7", "10.1.1.1", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1, 10.1.1.1", "203.0.113.7"),
        ("10.1.1.1", None, "10.1.1.1"),
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "10.9.9.9, 198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "192.0.2.66, 198.51.100.1, 10.2.2.2", "198.51.100.1"),
        ("10.1.1.1", ["192.0.2.66", "198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["192.0.2.66, 10.5.5.5", "198.51.100.1,10.2.2.2"], "198.51.100.1"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.1.1.1", "198.51.100.1,, ,10.2.2.2,", "198.51.100.1"),
        ("10.1.1.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.1.1.1", "[2001:db8::1]:4711, 10.2.2.2:80", "2001:db8::1"),
        ("10.1.1.1", "2001:db8::1", "2001:db8::1"),
        ("::ffff:10.1.1.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("10.1.1.1", "198.51.100.1, unknown", None),
        ("10.1.1.1", "198.51.100.1, _hidden, 10.2.2.2", None),
        ("10.1.1.1", "unknown, 198.51.100.1", "198.51.100.1"),
        ("10.1.1.1", "10.2.2.256", None),
        ("10.1.1.1", "010.1.1.2", None),
        (None, "198.51.100.1", None),
        ("", "198.51.100.1", None),
        ("/run/liuzhang.sock", "198.51.100.1", None),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_trusted_proxy(
    peer: str | None, forwarded: str | list[str] | None, expected: str | None
) -> None:
    assert seen(peer, forwarded) == expected


ADDRESSES = st.ip_addresses().map(str)
ANYTHING = st.lists(ADDRESSES | st.text(max_size=20), max_size=5).map(",".join)


@given(ADDRESSES, ANYTHING)
def test_nobody_is_believed_where_nobody_is_trusted(peer: str, forwarded: str) -> None:
    alone = client_address(peer, None, ())
    assert client_address(peer, forwarded, ()) == alone
    assert alone is not None


@given(ANYTHING, st.ip_addresses(v=4).filter(lambda a: not network_allowed(a, PROXIES)))
def test_whatever_a_client_makes_up_a_trusted_proxy_tells_who_it_is(made_up: str, client: object) -> None:
    assert client_address("10.1.1.1", f"{made_up},{client}", PROXIES) == client
    assert client_address("10.1.1.1", [made_up, str(client)], PROXIES) == client
    assert client_address("10.1.1.1", [made_up, f"{client}, 10.2.2.2"], PROXIES) == client


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("10.20.3.4", ["10.20.0.0/16"], True),
        ("10.21.3.4", ["10.20.0.0/16"], False),
        ("10.21.3.4", ["10.20.0.0/16", "10.21.3.4"], True),
        ("::ffff:10.20.3.4", ["10.20.0.0/16"], True),
        ("fd00::1%eth0", ["fd00::/8"], True),
        ("fe80::1", ["fd00::/8"], False),
        ("10.20.3.4", ["::/0"], False),
        ("2001:db8::1", ["0.0.0.0/0"], False),
        ("10.20.3.4", [], False),
        ("不是地址", ["0.0.0.0/0", "::/0"], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        (None, ["0.0.0.0/0", "::/0"], False),
    ],
)
def test_an_address_is_allowed_in_the_networks_listed(address: str | None, networks: list[str], allowed: bool) -> None:
    assert network_allowed(address, parse_networks(networks)) is allowed


def test_an_address_may_be_given_as_such() -> None:
    assert network_allowed(ip_address("::ffff:10.20.3.4"), parse_networks(["10.20.0.0/16"]))


@pytest.mark.parametrize("address", ["10.20.3.4", "不是地址", None])
def test_without_a_list_every_address_is_allowed(address: str | None) -> None:
    assert network_allowed(address, None)


@pytest.mark.parametrize("text", ["", "10.20.0.0/33", "10.20.3.4/16", "10.20.*.*", "fd00::1/8", "localhost", "x" * 999])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(NetworkError) as caught:
        parse_networks(["10.0.0.0/8", text])
    assert "不是网段" in caught.value.detail
    assert len(caught.value.detail) < 150
